// SPDX-License-Identifier: Apache-2.0
// fp64 products cut into fixed pieces over the thread pool, polar factors and symmetric eigenvectors through LAPACK.
#include "transforms/dense.h"

#include <cblas.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/threads.h"

// LAPACK as Fortran exports it (libopenblas): column-major arrays, lengths of the character arguments at the end.
void dgesdd_(const char *jobz, const int *m, const int *n, double *a, const int *lda, double *s, double *u, const int *ldu, double *vt, const int *ldvt, double *work, const int *lwork,
             int *iwork, int *info, size_t);
void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info, size_t);
void dtrtri_(const char *uplo, const char *diag, const int *n, double *a, const int *lda, int *info, size_t, size_t);
void dsytrd_(const char *uplo, const int *n, double *a, const int *lda, double *d, double *e, double *tau, double *work, const int *lwork, int *info, size_t);
void dsterf_(const int *n, double *d, double *e, int *info);
void dstemr_(const char *jobz, const char *range, const int *n, double *d, double *e, const double *vl, const double *vu, const int *il, const int *iu, int *m, double *w, double *z,
             const int *ldz, const int *nzc, int *isuppz, int *tryrac, double *work, const int *lwork, int *iwork, const int *liwork, int *info, size_t, size_t);
void dormtr_(const char *side, const char *uplo, const char *trans, const int *m, const int *n, const double *a, const int *lda, const double *tau, double *c, const int *ldc,
             double *work, const int *lwork, int *info, size_t, size_t, size_t);

// ---- products

struct product {
    CBLAS_TRANSPOSE ta, tb;
    size_t m, n, k, step, lda, ldb, ldc;
    const double *a, *b;
    double beta, *c;
};

static void product_piece(void *context, size_t i)
{
    const struct product *p = context;
    size_t row = i * p->step, rows = p->m - row < p->step ? p->m - row : p->step;
    const double *a = p->a + (p->ta == CblasTrans ? row : row * p->lda);
    cblas_dgemm(CblasRowMajor, p->ta, p->tb, (int)rows, (int)p->n, (int)p->k, 1, a, (int)p->lda, p->b, (int)p->ldb, p->beta, p->c + row * p->ldc, (int)p->ldc);
}

static void product(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, size_t m, size_t n, size_t k, const double *a, size_t lda, const double *b, size_t ldb, double beta, double *c, size_t ldc)
{
    if (m == 0 || n == 0) return;
    if (k == 0) {
        for (size_t i = 0; i < m && beta == 0; i++) memset(c + i * ldc, 0, n * sizeof(double));
        return;
    }
    // An even number of nearly equal pieces of at most 384 rows: two processors share it evenly, and each piece is long enough to pack b for.
    size_t pieces = m < 32 ? 1 : 2 * ((m + 767) / 768), step = ((m + pieces - 1) / pieces + 7) / 8 * 8;
    struct product p = {ta, tb, m, n, k, step, lda, ldb, ldc, a, b, beta, c};
    rs_threads_for((m + step - 1) / step, product_piece, &p);
}

void rs_dense_nn(size_t m, size_t n, size_t k, const double *a, size_t lda, const double *b, size_t ldb, double beta, double *c, size_t ldc)
{
    product(CblasNoTrans, CblasNoTrans, m, n, k, a, lda, b, ldb, beta, c, ldc);
}

void rs_dense_tn(size_t m, size_t n, size_t k, const double *a, size_t lda, const double *b, size_t ldb, double beta, double *c, size_t ldc)
{
    product(CblasTrans, CblasNoTrans, m, n, k, a, lda, b, ldb, beta, c, ldc);
}

void rs_dense_nt(size_t m, size_t n, size_t k, const double *a, size_t lda, const double *b, size_t ldb, double beta, double *c, size_t ldc)
{
    product(CblasNoTrans, CblasTrans, m, n, k, a, lda, b, ldb, beta, c, ldc);
}

static void reverse(size_t n, double *a)
{
    for (size_t i = 0, j = n - 1; n > 0 && i < j; i++, j--) {
        double t = a[i];
        a[i] = a[j];
        a[j] = t;
    }
}

