// SPDX-License-Identifier: Apache-2.0
// Inner loops of the integer products. A tile is some rows by two vectors of outputs: each step multiplies one quad (4 columns) of all of them, activations broadcast.
//
//   AVX2        vpmaddubsw adds pairs of u8 x s8 products in 16 bits, which `burst` keeps from saturating; vpmaddwd then adds them into int32
//   VNNI        vpdpbusd adds all four products into int32
#include "kernels/cpu/int_ops.h"
#include "kernels/cpu/vec.h"

#if defined(__x86_64__)

#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define VNNI256 __attribute__((target("avxvnni,avx2,fma,f16c")))
#define VNNI512 __attribute__((target("avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")))
#define LOAD(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define STORE(p, x) _mm256_storeu_si256((__m256i *)(void *)(p), x)
#define LOAD512(p) _mm512_loadu_si512((const void *)(p))
#define STORE512(p, x) _mm512_storeu_si512((void *)(p), x)

// One row after the other: left alone, compilers load the activations of all rows first and run out of registers.
#define IN_ORDER(s) __asm__ volatile("" : "+x"((s)[0]), "+x"((s)[1]) : : "memory")

INLINE int quad(const uint8_t *a)
{
    int x;
    memcpy(&x, a, sizeof x);
    return x;
}

// ---- 4-bit codes to bytes: each byte holds two codes, both 8 too high

INLINE RS_AVX2 __m256i low_avx2(__m256i b) { return _mm256_sub_epi8(_mm256_and_si256(b, _mm256_set1_epi8(15)), _mm256_set1_epi8(8)); }
INLINE RS_AVX2 __m256i high_avx2(__m256i b) { return low_avx2(_mm256_srli_epi16(b, 4)); }
INLINE RS_AVX512 __m512i low_avx512(__m512i b) { return _mm512_sub_epi8(_mm512_and_si512(b, _mm512_set1_epi8(15)), _mm512_set1_epi8(8)); }
INLINE RS_AVX512 __m512i high_avx512(__m512i b) { return low_avx512(_mm512_srli_epi16(b, 4)); }

static RS_AVX2 void unpack_avx2(size_t quads, const uint8_t *nibbles, int8_t *panel)
{
    for (size_t q = 0; q < quads; q++, nibbles += 32, panel += 64) {
        const __m256i b = LOAD(nibbles);
        STORE(panel, low_avx2(b));
        STORE(panel + 32, high_avx2(b));
    }
}

static RS_AVX512 void unpack_avx512(size_t quads, const uint8_t *nibbles, int8_t *panel)
{
    for (size_t q = 0; q < quads; q++, nibbles += 64, panel += 128) {
        const __m512i b = LOAD512(nibbles);
        STORE512(panel, low_avx512(b));
        STORE512(panel + 64, high_avx512(b));
    }
}

// ---- AVX2: 16-bit sums of a burst

enum { ROWS_AVX2 = 6, ROWS_AVXVNNI = 6, ROWS_AVX512 = 12 };

// sums += the pairs of 16-bit sums s.
INLINE RS_AVX2 void flush_avx2(int32_t *sums, __m256i s)
{
    STORE(sums, _mm256_add_epi32(LOAD(sums), _mm256_madd_epi16(s, _mm256_set1_epi16(1))));
}

INLINE RS_AVX2 void rows_avx2(const size_t rows, size_t quads, size_t burst, const uint8_t *a, const int8_t *w, int32_t *sums)
{
    while (quads > 0) {
        const size_t n = quads < burst ? quads : burst;
        __m256i s[ROWS_AVX2][2];
        for (size_t r = 0; r < rows; r++)
            s[r][0] = s[r][1] = _mm256_setzero_si256();
        for (size_t q = 0; q < n; q++, a += 4 * rows, w += 64) {
            const __m256i w0 = LOAD(w), w1 = LOAD(w + 32);
            for (size_t r = 0; r < rows; r++) {
                const __m256i x = _mm256_set1_epi32(quad(a + 4 * r));
                s[r][0] = _mm256_add_epi16(s[r][0], _mm256_maddubs_epi16(x, w0));
                s[r][1] = _mm256_add_epi16(s[r][1], _mm256_maddubs_epi16(x, w1));
                IN_ORDER(s[r]);
            }
        }
        for (size_t r = 0; r < rows; r++) {
            flush_avx2(sums + 16 * r, s[r][0]);
            flush_avx2(sums + 16 * r + 8, s[r][1]);
        }
        quads -= n;
    }
}

