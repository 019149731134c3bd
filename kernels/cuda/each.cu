// SPDX-License-Identifier: Apache-2.0
// Element by element, a block for each row.
#include "kernels/cuda/ops.h"

#include "kernels/cuda/gpu.h"

enum { THREADS = 256 };

RS_KERNEL(THREADS, 4) rs_k_each(rs_join how, size_t B, size_t n, const float *a, size_t lda, float *y, size_t ldy)
{
    for (size_t b = blockIdx.x; b < B; b += gridDim.x)
        for (size_t i = threadIdx.x; i < n; i += THREADS) {
            const float x = a[b * lda + i], was = how != RS_JOIN_NEGATED ? y[b * ldy + i] : 0;
            y[b * ldy + i] = how == RS_JOIN_PLUS ? was + x : how == RS_JOIN_MINUS ? was - x : how == RS_JOIN_TIMES ? was * x : -x;
        }
}

void rs_each_cuda(rs_join how, size_t B, size_t n, const float *a, size_t lda, float *y, size_t ldy)
{
    RS_LAUNCH(rs_k_each, rs_cuda_blocks(B), THREADS, 0, how, B, n, a, lda, y, ldy);
}
