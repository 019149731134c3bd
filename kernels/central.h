// SPDX-License-Identifier: Apache-2.0
// Central moments of the columns of a matrix, in one pass over data that comes in blocks: no sum of large powers is ever taken (Pebay, Sandia report SAND2008-6212).
#ifndef RS_KERNELS_CENTRAL_H
#define RS_KERNELS_CENTRAL_H

#include <stddef.h>

// Of n values: their mean, and the sums of (x - mean)^k for k = 2, 3, 4. All zero: of none.
typedef struct rs_central {
    double n, mean, m2, m3, m4;
} rs_central;

enum { RS_CENTRAL_ROWS = 64 }; // rows of a block: two passes over it, then it joins what was there

// a becomes the moments of both sets.
void rs_central_merge(rs_central *a, const rs_central *b);
// Those of count sets together, merged in pairs, then pairs of pairs, so that many small ones do not add up rounding.
rs_central rs_central_all(size_t count, const rs_central *set);
// Adds rows of x [rows, columns], leading dimension ld, to the moments of the columns; values that are not finite are left out. table: "reference", "avx2", "avx512" or NULL for the best here
// (an unknown or unsupported one reads as the reference): the same bits by all of them.
void rs_central_add(const char *table, size_t rows, size_t columns, const float *x, size_t ld, rs_central *column);
// Excess kurtosis m4 n / m2^2 - 3; 0 where m2 is 0.
double rs_central_kurtosis(const rs_central *c);
// Root of the mean square of the values; 0 of none.
double rs_central_rms(const rs_central *c);

#endif
