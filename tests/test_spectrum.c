// SPDX-License-Identifier: Apache-2.0
// Spectra of junctions: the Hadamard's, with and without signs, against the SVD, low rank against dense, from files of each kind.
#include "inspect/spectrum.h"

#include <math.h>
#include <time.h>

#include "kernels/hadamard.h"
#include "tests/stages.h"
#include "transforms/dense.h"
#include "transforms/random.h"

void dgesdd_(const char *jobz, const int *m, const int *n, double *a, const int *lda, double *s, double *u, const int *ldu, double *vt, const int *ldvt, double *work, const int *lwork,
             int *iwork, int *info, size_t);

static bool dense(rs_view_spectrum *s, uint64_t n, const double *A, const double *T)
{
    rs_error e = {0};
    return CHECKF(rs_spectrum_dense(s, 3, n, A, T, &e) == RS_OK, "%s", e.text) && CHECK(s->j == 3 && s->n == n && s->known == n && s->whole);
}

// Sylvester's: rank n/2, every sigma 2, E(r) = 2r/n; det +1. Random signs before it: E(n/8) = 0.247, E(n/2) = 0.82 at n = 128.
static void hadamard(void)
{
    enum { N = 128, SEEDS = 16 };
    static double H[N * N], T[N * N];
    rs_hadamard *h = rs_hadamard_new(N);
    rs_view_spectrum s;
    rs_hadamard_dense(h, H);
    if (dense(&s, N, NULL, H)) {
        for (size_t i = 0; i < N; i++) CHECKF(fabs(s.sigma[i] - (i < N / 2 ? 2 : 0)) < 1e-7, "sigma %d is %.17g", (int)i, s.sigma[i]);
        for (uint64_t r = 0; r <= N; r += 2) CHECKF(fabs(rs_view_energy(&s, r) - (r < N / 2 ? 2.0 * (double)r / N : 1)) < 1e-12, "E(%d) = %.17g", (int)r, rs_view_energy(&s, r));
        CHECK(s.det == 1 && s.orth < 1e-14);
    }
    rs_spectrum_free(&s);
    double eighth = 0, half = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        int8_t signs[N];
        int negative = 0;
        rs_random_signs(seed, 0, N, signs);
        for (size_t i = 0; i < N * N; i++) T[i] = H[i] * signs[i / N];
        for (size_t i = 0; i < N; i++) negative += signs[i] < 0;
        if (dense(&s, N, NULL, T)) {
            eighth += rs_view_energy(&s, N / 8) / SEEDS;
            half += rs_view_energy(&s, N / 2) / SEEDS;
            CHECKF(s.det == (negative % 2 == 0 ? 1 : -1), "seed %d: %d negative signs, determinant %d", (int)seed, negative, s.det);
        }
        rs_spectrum_free(&s);
    }
    CHECKF(fabs(eighth - 0.247) < 0.0015 && fabs(half - 0.82) < 0.005, "random signs: E(n/8) = %.4f, E(n/2) = %.4f", eighth, half);
    rs_hadamard_free(h);
}

// sigma are the singular values of T - I, energies their squares.
static void against_svd(void)
{
    enum { N = 40 };
    static double A[N * N], T[N * N], B[N * N], a[N * N], sv[N], work[8 * N * N];
    int n = N, lwork = 8 * N * N, iwork[8 * N], info;
    rs_view_spectrum s;
    tiny_rotation(N, 2, A);
    tiny_near_identity(N, 2, 0, 7, T);
    rs_dense_nn(N, N, N, A, N, T, N, 0, B, N);
    for (int i = 0; i < N * N; i++) a[i] = T[i] - (i % (N + 1) == 0);
    dgesdd_("N", &n, &n, a, &n, sv, NULL, &n, NULL, &n, work, &lwork, iwork, &info, 1);
    if (!dense(&s, N, A, B)) return;
    double total = 0, kept = 0;
    for (int i = 0; i < N; i++) {
        CHECKF(fabs(s.sigma[i] - sv[i]) < 1e-12, "sigma %d: %.15g, SVD %.15g", i, s.sigma[i], sv[i]);
        total += sv[i] * sv[i];
        if (i < 10) kept += sv[i] * sv[i];
    }
    CHECK(fabs(rs_view_energy(&s, 10) - kept / total) < 1e-12 && s.det == 1);
    rs_spectrum_free(&s);
}

static void refused(void)
{
    double far[4] = {1, 0, 0, 0.9}, bad[4] = {1, NAN, 0, 1};
    float rising[2] = {0.1f, 0.2f}, wild[2] = {4, 1}, nan[2] = {NAN, 0}, q[2] = {1, 1}, m[1] = {0};
    rs_view_spectrum s;
    CHECK(rs_spectrum_dense(&s, 0, 2, NULL, far, &(rs_error){0}) == RS_E_VALUE);
    rs_spectrum_free(&s);
    CHECK(rs_spectrum_dense(&s, 0, 2, NULL, bad, &(rs_error){0}) == RS_E_VALUE);
    rs_spectrum_free(&s);
    const float *list[] = {rising, wild, nan};
    for (int i = 0; i < 3; i++) {
        CHECK(rs_spectrum_angles(&s, 0, 2, list[i], NAN, &(rs_error){0}) == RS_E_VALUE);
        rs_spectrum_free(&s);
    }
    CHECK(rs_spectrum_lowrank(&s, 0, 2, 3, q, m, &(rs_error){0}) == RS_E_LIMIT);
    rs_spectrum_free(&s);
    m[0] = -0.5f; // S is no rotation
    CHECK(rs_spectrum_lowrank(&s, 0, 2, 1, q, m, &(rs_error){0}) == RS_E_VALUE);
    rs_spectrum_free(&s);
}

