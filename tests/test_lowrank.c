// SPDX-License-Identifier: Apache-2.0
// Cut junctions against the SVD of T - I: subspace, kept energy, error, orthogonality; walks that do not drift.
#include "transforms/lowrank.h"

#include <math.h>

#include "tests/check.h"
#include "tests/tiny.h"
#include "transforms/dense.h"
#include "transforms/random.h"

void dgesdd_(const char *jobz, const int *m, const int *n, double *a, const int *lda, double *s, double *u, const int *ldu, double *vt, const int *ldvt, double *work, const int *lwork,
             int *iwork, int *info, size_t);

enum { N = 48 };

static double frobenius(size_t n, const double *a, const double *b)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sqrt(sum);
}

// I + Q M Q^T
static void rebuild(uint64_t r, const float *q, const float *m, double *out)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            double sum = i == j;
            for (uint64_t a = 0; a < r; a++)
                for (uint64_t b = 0; b < r; b++) sum += (double)q[i * r + a] * m[a * r + b] * q[j * r + b];
            out[i * N + j] = sum;
        }
}

static void against_svd(double angle)
{
    static double eye[N * N], T[N * N], a[N * N], s[N], u[N * N], vt[N * N], work[8 * N * N], out[N * N];
    int n = N, lwork = 8 * N * N, iwork[8 * N], info;
    for (int i = 0; i < N; i++) eye[i * N + i] = 1;
    tiny_near_identity(N, angle, 0, 5, T);
    for (int i = 0; i < N * N; i++) a[i] = T[i] - eye[i];
    dgesdd_("A", &n, &n, a, &n, s, u, &n, vt, &n, work, &lwork, iwork, &info, 1);
    double total = 0;
    for (int i = 0; i < N; i++) total += s[i] * s[i];
    rs_error e = {0};
    rs_lowrank *l;
    if (!CHECK(rs_lowrank_new(&l, N, &e) == RS_OK)) return;
    static const uint64_t ranks[] = {2, 8, 32, N};
    for (size_t k = 0; k < sizeof ranks / sizeof ranks[0]; k++) {
        uint64_t r = ranks[k];
        const float *q, *m;
        rs_lowrank_loss loss;
        rs_lowrank_rule rule = {.rank = r};
        if (!CHECKF(rs_lowrank_cut(l, eye, T, &rule, &q, &m, &loss, &e) == RS_OK, "%s", e.text)) break;
        double kept = 0;
        for (uint64_t i = 0; i < r; i++) kept += s[i] * s[i];
        CHECK(loss.rank == r);
        CHECKF(fabs(loss.kept - kept / total) < 1e-12, "rank %d: kept %.15g, SVD %.15g", (int)r, loss.kept, kept / total);
        CHECKF(fabs(loss.norm - sqrt(total)) < 1e-12, "norm %.15g, SVD %.15g", loss.norm, sqrt(total));
        double lost = r < N ? 2 * asin(s[r] / 2) * 180 / 3.14159265358979 : 0;
        CHECKF(fabs(loss.angle - lost) < 1e-9, "rank %d: angle %.12g, SVD %.12g", (int)r, loss.angle, lost);
        rebuild(r, q, m, out);
        double error = frobenius(N * N, T, out), best = sqrt(total - kept > 0 ? total - kept : 0);
        // A cut between unequal singular values keeps an invariant subspace: what is lost is what lies outside.
        CHECKF(fabs(loss.error - error) < 2e-6 && fabs(error - best) < 2e-6, "rank %d: error said %.9g, is %.9g, at best %.9g", (int)r, loss.error, error, best);
        CHECKF(rs_dense_error(N, N, out) < 1e-6, "rank %d: T^ is not orthogonal: %.3g", (int)r, rs_dense_error(N, N, out));
    }
    rs_lowrank_free(l);
}

