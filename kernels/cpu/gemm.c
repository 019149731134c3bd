// SPDX-License-Identifier: Apache-2.0
// Dense products: a plain triple loop with fp64 sums, and OpenBLAS on pieces whose bounds depend on m, n, k only.
#include <cblas.h>

#include "kernels/cpu/ops.h"
#include "kernels/threads.h"

// y[i, j] = sum over l of x[i sx + l tx] w[j sw + l tw], + y where beta is 1.
static void plain(size_t m, size_t n, size_t k, const float *x, size_t sx, size_t tx, const float *w, size_t sw, size_t tw, float beta, float *y, size_t ldy)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = beta != 0 ? (double)y[i * ldy + j] : 0;
            for (size_t l = 0; l < k; l++)
                sum += (double)x[i * sx + l * tx] * (double)w[j * sw + l * tw];
            y[i * ldy + j] = (float)sum;
        }
}

void rs_gemm_nt_plain(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy)
{
    plain(m, n, k, x, ldx, 1, w, ldw, 1, beta, y, ldy);
}

void rs_gemm_nn_plain(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy)
{
    plain(m, n, k, x, ldx, 1, w, 1, ldw, beta, y, ldy);
}

void rs_gemm_tn_plain(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy)
{
    plain(m, n, k, x, 1, ldx, w, 1, ldw, beta, y, ldy);
}
