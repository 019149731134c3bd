// SPDX-License-Identifier: Apache-2.0
// Integer products of packed weights (int_gemm.h) of every form, sums exact in int32, so the same by every kernel; results rounded step by step as the reference does it. Those of the common form have
// kernels of their own: int_few.cu, int_tiles.cu.
#include "kernels/cuda/ops.h"

#include "kernels/cuda/int_sums.h"

enum { THREADS = 128, ROWS = 4, FEW = 2 * ROWS }; // ROWS: of activations that a warp multiplies with an output at a time; FEW: so many go that way

// n <= 4 bytes from p on, the rest 0.
RS_DEVICE unsigned bytes_of(const uint8_t *p, unsigned n)
{
    if (n == 4 && (uintptr_t)p % 4 == 0)
        return *(const uint32_t *)p;
    if (n == 2 && (uintptr_t)p % 2 == 0)
        return *(const uint16_t *)p;
    unsigned v = 0;
    for (unsigned i = 0; i < n; i++)
        v |= (unsigned)p[i] << 8 * i;
    return v;
}

// Codes j .. j+n-1 (n <= 4) of a packed row as signed bytes, the rest 0. Only bytes that hold one of them are read.
RS_DEVICE unsigned codes_of(unsigned bits, const uint8_t *row, size_t j, unsigned n)
{
    const size_t bit = j * bits;
    const unsigned shift = (unsigned)(bit % 8), have = (shift + n * bits + 7) / 8, half = 1u << (bits - 1);
    const unsigned first = bytes_of(row + bit / 8, have < 4 ? have : 4);
    if (bits == 8)
        return first;
    if (bits == 4 && shift == 0 && n == 4) { // four nibbles to the low halves of bytes, their signs to the high ones
        unsigned x = (first | first << 8) & 0x00ff00ff;
        x = (x | x << 4) & 0x0f0f0f0f;
        return x | (x >> 3 & 0x01010101) * 0xf0u;
    }
    const uint64_t word = (first | (uint64_t)(have > 4 ? row[bit / 8 + 4] : 0) << 32) >> shift;
    unsigned v = 0;
    for (unsigned i = 0; i < n; i++)
        v |= (((((unsigned)(word >> i * bits) & (2 * half - 1)) ^ half) - half) & 255) << 8 * i;
    return v;
}

// A warp for each output and ROWS rows; the threads of the warp take four columns each.
RS_KERNEL(THREADS, 4) rs_k_int_dp4a(rs_int_weights w, rs_int_rows a, struct rs_int_target to)
{
    const size_t span = w.group != 0 ? w.group : w.k, spans = w.k / span, row = (w.k * w.bits + 7) / 8, strips = (a.m + ROWS - 1) / ROWS;
    const unsigned lane = threadIdx.x % RS_WARP;
    for (size_t i = blockIdx.x * (size_t)(THREADS / RS_WARP) + threadIdx.x / RS_WARP; i < w.n * strips; i += gridDim.x * (size_t)(THREADS / RS_WARP)) {
        const size_t o = i / strips, first = i % strips * ROWS, m = a.m - first < ROWS ? a.m - first : (size_t)ROWS;
        const uint8_t *codes = w.codes + o * row;
        float acc[ROWS] = {0};
        for (size_t g = 0; g < spans; g++) {
            int sum[ROWS] = {0};
            for (size_t j = g * span + 4 * lane; j < (g + 1) * span; j += 4 * RS_WARP) {
                const unsigned n = (g + 1) * span - j < 4 ? (unsigned)((g + 1) * span - j) : 4;
                const int c = (int)codes_of(w.bits, codes, j, n);
                for (unsigned r = 0; r < ROWS; r++)
                    if (r < m)
                        sum[r] = rs_dp4a(bytes_of(a.codes + (first + r) * a.ld + j, n), c, sum[r]);
            }
            for (unsigned r = 0; r < ROWS; r++) {
                for (unsigned d = RS_WARP / 2; d > 0; d /= 2)
                    sum[r] = (int)((unsigned)sum[r] + (unsigned)__shfl_xor_sync(~0u, sum[r], d));
                if (lane != 0 || r >= m)
                    continue;
                if (to.sums != NULL)
                    to.sums[((first + r) * spans + g) * w.n + o] = sum[r];
                else
                    acc[r] += rs_int_term(&w, &a, first + r, o, g, spans, sum[r]);
            }
        }
        for (unsigned r = 0; to.sums == NULL && lane == 0 && r < ROWS; r++)
            if (r < m)
                rs_int_store(to, &a, first + r, o, acc[r]);
    }
}

// Tiles of SIDE rows by SIDE outputs, DEPTH columns at a time in block memory; each of four warps computes a quarter by m16n8k32 products.
enum { SIDE = 64, DEPTH = 64, WORDS = DEPTH / 4, LINE = WORDS + 4, HALF = SIDE / 2, DOWN = HALF / 16, ACROSS = HALF / 8 }; // LINE: of words; 8 rows of 4 threads read 32 banks

RS_DEVICE void load_tile(const rs_int_weights *w, const rs_int_rows *a, size_t row, size_t first_r, size_t first_o, size_t j, size_t end, unsigned *rows, unsigned *outputs)
{
    for (unsigned i = threadIdx.x; i < SIDE * WORDS; i += THREADS) {
        const unsigned line = i / WORDS, word = i % WORDS;
        const size_t at = j + 4 * word;
        const unsigned n = at >= end ? 0 : end - at < 4 ? (unsigned)(end - at) : 4;
        rows[line * LINE + word] = first_r + line < a->m ? bytes_of(a->codes + (first_r + line) * a->ld + at, n) : 0;
        outputs[line * LINE + word] = first_o + line < w->n && n > 0 ? codes_of(w->bits, w->codes + (first_o + line) * row, at, n) : 0;
    }
}

