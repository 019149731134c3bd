// SPDX-License-Identifier: Apache-2.0
// With B = [U V] and J = [0 I; -I 0], A = B J B^T, and by the Woodbury identity T = I + B H B^T with H = -(J + B^T B / 2)^-1: that matrix is never singular, for its symmetric part is B^T B / 2
// and J moves whatever B annihilates.
#include "transforms/chain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "transforms/dense.h"
#include "transforms/random.h"

// LAPACK as Fortran exports it (libopenblas): column-major arrays, lengths of the character arguments at the end.
void dgesv_(const int *n, const int *nrhs, double *a, const int *lda, int *ipiv, double *b, const int *ldb, int *info);
void dgeqrf_(const int *m, const int *n, double *a, const int *lda, double *tau, double *work, const int *lwork, int *info);
void dorgqr_(const int *m, const int *n, const int *k, double *a, const int *lda, const double *tau, double *work, const int *lwork, int *info);
void dgees_(const char *jobvs, const char *sort, int (*select)(const double *, const double *), const int *n, double *a, const int *lda, int *sdim, double *wr, double *wi, double *vs,
            const int *ldvs, double *work, const int *lwork, int *bwork, int *info, size_t, size_t);

#define NEAR_PI (-1 + 1e-6) // cosine: 180 degrees less 0.08
#define NO_ANGLE 1e-7       // below this 2 tan(angle / 2) is the rounding of S in f32

static rs_status no_memory(size_t d, size_t r2, rs_error *e)
{
    return rs_fail(e, RS_E_NOMEM, "no memory for a junction of order %zu and rank %zu", d, 2 * r2);
}

// H [r, r] from B [d, r], r = 2 r2.
static rs_status core(size_t d, size_t r2, const double *B, double *H, rs_error *e)
{
    size_t r = 2 * r2;
    if (r == 0) return RS_OK;
    double *M = malloc(r * r * sizeof *M);
    int *pivots = malloc(r * sizeof *pivots);
    rs_status status = M == NULL || pivots == NULL ? no_memory(d, r2, e) : RS_OK;
    if (status == RS_OK) {
        rs_dense_tn(r, r, d, B, r, B, r, 0, M, r);
        bool finite = true;
        for (size_t i = 0; i < r * r; i++) {
            M[i] *= 0.5;
            finite = finite && isfinite(M[i]);
        }
        for (size_t i = 0; i < r2; i++) {
            M[i * r + r2 + i] += 1;
            M[(r2 + i) * r + i] -= 1;
        }
        memset(H, 0, r * r * sizeof *H);
        for (size_t i = 0; i < r; i++) H[i * r + i] = -1;
        // LAPACK sees M^T and gives the columns of -M^-T, which are the rows of -M^-1.
        int n = (int)r, info = 0;
        if (finite) dgesv_(&n, &n, M, &n, pivots, H, &n, &info);
        if (!finite || info != 0) status = rs_fail(e, RS_E_VALUE, "a junction that is not finite");
    }
    free(M);
    free(pivots);
    return status;
}

// B = [U V] in fp64, H from it. *B and *H are the caller's to free, NULL on failure.
static rs_status prepare(size_t d, size_t r2, const float *U, const float *V, double **B, double **H, rs_error *e)
{
    size_t r = 2 * r2;
    *B = malloc((d * r + 1) * sizeof **B);
    *H = malloc((r * r + 1) * sizeof **H);
    rs_status status = *B == NULL || *H == NULL ? no_memory(d, r2, e) : RS_OK;
    if (status == RS_OK) {
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j < r2; j++) {
                (*B)[i * r + j] = U[i * r2 + j];
                (*B)[i * r + r2 + j] = V[i * r2 + j];
            }
        status = core(d, r2, *B, *H, e);
    }
    if (status != RS_OK) {
        free(*B);
        free(*H);
        *B = *H = NULL;
    }
    return status;
}

// ---- learning

struct saved {
    float *B; // [d, r]: [U V]
    float *H; // [r, r]
};

