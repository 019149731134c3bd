// SPDX-License-Identifier: Apache-2.0
// The list of a dry run.
#include "quantize/pack_list.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Sums over tensors.
struct sum {
    uint64_t tensors, elements, bytes;
};

static rs_status add(struct sum *s, const rs_tensor *t, rs_error *e)
{
    uint64_t n;
    s->tensors++;
    if (rs_tensor_elements(t, &n) && rs_add_ok(s->elements, n, &s->elements) && rs_add_ok(s->bytes, t->payload_len, &s->bytes)) return RS_OK;
    return rs_fail(e, RS_E_LIMIT, "%s: too large to be counted", t->name);
}

static double bits_each(const struct sum *s)
{
    return s->elements > 0 ? 8.0 * (double)s->bytes / (double)s->elements : 0;
}

static const char *method(const rs_pack_target *to)
{
    static const char *const names[] = {[RS_PACK_COPY] = "keep", [RS_PACK_ROUND] = "cast"};
    return to->kind != RS_PACK_CODE ? names[to->kind] : to->scheme.gptq ? "gptq" : "rtn";
}

static void print_row(rs_text_buffer *b, const rs_pack_target *to, const rs_act *a, bool json, bool first)
{
    const rs_tensor *t = &to->tensor;
    const rs_part *scales = rs_tensor_part(t, "scales");
    const char *form = t->enc == RS_ENC_RAW ? rs_dtype_name(t->dtype) : rs_enc_name(t->enc), *role = rs_role_name(t->role);
    char bits[16] = "-", group[24] = "-";
    if (a != NULL) snprintf(bits, sizeof bits, "%u", a->bits);
    if (scales != NULL) snprintf(group, sizeof group, "%" PRIu64, t->group);
    if (!json) {
        rs_text_buffer_print(b, "%-44s %-6s %-7s %6s %-5s %-6s %2s %12" PRIu64 "\n", t->name, role, form, group, scales != NULL ? rs_dtype_name(scales->dtype) : "-", method(to), bits, t->payload_len);
        return;
    }
    rs_text_buffer_print(b, "%s\n    {\"name\": ", first ? "" : ",");
    rs_text_buffer_json(b, t->name, strlen(t->name));
    rs_text_buffer_print(b, ", \"role\": \"%s\", \"layer\": %" PRId64 ", \"method\": \"%s\", \"form\": \"%s\", \"bits\": %zu", role, t->layer, method(to), form,
                         scales != NULL ? (size_t)rs_enc_bits(t->enc) : 8 * rs_dtype_size(t->dtype));
    if (scales != NULL) rs_text_buffer_print(b, ", \"group\": %s, \"scale\": \"%s\"", group, rs_dtype_name(scales->dtype));
    if (a != NULL) rs_text_buffer_print(b, ", \"a_bits\": %s", bits);
    rs_text_buffer_print(b, ", \"bytes\": %" PRIu64 "}", t->payload_len);
}

static rs_status row(rs_text_buffer *b, const rs_pack_options *o, const rs_tensor *t, bool json, struct sum *matrices, struct sum *all, rs_error *e)
{
    rs_pack_target to;
    rs_act a = rs_recipe_act(o->recipe, o->scheme.peer, o->head, &o->a, t);
    RS_TRY(rs_pack_plan(o, t, &to, e));
    print_row(b, &to, rs_scheme_matrix(t) ? &a : NULL, json, all->tensors == 0);
    if (rs_scheme_matrix(t)) RS_TRY(add(matrices, &to.tensor, e));
    return add(all, &to.tensor, e);
}

static const char *const ranges[] = {[RS_SPAN_ZERO] = "zero", [RS_SPAN_FREE] = "free", [RS_SPAN_HALF] = "half"};

static void print_act(rs_text_buffer *b, const char *what, const rs_act *a, rs_span range, const char *all, bool json)
{
    const char *form = a->sym ? "symmetric" : "asymmetric";
    if (json) rs_text_buffer_print(b, ", \"%s\": {\"bits\": %u, \"sym\": %s, \"clip\": %g, \"group\": %" PRIu64 ", \"range\": \"%s\"}", what, a->bits, a->sym ? "true" : "false", a->clip, a->group, ranges[range]);
    else if (a->bits >= 16) rs_text_buffer_print(b, "; %s not quantised", what);
    else if (a->group != 0) rs_text_buffer_print(b, "; %s %u bits %s, clip %g, groups of %" PRIu64 ", range %s", what, a->bits, form, a->clip, a->group, ranges[range]);
    else rs_text_buffer_print(b, "; %s %u bits %s, clip %g, %s, range %s", what, a->bits, form, a->clip, all, ranges[range]);
}

