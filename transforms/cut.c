// SPDX-License-Identifier: Apache-2.0
// The walk behind rs-residual: one basis at a time, each junction cut from where the walk really stands.
#include "transforms/cut.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "transforms/dense.h"
#include "transforms/weighted.h"

struct rs_cut {
    uint64_t L, d, at;
    rs_lowrank_rule rule;
    bool paper;
    rs_lowrank *l;
    double *basis; // [d, d]
    const uint64_t *rank; // [2L], NULL: by the rule
    rs_moments *moments;  // NULL: plain
    rs_weighted *w;
};

rs_status rs_cut_new(rs_cut **out, uint64_t L, uint64_t d, const rs_lowrank_rule *rule, bool paper, rs_error *e)
{
    rs_cut *c = calloc(1, sizeof *c);
    *out = NULL;
    if (c == NULL) return rs_fail(e, RS_E_NOMEM, "no memory to cut junctions");
    *c = (rs_cut){.L = L, .d = d, .rule = *rule, .paper = paper};
    rs_status status = rs_lowrank_new(&c->l, d, e);
    if (status == RS_OK && (c->basis = malloc(d * d * sizeof *c->basis)) == NULL) status = rs_fail(e, RS_E_NOMEM, "no memory for a basis of order %llu", (unsigned long long)d);
    if (status != RS_OK) {
        rs_cut_free(c);
        return status;
    }
    *out = c;
    return RS_OK;
}

void rs_cut_free(rs_cut *c)
{
    if (c == NULL) return;
    rs_lowrank_free(c->l);
    rs_weighted_free(c->w);
    free(c->basis);
    free(c);
}

const double *rs_cut_basis(const rs_cut *c) { return c->basis; }
bool rs_cut_angles(const rs_cut *c, float *theta) { return c->moments == NULL && rs_lowrank_angles(c->l, theta); }
uint64_t rs_cut_macs(uint64_t d, uint64_t rank) { return rank * (2 * d + rank); }
uint64_t rs_cut_bytes(uint64_t d, uint64_t rank) { return rank * (d + rank) * sizeof(float); }

void rs_cut_ranks(rs_cut *c, const uint64_t *rank) { c->rank = rank; }

rs_status rs_cut_weigh(rs_cut *c, rs_moments *m, rs_error *e)
{
    c->moments = m;
    return rs_weighted_new(&c->w, c->d, e);
}

rs_status rs_cut_start(rs_cut *c, const double *R, rs_error *e)
{
    c->at = 0;
    memcpy(c->basis, R, c->d * c->d * sizeof *R);
    return rs_dense_orthonormalise(c->d, c->d, c->basis, e);
}

// The junction into basis j, cut by activations. At full rank nothing is to be chosen.
static rs_status weighted(rs_cut *c, uint64_t j, const double *R, uint64_t rank, const float **q, const float **m, rs_lowrank_loss *loss, rs_error *e)
{
    const double *C;
    if (rank > c->d || (rank % 2 != 0 && rank != c->d))
        return rs_fail(e, RS_USAGE, "rank %llu: not even, or above the width %llu", (unsigned long long)rank, (unsigned long long)c->d);
    RS_TRY(rs_moments_at(c->moments, c->paper ? j - 1 : j, &C, e));
    RS_TRY(rs_weighted_take(c->w, c->basis, R, C, !c->paper, loss, e));
    *q = *m = NULL;
    if (rank == c->d) {
        double energy = loss->energy;
        rs_lowrank_rule all = {.rank = rank};
        RS_TRY(rs_lowrank_cut(c->l, c->basis, R, &all, q, m, loss, e));
        loss->energy = energy;
        loss->lost = loss->rank > 0 ? 0 : energy;
        return RS_OK;
    }
    if (rank > 0 && loss->norm >= 1e-6 * sqrt((double)c->d)) return rs_weighted_cut(c->w, rank, q, m, loss, e);
    return RS_OK;
}

rs_status rs_cut_next(rs_cut *c, const double *R, const float **q, const float **m, rs_lowrank_loss *loss, rs_error *e)
{
    if (c->at >= 2 * c->L) return rs_fail(e, RS_E_INTERNAL, "junction %llu of %llu layers", (unsigned long long)c->at, (unsigned long long)c->L);
    rs_lowrank_rule rule = c->rule;
    if (c->rank != NULL) rule = (rs_lowrank_rule){.rank = c->rank[c->at]};
    // The head can read the stream in any basis: in the exact chain it takes the one that is there.
    if (++c->at == 2 * c->L && !c->paper) rule = (rs_lowrank_rule){0};
    if (c->moments != NULL) RS_TRY(weighted(c, c->at, R, rule.rank, q, m, loss, e));
    else RS_TRY(rs_lowrank_cut(c->l, c->basis, R, &rule, q, m, loss, e));
    if (!c->paper) return rs_lowrank_step(c->d, loss->rank, *q, *m, c->basis, e);
    memcpy(c->basis, R, c->d * c->d * sizeof *R);
    return RS_OK;
}
