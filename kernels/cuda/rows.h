// SPDX-License-Identifier: Apache-2.0
// What kernels do with one row, a block of threads together: hold it, norm it, quantise it to codes. Kernels that share these give the same bits.
#ifndef RS_KERNELS_CUDA_ROWS_H
#define RS_KERNELS_CUDA_ROWS_H

#include "kernels/cuda/grid.h"

enum { RS_ROW_HELD = 11776 }; // floats of a row that block memory holds, beside what the functions below need

// A row into block memory, four numbers at a time where it lies so. No barrier.
RS_DEVICE void rs_row_load(float *to, const float *from, size_t n)
{
    if ((uintptr_t)from % 16 == 0) {
        for (size_t i = threadIdx.x; i < n / 4; i += blockDim.x)
            ((float4 *)to)[i] = ((const float4 *)from)[i];
        for (size_t i = n / 4 * 4 + threadIdx.x; i < n; i += blockDim.x)
            to[i] = from[i];
    } else {
        for (size_t i = threadIdx.x; i < n; i += blockDim.x)
            to[i] = from[i];
    }
}

// 1 / sqrt(mean(x^2) + eps): the sum and the root in fp64, rounded once.
RS_DEVICE float rs_row_norm(const float *x, size_t d, float eps)
{
    double sum = 0;
    for (size_t i = threadIdx.x; i < d; i += blockDim.x)
        sum += (double)x[i] * (double)x[i];
    return (float)(1 / sqrt(rs_block_sum(sum) / (double)d + (double)eps));
}

RS_DEVICE uint32_t rs_row_code(float x, struct rs_cuda_grid g)
{
    return (uint32_t)(rs_grid_code(x, g) - g.first);
}

// Codes, scale and zero point of a row; one that is refused is counted and gets codes and zero point 0, scale 1.
RS_DEVICE void rs_row_quantise(rs_quantizer q, const float *x, size_t n, uint8_t *codes, float *scale, int32_t *zero, unsigned long long *refused)
{
    const struct rs_cuda_range r = rs_range_block(rs_grid_free(q) && n > 0 ? x[0] : 0, n, x);
    const bool good = rs_range_usable(r);
    const struct rs_cuda_grid g = rs_grid_of(q, r.lo, r.hi);
    size_t first = 0; // of those that are stored one by one
    if ((uintptr_t)codes % 4 == 0 && (uintptr_t)x % 16 == 0) {
        first = n / 4 * 4;
        for (size_t i = threadIdx.x; i < n / 4; i += blockDim.x) {
            const float4 v = ((const float4 *)x)[i];
            ((uint32_t *)codes)[i] = good ? rs_row_code(v.x, g) | rs_row_code(v.y, g) << 8 | rs_row_code(v.z, g) << 16 | rs_row_code(v.w, g) << 24 : 0;
        }
    }
    for (size_t i = first + threadIdx.x; i < n; i += blockDim.x)
        codes[i] = good ? (uint8_t)rs_row_code(x[i], g) : 0;
    if (threadIdx.x != 0)
        return;
    *scale = good ? g.scale : 1;
    *zero = good ? (int32_t)(g.zero - g.first) : 0;
    if (!good)
        atomicAdd(refused, 1ull);
}

#endif
