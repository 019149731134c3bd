// SPDX-License-Identifier: Apache-2.0
// Folds norm scales, a rotation set and r4 into a stream of weights, one tensor at a time (method.md 2): the network stays the same function.
#ifndef RS_TRANSFORMS_FUSE_H
#define RS_TRANSFORMS_FUSE_H

#include "formats/mapped.h"
#include "formats/stage.h"
#include "transforms/smooth.h"

typedef struct rs_fuse_options {
    bool rotate;                // false: norm scales only (with smooth: not even those)
    bool online;                // r3 on q and k, r4 on the input of down
    bool precise;               // dense products in fp64 too
    uint64_t seed;              // shared randomised Hadamard, used without rotations
    const rs_mapped *rotations; // a rotations file (borrowed), NULL: seeded
    // Factors to smooth by (borrowed), NULL: none. v and up are divided by them, o and down multiplied; without rotate also norms and q k v gate up (with it the norm scales are folded
    // into the same weights, and these factors would cancel).
    const rs_smooth *smooth;
} rs_fuse_options;

typedef struct rs_fuse rs_fuse;

// RS_USAGE for a weight that cannot be fused: packed, or with a transform folded in already.
RS_MUST_CHECK rs_status rs_fuse_accepts(const rs_tensor *t, rs_error *e);
// Reads an open stage up to its config.json and decides what happens: sizes, plan. RS_USAGE: not weights, already rotated, rotations file with weights;
// E_TENSOR: config.json does not stand before the tensors, rotations of other sizes; and what reading and rs_rotation_from_file give. Free with rs_fuse_close.
RS_MUST_CHECK rs_status rs_fuse_open(rs_fuse **f, rs_stage *s, const rs_fuse_options *o, rs_error *e);
// The head to begin the output with; owned by f.
const rs_head *rs_fuse_head(const rs_fuse *f);
// Tensors that a whole model has, for progress.
double rs_fuse_total(const rs_fuse *f);
// After rs_stage_begin: passes the whole stream through; tick (NULL allowed) hears how many tensors have come. Then rs_stage_finish may follow.
// RS_USAGE: a packed tensor, or one that carries a transform already; E_TENSOR: order, shape, role; E_VALUE: a norm that is not finite; E_PROV: the rotations were
// learned from another model; E_NOMEM, errors of reading and writing.
RS_MUST_CHECK rs_status rs_fuse_run(rs_fuse *f, void (*tick)(void *context, double done), void *context, rs_error *e);
// NULL allowed.
void rs_fuse_close(rs_fuse *f);

#endif
