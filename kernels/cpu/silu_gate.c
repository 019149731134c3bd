// SPDX-License-Identifier: Apache-2.0
// y = silu(gate) * up with silu(g) = g / (1 + e^-g).
#include <math.h>

#include "kernels/cpu/ops.h"

void rs_silu_gate_plain(size_t n, const float *gate, const float *up, float *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = gate[i] / (1 + expf(-gate[i])) * up[i];
}
