// SPDX-License-Identifier: Apache-2.0
// The retraction is R (2 (I + A)^-1 - I), A = a/2 D: one LU of I + A, whose symmetric part is I, and one solve with the rows of R.
#include "transforms/cayley.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/threads.h"
#include "transforms/dense.h"

// LAPACK as Fortran exports it (libopenblas).
void sgetrf_(const int *m, const int *n, float *a, const int *lda, int *ipiv, int *info);
void sgetrs_(const char *trans, const int *n, const int *nrhs, const float *a, const int *lda, const int *ipiv, float *b, const int *ldb, int *info, size_t);

enum { TILE = 32, ROWS = 256 }; // of the skew part; of R that one solve takes

struct parts {
    float *w, *x; // [n, n]
    int *pivots;  // [n]
};

static struct parts cut(size_t n, void *work)
{
    float *w = work;
    return (struct parts){w, w + n * n, (int *)(void *)(w + 2 * n * n)};
}

size_t rs_cayley_work(size_t n)
{
    return 2 * n * n * sizeof(float) + n * sizeof(int);
}

// w = (E - E^T) / 2; *norm its largest column sum, which is the largest row sum.
static rs_status tangent(size_t n, const float *E, float *w, double *norm, double *frobenius, rs_error *e)
{
    if (!rs_dense_finite(n * n, E)) return rs_fail(e, RS_E_VALUE, "gradient is not finite");
    *norm = *frobenius = 0;
    memcpy(w, E, n * n * sizeof *w);
    for (size_t i0 = 0; i0 < n; i0 += TILE)
        for (size_t j0 = i0; j0 < n; j0 += TILE)
            for (size_t i = i0; i < n && i < i0 + TILE; i++)
                for (size_t j = j0 > i ? j0 : i; j < n && j < j0 + TILE; j++) {
                    float x = 0.5f * w[i * n + j] - 0.5f * w[j * n + i]; // halves of finite numbers: no overflow
                    w[i * n + j] = x;
                    w[j * n + i] = -x;
                }
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t j = 0; j < n; j++) {
            double x = w[i * n + j];
            sum += fabs(x);
            squares += x * x;
        }
        if (sum > *norm) *norm = sum;
    }
    *frobenius = sqrt(squares);
    return RS_OK;
}

struct solve {
    size_t n;
    const float *lu;
    const int *pivots;
    float *R, *x;
};

// Rows of R: x = R (I + A)^-1, then R <- 2 x - R. Column-major LAPACK sees (I + A)^T x^T = R^T.
static void solve_rows(void *context, size_t piece)
{
    const struct solve *s = context;
    size_t row = piece * ROWS, rows = s->n - row < ROWS ? s->n - row : ROWS, cells = rows * s->n;
    float *R = s->R + row * s->n, *x = s->x + row * s->n;
    int n = (int)s->n, count = (int)rows, info;
    memcpy(x, R, cells * sizeof *x);
    sgetrs_("N", &n, &count, s->lu, &n, s->pivots, x, &n, &info, 1);
    for (size_t i = 0; i < cells; i++) R[i] = 2 * x[i] - R[i];
}

// R <- R (I + a/2 D)^-1 (I - a/2 D), D in p.w.
static rs_status retract(size_t n, float *R, double a, struct parts p, rs_error *e)
{
    float half = (float)(0.5 * a);
    for (size_t i = 0; i < n * n; i++) p.w[i] *= half;
    for (size_t i = 0; i < n; i++) p.w[i * n + i] = 1;
    int size = (int)n, info = 0;
    sgetrf_(&size, &size, p.w, &size, p.pivots, &info);
    if (info != 0) return rs_fail(e, RS_E_VALUE, "a rotation step of size %g cannot be solved", a);
    struct solve s = {n, p.w, p.pivots, R, p.x};
    rs_threads_for((n + ROWS - 1) / ROWS, solve_rows, &s);
    return RS_OK;
}

rs_status rs_cayley_step(size_t n, float *R, const float *E, double lr, void *work, rs_cayley_info *info, rs_error *e)
{
    struct parts p = cut(n, work);
    rs_cayley_info did = {0};
    RS_TRY(tangent(n, E, p.w, &did.norm, &did.tangent, e));
    did.step = fmin(lr, 1 / (did.norm + 1e-8));
    if (info != NULL) *info = did;
    return retract(n, R, did.step, p, e);
}

rs_status rs_cayley_adam_step(size_t n, float *R, const float *E, float *m, float *v, uint64_t t, double lr, double beta1, double beta2, double eps, void *work,
                              rs_cayley_info *info, rs_error *e)
{
    struct parts p = cut(n, work);
    rs_cayley_info did = {.step = lr};
    RS_TRY(tangent(n, E, p.w, &did.norm, &did.tangent, e));
    double scale1 = 1 / (1 - pow(beta1, (double)t)), scale2 = 1 / (1 - pow(beta2, (double)t));
    for (size_t i = 0; i < n * n; i++) {
        // Elements (i, j) and (j, i) differ in sign only, in every operation here: the direction stays skew to the last bit.
        double x = p.w[i];
        m[i] = (float)(beta1 * m[i] + (1 - beta1) * x);
        v[i] = (float)(beta2 * v[i] + (1 - beta2) * x * x);
        p.w[i] = (float)(scale1 * m[i] / (sqrt(scale2 * v[i]) + eps));
    }
    did.norm = 0;
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t j = 0; j < n; j++) sum += fabs((double)p.w[i * n + j]);
        if (sum > did.norm) did.norm = sum;
    }
    if (info != NULL) *info = did;
    return retract(n, R, lr, p, e);
}

double rs_cayley_tidy(const rs_kernels *k, size_t n, float *R, void *work)
{
    struct parts p = cut(n, work);
    k->gemm_tn(n, n, n, R, n, R, n, 0, p.w, n);
    double worst = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            float x = (i == j ? 1.0f : 0.0f) - p.w[i * n + j];
            double size = fabs((double)x);
            if (size > worst || isnan(size)) worst = size; // a NaN stays: nothing is greater
            p.w[i * n + j] = 0.5f * x;
        }
    // R + R (I - R^T R) / 2: the product is small, so the sum is rounded once.
    memcpy(p.x, R, n * n * sizeof *R);
    k->gemm_nn(n, n, n, p.x, n, p.w, n, 1, R, n);
    return worst;
}

rs_status rs_cayley_polish(size_t n, float *R, double *error, rs_error *e)
{
    double *a = malloc((n * n + 1) * sizeof *a);
    if (a == NULL) return rs_fail(e, RS_E_NOMEM, "no memory to orthonormalise a matrix of order %zu", n);
    for (size_t i = 0; i < n * n; i++) a[i] = R[i];
    rs_status status = rs_dense_orthonormalise(n, n, a, e);
    if (status == RS_OK) {
        for (size_t i = 0; i < n * n; i++) {
            R[i] = (float)a[i];
            a[i] = R[i];
        }
        *error = rs_dense_error(n, n, a);
        if (*error == DBL_MAX) status = rs_fail(e, RS_E_NOMEM, "no memory to measure a matrix of order %zu", n);
    }
    free(a);
    return status;
}
