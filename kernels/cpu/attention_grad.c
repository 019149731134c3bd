// SPDX-License-Identifier: Apache-2.0
// Gradient of causal attention, with the scores computed again block by block: memory grows with S, not with S^2.
// With scores s = scale q k^T, weights p = e^(s - lse), delta = sum(dout out) per query and head: ds = p (dout v^T - delta) scale; dq = ds k, dk = ds^T q, dv = p^T dout.
#include <cblas.h>
#include <math.h>
#include <string.h>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/pieces.h"
#include "kernels/cpu/vec.h"
#include "kernels/threads.h"

void rs_attention_grad_plain(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, const float *out, const float *dout, float *dq, float *dk, float *dv,
                             float *work)
{
    (void)work;
    const double scale = 1 / sqrt((double)h);
    const size_t ldq = n_q * h, ldk = n_kv * h;
    memset(dq, 0, S * ldq * sizeof *dq);
    memset(dk, 0, S * ldk * sizeof *dk);
    memset(dv, 0, S * ldk * sizeof *dv);
    for (size_t head = 0; head < n_q; head++)
        for (size_t s = 0; s < S; s++) {
            const size_t at = s * ldq + head * h, shared = head / (n_q / n_kv) * h;
            double max = -HUGE_VAL, total = 0, delta = 0;
            for (size_t i = 0; i < h; i++)
                delta += (double)dout[at + i] * (double)out[at + i];
            for (int pass = 0; pass < 3; pass++) // the largest score, the sum of weights, the gradients
                for (size_t t = 0; t <= s; t++) {
                    const size_t key = t * ldk + shared;
                    double score = 0, dp = 0;
                    for (size_t i = 0; i < h; i++)
                        score += (double)q[at + i] * (double)k[key + i];
                    score *= scale;
                    if (pass == 0)
                        max = score > max ? score : max;
                    else if (pass == 1)
                        total += exp(score - max);
                    else {
                        const double p = exp(score - max) / total;
                        for (size_t i = 0; i < h; i++)
                            dp += (double)dout[at + i] * (double)v[key + i];
                        const double ds = p * (dp - delta) * scale;
                        for (size_t i = 0; i < h; i++) {
                            dq[at + i] += (float)(ds * (double)k[key + i]);
                            dk[key + i] += (float)(ds * (double)q[at + i]);
                            dv[key + i] += (float)(p * (double)dout[at + i]);
                        }
                    }
                }
        }
}

enum { QUERIES = 64, KEYS = 128 };

// Scores of one row of n keys: the largest of them and *max into *max; returns the sum of e^(scale (x - max)), to which the earlier sum is to be shrunk by the caller.
typedef float total_fn(size_t n, const float *x, float scale, float max);
// x becomes p = e^(scale x - lse); ds [n] (on entry dout v^T) becomes p (ds - delta) scale.
typedef void slope_fn(size_t n, float *x, float *ds, float scale, float lse, float delta);

struct grad {
    size_t S, n_q, n_kv, h;
    const float *q, *k, *v, *out, *dout;
    float *dq, *dk, *dv, *lse, *delta; // lse, delta [n_q, S]
    total_fn *total;
    slope_fn *slope;
};

static void product(bool tx, bool tw, size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, bool add, float *y, size_t ldy)
{
    cblas_sgemm(CblasRowMajor, tx ? CblasTrans : CblasNoTrans, tw ? CblasTrans : CblasNoTrans, (int)m, (int)n, (int)k, 1, x, (int)ldx, w, (int)ldw, add, y, (int)ldy);
}

// Weights and slopes of queries first.. (rows) of a head and keys t.. (columns): p and ds [QUERIES, KEYS].
static void block(const struct grad *g, size_t head, size_t first, size_t rows, size_t t, size_t columns, float *p, float *ds)
{
    const size_t h = g->h, ldq = g->n_q * h, ldk = g->n_kv * h, shared = head / (g->n_q / g->n_kv) * h;
    const float scale = (float)(1 / sqrt((double)h));
    product(false, true, rows, columns, h, g->q + first * ldq + head * h, ldq, g->k + t * ldk + shared, ldk, false, p, KEYS);
    product(false, true, rows, columns, h, g->dout + first * ldq + head * h, ldq, g->v + t * ldk + shared, ldk, false, ds, KEYS);
    for (size_t r = 0; r < rows; r++) {
        const size_t seen = first + r < t ? 0 : rs_pieces_min(columns, first + r + 1 - t);
        if (seen > 0)
            g->slope(seen, p + r * KEYS, ds + r * KEYS, scale, g->lse[head * g->S + first + r], g->delta[head * g->S + first + r]);
        memset(p + r * KEYS + seen, 0, (columns - seen) * sizeof *p);
        memset(ds + r * KEYS + seen, 0, (columns - seen) * sizeof *ds);
    }
}

