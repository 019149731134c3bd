// SPDX-License-Identifier: Apache-2.0
// Statistics of matrices against sums in long double, order statistics of sorted data and direct counts, on data that is unkind to sums of powers.
#include "inspect/stat.h"

#include <float.h>

#include "inspect/stat_top.h"
#include "kernels/central.h"
#include "kernels/scan.h"
#include "kernels/threads.h"
#include "tests/check.h"
#include "tests/uniform.h"

enum kind { NORMAL, HUGE_MEAN, OUTLIER, CONSTANT, ZEROS, FEW, RISING, BAD, TINY_VALUES, LARGE_VALUES, KINDS };
static const char *const kinds[KINDS] = {"normal", "huge mean", "one outlier", "constant", "zeros", "few values", "rising", "not finite", "tiny", "large"};

static float *data(enum kind kind, size_t rows, size_t cols)
{
    seed = 7 + (uint32_t)kind;
    const size_t n = rows * cols;
    float *x = malloc(n * sizeof *x + 1);
    for (size_t i = 0; i < n; i++) {
        const float u = uniform() + uniform() + uniform();
        switch (kind) {
        case HUGE_MEAN: x[i] = 1e6f + u; break;
        case CONSTANT: x[i] = 0.1f; break;
        case ZEROS: x[i] = i % 2 ? -0.0f : 0.0f; break;
        case FEW: x[i] = 0.25f * rintf(4 * u); break;
        case RISING: x[i] = (float)i - 10; break;
        case TINY_VALUES: x[i] = u * 1e-41f; break;
        case LARGE_VALUES: x[i] = u * 2e38f; break;
        default: x[i] = u; break;
        }
    }
    if (kind == OUTLIER) x[n / 2] = 1e6f;
    for (size_t i = 0; kind == BAD && i < n; i += 5) x[i] = i % 3 == 0 ? NAN : i % 3 == 1 ? INFINITY : -INFINITY;
    return x;
}

static double relative(double got, long double want)
{
    if (isnan(got) || isnan((double)want)) return isnan(got) && isnan((double)want) ? 0 : INFINITY;
    return (double)(fabsl((long double)got - want) / (want == 0 ? 1 : fabsl(want)));
}

struct sums {
    long double n, mean, m2, m3, m4, square;
};

// Of the finite ones of n values at a stride.
static struct sums two_pass(size_t n, const float *x, size_t stride)
{
    struct sums s = {0};
    for (size_t i = 0; i < n; i++)
        if (isfinite(x[i * stride])) {
            s.n++;
            s.mean += (long double)x[i * stride];
            s.square += (long double)x[i * stride] * (long double)x[i * stride];
        }
    s.mean = s.n > 0 ? s.mean / s.n : 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(x[i * stride])) {
            const long double d = (long double)x[i * stride] - s.mean;
            s.m2 += d * d;
            s.m3 += d * d * d;
            s.m4 += d * d * d * d;
        }
    return s;
}

static long double kurtosis(const struct sums *s)
{
    return s->m2 > 0 ? s->n * s->m4 / (s->m2 * s->m2) - 3 : 0;
}

