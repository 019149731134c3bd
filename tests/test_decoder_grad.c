// SPDX-License-Identifier: Apache-2.0
// A decoder layer for learning against the fused layer of kernels/decoder.h, and its derivatives against central differences in fp64 of a network written here, in which each quantiser adds
// what rounding added at the base point: its true derivatives are the straight-through ones.
#include "kernels/decoder_grad.h"

#include <math.h>
#include <stdint.h>

#include "kernels/cpu/ops.h"
#include "kernels/threads.h"
#include "tests/check.h"
#include "tests/taken.h"
#include "tests/tiny.h"

// Of relative distances |got - want| / |want| over all values. Rounding falls differently in two computations: what lies on a boundary between two codes changes every code behind it and moves the
// result by 1 % and more. So of SEEDS random layers FLIPS may differ as a whole, where something is quantised.
enum { SEEDS = 5, FLIPS = 1, TABLES = 8 };
static const double forward_bound = 2e-6, dx_bound = 1e-5, slope_bound = 2e-5;

// ---- cases

enum { BIAS = 1, NORM = 2, R3 = 4, R4 = 8, BASES = 16, HEAD = 32, A4 = 64, KV4 = 128, SYM = 256, CLIP = 512, W4 = 1024 };

// Where rotations and the stream stand, in fp64; rotations are the identity where the layer has none.
struct point {
    double *x, *attn, *ffn, *head, *next;
};

// What rounding adds at each quantiser.
struct deltas {
    double *attn, *k, *v, *o, *ffn, *down;
    double *weight[7]; // q, k, v, o, gate, up, down
};

struct layer {
    rs_decoder_shape shape;
    rs_decoder_layer l;
    rs_hadamard *r3, *r4;
    rs_decoder_learn learn;
    rs_quantizer w;
    size_t S;
    float *cos, *sin, *x, *c; // c [S, d]: the loss is sum(c . output)
    struct point at;
    struct deltas t;
};

static float *rotation(size_t n, uint64_t which, bool is, double *wide)
{
    float *r = take(n * n * sizeof *r);
    if (is)
        tiny_rotation(n, which, wide);
    for (size_t i = 0; i < n * n; i++) {
        r[i] = is ? (float)wide[i] : i % (n + 1) == 0;
        wide[i] = (double)r[i];
    }
    return is ? r : NULL;
}

static double *doubles(size_t n) { return take(n * sizeof(double)); }

struct size {
    size_t S, d, f, h, n_q, n_kv;
};

static void build(struct layer *a, struct size z, unsigned with, uint32_t which)
{
    const size_t S = z.S, d = z.d, f = z.f, h = z.h, nq = z.n_q * h, nkv = z.n_kv * h;
    const float size = 2 / sqrtf((float)d);
    seed = which * 7919 + with;
    *a = (struct layer){.S = S};
    rs_decoder_layer *l = &a->l;
    a->r3 = with & R3 ? rs_hadamard_new(h) : NULL;
    a->r4 = with & R4 ? rs_hadamard_new(f) : NULL;
    a->shape = (rs_decoder_shape){.d = d, .f = f, .h = h, .n_q = z.n_q, .n_kv = z.n_kv, .eps = 1e-5f, .r3 = a->r3, .r4 = a->r4};
    l->wq = noise(nq * d, size), l->wk = noise(nkv * d, size), l->wv = noise(nkv * d, size), l->wo = noise(d * nq, size);
    l->wgate = noise(f * d, size), l->wup = noise(f * d, size), l->wdown = noise(d * f, size);
    if (with & BIAS) {
        l->bq = noise(nq, 1), l->bk = noise(nkv, 1), l->bv = noise(nkv, 1), l->bo = noise(d, 1);
        l->bgate = noise(f, 1), l->bup = noise(f, 1), l->bdown = noise(d, 1);
    }
    if (with & NORM)
        l->norm_attn = noise(d, 2), l->norm_ffn = noise(d, 2);
    // Not 0.8: the first token's attention is its quantised v, which one more quantiser of the same bits reads; c / 0.8 lies on a boundary for every c = 2 mod 4, c / 0.85 for none.
    const rs_quantizer q = {.bits = 4, .sym = with & SYM, .clip = with & CLIP ? 0.85f : 1}, none = {.bits = 16, .clip = 1}, in = with & A4 ? q : none;
    l->in_q = l->in_k = l->in_v = l->in_o = l->in_gate = l->in_up = l->in_down = in;
    l->kv = with & KV4 ? q : none;
    double *freq = doubles(h / 2);
    rs_rope_frequencies(h, 1e4, freq);
    a->cos = take(S * h / 2 * sizeof *a->cos), a->sin = take(S * h / 2 * sizeof *a->sin);
    rs_rope_tables(S, 3, h, freq, a->cos, a->sin);
    a->x = noise(S * d, 1);
    a->c = noise(S * d, 1);
    a->at = (struct point){doubles(S * d), doubles(d * d), doubles(d * d), doubles(h * h), doubles(d * d)};
    a->t = (struct deltas){doubles(S * d), doubles(S * nkv), doubles(S * nkv), doubles(S * nq), doubles(S * d), doubles(S * f), {0}};
    a->w = (rs_quantizer){.bits = with & W4 ? 4 : 16, .sym = true, .clip = with & CLIP ? 0.85f : 1};
    for (int i = 0; with & W4 && i < 7; i++)
        a->t.weight[i] = doubles(d * (nq + f));
    for (size_t i = 0; i < S * d; i++)
        a->at.x[i] = (double)a->x[i];
    a->learn = (rs_decoder_learn){.shape = &a->shape, .layer = l, .bits = {in, l->kv, a->w}, .S = S, .cos = a->cos, .sin = a->sin};
    a->learn.bases.attn = rotation(d, which * 3, with & BASES, a->at.attn);
    a->learn.bases.ffn = rotation(d, which * 3 + 1, with & BASES, a->at.ffn);
    a->learn.bases.next = rotation(d, which * 3 + 500, with & BASES && with & W4, a->at.next);
    a->learn.bases.head = rotation(h, which * 3 + 2, with & HEAD, a->at.head);
}

