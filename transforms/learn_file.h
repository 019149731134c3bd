// SPDX-License-Identifier: Apache-2.0
// What learning writes: a rotation set, and checkpoints. A checkpoint is a rotation set too (the best one so far), with the whole state in files beside the tensors.
#ifndef RS_TRANSFORMS_LEARN_FILE_H
#define RS_TRANSFORMS_LEARN_FILE_H

#include "formats/io.h"
#include "formats/mapped.h"
#include "transforms/learn.h"

// Where the set comes from, for the head and the provenance; all borrowed.
typedef struct rs_learn_origin {
    const rs_mapped *model;
    rs_input_sum model_sum, text_sum, start_sum; // start_sum.fmt empty: seeded
    int argc;
    char *const *argv;
} rs_learn_origin;

// Writes the best set to out (opened by the caller, committed here). *error: the largest |R^T R - I| of its matrices as stored, which stands with each of them in a statistics frame too, as the angles of each junction do.
// E_VALUE, E_NOMEM, errors of writing. The current set becomes the best one.
RS_MUST_CHECK rs_status rs_learn_write(rs_learn *l, const rs_learn_origin *from, rs_out *out, double *error, rs_error *e);
// Writes a checkpoint of the state as it is to out (committed here); the state does not change.
RS_MUST_CHECK rs_status rs_learn_checkpoint(rs_learn *l, const rs_learn_origin *from, rs_out *out, rs_error *e);
// Goes back to a checkpoint. RS_USAGE: no checkpoint, or one made with other options (names the first that differs), text or start; E_PROV: of another model.
RS_MUST_CHECK rs_status rs_learn_resume(rs_learn *l, const rs_learn_origin *from, const rs_mapped *checkpoint, rs_error *e);

#endif
