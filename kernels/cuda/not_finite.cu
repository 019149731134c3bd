// SPDX-License-Identifier: Apache-2.0
// Rows that hold what is not a number, counted like those that a quantiser refuses; a block for each row.
#include "kernels/cuda/ops.h"

#include "kernels/cuda/reduce.h"

enum { THREADS = 256 };

RS_KERNEL(THREADS, 4) rs_k_not_finite(size_t B, size_t n, const float *x, size_t ld, unsigned long long *refused)
{
    for (size_t b = blockIdx.x; b < B; b += gridDim.x) {
        double bad = 0;
        for (size_t i = threadIdx.x; i < n; i += THREADS)
            bad += 0 * x[b * ld + i] != 0;
        bad = rs_block_sum(bad);
        if (threadIdx.x == 0 && bad > 0)
            atomicAdd(refused, 1ull);
    }
}

size_t rs_not_finite_cuda(size_t B, size_t n, const float *x, size_t ld)
{
    RS_LAUNCH(rs_k_not_finite, rs_cuda_blocks(B), THREADS, 0, B, n, x, ld, rs_cuda_refused());
    return 0;
}
