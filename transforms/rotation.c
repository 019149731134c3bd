// SPDX-License-Identifier: Apache-2.0
// A rotation set behind one interface: seeded Hadamards, or dense bases and low-rank junctions from a verified file, one basis in memory at a time.
#include "transforms/rotation.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/threads.h"
#include "transforms/dense.h"
#include "transforms/lowrank.h"
#include "transforms/random.h"

#define TOLERANCE 1e-5 // max |R^T R - I| of what a file may hold (FORMAT.md 12)

struct rs_rotation {
    uint64_t L, d, h;
    // Seeded: R_0 = D H, head rotation i = D_i Hh. Stream 0 of the seed holds the signs of D, stream 1 + i those of D_i.
    rs_hadamard *H, *Hh;
    int8_t *signs, *head_signs; // [d]; [L, h]
    // From a file.
    const rs_mapped *m;
    bool global, chain;
    // What was asked for last.
    double *basis; // [d, d], holds basis `at` when have
    bool have;
    uint64_t at;
    double *head;  // [h, h]
};

uint64_t rs_rotation_layers(const rs_rotation *r) { return r->L; }
uint64_t rs_rotation_d(const rs_rotation *r) { return r->d; }
uint64_t rs_rotation_h(const rs_rotation *r) { return r->h; }
bool rs_rotation_is_global(const rs_rotation *r) { return r->global; }
bool rs_rotation_is_chain(const rs_rotation *r) { return r->chain; }
double rs_rotation_error(uint64_t n, const double *R) { return rs_dense_error(n, n, R); }

const rs_hadamard *rs_rotation_hadamard(const rs_rotation *r, const int8_t **signs)
{
    *signs = r->signs;
    return r->H;
}

const rs_hadamard *rs_rotation_head_hadamard(const rs_rotation *r, uint64_t i, const int8_t **signs)
{
    *signs = r->Hh == NULL ? NULL : r->head_signs + i * r->h;
    return r->Hh;
}

void rs_rotation_free(rs_rotation *r)
{
    if (r == NULL) return;
    rs_hadamard_free(r->H);
    rs_hadamard_free(r->Hh);
    free(r->signs);
    free(r->head_signs);
    free(r->basis);
    free(r->head);
    free(r);
}

static rs_status no_memory(rs_error *e, uint64_t d)
{
    return rs_fail(e, RS_E_NOMEM, "rotations: no memory for a basis of order %llu", (unsigned long long)d);
}

// Counts of doubles that may be asked for: d and h come from a file.
static rs_status sizes_ok(uint64_t L, uint64_t d, uint64_t h, rs_error *e)
{
    if (L <= 65536 && d >= 1 && d <= (1u << 24) && h <= d) return RS_OK;
    return rs_fail(e, RS_E_LIMIT, "rotations: %llu layers of width %llu, head size %llu", (unsigned long long)L, (unsigned long long)d, (unsigned long long)h);
}

rs_status rs_rotation_seeded(rs_rotation **out, uint64_t L, uint64_t d, uint64_t h, uint64_t seed, rs_error *e)
{
    *out = NULL;
    RS_TRY(sizes_ok(L, d, h, e));
    rs_rotation *r = calloc(1, sizeof *r);
    if (r == NULL) return no_memory(e, d);
    *r = (rs_rotation){.L = L, .d = d, .h = h, .global = true, .H = rs_hadamard_new(d), .signs = malloc(d)};
    if (h > 0) {
        r->Hh = rs_hadamard_new(h);
        r->head_signs = malloc(L * h + 1);
    }
    if (r->H == NULL || r->signs == NULL || (h > 0 && (r->Hh == NULL || r->head_signs == NULL))) {
        rs_rotation_free(r);
        return no_memory(e, d);
    }
    rs_random_signs(seed, 0, d, r->signs);
    for (uint64_t i = 0; h > 0 && i < L; i++) rs_random_signs(seed, 1 + i, h, r->head_signs + i * h);
    *out = r;
    return RS_OK;
}

// ---- from a file

static const rs_tensor *dense_basis(const rs_rotation *r, uint64_t j)
{
    return rs_mapped_find_role(r->m, RS_ROLE_ROT, (int64_t)j);
}

static const float *payload(const rs_rotation *r, const rs_tensor *t, const char *key)
{
    const rs_part *p = rs_tensor_part(t, key);
    return (const float *)(const void *)(rs_mapped_payload(r->m, t) + p->off); // parts are aligned to 64
}

