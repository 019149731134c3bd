// SPDX-License-Identifier: Apache-2.0
// Walks up a set of learned bases and cuts each junction on the way: the exact chain, whose error is fed forward, or the paper's form (method.md 4).
#ifndef RS_TRANSFORMS_CUT_H
#define RS_TRANSFORMS_CUT_H

#include "transforms/lowrank.h"
#include "transforms/moments.h"

typedef struct rs_cut rs_cut;

// For L layers and width d. paper: T^_j is cut from R_j^T R_(j+1); else from R^_j^T R_(j+1) with R^_(j+1) = R^_j T^_j, and the last junction (into the head) has rank 0.
// Memory: 3 d^2 doubles and what rs_lowrank_cut takes. Free with rs_cut_free (NULL allowed). E_NOMEM, E_LIMIT.
RS_MUST_CHECK rs_status rs_cut_new(rs_cut **c, uint64_t L, uint64_t d, const rs_lowrank_rule *rule, bool paper, rs_error *e);
void rs_cut_free(rs_cut *c);
// Before the start. Each junction gets a rank of its own (rank[2L], even, at most d; borrowed) in place of the rule's.
void rs_cut_ranks(rs_cut *c, const uint64_t *rank);
// Before the start. Chooses each subspace by what activations lose (weighted.h): the RMS-normalised moments of basis j + 1 in the exact chain, the raw ones of basis j in the paper's
// form (borrowed, of the network fused with the learned bases). Takes rank, not energy, of the rule. E_NOMEM.
RS_MUST_CHECK rs_status rs_cut_weigh(rs_cut *c, rs_moments *m, rs_error *e);
// Starts at R_0 [d, d], which is made orthonormal to fp64. E_VALUE.
RS_MUST_CHECK rs_status rs_cut_start(rs_cut *c, const double *R, rs_error *e);
// The next learned basis, R_(j+1): q, m (of c until the next call) and loss of junction j, as rs_lowrank_cut gives them. RS_E_INTERNAL above 2L; RS_USAGE, E_VALUE, E_NOMEM.
RS_MUST_CHECK rs_status rs_cut_next(rs_cut *c, const double *R, const float **q, const float **m, rs_lowrank_loss *loss, rs_error *e);
// The angles of the T that this call cut, as rs_lowrank_angles has them; false also where subspaces are chosen by activations.
bool rs_cut_angles(const rs_cut *c, float *theta);
// The basis where the walk stands: R^_j, in the paper's form R_j; [d, d], owned by c.
const double *rs_cut_basis(const rs_cut *c);
// Multiply-accumulates that a junction of this rank costs per token, 2 d r + r^2, and the bytes of its f32 matrices.
uint64_t rs_cut_macs(uint64_t d, uint64_t rank);
uint64_t rs_cut_bytes(uint64_t d, uint64_t rank);

#endif
