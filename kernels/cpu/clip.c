// SPDX-License-Identifier: Apache-2.0
// The clip grid: one loop body compiled for three instruction sets, with the order of every operation fixed, so that all give the same bits.
#include "kernels/clip.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"

#define LANES 16
#define LOOK 128 // weights between two looks at what the error has grown to

// |x|^2.4 = u u^(1/5) with u = x^2; u^(-1/5) by a bit-pattern guess and three Newton steps y <- y (1.2 - 0.2 u y^5), each squaring the error.
static inline __attribute__((always_inline)) float power_2_4(float x)
{
    float u = x * x, g = u > 1e-30f ? u : 1e-30f, y;
    int32_t bits;
    memcpy(&bits, &g, 4);
    bits = 0x4c2a8000 - (int32_t)((float)bits * 0.2f);
    memcpy(&y, &bits, 4);
    for (int i = 0; i < 3; i++) {
        float y2 = y * y, t = g * (y2 * y2 * y);
        y = y * (1.2f - 0.2f * t);
    }
    float y2 = y * y;
    return u * (g * (y2 * y2));
}

// Error of one weight in units of s^2.4.
static inline __attribute__((always_inline)) float residual(float w, float s, float lo, float hi)
{
    float t = w / s, c = rintf(t);
    c = c < lo ? lo : c;
    c = c > hi ? hi : c;
    return power_2_4(c - t);
}

static inline __attribute__((always_inline)) double add_up(const float *lane)
{
    double sum = 0;
    for (int l = 0; l < LANES; l++) sum += (double)lane[l];
    return sum;
}

// The error; or, once it is sure not to be below limit, what it has grown to: sums never fall, and their products neither.
static inline __attribute__((always_inline)) double error_body(int bits, size_t n, const float *w, float s, double limit)
{
    const float hi = (float)((1 << (bits - 1)) - 1), lo = -hi - 1;
    const double unit = pow((double)s, 2.4);
    float lane[LANES] = {0};
    size_t j = 0;
    while (j + LANES <= n) {
        const size_t end = n - j < LOOK ? n : j + LOOK;
        for (; j + LANES <= end; j += LANES)
            for (size_t l = 0; l < LANES; l++) lane[l] += residual(w[j + l], s, lo, hi);
        if (add_up(lane) * unit >= limit) return limit;
    }
    for (int l = 0; j < n; j++, l++) lane[l] += residual(w[j], s, lo, hi);
    return add_up(lane) * unit;
}

static double error_reference(int bits, size_t n, const float *w, float s, double limit)
{
    return error_body(bits, n, w, s, limit);
}
__attribute__((target("avx2"))) static double error_avx2(int bits, size_t n, const float *w, float s, double limit)
{
    return error_body(bits, n, w, s, limit);
}
__attribute__((target("avx512f,avx512dq,avx512vl"))) static double error_avx512(int bits, size_t n, const float *w, float s, double limit)
{
    return error_body(bits, n, w, s, limit);
}

static double error_below(const char *table, int bits, size_t n, const float *w, float s, double limit)
{
    bool v3 = __builtin_cpu_supports("avx2"), v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
    if (v4 && (table == NULL || strcmp(table, "avx512") == 0)) return error_avx512(bits, n, w, s, limit);
    if (v3 && (table == NULL || strcmp(table, "avx2") == 0)) return error_avx2(bits, n, w, s, limit);
    return error_reference(bits, n, w, s, limit);
}

double rs_clip_error(const char *table, int bits, size_t n, const float *w, float s)
{
    return error_below(table, bits, n, w, s, INFINITY);
}

void rs_clip_codes(int bits, size_t n, const float *w, float s, int8_t *codes)
{
    const float hi = (float)((1 << (bits - 1)) - 1), lo = -hi - 1;
    for (size_t j = 0; j < n; j++) {
        float c = rintf(w[j] / s);
        c = c < lo ? lo : c;
        codes[j] = (int8_t)(c > hi ? hi : c);
    }
}

// x rounded to the type that the arithmetic is to be in.
static float own(const rs_clip *clip, float x)
{
    const rs_kernels *k = rs_kernels_reference();
    uint16_t half;
    if (clip->own == RS_CLIP_F16) {
        k->f32_to_f16(1, &x, &half);
        k->f16_to_f32(1, &half, &x);
    } else if (clip->own == RS_CLIP_BF16) {
        k->f32_to_bf16(1, &x, &half);
        k->bf16_to_f32(1, &half, &x);
    }
    return x;
}

static void write_codes(const rs_clip *clip, size_t n, const float *w, float s, int8_t *codes)
{
    const float hi = (float)((1 << (clip->bits - 1)) - 1), lo = -hi - 1;
    if (clip->own == RS_CLIP_F32) {
        rs_clip_codes(clip->bits, n, w, s, codes);
        return;
    }
    for (size_t j = 0; j < n; j++) {
        float c = rintf(own(clip, w[j] / s));
        c = c < lo ? lo : c;
        codes[j] = (int8_t)(c > hi ? hi : c);
    }
}

// The i-th candidate; 0 if it cannot be a scale (subnormal or infinite in its type).
static float candidate(const rs_clip *clip, int i, float max)
{
    float p = (float)(1 - i / 100.0), q = (float)((1 << (clip->bits - 1)) - 1) + (clip->half ? 0.5f : 0);
    float s = own(clip, own(clip, p * max) / q);
    if (!clip->scale_f16) return s < FLT_MIN ? 0 : s;
    uint16_t half;
    rs_kernels_reference()->f32_to_f16(1, &s, &half);
    if ((half & 0x7c00) == 0 || (half & 0x7c00) == 0x7c00) return 0;
    rs_kernels_reference()->f16_to_f32(1, &half, &s);
    return s;
}

// The best candidate and its error, 0 where there is none; gains (NULL allowed): those that were better than all before.
static float search(const rs_clip *clip, size_t n, const float *w, double *err, uint32_t *gains)
{
    float max = clip->least, best_s = 0;
    for (size_t j = 0; j < n; j++) max = fabsf(w[j]) > max ? fabsf(w[j]) : max;
    *err = INFINITY;
    if (max == 0 || candidate(clip, clip->steps - 1, max) == 0) return 0;
    for (int i = 0; i < clip->steps; i++) {
        float s = candidate(clip, i, max);
        double e = s > 0 ? error_below(NULL, clip->bits, n, w, s, *err) : INFINITY;
        if (e < *err) {
            *err = e;
            best_s = s;
            if (gains != NULL && i < 32) *gains |= (uint32_t)1 << i;
        }
    }
    return best_s;
}

float rs_clip_span(const rs_clip *clip, size_t n, const float *w, int8_t *codes, double *err)
{
    double reached;
    const float s = search(clip, n, w, &reached, NULL);
    if (err != NULL) *err = s > 0 ? reached : 0;
    if (s > 0) write_codes(clip, n, w, s, codes);
    else memset(codes, 0, n);
    return s > 0 ? s : clip->empty > 0 ? clip->empty : 1;
}

uint32_t rs_clip_gains(const rs_clip *clip, size_t n, const float *w)
{
    uint32_t gains = 0;
    double err;
    return search(clip, n, w, &err, &gains) > 0 ? gains : 1;
}
