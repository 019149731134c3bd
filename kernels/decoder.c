// SPDX-License-Identifier: Apache-2.0
// One decoder layer forward: norm, quantise, project, rotate, attend, change basis, add, and the same for the gated FFN.
#include "kernels/decoder.h"

#include <string.h>

// One linear layer that reads an input shared with others: y [S, n] = quantised input times w^T + bias.
struct linear {
    const rs_quantizer *input;
    const float *w, *bias;
    const rs_int_weights *codes; // instead of w, or NULL
    size_t n;
    float *y;
};

// What every step needs; input, copy, work, change, codes are regions of the scratch (sizes in rs_decoder_scratch).
struct run {
    const rs_kernels *k;
    const rs_decoder_shape *shape;
    const rs_int_kernels *by;
    rs_kv_cache *cache; // or NULL
    size_t S, bad;
    float *x, *input, *copy, *work, *change;
    uint8_t *codes;
    rs_tap_fn *tap;
    void *context;
};

static bool same(const rs_quantizer *a, const rs_quantizer *b)
{
    if (a->bits >= 16 || b->bits >= 16)
        return a->bits >= 16 && b->bits >= 16;
    return a->bits == b->bits && a->sym == b->sym && a->clip == b->clip && a->group == b->group;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t region(size_t S, size_t columns)
{
    return (S * columns + 15) / 16 * 16;
}

static size_t input_columns(const rs_decoder_shape *s)
{
    return larger(s->d, s->n_q * s->h);
}

static size_t copy_columns(const rs_decoder_shape *s, const rs_decoder_layer *l)
{
    return same(&l->in_q, &l->in_k) && same(&l->in_q, &l->in_v) && same(&l->in_gate, &l->in_up) ? 0 : s->d;
}

static size_t work_columns(const rs_decoder_shape *s)
{
    return larger((s->n_q + 2 * s->n_kv) * s->h, 2 * s->f);
}

static size_t change_columns(const rs_decoder_shape *s, const rs_junction *j)
{
    return j->t != NULL ? s->d : 2 * j->r;
}

static size_t round64(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

// Scales, zero points and codes of S rows of k columns.
static size_t rows_bytes(size_t S, size_t k)
{
    return round64(S * 8) + round64(S * k);
}

// Bytes that an integer product needs for its rows and its work; or, with a cache, what is added to it (kv: of every setting).
static size_t codes_bytes(const rs_decoder_shape *s, const rs_decoder_layer *l, size_t S)
{
    const struct {
        const rs_int_weights *w;
        unsigned bits;
    } all[] = {{l->cq, l->in_q.bits}, {l->ck, l->in_k.bits}, {l->cv, l->in_v.bits}, {l->co, l->in_o.bits}, {l->cgate, l->in_gate.bits}, {l->cup, l->in_up.bits}, {l->cdown, l->in_down.bits}};
    const rs_kv_cache cache = {.q = l->kv, .n_kv = s->n_kv, .h = s->h};
    size_t most = l->by != NULL ? rs_kv_cache_work(&cache, S) : 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].w != NULL)
            most = larger(most, rows_bytes(S, all[i].w->k) + rs_int_gemm_work(l->by, all[i].w, all[i].bits, S));
    return most;
}

size_t rs_decoder_scratch(const rs_decoder_shape *s, const rs_decoder_layer *l, size_t S)
{
    // 64 values more, since work is cut into three parts (q k v) that start on multiples of 16, and codes on a multiple of 64 bytes
    return (region(S, input_columns(s)) + region(S, copy_columns(s, l)) + region(S, work_columns(s)) + 64 + region(S, larger(change_columns(s, &l->attn), change_columns(s, &l->ffn)))) *
               sizeof(float) +
           codes_bytes(s, l, S);
}

static void tap(const struct run *r, rs_tap which, size_t cols, const float *x)
{
    if (r->tap != NULL)
        r->tap(r->context, which, r->S, cols, x, cols);
}

static void add_bias(const struct run *r, size_t n, const float *bias, float *y)
{
    for (size_t s = 0; bias != NULL && s < r->S; s++)
        r->k->add(n, bias, y + s * n);
}

