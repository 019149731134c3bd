// SPDX-License-Identifier: Apache-2.0
// The loop of GPTQ over the columns of a matrix on a device: all rows at once, column by column in memory, and what the loop updates stays there until its end.
#include <math.h>
#include <stdlib.h>

#include "kernels/threads.h"
#include "quantize/gptq_inside.h"

enum { LANES = RS_GPTQ_LANES };

struct there {
    rs_gptq_job *job;
    const rs_memory *m;
    size_t ld;           // rows, rounded up to LANES; those beyond hold zeros
    float *work, *error; // [cols, ld] in the order of the steps: as updated so far, codes in the end; errors
    float *scales;       // [groups, ld]
    float *side;         // [block or group, ld]: scales of the columns of a block, columns of a group
    float *line;         // [cols, ld] in the process
    size_t group;        // whose scales are being made
};

// ---- rows, LANES at a time

static size_t end_of(const struct there *t, size_t piece)
{
    const size_t end = (piece + 1) * LANES, rows = t->job->rows.rows;
    return end < rows ? end : rows;
}

// Columns in order, and the scales that are known before the loop: those of w, or of whole rows without dead columns.
static void start_body(void *context, size_t piece)
{
    struct there *t = context;
    rs_gptq_job *job = t->job;
    rs_rows *rows = &job->rows;
    const size_t n = rows->cols, end = end_of(t, piece);
    float *span = malloc(n * sizeof *span);
    if (span == NULL) {
        rs_rows_no_memory(rows);
        return;
    }
    for (size_t r = piece * LANES; r < (piece + 1) * LANES; r++) {
        const float *w = job->w + r * n;
        const bool good = r < end && rs_rows_check(rows, r, w); // a bad row ends it all
        for (size_t j = 0; good && j < n; j++) span[j] = job->f->dead[j] ? 0 : w[j];
        for (size_t i = 0; i < n; i++) t->line[i * t->ld + r] = good ? span[job->f->order[i]] : 0;
        for (size_t g = 0; good && (job->early || rows->groups == 1) && g < rows->groups; g++)
            job->scales[r * rows->groups + g] = rs_clip_span(&job->clip, rows->group, (job->early ? w : span) + g * rows->group, job->codes + r * n + g * rows->group, NULL);
    }
    free(span);
}

static void scale_body(void *context, size_t piece)
{
    struct there *t = context;
    rs_gptq_job *job = t->job;
    const size_t n = job->rows.cols, size = job->rows.group, end = end_of(t, piece);
    float *span = malloc(size * sizeof *span);
    if (span == NULL) {
        rs_rows_no_memory(&job->rows);
        return;
    }
    for (size_t r = piece * LANES; r < end; r++) {
        for (size_t j = 0; j < size; j++) span[j] = isfinite(t->line[j * t->ld + r]) ? t->line[j * t->ld + r] : 0;
        job->scales[r * job->rows.groups + t->group] = rs_clip_span(&job->clip, size, span, job->codes + r * n + t->group * size, NULL);
    }
    free(span);
}

static void codes_body(void *context, size_t piece)
{
    struct there *t = context;
    const size_t n = t->job->rows.cols, end = end_of(t, piece);
    for (size_t i = 0; i < n; i++)
        for (size_t r = piece * LANES; r < end; r++) t->job->codes[r * n + t->job->f->order[i]] = (int8_t)t->line[i * t->ld + r];
}

static void loss_body(void *context, size_t piece)
{
    struct there *t = context;
    const rs_gptq_factor *f = t->job->f;
    for (size_t r = piece * LANES, end = end_of(t, piece); r < end; r++) {
        double loss = 0;
        for (size_t i = 0; i < f->n; i++)
            if (!f->dead[f->order[i]]) loss += (double)t->line[i * t->ld + r] * (double)t->line[i * t->ld + r];
        t->job->loss[r] = loss;
    }
}

// ---- columns

static void put_scales(struct there *t, size_t g)
{
    for (size_t r = 0; r < t->ld; r++) t->line[r] = r < t->job->rows.rows ? t->job->scales[r * t->job->rows.groups + g] : 1;
    t->m->put(t->scales + g * t->ld, t->line, t->ld * sizeof *t->line);
}

