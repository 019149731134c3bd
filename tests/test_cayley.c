// SPDX-License-Identifier: Apache-2.0
// Cayley steps against the formula in fp64: retraction, step size, slope of the loss, descent, orthogonality after many steps, same bytes in any thread, gradients that are not finite. The same by products alone.
#include "transforms/cayley_series.h"

#include <float.h>
#include <math.h>

#include "kernels/threads.h"
#include "tests/check.h"
#include "tests/tiny.h"
#include "transforms/dense.h"
#include "transforms/random.h"

enum { MOST = 576 };

static float R[MOST * MOST], G[MOST * MOST], E[MOST * MOST], M[MOST * MOST], V[MOST * MOST], before[MOST * MOST];
static double wide[MOST * MOST];
static void *work;

static void rotation(size_t n, uint64_t seed, float *out)
{
    tiny_rotation(n, seed, wide);
    for (size_t i = 0; i < n * n; i++) out[i] = (float)wide[i];
}

static void noise(size_t n, uint64_t seed, double size, float *out)
{
    for (size_t i = 0; i < n * n; i++) out[i] = (float)(size * rs_random_normal(seed, 1, i));
}

static double error_of(size_t n, const float *a)
{
    for (size_t i = 0; i < n * n; i++) wide[i] = a[i];
    return rs_dense_error(n, n, wide);
}

// ---- the step in fp64

enum { S = 37 };
static double w[S * S], y[S * S], next[S * S];

// E = r^T g from the gradient g at r; w = (r^T g - g^T r) / 2; its largest column sum.
static double tangent(const float *r, const float *g)
{
    double norm = 0;
    for (int i = 0; i < S; i++)
        for (int j = 0; j < S; j++) {
            double sum = 0, other = 0;
            for (int l = 0; l < S; l++) {
                sum += (double)r[l * S + i] * g[l * S + j];
                other += (double)g[l * S + i] * r[l * S + j];
            }
            E[i * S + j] = (float)sum;
            w[i * S + j] = 0.5 * (sum - other);
        }
    for (int j = 0; j < S; j++) {
        double sum = 0;
        for (int i = 0; i < S; i++) sum += fabs(w[i * S + j]);
        norm = fmax(norm, sum);
    }
    return norm;
}

// `rounds` of y <- r - (r + y) a/2 D, whose limit is r (I - a/2 D) (I + a/2 D)^-1, from y = r - a g (g NULL: from r).
static void fixed_point(const float *r, const double *D, const float *g, double a, int rounds)
{
    for (int i = 0; i < S * S; i++) y[i] = r[i] - (g != NULL ? a * g[i] : 0);
    for (int t = 0; t < rounds; t++) {
        for (int i = 0; i < S; i++)
            for (int j = 0; j < S; j++) {
                double sum = r[i * S + j];
                for (int l = 0; l < S; l++) sum -= 0.5 * a * (r[i * S + l] + y[i * S + l]) * D[l * S + j];
                next[i * S + j] = sum;
            }
        memcpy(y, next, sizeof y);
    }
}

static double distance(const float *a, const double *b)
{
    double worst = 0;
    for (int i = 0; i < S * S; i++) worst = fmax(worst, fabs(a[i] - b[i]));
    return worst;
}

static void formula(double size, double lr)
{
    rs_error e = {0};
    rs_cayley_info info;
    rotation(S, 3, R);
    noise(S, 4, size, G);
    memcpy(before, R, sizeof R);
    double norm = tangent(R, G), a = fmin(lr, 1 / (norm + 1e-8)), squares = 0;
    for (int i = 0; i < S * S; i++) squares += w[i] * w[i];
    if (!CHECK(rs_cayley_step(S, R, E, lr, work, &info, &e) == RS_OK)) return;
    CHECKF(fabs(info.step / a - 1) < 1e-5 && fabs(info.norm / norm - 1) < 1e-5 && fabs(info.tangent / sqrt(squares) - 1) < 1e-5, "step %.9g, want %.9g; norm %.9g, want %.9g", info.step, a,
           info.norm, norm);
    fixed_point(before, w, NULL, a, 60);
    CHECKF(distance(R, y) < 1e-6, "%.3g from the exact step", distance(R, y));
    for (int i = 0; i < S * S; i++) next[i] = before[i];
    CHECKF(distance(R, next) > 1e-3, "the step moves by %.3g only", distance(R, next));
    if (a == lr) { // five rounds from r - a g, the usual approximation, agree to high order in a
        fixed_point(before, w, G, a, 5);
        CHECKF(distance(R, y) < 1e-6, "%.3g from five rounds", distance(R, y));
    }
}

