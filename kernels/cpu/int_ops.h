// SPDX-License-Identifier: Apache-2.0
// The variants of int_gemm.h from inside: the layout of packed weights, and what a variant must be able to do.
//
// A span is a group of columns (all k without groups), cut into quads of 4 columns, the last one filled up with codes 0. A panel is 2 L outputs, L = lanes, the last one filled up
// with outputs of codes 0. Packed weights are, panel after panel and span after span within it:
//
//     bits 5..8   for each quad 8 L bytes:   byte 4 i + t = code of output i, column t, i = 0..2L-1                (two vectors of L outputs)
//     bits 2..4   for each quad 4 L bytes:   byte 4 i + t = (code of output i) + 8 | (code of output L + i) + 8 << 4, i = 0..L-1  (low nibbles: the first vector)
//     f32 scales [2 L], i32 sums of codes [2 L]
//
// Activations are arranged in blocks of at most rows rows: for each quad of each span 4 codes of each row of the block, the last quad of a span filled up with 0.
#ifndef RS_KERNELS_CPU_INT_OPS_H
#define RS_KERNELS_CPU_INT_OPS_H

#include "kernels/int_gemm.h"

enum { RS_INT_LANES = 16 }; // the most lanes of a variant

struct rs_int_kernels {
    const char *name, *instruction;
    size_t lanes, rows;
    bool pairs; // products are first added in 16 bits: at most `burst` quads in a row, so that they cannot leave them
    size_t (*quantise)(const rs_quantizer *q, size_t B, size_t n, const float *x, size_t ldx, uint8_t *codes, size_t ld, float *scale, int32_t *zero);
    // panel[quads][2 L][4] from the 4-bit form.
    void (*unpack)(size_t quads, const uint8_t *nibbles, int8_t *panel);
    // sums[rows][2 L] += products of a block of rows (arranged) with a panel of bytes; rows 1 .. the variant's.
    void (*tile)(size_t rows, size_t quads, size_t burst, const uint8_t *a, const int8_t *panel, int32_t *sums);
    // The same for one row and the 4-bit form, without unpacking to memory.
    void (*one)(size_t quads, size_t burst, const uint8_t *a, const uint8_t *nibbles, int32_t *sums);
    // acc[2 L] += (float)(sums - zero * of_codes) * scales.
    void (*scale)(const int32_t *sums, int32_t zero, const int32_t *of_codes, const float *scales, float *acc);
};

// Sizes that follow from the shape; bytes of packed weights.
struct rs_int_layout {
    bool nibbles;
    size_t spans, span, quads, panels, quad_bytes, span_bytes, panel_bytes;
};
// False where rs_int_weights_bytes is 0.
bool rs_int_layout(const rs_int_weights *w, struct rs_int_layout *l);

// The variants that this processor can run: 0 = reference, then from slow to fast; NULL past the last.
const rs_int_kernels *rs_int_at(size_t i);

size_t rs_int_quantise_plain(const rs_quantizer *q, size_t B, size_t n, const float *x, size_t ldx, uint8_t *codes, size_t ld, float *scale, int32_t *zero);
size_t rs_int_quantise_avx2(const rs_quantizer *q, size_t B, size_t n, const float *x, size_t ldx, uint8_t *codes, size_t ld, float *scale, int32_t *zero);

// They need AVX2, F16C and FMA; AVX-VNNI besides; AVX-512 F, BW, DQ, VL and VNNI.
extern const rs_int_kernels rs_int_avx2, rs_int_avxvnni, rs_int_avx512vnni;

#endif
