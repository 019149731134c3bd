// SPDX-License-Identifier: Apache-2.0
// Subspace by activations: the directions that deviate most and what becomes of them, then ascent of <S - I, Q^T C T Q> over Q and S in turn.
#include "transforms/weighted.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "transforms/dense.h"

#define ROUNDS 8 // of ascent; the first few bring most

struct rs_weighted {
    uint64_t d;
    double *x;        // [d, d]: T - I
    double *c;        // [d, d]: C in the coordinates that T acts on
    double *b;        // [d, d]: C (T - I), then C T
    double *a;        // [d, d]: -M, then what eigenvectors need of it
    double *values;   // [d]
    void *work;
    uint64_t cap;     // rank that there is room for
    double *q, *next; // [cap, d]: rows are the columns of Q
    double *first;    // [cap, d]: where the ascents for different ranks start
    double *y, *z;    // [cap, d]
    double *k, *s;    // [cap, cap]
    float *q32, *m32;
};

static rs_status no_memory(uint64_t d, rs_error *e)
{
    return rs_fail(e, RS_E_NOMEM, "no memory to weigh a junction of order %llu", (unsigned long long)d);
}

rs_status rs_weighted_new(rs_weighted **out, uint64_t d, rs_error *e)
{
    *out = NULL;
    if (d == 0 || d > (1u << 24)) return rs_fail(e, RS_E_LIMIT, "a junction of order %llu", (unsigned long long)d);
    rs_weighted *w = calloc(1, sizeof *w);
    if (w == NULL) return no_memory(d, e);
    size_t n = d * d * sizeof(double);
    *w = (rs_weighted){.d = d, .x = malloc(n), .c = malloc(n), .b = malloc(n), .a = malloc(n), .values = malloc(d * sizeof(double)), .work = malloc(rs_dense_symmetric_work(d))};
    if (w->x != NULL && w->c != NULL && w->b != NULL && w->a != NULL && w->values != NULL && w->work != NULL) {
        *out = w;
        return RS_OK;
    }
    rs_weighted_free(w);
    return no_memory(d, e);
}

static void drop(rs_weighted *w)
{
    free(w->q);
    free(w->next);
    free(w->first);
    free(w->y);
    free(w->z);
    free(w->k);
    free(w->s);
    free(w->q32);
    free(w->m32);
    w->q = w->next = w->first = w->y = w->z = w->k = w->s = NULL;
    w->q32 = w->m32 = NULL;
    w->cap = 0;
}

void rs_weighted_free(rs_weighted *w)
{
    if (w == NULL) return;
    drop(w);
    free(w->x);
    free(w->c);
    free(w->b);
    free(w->a);
    free(w->values);
    free(w->work);
    free(w);
}

static rs_status reserve(rs_weighted *w, uint64_t rank, rs_error *e)
{
    if (rank <= w->cap) return RS_OK;
    drop(w);
    size_t n = w->d * rank;
    w->q = malloc(n * sizeof(double));
    w->next = malloc(n * sizeof(double));
    w->first = malloc(n * sizeof(double));
    w->y = malloc(n * sizeof(double));
    w->z = malloc(n * sizeof(double));
    w->k = malloc(rank * rank * sizeof(double));
    w->s = malloc(rank * rank * sizeof(double));
    w->q32 = malloc(n * sizeof(float));
    w->m32 = malloc(rank * rank * sizeof(float));
    if (w->q == NULL || w->next == NULL || w->first == NULL || w->y == NULL || w->z == NULL || w->k == NULL || w->s == NULL || w->q32 == NULL || w->m32 == NULL) {
        drop(w);
        return no_memory(w->d, e);
    }
    w->cap = rank;
    return RS_OK;
}

