// SPDX-License-Identifier: Apache-2.0
// GPTQ of one matrix: the factor of a Hessian, and the loop over blocks of columns with rows spread over the pool.
#include "quantize/gptq.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/threads.h"
#include "quantize/gptq_inside.h"
#include "quantize/scales.h"
#include "transforms/dense.h"

#define RAISES 3 // how often a failed factorisation is tried again with ten times the damp

rs_gptq_options rs_gptq_default(void)
{
    return (rs_gptq_options){.damp = 0.01, .block = 128};
}

// ---- the Hessian

void rs_gptq_factor_free(rs_gptq_factor *f)
{
    if (f->U_there != NULL) f->k->memory->release(f->U_there);
    free(f->U);
    free(f->order);
    free(f->dead);
    memset(f, 0, sizeof *f);
}

struct column {
    double h;
    uint32_t index;
};

static int by_falling(const void *a, const void *b)
{
    const struct column *x = a, *y = b;
    if (x->h != y->h) return x->h < y->h ? 1 : -1;
    return x->index < y->index ? -1 : 1;
}

// The order of the steps, dead columns, and the mean of the diagonal with ones for those.
static rs_status survey(rs_gptq_factor *f, const rs_gptq_options *o, const float *H, double *mean, rs_error *e)
{
    const size_t n = f->n;
    struct column *c = malloc((n + 1) * sizeof *c);
    if (c == NULL) return rs_fail(e, RS_E_NOMEM, "order of %zu columns", n);
    double sum = 0;
    for (size_t j = 0; j < n; j++) {
        f->dead[j] = H[j * n + j] == 0;
        c[j] = (struct column){f->dead[j] ? 1 : (double)H[j * n + j], (uint32_t)j};
        sum += c[j].h;
    }
    if (o->act_order) qsort(c, n, sizeof *c, by_falling);
    for (size_t i = 0; i < n; i++) f->order[i] = c[i].index;
    free(c);
    *mean = sum / (double)n;
    return RS_OK;
}

// a [n, n] = H in the order of the steps, with its diagonal raised by add.
static void arrange(const rs_gptq_factor *f, const float *H, double add, double *a)
{
    const size_t n = f->n;
    for (size_t i = 0; i < n; i++)
        for (size_t j = i; j < n; j++) {
            size_t r = f->order[i], c = f->order[j];
            double h = (double)(r <= c ? H[r * n + c] : H[c * n + r]);
            a[i * n + j] = a[j * n + i] = i != j ? h : (f->dead[r] ? 1 : h) + add;
        }
}

rs_status rs_gptq_factorise(rs_gptq_factor *f, const rs_gptq_options *o, size_t n, const float *H, rs_error *e)
{
    *f = (rs_gptq_factor){.n = n, .damp = o->damp};
    if (n == 0) return RS_OK;
    for (size_t i = 0; i < n; i++)
        for (size_t j = i; j < n; j++)
            if (!isfinite(H[i * n + j])) return rs_fail(e, RS_E_VALUE, "the Hessian is not finite");
    double mean = 0, *a = malloc(n * n * sizeof *a);
    f->U = malloc(n * n * sizeof *f->U);
    f->order = malloc(n * sizeof *f->order);
    f->dead = malloc(n * sizeof *f->dead);
    rs_status st = a == NULL || f->U == NULL || f->order == NULL || f->dead == NULL ? rs_fail(e, RS_E_NOMEM, "Hessian of order %zu", n) : survey(f, o, H, &mean, e);
    rs_status tried = RS_NO;
    while (st == RS_OK && tried != RS_OK) {
        arrange(f, H, f->damp * mean, a);
        tried = rs_dense_inverse_factor(n, a);
        if (tried == RS_OK) break;
        if (f->raised == RAISES) st = rs_fail(e, RS_E_VALUE, "the Hessian of order %zu cannot be factored, not even with a damp of %g", n, f->damp);
        else {
            f->damp *= 10;
            f->raised++;
        }
    }
    for (size_t i = 0; st == RS_OK && i < n; i++)
        for (size_t j = 0; j < n; j++) f->U[i * n + j] = j < i ? 0 : (float)a[i * n + j];
    free(a);
    return st;
}

