// SPDX-License-Identifier: Apache-2.0
// One token's queries against packed keys and values. With value = scale (code - zero), q k = scale (q codes - zero sum q): codes become floats in registers, and scale and zero point are applied
// once a token. Codes of 4 bits come as even columns, then odd ones, of each group of four vectors: queries are brought into that order before, sums out of it after.
#include "kernels/cpu/kv_layout.h"
#include "kernels/cpu/pieces.h"
#include "kernels/cpu/vec.h"

#if defined(__x86_64__)

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { ROWS = 4, HEAD = 512 }; // queries at a time; the largest head

// x [h] in the order of the codes, or back.
static void arrange(unsigned bits, size_t group, size_t h, const float *x, float *out)
{
    for (size_t j = 0; j < h; j++)
        out[bits == 4 ? j / group * group + j % 2 * (group / 2) + j % group / 2 : j] = x[j];
}
static void restore(unsigned bits, size_t group, size_t h, const float *x, float *out)
{
    for (size_t j = 0; j < h; j++)
        out[j] += x[bits == 4 ? j / group * group + j % 2 * (group / 2) + j % group / 2 : j];
}

INLINE RS_AVX2 v8 v8_of_bytes(__m128i b)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(b));
}
INLINE RS_AVX2 __m128i v8_bytes(const uint8_t *p)
{
    return _mm_loadl_epi64((const __m128i *)(const void *)p);
}
INLINE RS_AVX512 v16 v16_of_bytes(__m128i b)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(b));
}
INLINE RS_AVX512 __m128i v16_bytes(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

// V: vectors of WIDTH floats; VALUES: rows whose sums of values fit into the registers.
#define FEW(V, WIDTH, TARGET, VALUES)                                                                                                                                  \
    /* A group of 4 WIDTH codes as floats. */                                                                                                                          \
    INLINE TARGET void V##_codes(unsigned bits, const uint8_t *p, V c[4])                                                                                              \
    {                                                                                                                                                                  \
        const __m128i low = _mm_set1_epi8(15);                                                                                                                         \
        if (bits == 8) {                                                                                                                                               \
            for (size_t i = 0; i < 4; i++)                                                                                                                             \
                c[i] = V##_of_bytes(V##_bytes(p + i * WIDTH));                                                                                                         \
            return;                                                                                                                                                    \
        }                                                                                                                                                              \
        for (size_t i = 0; i < 2; i++) {                                                                                                                               \
            const __m128i b = V##_bytes(p + i * WIDTH);                                                                                                                \
            c[i] = V##_of_bytes(_mm_and_si128(b, low));                                                                                                                \
            c[2 + i] = V##_of_bytes(_mm_and_si128(_mm_srli_epi16(b, 4), low));                                                                                         \
        }                                                                                                                                                              \
    }                                                                                                                                                                  \
    INLINE TARGET void V##_scores_of(unsigned bits, const rs_kv_cache *c, size_t row, size_t count, const size_t rows, const float q[ROWS][HEAD], const float *sum,    \
                                     float *y, size_t ldy)                                                                                                             \
    {                                                                                                                                                                  \
        const uint8_t *codes = c->memory + row * rs_kv_row_bytes(c);                                                                                                   \
        const float *scale = rs_kv_scales(c) + row;                                                                                                                    \
        const int32_t *zero = rs_kv_zeros(c) + row;                                                                                                                    \
        for (size_t t = 0; t < count; t++) {                                                                                                                           \
            V s[ROWS];                                                                                                                                                 \
            for (size_t r = 0; r < rows; r++)                                                                                                                          \
                s[r] = V##_set(0);                                                                                                                                     \
            for (size_t j = 0; j < c->h; j += 4 * WIDTH, codes += bits * WIDTH / 2) {                                                                                  \
                V k[4];                                                                                                                                                \
                V##_codes(bits, codes, k);                                                                                                                             \
                for (size_t r = 0; r < rows; r++)                                                                                                                      \
                    for (size_t i = 0; i < 4; i++)                                                                                                                     \
                        s[r] = V##_fma(k[i], V##_load(q[r] + j + i * WIDTH), s[r]);                                                                                    \
            }                                                                                                                                                          \
            for (size_t r = 0; r < rows; r++)                                                                                                                          \
                y[r * ldy + t] = scale[t] * (V##_sum_of(s[r]) - (float)zero[t] * sum[r]);                                                                              \
        }                                                                                                                                                              \
    }                                                                                                                                                                  \
    static TARGET void V##_scores(const rs_kv_cache *c, size_t head, size_t first, size_t count, size_t rows, const float *q, float *y, size_t ldy)                    \
    {                                                                                                                                                                  \
        const size_t row = rs_kv_row_of(c, false, head, first);                                                                                                        \
        float arranged[ROWS][HEAD], sum[ROWS];                                                                                                                         \
        for (size_t m; rows > 0; rows -= m, q += m * c->h, y += m * ldy) {                                                                                             \
            m = rs_pieces_min(rows, ROWS);                                                                                                                             \
            for (size_t r = 0; r < m; r++) {                                                                                                                           \
                double of_q = 0;                                                                                                                                       \
                for (size_t j = 0; j < c->h; j++)                                                                                                                      \
                    of_q += (double)q[r * c->h + j];                                                                                                                   \
                sum[r] = (float)of_q;                                                                                                                                  \
                arrange(c->q.bits, 4 * WIDTH, c->h, q + r * c->h, arranged[r]);                                                                                        \
            }                                                                                                                                                          \
            BY_ROWS(V##_scores_of, c, row, count, arranged, sum, y, ldy)                                                                                               \
        }                                                                                                                                                              \
    }                                                                                                                                                                  \
    INLINE TARGET void V##_values_of(unsigned bits, const rs_kv_cache *c, size_t row, size_t count, const size_t rows, const float *x, size_t ldx, float sums[ROWS][HEAD]) \
    {                                                                                                                                                                  \
        const size_t bytes = rs_kv_row_bytes(c);                                                                                                                       \
        const float *scale = rs_kv_scales(c) + row;                                                                                                                    \
        const int32_t *zero = rs_kv_zeros(c) + row;                                                                                                                    \
        for (size_t j = 0; j < c->h; j += 4 * WIDTH) {                                                                                                                 \
            const uint8_t *codes = c->memory + row * bytes + j * bits / 8;                                                                                             \
            V s[VALUES][4];                                                                                                                                            \
            float less[VALUES] = {0};                                                                                                                                  \
            for (size_t r = 0; r < rows; r++)                                                                                                                          \
                s[r][0] = s[r][1] = s[r][2] = s[r][3] = V##_set(0);                                                                                                    \
            for (size_t t = 0; t < count; t++, codes += bytes) {                                                                                                       \
                V v[4];                                                                                                                                                \
                V##_codes(bits, codes, v);                                                                                                                             \
                for (size_t r = 0; r < rows; r++) {                                                                                                                    \
                    const float weight = x[r * ldx + t] * scale[t];                                                                                                    \
                    less[r] += weight * (float)zero[t];                                                                                                                \
                    for (size_t i = 0; i < 4; i++)                                                                                                                     \
                        s[r][i] = V##_fma(V##_set(weight), v[i], s[r][i]);                                                                                             \
                }                                                                                                                                                      \
            }                                                                                                                                                          \
            for (size_t r = 0; r < rows; r++)                                                                                                                          \
                for (size_t i = 0; i < 4; i++)                                                                                                                         \
                    V##_store(sums[r] + j + i * WIDTH, V##_sub(s[r][i], V##_set(less[r])));                                                                            \
        }                                                                                                                                                              \
    }                                                                                                                                                                  \
    static TARGET void V##_values(const rs_kv_cache *c, size_t head, size_t first, size_t count, size_t rows, const float *x, size_t ldx, float *y)                    \
    {                                                                                                                                                                  \
        const size_t row = rs_kv_row_of(c, true, head, first);                                                                                                         \
        float sums[ROWS][HEAD];                                                                                                                                        \
        for (size_t m; rows > 0; rows -= m, x += m * ldx, y += m * c->h) {                                                                                             \
            m = rs_pieces_min(rows, VALUES);                                                                                                                           \
            BY_ROWS(V##_values_of, c, row, count, x, ldx, sums)                                                                                                        \
            for (size_t r = 0; r < m; r++)                                                                                                                             \
                restore(c->q.bits, 4 * WIDTH, c->h, sums[r], y + r * c->h);                                                                                            \
        }                                                                                                                                                              \
    }                                                                                                                                                                  \
    static bool V##_fit(const rs_kv_cache *c)                                                                                                                          \
    {                                                                                                                                                                  \
        return (c->q.bits == 4 || c->q.bits == 8) && rs_kv_groups(c) == 1 && c->h % (4 * WIDTH) == 0 && c->h <= HEAD;                                                  \
    }

// f of m rows, a body for each number of them and of bits.
#define BY_ROWS(f, c, row, count, ...)                                                                                                                                 \
    switch (m * 16 + c->q.bits) {                                                                                                                                      \
    case 16 + 4: f(4, c, row, count, 1, __VA_ARGS__); break;                                                                                                           \
    case 16 + 8: f(8, c, row, count, 1, __VA_ARGS__); break;                                                                                                           \
    case 32 + 4: f(4, c, row, count, 2, __VA_ARGS__); break;                                                                                                           \
    case 32 + 8: f(8, c, row, count, 2, __VA_ARGS__); break;                                                                                                           \
    case 48 + 4: f(4, c, row, count, 3, __VA_ARGS__); break;                                                                                                           \
    case 48 + 8: f(8, c, row, count, 3, __VA_ARGS__); break;                                                                                                           \
    case 64 + 4: f(4, c, row, count, 4, __VA_ARGS__); break;                                                                                                           \
    case 64 + 8: f(8, c, row, count, 4, __VA_ARGS__); break;                                                                                                           \
    }

FEW(v8, 8, RS_AVX2, 4)
FEW(v16, 16, RS_AVX512, 4)

const rs_kv_few rs_kv_few_avx2 = {.fit = v8_fit, .scores = v8_scores, .values = v8_values};
const rs_kv_few rs_kv_few_avx512 = {.fit = v16_fit, .scores = v16_scores, .values = v16_values};

#endif
