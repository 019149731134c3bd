// SPDX-License-Identifier: Apache-2.0
// The low-rank change of basis x + ((x q) m) q^T (method.md 3), a block for each row: products with columns of q in parts of d that are added in order.
#include "kernels/cuda/ops.h"

#include "kernels/cuda/gpu.h"

enum { THREADS = 256 };

RS_KERNEL(THREADS, 4) rs_k_lowrank(size_t S, size_t d, size_t r, float *x, const float *q, const float *m, float *work)
{
    RS_BLOCK_ARRAY(float, part, THREADS);
    const unsigned parts = r < THREADS ? THREADS / (unsigned)r : 1; // of d, for each of the columns that are computed at a time
    const size_t width = r < THREADS ? r : (size_t)THREADS;
    for (size_t s = blockIdx.x; s < S; s += gridDim.x) {
        float *row = x + s * d, *y = work + s * 2 * r, *z = y + r;
        for (size_t first = 0; first < r; first += width) {
            const size_t j = first + threadIdx.x % width;
            const unsigned mine = (unsigned)(threadIdx.x / width);
            float sum = 0;
            for (size_t k = mine; mine < parts && j < r && k < d; k += parts)
                sum = fmaf(row[k], q[k * r + j], sum);
            part[threadIdx.x] = sum;
            __syncthreads();
            if (mine == 0 && j < r) {
                for (unsigned p = 1; p < parts; p++)
                    sum += part[p * width + threadIdx.x];
                y[j] = sum;
            }
            __syncthreads();
        }
        for (size_t j = threadIdx.x; j < r; j += THREADS) {
            float sum = 0;
            for (size_t i = 0; i < r; i++)
                sum = fmaf(y[i], m[i * r + j], sum);
            z[j] = sum;
        }
        __syncthreads();
        for (size_t k = threadIdx.x; k < d; k += THREADS) {
            float sum = 0;
            for (size_t j = 0; j < r; j++)
                sum = fmaf(z[j], q[k * r + j], sum);
            row[k] += sum;
        }
    }
}

void rs_lowrank_cuda(size_t S, size_t d, size_t r, float *x, const float *q, const float *m, float *work)
{
    if (r > 0)
        RS_LAUNCH(rs_k_lowrank, rs_cuda_blocks(S), THREADS, 0, S, d, r, x, q, m, work);
}