// Of group g from its columns as they are now.
static void make_scales(struct there *t, size_t g)
{
    const size_t size = t->job->rows.group, bytes = t->ld * sizeof *t->line;
    for (size_t j = 0; j < size; j++) t->m->move(t->side + j * t->ld, t->work + t->job->step[g * size + j] * t->ld, bytes);
    t->m->get(t->line, t->side, size * bytes);
    t->group = g;
    rs_threads_for(t->ld / LANES, scale_body, t);
    put_scales(t, g);
}

// The scales that columns from .. to-1 lack. Returns where the block must end because a group begins there that is to hear of all before it.
static size_t open_groups(struct there *t, size_t from, size_t to)
{
    const rs_gptq_job *job = t->job;
    for (size_t i = from; i < to; i++)
        if (job->opens[i]) {
            if (i > from && !job->stale) return i;
            make_scales(t, job->f->order[i] / job->rows.group);
        }
    return to;
}

static void walk(struct there *t)
{
    const rs_gptq_job *job = t->job;
    const rs_kernels *k = job->k;
    const size_t n = job->rows.cols, groups = job->rows.groups, ld = t->ld;
    const float *U = job->f->U_there, top = (float)((1 << (job->clip.bits - 1)) - 1);
    for (size_t from = 0, to; from < n && !job->rows.no_memory; from = to) {
        to = n - from < job->block ? n : from + job->block;
        if (groups > 1 && !job->early) to = open_groups(t, from, to);
        for (size_t i = from; groups > 1 && i < to; i++) t->m->move(t->side + (i - from) * ld, t->scales + job->f->order[i] / job->rows.group * ld, ld * sizeof *t->side);
        k->gptq_block(to - from, ld, U + from * n + from, n, groups > 1 ? t->side : t->scales, groups > 1 ? ld : 0, top, t->work + from * ld, t->error + from * ld, ld);
        if (to < n) k->gemm_tn(n - to, ld, to - from, U + from * n + to, n, t->error + from * ld, ld, 1, t->work + to * ld, ld); // what this block did, for all columns behind it
    }
}

static rs_status columns(struct there *t, rs_error *e)
{
    rs_gptq_job *job = t->job;
    const size_t pieces = t->ld / LANES, bytes = job->rows.cols * t->ld * sizeof *t->line;
    const char *fault;
    rs_threads_for(pieces, start_body, t);
    if (job->rows.bad_row >= 0 || job->rows.no_memory) return RS_OK;
    t->m->put(t->work, t->line, bytes);
    for (size_t g = 0; (job->early || job->rows.groups == 1) && g < job->rows.groups; g++) put_scales(t, g);
    walk(t);
    const size_t refused = t->m->settle(&fault);
    if (fault != NULL) return rs_fail(e, RS_E_INTERNAL, "%s: the device failed: %s", job->rows.name, fault);
    if (refused > 0) return rs_fail(e, RS_E_VALUE, "%s: rows before it hold NaN or infinity", job->rows.name);
    if (job->rows.no_memory) return RS_OK;
    t->m->get(t->line, t->work, bytes);
    rs_threads_for(pieces, codes_body, t);
    t->m->get(t->line, t->error, bytes);
    rs_threads_for(pieces, loss_body, t);
    return RS_OK;
}

rs_status rs_gptq_columns_there(rs_gptq_job *job, rs_error *e)
{
    const size_t n = job->rows.cols, groups = job->rows.groups, side = groups > 1 ? (job->block > job->rows.group ? job->block : job->rows.group) : 0;
    const rs_memory *m = job->k->memory;
    struct there t = {.job = job, .m = m, .ld = (job->rows.rows + LANES - 1) / LANES * LANES};
    if (n == 0 || t.ld == 0) return RS_OK;
    const size_t column = t.ld * sizeof(float);
    t.line = malloc(n * column);
    if (t.line == NULL) return rs_fail(e, RS_E_NOMEM, "%s: row buffers", job->rows.name);
    t.work = m->alloc(n * column);
    t.error = m->alloc(n * column);
    t.scales = m->alloc(groups * column);
    t.side = m->alloc(side * column);
    rs_status st = t.work != NULL && t.error != NULL && t.scales != NULL && t.side != NULL ? columns(&t, e)
                       : rs_fail(e, RS_E_NOMEM, "%s: %zu MiB on the device", job->rows.name, (((2 * n + groups + side) * column) >> 20) + 1);
    m->release(t.work);
    m->release(t.error);
    m->release(t.scales);
    m->release(t.side);
    free(t.line);
    return st;
}