rs_status rs_gptq_factor_by(rs_gptq_factor *f, const rs_kernels *k, rs_error *e)
{
    const size_t bytes = f->n * f->n * sizeof *f->U;
    f->k = k;
    if (k == NULL || k->memory == NULL) return RS_OK;
    f->U_there = k->memory->alloc(bytes);
    if (f->U_there == NULL) return rs_fail(e, RS_E_NOMEM, "Hessian of order %zu: %zu MiB on the device", f->n, (bytes >> 20) + 1);
    k->memory->put(f->U_there, f->U, bytes);
    return RS_OK;
}

// ---- the columns

static void start_body(void *context, size_t piece)
{
    rs_gptq_job *job = context;
    rs_rows *rows = &job->rows;
    size_t cols = rows->cols, end = (piece + 1) * RS_ROWS_PIECE < rows->rows ? (piece + 1) * RS_ROWS_PIECE : rows->rows;
    for (size_t r = piece * RS_ROWS_PIECE; r < end; r++) {
        const float *w = job->w + r * cols;
        bool good = rs_rows_check(rows, r, w); // a bad row ends it all later; until then it is a row of zeros
        for (size_t i = 0; i < cols; i++) job->work[r * cols + i] = !good || job->f->dead[job->f->order[i]] ? 0 : w[job->f->order[i]];
        job->loss[r] = 0;
        for (size_t g = 0; job->early && good && g < rows->groups; g++)
            job->scales[r * rows->groups + g] = rs_clip_span(&job->clip, rows->group, w + g * rows->group, job->codes + r * cols + g * rows->group, NULL);
    }
}

// The scale of group g for a row whose steps before i are done; the columns beyond this block have not heard of its errors yet. start: the columns of this block when it began.
static float group_scale(const rs_gptq_job *job, const float *work, const float *start, const float *error, size_t g, size_t i, float *span, int8_t *codes)
{
    const size_t n = job->rows.cols, size = job->rows.group;
    for (size_t j = 0; j < size; j++) {
        size_t p = job->step[g * size + j];
        float x = job->stale && p >= job->from && p < job->to ? start[p - job->from] : work[p];
        for (size_t k = job->from; !job->stale && p >= job->to && k < i; k++) x += error[k - job->from] * job->f->U[k * n + p];
        span[j] = isfinite(x) ? x : 0;
    }
    return rs_clip_span(&job->clip, size, span, codes, NULL);
}

static void block_row(rs_gptq_job *job, size_t r, float *start, float *span, int8_t *span_codes)
{
    const size_t n = job->rows.cols, groups = job->rows.groups, to = job->to;
    const float *U = job->f->U, top = (float)((1 << (job->clip.bits - 1)) - 1);
    float *work = job->work + r * n, *error = job->error + r * job->block, *scales = job->scales + r * groups;
    double loss = 0;
    memcpy(start, work + job->from, (to - job->from) * sizeof *start);
    for (size_t i = job->from; i < to; i++) {
        size_t column = job->f->order[i], g = column / job->rows.group;
        if (job->opens[i] && !job->early) scales[g] = group_scale(job, work, start, error, g, i, span, span_codes);
        float s = scales[g], c = rintf(work[i] / s);
        c = c > -top - 1 ? c < top ? c : top : -top - 1; // never a NaN
        job->codes[r * n + column] = (int8_t)c;
        float err = (work[i] - c * s) / U[i * n + i];
        for (size_t j = i + 1; j < to; j++) work[j] -= err * U[i * n + j];
        error[i - job->from] = -err;
        if (!job->f->dead[column]) loss += (double)err * (double)err;
    }
    job->loss[r] += loss;
}

