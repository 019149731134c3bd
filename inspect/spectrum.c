// SPDX-License-Identifier: Apache-2.0
// Spectra of junctions.
#include "inspect/spectrum.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/part.h"
#include "transforms/angles.h"
#include "transforms/dense.h"

#define HALF_TURN (3.14159265358979323846 - 1e-6) // from here on an angle counts as pi

void rs_spectrum_free(rs_view_spectrum *s)
{
    free(s->theta);
    free(s->sigma);
    *s = (rs_view_spectrum){.orth = NAN};
}

static rs_status begin(rs_view_spectrum *s, uint64_t j, uint64_t n, uint64_t known, rs_error *e)
{
    *s = (rs_view_spectrum){.j = j, .n = n, .orth = NAN};
    if (known > n || n > 1u << 24) return rs_fail(e, RS_E_LIMIT, "junction %llu: %llu angles of order %llu", (unsigned long long)j, (unsigned long long)known, (unsigned long long)n);
    s->theta = malloc((size_t)(known + 1) * sizeof *s->theta);
    s->sigma = malloc((size_t)(known + 1) * sizeof *s->sigma);
    return s->theta != NULL && s->sigma != NULL ? RS_OK : rs_fail(e, RS_E_NOMEM, "junction %llu: its spectrum", (unsigned long long)j);
}

// Planes have both their angles in the list, so that an odd number of half turns is a reflection.
static void finish(rs_view_spectrum *s, size_t known)
{
    size_t half = 0;
    for (size_t i = 0; i < known; i++) {
        s->sigma[i] = 2 * fabs(sin(s->theta[i] / 2));
        half += s->theta[i] > HALF_TURN;
    }
    s->known = known;
    s->whole = known == s->n;
    s->det = half % 2 == 0 ? 1 : -1;
}

static rs_status far(uint64_t j, double error, rs_error *e)
{
    return rs_fail(e, RS_E_VALUE, "junction %llu: T^T T differs from the identity by %.3g", (unsigned long long)j, error);
}

rs_status rs_spectrum_dense(rs_view_spectrum *s, uint64_t j, uint64_t n, const double *A, const double *B, rs_error *e)
{
    RS_TRY(begin(s, j, n, n, e));
    double *T = malloc((size_t)(n * n + 1) * sizeof *T);
    if (T == NULL) return rs_fail(e, RS_E_NOMEM, "junction %llu: a matrix of order %llu", (unsigned long long)j, (unsigned long long)n);
    if (A != NULL) rs_dense_tn(n, n, n, A, n, B, n, 0, T, n);
    else memcpy(T, B, (size_t)(n * n) * sizeof *T);
    s->orth = rs_dense_error(n, n, T);
    rs_status st = s->orth < 1e-3 ? rs_dense_orthonormalise(n, n, T, e) : far(j, s->orth, e);
    if (st == RS_OK) st = rs_angles_of(n, T, s->theta, e);
    free(T);
    if (st == RS_OK) finish(s, (size_t)n);
    return st;
}

// max |T^T T - I| = max |q (m + m^T + m^T q^T q m) q^T|.
static rs_status lowrank_error(uint64_t n, uint64_t r, const double *q, const double *m, double *error, rs_error *e)
{
    double *G = malloc((size_t)(3 * r * r + n * r + n * 64 + 1) * sizeof *G), *y = G + r * r, *X = y + r * r, *z = X + r * r, *strip = z + n * r;
    if (G == NULL) return rs_fail(e, RS_E_NOMEM, "a junction of rank %llu", (unsigned long long)r);
    rs_dense_tn(r, r, n, q, r, q, r, 0, G, r);
    rs_dense_nn(r, r, r, G, r, m, r, 0, y, r);
    rs_dense_tn(r, r, r, m, r, y, r, 0, X, r);
    for (uint64_t i = 0; i < r * r; i++) X[i] += m[i] + m[i % r * r + i / r];
    rs_dense_nn(n, r, r, q, r, X, r, 0, z, r);
    *error = 0;
    for (uint64_t at = 0; at < n; at += 64) {
        const uint64_t rows = n - at < 64 ? n - at : 64;
        rs_dense_nt(rows, n, r, z + at * r, r, q, r, 0, strip, n);
        for (uint64_t i = 0; i < rows * n; i++)
            if (!(fabs(strip[i]) <= *error)) *error = fabs(strip[i]); // a NaN stays
    }
    free(G);
    return RS_OK;
}

rs_status rs_spectrum_lowrank(rs_view_spectrum *s, uint64_t j, uint64_t n, uint64_t rank, const float *q, const float *m, rs_error *e)
{
    RS_TRY(begin(s, j, n, rank, e));
    double *Q = malloc((size_t)(n * rank + 2 * rank * rank + 1) * sizeof *Q), *M = Q + n * rank, *S = M + rank * rank;
    if (Q == NULL) return rs_fail(e, RS_E_NOMEM, "junction %llu: rank %llu", (unsigned long long)j, (unsigned long long)rank);
    for (uint64_t i = 0; i < n * rank; i++) Q[i] = q[i];
    for (uint64_t i = 0; i < rank * rank; i++) S[i] = (M[i] = m[i]) + (i % (rank + 1) == 0 ? 1 : 0);
    rs_status st = lowrank_error(n, rank, Q, M, &s->orth, e);
    if (st == RS_OK && !(s->orth < 1e-3)) st = far(j, s->orth, e);
    if (st == RS_OK) st = rs_dense_orthonormalise(rank, rank, S, e);
    if (st == RS_OK) st = rs_angles_of(rank, S, s->theta, e);
    free(Q);
    if (st == RS_OK) finish(s, (size_t)rank);
    return st;
}

