// SPDX-License-Identifier: Apache-2.0
// Verification of a stream (every hash, every rule, on request every number), and of a computation against its original.
#ifndef RS_INSPECT_VERIFY_H
#define RS_INSPECT_VERIFY_H

#include "formats/reader.h"
#include "inspect/measure.h"
#include "transforms/network.h"

// What a verified stream holds.
typedef struct rs_verified {
    rs_head head;            // its exceptions are not kept
    uint32_t frames, tensors;
    uint64_t size;
    uint8_t digest[16], tensor_digest[16];
    bool whole;              // false after a quick check: payloads were not read
    bool values;             // numbers were checked too
} rs_verified;

typedef struct rs_verify_options {
    bool quick;   // signature, HEAD, tail and INDX only; needs a seekable stream (RS_USAGE)
    bool strict;  // also reject what readers ignore
    bool values;  // also check the numbers (inspect/values.h)
    void (*progress)(void *context, double bytes); // NULL allowed
    void *context;
} rs_verify_options;

// One pass in constant memory (with values: plus one tensor). Any class of error.
RS_MUST_CHECK rs_status rs_verify_stream(rs_in *in, const rs_verify_options *o, rs_verified *v, rs_error *e);

// One layer of a comparison: K after RoPE (r3 undone) and the FFN's inner activations (r4 undone), which no fused rotation changes; where down is smoothed (xf), these up to
// one factor per channel.
typedef struct rs_against_layer {
    uint64_t layer;
    rs_difference k, ffn;
} rs_against_layer;

typedef struct rs_against_options {
    size_t ctx, windows;  // as in inspect/eval.h; windows >= 1
    double tol;           // largest relative error (max abs difference / max abs) that passes
    void (*layer)(void *context, const rs_against_layer *l); // called for each layer in order; NULL allowed
    void *context;
} rs_against_options;

typedef struct rs_against_result {
    rs_difference logits;
    double kl, kl_max, top1, nll, ref_nll;
    size_t tokens;
    int64_t first_layer;  // first layer above the tolerance, -1 = none
    bool pass;
} rs_against_result;

// Runs both networks layer by layer on the same tokens. RS_OK whatever the verdict (r->pass); RS_USAGE when sizes differ or the text is too short; E_VALUE, E_NOMEM.
RS_MUST_CHECK rs_status rs_verify_against(rs_network *n, rs_network *ref, const int32_t *ids, size_t count, const rs_against_options *o, rs_against_result *r, rs_error *e);
// Every weight that says it was rotated (xf rot.J, which the original's lacks) must differ from the original: names the first that does not in *name (else NULL).
RS_MUST_CHECK rs_status rs_verify_moved(const rs_mapped *m, const rs_mapped *ref, const char **name, rs_error *e);

#endif
