// SPDX-License-Identifier: Apache-2.0
// Counter-based random numbers: published SplitMix64 values, ranges, moments, independence of streams.
#include "transforms/random.h"

#include <math.h>

#include "tests/check.h"

static void known_values(void)
{
    // The first outputs of SplitMix64 from seed 0 and from 1234567.
    CHECK(rs_random_u64(0, 0, 0) == UINT64_C(0xe220a8397b1dcdaf));
    CHECK(rs_random_u64(0, 0, 1) == UINT64_C(0x6e789e6aa1b965f4));
    CHECK(rs_random_u64(0, 0, 2) == UINT64_C(0x06c45d188009454f));
    CHECK(rs_random_u64(1234567, 0, 0) == UINT64_C(6457827717110365317));
    CHECK(rs_random_u64(1234567, 0, 4) == UINT64_C(16408922859458223821));
}

static void ranges(void)
{
    int bad = 0;
    double mean = 0, square = 0;
    enum { N = 20000 };
    for (uint64_t i = 0; i < N; i++) {
        double u = rs_random_uniform(7, 3, i), g = rs_random_normal(7, 4, i);
        bad += !(u >= 0 && u < 1) || rs_random_below(7, 5, i, 10) >= 10;
        mean += g / N;
        square += g * g / N;
    }
    CHECK(bad == 0);
    CHECKF(fabs(mean) < 0.03, "mean %g", mean);
    CHECKF(fabs(square - 1) < 0.04, "variance %g", square);
}

static void streams(void)
{
    enum { N = 4096 };
    static int8_t a[N], b[N], c[N];
    rs_random_signs(1, 0, N, a);
    rs_random_signs(1, 1, N, b);
    rs_random_signs(2, 1, N, c);
    int sum = 0, ab = 0, bc = 0, odd = 0;
    for (int i = 0; i < N; i++) {
        odd += a[i] != 1 && a[i] != -1;
        sum += a[i];
        ab += a[i] * b[i];
        bc += b[i] * c[i];
    }
    CHECK(odd == 0);
    CHECKF(abs(sum) < 320 && abs(ab) < 320 && abs(bc) < 320, "sum %d, products %d %d", sum, ab, bc); // 5 standard deviations
}

int main(void)
{
    known_values();
    ranges();
    streams();
    return check_report();
}
