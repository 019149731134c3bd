// SPDX-License-Identifier: Apache-2.0
// Checkpoints of GPTQ: a weights file of the matrices that are done, with the streams of the calibration text as one more tensor and the rest of the state in gptq.json.
#ifndef RS_QUANTIZE_GPTQ_FILE_H
#define RS_QUANTIZE_GPTQ_FILE_H

#include "formats/io.h"
#include "quantize/gptq_model.h"

// Where the work comes from, for provenance and comparison; all borrowed.
typedef struct rs_gptq_origin {
    const rs_mapped *model;
    rs_input_sum model_sum, text_sum, recipe_sum; // recipe_sum.fmt empty: none
    uint64_t skip;                                // tokens of the text left out
    int argc;
    char *const *argv;
} rs_gptq_origin;

// Writes what is done to out (opened by the caller, committed here); g was opened with keep and does not change. E_READ, E_WRITE, E_NOMEM.
RS_MUST_CHECK rs_status rs_gptq_checkpoint(rs_gptq_model *g, const rs_gptq_origin *from, rs_out *out, rs_error *e);
// Goes on from a checkpoint, which may be closed then; g has just been opened. RS_USAGE: no checkpoint, or one made with other options (names the first that differs), text, recipe, or on a
// processor or a device with other products; E_PROV: of another model; E_META, E_TENSOR, E_VALUE: not what a checkpoint holds; E_WRITE, E_NOMEM.
RS_MUST_CHECK rs_status rs_gptq_resume(rs_gptq_model *g, const rs_gptq_origin *from, const rs_mapped *checkpoint, rs_error *e);

#endif
