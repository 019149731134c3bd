// SPDX-License-Identifier: Apache-2.0
// The skew part of a square matrix, a block for each row, and the sums of that row.
#include "kernels/cuda/ops.h"

#include "kernels/cuda/reduce.h"

enum { THREADS = 256 };

RS_KERNEL(THREADS, 4) rs_k_skew(size_t n, const float *x, float *w, double *sums)
{
    for (size_t i = blockIdx.x; i < n; i += gridDim.x) {
        double size = 0, squares = 0;
        for (size_t j = threadIdx.x; j < n; j += THREADS) {
            const float s = 0.5f * x[i * n + j] - 0.5f * x[j * n + i];
            w[i * n + j] = s;
            size += fabs((double)s);
            squares += (double)s * (double)s;
        }
        size = rs_block_sum(size);
        squares = rs_block_sum(squares);
        if (threadIdx.x == 0) {
            sums[i] = size;
            sums[n + i] = squares;
        }
    }
}

void rs_skew_cuda(size_t n, const float *x, float *w, double *sums)
{
    RS_LAUNCH(rs_k_skew, rs_cuda_blocks(n), THREADS, 0, n, x, w, sums);
}
