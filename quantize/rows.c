// SPDX-License-Identifier: Apache-2.0
// Rows of a packed payload.
#include "quantize/rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/packed.h"

rs_status rs_rows_open(rs_rows *r, const rs_tensor *packed, uint8_t *payload, rs_error *e)
{
    const rs_part *codes = rs_tensor_part(packed, "codes"), *scales = rs_tensor_part(packed, "scales"), *sums = rs_tensor_part(packed, "sums");
    *r = (rs_rows){.name = packed->name, .bits = rs_enc_bits(packed->enc), .bad_row = -1};
    if (codes == NULL || scales == NULL || sums == NULL) return rs_fail(e, RS_E_INTERNAL, "%s: no packed layout", packed->name);
    memset(payload, 0, (size_t)packed->payload_len);
    r->scale_f16 = scales->dtype == RS_F16;
    r->rows = (size_t)packed->shape[0];
    r->cols = (size_t)packed->shape[1];
    r->group = packed->group != 0 ? (size_t)packed->group : r->cols;
    r->groups = r->cols == 0 ? 0 : r->cols / r->group;
    r->pieces = r->cols == 0 ? 0 : (r->rows + RS_ROWS_PIECE - 1) / RS_ROWS_PIECE;
    r->codes = payload + codes->off;
    r->scales = payload + scales->off;
    r->sums = (int32_t *)(void *)(payload + sums->off);
    r->cost = calloc(r->pieces + 1, sizeof *r->cost);
    return r->cost == NULL ? rs_fail(e, RS_E_NOMEM, "%s: error sums", packed->name) : RS_OK;
}

// Keeps the first bad row, whichever thread met it.
bool rs_rows_check(rs_rows *r, size_t row, const float *w)
{
    size_t j = 0;
    while (j < r->cols && isfinite(w[j])) j++;
    if (j == r->cols) return true;
    int64_t bad = (int64_t)row, old = __atomic_load_n(&r->bad_row, __ATOMIC_RELAXED);
    while ((old < 0 || bad < old) && !__atomic_compare_exchange_n(&r->bad_row, &old, bad, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    return false;
}

void rs_rows_no_memory(rs_rows *r)
{
    __atomic_store_n(&r->no_memory, true, __ATOMIC_RELAXED);
}

void rs_rows_put(rs_rows *r, size_t row, const float *w, const int8_t *codes, const float *scales)
{
    const int top = (1 << (r->bits - 1)) - 1;
    rs_pack_error *cost = &r->cost[row / RS_ROWS_PIECE];
    for (size_t g = 0; g < r->groups; g++) {
        int32_t sum = 0;
        for (size_t j = g * r->group; j < (g + 1) * r->group; j++) {
            double x = (double)w[j], diff = (double)codes[j] * (double)scales[g] - x;
            sum += codes[j];
            cost->signal += x * x;
            cost->error += diff * diff;
            cost->clipped += codes[j] == top || codes[j] == -top - 1;
        }
        r->sums[row * r->groups + g] = sum;
    }
    cost->weights += r->cols;
    rs_packed_pack(r->bits, r->cols, codes, r->codes + row * rs_packed_row_bytes(r->bits, r->cols));
    if (r->scale_f16) rs_kernels_cpu()->f32_to_f16(r->groups, scales, (uint16_t *)(void *)r->scales + row * r->groups);
    else memcpy(r->scales + row * r->groups * sizeof(float), scales, r->groups * sizeof(float));
}

rs_status rs_rows_close(rs_rows *r, rs_pack_error *cost, rs_error *e)
{
    if (cost != NULL) memset(cost, 0, sizeof *cost);
    for (size_t p = 0; cost != NULL && r->cost != NULL && p < r->pieces; p++) {
        cost->signal += r->cost[p].signal;
        cost->error += r->cost[p].error;
        cost->clipped += r->cost[p].clipped;
        cost->weights += r->cost[p].weights;
    }
    free(r->cost);
    r->cost = NULL;
    if (r->no_memory) return rs_fail(e, RS_E_NOMEM, "%s: row buffers", r->name);
    if (r->bad_row >= 0) return rs_fail(e, RS_E_VALUE, "%s: row %lld holds NaN or infinity", r->name, (long long)r->bad_row);
    return RS_OK;
}
