// SPDX-License-Identifier: Apache-2.0
// A rotation set while it is learned: its parameters, the bases they stand for, the derivatives that one step collects, and the step (method.md 4, 5).
#ifndef RS_TRANSFORMS_LEARNED_H
#define RS_TRANSFORMS_LEARNED_H

#include "transforms/objective.h"
#include "transforms/rotation.h"
#include "transforms/rotation_write.h"

// GLOBAL: one R for all bases. DENSE: every R_j of its own. CHAIN: R_0, and T_j = Cayley(U_j V_j^T - V_j U_j^T) of rank r between them. Head rotations in each.
// The LM head reads the last basis that was learned: R_2L = R_(2L-1), T_(2L-1) = I, for nothing is quantised there.
typedef enum rs_learn_mode { RS_LEARN_GLOBAL, RS_LEARN_DENSE, RS_LEARN_CHAIN } rs_learn_mode;

typedef struct rs_learned_shape {
    rs_learn_mode mode;
    uint64_t L, d, h;
    uint64_t rank;   // even, 2..d; CHAIN only
    bool adam;       // bases and head rotations by Adam on the skew gradient, not by plain descent
} rs_learned_shape;

typedef struct rs_learned_rates {
    double bases, heads; // step of the bases and of the head rotations, along W
    double chain;        // step of Adam on U, V
} rs_learned_rates;

// What a step did: largest norm |W|_F of the gradients, and the sum of their squares.
typedef struct rs_learned_move {
    double largest, squares;
} rs_learned_move;

typedef struct rs_learned rs_learned;

// Bytes that a set of this shape takes while it is learned, a copy of the best one included.
uint64_t rs_learned_bytes(const rs_learned_shape *s, int threads);
// Bytes of the matrices that a view of it leads to, of their slopes, and of what rs_learned_step_there works with.
uint64_t rs_learned_mirrors(const rs_learned_shape *s);
// Free with rs_learned_free (NULL allowed). E_NOMEM, E_LIMIT.
RS_MUST_CHECK rs_status rs_learned_new(rs_learned **out, const rs_learned_shape *s, rs_error *e);
void rs_learned_free(rs_learned *s);
// Starts at a set of the same sizes (RS_USAGE otherwise; without head rotations those start at the identity). unsign: the shared randomised Hadamard of a seeded set without its signs.
// GLOBAL takes a set with one basis only, CHAIN one with one basis or low-rank junctions of rank at most rank (RS_USAGE). seed: for the columns of U that no junction fills.
RS_MUST_CHECK rs_status rs_learned_start(rs_learned *s, rs_rotation *from, bool unsign, uint64_t seed, rs_error *e);
// The bases as they are, with slopes or without; valid until the next step. CHAIN: rs_learned_refresh first.
const rs_objective_view *rs_learned_view(rs_learned *s, bool slopes, double scale);
RS_MUST_CHECK rs_status rs_learned_refresh(rs_learned *s, rs_error *e);
// Slopes to zero, before the sequences of a step.
void rs_learned_clear(rs_learned *s);
// One step down the collected slopes. E_VALUE names the basis whose gradient is not finite; the set is then worthless (go back to a copy).
RS_MUST_CHECK rs_status rs_learned_step(rs_learned *s, const rs_learned_rates *rates, rs_learned_move *move, rs_error *e);
// Whether its steps can be taken where a device has the matrices and their slopes: not those of junctions, nor Adam's.
bool rs_learned_steps_there(const rs_learned *s);
// The same step by operations of k on the mirrors m that its matrices have there, with slopes that were not gathered. Before the set is looked at or changed otherwise rs_mirrors_fetch must bring
// back what it did. E_VALUE, E_NOMEM, E_INTERNAL (the device failed).
RS_MUST_CHECK rs_status rs_learned_step_there(rs_learned *s, const rs_kernels *k, rs_mirrors *m, const rs_learned_rates *rates, rs_learned_move *move, rs_error *e);
// DENSE: brings the bases onto an exact chain of rank r (transforms/cut.h, method.md 4), the nearest set that r planes at each junction can express. E_VALUE, E_NOMEM.
RS_MUST_CHECK rs_status rs_learned_project(rs_learned *s, uint64_t rank, rs_error *e);
// Keeps the parameters as the best ones; and makes the kept ones the current ones.
void rs_learned_keep(rs_learned *s);
void rs_learned_recall(rs_learned *s);
// Current and kept parameters change places; bases made of them are not made anew.
void rs_learned_swap(rs_learned *s);
// Writes the current set as tensors of a rotations file, orthonormalised in fp64; *error: the largest |R^T R - I| of what was written, as f32. angles: with the rotation angles of each junction in a
// statistics frame behind it, which costs about 10 d^3 operations for each pair of dense bases. E_VALUE, E_NOMEM, errors of the writer.
RS_MUST_CHECK rs_status rs_learned_write(rs_learned *s, rs_writer *w, bool angles, double *error, rs_error *e);
// The arrays that make up the whole state, for checkpoints: name, data and number of floats of array i; false past the last. count: steps taken, of Adam.
bool rs_learned_array(rs_learned *s, size_t i, const char **name, float **data, size_t *n);
uint64_t *rs_learned_count(rs_learned *s);

#endif
