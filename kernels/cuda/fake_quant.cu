// SPDX-License-Identifier: Apache-2.0
// Quantisation of rows, to values (fake) or to codes, a block for each row: the steps of the reference (kernels/cpu/fake_quant.c), and the same bits.
#include "kernels/cuda/ops.h"

#include "kernels/cuda/rows.h"

enum { THREADS = 256, SHORT = 1024 };

// held: block memory has room for a row, which is then read once.
RS_KERNEL(THREADS, 4) rs_k_fake_quant(rs_quantizer q, bool held, size_t B, size_t n, float *x, size_t ld, unsigned long long *refused)
{
    RS_BLOCK_MEMORY(float, own);
    const bool free = rs_grid_free(q);
    for (size_t b = blockIdx.x; b < B; b += gridDim.x) {
        float *row = x + b * ld;
        const float *in = row;
        if (held) {
            __syncthreads();
            rs_row_load(own, row, n);
            __syncthreads();
            in = own;
        }
        struct rs_cuda_range r = rs_range_block(0, n, in);
        if (!rs_range_usable(r)) {
            if (threadIdx.x == 0)
                atomicAdd(refused, 1ull);
            continue;
        }
        if (q.group == 0 || q.group == n) { // values change only when all threads have seen all of them
            if (free)
                r = rs_range_block(n > 0 ? in[0] : 0, n, in);
            const struct rs_cuda_grid g = rs_grid_of(q, r.lo, r.hi);
            for (size_t i = threadIdx.x; i < n; i += blockDim.x)
                row[i] = g.scale * (rs_grid_code(in[i], g) - g.zero);
            continue;
        }
        for (size_t i = threadIdx.x / RS_WARP; i < n / q.group; i += blockDim.x / RS_WARP) { // a warp for each group
            const float *span = in + i * q.group;
            r = rs_range_warp(free ? span[0] : 0, q.group, span, threadIdx.x % RS_WARP, RS_WARP);
            const struct rs_cuda_grid g = rs_grid_of(q, r.lo, r.hi);
            for (size_t j = threadIdx.x % RS_WARP; j < q.group; j += RS_WARP)
                row[i * q.group + j] = g.scale * (rs_grid_code(span[j], g) - g.zero);
        }
    }
}

RS_KERNEL(THREADS, 4) rs_k_quantise(rs_quantizer q, bool held, size_t B, size_t n, const float *x, size_t ldx, uint8_t *codes, size_t ld, float *scale, int32_t *zero, unsigned long long *refused)
{
    RS_BLOCK_MEMORY(float, own);
    for (size_t b = blockIdx.x; b < B; b += gridDim.x) {
        const float *row = x + b * ldx;
        if (held) {
            __syncthreads();
            rs_row_load(own, row, n);
            __syncthreads();
            row = own;
        }
        rs_row_quantise(q, row, n, codes + b * ld, scale + b, zero + b, refused);
    }
}

// Threads for a row of n values, and whether they hold it.
static unsigned threads(size_t n)
{
    return n <= SHORT ? (unsigned)RS_WARP : (unsigned)THREADS;
}

static bool hold(size_t n)
{
    return n > SHORT && n <= RS_ROW_HELD;
}

size_t rs_fake_quant_cuda(const rs_quantizer *q, size_t B, size_t n, float *x, size_t ld)
{
    if (q->bits < 16)
        RS_LAUNCH(rs_k_fake_quant, rs_cuda_blocks(B), threads(n), hold(n) ? n * sizeof(float) : 0, *q, hold(n), B, n, x, ld, rs_cuda_refused());
    return 0;
}

size_t rs_int_quantise_cuda(const rs_quantizer *q, size_t B, size_t n, const float *x, size_t ldx, uint8_t *codes, size_t ld, float *scale, int32_t *zero)
{
    RS_LAUNCH(rs_k_quantise, rs_cuda_blocks(B), threads(n), hold(n) ? n * sizeof(float) : 0, *q, hold(n), B, n, x, ldx, codes, ld, scale, zero, rs_cuda_refused());
    return 0;
}
