// SPDX-License-Identifier: Apache-2.0
// Products of packed integer weights with quantised activations: y[m, n] = s_a[m] s_w[n] (sum c_a c_w - z_a[m] sum c_w). Weights are signed codes of 2..8 bits (FORMAT.md 12),
// activations unsigned codes of 2..8 bits with a scale and a zero point for each token (numerics.md 1). The sums are int32, exact, and the same for every variant; so is y.
#ifndef RS_KERNELS_INT_GEMM_H
#define RS_KERNELS_INT_GEMM_H

#include "kernels/kernels.h"

// A way to compute them: "reference", "avx2", "avxvnni", "avx512vnni". Each has its own layout of weights.
typedef struct rs_int_kernels rs_int_kernels;

// The plain C one (always there), and the fastest for this processor. Never NULL.
const rs_int_kernels *rs_int_reference(void);
const rs_int_kernels *rs_int_cpu(void);
// Its name, and the instruction that multiplies in it.
const char *rs_int_name(const rs_int_kernels *by);
const char *rs_int_instruction(const rs_int_kernels *by);

// m rows of k codes, leading dimension ld; value = scale[row] (code - zero[row]). The arrays are the caller's.
typedef struct rs_int_rows {
    unsigned bits;
    size_t m, k, ld;
    uint8_t *codes;
    float *scale;
    int32_t *zero;
} rs_int_rows;

// Quantises x [rows->m, rows->k], leading dimension ldx, into rows (bits 2..8), asymmetrically, with clip in (0, 1]: scale[row] (code - zero[row]) is what fake_quant gives, bit for bit.
// Returns the number of rows that fake_quant refuses (codes and zero point 0, scale 1).
size_t rs_int_quantise(const rs_int_kernels *by, float clip, const float *x, size_t ldx, const rs_int_rows *rows);

// Weights [n, k] as by wants them: bits 2..4 take 4 bits in memory, 5..8 take 8. group divides k: columns that share a scale; 0: all.
typedef struct rs_int_weights {
    const rs_int_kernels *by;
    unsigned bits;
    size_t n, k, group;
    void *packed; // rs_int_weights_bytes, the caller's
} rs_int_weights;

// Bytes of w->packed; 0 where n or k is 0, the bits or the group are not possible, a group is longer than 2^24, or the size overflows.
size_t rs_int_weights_bytes(const rs_int_weights *w);
// Fills w->packed from n dense rows (packed.h) and scales [n, k / group]. The sums of codes are formed here.
void rs_int_weights_pack(const rs_int_weights *w, const uint8_t *rows, const float *scales);
// The code of output o and column j.
int rs_int_weights_code(const rs_int_weights *w, size_t o, size_t j);

// Bytes of scratch for a product with m rows of a_bits; 0 where sums of a group could leave int32 (group (2^a_bits - 1) 2^(bits - 1) > 2^31 - 1) or the size overflows.
size_t rs_int_gemm_work(const rs_int_weights *w, unsigned a_bits, size_t m);
// y[m, n] (leading dimension ldy): t_g = (float)(sum - zero * sum of codes) of each group, then ((t_0 s_0) + t_1 s_1 + ...) * scale, each step rounded to f32.
// work: rs_int_gemm_work bytes, which must not be 0. Threaded over fixed pieces.
void rs_int_gemm(const rs_int_weights *w, const rs_int_rows *a, float *y, size_t ldy, void *work);
// The sums alone: sums[m, groups, n], sum of c_a c_w over the columns of a group.
void rs_int_gemm_sums(const rs_int_weights *w, const rs_int_rows *a, int32_t *sums, void *work);

#endif