static void drop(struct layer *a)
{
    rs_hadamard_free(a->r3);
    rs_hadamard_free(a->r4);
    give_back();
}

// ---- the network in fp64; what it takes is free again at its next run

static double arena[1 << 18];
static size_t used;
static double *temporary(size_t n)
{
    if (used + n > sizeof arena / sizeof *arena)
        exit(1);
    used += n;
    return arena + used - n;
}

// x [rows, in] w^T, w [out, in]
static double *linear(size_t rows, size_t in, size_t out, const double *x, const double *w, const float *bias)
{
    double *y = temporary(rows * out), *t = temporary(in * out);
    for (size_t o = 0; o < out; o++)
        for (size_t i = 0; i < in; i++)
            t[i * out + o] = w[o * in + i];
    for (size_t s = 0; s < rows; s++) {
        double *restrict to = y + s * out;
        for (size_t o = 0; o < out; o++)
            to[o] = bias != NULL ? (double)bias[o] : 0;
        for (size_t i = 0; i < in; i++)
            for (size_t o = 0; o < out; o++)
                to[o] += x[s * in + i] * t[i * out + o];
    }
    return y;
}

// x r, or x r^T
static double *turned(size_t rows, size_t n, const double *x, const double *r, bool back)
{
    double *y = temporary(rows * n), *t = temporary(n * n);
    for (size_t i = 0; i < n; i++)
        for (size_t o = 0; o < n; o++)
            t[i * n + o] = back ? r[o * n + i] : r[i * n + o];
    for (size_t s = 0; s < rows; s++) {
        double *restrict to = y + s * n;
        for (size_t o = 0; o < n; o++)
            to[o] = 0;
        for (size_t i = 0; i < n; i++)
            for (size_t o = 0; o < n; o++)
                to[o] += x[s * n + i] * t[i * n + o];
    }
    return y;
}

// x by the blocks of H, or of its transpose
static double *hadamard(size_t rows, const rs_hadamard *H, const double *x, bool back)
{
    double *dense = temporary(H->block * H->block);
    rs_hadamard_dense(H, dense);
    return turned(rows * (H->n / H->block), H->block, x, dense, back);
}

static double *normed(size_t S, size_t d, const double *x, double eps)
{
    double *y = temporary(S * d);
    for (size_t s = 0; s < S; s++) {
        double sum = 0;
        for (size_t i = 0; i < d; i++)
            sum += x[s * d + i] * x[s * d + i];
        for (size_t i = 0; i < d; i++)
            y[s * d + i] = x[s * d + i] / sqrt(sum / (double)d + eps);
    }
    return y;
}

// z <- Q(z), and delta what that adds; or z <- z + delta.
static void quantise(const rs_quantizer *q, size_t rows, size_t n, double *z, double *delta, bool frozen)
{
    const double Q = pow(2, q->bits - 1) - 1, top = pow(2, q->bits) - 1;
    for (size_t r = 0; q->bits < 16 && r < rows * n; r += n) {
        double lo = 0, hi = 0;
        for (size_t i = r; i < r + n; i++) {
            lo = fmin(lo, (double)q->clip * z[i]);
            hi = fmax(hi, (double)q->clip * z[i]);
        }
        const double s = q->sym ? fmax(-lo, hi) / Q : (hi - lo) / top, zero = q->sym ? 0 : rint(-lo / s);
        for (size_t i = r; i < r + n; i++) {
            if (!frozen)
                delta[i] = s * (fmin(fmax(rint(z[i] / s) + zero, q->sym ? -Q - 1 : 0), q->sym ? Q : top) - zero) - z[i];
            z[i] += delta[i];
        }
    }
}

