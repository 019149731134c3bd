// SPDX-License-Identifier: Apache-2.0
// What kernels are written with, for nvcc. The tests have a twin of this file, by which the same sources run on the processor.
#ifndef RS_KERNELS_CUDA_GPU_H
#define RS_KERNELS_CUDA_GPU_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/cuda/runtime.h"

// A kernel for blocks of at most so many threads, of which a processor shall hold so many; arrays of a block: of fixed size, and one whose bytes the launch names.
#define RS_KERNEL(threads, blocks) extern "C" __global__ void __launch_bounds__(threads, blocks)
#define RS_DEVICE static __device__ __forceinline__
#define RS_BLOCK_ARRAY(T, name, n) __shared__ T name[n]
#define RS_BLOCK_MEMORY(T, name)                                  \
    extern __shared__ __align__(16) unsigned char rs_dynamic[];   \
    T *const name = (T *)rs_dynamic
// Before the launch of a kernel with more than 48 KiB of block memory.
#define RS_ALLOW(kernel, bytes) rs_cuda_allow((const void *)kernel, bytes)
// Queues kernel(...) for blocks of threads with so many bytes of block memory; LAUNCH notes whether that failed.
#define RS_QUEUE(kernel, blocks, threads, bytes, ...) kernel<<<blocks, threads, bytes>>>(__VA_ARGS__)
#define RS_LAUNCH(kernel, blocks, threads, bytes, ...) (kernel<<<blocks, threads, bytes>>>(__VA_ARGS__), rs_cuda_launched(#kernel))

// The value of an f16 by the instruction for it, which keeps of a NaN only that it is one.
RS_DEVICE float rs_half_number(unsigned x)
{
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"((unsigned short)x));
    return f;
}

// c + the four products of the unsigned bytes of a with the signed bytes of b.
RS_DEVICE int rs_dp4a(unsigned a, int b, int c)
{
    int d;
    asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}

// c [16, 8] += a [16, 32] (unsigned bytes) b [8, 32]^T (signed bytes), by the 32 threads of a warp together; fragments as PTX has them for mma.m16n8k32 with 8-bit types:
// with g = lane / 4 and t = lane % 4, a[0], a[1], a[2], a[3]: columns 4t .. 4t+3 of row g, row g+8, and columns 16 further on of both; b[0], b[1]: those columns of row g; c: columns 2t, 2t+1 of row g, then g+8.
RS_DEVICE void rs_mma(int c[4], const unsigned a[4], const unsigned b[2])
{
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else // the quarters that sm_75 has
    for (int i = 0; i < 4; i++)
        asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.u8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};" : "+r"(c[i % 2 * 2]), "+r"(c[i % 2 * 2 + 1]) : "r"(a[i]), "r"(b[i / 2]));
#endif
}

// Queues a copy of 16 bytes into block memory, zeros where not `there` (from is not read then, but is an address). What was queued since the last close is a group; wait<N>: all groups of this thread but the
// last N are there. Other threads see them behind a barrier.
RS_DEVICE void rs_copy_16(void *to, const void *from, bool there)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((unsigned)__cvta_generic_to_shared(to)), "l"(__cvta_generic_to_global(from)), "r"(there ? 16 : 0) : "memory");
#else
    *(uint4 *)to = there ? *(const uint4 *)from : uint4{0, 0, 0, 0};
#endif
}

RS_DEVICE void rs_copies_close(void)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

template <int N> RS_DEVICE void rs_copies_wait(void)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}

#endif
