// SPDX-License-Identifier: Apache-2.0
// One row times matrices of 16-bit floats or of 8-bit codes, a warp for each output; its threads' sums are added by a fixed tree.
#include "kernels/cuda/ops.h"

#include "kernels/cuda/half.h"
#include "kernels/cuda/reduce.h"

enum { THREADS = 256, OUTPUTS = THREADS / RS_WARP };

RS_DEVICE float warp_sum(float x)
{
    for (unsigned d = RS_WARP / 2; d > 0; d /= 2)
        x += __shfl_xor_sync(~0u, x, d);
    return x;
}

RS_KERNEL(THREADS, 4) rs_k_gemv_half(bool bf16, size_t n, size_t k, const float *x, const uint16_t *w, size_t ldw, float *y)
{
    for (size_t o = blockIdx.x * (size_t)OUTPUTS + threadIdx.x / RS_WARP; o < n; o += gridDim.x * (size_t)OUTPUTS) {
        float sum = 0;
        for (size_t j = threadIdx.x % RS_WARP; j < k; j += RS_WARP) {
            const unsigned c = w[o * ldw + j];
            sum = fmaf(x[j], bf16 ? __uint_as_float(c << 16) : rs_half_to_float(c), sum);
        }
        sum = warp_sum(sum);
        if (threadIdx.x % RS_WARP == 0)
            y[o] = sum;
    }
}

RS_KERNEL(THREADS, 4) rs_k_gemv_int8(size_t n, size_t k, const float *x, const int8_t *w, const float *scale, float *y)
{
    for (size_t o = blockIdx.x * (size_t)OUTPUTS + threadIdx.x / RS_WARP; o < n; o += gridDim.x * (size_t)OUTPUTS) {
        float sum = 0;
        for (size_t j = threadIdx.x % RS_WARP; j < k; j += RS_WARP)
            sum = fmaf(x[j], (float)w[o * k + j], sum);
        sum = warp_sum(sum);
        if (threadIdx.x % RS_WARP == 0)
            y[o] = sum * scale[o];
    }
}

void rs_gemv_half_cuda(bool bf16, size_t n, size_t k, const float *x, const uint16_t *w, size_t ldw, float *y)
{
    RS_LAUNCH(rs_k_gemv_half, rs_cuda_blocks((n + OUTPUTS - 1) / OUTPUTS), THREADS, 0, bf16, n, k, x, w, ldw, y);
}

void rs_gemv_int8_cuda(size_t n, size_t k, const float *x, const int8_t *w, const float *scale, float *y)
{
    RS_LAUNCH(rs_k_gemv_int8, rs_cuda_blocks((n + OUTPUTS - 1) / OUTPUTS), THREADS, 0, n, k, x, w, scale, y);
}