static void roped(size_t S, size_t heads, size_t h, double *x, const float *cos, const float *sin)
{
    for (size_t s = 0; s < S; s++)
        for (size_t p = 0; p < heads * h; p += h)
            for (size_t i = 0; i < h / 2; i++) {
                double *a = &x[s * heads * h + p + i], *b = a + h / 2;
                const double c = (double)cos[s * h / 2 + i], n = (double)sin[s * h / 2 + i], old = *a;
                *a = old * c - *b * n;
                *b = *b * c + old * n;
            }
}

static double *attended(const rs_decoder_shape *p, size_t S, const double *q, const double *k, const double *v)
{
    const size_t h = p->h, nq = p->n_q * h, nkv = p->n_kv * h;
    double *o = temporary(S * nq), *w = temporary(S);
    for (size_t s = 0; s < S; s++)
        for (size_t head = 0; head < p->n_q; head++) {
            const size_t shared = head / (p->n_q / p->n_kv) * h;
            double sum = 0;
            for (size_t t = 0; t <= s; t++) {
                w[t] = 0;
                for (size_t i = 0; i < h; i++)
                    w[t] += q[s * nq + head * h + i] * k[t * nkv + shared + i];
                sum += w[t] = exp(w[t] / sqrt((double)h));
            }
            for (size_t i = 0; i < h; i++) {
                o[s * nq + head * h + i] = 0;
                for (size_t t = 0; t <= s; t++)
                    o[s * nq + head * h + i] += w[t] / sum * v[t * nkv + shared + i];
            }
        }
    return o;
}

// The weight i [out, in] by which the network multiplies: W diag(gamma), or where weights are rounded B Q(B^T W diag(gamma) A) A^T, with blocks A [in_n, in_n] (and r4), B [out_n, out_n].
static double *weight(struct layer *a, int i, size_t out, size_t in, const float *W, const float *gamma, const double *A, size_t in_n, const rs_hadamard *r4, const double *B, size_t out_n, bool frozen)
{
    double *w = temporary(out * in);
    for (size_t j = 0; j < out * in; j++)
        w[j] = (double)W[j] * (gamma != NULL ? (double)gamma[j % in] : 1);
    if (a->w.bits == 16)
        return w;
    if (A != NULL)
        w = turned(out * in / in_n, in_n, w, A, false);
    if (r4 != NULL)
        w = hadamard(out, r4, w, false);
    for (int back = 0; back < 2; back++) {
        double *y = temporary(out * in);
        for (size_t o = 0; o < out; o++) {
            const size_t from = B != NULL ? o / out_n * out_n : o, n = B != NULL ? out_n : 1;
            double *restrict to = y + o * in;
            for (size_t j = 0; j < in; j++)
                to[j] = 0;
            for (size_t p = 0; p < n; p++) {
                const double by = B == NULL ? 1 : back ? B[o % out_n * out_n + p] : B[p * out_n + o % out_n];
                for (size_t j = 0; j < in; j++)
                    to[j] += by * w[(from + p) * in + j];
            }
        }
        w = y;
        if (!back)
            quantise(&a->w, out, in, w, a->t.weight[i], frozen);
    }
    if (r4 != NULL)
        w = hadamard(out, r4, w, true);
    return A != NULL ? turned(out * in / in_n, in_n, w, A, true) : w;
}

// Q(norm(x) R) R^T
static double *reads(const struct layer *a, const double *x, const double *R, double *delta, bool frozen)
{
    const size_t S = a->S, d = a->shape.d;
    double *z = turned(S, d, normed(S, d, x, (double)a->shape.eps), R, false);
    quantise(&a->l.in_q, S, d, z, delta, frozen);
    return turned(S, d, z, R, true);
}

