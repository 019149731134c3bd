// SPDX-License-Identifier: Apache-2.0
// RMSNorm, a block for each row: the sum of squares and the root in fp64, one factor per row rounded to f32, then x * factor * gamma in f32.
#include "kernels/cuda/ops.h"

#include "kernels/cuda/rows.h"

enum { THREADS = 256 };

RS_KERNEL(THREADS, 4) rs_k_rmsnorm(size_t B, size_t d, const float *x, const float *gamma, float eps, float *y)
{
    for (size_t b = blockIdx.x; b < B; b += gridDim.x) {
        const float *in = x + b * d;
        float *out = y + b * d;
        const float factor = rs_row_norm(in, d, eps);
        for (size_t i = threadIdx.x; i < d; i += THREADS)
            out[i] = gamma != NULL ? in[i] * factor * gamma[i] : in[i] * factor;
    }
}

void rs_rmsnorm_cuda(size_t B, size_t d, const float *x, const float *gamma, float eps, float *y)
{
    RS_LAUNCH(rs_k_rmsnorm, rs_cuda_blocks(B), THREADS, 0, B, d, x, gamma, eps, y);
}
