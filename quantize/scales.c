// SPDX-License-Identifier: Apache-2.0
// The clip search of a scheme, and its patience, which is the matrix's and not the span's.
#include "quantize/scales.h"

#include "kernels/threads.h"

#define PIECE 8 // rows that one thread looks at before it says what it saw

typedef struct scales_job {
    const rs_clip *clip;
    const float *w;
    size_t rows, cols, group;
    uint32_t gains; // of any span
} scales_job;

static void gains_body(void *context, size_t piece)
{
    scales_job *job = context;
    const size_t end = (piece + 1) * PIECE < job->rows ? (piece + 1) * PIECE : job->rows;
    uint32_t gains = 0;
    for (size_t r = piece * PIECE; r < end; r++)
        for (size_t j = 0; j < job->cols; j += job->group) gains |= rs_clip_gains(job->clip, job->group, job->w + r * job->cols + j);
    __atomic_fetch_or(&job->gains, gains, __ATOMIC_RELAXED);
}

rs_clip rs_scales_clip(const rs_scheme *s, const float *w, size_t rows, size_t cols, size_t group)
{
    rs_clip clip = rs_compat_clip(s->peer, s->w_bits, s->clip_steps, s->scale_dtype, s->group != 0, s->type);
    const int patience = rs_compat_of(s->peer)->patience;
    if (patience == 0 || clip.steps <= patience || clip.steps > 32 || cols == 0) return clip;
    scales_job job = {.clip = &clip, .w = w, .rows = rows, .cols = cols, .group = group};
    rs_threads_for((rows + PIECE - 1) / PIECE, gains_body, &job);
    int idle = 0, i = 0;
    for (; i < clip.steps && idle < patience; i++) idle = job.gains >> i & 1 ? 0 : idle + 1;
    clip.steps = i;
    return clip;
}
