// SPDX-License-Identifier: Apache-2.0
// One row times a matrix of 8-bit codes with a scale for each of its rows: an LM head that is packed costs a token half of one in f16.
#include "kernels/cpu/ops.h"
#include "kernels/cpu/pieces.h"
#include "kernels/cpu/vec.h"
#include "kernels/threads.h"

enum { RUN = 1 << 18 }; // codes of a piece

void rs_gemv_int8_plain(size_t n, size_t k, const float *x, const int8_t *w, const float *scale, float *y)
{
    for (size_t o = 0; o < n; o++, w += k) {
        double sum = 0;
        for (size_t j = 0; j < k; j++)
            sum += (double)x[j] * (double)w[j];
        y[o] = (float)(sum * (double)scale[o]);
    }
}

#if defined(__x86_64__)

struct product {
    size_t n, k, outputs;
    const float *x, *scale;
    const int8_t *w;
    float *y;
};

static inline __attribute__((always_inline)) RS_AVX2 v8 v8_codes(const int8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}
static inline __attribute__((always_inline)) RS_AVX512 v16 v16_codes(const int8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

// 4 rows at a time, those behind them asked for: what reads ahead in hardware sees short streams.
#define GEMV(V, WIDTH, TARGET)                                                                                                              \
    static TARGET void V##_piece(void *context, size_t i)                                                                                   \
    {                                                                                                                                       \
        const struct product *p = context;                                                                                                  \
        const size_t k = p->k, whole = k / WIDTH * WIDTH, end = rs_pieces_min(p->n, (i + 1) * p->outputs);                                  \
        const size_t ahead = 4 * k < 8192 ? (8192 / (4 * k + 1) + 1) * 4 * k : 4 * k;                                                       \
        for (size_t o = i * p->outputs; o < end;) {                                                                                         \
            const size_t rows = end - o < 4 ? 1 : 4;                                                                                        \
            const int8_t *w = p->w + o * k;                                                                                                 \
            V s[4];                                                                                                                         \
            s[0] = s[1] = s[2] = s[3] = V##_set(0);                                                                                         \
            if (rows == 4)                                                                                                                  \
                for (size_t j = 0; j < whole; j += WIDTH) {                                                                                 \
                    const V x = V##_load(p->x + j);                                                                                         \
                    __builtin_prefetch(w + ahead + 4 * j, 0, 3);                                                                            \
                    for (size_t r = 0; r < 4; r++)                                                                                          \
                        s[r] = V##_fma(x, V##_codes(w + r * k + j), s[r]);                                                                  \
                }                                                                                                                           \
            else                                                                                                                            \
                for (size_t j = 0; j < whole; j += WIDTH)                                                                                   \
                    s[0] = V##_fma(V##_load(p->x + j), V##_codes(w + j), s[0]);                                                             \
            for (size_t r = 0; r < rows; r++, o++) {                                                                                        \
                float sum = V##_sum_of(s[r]);                                                                                               \
                for (size_t j = whole; j < k; j++)                                                                                          \
                    sum += p->x[j] * (float)w[r * k + j];                                                                                   \
                p->y[o] = sum * p->scale[o];                                                                                                \
            }                                                                                                                               \
        }                                                                                                                                   \
    }
GEMV(v8, 8, RS_AVX2)
GEMV(v16, 16, RS_AVX512)

static void run(void (*piece)(void *context, size_t i), size_t n, size_t k, const float *x, const int8_t *w, const float *scale, float *y)
{
    struct product p = {n, k, (RUN / (k + 1) / 4 + 1) * 4, x, scale, w, y};
    rs_threads_for(rs_pieces_count(n, p.outputs), piece, &p);
}

void rs_gemv_int8_avx2(size_t n, size_t k, const float *x, const int8_t *w, const float *scale, float *y)
{
    run(v8_piece, n, k, x, w, scale, y);
}

void rs_gemv_int8_avx512(size_t n, size_t k, const float *x, const int8_t *w, const float *scale, float *y)
{
    run(v16_piece, n, k, x, w, scale, y);
}

#endif
