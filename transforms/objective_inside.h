// SPDX-License-Identifier: Apache-2.0
// What objective.c and objective_memory.c share.
#ifndef RS_TRANSFORMS_OBJECTIVE_INSIDE_H
#define RS_TRANSFORMS_OBJECTIVE_INSIDE_H

#include "transforms/objective.h"

enum { RS_OBJECTIVE_ROWS = 128 }; // rows of logits at a time

// Arrays that operations work on lie where the kernels of the network have theirs.
struct rs_objective {
    rs_network *n;
    const rs_kernels *k;
    const rs_memory *memory;
    rs_objective_options o;
    rs_objective_memory needs;
    rs_decoder_shape shape;    // of the network, with r3 and r4
    rs_hadamard *r3, *r4;
    size_t L, V, kept_size;
    const float *head;         // [V, d]
    float *head_copy;          // the same, where it is not used as the file holds it
    float *x;                  // [L + 1, S, d]: the stream at the input of each layer and at the end
    float *kept;               // slots of the last needs.kept layers; the first of them serves all layers before it, too
    float *scratch, *dx, *y;   // y [2 ROWS, d]
    float *folded;             // memory of `fold`; NULL where weights are not quantised
    rs_decoder_folded fold;    // the weights of layer fold_of as they are rounded under the rotations of this run
    size_t fold_of;            // L: none
    float *logits, *ref_logits, *ref;
    double *losses;            // [2, S]: nll and kl of each prediction
    int32_t *ids;              // [S], on a device
    rs_mirrors *mirrors;       // of the rotations, and of their slopes
    uint64_t version;          // of the rotations that are mirrored
};

static inline bool rs_objective_rounds(const rs_objective *o)
{
    return o->o.bits.w.bits != 0 && o->o.bits.w.bits < 16;
}

// Decides what is kept and takes everything that a run needs: shape, o and n are set. RS_USAGE, E_NOMEM.
RS_MUST_CHECK rs_status rs_objective_allocate(rs_objective *o, rs_error *e);
void rs_objective_release(rs_objective *o);

#endif