static RS_AVX2 void tile_avx2(size_t rows, size_t quads, size_t burst, const uint8_t *a, const int8_t *panel, int32_t *sums)
{
    switch (rows) {
    case 1: rows_avx2(1, quads, burst, a, panel, sums); break;
    case 2: rows_avx2(2, quads, burst, a, panel, sums); break;
    case 3: rows_avx2(3, quads, burst, a, panel, sums); break;
    case 4: rows_avx2(4, quads, burst, a, panel, sums); break;
    case 5: rows_avx2(5, quads, burst, a, panel, sums); break;
    case 6: rows_avx2(6, quads, burst, a, panel, sums); break;
    }
}

static RS_AVX2 void one_avx2(size_t quads, size_t burst, const uint8_t *a, const uint8_t *nibbles, int32_t *sums)
{
    while (quads > 0) {
        const size_t n = quads < burst ? quads : burst;
        __m256i s0 = _mm256_setzero_si256(), s1 = s0;
        for (size_t q = 0; q < n; q++, a += 4, nibbles += 32) {
            const __m256i b = LOAD(nibbles), x = _mm256_set1_epi32(quad(a));
            s0 = _mm256_add_epi16(s0, _mm256_maddubs_epi16(x, low_avx2(b)));
            s1 = _mm256_add_epi16(s1, _mm256_maddubs_epi16(x, high_avx2(b)));
        }
        flush_avx2(sums, s0);
        flush_avx2(sums + 8, s1);
        quads -= n;
    }
}

static RS_AVX2 void scale_avx2(const int32_t *sums, int32_t zero, const int32_t *of_codes, const float *scales, float *acc)
{
    for (size_t i = 0; i < 16; i += 8) {
        const __m256i t = _mm256_sub_epi32(LOAD(sums + i), _mm256_mullo_epi32(_mm256_set1_epi32(zero), LOAD(of_codes + i)));
        v8_store(acc + i, v8_add(v8_load(acc + i), v8_mul(_mm256_cvtepi32_ps(t), v8_load(scales + i))));
    }
}

const rs_int_kernels rs_int_avx2 = {.name = "avx2", .instruction = "vpmaddubsw ymm", .lanes = 8, .rows = ROWS_AVX2, .pairs = true, .quantise = rs_int_quantise_avx2,
                                    .unpack = unpack_avx2, .tile = tile_avx2, .one = one_avx2, .scale = scale_avx2};

// ---- VNNI: one body for both widths. V: vector type, BYTES of it, ROWS of a tile

