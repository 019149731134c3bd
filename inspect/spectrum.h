// SPDX-License-Identifier: Apache-2.0
// What a junction T does: the angles of its planes, the singular values of T - I, how far it is from orthogonal, its determinant; from a frame, from matrices, or from the low-rank form.
#ifndef RS_INSPECT_SPECTRUM_H
#define RS_INSPECT_SPECTRUM_H

#include "inspect/view.h"

// All fill s (released with rs_spectrum_free, also after an error): theta in radians, sigma = 2 |sin(theta / 2)|, which are the singular values of T - I for an orthogonal T (method.md 4).

// T = A^T B, both [n, n] in fp64; A NULL: T = B. The angles are those of the orthogonal matrix nearest to T; orth says how near. E_VALUE (far from orthogonal), E_NOMEM.
RS_MUST_CHECK rs_status rs_spectrum_dense(rs_view_spectrum *s, uint64_t j, uint64_t n, const double *A, const double *B, rs_error *e);
// T = I + q m q^T, q [n, rank], m [rank, rank]: the rank angles that were kept; the others are 0 in T, but not known of the T that it was cut from. E_VALUE, E_NOMEM.
RS_MUST_CHECK rs_status rs_spectrum_lowrank(rs_view_spectrum *s, uint64_t j, uint64_t n, uint64_t rank, const float *q, const float *m, rs_error *e);
// All n angles as a frame holds them, largest first; orth NaN: not known. E_VALUE (out of order, outside 0..pi), E_NOMEM.
RS_MUST_CHECK rs_status rs_spectrum_angles(rs_view_spectrum *s, uint64_t j, uint64_t n, const float *theta, double orth, rs_error *e);
// Whatever the stream holds about junction jn: its frame first, else its tensors; known stays 0 where it holds nothing that tells. The work of a dense one grows as n^3 (n = 576: 0.1 s).
// E_TENSOR (sizes that do not fit), E_VALUE, E_NOMEM, errors of reading.
RS_MUST_CHECK rs_status rs_spectrum_load(rs_view_spectrum *s, rs_outline *o, const rs_view_junction *jn, rs_error *e);
void rs_spectrum_free(rs_view_spectrum *s);

#endif
