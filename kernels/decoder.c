// SPDX-License-Identifier: Apache-2.0
// One decoder layer forward: norm, quantise, project, rotate, attend, change basis, add, and the same for the gated FFN.
#include "kernels/decoder.h"

#include <string.h>

// One linear layer that reads an input shared with others: y [S, n] = quantised input times w^T + bias.
struct linear {
    const rs_quantizer *input;
    const float *w, *bias;
    size_t n;
    float *y;
};

// What every step needs; input, copy, work, change are regions of the scratch (sizes in rs_decoder_scratch).
struct run {
    const rs_kernels *k;
    const rs_decoder_shape *shape;
    size_t S, bad;
    float *x, *input, *copy, *work, *change;
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

size_t rs_decoder_scratch(const rs_decoder_shape *s, const rs_decoder_layer *l, size_t S)
{
    // 48 values more, since work is cut into three parts (q k v) that start on multiples of 16
    return (region(S, input_columns(s)) + region(S, copy_columns(s, l)) + region(S, work_columns(s)) + 48 + region(S, larger(change_columns(s, &l->attn), change_columns(s, &l->ffn)))) *
           sizeof(float);
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

// Runs count linear layers over r->input [S, n]; where their quantisers differ, the input is quantised once for each setting, and the tap sees each.
static void project(struct run *r, size_t n, rs_tap raw, size_t count, const struct linear *l, float beta)
{
    bool done[3] = {false};
    tap(r, raw, n, r->input);
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
    project(r, s->d, RS_TAP_QKV_RAW, 3, (struct linear[]){{&l->in_q, l->wq, l->bq, nq, q}, {&l->in_k, l->wk, l->bk, nkv, k}, {&l->in_v, l->wv, l->bv, nkv, v}}, 0);
    r->k->rope(S, s->n_q, s->h, q, nq, cos, sin);
    r->k->rope(S, s->n_kv, s->h, k, nkv, cos, sin);
    if (s->r3 != NULL) {
        r->k->hadamard(s->r3, S * s->n_q, q, s->h, false);
        r->k->hadamard(s->r3, S * s->n_kv, k, s->h, false);
    }
    tap(r, RS_TAP_K_RAW, nkv, k);
    tap(r, RS_TAP_V_RAW, nkv, v);
    if (l->kv.bits < 16) {
        r->bad += r->k->fake_quant(&l->kv, S * s->n_kv, s->h, k, s->h);
        r->bad += r->k->fake_quant(&l->kv, S * s->n_kv, s->h, v, s->h);
    }
    r->k->attention(S, s->n_q, s->n_kv, s->h, q, k, v, r->input);
    junction(r, &l->attn);
    project(r, nq, RS_TAP_O_RAW, 1, &(struct linear){&l->in_o, l->wo, l->bo, s->d, r->x}, 1);
}

static void ffn_half(struct run *r, const rs_decoder_layer *l)
{
    const rs_decoder_shape *s = r->shape;
    const size_t S = r->S;
    float *gate = r->work, *up = gate + region(S, s->f);
    tap(r, RS_TAP_STREAM_FFN, s->d, r->x);
    r->k->rmsnorm(S, s->d, r->x, l->norm_ffn, s->eps, r->input);
    project(r, s->d, RS_TAP_GATE_UP_RAW, 2, (struct linear[]){{&l->in_gate, l->wgate, l->bgate, s->f, gate}, {&l->in_up, l->wup, l->bup, s->f, up}}, 0);
    r->k->silu_gate(S * s->f, gate, up, gate);
    if (s->r4 != NULL)
        r->k->hadamard(s->r4, S, gate, s->f, false);
    junction(r, &l->ffn);
    struct run down = *r; // the same, reading gate
    down.input = gate;
    project(&down, s->f, RS_TAP_DOWN_RAW, 1, &(struct linear){&l->in_down, l->wdown, l->bdown, s->d, r->x}, 1);
    r->bad = down.bad;
}

size_t rs_decoder_forward(const rs_kernels *k, const rs_decoder_shape *shape, const rs_decoder_layer *layer, size_t S, const float *cos, const float *sin, float *x, void *scratch,
                          rs_tap_fn *tap_fn, void *context)
{
    return rs_decoder_halves(k, shape, layer, RS_HALF_BOTH, S, cos, sin, x, scratch, tap_fn, context);
}

size_t rs_decoder_halves(const rs_kernels *k, const rs_decoder_shape *shape, const rs_decoder_layer *layer, rs_half halves, size_t S, const float *cos, const float *sin, float *x, void *scratch,
                         rs_tap_fn *tap_fn, void *context)
{
    struct run r = {.k = k, .shape = shape, .S = S, .x = x, .input = scratch, .tap = tap_fn, .context = context};
    if (S == 0)
        return 0;
    r.copy = r.input + region(S, input_columns(shape));
    r.work = r.copy + region(S, copy_columns(shape, layer));
    r.change = r.work + region(S, work_columns(shape)) + 48;
    if (halves & RS_HALF_ATTN) attention_half(&r, layer, cos, sin);
    if (halves & RS_HALF_FFN) ffn_half(&r, layer);
    return r.bad;
}
