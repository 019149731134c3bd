// SPDX-License-Identifier: Apache-2.0
// y += x.
#include "kernels/cpu/ops.h"

void rs_add_plain(size_t n, const float *x, float *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}
