// SPDX-License-Identifier: Apache-2.0
// Rows times a matrix of 16-bit floats: a plain triple loop with fp64 sums, and OpenBLAS on parts of the matrix that are converted to f32, OUTPUTS x TERMS at a time.
#include <cblas.h>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/pieces.h"
#include "kernels/threads.h"

enum { OUTPUTS = 64, TERMS = 512 };

typedef void convert_fn(size_t n, const uint16_t *x, float *y);

struct product {
    convert_fn *convert;
    size_t m, n, k, ldx, ldw, ldy;
    const float *x;
    const uint16_t *w;
    float beta, *y;
};

static void piece(void *context, size_t i)
{
    const struct product *p = context;
    const size_t o = i * OUTPUTS, outputs = rs_pieces_min(OUTPUTS, p->n - o);
    float part[OUTPUTS * TERMS];
    size_t j = 0;
    do { // at least once: k may be 0
        const size_t terms = rs_pieces_min(TERMS, p->k - j);
        for (size_t r = 0; r < outputs; r++)
            p->convert(terms, p->w + (o + r) * p->ldw + j, part + r * TERMS);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)p->m, (int)outputs, (int)terms, 1, p->x + j, (int)p->ldx, part, TERMS, j == 0 ? p->beta : 1, p->y + o, (int)p->ldy);
        j += terms;
    } while (j < p->k);
}

static void multiply(struct product p)
{
    if (p.m > 0)
        rs_threads_for(rs_pieces_count(p.n, OUTPUTS), piece, &p);
}

void rs_gemm_half_blas(bool bf16, size_t m, size_t n, size_t k, const float *x, size_t ldx, const uint16_t *w, size_t ldw, float beta, float *y, size_t ldy)
{
    multiply((struct product){bf16 ? rs_convert_bf16_to_f32_plain : rs_convert_f16_to_f32_plain, m, n, k, ldx, ldw, ldy, x, w, beta, y});
}

#if defined(__x86_64__)
void rs_gemm_half_avx2(bool bf16, size_t m, size_t n, size_t k, const float *x, size_t ldx, const uint16_t *w, size_t ldw, float beta, float *y, size_t ldy)
{
    multiply((struct product){bf16 ? rs_convert_bf16_to_f32_avx2 : rs_convert_f16_to_f32_avx2, m, n, k, ldx, ldw, ldy, x, w, beta, y});
}
#endif

void rs_gemm_half_plain(bool bf16, size_t m, size_t n, size_t k, const float *x, size_t ldx, const uint16_t *w, size_t ldw, float beta, float *y, size_t ldy)
{
    for (size_t i = 0; i < m; i++)
        for (size_t o = 0; o < n; o++) {
            double sum = beta != 0 ? (double)y[i * ldy + o] : 0;
            for (size_t j = 0; j < k; j++) {
                float v;
                (bf16 ? rs_convert_bf16_to_f32_plain : rs_convert_f16_to_f32_plain)(1, w + o * ldw + j, &v);
                sum += (double)x[i * ldx + j] * (double)v;
            }
            y[i * ldy + o] = (float)sum;
        }
}