// Those of count linear layers that have codes and the quantiser of the first, over r->input [S, n].
static void multiply_codes(struct run *r, size_t n, size_t count, const struct linear *l, bool add, bool *done)
{
    rs_int_product products[3];
    size_t m = 0;
    rs_int_rows rows = {.bits = l->input->bits, .m = r->S, .k = n, .ld = n, .scale = (float *)(void *)r->codes, .zero = (int32_t *)(void *)(r->codes + r->S * 4), .codes = r->codes + round64(r->S * 8)};
    r->bad += rs_int_quantise(r->by, l->input, r->input, n, &rows);
    for (size_t i = 0; i < count; i++)
        if (!done[i] && l[i].codes != NULL && same(l[i].input, l->input)) {
            products[m++] = (rs_int_product){.w = l[i].codes, .y = l[i].y, .ldy = l[i].n, .add = add};
            done[i] = true;
        }
    rs_int_gemm(r->by, m, products, &rows, r->codes + rows_bytes(r->S, n));
    for (size_t i = 0; i < count; i++)
        if (l[i].codes != NULL && same(l[i].input, l->input))
            add_bias(r, l[i].n, l[i].bias, l[i].y);
}

// Runs count linear layers over r->input [S, n]; where their quantisers differ, the input is quantised once for each setting, and the tap sees each.
static void project(struct run *r, size_t n, rs_tap raw, size_t count, const struct linear *l, float beta)
{
    bool done[3] = {false};
    tap(r, raw, n, r->input);
    for (size_t i = 0; i < count; i++)
        if (!done[i] && l[i].codes != NULL)
            multiply_codes(r, n, count - i, l + i, beta != 0, done + i);
    for (size_t i = 0; i < count; i++) {
        if (done[i])
            continue;
        bool last = true;
        for (size_t j = i + 1; j < count; j++)
            last = last && (done[j] || same(l[i].input, l[j].input));
        float *in = last ? r->input : r->copy;
        if (!last)
            memcpy(in, r->input, r->S * n * sizeof *in);
        if (l[i].input->bits < 16)
            r->bad += r->k->fake_quant(l[i].input, r->S, n, in, n);
        tap(r, raw + 1, n, in);
        for (size_t j = i; j < count; j++)
            if (!done[j] && same(l[i].input, l[j].input)) {
                r->k->gemm_nt(r->S, l[j].n, n, in, n, l[j].w, n, beta, l[j].y, l[j].n);
                add_bias(r, l[j].n, l[j].bias, l[j].y);
                done[j] = true;
            }
    }
}

static void junction(const struct run *r, const rs_junction *j)
{
    const size_t S = r->S, d = r->shape->d;
    if (j->t != NULL) {
        r->k->gemm_nn(S, d, d, r->x, d, j->t, d, 0, r->change, d);
        memcpy(r->x, r->change, S * d * sizeof(float));
    } else if (j->r > 0) {
        float *y = r->change, *z = y + S * j->r;
        r->k->gemm_nn(S, j->r, d, r->x, d, j->q, j->r, 0, y, j->r);
        r->k->gemm_nn(S, j->r, j->r, y, j->r, j->m, j->r, 0, z, j->r);
        r->k->gemm_nt(S, d, j->r, z, j->r, j->q, j->r, 1, r->x, d);
    }
}

static void attention_half(struct run *r, const rs_decoder_layer *l, const float *cos, const float *sin)
{
    const rs_decoder_shape *s = r->shape;
    const size_t S = r->S, nq = s->n_q * s->h, nkv = s->n_kv * s->h;
    float *q = r->work, *k = q + region(S, nq), *v = k + region(S, nkv);
    tap(r, RS_TAP_STREAM_ATTN, s->d, r->x);
    r->k->rmsnorm(S, s->d, r->x, l->norm_attn, s->eps, r->input);
    project(r, s->d, RS_TAP_QKV_RAW, 3, (struct linear[]){{&l->in_q, l->wq, l->bq, l->cq, nq, q}, {&l->in_k, l->wk, l->bk, l->ck, nkv, k}, {&l->in_v, l->wv, l->bv, l->cv, nkv, v}}, 0);
    r->k->rope(S, s->n_q, s->h, q, nq, cos, sin);
    r->k->rope(S, s->n_kv, s->h, k, nkv, cos, sin);
    if (s->r3 != NULL) {
        r->k->hadamard(s->r3, S * s->n_q, q, s->h, false);
        r->k->hadamard(s->r3, S * s->n_kv, k, s->h, false);
    }
    tap(r, RS_TAP_Q, nq, q);
    tap(r, RS_TAP_K_RAW, nkv, k);
    tap(r, RS_TAP_V_RAW, nkv, v);
    if (r->cache != NULL) {
        r->bad += rs_kv_cache_append(r->cache, r->by, S, k, v, r->codes);
        r->k->attention_cached(r->cache, S, s->n_q, q, r->input);
    } else if (l->kv.bits < 16) {
        r->bad += r->k->fake_quant(&l->kv, S * s->n_kv, s->h, k, s->h);
        r->bad += r->k->fake_quant(&l->kv, S * s->n_kv, s->h, v, s->h);
    }
    if (r->cache == NULL)
        r->k->attention(S, s->n_q, s->n_kv, s->h, q, k, v, r->input);
    junction(r, &l->attn);
    project(r, nq, RS_TAP_O_RAW, 1, &(struct linear){&l->in_o, l->wo, l->bo, l->co, s->d, r->x}, 1);
}

