// SPDX-License-Identifier: Apache-2.0
// x <- x H on f32 rows: the sums of the reference in the same order, so the same bits. A block of H that fits into the memory of a thread block is transformed there in one pass; of a larger one, runs
// of RUN values first, then step after step through global memory, then the base on strips of columns.
#include "kernels/cuda/ops.h"

#include "kernels/cuda/gpu.h"

enum { THREADS = 256, MOST = 12288, RUN = 8192 }; // MOST: floats that a block of threads holds

// Pair p of the step that joins values `half` apart.
RS_DEVICE void step(float *x, size_t p, size_t half)
{
    const size_t i = p / half * 2 * half + p % half;
    const float a = x[i], b = x[i + half];
    x[i] = a + b;
    x[i + half] = a - b;
}

// All steps on runs of `run` values, n in all, in block memory.
RS_DEVICE void steps(float *y, unsigned n, unsigned run)
{
    for (unsigned half = 1; half < run; half *= 2) {
        __syncthreads();
        for (unsigned p = threadIdx.x; p < n / 2; p += THREADS)
            step(y, p, half);
    }
    __syncthreads();
}

// Columns of y [k, width] in block memory times the base and the scale, into out [k, pow2].
RS_DEVICE void base(const float *y, unsigned k, unsigned width, const int8_t *signs, float scale, bool transpose, float *out, size_t pow2)
{
    for (unsigned o = threadIdx.x; o < k * width; o += THREADS) {
        const unsigned j = o / width, c = o % width;
        float sum = 0;
        for (unsigned i = 0; i < k; i++) {
            const float v = y[i * width + c];
            sum += signs[transpose ? j * k + i : i * k + j] > 0 ? v : -v;
        }
        out[j * pow2 + c] = sum * scale;
    }
}

// Blocks of k pow2 <= MOST values, `count` in each row.
RS_KERNEL(THREADS, 4) rs_k_hadamard_whole(size_t blocks, size_t count, unsigned k, unsigned pow2, const int8_t *signs, float scale, bool transpose, float *x, size_t ld)
{
    RS_BLOCK_MEMORY(float, y);
    const unsigned n = k * pow2;
    for (size_t b = blockIdx.x; b < blocks; b += gridDim.x) {
        float *row = x + b / count * ld + b % count * n;
        for (unsigned i = threadIdx.x; i < n; i += THREADS)
            y[i] = row[i];
        steps(y, n, pow2);
        base(y, k, pow2, signs, scale, transpose, row, pow2);
        __syncthreads();
    }
}

// Runs of `run` values, `count` in each row.
RS_KERNEL(THREADS, 4) rs_k_hadamard_runs(size_t runs, size_t count, unsigned run, float *x, size_t ld)
{
    RS_BLOCK_MEMORY(float, y);
    for (size_t b = blockIdx.x; b < runs; b += gridDim.x) {
        float *row = x + b / count * ld + b % count * run;
        for (unsigned i = threadIdx.x; i < run; i += THREADS)
            y[i] = row[i];
        steps(y, run, run);
        for (unsigned i = threadIdx.x; i < run; i += THREADS)
            row[i] = y[i];
        __syncthreads();
    }
}

// One step on rows of n values.
RS_KERNEL(THREADS, 4) rs_k_hadamard_step(size_t B, size_t n, size_t half, float *x, size_t ld)
{
    for (size_t p = blockIdx.x * (size_t)THREADS + threadIdx.x; p < B * (n / 2); p += gridDim.x * (size_t)THREADS)
        step(x + p / (n / 2) * ld, p % (n / 2), half);
}

// Strips of `width` columns of blocks [k, pow2], `count` blocks in each row.
RS_KERNEL(THREADS, 4) rs_k_hadamard_base(size_t strips, size_t count, unsigned k, size_t pow2, unsigned width, const int8_t *signs, float scale, bool transpose, float *x, size_t ld)
{
    RS_BLOCK_MEMORY(float, y);
    const size_t of_block = pow2 / width;
    for (size_t s = blockIdx.x; s < strips; s += gridDim.x) {
        const size_t b = s / of_block;
        float *strip = x + b / count * ld + b % count * k * pow2 + s % of_block * width;
        for (unsigned i = threadIdx.x; i < k * width; i += THREADS)
            y[i] = strip[i / width * pow2 + i % width];
        __syncthreads();
        base(y, k, width, signs, scale, transpose, strip, pow2);
        __syncthreads();
    }
}

void rs_hadamard_rows_cuda(const rs_hadamard *H, size_t B, float *x, size_t ld, bool transpose)
{
    const size_t count = H->n / H->block, k = H->k, pow2 = H->pow2;
    const int8_t *signs = (const int8_t *)rs_cuda_keep(k, H->build, H->signs, k * k);
    const float scale = (float)H->scale;
    if (signs == NULL)
        return;
    if (H->block <= MOST) {
        RS_LAUNCH(rs_k_hadamard_whole, rs_cuda_blocks(B * count), THREADS, H->block * sizeof(float), B * count, count, (unsigned)k, (unsigned)pow2, signs, scale, transpose, x, ld);
        return;
    }
    const size_t run = pow2 < RUN ? pow2 : (size_t)RUN, runs = H->n / run;
    RS_LAUNCH(rs_k_hadamard_runs, rs_cuda_blocks(B * runs), THREADS, run * sizeof(float), B * runs, runs, (unsigned)run, x, ld);
    for (size_t half = run; half < pow2; half *= 2)
        RS_LAUNCH(rs_k_hadamard_step, rs_cuda_blocks((B * (H->n / 2) + THREADS - 1) / THREADS), THREADS, 0, B, H->n, half, x, ld);
    size_t width = pow2;
    while (width > 32 || width * k > MOST)
        width /= 2;
    const size_t strips = B * count * (pow2 / width);
    RS_LAUNCH(rs_k_hadamard_base, rs_cuda_blocks(strips), THREADS, k * width * sizeof(float), strips, count, (unsigned)k, pow2, (unsigned)width, signs, scale, transpose, x, ld);
}