rs_status rs_weighted_take(rs_weighted *w, const double *A, const double *B, const double *C, bool behind, rs_lowrank_loss *loss, rs_error *e)
{
    uint64_t d = w->d;
    rs_dense_tn(d, d, d, A, d, B, d, 0, w->x, d);
    if (behind) { // x = y T^T for y behind T: its second moment is T C T^T
        rs_dense_nn(d, d, d, w->x, d, C, d, 0, w->a, d);
        rs_dense_nt(d, d, d, w->a, d, w->x, d, 0, w->c, d);
    } else memcpy(w->c, C, d * d * sizeof *C);
    double total = 0, energy = 0;
    for (uint64_t i = 0; i < d; i++) w->x[i * d + i] -= 1;
    for (uint64_t i = 0; i < d * d; i++) total += w->x[i] * w->x[i];
    rs_dense_nn(d, d, d, w->c, d, w->x, d, 0, w->b, d);
    rs_dense_tn(d, d, d, w->x, d, w->b, d, 0, w->a, d);
    for (uint64_t i = 0; i < d; i++) energy += w->a[i * d + i];
    if (!isfinite(total) || !isfinite(energy)) return rs_fail(e, RS_E_VALUE, "a junction or a second moment that is not finite");
    *loss = (rs_lowrank_loss){.norm = sqrt(total), .error = sqrt(total), .energy = energy, .lost = energy};
    // Eigenvalues come in ascending order: the leading ones of M are the first of -M.
    for (uint64_t i = 0; i < d; i++)
        for (uint64_t j = 0; j <= i; j++) w->a[i * d + j] = w->a[j * d + i] = -0.5 * (w->a[i * d + j] + w->a[j * d + i]);
    return RS_OK;
}

// Makes row v orthogonal to n orthonormal rows of q, twice for accuracy, and appends it at unit length, unless less than `least` of its length is left.
static bool append(uint64_t d, double *q, uint64_t n, const double *v, double least, double *coefficients)
{
    double *row = q + n * d, before = 0, after = 0;
    for (uint64_t i = 0; i < d; i++) before += v[i] * v[i];
    memmove(row, v, d * sizeof *v);
    for (int twice = 0; twice < 2 && n > 0; twice++) {
        rs_dense_nt(1, n, d, row, d, q, d, 0, coefficients, n);
        for (uint64_t i = 0; i < n; i++) coefficients[i] = -coefficients[i];
        rs_dense_nn(1, d, n, coefficients, n, q, d, 1, row, d);
    }
    for (uint64_t i = 0; i < d; i++) after += row[i] * row[i];
    if (!(after > least * least * before) || !(after > 0)) return false;
    double one = 1 / sqrt(after);
    for (uint64_t i = 0; i < d; i++) row[i] *= one;
    return true;
}

// Q to start from: u = C X v and X^T u (u T without u) for the leading eigenvectors v of M, leaving out what is in the span already; then the v themselves: while fewer than r rows are
// chosen, the r orthonormal v cannot all have lost all but 1 / sqrt(r) of their length, so that r rows always come together.
static rs_status start(rs_weighted *w, uint64_t r, rs_error *e)
{
    uint64_t d = w->d, n = 0;
    double least = fmin(0.1, 0.5 / sqrt((double)r));
    RS_TRY(rs_dense_eigenvalues(d, w->a, w->values, w->work, e));
    RS_TRY(rs_dense_eigenvectors(d, w->a, w->work, r, w->y, e));
    rs_dense_nt(r, d, d, w->y, d, w->x, d, 0, w->next, d);
    rs_dense_nn(r, d, d, w->next, d, w->c, d, 0, w->z, d); // u = C X v
    rs_dense_nn(r, d, d, w->z, d, w->x, d, 0, w->next, d); // u^T X: what u becomes
    for (uint64_t i = 0; i < r && n < r; i++) {
        if (!(w->values[i] < 1e-12 * w->values[0])) break;
        n += append(d, w->q, n, w->z + i * d, least, w->k);
        if (n < r) n += append(d, w->q, n, w->next + i * d, least, w->k);
    }
    for (uint64_t i = 0; i < r && n < r; i++) n += append(d, w->q, n, w->y + i * d, least, w->k);
    return n == r ? RS_OK : rs_fail(e, RS_E_VALUE, "the eigenvectors of a symmetric matrix of order %llu are not orthonormal", (unsigned long long)d);
}

