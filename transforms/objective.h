// SPDX-License-Identifier: Apache-2.0
// The loss of a network whose activations are quantised in rotated bases, and its derivative by those rotations: one sequence at a time, in the original basis (method.md 5).
#ifndef RS_TRANSFORMS_OBJECTIVE_H
#define RS_TRANSFORMS_OBJECTIVE_H

#include "kernels/decoder_grad.h"
#include "transforms/mirrors.h"
#include "transforms/network.h"

typedef struct rs_objective rs_objective;

typedef struct rs_objective_options {
    size_t S;              // tokens of a sequence, >= 2; S - 1 of them are predicted
    rs_decoder_bits bits;
    double ce, kl;         // loss = ce * cross-entropy + kl * KL(full-precision logits || logits), means over the predictions, in nats
    uint64_t mem;          // bytes that weights, activations and `params` together may take; 0: 1.5 times weights, params and one layer's activations. The more, the fewer layers run twice.
                           // Where the network is on a device, bytes of its memory; 0: what is free there
    uint64_t params;       // bytes that the caller's rotations and their state take
    uint64_t mirrors;      // bytes of the different matrices of a view, and of their slopes: what a device holds of them
    bool (*stop)(void *context); // asked between layers; true ends the run with RS_NO. NULL allowed
    void *context;
} rs_objective_options;

// What a run needs, in bytes, decided before anything is allocated; on a device, of its memory.
typedef struct rs_objective_memory {
    uint64_t weights, params, activations, total;
    uint64_t layers;       // of the network, whose weights are in memory at a time: 1; on a device 2, or all
    uint64_t kept;         // layers whose activations wait for the backward pass; the other L - kept are computed twice; at least 1
} rs_objective_memory;

// Rotations of the network and where their derivatives E (kernels/decoder_grad.h) are added up; pointers may repeat, where one matrix serves many places.
typedef struct rs_objective_view {
    const float *const *basis;  // [2L] of [d,d]
    const float *const *head;   // [L] of [h,h]
    float *const *slope;        // [2L] of [d,d], NULL: no derivatives are wanted
    float *const *head_slope;   // [L] of [h,h]
    double scale;               // of the derivatives (1 / sequences of a step)
    uint64_t version;           // another number when matrices have changed since the last run; 0: they may have
} rs_objective_view;

typedef struct rs_objective_loss {
    double total, nll, kl;      // kl 0 where it is not asked for
} rs_objective_loss;

// n must hold unrotated weights (plan without r3, r4, junctions: RS_USAGE); it is borrowed. RS_USAGE: mem too small (says what is needed), E_NOMEM (says it, too, where a device has too little).
RS_MUST_CHECK rs_status rs_objective_new(rs_objective **o, rs_network *n, const rs_objective_options *options, rs_error *e);
void rs_objective_free(rs_objective *o); // NULL allowed
const rs_objective_memory *rs_objective_needs(const rs_objective *o);
// Floating point operations of one run: products only (2 for each multiply-accumulate), with what is computed twice left out.
double rs_objective_flops(const rs_objective *o, bool derivatives);
// One sequence ids [S]. RS_NO: stopped; E_VALUE: NaN or infinity in activations or derivatives, names the layer, or an id outside the vocabulary; E_INTERNAL: the device failed; slopes are then worthless, and a
// device has forgotten those that were not gathered.
RS_MUST_CHECK rs_status rs_objective_run(rs_objective *o, const int32_t *ids, const rs_objective_view *view, rs_objective_loss *loss, rs_error *e);
// Adds what a device has collected in runs since the last call to the slopes of their views; elsewhere they have it already. E_NOMEM, E_INTERNAL.
RS_MUST_CHECK rs_status rs_objective_gather(rs_objective *o, rs_error *e);
// Where the matrices of its views and their slopes are on a device; and brings back those that were changed there. E_INTERNAL.
rs_mirrors *rs_objective_mirrors(rs_objective *o);
RS_MUST_CHECK rs_status rs_objective_fetch(rs_objective *o, rs_error *e);

#endif
