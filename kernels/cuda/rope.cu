// SPDX-License-Identifier: Apache-2.0
// Rotary position embedding in half-split order, a block for each token.
#include "kernels/cuda/ops.h"

#include "kernels/cuda/gpu.h"

enum { THREADS = 128 };

RS_KERNEL(THREADS, 4) rs_k_rope(size_t B, size_t heads, size_t h, float *x, size_t ld, const float *cos, const float *sin)
{
    const size_t half = h / 2;
    for (size_t b = blockIdx.x; b < B; b += gridDim.x)
        for (size_t p = threadIdx.x; p < heads * half; p += THREADS) {
            const size_t i = p % half;
            float *lo = x + b * ld + p / half * h + i, *hi = lo + half;
            const float a = *lo, c = *hi, co = cos[b * half + i], si = sin[b * half + i];
            *lo = a * co - c * si;
            *hi = c * co + a * si;
        }
}

void rs_rope_cuda(size_t B, size_t heads, size_t h, float *x, size_t ld, const float *cos, const float *sin)
{
    RS_LAUNCH(rs_k_rope, rs_cuda_blocks(B), THREADS, 0, B, heads, h, x, ld, cos, sin);
}