static void moments(enum kind kind, size_t rows, size_t cols)
{
    static const char *const tables[] = {"reference", "avx2", "avx512", NULL};
    float *x = data(kind, rows, cols);
    rs_central *got[4];
    double worst = 0;
    for (int t = 0; t < 4; t++) {
        got[t] = calloc(cols + 1, sizeof **got);
        rs_central_add(tables[t], rows, cols, x, cols, got[t]);
        CHECKF(memcmp(got[t], got[0], cols * sizeof **got) == 0, "%s %zu x %zu: %s differs from the reference", kinds[kind], rows, cols, tables[t] != NULL ? tables[t] : "the best");
    }
    for (size_t j = 0; j < cols; j++) {
        const struct sums want = two_pass(rows, x + j, cols);
        const rs_central *c = &got[0][j];
        CHECK(c->n == (double)want.n);
        worst = worse(worst, relative(c->mean, want.mean));
        worst = worse(worst, relative(c->m2, want.m2));
        worst = worse(worst, relative(c->m4, want.m4));
        worst = worse(worst, fabs(c->m3 - (double)want.m3) / (double)(want.m3 == 0 ? 1 : powl(want.m2, 1.5L)));
        worst = worse(worst, fabs(rs_central_kurtosis(c) - (double)kurtosis(&want)) / (3 + (double)fabsl(kurtosis(&want))));
        worst = worse(worst, relative(rs_central_rms(c), want.n > 0 ? sqrtl(want.square / want.n) : 0));
    }
    CHECKF(worst < 1e-9, "%s %zu x %zu: columns off by %.3g", kinds[kind], rows, cols, worst);
    const struct sums want = two_pass(rows * cols, x, 1);
    const rs_central all = rs_central_all(cols, got[0]);
    worst = worse(relative(all.m2, want.m2), relative(all.m4, want.m4));
    CHECKF(all.n == (double)want.n && worst < 1e-9, "%s %zu x %zu: together off by %.3g", kinds[kind], rows, cols, worst);
    for (int t = 0; t < 4; t++) free(got[t]);
    free(x);
}

static void scans(enum kind kind, size_t n)
{
    static const char *const tables[] = {"reference", "avx2", "avx512", NULL};
    float *x = data(kind, 1, n), most = 0;
    size_t zeros = 0, bad = 0;
    const struct sums want = two_pass(n, x, 1);
    for (size_t i = 0; i < n; i++) {
        if (isfinite(x[i]) && fabsf(x[i]) > most) most = fabsf(x[i]);
        zeros += x[i] == 0;
        bad += !isfinite(x[i]);
    }
    const rs_scan first = rs_scan_row(tables[0], n, x);
    CHECKF(first.max == most && first.zeros == zeros && first.bad == bad && relative(first.square, want.square) < 1e-12, "%s %zu: %g %g %zu %zu", kinds[kind], n, (double)first.max, first.square,
           first.zeros, first.bad);
    for (int t = 1; t < 4; t++) {
        const rs_scan s = rs_scan_row(tables[t], n, x);
        CHECKF(s.max == first.max && s.square == first.square && s.zeros == first.zeros && s.bad == first.bad, "%s %zu: table %d differs", kinds[kind], n, t);
    }
    free(x);
}

static int rising(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

// The finite magnitudes of x in order; how many.
static size_t sorted(size_t n, const float *x, float *out)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(x[i])) out[count++] = fabsf(x[i]);
    qsort(out, count, sizeof *out, rising);
    return count;
}

static double quantile(size_t n, const float *order, double q)
{
    const double at = q * (double)(n - 1);
    const size_t i = (size_t)at;
    return i + 1 < n ? (double)order[i] + ((double)order[i + 1] - (double)order[i]) * (at - (double)i) : (double)order[i];
}

static void quantiles(enum kind kind, size_t n)
{
    rs_error e = {0};
    rs_stat_top t = {0}, half = {0};
    float *x = data(kind, 1, n), *order = malloc(n * sizeof *order);
    const size_t count = sorted(n, x, order);
    for (int two = 0; two < 2; two++) { // in one buffer; and the second half in another, which joins it
        if (!CHECK(rs_stat_top_start(&t, rs_stat_top_need(n, 0.99), -1, &e) == RS_OK)) return;
        for (size_t i = 0, step; i < (two ? n / 2 : n); i += step) {
            step = n - i < 37 ? n - i : 37;
            if (two && step > n / 2 - i) step = n / 2 - i;
            rs_stat_top_add(&t, step, x + i, rs_scan_row(NULL, step, x + i).max);
        }
        if (!CHECK(rs_stat_top_start(&half, t.keep, t.least, &e) == RS_OK)) return;
        if (two) rs_stat_top_add(&half, n - n / 2, x + n / 2, rs_scan_row(NULL, n - n / 2, x + n / 2).max);
        rs_stat_top_join(&t, &half);
        const double a = rs_stat_top_quantile(&t, count, 0.99), b = rs_stat_top_quantile(&t, count, 0.9999);
        CHECKF(a == quantile(count, order, 0.99) && b == quantile(count, order, 0.9999), "%s %zu: %.9g %.9g, sorted %.9g %.9g", kinds[kind], n, a, b, quantile(count, order, 0.99), quantile(count, order, 0.9999));
    }
    free(t.v);
    free(half.v);
    free(x);
    free(order);
}

