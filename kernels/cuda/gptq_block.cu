// SPDX-License-Identifier: Apache-2.0
// The steps of GPTQ inside one block of columns, a block of threads for each RS_GPTQ_LANES rows: threads share the columns behind the current one. The reference's operations, so its bits.
#include "kernels/cuda/ops.h"

#include "kernels/cuda/gpu.h"

enum { THREADS = 256, LANES = RS_GPTQ_LANES, PARTS = THREADS / LANES };

RS_KERNEL(THREADS, 4) rs_k_gptq_block(size_t n, size_t rows, const float *U, size_t ldu, const float *s, size_t lds, float top, float *w, float *e, size_t ld)
{
    const unsigned part = threadIdx.x / LANES;
    for (size_t r = blockIdx.x * (size_t)LANES + threadIdx.x % LANES; r < rows; r += gridDim.x * (size_t)LANES)
        for (size_t i = 0; i < n; i++) {
            const float *u = U + i * ldu;
            const float x = w[i * ld + r], scale = s[i * lds + r], q = rintf(x / scale), c = q > -top - 1 ? q < top ? q : top : -top - 1;
            const float err = (x - c * scale) / u[i];
            __syncthreads();
            if (part == 0) {
                w[i * ld + r] = c;
                e[i * ld + r] = -err;
            }
            for (size_t j = i + 1 + part; j < n; j += PARTS)
                w[j * ld + r] -= err * u[j];
            __syncthreads();
        }
}

void rs_gptq_block_cuda(size_t n, size_t rows, const float *U, size_t ldu, const float *s, size_t lds, float top, float *w, float *e, size_t ld)
{
    RS_LAUNCH(rs_k_gptq_block, rs_cuda_blocks(rows / LANES), THREADS, 0, n, rows, U, ldu, s, lds, top, w, e, ld);
}
