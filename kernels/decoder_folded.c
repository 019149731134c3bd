// SPDX-License-Identifier: Apache-2.0
// Weights of a layer in rotated bases, rounded, and their part of the slopes.
#include "kernels/decoder_folded.h"

static size_t region(size_t n) { return (n + 15) / 16 * 16; }

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

size_t rs_decoder_folded_size(const rs_decoder_shape *s)
{
    const size_t q = region(s->d * s->n_q * s->h), kv = region(s->d * s->n_kv * s->h), f = region(s->d * s->f);
    return 2 * (2 * q + 2 * kv + 3 * f) + region(s->n_kv * s->h) + larger(q, larger(kv, f));
}

// W diag(gamma) -> y, and from there A and B; y and work [out, in].
static void fold_sides(const rs_folded_weight *w, const rs_kernels *k, const float *W, const float *gamma, const rs_hadamard *r4, float *y, float *work)
{
    const size_t out = w->out, in = w->in, a = w->read.n, b = w->write.n;
    float *from = w->read.R != NULL ? work : y;
    rs_memory_of(k)->move(from, W, out * in * sizeof *from);
    if (gamma != NULL) k->each(RS_JOIN_TIMES, out, in, gamma, 0, from, in);
    if (w->read.R != NULL) k->gemm_nn(out * in / a, a, a, from, a, w->read.R, a, 0, y, a);
    if (r4 != NULL) k->hadamard(r4, out, y, in, false);
    if (w->write.R == NULL) return;
    rs_memory_of(k)->move(work, y, out * in * sizeof *work);
    for (size_t at = 0; at < out; at += b) k->gemm_tn(b, in, b, w->write.R, b, work + at * in, in, 0, y + at * in, in);
}

static size_t fold(const rs_folded_weight *w, const rs_kernels *k, const float *W, const float *gamma, const rs_hadamard *r4, const rs_quantizer *q, float *work)
{
    fold_sides(w, k, W, gamma, r4, w->rounded, work);
    rs_memory_of(k)->move(w->lost, w->rounded, w->out * w->in * sizeof *w->lost);
    const size_t bad = k->fake_quant(q, w->out, w->in, w->rounded, w->in);
    k->each(RS_JOIN_MINUS, w->out, w->in, w->rounded, w->in, w->lost, w->in);
    return bad;
}

static rs_folded_weight place(float **at, size_t out, size_t in, rs_folded_side read, rs_folded_side write)
{
    const size_t n = region(out * in);
    rs_folded_weight w = {out, in, read, write, *at, *at + n};
    *at += 2 * n;
    return w;
}

size_t rs_decoder_fold(rs_decoder_folded *f, const rs_kernels *k, const rs_decoder_shape *s, const rs_decoder_layer *l, const rs_decoder_bases *bases, const rs_quantizer *w, float *at)
{
    const size_t d = s->d, h = s->h, nq = s->n_q * h, nkv = s->n_kv * h;
    const rs_folded_side none = {1, NULL}, attn = {d, bases->attn}, ffn = {d, bases->ffn}, head = {h, bases->head}, next = {d, bases->next};
    f->q = place(&at, nq, d, attn, none);
    f->k = place(&at, nkv, d, attn, none);
    f->v = place(&at, nkv, d, attn, head);
    f->o = place(&at, d, nq, head, ffn);
    f->gate = place(&at, s->f, d, ffn, none);
    f->up = place(&at, s->f, d, ffn, none);
    f->down = place(&at, d, s->f, none, next);
    f->bv = l->bv != NULL ? at : NULL;
    f->work = at + region(nkv);
    if (l->bv != NULL && bases->head != NULL) k->gemm_nn(s->n_kv, h, h, l->bv, h, bases->head, h, 0, f->bv, h);
    else if (l->bv != NULL) rs_memory_of(k)->move(f->bv, l->bv, nkv * sizeof *f->bv);
    return fold(&f->q, k, l->wq, l->norm_attn, NULL, w, f->work) + fold(&f->k, k, l->wk, l->norm_attn, NULL, w, f->work) + fold(&f->v, k, l->wv, l->norm_attn, NULL, w, f->work) +
           fold(&f->o, k, l->wo, NULL, NULL, w, f->work) + fold(&f->gate, k, l->wgate, l->norm_ffn, NULL, w, f->work) + fold(&f->up, k, l->wup, l->norm_ffn, NULL, w, f->work) +
           fold(&f->down, k, l->wdown, NULL, s->r4, w, f->work);
}

void rs_folded_slopes(const rs_folded_weight *w, const rs_kernels *k, size_t S, const float *z, const float *D, float *read, float *write, float *work)
{
    const size_t out = w->out, in = w->in, a = w->read.n, b = w->write.n;
    if (w->read.R == NULL) read = NULL;
    if (w->write.R == NULL) write = NULL;
    if (read == NULL && write == NULL) return;
    k->gemm_tn(out, in, S, D, out, z, in, 0, work, in);
    if (read != NULL) k->gemm_tn(a, a, out * in / a, w->lost, a, work, a, 1, read, a);
    for (size_t at = 0; write != NULL && at < out; at += b) k->gemm_nt(b, b, in, w->lost + at * in, in, work + at * in, in, 1, write, b);
}
