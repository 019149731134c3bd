// SPDX-License-Identifier: Apache-2.0
// What gptq.c and gptq_device.c share: one matrix on its way through the columns.
#ifndef RS_QUANTIZE_GPTQ_INSIDE_H
#define RS_QUANTIZE_GPTQ_INSIDE_H

#include "kernels/clip.h"
#include "quantize/gptq.h"
#include "quantize/rows.h"

typedef struct rs_gptq_job {
    const rs_kernels *k;
    rs_clip clip;
    const rs_gptq_factor *f;
    const float *w;       // as they came
    int8_t *codes;        // [rows, cols]
    float *scales;        // [rows, groups]
    double *loss;         // [rows]
    const uint32_t *step; // [cols]: the inverse of f->order
    bool *opens;          // [cols]: the step is the first of its group
    bool early, stale;    // scales from w before the loop; scales of groups from the columns as they were when the block began
    size_t block;
    rs_rows rows;
    // of the processor's loop
    float *work;          // [rows, cols] in the order of the steps: as updated so far
    float *error;         // [rows, block]: - (w - c s) / U_ii of the steps of this block
    size_t from, to;
} rs_gptq_job;

// Codes, scales and losses of all rows, by a table with a memory of its own; bad rows are noted in rows. E_VALUE: rows were refused before this; E_NOMEM (what there is no room for), E_INTERNAL: the device failed.
RS_MUST_CHECK rs_status rs_gptq_columns_there(rs_gptq_job *job, rs_error *e);

#endif
