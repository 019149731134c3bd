// SPDX-License-Identifier: Apache-2.0
// Negative log-likelihood of target tokens and the likeliest token of each row.
#include <math.h>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/pieces.h"
#include "kernels/cpu/vec.h"
#include "kernels/threads.h"

void rs_cross_entropy_plain(size_t B, size_t V, const float *logits, size_t ld, const int32_t *target, double *nll, int32_t *top)
{
    for (size_t b = 0; b < B; b++, logits += ld) {
        size_t best = 0;
        double sum = 0;
        for (size_t i = 1; i < V; i++)
            if (logits[i] > logits[best])
                best = i;
        for (size_t i = 0; i < V; i++)
            sum += exp((double)logits[i] - (double)logits[best]);
        nll[b] = log(sum) + (double)logits[best] - (double)logits[target[b]];
        if (top != NULL)
            top[b] = (int32_t)best;
    }
}

#if defined(__x86_64__)

struct entropy {
    size_t V, ld;
    const float *logits;
    const int32_t *target;
    double *nll;
    int32_t *top;
};

// e^(x - max) in f32, summed in fp64.
#define ENTROPY(T, WIDTH, TARGET)                                                                     \
    static TARGET float T##_largest(size_t n, const float *x)                                         \
    {                                                                                                 \
        T a = T##_set(x[0]), b = a;                                                                   \
        size_t i = 0;                                                                                 \
        for (; i + 2 * WIDTH <= n; i += 2 * WIDTH) {                                                  \
            a = T##_max(T##_load(x + i), a);                                                          \
            b = T##_max(T##_load(x + i + WIDTH), b);                                                  \
        }                                                                                             \
        float max = T##_max_of(T##_max(a, b));                                                        \
        for (; i < n; i++)                                                                            \
            max = x[i] > max ? x[i] : max;                                                            \
        return max;                                                                                   \
    }                                                                                                 \
    static TARGET double T##_total(size_t n, const float *x, float max)                               \
    {                                                                                                 \
        T##_wide sum = T##_wide_zero();                                                               \
        size_t i = 0;                                                                                 \
        for (; i + WIDTH <= n; i += WIDTH)                                                            \
            sum = T##_wide_add(sum, T##_exp(T##_sub(T##_load(x + i), T##_set(max))));                 \
        if (i < n)                                                                                    \
            sum = T##_wide_add(sum, T##_keep(T##_exp(T##_sub(T##_load_part(x + i, n - i), T##_set(max))), n - i)); \
        return T##_wide_sum(sum);                                                                     \
    }                                                                                                 \
    static void T##_row(void *context, size_t b)                                                      \
    {                                                                                                 \
        const struct entropy *e = context;                                                            \
        const float *x = e->logits + b * e->ld, max = T##_largest(e->V, x);                           \
        row(e, b, max, T##_total(e->V, x, max));                                                      \
    }

static void row(const struct entropy *e, size_t b, float max, double total)
{
    const float *x = e->logits + b * e->ld;
    e->nll[b] = log(total) + (double)max - (double)x[e->target[b]];
    if (e->top == NULL)
        return;
    size_t i = 0;
    while (i < e->V && x[i] != max)
        i++;
    e->top[b] = (int32_t)(i < e->V ? i : 0);
}

ENTROPY(v8, 8, RS_AVX2)
ENTROPY(v16, 16, RS_AVX512)

void rs_cross_entropy_avx2(size_t B, size_t V, const float *logits, size_t ld, const int32_t *target, double *nll, int32_t *top)
{
    rs_threads_for(B, v8_row, &(struct entropy){V, ld, logits, target, nll, top});
}

void rs_cross_entropy_avx512(size_t B, size_t V, const float *logits, size_t ld, const int32_t *target, double *nll, int32_t *top)
{
    rs_threads_for(B, v16_row, &(struct entropy){V, ld, logits, target, nll, top});
}

#endif
