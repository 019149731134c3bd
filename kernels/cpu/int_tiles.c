// SPDX-License-Identifier: Apache-2.0
// Inner loops of the integer products: dot products along the columns, some rows by 4 outputs at a time.
//
//   AVX2        vpmaddubsw adds pairs of u8 x s8 products in 16 bits, which `burst` keeps from saturating; vpmaddwd then adds them into int32
//   VNNI        vpdpbusd adds all four products into int32
#include "kernels/cpu/int_ops.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/vec.h"

#if defined(__x86_64__)

#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define VNNI256 __attribute__((target("avxvnni,avx2,fma,f16c")))
#define VNNI512 __attribute__((target("avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")))
#define LOAD(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define STORE(p, x) _mm256_storeu_si256((__m256i *)(void *)(p), x)
#define LOAD128(p) _mm_loadu_si128((const __m128i *)(const void *)(p))
#define STORE128(p, x) _mm_storeu_si128((__m128i *)(void *)(p), x)
#define LOAD512(p) _mm512_loadu_si512((const void *)(p))

// One output after the other: left alone, compilers form all products first and run out of registers.
#define IN_ORDER(s) __asm__ volatile("" : "+x"(s) : : "memory")

enum { BLOCK = RS_INT_BLOCK };

// ---- codes to bytes

// The low and the high 4-bit codes of bytes, with their sign.
INLINE RS_AVX2 __m256i low(__m256i b)
{
    const __m256i sign = _mm256_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1);
    return _mm256_shuffle_epi8(sign, _mm256_and_si256(b, _mm256_set1_epi8(15)));
}
INLINE RS_AVX2 __m256i high(__m256i b)
{
    return low(_mm256_srli_epi16(b, 4));
}

// 16 codes as words: `at` brings the two bytes that hold a code into its word, `up` shifts its highest bit to the top.
INLINE RS_AVX2 __m256i words(unsigned bits, const uint8_t *codes, __m256i at, __m256i up)
{
    const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(LOAD128(codes)), LOAD128(codes + 2 * bits), 1);
    return _mm256_sra_epi16(_mm256_mullo_epi16(_mm256_shuffle_epi8(both, at), up), _mm_cvtsi32_si128((int)(16 - bits)));
}

// 32 codes; reads 2 bits + 16 bytes.
INLINE RS_AVX2 void bytes32(unsigned bits, const uint8_t *codes, const __m256i at[2], const __m256i up[2], int8_t *out)
{
    STORE(out, _mm256_packs_epi16(words(bits, codes, at[0], up[0]), words(bits, codes, at[1], up[1])));
}

static RS_AVX2 void unpack(unsigned bits, size_t blocks, const uint8_t *codes, int8_t *out)
{
    _Alignas(32) uint8_t at[2][32], last[2 * BLOCK] = {0};
    _Alignas(32) int16_t up[2][16];
    if (bits == 8) {
        memcpy(out, codes, blocks * BLOCK);
        return;
    }
    if (bits == 4) {
        for (size_t i = 0; i < blocks; i++, codes += BLOCK / 2, out += BLOCK) {
            const __m256i b = LOAD(codes);
            STORE(out, low(b));
            STORE(out + 32, high(b));
        }
        return;
    }
    for (unsigned i = 0; i < 32; i++) { // word i % 8 of lane i / 8 % 2: codes 0..7, 8..15 of each 16
        const unsigned bit = (i % 8 + i / 16 * 8) * bits, lane = i / 8 % 2, word = lane * 8 + i % 8;
        at[i / 16][2 * word] = (uint8_t)(bit / 8);
        at[i / 16][2 * word + 1] = (uint8_t)(bit / 8 + 1);
        up[i / 16][word] = (int16_t)(1 << (16 - bits - bit % 8));
    }
    const __m256i a[2] = {LOAD(at[0]), LOAD(at[1])}, u[2] = {LOAD(up[0]), LOAD(up[1])};
    for (size_t i = 0; i < blocks; i++, codes += 8 * bits, out += BLOCK) {
        if (i + 1 == blocks) {
            memcpy(last, codes, 8 * bits);
            codes = last;
        }
        bytes32(bits, codes, a, u, out);
        bytes32(bits, codes + 4 * bits, a, u, out + 32);
    }
}