// ---- all of it

static rs_stat_result measure(const rs_stat_options *o, size_t rows, const float *x, size_t ld, const size_t *cuts, int threads)
{
    rs_error e = {0};
    rs_stat *s;
    rs_stat_work *w;
    rs_stat_result r = {0};
    rs_threads_set(threads);
    if (!CHECK(rs_stat_work_new(&w, &e) == RS_OK && rs_stat_new(&s, o, &e) == RS_OK)) exit(1);
    for (size_t first = 0; first < rows; first += *cuts++) CHECK(rs_stat_add(s, w, *cuts < rows - first ? *cuts : rows - first, x + first * ld, ld, &e) == RS_OK);
    CHECK(rs_stat_finish(s, &r, &e) == RS_OK);
    rs_stat_free(s);
    rs_stat_work_free(w);
    return r;
}

static size_t bin_of(float x, double rms)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    bits &= 0xffff0000;
    memcpy(&x, &bits, 4);
    size_t b = 0;
    while (b < 63 && rms > 0 && (double)x / rms >= -8 + 0.25 * (double)(b + 1)) b++;
    return rms > 0 ? b : 32;
}

static double sqnr(const float *x, size_t rows, size_t cols, size_t ld, size_t span, rs_quantizer q, unsigned bits)
{
    float *y = malloc(rows * cols * sizeof *y);
    long double error = 0, signal = 0;
    q.bits = bits;
    for (size_t r = 0; r < rows; r++) memcpy(y + r * cols, x + r * ld, cols * sizeof *y);
    const size_t bad = rs_kernels_reference()->fake_quant(&q, rows * cols / span, span, y, span);
    for (size_t i = 0; i < rows * cols; i++) {
        const long double v = (long double)x[i / cols * ld + i % cols];
        signal += v * v;
        error += ((long double)y[i] - v) * ((long double)y[i] - v);
    }
    free(y);
    return bad == 0 && signal > 0 && error > 0 ? 10 * log10((double)(signal / error)) : NAN;
}

