// SPDX-License-Identifier: Apache-2.0
// Round to nearest with the clip grid, row by row, into the packed layout.
#include "quantize/rtn.h"

#include <stdlib.h>

#include "kernels/clip.h"
#include "kernels/threads.h"
#include "quantize/scales.h"

typedef struct rtn_job {
    rs_clip clip;
    const float *w;
    rs_rows rows;
} rtn_job;

rs_status rs_quantize_layout(const rs_scheme *s, const rs_tensor *t, rs_tensor *packed, rs_error *e)
{
    *packed = *t;
    if (!rs_enc_of_bits(s->w_bits, &packed->enc)) return rs_fail(e, RS_E_INTERNAL, "no encoding of %d bits", s->w_bits);
    packed->group = s->group;
    if (s->group != 0 && t->shape[1] % s->group != 0)
        return rs_fail(e, RS_USAGE, "%s: group %llu does not divide its %llu columns", t->name, (unsigned long long)s->group, (unsigned long long)t->shape[1]);
    return rs_tensor_layout(packed, s->scale_dtype, 0, e);
}

static void rtn_body(void *context, size_t piece)
{
    rtn_job *job = context;
    rs_rows *rows = &job->rows;
    int8_t *codes = malloc(rows->cols);
    float *scales = malloc(rows->groups * sizeof *scales);
    size_t first = piece * RS_ROWS_PIECE, end = first + RS_ROWS_PIECE < rows->rows ? first + RS_ROWS_PIECE : rows->rows;
    if (codes == NULL || scales == NULL) rs_rows_no_memory(rows);
    else
        for (size_t r = first; r < end; r++) {
            const float *w = job->w + r * rows->cols;
            if (!rs_rows_check(rows, r, w)) continue;
            for (size_t g = 0; g < rows->groups; g++) scales[g] = rs_clip_span(&job->clip, rows->group, w + g * rows->group, codes + g * rows->group, NULL);
            rs_rows_put(rows, r, w, codes, scales);
        }
    free(codes);
    free(scales);
}

rs_status rs_rtn_pack(const rs_scheme *s, const rs_tensor *packed, const float *w, uint8_t *payload, rs_pack_error *cost, rs_error *e)
{
    rtn_job job = {.w = w};
    RS_TRY(rs_rows_open(&job.rows, packed, payload, e));
    job.clip = rs_scales_clip(s, w, job.rows.rows, job.rows.cols, job.rows.group);
    rs_threads_for(job.rows.pieces, rtn_body, &job);
    return rs_rows_close(&job.rows, cost, e);
}
