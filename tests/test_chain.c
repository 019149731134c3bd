// SPDX-License-Identifier: Apache-2.0
// Chain junctions against the dense Cayley transform in fp64: value, gradients by central differences, the stored form and the way back; descent; same bytes in any thread; bad input.
#include "transforms/chain.h"

#include <math.h>

#include "kernels/threads.h"
#include "tests/check.h"
#include "tests/tiny.h"
#include "transforms/adam.h"
#include "transforms/dense.h"
#include "transforms/random.h"

enum { D = 24, MOST = D / 2 };

// ---- the plain form in fp64

// x <- a^-1 x, both [n, n], by elimination with row exchanges; a is overwritten.
static void solve(size_t n, double *a, double *x)
{
    for (size_t c = 0; c < n; c++) {
        size_t pivot = c;
        for (size_t i = c + 1; i < n; i++)
            if (fabs(a[i * n + c]) > fabs(a[pivot * n + c])) pivot = i;
        for (size_t j = 0; j < n; j++) {
            double t = a[c * n + j];
            a[c * n + j] = a[pivot * n + j];
            a[pivot * n + j] = t;
            t = x[c * n + j];
            x[c * n + j] = x[pivot * n + j];
            x[pivot * n + j] = t;
        }
        for (size_t i = 0; i < n; i++) {
            double f = i == c ? 0 : a[i * n + c] / a[c * n + c];
            for (size_t j = 0; f != 0 && j < n; j++) {
                a[i * n + j] -= f * a[c * n + j];
                x[i * n + j] -= f * x[c * n + j];
            }
        }
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) x[i * n + j] /= a[i * n + i];
}

// T = (I - A/2)^-1 (I + A/2), A = u v^T - v u^T.
static void cayley(size_t r2, const double *u, const double *v, double *T)
{
    static double a[D * D];
    for (size_t i = 0; i < D; i++)
        for (size_t j = 0; j < D; j++) {
            double sum = 0;
            for (size_t l = 0; l < r2; l++) sum += 0.5 * (u[i * r2 + l] * v[j * r2 + l] - v[i * r2 + l] * u[j * r2 + l]);
            a[i * D + j] = (i == j) - sum;
            T[i * D + j] = (i == j) + sum;
        }
    solve(D, a, T);
}

static void product(const double *a, const double *b, double *c)
{
    for (size_t i = 0; i < D; i++)
        for (size_t j = 0; j < D; j++) {
            double sum = 0;
            for (size_t l = 0; l < D; l++) sum += a[i * D + l] * b[l * D + j];
            c[i * D + j] = sum;
        }
}

// sum of c x + x^2 s / 2 over x = r T; g (NULL allowed) its gradient at x.
static double loss(size_t r2, const double *r, const double *u, const double *v, double *g)
{
    static double T[D * D], x[D * D];
    cayley(r2, u, v, T);
    product(r, T, x);
    double sum = 0;
    for (size_t i = 0; i < D * D; i++) {
        double c = rs_random_normal(9, 1, i), s = 1 + (double)(i % 11);
        sum += c * x[i] + 0.5 * s * x[i] * x[i];
        if (g != NULL) g[i] = c + s * x[i];
    }
    return sum;
}

static void noise(uint64_t stream, size_t n, double size, float *x)
{
    for (size_t i = 0; i < n; i++) x[i] = (float)(size * rs_random_normal(4, stream, i));
}

static void widen(size_t n, const float *x, double *y)
{
    for (size_t i = 0; i < n; i++) y[i] = x[i];
}

static double distance(size_t n, const float *a, const double *b)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++) worst = fmax(worst, fabs(a[i] - b[i]));
    return worst;
}

// W = (x^T g - g^T x) / 2.
static void tangent(const double *x, const double *g, float *w)
{
    for (size_t i = 0; i < D; i++)
        for (size_t j = 0; j < D; j++) {
            double sum = 0;
            for (size_t l = 0; l < D; l++) sum += 0.5 * (x[l * D + i] * g[l * D + j] - g[l * D + i] * x[l * D + j]);
            w[i * D + j] = (float)sum;
        }
}

// Worst difference of got from central differences of the loss in the n values at x, over the largest of them.
static double against_differences(size_t n, const float *got, double *x, size_t r2, const double *r, const double *u, const double *v)
{
    double worst = 0, most = 0;
    for (size_t i = 0; i < n; i++) {
        double at = x[i], h = 1e-5;
        x[i] = at + h;
        double up = loss(r2, r, u, v, NULL);
        x[i] = at - h;
        double g = (up - loss(r2, r, u, v, NULL)) / (2 * h);
        x[i] = at;
        worst = fmax(worst, fabs(g - got[i]));
        most = fmax(most, fabs(g));
    }
    return worst / most;
}

