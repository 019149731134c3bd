// SPDX-License-Identifier: Apache-2.0
// Quantisation of rows, to values (fake) or to codes, a block for each row: the steps of the reference (kernels/cpu/fake_quant.c), and the same bits.
#include "kernels/cuda/ops.h"

#include <float.h>

#include "kernels/cuda/reduce.h"

enum { THREADS = 256, SHORT = 1024 };

// Smallest and largest; ordered: none is a NaN.
struct range {
    float lo, hi;
    int ordered;
};

// Of two ranges; equal ends stay those of a.
RS_DEVICE struct range join(struct range a, struct range b)
{
    a.lo = b.lo < a.lo ? b.lo : a.lo;
    a.hi = b.hi > a.hi ? b.hi : a.hi;
    a.ordered &= b.ordered;
    return a;
}

// Of n values and `start`, over a warp: value i to thread i % 32.
RS_DEVICE struct range warp_range(float start, size_t n, const float *x, size_t first, size_t stride)
{
    struct range r = {start, start, 1};
    for (size_t i = first; i < n; i += stride) {
        const struct range one = {x[i], x[i], x[i] == x[i]};
        r = join(r, one);
    }
    for (unsigned d = RS_WARP / 2; d > 0; d /= 2) {
        const struct range other = {__shfl_xor_sync(~0u, r.lo, d), __shfl_xor_sync(~0u, r.hi, d), __shfl_xor_sync(~0u, r.ordered, d)};
        r = join(r, other);
    }
    return r;
}

// The same over a block, in every thread of it.
RS_DEVICE struct range block_range(float start, size_t n, const float *x)
{
    RS_BLOCK_ARRAY(struct range, part, RS_WARPS);
    const struct range mine = warp_range(start, n, x, threadIdx.x, blockDim.x);
    if (threadIdx.x % RS_WARP == 0)
        part[threadIdx.x / RS_WARP] = mine;
    __syncthreads();
    struct range all = part[0];
    for (unsigned w = 1; w < blockDim.x / RS_WARP; w++)
        all = join(all, part[w]);
    __syncthreads();
    return all;
}

RS_DEVICE bool usable(struct range r)
{
    return r.ordered && r.hi - r.lo <= FLT_MAX;
}

// value = scale (code - zero), codes first .. last.
struct grid {
    float scale, zero, first, last;
};

RS_DEVICE bool is_free(rs_quantizer q)
{
    return !q.sym && q.range == RS_RANGE_FREE;
}

RS_DEVICE struct grid grid(rs_quantizer q, float lo, float hi)
{
    const float codes = (float)((1u << q.bits) - 1), half = (float)((1u << (q.bits - 1)) - 1), end = q.range == RS_RANGE_HALF ? codes / 2 : half;
    if (is_free(q)) {
        const struct grid g = {(q.clip * hi - q.clip * lo) / codes, rintf(-(q.clip * lo) / ((q.clip * hi - q.clip * lo) / codes)), 0, codes};
        if (g.scale >= FLT_MIN && fabsf(g.zero) <= 16777216.0f)
            return g;
        lo = lo < 0 ? lo : 0;
        hi = hi > 0 ? hi : 0;
    }
    struct grid g;
    g.scale = q.sym ? q.clip * (-lo > hi ? -lo : hi) / end : (q.clip * hi - q.clip * lo) / codes;
    const bool normal = g.scale >= FLT_MIN;
    if (!normal)
        g.scale = 1;
    g.zero = q.sym || !normal ? 0 : rintf(-(q.clip * lo) / g.scale);
    g.first = q.sym ? -half - 1 : 0;
    g.last = q.sym ? half : codes;
    return g;
}

RS_DEVICE float code(float x, struct grid g)
{
    const float c = rintf(x / g.scale) + g.zero;
    return c < g.first ? g.first : c > g.last ? g.last : c;
}

RS_KERNEL(THREADS, 4) rs_k_fake_quant(rs_quantizer q, size_t B, size_t n, float *x, size_t ld, unsigned long long *refused)
{
    const bool free = is_free(q);
    for (size_t b = blockIdx.x; b < B; b += gridDim.x) {
        float *row = x + b * ld;
        struct range r = block_range(0, n, row);
        if (!usable(r)) {
            if (threadIdx.x == 0)
                atomicAdd(refused, 1ull);
            continue;
        }
        if (q.group == 0 || q.group == n) { // values change only when all threads have seen all of them
            if (free)
                r = block_range(n > 0 ? row[0] : 0, n, row);
            const struct grid g = grid(q, r.lo, r.hi);
            for (size_t i = threadIdx.x; i < n; i += blockDim.x)
                row[i] = g.scale * (code(row[i], g) - g.zero);
            continue;
        }
        for (size_t i = threadIdx.x / RS_WARP; i < n / q.group; i += blockDim.x / RS_WARP) { // a warp for each group
            float *span = row + i * q.group;
            r = warp_range(free ? span[0] : 0, q.group, span, threadIdx.x % RS_WARP, RS_WARP);
            const struct grid g = grid(q, r.lo, r.hi);
            for (size_t j = threadIdx.x % RS_WARP; j < q.group; j += RS_WARP)
                span[j] = g.scale * (code(span[j], g) - g.zero);
        }
    }
}

RS_KERNEL(THREADS, 4) rs_k_quantise(rs_quantizer q, size_t B, size_t n, const float *x, size_t ldx, uint8_t *codes, size_t ld, float *scale, int32_t *zero, unsigned long long *refused)
{
    for (size_t b = blockIdx.x; b < B; b += gridDim.x) {
        const float *row = x + b * ldx;
        uint8_t *to = codes + b * ld;
        const struct range r = block_range(is_free(q) && n > 0 ? row[0] : 0, n, row);
        const bool good = usable(r);
        const struct grid g = grid(q, r.lo, r.hi);
        for (size_t i = threadIdx.x; i < n; i += blockDim.x)
            to[i] = good ? (uint8_t)(code(row[i], g) - g.first) : 0;
        if (threadIdx.x != 0)
            continue;
        scale[b] = good ? g.scale : 1;
        zero[b] = good ? (int32_t)(g.zero - g.first) : 0;
        if (!good)
            atomicAdd(refused, 1ull);
    }
}

// Threads for a row of n values.
static unsigned threads(size_t n)
{
    return n <= SHORT ? (unsigned)RS_WARP : (unsigned)THREADS;
}

size_t rs_fake_quant_cuda(const rs_quantizer *q, size_t B, size_t n, float *x, size_t ld)
{
    if (q->bits < 16)
        RS_LAUNCH(rs_k_fake_quant, rs_cuda_blocks(B), threads(n), 0, *q, B, n, x, ld, rs_cuda_refused());
    return 0;
}

size_t rs_int_quantise_cuda(const rs_quantizer *q, size_t B, size_t n, const float *x, size_t ldx, uint8_t *codes, size_t ld, float *scale, int32_t *zero)
{
    RS_LAUNCH(rs_k_quantise, rs_cuda_blocks(B), threads(n), 0, *q, B, n, x, ldx, codes, ld, scale, zero, rs_cuda_refused());
    return 0;
}
