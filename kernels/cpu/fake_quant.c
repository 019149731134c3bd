// SPDX-License-Identifier: Apache-2.0
// Fake quantisation (design of the grids: kernels.h): divide, round half to even, add the zero point, clamp, and back; every path gives the same bits.
#include <float.h>
#include <math.h>

#include "kernels/cpu/ops.h"

static float clamp(float c, float lo, float hi)
{
    return c < lo ? lo : c > hi ? hi : c;
}

// Smallest and largest of n values and 0; false if one is NaN or if the range overflows.
static bool range(size_t n, const float *x, float *lo, float *hi)
{
    bool ordered = true;
    *lo = *hi = 0;
    for (size_t i = 0; i < n; i++) {
        *lo = x[i] < *lo ? x[i] : *lo;
        *hi = x[i] > *hi ? x[i] : *hi;
        ordered &= x[i] == x[i];
    }
    return ordered && *hi - *lo <= FLT_MAX;
}

// A grid: value = scale (code - zero), codes first .. last.
struct grid {
    float scale, zero, first, last;
};

// The grid for values in lo <= 0 <= hi. A scale below the normal numbers becomes 1, so that such values are 0.
static struct grid grid(const rs_quantizer *q, float lo, float hi)
{
    const float codes = (float)((1u << q->bits) - 1), half = (float)((1u << (q->bits - 1)) - 1);
    struct grid g = {.scale = q->sym ? q->clip * (-lo > hi ? -lo : hi) / half : (q->clip * hi - q->clip * lo) / codes};
    const bool normal = g.scale >= FLT_MIN;
    if (!normal)
        g.scale = 1;
    g.zero = q->sym || !normal ? 0 : rintf(-(q->clip * lo) / g.scale);
    g.first = q->sym ? -half - 1 : 0;
    g.last = q->sym ? half : codes;
    return g;
}

static void quantise(const rs_quantizer *q, size_t n, float *x)
{
    float lo, hi;
    range(n, x, &lo, &hi);
    const struct grid g = grid(q, lo, hi);
    for (size_t i = 0; i < n; i++)
        x[i] = g.scale * (clamp(rintf(x[i] / g.scale) + g.zero, g.first, g.last) - g.zero);
}

size_t rs_fake_quant_plain(const rs_quantizer *q, size_t B, size_t n, float *x, size_t ld)
{
    size_t bad = 0;
    const size_t group = q->group != 0 ? q->group : n;
    if (q->bits >= 16)
        return 0;
    for (size_t b = 0; b < B; b++, x += ld) {
        float lo, hi;
        if (!range(n, x, &lo, &hi)) {
            bad++;
            continue;
        }
        for (size_t i = 0; i < n; i += group)
            quantise(q, group, x + i);
    }
    return bad;
}