// Columns i and j of x turned by an angle: x exp(angle (E_ij - E_ji)).
static void turn(double *x, size_t i, size_t j, double angle)
{
    for (size_t l = 0; l < D; l++) {
        double a = x[l * D + i], b = x[l * D + j];
        x[l * D + i] = cos(angle) * a - sin(angle) * b;
        x[l * D + j] = sin(angle) * a + cos(angle) * b;
    }
}

// The same for the tangent gradient w at r: in each plane the derivative of the loss by the angle is w_ij - w_ji. What w holds beside its skew part counts as wrong.
static double against_turns(const float *w, size_t r2, const double *r, const double *u, const double *v)
{
    static double x[D * D];
    double worst = 0, most = 0, h = 1e-5;
    for (size_t i = 0; i < D; i++)
        for (size_t j = 0; j <= i; j++) {
            double g = 0;
            if (j < i) {
                memcpy(x, r, sizeof x);
                turn(x, i, j, h);
                g = loss(r2, x, u, v, NULL);
                turn(x, i, j, -2 * h);
                g = (g - loss(r2, x, u, v, NULL)) / (4 * h);
            }
            worst = fmax(worst, fmax(fabs(g - w[i * D + j]), fabs(g + w[j * D + i])));
            most = fmax(most, fabs(g));
        }
    return worst / most;
}

static float U[D * MOST], V[D * MOST], R[D * D], next[D * D], saved[4 * D * MOST + 4 * MOST * MOST], dU[D * MOST], dV[D * MOST], w[D * D], W[D * D];
static double u[D * MOST], v[D * MOST], r[D * D], T[D * D], want[D * D], g[D * D];

static void random_point(size_t r2, double size, double v_size)
{
    tiny_rotation(D, 2, r);
    for (size_t i = 0; i < D * D; i++) R[i] = (float)r[i];
    noise(1, D * r2, size / sqrt(D), U);
    noise(2, D * r2, v_size / sqrt(D), V);
    widen(D * D, R, r);
    widen(D * r2, U, u);
    widen(D * r2, V, v);
}

static void gradients(const rs_kernels *k, size_t r2, double size, double v_size)
{
    rs_error e = {0};
    random_point(r2, size, v_size);
    CHECK(rs_chain_saved(D, r2) <= sizeof saved / sizeof saved[0]);
    if (!CHECKF(rs_chain_forward(k, D, r2, U, V, R, next, saved, &e) == RS_OK, "%s", e.text)) return;
    cayley(r2, u, v, T);
    product(r, T, want);
    CHECKF(distance(D * D, next, want) < 1e-6, "%s, rank %zu, size %g: R T is wrong by %.3g", k->name, 2 * r2, size, distance(D * D, next, want));
    loss(r2, r, u, v, g);
    tangent(want, g, W);
    noise(3, D * D, 1, w);
    static float start[D * D], added[D * D];
    memcpy(start, w, sizeof w);
    if (!CHECK(rs_chain_slopes(k, D, r2, saved, W, dU, dV, w, &e) == RS_OK)) return;
    for (size_t i = 0; i < D * D; i++) added[i] = w[i] - start[i];
    double wrong[3] = {against_differences(D * r2, dU, u, r2, r, u, v), against_differences(D * r2, dV, v, r2, r, u, v), against_turns(added, r2, r, u, v)};
    if (v_size == 0) { // dU vanishes with V: compared with zero
        wrong[0] = 0;
        for (size_t i = 0; i < D * r2; i++) wrong[0] = fmax(wrong[0], fabsf(dU[i]));
        CHECK(fabsf(dV[0]) > 1e-3f);
    }
    static const char *const names[] = {"U", "V", "R"};
    for (int i = 0; i < 3; i++) CHECKF(wrong[i] < 1e-5, "%s, rank %zu, sizes %g %g: gradient of %s is wrong by %.3g", k->name, 2 * r2, size, v_size, names[i], wrong[i]);
}

static void rank_zero(void)
{
    rs_error e = {0};
    const rs_kernels *k = rs_kernels_cpu();
    random_point(1, 1, 1);
    loss(0, r, u, v, g);
    tangent(r, g, W);
    memset(w, 0, sizeof w);
    CHECK(rs_chain_forward(k, D, 0, U, V, R, next, saved, &e) == RS_OK && memcmp(next, R, sizeof R) == 0);
    CHECK(W[1] != 0 && rs_chain_slopes(k, D, 0, saved, W, dU, dV, w, &e) == RS_OK && memcmp(w, W, sizeof w) == 0);
    CHECK(rs_chain_qs(D, 0, U, V, NULL, NULL, &e) == RS_OK);
}

