// SPDX-License-Identifier: Apache-2.0
// The norm of a stream, its codes and its change of basis, which a device makes in one go, against the same operations of that device one by one: to the bit.
#include <stdlib.h>
#include <string.h>

#include "inspect/kernels_inside.h"

enum { STREAM, GAMMA, Q, M, NORMED, WORK, CODES, SCALES, ZEROS, ARRAYS };

// What lies on the device for one way of computing; what comes back of it.
typedef struct way {
    void *there[ARRAYS];
    uint8_t *here; // stream, codes, scales, zeros
} way;

static size_t size_of(size_t array, size_t S, size_t d, size_t r)
{
    const size_t sizes[ARRAYS] = {[STREAM] = S * d * 4, [GAMMA] = d * 4, [Q] = d * r * 4, [M] = r * r * 4, [NORMED] = S * d * 4, [WORK] = 2 * S * r * 4, [CODES] = S * d, [SCALES] = S * 4, [ZEROS] = S * 4};
    return sizes[array];
}

static bool open_way(const rs_memory *m, way *w, size_t S, size_t d, size_t r, const void *const from[ARRAYS])
{
    w->here = malloc(S * d * 5 + S * 8);
    bool ok = w->here != NULL;
    for (size_t i = 0; i < ARRAYS && ok; i++) {
        const size_t bytes = size_of(i, S, d, r);
        if (i == GAMMA && from[i] == NULL) continue;
        ok = (w->there[i] = m->alloc(bytes)) != NULL;
        if (ok && from[i] != NULL) m->put(w->there[i], from[i], bytes);
    }
    return ok;
}

static void close_way(const rs_memory *m, way *w)
{
    for (size_t i = 0; i < ARRAYS; i++) m->release(w->there[i]);
    free(w->here);
}

// False: the device does not make it in one go.
static bool run(const rs_kernels *k, const rs_int_kernels *by, way *w, size_t S, size_t d, size_t r, float eps, const rs_quantizer *q, bool fused)
{
    const rs_int_rows rows = {.bits = q->bits, .m = S, .k = d, .ld = d, .codes = w->there[CODES], .scale = w->there[SCALES], .zero = w->there[ZEROS]};
    const rs_int_stream stream = {.x = w->there[STREAM], .gamma = w->there[GAMMA], .eps = eps, .r = r, .q = w->there[Q], .m = w->there[M]};
    if (fused) return rs_int_norm_quantise(by, q, &stream, &rows);
    k->rmsnorm(S, d, stream.x, stream.gamma, eps, w->there[NORMED]);
    (void)rs_int_quantise(by, q, w->there[NORMED], d, &rows);
    if (r > 0) k->lowrank(S, d, r, stream.x, stream.q, stream.m, w->there[WORK]);
    return true;
}

static void fetch(const rs_memory *m, way *w, size_t S, size_t d)
{
    m->get(w->here, w->there[STREAM], S * d * 4);
    m->get(w->here + S * d * 4, w->there[CODES], S * d);
    m->get(w->here + S * d * 5, w->there[SCALES], S * 4);
    m->get(w->here + S * d * 5 + S * 4, w->there[ZEROS], S * 4);
}

static void compare(rs_kernels_state *s, const char *where, const way *one, const way *by_one, size_t d)
{
    rs_kernels_operation *o = &s->r->operation[RS_KERNELS_FUSED];
    const size_t S = s->S, bytes = S * d * 5 + S * 8;
    o->runs++;
    o->numbers += 2 * S * d;
    for (size_t i = 0; i < bytes; i++) {
        if (one->here[i] == by_one->here[i]) continue;
        const bool stream = i < S * d * 4, code = !stream && i < S * d * 5;
        const size_t at = stream ? i / 4 : i - S * d * 4;
        if (stream || code) rs_kernels_fail(s, "layer %llu, %s of %s on %s: token %zu, column %zu: the %s is another than that of the operations one by one", (unsigned long long)s->layer, rs_kernels_operation_name(RS_KERNELS_FUSED), where,
                                            s->o->device->name, at / d, at % d, stream ? "stream" : "code");
        else rs_kernels_fail(s, "layer %llu, %s of %s on %s: a scale or zero point is another than that of the operations one by one", (unsigned long long)s->layer, rs_kernels_operation_name(RS_KERNELS_FUSED), where, s->o->device->name);
        return;
    }
}

rs_status rs_kernels_fused(rs_kernels_state *s, const char *where, const rs_decoder_shape *h, const rs_quantizer *q, const float *gamma, const rs_junction *j, const float *x, rs_error *e)
{
    const rs_kernels *k = s->o->device;
    const rs_int_kernels *by = s->o->device_variants[s->o->n_device_variants - 1];
    const rs_memory *m = k->memory;
    const size_t S = s->S, d = h->d, r = j->q != NULL ? j->r : 0;
    const void *const from[ARRAYS] = {[STREAM] = x, [GAMMA] = gamma, [Q] = j->q, [M] = j->m};
    way one = {.here = NULL}, by_one = {.here = NULL};
    if (q->bits >= 16 || (q->group != 0 && q->group != d) || q->range == RS_RANGE_FREE || j->t != NULL) return RS_OK;
    rs_status status = open_way(m, &one, S, d, r, from) && open_way(m, &by_one, S, d, r, from) ? RS_OK : rs_fail(e, RS_E_NOMEM, "%s of %s on the device", rs_kernels_operation_name(RS_KERNELS_FUSED), where);
    for (size_t turn = 0; status == RS_OK && turn < rs_kernels_repeat(s); turn++) {
        const char *fault;
        m->put(one.there[STREAM], x, S * d * 4);
        if (turn == 0) (void)run(k, by, &by_one, S, d, r, h->eps, q, false);
        const bool made = run(k, by, &one, S, d, r, h->eps, q, true);
        if (turn == 0) fetch(m, &by_one, S, d);
        fetch(m, &one, S, d);
        (void)m->settle(&fault);
        if (fault != NULL) status = rs_fail(e, RS_E_INTERNAL, "%s of %s: the device failed: %s", rs_kernels_operation_name(RS_KERNELS_FUSED), where, fault);
        else if (made) compare(s, where, &one, &by_one, d);
    }
    close_way(m, &one);
    close_way(m, &by_one);
    return status;
}