static void adam_formula(void)
{
    static double m[S * S], v[S * S], D[S * S];
    rs_error e = {0};
    rs_cayley_info info;
    memset(M, 0, sizeof M);
    memset(V, 0, sizeof V);
    memset(m, 0, sizeof m);
    memset(v, 0, sizeof v);
    rotation(S, 3, R);
    for (uint64_t t = 1; t <= 4; t++) {
        noise(S, t, 1e-3 * (double)t, G);
        memcpy(before, R, sizeof R);
        tangent(R, G);
        double norm = 0;
        for (int i = 0; i < S; i++) {
            double sum = 0;
            for (int j = 0; j < S; j++) {
                int c = i * S + j;
                m[c] = 0.9 * m[c] + 0.1 * w[c];
                v[c] = 0.95 * v[c] + 0.05 * w[c] * w[c];
                D[c] = m[c] / (1 - pow(0.9, (double)t)) / (sqrt(v[c] / (1 - pow(0.95, (double)t))) + 1e-8);
                sum += fabs(D[c]);
            }
            norm = fmax(norm, sum);
        }
        if (!CHECK(rs_cayley_adam_step(S, R, E, M, V, t, 0.02, 0.9, 0.95, 1e-8, work, &info, &e) == RS_OK)) return;
        fixed_point(before, D, NULL, 0.02, 60);
        CHECKF(distance(R, y) < 5e-6 && fabs(info.norm / norm - 1) < 1e-4 && info.step == 0.02, "step %d: %.3g from the formula, norm %g, want %g", (int)t, distance(R, y), info.norm, norm);
    }
    for (int i = 0; i < S; i++)
        for (int j = 0; j <= i; j++)
            if (M[i * S + j] != -M[j * S + i] || V[i * S + j] != V[j * S + i]) {
                CHECKF(false, "moments (%d, %d) are not skew and symmetric", i, j);
                return;
            }
    CHECK(M[1] != 0 && V[1] > 0);
}

// ---- descent

// Half the squared distance to q, the columns weighed by their place.
static double loss_of(const float *r, const float *q, float *g)
{
    double sum = 0;
    for (int i = 0; i < S * S; i++) {
        double c = 1 + i % S % 7, x = (double)r[i] - q[i];
        sum += 0.5 * c * x * x;
        g[i] = (float)(c * x);
    }
    return sum;
}

static void slope(void)
{
    static float q[S * S];
    rs_error e = {0};
    rs_cayley_info info;
    rotation(S, 5, R);
    rotation(S, 6, q);
    double start = loss_of(R, q, G), end;
    tangent(R, G);
    CHECK(rs_cayley_step(S, R, E, 1e-4, work, &info, &e) == RS_OK && info.step == 1e-4);
    end = loss_of(R, q, G);
    double want = info.step * info.tangent * info.tangent;
    CHECKF(fabs((start - end) / want - 1) < 5e-3, "the loss falls by %.6g, to first order %.6g", start - end, want);
}