static struct saved cut(size_t d, size_t r2, float *saved)
{
    return (struct saved){saved, saved + 2 * d * r2};
}

size_t rs_chain_saved(size_t d, size_t r2)
{
    return 2 * d * r2 + 4 * r2 * r2;
}

rs_status rs_chain_forward(const rs_kernels *k, size_t d, size_t r2, const float *U, const float *V, const float *R, float *Rnext, float *saved, rs_error *e)
{
    size_t r = 2 * r2;
    struct saved s = cut(d, r2, saved);
    double *B, *H;
    RS_TRY(prepare(d, r2, U, V, &B, &H, e));
    for (size_t i = 0; i < d * r; i++) s.B[i] = (float)B[i];
    for (size_t i = 0; i < r * r; i++) s.H[i] = (float)H[i];
    free(B);
    free(H);
    float *Y = malloc((2 * d * r + 1) * sizeof *Y), *Z = Y + d * r;
    if (Y == NULL) return no_memory(d, r2, e);
    // R T = R + (R B) H B^T
    memcpy(Rnext, R, d * d * sizeof *R);
    if (r > 0) {
        k->gemm_nn(d, r, d, R, d, s.B, r, 0, Y, r);
        k->gemm_nn(d, r, r, Y, r, s.H, r, 0, Z, r);
        k->gemm_nt(d, d, r, Z, r, s.B, r, 1, Rnext, d);
    }
    free(Y);
    return RS_OK;
}

// dL/dT = K = T W.  dL/dB = (K B) H^T + (K^T B) H + B (E + E^T) / 2 with E = H^T (B^T K B) H^T, since dH = H (dB^T B + B^T dB) H / 2. With Y = W B, C = B^T B, F = B^T Y:
// K B = Y + B H F;  K^T B = -W T^T B = -Y (I + H^T C);  B^T K B = F + C H F;  T W T^T = W + Y H^T B^T - B H Y^T + B (H F H^T) B^T = W + X B^T - B Z^T, where X = Y H^T + B (H F H^T) and Z = Y H^T.
static void slopes(const rs_kernels *k, size_t d, size_t r, struct saved s, const float *W, float *Y, float *X, float *Z, float *dB, float *small, float *w)
{
    float *C = small, *F = C + r * r, *M = F + r * r, *N = M + r * r;
    k->gemm_nn(d, r, d, W, d, s.B, r, 0, Y, r);
    k->gemm_tn(r, r, d, s.B, r, s.B, r, 0, C, r);
    k->gemm_tn(r, r, d, s.B, r, Y, r, 0, F, r);
    k->gemm_nn(r, r, r, s.H, r, F, r, 0, M, r); // H F
    k->gemm_nn(r, r, r, C, r, M, r, 0, N, r);
    k->add(r * r, F, N); // B^T K B
    memcpy(X, Y, d * r * sizeof *X);
    k->gemm_nn(d, r, r, s.B, r, M, r, 1, X, r); // K B
    k->gemm_nt(d, r, r, X, r, s.H, r, 0, dB, r);
    k->gemm_nt(r, r, r, M, r, s.H, r, 0, F, r);  // H F H^T: F is not needed below
    k->gemm_tn(r, r, r, s.H, r, N, r, 0, M, r);
    k->gemm_nt(r, r, r, M, r, s.H, r, 0, N, r); // E
    for (size_t i = 0; i < r; i++)
        for (size_t j = 0; j < r; j++) M[i * r + j] = 0.5f * (N[i * r + j] + N[j * r + i]);
    k->gemm_nn(d, r, r, s.B, r, M, r, 1, dB, r);
    k->gemm_tn(r, r, r, s.H, r, C, r, 0, M, r); // I + H^T C
    for (size_t i = 0; i < r; i++) M[i * r + i] += 1;
    k->gemm_nn(r, r, r, M, r, s.H, r, 0, N, r);
    for (size_t i = 0; i < r * r; i++) N[i] = -N[i];
    k->gemm_nn(d, r, r, Y, r, N, r, 1, dB, r); // (K^T B) H
    k->gemm_nt(d, r, r, Y, r, s.H, r, 0, Z, r);
    memcpy(X, Z, d * r * sizeof *X);
    k->gemm_nn(d, r, r, s.B, r, F, r, 1, X, r);
    k->add(d * d, W, w);
    k->gemm_nt(d, d, r, X, r, s.B, r, 1, w, d);
    for (size_t i = 0; i < d * r; i++) X[i] = -s.B[i];
    k->gemm_nt(d, d, r, X, r, Z, r, 1, w, d);
}

