// SPDX-License-Identifier: Apache-2.0
// Applies a rotation to rows, or its transpose to columns, in fp64 and in the calling thread.
#include "transforms/rotor.h"

#include <cblas.h>
#include <string.h>

#define STRIP 16 // columns turned into rows at a time: 128 bytes of each row

size_t rs_rotor_scratch(const rs_rotor *r, size_t count)
{
    if (r->H == NULL) return r->n * count;
    return r->n * STRIP;
}

static void spread(const rs_rotor *r, size_t rows, double *x)
{
    for (size_t i = 0; r->signs != NULL && i < rows; i++)
        for (size_t j = 0; j < r->n; j++) x[i * r->n + j] *= r->signs[j];
    rs_hadamard_apply_f64(r->H, rows, x, r->n, false);
}

void rs_rotor_rows(const rs_rotor *r, size_t rows, double *x, double *scratch)
{
    if (rows == 0) return;
    if (r->H != NULL) {
        spread(r, rows, x);
        return;
    }
    int n = (int)r->n;
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, n, n, 1, x, n, r->dense, n, 0, scratch, n);
    memcpy(x, scratch, rows * r->n * sizeof *x);
}

void rs_rotor_columns(const rs_rotor *r, size_t cols, double *x, size_t ld, double *scratch)
{
    size_t n = r->n;
    if (cols == 0) return;
    if (r->H == NULL) {
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)n, (int)cols, (int)n, 1, r->dense, (int)n, x, (int)ld, 0, scratch, (int)cols);
        for (size_t i = 0; i < n; i++) memcpy(x + i * ld, scratch + i * cols, cols * sizeof *x);
        return;
    }
    // R^T x is (x^T R)^T: a strip of columns at a time as rows.
    for (size_t c = 0; c < cols; c += STRIP) {
        size_t w = cols - c < STRIP ? cols - c : STRIP;
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < w; j++) scratch[j * n + i] = x[i * ld + c + j];
        spread(r, w, scratch);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < w; j++) x[i * ld + c + j] = scratch[j * n + i];
    }
}