// Half the squared distance to another rotation falls to nothing.
static void procrustes(const rs_kernels *k, bool adam)
{
    static float q[S * S];
    rs_error e = {0};
    rotation(S, 8, R);
    rotation(S, 9, q);
    memset(M, 0, sizeof M);
    memset(V, 0, sizeof V);
    double start = 0, last = INFINITY, sum = 0;
    int rises = 0, steps = adam ? 300 : 600;
    for (int t = 0; t < steps; t++) {
        sum = 0;
        for (int i = 0; i < S * S; i++) {
            G[i] = R[i] - q[i];
            sum += 0.5 * (double)G[i] * G[i];
        }
        if (t == 0) start = sum;
        rises += sum > last * (1 + 1e-6) + 1e-9;
        last = sum;
        double lr = 1 - t / (double)steps;
        tangent(R, G);
        rs_status status = adam ? rs_cayley_adam_step(S, R, E, M, V, (uint64_t)t + 1, 0.05 * lr, 0.9, 0.95, 1e-8, work, NULL, &e) : rs_cayley_step(S, R, E, 1.5, work, NULL, &e);
        if (!CHECK(status == RS_OK)) return;
        if (t % 8 == 7) rs_cayley_tidy(k, S, R, work);
    }
    CHECKF(sum < 1e-3 * start && (adam || rises == 0), "%s%s: the loss goes from %g to %g with %d rises", k->name, adam ? ", Adam" : "", start, sum, rises);
    CHECKF(error_of(S, R) < 2e-6, "%s%s: |R^T R - I| %.3g", k->name, adam ? ", Adam" : "", error_of(S, R));
}

// ---- rounding

// E of full rank and of rank 1 in turn: those of rank 1 turn one plane by a large angle.
static void drift(size_t n)
{
    const rs_kernels *k = rs_kernels_cpu();
    rs_error e = {0};
    double worst = 0, seen = 0, polished = 1;
    rotation(n, 11, R);
    for (uint64_t t = 1; t <= 100; t++) {
        if (t % 2 != 0)
            for (size_t i = 0; i < n * n; i++) E[i] = (float)(rs_random_uniform(t, 2, i) - 0.5);
        else
            for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < n; j++) E[i * n + j] = j == t % n ? (float)rs_random_normal(t, 1, i) : 0;
        if (!CHECK(rs_cayley_step(n, R, E, 1.5, work, NULL, &e) == RS_OK)) return;
        if (t % 24 == 0 || t == 100) worst = fmax(worst, error_of(n, R));
        if (t % 8 == 0) seen = fmax(seen, rs_cayley_tidy(k, n, R, work));
    }
    CHECKF(worst < 1e-5, "order %zu: |R^T R - I| %.3g in 100 steps", n, worst);
    CHECKF(seen > 0 && seen < 1e-5, "order %zu: seen %.3g", n, seen);
    CHECK(rs_cayley_polish(n, R, &polished, &e) == RS_OK);
    CHECKF(polished == error_of(n, R) && polished < 1e-6, "order %zu: polished to %.3g, is %.3g", n, polished, error_of(n, R));
}

static void repair(const rs_kernels *k)
{
    rs_error e = {0};
    double error = 0;
    rotation(S, 3, R);
    for (int i = 0; i < S * S; i++) R[i] += (float)(1e-4 * rs_random_normal(3, 3, (uint64_t)i));
    double is = error_of(S, R), seen = rs_cayley_tidy(k, S, R, work);
    CHECKF(is > 1e-4 && fabs(seen - is) < 1e-6, "%s: error %.6g, seen %.6g", k->name, is, seen);
    CHECKF(error_of(S, R) < 2e-6, "%s: tidied to %.3g", k->name, error_of(S, R));
    CHECK(rs_cayley_polish(S, R, &error, &e) == RS_OK && error < 1e-6);
    noise(S, 5, 1, R);
    CHECK(rs_cayley_polish(S, R, &error, &e) == RS_E_VALUE);
}

// ---- by products

