// SPDX-License-Identifier: Apache-2.0
// A decoder layer in its original basis with rotated quantisers, forward and backward: only operations of the table and moves of its memory, so that it drives a device as well.
#include "kernels/decoder_grad.h"

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

// ---- the steps that both directions share

static bool quantised(const rs_quantizer *q)
{
    return q->bits < 16;
}

// The layer with the weights that meet activations.
static rs_decoder_layer weights(const rs_decoder_learn *l)
{
    rs_decoder_layer w = *l->layer;
    const rs_decoder_folded *f = l->folded;
    if (f != NULL) {
        w.wq = f->q.rounded, w.wk = f->k.rounded, w.wv = f->v.rounded, w.wo = f->o.rounded;
        w.wgate = f->gate.rounded, w.wup = f->up.rounded, w.wdown = f->down.rounded;
        w.bv = f->bv;
    }
    return w;
}

// Whether v and the output of attention are turned by the head rotation here: with folded weights they come turned.
static bool turns_heads(const rs_decoder_learn *l)
{
    return l->folded == NULL && l->bases.head != NULL && (quantised(&l->bits.a) || quantised(&l->bits.kv));
}

// r4 acts where the input of down is quantised, or its weight is.
static const rs_hadamard *r4_of(const rs_decoder_learn *l)
{
    return quantised(&l->bits.a) || l->folded != NULL ? l->shape->r4 : NULL;
}

static void copy(const rs_decoder_learn *l, size_t n, const float *x, float *y)
{
    rs_memory_of(l->k)->move(y, x, n * sizeof *y);
}

// y [S, n] meets one row [n] in every row; NULL: none.
static void in_rows(const rs_decoder_learn *l, rs_join how, size_t n, const float *row, float *y)
{
    if (row != NULL)
        l->k->each(how, l->S, n, row, 0, y, n);
}

static void linear(const rs_decoder_learn *l, size_t in, size_t out, const float *x, const float *w, const float *bias, float *y)
{
    l->k->gemm_nt(l->S, out, in, x, in, w, in, 0, y, out);
    in_rows(l, RS_JOIN_PLUS, out, bias, y);
}

// y [rows, n] = x R, or x R^T; R NULL: a copy.
static void turn(const rs_decoder_learn *l, size_t rows, size_t n, const float *R, bool back, const float *x, float *y)
{
    if (R == NULL)
        copy(l, rows * n, x, y);
    else if (back)
        l->k->gemm_nt(rows, n, n, x, n, R, n, 0, y, n);
    else
        l->k->gemm_nn(rows, n, n, x, n, R, n, 0, y, n);
}

// y = Q(z) for z [rows, n]; returns bad rows.
static size_t round_rows(const rs_decoder_learn *l, const rs_quantizer *q, size_t rows, size_t n, const float *z, float *y)
{
    copy(l, rows * n, z, y);
    return quantised(q) ? l->k->fake_quant(q, rows, n, y, n) : 0;
}

// What a half reads: y = Q(n R) R^T gamma, or Q(n R) for folded weights, with n the normalised stream; z = n R is kept. tmp as wide as y.
static size_t read_stream(const rs_decoder_learn *l, const float *x, const float *gamma, const float *R, float *z, float *y, float *tmp)
{
    const size_t d = l->shape->d;
    l->k->rmsnorm(l->S, d, x, NULL, l->shape->eps, tmp);
    if (l->folded != NULL) {
        turn(l, l->S, d, R, false, tmp, z);
        return round_rows(l, &l->bits.a, l->S, d, z, y);
    }
    if (!quantised(&l->bits.a)) {
        copy(l, l->S * d, tmp, y);
        in_rows(l, RS_JOIN_TIMES, d, gamma, y);
        return 0;
    }
    turn(l, l->S, d, R, false, tmp, z);
    const size_t bad = round_rows(l, &l->bits.a, l->S, d, z, tmp);
    turn(l, l->S, d, R, true, tmp, y);
    in_rows(l, RS_JOIN_TIMES, d, gamma, y);
    return bad;
}

// x += what a half writes: y [S,in] W^T, turned back from basis R where the weight is folded. tmp as wide as x.
static void write_stream(const rs_decoder_learn *l, size_t in, const float *y, const float *W, const float *R, float *x, float *tmp)
{
    const size_t S = l->S, d = l->shape->d;
    if (l->folded == NULL || R == NULL) {
        l->k->gemm_nt(S, d, in, y, in, W, in, 1, x, d);
        return;
    }
    l->k->gemm_nt(S, d, in, y, in, W, in, 0, tmp, d);
    l->k->gemm_nt(S, d, d, tmp, d, R, d, 1, x, d);
}

// The derivative dx of the stream as a half that writes in basis R sees it: dx itself, or turned into tmp.
static const float *written(const rs_decoder_learn *l, const float *R, const float *dx, float *tmp)
{
    if (l->folded == NULL || R == NULL)
        return dx;
    turn(l, l->S, l->shape->d, R, false, dx, tmp);
    return tmp;
}

