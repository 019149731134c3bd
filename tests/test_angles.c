// SPDX-License-Identifier: Apache-2.0
// Angles of a rotation that was put together from planes, turned about: whole and in low rank, small ones too, and past what f32 does to the bases.
#include "transforms/angles.h"

#include <math.h>

#include "tests/check.h"
#include "tests/tiny.h"
#include "transforms/dense.h"
#include "transforms/lowrank.h"

enum { N = 24 };

// T = P B P^T with planes that turn by angle[i] = top / 3^i; the last plane by nothing.
static void planes(double top, double *T, double *want)
{
    static double P[N * N], B[N * N], y[N * N];
    tiny_rotation(N, 9, P);
    memset(B, 0, sizeof B);
    for (int i = 0; i < N / 2; i++) {
        const double t = i + 1 < N / 2 ? top / pow(3, i) : 0;
        want[2 * i] = want[2 * i + 1] = t;
        B[2 * i * N + 2 * i] = B[(2 * i + 1) * N + 2 * i + 1] = cos(t);
        B[2 * i * N + 2 * i + 1] = sin(t);
        B[(2 * i + 1) * N + 2 * i] = -sin(t);
    }
    rs_dense_nn(N, N, N, P, N, B, N, 0, y, N);
    rs_dense_nt(N, N, N, y, N, P, N, 0, T, N);
}

static void known(double top)
{
    static double T[N * N], A[N * N], B[N * N], wide[N], want[N];
    static float theta[N];
    rs_error e = {0};
    double worst = 0, error = 0;
    planes(top, T, want);
    tiny_rotation(N, 4, A);
    rs_dense_nn(N, N, N, A, N, T, N, 0, B, N);
    CHECKF(rs_angles_of(N, T, wide, &e) == RS_OK, "%s", e.text);
    for (int i = 0; i < N; i++) worst = fmax(worst, fabs(wide[i] - want[i]) * fmax(sin(want[i]), 1e-8)); // what rounds is the cosine
    CHECKF(worst < 1e-14, "top %g: off by %.3g", top, worst);
    for (int i = 0; i < N * N; i++) {
        A[i] = (float)A[i];
        B[i] = (float)B[i];
    }
    CHECKF(rs_angles_between(N, A, B, theta, &error, &e) == RS_OK, "%s", e.text);
    CHECKF(error > 1e-9 && error < 1e-6, "bases in f32 give a T off by %.3g", error);
    worst = 0;
    for (int i = 0; i < N; i++) worst = fmax(worst, fabs((double)theta[i] - want[i]));
    CHECKF(worst < 5e-7, "top %g: through f32 off by %.3g", top, worst);
}

// A reflection turns one direction by pi.
static void reflection(void)
{
    double T[9] = {1, 0, 0, 0, -1, 0, 0, 0, 1}, theta[3];
    rs_error e = {0};
    CHECK(rs_angles_of(3, T, theta, &e) == RS_OK && fabs(theta[0] - acos(-1)) < 1e-12 && theta[1] == 0 && theta[2] == 0);
    double bad[4] = {1, NAN, 0, 1}, far[4] = {1, 0, 0, 0.2}, one[4] = {1, 0, 0, 1};
    float f[2];
    CHECK(rs_angles_of(2, bad, theta, &e) == RS_E_VALUE);
    e = (rs_error){0};
    CHECK(rs_angles_between(2, one, far, f, NULL, &e) == RS_E_VALUE);
}

// A cut gives the angles that it found on its way; where it finds none it says so.
static void of_a_cut(void)
{
    static double T[N * N], eye[N * N], want[N];
    static float theta[N];
    rs_error e = {0};
    rs_lowrank *l;
    const float *q, *m;
    rs_lowrank_loss loss;
    planes(2.5, T, want);
    for (int i = 0; i < N; i++) eye[i * N + i] = 1;
    if (!CHECK(rs_lowrank_new(&l, N, &e) == RS_OK)) return;
    CHECK(!rs_lowrank_angles(l, theta));
    CHECK(rs_lowrank_cut(l, eye, T, &(rs_lowrank_rule){.rank = 4}, &q, &m, &loss, &e) == RS_OK && rs_lowrank_angles(l, theta));
    for (int i = 0; i < N; i++) CHECKF(fabs((double)theta[i] - want[i]) < 1e-6, "angle %d: %g for %g", i, (double)theta[i], want[i]);
    CHECK(rs_lowrank_cut(l, eye, T, &(rs_lowrank_rule){.rank = N}, &q, &m, &loss, &e) == RS_OK && !rs_lowrank_angles(l, theta));
    CHECK(rs_lowrank_cut(l, eye, eye, &(rs_lowrank_rule){.rank = 4}, &q, &m, &loss, &e) == RS_OK && rs_lowrank_angles(l, theta) && theta[0] == 0);
    rs_lowrank_free(l);
}

int main(void)
{
    known(3.1);
    known(1);
    known(1e-3);
    reflection();
    of_a_cut();
    return check_report();
}