// The output [S, d]; frozen: with the deltas of the last run that was not.
static double *network(struct layer *a, bool frozen)
{
    const rs_decoder_shape *p = &a->shape;
    const rs_decoder_layer *l = &a->l;
    const size_t S = a->S, nq = p->n_q * p->h, nkv = p->n_kv * p->h;
    used = 0;
    const struct point *t = &a->at;
    const double *y = reads(a, t->x, t->attn, a->t.attn, frozen), *wq = weight(a, 0, nq, p->d, l->wq, l->norm_attn, t->attn, p->d, NULL, NULL, 1, frozen),
                 *wk = weight(a, 1, nkv, p->d, l->wk, l->norm_attn, t->attn, p->d, NULL, NULL, 1, frozen), *wv = weight(a, 2, nkv, p->d, l->wv, l->norm_attn, t->attn, p->d, NULL, t->head, p->h, frozen),
                 *wo = weight(a, 3, p->d, nq, l->wo, NULL, t->head, p->h, NULL, t->ffn, p->d, frozen), *wgate = weight(a, 4, p->f, p->d, l->wgate, l->norm_ffn, t->ffn, p->d, NULL, NULL, 1, frozen),
                 *wup = weight(a, 5, p->f, p->d, l->wup, l->norm_ffn, t->ffn, p->d, NULL, NULL, 1, frozen), *wdown = weight(a, 6, p->d, p->f, l->wdown, NULL, NULL, 1, p->r4, t->next, p->d, frozen);
    double *q = linear(S, p->d, nq, y, wq, l->bq), *k = linear(S, p->d, nkv, y, wk, l->bk);
    double *v = turned(S * p->n_kv, p->h, linear(S, p->d, nkv, y, wv, l->bv), t->head, false);
    roped(S, p->n_q, p->h, q, a->cos, a->sin);
    roped(S, p->n_kv, p->h, k, a->cos, a->sin);
    if (p->r3 != NULL) {
        q = hadamard(S * p->n_q, p->r3, q, false);
        k = hadamard(S * p->n_kv, p->r3, k, false);
    }
    quantise(&l->kv, S * p->n_kv, p->h, k, a->t.k, frozen);
    quantise(&l->kv, S * p->n_kv, p->h, v, a->t.v, frozen);
    double *o = attended(p, S, q, k, v);
    quantise(&l->in_o, S, nq, o, a->t.o, frozen);
    double *x = linear(S, nq, p->d, turned(S * p->n_q, p->h, o, a->at.head, true), wo, l->bo);
    for (size_t i = 0; i < S * p->d; i++)
        x[i] += a->at.x[i];
    y = reads(a, x, a->at.ffn, a->t.ffn, frozen);
    double *gate = linear(S, p->d, p->f, y, wgate, l->bgate), *up = linear(S, p->d, p->f, y, wup, l->bup);
    for (size_t i = 0; i < S * p->f; i++)
        gate[i] *= up[i] / (1 + exp(-gate[i]));
    if (p->r4 != NULL)
        gate = hadamard(S, p->r4, gate, false);
    quantise(&l->in_down, S, p->f, gate, a->t.down, frozen);
    if (p->r4 != NULL)
        gate = hadamard(S, p->r4, gate, true);
    y = linear(S, p->f, p->d, gate, wdown, l->bdown);
    for (size_t i = 0; i < S * p->d; i++)
        x[i] += y[i];
    return x;
}

static double loss(struct layer *a)
{
    const double *x = network(a, true);
    double sum = 0;
    for (size_t i = 0; i < a->S * a->shape.d; i++)
        sum += (double)a->c[i] * x[i];
    return sum;
}

// Derivative of the loss where the n values at x move along step, to fourth order.
static double difference(struct layer *a, size_t n, double *x, const double *step)
{
    static double from[32 * 32];
    const double eps = 1e-3;
    double f[4];
    memcpy(from, x, n * sizeof *x);
    for (int j = 0; j < 4; j++) {
        for (size_t i = 0; i < n; i++)
            x[i] = from[i] + eps * (j < 2 ? j - 2 : j - 1) * step[i];
        f[j] = loss(a);
    }
    memcpy(x, from, n * sizeof *x);
    return (8 * (f[2] - f[1]) - (f[3] - f[0])) / (12 * eps);
}

static double distance(size_t n, const float *got, const double *want)
{
    double off = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        off += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        size += want[i] * want[i];
    }
    return off == 0 ? 0 : sqrt(off / size);
}

// ---- the fused layer: weights multiplied by the rotations, a stream that leaves in the original basis

static const float *product(size_t m, size_t n, size_t l, const double *x, const double *y, bool x_turned) // x y, or x^T y
{
    float *z = take(m * n * sizeof *z);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t t = 0; t < l; t++)
                sum += (x_turned ? x[t * m + i] : x[i * l + t]) * y[t * n + j];
            z[i * n + j] = (float)sum;
        }
    return z;
}

static double *widened(size_t n, const float *x)
{
    double *y = doubles(n);
    for (size_t i = 0; i < n; i++)
        y[i] = (double)x[i];
    return y;
}

// w [out, d] that reads the stream: w diag(gamma) R
static const float *reading(size_t out, size_t d, const float *w, const float *gamma, const double *R)
{
    double *x = widened(out * d, w);
    for (size_t i = 0; gamma != NULL && i < out * d; i++)
        x[i] *= (double)gamma[i % d];
    return product(out, d, d, x, R, false);
}

