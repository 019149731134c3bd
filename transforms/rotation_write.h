// SPDX-License-Identifier: Apache-2.0
// Writes a rotations file piece by piece: head, bases, junctions, head rotations (formats/FORMAT.md 13).
#ifndef RS_TRANSFORMS_ROTATION_WRITE_H
#define RS_TRANSFORMS_ROTATION_WRITE_H

#include "formats/writer.h"

// The head of a rotations file for L layers; base: tensor digest of the model that the set is for, NULL: for any.
rs_head rs_rotation_write_head(const char *arch, const char *model, uint64_t L, const uint8_t base[16]);
// Basis j, R [d, d] (fp64, stored as f32). E_WRITE, E_NOMEM and what rs_writer_tensor gives; so do the others.
RS_MUST_CHECK rs_status rs_rotation_write_basis(rs_writer *w, uint64_t j, uint64_t d, const double *R, rs_error *e);
// Head rotation of layer i, P [h, h].
RS_MUST_CHECK rs_status rs_rotation_write_headrot(rs_writer *w, uint64_t i, uint64_t h, const double *P, rs_error *e);
// Junction j as trans.j: q [d, rank], m = S - I [rank, rank]. Rank 0 writes what changes nothing: two columns of the identity and m = 0 (d >= 2).
RS_MUST_CHECK rs_status rs_rotation_write_junction(rs_writer *w, uint64_t j, uint64_t d, uint64_t rank, const float *q, const float *m, rs_error *e);

#endif