// sum += rows times outputs of one tile, the quarter of this warp.
RS_DEVICE void multiply_tile(const unsigned *rows, const unsigned *outputs, int sum[DOWN][ACROSS][4])
{
    const unsigned lane = threadIdx.x % RS_WARP, warp = threadIdx.x / RS_WARP, group = lane / 4, in_group = lane % 4;
    rows += (warp / 2 * HALF + group) * LINE + in_group;
    outputs += (warp % 2 * HALF + group) * LINE + in_group;
    for (unsigned k = 0; k < WORDS; k += 8)
#pragma unroll
        for (unsigned i = 0; i < DOWN; i++) {
            const unsigned *p = rows + 16 * i * LINE + k, a[4] = {p[0], p[8 * LINE], p[4], p[8 * LINE + 4]};
#pragma unroll
            for (unsigned j = 0; j < ACROSS; j++) {
                const unsigned *q = outputs + 8 * j * LINE + k, b[2] = {q[0], q[4]};
                rs_mma(sum[i][j], a, b);
            }
        }
}

// Calls body(row, output, sum, acc) for what this thread holds of a tile.
template <class F> RS_DEVICE void each(const rs_int_weights *w, const rs_int_rows *a, size_t first_r, size_t first_o, int sum[DOWN][ACROSS][4], float acc[DOWN][ACROSS][4], F body)
{
    const unsigned lane = threadIdx.x % RS_WARP, warp = threadIdx.x / RS_WARP;
#pragma unroll
    for (unsigned i = 0; i < DOWN; i++)
#pragma unroll
        for (unsigned j = 0; j < ACROSS; j++)
#pragma unroll
            for (unsigned l = 0; l < 4; l++) {
                const size_t r = first_r + warp / 2 * HALF + 16 * i + lane / 4 + l / 2 * 8, o = first_o + warp % 2 * HALF + 8 * j + lane % 4 * 2 + l % 2;
                if (r < a->m && o < w->n)
                    body(r, o, sum[i][j][l], acc[i][j][l]);
            }
}

RS_KERNEL(THREADS, 3) rs_k_int_mma(rs_int_weights w, rs_int_rows a, struct rs_int_target to)
{
    RS_BLOCK_ARRAY(unsigned, rows, SIDE * LINE);
    RS_BLOCK_ARRAY(unsigned, outputs, SIDE * LINE);
    const size_t span = w.group != 0 ? w.group : w.k, spans = w.k / span, row = (w.k * w.bits + 7) / 8, strips = (a.m + SIDE - 1) / SIDE, tiles = strips * ((w.n + SIDE - 1) / SIDE);
    for (size_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const size_t first_r = tile % strips * SIDE, first_o = tile / strips * SIDE;
        float acc[DOWN][ACROSS][4] = {};
        for (size_t g = 0; g < spans; g++) {
            int sum[DOWN][ACROSS][4] = {};
            for (size_t j = g * span; j < (g + 1) * span; j += DEPTH) {
                load_tile(&w, &a, row, first_r, first_o, j, (g + 1) * span, rows, outputs);
                __syncthreads();
                multiply_tile(rows, outputs, sum);
                __syncthreads();
            }
            each(&w, &a, first_r, first_o, sum, acc, [&](size_t r, size_t o, int s, float &t) {
                if (to.sums != NULL)
                    to.sums[(r * spans + g) * w.n + o] = s;
                else
                    t += rs_int_term(&w, &a, r, o, g, spans, s);
            });
        }
        if (to.sums == NULL) {
            int none[DOWN][ACROSS][4] = {};
            each(&w, &a, first_r, first_o, none, acc, [&](size_t r, size_t o, int, float &t) { rs_int_store(to, &a, r, o, t); });
        }
    }
}

void rs_int_product_dp4a(const rs_int_weights *w, const rs_int_rows *a, int32_t *sums, float *y, size_t ldy, bool add)
{
    const struct rs_int_target to = {sums, y, ldy, add};
    const size_t warps = w->n * ((a->m + ROWS - 1) / ROWS), each_block = THREADS / RS_WARP;
    RS_LAUNCH(rs_k_int_dp4a, rs_cuda_blocks((warps + each_block - 1) / each_block), THREADS, 0, *w, *a, to);
}

void rs_int_product_mma(const rs_int_weights *w, const rs_int_rows *a, int32_t *sums, float *y, size_t ldy, bool add)
{
    const struct rs_int_target to = {sums, y, ldy, add};
    if (!rs_int_few(w, a, to) && !rs_int_tiles(w, a, to))
        RS_LAUNCH(rs_k_int_mma, rs_cuda_blocks(((w->n + SIDE - 1) / SIDE) * ((a->m + SIDE - 1) / SIDE)), THREADS, 0, *w, *a, to);
}

void rs_int_product_cuda(const rs_int_weights *w, const rs_int_rows *a, int32_t *sums, float *y, size_t ldy, bool add)
{
    (a->m <= FEW && !rs_int_plain(w, a) ? rs_int_product_dp4a : rs_int_product_mma)(w, a, sums, y, ldy, add);
}