rs_status rs_chain_slopes(const rs_kernels *k, size_t d, size_t r2, const float *saved, const float *W, float *dU, float *dV, float *w, rs_error *e)
{
    size_t r = 2 * r2;
    if (!rs_dense_finite(d * d, W)) return rs_fail(e, RS_E_VALUE, "gradient is not finite");
    float *Y = malloc((4 * d * r + 4 * r * r + 1) * sizeof *Y);
    if (Y == NULL) return no_memory(d, r2, e);
    float *X = Y + d * r, *Z = X + d * r, *dB = Z + d * r;
    if (r > 0) slopes(k, d, r, cut(d, r2, (float *)saved), W, Y, X, Z, dB, dB + d * r, w);
    else k->add(d * d, W, w);
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < r2; j++) {
            dU[i * r2 + j] = dB[i * r + j];
            dV[i * r2 + j] = dB[i * r + r2 + j];
        }
    free(Y);
    return RS_OK;
}

// ---- the stored form

// B = Q C by Householder reflections: Q [d, r] in rows of columns (as LAPACK has it, [r, d] for us), C [r, r] upper triangular. Dependent columns of B get some orthonormal ones.
static rs_status factor(size_t d, size_t r, const double *B, double *Q, double *C, rs_error *e)
{
    int rows = (int)d, columns = (int)r, lwork = (int)(64 * r), info = 0;
    double *tau = malloc((r + 64 * r + 1) * sizeof *tau);
    if (tau == NULL) return no_memory(d, r / 2, e);
    rs_dense_transpose(d, r, B, Q);
    dgeqrf_(&rows, &columns, Q, &rows, tau, tau + r, &lwork, &info);
    for (size_t i = 0; i < r; i++)
        for (size_t j = 0; j < r; j++) C[i * r + j] = i <= j ? Q[j * d + i] : 0;
    dorgqr_(&rows, &columns, &columns, Q, &rows, tau, tau + r, &lwork, &info);
    free(tau);
    return RS_OK;
}

rs_status rs_chain_qs(size_t d, size_t r2, const float *U, const float *V, float *q, float *m, rs_error *e)
{
    size_t r = 2 * r2;
    if (r > d) return rs_fail(e, RS_USAGE, "a junction of rank %zu is above the width %zu", r, d);
    if (r == 0) return RS_OK;
    double *B, *H, *Q = malloc(d * r * sizeof *Q), *C = malloc(2 * r * r * sizeof *C);
    rs_status status = prepare(d, r2, U, V, &B, &H, e);
    if (status == RS_OK && (Q == NULL || C == NULL)) status = no_memory(d, r2, e);
    if (status == RS_OK) status = factor(d, r, B, Q, C, e);
    if (status == RS_OK) {
        // S = Q^T T Q = I + C H C^T
        double *S = H, *y = C + r * r;
        rs_dense_nn(r, r, r, C, r, H, r, 0, y, r);
        rs_dense_nt(r, r, r, y, r, C, r, 0, S, r);
        for (size_t i = 0; i < r; i++) S[i * r + i] += 1;
        status = rs_dense_orthonormalise(r, r, S, e);
    }
    if (status == RS_OK) {
        for (size_t i = 0; i < r * r; i++) m[i] = (float)(H[i] - (i % (r + 1) == 0 ? 1 : 0));
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j < r; j++) q[i * r + j] = (float)Q[j * d + i];
    }
    free(B);
    free(H);
    free(Q);
    free(C);
    return status;
}

