// SPDX-License-Identifier: Apache-2.0
// One layer of the integer network on a device: its weights go there, all its operations run there, and the stream comes back.
#include <stdlib.h>
#include <string.h>

#include "inspect/kernels_inside.h"

enum { MOST = 96, ROLES = 7 };

// What was put on the device for the layer.
typedef struct pool {
    const rs_memory *m;
    void *all[MOST];
    size_t n;
    bool full;
} pool;

static void *room(pool *p, size_t bytes)
{
    void *a = p->n < MOST ? p->m->alloc(bytes) : NULL;
    if (a != NULL) p->all[p->n++] = a;
    else p->full = true;
    return a;
}

// A copy there; NULL of NULL.
static void *lift(pool *p, const void *from, size_t bytes)
{
    void *a = from != NULL ? room(p, bytes) : NULL;
    if (a != NULL) p->m->put(a, from, bytes);
    return a;
}

static void lift_floats(pool *p, const float **x, size_t count)
{
    *x = lift(p, *x, count * sizeof **x);
}

// A linear layer: codes into *to where there are any, or else the weight.
static void lift_linear(pool *p, const rs_int_weights **codes, rs_int_weights *to, const float **w, const float **bias, size_t n, size_t k)
{
    lift_floats(p, bias, n);
    if (*codes == NULL) {
        lift_floats(p, w, n * k);
        return;
    }
    const size_t scales = n * ((*codes)->group != 0 ? k / (*codes)->group : 1);
    *to = **codes;
    to->codes = lift(p, to->codes, n * ((k * to->bits + 7) / 8));
    to->scales = lift(p, to->scales, scales * sizeof *to->scales);
    to->scales_16 = lift(p, to->scales_16, scales * sizeof *to->scales_16);
    to->sums = lift(p, to->sums, scales * sizeof *to->sums);
    *codes = to;
    *w = NULL;
}

static void lift_junction(pool *p, rs_junction *j, size_t d)
{
    lift_floats(p, &j->q, d * j->r);
    lift_floats(p, &j->m, j->r * j->r);
    lift_floats(p, &j->t, d * d);
}

static void lift_layer(pool *p, const rs_decoder_shape *h, rs_decoder_layer *l, rs_int_weights to[ROLES])
{
    const size_t d = h->d, nq = h->n_q * h->h, nkv = h->n_kv * h->h, f = h->f;
    lift_floats(p, &l->norm_attn, d);
    lift_floats(p, &l->norm_ffn, d);
    lift_linear(p, &l->cq, &to[0], &l->wq, &l->bq, nq, d);
    lift_linear(p, &l->ck, &to[1], &l->wk, &l->bk, nkv, d);
    lift_linear(p, &l->cv, &to[2], &l->wv, &l->bv, nkv, d);
    lift_linear(p, &l->co, &to[3], &l->wo, &l->bo, d, nq);
    lift_linear(p, &l->cgate, &to[4], &l->wgate, &l->bgate, f, d);
    lift_linear(p, &l->cup, &to[5], &l->wup, &l->bup, f, d);
    lift_linear(p, &l->cdown, &to[6], &l->wdown, &l->bdown, d, f);
    lift_junction(p, &l->attn, d);
    lift_junction(p, &l->ffn, d);
}

// Runs the layer that is there on x, as often as is asked for.
static rs_status run(rs_kernels_state *s, pool *p, const rs_decoder_shape *h, const rs_decoder_layer *l, rs_kv_cache *cache, const float *cos, const float *sin, float *x, rs_error *e)
{
    const size_t count = s->S * h->d, bytes = count * sizeof(float);
    float *there = room(p, bytes), *from = lift(p, x, bytes), *again = malloc(bytes);
    void *scratch = room(p, rs_decoder_scratch(h, l, s->S));
    rs_status status = p->full || again == NULL ? rs_fail(e, RS_E_NOMEM, "layer %llu on the device", (unsigned long long)s->layer) : RS_OK;
    for (size_t turn = 0; status == RS_OK && turn < rs_kernels_repeat(s); turn++) {
        const char *fault;
        cache->count = 0;
        p->m->move(there, from, bytes);
        (void)rs_decoder_cached(s->o->device, h, l, cache, s->S, cos, sin, there, scratch);
        p->m->get(turn == 0 ? x : again, there, bytes);
        const size_t bad = p->m->settle(&fault);
        if (fault != NULL) status = rs_fail(e, RS_E_INTERNAL, "layer %llu: the device failed: %s", (unsigned long long)s->layer, fault);
        else if (bad > 0) rs_kernels_fail(s, "layer %llu: the device refuses %zu rows", (unsigned long long)s->layer, bad);
        if (status == RS_OK && turn > 0 && memcmp(x, again, bytes) != 0) rs_kernels_fail(s, "layer %llu: run %zu of the device gives other bits", (unsigned long long)s->layer, turn + 1);
    }
    free(again);
    return status;
}

rs_status rs_kernels_device_layer(rs_kernels_state *s, rs_network *n, const rs_decoder_layer *integer, float *x, rs_error *e)
{
    const rs_decoder_shape *h = rs_network_shape(n);
    const size_t angles = s->S * (h->h / 2);
    const float *cos, *sin;
    pool p = {.m = s->o->device->memory};
    rs_int_weights to[ROLES];
    rs_decoder_layer l = *integer;
    rs_kv_cache cache;
    RS_TRY(rs_network_rope(n, s->S, &cos, &sin, e));
    RS_TRY(rs_network_cache(n, s->S, &cache, e));
    free(cache.memory);
    cache.memory = room(&p, rs_kv_cache_bytes(&cache));
    l.by = s->o->device_variants[s->o->n_device_variants - 1];
    lift_layer(&p, h, &l, to);
    lift_floats(&p, &cos, angles);
    lift_floats(&p, &sin, angles);
    const rs_status status = run(s, &p, h, &l, &cache, cos, sin, x, e);
    for (size_t i = 0; i < p.n; i++) p.m->release(p.all[i]);
    return status;
}
