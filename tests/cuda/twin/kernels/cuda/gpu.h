// SPDX-License-Identifier: Apache-2.0
// The twin of kernels/cuda/gpu.h: the sources of the kernels, compiled for this processor. Blocks run one after the other, the threads of a block as fibers that change only at barriers and
// warp-wide operations. What a device would leave undefined is a fault that ends the program: a thread that skips a barrier, threads at different barriers, a warp that is not whole.
#ifndef RS_KERNELS_CUDA_GPU_H
#define RS_KERNELS_CUDA_GPU_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/cuda/runtime.h"

struct rs_emu_dim {
    unsigned x, y, z;
};
extern rs_emu_dim threadIdx, blockIdx, blockDim, gridDim;

struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};

// Runs body(context) for every thread. Where a thread waits: source, line, and of a warp what is done for its 32 threads when all are there.
// kernel: of which more than 48 KiB must have been allowed.
void rs_emu_run(const void *kernel, unsigned blocks, unsigned threads, size_t bytes, void (*body)(const void *context), const void *context);
void rs_emu_allow(const void *kernel, size_t bytes);
void rs_emu_barrier(const char *file, int line);
void rs_emu_warp(const char *file, int line, void (*all)(void *const each[32]), void *mine);
// Memory of the block, filled with a pattern when its first thread asks; site -1: what the launch named.
void *rs_emu_shared(int site, size_t bytes);

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define RS_KERNEL(threads, blocks) extern "C" void
#define RS_DEVICE static inline
#define RS_BLOCK_ARRAY(T, name, n) T *const name = (T *)rs_emu_shared(__COUNTER__, (n) * sizeof(T))
#define RS_BLOCK_MEMORY(T, name) T *const name = (T *)rs_emu_shared(-1, 0)
#define RS_ALLOW(kernel, bytes) rs_cuda_allow((const void *)kernel, bytes)
#define RS_QUEUE(kernel, blocks, threads, bytes, ...) rs_emu_launch((const void *)kernel, blocks, threads, bytes, [=] { kernel(__VA_ARGS__); })
#define RS_LAUNCH(kernel, blocks, threads, bytes, ...) rs_emu_launch((const void *)kernel, blocks, threads, bytes, [=] { kernel(__VA_ARGS__); })
#define __syncthreads() rs_emu_barrier(__FILE__, __LINE__)
#define __syncwarp() rs_emu_warp(__FILE__, __LINE__, rs_emu_nothing, nullptr)
#define __shfl_xor_sync(mask, value, d) rs_emu_shuffle(__FILE__, __LINE__, mask, value, threadIdx.x % 32 ^ (unsigned)(d))
#define __shfl_sync(mask, value, from) rs_emu_shuffle(__FILE__, __LINE__, mask, value, (unsigned)(from) % 32)

template <class F> static void rs_emu_launch(const void *kernel, unsigned blocks, unsigned threads, size_t bytes, const F &f)
{
    rs_emu_run(kernel, blocks, threads, bytes, [](const void *p) { (*(const F *)p)(); }, &f);
}

static inline void rs_emu_nothing(void *const[32])
{
}

template <class T> struct rs_emu_lane {
    T in, out;
    unsigned from;
};

void rs_emu_mask(unsigned mask, const char *file, int line);

template <class T> static T rs_emu_shuffle(const char *file, int line, unsigned mask, T x, unsigned from)
{
    rs_emu_lane<T> mine = {x, x, from};
    rs_emu_mask(mask, file, line);
    rs_emu_warp(
        file, line,
        [](void *const each[32]) {
            for (int i = 0; i < 32; i++) ((rs_emu_lane<T> *)each[i])->out = ((rs_emu_lane<T> *)each[((rs_emu_lane<T> *)each[i])->from])->in;
        },
        &mine);
    return mine.out;
}

