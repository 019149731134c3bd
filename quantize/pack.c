// SPDX-License-Identifier: Apache-2.0
// The packing stage of a pipe.
#include "quantize/pack.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "quantize/cost_map.h"
#include "transforms/weights.h"

rs_status rs_pack_head(const rs_head *in, const rs_pack_options *o, rs_head *out, rs_arena *arena, rs_error *e)
{
    if (in->kind != RS_KIND_WEIGHTS) return rs_fail(e, RS_USAGE, "the stream holds rotations, not weights");
    *out = *in;
    out->plan.a = o->a;
    out->plan.kv = o->kv;
    out->plan.a.range = rs_compat_range(o->scheme.peer, &o->a);
    rs_compat_kv(o->scheme.peer, &out->plan.kv, &out->plan.v_range);
    if (o->recipe != NULL) RS_TRY(rs_recipe_check(o->recipe, &o->scheme, in->layers, e));
    return rs_recipe_plan(o->recipe, o->scheme.peer, o->head, in->layers, &out->plan, arena, e);
}

// A recipe, and the exceptions of the plan with it, go by names, roles and layers, which must belong together.
static rs_status check_name(const rs_tensor *t, rs_error *e)
{
    const rs_config names = {.L = t->layer < 0 ? 0 : (uint64_t)t->layer + 1};
    rs_tensor own = {.name = ""};
    if (names.L > 0) rs_scheme_matrix_at(&names, (names.L - 1) * RS_SCHEME_ROLES + (uint64_t)(t->role - RS_ROLE_Q), &own);
    return strcmp(own.name, t->name) == 0 ? RS_OK : rs_fail(e, RS_E_TENSOR, "%s: role %s, layer %lld are not what the name says", t->name, rs_role_name(t->role), (long long)t->layer);
}

rs_status rs_pack_plan(const rs_pack_options *o, const rs_tensor *t, rs_pack_target *to, rs_error *e)
{
    *to = (rs_pack_target){.kind = RS_PACK_COPY, .scheme = rs_recipe_scheme(o->recipe, &o->scheme, t), .tensor = *t};
    if (o->recipe != NULL && rs_scheme_matrix(t)) RS_TRY(check_name(t, e));
    const bool head = t->role == RS_ROLE_HEAD && t->n_dims == 2 && o->scheme.head_bits != 0;
    if (head) to->scheme = (rs_scheme){.w_bits = o->scheme.head_bits, .scale_dtype = RS_F32, .clip_steps = o->scheme.clip_steps};
    if (head || rs_scheme_packs(&to->scheme, t)) {
        if (t->enc != RS_ENC_RAW) return rs_fail(e, RS_USAGE, "%s: packed already (%s)", t->name, rs_enc_name(t->enc));
        to->kind = RS_PACK_CODE;
        return rs_quantize_layout(&to->scheme, t, &to->tensor, e);
    }
    if (!rs_scheme_rounds(&to->scheme, t)) return RS_OK;
    to->kind = RS_PACK_ROUND;
    to->tensor.dtype = to->scheme.rest;
    return rs_tensor_layout(&to->tensor, RS_F32, 0, e);
}

// The payload of the current frame as f32; *w is either inside *raw or decoded into *decoded. All three are the caller's to free (raw, decoded).
static rs_status read_weights(rs_stage *s, const rs_frame *f, uint8_t **raw, float **decoded, const float **w, rs_error *e)
{
    *raw = malloc(f->payload_len > 0 ? (size_t)f->payload_len : 1);
    if (*raw == NULL) return rs_fail(e, RS_E_NOMEM, "%s: %llu bytes", f->tensor->name, (unsigned long long)f->payload_len);
    RS_TRY(rs_reader_read_all(s->reader, *raw, e));
    *w = rs_weights_direct(f->tensor, *raw);
    if (*w != NULL) return RS_OK;
    uint64_t rows, cols;
    rs_weights_shape(f->tensor, &rows, &cols);
    *decoded = malloc((size_t)(rows * cols) * sizeof(float) + 1);
    if (*decoded == NULL) return rs_fail(e, RS_E_NOMEM, "%s: %llu x %llu numbers", f->tensor->name, (unsigned long long)rows, (unsigned long long)cols);
    *w = *decoded;
    return rs_weights_rows(f->tensor, *raw, 0, rows, *decoded, e);
}