static RS_AVX2 void split(size_t blocks, const uint8_t *codes, uint8_t *out)
{
    const __m256i bytes = _mm256_set1_epi16(255);
    for (size_t i = 0; i < blocks; i++, codes += BLOCK, out += BLOCK) {
        const __m256i x = LOAD(codes), y = LOAD(codes + 32);
        STORE(out, _mm256_permute4x64_epi64(_mm256_packus_epi16(_mm256_and_si256(x, bytes), _mm256_and_si256(y, bytes)), 0xd8));
        STORE(out + 32, _mm256_permute4x64_epi64(_mm256_packus_epi16(_mm256_srli_epi16(x, 8), _mm256_srli_epi16(y, 8)), 0xd8));
    }
}

// ---- sums

// sums[4] += the sums over the lanes of four vectors.
INLINE RS_AVX2 void collect(__m256i a, __m256i b, __m256i c, __m256i d, int32_t *sums)
{
    const __m256i s = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    STORE128(sums, _mm_add_epi32(LOAD128(sums), _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1))));
}

static RS_AVX2 void scale(size_t m, const int32_t *sums, const int32_t *zero, const int32_t *of_codes, const float *scales, float *acc)
{
    const __m128i of = LOAD128(of_codes);
    const __m128 s = _mm_loadu_ps(scales);
    for (size_t r = 0; r < m; r++, sums += 4, acc += 4)
        _mm_storeu_ps(acc, _mm_add_ps(_mm_loadu_ps(acc), _mm_mul_ps(_mm_cvtepi32_ps(_mm_sub_epi32(LOAD128(sums), _mm_mullo_epi32(_mm_set1_epi32(zero[r]), of))), s)));
}

// ---- AVX2: 16-bit sums of a burst

INLINE RS_AVX2 void collect_pairs(const __m256i s[4], int32_t *sums)
{
    const __m256i one = _mm256_set1_epi16(1);
    collect(_mm256_madd_epi16(s[0], one), _mm256_madd_epi16(s[1], one), _mm256_madd_epi16(s[2], one), _mm256_madd_epi16(s[3], one), sums);
}

INLINE RS_AVX2 __m256i dot_pairs(__m256i sum, __m256i a, __m256i w)
{
    return _mm256_add_epi16(sum, _mm256_maddubs_epi16(a, w));
}

INLINE RS_AVX2 void rows_avx2(const size_t rows, size_t vectors, size_t burst, const uint8_t *a, size_t lda, const int8_t *w, size_t ldw, int32_t *sums)
{
    for (size_t end, v = 0; v < vectors; v = end) {
        end = vectors - v < burst ? vectors : v + burst;
        __m256i s[2][4];
        for (size_t r = 0; r < rows; r++)
            s[r][0] = s[r][1] = s[r][2] = s[r][3] = _mm256_setzero_si256();
        for (size_t j = 32 * v; j < 32 * end; j += 32) {
            __m256i x[2];
            for (size_t r = 0; r < rows; r++)
                x[r] = LOAD(a + r * lda + j);
            for (size_t o = 0; o < 4; o++) {
                const __m256i y = LOAD(w + o * ldw + j);
                for (size_t r = 0; r < rows; r++)
                    s[r][o] = dot_pairs(s[r][o], x[r], y);
                IN_ORDER(s[0][o]);
            }
        }
        for (size_t r = 0; r < rows; r++)
            collect_pairs(s[r], sums + 4 * r);
    }
}

static RS_AVX2 void tile_avx2(size_t rows, size_t blocks, size_t burst, const uint8_t *a, size_t lda, const int8_t *w, size_t ldw, int32_t *sums)
{
    for (; rows >= 2; rows -= 2, a += 2 * lda, sums += 8)
        rows_avx2(2, 2 * blocks, burst, a, lda, w, ldw, sums);
    if (rows == 1)
        rows_avx2(1, 2 * blocks, burst, a, lda, w, ldw, sums);
}

// How far ahead to ask for rows: whole groups of 4 outputs, far enough for the memory.
INLINE size_t ahead_of(size_t ldw)
{
    enum { FAR = 6 << 10 };
    size_t ahead = 4 * ldw;
    while (ahead < FAR)
        ahead += 4 * ldw;
    return ahead;
}

