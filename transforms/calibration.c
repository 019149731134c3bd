// SPDX-License-Identifier: Apache-2.0
// Calibration text on its walk through the layers.
#include "transforms/calibration.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/spool.h"

// Floats of one sequence.
static size_t length(const rs_calibration *c)
{
    return c->ctx * rs_network_shape(c->n)->d;
}

static uint64_t place(const rs_calibration *c, size_t s)
{
    return (uint64_t)(s - c->held) * length(c) * sizeof(float);
}

rs_status rs_calibration_get(const rs_calibration *c, size_t s, float *x, rs_error *e)
{
    const size_t n = length(c);
    if (s >= c->held) return rs_spool_get(c->fd, place(c, s), x, n * sizeof *x, e);
    memcpy(x, c->x + s * n, n * sizeof *x);
    return RS_OK;
}

rs_status rs_calibration_put(rs_calibration *c, size_t s, const float *x, rs_error *e)
{
    const size_t n = length(c);
    if (s >= c->held) return rs_spool_put(c->fd, place(c, s), x, n * sizeof *x, e);
    memcpy(c->x + s * n, x, n * sizeof *x);
    return RS_OK;
}

// How many sequences stay in memory; one more is the copy that is worked on.
static rs_status hold(rs_calibration *c, uint64_t mem, rs_error *e)
{
    const uint64_t one = (uint64_t)length(c) * sizeof(float);
    c->held = c->samples;
    if (mem == 0 || mem / one > c->samples) return RS_OK;
    if (mem < one)
        return rs_fail(e, RS_USAGE, "--mem: %llu bytes do not hold the stream of one sequence of %zu tokens, %llu bytes", (unsigned long long)mem, c->ctx, (unsigned long long)one);
    c->held = (size_t)(mem / one) - 1;
    return rs_spool_file(&c->fd, e);
}

static rs_status embed(rs_calibration *c, const int32_t *ids, rs_error *e)
{
    for (size_t s = 0; s < c->samples; s++) {
        RS_TRY(rs_network_embed(c->n, c->ctx, ids + s * c->ctx, c->copy, e));
        RS_TRY(rs_calibration_put(c, s, c->copy, e));
    }
    return RS_OK;
}

rs_status rs_calibration_open(rs_calibration *c, rs_network *n, const rs_calibration_text *t, rs_error *e)
{
    const uint64_t d = rs_network_config(n)->d;
    uint64_t tokens, need, bytes;
    *c = (rs_calibration){.n = n, .samples = t->samples, .ctx = t->ctx, .fd = -1};
    if (!rs_mul_ok(t->samples, t->ctx, &tokens) || !rs_add_ok(tokens, t->skip, &need) || !rs_mul_ok(tokens, d * sizeof(float), &bytes)) return rs_fail(e, RS_E_LIMIT, "too many calibration tokens");
    if (tokens == 0) return rs_fail(e, RS_USAGE, "no calibration tokens");
    if (need > t->count)
        return rs_fail(e, RS_USAGE, "the calibration text has %zu tokens; %zu sequences of %zu after the first %zu need %llu", t->count, t->samples, t->ctx, t->skip, (unsigned long long)need);
    RS_TRY(hold(c, t->mem, e));
    c->x = malloc(c->held * length(c) * sizeof *c->x + 1);
    c->copy = malloc(length(c) * sizeof *c->copy);
    if (c->x == NULL || c->copy == NULL)
        return rs_fail(e, RS_E_NOMEM, "%llu bytes of hidden states for %llu calibration tokens; --mem keeps them in a file", (unsigned long long)bytes, (unsigned long long)tokens);
    return embed(c, t->ids + t->skip, e);
}

void rs_calibration_close(rs_calibration *c)
{
    free(c->x);
    free(c->copy);
    if (c->n != NULL && c->fd >= 0) close(c->fd);
    c->x = c->copy = NULL;
    c->fd = -1;
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
    for (size_t s = 0; s < c->samples; s++) {
        if (!keep && c->stop != NULL && c->stop(c->context)) return RS_NO;
        const bool there = keep && s < c->held;
        float *x = there ? c->x + s * length(c) : c->copy;
        if (!there) RS_TRY(rs_calibration_get(c, s, x, e));
        RS_TRY(rs_network_run(c->n, layer, halves, c->ctx, x, tap, context, e));
        if (keep && !there) RS_TRY(rs_calibration_put(c, s, x, e));
        c->passed += halves == RS_HALF_BOTH ? 2 : 1;
        if (c->progress != NULL) c->progress(c->context, (double)c->passed);
    }
    return RS_OK;
}

rs_status rs_calibration_norm(rs_calibration *c, const float *gamma, rs_tap tap_id, rs_tap_fn *tap, void *context, rs_error *e)
{
    const rs_decoder_shape *shape = rs_network_shape(c->n);
    for (size_t s = 0; s < c->samples; s++) {
        RS_TRY(rs_calibration_get(c, s, c->copy, e));
        rs_network_kernels(c->n)->rmsnorm(c->ctx, shape->d, c->copy, gamma, shape->eps, c->copy);
        tap(context, tap_id, c->ctx, shape->d, c->copy, shape->d);
    }
    return RS_OK;
}
