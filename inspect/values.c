// SPDX-License-Identifier: Apache-2.0
// Checks of the numbers inside tensors.
#include "inspect/values.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/packed.h"
#include "transforms/weights.h"

#define ORTHONORMAL 1e-5
#define BLOCK_ROWS 256

static rs_status raw_values(const rs_tensor *t, const uint8_t *payload, rs_error *e)
{
    uint64_t rows, cols;
    rs_weights_shape(t, &rows, &cols);
    if (rows == 0 || cols == 0 || t->dtype == RS_I32) return RS_OK;
    uint64_t block = cols < 65536 ? BLOCK_ROWS : 1;
    float *w = malloc((size_t)(block * cols) * sizeof *w);
    rs_status s = w == NULL ? rs_fail(e, RS_E_NOMEM, "%s: row buffer", t->name) : RS_OK;
    for (uint64_t r = 0; s == RS_OK && r < rows; r += block) {
        uint64_t n = rows - r < block ? rows - r : block;
        s = rs_weights_rows(t, payload, r, n, w, e);
        for (uint64_t i = 0; s == RS_OK && i < n * cols; i++)
            if (!isfinite(w[i])) s = rs_fail(e, RS_E_VALUE, "%s: row %llu column %llu is %s", t->name, (unsigned long long)(r + i / cols), (unsigned long long)(i % cols), isnan(w[i]) ? "NaN" : "infinite");
    }
    free(w);
    return s;
}

// max|A^T A - I| of A [rows, cols] plus diagonal on its diagonal (0 or 1) must be small; A is f32.
static rs_status orthonormal(const char *name, const char *what, size_t rows, size_t cols, const float *a, float diagonal, rs_error *e)
{
    float *copy = malloc(rows * cols * sizeof *copy + 1), *gram = malloc(cols * cols * sizeof *gram + 1);
    rs_status s = copy == NULL || gram == NULL ? rs_fail(e, RS_E_NOMEM, "%s: orthonormality", name) : RS_OK;
    if (s == RS_OK && cols > 0) {
        memcpy(copy, a, rows * cols * sizeof *copy);
        for (size_t i = 0; i < rows && i < cols; i++) copy[i * cols + i] += diagonal;
        rs_kernels_cpu()->gemm_tn(cols, cols, rows, copy, cols, copy, cols, 0, gram, cols);
        double worst = 0;
        for (size_t i = 0; i < cols * cols; i++) {
            double x = fabs((double)gram[i] - (i % (cols + 1) == 0 ? 1 : 0));
            worst = x > worst || x != x ? x : worst;
        }
        if (!(worst <= ORTHONORMAL)) s = rs_fail(e, RS_E_VALUE, "%s: %s is not orthonormal: max|X^T X - I| = %.3g", name, what, worst);
    }
    free(copy);
    free(gram);
    return s;
}

static rs_status lowrank_values(const rs_tensor *t, const uint8_t *payload, rs_error *e)
{
    const rs_part *q = rs_tensor_part(t, "q"), *m = rs_tensor_part(t, "m");
    if (q == NULL || m == NULL) return rs_fail(e, RS_E_TENSOR, "%s: parts q and m", t->name);
    const float *qv = (const float *)(const void *)(payload + q->off), *mv = (const float *)(const void *)(payload + m->off);
    RS_TRY(orthonormal(t->name, "Q", (size_t)q->shape[0], (size_t)q->shape[1], qv, 0, e));
    return orthonormal(t->name, "S", (size_t)m->shape[0], (size_t)m->shape[1], mv, 1, e);
}

static rs_status packed_row(const rs_tensor *t, uint64_t r, size_t groups, size_t span, const int8_t *codes, const float *scales, const uint8_t *sums, double least, rs_error *e)
{
    for (size_t g = 0; g < groups; g++) {
        if (!isfinite(scales[g]) || (double)scales[g] < least)
            return rs_fail(e, RS_E_VALUE, "%s: row %llu group %zu: scale %g is not a positive normal number", t->name, (unsigned long long)r, g, (double)scales[g]);
        int32_t sum = 0, stored;
        for (size_t j = 0; j < span; j++) sum += codes[g * span + j];
        memcpy(&stored, sums + (r * groups + g) * sizeof stored, sizeof stored);
        if (sum != stored) return rs_fail(e, RS_E_VALUE, "%s: row %llu group %zu: sum of codes is %d, stored %d", t->name, (unsigned long long)r, g, sum, stored);
    }
    return RS_OK;
}

static rs_status packed_values(const rs_tensor *t, const uint8_t *payload, rs_error *e)
{
    const rs_part *cp = rs_tensor_part(t, "codes"), *sp = rs_tensor_part(t, "scales"), *up = rs_tensor_part(t, "sums");
    if (cp == NULL || sp == NULL || up == NULL) return rs_fail(e, RS_E_TENSOR, "%s: parts codes, scales and sums", t->name);
    const int bits = rs_enc_bits(t->enc);
    const size_t rows = (size_t)t->shape[0], cols = (size_t)t->shape[1];
    if (rows == 0 || cols == 0) return RS_OK;
    const size_t span = t->group != 0 ? (size_t)t->group : cols, groups = cols / span;
    int8_t *codes = malloc(cols);
    float *scales = malloc(groups * sizeof *scales);
    rs_status s = codes == NULL || scales == NULL ? rs_fail(e, RS_E_NOMEM, "%s: row buffers", t->name) : RS_OK;
    for (size_t r = 0; s == RS_OK && r < rows; r++) {
        const uint8_t *src = payload + sp->off + r * groups * rs_dtype_size(sp->dtype);
        rs_packed_unpack(bits, cols, payload + cp->off + r * rs_packed_row_bytes(bits, cols), codes);
        if (sp->dtype == RS_F16) rs_kernels_cpu()->f16_to_f32(groups, (const uint16_t *)(const void *)src, scales);
        else memcpy(scales, src, groups * sizeof *scales);
        s = packed_row(t, r, groups, span, codes, scales, payload + up->off, sp->dtype == RS_F16 ? 0x1p-14 : (double)FLT_MIN, e);
    }
    free(codes);
    free(scales);
    return s;
}

rs_status rs_values_check(const rs_tensor *t, const uint8_t *payload, rs_error *e)
{
    if (t->enc == RS_ENC_LOWRANK) return lowrank_values(t, payload, e);
    if (t->enc != RS_ENC_RAW) return packed_values(t, payload, e);
    RS_TRY(raw_values(t, payload, e));
    bool rotation = t->role == RS_ROLE_ROT || t->role == RS_ROLE_HEADROT || t->role == RS_ROLE_RESID;
    if (!rotation || t->n_dims != 2) return RS_OK;
    float *w = malloc((size_t)(t->shape[0] * t->shape[1]) * sizeof *w + 1);
    if (w == NULL) return rs_fail(e, RS_E_NOMEM, "%s: matrix", t->name);
    rs_status s = rs_weights_rows(t, payload, 0, t->shape[0], w, e);
    if (s == RS_OK) s = orthonormal(t->name, "the matrix", (size_t)t->shape[0], (size_t)t->shape[1], w, 0, e);
    free(w);
    return s;
}
