// SPDX-License-Identifier: Apache-2.0
// A table and JSON of a check of the integer kernels.
#include "inspect/kernels_report.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROOM = 4096 };

static void add(char *text, size_t *at, const char *fmt, ...) RS_PRINTF(3, 4);
static void add(char *text, size_t *at, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(text + *at, ROOM - *at, fmt, ap);
    va_end(ap);
    *at += n > 0 && (size_t)n < ROOM - *at ? (size_t)n : 0;
}

static void add_logits(char *text, size_t *at, const char *name, const rs_kernels_logits *l)
{
    add(text, at, "  %-18s KL %.3g (largest %.3g), max abs %.3g rel %.3g, top-1 %.2f %%\n", name, l->kl, l->kl_max, l->difference.max_abs, rs_measure_relative(&l->difference), 100 * l->top1);
}

char *rs_kernels_report_table(const rs_kernels_result *r)
{
    char *text = malloc(ROOM);
    size_t at = 0;
    if (text == NULL) return NULL;
    add(text, &at, "variants    ");
    for (size_t i = 0; i < r->n_variants; i++) add(text, &at, "%s%s", i > 0 ? ", " : "", r->variant[i]);
    add(text, &at, "\nrole   matrices  in f32   sums compared  codes compared  error/bound   at a boundary / codes\n");
    for (size_t i = 0; i < RS_KERNELS_ROLES; i++) {
        const rs_kernels_role *x = &r->role[i];
        add(text, &at, "%-6s %8llu %7llu %15llu %15llu %12.3f %15llu / %llu\n", rs_kernels_role_name(i), (unsigned long long)x->matrices, (unsigned long long)x->others, (unsigned long long)x->sums,
            (unsigned long long)x->codes, x->share, (unsigned long long)x->moved, (unsigned long long)x->inputs);
    }
    add(text, &at, "KV cache    %llu numbers read back; at a boundary %llu of %llu codes\n", (unsigned long long)r->cached, (unsigned long long)r->kv_moved, (unsigned long long)r->kv_inputs);
    for (size_t i = 0; r->device && i < RS_KERNELS_OPERATIONS; i++) {
        const rs_kernels_operation *o = &r->operation[i];
        if (o->runs == 0) add(text, &at, "device      %-10s the model has none\n", rs_kernels_operation_name(i));
        else if (i == RS_KERNELS_FUSED) add(text, &at, "device      %-10s %llu numbers, the bits of rmsnorm, codes and lowrank\n", rs_kernels_operation_name(i), (unsigned long long)o->numbers);
        else if (o->share == 0) add(text, &at, "device      %-10s %llu numbers, the reference's bits\n", rs_kernels_operation_name(i), (unsigned long long)o->numbers);
        else add(text, &at, "device      %-10s %llu numbers, differences %.3f of what is allowed\n", rs_kernels_operation_name(i), (unsigned long long)o->numbers, o->share);
    }
    add(text, &at, "stages      share of the difference that rounding may make:");
    for (size_t i = 0; i < RS_KERNELS_STAGES; i++) add(text, &at, "%s %s %.3f", i > 0 ? "," : "", rs_kernels_stage_name(i), r->stage[i]);
    add(text, &at, "\nlogits      of %llu tokens against the simulated network's; integer at most KL %.3g, rel %.3g\n", (unsigned long long)r->tokens, r->kl_bound, r->logits_bound);
    add_logits(text, &at, "integer", &r->integer);
    if (r->device) add_logits(text, &at, "on the device", &r->on_device);
    if (r->unequal == 0) add(text, &at, "  sums of codes in f32: equal to the integer network's, to the bit\n");
    else add_logits(text, &at, "sums of codes", &r->of_sums);
    add_logits(text, &at, "plain f32 kernels", &r->plain);
    add_logits(text, &at, "inputs nudged", &r->nudged);
    return text;
}

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null(); // JSON has no infinity
}

static json_t *logits(const rs_kernels_logits *l)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "kl", number(l->kl), "kl_max", number(l->kl_max), "abs", number(l->difference.max_abs), "rel", number(rs_measure_relative(&l->difference)), "top1",
                     number(l->top1));
}

const char *rs_kernels_report_line(const rs_kernels_flip *f, char *text, size_t cap)
{
    snprintf(text, cap, "layer %-3llu  input of %-4s  token %zu, column %zu: %.7f steps, %.3g from a boundary (%.3g allowed)", (unsigned long long)f->layer, f->what, f->token, f->column, f->at, f->distance,
             f->allowed);
    return text;
}

json_t *rs_kernels_report_flip(const rs_kernels_flip *f)
{
    return json_pack("{s:I, s:s, s:I, s:I, s:o, s:o, s:o}", "layer", (json_int_t)f->layer, "input", f->what, "token", (json_int_t)f->token, "column", (json_int_t)f->column, "at", number(f->at), "distance",
                     number(f->distance), "allowed", number(f->allowed));
}

void rs_kernels_report_json(json_t *j, const rs_kernels_result *r)
{
    json_t *variants = json_array(), *roles = json_object(), *stages = json_object();
    for (size_t i = 0; i < r->n_variants; i++) json_array_append_new(variants, json_string(r->variant[i]));
    for (size_t i = 0; i < RS_KERNELS_ROLES; i++) {
        const rs_kernels_role *x = &r->role[i];
        json_object_set_new(roles, rs_kernels_role_name(i),
                            json_pack("{s:I, s:I, s:I, s:I, s:o, s:I, s:I}", "matrices", (json_int_t)x->matrices, "f32", (json_int_t)x->others, "sums", (json_int_t)x->sums, "codes", (json_int_t)x->codes,
                                      "error_share", number(x->share), "inputs", (json_int_t)x->inputs, "at_boundary", (json_int_t)x->moved));
    }
    for (size_t i = 0; i < RS_KERNELS_STAGES; i++) json_object_set_new(stages, rs_kernels_stage_name(i), number(r->stage[i]));
    json_object_set_new(j, "variants", variants);
    json_object_set_new(j, "roles", roles);
    json_object_set_new(j, "kv", json_pack("{s:I, s:I, s:I}", "numbers", (json_int_t)r->cached, "inputs", (json_int_t)r->kv_inputs, "at_boundary", (json_int_t)r->kv_moved));
    json_object_set_new(j, "stages", stages);
    json_object_set_new(j, "logits", json_pack("{s:o, s:o, s:I, s:o, s:o, s:o, s:o}", "integer", logits(&r->integer), "sums", logits(&r->of_sums), "sums_unequal", (json_int_t)r->unequal, "plain", logits(&r->plain), "nudged", logits(&r->nudged), "kl_bound", number(r->kl_bound),
                                               "rel_bound", number(r->logits_bound)));
    if (r->device) {
        json_t *operations = json_object();
        for (size_t i = 0; i < RS_KERNELS_OPERATIONS; i++)
            json_object_set_new(operations, rs_kernels_operation_name(i), json_pack("{s:I, s:I, s:o}", "runs", (json_int_t)r->operation[i].runs, "numbers", (json_int_t)r->operation[i].numbers, "share", number(r->operation[i].share)));
        json_object_set_new(j, "operations", operations);
        json_object_set_new(j, "device_logits", logits(&r->on_device));
        json_object_set_new(j, "device", json_string(rs_kernels_cuda_device() != NULL ? rs_kernels_cuda_device() : ""));
    }
    json_object_set_new(j, "tokens", json_integer((json_int_t)r->tokens));
    json_object_set_new(j, "failures", json_integer((json_int_t)r->failures));
    if (r->failures > 0) json_object_set_new(j, "first", json_string(r->first));
}