// Asks for `bytes` of the rows that come `ahead` bytes later, in step j: they lie one after the other, but what reads ahead in hardware sees four short streams.
INLINE void ask(const uint8_t *w, size_t ahead, size_t bytes, size_t j)
{
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_prefetch(w + ahead + bytes * j + i, 0, 3);
}

INLINE RS_AVX2 void nibbles_avx2(size_t blocks, size_t burst, const uint8_t *a, const uint8_t *w, size_t ldw, int32_t *sums)
{
    const size_t ahead = ahead_of(ldw);
    for (size_t end, b = 0; b < blocks; b = end) {
        end = blocks - b < burst / 2 ? blocks : b + burst / 2;
        __m256i s[4];
        s[0] = s[1] = s[2] = s[3] = _mm256_setzero_si256();
        for (size_t j = b; j < end; j++) {
            const __m256i x = LOAD(a + BLOCK * j), y = LOAD(a + BLOCK * j + 32);
            ask(w, ahead, 4 * BLOCK / 2, j);
            for (size_t o = 0; o < 4; o++) {
                const __m256i c = LOAD(w + o * ldw + BLOCK / 2 * j);
                s[o] = _mm256_add_epi16(s[o], _mm256_add_epi16(_mm256_maddubs_epi16(x, low(c)), _mm256_maddubs_epi16(y, high(c))));
            }
        }
        collect_pairs(s, sums);
    }
}

static RS_AVX2 void one_avx2(unsigned bits, size_t blocks, size_t burst, const uint8_t *a, const uint8_t *w, size_t ldw, int32_t *sums)
{
    if (bits == 4)
        nibbles_avx2(blocks, burst, a, w, ldw, sums);
    else
        rows_avx2(1, 2 * blocks, burst, a, 0, (const int8_t *)w, ldw, sums);
}

const rs_int_kernels rs_int_avx2 = {.name = "avx2", .instruction = "vpmaddubsw ymm", .pairs = true, .quantise = rs_int_quantise_avx2, .split = split, .unpack = unpack,
                                    .tile = tile_avx2, .one = one_avx2, .halves = rs_convert_f16_to_f32_avx2, .scale = scale};

// ---- VNNI: one body for both widths. V: vector type of BYTES, ROWS of a tile, DOT and DOT256: sums of four products in V and in 256 bits, COLLECT: four V into sums[4]

#define VNNI_BODY(NAME, TARGET, V, BYTES, ROWS, LOADV, ZERO, DOT, DOT256, COLLECT)                                                                                              \
    INLINE TARGET void rows_##NAME(const size_t rows, size_t columns, const uint8_t *a, size_t lda, const int8_t *w, size_t ldw, int32_t *sums)                                 \
    {                                                                                                                                                                           \
        V s[ROWS][4];                                                                                                                                                           \
        for (size_t r = 0; r < rows; r++)                                                                                                                                       \
            s[r][0] = s[r][1] = s[r][2] = s[r][3] = ZERO();                                                                                                                     \
        for (size_t j = 0; j < columns; j += BYTES) {                                                                                                                           \
            V x[ROWS];                                                                                                                                                          \
            for (size_t r = 0; r < rows; r++)                                                                                                                                   \
                x[r] = LOADV(a + r * lda + j);                                                                                                                                  \
            for (size_t o = 0; o < 4; o++) {                                                                                                                                    \
                const V y = LOADV(w + o * ldw + j);                                                                                                                             \
                for (size_t r = 0; r < rows; r++)                                                                                                                               \
                    s[r][o] = DOT(s[r][o], x[r], y);                                                                                                                            \
            }                                                                                                                                                                   \
        }                                                                                                                                                                       \
        for (size_t r = 0; r < rows; r++)                                                                                                                                       \
            COLLECT(s[r][0], s[r][1], s[r][2], s[r][3], sums + 4 * r);                                                                                                          \
    }                                                                                                                                                                           \
    /* Two sums for each output, so that eight chains hide the latency. */                                                                                                      \
    static TARGET void one_##NAME(unsigned bits, size_t blocks, size_t burst, const uint8_t *a, const uint8_t *w, size_t ldw, int32_t *sums)                                    \
    {                                                                                                                                                                           \
        (void)burst;                                                                                                                                                            \
        const size_t ahead = ahead_of(ldw);                                                                                                                                     \
        __m256i s[4], t[4];                                                                                                                                                     \
        for (size_t o = 0; o < 4; o++)                                                                                                                                          \
            s[o] = t[o] = _mm256_setzero_si256();                                                                                                                               \
        for (size_t j = 0; j < blocks; j++) {                                                                                                                                   \
            const __m256i x = LOAD(a + BLOCK * j), y = LOAD(a + BLOCK * j + 32);                                                                                                \
            ask(w, ahead, BLOCK / 2 * bits, j);                                                                                                                                 \
            for (size_t o = 0; o < 4; o++) {                                                                                                                                    \
                const uint8_t *at = w + o * ldw + BLOCK / 8 * bits * j;                                                                                                         \
                const __m256i c = LOAD(at);                                                                                                                                     \
                s[o] = DOT256(s[o], x, bits == 4 ? low(c) : c);                                                                                                                 \
                t[o] = DOT256(t[o], y, bits == 4 ? high(c) : LOAD(at + 32));                                                                                                    \
            }                                                                                                                                                                   \
        }                                                                                                                                                                       \
        collect(_mm256_add_epi32(s[0], t[0]), _mm256_add_epi32(s[1], t[1]), _mm256_add_epi32(s[2], t[2]), _mm256_add_epi32(s[3], t[3]), sums);                                  \
    }

