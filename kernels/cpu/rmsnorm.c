// SPDX-License-Identifier: Apache-2.0
// RMSNorm: the sum of squares and the root in fp64, one factor per row rounded to f32, then x * factor * gamma in f32.
#include <math.h>

#include "kernels/cpu/ops.h"

void rs_rmsnorm_plain(size_t B, size_t d, const float *x, const float *gamma, float eps, float *y)
{
    for (size_t b = 0; b < B; b++, x += d, y += d) {
        double sum = 0;
        for (size_t i = 0; i < d; i++)
            sum += (double)x[i] * (double)x[i];
        const float factor = (float)(1 / sqrt(sum / (double)d + (double)eps));
        for (size_t i = 0; i < d; i++)
            y[i] = gamma != NULL ? x[i] * factor * gamma[i] : x[i] * factor;
    }
}
