// SPDX-License-Identifier: Apache-2.0
// Adam against its formula in fp64 and on a badly scaled quadratic; same bytes for any number of threads; gradients that are not finite.
#include "transforms/adam.h"

#include <math.h>

#include "kernels/threads.h"
#include "tests/check.h"
#include "transforms/random.h"

enum { N = 100003 };

static float p[N], g[N], m[N], v[N], first[N];

static void fill(float *x, uint64_t stream, double size)
{
    for (size_t i = 0; i < N; i++) x[i] = (float)(size * rs_random_normal(1, stream, i));
}

static void formula(int threads)
{
    enum { STEPS = 5, K = 50 };
    double P[K], M[K] = {0}, V[K] = {0};
    rs_error e = {0};
    rs_threads_set(threads);
    fill(p, 0, 1);
    memset(m, 0, sizeof m);
    memset(v, 0, sizeof v);
    for (int i = 0; i < K; i++) P[i] = p[i];
    for (uint64_t t = 1; t <= STEPS; t++) {
        fill(g, t, t == 3 ? 100 : 0.01);
        if (!CHECK(rs_adam_step(N, p, g, m, v, t, 0.02, 0.9, 0.95, 1e-8, 0.1, &e) == RS_OK)) return;
        for (int i = 0; i < K; i++) {
            double x = g[i] + 0.1 * P[i];
            M[i] = 0.9 * M[i] + 0.1 * x;
            V[i] = 0.95 * V[i] + 0.05 * x * x;
            P[i] -= 0.02 * (M[i] / (1 - pow(0.9, (double)t))) / (sqrt(V[i] / (1 - pow(0.95, (double)t))) + 1e-8);
        }
    }
    double worst = 0;
    for (int i = 0; i < K; i++) worst = fmax(worst, fabs(P[i] - p[i]));
    CHECKF(worst < 1e-6, "%d threads: %.3g from the formula", threads, worst);
    if (threads == 1) memcpy(first, p, sizeof p);
    else CHECKF(memcmp(first, p, sizeof p) == 0, "%d threads change the result", threads);
    rs_threads_set(1);
}

static void descends(void)
{
    float x[3] = {1, -2, 3}, dx[3], a[3] = {0}, b[3] = {0};
    static const float scale[3] = {1e-3f, 1, 1e3f};
    rs_error e = {0};
    for (uint64_t t = 1; t <= 2000; t++) {
        for (int i = 0; i < 3; i++) dx[i] = scale[i] * x[i];
        if (!CHECK(rs_adam_step(3, x, dx, a, b, t, 0.05 * (1 - (double)t / 2001), 0.9, 0.95, 1e-12, 0, &e) == RS_OK)) return;
    }
    for (int i = 0; i < 3; i++) CHECKF(fabsf(x[i]) < 1e-3, "parameter %d ends at %g", i, x[i]);
}

static void not_finite(void)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        float x[4] = {1, 2, 3, 4}, dx[4] = {1, 1, 1, bad[i]}, a[4] = {0}, b[4] = {0};
        rs_error e = {0};
        CHECK(rs_adam_step(4, x, dx, a, b, 1, 0.1, 0.9, 0.95, 1e-8, 0, &e) == RS_E_VALUE && strcmp(e.text, "gradient is not finite") == 0);
        CHECK(x[0] == 1 && x[3] == 4 && a[0] == 0 && b[0] == 0);
    }
}

int main(void)
{
    formula(1);
    formula(2);
    formula(4);
    descends();
    not_finite();
    return check_report();
}
