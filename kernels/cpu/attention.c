// SPDX-License-Identifier: Apache-2.0
// Causal attention of one sequence, never holding more than a strip of the score matrix.
#include <cblas.h>
#include <math.h>
#include <string.h>

#include "kernels/cpu/kv_layout.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/pieces.h"
#include "kernels/cpu/vec.h"
#include "kernels/threads.h"

// Reference: for each query a running maximum m, the sum of e^(score - m) and the weighted values, in fp64.
void rs_attention_plain(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, float *out)
{
    enum { PART = 64 }; // columns of the output computed together; scores are computed again for each part
    const double scale = 1 / sqrt((double)h);
    for (size_t s = 0; s < S; s++)
        for (size_t head = 0; head < n_q; head++)
            for (size_t part = 0; part < h; part += PART) {
                const float *qs = q + (s * n_q + head) * h;
                const size_t first = head / (n_q / n_kv) * h, width = h - part < PART ? h - part : PART;
                double max = -HUGE_VAL, total = 0, sum[PART] = {0};
                for (size_t t = 0; t <= s; t++) {
                    const float *kt = k + t * n_kv * h + first, *vt = v + t * n_kv * h + first + part;
                    double score = 0;
                    for (size_t i = 0; i < h; i++)
                        score += (double)qs[i] * (double)kt[i];
                    score *= scale;
                    if (!(score <= max)) {
                        const double shrink = exp(max - score);
                        total *= shrink;
                        for (size_t i = 0; i < width; i++)
                            sum[i] *= shrink;
                        max = score;
                    }
                    const double weight = exp(score - max);
                    total += weight;
                    for (size_t i = 0; i < width; i++)
                        sum[i] += weight * (double)vt[i];
                }
                for (size_t i = 0; i < width; i++)
                    out[(s * n_q + head) * h + part + i] = (float)(sum[i] / total);
            }
}

// Reference: the same over unpacked tokens, one at a time.
void rs_attention_cached_plain(const rs_kv_cache *c, size_t S, size_t n_q, const float *q, float *out)
{
    const size_t h = c->h, past = c->count - S;
    const double scale = 1 / sqrt((double)h);
    float x[RS_KV_BLOCK];
    for (size_t s = 0; s < S; s++)
        for (size_t head = 0; head < n_q; head++) {
            const float *qs = q + (s * n_q + head) * h;
            const size_t from = head / (n_q / c->n_kv);
            double max = -HUGE_VAL, total = 0, sum[RS_KV_BLOCK];
            for (size_t i = 0; i < h; i++)
                sum[i] = 0;
            for (size_t t = 0; t <= past + s; t++) {
                double score = 0;
                rs_kv_read_plain(c, false, from, t, 1, x);
                for (size_t i = 0; i < h; i++)
                    score += (double)qs[i] * (double)x[i];
                score *= scale;
                const double top = score > max ? score : max, shrink = exp(max - top), weight = exp(score - top);
                max = top;
                total = total * shrink + weight;
                rs_kv_read_plain(c, true, from, t, 1, x);
                for (size_t i = 0; i < h; i++)
                    sum[i] = sum[i] * shrink + weight * (double)x[i];
            }
            for (size_t i = 0; i < h; i++)
                out[(s * n_q + head) * h + i] = (float)(sum[i] / total);
        }
}

// Fast: queries and keys in blocks; one product gives a block of scores, its rows become weights, one product adds the weighted values.
enum { QUERIES = 64, KEYS = 256 };

// Turns n scores into e^(scale (score - max)); returns their sum. *max: the largest score of the row so far, updated; *shrink: what earlier sums and outputs must be multiplied with.
typedef float weigh_fn(size_t n, float *x, float scale, float *max, float *shrink);

struct attend {
    size_t S, n_q, n_kv, h;
    const float *q, *k, *v;
    float *out;
    weigh_fn *weigh;
    // Of the cache that the queries' own keys end (k and v are then not used); few: products of the rows of one token with codes as they lie, NULL: none.
    const rs_kv_cache *cache;
    rs_kv_read *read;
    const rs_kv_few *few;
};

