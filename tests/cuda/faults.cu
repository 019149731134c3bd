// SPDX-License-Identifier: Apache-2.0
// Kernels with faults that the emulated device must see.
#include "tests/cuda/faults.h"

#include "kernels/cuda/gpu.h"

enum { THREADS = 64 };

// Threads from 40 on end before the barrier.
RS_KERNEL(THREADS, 1) rs_k_fault_skip(float *x)
{
    if (threadIdx.x >= 40)
        return;
    x[threadIdx.x] = 1;
    __syncthreads();
}

// The halves of the block wait at different barriers.
RS_KERNEL(THREADS, 1) rs_k_fault_apart(float *x)
{
    if (threadIdx.x < 32) {
        x[0] = 1;
        __syncthreads();
    } else {
        __syncthreads();
    }
}

// One thread does not take part in a warp's sum.
RS_KERNEL(THREADS, 1) rs_k_fault_warp(float *x)
{
    if (threadIdx.x != 5)
        x[threadIdx.x] = __shfl_xor_sync(~0u, x[threadIdx.x], 1);
}

// A mask that names a part of the warp.
RS_KERNEL(THREADS, 1) rs_k_fault_mask(float *x)
{
    x[threadIdx.x] = __shfl_xor_sync(0xffffu, x[threadIdx.x], 1);
}

// What another thread writes is read without a barrier.
RS_KERNEL(THREADS, 1) rs_k_fault_race(float *x)
{
    RS_BLOCK_ARRAY(float, y, THREADS);
    y[threadIdx.x] = (float)threadIdx.x;
    x[threadIdx.x] = y[THREADS - 1 - threadIdx.x];
}

// The same with one.
RS_KERNEL(THREADS, 1) rs_k_fault_none(float *x)
{
    RS_BLOCK_ARRAY(float, y, THREADS);
    y[threadIdx.x] = (float)threadIdx.x;
    __syncthreads();
    x[threadIdx.x] = y[THREADS - 1 - threadIdx.x];
}

// The first half of x and zeros are copied into the memory of the block: to the end without waiting; read before they are waited for; after that.
RS_DEVICE void copies(float *x, bool wait, bool at_all)
{
    RS_BLOCK_ARRAY(float, y, THREADS);
    if (threadIdx.x < THREADS / 4)
        rs_copy_16(y + 4 * threadIdx.x, x + 4 * threadIdx.x, threadIdx.x < THREADS / 8);
    rs_copies_close();
    if (wait)
        rs_copies_wait<0>();
    __syncthreads();
    const float v = y[threadIdx.x];
    if (at_all)
        rs_copies_wait<0>();
    __syncthreads();
    x[threadIdx.x] = v + 1;
}
RS_KERNEL(THREADS, 1) rs_k_fault_copy(float *x)
{
    copies(x, false, false);
}
RS_KERNEL(THREADS, 1) rs_k_fault_early(float *x)
{
    copies(x, false, true);
}
RS_KERNEL(THREADS, 1) rs_k_fault_waited(float *x)
{
    copies(x, true, true);
}

// A kernel that is launched with more memory of a block than it has been allowed.
RS_KERNEL(THREADS, 1) rs_k_fault_memory(float *x)
{
    RS_BLOCK_MEMORY(float, y);
    y[threadIdx.x] = x[threadIdx.x];
}

// One value behind an array of the block; one behind an array of the device.
RS_KERNEL(THREADS, 1) rs_k_fault_shared(float *x)
{
    RS_BLOCK_ARRAY(float, y, THREADS);
    y[threadIdx.x + 1] = 1;
    __syncthreads();
    x[threadIdx.x] = y[threadIdx.x];
}
RS_KERNEL(THREADS, 1) rs_k_fault_global(float *x)
{
    x[threadIdx.x + 1] = 1;
}

typedef void kernel(float *x);

extern "C" void rs_trial_fault(int which, float *x)
{
    static kernel *const all[] = {rs_k_fault_none, rs_k_fault_skip, rs_k_fault_apart, rs_k_fault_warp, rs_k_fault_mask, rs_k_fault_race, rs_k_fault_copy, rs_k_fault_early, rs_k_fault_waited, rs_k_fault_memory, rs_k_fault_shared, rs_k_fault_global};
    kernel *const k = all[which];
    RS_LAUNCH(k, 1, THREADS, which == RS_FAULT_MEMORY ? 50 << 10 : 0, x);
}