// Into f, which keeps pointers to what belongs to a.
static void fuse(const struct layer *a, rs_decoder_layer *f)
{
    const rs_decoder_layer *l = &a->l;
    const rs_decoder_shape *p = &a->shape;
    const size_t d = p->d, h = p->h, nq = p->n_q * h, nkv = p->n_kv * h;
    *f = *l;
    f->norm_attn = f->norm_ffn = NULL;
    f->wq = reading(nq, d, l->wq, l->norm_attn, a->at.attn);
    f->wk = reading(nkv, d, l->wk, l->norm_attn, a->at.attn);
    double *v = widened(nkv * d, reading(nkv, d, l->wv, l->norm_attn, a->at.attn)), *vb = doubles(nkv * (d + 1));
    for (size_t i = 0; i < nkv; i++) // rows of v per head, and its bias as one column more: P^T (w | b)
        for (size_t j = 0; j <= d; j++)
            vb[i * (d + 1) + j] = j < d ? v[i * d + j] : l->bv != NULL ? (double)l->bv[i] : 0;
    float *wv = take(nkv * d * sizeof *wv), *bv = take(nkv * sizeof *bv);
    for (size_t head = 0; head < p->n_kv; head++) {
        const float *t = product(h, d + 1, h, a->at.head, vb + head * h * (d + 1), true);
        for (size_t i = 0; i < h; i++) {
            memcpy(wv + (head * h + i) * d, t + i * (d + 1), d * sizeof *wv);
            bv[head * h + i] = t[i * (d + 1) + d];
        }
    }
    f->wv = wv;
    f->bv = l->bv != NULL ? bv : NULL;
    f->wo = product(d, nq, d, a->at.ffn, widened(d * nq, product(d * p->n_q, h, h, widened(d * nq, l->wo), a->at.head, false)), true);
    if (l->bo != NULL)
        f->bo = product(1, d, d, widened(d, l->bo), a->at.ffn, false);
    f->wgate = reading(p->f, d, l->wgate, l->norm_ffn, a->at.ffn);
    f->wup = reading(p->f, d, l->wup, l->norm_ffn, a->at.ffn);
    if (p->r4 != NULL) {
        used = 0;
        const double *w = hadamard(d, p->r4, widened(d * p->f, l->wdown), false);
        float *wdown = take(d * p->f * sizeof *wdown);
        for (size_t i = 0; i < d * p->f; i++)
            wdown[i] = (float)w[i];
        f->wdown = wdown;
    }
    if (a->w.bits < 16) {
        const struct {
            const float *w;
            size_t rows, n;
        } list[] = {{f->wq, nq, d}, {f->wk, nkv, d}, {f->wv, nkv, d}, {f->wo, d, nq}, {f->wgate, p->f, d}, {f->wup, p->f, d}, {product(d, p->f, d, a->at.next, widened(d * p->f, f->wdown), true), d, p->f}};
        for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
            rs_kernels_reference()->fake_quant(&a->w, list[i].rows, list[i].n, (float *)list[i].w, list[i].n);
        f->wdown = product(d, p->f, d, a->at.next, widened(d * p->f, list[6].w), false); // and back
    }
    float *back = take(d * d * sizeof *back);
    for (size_t i = 0; i < d * d; i++)
        back[i] = (float)a->at.ffn[i % d * d + i / d];
    f->attn.t = product(d, d, d, a->at.attn, a->at.ffn, true);
    f->ffn.t = back;
}

// ---- one run of the code under test

struct run {
    float *out, *dx, *attn, *ffn, *head, *next; // slopes only where there is a rotation
    float *kept, *scratch, *folded;
    size_t kept_bytes, scratch_bytes, folded_bytes;
};

enum { GUARD = 64 };

static void prepare(const struct layer *a, struct run *r)
{
    const size_t d = a->shape.d, h = a->shape.h;
    *r = (struct run){.out = take(a->S * d * sizeof(float)), .dx = take(a->S * d * sizeof(float))};
    r->attn = a->learn.bases.attn != NULL ? take(d * d * sizeof(float)) : NULL;
    r->ffn = a->learn.bases.ffn != NULL ? take(d * d * sizeof(float)) : NULL;
    r->head = a->learn.bases.head != NULL ? take(h * h * sizeof(float)) : NULL;
    r->next = a->learn.bases.next != NULL ? take(d * d * sizeof(float)) : NULL;
    r->folded_bytes = rs_decoder_folded_size(&a->shape) * sizeof(float);
    r->folded = take(r->folded_bytes + GUARD);
    r->kept_bytes = rs_decoder_learn_kept(&a->shape, a->S) * sizeof(float);
    r->scratch_bytes = rs_decoder_learn_scratch(&a->shape, a->S) * sizeof(float);
    r->kept = take(r->kept_bytes + GUARD);
    r->scratch = take(r->scratch_bytes + GUARD);
}

