// SPDX-License-Identifier: Apache-2.0
// Verdicts about a stream as JSON.
#include "inspect/verify_report.h"

#include <math.h>
#include <stdio.h>

const char *rs_verify_report_hex(const uint8_t digest[16], char text[33])
{
    for (int i = 0; i < 16; i++) snprintf(text + 2 * i, 3, "%02x", digest[i]);
    return text;
}

json_t *rs_verify_report_verdict(const char *file, rs_status s, const rs_error *e)
{
    json_t *j = json_object();
    json_object_set_new(j, "file", json_string(file));
    json_object_set_new(j, "ok", json_boolean(s == RS_OK));
    json_object_set_new(j, "code", json_integer(s));
    if (s != RS_OK) json_object_set_new(j, "class", json_string(rs_status_name(s)));
    if (s != RS_OK && e->text[0] != 0) json_object_set_new(j, "text", json_string(e->text));
    return j;
}

void rs_verify_report_stream(json_t *j, const rs_verified *v)
{
    static const char *const resids[] = {"none", "lowrank", "dense"};
    char text[33];
    json_object_set_new(j, "checked", json_string(v->whole ? "full" : "quick"));
    json_object_set_new(j, "values", json_boolean(v->values));
    json_object_set_new(j, "frames", json_integer(v->frames));
    json_object_set_new(j, "tensors", json_integer(v->tensors));
    json_object_set_new(j, "size", json_integer((json_int_t)v->size));
    json_object_set_new(j, "digest", json_string(rs_verify_report_hex(v->digest, text)));
    if (v->whole) json_object_set_new(j, "tensor_digest", json_string(rs_verify_report_hex(v->tensor_digest, text)));
    json_object_set_new(j, "kind", json_string(v->head.kind == RS_KIND_WEIGHTS ? "weights" : "rotations"));
    json_object_set_new(j, "arch", json_string(v->head.arch));
    json_object_set_new(j, "model", json_string(v->head.model));
    json_object_set_new(j, "layers", json_integer((json_int_t)v->head.layers));
    if (v->head.kind != RS_KIND_WEIGHTS) return;
    const rs_plan *p = &v->head.plan;
    json_object_set_new(j, "plan", json_pack("{s:i, s:i, s:b, s:b, s:s, s:I}", "a_bits", (int)p->a.bits, "kv_bits", (int)p->kv.bits, "r3", (int)p->r3.on, "r4", (int)p->r4.on,
                                             "resid", resids[p->resid], "rank", (json_int_t)p->rank));
}

static json_t *number(double x)
{
    return json_real(isfinite(x) ? x : 1e308);
}

json_t *rs_verify_report_layer(const rs_against_layer *l)
{
    return json_pack("{s:I, s:f, s:o, s:f, s:o}", "layer", (json_int_t)l->layer, "k_abs", l->k.max_abs, "k_rel", number(rs_measure_relative(&l->k)), "ffn_abs", l->ffn.max_abs, "ffn_rel",
                     number(rs_measure_relative(&l->ffn)));
}

void rs_verify_report_against(json_t *j, const char *against, double tol, json_t *layers, const rs_against_result *r)
{
    json_object_set_new(j, "against", json_string(against));
    json_object_set_new(j, "tol", json_real(tol));
    json_object_set(j, "layers", layers);
    json_object_set_new(j, "first_layer", json_integer((json_int_t)r->first_layer));
    json_object_set_new(j, "logits_abs", json_real(r->logits.max_abs));
    json_object_set_new(j, "logits_rel", number(rs_measure_relative(&r->logits)));
    json_object_set_new(j, "kl", number(r->kl));
    json_object_set_new(j, "top1", json_real(r->top1));
    json_object_set_new(j, "tokens", json_integer((json_int_t)r->tokens));
}