INLINE VNNI512 __m256i halves(__m512i a)
{
    return _mm256_add_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
}
INLINE VNNI512 void collect_512(__m512i a, __m512i b, __m512i c, __m512i d, int32_t *sums)
{
    collect(halves(a), halves(b), halves(c), halves(d), sums);
}

VNNI_BODY(avxvnni, VNNI256, __m256i, 32, 3, LOAD, _mm256_setzero_si256, _mm256_dpbusd_avx_epi32, _mm256_dpbusd_avx_epi32, collect)
VNNI_BODY(avx512vnni, VNNI512, __m512i, 64, 4, LOAD512, _mm512_setzero_si512, _mm512_dpbusd_epi32, _mm256_dpbusd_epi32, collect_512)

static VNNI256 void tile_avxvnni(size_t rows, size_t blocks, size_t burst, const uint8_t *a, size_t lda, const int8_t *w, size_t ldw, int32_t *sums)
{
    (void)burst;
    for (; rows >= 3; rows -= 3, a += 3 * lda, sums += 12)
        rows_avxvnni(3, BLOCK * blocks, a, lda, w, ldw, sums);
    for (; rows > 0; rows--, a += lda, sums += 4)
        rows_avxvnni(1, BLOCK * blocks, a, lda, w, ldw, sums);
}

static VNNI512 void tile_avx512vnni(size_t rows, size_t blocks, size_t burst, const uint8_t *a, size_t lda, const int8_t *w, size_t ldw, int32_t *sums)
{
    (void)burst;
    for (; rows >= 4; rows -= 4, a += 4 * lda, sums += 16)
        rows_avx512vnni(4, BLOCK * blocks, a, lda, w, ldw, sums);
    for (; rows > 0; rows--, a += lda, sums += 4)
        rows_avx512vnni(1, BLOCK * blocks, a, lda, w, ldw, sums);
}

const rs_int_kernels rs_int_avxvnni = {.name = "avxvnni", .instruction = "vpdpbusd ymm", .quantise = rs_int_quantise_avx2, .split = split, .unpack = unpack, .tile = tile_avxvnni,
                                       .one = one_avxvnni, .halves = rs_convert_f16_to_f32_avx2, .scale = scale};
const rs_int_kernels rs_int_avx512vnni = {.name = "avx512vnni", .instruction = "vpdpbusd zmm", .quantise = rs_int_quantise_avx2, .split = split, .unpack = unpack,
                                          .tile = tile_avx512vnni, .one = one_avx512vnni, .halves = rs_convert_f16_to_f32_avx2, .scale = scale};

#endif
