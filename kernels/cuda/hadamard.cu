// SPDX-License-Identifier: Apache-2.0
// x <- x H on f32 rows: the sums of the reference in the same order, so the same bits. Blocks of H that fit into the memory of a block of threads are transformed there, read and written once, four steps
// between two barriers; of a larger one, runs of RUN values first, then up to four steps at a time through global memory, then the base on strips of columns.
#include "kernels/cuda/ops.h"

#include <stdlib.h>

#include "kernels/cuda/gpu.h"

enum { WARP = 32, THREADS = 1024, FULL = 4096, RUN = 8192, OUTPUTS = 4, COLUMNS = 4 }; // FULL: values that a block of threads takes where one block of H has fewer; of the base a thread computes OUTPUTS of COLUMNS

// Where value i lies in block memory: so that threads that take 1 or 16 values in a row meet different banks.
RS_DEVICE unsigned at(unsigned i)
{
    return i + i / 32;
}

static size_t bytes_of(size_t n)
{
    return (n + n / 32) * sizeof(float);
}

// All steps on R values.
template <unsigned R> RS_DEVICE void butterflies(float v[R])
{
#pragma unroll
    for (unsigned half = 1; half < R; half *= 2)
#pragma unroll
        for (unsigned i = 0; i < R; i++)
            if ((i & half) == 0) {
                const float a = v[i], b = v[i + half];
                v[i] = a + b;
                v[i + half] = a - b;
            }
}

// The steps that join values `half`, 2 half, .., R/2 half apart, on n values in block memory.
template <unsigned R> RS_DEVICE void steps_by(float *y, unsigned n, unsigned half)
{
    __syncthreads();
    for (unsigned g = threadIdx.x; g < n / R; g += blockDim.x) {
        const unsigned low = g & (half - 1), first = at((g - low) * R + low);
        float v[R];
#pragma unroll
        for (unsigned i = 0; i < R; i++)
            v[i] = y[first + at(i * half)];
        butterflies<R>(v);
#pragma unroll
        for (unsigned i = 0; i < R; i++)
            y[first + at(i * half)] = v[i];
    }
}

// All steps on runs of `run` values, n in all.
RS_DEVICE void steps(float *y, unsigned n, unsigned run)
{
    unsigned half = 1;
    for (; half * 16 <= run; half *= 16)
        steps_by<16>(y, n, half);
    switch (run / half) {
    case 8: steps_by<8>(y, n, half); break;
    case 4: steps_by<4>(y, n, half); break;
    case 2: steps_by<2>(y, n, half); break;
    }
    __syncthreads();
}

// OUTPUTS rows from j on of C columns from c on, `apart` from each other, of y [k, width] at `from` times the base and the scale, into out [k, pow2]. A factor of 1 or -1 rounds nothing.
template <unsigned C> RS_DEVICE void base_part(const float *y, unsigned from, unsigned k, unsigned width, unsigned j, unsigned c, unsigned apart, const float4 *signs, float scale, float *out, size_t pow2)
{
    float sum[OUTPUTS][C] = {};
    for (unsigned i = 0; i < k; i++) {
        const float4 sign = signs[(size_t)i * ((k + OUTPUTS - 1) / OUTPUTS) + j / OUTPUTS];
        const float of[OUTPUTS] = {sign.x, sign.y, sign.z, sign.w};
#pragma unroll
        for (unsigned e = 0; e < C; e++) {
            const float v = y[at(from + i * width + c + e * apart)];
#pragma unroll
            for (unsigned o = 0; o < OUTPUTS; o++)
                sum[o][e] = fmaf(v, of[o], sum[o][e]);
        }
    }
#pragma unroll
    for (unsigned o = 0; o < OUTPUTS; o++)
#pragma unroll
        for (unsigned e = 0; e < C; e++)
            if (j + o < k)
                out[(j + o) * pow2 + c + e * apart] = sum[o][e] * scale;
}

// The whole of y [k, width], item by item; `first` and `stride`: of this thread among those that share it.
RS_DEVICE void base(const float *y, unsigned from, unsigned k, unsigned width, const float4 *signs, float scale, float *out, size_t pow2, unsigned first, unsigned stride)
{
    if (k == 1) {
        for (unsigned c = first; c < width; c += stride)
            out[c] = (0 + y[at(from + c)]) * scale;
        return;
    }
    const unsigned each = width % COLUMNS == 0 ? width / COLUMNS : width;
    for (unsigned item = first; item < (k + OUTPUTS - 1) / OUTPUTS * each; item += stride)
        if (width % COLUMNS == 0)
            base_part<COLUMNS>(y, from, k, width, item / each * OUTPUTS, item % each, each, signs, scale, out, pow2);
        else
            base_part<1>(y, from, k, width, item / each * OUTPUTS, item % each, each, signs, scale, out, pow2);
}

// Blocks of n = k pow2 values, `count` in each row, `many` at a time: one by the whole block of threads, several by a warp each.
RS_KERNEL(THREADS, 1) rs_k_hadamard_whole(size_t blocks, size_t count, unsigned many, unsigned k, unsigned pow2, const float4 *signs, float scale, float *x, size_t ld)
{
    RS_BLOCK_MEMORY(float, y);
    const unsigned n = k * pow2, share = many > 1 ? (unsigned)WARP : blockDim.x, mine = threadIdx.x % share;
    for (size_t b = blockIdx.x * (size_t)many; b < blocks; b += gridDim.x * (size_t)many) {
        const unsigned here = blocks - b < many ? (unsigned)(blocks - b) : many;
        for (unsigned h = threadIdx.x / share; h < here; h += blockDim.x / share) {
            const float *row = x + (b + h) / count * ld + (b + h) % count * n;
            for (unsigned i = mine; i < n; i += share)
                y[at(h * n + i)] = row[i];
        }
        steps(y, here * n, pow2);
        for (unsigned h = threadIdx.x / share; h < here; h += blockDim.x / share)
            base(y, h * n, k, pow2, signs, scale, x + (b + h) / count * ld + (b + h) % count * n, pow2, mine, share);
        __syncthreads();
    }
}

