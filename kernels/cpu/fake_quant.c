// SPDX-License-Identifier: Apache-2.0
// Quantisation of rows, to values (fake) or to codes (design of the grids: kernels.h): divide, round half to even, add the zero point, clamp, and back; every path gives the same bits.
#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "kernels/cpu/int_ops.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/pieces.h"
#include "kernels/cpu/vec.h"
#include "kernels/threads.h"

static float clamp(float c, float lo, float hi)
{
    return c < lo ? lo : c > hi ? hi : c;
}

// Smallest and largest of n values and, but for a free range, 0; false if one is NaN or if the range overflows.
static bool range(bool free, size_t n, const float *x, float *lo, float *hi)
{
    bool ordered = true;
    *lo = *hi = free && n > 0 ? x[0] : 0;
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

// Whether the range of the values alone is asked for.
static bool is_free(const rs_quantizer *q)
{
    return !q->sym && q->range == RS_RANGE_FREE;
}

// The grid for values in lo .. hi, which holds 0 unless the range is free. A scale below the normal numbers becomes 1, so that such values are 0.
static struct grid grid(const rs_quantizer *q, float lo, float hi)
{
    const float codes = (float)((1u << q->bits) - 1), half = (float)((1u << (q->bits - 1)) - 1), end = q->range == RS_RANGE_HALF ? codes / 2 : half;
    if (is_free(q)) {
        const struct grid g = {.scale = (q->clip * hi - q->clip * lo) / codes, .zero = rintf(-(q->clip * lo) / ((q->clip * hi - q->clip * lo) / codes)), .first = 0, .last = codes};
        if (g.scale >= FLT_MIN && fabsf(g.zero) <= 0x1p24f)
            return g;
        lo = lo < 0 ? lo : 0;
        hi = hi > 0 ? hi : 0;
    }
    struct grid g = {.scale = q->sym ? q->clip * (-lo > hi ? -lo : hi) / end : (q->clip * hi - q->clip * lo) / codes};
    const bool normal = g.scale >= FLT_MIN;
    if (!normal)
        g.scale = 1;
    g.zero = q->sym || !normal ? 0 : rintf(-(q->clip * lo) / g.scale);
    g.first = q->sym ? -half - 1 : 0;
    g.last = q->sym ? half : codes;
    return g;
}

static float code(float x, struct grid g)
{
    return clamp(rintf(x / g.scale) + g.zero, g.first, g.last);
}

static void quantise(const rs_quantizer *q, size_t n, float *x)
{
    float lo, hi;
    range(is_free(q), n, x, &lo, &hi);
    const struct grid g = grid(q, lo, hi);
    for (size_t i = 0; i < n; i++)
        x[i] = g.scale * (code(x[i], g) - g.zero);
}

size_t rs_fake_quant_plain(const rs_quantizer *q, size_t B, size_t n, float *x, size_t ld)
{
    size_t bad = 0;
    const size_t group = q->group != 0 ? q->group : n;
    if (q->bits >= 16)
        return 0;
    for (size_t b = 0; b < B; b++, x += ld) {
        float lo, hi;
        if (!range(false, n, x, &lo, &hi)) {
            bad++;
            continue;
        }
        for (size_t i = 0; i < n; i += group)
            quantise(q, group, x + i);
    }
    return bad;
}

// A row that cannot be quantised.
static size_t no_codes(size_t n, uint8_t *codes, float *scale, int32_t *zero)
{
    memset(codes, 0, n);
    *scale = 1;
    *zero = 0;
    return 1;
}

size_t rs_int_quantise_plain(const rs_quantizer *q, size_t B, size_t n, const float *x, size_t ldx, uint8_t *codes, size_t ld, float *scale, int32_t *zero)
{
    size_t bad = 0;
    for (size_t b = 0; b < B; b++, x += ldx, codes += ld) {
        float lo, hi;
        if (!range(is_free(q), n, x, &lo, &hi)) {
            bad += no_codes(n, codes, &scale[b], &zero[b]);
            continue;
        }
        const struct grid g = grid(q, lo, hi);
        for (size_t i = 0; i < n; i++)
            codes[i] = (uint8_t)(code(x[i], g) - g.first);
        scale[b] = g.scale;
        zero[b] = (int32_t)(g.zero - g.first);
    }
    return bad;
}

#if defined(__x86_64__)

static RS_AVX2 bool range_avx2(bool free, size_t n, const float *x, float *lo, float *hi)
{
    const v8 start = v8_set(free && n > 0 ? x[0] : 0);
    v8 low = start, high = start, strange = v8_set(0);
    size_t i = 0;
    for (; i < n; i += 8) {
        const v8 v = i + 8 <= n ? v8_load(x + i) : _mm256_blendv_ps(start, v8_load_part(x + i, n - i), _mm256_castsi256_ps(v8_first(n - i)));
        low = v8_min(v, low);
        high = v8_max(v, high);
        strange = _mm256_or_ps(strange, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    }
    *lo = 0 - v8_max_of(v8_sub(v8_set(0), low));
    *hi = v8_max_of(high);
    return _mm256_movemask_ps(strange) == 0 && *hi - *lo <= FLT_MAX;
}

static inline __attribute__((always_inline)) RS_AVX2 v8 code_v8(v8 x, v8 scale, v8 zero, v8 first, v8 last)
{
    return v8_min(last, v8_max(first, v8_add(v8_round(v8_div(x, scale)), zero)));
}

static inline __attribute__((always_inline)) RS_AVX2 v8 quantise_v8(v8 x, v8 scale, v8 zero, v8 first, v8 last)
{
    return v8_mul(scale, v8_sub(code_v8(x, scale, zero, first, last), zero));
}

static RS_AVX2 void quantise_avx2(size_t n, float *x, struct grid g)
{
    const v8 scale = v8_set(g.scale), zero = v8_set(g.zero), first = v8_set(g.first), last = v8_set(g.last);
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        v8_store(x + i, quantise_v8(v8_load(x + i), scale, zero, first, last));
    if (i < n)
        v8_store_part(x + i, quantise_v8(v8_load_part(x + i, n - i), scale, zero, first, last), n - i);
}

struct rows {
    const rs_quantizer *q;
    size_t B, n, ld, rows;
    float *x;
    atomic_size_t bad;
};

static void rows_piece(void *context, size_t piece)
{
    struct rows *r = context;
    const size_t group = r->q->group != 0 ? r->q->group : r->n, end = rs_pieces_min(r->B, (piece + 1) * r->rows);
    const bool free = is_free(r->q);
    for (size_t b = piece * r->rows; b < end; b++) {
        float lo, hi, *x = r->x + b * r->ld;
        if (!range_avx2(free && group == r->n, r->n, x, &lo, &hi)) {
            atomic_fetch_add(&r->bad, 1);
            continue;
        }
        for (size_t i = 0; i < r->n; i += group) {
            if (group != r->n)
                range_avx2(free, group, x + i, &lo, &hi);
            quantise_avx2(group, x + i, grid(r->q, lo, hi));
        }
    }
}

size_t rs_fake_quant_avx2(const rs_quantizer *q, size_t B, size_t n, float *x, size_t ld)
{
    struct rows r = {.q = q, .B = B, .n = n, .ld = ld, .rows = rs_pieces_rows(n), .x = x};
    if (q->bits >= 16)
        return 0;
    rs_threads_for(rs_pieces_count(B, r.rows), rows_piece, &r);
    return atomic_load(&r.bad);
}

static RS_AVX2 void codes_avx2(size_t n, const float *x, struct grid g, uint8_t *codes)
{
    const v8 scale = v8_set(g.scale), zero = v8_set(g.zero), first = v8_set(g.first), last = v8_set(g.last);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256i c = _mm256_cvtps_epi32(v8_sub(code_v8(v8_load(x + i), scale, zero, first, last), first));
        const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(c), _mm256_extracti128_si256(c, 1));
        _mm_storel_epi64((__m128i *)(void *)(codes + i), _mm_packus_epi16(words, words));
    }
    for (; i < n; i++)
        codes[i] = (uint8_t)(code(x[i], g) - g.first);
}

