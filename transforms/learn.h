// SPDX-License-Identifier: Apache-2.0
// Learning of a rotation set on a text: sequences, steps, held-out loss, the best set (method.md 5; SpinQuant arXiv 2405.16406, ReSpinQuant arXiv 2604.11080).
#ifndef RS_TRANSFORMS_LEARN_H
#define RS_TRANSFORMS_LEARN_H

#include "transforms/learned.h"

typedef enum rs_learn_decay { RS_DECAY_NONE, RS_DECAY_LINEAR, RS_DECAY_COSINE } rs_learn_decay;

typedef struct rs_learn_options {
    rs_learn_mode mode;
    uint64_t rank;          // of the junctions of a chain
    uint64_t project;       // DENSE: before each look, and at the end, the set is brought onto an exact chain of this rank; 0: never
    bool adam;              // bases by Adam on the skew gradient
    uint64_t S, batch;      // tokens of a sequence; sequences of a step
    uint64_t steps;
    uint64_t sequences;     // different sequences to learn from, 0: all that the text has beside the held-out ones
    uint64_t holdout;       // sequences kept back to judge by, 0: none (then the last set is the best one)
    uint64_t eval_every;    // steps between two looks at them
    uint64_t patience;      // looks without a better loss before it ends, 0: never
    rs_learned_rates rates; // at the first step
    rs_learn_decay decay;   // of the rates: to 0 behind the last step
    rs_decoder_bits bits;
    double ce, kl;
    uint64_t seed;          // of the order of sequences and of what starts at random
    uint64_t mem;
} rs_learn_options;

// What is told while it runs.
typedef enum rs_learn_what { RS_LEARN_STEP, RS_LEARN_LOOK, RS_LEARN_RISING, RS_LEARN_PATIENCE } rs_learn_what;
typedef struct rs_learn_news {
    rs_learn_what what;     // a step was taken; held-out loss; the loss has risen for long; patience has run out
    uint64_t step;          // steps taken
    rs_objective_loss loss; // of the step's sequences before it, or of the held-out ones
    rs_learned_rates rates;
    rs_learned_move move;
    double best;            // lowest held-out loss so far
    uint64_t best_step;
    double seconds;         // of the step or the look
} rs_learn_news;

typedef struct rs_learn_calls {
    void (*news)(void *context, const rs_learn_news *news);
    bool (*stop)(void *context);                       // true: end now; the step under way is dropped
    rs_status (*save)(void *context, rs_error *e);     // after every save_every steps; may be NULL
    uint64_t save_every;
    void *context;
} rs_learn_calls;

typedef struct rs_learn rs_learn;

// Everything that a look or a step changes, beside the arrays of the set; for checkpoints.
typedef struct rs_learn_state {
    uint64_t step, best_step, looks_without;
    uint64_t looked, projected;  // 1 + the step of the last look, of the last projection; 0: none
    double best, smooth, lowest; // smooth: running mean of the loss of steps; lowest: the least that it has been
    double spread;               // running mean of the squared distance of losses from smooth
    uint64_t rising;             // steps for which it has been well above its lowest
} rs_learn_state;

// Over a network (borrowed) and the ids of a text (borrowed). Steps start at `from`, as rs_learned_start says. RS_USAGE: text too short for a sequence beside the held-out ones, mem too small; E_NOMEM.
RS_MUST_CHECK rs_status rs_learn_new(rs_learn **l, rs_network *n, const int32_t *ids, size_t count, rs_rotation *from, bool unsign, const rs_learn_options *o, const rs_learn_calls *calls, rs_error *e);
void rs_learn_free(rs_learn *l); // NULL allowed
const rs_objective_memory *rs_learn_needs(const rs_learn *l);
const rs_learn_options *rs_learn_asked(const rs_learn *l);
// What the objective is computed on: "cpu", or the name of the kernels of a device.
const char *rs_learn_device(const rs_learn *l);
// Sequences that are learned from and held back.
void rs_learn_sequences(const rs_learn *l, uint64_t *learned, uint64_t *held);
// Floating point operations of the products of one step.
double rs_learn_flops(const rs_learn *l);
rs_learn_state *rs_learn_progress(rs_learn *l);
// The set; rs_learn_fetch first, where steps were taken on a device (E_INTERNAL: it failed).
rs_learned *rs_learn_set(rs_learn *l);
RS_MUST_CHECK rs_status rs_learn_fetch(rs_learn *l, rs_error *e);
// Runs to the last step. RS_NO: stopped (state and set are those of the last whole step); E_VALUE: a loss or gradient that is not a number (the best set so far can still be had);
// E_NOMEM, E_INTERNAL (a device failed), errors of save. At the end, or after E_VALUE, call rs_learned_recall before the set is written.
RS_MUST_CHECK rs_status rs_learn_run(rs_learn *l, rs_error *e);
// Mean loss of the held-out sequences (of the first learned ones, where none are) under the current set.
RS_MUST_CHECK rs_status rs_learn_look(rs_learn *l, rs_objective_loss *loss, rs_error *e);

#endif