// With J the reversal of order and J a J = L L^T, U = J L^-1 J: one factorisation and one triangular inverse, and a itself is never inverted.
rs_status rs_dense_inverse_factor(size_t n, double *a)
{
    const int order = (int)n;
    int info = 0;
    reverse(n * n, a);
    if (n > 0) dpotrf_("U", &order, a, &order, &info, 1);
    if (n > 0 && info == 0) dtrtri_("U", "N", &order, a, &order, &info, 1, 1);
    reverse(n * n, a);
    return info == 0 ? RS_OK : RS_NO;
}

void rs_dense_transpose(size_t rows, size_t cols, const double *a, double *out)
{
    for (size_t i0 = 0; i0 < rows; i0 += 16)
        for (size_t j0 = 0; j0 < cols; j0 += 16)
            for (size_t i = i0; i < rows && i < i0 + 16; i++)
                for (size_t j = j0; j < cols && j < j0 + 16; j++) out[j * rows + i] = a[i * cols + j];
}

bool rs_dense_finite(size_t n, const float *x)
{
    int bad = 0;
    for (size_t i = 0; i < n; i++) bad |= !isfinite(x[i]);
    return !bad;
}

// ---- orthonormal matrices

// g = a^T a; max |g - I|.
static double gram_error(size_t m, size_t n, const double *a, double *g)
{
    rs_dense_tn(n, n, m, a, n, a, n, 0, g, n);
    double worst = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double x = fabs(g[i * n + j] - (i == j ? 1 : 0));
            if (x > worst || isnan(x)) worst = x; // a NaN stays: nothing is greater
        }
    return worst;
}

double rs_dense_error(size_t m, size_t n, const double *a)
{
    double *g = malloc((n * n + 1) * sizeof *g);
    double worst = g == NULL ? DBL_MAX : gram_error(m, n, a, g);
    free(g);
    return worst;
}

rs_status rs_dense_orthonormalise(size_t m, size_t n, double *a, rs_error *e)
{
    double *g = malloc((n * n + 1) * sizeof *g), *b = malloc((m * n + 1) * sizeof *b);
    rs_status status = RS_OK;
    if (g == NULL || b == NULL) status = rs_fail(e, RS_E_NOMEM, "no memory to orthonormalise a matrix of %zu x %zu", m, n);
    for (int round = 0; status == RS_OK && round < 8; round++) {
        double error = gram_error(m, n, a, g);
        if (error < 1e-14) break;
        if (!(error <= 0.5)) status = rs_fail(e, RS_E_VALUE, "a matrix of %zu x %zu is not orthonormal: |a^T a - I| is %.3g", m, n, error);
        if (status != RS_OK) break;
        for (size_t i = 0; i < n * n; i++) g[i] *= -0.5;
        for (size_t i = 0; i < n; i++) g[i * n + i] += 1.5;
        rs_dense_nn(m, n, n, a, n, g, n, 0, b, n);
        memcpy(a, b, m * n * sizeof *a);
    }
    free(g);
    free(b);
    return status;
}

rs_status rs_dense_rotation_part(size_t n, double *a, rs_error *e)
{
    if (n == 0) return RS_OK;
    for (size_t i = 0; i < n * n; i++)
        if (!isfinite(a[i])) return rs_fail(e, RS_E_VALUE, "polar factor of a matrix that is not finite");
    size_t words = 4 * n * n + 7 * n, cells = 3 * n * n + n + words + 64 * n;
    int size = (int)n, lwork = (int)(words + 64 * n), info = 0;
    double *work = malloc(cells * sizeof *work);
    int *iwork = malloc(8 * n * sizeof *iwork);
    if (work == NULL || iwork == NULL) {
        free(work);
        free(iwork);
        return rs_fail(e, RS_E_NOMEM, "no memory for the polar factor of order %zu", n);
    }
    // Column-major LAPACK sees a^T = U D V^T, so that a = V D U^T: polar(a) = V U^T, in row-major terms (vt array, read by rows, is V; u array is U^T).
    double *u = work, *vt = u + n * n, *out = vt + n * n, *s = out + n * n, *rest = s + n;
    dgesdd_("A", &size, &size, a, &size, s, u, &size, vt, &size, rest, &lwork, iwork, &info, 1);
    rs_status status = RS_OK;
    if (info != 0) status = rs_fail(e, RS_E_VALUE, "the SVD of a matrix of order %zu does not converge", n);
    else {
        rs_dense_nn(n, n, n, vt, n, u, n, 0, out, n);
        memcpy(a, out, n * n * sizeof *a);
        // Determinant of an orthogonal matrix: sign by elimination with row exchanges, on the copy in out.
        bool negative = false;
        for (size_t c = 0; c < n; c++) {
            size_t pivot = c;
            for (size_t r = c + 1; r < n; r++)
                if (fabs(out[r * n + c]) > fabs(out[pivot * n + c])) pivot = r;
            if (pivot != c) {
                negative = !negative;
                for (size_t j = c; j < n; j++) {
                    double x = out[c * n + j];
                    out[c * n + j] = out[pivot * n + j];
                    out[pivot * n + j] = x;
                }
            }
            if (out[c * n + c] < 0) negative = !negative;
            for (size_t r = c + 1; r < n && out[c * n + c] != 0; r++) {
                double x = out[r * n + c] / out[c * n + c];
                for (size_t j = c; j < n; j++) out[r * n + j] -= x * out[c * n + j];
            }
        }
        if (negative) {
            // Flip the last column of A0 (that of the smallest singular value): a -= 2 a0 b0^T.
            for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < n; j++) a[i * n + j] -= 2 * vt[i * n + n - 1] * u[(n - 1) * n + j];
        }
    }
    free(work);
    free(iwork);
    return status;
}