struct coding {
    const rs_quantizer *q;
    size_t B, n, ldx, ld, rows;
    const float *x;
    uint8_t *codes;
    float *scale;
    int32_t *zero;
    atomic_size_t bad;
};

static void coding_piece(void *context, size_t piece)
{
    struct coding *r = context;
    const size_t end = rs_pieces_min(r->B, (piece + 1) * r->rows);
    for (size_t b = piece * r->rows; b < end; b++) {
        const float *x = r->x + b * r->ldx;
        float lo, hi;
        if (!range_avx2(is_free(r->q), r->n, x, &lo, &hi)) {
            atomic_fetch_add(&r->bad, no_codes(r->n, r->codes + b * r->ld, &r->scale[b], &r->zero[b]));
            continue;
        }
        const struct grid g = grid(r->q, lo, hi);
        codes_avx2(r->n, x, g, r->codes + b * r->ld);
        r->scale[b] = g.scale;
        r->zero[b] = (int32_t)(g.zero - g.first);
    }
}

size_t rs_int_quantise_avx2(const rs_quantizer *q, size_t B, size_t n, const float *x, size_t ldx, uint8_t *codes, size_t ld, float *scale, int32_t *zero)
{
    struct coding r = {.q = q, .B = B, .n = n, .ldx = ldx, .ld = ld, .rows = rs_pieces_rows(n), .x = x, .codes = codes, .scale = scale, .zero = zero};
    rs_threads_for(rs_pieces_count(B, r.rows), coding_piece, &r);
    return atomic_load(&r.bad);
}

#endif