static bool untouched(const void *end)
{
    const unsigned char *p = end;
    size_t same = 0;
    for (size_t i = 0; i < GUARD; i++)
        same += p[i] == 0xff;
    return same == GUARD;
}

static size_t fold(const struct layer *a, const rs_kernels *k, struct run *r, rs_decoder_learn *l, rs_decoder_folded *folded)
{
    *l = a->learn;
    l->k = k;
    if (a->w.bits == 16)
        return 0;
    memset(r->folded, 0xff, r->folded_bytes + GUARD);
    const size_t bad = rs_decoder_fold(folded, k, &a->shape, &a->l, &a->learn.bases, &a->w, r->folded);
    l->folded = folded;
    return bad;
}

static size_t forward(const struct layer *a, const rs_kernels *k, struct run *r)
{
    rs_decoder_learn l;
    rs_decoder_folded folded;
    const size_t bad = fold(a, k, r, &l, &folded);
    memset(r->kept, 0xff, r->kept_bytes + GUARD); // NaN everywhere
    memset(r->scratch, 0xff, r->scratch_bytes + GUARD);
    memcpy(r->out, a->x, a->S * a->shape.d * sizeof *r->out);
    return bad + rs_decoder_learn_forward(&l, r->out, r->kept, r->scratch);
}

static void backward(const struct layer *a, const rs_kernels *k, struct run *r, rs_decoder_slopes slopes)
{
    rs_decoder_learn l;
    rs_decoder_folded folded;
    fold(a, k, r, &l, &folded);
    memset(r->scratch, 0xff, r->scratch_bytes + GUARD);
    memcpy(r->dx, a->c, a->S * a->shape.d * sizeof *r->dx);
    rs_decoder_learn_backward(&l, a->x, r->kept, r->dx, slopes, r->scratch);
}

static void both(const struct layer *a, const rs_kernels *k, struct run *r)
{
    const size_t d = a->shape.d, h = a->shape.h;
    const size_t bad = forward(a, k, r);
    if (r->attn != NULL)
        memset(r->attn, 0, d * d * sizeof *r->attn);
    if (r->ffn != NULL)
        memset(r->ffn, 0, d * d * sizeof *r->ffn);
    if (r->head != NULL)
        memset(r->head, 0, h * h * sizeof *r->head);
    if (r->next != NULL)
        memset(r->next, 0, d * d * sizeof *r->next);
    backward(a, k, r, (rs_decoder_slopes){r->attn, r->ffn, r->head, r->next});
    CHECKF(bad == 0 && (a->w.bits == 16 || untouched((char *)r->folded + r->folded_bytes)) && untouched((char *)r->kept + r->kept_bytes) && untouched((char *)r->scratch + r->scratch_bytes), "%s: %zu bad rows, or memory beyond the end was written", k->name, bad);
}

static bool same(size_t n, const float *a, const float *b)
{
    return a == NULL || memcmp(a, b, n * sizeof *a) == 0;
}

// ---- against the fused layer and the network in fp64

// Derivatives along random directions R Omega, Omega skew: one for each of a matrix.
enum { TURNS = 6, LOOKS = 48 };
struct turns {
    double omega[TURNS][32 * 32], want[TURNS];
};

static void turn(struct layer *a, size_t n, double *R, struct turns *t)
{
    static double step[32 * 32];
    for (int j = 0; j < TURNS; j++) {
        double *o = t->omega[j];
        for (size_t x = 0; x < n; x++)
            for (size_t y = 0; y <= x; y++) {
                o[x * n + y] = x == y ? 0 : (double)uniform();
                o[y * n + x] = -o[x * n + y];
            }
        used = 0;
        memcpy(step, turned(n, n, R, o, false), n * n * sizeof *step);
        t->want[j] = difference(a, n * n, R, step);
    }
}

static double turns_off(size_t n, const float *E, const struct turns *t)
{
    float got[TURNS];
    for (int j = 0; j < TURNS; j++) {
        double sum = 0;
        for (size_t i = 0; i < n * n; i++)
            sum += (double)E[i] * t->omega[j][i];
        got[j] = (float)sum;
    }
    return distance(TURNS, got, t->want);
}

static bool zeros(size_t n, const float *x)
{
    size_t wrong = 0;
    for (size_t i = 0; i < n; i++)
        wrong += x[i] != 0;
    return wrong == 0;
}

// One table on one layer: distances of the output from the fused layer, of dx and of the three slopes from the differences.
enum measure { FORWARD, DX, ATTN, FFN, HEADS, NEXT, MEASURES };
static const char *const measured[] = {"forward", "dx", "attention basis", "FFN basis", "head rotation", "basis behind"};