// A folded weight that reads the stream, the derivative by its output, and where the slope of the basis that it writes in goes.
struct reader {
    const rs_folded_weight *w;
    const float *D;
    float *write;
};

// Backward of read_stream: from dy (used up) adds to dx and to E. e and delta as wide as the stream; readers up to one without D, where weights are folded.
static void read_stream_back(const rs_decoder_learn *l, const float *x, const float *gamma, const float *R, const float *z, float *dy, float *dx, float *E, float *e, float *delta, const struct reader *r)
{
    const size_t d = l->shape->d;
    const float *along = dy;
    if (l->folded == NULL) {
        in_rows(l, RS_JOIN_TIMES, d, gamma, dy);
        if (E != NULL && quantised(&l->bits.a)) {
            turn(l, l->S, d, R, false, dy, e);
            along = e;
        }
    }
    if (l->folded != NULL || along == e)
        round_rows(l, &l->bits.a, l->S, d, z, delta);
    for (; l->folded != NULL && r->D != NULL; r++)
        rs_folded_slopes(r->w, l->k, l->S, delta, r->D, E, r->write, l->folded->work);
    if (E != NULL && quantised(&l->bits.a)) {
        l->k->each(RS_JOIN_MINUS, l->S, d, z, d, delta, d);
        l->k->gemm_tn(d, d, l->S, along, d, delta, d, 1, E, d);
    }
    if (l->folded != NULL)
        turn(l, l->S, d, R, true, dy, e);
    l->k->rmsnorm_grad(l->S, d, x, NULL, l->shape->eps, l->folded != NULL ? e : dy, dx);
}

// ---- forward

static size_t attention_half(const rs_decoder_learn *l, float *x, struct kept *t, struct scratch *w)
{
    const rs_decoder_shape *s = l->shape;
    const size_t S = l->S, nq = s->n_q * s->h, nkv = s->n_kv * s->h;
    const rs_decoder_layer own = weights(l);
    const bool kv = quantised(&l->bits.kv), head = turns_heads(l);
    float *y = w->wide[0], *tmp = w->wide[1];
    size_t bad = read_stream(l, x, l->layer->norm_attn, l->bases.attn, t->z_attn, y, tmp);
    linear(l, s->d, nq, y, own.wq, own.bq, t->q);
    linear(l, s->d, nkv, y, own.wk, own.bk, t->k);
    linear(l, s->d, nkv, y, own.wv, own.bv, head ? w->kv[0] : t->v);
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
    write_stream(l, nq, y, own.wo, l->bases.ffn, x, tmp);
    in_rows(l, RS_JOIN_PLUS, s->d, own.bo, x);
    return bad;
}

// The input of down as it meets its weight: Q(silu(gate) up r4), into y.
static size_t read_gate(const rs_decoder_learn *l, const struct kept *t, float *y)
{
    l->k->silu_gate(l->S * l->shape->f, t->gate, t->up, y);
    if (r4_of(l) != NULL)
        l->k->hadamard(l->shape->r4, l->S, y, l->shape->f, false);
    return quantised(&l->bits.a) ? l->k->fake_quant(&l->bits.a, l->S, l->shape->f, y, l->shape->f) : 0;
}

static size_t ffn_half(const rs_decoder_learn *l, float *x, struct kept *t, struct scratch *w)
{
    const rs_decoder_shape *s = l->shape;
    const rs_decoder_layer own = weights(l);
    float *y = w->wide[0];
    size_t bad = read_stream(l, x, l->layer->norm_ffn, l->bases.ffn, t->z_ffn, y, w->wide[1]);
    linear(l, s->d, s->f, y, own.wgate, own.bgate, t->gate);
    linear(l, s->d, s->f, y, own.wup, own.bup, t->up);
    bad += read_gate(l, t, w->f);
    if (l->folded == NULL && r4_of(l) != NULL)
        l->k->hadamard(s->r4, l->S, w->f, s->f, true);
    write_stream(l, s->f, w->f, own.wdown, l->bases.next, x, y);
    in_rows(l, RS_JOIN_PLUS, s->d, own.bdown, x);
    return bad;
}

size_t rs_decoder_learn_forward(const rs_decoder_learn *l, float *x, float *kept, float *scratch)
{
    if (l->S == 0)
        return 0;
    struct kept t = lay_out(l->shape, l->S, kept);
    struct scratch w = lay_out_scratch(l->shape, l->S, scratch);
    size_t bad = attention_half(l, x, &t, &w);
    copy(l, l->S * l->shape->d, x, t.x);
    return bad + ffn_half(l, x, &t, &w);
}

// ---- backward

