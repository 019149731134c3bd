// SPDX-License-Identifier: Apache-2.0
// Cuts by activations against constructed planes and second moments, against the plain cut, and against the loss counted out; budgets of rank.
#include "transforms/weighted.h"

#include <math.h>

#include "tests/check.h"
#include "tests/tiny.h"
#include "transforms/budget.h"
#include "transforms/dense.h"
#include "transforms/random.h"

enum { N = 24 };

static double eye[N * N];

// T with planes (columns 2k, 2k + 1 of P) turned by angle[k], and C with energy e[k] in each direction of plane k.
static void planes(const double *P, const double *angle, const double *e, double *T, double *C)
{
    static double G[N * N], D[N * N], y[N * N];
    memset(G, 0, sizeof G);
    memset(D, 0, sizeof D);
    for (int k = 0; k < N / 2; k++) {
        int a = 2 * k, b = a + 1;
        G[a * N + a] = G[b * N + b] = cos(angle[k]);
        G[a * N + b] = sin(angle[k]);
        G[b * N + a] = -sin(angle[k]);
        D[a * N + a] = D[b * N + b] = e[k];
    }
    rs_dense_nn(N, N, N, P, N, G, N, 0, y, N);
    rs_dense_nt(N, N, N, y, N, P, N, 0, T, N);
    rs_dense_nn(N, N, N, P, N, D, N, 0, y, N);
    rs_dense_nt(N, N, N, y, N, P, N, 0, C, N);
}

// A second moment whose energy falls by `fall` from direction to direction, in a basis of its own.
static void falling(double fall, uint64_t seed, double *C)
{
    static double B[N * N], y[N * N];
    tiny_rotation(N, seed, B);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) y[i * N + j] = B[i * N + j] * pow(fall, j);
    rs_dense_nt(N, N, N, y, N, B, N, 0, C, N);
}

// tr((T - T^)^T C (T - T^)) with T^ as stored; *orthogonal = |T^^T T^ - I|.
static double counted(const double *T, const double *C, uint64_t r, const float *q, const float *m, double *orthogonal)
{
    static double hat[N * N], x[N * N], y[N * N];
    double sum = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            double t = i == j;
            for (uint64_t a = 0; a < r; a++)
                for (uint64_t b = 0; b < r; b++) t += (double)q[i * r + a] * m[a * r + b] * q[j * r + b];
            hat[i * N + j] = t;
            x[i * N + j] = T[i * N + j] - t;
        }
    rs_dense_nn(N, N, N, C, N, x, N, 0, y, N);
    for (int i = 0; i < N * N; i++) sum += x[i] * y[i];
    *orthogonal = rs_dense_error(N, N, hat);
    return sum;
}

// How much of plane k of P lies in the span of q: 2 when all does.
static double inside(const double *P, int k, uint64_t r, const float *q)
{
    double sum = 0;
    for (int c = 2 * k; c < 2 * k + 2; c++)
        for (uint64_t a = 0; a < r; a++) {
            double dot = 0;
            for (int i = 0; i < N; i++) dot += P[i * N + c] * q[i * r + a];
            sum += dot * dot;
        }
    return sum;
}

