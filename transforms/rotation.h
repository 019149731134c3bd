// SPDX-License-Identifier: Apache-2.0
// A rotation set: bases R_0 .. R_2L of the residual stream (dense or as a chain of low-rank junctions) and one head rotation per layer (method.md 2, 4).
#ifndef RS_TRANSFORMS_ROTATION_H
#define RS_TRANSFORMS_ROTATION_H

#include "formats/mapped.h"
#include "kernels/hadamard.h"

typedef struct rs_rotation rs_rotation;

// A shared randomised Hadamard R_0 = D H (diag of random signs, then H of order d) for every basis and one D_i H(h) per layer, from seed: counter-based, same on every machine.
RS_MUST_CHECK rs_status rs_rotation_seeded(rs_rotation **r, uint64_t L, uint64_t d, uint64_t h, uint64_t seed, rs_error *e);
// From a verified rotations file (borrowed, must outlive r): checks sizes, presence of all parts, orthonormality (1e-5, E_VALUE). RS_USAGE if the file holds weights.
RS_MUST_CHECK rs_status rs_rotation_from_file(rs_rotation **r, const rs_mapped *m, rs_error *e);
void rs_rotation_free(rs_rotation *r);

// Sizes; d of the stream, h of a head (0: the set has no head rotations).
uint64_t rs_rotation_layers(const rs_rotation *r);
uint64_t rs_rotation_d(const rs_rotation *r);
uint64_t rs_rotation_h(const rs_rotation *r);
// True when every basis is the same matrix; when it is D H besides (seeded), *H and the d signs of D are given (NULL otherwise), so that O(n log n) products serve.
bool rs_rotation_is_global(const rs_rotation *r);
const rs_hadamard *rs_rotation_hadamard(const rs_rotation *r, const int8_t **signs);
// True when junctions are stored low-rank (trans.j): a chain.
bool rs_rotation_is_chain(const rs_rotation *r);
// Basis j in 0..2L as fp64 [d, d], row-major, x' = x R: valid until the next call (one basis is kept; a chain is walked upwards). E_NOMEM.
RS_MUST_CHECK rs_status rs_rotation_basis(rs_rotation *r, uint64_t j, const double **R, rs_error *e);
// Copies basis j into R [d, d] where the set holds it as f32 itself; false, and nothing done, where it is seeded or walked to along a chain.
bool rs_rotation_stored(const rs_rotation *r, uint64_t j, float *R);
// The Hadamard and the h signs of head rotation i of a seeded set; NULL in both cases otherwise.
const rs_hadamard *rs_rotation_head_hadamard(const rs_rotation *r, uint64_t i, const int8_t **signs);
// Head rotation of layer i as fp64 [h, h], or NULL in *P without head rotations; valid until the next call.
RS_MUST_CHECK rs_status rs_rotation_head(rs_rotation *r, uint64_t i, const double **P, rs_error *e);
// Junction j of a chain: q [d, rank] and m = S - I [rank, rank] as f32, borrowed.
RS_MUST_CHECK rs_status rs_rotation_junction(rs_rotation *r, uint64_t j, uint64_t *rank, const float **q, const float **m, rs_error *e);
// max |R^T R - I| over [n, n].
double rs_rotation_error(uint64_t n, const double *R);

#endif