// Rows of one piece: queries first .. of one head, or all heads that share the keys of one token, so that these are unpacked once.
struct rows {
    size_t count, first, ldq, kv_head;
    bool together, packed; // packed: keys and values are used as they lie
    const float *q;
    float *out;
};

static void scores_and_weights(const struct attend *a, const struct rows *p, size_t t, size_t columns, const float *k, size_t ldk, float *weight, float *max, float *total)
{
    const float scale = (float)(1 / sqrt((double)a->h));
    const size_t past = a->cache != NULL ? a->cache->count - a->S : 0;
    if (p->packed)
        a->few->scores(a->cache, p->kv_head, t, columns, p->count, p->q, weight, KEYS);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)p->count, (int)columns, (int)a->h, 1, p->q, (int)p->ldq, k, (int)ldk, 0, weight, KEYS);
    for (size_t r = 0; r < p->count; r++) {
        const size_t last = past + p->first + (p->together ? 0 : r), seen = last < t ? 0 : rs_pieces_min(columns, last + 1 - t);
        float *w = weight + r * KEYS, shrink = 1;
        if (seen > 0) {
            const float sum = a->weigh(seen, w, scale, &max[r], &shrink);
            total[r] = total[r] * shrink + sum;
        }
        memset(w + seen, 0, (columns - seen) * sizeof *w);
        for (size_t i = 0; t > 0 && shrink != 1 && i < a->h; i++)
            p->out[r * p->ldq + i] *= shrink;
    }
}

// One set of rows; the longest come first.
static void attend_piece(void *context, size_t piece)
{
    const struct attend *a = context;
    const size_t h = a->h, shared = a->n_q / a->n_kv, block = a->cache != NULL ? rs_pieces_min(KEYS, RS_KV_BLOCK / h) : KEYS;
    const bool together = a->cache != NULL && a->S == 1, packed = together && a->few != NULL && a->few->fit(a->cache);
    const size_t head = together ? piece * shared : piece % a->n_q, first = together ? 0 : (rs_pieces_count(a->S, QUERIES) - 1 - piece / a->n_q) * QUERIES;
    float total[QUERIES] = {0}, max[QUERIES], weight[QUERIES * KEYS], unpacked[RS_KV_BLOCK];
    struct rows p = {.first = first, .kv_head = head / shared, .together = together, .packed = packed, .ldq = together ? h : a->n_q * h};
    for (size_t done = 0, all = together ? shared : rs_pieces_min(QUERIES, a->S - first); done < all; done += p.count) {
        p.count = rs_pieces_min(QUERIES, all - done);
        p.q = a->q + first * a->n_q * h + (head + (together ? done : 0)) * h;
        p.out = a->out + (p.q - a->q);
        for (size_t r = 0; r < p.count; r++) {
            max[r] = -HUGE_VALF;
            total[r] = 0;
        }
        const size_t keys = (a->cache != NULL ? a->cache->count - a->S : 0) + first + (together ? 1 : p.count);
        for (size_t t = 0; t < keys; t += block) {
            const float *k = a->k, *v = a->v;
            size_t ld = h;
            const size_t columns = rs_pieces_min(block, keys - t);
            if (a->cache == NULL) {
                ld = a->n_kv * h;
                k += t * ld + p.kv_head * h;
                v += t * ld + p.kv_head * h;
            } else if (!packed) {
                a->read(a->cache, false, p.kv_head, t, columns, unpacked);
                k = unpacked;
            }
            scores_and_weights(a, &p, t, columns, k, ld, weight, max, total);
            if (packed) {
                if (t == 0)
                    memset(p.out, 0, p.count * h * sizeof *p.out);
                a->few->values(a->cache, p.kv_head, t, columns, p.count, weight, KEYS, p.out);
            } else {
                if (a->cache != NULL) {
                    a->read(a->cache, true, p.kv_head, t, columns, unpacked);
                    v = unpacked;
                }
                cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)p.count, (int)h, (int)columns, 1, weight, KEYS, v, (int)ld, t > 0, p.out, (int)p.ldq);
            }
        }
        for (size_t r = 0; r < p.count; r++)
            for (size_t i = 0; i < h; i++)
                p.out[r * p.ldq + i] /= total[r];
    }
}

