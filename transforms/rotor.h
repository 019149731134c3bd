// SPDX-License-Identifier: Apache-2.0
// One orthogonal matrix in the cheapest form there is (signs and Hadamard, or dense), applied in fp64 to rows or columns.
#ifndef RS_TRANSFORMS_ROTOR_H
#define RS_TRANSFORMS_ROTOR_H

#include "formats/err.h"
#include "kernels/hadamard.h"

// An n x n matrix R: D H (signs NULL: H alone) when H is set, else dense. Borrows everything.
typedef struct rs_rotor {
    size_t n;
    const rs_hadamard *H;
    const int8_t *signs;  // n diagonal signs of D, or NULL
    const double *dense;  // [n, n]
} rs_rotor;

// True when r is a matrix at all (n > 0).
static inline bool rs_rotor_on(const rs_rotor *r) { return r->n > 0; }
// Doubles of scratch for one of the calls below over `count` rows (or columns).
size_t rs_rotor_scratch(const rs_rotor *r, size_t count);
// x <- x R on rows of n contiguous doubles; in the calling thread.
void rs_rotor_rows(const rs_rotor *r, size_t rows, double *x, double *scratch);
// x <- R^T x on x [n, cols], leading dimension ld; in the calling thread.
void rs_rotor_columns(const rs_rotor *r, size_t cols, double *x, size_t ld, double *scratch);

#endif
