// SPDX-License-Identifier: Apache-2.0
// The bases of a rotation set in the form that folding multiplies by, the few that a layer needs at a time; and the junctions between them.
#ifndef RS_TRANSFORMS_BASES_H
#define RS_TRANSFORMS_BASES_H

#include "transforms/junction.h"
#include "transforms/rotation.h"
#include "transforms/rotor.h"

typedef struct rs_bases rs_bases;

// Over a rotation set (borrowed). precise: fp64 matrices, else f32 ones where they are dense. Free with rs_bases_free (NULL allowed). E_NOMEM.
RS_MUST_CHECK rs_status rs_bases_new(rs_bases **b, rs_rotation *r, bool precise, rs_error *e);
void rs_bases_free(rs_bases *b);
// Basis j in 0..2L as a rotor (a Hadamard, or dense fp64) or, when dense and not precise, as *f32 [d, d] (then only rotor->n is set; else *f32 is NULL).
// Valid until three other bases have been asked for. E_NOMEM.
RS_MUST_CHECK rs_status rs_bases_get(rs_bases *b, uint64_t j, rs_rotor *rotor, const float **f32, rs_error *e);
// Head rotation of layer i; n = 0 without. Valid until another is asked for.
RS_MUST_CHECK rs_status rs_bases_head(rs_bases *b, uint64_t i, rs_rotor *rotor, rs_error *e);
// Rank of junction j of a chain; 0 if it changes nothing.
RS_MUST_CHECK rs_status rs_bases_rank(rs_bases *b, uint64_t j, uint64_t *rank, rs_error *e);
// Writes resid.j as the plan asks for: low-rank as the chain stores it, dense as T = R_j^T R_(j+1); nothing for rank 0.
RS_MUST_CHECK rs_status rs_bases_write_junction(rs_bases *b, uint64_t j, const rs_plan *plan, rs_relay *relay, rs_error *e);

#endif
