// SPDX-License-Identifier: Apache-2.0
// RMSNorm: the sum of squares and the root in fp64, one factor per row rounded to f32, then x * factor * gamma in f32.
#include <math.h>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/pieces.h"
#include "kernels/cpu/vec.h"
#include "kernels/threads.h"

void rs_rmsnorm_plain(size_t B, size_t d, const float *x, const float *gamma, float eps, float *y)
{
    for (size_t b = 0; b < B; b++, x += d, y += d) {
        double sum = 0;
        for (size_t i = 0; i < d; i++)
            sum += (double)x[i] * (double)x[i];
        const float factor = (float)(1 / sqrt(sum / (double)d + (double)eps));
        for (size_t i = 0; i < d; i++)
            y[i] = gamma != NULL ? x[i] * factor * gamma[i] : x[i] * factor;
    }
}

#if defined(__x86_64__)

struct norm {
    size_t B, d, rows;
    const float *x, *gamma;
    float eps, *y;
};

static RS_AVX2 double squares(size_t d, const float *x)
{
    v8_wide a = v8_wide_zero(), b = a;
    size_t i = 0;
    for (; i + 8 <= d; i += 8) {
        const __m256d lo = _mm256_cvtps_pd(_mm_loadu_ps(x + i)), hi = _mm256_cvtps_pd(_mm_loadu_ps(x + i + 4));
        a = _mm256_fmadd_pd(lo, lo, a);
        b = _mm256_fmadd_pd(hi, hi, b);
    }
    double sum = v8_wide_sum(_mm256_add_pd(a, b));
    for (; i < d; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

static RS_AVX2 void norm_piece(void *context, size_t piece)
{
    const struct norm *n = context;
    const size_t d = n->d, end = rs_pieces_min(n->B, (piece + 1) * n->rows);
    for (size_t b = piece * n->rows; b < end; b++) {
        const float *x = n->x + b * d, factor = (float)(1 / sqrt(squares(d, x) / (double)d + (double)n->eps));
        float *y = n->y + b * d;
        size_t i = 0;
        for (; i + 8 <= d; i += 8) {
            const v8 v = v8_mul(v8_load(x + i), v8_set(factor));
            v8_store(y + i, n->gamma != NULL ? v8_mul(v, v8_load(n->gamma + i)) : v);
        }
        for (; i < d; i++)
            y[i] = n->gamma != NULL ? x[i] * factor * n->gamma[i] : x[i] * factor;
    }
}

void rs_rmsnorm_avx2(size_t B, size_t d, const float *x, const float *gamma, float eps, float *y)
{
    struct norm n = {B, d, rs_pieces_rows(d), x, gamma, eps, y};
    rs_threads_for(rs_pieces_count(B, n.rows), norm_piece, &n);
}

#endif
