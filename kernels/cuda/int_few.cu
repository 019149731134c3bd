// SPDX-License-Identifier: Apache-2.0
// Integer products of up to 16 rows with weights of the common form, which are read once and straight into registers: what such a product costs is reading them. A block of threads computes OUTPUTS outputs;
// its warps take turns in k, 128 columns each, and their sums are added at the end.
#include "kernels/cuda/int_sums.h"

enum { THREADS = 256, WARPS = THREADS / RS_WARP, TILES = 4, OUTPUTS = 8 * TILES, ROWS = 16, COLUMNS = 128 }; // TILES: of 8 outputs

RS_DEVICE uint4 sixteen(const uint8_t *p, bool there)
{
    const uint4 zeros = {0, 0, 0, 0};
    return there ? *(const uint4 *)p : zeros;
}

RS_DEVICE unsigned word_of(uint4 v, unsigned i)
{
    return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

// The sums of this warp's share of k. A thread has 32 columns of every 128, eight for each of four products, of rows lane / 4 and 8 further on.
template <unsigned BITS> RS_DEVICE void share(const rs_int_weights *w, const rs_int_rows *a, size_t first, int sum[TILES][4])
{
    const unsigned lane = threadIdx.x % RS_WARP, group = lane / 4;
    const size_t line = w->k * BITS / 8;
    for (size_t j = threadIdx.x / RS_WARP * COLUMNS; j < w->k; j += WARPS * COLUMNS) {
        const size_t at = j + lane % 4 * 32;
        uint4 x[2][2], c[TILES][BITS / 4];
#pragma unroll
        for (unsigned i = 0; i < TILES; i++)
#pragma unroll
            for (unsigned h = 0; h < BITS / 4; h++)
                c[i][h] = sixteen(w->codes + (first + 8 * i + group) * line + at * BITS / 8 + 16 * h, at < w->k && first + 8 * i + group < w->n);
#pragma unroll
        for (unsigned r = 0; r < 2; r++)
#pragma unroll
            for (unsigned h = 0; h < 2; h++)
                x[r][h] = sixteen(a->codes + (group + 8 * r) * a->ld + at + 16 * h, at < w->k && group + 8 * r < a->m);
#pragma unroll
        for (unsigned s = 0; s < 4; s++) {
            unsigned rows[4];
#pragma unroll
            for (unsigned r = 0; r < 2; r++)
                rs_int_split<BITS>(word_of(x[r][s / 2], s % 2 * 2), word_of(x[r][s / 2], s % 2 * 2 + 1), &rows[r], &rows[r + 2]);
#pragma unroll
            for (unsigned i = 0; i < TILES; i++) {
                unsigned b[2];
                if (BITS == 4) {
                    rs_int_nibbles(word_of(c[i][0], s), b);
                } else {
                    b[0] = word_of(c[i][s / 2 % (BITS / 4)], s % 2 * 2);
                    b[1] = word_of(c[i][s / 2 % (BITS / 4)], s % 2 * 2 + 1);
                }
                rs_mma(sum[i], rows, b);
            }
        }
    }
}

template <unsigned BITS> RS_DEVICE void few(rs_int_weights w, rs_int_rows a, struct rs_int_target to)
{
    RS_BLOCK_ARRAY(int, part, WARPS * 4 * TILES * RS_WARP);
    const unsigned lane = threadIdx.x % RS_WARP, warp = threadIdx.x / RS_WARP;
    for (size_t first = blockIdx.x * (size_t)OUTPUTS; first < w.n; first += gridDim.x * (size_t)OUTPUTS) {
        int sum[TILES][4] = {};
        share<BITS>(&w, &a, first, sum);
#pragma unroll
        for (unsigned i = 0; i < 4 * TILES; i++)
            part[(warp * 4 * TILES + i) * RS_WARP + lane] = sum[i / 4][i % 4];
        __syncthreads();
        for (unsigned i = threadIdx.x; i < 4 * TILES * RS_WARP; i += THREADS) {
            const unsigned l = i / RS_WARP % 4, of = i % RS_WARP;
            const size_t r = of / 4 + l / 2 * 8, o = first + i / RS_WARP / 4 * 8 + of % 4 * 2 + l % 2;
            int all = 0;
            for (unsigned v = 0; v < WARPS; v++)
                all += part[v * 4 * TILES * RS_WARP + i];
            if (r < a.m && o < w.n)
                rs_int_finish(&w, &a, to, r, o, rs_int_sum<BITS>(all));
        }
        __syncthreads();
    }
}

RS_KERNEL(THREADS, 2) rs_k_int_few_4(rs_int_weights w, rs_int_rows a, struct rs_int_target to)
{
    few<4>(w, a, to);
}

RS_KERNEL(THREADS, 2) rs_k_int_few_8(rs_int_weights w, rs_int_rows a, struct rs_int_target to)
{
    few<8>(w, a, to);
}

bool rs_int_few(const rs_int_weights *w, const rs_int_rows *a, struct rs_int_target to)
{
    const unsigned blocks = rs_cuda_blocks((w->n + OUTPUTS - 1) / OUTPUTS);
    if (a->m > ROWS || !rs_int_plain(w, a))
        return false;
    if (w->bits == 4)
        RS_LAUNCH(rs_k_int_few_4, blocks, THREADS, 0, *w, *a, to);
    else
        RS_LAUNCH(rs_k_int_few_8, blocks, THREADS, 0, *w, *a, to);
    return true;
}
