// SPDX-License-Identifier: Apache-2.0
// Vectors of f32 under one set of names for two instruction sets: v8 (AVX2, FMA, F16C) and v16 (AVX-512 F, BW, DQ, VL), so that one body serves both.
#ifndef RS_KERNELS_CPU_VEC_H
#define RS_KERNELS_CPU_VEC_H

#if defined(__x86_64__)

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define RS_AVX2 __attribute__((target("avx2,fma,f16c")))
#define RS_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")))
#define V8 static inline __attribute__((always_inline, unused, target("avx2,fma,f16c")))
#define V16 static inline __attribute__((always_inline, unused, target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")))

typedef __m256 v8;
typedef __m512 v16;

// ---- loads and stores; the _part forms touch the first n lanes only (n < width; other lanes read as 0)
V8 v8 v8_set(float x) { return _mm256_set1_ps(x); }
V16 v16 v16_set(float x) { return _mm512_set1_ps(x); }
V8 v8 v8_load(const float *p) { return _mm256_loadu_ps(p); }
V16 v16 v16_load(const float *p) { return _mm512_loadu_ps(p); }
V8 void v8_store(float *p, v8 x) { _mm256_storeu_ps(p, x); }
V16 void v16_store(float *p, v16 x) { _mm512_storeu_ps(p, x); }
V8 __m256i v8_first(size_t n) { return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)); }
V16 __mmask16 v16_first(size_t n) { return (__mmask16)((1u << n) - 1); }
V8 v8 v8_load_part(const float *p, size_t n) { return _mm256_maskload_ps(p, v8_first(n)); }
V16 v16 v16_load_part(const float *p, size_t n) { return _mm512_maskz_loadu_ps(v16_first(n), p); }
V8 void v8_store_part(float *p, v8 x, size_t n) { _mm256_maskstore_ps(p, v8_first(n), x); }
V16 void v16_store_part(float *p, v16 x, size_t n) { _mm512_mask_storeu_ps(p, v16_first(n), x); }
// The first n lanes of x, 0 in the others.
V8 v8 v8_keep(v8 x, size_t n) { return _mm256_and_ps(x, _mm256_castsi256_ps(v8_first(n))); }
V16 v16 v16_keep(v16 x, size_t n) { return _mm512_maskz_mov_ps(v16_first(n), x); }

// ---- arithmetic; fma: a b + c; max: the second where one is a NaN
V8 v8 v8_add(v8 a, v8 b) { return _mm256_add_ps(a, b); }
V16 v16 v16_add(v16 a, v16 b) { return _mm512_add_ps(a, b); }
V8 v8 v8_sub(v8 a, v8 b) { return _mm256_sub_ps(a, b); }
V16 v16 v16_sub(v16 a, v16 b) { return _mm512_sub_ps(a, b); }
V8 v8 v8_mul(v8 a, v8 b) { return _mm256_mul_ps(a, b); }
V16 v16 v16_mul(v16 a, v16 b) { return _mm512_mul_ps(a, b); }
V8 v8 v8_div(v8 a, v8 b) { return _mm256_div_ps(a, b); }
V16 v16 v16_div(v16 a, v16 b) { return _mm512_div_ps(a, b); }
V8 v8 v8_fma(v8 a, v8 b, v8 c) { return _mm256_fmadd_ps(a, b, c); }
V16 v16 v16_fma(v16 a, v16 b, v16 c) { return _mm512_fmadd_ps(a, b, c); }
V8 v8 v8_max(v8 a, v8 b) { return _mm256_max_ps(a, b); }
V16 v16 v16_max(v16 a, v16 b) { return _mm512_max_ps(a, b); }
V8 v8 v8_min(v8 a, v8 b) { return _mm256_min_ps(a, b); }
V16 v16 v16_min(v16 a, v16 b) { return _mm512_min_ps(a, b); }
V8 v8 v8_round(v8 a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
V16 v16 v16_round(v16 a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

// ---- over the lanes of one vector
V8 float v8_max_of(v8 a)
{
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}
V16 float v16_max_of(v16 a) { return v8_max_of(_mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1))); }
V8 float v8_sum_of(v8 a)
{
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}
V16 float v16_sum_of(v16 a) { return v8_sum_of(_mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1))); }

