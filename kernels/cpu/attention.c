// SPDX-License-Identifier: Apache-2.0
// Causal attention of one sequence, never holding more than a strip of the score matrix.
#include <cblas.h>
#include <math.h>
#include <string.h>

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

// Fast: queries and keys in blocks; one product gives a block of scores, its rows become weights, one product adds the weighted values.
enum { QUERIES = 64, KEYS = 256 };

// Turns n scores into e^(scale (score - max)); returns their sum. *max: the largest score of the row so far, updated; *shrink: what earlier sums and outputs must be multiplied with.
typedef float weigh_fn(size_t n, float *x, float scale, float *max, float *shrink);

struct attend {
    size_t S, n_q, n_kv, h;
    const float *q, *k, *v;
    float *out;
    weigh_fn *weigh;
};

// One block of queries of one head; the longest come first.
static void attend_piece(void *context, size_t piece)
{
    const struct attend *a = context;
    const size_t h = a->h, ldq = a->n_q * h, ldk = a->n_kv * h, head = piece % a->n_q, first = (rs_pieces_count(a->S, QUERIES) - 1 - piece / a->n_q) * QUERIES;
    const size_t rows = rs_pieces_min(QUERIES, a->S - first), keys = first + rows, shared = head / (a->n_q / a->n_kv) * h;
    const float *q = a->q + first * ldq + head * h, scale = (float)(1 / sqrt((double)h));
    float *out = a->out + first * ldq + head * h, total[QUERIES] = {0}, max[QUERIES], weight[QUERIES * KEYS];
    for (size_t r = 0; r < rows; r++)
        max[r] = -HUGE_VALF;
    for (size_t t = 0; t < keys; t += KEYS) {
        const size_t columns = rs_pieces_min(KEYS, keys - t);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)columns, (int)h, 1, q, (int)ldq, a->k + t * ldk + shared, (int)ldk, 0, weight, KEYS);
        for (size_t r = 0; r < rows; r++) {
            const size_t seen = first + r < t ? 0 : rs_pieces_min(columns, first + r + 1 - t);
            float *w = weight + r * KEYS, shrink = 1;
            if (seen > 0) {
                const float sum = a->weigh(seen, w, scale, &max[r], &shrink);
                total[r] = total[r] * shrink + sum;
            }
            memset(w + seen, 0, (columns - seen) * sizeof *w);
            for (size_t i = 0; t > 0 && shrink != 1 && i < h; i++)
                out[r * ldq + i] *= shrink;
        }
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)h, (int)columns, 1, weight, KEYS, a->v + t * ldk + shared, (int)ldk, t > 0, out, (int)ldq);
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < h; i++)
            out[r * ldq + i] /= total[r];
}

static void attend(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, float *out, weigh_fn *weigh)
{
    rs_threads_for(n_q * rs_pieces_count(S, QUERIES), attend_piece, &(struct attend){S, n_q, n_kv, h, q, k, v, out, weigh});
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
    attend(S, n_q, n_kv, h, q, k, v, out, weigh_plain);
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
    attend(S, n_q, n_kv, h, q, k, v, out, v8_weigh);
}

void rs_attention_avx512(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, float *out)
{
    attend(S, n_q, n_kv, h, q, k, v, out, v16_weigh);
}

#endif