static void whole(enum kind kind, size_t rows, size_t cols, size_t span)
{
    const size_t ld = cols + 3, n = rows * cols;
    float *packed = data(kind, rows, cols), *x = malloc(rows * ld * sizeof *x), *order = malloc(n * sizeof *order);
    for (size_t i = 0; i < rows * ld; i++) x[i] = 12345;
    for (size_t r = 0; r < rows; r++) memcpy(x + r * ld, packed + r * cols, cols * sizeof *x);
    const rs_stat_options o = {.rows = rows, .channels = cols, .tokens = true, .settings = 3, .span = span,
                               .quantizer = {{.bits = 16, .clip = 1}, {.bits = 16, .sym = true, .clip = 0.9f}, {.bits = 8, .clip = 1, .group = span % 2 ? span : span / 2}}};
    const size_t cuts[] = {1, 70, rows, rows, rows}, once[] = {rows};
    rs_stat_result r = measure(&o, rows, x, ld, once, 1), again = measure(&o, rows, x, ld, once, 5), cut = measure(&o, rows, x, ld, cuts, 2);
    CHECKF(memcmp(r.absmax, again.absmax, cols * 4) == 0 && memcmp(r.rms_of, again.rms_of, 2 * cols * 4) == 0 && memcmp(r.hist, again.hist, sizeof r.hist) == 0 &&
           memcmp(&r.max, &again.max, (size_t)((char *)(&r + 1) - (char *)&r.max)) == 0, "%s: 5 threads differ from one", kinds[kind]);
    CHECKF(relative(cut.kurt, r.kurt) < 1e-9 && relative(cut.rms, r.rms) < 1e-12 && cut.p999 == r.p999 && memcmp(cut.hist, r.hist, sizeof r.hist) == 0, "%s: cut into other calls", kinds[kind]);
    const struct sums all = two_pass(n, packed, 1);
    const size_t count = sorted(n, packed, order);
    double worst = 0, incoherence = NAN, zeros = 0;
    uint64_t hist[64] = {0}, bad = n - count;
    for (size_t j = 0; j < cols; j++) {
        const struct sums c = two_pass(rows, packed + j, cols);
        float most = 0;
        for (size_t k = 0; k < rows; k++)
            if (isfinite(packed[k * cols + j]) && fabsf(packed[k * cols + j]) > most) most = fabsf(packed[k * cols + j]);
        CHECK(r.absmax[j] == most);
        const double rms = c.n > 0 ? sqrt((double)(c.square / c.n)) : 0;
        worst = worse(worst, fabs((double)r.rms_of[j] - rms) / (rms + 1e-38)); // as f32 it may be subnormal
        worst = worse(worst, fabs((double)r.kurt_of[j] - (double)kurtosis(&c)) / (3 + (double)fabsl(kurtosis(&c))));
    }
    CHECKF(worst < 1e-6, "%s: channels off by %.3g", kinds[kind], worst);
    for (size_t i = 0; i < n; i++) {
        zeros += packed[i] == 0;
        if (isfinite(packed[i])) hist[bin_of(packed[i], r.rms)]++;
    }
    for (size_t k = 0; k < rows; k++) {
        const struct sums row = two_pass(cols, packed + k * cols, 1);
        double most = 0;
        for (size_t j = 0; j < cols; j++)
            if (isfinite(packed[k * cols + j])) most = fmax(most, fabs((double)packed[k * cols + j]));
        if (most > 0) incoherence = fmax(incoherence, most * sqrt((double)(row.n / row.square)));
    }
    CHECKF(memcmp(hist, r.hist, sizeof hist) == 0, "%s: histogram", kinds[kind]);
    CHECKF(r.max == (double)order[count - 1] && r.bad == bad && relative(r.zeros, zeros / (double)count) < 1e-12, "%s: max %g, bad %d, zeros %g", kinds[kind], r.max, (int)r.bad, r.zeros);
    CHECKF(relative(r.rms, sqrtl(all.square / all.n)) < 1e-12 && fabs(r.kurt - (double)kurtosis(&all)) <= 1e-9 * (3 + fabs(r.kurt)), "%s: rms %.12g, kurt %.12g", kinds[kind], r.rms, r.kurt);
    CHECKF(r.p999 == quantile(count, order, 0.999) && r.p9999 == quantile(count, order, 0.9999), "%s: quantiles %.9g %.9g", kinds[kind], r.p999, r.p9999);
    CHECKF(relative(r.incoherence, incoherence) < 1e-12, "%s: incoherence %.12g, wanted %.12g", kinds[kind], r.incoherence, incoherence);
    for (size_t k = 0; k < 3; k++)
        for (unsigned b = 0; b < 2; b++) {
            const double want = sqnr(x, rows, cols, ld, span, o.quantizer[k], 4 - b);
            CHECKF(relative(r.sqnr[k][b], want) < 1e-9, "%s: setting %zu, %u bits: %.12g dB, wanted %.12g", kinds[kind], k, 4 - b, r.sqnr[k][b], want);
        }
    rs_stat_result_clear(&r);
    rs_stat_result_clear(&again);
    rs_stat_result_clear(&cut);
    free(packed);
    free(x);
    free(order);
}

