// SPDX-License-Identifier: Apache-2.0
// Integer products of many rows with weights of the common form: tiles of SIDE rows by SIDE outputs, DEPTH columns at a time, of which the next are copied into block memory while tensor cores multiply these.
// Codes of 4 bits stay packed there. Eight warps compute 64 rows by 32 outputs each.
#include "kernels/cuda/int_sums.h"

enum { THREADS = 256, SIDE = 128, DEPTH = 64, STAGES = 3, DOWN = 4, ACROSS = 4, ROWS_BYTES = SIDE * DEPTH };
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800 // has memory for one
#define BLOCKS 1
#else
#define BLOCKS 2
#endif

template <unsigned BITS> struct stage {
    enum { BYTES = ROWS_BYTES + SIDE * DEPTH * BITS / 8 };
};

// Where 32 columns of a line of 64 bytes lie, and 32 columns of one of 32 bytes: in turns, so that the lines that a warp reads at once meet different banks.
RS_DEVICE unsigned place(unsigned line, unsigned half, unsigned bits)
{
    return bits == 4 ? line * 32 + (half ^ (line >> 2 & 1)) * 16 : line * 64 + (half ^ (line >> 1 & 1)) * 32;
}

// Queues copies of columns j .. j+DEPTH-1 of the tile; lines outside become zeros.
template <unsigned BITS> RS_DEVICE void fetch(const rs_int_weights *w, const rs_int_rows *a, size_t first_r, size_t first_o, size_t j, unsigned char *to)
{
    for (unsigned i = threadIdx.x; i < ROWS_BYTES / 16; i += THREADS) {
        const unsigned line = i / 4;
        const size_t r = first_r + line;
        rs_copy_16(to + place(line, i % 4 / 2, 8) + i % 2 * 16, a->codes + (r < a->m ? r : 0) * a->ld + j + i % 4 * 16, r < a->m);
    }
    to += ROWS_BYTES;
    const size_t bytes = w->k * BITS / 8;
    for (unsigned i = threadIdx.x; i < SIDE * DEPTH * BITS / 128; i += THREADS) {
        const unsigned line = i / (BITS / 2), part = i % (BITS / 2); // of 16 bytes
        const size_t o = first_o + line;
        rs_copy_16(to + (BITS == 4 ? place(line, part, 4) : place(line, part / 2, 8) + part % 2 * 16), w->codes + (o < w->n ? o : 0) * bytes + j * BITS / 8 + part * 16, o < w->n);
    }
}

// sum += products of one stage, the part of this warp.
template <unsigned BITS> RS_DEVICE void multiply(const unsigned char *lines, int sum[DOWN][ACROSS][4])
{
    const unsigned lane = threadIdx.x % RS_WARP, warp = threadIdx.x / RS_WARP, group = lane / 4, t = lane % 4;
    const unsigned char *codes = lines + ROWS_BYTES;
#pragma unroll
    for (unsigned half = 0; half < DEPTH / 32; half++) {
        unsigned b[ACROSS][2];
#pragma unroll
        for (unsigned i = 0; i < ACROSS; i++) {
            const unsigned line = warp % 4 * 32 + 8 * i + group;
            if (BITS == 4) {
                rs_int_nibbles(*(const unsigned *)(codes + place(line, half, 4) + 4 * t), b[i]);
            } else {
                const uint2 v = *(const uint2 *)(codes + place(line, half, 8) + 8 * t);
                b[i][0] = v.x;
                b[i][1] = v.y;
            }
        }
#pragma unroll
        for (unsigned i = 0; i < DOWN; i++) {
            unsigned rows[4];
#pragma unroll
            for (unsigned r = 0; r < 2; r++) {
                const uint2 v = *(const uint2 *)(lines + place(warp / 4 * 64 + 16 * i + 8 * r + group, half, 8) + 8 * t);
                rs_int_split<BITS>(v.x, v.y, &rows[r], &rows[r + 2]);
            }
#pragma unroll
            for (unsigned l = 0; l < ACROSS; l++)
                rs_mma(sum[i][l], rows, b[l]);
        }
    }
}

template <unsigned BITS> RS_DEVICE void tiles(rs_int_weights w, rs_int_rows a, struct rs_int_target to)
{
    RS_BLOCK_MEMORY(unsigned char, memory);
    const unsigned lane = threadIdx.x % RS_WARP, warp = threadIdx.x / RS_WARP;
    const size_t strips = (a.m + SIDE - 1) / SIDE, count = strips * ((w.n + SIDE - 1) / SIDE), steps = w.k / DEPTH;
    for (size_t tile = blockIdx.x; tile < count; tile += gridDim.x) {
        const size_t first_r = tile % strips * SIDE, first_o = tile / strips * SIDE;
        int sum[DOWN][ACROSS][4] = {};
        for (unsigned s = 0; s < STAGES - 1; s++) {
            if (s < steps)
                fetch<BITS>(&w, &a, first_r, first_o, s * (size_t)DEPTH, memory + s * stage<BITS>::BYTES);
            rs_copies_close();
        }
        unsigned now = 0, next = STAGES - 1; // stages
        for (size_t s = 0; s < steps; s++) {
            rs_copies_wait<STAGES - 2>();
            __syncthreads(); // all copies of this stage are there, and nobody reads the one that is filled next
            if (s + STAGES - 1 < steps)
                fetch<BITS>(&w, &a, first_r, first_o, (s + STAGES - 1) * DEPTH, memory + next * stage<BITS>::BYTES);
            rs_copies_close();
            multiply<BITS>(memory + now * stage<BITS>::BYTES, sum);
            now = now + 1 < STAGES ? now + 1 : 0;
            next = next + 1 < STAGES ? next + 1 : 0;
        }
        rs_copies_wait<0>();
        __syncthreads();
#pragma unroll
        for (unsigned i = 0; i < DOWN; i++)
#pragma unroll
            for (unsigned j = 0; j < ACROSS; j++)
#pragma unroll
                for (unsigned l = 0; l < 4; l++) {
                    const size_t r = first_r + warp / 4 * 64 + 16 * i + lane / 4 + l / 2 * 8, o = first_o + warp % 4 * 32 + 8 * j + lane % 4 * 2 + l % 2;
                    if (r < a.m && o < w.n)
                        rs_int_finish(&w, &a, to, r, o, rs_int_sum<BITS>(sum[i][j][l]));
                }
    }
}

RS_KERNEL(THREADS, BLOCKS) rs_k_int_tiles_4(rs_int_weights w, rs_int_rows a, struct rs_int_target to)
{
    tiles<4>(w, a, to);
}

RS_KERNEL(THREADS, BLOCKS) rs_k_int_tiles_8(rs_int_weights w, rs_int_rows a, struct rs_int_target to)
{
    tiles<8>(w, a, to);
}

bool rs_int_tiles(const rs_int_weights *w, const rs_int_rows *a, struct rs_int_target to)
{
    const unsigned blocks = rs_cuda_blocks(((a->m + SIDE - 1) / SIDE) * ((w->n + SIDE - 1) / SIDE));
    if (!rs_int_plain(w, a))
        return false;
    if (w->bits == 4)
        RS_LAUNCH(rs_k_int_tiles_4, blocks, THREADS, STAGES * stage<4>::BYTES, *w, *a, to);
    else
        RS_LAUNCH(rs_k_int_tiles_8, blocks, THREADS, STAGES * stage<8>::BYTES, *w, *a, to);
    return true;
}