// What packing cost, in a frame right behind the tensor.
static rs_status record(rs_stage *s, const rs_tensor *packed, const uint8_t *payload, const float *w, bool here, const rs_pack_options *o, rs_error *e)
{
    rs_cost_map map = {0};
    rs_value *values = NULL;
    rs_arena *a = rs_arena_new();
    rs_status st = a == NULL ? rs_fail(e, RS_E_NOMEM, "%s: statistics", packed->name) : rs_cost_map_make(&map, packed, payload, w, e);
    if (st == RS_OK && !here && o->values != NULL) st = o->values(o->source, packed, a, &values, e);
    if (st == RS_OK) st = rs_cost_map_write(&map, s->writer, rs_stage_step(s), packed->name, a, values, e);
    rs_cost_map_free(&map);
    rs_arena_free(a);
    return st;
}

static rs_status pack_tensor(rs_stage *s, const rs_frame *f, const rs_pack_options *o, const rs_pack_target *to, rs_error *e)
{
    const rs_tensor *packed = &to->tensor;
    uint8_t *raw = NULL, *payload = NULL;
    float *decoded = NULL;
    const float *w = NULL;
    rs_pack_error cost;
    const bool here = o->payload == NULL || !rs_scheme_matrix(packed); // the LM head always is
    rs_status st = RS_OK;
    if ((payload = malloc((size_t)packed->payload_len + 1)) == NULL) st = rs_fail(e, RS_E_NOMEM, "%s: packed payload", packed->name);
    if (st == RS_OK && !here) st = o->payload(o->source, packed, payload, e);
    if (st == RS_OK) st = read_weights(s, f, &raw, &decoded, &w, e);
    if (st == RS_OK && here) st = rs_rtn_pack(&to->scheme, packed, w, payload, &cost, e);
    if (st == RS_OK) st = rs_writer_tensor(s->writer, packed, payload, e);
    if (st == RS_OK) st = record(s, packed, payload, w, here, o, e);
    if (st == RS_OK && here && o->packed != NULL) o->packed(o->context, packed, &cost);
    free(raw);
    free(decoded);
    free(payload);
    return st;
}

// Rounds embedding or head to scheme.rest; a value that becomes infinite is an error. A norm whose scales were folded in holds ones, which all types hold.
static rs_status round_tensor(rs_stage *s, const rs_frame *f, const rs_tensor *t, rs_error *e)
{
    uint8_t *raw = NULL, *out = NULL;
    float *decoded = NULL;
    const float *w;
    uint64_t n = 0;
    rs_status st = read_weights(s, f, &raw, &decoded, &w, e);
    if (st == RS_OK && !rs_tensor_elements(t, &n)) st = rs_fail(e, RS_E_LIMIT, "%s: too large", t->name);
    if (st == RS_OK && (out = malloc((size_t)t->payload_len + 1)) == NULL) st = rs_fail(e, RS_E_NOMEM, "%s: rounded payload", t->name);
    for (uint64_t i = 0; st == RS_OK && t->role == RS_ROLE_NORM && i < n; i++)
        if (w[i] != 1) st = rs_fail(e, RS_E_VALUE, "%s: its scales were folded in, but value %llu is %g", t->name, (unsigned long long)i, (double)w[i]);
    for (uint64_t i = 0; st == RS_OK && t->dtype == RS_F16 && i < n; i++)
        if (fabsf(w[i]) >= 65520.0f) st = rs_fail(e, RS_E_VALUE, "%s: value %g is above the range of f16; use --rest bf16 or f32", t->name, (double)w[i]);
    if (st == RS_OK) {
        const rs_kernels *k = rs_kernels_cpu();
        if (t->dtype == RS_F32) memcpy(out, w, (size_t)n * sizeof *w);
        else (t->dtype == RS_F16 ? k->f32_to_f16 : k->f32_to_bf16)((size_t)n, w, (uint16_t *)(void *)out);
        st = rs_writer_tensor(s->writer, t, out, e);
    }
    free(raw);
    free(decoded);
    free(out);
    return st;
}

