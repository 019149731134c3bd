// SPDX-License-Identifier: Apache-2.0
// Sums, and the largest, over the threads of a block by a fixed tree, so that every run gives the same bits: within warps by halves, then the warps in order.
#ifndef RS_KERNELS_CUDA_REDUCE_H
#define RS_KERNELS_CUDA_REDUCE_H

#include "kernels/cuda/gpu.h"

enum { RS_WARP = 32, RS_WARPS = 32 };

// The sum, in every thread of a block of whole warps.
RS_DEVICE double rs_block_sum(double x)
{
    RS_BLOCK_ARRAY(double, part, RS_WARPS);
    for (unsigned d = RS_WARP / 2; d > 0; d /= 2)
        x += __shfl_xor_sync(~0u, x, d);
    if (threadIdx.x % RS_WARP == 0)
        part[threadIdx.x / RS_WARP] = x;
    __syncthreads();
    double sum = part[0];
    for (unsigned w = 1; w < blockDim.x / RS_WARP; w++)
        sum += part[w];
    __syncthreads();
    return sum;
}

// The largest, likewise; a NaN may be passed over.
RS_DEVICE float rs_block_max(float x)
{
    RS_BLOCK_ARRAY(float, part, RS_WARPS);
    for (unsigned d = RS_WARP / 2; d > 0; d /= 2) {
        const float other = __shfl_xor_sync(~0u, x, d);
        x = other > x ? other : x;
    }
    if (threadIdx.x % RS_WARP == 0)
        part[threadIdx.x / RS_WARP] = x;
    __syncthreads();
    float max = part[0];
    for (unsigned w = 1; w < blockDim.x / RS_WARP; w++)
        max = part[w] > max ? part[w] : max;
    __syncthreads();
    return max;
}

#endif