static inline float __uint_as_float(unsigned u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline unsigned __float_as_uint(float f)
{
    unsigned u;
    memcpy(&u, &f, sizeof u);
    return u;
}

// Bytes of the eight of x and y that the low three bits of each half byte of s name.
static inline unsigned __byte_perm(unsigned x, unsigned y, unsigned s)
{
    const unsigned long long both = x | (unsigned long long)y << 32;
    unsigned v = 0;
    for (int i = 0; i < 4; i++) v |= (unsigned)(both >> 8 * (s >> 4 * i & 7) & 255) << 8 * i;
    return v;
}

// Copies of a thread into block memory: what is queued is not there (a pattern is) before it is waited for.
void rs_emu_copy(void *to, const void *from, bool there);
void rs_emu_copies_close(void);
void rs_emu_copies_wait(int groups);
#define rs_copy_16 rs_emu_copy
#define rs_copies_close rs_emu_copies_close
template <int N> static inline void rs_copies_wait(void)
{
    rs_emu_copies_wait(N);
}

static inline float rs_half_number(unsigned x)
{
    const int exponent = x >> 10 & 31, fraction = x & 0x3ff;
    const float size = exponent == 31 ? (fraction != 0 ? NAN : INFINITY) : exponent == 0 ? ldexpf((float)fraction, -24) : ldexpf((float)(fraction + 1024), exponent - 25);
    return x & 0x8000 ? -size : size;
}

static inline unsigned long long atomicAdd(unsigned long long *p, unsigned long long x)
{
    const unsigned long long before = *p;
    *p += x;
    return before;
}

static inline int rs_dp4a(unsigned a, int b, int c)
{
    unsigned sum = (unsigned)c;
    for (int i = 0; i < 4; i++) sum += (unsigned)((int)(a >> 8 * i & 255) * (int)(int8_t)((unsigned)b >> 8 * i & 255));
    return (int)sum;
}

// The fragments of one thread.
struct rs_emu_mma {
    int *c;
    const unsigned *a, *b;
};

// Joins the fragments to matrices by the tables of the PTX manual ("Matrix Fragments for mma.m16n8k32", 8 bits), multiplies, and takes the result apart again.
static inline void rs_emu_mma_all(void *const each[32])
{
    static int a[16][32], b[32][8];
    for (int lane = 0; lane < 32; lane++) {
        const rs_emu_mma *m = (const rs_emu_mma *)each[lane];
        const int group = lane >> 2, in_group = lane % 4;
        for (int i = 0; i < 16; i++) // a_i: row group for i in 0..3 and 8..11, else group + 8; column in_group 4 + i mod 4, from i = 8 on 16 more
            a[(0 <= i && i < 4) || (8 <= i && i < 12) ? group : group + 8][in_group * 4 + (i & 3) + (i >= 8 ? 16 : 0)] = (int)(m->a[i / 4] >> 8 * (i % 4) & 255);
        for (int i = 0; i < 8; i++) // b_i: row in_group 4 + i mod 4, from i = 4 on 16 more; column group
            b[in_group * 4 + (i & 3) + (i >= 4 ? 16 : 0)][group] = (int8_t)(m->b[i / 4] >> 8 * (i % 4) & 255);
    }
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < 4; i++) { // c_i: row group for i < 2, else group + 8; column in_group 2 + i mod 2
            const int row = i < 2 ? lane >> 2 : (lane >> 2) + 8, column = lane % 4 * 2 + (i & 1);
            int *c = &((const rs_emu_mma *)each[lane])->c[i];
            for (int k = 0; k < 32; k++) *c = (int)((unsigned)*c + (unsigned)(a[row][k] * b[k][column]));
        }
}
#define rs_mma(c, a, b) rs_emu_mma_warp(__FILE__, __LINE__, c, a, b)
static inline void rs_emu_mma_warp(const char *file, int line, int c[4], const unsigned a[4], const unsigned b[2])
{
    rs_emu_mma mine = {c, a, b};
    rs_emu_warp(file, line, rs_emu_mma_all, &mine);
}

#endif
