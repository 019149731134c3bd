// SPDX-License-Identifier: Apache-2.0
// The symmetric part of T - I gives subspace and angles; S is the rotation nearest to T inside the subspace.
#include "transforms/lowrank.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "transforms/angles.h"
#include "transforms/dense.h"

struct rs_lowrank {
    uint64_t d;
    double *a;       // [d, d]: T, then the symmetric part of T - I
    double *values;  // [d]: cos(angle) - 1, ascending
    bool known;      // of the last T
    void *work;
    double *vectors; // [cap, d]: rows are the columns of Q
    double *y, *z;   // [d, cap]
    double *s;       // [cap, cap]
    float *q, *m;
    uint64_t cap;
};

static rs_status no_memory(uint64_t d, rs_error *e)
{
    return rs_fail(e, RS_E_NOMEM, "no memory to cut a junction of order %llu", (unsigned long long)d);
}

rs_status rs_lowrank_new(rs_lowrank **out, uint64_t d, rs_error *e)
{
    *out = NULL;
    if (d == 0 || d > (1u << 24)) return rs_fail(e, RS_E_LIMIT, "a junction of order %llu", (unsigned long long)d);
    rs_lowrank *l = calloc(1, sizeof *l);
    if (l == NULL) return no_memory(d, e);
    *l = (rs_lowrank){.d = d, .a = malloc(d * d * sizeof(double)), .values = malloc(d * sizeof(double)), .work = malloc(rs_dense_symmetric_work(d))};
    if (l->a != NULL && l->values != NULL && l->work != NULL) {
        *out = l;
        return RS_OK;
    }
    rs_lowrank_free(l);
    return no_memory(d, e);
}

static void drop(rs_lowrank *l)
{
    free(l->vectors);
    free(l->y);
    free(l->z);
    free(l->s);
    free(l->q);
    free(l->m);
    l->vectors = l->y = l->z = l->s = NULL;
    l->q = l->m = NULL;
    l->cap = 0;
}

void rs_lowrank_free(rs_lowrank *l)
{
    if (l == NULL) return;
    drop(l);
    free(l->a);
    free(l->values);
    free(l->work);
    free(l);
}

static rs_status reserve(rs_lowrank *l, uint64_t rank, rs_error *e)
{
    if (rank <= l->cap) return RS_OK;
    drop(l);
    uint64_t n = l->d * rank;
    l->vectors = malloc(n * sizeof(double));
    l->y = malloc(n * sizeof(double));
    l->z = malloc(n * sizeof(double));
    l->s = malloc(rank * rank * sizeof(double));
    l->q = malloc(n * sizeof(float));
    l->m = malloc(rank * rank * sizeof(float));
    if (l->vectors == NULL || l->y == NULL || l->z == NULL || l->s == NULL || l->q == NULL || l->m == NULL) {
        drop(l);
        return no_memory(l->d, e);
    }
    l->cap = rank;
    return RS_OK;
}

static double degrees(double value) { return rs_angles_from(value) * (180 / 3.14159265358979323846); }

// At rank d nothing is cut: Q = I, S = T.
static rs_status whole(rs_lowrank *l, rs_lowrank_loss *loss, rs_error *e)
{
    uint64_t d = l->d;
    RS_TRY(rs_dense_orthonormalise(d, d, l->a, e));
    memset(l->q, 0, d * d * sizeof *l->q);
    for (uint64_t i = 0; i < d; i++) l->q[i * d + i] = 1;
    for (uint64_t i = 0; i < d * d; i++) l->m[i] = (float)(l->a[i] - (i % (d + 1) == 0 ? 1 : 0));
    loss->rank = d;
    loss->error = 0;
    return RS_OK;
}

// Rank that the rule asks for, with the eigenvalues known; the singular values of T - I squared are -2 (cos(angle) - 1).
static uint64_t by_energy(const rs_lowrank *l, double energy, double total)
{
    double sum = 0;
    uint64_t r = 0;
    while (r + 2 <= l->d && sum < energy * total) {
        sum += -2 * (l->values[r] + l->values[r + 1]);
        r += 2;
    }
    return r;
}

// cos(angle) - 1 of all rotation planes (each twice), ascending, into values; T is in a.
static rs_status spectrum(rs_lowrank *l, rs_error *e)
{
    uint64_t d = l->d;
    for (uint64_t i = 0; i < d; i++) {
        l->a[i * d + i] -= 1;
        for (uint64_t j = i + 1; j < d; j++) l->a[i * d + j] = l->a[j * d + i] = 0.5 * (l->a[i * d + j] + l->a[j * d + i]);
    }
    RS_TRY(rs_dense_eigenvalues(d, l->a, l->values, l->work, e));
    l->known = true;
    return RS_OK;
}

bool rs_lowrank_angles(const rs_lowrank *l, float *theta)
{
    for (uint64_t i = 0; l->known && i < l->d; i++) theta[i] = (float)rs_angles_from(l->values[i]);
    return l->known;
}

