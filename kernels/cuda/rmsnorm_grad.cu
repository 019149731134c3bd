// SPDX-License-Identifier: Apache-2.0
// Gradient of RMSNorm, a block for each row. With f = 1 / sqrt(mean(x^2) + eps) and g = dy gamma: dx = f (g - x f^2 mean(x g)).
#include "kernels/cuda/ops.h"

#include "kernels/cuda/reduce.h"

enum { THREADS = 256 };

RS_KERNEL(THREADS, 4) rs_k_rmsnorm_grad(size_t B, size_t d, const float *x, const float *gamma, float eps, const float *dy, float *dx)
{
    for (size_t b = blockIdx.x; b < B; b += gridDim.x) {
        const float *in = x + b * d, *slope = dy + b * d;
        float *out = dx + b * d;
        double squares = 0, dot = 0;
        for (size_t i = threadIdx.x; i < d; i += THREADS) {
            squares += (double)in[i] * (double)in[i];
            dot += (double)in[i] * (double)slope[i] * (gamma != NULL ? (double)gamma[i] : 1);
        }
        squares = rs_block_sum(squares);
        dot = rs_block_sum(dot);
        const double factor = 1 / sqrt(squares / (double)d + (double)eps), pull = dot / (double)d * factor * factor * factor;
        for (size_t i = threadIdx.x; i < d; i += THREADS)
            out[i] += (float)(factor * (double)slope[i] * (gamma != NULL ? (double)gamma[i] : 1) - pull * (double)in[i]);
    }
}

void rs_rmsnorm_grad_cuda(size_t B, size_t d, const float *x, const float *gamma, float eps, const float *dy, float *dx)
{
    RS_LAUNCH(rs_k_rmsnorm_grad, rs_cuda_blocks(B), THREADS, 0, B, d, x, gamma, eps, dy, dx);
}
