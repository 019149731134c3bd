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

// Two numbers of a word.
RS_DEVICE float low_of(bool bf16, unsigned word)
{
    return bf16 ? __uint_as_float(word << 16) : rs_half_number(word & 0xffff);
}
RS_DEVICE float high_of(bool bf16, unsigned word)
{
    return bf16 ? __uint_as_float(word & 0xffff0000) : rs_half_number(word >> 16);
}

// wide: eight numbers at a time, which rows of w and x allow.
RS_KERNEL(THREADS, 4) rs_k_gemv_half(bool bf16, bool wide, size_t n, size_t k, const float *x, const uint16_t *w, size_t ldw, float *y)
{
    for (size_t o = blockIdx.x * (size_t)OUTPUTS + threadIdx.x / RS_WARP; o < n; o += gridDim.x * (size_t)OUTPUTS) {
        const uint16_t *row = w + o * ldw;
        float sum = 0;
        if (wide) {
#pragma unroll 4
            for (size_t j = threadIdx.x % RS_WARP * 8; j < k; j += RS_WARP * 8) {
                const uint4 c = *(const uint4 *)(row + j);
                const float4 u = *(const float4 *)(x + j), v = *(const float4 *)(x + j + 4);
                sum = fmaf(u.x, low_of(bf16, c.x), sum);
                sum = fmaf(u.y, high_of(bf16, c.x), sum);
                sum = fmaf(u.z, low_of(bf16, c.y), sum);
                sum = fmaf(u.w, high_of(bf16, c.y), sum);
                sum = fmaf(v.x, low_of(bf16, c.z), sum);
                sum = fmaf(v.y, high_of(bf16, c.z), sum);
                sum = fmaf(v.z, low_of(bf16, c.w), sum);
                sum = fmaf(v.w, high_of(bf16, c.w), sum);
            }
        } else {
            for (size_t j = threadIdx.x % RS_WARP; j < k; j += RS_WARP)
                sum = fmaf(x[j], low_of(bf16, row[j]), sum);
        }
        sum = warp_sum(sum);
        if (threadIdx.x % RS_WARP == 0)
            y[o] = sum;
    }
}

RS_DEVICE float code_of(unsigned word, unsigned i)
{
    return (float)(int8_t)(word >> 8 * i);
}

// wide: four codes at a time.
RS_KERNEL(THREADS, 4) rs_k_gemv_int8(bool wide, size_t n, size_t k, const float *x, const int8_t *w, const float *scale, float *y)
{
    for (size_t o = blockIdx.x * (size_t)OUTPUTS + threadIdx.x / RS_WARP; o < n; o += gridDim.x * (size_t)OUTPUTS) {
        const int8_t *row = w + o * k;
        float sum = 0;
        if (wide) {
#pragma unroll 8
            for (size_t j = threadIdx.x % RS_WARP * 4; j < k; j += RS_WARP * 4) {
                const unsigned c = *(const unsigned *)(row + j);
                const float4 u = *(const float4 *)(x + j);
                sum = fmaf(u.x, code_of(c, 0), sum);
                sum = fmaf(u.y, code_of(c, 1), sum);
                sum = fmaf(u.z, code_of(c, 2), sum);
                sum = fmaf(u.w, code_of(c, 3), sum);
            }
        } else {
            for (size_t j = threadIdx.x % RS_WARP; j < k; j += RS_WARP)
                sum = fmaf(x[j], (float)row[j], sum);
        }
        sum = warp_sum(sum);
        if (threadIdx.x % RS_WARP == 0)
            y[o] = sum * scale[o];
    }
}

static bool starts_on(const void *p, size_t bytes)
{
    return (uintptr_t)p % bytes == 0;
}

void rs_gemv_half_cuda(bool bf16, size_t n, size_t k, const float *x, const uint16_t *w, size_t ldw, float *y)
{
    RS_LAUNCH(rs_k_gemv_half, rs_cuda_blocks((n + OUTPUTS - 1) / OUTPUTS), THREADS, 0, bf16, k % 8 == 0 && ldw % 8 == 0 && starts_on(w, 16) && starts_on(x, 16), n, k, x, w, ldw, y);
}

void rs_gemv_int8_cuda(size_t n, size_t k, const float *x, const int8_t *w, const float *scale, float *y)
{
    RS_LAUNCH(rs_k_gemv_int8, rs_cuda_blocks((n + OUTPUTS - 1) / OUTPUTS), THREADS, 0, k % 4 == 0 && starts_on(w, 4) && starts_on(x, 16), n, k, x, w, scale, y);
}
