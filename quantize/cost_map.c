// SPDX-License-Identifier: Apache-2.0
// What packing cost, cell by cell, from the packed payload itself: whichever way the codes were found, this is what a reader will see.
#include "quantize/cost_map.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/part.h"
#include "kernels/kernels.h"
#include "kernels/packed.h"
#include "kernels/threads.h"

// A band of rows that one thread adds up: within a cell, or a whole number of cells.
typedef struct cost_band {
    double signal, error;
    uint64_t clipped;
    float low, high;
    double worst; // signal / error of a span, and which
    uint64_t span;
} cost_band;

typedef struct cost_job {
    const rs_tensor *t;
    const uint8_t *payload;
    const float *w;
    const rs_part *codes, *scales;
    int bits;
    uint64_t rows, cols, group, groups, each;
    double *sig, *err; // [cells]
    uint32_t *clip;
    cost_band *band;   // [cell rows]
    bool failed;
} cost_job;

// One row of a cell: codes and scales against the weights.
static void add_row(const cost_job *job, const int8_t *codes, const float *scales, const float *w, uint64_t row, cost_band *b)
{
    const uint64_t cell = row / job->each;
    const int top = (1 << (job->bits - 1)) - 1;
    for (uint64_t g = 0; g < job->groups; g++) {
        const float s = scales[g];
        double signal = 0, error = 0;
        uint32_t clipped = 0;
        for (uint64_t j = g * job->group; j < (g + 1) * job->group; j++) {
            const double x = (double)w[j], diff = (double)((float)codes[j] * s) - x; // the product is formed in f32
            signal += x * x;
            error += diff * diff;
            clipped += codes[j] == top || codes[j] == -top - 1;
        }
        job->sig[cell * job->groups + g] += signal;
        job->err[cell * job->groups + g] += error;
        job->clip[cell * job->groups + g] += clipped;
        b->signal += signal;
        b->error += error;
        b->clipped += clipped;
        if (signal / error < b->worst) b->worst = signal / error, b->span = row * job->groups + g;
        b->low = s < b->low ? s : b->low;
        b->high = s > b->high ? s : b->high;
    }
}

static void cell_row(void *context, size_t i)
{
    cost_job *job = context;
    const size_t bytes = rs_packed_row_bytes(job->bits, (size_t)job->cols), size = rs_dtype_size(job->scales->dtype);
    int8_t *codes = malloc((size_t)job->cols + 1);
    float *scales = malloc((size_t)job->groups * sizeof *scales + 1);
    if (codes == NULL || scales == NULL) __atomic_store_n(&job->failed, true, __ATOMIC_RELAXED);
    else
        for (uint64_t r = i * job->each; r < (i + 1) * job->each && r < job->rows; r++) {
            const uint8_t *from = job->payload + job->scales->off + r * job->groups * size;
            rs_packed_unpack(job->bits, (size_t)job->cols, job->payload + job->codes->off + r * bytes, codes);
            if (job->scales->dtype == RS_F16) rs_kernels_cpu()->f16_to_f32((size_t)job->groups, (const uint16_t *)(const void *)from, scales);
            else memcpy(scales, from, (size_t)job->groups * sizeof *scales);
            add_row(job, codes, scales, job->w + r * job->cols, r, &job->band[i]);
        }
    free(codes);
    free(scales);
}

// A cell takes 12 bytes.
static uint64_t rows_each(uint64_t rows, uint64_t groups, uint64_t bytes)
{
    uint64_t each = 1, most = bytes / RS_COST_SHARE / 12;
    if (most < RS_COST_LEAST) most = RS_COST_LEAST;
    if (most > RS_COST_CELLS) most = RS_COST_CELLS;
    while (each < rows && (rows + each - 1) / each * groups > most) each *= 2;
    return each;
}

static rs_status allocate(rs_cost_map *c, cost_job *job, rs_error *e)
{
    const size_t cells = (size_t)(c->rows * c->groups) + 1;
    c->sig = malloc(cells * sizeof *c->sig);
    c->err = malloc(cells * sizeof *c->err);
    c->clip = calloc(cells, sizeof *c->clip);
    job->clip = c->clip;
    job->sig = calloc(cells, sizeof *job->sig);
    job->err = calloc(cells, sizeof *job->err);
    job->band = calloc((size_t)c->rows + 1, sizeof *job->band);
    const bool good = c->sig != NULL && c->err != NULL && c->clip != NULL && job->sig != NULL && job->err != NULL && job->band != NULL;
    return good ? RS_OK : rs_fail(e, RS_E_NOMEM, "%s: error sums", job->t->name);
}

