// SPDX-License-Identifier: Apache-2.0
// Ranks by gain: a first walk at equal ranks collects the gains, a greedy choice over all of them sets the ranks.
#include "transforms/budget.h"

#include <stdlib.h>
#include <string.h>

#include "transforms/dense.h"
#include "transforms/weighted.h"

rs_status rs_budget_spread(uint64_t n, uint64_t d, const double *gain, uint64_t total, uint64_t *rank, rs_error *e)
{
    uint64_t pairs = d / 2;
    if (total % 2 != 0 || total / 2 > n * pairs) return rs_fail(e, RS_E_INTERNAL, "a budget of rank %llu for %llu junctions", (unsigned long long)total, (unsigned long long)n);
    memset(rank, 0, n * sizeof *rank);
    for (uint64_t given = 0; given < total; given += 2) {
        uint64_t best = n;
        for (uint64_t j = 0; j < n; j++)
            if (rank[j] / 2 < pairs && (best == n || gain[j * pairs + rank[j] / 2] > gain[best * pairs + rank[best] / 2])) best = j;
        rank[best] += 2;
    }
    return RS_OK;
}

struct walk {
    uint64_t d, pairs;
    double *basis;  // [d, d] R_j, in the exact chain R^_j at equal ranks
    rs_lowrank *l;
    rs_weighted *w;
};

// Gains of the junction into basis j, R, from where the walk stands; and the exact chain's step over it at the mean rank.
static rs_status junction(struct walk *k, rs_moments *m, bool paper, uint64_t mean, uint64_t j, const double *R, double *gain, rs_error *e)
{
    const double *C;
    const float *q, *f;
    rs_lowrank_loss loss;
    rs_lowrank_rule rule = {.rank = mean};
    bool choose = m != NULL && mean < k->d;
    if (choose) {
        RS_TRY(rs_moments_at(m, paper ? j - 1 : j, &C, e));
        RS_TRY(rs_weighted_take(k->w, k->basis, R, C, !paper, &loss, e));
        RS_TRY(rs_weighted_gains(k->w, 4 * mean, &loss, gain, e));
    } else RS_TRY(rs_lowrank_gains(k->l, k->basis, R, gain, e));
    if (paper) {
        memcpy(k->basis, R, k->d * k->d * sizeof *R);
        return RS_OK;
    }
    if (choose) RS_TRY(rs_weighted_take(k->w, k->basis, R, C, true, &loss, e));
    if (choose) RS_TRY(rs_weighted_cut(k->w, mean, &q, &f, &loss, e));
    else RS_TRY(rs_lowrank_cut(k->l, k->basis, R, &rule, &q, &f, &loss, e));
    return rs_lowrank_step(k->d, loss.rank, q, f, k->basis, e);
}

static rs_status gains(struct walk *k, rs_rotation *set, rs_moments *m, bool paper, uint64_t n, uint64_t mean, double *gain, rs_error *e)
{
    const double *R;
    RS_TRY(rs_rotation_basis(set, 0, &R, e));
    memcpy(k->basis, R, k->d * k->d * sizeof *R);
    RS_TRY(rs_dense_orthonormalise(k->d, k->d, k->basis, e));
    for (uint64_t j = 1; j <= n; j++, gain += k->pairs) {
        RS_TRY(rs_rotation_basis(set, j, &R, e));
        RS_TRY(junction(k, m, paper, mean, j, R, gain, e));
    }
    return RS_OK;
}

rs_status rs_budget_ranks(rs_rotation *set, rs_moments *m, bool paper, uint64_t mean, uint64_t *rank, rs_error *e)
{
    uint64_t d = rs_rotation_d(set), all = 2 * rs_rotation_layers(set), n = paper || all == 0 ? all : all - 1;
    if (mean % 2 != 0 || mean > d) return rs_fail(e, RS_USAGE, "a mean rank of %llu: not even, or above the width %llu", (unsigned long long)mean, (unsigned long long)d);
    struct walk k = {.d = d, .pairs = d / 2, .basis = malloc(d * d * sizeof(double))};
    double *gain = malloc((n * k.pairs + 1) * sizeof *gain);
    rs_status status = k.basis == NULL || gain == NULL ? rs_fail(e, RS_E_NOMEM, "no memory for the gains of %llu junctions", (unsigned long long)n) : RS_OK;
    if (status == RS_OK && m != NULL) status = rs_weighted_new(&k.w, d, e);
    if (status == RS_OK) status = rs_lowrank_new(&k.l, d, e);
    if (status == RS_OK) status = gains(&k, set, m, paper, n, mean, gain, e);
    for (uint64_t j = 0; j < all; j++) rank[j] = 0;
    if (status == RS_OK) status = rs_budget_spread(n, d, gain, n * mean, rank, e);
    rs_weighted_free(k.w);
    rs_lowrank_free(k.l);
    free(k.basis);
    free(gain);
    return status;
}