static void ffn_half_back(const rs_decoder_learn *l, struct kept *t, float *dx, rs_decoder_slopes slopes, struct scratch *w)
{
    const rs_decoder_shape *s = l->shape;
    const rs_decoder_layer own = weights(l);
    const rs_decoder_folded *fold = l->folded;
    const size_t S = l->S, d = s->d, f = s->f;
    const float *D = written(l, l->bases.next, dx, w->wide[1]);
    float *dy = w->wide[0];
    if (fold != NULL) {
        read_gate(l, t, w->f);
        rs_folded_slopes(&fold->down, l->k, S, w->f, D, NULL, slopes.next, fold->work);
    }
    l->k->gemm_nn(S, f, d, D, d, own.wdown, f, 0, w->f, f); // where weights are not folded, r4 and its inverse cancel around a gradient of 1
    if (fold != NULL && r4_of(l) != NULL)
        l->k->hadamard(s->r4, S, w->f, f, true);
    l->k->silu_gate_grad(S * f, t->gate, t->up, w->f, t->gate, t->up);
    l->k->gemm_nn(S, d, f, t->gate, f, own.wgate, d, 0, dy, d);
    l->k->gemm_nn(S, d, f, t->up, f, own.wup, d, 1, dy, d);
    const struct reader readers[] = {{fold != NULL ? &fold->gate : NULL, t->gate, NULL}, {fold != NULL ? &fold->up : NULL, t->up, NULL}, {NULL, NULL, NULL}};
    read_stream_back(l, t->x, l->layer->norm_ffn, l->bases.ffn, t->z_ffn, dy, dx, slopes.ffn, w->wide[1], w->wide[2], readers);
}

static void attention_half_back(const rs_decoder_learn *l, const float *x, struct kept *t, float *dx, rs_decoder_slopes slopes, struct scratch *w)
{
    const rs_decoder_shape *s = l->shape;
    const rs_decoder_layer own = weights(l);
    const rs_decoder_folded *fold = l->folded;
    const size_t S = l->S, d = s->d, h = s->h, nq = s->n_q * h, nkv = s->n_kv * h, half = h / 2;
    const bool kv = quantised(&l->bits.kv), head = turns_heads(l);
    float *dy = w->wide[0], *e = w->wide[1], *delta = w->wide[2], *dq = w->wide[3], *v = w->kv[0], *dk = w->kv[1], *dv = w->kv[2];
    const float *D = written(l, l->bases.ffn, dx, delta);
    if (fold != NULL) {
        round_rows(l, &l->bits.a, S, nq, t->a, dy);
        rs_folded_slopes(&fold->o, l->k, S, dy, D, slopes.head, slopes.ffn, fold->work);
    }
    l->k->gemm_nn(S, nq, d, D, d, own.wo, nq, 0, dy, nq);
    turn(l, S * s->n_q, h, head ? l->bases.head : NULL, false, dy, e);
    round_rows(l, &l->bits.kv, S * s->n_kv, h, t->v, v);
    l->k->attention_grad(S, s->n_q, s->n_kv, h, t->q, t->k, v, t->a, e, dq, dk, dv, w->work);
    if (slopes.head != NULL && l->bases.head != NULL && (head || fold != NULL)) {
        round_rows(l, &l->bits.a, S, nq, t->a, delta);
        l->k->each(RS_JOIN_MINUS, S, nq, t->a, nq, delta, nq);
        l->k->gemm_tn(h, h, S * s->n_q, e, h, delta, h, 1, slopes.head, h);
        l->k->each(RS_JOIN_MINUS, S, nkv, v, nkv, t->v, nkv); // v - v^
        l->k->gemm_tn(h, h, S * s->n_kv, t->v, h, dv, h, 1, slopes.head, h);
    }
    if (kv && s->r3 != NULL) {
        l->k->hadamard(s->r3, S * s->n_q, dq, h, true);
        l->k->hadamard(s->r3, S * s->n_kv, dk, h, true);
    }
    float *back = e; // RoPE turned back: the other sign of every sine; [S, h/2] fits where [S, n_q h] was
    l->k->each(RS_JOIN_NEGATED, S, half, l->sin, half, back, half);
    l->k->rope(S, s->n_q, h, dq, nq, l->cos, back);
    l->k->rope(S, s->n_kv, h, dk, nkv, l->cos, back);
    turn(l, S * s->n_kv, h, head ? l->bases.head : NULL, true, dv, v);
    l->k->gemm_nn(S, d, nq, dq, nq, own.wq, d, 0, dy, d);
    l->k->gemm_nn(S, d, nkv, dk, nkv, own.wk, d, 1, dy, d);
    l->k->gemm_nn(S, d, nkv, v, nkv, own.wv, d, 1, dy, d);
    const struct reader readers[] = {{fold != NULL ? &fold->q : NULL, dq, NULL}, {fold != NULL ? &fold->k : NULL, dk, NULL}, {fold != NULL ? &fold->v : NULL, dv, slopes.head}, {NULL, NULL, NULL}};
    read_stream_back(l, x, l->layer->norm_attn, l->bases.attn, t->z_attn, dy, dx, slopes.attn, e, delta, readers);
}

void rs_decoder_learn_backward(const rs_decoder_learn *l, const float *x, float *kept, float *dx, rs_decoder_slopes slopes, float *scratch)
{
    if (l->S == 0)
        return;
    struct kept t = lay_out(l->shape, l->S, kept);
    struct scratch w = lay_out_scratch(l->shape, l->S, scratch);
    ffn_half_back(l, &t, dx, slopes, &w);
    attention_half_back(l, x, &t, dx, slopes, &w);
}