// One block of queries of one head: lse, delta, dq.
static void query_piece(void *context, size_t piece)
{
    const struct grad *g = context;
    const size_t h = g->h, ldq = g->n_q * h, ldk = g->n_kv * h, head = piece % g->n_q, first = (rs_pieces_count(g->S, QUERIES) - 1 - piece / g->n_q) * QUERIES;
    const size_t rows = rs_pieces_min(QUERIES, g->S - first), keys = first + rows, shared = head / (g->n_q / g->n_kv) * h;
    const float scale = (float)(1 / sqrt((double)h));
    float p[QUERIES * KEYS], ds[QUERIES * KEYS], max[QUERIES], total[QUERIES] = {0};
    for (size_t r = 0; r < rows; r++)
        max[r] = -HUGE_VALF;
    for (size_t t = 0; t < keys; t += KEYS) {
        const size_t columns = rs_pieces_min(KEYS, keys - t);
        product(false, true, rows, columns, h, g->q + first * ldq + head * h, ldq, g->k + t * ldk + shared, ldk, false, p, KEYS);
        for (size_t r = 0; r < rows; r++) {
            const size_t seen = first + r < t ? 0 : rs_pieces_min(columns, first + r + 1 - t);
            float high = max[r];
            for (size_t i = 0; i < seen; i++)
                high = p[r * KEYS + i] > high ? p[r * KEYS + i] : high;
            if (seen == 0)
                continue;
            total[r] = total[r] * expf(scale * (max[r] - high)) + g->total(seen, p + r * KEYS, scale, high);
            max[r] = high;
        }
    }
    for (size_t r = 0; r < rows; r++) {
        const size_t at = (first + r) * ldq + head * h;
        double delta = 0;
        for (size_t i = 0; i < h; i++)
            delta += (double)g->dout[at + i] * (double)g->out[at + i];
        g->lse[head * g->S + first + r] = scale * max[r] + logf(total[r]);
        g->delta[head * g->S + first + r] = (float)delta;
    }
    for (size_t t = 0; t < keys; t += KEYS) {
        const size_t columns = rs_pieces_min(KEYS, keys - t);
        block(g, head, first, rows, t, columns, p, ds);
        product(false, false, rows, h, columns, ds, KEYS, g->k + t * ldk + shared, ldk, t > 0, g->dq + first * ldq + head * h, ldq);
    }
}

// One block of keys of one KV head: dk, dv, summed over the query heads that share it in a fixed order.
static void key_piece(void *context, size_t piece)
{
    const struct grad *g = context;
    const size_t h = g->h, ldq = g->n_q * h, ldk = g->n_kv * h, shared = piece % g->n_kv, t = piece / g->n_kv * KEYS, columns = rs_pieces_min(KEYS, g->S - t), heads = g->n_q / g->n_kv;
    float p[QUERIES * KEYS], ds[QUERIES * KEYS], *dk = g->dk + t * ldk + shared * h, *dv = g->dv + t * ldk + shared * h;
    bool add = false;
    for (size_t head = shared * heads; head < (shared + 1) * heads; head++)
        for (size_t first = t / QUERIES * QUERIES; first < g->S; first += QUERIES, add = true) {
            const size_t rows = rs_pieces_min(QUERIES, g->S - first);
            block(g, head, first, rows, t, columns, p, ds);
            product(true, false, columns, h, rows, ds, KEYS, g->q + first * ldq + head * h, ldq, add, dk, ldk);
            product(true, false, columns, h, rows, p, KEYS, g->dout + first * ldq + head * h, ldq, add, dv, ldk);
        }
}

static void run(struct grad g)
{
    rs_threads_for(g.n_q * rs_pieces_count(g.S, QUERIES), query_piece, &g);
    rs_threads_for(g.n_kv * rs_pieces_count(g.S, KEYS), key_piece, &g);
}

static float total_plain(size_t n, const float *x, float scale, float max)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += expf(scale * (x[i] - max));
    return sum;
}

static void slope_plain(size_t n, float *x, float *ds, float scale, float lse, float delta)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = expf(scale * x[i] - lse);
        ds[i] = x[i] * (ds[i] - delta) * scale;
    }
}

#define RUN(name, total, slope)                                                                                                                                               \
    void rs_attention_grad_##name(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, const float *out, const float *dout, float *dq, \
                                  float *dk, float *dv, float *work)                                                                                                          \
    {                                                                                                                                                                         \
        run((struct grad){S, n_q, n_kv, h, q, k, v, out, dout, dq, dk, dv, work, work + S * n_q, total, slope});                                                              \
    }
RUN(blas, total_plain, slope_plain)

#if defined(__x86_64__)

#define ROWS(V, WIDTH, TARGET)                                                                              \
    static TARGET float V##_total(size_t n, const float *x, float scale, float max)                         \
    {                                                                                                       \
        V sum = V##_set(0);                                                                                 \
        size_t i = 0;                                                                                       \
        for (; i + WIDTH <= n; i += WIDTH)                                                                  \
            sum = V##_add(sum, V##_exp(V##_mul(V##_set(scale), V##_sub(V##_load(x + i), V##_set(max)))));   \
        if (i < n)                                                                                          \
            sum = V##_add(sum, V##_keep(V##_exp(V##_mul(V##_set(scale), V##_sub(V##_load_part(x + i, n - i), V##_set(max)))), n - i)); \
        return V##_sum_of(sum);                                                                             \
    }                                                                                                       \
    static TARGET void V##_slope(size_t n, float *x, float *ds, float scale, float lse, float delta)        \
    {                                                                                                       \
        size_t i = 0;                                                                                       \
        for (; i + WIDTH <= n; i += WIDTH) {                                                                \
            const V p = V##_exp(V##_sub(V##_mul(V##_set(scale), V##_load(x + i)), V##_set(lse)));           \
            V##_store(x + i, p);                                                                            \
            V##_store(ds + i, V##_mul(V##_mul(p, V##_sub(V##_load(ds + i), V##_set(delta))), V##_set(scale))); \
        }                                                                                                   \
        if (i < n) {                                                                                        \
            const V p = V##_exp(V##_sub(V##_mul(V##_set(scale), V##_load_part(x + i, n - i)), V##_set(lse))); \
            V##_store_part(x + i, p, n - i);                                                                \
            V##_store_part(ds + i, V##_mul(V##_mul(p, V##_sub(V##_load_part(ds + i, n - i), V##_set(delta))), V##_set(scale)), n - i); \
        }                                                                                                   \
    }
ROWS(v8, 8, RS_AVX2)
ROWS(v16, 16, RS_AVX512)
RUN(avx2, v8_total, v8_slope)
RUN(avx512, v16_total, v16_slope)

#endif
