// SPDX-License-Identifier: Apache-2.0
// Losses over the vocabulary and their gradient in place of the logits, a block for each row; e^x and sums in fp64.
#include "kernels/cuda/ops.h"

#include "kernels/cuda/reduce.h"

enum { THREADS = 256 };

// log sum e^x of one row, in every thread.
RS_DEVICE double log_total(size_t V, const float *x)
{
    float max = x[0];
    double sum = 0;
    for (size_t i = threadIdx.x; i < V; i += THREADS)
        max = x[i] > max ? x[i] : max;
    max = rs_block_max(max);
    for (size_t i = threadIdx.x; i < V; i += THREADS)
        sum += exp((double)x[i] - (double)max);
    return log(rs_block_sum(sum)) + (double)max;
}

RS_KERNEL(THREADS, 2) rs_k_loss_grad(size_t B, size_t V, float *logits, size_t ld, const int32_t *target, const float *ref, size_t ld_ref, double w_ce, double w_kl, double *nll, double *kl)
{
    for (size_t b = blockIdx.x; b < B; b += gridDim.x) {
        float *x = logits + b * ld;
        const float *y = ref != NULL ? ref + b * ld_ref : NULL;
        const double at = (double)x[target[b]], lse = log_total(V, x), lse_ref = y != NULL ? log_total(V, y) : 0;
        double sum = 0;
        for (size_t i = threadIdx.x; i < V; i += THREADS) {
            const double log_q = (double)x[i] - lse, q = exp(log_q);
            float slope = (float)(w_ce * q);
            if (y != NULL) {
                const double log_p = (double)y[i] - lse_ref, p = exp(log_p);
                sum += p * (log_p - log_q);
                slope = (float)(w_ce * q + w_kl * (q - p));
            }
            x[i] = i == (size_t)target[b] ? slope - (float)w_ce : slope;
        }
        sum = rs_block_sum(sum);
        if (threadIdx.x != 0)
            continue;
        nll[b] = lse - at;
        if (y != NULL)
            kl[b] = sum < 0 ? 0 : sum;
    }
}

void rs_loss_grad_cuda(size_t B, size_t V, float *logits, size_t ld, const int32_t *target, const float *ref, size_t ld_ref, double w_ce, double w_kl, double *nll, double *kl)
{
    RS_LAUNCH(rs_k_loss_grad, rs_cuda_blocks(B), THREADS, 0, B, V, logits, ld, target, ref, ld_ref, w_ce, w_kl, nll, kl);
}
