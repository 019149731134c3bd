// SPDX-License-Identifier: Apache-2.0
// Causal attention, a block of threads for each query: a strip of scores by warps, weights from their running maximum, weighted values added to the output, which keeps the sums of all strips.
#include "kernels/cuda/ops.h"

#include "kernels/cuda/kv_view.h"
#include "kernels/cuda/reduce.h"

enum { THREADS = 128, STRIP = 64 };

// Keys or values as arrays [tokens, n_kv h], and as a packed cache has them; head: of KV.
struct dense {
    const float *x;
    size_t n_kv, h;
};
RS_DEVICE float at(const struct dense *d, bool, size_t head, size_t token, size_t i)
{
    return d->x[(token * d->n_kv + head) * d->h + i];
}
RS_DEVICE float at(const struct rs_kv_view *c, bool values, size_t head, size_t token, size_t i)
{
    return rs_kv_view_at(c, rs_kv_view_row(c, values, head, token), i);
}

// One query with `tokens` keys and values.
template <class SOURCE> RS_DEVICE void attend(const SOURCE *keys, const SOURCE *values, size_t head, size_t h, size_t tokens, const float *q, float *score, float *out)
{
    const float scale = (float)(1 / sqrt((double)h));
    float max = -INFINITY, total = 0;
    for (size_t first = 0; first < tokens; first += STRIP) {
        const unsigned n = tokens - first < STRIP ? (unsigned)(tokens - first) : (unsigned)STRIP;
        for (unsigned t = threadIdx.x / RS_WARP; t < n; t += THREADS / RS_WARP) {
            float sum = 0;
            for (size_t i = threadIdx.x % RS_WARP; i < h; i += RS_WARP)
                sum = fmaf(q[i], at(keys, false, head, first + t, i), sum);
            for (unsigned d = RS_WARP / 2; d > 0; d /= 2)
                sum += __shfl_xor_sync(~0u, sum, d);
            if (threadIdx.x % RS_WARP == 0)
                score[t] = sum;
        }
        __syncthreads();
        float top = max;
        for (unsigned t = 0; t < n; t++)
            top = score[t] <= top ? top : score[t]; // the weight of a NaN is one
        const float shrink = first > 0 ? expf(scale * (max - top)) : 0;
        __syncthreads();
        if (threadIdx.x < n)
            score[threadIdx.x] = expf(scale * (score[threadIdx.x] - top));
        __syncthreads();
        max = top;
        total *= shrink;
        for (unsigned t = 0; t < n; t++)
            total += score[t];
        for (size_t i = threadIdx.x; i < h; i += THREADS) {
            float sum = first > 0 ? out[i] * shrink : 0;
            for (unsigned t = 0; t < n; t++)
                sum = fmaf(score[t], at(values, true, head, first + t, i), sum);
            out[i] = first + n < tokens ? sum : sum / total;
        }
        __syncthreads();
    }
}

RS_KERNEL(THREADS, 4) rs_k_attention(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, float *out)
{
    RS_BLOCK_ARRAY(float, score, STRIP);
    const struct dense keys = {k, n_kv, h}, values = {v, n_kv, h};
    for (size_t i = blockIdx.x; i < S * n_q; i += gridDim.x)
        attend(&keys, &values, i % n_q / (n_q / n_kv), h, i / n_q + 1, q + i * h, score, out + i * h);
}

// The queries are those of the last S tokens of the cache.
RS_KERNEL(THREADS, 4) rs_k_attention_cached(struct rs_kv_view c, size_t S, size_t n_q, const float *q, float *out)
{
    RS_BLOCK_ARRAY(float, score, STRIP);
    for (size_t i = blockIdx.x; i < S * n_q; i += gridDim.x)
        attend(&c, &c, i % n_q / (n_q / c.n_kv), c.h, c.count - S + i / n_q + 1, q + i * c.h, score, out + i * c.h);
}

void rs_attention_cuda(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, float *out)
{
    RS_LAUNCH(rs_k_attention, rs_cuda_blocks(S * n_q), THREADS, 0, S, n_q, n_kv, h, q, k, v, out);
}

void rs_attention_cached_cuda(const rs_kv_cache *c, size_t S, size_t n_q, const float *q, float *out)
{
    RS_LAUNCH(rs_k_attention_cached, rs_cuda_blocks(S * n_q), THREADS, 0, rs_kv_view_of(c), S, n_q, q, out);
}
