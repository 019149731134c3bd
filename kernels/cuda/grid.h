// SPDX-License-Identifier: Apache-2.0
// The grid that values are quantised by: their range over a warp or a block, scale and zero point, the code of a value. Step by step what kernels/cpu/fake_quant.c does, and the same bits.
#ifndef RS_KERNELS_CUDA_GRID_H
#define RS_KERNELS_CUDA_GRID_H

#include <float.h>

#include "kernels/cuda/reduce.h"

// Smallest and largest; ordered: none is a NaN.
struct rs_cuda_range {
    float lo, hi;
    int ordered;
};

// Of two ranges; equal ends stay those of a.
RS_DEVICE struct rs_cuda_range rs_range_join(struct rs_cuda_range a, struct rs_cuda_range b)
{
    a.lo = b.lo < a.lo ? b.lo : a.lo;
    a.hi = b.hi > a.hi ? b.hi : a.hi;
    a.ordered &= b.ordered;
    return a;
}

// Of n values and `start`, over a warp, each thread from value first on in strides.
RS_DEVICE struct rs_cuda_range rs_range_warp(float start, size_t n, const float *x, size_t first, size_t stride)
{
    struct rs_cuda_range r = {start, start, 1};
    for (size_t i = first; i < n; i += stride) {
        const struct rs_cuda_range one = {x[i], x[i], x[i] == x[i]};
        r = rs_range_join(r, one);
    }
    for (unsigned d = RS_WARP / 2; d > 0; d /= 2) {
        const struct rs_cuda_range other = {__shfl_xor_sync(~0u, r.lo, d), __shfl_xor_sync(~0u, r.hi, d), __shfl_xor_sync(~0u, r.ordered, d)};
        r = rs_range_join(r, other);
    }
    return r;
}

// The same over a block, in every thread of it.
RS_DEVICE struct rs_cuda_range rs_range_block(float start, size_t n, const float *x)
{
    RS_BLOCK_ARRAY(struct rs_cuda_range, part, RS_WARPS);
    const struct rs_cuda_range mine = rs_range_warp(start, n, x, threadIdx.x, blockDim.x);
    if (threadIdx.x % RS_WARP == 0)
        part[threadIdx.x / RS_WARP] = mine;
    __syncthreads();
    struct rs_cuda_range all = part[0];
    for (unsigned w = 1; w < blockDim.x / RS_WARP; w++)
        all = rs_range_join(all, part[w]);
    __syncthreads();
    return all;
}

RS_DEVICE bool rs_range_usable(struct rs_cuda_range r)
{
    return r.ordered && r.hi - r.lo <= FLT_MAX;
}

// value = scale (code - zero), codes first .. last.
struct rs_cuda_grid {
    float scale, zero, first, last;
};

RS_DEVICE bool rs_grid_free(rs_quantizer q)
{
    return !q.sym && q.range == RS_RANGE_FREE;
}

RS_DEVICE struct rs_cuda_grid rs_grid_of(rs_quantizer q, float lo, float hi)
{
    const float codes = (float)((1u << q.bits) - 1), half = (float)((1u << (q.bits - 1)) - 1), end = q.range == RS_RANGE_HALF ? codes / 2 : half;
    if (rs_grid_free(q)) {
        const struct rs_cuda_grid g = {(q.clip * hi - q.clip * lo) / codes, rintf(-(q.clip * lo) / ((q.clip * hi - q.clip * lo) / codes)), 0, codes};
        if (g.scale >= FLT_MIN && fabsf(g.zero) <= 16777216.0f)
            return g;
        lo = lo < 0 ? lo : 0;
        hi = hi > 0 ? hi : 0;
    }
    struct rs_cuda_grid g;
    g.scale = q.sym ? q.clip * (-lo > hi ? -lo : hi) / end : (q.clip * hi - q.clip * lo) / codes;
    const bool normal = g.scale >= FLT_MIN;
    if (!normal)
        g.scale = 1;
    g.zero = q.sym || !normal ? 0 : rintf(-(q.clip * lo) / g.scale);
    g.first = q.sym ? -half - 1 : 0;
    g.last = q.sym ? half : codes;
    return g;
}

RS_DEVICE float rs_grid_code(float x, struct rs_cuda_grid g)
{
    const float c = rintf(x / g.scale) + g.zero;
    return c < g.first ? g.first : c > g.last ? g.last : c;
}

#endif
