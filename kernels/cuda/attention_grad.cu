// SPDX-License-Identifier: Apache-2.0
// Gradient of causal attention. With scores s = scale q k^T, weights p = e^(s - lse), delta = sum(dout out) per query and head: ds = p (dout v^T - delta) scale; dq = ds k, dk = ds^T q,
// dv = p^T dout. One kernel has a block of threads for each query and leaves lse and delta in work; the next one has a block for each key, which goes over all its queries in order.
#include "kernels/cuda/ops.h"

#include "kernels/cuda/reduce.h"

enum { THREADS = 128, WARPS = THREADS / RS_WARP, STRIP = 64 };

struct arrays {
    size_t S, n_q, n_kv, h;
    const float *q, *k, *v, *out, *dout;
    float *dq, *dk, *dv, *lse, *delta;
};

// The sum of a b over h, in every thread of the warp.
RS_DEVICE float dot(size_t h, const float *a, const float *b)
{
    float sum = 0;
    for (size_t i = threadIdx.x % RS_WARP; i < h; i += RS_WARP)
        sum = fmaf(a[i], b[i], sum);
    for (unsigned d = RS_WARP / 2; d > 0; d /= 2)
        sum += __shfl_xor_sync(~0u, sum, d);
    return sum;
}

// Weight and slope of one query and one key, by a warp.
RS_DEVICE void slope(size_t h, const float *q, const float *k, const float *dout, const float *v, float scale, float lse, float delta, float *p, float *ds)
{
    const float weight = expf(scale * dot(h, q, k) - lse), d = weight * (dot(h, dout, v) - delta) * scale;
    if (threadIdx.x % RS_WARP == 0) {
        *p = weight;
        *ds = d;
    }
}

RS_KERNEL(THREADS, 4) rs_k_attention_grad_q(struct arrays a)
{
    RS_BLOCK_ARRAY(float, p, STRIP);
    RS_BLOCK_ARRAY(float, ds, STRIP);
    const float scale = (float)(1 / sqrt((double)a.h));
    const unsigned warp = threadIdx.x / RS_WARP;
    for (size_t i = blockIdx.x; i < a.S * a.n_q; i += gridDim.x) {
        const size_t tokens = i / a.n_q + 1, head = i % a.n_q / (a.n_q / a.n_kv), ld = a.n_kv * a.h;
        const float *q = a.q + i * a.h, *k = a.k + head * a.h, *v = a.v + head * a.h, *dout = a.dout + i * a.h;
        float *dq = a.dq + i * a.h, max = -INFINITY;
        double total = 0;
        for (size_t first = 0; first < tokens; first += STRIP) {
            const unsigned n = tokens - first < STRIP ? (unsigned)(tokens - first) : (unsigned)STRIP;
            for (unsigned t = warp; t < n; t += WARPS) {
                const float score = scale * dot(a.h, q, k + (first + t) * ld);
                if (threadIdx.x % RS_WARP == 0)
                    p[t] = score;
            }
            __syncthreads();
            float top = max;
            for (unsigned t = 0; t < n; t++)
                top = p[t] <= top ? top : p[t];
            total *= first > 0 ? (double)expf(max - top) : 0;
            for (unsigned t = 0; t < n; t++)
                total += (double)expf(p[t] - top);
            max = top;
            __syncthreads();
        }
        const float lse = (float)((double)max + log(total)), delta = dot(a.h, dout, a.out + i * a.h);
        if (threadIdx.x == 0) {
            a.lse[i] = lse;
            a.delta[i] = delta;
        }
        for (size_t first = 0; first < tokens; first += STRIP) {
            const unsigned n = tokens - first < STRIP ? (unsigned)(tokens - first) : (unsigned)STRIP;
            for (unsigned t = warp; t < n; t += WARPS)
                slope(a.h, q, k + (first + t) * ld, dout, v + (first + t) * ld, scale, lse, delta, &p[t], &ds[t]);
            __syncthreads();
            for (size_t c = threadIdx.x; c < a.h; c += THREADS) {
                float sum = first > 0 ? dq[c] : 0;
                for (unsigned t = 0; t < n; t++)
                    sum = fmaf(ds[t], k[(first + t) * ld + c], sum);
                dq[c] = sum;
            }
            __syncthreads();
        }
    }
}

RS_KERNEL(THREADS, 4) rs_k_attention_grad_kv(struct arrays a)
{
    RS_BLOCK_ARRAY(float, p, STRIP);
    RS_BLOCK_ARRAY(float, ds, STRIP);
    const float scale = (float)(1 / sqrt((double)a.h));
    const size_t shared = a.n_q / a.n_kv;
    for (size_t i = blockIdx.x; i < a.S * a.n_kv; i += gridDim.x) {
        const size_t token = i / a.n_kv, all = (a.S - token) * shared; // its queries: of this token and those behind it, all heads that share the key
        const float *k = a.k + i * a.h, *v = a.v + i * a.h;
        float *dk = a.dk + i * a.h, *dv = a.dv + i * a.h;
        for (size_t first = 0; first < all; first += STRIP) {
            const unsigned n = all - first < STRIP ? (unsigned)(all - first) : (unsigned)STRIP;
            for (unsigned t = threadIdx.x / RS_WARP; t < n; t += WARPS) {
                const size_t row = (token + (first + t) / shared) * a.n_q + i % a.n_kv * shared + (first + t) % shared;
                slope(a.h, a.q + row * a.h, k, a.dout + row * a.h, v, scale, a.lse[row], a.delta[row], &p[t], &ds[t]);
            }
            __syncthreads();
            for (size_t c = threadIdx.x; c < a.h; c += THREADS) {
                float of_k = first > 0 ? dk[c] : 0, of_v = first > 0 ? dv[c] : 0;
                for (unsigned t = 0; t < n; t++) {
                    const size_t row = (token + (first + t) / shared) * a.n_q + i % a.n_kv * shared + (first + t) % shared;
                    of_k = fmaf(ds[t], a.q[row * a.h + c], of_k);
                    of_v = fmaf(p[t], a.dout[row * a.h + c], of_v);
                }
                dk[c] = of_k;
                dv[c] = of_v;
            }
            __syncthreads();
        }
    }
}

void rs_attention_grad_cuda(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, const float *out, const float *dout, float *dq, float *dk, float *dv, float *work)
{
    const struct arrays a = {S, n_q, n_kv, h, q, k, v, out, dout, dq, dk, dv, work, work + S * n_q};
    RS_LAUNCH(rs_k_attention_grad_q, rs_cuda_blocks(S * n_q), THREADS, 0, a);
    RS_LAUNCH(rs_k_attention_grad_kv, rs_cuda_blocks(S * n_kv), THREADS, 0, a);
}