// Large angles that carry nothing, small ones that carry much: the plain cut takes the first, the weighted one the second.
static void picks_planes(void)
{
    static const double angle[N / 2] = {0.9, 0.7, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05, 0.02, 0.01};
    static const double energy[N / 2] = {0.01, 0.01, 0.02, 0.01, 5, 0.03, 0.02, 0.01, 100, 1, 0.5, 0.1};
    static const int best[] = {8, 4, 0};
    static double P[N * N], T[N * N], C[N * N];
    double lost[N / 2], all = 0, gain[N / 2];
    tiny_rotation(N, 11, P);
    planes(P, angle, energy, T, C);
    for (int k = 0; k < N / 2; k++) all += lost[k] = 4 * pow(sin(angle[k] / 2), 2) * 2 * energy[k];
    rs_error e = {0};
    rs_weighted *w;
    rs_lowrank *l;
    if (!CHECK(rs_weighted_new(&w, N, &e) == RS_OK && rs_lowrank_new(&l, N, &e) == RS_OK)) return;
    rs_lowrank_loss loss;
    const float *q, *m;
    double kept = 0, orthogonal;
    for (uint64_t r = 2; r <= 4; r += 2) {
        if (!CHECKF(rs_weighted_take(w, eye, T, C, false, &loss, &e) == RS_OK && rs_weighted_cut(w, r, &q, &m, &loss, &e) == RS_OK, "%s", e.text)) return;
        kept += lost[best[r / 2 - 1]];
        CHECKF(fabs(loss.energy - all) < 1e-10 * all, "energy %.15g, constructed %.15g", loss.energy, all);
        CHECKF(fabs(loss.lost - (all - kept)) < 1e-6 * all, "rank %d: lost %.12g, constructed %.12g", (int)r, loss.lost, all - kept);
        for (uint64_t i = 0; i < r / 2; i++) CHECKF(inside(P, best[i], r, q) > 2 - 1e-5, "rank %d: plane %d is there by %g of 2", (int)r, best[i], inside(P, best[i], r, q));
        CHECK(loss.rank == r && fabs(counted(T, C, r, q, m, &orthogonal) - loss.lost) < 1e-6 * all && orthogonal < 1e-6);
        rs_lowrank_rule rule = {.rank = r};
        rs_lowrank_loss plain;
        CHECK(rs_lowrank_cut(l, eye, T, &rule, &q, &m, &plain, &e) == RS_OK);
        for (uint64_t i = 0; i < r / 2; i++) CHECK(inside(P, (int)i, r, q) > 2 - 1e-5);
        CHECKF(counted(T, C, r, q, m, &orthogonal) > 2 * loss.lost, "the plain cut of rank %d loses %g, the weighted %g", (int)r, counted(T, C, r, q, m, &orthogonal), loss.lost);
    }
    CHECK(rs_weighted_take(w, eye, T, C, false, &loss, &e) == RS_OK && rs_weighted_gains(w, 8, &loss, gain, &e) == RS_OK);
    double rest = all;
    for (int i = 0; i < 3; i++) {
        CHECKF(fabs(gain[i] - lost[best[i]]) < 1e-9 * all, "gain %d: %.12g, constructed %.12g", i, gain[i], lost[best[i]]);
        rest -= gain[i];
    }
    for (int i = 3; i < N / 2; i++) {
        CHECK(gain[i] <= gain[i - 1]);
        rest -= gain[i];
    }
    CHECKF(fabs(rest) < 1e-9 * all, "gains add up to all but %g", rest);
    CHECK(rs_lowrank_gains(l, eye, T, gain, &e) == RS_OK);
    for (int k = 0; k < N / 2; k++) CHECKF(fabs(gain[k] - 8 * pow(sin(angle[k] / 2), 2)) < 1e-9, "plane %d: %.12g", k, gain[k]);
    rs_weighted_free(w);
    rs_lowrank_free(l);
}

// Without a preference it is the plain cut; with one it never loses more, what it says is what is lost, and C may stand behind T.
static void against_plain(double angle, double fall, double better)
{
    static double T[N * N], C[N * N], behind[N * N], y[N * N];
    tiny_near_identity(N, angle, 0, 5, T);
    falling(fall, 7, C);
    rs_dense_tn(N, N, N, T, N, C, N, 0, y, N);
    rs_dense_nn(N, N, N, y, N, T, N, 0, behind, N);
    rs_error e = {0};
    rs_weighted *w;
    rs_lowrank *l;
    if (!CHECK(rs_weighted_new(&w, N, &e) == RS_OK && rs_lowrank_new(&l, N, &e) == RS_OK)) return;
    static const uint64_t ranks[] = {2, 6, 16, N - 2};
    for (size_t k = 0; k < sizeof ranks / sizeof ranks[0]; k++) {
        uint64_t r = ranks[k];
        const float *q, *m;
        double orthogonal;
        rs_lowrank_loss plain, loss, other;
        rs_lowrank_rule rule = {.rank = r};
        CHECK(rs_lowrank_cut(l, eye, T, &rule, &q, &m, &plain, &e) == RS_OK);
        double before = counted(T, C, r, q, m, &orthogonal);
        if (!CHECKF(rs_weighted_take(w, eye, T, behind, true, &other, &e) == RS_OK && rs_weighted_cut(w, r, &q, &m, &other, &e) == RS_OK, "%s", e.text)) break;
        if (!CHECKF(rs_weighted_take(w, eye, T, C, false, &loss, &e) == RS_OK && rs_weighted_cut(w, r, &q, &m, &loss, &e) == RS_OK, "%s", e.text)) break;
        CHECKF(fabs(other.energy - loss.energy) < 1e-12 * loss.energy && fabs(other.lost - loss.lost) < 1e-6 * loss.energy, "behind T: energy %.12g lost %.12g; before it %.12g and %.12g", other.energy,
               other.lost, loss.energy, loss.lost);
        double is = counted(T, C, r, q, m, &orthogonal), frobenius = sqrt(counted(T, eye, r, q, m, &orthogonal));
        CHECKF(fabs(is - loss.lost) < 1e-6 * loss.energy && fabs(frobenius - loss.error) < 1e-6 * loss.norm && orthogonal < 1e-6, "rank %d: lost said %.9g, is %.9g; error said %.9g, is %.9g; |T^^T T^ - I| %.3g",
               (int)r, loss.lost, is, loss.error, frobenius, orthogonal);
        CHECKF(is < better * before + 1e-9 * loss.energy, "rank %d, angle %g, fall %g: the weighted cut loses %g, the plain one %g", (int)r, angle, fall, is, before);
        if (fall == 1) CHECKF(fabs(loss.error - plain.error) < 1e-6 * plain.norm && fabs(loss.kept - plain.kept) < 1e-6, "rank %d: error %.9g, plain %.9g", (int)r, loss.error, plain.error);
    }
    rs_weighted_free(w);
    rs_lowrank_free(l);
}