// For Q in q: y = (B Q)^T, z = (B^T Q)^T, k = Q^T B Q with B = C T, s = polar(k) - I; returns <s, k>, half of what the cut gains.
static rs_status rate(rs_weighted *w, uint64_t r, const double *q, double *value, rs_error *e)
{
    uint64_t d = w->d;
    rs_dense_nt(r, d, d, q, d, w->b, d, 0, w->y, d);
    rs_dense_nn(r, d, d, q, d, w->b, d, 0, w->z, d);
    rs_dense_nt(r, r, d, w->z, d, q, d, 0, w->k, r);
    memcpy(w->s, w->k, r * r * sizeof *w->s);
    RS_TRY(rs_dense_rotation_part(r, w->s, e));
    *value = 0;
    for (uint64_t i = 0; i < r * r; i++) {
        if (i % (r + 1) == 0) w->s[i] -= 1;
        *value += w->s[i] * w->k[i];
    }
    return RS_OK;
}

// Steps Q <- orthonormal(gradient + shift Q), the gradient of <N, Q^T B Q> being B Q N^T + B^T Q N with N = S - I; a step that does not ascend is tried again, shorter. In the end y, z, k
// and s belong to Q, and *gain is what its cut loses less than none.
static rs_status ascend(rs_weighted *w, uint64_t r, double *gain, rs_error *e)
{
    uint64_t d = w->d, n = r * d;
    double value, better = 0, shift = 0;
    RS_TRY(rate(w, r, w->q, &value, e));
    for (int round = 0, tries = 0; round < ROUNDS && tries < 8;) {
        // y, z and s belong to q here.
        rs_dense_nn(r, d, r, w->s, r, w->y, d, 0, w->next, d);
        rs_dense_tn(r, d, r, w->s, r, w->z, d, 1, w->next, d);
        if (round == 0 && tries == 0) {
            for (uint64_t i = 0; i < n; i++) shift += w->next[i] * w->next[i];
            shift = 0.01 * sqrt(shift / (double)r);
        }
        for (uint64_t i = 0; i < n; i++) w->next[i] += shift * w->q[i];
        bool whole = true;
        for (uint64_t i = 0; i < r && whole; i++) whole = append(d, w->next, i, w->next + i * d, 1e-10, w->k);
        if (whole) RS_TRY(rate(w, r, w->next, &better, e));
        if (whole && better > value) {
            double *swap = w->q;
            w->q = w->next;
            w->next = swap;
            shift *= 0.5;
            tries = 0;
            round++;
            if (better - value < 1e-5 * value) break;
            value = better;
        } else {
            shift *= 4;
            tries++;
            RS_TRY(rate(w, r, w->q, &value, e));
        }
    }
    RS_TRY(rate(w, r, w->q, &value, e));
    *gain = 2 * value;
    return RS_OK;
}

// The next rank at which gains are counted out: 2 4 6 8 12 16 24 32 48 ...
static uint64_t after(uint64_t rank)
{
    uint64_t power = 2;
    while (2 * power <= rank) power *= 2;
    return rank < 8 ? rank + 2 : rank + power / 2;
}

// Makes gain[0..n-1] fall without changing its sum, as a greedy choice wants it: neighbours that rise share their mean.
static void fall(double *gain, uint64_t n)
{
    for (uint64_t end = 1; end < n; end++) {
        uint64_t from = end;
        double mean = gain[end];
        for (double sum = mean; from > 0 && gain[from - 1] < mean;) {
            double level = gain[from - 1]; // a run of equal gains goes as a whole
            while (from > 0 && gain[from - 1] == level) sum += gain[--from];
            mean = sum / (double)(end - from + 1);
        }
        for (uint64_t i = from; i < end; i++) gain[i] = mean;
        gain[end] = mean;
    }
}