rs_status rs_spectrum_angles(rs_view_spectrum *s, uint64_t j, uint64_t n, const float *theta, double orth, rs_error *e)
{
    RS_TRY(begin(s, j, n, n, e));
    s->orth = orth;
    for (uint64_t i = 0; i < n; i++) {
        s->theta[i] = (double)theta[i];
        if (!(theta[i] >= 0 && theta[i] < 3.1416f) || (i > 0 && theta[i] > theta[i - 1])) return rs_fail(e, RS_E_VALUE, "junction %llu: angle %llu is %g", (unsigned long long)j, (unsigned long long)i, (double)theta[i]);
    }
    finish(s, (size_t)n);
    return RS_OK;
}

// ---- from a stream

// The part of a tensor as f32, malloc'ed; its type and shape are known.
static rs_status read_part(rs_outline *o, size_t i, const rs_part *p, float **x, rs_error *e)
{
    const rs_outline_tensor *t = rs_outline_tensor_at(o, i);
    *x = malloc((size_t)p->len + 1);
    if (*x == NULL) return rs_fail(e, RS_E_NOMEM, "%s: %llu bytes", t->name, (unsigned long long)p->len);
    return rs_outline_read(o, t->payload_off + p->off, *x, (size_t)p->len, e);
}

static rs_status read_dense(rs_outline *o, int64_t i, uint64_t n, double **x, rs_error *e)
{
    rs_tensor t;
    float *f = NULL;
    RS_TRY(rs_outline_tensor_head(o, (size_t)i, &t, e));
    const rs_part *p = rs_tensor_part(&t, "data");
    if (p == NULL || t.dtype != RS_F32 || t.n_dims != 2 || t.shape[0] != n || t.shape[1] != n) return rs_fail(e, RS_E_TENSOR, "%s: not a matrix of f32 of order %llu", t.name, (unsigned long long)n);
    rs_status st = read_part(o, (size_t)i, p, &f, e);
    *x = st == RS_OK ? malloc((size_t)(n * n + 1) * sizeof **x) : NULL;
    if (st == RS_OK && *x == NULL) st = rs_fail(e, RS_E_NOMEM, "%s: a matrix of order %llu", t.name, (unsigned long long)n);
    for (uint64_t k = 0; st == RS_OK && k < n * n; k++) (*x)[k] = (double)f[k];
    free(f);
    return st;
}

static rs_status load_dense(rs_view_spectrum *s, rs_outline *o, const rs_view_junction *jn, rs_error *e)
{
    double *A = NULL, *B = NULL;
    rs_status st = RS_OK;
    if (jn->next >= 0) st = read_dense(o, jn->tensor, jn->n, &A, e);
    if (st == RS_OK) st = read_dense(o, jn->next >= 0 ? jn->next : jn->tensor, jn->n, &B, e);
    if (st == RS_OK) st = rs_spectrum_dense(s, jn->j, jn->n, A, B, e);
    free(A);
    free(B);
    return st;
}

static rs_status load_lowrank(rs_view_spectrum *s, rs_outline *o, const rs_view_junction *jn, const rs_tensor *t, rs_error *e)
{
    const rs_part *pq = rs_tensor_part(t, "q"), *pm = rs_tensor_part(t, "m");
    float *q = NULL, *m = NULL;
    rs_status st = pq == NULL || pm == NULL || pq->shape[0] != jn->n ? rs_fail(e, RS_E_TENSOR, "%s: not of order %llu", t->name, (unsigned long long)jn->n) : read_part(o, (size_t)jn->tensor, pq, &q, e);
    if (st == RS_OK) st = read_part(o, (size_t)jn->tensor, pm, &m, e);
    if (st == RS_OK) st = rs_spectrum_lowrank(s, jn->j, jn->n, pq->shape[1], q, m, e);
    free(q);
    free(m);
    return st;
}

// *found: the frame holds angles.
static rs_status load_frame(rs_view_spectrum *s, rs_outline *o, const rs_view_junction *jn, bool *found, rs_error *e)
{
    rs_stat_head head;
    uint8_t *payload = NULL;
    rs_status st = rs_outline_stat_read(o, (size_t)jn->frame, &head, &payload, e);
    const rs_part *p = st == RS_OK ? rs_part_find(&head, "theta") : NULL;
    *found = p != NULL && p->n_dims == 1;
    if (st == RS_OK && *found) st = rs_spectrum_angles(s, jn->j, p->shape[0], (const float *)(const void *)(payload + p->off), rs_map_f64(head.values, "orthogonality", NAN), e);
    free(payload);
    return st;
}

rs_status rs_spectrum_load(rs_view_spectrum *s, rs_outline *o, const rs_view_junction *jn, rs_error *e)
{
    bool found = false;
    *s = (rs_view_spectrum){.j = jn->j, .n = jn->n, .orth = NAN};
    if (jn->frame >= 0) RS_TRY(load_frame(s, o, jn, &found, e));
    if (found || jn->tensor < 0) return RS_OK;
    rs_tensor t;
    RS_TRY(rs_outline_tensor_head(o, (size_t)jn->tensor, &t, e));
    if (t.enc == RS_ENC_LOWRANK) return load_lowrank(s, o, jn, &t, e);
    if (t.role == RS_ROLE_ROT && jn->next < 0) return RS_OK;
    return load_dense(s, o, jn, e);
}