// Groups must divide what they group.
rs_status rs_pack_check(const rs_config *c, const rs_pack_options *o, rs_error *e)
{
    if (o->kv.group != 0 && c->h % o->kv.group != 0) return rs_fail(e, RS_USAGE, "--kv-group %llu does not divide the head size %llu", (unsigned long long)o->kv.group, (unsigned long long)c->h);
    if (o->recipe == NULL && o->a.group != 0 && (c->d % o->a.group != 0 || c->f % o->a.group != 0 || (c->n_q * c->h) % o->a.group != 0))
        return rs_fail(e, RS_USAGE, "--a-group %llu does not divide every input width (%llu, %llu, %llu)", (unsigned long long)o->a.group, (unsigned long long)c->d, (unsigned long long)(c->n_q * c->h),
                       (unsigned long long)c->f);
    if (o->scheme.head_bits != 0 && c->tied) return rs_fail(e, RS_USAGE, "--head-bits: the LM head is the embedding; rs-fuse makes two of them");
    for (uint64_t i = 0; i < c->L * RS_SCHEME_ROLES; i++) {
        rs_tensor t, packed;
        rs_scheme_matrix_at(c, i, &t);
        rs_scheme s = rs_recipe_scheme(o->recipe, &o->scheme, &t);
        rs_act a = rs_recipe_act(o->recipe, o->scheme.peer, c->h, &o->a, &t);
        if (rs_scheme_packs(&s, &t)) RS_TRY(rs_quantize_layout(&s, &t, &packed, e));
        if (a.group != 0 && t.shape[1] % a.group != 0)
            return rs_fail(e, RS_USAGE, "%s: activations in groups of %llu do not fit its %llu columns", t.name, (unsigned long long)a.group, (unsigned long long)t.shape[1]);
    }
    return RS_OK;
}

rs_status rs_pack_ahead(rs_pack_options *o, rs_reader *r, rs_prelude **p, rs_error *e)
{
    *p = NULL;
    if (!rs_compat_of(o->scheme.peer)->a_head || rs_reader_head(r)->kind != RS_KIND_WEIGHTS) return RS_OK;
    RS_TRY(rs_prelude_read(p, r, e));
    o->head = rs_prelude_config(*p)->h;
    return rs_pack_check(rs_prelude_config(*p), o, e);
}

rs_status rs_pack_config(rs_reader *r, const rs_frame *f, const rs_pack_options *o, uint8_t **json, rs_error *e)
{
    rs_config c;
    *json = malloc((size_t)f->payload_len + 1);
    if (*json == NULL) return rs_fail(e, RS_E_NOMEM, "config.json");
    RS_TRY(rs_reader_read_all(r, *json, e));
    RS_TRY(rs_config_parse(&c, *json, (size_t)f->payload_len, e));
    return rs_pack_check(&c, o, e);
}

static rs_status tensor(rs_stage *s, const rs_frame *f, const rs_pack_options *o, rs_error *e)
{
    rs_pack_target to;
    RS_TRY(rs_pack_plan(o, f->tensor, &to, e));
    switch (to.kind) {
    case RS_PACK_CODE: return pack_tensor(s, f, o, &to, e);
    case RS_PACK_ROUND: return round_tensor(s, f, &to.tensor, e);
    case RS_PACK_COPY: break;
    }
    return rs_stage_copy(s, f, e);
}

static rs_status config(rs_stage *s, const rs_frame *f, const rs_pack_options *o, rs_error *e)
{
    uint8_t *json;
    rs_status st = rs_pack_config(s->reader, f, o, &json, e);
    if (st == RS_OK) st = rs_writer_file(s->writer, f->file_name, json, (size_t)f->payload_len, e);
    free(json);
    return st;
}

rs_status rs_pack_stream(rs_stage *s, const rs_pack_options *o, rs_error *e)
{
    for (;;) {
        rs_frame f;
        RS_TRY(rs_reader_next(s->reader, &f, e));
        if (f.type == RS_FRAME_END) return RS_OK;
        if (f.type == RS_FRAME_TENS) RS_TRY(tensor(s, &f, o, e));
        else if (f.type == RS_FRAME_FILE && strcmp(f.file_name, "config.json") == 0) RS_TRY(config(s, &f, o, e));
        else RS_TRY(rs_stage_copy(s, &f, e));
        if (o->progress != NULL) o->progress(o->context, (double)rs_in_offset(s->in));
    }
}
