// SPDX-License-Identifier: Apache-2.0
// The skew part of a square matrix, and how large its rows are.
#include <math.h>

#include "kernels/cpu/ops.h"

void rs_skew_plain(size_t n, const float *x, float *w, double *sums)
{
    for (size_t i = 0; i < n; i++) {
        double size = 0, squares = 0;
        for (size_t j = 0; j < n; j++) {
            const float s = 0.5f * x[i * n + j] - 0.5f * x[j * n + i]; // halves of finite numbers: no overflow
            w[i * n + j] = s;
            size += fabs((double)s);
            squares += (double)s * (double)s;
        }
        sums[i] = size;
        sums[n + i] = squares;
    }
}