rs_status rs_cost_map_make(rs_cost_map *c, const rs_tensor *packed, const uint8_t *payload, const float *w, rs_error *e)
{
    cost_job job = {.t = packed, .payload = payload, .w = w, .codes = rs_tensor_part(packed, "codes"), .scales = rs_tensor_part(packed, "scales"), .bits = rs_enc_bits(packed->enc)};
    *c = (rs_cost_map){.each = 1};
    if (job.codes == NULL || job.scales == NULL || job.bits == 0 || packed->n_dims != 2) return rs_fail(e, RS_E_TENSOR, "%s: not packed", packed->name);
    job.rows = packed->shape[0];
    job.cols = packed->shape[1];
    job.group = packed->group != 0 ? packed->group : job.cols;
    job.groups = job.cols == 0 ? 0 : job.cols / job.group;
    job.each = c->each = rows_each(job.rows, job.groups, packed->payload_len);
    c->rows = job.cols == 0 ? 0 : (job.rows + job.each - 1) / job.each;
    c->groups = job.groups;
    c->weights = job.rows * job.cols;
    rs_status st = allocate(c, &job, e);
    if (st == RS_OK) {
        for (uint64_t i = 0; i < c->rows; i++) job.band[i] = (cost_band){.low = INFINITY, .worst = INFINITY};
        rs_threads_for((size_t)c->rows, cell_row, &job);
        if (job.failed) st = rs_fail(e, RS_E_NOMEM, "%s: row buffers", packed->name);
    }
    c->scale_min = INFINITY;
    c->worst = INFINITY;
    for (uint64_t i = 0; st == RS_OK && i < c->rows; i++) {
        c->signal += job.band[i].signal;
        c->error += job.band[i].error;
        c->clipped += job.band[i].clipped;
        c->scale_min = fminf(c->scale_min, job.band[i].low);
        c->scale_max = fmaxf(c->scale_max, job.band[i].high);
        if (10 * log10(job.band[i].worst) < c->worst) c->worst = 10 * log10(job.band[i].worst), c->worst_span = job.band[i].span;
    }
    for (uint64_t i = 0; st == RS_OK && i < c->rows * c->groups; i++) {
        c->sig[i] = (float)job.sig[i];
        c->err[i] = (float)job.err[i];
    }
    free(job.sig);
    free(job.err);
    free(job.band);
    return st;
}

void rs_cost_map_free(rs_cost_map *c)
{
    free(c->sig);
    free(c->err);
    free(c->clip);
    *c = (rs_cost_map){0};
}

static bool put_f64(rs_arena *a, rs_value *map, const char *key, double x)
{
    return !isfinite(x) || rs_map_put(a, map, key, rs_value_f64(a, x == 0 ? 0 : x)); // never -0.0
}

// What the figures of the matrix are in short; what is infinite or not defined is left out.
static bool put_values(const rs_cost_map *c, rs_arena *a, rs_value *map)
{
    bool good = rs_map_put(a, map, "clipped", rs_value_uint(a, c->clipped));
    good = put_f64(a, map, "clip", c->weights > 0 ? (double)c->clipped / (double)c->weights : NAN) && good;
    good = put_f64(a, map, "error", c->error) && good;
    good = rs_map_put(a, map, "rows_each", rs_value_uint(a, c->each)) && good;
    good = put_f64(a, map, "scales", c->scale_min > 0 ? (double)c->scale_max / (double)c->scale_min : NAN) && good;
    good = put_f64(a, map, "signal", c->signal) && good;
    good = put_f64(a, map, "sqnr", 10 * log10(c->signal / c->error)) && good;
    if (isfinite(c->worst)) good = rs_map_put(a, map, "worst_group", rs_value_uint(a, c->worst_span)) && good;
    return put_f64(a, map, "worst_sqnr", c->worst) && good;
}

rs_status rs_cost_map_write(const rs_cost_map *c, rs_writer *w, unsigned step, const char *name, rs_arena *a, rs_value *values, rs_error *e)
{
    rs_stat_head head = {.of = "error", .step = step};
    const uint64_t shape[2] = {c->rows, c->groups};
    rs_value *map = values != NULL ? values : rs_value_map(a);
    snprintf(head.name, sizeof head.name, "%s", name);
    if (map == NULL || !put_values(c, a, map)) return rs_fail(e, RS_E_NOMEM, "%s: what became of it", name);
    head.values = map;
    if (!rs_part_add(&head, "sig", RS_F32, 2, shape) || !rs_part_add(&head, "err", RS_F32, 2, shape) || !rs_part_add(&head, "clip", RS_U32, 2, shape)) return rs_fail(e, RS_E_LIMIT, "%s: too many groups", name);
    char *payload = calloc(1, (size_t)head.payload_len + 1);
    if (payload == NULL) return rs_fail(e, RS_E_NOMEM, "%s: statistics", name);
    const void *parts[] = {c->sig, c->err, c->clip};
    for (int i = 0; i < 3; i++) memcpy(payload + head.parts[i].off, parts[i], (size_t)head.parts[i].len);
    rs_status st = rs_writer_stat(w, &head, payload, e);
    free(payload);
    return st;
}
