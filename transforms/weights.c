// SPDX-License-Identifier: Apache-2.0
// Rows of a stored tensor as f32.
#include "transforms/weights.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/packed.h"
#include "kernels/threads.h"

#define ROWS_PER_PIECE 64

void rs_weights_shape(const rs_tensor *t, uint64_t *rows, uint64_t *cols)
{
    *rows = 1;
    for (int i = 0; i + 1 < t->n_dims; i++) *rows *= t->shape[i];
    *cols = t->n_dims > 0 ? t->shape[t->n_dims - 1] : 1;
}

const float *rs_weights_direct(const rs_tensor *t, const uint8_t *payload)
{
    return t->enc == RS_ENC_RAW && t->dtype == RS_F32 && (uintptr_t)payload % 4 == 0 ? (const float *)(const void *)payload : NULL;
}

bool rs_weights_codes(const rs_tensor *t, const uint8_t *payload, rs_int_weights *w)
{
    const rs_part *codes = rs_tensor_part(t, "codes"), *scales = rs_tensor_part(t, "scales"), *sums = rs_tensor_part(t, "sums");
    if (rs_enc_bits(t->enc) == 0 || codes == NULL || scales == NULL || sums == NULL || t->n_dims != 2) return false;
    const void *scale = payload + scales->off;
    *w = (rs_int_weights){.bits = (unsigned)rs_enc_bits(t->enc), .n = (size_t)t->shape[0], .k = (size_t)t->shape[1], .group = (size_t)t->group, .codes = payload + codes->off,
                          .scales = scales->dtype == RS_F16 ? NULL : scale, .scales_16 = scale, .sums = (const int32_t *)(const void *)(payload + sums->off)};
    return true;
}

typedef struct rows_job {
    const rs_tensor *t;
    const uint8_t *payload;
    uint64_t first, n, cols;
    float *out;
    const rs_part *codes, *scales; // packed only
    bool failed;
} rows_job;

static void raw_piece(const rows_job *job, uint64_t row, uint64_t n)
{
    const rs_kernels *k = rs_kernels_cpu();
    size_t count = (size_t)(n * job->cols), size = rs_dtype_size(job->t->dtype);
    const uint8_t *src = job->payload + (job->first + row) * job->cols * size;
    float *out = job->out + row * job->cols;
    if (job->t->dtype == RS_F32) memcpy(out, src, count * 4);
    else if (job->t->dtype == RS_F16) k->f16_to_f32(count, (const uint16_t *)(const void *)src, out);
    else k->bf16_to_f32(count, (const uint16_t *)(const void *)src, out);
}

static bool packed_piece(const rows_job *job, uint64_t row, uint64_t n)
{
    const int bits = rs_enc_bits(job->t->enc);
    const size_t cols = (size_t)job->cols, bytes = rs_packed_row_bytes(bits, cols), groups = job->t->group != 0 ? cols / (size_t)job->t->group : 1;
    int8_t *codes = malloc(cols);
    float *scales = malloc(groups * sizeof *scales);
    bool ok = codes != NULL && scales != NULL;
    for (uint64_t r = 0; ok && r < n; r++) {
        uint64_t at = job->first + row + r;
        rs_packed_unpack(bits, cols, job->payload + job->codes->off + at * bytes, codes);
        const uint8_t *src = job->payload + job->scales->off + at * groups * rs_dtype_size(job->scales->dtype);
        if (job->scales->dtype == RS_F16) rs_kernels_cpu()->f16_to_f32(groups, (const uint16_t *)(const void *)src, scales);
        else memcpy(scales, src, groups * sizeof *scales);
        rs_packed_scale(cols, (size_t)job->t->group, codes, scales, job->out + (row + r) * job->cols);
    }
    free(codes);
    free(scales);
    return ok;
}

static void rows_body(void *context, size_t piece)
{
    rows_job *job = context;
    uint64_t row = (uint64_t)piece * ROWS_PER_PIECE, n = job->n - row < ROWS_PER_PIECE ? job->n - row : ROWS_PER_PIECE;
    if (job->codes == NULL) raw_piece(job, row, n);
    else if (!packed_piece(job, row, n)) __atomic_store_n(&job->failed, true, __ATOMIC_RELAXED);
}

rs_status rs_weights_rows(const rs_tensor *t, const uint8_t *payload, uint64_t first, uint64_t n, float *out, rs_error *e)
{
    rows_job job = {.t = t, .payload = payload, .first = first, .n = n, .out = out};
    uint64_t rows, end;
    rs_weights_shape(t, &rows, &job.cols);
    if (!rs_add_ok(first, n, &end) || end > rows) return rs_fail(e, RS_E_TENSOR, "%s: rows %llu..%llu of %llu", t->name, (unsigned long long)first, (unsigned long long)(first + n), (unsigned long long)rows);
    if (t->enc == RS_ENC_RAW) {
        if (t->dtype != RS_F32 && t->dtype != RS_F16 && t->dtype != RS_BF16) return rs_fail(e, RS_E_TENSOR, "%s: type %s holds no weights", t->name, rs_dtype_name(t->dtype));
    } else {
        job.codes = rs_tensor_part(t, "codes");
        job.scales = rs_tensor_part(t, "scales");
        if (rs_enc_bits(t->enc) == 0 || job.codes == NULL || job.scales == NULL) return rs_fail(e, RS_E_TENSOR, "%s: encoding %s holds no rows", t->name, rs_enc_name(t->enc));
    }
    rs_threads_for((size_t)((n + ROWS_PER_PIECE - 1) / ROWS_PER_PIECE), rows_body, &job);
    return job.failed ? rs_fail(e, RS_E_NOMEM, "%s: row buffers", t->name) : RS_OK;
}

struct numbers {
    const rs_int_weights *w;
    float *out;
    bool failed;
};

static void numbers_piece(void *context, size_t piece)
{
    struct numbers *p = context;
    const size_t k = p->w->k, first = piece * ROWS_PER_PIECE, end = p->w->n - first < ROWS_PER_PIECE ? p->w->n : first + ROWS_PER_PIECE;
    int8_t *codes = malloc(k);
    if (codes == NULL) __atomic_store_n(&p->failed, true, __ATOMIC_RELAXED);
    for (size_t o = first; codes != NULL && o < end; o++) {
        rs_packed_unpack((int)p->w->bits, k, p->w->codes + o * rs_packed_row_bytes((int)p->w->bits, k), codes);
        for (size_t j = 0; j < k; j++) p->out[o * k + j] = (float)codes[j];
    }
    free(codes);
}

rs_status rs_weights_numbers(const rs_tensor *t, const rs_int_weights *w, float *out, rs_error *e)
{
    struct numbers p = {.w = w, .out = out};
    rs_threads_for((w->n + ROWS_PER_PIECE - 1) / ROWS_PER_PIECE, numbers_piece, &p);
    return p.failed ? rs_fail(e, RS_E_NOMEM, "%s: row buffers", t->name) : RS_OK;
}
