// SPDX-License-Identifier: Apache-2.0
// Cross entropy of logits, a block for each row: the largest with its index, then the sum of e^(logit - largest) in fp64.
#include "kernels/cuda/ops.h"

#include "kernels/cuda/reduce.h"

enum { THREADS = 256 };

// The largest and its lowest index.
struct top {
    float x;
    unsigned long long at;
};

RS_DEVICE struct top higher(struct top a, struct top b)
{
    return b.x > a.x || (b.x == a.x && b.at < a.at) ? b : a;
}

RS_DEVICE struct top top_of(size_t V, const float *row)
{
    RS_BLOCK_ARRAY(struct top, part, RS_WARPS);
    struct top t = {-INFINITY, ~0ull};
    for (size_t i = threadIdx.x; i < V; i += THREADS) {
        const struct top one = {row[i], i};
        t = higher(t, one);
    }
    for (unsigned d = RS_WARP / 2; d > 0; d /= 2) {
        const struct top other = {__shfl_xor_sync(~0u, t.x, d), __shfl_xor_sync(~0u, t.at, d)};
        t = higher(t, other);
    }
    if (threadIdx.x % RS_WARP == 0)
        part[threadIdx.x / RS_WARP] = t;
    __syncthreads();
    t = part[0];
    for (unsigned w = 1; w < THREADS / RS_WARP; w++)
        t = higher(t, part[w]);
    __syncthreads();
    return t;
}

RS_KERNEL(THREADS, 4) rs_k_cross_entropy(size_t B, size_t V, const float *logits, size_t ld, const int32_t *target, double *nll, int32_t *top)
{
    for (size_t b = blockIdx.x; b < B; b += gridDim.x) {
        const float *row = logits + b * ld;
        const struct top t = top_of(V, row);
        double sum = 0;
        for (size_t i = threadIdx.x; i < V; i += THREADS)
            sum += (double)expf(row[i] - t.x);
        sum = rs_block_sum(sum);
        if (threadIdx.x != 0)
            continue;
        nll[b] = log(sum) + (double)t.x - (double)row[target[b]];
        if (top != NULL)
            top[b] = t.at < V ? (int32_t)t.at : 0;
    }
}

void rs_cross_entropy_cuda(size_t B, size_t V, const float *logits, size_t ld, const int32_t *target, double *nll, int32_t *top)
{
    RS_LAUNCH(rs_k_cross_entropy, rs_cuda_blocks(B), THREADS, 0, B, V, logits, ld, target, nll, top);
}
