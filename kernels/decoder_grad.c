// SPDX-License-Identifier: Apache-2.0
// A decoder layer in its original basis with rotated quantisers, forward and backward.
#include "kernels/decoder_grad.h"

#include <string.h>

#include "kernels/cpu/pieces.h"
#include "kernels/threads.h"

// What the forward pass keeps, [S, columns] each: z = n R before quantising; q and k^ after RoPE and r3; v before quantising; a the output of attention; x the stream between the halves.
struct kept {
    float *z_attn, *q, *k, *v, *a, *x, *z_ffn, *gate, *up;
};

static size_t region(size_t S, size_t columns)
{
    return (S * columns + 15) / 16 * 16;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static struct kept lay_out(const rs_decoder_shape *s, size_t S, float *at)
{
    const size_t d = region(S, s->d), nq = region(S, s->n_q * s->h), nkv = region(S, s->n_kv * s->h), f = region(S, s->f);
    struct kept k;
    k.z_attn = at;
    k.q = k.z_attn + d;
    k.k = k.q + nq;
    k.v = k.k + nkv;
    k.a = k.v + nkv;
    k.x = k.a + nq;
    k.z_ffn = k.x + d;
    k.gate = k.z_ffn + d;
    k.up = k.gate + f;
    return k;
}

size_t rs_decoder_learn_kept(const rs_decoder_shape *s, size_t S)
{
    return 3 * region(S, s->d) + 2 * region(S, s->n_q * s->h) + 2 * region(S, s->n_kv * s->h) + 2 * region(S, s->f);
}

// Scratch: four regions as wide as the stream or all query heads, three as all KV heads, one as the FFN, and the work of attention.
struct scratch {
    float *wide[4], *kv[3], *f, *work;
};

static struct scratch lay_out_scratch(const rs_decoder_shape *s, size_t S, float *at)
{
    const size_t wide = region(S, larger(s->d, s->n_q * s->h)), kv = region(S, s->n_kv * s->h);
    struct scratch w;
    for (int i = 0; i < 4; i++, at += wide)
        w.wide[i] = at;
    for (int i = 0; i < 3; i++, at += kv)
        w.kv[i] = at;
    w.f = at;
    w.work = at + region(S, s->f);
    return w;
}

size_t rs_decoder_learn_scratch(const rs_decoder_shape *s, size_t S)
{
    return 4 * region(S, larger(s->d, s->n_q * s->h)) + 3 * region(S, s->n_kv * s->h) + region(S, s->f) + 2 * region(S, s->n_q);
}

// ---- element by element, in fixed pieces: y [rows, n] by one of three rules

enum rule { TIMES, MINUS, PLUS };
struct columns {
    enum rule rule;
    size_t rows, n, step;
    const float *a; // TIMES, PLUS: [n], for every row; MINUS: [rows, n]
    float *y;
};

static void columns_piece(void *context, size_t piece)
{
    const struct columns *c = context;
    const size_t end = rs_pieces_min(c->rows, (piece + 1) * c->step);
    for (size_t r = piece * c->step; r < end; r++) {
        float *y = c->y + r * c->n;
        const float *a = c->rule == MINUS ? c->a + r * c->n : c->a;
        if (c->rule == TIMES)
            for (size_t i = 0; i < c->n; i++)
                y[i] *= a[i];
        else if (c->rule == MINUS)
            for (size_t i = 0; i < c->n; i++)
                y[i] -= a[i];
        else
            for (size_t i = 0; i < c->n; i++)
                y[i] += a[i];
    }
}

static void columns(enum rule rule, size_t rows, size_t n, const float *a, float *y)
{
    struct columns c = {rule, rows, n, rs_pieces_rows(n), a, y};
    if (a != NULL)
        rs_threads_for(rs_pieces_count(rows, c.step), columns_piece, &c);
}

// ---- the steps that both directions share

static bool quantised(const rs_quantizer *q)
{
    return q->bits < 16;
}

static void linear(const rs_decoder_learn *l, size_t in, size_t out, const float *x, const float *w, const float *bias, float *y)
{
    l->k->gemm_nt(l->S, out, in, x, in, w, in, 0, y, out);
    columns(PLUS, l->S, out, bias, y);
}

// y [rows, n] = x R, or x R^T; R NULL: a copy.
static void turn(const rs_decoder_learn *l, size_t rows, size_t n, const float *R, bool back, const float *x, float *y)
{
    if (R == NULL)
        memcpy(y, x, rows * n * sizeof *y);
    else if (back)
        l->k->gemm_nt(rows, n, n, x, n, R, n, 0, y, n);
    else
        l->k->gemm_nn(rows, n, n, x, n, R, n, 0, y, n);
}

// y = Q(z) for z [rows, n]; returns bad rows.
static size_t round_rows(const rs_decoder_learn *l, const rs_quantizer *q, size_t rows, size_t n, const float *z, float *y)
{
    memcpy(y, z, rows * n * sizeof *y);
    return quantised(q) ? l->k->fake_quant(q, rows, n, y, n) : 0;
}

// The input of the linear layers behind a norm: y = Q(n R) R^T gamma with n the normalised stream; z = n R is kept. tmp as wide as y.
static size_t read_stream(const rs_decoder_learn *l, const float *x, const float *gamma, const float *R, float *z, float *y, float *tmp)
{
    const size_t d = l->shape->d;
    l->k->rmsnorm(l->S, d, x, NULL, l->shape->eps, tmp);
    if (!quantised(&l->bits.a)) {
        memcpy(y, tmp, l->S * d * sizeof *y);
        columns(TIMES, l->S, d, gamma, y);
        return 0;
    }
    turn(l, l->S, d, R, false, tmp, z);
    const size_t bad = round_rows(l, &l->bits.a, l->S, d, z, tmp);
    turn(l, l->S, d, R, true, tmp, y);
    columns(TIMES, l->S, d, gamma, y);
    return bad;
}

// Backward of read_stream: from dy (used up) adds to dx and to E. e and delta as wide as the stream.
static void read_stream_back(const rs_decoder_learn *l, const float *x, const float *gamma, const float *R, const float *z, float *dy, float *dx, float *E, float *e, float *delta)
{
    const size_t d = l->shape->d;
    columns(TIMES, l->S, d, gamma, dy);
    if (E != NULL && quantised(&l->bits.a)) {
        turn(l, l->S, d, R, false, dy, e);
        round_rows(l, &l->bits.a, l->S, d, z, delta);
        columns(MINUS, l->S, d, z, delta);
        l->k->gemm_tn(d, d, l->S, e, d, delta, d, 1, E, d);
    }
    l->k->rmsnorm_grad(l->S, d, x, NULL, l->shape->eps, dy, dx);
}

// ---- forward

static size_t attention_half(const rs_decoder_learn *l, float *x, struct kept *t, struct scratch *w)
{
    const rs_decoder_shape *s = l->shape;
    const size_t S = l->S, nq = s->n_q * s->h, nkv = s->n_kv * s->h;
    const bool kv = quantised(&l->bits.kv), a = quantised(&l->bits.a), head = l->bases.head != NULL && (kv || a);
    float *y = w->wide[0], *tmp = w->wide[1];
    size_t bad = read_stream(l, x, l->layer->norm_attn, l->bases.attn, t->z_attn, y, tmp);
    linear(l, s->d, nq, y, l->layer->wq, l->layer->bq, t->q);
    linear(l, s->d, nkv, y, l->layer->wk, l->layer->bk, t->k);
    linear(l, s->d, nkv, y, l->layer->wv, l->layer->bv, head ? w->kv[0] : t->v);
    l->k->rope(S, s->n_q, s->h, t->q, nq, l->cos, l->sin);
    l->k->rope(S, s->n_kv, s->h, t->k, nkv, l->cos, l->sin);
    if (kv && s->r3 != NULL) {
        l->k->hadamard(s->r3, S * s->n_q, t->q, s->h, false);
        l->k->hadamard(s->r3, S * s->n_kv, t->k, s->h, false);
    }
    if (head)
        turn(l, S * s->n_kv, s->h, l->bases.head, false, w->kv[0], t->v);
    if (kv)
        bad += l->k->fake_quant(&l->bits.kv, S * s->n_kv, s->h, t->k, s->h);
    bad += round_rows(l, &l->bits.kv, S * s->n_kv, s->h, t->v, w->kv[0]);
    l->k->attention(S, s->n_q, s->n_kv, s->h, t->q, t->k, w->kv[0], t->a);
    bad += round_rows(l, &l->bits.a, S, nq, t->a, tmp);
    turn(l, S * s->n_q, s->h, head ? l->bases.head : NULL, true, tmp, y);
    l->k->gemm_nt(S, s->d, nq, y, nq, l->layer->wo, nq, 1, x, s->d);
    columns(PLUS, S, s->d, l->layer->bo, x);
    return bad;
}

static size_t ffn_half(const rs_decoder_learn *l, float *x, struct kept *t, struct scratch *w)
{
    const rs_decoder_shape *s = l->shape;
    const bool a = quantised(&l->bits.a);
    float *y = w->wide[0];
    size_t bad = read_stream(l, x, l->layer->norm_ffn, l->bases.ffn, t->z_ffn, y, w->wide[1]);
    linear(l, s->d, s->f, y, l->layer->wgate, l->layer->bgate, t->gate);
    linear(l, s->d, s->f, y, l->layer->wup, l->layer->bup, t->up);
    l->k->silu_gate(l->S * s->f, t->gate, t->up, w->f);
    if (a && s->r4 != NULL)
        l->k->hadamard(s->r4, l->S, w->f, s->f, false);
    if (a)
        bad += l->k->fake_quant(&l->bits.a, l->S, s->f, w->f, s->f);
    if (a && s->r4 != NULL)
        l->k->hadamard(s->r4, l->S, w->f, s->f, true);
    l->k->gemm_nt(l->S, s->d, s->f, w->f, s->f, l->layer->wdown, s->f, 1, x, s->d);
    columns(PLUS, l->S, s->d, l->layer->bdown, x);
    return bad;
}

size_t rs_decoder_learn_forward(const rs_decoder_learn *l, float *x, float *kept, float *scratch)
{
    if (l->S == 0)
        return 0;
    struct kept t = lay_out(l->shape, l->S, kept);
    struct scratch w = lay_out_scratch(l->shape, l->S, scratch);
    size_t bad = attention_half(l, x, &t, &w);
    memcpy(t.x, x, l->S * l->shape->d * sizeof *x);
    return bad + ffn_half(l, x, &t, &w);
}

// ---- backward

static void ffn_half_back(const rs_decoder_learn *l, struct kept *t, float *dx, float *E, struct scratch *w)
{
    const rs_decoder_shape *s = l->shape;
    const size_t S = l->S, d = s->d, f = s->f;
    float *dy = w->wide[0];
    l->k->gemm_nn(S, f, d, dx, d, l->layer->wdown, f, 0, w->f, f); // r4 and its inverse cancel around a gradient of 1
    l->k->silu_gate_grad(S * f, t->gate, t->up, w->f, t->gate, t->up);
    l->k->gemm_nn(S, d, f, t->gate, f, l->layer->wgate, d, 0, dy, d);
    l->k->gemm_nn(S, d, f, t->up, f, l->layer->wup, d, 1, dy, d);
    read_stream_back(l, t->x, l->layer->norm_ffn, l->bases.ffn, t->z_ffn, dy, dx, E, w->wide[1], w->wide[2]);
}

static void attention_half_back(const rs_decoder_learn *l, const float *x, struct kept *t, float *dx, rs_decoder_slopes slopes, struct scratch *w)
{
    const rs_decoder_shape *s = l->shape;
    const size_t S = l->S, d = s->d, h = s->h, nq = s->n_q * h, nkv = s->n_kv * h, half = h / 2;
    const bool kv = quantised(&l->bits.kv), a = quantised(&l->bits.a), head = l->bases.head != NULL && (kv || a);
    float *dy = w->wide[0], *e = w->wide[1], *delta = w->wide[2], *dq = w->wide[3], *v = w->kv[0], *dk = w->kv[1], *dv = w->kv[2];
    l->k->gemm_nn(S, nq, d, dx, d, l->layer->wo, nq, 0, dy, nq);
    turn(l, S * s->n_q, h, head ? l->bases.head : NULL, false, dy, e);
    round_rows(l, &l->bits.kv, S * s->n_kv, h, t->v, v);
    l->k->attention_grad(S, s->n_q, s->n_kv, h, t->q, t->k, v, t->a, e, dq, dk, dv, w->work);
    if (slopes.head != NULL && head) {
        round_rows(l, &l->bits.a, S, nq, t->a, delta);
        columns(MINUS, S, nq, t->a, delta);
        l->k->gemm_tn(h, h, S * s->n_q, e, h, delta, h, 1, slopes.head, h);
        columns(MINUS, S, nkv, v, t->v); // v - v^
        l->k->gemm_tn(h, h, S * s->n_kv, t->v, h, dv, h, 1, slopes.head, h);
    }
    if (kv && s->r3 != NULL) {
        l->k->hadamard(s->r3, S * s->n_q, dq, h, true);
        l->k->hadamard(s->r3, S * s->n_kv, dk, h, true);
    }
    float *back = e; // RoPE turned back: the other sign of every sine; [S, h/2] fits where [S, n_q h] was
    for (size_t i = 0; i < S * half; i++)
        back[i] = -l->sin[i];
    l->k->rope(S, s->n_q, h, dq, nq, l->cos, back);
    l->k->rope(S, s->n_kv, h, dk, nkv, l->cos, back);
    turn(l, S * s->n_kv, h, head ? l->bases.head : NULL, true, dv, v);
    l->k->gemm_nn(S, d, nq, dq, nq, l->layer->wq, d, 0, dy, d);
    l->k->gemm_nn(S, d, nkv, dk, nkv, l->layer->wk, d, 1, dy, d);
    l->k->gemm_nn(S, d, nkv, v, nkv, l->layer->wv, d, 1, dy, d);
    read_stream_back(l, x, l->layer->norm_attn, l->bases.attn, t->z_attn, dy, dx, slopes.attn, e, delta);
}

void rs_decoder_learn_backward(const rs_decoder_learn *l, const float *x, float *kept, float *dx, rs_decoder_slopes slopes, float *scratch)
{
    if (l->S == 0)
        return;
    struct kept t = lay_out(l->shape, l->S, kept);
    struct scratch w = lay_out_scratch(l->shape, l->S, scratch);
    ffn_half_back(l, &t, dx, slopes.ffn, &w);
    attention_half_back(l, x, &t, dx, slopes, &w);
}
