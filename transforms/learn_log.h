// SPDX-License-Identifier: Apache-2.0
// The log of learning: a line of JSON for each step and each look at the held-out sequences, written as it happens.
#ifndef RS_TRANSFORMS_LEARN_LOG_H
#define RS_TRANSFORMS_LEARN_LOG_H

#include "transforms/learn.h"

typedef struct rs_learn_log rs_learn_log;

// Opens path for appending, or anew. RS_USAGE if it is one of the n_inputs files that are read (their paths; NULL and "-" are skipped), which stays as it is; E_WRITE, E_NOMEM.
RS_MUST_CHECK rs_status rs_learn_log_open(rs_learn_log **l, const char *path, bool append, const char *const *inputs, size_t n_inputs, rs_error *e);
// One line, at once; l NULL: nothing.
//   {"step": 7, "loss": 3.21, "nll": 3.21, "kl": 0, "lr": 1.4, "head_lr": 1.4, "chain_lr": 0.0003, "gradient": 0.12, "largest": 0.05, "seconds": 3.1}     a step
//   {"step": 20, "heldout": 3.4, "nll": 3.4, "kl": 0, "best": 3.4, "best_step": 20, "seconds": 2.2}                                                       a look
//   {"step": 60, "event": "rising"}, {"step": 60, "event": "patience"}
// gradient: the root of the sum of |W|_F^2 over all rotations, largest: the largest |W|_F.
void rs_learn_log_line(rs_learn_log *l, const rs_learn_news *n);
// Closes; a write that failed is told here. E_WRITE. l NULL: RS_OK.
RS_MUST_CHECK rs_status rs_learn_log_close(rs_learn_log *l, rs_error *e);

#endif
