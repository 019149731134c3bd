// SPDX-License-Identifier: Apache-2.0
// Conversions between f32 and the two 16-bit types, with the reference's bits.
#include "kernels/cuda/ops.h"

#include "kernels/cuda/half.h"

enum { THREADS = 256 };

RS_KERNEL(THREADS, 4) rs_k_widen(bool bf16, size_t n, const uint16_t *x, float *y)
{
    for (size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x; i < n; i += gridDim.x * (size_t)THREADS)
        y[i] = bf16 ? __uint_as_float((unsigned)x[i] << 16) : rs_half_to_float(x[i]);
}

RS_KERNEL(THREADS, 4) rs_k_narrow(bool bf16, size_t n, const float *x, uint16_t *y)
{
    for (size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x; i < n; i += gridDim.x * (size_t)THREADS)
        y[i] = bf16 ? rs_bf16_of(x[i]) : rs_half_of(x[i]);
}

static unsigned blocks(size_t n)
{
    return rs_cuda_blocks((n + THREADS - 1) / THREADS);
}

void rs_convert_f16_to_f32_cuda(size_t n, const uint16_t *x, float *y)
{
    RS_LAUNCH(rs_k_widen, blocks(n), THREADS, 0, false, n, x, y);
}

void rs_convert_bf16_to_f32_cuda(size_t n, const uint16_t *x, float *y)
{
    RS_LAUNCH(rs_k_widen, blocks(n), THREADS, 0, true, n, x, y);
}

void rs_convert_f32_to_f16_cuda(size_t n, const float *x, uint16_t *y)
{
    RS_LAUNCH(rs_k_narrow, blocks(n), THREADS, 0, false, n, x, y);
}

void rs_convert_f32_to_bf16_cuda(size_t n, const float *x, uint16_t *y)
{
    RS_LAUNCH(rs_k_narrow, blocks(n), THREADS, 0, true, n, x, y);
}
