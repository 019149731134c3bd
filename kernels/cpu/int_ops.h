// SPDX-License-Identifier: Apache-2.0
// The variants of int_gemm.h from inside: what one must be able to do.
//
// Columns are taken in blocks of 64, the last block of a span filled up with codes 0. Where weights have 4 bits, the columns of a block are taken in the order that splitting bytes
// gives, 0 2 4 .. 62 | 1 3 5 .. 63; otherwise as they come. Activations are arranged so once, row by row; weights are unpacked to bytes for OUTPUTS outputs at a time, which stay in
// the first-level cache while all rows of a strip go over them. One row alone is multiplied without unpacking to memory.
#ifndef RS_KERNELS_CPU_INT_OPS_H
#define RS_KERNELS_CPU_INT_OPS_H

#include "kernels/int_gemm.h"

enum { RS_INT_BLOCK = 64, RS_INT_OUTPUTS = 4 };

struct rs_int_kernels {
    const char *name, *instruction;
    bool pairs; // products are first added in 16 bits: at most `burst` vectors of 32 in a row, so that they cannot leave them
    size_t (*quantise)(const rs_quantizer *q, size_t B, size_t n, const float *x, size_t ldx, uint8_t *codes, size_t ld, float *scale, int32_t *zero);
    // blocks of 64 codes in the order of 4-bit weights.
    void (*split)(size_t blocks, const uint8_t *codes, uint8_t *out);
    // blocks of 64 codes of one row of weights; bits 2..8; only the bytes of these codes are read.
    void (*unpack)(unsigned bits, size_t blocks, const uint8_t *codes, int8_t *out);
    // sums[rows][4] += products of rows of activations with 4 rows of weights.
    void (*tile)(size_t rows, size_t blocks, size_t burst, const uint8_t *a, size_t lda, const int8_t *w, size_t ldw, int32_t *sums);
    // The same for one row and packed weights of 4 or 8 bits; ldw in bytes.
    void (*one)(unsigned bits, size_t blocks, size_t burst, const uint8_t *a, const uint8_t *w, size_t ldw, int32_t *sums);
    void (*halves)(size_t n, const uint16_t *x, float *y); // f16 to f32
    // acc[m][4] += (float)(sums[m][4] - zero[m] of_codes[4]) scales[4].
    void (*scale)(size_t m, const int32_t *sums, const int32_t *zero, const int32_t *of_codes, const float *scales, float *acc);
    // Of a device, where its arrays lie; it then computes a whole product by itself: sums, or where these are NULL y.
    const struct rs_memory *memory;
    void (*product)(const rs_int_weights *w, const rs_int_rows *a, int32_t *sums, float *y, size_t ldy, bool add);
    bool (*norm_quantise)(const rs_quantizer *q, const rs_int_stream *s, const rs_int_rows *rows);
    void (*append)(const struct rs_kv_cache *c, bool values, size_t S, const float *x); // quantises and packs keys or values behind those of the cache; its count stays
};

size_t rs_int_quantise_plain(const rs_quantizer *q, size_t B, size_t n, const float *x, size_t ldx, uint8_t *codes, size_t ld, float *scale, int32_t *zero);
size_t rs_int_quantise_avx2(const rs_quantizer *q, size_t B, size_t n, const float *x, size_t ldx, uint8_t *codes, size_t ld, float *scale, int32_t *zero);

// They need AVX2, F16C and FMA; AVX-VNNI besides; AVX-512 F, BW, DQ, VL and VNNI.
extern const rs_int_kernels rs_int_avx2, rs_int_avxvnni, rs_int_avx512vnni;

#endif
