// SPDX-License-Identifier: Apache-2.0
// The low-rank change of basis x + ((x q) m) q^T (method.md 3). A block of threads takes some rows and a chunk of d, so that few rows still occupy the device: x q over each chunk (lowrank.h); then the
// chunks' sums in order, times m, and that times q^T. The bits of a row do not depend on how many there are. High ranks are three dense products.
#include "kernels/cuda/lowrank.h"

#include "kernels/cuda/ops.h"

enum { THREADS = RS_LOWRANK_THREADS, ROWS = RS_LOWRANK_ROWS, CHUNK = RS_LOWRANK_CHUNK, MOST = RS_LOWRANK_MOST, LINE = RS_WARP + 1, EACH = ROWS * CHUNK / THREADS };

RS_KERNEL(THREADS, 4) rs_k_lowrank_start(struct rs_lowrank_job j, size_t blocks, size_t chunks)
{
    RS_BLOCK_ARRAY(float, memory, RS_LOWRANK_MEMORY);
    for (size_t b = blockIdx.x; b < blocks; b += gridDim.x) {
        rs_lowrank_start(&j, chunks, b, memory);
        __syncthreads();
    }
}

RS_KERNEL(THREADS, 4) rs_k_lowrank_finish(struct rs_lowrank_job j, size_t blocks, size_t chunks)
{
    RS_BLOCK_ARRAY(float, y, ROWS * MOST);
    RS_BLOCK_ARRAY(float, z, ROWS * MOST);
    RS_BLOCK_ARRAY(float, q, CHUNK * LINE);
    const unsigned r = (unsigned)j.r, column = threadIdx.x % CHUNK, top = threadIdx.x / CHUNK * EACH; // EACH rows of a column for each thread
    for (size_t b = blockIdx.x; b < blocks; b += gridDim.x) {
        const size_t first = b % chunks * CHUNK, row = b / chunks * ROWS;
        for (unsigned i = threadIdx.x; i < ROWS * r; i += THREADS) {
            float sum = 0;
            for (size_t c = 0; row + i / r < j.S && c < chunks; c++)
                sum += j.parts[(c * j.S + row + i / r) * r + i % r];
            y[i] = sum;
        }
        __syncthreads();
        for (unsigned i = threadIdx.x; i < ROWS * r; i += THREADS) {
            float sum = 0;
            for (unsigned l = 0; l < r; l++)
                sum = fmaf(y[i / r * r + l], j.m[l * r + i % r], sum);
            z[i] = sum;
        }
        float sum[EACH] = {};
        for (unsigned c = 0; c < r; c += RS_WARP) {
            __syncthreads();
            for (unsigned i = threadIdx.x; i < CHUNK * RS_WARP; i += THREADS)
                q[i / RS_WARP * LINE + i % RS_WARP] = first + i / RS_WARP < j.d && c + i % RS_WARP < r ? j.q[(first + i / RS_WARP) * r + c + i % RS_WARP] : 0;
            __syncthreads();
            for (unsigned l = 0; l < RS_WARP && c + l < r; l++)
#pragma unroll
                for (unsigned e = 0; e < EACH; e++)
                    sum[e] = fmaf(z[(top + e) * r + c + l], q[column * LINE + l], sum[e]);
        }
#pragma unroll
        for (unsigned e = 0; e < EACH; e++)
            if (row + top + e < j.S && first + column < j.d)
                j.x[(row + top + e) * j.d + first + column] += sum[e];
        __syncthreads();
    }
}

void rs_lowrank_finish(const struct rs_lowrank_job *job)
{
    const struct rs_lowrank_job j = *job;
    const size_t blocks = rs_lowrank_blocks(job), chunks = rs_lowrank_chunks(j.d);
    RS_LAUNCH(rs_k_lowrank_finish, rs_cuda_blocks(blocks), THREADS, 0, j, blocks, chunks);
}

void rs_lowrank_cuda(size_t S, size_t d, size_t r, float *x, const float *q, const float *m, float *work)
{
    const size_t most = r > 0 && d > 0 ? rs_lowrank_rows(d, r) : 0;
    if (r == 0 || d == 0)
        return;
    if (r > MOST || most == 0) {
        rs_gemm_nn_cuda(S, r, d, x, d, q, r, 0, work, r);
        rs_gemm_nn_cuda(S, r, r, work, r, m, r, 0, work + S * r, r);
        rs_gemm_nt_cuda(S, d, r, work + S * r, r, q, r, 1, x, d);
        return;
    }
    for (size_t first = 0; first < S; first += most) {
        struct rs_lowrank_job j = {S - first < most ? S - first : most, d, r, x + first * d, q, m, NULL};
        const size_t blocks = rs_lowrank_blocks(&j), chunks = rs_lowrank_chunks(d);
        j.parts = (float *)rs_cuda_scratch(chunks * j.S * r * sizeof(float));
        if (j.parts == NULL)
            return;
        RS_LAUNCH(rs_k_lowrank_start, rs_cuda_blocks(blocks), THREADS, 0, j, blocks, chunks);
        rs_lowrank_finish(&j);
    }
}
