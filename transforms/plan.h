// SPDX-License-Identifier: Apache-2.0
// The table: which tensor of a Llama meets which basis on which side, and the online Hadamards of a plan as matrices (method.md 2; formats/FORMAT.md 8).
#ifndef RS_TRANSFORMS_PLAN_H
#define RS_TRANSFORMS_PLAN_H

#include "formats/config.h"
#include "formats/container.h"
#include "kernels/hadamard.h"

// Where a tensor meets the bases. "Columns" is the input side (side 0 of an xf), "rows" the output side (side 1; the entries of a bias).
typedef struct rs_place {
    rs_role role;  // of a bias: the role of the linear layer that it belongs to
    bool bias;
    int64_t norm;  // index of the norm whose scale multiplies the columns, -1: none. Norm 2i: before attention of layer i, 2i+1: before its FFN, 2L: final
    int64_t in;    // basis multiplied into the columns, -1: none
    int64_t out;   // basis multiplied into the rows, -1: none
    int64_t head;  // layer whose head rotation it meets, -1: none
    int head_side; // 0: columns (o), 1: rows (v)
    bool r4;       // its input passes through the online rotation r4 (down)
} rs_place;

// Looks up a weight or bias (roles embed q k v o gate up down head bias). E_TENSOR: a layer outside 0..L-1, a bias whose name does not tell its layer's role, another role.
RS_MUST_CHECK rs_status rs_plan_place(const rs_tensor *t, uint64_t L, rs_place *p, rs_error *e);
// Index of a norm tensor as in rs_place.norm. E_TENSOR.
RS_MUST_CHECK rs_status rs_plan_norm(const rs_tensor *t, uint64_t L, uint64_t *index, rs_error *e);
// Checks that the shape of a tensor of roles embed q k v o gate up down norm head bias is the one that the configuration asks for. E_TENSOR.
RS_MUST_CHECK rs_status rs_plan_shape(const rs_tensor *t, const rs_config *c, rs_error *e);

// The plan's entry for an online rotation by H (on, sizes, build, checksum of the base).
rs_online rs_plan_online(const rs_hadamard *H);
// Builds the matrix that an entry asks for (entry->on) and compares its base with the checksum. *H is freed by rs_hadamard_free.
// E_TENSOR: not reachable, sizes that do not fit, checksum; E_LIMIT: n above 2^24; E_NOMEM.
RS_MUST_CHECK rs_status rs_plan_hadamard(const rs_online *entry, rs_hadamard **H, rs_error *e);

#endif