static void one_table(struct layer *a, const rs_decoder_layer *fused, const rs_kernels *k, unsigned with, const double *dx, const struct turns turns[4], double off[MEASURES])
{
    const size_t d = a->shape.d, h = a->shape.h, n = a->S * d, step = n / LOOKS + 1;
    const bool in = with & (A4 | W4), any = with & (A4 | KV4 | W4);
    struct run r, other;
    prepare(a, &r);
    prepare(a, &other);
    rs_threads_set(1);
    both(a, k, &r);
    rs_threads_set(3);
    both(a, k, &other);
    rs_threads_set(1);
    CHECKF(same(n, r.out, other.out) && same(n, r.dx, other.dx) && same(d * d, r.attn, other.attn) && same(d * d, r.ffn, other.ffn) && same(h * h, r.head, other.head) && same(d * d, r.next, other.next), "%s: threads change the result, with %u",
           k->name, with);
    // computed again, the same bits: what is kept, too
    forward(a, k, &other);
    forward(a, k, &r);
    CHECKF(same(n, r.out, other.out) && same(r.kept_bytes / sizeof(float), r.kept, other.kept), "%s: computed again it differs, with %u", k->name, with);
    // without slopes, the same dx
    backward(a, k, &other, (rs_decoder_slopes){0});
    CHECKF(same(n, r.dx, other.dx), "%s: dx without slopes differs, with %u", k->name, with);
    if (!in && r.attn != NULL)
        CHECKF(zeros(d * d, r.attn) && zeros(d * d, r.ffn), "%s: slopes at bases that nothing reads, with %u", k->name, with);
    if (!any && r.head != NULL)
        CHECKF(zeros(h * h, r.head), "%s: slopes at a head rotation that nothing reads, with %u", k->name, with);

    rs_decoder_shape shape = a->shape;
    if (!any) // the layer as it stands
        shape.r3 = shape.r4 = NULL;
    float *y = take(n * sizeof *y);
    used = 0;
    const double *start = any ? turned(a->S, d, a->at.x, a->at.attn, false) : a->at.x;
    for (size_t i = 0; i < n; i++)
        y[i] = (float)start[i];
    CHECK(rs_decoder_forward(k, &shape, fused, a->S, a->cos, a->sin, y, take(rs_decoder_scratch(&shape, fused, a->S)), NULL, NULL) == 0);
    double want[LOOKS];
    float got[LOOKS];
    size_t looks = 0;
    for (size_t i = 0; i < n; i += step, looks++) {
        want[looks] = dx[i];
        got[looks] = r.dx[i];
    }
    used = 0;
    double *wide = temporary(n);
    for (size_t i = 0; i < n; i++)
        wide[i] = (double)y[i];
    off[FORWARD] = distance(n, r.out, wide);
    off[DX] = distance(looks, got, want);
    off[ATTN] = in && r.attn != NULL ? turns_off(d, r.attn, &turns[0]) : 0;
    off[FFN] = in && r.ffn != NULL ? turns_off(d, r.ffn, &turns[1]) : 0;
    off[HEADS] = any && r.head != NULL ? turns_off(h, r.head, &turns[2]) : 0;
    off[NEXT] = r.next != NULL ? turns_off(d, r.next, &turns[3]) : 0;
}

static void compare(struct size z, unsigned with)
{
    static struct turns turns[4];
    const bool any = with & (A4 | KV4 | W4);
    size_t differ[TABLES][MEASURES] = {0};
    double worst[TABLES][MEASURES] = {0}, bounds[MEASURES] = {forward_bound, dx_bound, slope_bound, slope_bound, slope_bound, slope_bound};
    const uint32_t seeds = any ? SEEDS : 2;
    for (uint32_t which = 1; which <= seeds; which++) {
        struct layer a;
        rs_decoder_layer fused;
        build(&a, z, with, which);
        fuse(&a, &fused);
        if (!any) // then the layer as it stands is the same network
            fused = a.l;
        const size_t n = z.S * z.d;
        double *dx = doubles(n);
        network(&a, false);
        for (size_t i = 0; i < n; i += n / LOOKS + 1)
            dx[i] = difference(&a, 1, &a.at.x[i], (double[]){1});
        if (with & BASES && with & (A4 | W4)) {
            turn(&a, z.d, a.at.attn, &turns[0]);
            turn(&a, z.d, a.at.ffn, &turns[1]);
        }
        if (with & BASES && with & W4)
            turn(&a, z.d, a.at.next, &turns[3]);
        if (with & HEAD && any)
            turn(&a, z.h, a.at.head, &turns[2]);
        for (size_t t = 0; rs_table_at(t) != NULL; t++) {
            double off[MEASURES];
            one_table(&a, &fused, rs_table_at(t), with, dx, turns, off);
            for (int m = 0; m < MEASURES; m++) {
                const bool bad = !(off[m] <= bounds[m]);
                differ[t][m] += bad;
                if (!bad && off[m] > worst[t][m])
                    worst[t][m] = off[m];
            }
        }
        drop(&a);
    }
    for (size_t t = 0; rs_table_at(t) != NULL; t++)
        for (int m = 0; m < MEASURES; m++)
            CHECKF(differ[t][m] <= (any ? FLIPS : 0), "%s: S %zu d %zu f %zu h %zu heads %zu/%zu with %u, %s: %zu of %u layers differ by more than %g, the others by up to %g", rs_table_at(t)->name, z.S, z.d, z.f, z.h,
                   z.n_q, z.n_kv, with, measured[m], differ[t][m], (unsigned)seeds, bounds[m], worst[t][m]);
}

