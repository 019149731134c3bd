// SPDX-License-Identifier: Apache-2.0
// One row times a matrix of 16-bit floats, converted in registers: what the LM head costs a token is reading it once.
#include "kernels/cpu/ops.h"
#include "kernels/cpu/pieces.h"
#include "kernels/cpu/vec.h"
#include "kernels/threads.h"

enum { RUN = 1 << 18, AHEAD = 8192 }; // numbers of a piece; how far ahead to ask for them, in bytes

void rs_gemv_half_plain(bool bf16, size_t n, size_t k, const float *x, const uint16_t *w, size_t ldw, float *y)
{
    for (size_t o = 0; o < n; o++, w += ldw) {
        double sum = 0;
        for (size_t j = 0; j < k; j++) {
            float v;
            if (bf16)
                rs_convert_bf16_to_f32_plain(1, w + j, &v);
            else
                rs_convert_f16_to_f32_plain(1, w + j, &v);
            sum += (double)x[j] * (double)v;
        }
        y[o] = (float)sum;
    }
}

#if defined(__x86_64__)

struct product {
    bool bf16;
    size_t n, k, ldw, outputs;
    const float *x;
    const uint16_t *w;
    float *y;
};

static inline __attribute__((always_inline)) RS_AVX2 v8 convert(bool bf16, const uint16_t *p)
{
    const __m128i b = _mm_loadu_si128((const __m128i *)(const void *)p);
    return bf16 ? _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(b), 16)) : _mm256_cvtph_ps(b);
}

// Dot products of `rows` rows; the rows behind them are asked for, since what reads ahead in hardware sees short streams.
static inline __attribute__((always_inline)) RS_AVX2 void dots(bool bf16, const size_t rows, size_t k, const float *x, const uint16_t *w, size_t ldw, float *y)
{
    v8 s[4][2];
    for (size_t r = 0; r < rows; r++)
        s[r][0] = s[r][1] = v8_set(0);
    const uint16_t *ahead = w + (AHEAD / 2 / (4 * ldw) + 1) * 4 * ldw;
    size_t j = 0;
    for (; j + 16 <= k; j += 16) {
        const v8 a = v8_load(x + j), b = v8_load(x + j + 8);
        for (size_t i = 0; i < rows / 2; i++)
            __builtin_prefetch(ahead + rows * j + 32 * i, 0, 3);
        for (size_t r = 0; r < rows; r++) {
            s[r][0] = v8_fma(a, convert(bf16, w + r * ldw + j), s[r][0]);
            s[r][1] = v8_fma(b, convert(bf16, w + r * ldw + j + 8), s[r][1]);
        }
    }
    uint16_t rest[16] = {0};
    float last[16] = {0};
    for (size_t i = 0; i < k - j; i++)
        last[i] = x[j + i];
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < k - j; i++)
            rest[i] = w[r * ldw + j + i];
        s[r][0] = v8_fma(v8_load(last), convert(bf16, rest), s[r][0]);
        s[r][1] = v8_fma(v8_load(last + 8), convert(bf16, rest + 8), s[r][1]);
        y[r] = v8_sum_of(v8_add(s[r][0], s[r][1]));
    }
}

static RS_AVX2 void piece(void *context, size_t i)
{
    const struct product *p = context;
    size_t o = i * p->outputs;
    const size_t end = rs_pieces_min(p->n, o + p->outputs);
    for (; o + 4 <= end; o += 4)
        if (p->bf16)
            dots(true, 4, p->k, p->x, p->w + o * p->ldw, p->ldw, p->y + o);
        else
            dots(false, 4, p->k, p->x, p->w + o * p->ldw, p->ldw, p->y + o);
    for (; o < end; o++)
        dots(p->bf16, 1, p->k, p->x, p->w + o * p->ldw, p->ldw, p->y + o);
}

void rs_gemv_half_avx2(bool bf16, size_t n, size_t k, const float *x, const uint16_t *w, size_t ldw, float *y)
{
    struct product p = {bf16, n, k, ldw, k < RUN / 4 ? RUN / 4 / (k + 1) * 4 + 4 : 4, x, w, y};
    rs_threads_for(rs_pieces_count(n, p.outputs), piece, &p);
}

#endif
