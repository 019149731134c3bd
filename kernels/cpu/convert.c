// SPDX-License-Identifier: Apache-2.0
// Conversions between f32 and the two 16-bit types: round to nearest even, NaN stays a (quiet) NaN with its upper payload bits, f16 overflow becomes infinity.
#include <string.h>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/pieces.h"
#include "kernels/cpu/vec.h"
#include "kernels/threads.h"

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

#if defined(__x86_64__)

struct convert {
    size_t n;
    const uint16_t *half;
    float *single;
};

static RS_AVX2 void f16_to_f32_piece(void *context, size_t piece)
{
    const struct convert *c = context;
    const size_t end = rs_pieces_min(c->n, (piece + 1) * RS_PIECE);
    size_t i = piece * RS_PIECE;
    for (; i + 8 <= end; i += 8)
        v8_store(c->single + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(c->half + i))));
    rs_convert_f16_to_f32_plain(end - i, c->half + i, c->single + i);
}

static RS_AVX2 void bf16_to_f32_piece(void *context, size_t piece)
{
    const struct convert *c = context;
    const size_t end = rs_pieces_min(c->n, (piece + 1) * RS_PIECE);
    size_t i = piece * RS_PIECE;
    for (; i + 8 <= end; i += 8)
        v8_store(c->single + i, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(c->half + i))), 16)));
    rs_convert_bf16_to_f32_plain(end - i, c->half + i, c->single + i);
}

void rs_convert_f16_to_f32_avx2(size_t n, const uint16_t *x, float *y)
{
    rs_threads_for(rs_pieces_count(n, RS_PIECE), f16_to_f32_piece, &(struct convert){n, x, y});
}

void rs_convert_bf16_to_f32_avx2(size_t n, const uint16_t *x, float *y)
{
    rs_threads_for(rs_pieces_count(n, RS_PIECE), bf16_to_f32_piece, &(struct convert){n, x, y});
}

struct narrow {
    size_t n;
    const float *single;
    uint16_t *half;
};

static RS_AVX2 void f32_to_f16_piece(void *context, size_t piece)
{
    const struct narrow *c = context;
    const size_t end = rs_pieces_min(c->n, (piece + 1) * RS_PIECE);
    size_t i = piece * RS_PIECE;
    for (; i + 8 <= end; i += 8)
        _mm_storeu_si128((__m128i *)(void *)(c->half + i), _mm256_cvtps_ph(v8_load(c->single + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    rs_convert_f32_to_f16_plain(end - i, c->single + i, c->half + i);
}

static RS_AVX2 void f32_to_bf16_piece(void *context, size_t piece)
{
    const struct narrow *c = context;
    const size_t end = rs_pieces_min(c->n, (piece + 1) * RS_PIECE);
    size_t i = piece * RS_PIECE;
    for (; i + 8 <= end; i += 8) {
        const v8 x = v8_load(c->single + i);
        const __m256i u = _mm256_castps_si256(x), up = _mm256_srli_epi32(u, 16);
        const __m256i even = _mm256_add_epi32(_mm256_set1_epi32(0x7fff), _mm256_and_si256(up, _mm256_set1_epi32(1)));
        const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(u, even), 16), quiet = _mm256_or_si256(up, _mm256_set1_epi32(0x40));
        const __m256i y = _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
        _mm_storeu_si128((__m128i *)(void *)(c->half + i), _mm_packus_epi32(_mm256_castsi256_si128(y), _mm256_extracti128_si256(y, 1)));
    }
    rs_convert_f32_to_bf16_plain(end - i, c->single + i, c->half + i);
}

void rs_convert_f32_to_f16_avx2(size_t n, const float *x, uint16_t *y)
{
    rs_threads_for(rs_pieces_count(n, RS_PIECE), f32_to_f16_piece, &(struct narrow){n, x, y});
}

void rs_convert_f32_to_bf16_avx2(size_t n, const float *x, uint16_t *y)
{
    rs_threads_for(rs_pieces_count(n, RS_PIECE), f32_to_bf16_piece, &(struct narrow){n, x, y});
}

#endif
