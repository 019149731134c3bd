// SPDX-License-Identifier: Apache-2.0
// A junction cut where activations lose least: T^ = I + Q (S - I) Q^T with Q chosen by the second moment of what passes it, and the gain of each pair of dimensions.
//
// For rows x with second moment C = E[x^T x], in the coordinates that T acts on, the cut loses E |x (T - T^)|^2 = tr((T - T^)^T C (T - T^)). In the exact chain x is the RMS-normalised
// stream read at basis j + 1, and what is lost is how far the quantised input is from the one in the learned basis: x (T - T^) = n (R_(j+1) - R^_(j+1)); in the paper's form x is the raw
// stream at junction j, and the loss is its error there. Rotation planes lose independently of each other, (2 sin(angle / 2))^2 tr(p^T C p) each, but a direction that carries much
// energy lies across many of them; the subspace is therefore not bound to planes. It starts from the directions u = C (T - I) v, v the principal directions of the deviation
// x (T - I) (leading eigenvectors of M = (T - I)^T C (T - I)), each with what T makes of it, so that x T^ = x T along those that matter most; a few steps of ascent follow, with
// S = polar(Q^T C T Q). With C = I this finds the leading planes.
#ifndef RS_TRANSFORMS_WEIGHTED_H
#define RS_TRANSFORMS_WEIGHTED_H

#include "transforms/lowrank.h"

typedef struct rs_weighted rs_weighted;

// Work arrays for order d: 4 d^2 doubles and O(d rank). Free with rs_weighted_free (NULL allowed). E_NOMEM, E_LIMIT.
RS_MUST_CHECK rs_status rs_weighted_new(rs_weighted **w, uint64_t d, rs_error *e);
void rs_weighted_free(rs_weighted *w);
// Takes T = A^T B (A, B orthogonal [d, d]) and C [d, d], symmetric: the second moment in A's coordinates, or in B's when behind. loss->energy is E |x (T - I)|^2, and so is loss->lost;
// norm and error are |T - I|_F. E_VALUE (not finite).
RS_MUST_CHECK rs_status rs_weighted_take(rs_weighted *w, const double *A, const double *B, const double *C, bool behind, rs_lowrank_loss *loss, rs_error *e);
// After take (which left loss), instead of cut: gain[0 .. d/2 - 1], about what rank 2k + 2 loses less than rank 2k, falling. Counted out after a shorter ascent at ranks 2 4 6 8 12 16 24 ... upto
// (even), even in between, and made concave. E_VALUE, E_NOMEM.
RS_MUST_CHECK rs_status rs_weighted_gains(rs_weighted *w, uint64_t upto, const rs_lowrank_loss *loss, double *gain, rs_error *e);
// After take, once: the cut to rank (even, 2..d-1). q, m as from rs_lowrank_cut, of w until the next cut; loss, as take left it, gets rank, kept (1 - error^2 / norm^2), error and lost;
// its angle is 0. RS_USAGE: rank; E_VALUE, E_NOMEM.
RS_MUST_CHECK rs_status rs_weighted_cut(rs_weighted *w, uint64_t rank, const float **q, const float **m, rs_lowrank_loss *loss, rs_error *e);

#endif