// Rows with one scale each, side by side. The last ones may be fewer than the lanes: then the others hold zeros.
static void block_side_by_side(void *context, size_t piece)
{
    rs_gptq_job *job = context;
    const size_t n = job->rows.cols, width = job->to - job->from, first = piece * RS_GPTQ_LANES, left = job->rows.rows - first, rows = left < RS_GPTQ_LANES ? left : RS_GPTQ_LANES;
    const float *U = job->f->U + job->from * n + job->from, top = (float)((1 << (job->clip.bits - 1)) - 1);
    const bool opens = job->from == 0 && !job->early;
    float scale[RS_GPTQ_LANES], *w = malloc((2 * width * RS_GPTQ_LANES + (opens ? n : 0)) * sizeof *w);
    if (w == NULL) {
        rs_rows_no_memory(&job->rows);
        return;
    }
    float *e = w + width * RS_GPTQ_LANES, *span = e + width * RS_GPTQ_LANES;
    for (size_t r = 0; r < RS_GPTQ_LANES; r++) {
        const float *work = job->work + (first + r) * n;
        if (opens && r < rows) job->scales[first + r] = group_scale(job, work, work, NULL, 0, 0, span, job->codes + (first + r) * n);
        scale[r] = r < rows ? job->scales[first + r] : 1;
        for (size_t i = 0; i < width; i++) w[i * RS_GPTQ_LANES + r] = r < rows ? work[job->from + i] : 0;
    }
    job->k->gptq_block(width, RS_GPTQ_LANES, U, n, scale, 0, top, w, e, RS_GPTQ_LANES);
    for (size_t r = 0; r < rows; r++) {
        float *error = job->error + (first + r) * job->block;
        double loss = 0;
        for (size_t i = 0; i < width; i++) {
            const size_t column = job->f->order[job->from + i];
            const float err = e[i * RS_GPTQ_LANES + r];
            job->codes[(first + r) * n + column] = (int8_t)w[i * RS_GPTQ_LANES + r];
            error[i] = err;
            if (!job->f->dead[column]) loss += (double)err * (double)err;
        }
        job->loss[first + r] += loss;
    }
    free(w);
}

static void block_body(void *context, size_t piece)
{
    rs_gptq_job *job = context;
    size_t end = (piece + 1) * RS_ROWS_PIECE < job->rows.rows ? (piece + 1) * RS_ROWS_PIECE : job->rows.rows;
    float *span = malloc((job->rows.group + job->block) * sizeof *span);
    int8_t *codes = malloc(job->rows.group);
    if (span == NULL || codes == NULL) rs_rows_no_memory(&job->rows);
    else
        for (size_t r = piece * RS_ROWS_PIECE; r < end; r++) block_row(job, r, span + job->rows.group, span, codes);
    free(span);
    free(codes);
}

static void finish_body(void *context, size_t piece)
{
    rs_gptq_job *job = context;
    size_t end = (piece + 1) * RS_ROWS_PIECE < job->rows.rows ? (piece + 1) * RS_ROWS_PIECE : job->rows.rows;
    for (size_t r = piece * RS_ROWS_PIECE; r < end; r++) rs_rows_put(&job->rows, r, job->w + r * job->rows.cols, job->codes + r * job->rows.cols, job->scales + r * job->rows.groups);
}

static void columns(rs_gptq_job *job)
{
    const size_t n = job->rows.cols, rows = job->rows.rows;
    job->work = malloc((rows * n + 1) * sizeof *job->work);
    job->error = malloc((rows * job->block + 1) * sizeof *job->error);
    if (job->work == NULL || job->error == NULL) {
        rs_rows_no_memory(&job->rows);
        return;
    }
    rs_threads_for(job->rows.pieces, start_body, job);
    for (job->from = 0; job->from < n && job->rows.bad_row < 0 && !job->rows.no_memory; job->from = job->to) {
        job->to = n - job->from < job->block ? n : job->from + job->block;
        if (job->rows.groups == 1) rs_threads_for((rows + RS_GPTQ_LANES - 1) / RS_GPTQ_LANES, block_side_by_side, job);
        else rs_threads_for(job->rows.pieces, block_body, job);
        if (job->to < n) // what this block did, for all columns behind it
            job->k->gemm_nn(rows, n - job->to, job->to - job->from, job->error, job->block, job->f->U + job->from * n + job->to, n, 1, job->work + job->to, n);
    }
}

