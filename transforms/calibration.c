// SPDX-License-Identifier: Apache-2.0
// Calibration text on its walk through the layers.
#include "transforms/calibration.h"

#include <stdlib.h>
#include <string.h>

rs_status rs_calibration_open(rs_calibration *c, rs_network *n, const rs_calibration_text *t, rs_error *e)
{
    const uint64_t d = rs_network_config(n)->d;
    uint64_t tokens, need, bytes;
    memset(c, 0, sizeof *c);
    if (!rs_mul_ok(t->samples, t->ctx, &tokens) || !rs_add_ok(tokens, t->skip, &need) || !rs_mul_ok(tokens, d * sizeof(float), &bytes)) return rs_fail(e, RS_E_LIMIT, "too many calibration tokens");
    if (tokens == 0) return rs_fail(e, RS_USAGE, "no calibration tokens");
    if (need > t->count)
        return rs_fail(e, RS_USAGE, "the calibration text has %zu tokens; %zu sequences of %zu after the first %zu need %llu", t->count, t->samples, t->ctx, t->skip, (unsigned long long)need);
    *c = (rs_calibration){.n = n, .samples = t->samples, .ctx = t->ctx, .x = malloc(bytes), .copy = malloc(t->ctx * d * sizeof(float))};
    if (c->x == NULL || c->copy == NULL) return rs_fail(e, RS_E_NOMEM, "%llu bytes of hidden states for %llu calibration tokens", (unsigned long long)bytes, (unsigned long long)tokens);
    return rs_network_embed(n, tokens, t->ids + t->skip, c->x, e);
}

void rs_calibration_close(rs_calibration *c)
{
    free(c->x);
    free(c->copy);
    c->x = c->copy = NULL;
}

rs_status rs_calibration_load(rs_calibration *c, uint64_t i, rs_decoder_layer *layer, rs_error *e)
{
    const rs_decoder_layer *loaded;
    const rs_quantizer off = {.bits = 16};
    RS_TRY(rs_network_load(c->n, i, &loaded, e));
    *layer = *loaded;
    layer->in_q = layer->in_k = layer->in_v = layer->in_o = layer->in_gate = layer->in_up = layer->in_down = layer->kv = off;
    return RS_OK;
}

rs_status rs_calibration_pass(rs_calibration *c, const rs_decoder_layer *layer, rs_half halves, bool keep, rs_tap_fn *tap, void *context, rs_error *e)
{
    const size_t size = c->ctx * rs_network_shape(c->n)->d;
    for (size_t s = 0; s < c->samples; s++) {
        float *x = keep ? c->x + s * size : memcpy(c->copy, c->x + s * size, size * sizeof *x);
        RS_TRY(rs_network_run(c->n, layer, halves, c->ctx, x, tap, context, e));
        c->passed += halves == RS_HALF_BOTH ? 2 : 1;
        if (c->progress != NULL) c->progress(c->context, (double)c->passed);
    }
    return RS_OK;
}

void rs_calibration_norm(rs_calibration *c, const float *gamma, rs_tap tap_id, rs_tap_fn *tap, void *context)
{
    const rs_decoder_shape *shape = rs_network_shape(c->n);
    for (size_t s = 0; s < c->samples; s++) {
        rs_network_kernels(c->n)->rmsnorm(c->ctx, shape->d, c->x + s * c->ctx * shape->d, gamma, shape->eps, c->copy);
        tap(context, tap_id, c->ctx, shape->d, c->copy, shape->d);
    }
}
