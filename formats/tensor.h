// SPDX-License-Identifier: Apache-2.0
// Description of one tensor of the container (frame TENS): role, place, shape, encoding, parts, transforms already folded in.
#ifndef RS_FORMATS_TENSOR_H
#define RS_FORMATS_TENSOR_H

#include "formats/dtype.h"
#include "formats/limits.h"

typedef enum rs_role {
    RS_ROLE_EMBED, RS_ROLE_Q, RS_ROLE_K, RS_ROLE_V, RS_ROLE_O, RS_ROLE_GATE, RS_ROLE_UP, RS_ROLE_DOWN,
    RS_ROLE_NORM, RS_ROLE_HEAD, RS_ROLE_ROUTER, RS_ROLE_BIAS, RS_ROLE_RESID, RS_ROLE_ROT, RS_ROLE_TRANS, RS_ROLE_HEADROT, RS_ROLE_OTHER,
    RS_ROLE_COUNT
} rs_role;

typedef enum rs_enc { RS_ENC_RAW, RS_ENC_INT2, RS_ENC_INT3, RS_ENC_INT4, RS_ENC_INT5, RS_ENC_INT6, RS_ENC_INT7, RS_ENC_INT8, RS_ENC_LOWRANK, RS_ENC_COUNT } rs_enc;

// One transform already folded into a tensor: id "gamma", "smooth", "rot.J", "rebase.J", "headrot.I" or "r4"; side 0 = input (columns), 1 = output (rows).
typedef struct rs_xf {
    char id[24];
    uint64_t n;
    int side;
} rs_xf;
#define RS_MAX_XF 32

// One part of a tensor's payload: "data"; "codes", "scales", "sums"; "q", "m". off is from the start of the payload, a multiple of 64.
typedef struct rs_part {
    char key[8];
    rs_dtype dtype; // of packed codes: RS_U8 (shape counts codes, len counts bytes)
    uint64_t off, len;
    int n_dims;
    uint64_t shape[RS_MAX_DIMS];
} rs_part;
#define RS_MAX_PARTS 3

// Names of the tensors of a Llama follow Hugging Face ("model.layers.3.self_attn.q_proj.weight"); junctions are "resid.J", rotations "rot.J", "trans.J", "headrot.I".
typedef struct rs_tensor {
    char name[RS_MAX_NAME + 1];
    rs_role role;
    int64_t layer, expert; // -1: none. A norm's layer: i with name input_layernorm or post_attention_layernorm; -1 = final. For resid, rot, trans: layer = J.
    rs_dtype dtype;        // before encoding
    rs_enc enc;
    uint64_t group;        // columns per scale of int encodings; 0: one scale per row
    int n_dims;
    uint64_t shape[RS_MAX_DIMS]; // row-major; a weight is [out, in]
    int n_xf;
    rs_xf xf[RS_MAX_XF];
    int n_parts;
    rs_part parts[RS_MAX_PARTS];
    uint64_t payload_len;
} rs_tensor;

const char *rs_role_name(rs_role role); // "embed", ...; NULL outside the enum
bool rs_role_find(const char *name, rs_role *role);
const char *rs_enc_name(rs_enc enc); // "raw", "int4", "lowrank", ...; NULL outside the enum
bool rs_enc_find(const char *name, rs_enc *enc);
// Bits of one code of an int encoding, 0 for raw and lowrank; and back (bits 2..8, else false).
int rs_enc_bits(rs_enc enc);
bool rs_enc_of_bits(int bits, rs_enc *enc);

// Number of elements; false when the product is above RS_MAX_ELEMENTS or a dim above RS_MAX_DIM.
RS_MUST_CHECK bool rs_tensor_elements(const rs_tensor *t, uint64_t *n);
// Derives parts and payload_len from dtype, enc, group and shape. For int encodings scale_dtype (RS_F32 or RS_F16) is the type of the scales; for lowrank shape is
// [d, d] and rank says r; both are ignored otherwise. E_TENSOR (shape, group, rank do not fit), E_LIMIT.
RS_MUST_CHECK rs_status rs_tensor_layout(rs_tensor *t, rs_dtype scale_dtype, uint64_t rank, rs_error *e);
// Checks that every field agrees with the derived layout and with its limits. E_TENSOR, E_LIMIT.
RS_MUST_CHECK rs_status rs_tensor_check(const rs_tensor *t, rs_error *e);
// The part with this key, NULL if there is none.
const rs_part *rs_tensor_part(const rs_tensor *t, const char *key);
// True if xf already has id; and appends one (E_TENSOR if it is there already or the list is full).
bool rs_tensor_has_xf(const rs_tensor *t, const char *id);
RS_MUST_CHECK rs_status rs_tensor_add_xf(rs_tensor *t, const char *id, uint64_t n, int side, rs_error *e);

#endif