// Inverse order, and which steps open a group.
static void chart(rs_gptq_job *job, uint32_t *step, bool *seen)
{
    for (size_t i = 0; i < job->rows.cols; i++) {
        size_t g = job->f->order[i] / job->rows.group;
        step[job->f->order[i]] = (uint32_t)i;
        job->opens[i] = !seen[g];
        seen[g] = true;
    }
    job->step = step;
}

rs_status rs_gptq_pack(const rs_scheme *s, const rs_tensor *packed, const rs_gptq_options *o, const rs_gptq_factor *f, const float *w, uint8_t *payload, rs_pack_error *cost,
                       double *loss, rs_error *e)
{
    rs_gptq_job job = {.k = f->k != NULL ? f->k : rs_kernels_cpu(), .f = f, .w = w};
    if (packed->n_dims != 2 || packed->shape[1] != f->n || o->block == 0) return rs_fail(e, RS_E_INTERNAL, "%s: no matrix of %zu columns, or no block", packed->name, f->n);
    if (o->act_order && packed->group != 0 && s->peer != RS_PEER_NONE && s->peer != RS_PEER_COMPRESSED)
        return rs_fail(e, RS_USAGE, "%s: %s does not order columns where they have groups", packed->name, rs_compat_of(s->peer)->name);
    RS_TRY(rs_rows_open(&job.rows, packed, payload, e));
    const size_t rows = job.rows.rows, n = job.rows.cols;
    job.clip = rs_scales_clip(s, w, rows, n, job.rows.group);
    job.early = s->peer == RS_PEER_COMPRESSED || (s->peer != RS_PEER_NONE && job.rows.groups == 1);
    job.stale = s->peer != RS_PEER_NONE;
    job.block = o->block < n ? o->block : n;
    job.codes = malloc(rows * n + 1);
    job.scales = malloc((rows * job.rows.groups + 1) * sizeof *job.scales);
    job.loss = calloc(rows + 1, sizeof *job.loss);
    job.opens = malloc(n + 1);
    uint32_t *step = malloc((n + 1) * sizeof *step);
    bool *seen = calloc(job.rows.groups + 1, sizeof *seen);
    if (job.codes == NULL || job.scales == NULL || job.loss == NULL || job.opens == NULL || step == NULL || seen == NULL) job.rows.no_memory = true;
    rs_status st = RS_OK;
    if (!job.rows.no_memory) {
        chart(&job, step, seen);
        if (job.k->memory != NULL) st = rs_gptq_columns_there(&job, e);
        else columns(&job);
    }
    if (st == RS_OK && job.rows.bad_row < 0 && !job.rows.no_memory) rs_threads_for(job.rows.pieces, finish_body, &job);
    double sum = 0;
    for (size_t r = 0; job.loss != NULL && r < rows && job.rows.pieces > 0; r++) sum += job.loss[r];
    if (loss != NULL) *loss = sum;
    free(job.work);
    free(job.error);
    free(job.codes);
    free(job.scales);
    free(job.loss);
    free(job.opens);
    free(step);
    free(seen);
    const rs_status closed = rs_rows_close(&job.rows, cost, e);
    RS_TRY(st);
    RS_TRY(closed);
    return isfinite(sum) ? RS_OK : rs_fail(e, RS_E_VALUE, "%s: what rounding left over grew beyond f32; a larger damp helps", packed->name);
}
