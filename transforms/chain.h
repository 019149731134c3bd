// SPDX-License-Identifier: Apache-2.0
// One learned junction of a chain: T = Cayley(A), A = U V^T - V U^T with U, V [d, r2], so T - I has rank at most r = 2 r2 (method.md 4, "Chain mode"); its gradient, and its stored form.
#ifndef RS_TRANSFORMS_CHAIN_H
#define RS_TRANSFORMS_CHAIN_H

#include "formats/err.h"
#include "kernels/kernels.h"

// Floats that a forward keeps for its backward: [U V] [d, 2 r2], and a square of order 2 r2.
size_t rs_chain_saved(size_t d, size_t r2);
// Rnext = R T, both [d, d] (not the same array); saved [rs_chain_saved] gets what rs_chain_slopes needs. 4 d^2 r operations in f32, the solve of order r in fp64. May run inside bodies of
// rs_threads_for. E_VALUE (U or V not finite), E_NOMEM.
RS_MUST_CHECK rs_status rs_chain_forward(const rs_kernels *k, size_t d, size_t r2, const float *U, const float *V, const float *R, float *Rnext, float *saved, rs_error *e);
// From the tangent gradient at Rnext, a skew W [d, d] (Rnext turned by Rnext exp(O) changes the loss by <W, O>): dU, dV [d, r2] = dL/dU, dL/dV, and w [d, d] += T W T^T, the same at R
// (not the same array as W; what is added is skew but for rounding). 4 d^2 r operations. E_VALUE, "gradient is not finite": nothing is written. E_NOMEM.
RS_MUST_CHECK rs_status rs_chain_slopes(const rs_kernels *k, size_t d, size_t r2, const float *saved, const float *W, float *dU, float *dV, float *w, rs_error *e);

// The stored form T = I + q m q^T, computed in fp64, rounded to f32: q [d, 2 r2] with orthonormal columns that span U and V (completed where these are dependent), m = S - I of order 2 r2.
// RS_USAGE (2 r2 > d), E_VALUE (not finite), E_NOMEM.
RS_MUST_CHECK rs_status rs_chain_qs(size_t d, size_t r2, const float *U, const float *V, float *q, float *m, rs_error *e);
// The way back: U, V [d, r2] with Cayley(U V^T - V U^T) = I + q m q^T, columns i of U and V of equal length for each plane of rotation i. Columns that no plane needs start anew: in U normal random
// numbers / sqrt(d) (seed, stream; rs_random_normal), in V zeros. rank 0 (q, m NULL) starts a whole junction at T = I.
// RS_USAGE (2 r2 < rank - 1 or > d, rank > d), E_VALUE (q or S not orthonormal, an angle within 0.08 degrees of 180), E_NOMEM.
RS_MUST_CHECK rs_status rs_chain_from_qs(size_t d, size_t rank, const float *q, const float *m, size_t r2, uint64_t seed, uint64_t stream, float *U, float *V, rs_error *e);

#endif
