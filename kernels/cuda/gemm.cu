// SPDX-License-Identifier: Apache-2.0
// Dense products in f32, and of f32 with 16-bit floats. cuBLAS computes them where it is there (blas.h), otherwise tiles of SIDE x SIDE results, DEPTH terms at a time in block memory; every thread adds
// its terms in the order of k.
#include "kernels/cuda/blas.h"
#include "kernels/cuda/half.h"
#include "kernels/cuda/ops.h"

enum { THREADS = 256, SIDE = 64, DEPTH = 16, LINE = SIDE + 4, EACH = 4, ACROSS = SIDE / EACH }; // each thread: EACH x EACH results

// y[i, j] = sum over l of x[i sx + l tx] w[j sw + l tw], + y where add.
struct product {
    size_t m, n, k;
    const float *x, *w;
    size_t sx, tx, sw, tw;
    float *y;
    size_t ldy;
    bool add, upper; // upper: only results with i <= j
    const uint16_t *half; // instead of w
    bool bf16;
};

// A tile of x (or w) from line `first` and term `term` on, terms outermost; what lies outside is 0. Neighbouring threads read what is nearer in memory.
template <class F> RS_DEVICE void load(float *tile, size_t lines, size_t terms, size_t first, size_t term, size_t s, size_t t, F at)
{
    for (unsigned i = threadIdx.x; i < SIDE * DEPTH; i += THREADS) {
        const unsigned line = t == 1 ? i / DEPTH : i % SIDE, l = t == 1 ? i % DEPTH : i / SIDE;
        tile[l * LINE + line] = first + line < lines && term + l < terms ? at((first + line) * s + (term + l) * t) : 0;
    }
}

