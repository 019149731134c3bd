// SPDX-License-Identifier: Apache-2.0
// y += x.
#include "kernels/cuda/ops.h"

#include "kernels/cuda/gpu.h"

enum { THREADS = 256 };

RS_KERNEL(THREADS, 4) rs_k_add(size_t n, const float *x, float *y)
{
    for (size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x; i < n; i += gridDim.x * (size_t)THREADS)
        y[i] += x[i];
}

void rs_add_cuda(size_t n, const float *x, float *y)
{
    RS_LAUNCH(rs_k_add, rs_cuda_blocks((n + THREADS - 1) / THREADS), THREADS, 0, n, x, y);
}