static void attend(struct attend a)
{
    if (a.cache != NULL && a.S == 1)
        rs_threads_for(a.n_kv, attend_piece, &a);
    else
        rs_threads_for(a.n_q * rs_pieces_count(a.S, QUERIES), attend_piece, &a);
}

static float weigh_plain(size_t n, float *x, float scale, float *max, float *shrink)
{
    float top = *max, sum = 0;
    for (size_t i = 0; i < n; i++)
        top = x[i] > top ? x[i] : top;
    for (size_t i = 0; i < n; i++)
        sum += x[i] = expf(scale * (x[i] - top));
    *shrink = expf(scale * (*max - top));
    *max = top;
    return sum;
}

void rs_attention_blas(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, float *out)
{
    attend((struct attend){.S = S, .n_q = n_q, .n_kv = n_kv, .h = h, .q = q, .k = k, .v = v, .out = out, .weigh = weigh_plain});
}

void rs_attention_cached_blas(const rs_kv_cache *c, size_t S, size_t n_q, const float *q, float *out)
{
    attend((struct attend){.S = S, .n_q = n_q, .n_kv = c->n_kv, .h = c->h, .q = q, .out = out, .weigh = weigh_plain, .cache = c, .read = rs_kv_read_plain});
}

#if defined(__x86_64__)

#define WEIGH(V, WIDTH, TARGET)                                                                       \
    static TARGET float V##_weigh(size_t n, float *x, float scale, float *max, float *shrink)         \
    {                                                                                                 \
        V high = V##_set(*max), sum = V##_set(0);                                                     \
        size_t i = 0;                                                                                 \
        for (; i + WIDTH <= n; i += WIDTH)                                                            \
            high = V##_max(V##_load(x + i), high);                                                    \
        float top = V##_max_of(high);                                                                 \
        for (; i < n; i++)                                                                            \
            top = x[i] > top ? x[i] : top;                                                            \
        const V less = V##_set(top), factor = V##_set(scale);                                         \
        for (i = 0; i + WIDTH <= n; i += WIDTH) {                                                     \
            const V e = V##_exp(V##_mul(factor, V##_sub(V##_load(x + i), less)));                     \
            V##_store(x + i, e);                                                                      \
            sum = V##_add(sum, e);                                                                    \
        }                                                                                             \
        if (i < n) {                                                                                  \
            const V e = V##_keep(V##_exp(V##_mul(factor, V##_sub(V##_load_part(x + i, n - i), less))), n - i); \
            V##_store_part(x + i, e, n - i);                                                          \
            sum = V##_add(sum, e);                                                                    \
        }                                                                                             \
        *shrink = expf(scale * (*max - top));                                                         \
        *max = top;                                                                                   \
        return V##_sum_of(sum);                                                                       \
    }
WEIGH(v8, 8, RS_AVX2)
WEIGH(v16, 16, RS_AVX512)

void rs_attention_avx2(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, float *out)
{
    attend((struct attend){.S = S, .n_q = n_q, .n_kv = n_kv, .h = h, .q = q, .k = k, .v = v, .out = out, .weigh = v8_weigh});
}

void rs_attention_avx512(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, float *out)
{
    attend((struct attend){.S = S, .n_q = n_q, .n_kv = n_kv, .h = h, .q = q, .k = k, .v = v, .out = out, .weigh = v16_weigh});
}

void rs_attention_cached_avx2(const rs_kv_cache *c, size_t S, size_t n_q, const float *q, float *out)
{
    attend((struct attend){.S = S, .n_q = n_q, .n_kv = c->n_kv, .h = c->h, .q = q, .out = out, .weigh = v8_weigh, .cache = c, .read = rs_kv_read_avx2, .few = &rs_kv_few_avx2});
}

void rs_attention_cached_avx512(const rs_kv_cache *c, size_t S, size_t n_q, const float *q, float *out)
{
    attend((struct attend){.S = S, .n_q = n_q, .n_kv = c->n_kv, .h = c->h, .q = q, .out = out, .weigh = v16_weigh, .cache = c, .read = rs_kv_read_avx2, .few = &rs_kv_few_avx512});
}

#endif