#define VNNI_BODY(NAME, TARGET, V, BYTES, ROWS, LOADV, STOREV, SPREAD, DOT, LOW, HIGH)                                             \
    INLINE TARGET void rows_##NAME(const size_t rows, size_t quads, const uint8_t *a, const int8_t *w, int32_t *sums)              \
    {                                                                                                                              \
        V s[ROWS][2];                                                                                                              \
        for (size_t r = 0; r < rows; r++) {                                                                                        \
            s[r][0] = LOADV(sums + BYTES / 2 * r);                                                                                 \
            s[r][1] = LOADV(sums + BYTES / 2 * r + BYTES / 4);                                                                     \
        }                                                                                                                          \
        for (size_t q = 0; q < quads; q++, a += 4 * rows, w += 2 * BYTES) {                                                        \
            const V w0 = LOADV(w), w1 = LOADV(w + BYTES);                                                                          \
            for (size_t r = 0; r < rows; r++) {                                                                                    \
                const V x = SPREAD(quad(a + 4 * r));                                                                               \
                s[r][0] = DOT(s[r][0], x, w0);                                                                                     \
                s[r][1] = DOT(s[r][1], x, w1);                                                                                     \
                IN_ORDER(s[r]);                                                                                                    \
            }                                                                                                                      \
        }                                                                                                                          \
        for (size_t r = 0; r < rows; r++) {                                                                                        \
            STOREV(sums + BYTES / 2 * r, s[r][0]);                                                                                 \
            STOREV(sums + BYTES / 2 * r + BYTES / 4, s[r][1]);                                                                     \
        }                                                                                                                          \
    }                                                                                                                              \
    /* Two quads at a time, so that four chains of sums hide the latency. */                                                       \
    static TARGET void one_##NAME(size_t quads, size_t burst, const uint8_t *a, const uint8_t *nibbles, int32_t *sums)             \
    {                                                                                                                              \
        (void)burst;                                                                                                               \
        V s0 = LOADV(sums), s1 = LOADV(sums + BYTES / 4), t0 = SPREAD(0), t1 = t0;                                                 \
        size_t q = 0;                                                                                                              \
        for (; q + 2 <= quads; q += 2, a += 8, nibbles += 2 * BYTES) {                                                             \
            const V b = LOADV(nibbles), c = LOADV(nibbles + BYTES), x = SPREAD(quad(a)), y = SPREAD(quad(a + 4));                  \
            s0 = DOT(s0, x, LOW(b));                                                                                               \
            s1 = DOT(s1, x, HIGH(b));                                                                                              \
            t0 = DOT(t0, y, LOW(c));                                                                                               \
            t1 = DOT(t1, y, HIGH(c));                                                                                              \
        }                                                                                                                          \
        if (q < quads) {                                                                                                           \
            const V b = LOADV(nibbles), x = SPREAD(quad(a));                                                                       \
            s0 = DOT(s0, x, LOW(b));                                                                                               \
            s1 = DOT(s1, x, HIGH(b));                                                                                              \
        }                                                                                                                          \
        STOREV(sums, SUM_##NAME(s0, t0));                                                                                          \
        STOREV(sums + BYTES / 4, SUM_##NAME(s1, t1));                                                                              \
    }

#define SUM_avxvnni _mm256_add_epi32
#define SUM_avx512vnni _mm512_add_epi32
VNNI_BODY(avxvnni, VNNI256, __m256i, 32, ROWS_AVXVNNI, LOAD, STORE, _mm256_set1_epi32, _mm256_dpbusd_avx_epi32, low_avx2, high_avx2)
VNNI_BODY(avx512vnni, VNNI512, __m512i, 64, ROWS_AVX512, LOAD512, STORE512, _mm512_set1_epi32, _mm512_dpbusd_epi32, low_avx512, high_avx512)

static VNNI256 void tile_avxvnni(size_t rows, size_t quads, size_t burst, const uint8_t *a, const int8_t *panel, int32_t *sums)
{
    (void)burst;
    switch (rows) {
    case 1: rows_avxvnni(1, quads, a, panel, sums); break;
    case 2: rows_avxvnni(2, quads, a, panel, sums); break;
    case 3: rows_avxvnni(3, quads, a, panel, sums); break;
    case 4: rows_avxvnni(4, quads, a, panel, sums); break;
    case 5: rows_avxvnni(5, quads, a, panel, sums); break;
    case 6: rows_avxvnni(6, quads, a, panel, sums); break;
    }
}

static VNNI512 void tile_avx512vnni(size_t rows, size_t quads, size_t burst, const uint8_t *a, const int8_t *panel, int32_t *sums)
{
    (void)burst;
    switch (rows) {
    case 1: rows_avx512vnni(1, quads, a, panel, sums); break;
    case 2: rows_avx512vnni(2, quads, a, panel, sums); break;
    case 3: rows_avx512vnni(3, quads, a, panel, sums); break;
    case 4: rows_avx512vnni(4, quads, a, panel, sums); break;
    case 5: rows_avx512vnni(5, quads, a, panel, sums); break;
    case 6: rows_avx512vnni(6, quads, a, panel, sums); break;
    case 7: rows_avx512vnni(7, quads, a, panel, sums); break;
    case 8: rows_avx512vnni(8, quads, a, panel, sums); break;
    case 9: rows_avx512vnni(9, quads, a, panel, sums); break;
    case 10: rows_avx512vnni(10, quads, a, panel, sums); break;
    case 11: rows_avx512vnni(11, quads, a, panel, sums); break;
    case 12: rows_avx512vnni(12, quads, a, panel, sums); break;
    }
}

static RS_AVX512 void scale_avx512(const int32_t *sums, int32_t zero, const int32_t *of_codes, const float *scales, float *acc)
{
    for (size_t i = 0; i < 32; i += 16) {
        const __m512i t = _mm512_sub_epi32(LOAD512(sums + i), _mm512_mullo_epi32(_mm512_set1_epi32(zero), LOAD512(of_codes + i)));
        v16_store(acc + i, v16_add(v16_load(acc + i), v16_mul(_mm512_cvtepi32_ps(t), v16_load(scales + i))));
    }
}

const rs_int_kernels rs_int_avxvnni = {.name = "avxvnni", .instruction = "vpdpbusd ymm", .lanes = 8, .rows = ROWS_AVXVNNI, .quantise = rs_int_quantise_avx2,
                                       .unpack = unpack_avx2, .tile = tile_avxvnni, .one = one_avxvnni, .scale = scale_avx2};
const rs_int_kernels rs_int_avx512vnni = {.name = "avx512vnni", .instruction = "vpdpbusd zmm", .lanes = 16, .rows = ROWS_AVX512, .quantise = rs_int_quantise_avx2,
                                          .unpack = unpack_avx512, .tile = tile_avx512vnni, .one = one_avx512vnni, .scale = scale_avx512};

#endif
