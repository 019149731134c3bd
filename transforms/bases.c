// SPDX-License-Identifier: Apache-2.0
// Four slots for bases (three neighbours and the last), and the dense junctions between neighbours.
#include "transforms/bases.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "transforms/dense.h"

#define SLOTS 4
#define NOTHING UINT64_MAX

struct rs_bases {
    rs_rotation *r;
    bool precise;
    uint64_t d, last;
    struct {
        uint64_t at;   // basis in it
        bool exact;    // f32 is the basis itself, not rounded to it
        float *f32;
        double *f64;
    } slot[SLOTS];
    float *T;      // a dense junction
    void *product; // T in fp64, or the difference of two bases in f32
};

rs_status rs_bases_new(rs_bases **out, rs_rotation *r, bool precise, rs_error *e)
{
    rs_bases *b = calloc(1, sizeof *b);
    *out = b;
    if (b == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for the bases");
    b->r = r;
    b->precise = precise;
    b->d = rs_rotation_d(r);
    b->last = 2 * rs_rotation_layers(r);
    for (int i = 0; i < SLOTS; i++) b->slot[i].at = NOTHING;
    return RS_OK;
}

void rs_bases_free(rs_bases *b)
{
    if (b == NULL) return;
    for (int i = 0; i < SLOTS; i++) {
        free(b->slot[i].f32);
        free(b->slot[i].f64);
    }
    free(b->product);
    free(b->T);
    free(b);
}

static rs_status no_memory(const rs_bases *b, rs_error *e)
{
    return rs_fail(e, RS_E_NOMEM, "no memory for a basis of order %llu", (unsigned long long)b->d);
}

// Three neighbours take turns, the last basis has a slot of its own.
static int slot_of(const rs_bases *b, uint64_t j) { return j == b->last ? SLOTS - 1 : (int)(j % (SLOTS - 1)); }

static rs_status fill(rs_bases *b, int s, uint64_t j, rs_error *e)
{
    if (b->slot[s].at == j) return RS_OK;
    const double *R;
    uint64_t n = b->d * b->d;
    b->slot[s].at = NOTHING;
    if (b->precise) {
        RS_TRY(rs_rotation_basis(b->r, j, &R, e));
        if (b->slot[s].f64 == NULL) b->slot[s].f64 = malloc(n * sizeof(double));
        if (b->slot[s].f64 == NULL) return no_memory(b, e);
        memcpy(b->slot[s].f64, R, n * sizeof(double));
    } else {
        if (b->slot[s].f32 == NULL) b->slot[s].f32 = malloc(n * sizeof(float));
        if (b->slot[s].f32 == NULL) return no_memory(b, e);
        b->slot[s].exact = rs_rotation_stored(b->r, j, b->slot[s].f32);
        if (!b->slot[s].exact) {
            RS_TRY(rs_rotation_basis(b->r, j, &R, e));
            for (uint64_t i = 0; i < n; i++) b->slot[s].f32[i] = (float)R[i];
        }
    }
    b->slot[s].at = j;
    return RS_OK;
}

rs_status rs_bases_get(rs_bases *b, uint64_t j, rs_rotor *rotor, const float **f32, rs_error *e)
{
    const int8_t *signs;
    const rs_hadamard *H = rs_rotation_hadamard(b->r, &signs);
    *rotor = (rs_rotor){.n = b->d, .H = H, .signs = signs};
    *f32 = NULL;
    if (H != NULL) return RS_OK;
    if (rs_rotation_is_global(b->r)) j = 0;
    int s = slot_of(b, j);
    RS_TRY(fill(b, s, j, e));
    rotor->dense = b->slot[s].f64;
    *f32 = b->slot[s].f32;
    return RS_OK;
}

rs_status rs_bases_head(rs_bases *b, uint64_t i, rs_rotor *rotor, rs_error *e)
{
    const int8_t *signs;
    const rs_hadamard *H = rs_rotation_head_hadamard(b->r, i, &signs);
    *rotor = (rs_rotor){.n = rs_rotation_h(b->r), .H = H, .signs = signs};
    return H != NULL ? RS_OK : rs_rotation_head(b->r, i, &rotor->dense, e);
}

rs_status rs_bases_rank(rs_bases *b, uint64_t j, uint64_t *rank, rs_error *e)
{
    const float *q, *m;
    RS_TRY(rs_rotation_junction(b->r, j, rank, &q, &m, e));
    bool nothing = true;
    for (uint64_t i = 0; i < *rank * *rank && nothing; i++) nothing = m[i] == 0;
    if (nothing) *rank = 0;
    return RS_OK;
}

// T = R_j^T R_(j+1), rounded to f32. Precise: in fp64. Else T = I + R_j^T (R_(j+1) - R_j) with the difference taken in fp64 and an f32 product: only the small part is rounded,
// to a few units of what f32 can hold of T, and R_j need not be orthonormal to the last bit for x R_j T to be x R_(j+1).
static rs_status dense_junction(rs_bases *b, uint64_t j, rs_error *e)
{
    const double *R;
    uint64_t d = b->d, n = d * d;
    int s = slot_of(b, j), next = slot_of(b, j + 1);
    RS_TRY(fill(b, s, j, e));
    if (b->T == NULL) b->T = malloc(n * sizeof *b->T);
    if (b->product == NULL) b->product = malloc(n * (b->precise ? sizeof(double) : sizeof(float)));
    if (b->T == NULL || b->product == NULL) return no_memory(b, e);
    // The next basis is at hand afterwards for the layer's weights and for the next junction.
    RS_TRY(fill(b, next, j + 1, e));
    if (b->precise) {
        RS_TRY(rs_rotation_basis(b->r, j + 1, &R, e));
        double *T = b->product;
        rs_dense_tn(d, d, d, b->slot[s].f64, d, R, d, 0, T, d);
        for (uint64_t i = 0; i < n; i++) b->T[i] = (float)T[i];
        return RS_OK;
    }
    float *change = b->product;
    const float *at = b->slot[s].f32;
    if (b->slot[next].exact) // one difference of two f32, rounded once
        for (uint64_t i = 0; i < n; i++) change[i] = b->slot[next].f32[i] - at[i];
    else {
        RS_TRY(rs_rotation_basis(b->r, j + 1, &R, e));
        for (uint64_t i = 0; i < n; i++) change[i] = (float)(R[i] - (double)at[i]);
    }
    rs_kernels_cpu()->gemm_tn(d, d, d, at, d, change, d, 0, b->T, d);
    for (uint64_t i = 0; i < d; i++) b->T[i * d + i] += 1;
    return RS_OK;
}

rs_status rs_bases_write_junction(rs_bases *b, uint64_t j, const rs_plan *plan, rs_relay *relay, rs_error *e)
{
    if (plan->resid == RS_RESID_NONE) return RS_OK;
    if (plan->resid == RS_RESID_DENSE) {
        RS_TRY(dense_junction(b, j, e));
        return rs_junction_dense(relay, RS_ROLE_RESID, j, b->d, b->T, e);
    }
    if (rs_plan_rank(plan, j) == 0) return RS_OK;
    uint64_t rank;
    const float *q, *m;
    RS_TRY(rs_rotation_junction(b->r, j, &rank, &q, &m, e));
    return rs_junction_lowrank(relay, RS_ROLE_RESID, j, b->d, rank, q, m, e);
}