// A square raw f32 matrix of order n (n = 0: any, then told).
static rs_status square(const rs_tensor *t, uint64_t *n, rs_error *e)
{
    if (t->enc != RS_ENC_RAW || t->dtype != RS_F32 || t->n_dims != 2 || t->shape[0] != t->shape[1] || t->shape[0] == 0 || (*n != 0 && t->shape[0] != *n))
        return rs_fail(e, RS_E_TENSOR, "tensor %s: not a raw f32 matrix of order %llu", t->name, (unsigned long long)(*n != 0 ? *n : t->shape[0]));
    *n = t->shape[0];
    return RS_OK;
}

struct gram {
    const rs_kernels *k;
    size_t n, step;
    const float *a;
    float *g;
    double *worst;
};

// Rows i step.. of a^T a from the diagonal on (the rest is its mirror image).
static void gram_piece(void *context, size_t i)
{
    const struct gram *p = context;
    size_t row = i * p->step, rows = p->n - row < p->step ? p->n - row : p->step, cols = p->n - row;
    float *g = p->g + row * p->n;
    p->k->gemm_tn(rows, cols, p->n, p->a + row, p->n, p->a + row, p->n, 0, g, cols);
    double worst = 0;
    for (size_t a = 0; a < rows; a++)
        for (size_t b = 0; b < cols; b++) {
            double x = fabs((double)g[a * cols + b] - (a == b ? 1 : 0));
            if (x > worst || isnan(x)) worst = x; // a NaN stays: nothing is greater
        }
    p->worst[i] = worst;
}

// Matrices to be checked, each by one thread while there are several.
struct checks {
    const rs_rotation *r;
    const float *random;       // PROBES vectors, as columns
    const rs_tensor **tensor;
    double *worst;             // of each tensor: max |a^T a - I|, or 0 where that is certainly small enough; -1: no memory
    size_t n;
};

enum { PROBES = 16 };

// An estimate of the largest row norm of a^T a - I, from its products with PROBES random vectors. No element is larger than that. -1: no memory.
static double probe(size_t n, const float *a, const float *random)
{
    float *y = malloc(2 * n * PROBES * sizeof *y), *z = y + n * PROBES;
    if (y == NULL) return -1;
    const rs_kernels *k = rs_kernels_cpu();
    k->gemm_nn(n, PROBES, n, a, n, random, PROBES, 0, y, PROBES);
    k->gemm_tn(n, PROBES, n, a, n, y, PROBES, 0, z, PROBES);
    double norm = 0;
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t j = 0; j < PROBES; j++) {
            double x = (double)z[i * PROBES + j] - random[i * PROBES + j];
            sum += x * x / PROBES;
        }
        if (sum > norm || isnan(sum)) norm = sum;
    }
    free(y);
    return sqrt(norm);
}

// max |a^T a - I| by f32 products: their error is far below what a file may have.
static double gram(size_t n, const float *a)
{
    size_t step = (n / 4 + 1 + 15) / 16 * 16, pieces = (n + step - 1) / step;
    double worst[8] = {0}, all = 0;
    float *g = malloc(n * n * sizeof *g);
    if (g == NULL) return -1;
    struct gram p = {rs_kernels_cpu(), n, step, a, g, worst};
    rs_threads_for(pieces, gram_piece, &p);
    for (size_t i = 0; i < pieces; i++)
        if (worst[i] > all || isnan(worst[i])) all = worst[i];
    free(g);
    return all;
}

static void check_one(void *context, size_t i)
{
    const struct checks *c = context;
    size_t n = c->tensor[i]->shape[0];
    const float *a = payload(c->r, c->tensor[i], "data");
    double norm = probe(n, a, c->random);
    // One in 10^8 of those above the limit would pass; all that are near it are counted out.
    c->worst[i] = norm < 0 ? -1 : norm < 0.3 * TOLERANCE ? 0 : gram(n, a);
    rs_mapped_release(c->r->m, c->tensor[i]);
}

// Orthonormality of all of them; the first that is not is named.
static rs_status check_all(const struct checks *c, rs_error *e)
{
    rs_threads_for(c->n, check_one, (void *)(uintptr_t)c);
    for (size_t i = 0; i < c->n; i++) {
        if (c->worst[i] < 0) return no_memory(e, c->tensor[i]->shape[0]);
        if (!(c->worst[i] <= TOLERANCE)) return rs_fail(e, RS_E_VALUE, "tensor %s: |R^T R - I| is %.3g, above %g", c->tensor[i]->name, c->worst[i], TOLERANCE);
    }
    return RS_OK;
}

