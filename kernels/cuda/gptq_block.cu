// SPDX-License-Identifier: Apache-2.0
// The steps of GPTQ inside one block of columns, by one block of threads: for each of RS_GPTQ_LANES rows, threads share the columns behind the current one. The reference's operations, so its bits.
#include "kernels/cuda/ops.h"

#include "kernels/cuda/gpu.h"

enum { THREADS = 256, LANES = RS_GPTQ_LANES, PARTS = THREADS / LANES };

RS_KERNEL(THREADS, 4) rs_k_gptq_block(size_t n, const float *U, size_t ldu, const float *s, float top, float *w, float *e)
{
    const unsigned r = threadIdx.x % LANES, part = threadIdx.x / LANES;
    for (size_t i = 0; i < n; i++, U += ldu) {
        const float x = w[i * LANES + r], q = rintf(x / s[r]), c = q > -top - 1 ? q < top ? q : top : -top - 1;
        const float err = (x - c * s[r]) / U[i];
        __syncthreads();
        if (part == 0) {
            w[i * LANES + r] = c;
            e[i * LANES + r] = err;
        }
        for (size_t j = i + 1 + part; j < n; j += PARTS)
            w[j * LANES + r] -= err * U[j];
        __syncthreads();
    }
}

void rs_gptq_block_cuda(size_t n, const float *U, size_t ldu, const float *s, float top, float *w, float *e)
{
    RS_LAUNCH(rs_k_gptq_block, 1, THREADS, 0, n, U, ldu, s, top, w, e);
}