rs_status rs_lowrank_gains(rs_lowrank *l, const double *A, const double *B, double *gain, rs_error *e)
{
    uint64_t d = l->d;
    l->known = false;
    rs_dense_tn(d, d, d, A, d, B, d, 0, l->a, d);
    RS_TRY(spectrum(l, e));
    for (uint64_t k = 0; k < d / 2; k++) gain[k] = fmax(0, -2 * (l->values[2 * k] + l->values[2 * k + 1]));
    return RS_OK;
}

rs_status rs_lowrank_cut(rs_lowrank *l, const double *A, const double *B, const rs_lowrank_rule *rule, const float **q, const float **m, rs_lowrank_loss *loss, rs_error *e)
{
    uint64_t d = l->d, r = rule->rank;
    if (rule->energy <= 0 && (r > d || (r % 2 != 0 && r != d))) return rs_fail(e, RS_USAGE, "rank %llu: not even, or above the width %llu", (unsigned long long)r, (unsigned long long)d);
    rs_dense_tn(d, d, d, A, d, B, d, 0, l->a, d);
    double total = 0;
    for (uint64_t i = 0; i < d * d; i++) {
        double x = l->a[i] - (i % (d + 1) == 0 ? 1 : 0);
        total += x * x;
    }
    *loss = (rs_lowrank_loss){.norm = sqrt(total), .kept = 1, .error = sqrt(total)};
    *q = *m = NULL;
    l->known = false;
    if (!isfinite(total)) return rs_fail(e, RS_E_VALUE, "a junction that is not finite");
    if (loss->norm < 1e-6 * sqrt((double)d)) {
        memset(l->values, 0, d * sizeof *l->values);
        l->known = true;
        return RS_OK;
    }
    if (rule->energy <= 0 && r == d) {
        RS_TRY(reserve(l, d, e));
        RS_TRY(whole(l, loss, e));
        *q = l->q;
        *m = l->m;
        return RS_OK;
    }
    RS_TRY(spectrum(l, e));
    if (rule->energy > 0) r = by_energy(l, rule->energy, total);
    loss->rank = r;
    loss->angle = r < d ? degrees(l->values[r]) : 0;
    double inside = 0;
    for (uint64_t i = 0; i < r; i++) inside += -2 * l->values[i];
    loss->kept = inside / total;
    if (r == 0) return RS_OK;
    RS_TRY(reserve(l, r, e));
    RS_TRY(rs_dense_eigenvectors(d, l->a, l->work, r, l->vectors, e));
    // S = polar(Q^T T Q) = polar(Q^T A^T (B Q)).
    rs_dense_nt(d, r, d, B, d, l->vectors, d, 0, l->y, r);
    rs_dense_tn(d, r, d, A, d, l->y, r, 0, l->z, r);
    rs_dense_nn(r, r, d, l->vectors, d, l->z, r, 0, l->s, r);
    // |T - T^|^2 = |T - I|^2 - 2 <Q^T T Q - I, S - I> + |S - I|^2
    for (uint64_t i = 0; i < r * r; i++) l->y[i] = l->s[i]; // r <= d: it fits
    RS_TRY(rs_dense_rotation_part(r, l->s, e));
    double cross = 0, square = 0;
    for (uint64_t i = 0; i < r * r; i++) {
        double one = i % (r + 1) == 0 ? 1 : 0, x = l->s[i] - one;
        cross += (l->y[i] - one) * x;
        square += x * x;
        l->m[i] = (float)x;
    }
    double rest = total - 2 * cross + square;
    loss->error = rest > 0 ? sqrt(rest) : 0;
    for (uint64_t i = 0; i < d; i++)
        for (uint64_t k = 0; k < r; k++) l->q[i * r + k] = (float)l->vectors[k * d + i];
    *q = l->q;
    *m = l->m;
    return RS_OK;
}

rs_status rs_lowrank_step(uint64_t d, uint64_t rank, const float *q, const float *m, double *R, rs_error *e)
{
    if (rank == 0) return RS_OK;
    uint64_t n = d * rank;
    double *Q = malloc(n * sizeof *Q), *y = malloc(n * sizeof *y), *z = malloc(n * sizeof *z), *S = malloc(rank * rank * sizeof *S);
    rs_status status = Q == NULL || y == NULL || z == NULL || S == NULL ? no_memory(d, e) : RS_OK;
    if (status == RS_OK) {
        for (uint64_t i = 0; i < n; i++) Q[i] = q[i];
        for (uint64_t i = 0; i < rank * rank; i++) S[i] = (double)m[i] + (i % (rank + 1) == 0 ? 1 : 0);
        status = rs_dense_orthonormalise(d, rank, Q, e);
    }
    if (status == RS_OK) status = rs_dense_orthonormalise(rank, rank, S, e);
    if (status == RS_OK) {
        for (uint64_t i = 0; i < rank; i++) S[i * rank + i] -= 1;
        rs_dense_nn(d, rank, d, R, d, Q, rank, 0, y, rank);
        rs_dense_nn(d, rank, rank, y, rank, S, rank, 0, z, rank);
        rs_dense_nt(d, d, rank, z, rank, Q, rank, 1, R, d);
    }
    free(Q);
    free(y);
    free(z);
    free(S);
    return status;
}