// One direction that carries all lies across every plane; two dimensions are enough for it.
static void one_direction(void)
{
    static double T[N * N], C[N * N], u[N];
    tiny_near_identity(N, 0.4, 0, 5, T);
    for (int i = 0; i < N; i++) u[i] = rs_random_normal(3, 0, (uint64_t)i);
    for (int i = 0; i < N * N; i++) C[i] = u[i / N] * u[i % N];
    rs_error e = {0};
    rs_weighted *w;
    rs_lowrank_loss loss;
    const float *q, *m;
    if (!CHECK(rs_weighted_new(&w, N, &e) == RS_OK)) return;
    CHECK(rs_weighted_take(w, eye, T, C, false, &loss, &e) == RS_OK && rs_weighted_cut(w, 2, &q, &m, &loss, &e) == RS_OK);
    CHECKF(loss.lost < 1e-3 * loss.energy, "two dimensions lose %g of %g", loss.lost, loss.energy);
    rs_weighted_free(w);
}

// Nothing turns, nothing passes, numbers that are none, ranks that are none.
static void edges(void)
{
    static double T[N * N], C[N * N];
    rs_error e = {0};
    rs_weighted *w;
    rs_lowrank_loss loss;
    const float *q, *m;
    double orthogonal;
    if (!CHECK(rs_weighted_new(&w, N, &e) == RS_OK)) return;
    falling(0.5, 7, C);
    CHECK(rs_weighted_take(w, eye, eye, C, true, &loss, &e) == RS_OK && loss.energy == 0 && rs_weighted_cut(w, 4, &q, &m, &loss, &e) == RS_OK);
    CHECK(loss.lost < 1e-12 && counted(eye, C, 4, q, m, &orthogonal) < 1e-9 && orthogonal < 1e-6);
    tiny_near_identity(N, 0.3, 0, 5, T);
    memset(C, 0, sizeof C);
    CHECK(rs_weighted_take(w, eye, T, C, false, &loss, &e) == RS_OK && rs_weighted_cut(w, 4, &q, &m, &loss, &e) == RS_OK && loss.energy == 0 && loss.lost == 0);
    (void)counted(T, C, 4, q, m, &orthogonal);
    CHECK(orthogonal < 1e-6);
    for (uint64_t r = 1; r <= N; r += r == 1 ? N - 1 : 1) {
        CHECK(rs_weighted_take(w, eye, T, C, false, &loss, &e) == RS_OK && rs_weighted_cut(w, r, &q, &m, &loss, &e) == RS_USAGE);
        e = (rs_error){0};
    }
    C[3] = NAN;
    CHECK(rs_weighted_take(w, eye, T, C, false, &loss, &e) == RS_E_VALUE);
    rs_weighted_free(w);
}

static void spread(void)
{
    static const double gain[] = {9, 5, 1, 8, 8, 8, 7, 0, 0};
    rs_error e = {0};
    uint64_t rank[3];
    CHECK(rs_budget_spread(3, 6, gain, 10, rank, &e) == RS_OK && rank[0] == 2 && rank[1] == 6 && rank[2] == 2);
    CHECK(rs_budget_spread(3, 6, gain, 12, rank, &e) == RS_OK && rank[0] == 4 && rank[1] == 6 && rank[2] == 2);
    CHECK(rs_budget_spread(3, 6, gain, 18, rank, &e) == RS_OK && rank[0] == 6 && rank[1] == 6 && rank[2] == 6);
    CHECK(rs_budget_spread(3, 6, gain, 0, rank, &e) == RS_OK && rank[0] == 0 && rank[1] == 0 && rank[2] == 0);
    static const double equal[] = {1, 1, 1, 1};
    CHECK(rs_budget_spread(2, 4, equal, 4, rank, &e) == RS_OK && rank[0] == 4 && rank[1] == 0);
    CHECK(rs_budget_spread(3, 6, gain, 20, rank, &e) == RS_E_INTERNAL);
}

int main(void)
{
    for (int i = 0; i < N; i++) eye[i * N + i] = 1;
    picks_planes();
    against_plain(0.4, 1, 1 + 1e-6);
    against_plain(0.4, 0.5, 0.6);
    against_plain(2.5, 0.5, 1);
    one_direction();
    edges();
    spread();
    return check_report();
}