// A low-rank junction: shapes, orthonormal q, orthogonal m + I.
static rs_status check_junction(const rs_rotation *r, const rs_tensor *t, rs_error *e)
{
    const rs_part *pq = rs_tensor_part(t, "q"), *pm = rs_tensor_part(t, "m");
    if (t->enc != RS_ENC_LOWRANK || t->n_dims != 2 || t->shape[0] != r->d || t->shape[1] != r->d || pq == NULL || pm == NULL)
        return rs_fail(e, RS_E_TENSOR, "tensor %s: not a low-rank matrix of order %llu", t->name, (unsigned long long)r->d);
    size_t n = pq->shape[1];
    double *q = malloc((r->d + n) * n * sizeof *q);
    if (q == NULL) return no_memory(e, r->d);
    double *s = q + r->d * n;
    const float *fq = payload(r, t, "q"), *fm = payload(r, t, "m");
    for (size_t i = 0; i < r->d * n; i++) q[i] = fq[i];
    for (size_t i = 0; i < n * n; i++) s[i] = (double)fm[i] + (i % (n + 1) == 0 ? 1 : 0);
    double eq = rs_dense_error(r->d, n, q), es = rs_dense_error(n, n, s);
    free(q);
    if (eq <= TOLERANCE && es <= TOLERANCE) return RS_OK;
    return rs_fail(e, RS_E_VALUE, "tensor %s: |q^T q - I| is %.3g and |S^T S - I| is %.3g; the limit is %g", t->name, eq, es, TOLERANCE);
}

// Finds all parts of the set and judges their shapes; the matrices that are to be orthonormal are left in c (room for 3L + 1).
static rs_status find_parts(rs_rotation *r, struct checks *c, rs_error *e)
{
    const rs_tensor *first = dense_basis(r, 0);
    if (first == NULL) return rs_fail(e, RS_E_TENSOR, "rotations: rot.0 is missing");
    RS_TRY(square(first, &r->d, e));
    uint64_t heads = 0, low = 0, dense = 0;
    for (uint64_t i = 0; i < r->L; i++) {
        const rs_tensor *t = rs_mapped_find_role(r->m, RS_ROLE_HEADROT, (int64_t)i);
        if (t == NULL) continue;
        heads++;
        RS_TRY(square(t, &r->h, e));
        c->tensor[c->n++] = t;
    }
    if (heads != 0 && heads != r->L) return rs_fail(e, RS_E_TENSOR, "rotations: head rotations for %llu of %llu layers", (unsigned long long)heads, (unsigned long long)r->L);
    RS_TRY(sizes_ok(r->L, r->d, r->h, e));
    c->tensor[c->n++] = first;
    for (uint64_t j = 0; j < 2 * r->L; j++) {
        const rs_tensor *trans = rs_mapped_find_role(r->m, RS_ROLE_TRANS, (int64_t)j), *rot = dense_basis(r, j + 1);
        if (trans != NULL && rot != NULL) return rs_fail(e, RS_E_TENSOR, "rotations: junction %llu is there twice: %s and %s", (unsigned long long)j, trans->name, rot->name);
        if (trans != NULL) {
            RS_TRY(check_junction(r, trans, e));
            low++;
            rs_mapped_release(r->m, trans);
        } else if (rot != NULL) {
            uint64_t d = r->d;
            RS_TRY(square(rot, &d, e));
            c->tensor[c->n++] = rot;
            dense++;
        }
    }
    if (low + dense != 0 && low + dense != 2 * r->L)
        return rs_fail(e, RS_E_TENSOR, "rotations: %llu of %llu junctions are there", (unsigned long long)(low + dense), (unsigned long long)(2 * r->L));
    r->global = low + dense == 0;
    r->chain = low > 0 && dense == 0;
    return RS_OK;
}

static rs_status check_file(rs_rotation *r, rs_error *e)
{
    size_t most = 3 * (size_t)r->L + 1; // L is at most 65536: HEAD says so
    struct checks c = {.r = r, .tensor = malloc(most * sizeof *c.tensor), .worst = malloc(most * sizeof *c.worst)};
    rs_status status = c.tensor == NULL || c.worst == NULL ? no_memory(e, 0) : find_parts(r, &c, e);
    size_t n = r->d > r->h ? r->d : r->h;
    float *random = status == RS_OK ? malloc(n * PROBES * sizeof *random) : NULL;
    if (status == RS_OK && random == NULL) status = no_memory(e, n);
    if (status == RS_OK) {
        for (size_t i = 0; i < n * PROBES; i++) random[i] = (float)rs_random_normal(1, 1, i);
        c.random = random;
        status = check_all(&c, e);
    }
    free(random);
    free(c.tensor);
    free(c.worst);
    return status;
}

