// SPDX-License-Identifier: Apache-2.0
// Error measures against plain fp64 computations and known cases.
#include <math.h>

#include "inspect/measure.h"
#include "kernels/threads.h"
#include "tests/check.h"

static void differences(void)
{
    const float a[4] = {1, 2, -3, 4}, b[4] = {1, 2.5f, -3, 4};
    rs_difference d = {0};
    CHECK(rs_measure_relative(&d) == 0);
    rs_measure_add(&d, 2, a, b);
    rs_measure_add(&d, 2, a + 2, b + 2);
    CHECK(d.n == 4 && d.max_abs == 0.5 && d.max_ref == 4 && rs_measure_relative(&d) == 0.125);
    CHECK(fabs(rs_measure_snr(&d) - 10 * log10((1 + 6.25 + 9 + 16) / 0.25)) < 1e-12);
    const float zero[2] = {0, 0}, one[2] = {0, 1}, bad[2] = {NAN, 1};
    d = (rs_difference){0};
    rs_measure_add(&d, 2, zero, zero);
    CHECK(rs_measure_relative(&d) == 0 && isinf(rs_measure_snr(&d)));
    rs_measure_add(&d, 2, one, zero);
    CHECK(isinf(rs_measure_relative(&d)));
    for (int side = 0; side < 2; side++) {
        d = (rs_difference){0};
        rs_measure_add(&d, 2, side ? bad : one, side ? one : bad);
        CHECK(d.bad == 1 && isinf(rs_measure_relative(&d)));
    }
    const float inf[1] = {INFINITY};
    d = (rs_difference){0};
    rs_measure_add(&d, 1, inf, inf);
    CHECK(d.bad == 1);
}

static void divergence(void)
{
    enum { B = 5, V = 97 };
    float x[B * V], r[B * V];
    double kl[B];
    uint8_t top[B];
    for (int i = 0; i < B * V; i++) {
        x[i] = (float)sin(i * 0.7) * 6 + 100;
        r[i] = (float)cos(i * 0.31) * 6 - 50;
    }
    memcpy(x, r, V * sizeof *x); // row 0: equal
    for (int i = 0; i < V; i++) x[V + i] = r[V + i] + 3; // row 1: shifted, the same distribution
    rs_threads_set(2);
    rs_measure_kl(B, V, x, r, kl, top);
    CHECK(kl[0] == 0 && fabs(kl[1]) < 1e-6 && top[0] == 1 && top[1] == 1);
    for (int b = 2; b < B; b++) {
        double zx = 0, zr = 0, want = 0;
        int tx = 0, tr = 0;
        for (int v = 0; v < V; v++) {
            zx += exp((double)x[b * V + v] - 100);
            zr += exp((double)r[b * V + v] + 50);
            tx = x[b * V + v] > x[b * V + tx] ? v : tx;
            tr = r[b * V + v] > r[b * V + tr] ? v : tr;
        }
        for (int v = 0; v < V; v++) {
            double lp = (double)r[b * V + v] + 50 - log(zr), lq = (double)x[b * V + v] - 100 - log(zx);
            want += exp(lp) * (lp - lq);
        }
        CHECKF(fabs(kl[b] - want) < 1e-5 * want, "row %d: KL %.9g, exact %.9g", b, kl[b], want);
        CHECK(top[b] == (tx == tr));
    }
    x[3] = NAN;
    rs_measure_kl(1, V, x, r, kl, top);
    CHECK(isnan(kl[0]));
}

int main(void)
{
    differences();
    divergence();
    return check_report();
}
