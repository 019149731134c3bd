// SPDX-License-Identifier: Apache-2.0
// Scans of values: sums in fixed lanes, so that every instruction set gives the same bits.
#include "kernels/scan.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#define LANES 16

static uint32_t bits_of(float x)
{
    uint32_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}

// With values that are not finite among them.
static rs_scan row_with_bad(size_t n, const float *x)
{
    rs_scan s = {0};
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            s.bad++;
            continue;
        }
        s.max = fabsf(x[i]) > s.max ? fabsf(x[i]) : s.max;
        s.square += (double)x[i] * (double)x[i];
        s.zeros += x[i] == 0;
    }
    return s;
}

static inline __attribute__((always_inline)) rs_scan row_body(size_t n, const float *x)
{
    uint32_t largest[LANES] = {0}, zeros[LANES] = {0};
    double square[LANES] = {0};
    size_t i = 0, counted = 0;
    rs_scan s = {0};
    for (; i + LANES <= n; i += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            uint32_t b;
            memcpy(&b, x + i + l, sizeof b);
            b &= 0x7fffffff;
            largest[l] = b > largest[l] ? b : largest[l];
            zeros[l] += b == 0;
            square[l] += (double)x[i + l] * (double)x[i + l];
        }
        if (++counted == (size_t)1 << 31) { // lanes of zeros hold no more
            for (size_t l = 0; l < LANES; l++) s.zeros += zeros[l], zeros[l] = 0;
            counted = 0;
        }
    }
    uint32_t most = 0;
    for (size_t l = 0; l < LANES; l++) {
        most = largest[l] > most ? largest[l] : most;
        s.zeros += zeros[l];
        s.square += square[l];
    }
    for (; i < n; i++) {
        const uint32_t b = bits_of(x[i]) & 0x7fffffff;
        most = b > most ? b : most;
        s.zeros += b == 0;
        s.square += (double)x[i] * (double)x[i];
    }
    if (most >= 0x7f800000) return row_with_bad(n, x);
    memcpy(&s.max, &most, sizeof most);
    return s;
}

static rs_scan row_reference(size_t n, const float *x)
{
    return row_body(n, x);
}
#if defined(__x86_64__)
__attribute__((target("avx2"))) static rs_scan row_avx2(size_t n, const float *x)
{
    return row_body(n, x);
}
__attribute__((target("avx512f,avx512dq,avx512vl"))) static rs_scan row_avx512(size_t n, const float *x)
{
    return row_body(n, x);
}
#endif

rs_scan rs_scan_row(const char *table, size_t n, const float *x)
{
#if defined(__x86_64__)
    const bool v3 = __builtin_cpu_supports("avx2"), v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (v4 && (table == NULL || strcmp(table, "avx512") == 0)) return row_avx512(n, x);
    if (v3 && (table == NULL || strcmp(table, "avx2") == 0)) return row_avx2(n, x);
#else
    (void)table;
#endif
    return row_reference(n, x);
}

void rs_scan_columns(size_t rows, size_t n, const float *x, size_t ld, float *largest)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < n; j++) {
            float v = fabsf(x[r * ld + j]);
            v = v <= FLT_MAX ? v : 0;
            largest[j] = v > largest[j] ? v : largest[j];
        }
}

void rs_scan_count(size_t n, const float *x, uint64_t *count)
{
    for (size_t i = 0; i < n; i++) count[bits_of(x[i]) >> 16]++;
}

double rs_scan_distance(size_t n, const float *a, const float *b)
{
    double lane[LANES] = {0}, sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++) {
            const double d = (double)a[i + l] - (double)b[i + l];
            lane[l] += d * d;
        }
    for (int l = 0; i < n; i++, l++) lane[l] += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    for (size_t l = 0; l < LANES; l++) sum += lane[l];
    return sum;
}
