// SPDX-License-Identifier: Apache-2.0
// The first half of a low-rank change of basis, x q, for kernels that have other work beside it: by a block of threads for ROWS rows and CHUNK columns of x. lowrank.cu has the second half.
#ifndef RS_KERNELS_CUDA_LOWRANK_H
#define RS_KERNELS_CUDA_LOWRANK_H

#include "kernels/cuda/reduce.h"

enum { RS_LOWRANK_THREADS = 256, RS_LOWRANK_ROWS = 8, RS_LOWRANK_CHUNK = 128, RS_LOWRANK_MOST = 256 }; // MOST: the largest rank
enum { RS_LOWRANK_MEMORY = RS_LOWRANK_ROWS * (RS_LOWRANK_CHUNK + RS_LOWRANK_THREADS) };                // floats of block memory

// x [S, d] <- x + ((x q) m) q^T; parts [chunks, S, r]: x q over each chunk of d.
struct rs_lowrank_job {
    size_t S, d, r;
    float *x;
    const float *q, *m;
    float *parts;
};

static inline size_t rs_lowrank_chunks(size_t d)
{
    return (d + RS_LOWRANK_CHUNK - 1) / RS_LOWRANK_CHUNK;
}

// Blocks of threads of a half.
static inline size_t rs_lowrank_blocks(const struct rs_lowrank_job *j)
{
    return (j->S + RS_LOWRANK_ROWS - 1) / RS_LOWRANK_ROWS * rs_lowrank_chunks(j->d);
}

// Rows whose parts the scratch holds.
static inline size_t rs_lowrank_rows(size_t d, size_t r)
{
    return rs_cuda_scratch_bytes() / sizeof(float) / (rs_lowrank_chunks(d) * r);
}

// Queues the second half of what is in parts.
void rs_lowrank_finish(const struct rs_lowrank_job *j);

// Block b of the first half. Each warp takes every eighth column of the chunk for all rows; the warps' sums are added in order.
RS_DEVICE void rs_lowrank_start(const struct rs_lowrank_job *j, size_t chunks, size_t b, float *memory)
{
    enum { ROWS = RS_LOWRANK_ROWS, CHUNK = RS_LOWRANK_CHUNK, WARPS = RS_LOWRANK_THREADS / RS_WARP };
    float *const in = memory, *const part = memory + ROWS * CHUNK;
    const size_t chunk = b % chunks, first = chunk * CHUNK, row = b / chunks * ROWS;
    const unsigned lane = threadIdx.x % RS_WARP, warp = threadIdx.x / RS_WARP;
    for (unsigned i = threadIdx.x; i < ROWS * CHUNK; i += RS_LOWRANK_THREADS)
        in[i] = row + i / CHUNK < j->S && first + i % CHUNK < j->d ? j->x[(row + i / CHUNK) * j->d + first + i % CHUNK] : 0;
    for (size_t c = lane; c < j->r + lane; c += RS_WARP) { // columns of q; all lanes go along
        float sum[ROWS] = {};
        __syncthreads();
#pragma unroll
        for (unsigned k = warp; k < CHUNK; k += WARPS) {
            const float w = c < j->r && first + k < j->d ? j->q[(first + k) * j->r + c] : 0;
#pragma unroll
            for (unsigned i = 0; i < ROWS; i++)
                sum[i] = fmaf(in[i * CHUNK + k], w, sum[i]);
        }
#pragma unroll
        for (unsigned i = 0; i < ROWS; i++)
            part[(warp * ROWS + i) * RS_WARP + lane] = sum[i];
        __syncthreads();
        float all = part[warp * RS_WARP + lane]; // of row number `warp` from here on
        for (unsigned i = 1; i < WARPS; i++)
            all += part[(i * ROWS + warp) * RS_WARP + lane];
        if (c < j->r && row + warp < j->S)
            j->parts[(chunk * j->S + row + warp) * j->r + c] = all;
    }
}

#endif
