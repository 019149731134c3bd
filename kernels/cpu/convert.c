// SPDX-License-Identifier: Apache-2.0
// Conversions between f32 and the two 16-bit types: round to nearest even, NaN stays a (quiet) NaN with its upper payload bits, f16 overflow becomes infinity.
#include <string.h>

#include "kernels/cpu/ops.h"

static float from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint32_t to_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static float f16_to_f32(uint16_t x)
{
    const uint32_t sign = (uint32_t)(x & 0x8000) << 16, exponent = x >> 10 & 31, fraction = x & 0x3ff;
    if (exponent == 31)
        return from_bits(sign | 0x7f800000 | fraction << 13 | (fraction != 0 ? 0x400000 : 0));
    if (exponent != 0)
        return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    const float size = (float)fraction * 0x1p-24f;
    return sign ? -size : size;
}

static uint16_t f32_to_f16(float x)
{
    const uint32_t u = to_bits(x), size = u & 0x7fffffff;
    const uint16_t sign = u >> 16 & 0x8000;
    if (size > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | (size >> 13 & 0x3ff));
    if (size >= 0x477ff000) // from 65520 up the nearest f16 is infinity
        return sign | 0x7c00;
    if (size < 0x38800000) // below 2^-14 the spacing is 2^-24: adding 0.5 leaves the rounded count of it in the low bits
        return (uint16_t)(sign | (to_bits(from_bits(size) + 0.5f) - to_bits(0.5f)));
    return (uint16_t)(sign | (size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13);
}

static uint16_t f32_to_bf16(float x)
{
    const uint32_t u = to_bits(x);
    if ((u & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

void rs_convert_f16_to_f32_plain(size_t n, const uint16_t *x, float *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = f16_to_f32(x[i]);
}

void rs_convert_bf16_to_f32_plain(size_t n, const uint16_t *x, float *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = from_bits((uint32_t)x[i] << 16);
}

void rs_convert_f32_to_f16_plain(size_t n, const float *x, uint16_t *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = f32_to_f16(x[i]);
}

void rs_convert_f32_to_bf16_plain(size_t n, const float *x, uint16_t *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = f32_to_bf16(x[i]);
}
