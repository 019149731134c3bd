// SPDX-License-Identifier: Apache-2.0
// The packing stage of a pipe: weights to packed codes tensor by tensor, activation and KV policy into the plan.
#ifndef RS_QUANTIZE_PACK_H
#define RS_QUANTIZE_PACK_H

#include "formats/config.h"
#include "formats/stage.h"
#include "quantize/recipe.h"
#include "quantize/rtn.h"
#include "transforms/prelude.h"

typedef struct rs_pack_options {
    rs_scheme scheme;
    rs_act a, kv;            // recorded in the plan, with the ranges that scheme.peer gives them
    uint64_t head;           // size of a head, for peers that want one (rs_pack_ahead); 0: not known
    const rs_recipe *recipe; // what differs for some matrices; NULL: nothing
    // Called after each packed tensor with its cost, and after every tensor with the bytes read so far; each may be NULL.
    void (*packed)(void *context, const rs_tensor *t, const rs_pack_error *cost);
    void (*progress)(void *context, double bytes);
    void *context;
    // Where packed payloads come from that are made elsewhere (rs_gptq_model_payload); NULL: round to nearest here. packed is not called for them.
    rs_status (*payload)(void *source, const rs_tensor *packed, uint8_t *payload, rs_error *e);
    // What is known about how each of them was made, for the sTAT of kind `error` behind it (made in a); NULL, or *values NULL: nothing but what every packed matrix gets (cost_map.h).
    rs_status (*values)(void *source, const rs_tensor *packed, rs_arena *a, rs_value **values, rs_error *e);
    void *source;
} rs_pack_options;

// Where the peer wants to know the size of a head before a head can be written: reads the frames up to config.json, checks what they say (rs_pack_check) and sets o->head; otherwise *p is NULL.
// The frames are to be written in their place by rs_prelude_write. Errors of rs_prelude_read and rs_pack_check.
RS_MUST_CHECK rs_status rs_pack_ahead(rs_pack_options *o, rs_reader *r, rs_prelude **p, rs_error *e);

// What becomes of a tensor.
typedef enum rs_pack_kind { RS_PACK_COPY, RS_PACK_ROUND, RS_PACK_CODE } rs_pack_kind; // as it is; to scheme.rest; to codes
typedef struct rs_pack_target {
    rs_pack_kind kind;
    rs_scheme scheme;
    rs_tensor tensor; // as it will be written
} rs_pack_target;

// The head that the stage writes: the one that arrived with the new policy, its list of exceptions made in arena. RS_USAGE for a stream of rotations and for a recipe
// that does not fit the model; E_NOMEM.
RS_MUST_CHECK rs_status rs_pack_head(const rs_head *in, const rs_pack_options *o, rs_head *out, rs_arena *arena, rs_error *e);
// Whether the groups of weights and policy fit a model. RS_USAGE. The stream is checked by itself; a tool that works long before it asks first.
RS_MUST_CHECK rs_status rs_pack_check(const rs_config *c, const rs_pack_options *o, rs_error *e);
// RS_USAGE for weights that are packed already and where a group does not fit; E_TENSOR for a matrix whose name does not say what it is, where a recipe goes by names.
RS_MUST_CHECK rs_status rs_pack_plan(const rs_pack_options *o, const rs_tensor *t, rs_pack_target *to, rs_error *e);
// Reads and checks the current frame, config.json; *json (malloc, the caller frees) gets its bytes.
RS_MUST_CHECK rs_status rs_pack_config(rs_reader *r, const rs_frame *f, const rs_pack_options *o, uint8_t **json, rs_error *e);
// Everything after rs_stage_begin up to and without rs_stage_finish. RS_USAGE for weights that are packed already and where a group does not fit, E_VALUE.
RS_MUST_CHECK rs_status rs_pack_stream(rs_stage *s, const rs_pack_options *o, rs_error *e);

#endif