static void by_energy(void)
{
    static double eye[N * N], T[N * N];
    for (int i = 0; i < N; i++) eye[i * N + i] = 1;
    tiny_near_identity(N, 0.5, 10, 5, T);
    rs_error e = {0};
    rs_lowrank *l;
    const float *q, *m;
    rs_lowrank_loss loss;
    rs_lowrank_rule rule = {.energy = 0.95};
    if (!CHECK(rs_lowrank_new(&l, N, &e) == RS_OK)) return;
    CHECK(rs_lowrank_cut(l, eye, T, &rule, &q, &m, &loss, &e) == RS_OK);
    CHECKF(loss.rank > 0 && loss.rank <= 10 && loss.rank % 2 == 0 && loss.kept >= 0.95, "rank %d keeps %g", (int)loss.rank, loss.kept);
    rs_lowrank_rule less = {.rank = loss.rank - 2}, all = {.energy = 1 - 1e-9}, odd = {.rank = 3}, above = {.rank = N + 2};
    if (less.rank > 0) {
        CHECK(rs_lowrank_cut(l, eye, T, &less, &q, &m, &loss, &e) == RS_OK);
        CHECKF(loss.kept < 0.95, "rank %d keeps %g already", (int)loss.rank, loss.kept);
    }
    CHECK(rs_lowrank_cut(l, eye, T, &all, &q, &m, &loss, &e) == RS_OK);
    CHECKF(loss.rank == 10 && loss.error < 1e-4, "all of a junction of rank 10: rank %d, error %g", (int)loss.rank, loss.error);
    CHECK(rs_lowrank_cut(l, eye, eye, &rule, &q, &m, &loss, &e) == RS_OK && loss.rank == 0 && loss.norm == 0);
    CHECK(rs_lowrank_cut(l, eye, T, &odd, &q, &m, &loss, &e) == RS_USAGE);
    e = (rs_error){0};
    CHECK(rs_lowrank_cut(l, eye, T, &above, &q, &m, &loss, &e) == RS_USAGE);
    e = (rs_error){0};
    T[7] = NAN;
    CHECK(rs_lowrank_cut(l, eye, T, &rule, &q, &m, &loss, &e) == RS_E_VALUE);
    rs_lowrank_free(l);
}

// The nearest rotation has determinant +1 even where T has not.
static void reflection(void)
{
    double a[9] = {1, 0, 0, 0, 0.9, 0.1, 0, -0.1, -0.8}, want[9] = {1, 0, 0, 0, 0, 0, 0, 0, 0};
    rs_error e = {0};
    CHECK(rs_dense_rotation_part(3, a, &e) == RS_OK);
    double det = a[0] * (a[4] * a[8] - a[5] * a[7]) - a[1] * (a[3] * a[8] - a[5] * a[6]) + a[2] * (a[3] * a[7] - a[4] * a[6]);
    CHECKF(fabs(det - 1) < 1e-12 && rs_dense_error(3, 3, a) < 1e-12, "determinant %g, |S^T S - I| %g", det, rs_dense_error(3, 3, a));
    CHECK(fabs(a[0] - want[0]) < 1e-12);
}

static void no_drift(void)
{
    static double eye[N * N], T[N * N], R[N * N];
    for (int i = 0; i < N; i++) eye[i * N + i] = 1;
    tiny_rotation(N, 3, R);
    rs_error e = {0};
    rs_lowrank *l;
    if (!CHECK(rs_lowrank_new(&l, N, &e) == RS_OK)) return;
    for (uint64_t j = 0; j < 100; j++) {
        const float *q, *m;
        rs_lowrank_loss loss;
        rs_lowrank_rule rule = {.rank = 6};
        tiny_near_identity(N, 0.7, 6, j + 1, T);
        if (!CHECK(rs_lowrank_cut(l, eye, T, &rule, &q, &m, &loss, &e) == RS_OK && rs_lowrank_step(N, loss.rank, q, m, R, &e) == RS_OK)) break;
    }
    CHECKF(rs_dense_error(N, N, R) < 1e-12, "after 100 junctions |R^T R - I| is %.3g", rs_dense_error(N, N, R));
    rs_lowrank_free(l);
}

int main(void)
{
    against_svd(0.4);
    against_svd(2.5);
    by_energy();
    reflection();
    no_drift();
    return check_report();
}