// ---- the stored form

static float q[D * D], m[D * D];

// I + q m q^T
static void rebuild(size_t rank, double *out)
{
    for (size_t i = 0; i < D; i++)
        for (size_t j = 0; j < D; j++) {
            double sum = i == j;
            for (size_t a = 0; a < rank; a++)
                for (size_t b = 0; b < rank; b++) sum += (double)q[i * rank + a] * m[a * rank + b] * q[j * rank + b];
            out[i * D + j] = sum;
        }
}

static double frobenius(const double *a, const double *b)
{
    double sum = 0;
    for (size_t i = 0; i < D * D; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sqrt(sum);
}

// max |q^T q - I| and max |S^T S - I|, S = I + m.
static void orthonormal(size_t rank, double *of_q, double *of_s)
{
    static double a[D * D];
    widen(D * rank, q, a);
    *of_q = rs_dense_error(D, rank, a);
    widen(rank * rank, m, a);
    for (size_t i = 0; i < rank; i++) a[i * rank + i] += 1;
    *of_s = rs_dense_error(rank, rank, a);
}

static void round_trip(size_t r2, size_t back, double size, double v_size, double s_error)
{
    rs_error e = {0};
    double of_q, of_s;
    size_t rank = 2 * r2;
    random_point(r2, size, v_size);
    cayley(r2, u, v, T);
    if (!CHECKF(rs_chain_qs(D, r2, U, V, q, m, &e) == RS_OK, "%s", e.text)) return;
    rebuild(rank, want);
    CHECKF(frobenius(T, want) < 1e-6, "rank %zu, sizes %g %g: stored with an error of %.3g", rank, size, v_size, frobenius(T, want));
    orthonormal(rank, &of_q, &of_s);
    CHECKF(of_q < 2e-7 && of_s < s_error, "rank %zu, sizes %g %g: q %.3g, S %.3g from orthonormal", rank, size, v_size, of_q, of_s);
    // Back, into at least as many columns.
    if (!CHECKF(rs_chain_from_qs(D, rank, q, m, back, 5, 6, U, V, &e) == RS_OK, "%s", e.text)) return;
    widen(D * back, U, u);
    widen(D * back, V, v);
    cayley(back, u, v, T);
    CHECKF(frobenius(T, want) < 2e-6, "rank %zu in %zu, sizes %g %g: comes back with an error of %.3g", rank, 2 * back, size, v_size, frobenius(T, want));
    size_t fresh = 0;
    for (size_t j = 0; j < back; j++) {
        double a = 0, b = 0;
        for (size_t i = 0; i < D; i++) {
            a += u[i * back + j] * u[i * back + j];
            b += v[i * back + j] * v[i * back + j];
        }
        fresh += b == 0;
        CHECKF(b == 0 ? a > 0.1 && a < 4 : fabs(a / b - 1) < 1e-5, "column %zu: |u|^2 %g, |v|^2 %g", j, a, b);
    }
    CHECKF(fresh == back - (v_size == 0 ? 0 : r2), "%zu new columns of %zu", fresh, back);
}

static void edges(void)
{
    rs_error e = {0};
    // V = 0: m = 0, whatever U.
    random_point(3, 1, 0);
    CHECK(rs_chain_qs(D, 3, U, V, q, m, &e) == RS_OK);
    double of_q, of_s;
    orthonormal(6, &of_q, &of_s);
    for (int i = 0; i < 36; i++) CHECK(fabsf(m[i]) < 1e-15f);
    CHECKF(of_q < 2e-7, "q of dependent columns: %.3g", of_q);
    // All zero, and a start from nothing.
    memset(U, 0, sizeof U);
    CHECK(rs_chain_qs(D, 3, U, V, q, m, &e) == RS_OK);
    orthonormal(6, &of_q, &of_s);
    CHECK(of_q < 2e-7 && m[0] == 0);
    CHECK(rs_chain_from_qs(D, 0, NULL, NULL, 4, 1, 2, U, V, &e) == RS_OK);
    CHECK(U[3] == (float)(rs_random_normal(1, 2, 3) / sqrt(D)) && V[0] == 0 && V[4 * D - 1] == 0);
    // An odd rank whose odd direction does not turn; half a turn; a reflection.
    memset(q, 0, sizeof q);
    for (int i = 0; i < 3; i++) q[i * 3 + i] = 1;
    static const struct {
        float cosine, sine, last;
        rs_status status;
    } cases[] = {{0.6f, 0.8f, 1, RS_OK}, {-0.6f, -0.8f, 1, RS_OK}, {-1, 0, 1, RS_E_VALUE}, {-1, 1e-4f, 1, RS_E_VALUE}, {1, 0, -1, RS_E_VALUE}, {0.6f, 0.9f, 1, RS_OK}, {1, 1, 1, RS_E_VALUE}, {NAN, 0, 1, RS_E_VALUE}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        float plane[9] = {cases[c].cosine - 1, cases[c].sine, 0, -cases[c].sine, cases[c].cosine - 1, 0, 0, 0, cases[c].last - 1};
        e = (rs_error){0};
        CHECKF(rs_chain_from_qs(D, 3, q, plane, 1, 1, 2, U, V, &e) == cases[c].status, "case %zu: %s", c, e.text);
        if (c > 1) continue;
        widen(D, U, u);
        widen(D, V, v);
        cayley(1, u, v, T);
        CHECKF(fabs(T[0] - cases[c].cosine) < 1e-6 && fabs(T[1] - cases[c].sine) < 1e-6, "case %zu turns to %g %g", c, T[0], T[1]);
    }
    static const struct {
        size_t rank, r2;
    } misfits[] = {{6, 2}, {2, MOST + 1}, {D + 1, MOST}};
    for (int i = 0; i < 3; i++) {
        e = (rs_error){0};
        CHECK(rs_chain_from_qs(D, misfits[i].rank, q, m, misfits[i].r2, 1, 2, U, V, &e) == RS_USAGE);
    }
    e = (rs_error){0};
    CHECK(rs_chain_qs(D, MOST + 1, U, V, q, m, &e) == RS_USAGE);
}

// ---- learning

// Adam on U, V of one junction finds a rotation of the same rank: |R T - goal|^2 / 2 falls to nothing.
static void descent(const rs_kernels *k)
{
    enum { HALF = 2, STEPS = 400 };
    static double goal[D * D];
    static float mu[D * HALF], vu[D * HALF], mv[D * HALF], vv[D * HALF];
    memset(mu, 0, sizeof mu);
    memset(vu, 0, sizeof vu);
    memset(mv, 0, sizeof mv);
    memset(vv, 0, sizeof vv);
    rs_error e = {0};
    random_point(HALF, 1, 1);
    cayley(HALF, u, v, T);
    product(r, T, goal);
    double sum = 0, start = 0;
    if (!CHECK(rs_chain_from_qs(D, 0, NULL, NULL, HALF, 7, 8, U, V, &e) == RS_OK)) return;
    for (uint64_t t = 1; t <= STEPS; t++) {
        if (!CHECK(rs_chain_forward(k, D, HALF, U, V, R, next, saved, &e) == RS_OK)) return;
        sum = 0;
        for (size_t i = 0; i < D * D; i++) {
            want[i] = next[i];
            g[i] = want[i] - goal[i];
            sum += 0.5 * g[i] * g[i];
        }
        if (t == 1) start = sum;
        tangent(want, g, W);
        double lr = 0.05 * (1 - (double)t / (STEPS + 1));
        if (!CHECK(rs_chain_slopes(k, D, HALF, saved, W, dU, dV, w, &e) == RS_OK && rs_adam_step(D * HALF, U, dU, mu, vu, t, lr, 0.9, 0.95, 1e-8, 0, &e) == RS_OK &&
                   rs_adam_step(D * HALF, V, dV, mv, vv, t, lr, 0.9, 0.95, 1e-8, 0, &e) == RS_OK))
            return;
    }
    CHECKF(start > 0.5 && sum < 1e-3 * start, "%s: the loss goes from %g to %g", k->name, start, sum);
    double a[D * D];
    widen(D * D, next, a);
    CHECKF(rs_dense_error(D, D, a) < 1e-6, "%s: |R^T R - I| %.3g", k->name, rs_dense_error(D, D, a));
}

// ---- threads

enum { N = 300, HALF = 8, MANY = 5 };

struct many {
    float *next[MANY], *grads[MANY];
    const float *U, *V, *R;
    rs_status status[MANY];
};

static void one(void *context, size_t i)
{
    struct many *all = context;
    const rs_kernels *k = rs_kernels_cpu();
    float *s = malloc(rs_chain_saved(N, HALF) * sizeof *s), *skew = malloc(N * N * sizeof *skew), *slopes = all->grads[i], *to = all->next[i];
    rs_error e = {0};
    memset(slopes, 0, N * N * sizeof *slopes);
    all->status[i] = s == NULL || skew == NULL ? RS_E_NOMEM : rs_chain_forward(k, N, HALF, all->U + i, all->V + i, all->R, to, s, &e);
    if (all->status[i] == RS_OK) {
        for (size_t a = 0; a < N; a++)
            for (size_t b = 0; b < N; b++) skew[a * N + b] = to[a * N + b] - to[b * N + a];
        all->status[i] = rs_chain_slopes(k, N, HALF, s, skew, slopes + N * N, slopes + N * N + N * HALF, slopes, &e);
    }
    free(s);
    free(skew);
}

static void threads(void)
{
    size_t cells = N * N, grads = N * N + 2 * N * HALF;
    float *values = malloc((cells + 4 * N * HALF) * sizeof *values), *first[MANY];
    struct many all = {.R = values};
    bool memory = values != NULL;
    for (int i = 0; i < MANY; i++) {
        all.next[i] = malloc(cells * sizeof(float));
        all.grads[i] = malloc(grads * sizeof(float));
        first[i] = malloc((cells + grads) * sizeof(float));
        memory = memory && all.next[i] != NULL && all.grads[i] != NULL && first[i] != NULL;
    }
    static const int counts[] = {1, 3, 1, 2, 4};
    if (CHECK(memory)) {
        noise(1, cells + 4 * N * HALF, 0.05, values);
        all.U = values + cells;
        all.V = all.U + 2 * N * HALF;
    }
    // Rounds 0 and 1: one junction after another, each with the pool to itself; then all at once.
    for (int c = 0; c < 5 && memory; c++) {
        rs_threads_set(counts[c]);
        if (c < 2)
            for (size_t i = 0; i < MANY; i++) one(&all, i);
        else rs_threads_for(MANY, one, &all);
        for (int i = 0; i < MANY; i++) {
            CHECK(all.status[i] == RS_OK);
            if (c == 0) {
                memcpy(first[i], all.next[i], cells * sizeof(float));
                memcpy(first[i] + cells, all.grads[i], grads * sizeof(float));
            } else
                CHECKF(memcmp(first[i], all.next[i], cells * sizeof(float)) == 0 && memcmp(first[i] + cells, all.grads[i], grads * sizeof(float)) == 0, "junction %d differs in round %d, with %d threads", i,
                       c, counts[c]);
        }
    }
    rs_threads_set(1);
    for (int i = 0; i < MANY; i++) {
        free(all.next[i]);
        free(all.grads[i]);
        free(first[i]);
    }
    free(values);
}

static void not_finite(void)
{
    const rs_kernels *k = rs_kernels_cpu();
    rs_error e = {0}, f = {0}, last = {0};
    random_point(3, 1, 1);
    CHECK(rs_chain_forward(k, D, 3, U, V, R, next, saved, &e) == RS_OK);
    loss(3, r, u, v, g);
    tangent(r, g, W);
    W[7] = INFINITY;
    memset(w, 0, sizeof w);
    memset(dU, 0, sizeof dU);
    memset(dV, 0, sizeof dV);
    static const float zero[D * D];
    CHECK(rs_chain_slopes(k, D, 3, saved, W, dU, dV, w, &e) == RS_E_VALUE && strcmp(e.text, "gradient is not finite") == 0);
    CHECK(memcmp(w, zero, sizeof w) == 0 && memcmp(dU, zero, sizeof dU) == 0 && memcmp(dV, zero, sizeof dV) == 0);
    V[5] = NAN;
    CHECK(rs_chain_forward(k, D, 3, U, V, R, next, saved, &f) == RS_E_VALUE && strstr(f.text, "not finite") != NULL);
    CHECK(rs_chain_qs(D, 3, U, V, q, m, &last) == RS_E_VALUE);
}

int main(void)
{
    for (int i = 0; i < 2; i++) {
        const rs_kernels *k = i == 0 ? rs_kernels_reference() : rs_kernels_cpu();
        gradients(k, 1, 1, 1);
        gradients(k, 3, 1, 0.1);
        gradients(k, 3, 1, 0);
        gradients(k, 4, 3, 3); // angles near 180 degrees
        gradients(k, MOST, 1, 1);
        descent(k);
    }
    rank_zero();
    round_trip(1, 1, 1, 1, 1e-7);
    round_trip(3, 3, 1, 0.1, 1e-7);
    round_trip(3, 5, 1, 1, 1e-7);
    round_trip(4, 4, 3, 3, 2e-7); // angles near 180 degrees: entries of m up to 2, whose rounding alone is 1.2e-7
    round_trip(MOST, MOST, 1, 1, 1e-7);
    round_trip(3, 4, 1e-2, 1e-2, 1e-7);
    edges();
    threads();
    not_finite();
    return check_report();
}
