// SPDX-License-Identifier: Apache-2.0
// Dense fp64 algebra over row-major arrays: products in fixed pieces (OpenBLAS, the same result for any number of threads), nearest orthogonal matrix, eigenvectors.
#ifndef RS_TRANSFORMS_DENSE_H
#define RS_TRANSFORMS_DENSE_H

#include "formats/err.h"

// c[m,n] = a[m,k] b[k,n] + beta c;  c = a[k,m]^T b[k,n] + beta c;  c = a[m,k] b[n,k]^T + beta c. ld*: leading dimensions in elements; beta 0 (c may be uninitialised) or 1.
void rs_dense_nn(size_t m, size_t n, size_t k, const double *a, size_t lda, const double *b, size_t ldb, double beta, double *c, size_t ldc);
void rs_dense_tn(size_t m, size_t n, size_t k, const double *a, size_t lda, const double *b, size_t ldb, double beta, double *c, size_t ldc);
void rs_dense_nt(size_t m, size_t n, size_t k, const double *a, size_t lda, const double *b, size_t ldb, double beta, double *c, size_t ldc);

// max |a^T a - I| for a [m, n], n <= m; the largest double without memory.
double rs_dense_error(size_t m, size_t n, const double *a);
// a [m, n], n <= m, with nearly orthonormal columns becomes its polar factor (Newton-Schulz: a <- a (3 I - a^T a) / 2, until max |a^T a - I| < 1e-14 or 8 rounds).
// E_VALUE when it is not near (above 0.5 at the start), E_NOMEM.
RS_MUST_CHECK rs_status rs_dense_orthonormalise(size_t m, size_t n, double *a, rs_error *e);
// a [n, n] becomes polar(a) in SO(n): A0 B0^T of its SVD, the last column's sign flipped if the determinant is -1 (method.md 4). E_VALUE (not finite), E_NOMEM.
RS_MUST_CHECK rs_status rs_dense_rotation_part(size_t n, double *a, rs_error *e);
// Eigenvalues of a symmetric a [n, n], ascending, into values; a and work (rs_dense_symmetric_work bytes, 64-aligned or not) then hold what rs_dense_eigenvectors needs.
// E_VALUE: not finite, no convergence.
RS_MUST_CHECK rs_status rs_dense_eigenvalues(size_t n, double *a, double *values, void *work, rs_error *e);
// The eigenvectors of the lowest count (0..n) eigenvalues as rows of vectors [count, n], after rs_dense_eigenvalues with the same a and work; once. E_VALUE.
RS_MUST_CHECK rs_status rs_dense_eigenvectors(size_t n, const double *a, void *work, size_t count, double *vectors, rs_error *e);
size_t rs_dense_symmetric_work(size_t n);
// a [n, n], symmetric and positive definite, becomes the upper triangular U with U^T U = a^-1 and a positive diagonal (what lies below it is left undefined).
// RS_NO: not positive definite, a is lost.
RS_MUST_CHECK rs_status rs_dense_inverse_factor(size_t n, double *a);
// out[cols, rows] = a[rows, cols]^T.
void rs_dense_transpose(size_t rows, size_t cols, const double *a, double *out);
// True when all n values are finite.
bool rs_dense_finite(size_t n, const float *x);

#endif