// What the peer makes of the options, recipes aside: the scale of a span of weights, the quantisers of inputs, K and V.
static void print_compat(rs_text_buffer *b, const rs_pack_options *o, const rs_plan *plan, bool json)
{
    const rs_compat *c = rs_compat_of(o->scheme.peer);
    const double top = (double)(1 << (o->scheme.w_bits % 16)) / 2 - (c->half ? 0.5 : 1);
    const rs_act of_o = rs_plan_act(plan, -1, RS_ROLE_O);
    if (o->scheme.peer == RS_PEER_NONE) return;
    rs_text_buffer_print(b, json ? ",\n  \"compat\": {\"name\": \"%s\"" : "compat %s: weights", c->name);
    if (o->scheme.w_bits >= 16) rs_text_buffer_print(b, json ? ", \"w_bits\": 16" : " not quantised");
    else
        rs_text_buffer_print(b, json ? ", \"w_bits\": %d, \"w_end\": %g, \"w_steps\": %d, \"w_group\": %" PRIu64 : " %d bits, scale max / %g, clip steps %d, group %" PRIu64, o->scheme.w_bits, top,
                             o->scheme.clip_steps, o->scheme.group);
    print_act(b, json ? "a" : "inputs", &plan->a, plan->a.range, "per token", json);
    if (of_o.group != plan->a.group) print_act(b, "o", &of_o, of_o.range, "per token", json);
    print_act(b, json ? "k" : "K", &plan->kv, plan->kv.range, "per token and head", json);
    print_act(b, json ? "v" : "V", &plan->kv, plan->v_range, "per token and head", json);
    rs_text_buffer_print(b, json ? "}" : "\n");
}

static void print_sum(rs_text_buffer *b, const char *what, const struct sum *s, bool json)
{
    if (json) rs_text_buffer_print(b, ",\n  \"%s\": {\"tensors\": %" PRIu64 ", \"weights\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"bits_per_weight\": %.4f}", what, s->tensors, s->elements, s->bytes, bits_each(s));
    else rs_text_buffer_print(b, "%s: %" PRIu64 " tensors, %" PRIu64 " weights, %" PRIu64 " bytes, %.4f bits per weight\n", what, s->tensors, s->elements, s->bytes, bits_each(s));
}

rs_status rs_pack_list(rs_stage *s, const rs_pack_options *options, bool json, rs_text_buffer *b, rs_error *e)
{
    struct sum matrices = {0}, all = {0};
    rs_head head;
    rs_frame f;
    rs_pack_options own = *options;
    const rs_pack_options *o = &own;
    rs_prelude *ahead;
    rs_status ready = rs_pack_ahead(&own, s->reader, &ahead, e);
    rs_prelude_free(ahead);
    RS_TRY(ready);
    RS_TRY(rs_pack_head(rs_reader_head(s->reader), o, &head, s->arena, e));
    if (json) rs_text_buffer_print(b, "{\n  \"tensors\": [");
    else rs_text_buffer_print(b, "%-44s %-6s %-7s %6s %-5s %-6s %2s %12s\n", "tensor", "role", "form", "group", "scale", "method", "a", "bytes");
    for (;;) {
        RS_TRY(rs_reader_next(s->reader, &f, e));
        if (f.type == RS_FRAME_END) break;
        if (f.type == RS_FRAME_TENS) RS_TRY(row(b, o, f.tensor, json, &matrices, &all, e));
        if (f.type != RS_FRAME_FILE || strcmp(f.file_name, "config.json") != 0) continue;
        uint8_t *bytes;
        rs_status st = rs_pack_config(s->reader, &f, o, &bytes, e);
        free(bytes);
        RS_TRY(st);
    }
    if (json) rs_text_buffer_print(b, "\n  ]");
    print_sum(b, json ? "matrices" : "q k v o gate up down", &matrices, json);
    print_sum(b, "all", &all, json);
    print_compat(b, o, &head.plan, json);
    if (json) rs_text_buffer_print(b, "\n}\n");
    return b->failed ? rs_fail(e, RS_E_NOMEM, "no memory for the list") : RS_OK;
}