// ---- what is added up, what is refused

static void adds(void)
{
    struct layer a;
    struct run once, twice;
    build(&a, (struct size){5, 32, 48, 8, 4, 2}, BASES | HEAD | A4 | KV4 | W4, 3);
    prepare(&a, &once);
    prepare(&a, &twice);
    const rs_kernels *k = rs_kernels_cpu();
    both(&a, k, &once);
    both(&a, k, &twice);
    forward(&a, k, &twice);
    backward(&a, k, &twice, (rs_decoder_slopes){twice.attn, twice.ffn, twice.head, twice.next});
    double *want = doubles(32 * 32);
    float *const pairs[4][2] = {{once.attn, twice.attn}, {once.ffn, twice.ffn}, {once.head, twice.head}, {once.next, twice.next}};
    for (int i = 0; i < 4; i++) {
        const size_t n = i != 2 ? 32 * 32 : 8 * 8;
        for (size_t j = 0; j < n; j++)
            want[j] = 2 * (double)pairs[i][0][j];
        CHECKF(!zeros(n, pairs[i][0]) && distance(n, pairs[i][1], want) < 1e-6, "slopes %d of two runs add up wrongly: %g", i, distance(n, pairs[i][1], want));
    }
    drop(&a);
}

static void bad_rows(void)
{
    struct layer a;
    struct run r;
    build(&a, (struct size){5, 32, 48, 8, 4, 2}, A4 | KV4, 1);
    prepare(&a, &r);
    a.x[2 * 32 + 3] = NAN;
    const size_t bad = forward(&a, rs_kernels_cpu(), &r);
    CHECKF(bad >= 6, "only %zu rows with NaN were met", bad); // row 2 at least at the input, in k, v, the attention, the FFN's input and down's
    a.learn.S = 0; // nothing is read or written
    a.learn.k = rs_kernels_cpu();
    CHECK(rs_decoder_learn_forward(&a.learn, NULL, NULL, NULL) == 0);
    rs_decoder_learn_backward(&a.learn, NULL, NULL, NULL, (rs_decoder_slopes){0}, NULL);
    drop(&a);
}

int main(void)
{
    static const unsigned with[] = {0, BIAS | NORM | R3 | R4 | BASES | HEAD, A4 | KV4, NORM | R3 | R4 | A4 | KV4, BASES | A4, BIAS | HEAD | KV4, BIAS | NORM | R3 | R4 | BASES | HEAD | A4 | KV4,
                                    NORM | BASES | HEAD | A4 | KV4 | SYM, BIAS | NORM | R3 | R4 | BASES | HEAD | A4 | KV4 | CLIP,
                                    W4, BASES | HEAD | W4, BIAS | NORM | R3 | R4 | BASES | HEAD | W4, BIAS | NORM | R3 | R4 | BASES | HEAD | A4 | KV4 | W4, NORM | R4 | BASES | A4 | KV4 | CLIP | W4, HEAD | KV4 | W4};
    for (size_t i = 0; i < sizeof with / sizeof *with; i++)
        compare((struct size){5, 32, 48, 8, 4, 2}, with[i]);
    compare((struct size){1, 32, 48, 8, 4, 2}, BIAS | NORM | R3 | R4 | BASES | HEAD | A4 | KV4);
    compare((struct size){20, 32, 48, 8, 4, 1}, NORM | R3 | R4 | BASES | HEAD | A4 | KV4);
    compare((struct size){7, 24, 20, 12, 6, 2}, BIAS | NORM | R3 | R4 | BASES | HEAD | A4 | KV4); // heads wider than the stream
    compare((struct size){7, 24, 20, 12, 6, 2}, BIAS | NORM | R3 | R4 | BASES | HEAD | A4 | KV4 | W4);
    adds();
    bad_rows();
    return check_report();
}
