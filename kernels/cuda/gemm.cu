// SPDX-License-Identifier: Apache-2.0
// Dense products in f32: tiles of SIDE x SIDE results, DEPTH terms at a time in block memory; every thread adds its terms in the order of k.
#include "kernels/cuda/ops.h"

#include "kernels/cuda/gpu.h"

enum { THREADS = 256, SIDE = 64, DEPTH = 16, LINE = SIDE + 4, EACH = 4, ACROSS = SIDE / EACH }; // each thread: EACH x EACH results

// y[i, j] = sum over l of x[i sx + l tx] w[j sw + l tw], + y where add.
struct product {
    size_t m, n, k;
    const float *x, *w;
    size_t sx, tx, sw, tw;
    float *y;
    size_t ldy;
    bool add, upper; // upper: only results with i <= j
};

// A tile of x (or w) from line `first` and term `term` on, terms outermost; what lies outside is 0. Neighbouring threads read what is nearer in memory.
RS_DEVICE void load(float *tile, const float *x, size_t lines, size_t terms, size_t first, size_t term, size_t s, size_t t)
{
    for (unsigned i = threadIdx.x; i < SIDE * DEPTH; i += THREADS) {
        const unsigned line = t == 1 ? i / DEPTH : i % SIDE, l = t == 1 ? i % DEPTH : i / SIDE;
        tile[l * LINE + line] = first + line < lines && term + l < terms ? x[(first + line) * s + (term + l) * t] : 0;
    }
}

RS_KERNEL(THREADS, 3) rs_k_gemm(struct product p)
{
    RS_BLOCK_ARRAY(float, x, DEPTH * LINE);
    RS_BLOCK_ARRAY(float, w, DEPTH * LINE);
    const size_t strips = (p.m + SIDE - 1) / SIDE, tiles = strips * ((p.n + SIDE - 1) / SIDE);
    const unsigned row = threadIdx.x / ACROSS * EACH, column = threadIdx.x % ACROSS * EACH;
    for (size_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const size_t first_i = tile % strips * SIDE, first_j = tile / strips * SIDE;
        float sum[EACH][EACH] = {};
        for (size_t l = 0; l < p.k; l += DEPTH) {
            load(x, p.x, p.m, p.k, first_i, l, p.sx, p.tx);
            load(w, p.w, p.n, p.k, first_j, l, p.sw, p.tw);
            __syncthreads();
            for (unsigned d = 0; d < DEPTH; d++)
#pragma unroll
                for (unsigned i = 0; i < EACH; i++)
#pragma unroll
                    for (unsigned j = 0; j < EACH; j++)
                        sum[i][j] = fmaf(x[d * LINE + row + i], w[d * LINE + column + j], sum[i][j]);
            __syncthreads();
        }
#pragma unroll
        for (unsigned i = 0; i < EACH; i++)
#pragma unroll
            for (unsigned j = 0; j < EACH; j++)
                if (first_i + row + i < p.m && first_j + column + j < p.n && !(p.upper && first_i + row + i > first_j + column + j)) {
                    float *y = p.y + (first_i + row + i) * p.ldy + first_j + column + j;
                    *y = p.add ? *y + sum[i][j] : sum[i][j];
                }
    }
}

static void multiply(struct product p)
{
    RS_LAUNCH(rs_k_gemm, rs_cuda_blocks(((p.m + SIDE - 1) / SIDE) * ((p.n + SIDE - 1) / SIDE)), THREADS, 0, p);
}

void rs_gemm_nt_cuda(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy)
{
    const struct product p = {m, n, k, x, w, ldx, 1, ldw, 1, y, ldy, beta != 0, false};
    multiply(p);
}

void rs_gemm_nn_cuda(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy)
{
    const struct product p = {m, n, k, x, w, ldx, 1, 1, ldw, y, ldy, beta != 0, false};
    multiply(p);
}

void rs_gemm_tn_cuda(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy)
{
    const struct product p = {m, n, k, x, w, 1, ldx, 1, ldw, y, ldy, beta != 0, false};
    multiply(p);
}

void rs_gram_cuda(size_t n, size_t k, const float *x, size_t ldx, float beta, float *y, size_t ldy)
{
    const struct product p = {n, n, k, x, x, 1, ldx, 1, ldx, y, ldy, beta != 0, true};
    multiply(p);
}
