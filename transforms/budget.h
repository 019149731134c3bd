// SPDX-License-Identifier: Apache-2.0
// One budget of rank for all junctions: what each pair of dimensions would gain, and the ranks that gain most in all.
#ifndef RS_TRANSFORMS_BUDGET_H
#define RS_TRANSFORMS_BUDGET_H

#include "transforms/moments.h"
#include "transforms/rotation.h"

// rank[0..n-1], even and at most d, with the sum `total` (even, at most n times d rounded down to even): pairs of dimensions are given out one by one, each to the junction where it gains
// most; where gains are equal, to the lower junction. gain [n, d/2] falls along each row. E_NOMEM.
RS_MUST_CHECK rs_status rs_budget_spread(uint64_t n, uint64_t d, const double *gain, uint64_t total, uint64_t *rank, rs_error *e);
// The ranks of the 2L junctions of a set so that they add up to `mean` for each junction that counts: all, but in the exact chain the last one, which gets 0. Gains are those of the
// junctions of a first walk, paper: over the learned bases, exact: over the chain cut at rank `mean` everywhere; without moments the share of |T - I|_F^2 in each rotation plane, else
// what rs_weighted_gains says, with the moments that rs_cut_weigh takes. In the exact chain they only estimate: what one junction keeps is not left to the next.
// Memory: d^2 doubles, the work arrays of a cut, and L d doubles. RS_USAGE: mean odd or above d; E_VALUE, E_NOMEM and what the set and the moments say.
RS_MUST_CHECK rs_status rs_budget_ranks(rs_rotation *set, rs_moments *m, bool paper, uint64_t mean, uint64_t *rank, rs_error *e);

#endif
