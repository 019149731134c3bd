// SPDX-License-Identifier: Apache-2.0
// A junction T cut to rank r: T^ = I + Q (S - I) Q^T with Q the leading invariant subspace of T - I and S in SO(r) (method.md 4).
#ifndef RS_TRANSFORMS_LOWRANK_H
#define RS_TRANSFORMS_LOWRANK_H

#include "formats/err.h"

// How far a junction is cut: to `rank` (even, at most d), or, if energy > 0, to the least even rank that keeps this share of |T - I|_F^2.
typedef struct rs_lowrank_rule {
    uint64_t rank;
    double energy;
} rs_lowrank_rule;

// What a cut kept and lost.
typedef struct rs_lowrank_loss {
    uint64_t rank;
    double norm;    // |T - I|_F
    double kept;    // share of |T - I|_F^2 inside the subspace (1 when T = I)
    double angle;   // largest rotation angle outside it, degrees
    double error;   // |T - T^|_F
    double energy, lost; // of a weighted cut (weighted.h): E |x (T - I)|^2 and E |x (T - T^)|^2 per token; 0 otherwise
} rs_lowrank_loss;

typedef struct rs_lowrank rs_lowrank;

// Work arrays for order d: 2 d^2 doubles and O(d) (at d = 576 5.6 MB, at 4096 270 MB). Free with rs_lowrank_free (NULL allowed). E_NOMEM, E_LIMIT.
RS_MUST_CHECK rs_status rs_lowrank_new(rs_lowrank **l, uint64_t d, rs_error *e);
void rs_lowrank_free(rs_lowrank *l);
// Cuts T = A^T B (A, B orthogonal [d, d] in fp64). *q [d, rank] and *m = S - I [rank, rank], rounded to f32, belong to l until its next cut; rank 0: T counts as the
// identity (always when |T - I|_F < 1e-6 sqrt(d)). The singular vectors of the normal matrix T - I come from its symmetric part, whose eigenvalues are cos(angle) - 1.
// At rank d, Q = I and S = T. RS_USAGE: rank above d or odd; E_VALUE, E_NOMEM.
RS_MUST_CHECK rs_status rs_lowrank_cut(rs_lowrank *l, const double *A, const double *B, const rs_lowrank_rule *rule, const float **q, const float **m, rs_lowrank_loss *loss, rs_error *e);
// gain[0 .. d/2 - 1]: the share of |T - I|_F^2 in each rotation plane of T = A^T B, from the largest down: what rank 2k + 2 loses less than rank 2k. E_VALUE.
RS_MUST_CHECK rs_status rs_lowrank_gains(rs_lowrank *l, const double *A, const double *B, double *gain, rs_error *e);
// The angles of the T that was cut last (or whose gains were asked for), in radians, largest first, each plane's twice, into theta [d]; false where the cut did not need them (rank d).
bool rs_lowrank_angles(const rs_lowrank *l, float *theta);
// R <- R T^ in fp64, R [d, d]: Q and S as stored are made orthonormal to fp64 first, so that a walk over many junctions stays orthogonal. E_VALUE (far from orthonormal), E_NOMEM.
RS_MUST_CHECK rs_status rs_lowrank_step(uint64_t d, uint64_t rank, const float *q, const float *m, double *R, rs_error *e);

#endif