// The planes of S [r, r] (overwritten): plane i turns z_a into z_b, a = planes[i], b = a + 1, by an angle with 2 tan(angle / 2) = sizes[i]; z_j is row j of z. work: 5 r doubles.
static rs_status planes_of(size_t r, double *S, double *z, size_t *planes, double *sizes, size_t *count, double *work, rs_error *e)
{
    int n = (int)r, kept = 0, lwork = (int)(3 * r), info = 0;
    *count = 0;
    // LAPACK sees S^T: its Schur form holds blocks [c -s; s c] on the diagonal and nothing else, since S is normal.
    dgees_("V", "N", NULL, &n, S, &n, &kept, work, work + r, z, &n, work + 2 * r, &lwork, NULL, &info, 1, 1);
    if (info != 0) return rs_fail(e, RS_E_VALUE, "the planes of a rotation of order %zu do not converge", r);
    for (size_t j = 0; j < r; j++) {
        double cosine = S[j * r + j], sine = 0;
        if (j + 1 < r && S[j * r + j + 1] != 0) sine = 0.5 * (S[j * r + j + 1] - S[(j + 1) * r + j]);
        if (cosine < NEAR_PI) return rs_fail(e, RS_E_VALUE, "a junction turns a plane by 180 degrees, which no Cayley transform does");
        double size = 2 * tan(0.5 * atan2(sine, cosine));
        if (fabs(size) > NO_ANGLE) {
            planes[*count] = j;
            sizes[(*count)++] = size;
        }
        if (sine != 0) j++;
    }
    return RS_OK;
}

rs_status rs_chain_from_qs(size_t d, size_t rank, const float *q, const float *m, size_t r2, uint64_t seed, uint64_t stream, float *U, float *V, rs_error *e)
{
    if (2 * r2 + 1 < rank || 2 * r2 > d || rank > d) return rs_fail(e, RS_USAGE, "a junction of rank %zu does not fit rank %zu, or the width %zu", rank, 2 * r2, d);
    double *Q = malloc((d * rank + 1) * sizeof *Q), *S = malloc((2 * rank * rank + 6 * rank + 1) * sizeof *S), *z = NULL, *sizes = NULL;
    size_t *planes = malloc((rank + 1) * sizeof *planes), count = 0;
    rs_status status = Q == NULL || S == NULL || planes == NULL ? no_memory(d, r2, e) : RS_OK;
    if (status == RS_OK && rank > 0) {
        z = S + rank * rank;
        sizes = z + rank * rank;
        for (size_t i = 0; i < d * rank; i++) Q[i] = q[i];
        for (size_t i = 0; i < rank * rank; i++) S[i] = (double)m[i] + (i % (rank + 1) == 0 ? 1 : 0);
        status = rs_dense_orthonormalise(d, rank, Q, e);
        if (status == RS_OK) status = rs_dense_orthonormalise(rank, rank, S, e);
        if (status == RS_OK) status = planes_of(rank, S, z, planes, sizes, &count, sizes + rank, e);
    }
    for (size_t j = 0; status == RS_OK && j < r2; j++)
        for (size_t i = 0; i < d; i++) {
            double u = 0, v = 0;
            if (j < count) { // A = size (x y^T - y x^T), x = Q z_a, y = Q z_b
                const double *za = z + planes[j] * rank, *zb = za + rank;
                for (size_t l = 0; l < rank; l++) {
                    u += Q[i * rank + l] * za[l];
                    v += Q[i * rank + l] * zb[l];
                }
                double root = sqrt(fabs(sizes[j]));
                u *= root;
                v *= sizes[j] < 0 ? -root : root;
            } else u = rs_random_normal(seed, stream, i * r2 + j) / sqrt((double)d);
            U[i * r2 + j] = (float)u;
            V[i * r2 + j] = (float)v;
        }
    free(Q);
    free(S);
    free(planes);
    return status;
}