// The step of one LU and that of products: from norms that decide the step to such that no power of A is needed.
static void series(const rs_kernels *k)
{
    static const size_t orders[] = {1, 2, 37, 130};
    static const double sizes[] = {1, 1e-2, 1e-3, 1e-4, 1e-7, 0};
    static float other[MOST * MOST], was[MOST * MOST];
    void *there = rs_memory_process.alloc(rs_cayley_series_work(MOST));
    if (!CHECK(there != NULL)) return;
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < 6; j++) {
            const size_t n = orders[i];
            rs_error e = {0};
            rs_cayley_info want, got;
            rotation(n, 3, R);
            noise(n, 4, sizes[j], E);
            memcpy(other, R, n * n * sizeof *R);
            memcpy(was, E, n * n * sizeof *E);
            CHECK(rs_cayley_step(n, R, E, 1.5, work, &want, &e) == RS_OK && rs_cayley_series(k, n, other, E, 1.5, false, there, &got, &e) == RS_OK);
            double off = 0;
            for (size_t l = 0; l < n * n; l++) off = fmax(off, fabs((double)R[l] - (double)other[l]));
            CHECKF(off <= 1e-6 && error_of(n, other) < 3e-6, "%s: order %zu, gradients of %g: %.3g from the step of an LU, |R^T R - I| %.3g", k->name, n, sizes[j], off, error_of(n, other));
            CHECKF(fabs(got.step - want.step) <= 1e-12 * want.step && fabs(got.norm - want.norm) <= 1e-12 * want.norm && fabs(got.tangent - want.tangent) <= 1e-12 * want.tangent, "%s: order %zu: step %g of norm %g", k->name, n, got.step, got.norm);
            CHECK(memcmp(was, E, n * n * sizeof *E) == 0);
        }
    // what it says of a gradient that is not finite, R being left; and the repair
    rs_error e = {0};
    rotation(S, 3, R);
    memcpy(before, R, sizeof R);
    noise(S, 4, 1, E);
    E[S * S - 1] = INFINITY;
    CHECKF(rs_cayley_series(k, S, R, E, 1.5, true, there, NULL, &e) == RS_E_VALUE && strcmp(e.text, "gradient is not finite") == 0 && memcmp(R, before, sizeof R) == 0, "%s: %s", k->name, e.text);
    for (int i = 0; i < S * S; i++) R[i] += (float)(1e-4 * rs_random_normal(3, 3, (uint64_t)i));
    memset(E, 0, sizeof E);
    e = (rs_error){0};
    CHECKF(rs_cayley_series(k, S, R, E, 1.5, true, there, NULL, &e) == RS_OK && error_of(S, R) < 2e-6, "%s: tidied to %.3g", k->name, error_of(S, R));
    // rounding in 100 steps, repaired in every eighth
    const size_t n = 64;
    double worst = 0;
    rotation(n, 11, R);
    for (uint64_t t = 1; t <= 100; t++) {
        for (size_t i = 0; i < n * n; i++) E[i] = (float)(rs_random_uniform(t, 2, i) - 0.5);
        if (!CHECK(rs_cayley_series(k, n, R, E, 1.5, t % 8 == 0, there, NULL, &e) == RS_OK)) break;
        if (t % 24 == 7) worst = fmax(worst, error_of(n, R));
    }
    CHECKF(worst > 0 && worst < 1e-5, "%s: |R^T R - I| %.3g in 100 steps", k->name, worst);
    rs_memory_process.release(there);
}

// ---- threads

enum { T = 6, ORDER = 300 };

struct many {
    float *R[T], *m[T], *v[T];
    void *work[T];
    rs_status status[T];
};

static void one(void *context, size_t i)
{
    struct many *all = context;
    const rs_kernels *k = rs_kernels_cpu();
    size_t n = ORDER;
    float *g = malloc(n * n * sizeof *g);
    rs_error e = {0};
    all->status[i] = g == NULL ? RS_E_NOMEM : RS_OK;
    for (uint64_t t = 1; t <= 3 && all->status[i] == RS_OK; t++) {
        noise(n, 10 * i + t, 1, g);
        all->status[i] = i % 2 != 0 ? rs_cayley_adam_step(n, all->R[i], g, all->m[i], all->v[i], t, 0.01, 0.9, 0.95, 1e-8, all->work[i], NULL, &e)
                                    : rs_cayley_step(n, all->R[i], g, 1.5, all->work[i], NULL, &e);
        rs_cayley_tidy(k, n, all->R[i], all->work[i]);
    }
    free(g);
}

