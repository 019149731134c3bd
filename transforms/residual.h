// SPDX-License-Identifier: Apache-2.0
// Replaces the dense junctions of a fused model, or of a rotation set, by low-rank ones; in exact mode the weights are re-based so that the network stays the same.
#ifndef RS_TRANSFORMS_RESIDUAL_H
#define RS_TRANSFORMS_RESIDUAL_H

#include "formats/mapped.h"
#include "formats/stage.h"
#include "transforms/lowrank.h"
#include "transforms/moments.h"

typedef struct rs_residual_options {
    rs_lowrank_rule rule;
    bool budgeted;              // `budget` in place of the rule: the mean rank of all junctions, given out by transforms/budget.h
    uint64_t budget;
    bool paper;                 // weights as they are, T^ in place of T
    const rs_mapped *rotations; // the set that the weights were fused with (borrowed); NULL for a stream without junctions, or one of rotations
    const rs_mapped *input;     // the stage's input at random (borrowed); needed for a budget over a stream of rotations, else NULL
    rs_moments *moments;        // of the input, RMS-normalised or (paper) raw (borrowed): subspaces and the budget by what activations lose; NULL: by |T - I|_F
    const rs_input_sum *text;   // what the moments came from, for the provenance; NULL: nothing
} rs_residual_options;

typedef struct rs_residual rs_residual;

// On an open stage. Weights with junctions: reads up to config.json, walks once over the rotations and keeps the cut junctions in an unlinked temporary file, so that
// memory does not grow with the layers. Without junctions nothing will change. A rotations stream is cut while it runs.
// RS_USAGE: no rotations given, moments for a stream of rotations, rank that does not fit, weights cut already; E_TENSOR: rotations of other sizes; E_VALUE, E_READ, E_WRITE, E_NOMEM. Free with rs_residual_close.
RS_MUST_CHECK rs_status rs_residual_open(rs_residual **r, rs_stage *s, const rs_residual_options *o, rs_error *e);
// The head to begin the output with; owned by r.
const rs_head *rs_residual_head(const rs_residual *r);
// Tensors that will come, for progress.
double rs_residual_total(const rs_residual *r);
// After rs_stage_begin: passes the whole stream through. Then rs_stage_finish may follow. E_PROV: the weights were not fused with these rotations (found at the end);
// RS_USAGE: packed or re-based weights; E_TENSOR; errors of reading and writing.
RS_MUST_CHECK rs_status rs_residual_run(rs_residual *r, void (*tick)(void *context, double done), void *context, rs_error *e);
// What each junction kept and lost (n of them, 0 without junctions); of weights known after open, of rotations after run. Owned by r. And d.
const rs_lowrank_loss *rs_residual_losses(const rs_residual *r, size_t *n, uint64_t *d);
// NULL allowed.
void rs_residual_close(rs_residual *r);

#endif
