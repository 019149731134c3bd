// SPDX-License-Identifier: Apache-2.0
// Losses over the vocabulary and their gradient, in place of the logits: cross-entropy with target tokens, KL divergence from reference logits, or a weighted sum.
#include <math.h>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/vec.h"
#include "kernels/threads.h"

// log sum e^x of one row in fp64.
static double log_total(size_t V, const float *x)
{
    float max = x[0];
    double sum = 0;
    for (size_t i = 1; i < V; i++)
        max = x[i] > max ? x[i] : max;
    for (size_t i = 0; i < V; i++)
        sum += exp((double)x[i] - (double)max);
    return log(sum) + (double)max;
}

void rs_loss_grad_plain(size_t B, size_t V, float *logits, size_t ld, const int32_t *target, const float *ref, size_t ld_ref, double w_ce, double w_kl, double *nll, double *kl)
{
    for (size_t b = 0; b < B; b++) {
        float *x = logits + b * ld;
        const double lse = log_total(V, x), at = (double)x[target[b]];
        nll[b] = lse - at;
        if (ref != NULL) {
            const float *y = ref + b * ld_ref;
            const double lse_ref = log_total(V, y);
            double sum = 0;
            for (size_t i = 0; i < V; i++) {
                const double log_q = (double)x[i] - lse, log_p = (double)y[i] - lse_ref, p = exp(log_p), q = exp(log_q);
                sum += p * (log_p - log_q);
                x[i] = (float)(w_ce * q + w_kl * (q - p));
            }
            kl[b] = sum < 0 ? 0 : sum; // a NaN stays
        } else
            for (size_t i = 0; i < V; i++)
                x[i] = (float)(w_ce * exp((double)x[i] - lse));
        x[target[b]] -= (float)w_ce;
    }
}

#if defined(__x86_64__)

struct loss {
    size_t V, ld, ld_ref;
    float *logits;
    const int32_t *target;
    const float *ref;
    double w_ce, w_kl, *nll, *kl;
};

#define LOSS(T, WIDTH, TARGET)                                                                                     \
    static TARGET double T##_log_total(size_t n, const float *x)                                                   \
    {                                                                                                              \
        T high = T##_set(x[0]);                                                                                    \
        T##_wide sum = T##_wide_zero();                                                                            \
        size_t i = 0;                                                                                              \
        for (; i + WIDTH <= n; i += WIDTH)                                                                         \
            high = T##_max(T##_load(x + i), high);                                                                 \
        float max = T##_max_of(high);                                                                              \
        for (; i < n; i++)                                                                                         \
            max = x[i] > max ? x[i] : max;                                                                         \
        for (i = 0; i + WIDTH <= n; i += WIDTH)                                                                    \
            sum = T##_wide_add(sum, T##_exp(T##_sub(T##_load(x + i), T##_set(max))));                              \
        if (i < n)                                                                                                 \
            sum = T##_wide_add(sum, T##_keep(T##_exp(T##_sub(T##_load_part(x + i, n - i), T##_set(max))), n - i)); \
        return log(T##_wide_sum(sum)) + (double)max;                                                               \
    }                                                                                                              \
    static TARGET void T##_row(void *context, size_t b)                                                            \
    {                                                                                                              \
        const struct loss *l = context;                                                                            \
        float *x = l->logits + b * l->ld;                                                                          \
        const float *y = l->ref == NULL ? NULL : l->ref + b * l->ld_ref;                                           \
        const double lse = T##_log_total(l->V, x), lse_ref = y == NULL ? 0 : T##_log_total(l->V, y);               \
        const T less = T##_set((float)lse), less_ref = T##_set((float)lse_ref), all = T##_set((float)(l->w_ce + l->w_kl)), kl = T##_set((float)l->w_kl); \
        T##_wide sum = T##_wide_zero();                                                                            \
        l->nll[b] = lse - (double)x[l->target[b]];                                                                 \
        for (size_t i = 0; i < l->V; i += WIDTH) {                                                                 \
            const size_t n = l->V - i;                                                                             \
            const bool part = n < WIDTH;                                                                           \
            const T log_q = T##_sub(part ? T##_load_part(x + i, n) : T##_load(x + i), less), q = T##_exp(log_q);   \
            T g = T##_mul(all, q);                                                                                 \
            if (y != NULL) {                                                                                       \
                const T log_p = T##_sub(part ? T##_load_part(y + i, n) : T##_load(y + i), less_ref), p = T##_exp(log_p); \
                const T term = T##_mul(p, T##_sub(log_p, log_q));                                                  \
                g = T##_sub(g, T##_mul(kl, p));                                                                    \
                sum = T##_wide_add(sum, part ? T##_keep(term, n) : term);                                          \
            }                                                                                                      \
            if (part)                                                                                              \
                T##_store_part(x + i, g, n);                                                                       \
            else                                                                                                   \
                T##_store(x + i, g);                                                                               \
        }                                                                                                          \
        if (y != NULL) {                                                                                           \
            const double total = T##_wide_sum(sum);                                                                \
            l->kl[b] = total < 0 ? 0 : total;                                                                      \
        }                                                                                                          \
        x[l->target[b]] -= (float)l->w_ce;                                                                         \
    }
LOSS(v8, 8, RS_AVX2)
LOSS(v16, 16, RS_AVX512)

void rs_loss_grad_avx2(size_t B, size_t V, float *logits, size_t ld, const int32_t *target, const float *ref, size_t ld_ref, double w_ce, double w_kl, double *nll, double *kl)
{
    rs_threads_for(B, v8_row, &(struct loss){V, ld, ld_ref, logits, target, ref, w_ce, ref == NULL ? 0 : w_kl, nll, kl});
}

void rs_loss_grad_avx512(size_t B, size_t V, float *logits, size_t ld, const int32_t *target, const float *ref, size_t ld_ref, double w_ce, double w_kl, double *nll, double *kl)
{
    rs_threads_for(B, v16_row, &(struct loss){V, ld, ld_ref, logits, target, ref, w_ce, ref == NULL ? 0 : w_kl, nll, kl});
}

#endif