// at(i): number i of w.
template <class F> RS_DEVICE void tiles(const struct product &p, F at)
{
    RS_BLOCK_ARRAY(float, x, DEPTH * LINE);
    RS_BLOCK_ARRAY(float, w, DEPTH * LINE);
    const size_t strips = (p.m + SIDE - 1) / SIDE, count = strips * ((p.n + SIDE - 1) / SIDE);
    const unsigned row = threadIdx.x / ACROSS * EACH, column = threadIdx.x % ACROSS * EACH;
    for (size_t tile = blockIdx.x; tile < count; tile += gridDim.x) {
        const size_t first_i = tile % strips * SIDE, first_j = tile / strips * SIDE;
        float sum[EACH][EACH] = {};
        for (size_t l = 0; l < p.k; l += DEPTH) {
            load(x, p.m, p.k, first_i, l, p.sx, p.tx, [&](size_t i) { return p.x[i]; });
            load(w, p.n, p.k, first_j, l, p.sw, p.tw, at);
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

RS_KERNEL(THREADS, 3) rs_k_gemm(struct product p)
{
    tiles(p, [&](size_t i) { return p.w[i]; });
}

RS_KERNEL(THREADS, 3) rs_k_gemm_half(struct product p)
{
    tiles(p, [&](size_t i) { return p.bf16 ? __uint_as_float((unsigned)p.half[i] << 16) : rs_half_number(p.half[i]); });
}

static unsigned blocks(struct product p)
{
    return rs_cuda_blocks(((p.m + SIDE - 1) / SIDE) * ((p.n + SIDE - 1) / SIDE));
}

static bool none(size_t m, size_t n)
{
    return m == 0 || n == 0;
}

void rs_gemm_nt_cuda(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy)
{
    const struct product p = {m, n, k, x, w, ldx, 1, ldw, 1, y, ldy, beta != 0, false, NULL, false};
    if (!none(m, n) && (k == 0 || !rs_blas_gemm(false, true, m, n, k, x, ldx, w, ldw, beta, y, ldy)))
        RS_LAUNCH(rs_k_gemm, blocks(p), THREADS, 0, p);
}

void rs_gemm_nn_cuda(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy)
{
    const struct product p = {m, n, k, x, w, ldx, 1, 1, ldw, y, ldy, beta != 0, false, NULL, false};
    if (!none(m, n) && (k == 0 || !rs_blas_gemm(false, false, m, n, k, x, ldx, w, ldw, beta, y, ldy)))
        RS_LAUNCH(rs_k_gemm, blocks(p), THREADS, 0, p);
}

void rs_gemm_tn_cuda(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy)
{
    const struct product p = {m, n, k, x, w, 1, ldx, 1, ldw, y, ldy, beta != 0, false, NULL, false};
    if (!none(m, n) && (k == 0 || !rs_blas_gemm(true, false, m, n, k, x, ldx, w, ldw, beta, y, ldy)))
        RS_LAUNCH(rs_k_gemm, blocks(p), THREADS, 0, p);
}

void rs_gram_cuda(size_t n, size_t k, const float *x, size_t ldx, float beta, float *y, size_t ldy)
{
    const struct product p = {n, n, k, x, x, 1, ldx, 1, ldx, y, ldy, beta != 0, true, NULL, false};
    if (n > 0 && (k == 0 || !rs_blas_gram(n, k, x, ldx, beta, y, ldy)))
        RS_LAUNCH(rs_k_gemm, blocks(p), THREADS, 0, p);
}

// ---- 16-bit weights by cuBLAS

// x = a + b + c, each of 8 bits, as bf16 has them: exact from 2^-103 on, where none of them is subnormal. What is not finite is in a alone.
RS_KERNEL(THREADS, 4) rs_k_split(size_t m, size_t k, const float *x, size_t ldx, uint16_t *parts)
{
    for (size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x; i < m * k; i += gridDim.x * (size_t)THREADS) {
        float rest = x[i / k * ldx + i % k];
        const bool finite = (__float_as_uint(rest) & 0x7f800000) != 0x7f800000;
        for (unsigned part = 0; part < 3; part++) {
            const unsigned top = finite ? __float_as_uint(rest) & 0xffff0000 : part == 0 ? (unsigned)rs_bf16_of(rest) << 16 : 0;
            parts[part * m * k + i] = (uint16_t)(top >> 16);
            rest = finite ? rest - __uint_as_float(top) : rest;
        }
    }
}

// Rows [n, k] as f32, dense.
RS_KERNEL(THREADS, 4) rs_k_widen_rows(size_t n, size_t k, const uint16_t *w, size_t ldw, float *y)
{
    for (size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x; i < n * k; i += gridDim.x * (size_t)THREADS)
        y[i] = rs_half_number(w[i / k * ldw + i % k]);
}

static unsigned for_each(size_t n)
{
    return rs_cuda_blocks((n + THREADS - 1) / THREADS);
}

// bf16: rows in blocks, split, three products, the smallest first. f16, which bf16 does not hold: outputs in blocks, converted.
static void by_blas(bool bf16, size_t m, size_t n, size_t k, const float *x, size_t ldx, const uint16_t *w, size_t ldw, float beta, float *y, size_t ldy)
{
    const size_t each = bf16 ? 3 * sizeof(uint16_t) * k : sizeof(float) * k, most = rs_cuda_scratch_bytes() / each, lines = bf16 ? m : n;
    for (size_t first = 0, count; first < lines; first += count) {
        count = lines - first < most ? lines - first : most;
        void *room = rs_cuda_scratch(count * each);
        if (room == NULL)
            return;
        if (bf16) {
            uint16_t *parts = (uint16_t *)room;
            RS_LAUNCH(rs_k_split, for_each(count * k), THREADS, 0, count, k, x + first * ldx, ldx, parts);
            for (size_t part = 3; part-- > 0;)
                (void)rs_blas_gemm_bf16(count, n, k, parts + part * count * k, k, w, ldw, part == 2 ? beta : 1, y + first * ldy, ldy);
        } else {
            RS_LAUNCH(rs_k_widen_rows, for_each(count * k), THREADS, 0, count, k, w + first * ldw, ldw, (float *)room);
            (void)rs_blas_gemm(false, true, m, count, k, x, ldx, (const float *)room, k, beta, y + first, ldy);
        }
    }
}

void rs_gemm_half_cuda(bool bf16, size_t m, size_t n, size_t k, const float *x, size_t ldx, const uint16_t *w, size_t ldw, float beta, float *y, size_t ldy)
{
    const struct product p = {m, n, k, x, NULL, ldx, 1, ldw, 1, y, ldy, beta != 0, false, w, bf16};
    if (none(m, n))
        return;
    if (k > 0 && k <= rs_cuda_scratch_bytes() / (3 * sizeof(uint16_t)) && rs_blas_used())
        by_blas(bf16, m, n, k, x, ldx, w, ldw, beta, y, ldy);
    else
        RS_LAUNCH(rs_k_gemm_half, blocks(p), THREADS, 0, p);
}
