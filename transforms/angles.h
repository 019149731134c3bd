// SPDX-License-Identifier: Apache-2.0
// How far a junction turns: the rotation angles of its planes, and the statistics frame that keeps them (FORMAT.md 14).
#ifndef RS_TRANSFORMS_ANGLES_H
#define RS_TRANSFORMS_ANGLES_H

#include "formats/writer.h"

// Angles in radians, 0..pi, largest first, each plane's twice, of an orthogonal T [n, n], which is lost: the eigenvalues of its symmetric part are cos(angle). E_VALUE (not finite), E_NOMEM.
RS_MUST_CHECK rs_status rs_angles_of(uint64_t n, double *T, double *theta, rs_error *e);
// The same of T = A^T B, A and B [n, n] orthogonal to about f32: T is made orthogonal first, so that what rounding did to them does not count as an angle. theta [n] as f32; *error (NULL allowed):
// max |T^T T - I| before. E_VALUE (also where T is far from orthogonal), E_NOMEM.
RS_MUST_CHECK rs_status rs_angles_between(uint64_t n, const double *A, const double *B, float *theta, double *error, rs_error *e);
// The angle that belongs to cos(angle) - 1, an eigenvalue of the symmetric part of T - I.
double rs_angles_from(double value);
// Writes `junction.j` of kind `angles` with theta [d] (NULL: they are not known) and what values (NULL: nothing) says besides. E_NOMEM, errors of the writer.
RS_MUST_CHECK rs_status rs_angles_write(rs_writer *w, unsigned step, uint64_t j, uint64_t d, const float *theta, const rs_value *values, rs_error *e);

#endif
