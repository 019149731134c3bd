// SPDX-License-Identifier: Apache-2.0
// Round to nearest with the clip grid, row by row, into the packed layout.
#include "quantize/rtn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/clip.h"
#include "kernels/kernels.h"
#include "kernels/packed.h"
#include "kernels/threads.h"

#define ROWS_PER_PIECE 8

typedef struct rtn_job {
    const rs_scheme *s;
    rs_clip clip;
    size_t rows, cols, group, groups;
    const float *w;
    uint8_t *codes, *scales;
    int32_t *sums;
    rs_pack_error *cost; // one per piece
    int64_t bad_row;     // a row with NaN or infinity, -1 = none
    bool no_memory;
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

static void pack_row(rtn_job *job, size_t r, int8_t *codes, float *scales, rs_pack_error *cost)
{
    const float *w = job->w + r * job->cols;
    const int top = (1 << (job->clip.bits - 1)) - 1;
    for (size_t g = 0; g < job->groups; g++) {
        const float *span = w + g * job->group;
        int8_t *c = codes + g * job->group;
        scales[g] = rs_clip_span(&job->clip, job->group, span, c, NULL);
        int32_t sum = 0;
        for (size_t j = 0; j < job->group; j++) {
            double x = (double)span[j], diff = (double)c[j] * (double)scales[g] - x;
            sum += c[j];
            cost->signal += x * x;
            cost->error += diff * diff;
            cost->clipped += c[j] == top || c[j] == -top - 1;
        }
        job->sums[r * job->groups + g] = sum;
    }
    cost->weights += job->cols;
    rs_packed_pack(job->clip.bits, job->cols, codes, job->codes + r * rs_packed_row_bytes(job->clip.bits, job->cols));
    if (job->s->scale_dtype == RS_F16) rs_kernels_cpu()->f32_to_f16(job->groups, scales, (uint16_t *)(void *)job->scales + r * job->groups);
    else memcpy(job->scales + r * job->groups * sizeof(float), scales, job->groups * sizeof(float));
}

static bool finite_row(const float *w, size_t n)
{
    for (size_t j = 0; j < n; j++)
        if (!isfinite(w[j])) return false;
    return true;
}

// Keeps the first bad row, whichever thread met it.
static void note_bad_row(rtn_job *job, int64_t row)
{
    int64_t old = __atomic_load_n(&job->bad_row, __ATOMIC_RELAXED);
    while ((old < 0 || row < old) && !__atomic_compare_exchange_n(&job->bad_row, &old, row, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

static void rtn_body(void *context, size_t piece)
{
    rtn_job *job = context;
    int8_t *codes = malloc(job->cols);
    float *scales = malloc(job->groups * sizeof *scales);
    size_t first = piece * ROWS_PER_PIECE, end = first + ROWS_PER_PIECE < job->rows ? first + ROWS_PER_PIECE : job->rows;
    if (codes == NULL || scales == NULL) __atomic_store_n(&job->no_memory, true, __ATOMIC_RELAXED);
    else
        for (size_t r = first; r < end; r++) {
            if (finite_row(job->w + r * job->cols, job->cols)) pack_row(job, r, codes, scales, &job->cost[piece]);
            else note_bad_row(job, (int64_t)r);
        }
    free(codes);
    free(scales);
}

rs_status rs_rtn_pack(const rs_scheme *s, const rs_tensor *packed, const float *w, uint8_t *payload, rs_pack_error *cost, rs_error *e)
{
    const rs_part *codes = rs_tensor_part(packed, "codes"), *scales = rs_tensor_part(packed, "scales"), *sums = rs_tensor_part(packed, "sums");
    if (codes == NULL || scales == NULL || sums == NULL) return rs_fail(e, RS_E_INTERNAL, "%s: no packed layout", packed->name);
    rtn_job job = {.s = s, .clip = {.bits = s->w_bits, .steps = s->clip_steps, .scale_f16 = s->scale_dtype == RS_F16}, .rows = (size_t)packed->shape[0], .cols = (size_t)packed->shape[1],
                   .w = w, .codes = payload + codes->off, .scales = payload + scales->off, .sums = (int32_t *)(void *)(payload + sums->off), .bad_row = -1};
    if (cost != NULL) memset(cost, 0, sizeof *cost);
    memset(payload, 0, (size_t)packed->payload_len);
    if (job.rows == 0 || job.cols == 0) return RS_OK;
    job.group = s->group != 0 ? (size_t)s->group : job.cols;
    job.groups = job.cols / job.group;
    size_t pieces = (job.rows + ROWS_PER_PIECE - 1) / ROWS_PER_PIECE;
    job.cost = calloc(pieces, sizeof *job.cost);
    if (job.cost == NULL) return rs_fail(e, RS_E_NOMEM, "%s: error sums", packed->name);
    rs_threads_for(pieces, rtn_body, &job);
    for (size_t p = 0; cost != NULL && p < pieces; p++) {
        cost->signal += job.cost[p].signal;
        cost->error += job.cost[p].error;
        cost->clipped += job.cost[p].clipped;
        cost->weights += job.cost[p].weights;
    }
    free(job.cost);
    if (job.no_memory) return rs_fail(e, RS_E_NOMEM, "%s: row buffers", packed->name);
    if (job.bad_row >= 0) return rs_fail(e, RS_E_VALUE, "%s: row %lld holds NaN or infinity", packed->name, (long long)job.bad_row);
    return RS_OK;
}