static void ffn_half(struct run *r, const rs_decoder_layer *l)
{
    const rs_decoder_shape *s = r->shape;
    const size_t S = r->S;
    float *gate = r->work, *up = gate + region(S, s->f);
    tap(r, RS_TAP_STREAM_FFN, s->d, r->x);
    r->k->rmsnorm(S, s->d, r->x, l->norm_ffn, s->eps, r->input);
    project(r, s->d, RS_TAP_GATE_UP_RAW, 2, (struct linear[]){{&l->in_gate, l->wgate, l->bgate, l->cgate, s->f, gate}, {&l->in_up, l->wup, l->bup, l->cup, s->f, up}}, 0);
    r->k->silu_gate(S * s->f, gate, up, gate);
    if (s->r4 != NULL)
        r->k->hadamard(s->r4, S, gate, s->f, false);
    junction(r, &l->ffn);
    struct run down = *r; // the same, reading gate
    down.input = gate;
    project(&down, s->f, RS_TAP_DOWN_RAW, 1, &(struct linear){&l->in_down, l->wdown, l->bdown, l->cdown, s->d, r->x}, 1);
    r->bad = down.bad;
}

size_t rs_decoder_forward(const rs_kernels *k, const rs_decoder_shape *shape, const rs_decoder_layer *layer, size_t S, const float *cos, const float *sin, float *x, void *scratch,
                          rs_tap_fn *tap_fn, void *context)
{
    return rs_decoder_halves(k, shape, layer, RS_HALF_BOTH, S, cos, sin, x, scratch, tap_fn, context);
}

static size_t run(struct run r, const rs_decoder_layer *layer, rs_half halves, const float *cos, const float *sin, void *scratch)
{
    if (r.S == 0)
        return 0;
    r.by = layer->by;
    r.input = scratch;
    r.copy = r.input + region(r.S, input_columns(r.shape));
    r.work = r.copy + region(r.S, copy_columns(r.shape, layer));
    r.change = r.work + region(r.S, work_columns(r.shape)) + 48;
    const size_t change = region(r.S, larger(change_columns(r.shape, &layer->attn), change_columns(r.shape, &layer->ffn)));
    r.codes = (uint8_t *)scratch + round64(((size_t)(r.change - r.input) + change) * sizeof(float));
    if (halves & RS_HALF_ATTN) attention_half(&r, layer, cos, sin);
    if (halves & RS_HALF_FFN) ffn_half(&r, layer);
    return r.bad;
}

size_t rs_decoder_halves(const rs_kernels *k, const rs_decoder_shape *shape, const rs_decoder_layer *layer, rs_half halves, size_t S, const float *cos, const float *sin, float *x, void *scratch,
                         rs_tap_fn *tap_fn, void *context)
{
    return run((struct run){.k = k, .shape = shape, .S = S, .x = x, .tap = tap_fn, .context = context}, layer, halves, cos, sin, scratch);
}

size_t rs_decoder_cached(const rs_kernels *k, const rs_decoder_shape *shape, const rs_decoder_layer *layer, rs_kv_cache *cache, size_t S, const float *cos, const float *sin, float *x,
                         void *scratch)
{
    return run((struct run){.k = k, .shape = shape, .cache = cache, .S = S, .x = x}, layer, RS_HALF_BOTH, cos, sin, scratch);
}
