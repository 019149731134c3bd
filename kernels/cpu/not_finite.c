// SPDX-License-Identifier: Apache-2.0
// Rows that hold what is not a number: NaN and infinity times 0 are NaN, and stay.
#include "kernels/cpu/ops.h"

size_t rs_not_finite_plain(size_t B, size_t n, const float *x, size_t ld)
{
    size_t bad = 0;
    for (size_t b = 0; b < B; b++) {
        float sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += 0 * x[b * ld + i];
        bad += sum != 0;
    }
    return bad;
}