rs_status rs_weighted_gains(rs_weighted *w, uint64_t upto, const rs_lowrank_loss *loss, double *gain, rs_error *e)
{
    uint64_t d = w->d, pairs = d / 2, most = upto < (d - 1) / 2 * 2 ? upto : (d - 1) / 2 * 2;
    memset(gain, 0, pairs * sizeof *gain);
    if (most == 0 || !(loss->energy > 0)) return RS_OK;
    RS_TRY(reserve(w, most, e));
    for (uint64_t i = 0; i < d * d; i++) w->b[i] += w->c[i];
    RS_TRY(start(w, most, e));
    memcpy(w->first, w->q, most * d * sizeof *w->q);
    double before = 0, value = 0;
    for (uint64_t r = 0, next; r < most; r = next) {
        next = after(r) < most ? after(r) : most;
        memcpy(w->q, w->first, next * d * sizeof *w->q);
        RS_TRY(ascend(w, next, &value, e));
        for (uint64_t p = r / 2; p < next / 2; p++) gain[p] = fmax(0, value - before) / (double)((next - r) / 2);
        before = value;
    }
    for (uint64_t p = most / 2; p < pairs; p++) gain[p] = fmax(0, loss->energy - value) / (double)(pairs - most / 2);
    fall(gain, pairs);
    return RS_OK;
}

rs_status rs_weighted_cut(rs_weighted *w, uint64_t r, const float **q, const float **m, rs_lowrank_loss *loss, rs_error *e)
{
    uint64_t d = w->d;
    double gain;
    if (r == 0 || r >= d || r % 2 != 0) return rs_fail(e, RS_USAGE, "rank %llu: not even, or not below the width %llu", (unsigned long long)r, (unsigned long long)d);
    RS_TRY(reserve(w, r, e));
    for (uint64_t i = 0; i < d * d; i++) w->b[i] += w->c[i];
    RS_TRY(start(w, r, e));
    RS_TRY(ascend(w, r, &gain, e));
    // With N = S - I: E |x (T - T^)|^2 = tr M - 2 <N, Q^T C (T - I) Q> + <Q^T C Q N, N>, and the same with C = I for the error.
    double lost = loss->energy, error = loss->norm * loss->norm;
    double *qcq = w->y, *qxq = w->y + r * r; // [r, r] each; 2 r^2 fit into r d or the second takes the place of next
    if (2 * r > d) qxq = w->next;
    rs_dense_nn(r, d, d, w->q, d, w->c, d, 0, w->z, d);
    rs_dense_nt(r, r, d, w->z, d, w->q, d, 0, qcq, r);
    rs_dense_nn(r, d, d, w->q, d, w->x, d, 0, w->z, d);
    rs_dense_nt(r, r, d, w->z, d, w->q, d, 0, qxq, r);
    rs_dense_nn(r, r, r, qcq, r, w->s, r, 0, w->z, r);
    for (uint64_t i = 0; i < r * r; i++) {
        double s = w->s[i];
        lost += s * (w->z[i] - 2 * (w->k[i] - qcq[i]));
        error += s * (s - 2 * qxq[i]);
        w->m32[i] = (float)s;
    }
    for (uint64_t i = 0; i < d; i++)
        for (uint64_t a = 0; a < r; a++) w->q32[i * r + a] = (float)w->q[a * d + i];
    loss->rank = r;
    loss->lost = lost > 0 ? lost : 0;
    loss->error = error > 0 ? sqrt(error) : 0;
    loss->kept = loss->norm > 0 ? 1 - error / (loss->norm * loss->norm) : 1;
    *q = w->q32;
    *m = w->m32;
    return RS_OK;
}
