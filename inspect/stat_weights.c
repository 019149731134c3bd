// SPDX-License-Identifier: Apache-2.0
// Statistics of weights, and what rounding to nearest would cost.
#include "inspect/stat_weights.h"

#include <math.h>
#include <stdlib.h>

#include "quantize/rtn.h"
#include "transforms/weights.h"

#define BLOCK (UINT64_C(1) << 20) // values of a block of rows

struct measure {
    const rs_tensor *t;
    rs_stat *s;
    rs_stat_work *w;
    uint64_t rows, cols, block; // rows of a block
    const float *direct;        // the payload where it is f32, else NULL
    float *values;              // [block, cols] otherwise
    uint8_t *packed;            // of a block
    double error[RS_STAT_WIDTHS];
    bool rounds, rounded;
};

bool rs_stat_measures(const rs_tensor *t)
{
    return t->n_dims > 0 && (t->enc == RS_ENC_RAW || rs_enc_bits(t->enc) != 0);
}

// The layout of rows rows at a width.
static rs_status layout(const struct measure *m, size_t width, uint64_t rows, rs_scheme *s, rs_tensor *packed, rs_error *e)
{
    rs_tensor t = *m->t;
    *s = rs_scheme_default();
    s->w_bits = 4 - (int)width;
    t.enc = RS_ENC_RAW;
    t.shape[0] = rows;
    return rs_quantize_layout(s, &t, packed, e);
}

// Adds what rounding the block of rows costs; values that are not finite end it.
static rs_status round_block(struct measure *m, uint64_t rows, const float *x, rs_error *e)
{
    for (size_t b = 0; b < RS_STAT_WIDTHS && m->rounded; b++) {
        rs_scheme s;
        rs_tensor packed;
        rs_pack_error cost;
        rs_error bad = {0};
        RS_TRY(layout(m, b, rows, &s, &packed, e));
        rs_status st = rs_rtn_pack(&s, &packed, x, m->packed, &cost, &bad);
        m->rounded = st == RS_OK;
        if (st == RS_OK) m->error[b] += cost.error;
        else if (st != RS_E_VALUE) return rs_fail(e, st, "%s", bad.text);
    }
    return RS_OK;
}

static rs_status allocate(struct measure *m, rs_error *e)
{
    rs_scheme s;
    rs_tensor packed = {.payload_len = 0};
    uint64_t values, bytes;
    if (m->rounds) RS_TRY(layout(m, 0, m->block, &s, &packed, e)); // the wider one
    if (!rs_mul_ok(m->block, m->cols, &values) || !rs_mul_ok(values, sizeof(float), &bytes)) return rs_fail(e, RS_E_LIMIT, "%s: too large", m->t->name);
    m->values = malloc(m->direct != NULL ? 1 : (size_t)bytes + 1);
    m->packed = malloc((size_t)packed.payload_len + 1);
    return m->values != NULL && m->packed != NULL ? RS_OK : rs_fail(e, RS_E_NOMEM, "%s: %llu numbers", m->t->name, (unsigned long long)values);
}

static rs_status run(struct measure *m, const uint8_t *payload, rs_error *e)
{
    for (uint64_t r = 0; m->cols > 0 && r < m->rows; r += m->block) {
        const uint64_t n = m->rows - r < m->block ? m->rows - r : m->block;
        const float *x = m->direct != NULL ? m->direct + r * m->cols : m->values;
        if (m->direct == NULL) RS_TRY(rs_weights_rows(m->t, payload, r, n, m->values, e));
        RS_TRY(rs_stat_add(m->s, m->w, (size_t)n, x, (size_t)m->cols, e));
        if (m->rounds) RS_TRY(round_block(m, n, x, e));
    }
    return RS_OK;
}

rs_status rs_stat_weights(const rs_tensor *t, const uint8_t *payload, rs_stat_work *w, rs_stat_result *r, rs_error *e)
{
    struct measure m = {.t = t, .w = w, .rounds = rs_scheme_matrix(t), .rounded = true};
    rs_weights_shape(t, &m.rows, &m.cols);
    m.block = m.cols > 0 && m.cols < BLOCK ? (BLOCK / m.cols + 63) / 64 * 64 : 1;
    if (m.block > m.rows) m.block = m.rows;
    m.direct = rs_weights_direct(t, payload);
    *r = (rs_stat_result){0};
    rs_status st = rs_stat_new(&m.s, &(rs_stat_options){.rows = m.rows, .channels = m.cols}, e);
    if (st == RS_OK) st = allocate(&m, e);
    if (st == RS_OK) st = run(&m, payload, e);
    if (st == RS_OK) st = rs_stat_finish(m.s, r, e);
    for (size_t b = 0; st == RS_OK && b < RS_STAT_WIDTHS; b++) r->sqnr[0][b] = m.rounds && m.rounded ? rs_stat_decibel(r->square, m.error[b]) : NAN;
    rs_stat_free(m.s);
    free(m.values);
    free(m.packed);
    return st;
}
