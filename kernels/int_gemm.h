// SPDX-License-Identifier: Apache-2.0
// Products of packed integer weights with quantised activations: y[m, n] = s_a[m] s_w[n] (sum c_a c_w - z_a[m] sum c_w). Weights are signed codes of 2..8 bits, read as the container
// holds them (FORMAT.md 12), so that a mapped file is multiplied where it lies; activations are unsigned codes of 2..8 bits with a scale and a zero point for each token
// (numerics.md 1). The sums are int32, exact, and the same for every variant; so is y.
#ifndef RS_KERNELS_INT_GEMM_H
#define RS_KERNELS_INT_GEMM_H

#include "kernels/kernels.h"

// A way to compute them: "reference", "avx2", "avxvnni", "avx512vnni".
typedef struct rs_int_kernels rs_int_kernels;

// The plain C one (always there), and the fastest for this processor. Never NULL. Then each that this processor can run: 0 = reference, from slow to fast; NULL past the last.
const rs_int_kernels *rs_int_reference(void);
const rs_int_kernels *rs_int_cpu(void);
const rs_int_kernels *rs_int_at(size_t i);
// The one of the CUDA device ("cuda": tensor cores, or dp4a for few rows with weights of a form that these read slowly); NULL where rs_kernels_cuda is NULL. Its arrays lie in the memory of that table. Then its parts: "cuda-dp4a", "cuda-mma";
// NULL past the last.
const rs_int_kernels *rs_int_cuda(void);
const rs_int_kernels *rs_int_cuda_at(size_t i);
// Where the arrays of `by` lie (memory.h): rows, weights, sums, results; NULL: in the process. Names and shapes of rows and weights are plain values.
const rs_memory *rs_int_memory(const rs_int_kernels *by);
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

// Quantises x [rows->m, rows->k], leading dimension ldx, into rows by q (q->bits == rows->bits, 2..8; no groups): scale[row] (code - zero[row]) is what fake_quant gives, bit for bit.
// Symmetric codes are shifted by 2^(bits-1), their zero point. Returns the number of rows that fake_quant refuses (codes and zero point 0, scale 1).
size_t rs_int_quantise(const rs_int_kernels *by, const rs_quantizer *q, const float *x, size_t ldx, const rs_int_rows *rows);

// A stream x [m, k] on its way into products: its norm (kernels.h: gamma, eps), and the change of basis that it then makes, x <- x + ((x q) m) q^T; r 0: none.
typedef struct rs_int_stream {
    float *x;
    const float *gamma;
    float eps;
    size_t r;
    const float *q, *m;
} rs_int_stream;

// In one go: what rs_int_quantise makes of rmsnorm of the stream, then its change of basis; the bits of rmsnorm, rs_int_quantise and lowrank one by one. rows as there. False, and nothing is done, where
// `by` has no kernel for that: none of the process has, those of a device for k up to 11776 and r up to 256. Rows that are refused are told by settle.
bool rs_int_norm_quantise(const rs_int_kernels *by, const rs_quantizer *q, const rs_int_stream *s, const rs_int_rows *rows);

// Weights [n, k], the caller's. G = k / group spans of columns share a scale; group 0: G = 1.
typedef struct rs_int_weights {
    unsigned bits;
    size_t n, k, group;
    const uint8_t *codes;      // n dense rows (packed.h)
    const float *scales;       // [n, G], or NULL:
    const uint16_t *scales_16; // the same as f16
    const int32_t *sums;       // [n, G]: sums of codes
} rs_int_weights;

// The code of output o and column j.
int rs_int_weights_code(const rs_int_weights *w, size_t o, size_t j);

// Bytes of scratch (to be 64-aligned) for products of m rows of a_bits with weights of this shape; 0 where n or k is 0, the bits or the group are not possible, a group is longer than
// 2^24, sums of a group could leave int32 (group (2^a_bits - 1) 2^(bits - 1) > 2^31 - 1) or a size overflows.
size_t rs_int_gemm_work(const rs_int_kernels *by, const rs_int_weights *w, unsigned a_bits, size_t m);

// One product of several that read the same rows: y [m, w->n], leading dimension ldy; add: to what y holds.
typedef struct rs_int_product {
    const rs_int_weights *w;
    float *y;
    size_t ldy;
    bool add;
} rs_int_product;

// t_g = (float)(sum - zero * sum of codes) of each span, then ((t_0 s_0) + t_1 s_1 + ...) * scale, each step rounded to f32, and that is stored or added.
// work: the largest rs_int_gemm_work of the products, none of which may be 0. Threaded over fixed pieces of all of them.
void rs_int_gemm(const rs_int_kernels *by, size_t count, const rs_int_product *products, const rs_int_rows *a, void *work);
// The sums alone: sums[m, G, n], sum of c_a c_w over the columns of a span.
void rs_int_gemm_sums(const rs_int_kernels *by, const rs_int_weights *w, const rs_int_rows *a, int32_t *sums, void *work);

#endif