// The steps that join values `half` .. R/2 half apart, on rows of n values, times scale.
template <unsigned R> RS_DEVICE void far_steps(size_t B, size_t n, size_t half, float scale, float *x, size_t ld)
{
    for (size_t p = blockIdx.x * (size_t)blockDim.x + threadIdx.x; p < B * (n / R); p += gridDim.x * (size_t)blockDim.x) {
        const size_t g = p % (n / R), low = g & (half - 1);
        float *first = x + p / (n / R) * ld + (g - low) * R + low, v[R];
#pragma unroll
        for (unsigned i = 0; i < R; i++)
            v[i] = first[i * half];
        butterflies<R>(v);
#pragma unroll
        for (unsigned i = 0; i < R; i++)
            first[i * half] = (0 + v[i]) * scale;
    }
}

RS_KERNEL(256, 4) rs_k_hadamard_far(unsigned radix, size_t B, size_t n, size_t half, float scale, float *x, size_t ld)
{
    switch (radix) {
    case 16: far_steps<16>(B, n, half, scale, x, ld); break;
    case 8: far_steps<8>(B, n, half, scale, x, ld); break;
    case 4: far_steps<4>(B, n, half, scale, x, ld); break;
    default: far_steps<2>(B, n, half, scale, x, ld);
    }
}

// Strips of `width` columns of blocks [k, pow2], `count` blocks in each row.
RS_KERNEL(256, 4) rs_k_hadamard_base(size_t strips, size_t count, unsigned k, size_t pow2, unsigned width, const float4 *signs, float scale, float *x, size_t ld)
{
    RS_BLOCK_MEMORY(float, y);
    const size_t of_block = pow2 / width;
    for (size_t s = blockIdx.x; s < strips; s += gridDim.x) {
        const size_t b = s / of_block;
        float *strip = x + b / count * ld + b % count * k * pow2 + s % of_block * width;
        for (unsigned i = threadIdx.x; i < k * width; i += blockDim.x)
            y[at(i)] = strip[i / width * pow2 + i % width];
        __syncthreads();
        base(y, 0, k, width, signs, scale, strip, pow2, threadIdx.x, blockDim.x);
        __syncthreads();
    }
}

// The base on the device as f32, row by row of what is summed, filled up to whole OUTPUTS. NULL, which is noted: no memory.
static const float4 *signs_of(const rs_hadamard *H, bool transpose)
{
    const size_t k = H->k, line = (k + OUTPUTS - 1) / OUTPUTS * OUTPUTS, bytes = k * line * sizeof(float), other = (size_t)H->build * 2 + transpose;
    const void *p = rs_cuda_keep(k, other, NULL, bytes);
    if (p != NULL)
        return (const float4 *)p;
    float *signs = (float *)calloc(1, bytes);
    if (signs == NULL) {
        rs_cuda_note("signs of a Hadamard matrix", "out of memory");
        return NULL;
    }
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < k; j++)
            signs[i * line + j] = H->signs[transpose ? j * k + i : i * k + j];
    p = rs_cuda_keep(k, other, signs, bytes);
    free(signs);
    return (const float4 *)p;
}

static unsigned threads(size_t n)
{
    return n <= FULL ? 256 : n <= 4 * FULL ? 512 : (unsigned)THREADS;
}

static void whole(size_t B, size_t n, size_t k, size_t pow2, const float4 *signs, float scale, float *x, size_t ld, size_t count)
{
    const size_t many = n < FULL ? FULL / n : 1;
    RS_ALLOW(rs_k_hadamard_whole, bytes_of(many * n));
    RS_LAUNCH(rs_k_hadamard_whole, rs_cuda_blocks((B * count + many - 1) / many), threads(n), bytes_of(many * n), B * count, count, (unsigned)many, (unsigned)k, (unsigned)pow2, signs, scale, x, ld);
}

void rs_hadamard_rows_cuda(const rs_hadamard *H, size_t B, float *x, size_t ld, bool transpose)
{
    const size_t count = H->n / H->block, k = H->k, pow2 = H->pow2;
    const float4 *signs = k > 1 ? signs_of(H, transpose) : NULL;
    const float scale = (float)H->scale;
    if (k > 1 && signs == NULL)
        return;
    if (bytes_of(H->block) <= rs_cuda_block_memory()) {
        whole(B, H->block, k, pow2, signs, scale, x, ld, count);
        return;
    }
    size_t half = pow2 < RUN ? pow2 : (size_t)RUN;
    whole(B, half, 1, half, NULL, 1, x, ld, H->n / half);
    for (size_t radix; half < pow2; half *= radix) {
        radix = pow2 / half < 16 ? pow2 / half : 16;
        RS_LAUNCH(rs_k_hadamard_far, rs_cuda_blocks((B * (H->n / radix) + 255) / 256), 256, 0, (unsigned)radix, B, H->n, half, k == 1 && half * radix == pow2 ? scale : 1, x, ld);
    }
    if (k == 1)
        return;
    size_t width = pow2;
    while (width > 32 || bytes_of(width * k) > 48 << 10)
        width /= 2;
    const size_t strips = B * count * (pow2 / width);
    RS_LAUNCH(rs_k_hadamard_base, rs_cuda_blocks(strips), 256, bytes_of(k * width), strips, count, (unsigned)k, pow2, (unsigned)width, signs, scale, x, ld);
}