static void threads(void)
{
    size_t bytes = ORDER * ORDER * sizeof(float);
    struct many all = {0};
    float *first[T];
    bool memory = true;
    for (int i = 0; i < T; i++) {
        all.R[i] = malloc(bytes);
        all.m[i] = malloc(bytes);
        all.v[i] = malloc(bytes);
        all.work[i] = malloc(rs_cayley_work(ORDER));
        first[i] = malloc(bytes);
        memory = memory && all.R[i] != NULL && all.m[i] != NULL && all.v[i] != NULL && all.work[i] != NULL && first[i] != NULL;
    }
    // Rounds 0 and 1: one matrix after another, each with the pool to itself; then all at once.
    static const int counts[] = {1, 3, 1, 2, 4};
    rotation(ORDER, 7, before);
    for (int c = 0; c < 5 && CHECK(memory); c++) {
        rs_threads_set(counts[c]);
        for (int i = 0; i < T; i++) {
            memcpy(all.R[i], before, bytes);
            memset(all.m[i], 0, bytes);
            memset(all.v[i], 0, bytes);
        }
        if (c < 2)
            for (size_t i = 0; i < T; i++) one(&all, i);
        else rs_threads_for(T, one, &all);
        for (int i = 0; i < T; i++) {
            CHECK(all.status[i] == RS_OK);
            if (c == 0) memcpy(first[i], all.R[i], bytes);
            else CHECKF(memcmp(first[i], all.R[i], bytes) == 0, "matrix %d differs in round %d, with %d threads", i, c, counts[c]);
        }
    }
    rs_threads_set(1);
    for (int i = 0; i < T; i++) {
        free(all.R[i]);
        free(all.m[i]);
        free(all.v[i]);
        free(all.work[i]);
        free(first[i]);
    }
}

static void not_finite(void)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY}, zero[S * S];
    for (int b = 0; b < 3; b++) {
        rs_error e = {0}, f = {0};
        rotation(S, 3, R);
        memcpy(before, R, sizeof R);
        memset(M, 0, sizeof M);
        memset(V, 0, sizeof V);
        noise(S, 4, 1, E);
        E[S * S - 1] = bad[b];
        CHECKF(rs_cayley_step(S, R, E, 1.5, work, NULL, &e) == RS_E_VALUE && strcmp(e.text, "gradient is not finite") == 0, "case %d: %s", b, e.text);
        CHECKF(rs_cayley_adam_step(S, R, E, M, V, 1, 0.1, 0.9, 0.95, 1e-8, work, NULL, &f) == RS_E_VALUE && strcmp(f.text, "gradient is not finite") == 0, "case %d: %s", b, f.text);
        CHECK(memcmp(R, before, sizeof R) == 0 && memcmp(M, zero, sizeof zero) == 0 && memcmp(V, zero, sizeof zero) == 0);
    }
}

// The largest numbers there are, with opposite signs across the diagonal: W does not overflow, and the step is bounded by its norm.
static void huge(void)
{
    rs_error e = {0};
    rs_cayley_info info;
    rotation(S, 3, R);
    memset(E, 0, sizeof E);
    for (int i = 1; i < S; i++) {
        E[i] = FLT_MAX;
        E[i * S] = -FLT_MAX;
    }
    CHECKF(rs_cayley_step(S, R, E, 1.5, work, &info, &e) == RS_OK, "%s", e.text);
    CHECKF(fabs(info.norm / ((S - 1) * (double)FLT_MAX) - 1) < 1e-6 && fabs(info.step * info.norm - 1) < 1e-6 && error_of(S, R) < 2e-6, "norm %g, step %g, |R^T R - I| %.3g", info.norm, info.step, error_of(S, R));
}

int main(void)
{
    work = malloc(rs_cayley_work(MOST));
    if (!CHECK(work != NULL)) return check_report();
    formula(1, 1.5);    // the norm decides the step
    formula(1e-2, 1.5); // still
    formula(1e-3, 1.5); // lr decides
    adam_formula();
    slope();
    for (int i = 0; i < 2; i++) {
        const rs_kernels *k = i == 0 ? rs_kernels_reference() : rs_kernels_cpu();
        procrustes(k, false);
        procrustes(k, true);
        repair(k);
        series(k);
    }
    not_finite();
    huge();
    drift(64);
    drift(192);
    drift(576);
    threads();
    free(work);
    return check_report();
}