// Rows at the thresholds of a massive one: above 100 and 1000 times the median.
static void massive(void)
{
    static const float tops[] = {100, 100.5f, 250, 250, 250, 3e38f}, rest[] = {0.01f, 0.1f, 0.25f, 0.2500001f, 0, 3e30f};
    enum { ROWS = 6, COLS = 10 };
    float x[ROWS * COLS];
    const size_t once[] = {ROWS};
    for (size_t r = 0; r < ROWS; r++)
        for (size_t j = 0; j < COLS; j++) x[r * COLS + j] = j == 4 ? -tops[r] : j % 2 ? rest[r] : -rest[r];
    x[5 * COLS + 1] = NAN;
    rs_stat_options o = {.rows = ROWS, .channels = COLS, .tokens = true};
    rs_stat_result r = measure(&o, ROWS, x, COLS, once, 2);
    CHECKF(r.massive == 4 && r.bad == 1, "%d massive rows, wanted 4", (int)r.massive); // not the first (100 is not above 100), not the fourth (just below 1000 times the median)
    CHECK(isnan(r.sqnr[0][0]) && r.rows == ROWS);
    rs_stat_result_clear(&r);
    const float middle[2][4] = {{1000, 0.5f, 1.25f, 1e-3f}, {1000, 0.875f, 1.25f, 1e-3f}}; // medians 0.875 and 1.0625
    r = measure(&(rs_stat_options){.rows = 2, .channels = 4, .tokens = true}, 2, middle[0], 4, once, 1);
    CHECKF(r.massive == 1, "%d massive rows, wanted 1", (int)r.massive);
    rs_stat_result_clear(&r);
    o.tokens = false;
    r = measure(&o, ROWS, x, COLS, once, 2);
    CHECK(r.massive == 0);
    rs_stat_result_clear(&r);
}

// Nothing to measure, and nothing but what cannot be.
static void nothing(void)
{
    const float bad[] = {NAN, INFINITY, -INFINITY, NAN};
    const size_t once[] = {2};
    rs_stat_result r = measure(&(rs_stat_options){.rows = 0, .channels = 4}, 0, bad, 4, once, 1);
    CHECK(isnan(r.max) && isnan(r.rms) && isnan(r.kurt) && isnan(r.p999) && isnan(r.incoherence) && isnan(r.zeros) && r.bad == 0 && r.absmax[3] == 0 && r.rms_of[3] == 0);
    rs_stat_result_clear(&r);
    r = measure(&(rs_stat_options){.rows = 3, .channels = 0}, 0, bad, 0, once, 1);
    CHECK(isnan(r.max) && r.channels == 0);
    rs_stat_result_clear(&r);
    r = measure(&(rs_stat_options){.rows = 2, .channels = 2}, 2, bad, 2, once, 1);
    uint64_t counted = 0;
    for (int i = 0; i < 64; i++) counted += r.hist[i];
    CHECK(isnan(r.max) && isnan(r.rms) && isnan(r.p9999) && r.bad == 4 && counted == 0 && r.absmax[1] == 0);
    rs_stat_result_clear(&r);
    rs_error e = {0};
    rs_stat *s;
    CHECK(rs_stat_new(&s, &(rs_stat_options){.rows = UINT64_C(1) << 40, .channels = UINT64_C(1) << 40}, &e) == RS_E_LIMIT && s == NULL);
}

int main(void)
{
    static const size_t sizes[][2] = {{1, 1}, {1, 100}, {100, 1}, {2, 7}, {64, 8}, {65, 9}, {200, 33}, {1000, 16}};
    for (int k = 0; k < KINDS; k++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) moments((enum kind)k, sizes[i][0], sizes[i][1]);
        for (size_t n = 1; n < 70; n += 11) scans((enum kind)k, n);
        scans((enum kind)k, 5000);
        quantiles((enum kind)k, 10000);
        quantiles((enum kind)k, 12);
        whole((enum kind)k, 150, 70, 70);
        whole((enum kind)k, 40, 96, 12);
        whole((enum kind)k, 3, 40000, 40000);
    }
    massive();
    nothing();
    return check_report();
}