// ---- from files

static char model[128], rot[128], chain[128], fused[128], low[128];

struct file {
    rs_outline *o;
    rs_view_model m;
};

static bool opened(struct file *f, const char *path)
{
    rs_error e = {0};
    *f = (struct file){0};
    return CHECKF(rs_outline_open(&f->o, path, &e) == RS_OK && rs_view_model_init(&f->m, f->o, NULL, NULL, &e) == RS_OK, "%s: %s", path, e.text);
}

static void closed(struct file *f)
{
    rs_view_model_free(&f->m);
    rs_outline_close(f->o);
}

// The same junctions as pairs of bases, as dense matrices of a model, as frames behind a cut, and as what the cut kept.
static void same_in_all(const tiny_spec *s)
{
    struct file f[3];
    rs_error e = {0};
    const char *paths[] = {rot, fused, low};
    bool ok = tiny_model(model, s) && tiny_rotations(rot, s, TINY_DENSE, 0.6, 0, 5, model) && tiny_fuse(model, rot, fused, (rs_fuse_options){.rotate = true}, &e) == RS_OK;
    if (!CHECKF(ok && stages_residual(fused, rot, low, 8, &e) == RS_OK, "%s", e.text)) return;
    for (int k = 0; k < 3; k++) ok = opened(&f[k], paths[k]) && ok;
    for (size_t j = 0; ok && j < 2 * s->L; j++) {
        rs_view_spectrum of[4] = {0};
        for (int k = 0; k < 3; k++) {
            CHECK(f[k].m.n_junctions == 2 * s->L && f[k].m.junction[j].j == j && (f[k].m.junction[j].tensor < 0 || f[k].m.junction[j].n == s->d)); // a frame alone tells its width when it is read
            CHECKF(rs_spectrum_load(&of[k], f[k].o, &f[k].m.junction[j], &e) == RS_OK && of[k].whole, "junction %d of %s: %s", (int)j, paths[k], e.text);
        }
        for (size_t i = 0; i < s->d; i++) {
            CHECK(fabs(of[0].theta[i] - of[1].theta[i]) < 1e-5);
            if (j == 0) CHECKF(fabs(of[0].theta[i] - of[2].theta[i]) < 1e-5, "angle %d: %g, behind the cut %g", (int)i, of[0].theta[i], of[2].theta[i]); // the walk starts at the learned basis
        }
        CHECK(of[0].orth < 1e-5 && of[1].orth < 1e-5 && isnan(of[2].orth) && of[0].det == 1 && of[2].det == 1);
        rs_view_junction kept = f[2].m.junction[j];
        kept.frame = -1; // as if the frame were not there
        if (j + 1 < 2 * s->L && CHECKF(rs_spectrum_load(&of[3], f[2].o, &kept, &e) == RS_OK, "%s", e.text)) {
            CHECK(of[3].known == 8 && !of[3].whole && of[3].det == 1 && of[3].orth < 1e-5 && isnan(rs_view_energy(&of[3], 4)));
            for (size_t i = 0; i < 8; i++) CHECKF(fabs(of[3].theta[i] - of[2].theta[i]) < 1e-5, "junction %d, angle %d: kept %g of %g", (int)j, (int)i, of[3].theta[i], of[2].theta[i]);
        }
        for (int k = 0; k < 4; k++) rs_spectrum_free(&of[k]);
    }
    for (int k = 0; k < 3; k++) closed(&f[k]);
}

// A chain of rank 6: what is kept is all there is.
static void of_a_chain(const tiny_spec *s)
{
    struct file f;
    rs_error e = {0};
    if (!CHECK(tiny_rotations(chain, s, TINY_CHAIN, 0.9, 6, 5, NULL)) || !opened(&f, chain)) return;
    for (size_t j = 0; j < f.m.n_junctions; j++) {
        rs_view_spectrum v;
        CHECKF(rs_spectrum_load(&v, f.o, &f.m.junction[j], &e) == RS_OK && v.known == 6 && v.theta[0] > 0.1 && v.det == 1, "junction %d: %s", (int)j, e.text);
        rs_spectrum_free(&v);
    }
    CHECK(f.m.n_junctions == 2 * s->L);
    closed(&f);
}

// A screen waits for it.
static void fast_enough(void)
{
    enum { N = 576 };
    double *A = malloc(N * N * sizeof *A), *B = malloc(N * N * sizeof *B);
    struct timespec a, b;
    rs_view_spectrum s;
    tiny_rotation(N, 1, A);
    tiny_rotation(N, 2, B);
    clock_gettime(CLOCK_MONOTONIC, &a);
    if (dense(&s, N, A, B)) {
        clock_gettime(CLOCK_MONOTONIC, &b);
        printf("n = %d: %.0f ms\n", N, 1e3 * (double)(b.tv_sec - a.tv_sec) + 1e-6 * (double)(b.tv_nsec - a.tv_nsec));
    }
    rs_spectrum_free(&s);
    free(A);
    free(B);
}

int main(void)
{
    tiny_spec s = tiny_default();
    tiny_path(model, sizeof model, "model.rsq");
    tiny_path(rot, sizeof rot, "rot.rsq");
    tiny_path(chain, sizeof chain, "chain.rsq");
    tiny_path(fused, sizeof fused, "fused.rsq");
    tiny_path(low, sizeof low, "low.rsq");
    rs_threads_set(2);
    hadamard();
    against_svd();
    refused();
    same_in_all(&s);
    of_a_chain(&s);
    fast_enough();
    return check_report();
}
