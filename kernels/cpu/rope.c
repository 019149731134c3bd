// SPDX-License-Identifier: Apache-2.0
// Rotary position embedding in half-split order.
#include "kernels/cpu/ops.h"

void rs_rope_plain(size_t B, size_t heads, size_t h, float *x, size_t ld, const float *cos, const float *sin)
{
    const size_t half = h / 2;
    for (size_t b = 0; b < B; b++, cos += half, sin += half)
        for (size_t head = 0; head < heads; head++) {
            float *lo = x + b * ld + head * h, *hi = lo + half;
            for (size_t i = 0; i < half; i++) {
                const float a = lo[i], c = hi[i];
                lo[i] = a * cos[i] - c * sin[i];
                hi[i] = c * cos[i] + a * sin[i];
            }
        }
}