rs_status rs_rotation_from_file(rs_rotation **out, const rs_mapped *m, rs_error *e)
{
    *out = NULL;
    const rs_head *head = rs_mapped_head(m);
    if (head->kind != RS_KIND_ROTATIONS) return rs_fail(e, RS_USAGE, "the file holds weights, not rotations");
    rs_rotation *r = calloc(1, sizeof *r);
    if (r == NULL) return no_memory(e, 0);
    r->m = m;
    r->L = head->layers;
    rs_status status = check_file(r, e);
    if (status != RS_OK) rs_rotation_free(r);
    else *out = r;
    return status;
}

// ---- bases

static rs_status load_dense(rs_rotation *r, const rs_tensor *t, uint64_t j)
{
    const float *R = payload(r, t, "data");
    for (uint64_t i = 0; i < r->d * r->d; i++) r->basis[i] = R[i];
    rs_mapped_release(r->m, t);
    r->have = true;
    r->at = j;
    return RS_OK;
}

static rs_status walk(rs_rotation *r, rs_error *e)
{
    uint64_t rank;
    const float *q, *m;
    RS_TRY(rs_rotation_junction(r, r->at, &rank, &q, &m, e));
    RS_TRY(rs_lowrank_step(r->d, rank, q, m, r->basis, e));
    r->at++;
    return RS_OK;
}

rs_status rs_rotation_basis(rs_rotation *r, uint64_t j, const double **R, rs_error *e)
{
    uint64_t d = r->d;
    if (j > 2 * r->L) return rs_fail(e, RS_E_INTERNAL, "rotations: basis %llu of %llu layers", (unsigned long long)j, (unsigned long long)r->L);
    if (r->global) j = 0;
    if (r->basis == NULL) {
        r->basis = malloc(d * d * sizeof(double));
        if (r->basis == NULL) return no_memory(e, d);
    }
    if (r->H != NULL && !r->have) {
        memset(r->basis, 0, d * d * sizeof(double));
        for (uint64_t i = 0; i < d; i++) r->basis[i * d + i] = r->signs[i];
        rs_hadamard_apply_f64(r->H, d, r->basis, d, false);
        r->have = true;
    }
    if (r->H == NULL && (!r->have || r->at != j)) {
        // From the nearest basis below that is dense (or in memory), walk up.
        uint64_t from = j;
        const rs_tensor *t;
        while ((t = dense_basis(r, from)) == NULL && !(r->have && r->at == from)) from--;
        if (!(r->have && r->at == from)) {
            RS_TRY(load_dense(r, t, from));
            if (r->chain) RS_TRY(rs_dense_orthonormalise(d, d, r->basis, e));
        }
        while (r->at < j) RS_TRY(walk(r, e));
    }
    *R = r->basis;
    return RS_OK;
}

bool rs_rotation_stored(const rs_rotation *r, uint64_t j, float *R)
{
    const rs_tensor *t = r->m == NULL || r->chain ? NULL : dense_basis(r, r->global ? 0 : j);
    if (t == NULL) return false;
    memcpy(R, payload(r, t, "data"), r->d * r->d * sizeof *R);
    rs_mapped_release(r->m, t);
    return true;
}

rs_status rs_rotation_head(rs_rotation *r, uint64_t i, const double **P, rs_error *e)
{
    uint64_t h = r->h;
    *P = NULL;
    if (h == 0) return RS_OK;
    if (i >= r->L) return rs_fail(e, RS_E_INTERNAL, "rotations: head rotation %llu of %llu layers", (unsigned long long)i, (unsigned long long)r->L);
    if (r->head == NULL) {
        r->head = malloc(h * h * sizeof(double));
        if (r->head == NULL) return no_memory(e, h);
    }
    if (r->Hh != NULL) {
        memset(r->head, 0, h * h * sizeof(double));
        for (uint64_t a = 0; a < h; a++) r->head[a * h + a] = r->head_signs[i * h + a];
        rs_hadamard_apply_f64(r->Hh, h, r->head, h, false);
    } else {
        const float *p = payload(r, rs_mapped_find_role(r->m, RS_ROLE_HEADROT, (int64_t)i), "data");
        for (uint64_t a = 0; a < h * h; a++) r->head[a] = p[a];
    }
    *P = r->head;
    return RS_OK;
}

rs_status rs_rotation_junction(rs_rotation *r, uint64_t j, uint64_t *rank, const float **q, const float **m, rs_error *e)
{
    const rs_tensor *t = r->m == NULL ? NULL : rs_mapped_find_role(r->m, RS_ROLE_TRANS, (int64_t)j);
    if (t == NULL) return rs_fail(e, RS_E_INTERNAL, "rotations: junction %llu is not low-rank", (unsigned long long)j);
    *rank = rs_tensor_part(t, "q")->shape[1];
    *q = payload(r, t, "q");
    *m = payload(r, t, "m");
    return RS_OK;
}