// ---- sums in fp64 of f32 vectors
typedef __m256d v8_wide;
typedef __m512d v16_wide;
V8 v8_wide v8_wide_zero(void) { return _mm256_setzero_pd(); }
V16 v16_wide v16_wide_zero(void) { return _mm512_setzero_pd(); }
V8 v8_wide v8_wide_add(v8_wide s, v8 a) { return _mm256_add_pd(s, _mm256_add_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(a)), _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1)))); }
V16 v16_wide v16_wide_add(v16_wide s, v16 a) { return _mm512_add_pd(s, _mm512_add_pd(_mm512_cvtps_pd(_mm512_castps512_ps256(a)), _mm512_cvtps_pd(_mm512_extractf32x8_ps(a, 1)))); }
V8 double v8_wide_sum(v8_wide s)
{
    const __m128d x = _mm_add_pd(_mm256_castpd256_pd128(s), _mm256_extractf128_pd(s, 1));
    return _mm_cvtsd_f64(_mm_add_sd(x, _mm_unpackhi_pd(x, x)));
}
V16 double v16_wide_sum(v16_wide s) { return v8_wide_sum(_mm256_add_pd(_mm512_castpd512_pd256(s), _mm512_extractf64x4_pd(s, 1))); }

// ---- Walsh-Hadamard steps within one vector: pairs at distance 1, 2, 4 (v16: and 8). x with signs plus its mirror is (a + b, a - b).
V8 v8 v8_walsh(v8 x)
{
    x = _mm256_fmadd_ps(x, _mm256_setr_ps(1, -1, 1, -1, 1, -1, 1, -1), _mm256_permute_ps(x, 0xb1));
    x = _mm256_fmadd_ps(x, _mm256_setr_ps(1, 1, -1, -1, 1, 1, -1, -1), _mm256_permute_ps(x, 0x4e));
    return _mm256_fmadd_ps(x, _mm256_setr_ps(1, 1, 1, 1, -1, -1, -1, -1), _mm256_permute2f128_ps(x, x, 1));
}
V16 v16 v16_walsh(v16 x)
{
    x = _mm512_fmadd_ps(x, _mm512_setr_ps(1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1), _mm512_permute_ps(x, 0xb1));
    x = _mm512_fmadd_ps(x, _mm512_setr_ps(1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1), _mm512_permute_ps(x, 0x4e));
    x = _mm512_fmadd_ps(x, _mm512_setr_ps(1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1), _mm512_shuffle_f32x4(x, x, 0xb1));
    return _mm512_fmadd_ps(x, _mm512_setr_ps(1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1), _mm512_shuffle_f32x4(x, x, 0x4e));
}

// ---- e^x, error below 2 ulp; NaN stays NaN. x = n ln 2 + r with |r| <= ln 2 / 2; e^r = 1 + r + r^2 P(r), P fitted to least relative error (4e-9).
#define RS_EXP_FIT(V, x, n, e)                                                          \
    V n = V##_round(V##_mul(x, V##_set(0x1.715476p+0f)));                               \
    V r = V##_fma(n, V##_set(-0x1.62e4p-1f), x);                                        \
    r = V##_fma(n, V##_set(-0x1.7f7d1cp-20f), r);                                       \
    V e = V##_fma(V##_set(0x1.6a23d0p-10f), r, V##_set(0x1.123a20p-7f));                \
    e = V##_fma(e, r, V##_set(0x1.5558f2p-5f));                                         \
    e = V##_fma(e, r, V##_set(0x1.555492p-3f));                                         \
    e = V##_fma(e, r, V##_set(0x1.fffffcp-2f));                                         \
    e = V##_add(V##_fma(V##_mul(r, r), e, r), V##_set(1))
V8 v8 v8_exp(v8 x)
{
    x = v8_min(v8_set(89), v8_max(v8_set(-104), x));
    RS_EXP_FIT(v8, x, n, e);
    // 2^n in two factors, since n reaches -150 and 128
    const __m256i i = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(i, 1), bias = _mm256_set1_epi32(127);
    const v8 first = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    const v8 second = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(i, half), bias), 23));
    return v8_mul(v8_mul(e, first), second);
}
V16 v16 v16_exp(v16 x)
{
    x = v16_min(v16_set(89), v16_max(v16_set(-104), x));
    RS_EXP_FIT(v16, x, n, e);
    return _mm512_scalef_ps(e, n);
}

#endif
#endif