// ---- eigenvectors

#define BLOCK 64 // columns that dsytrd and dormtr work on at a time

size_t rs_dense_symmetric_work(size_t n)
{
    return (5 * n + 18 * n + BLOCK * n) * sizeof(double) + 12 * n * sizeof(int);
}

// The work array: diagonal, off-diagonal, reflector scalars, two copies that LAPACK overwrites, its own work.
struct parts {
    double *d, *off, *tau, *d2, *off2, *rest;
    int *iwork, lwork, liwork, n;
};

static struct parts cut(size_t n, void *work)
{
    double *w = work;
    struct parts p = {w, w + n, w + 2 * n, w + 3 * n, w + 4 * n, w + 5 * n, NULL, (int)(18 * n + BLOCK * n), (int)(10 * n), (int)n};
    p.iwork = (int *)(void *)(p.rest + 18 * n + BLOCK * n);
    return p;
}

static rs_status no_convergence(size_t n, rs_error *e)
{
    return rs_fail(e, RS_E_VALUE, "the eigenvectors of a symmetric matrix of order %zu do not converge", n);
}

rs_status rs_dense_eigenvalues(size_t n, double *a, double *values, void *work, rs_error *e)
{
    for (size_t i = 0; i < n * n; i++)
        if (!isfinite(a[i])) return rs_fail(e, RS_E_VALUE, "eigenvalues of a matrix that is not finite");
    if (n == 0) return RS_OK;
    struct parts p = cut(n, work);
    int info = 0;
    dsytrd_("L", &p.n, a, &p.n, p.d, p.off, p.tau, p.rest, &p.lwork, &info, 1);
    if (info == 0) {
        memcpy(values, p.d, n * sizeof *values);
        memcpy(p.off2, p.off, n * sizeof *values);
        dsterf_(&p.n, values, p.off2, &info);
    }
    return info == 0 ? RS_OK : no_convergence(n, e);
}

rs_status rs_dense_eigenvectors(size_t n, const double *a, void *work, size_t count, double *vectors, rs_error *e)
{
    if (n == 0 || count == 0) return RS_OK;
    struct parts p = cut(n, work);
    int info = 0, one = 1, upto = (int)count, found = 0, tryrac = 1;
    double none = 0;
    // Vectors of the tridiagonal matrix (LAPACK's columns are our rows), then back to the basis of a.
    dstemr_("V", "I", &p.n, p.d, p.off, &none, &none, &one, &upto, &found, p.d2, vectors, &p.n, &upto, p.iwork, &tryrac, p.rest, &p.lwork, p.iwork + 2 * n, &p.liwork, &info, 1, 1);
    if (info != 0 || found != upto) return no_convergence(n, e);
    dormtr_("L", "L", "N", &p.n, &upto, a, &p.n, p.tau, vectors, &p.n, p.rest, &p.lwork, &info, 1, 1, 1);
    return info == 0 ? RS_OK : no_convergence(n, e);
}
