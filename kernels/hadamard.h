// SPDX-License-Identifier: Apache-2.0
// Hadamard matrices of order m 2^k (Paley I, Paley II over prime powers, Sylvester doubling): construction; kernels.h applies them.
#ifndef RS_KERNELS_HADAMARD_H
#define RS_KERNELS_HADAMARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum rs_hadamard_build { RS_HADAMARD_SYLVESTER, RS_HADAMARD_PALEY1, RS_HADAMARD_PALEY2 } rs_hadamard_build;

// Block-diagonal orthonormal matrix of size n: blocks of size block = k 2^m, each (H_k (x) H(2^m)) / sqrt(block), H(2^m) by Sylvester, H_k outer.
typedef struct rs_hadamard {
    size_t n, block, k, pow2;   // pow2 = 2^m
    rs_hadamard_build build;    // SYLVESTER: k = 1
    const int8_t *signs;        // k x k, +1 and -1, row-major; owned
    const float *columns;       // the same signs column by column, as f32, for the fast kernels; owned
    double scale;               // 1 / sqrt(block), in fp64
} rs_hadamard;

// Builds the plain Hadamard of size n with the smallest base k for which a construction exists (method.md 6); where none reaches n, the block-diagonal one of the largest
// dividing order. NULL for n = 0, n above 2^24 or without memory. Free with rs_hadamard_free.
rs_hadamard *rs_hadamard_new(size_t n);
// Builds exactly this form; NULL if k is not reachable by build, block != k 2^m, block does not divide n, or without memory.
rs_hadamard *rs_hadamard_new_form(size_t n, size_t block, size_t k, rs_hadamard_build build);
// Writes the block x block orthonormal matrix (one block) as fp64, row-major.
void rs_hadamard_dense(const rs_hadamard *H, double *out);
// Applies x <- x H (transpose: x H^T) to rows of n doubles, leading dimension ld, in fp64, O(n (k + log pow2)).
void rs_hadamard_apply_f64(const rs_hadamard *H, size_t rows, double *x, size_t ld, bool transpose);
// NULL allowed.
void rs_hadamard_free(rs_hadamard *H);

#endif
