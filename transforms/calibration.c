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

static const rs_memory *memory(const rs_calibration *c)
{
    return rs_memory_of(rs_network_kernels(c->n));
}

static uint64_t place(const rs_calibration *c, size_t s)
{
    return (uint64_t)(s - c->held) * length(c) * sizeof(float);
}

rs_status rs_calibration_get(const rs_calibration *c, size_t s, float *x, rs_error *e)
{
    const size_t n = length(c);
    if (s >= c->held) return rs_spool_get(c->fd, place(c, s), x, n * sizeof *x, e);
    memory(c)->get(x, c->x + s * n, n * sizeof *x);
    return RS_OK;
}

rs_status rs_calibration_put(rs_calibration *c, size_t s, const float *x, rs_error *e)
{
    const size_t n = length(c);
    if (s >= c->held) return rs_spool_put(c->fd, place(c, s), x, n * sizeof *x, e);
    memory(c)->put(c->x + s * n, x, n * sizeof *x);
    return RS_OK;
}

// Sequence s into the working copy, and back.
static rs_status fetch(rs_calibration *c, size_t s, rs_error *e)
{
    const size_t n = length(c);
    if (s < c->held) memory(c)->move(c->work, c->x + s * n, n * sizeof *c->x);
    else {
        RS_TRY(rs_calibration_get(c, s, c->copy, e));
        if (c->work != c->copy) memory(c)->put(c->work, c->copy, n * sizeof *c->copy);
    }
    return RS_OK;
}

static rs_status store(rs_calibration *c, size_t s, rs_error *e)
{
    if (c->work != c->copy) memory(c)->get(c->copy, c->work, length(c) * sizeof *c->copy);
    return rs_calibration_put(c, s, c->copy, e);
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

// Room for them. On a device that has none for all, fewer stay.
static rs_status allocate(rs_calibration *c, rs_error *e)
{
    const bool device = rs_network_kernels(c->n)->memory != NULL;
    const size_t one = length(c) * sizeof *c->x;
    c->copy = malloc(one);
    if (c->copy == NULL) return rs_fail(e, RS_E_NOMEM, "%zu bytes", one);
    c->work = c->copy;
    if (device) RS_TRY(rs_network_alloc(c->n, one, (void **)&c->work, e));
    while (c->held > 0) {
        rs_error why = {0};
        if (rs_network_alloc(c->n, c->held * one, (void **)&c->x, &why) == RS_OK) return RS_OK;
        if (!device) return rs_fail(e, RS_E_NOMEM, "%s", why.text);
        c->held /= 2;
        if (c->fd < 0) RS_TRY(rs_spool_file(&c->fd, e));
    }
    return RS_OK;
}

static rs_status embed(rs_calibration *c, const int32_t *ids, rs_error *e)
{
    for (size_t s = 0; s < c->samples; s++) {
        float *x = s < c->held ? c->x + s * length(c) : c->work;
        RS_TRY(rs_network_embed(c->n, c->ctx, ids + s * c->ctx, x, e));
        if (s >= c->held) RS_TRY(store(c, s, e));
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
    const rs_status s = allocate(c, e);
    if (s == RS_E_NOMEM && rs_network_kernels(n)->memory == NULL)
        return rs_error_prefix(e, s, "%llu bytes of hidden states for %llu calibration tokens; --mem keeps them in a file", (unsigned long long)bytes, (unsigned long long)tokens);
    return s == RS_OK ? embed(c, t->ids + t->skip, e) : s;
}

void rs_calibration_close(rs_calibration *c)
{
    if (c->n == NULL) return;
    memory(c)->release(c->x);
    if (c->work != c->copy) memory(c)->release(c->work);
    free(c->copy);
    if (c->fd >= 0) close(c->fd);
    c->x = c->copy = c->work = NULL;
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
        if (!there) RS_TRY(fetch(c, s, e));
        RS_TRY(rs_network_run(c->n, layer, halves, c->ctx, there ? c->x + s * length(c) : c->work, tap, context, e));
        if (keep && !there) RS_TRY(store(c, s, e));
        c->passed += halves == RS_HALF_BOTH ? 2 : 1;
        if (c->progress != NULL) c->progress(c->context, (double)c->passed);
    }
    return rs_network_settle(c->n, e);
}

rs_status rs_calibration_norm(rs_calibration *c, const float *gamma, rs_tap tap_id, rs_tap_fn *tap, void *context, rs_error *e)
{
    const rs_decoder_shape *shape = rs_network_shape(c->n);
    for (size_t s = 0; s < c->samples; s++) {
        RS_TRY(fetch(c, s, e));
        rs_network_kernels(c->n)->rmsnorm(c->ctx, shape->d, c->work, gamma, shape->eps, c->work);
        tap(context, tap_id, c->ctx, shape->d, c->work, shape->d);
    }
    return rs_network_settle(c->n, e);
}
