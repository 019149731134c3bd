// SPDX-License-Identifier: Apache-2.0
// What a run of values holds: the largest magnitude, the sum of squares, zeros, what is not finite; how often each leading half of a number occurs.
#ifndef RS_KERNELS_SCAN_H
#define RS_KERNELS_SCAN_H

#include <stddef.h>
#include <stdint.h>

// Values that are not finite are counted in bad and left out of the rest.
typedef struct rs_scan {
    float max;
    double square;
    size_t zeros, bad;
} rs_scan;

enum { RS_SCAN_HALVES = 1 << 16 }; // upper halves of an f32

// Of n values. table as in kernels/central.h.
rs_scan rs_scan_row(const char *table, size_t n, const float *x);
// Adds to largest [n] (magnitudes) those of x [rows, n], leading dimension ld; what is not finite is left out.
void rs_scan_columns(size_t rows, size_t n, const float *x, size_t ld, float *largest);
// Counts the upper 16 bits of n values, whatever they are: count [RS_SCAN_HALVES].
void rs_scan_count(size_t n, const float *x, uint64_t *count);
// Sum of (a - b)^2 over n values, in fp64.
double rs_scan_distance(size_t n, const float *a, const float *b);

#endif
