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
    rs_act a = rs_recipe_act(o->recipe, &o->a, t);
    RS_TRY(rs_pack_plan(o, t, &to, e));
    print_row(b, &to, rs_scheme_matrix(t) ? &a : NULL, json, all->tensors == 0);
    if (rs_scheme_matrix(t)) RS_TRY(add(matrices, &to.tensor, e));
    return add(all, &to.tensor, e);
}

static void print_sum(rs_text_buffer *b, const char *what, const struct sum *s, bool json)
{
    if (json) rs_text_buffer_print(b, ",\n  \"%s\": {\"tensors\": %" PRIu64 ", \"weights\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"bits_per_weight\": %.4f}", what, s->tensors, s->elements, s->bytes, bits_each(s));
    else rs_text_buffer_print(b, "%s: %" PRIu64 " tensors, %" PRIu64 " weights, %" PRIu64 " bytes, %.4f bits per weight\n", what, s->tensors, s->elements, s->bytes, bits_each(s));
}

rs_status rs_pack_list(rs_stage *s, const rs_pack_options *o, bool json, rs_text_buffer *b, rs_error *e)
{
    struct sum matrices = {0}, all = {0};
    rs_head head;
    rs_frame f;
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
    if (json) rs_text_buffer_print(b, "\n}\n");
    return b->failed ? rs_fail(e, RS_E_NOMEM, "no memory for the list") : RS_OK;
}
