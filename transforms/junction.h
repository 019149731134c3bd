// SPDX-License-Identifier: Apache-2.0
// Writes junctions (low-rank or dense) as tensors, and puts their ranks into a plan.
#ifndef RS_TRANSFORMS_JUNCTION_H
#define RS_TRANSFORMS_JUNCTION_H

#include "formats/container.h"
#include "transforms/relay.h"

// Junction j as tensor "resid.j" or "trans.j" (role RS_ROLE_RESID or RS_ROLE_TRANS): q [d, rank], m [rank, rank].
RS_MUST_CHECK rs_status rs_junction_lowrank(rs_relay *relay, rs_role role, uint64_t j, uint64_t d, uint64_t rank, const float *q, const float *m, rs_error *e);
// A dense matrix [n, n] as raw f32: "resid.j", "rot.j" or "headrot.j", by role.
RS_MUST_CHECK rs_status rs_junction_dense(rs_relay *relay, rs_role role, uint64_t j, uint64_t n, const float *T, rs_error *e);
// Sets resid and rank of a plan whose junctions 0..n-1 have these ranks: the commonest becomes the plan's own, the others exceptions (plan->except is a malloc'ed
// array and is replaced); all 0: resid none. Old exceptions of role resid are dropped. RS_USAGE: more different ranks than a plan has room for; E_NOMEM.
RS_MUST_CHECK rs_status rs_junction_plan(rs_plan *plan, uint64_t n, const uint64_t *rank, rs_error *e);

#endif
