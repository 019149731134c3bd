// SPDX-License-Identifier: Apache-2.0
// Conversions between f32 and the 16-bit types (kernels/cpu/convert.c): round to nearest even, NaN stays NaN, overflow becomes infinity.
#ifndef RS_KERNELS_CUDA_HALF_H
#define RS_KERNELS_CUDA_HALF_H

#include "kernels/cuda/gpu.h"

RS_DEVICE float rs_half_to_float(unsigned x)
{
    const unsigned sign = (x & 0x8000) << 16, exponent = x >> 10 & 31, fraction = x & 0x3ff;
    if (exponent == 31)
        return __uint_as_float(sign | 0x7f800000 | fraction << 13 | (fraction != 0 ? 0x400000 : 0));
    if (exponent != 0)
        return __uint_as_float(sign | (exponent + 112) << 23 | fraction << 13);
    const float size = (float)fraction * 0x1p-24f;
    return sign ? -size : size;
}

RS_DEVICE uint16_t rs_half_of(float x)
{
    const unsigned u = __float_as_uint(x), size = u & 0x7fffffff, sign = u >> 16 & 0x8000;
    if (size > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | (size >> 13 & 0x3ff));
    if (size >= 0x477ff000)
        return (uint16_t)(sign | 0x7c00);
    if (size < 0x38800000)
        return (uint16_t)(sign | (__float_as_uint(__uint_as_float(size) + 0.5f) - __float_as_uint(0.5f)));
    return (uint16_t)(sign | (size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13);
}

RS_DEVICE uint16_t rs_bf16_of(float x)
{
    const unsigned u = __float_as_uint(x);
    if ((u & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

#endif
