// SPDX-License-Identifier: Apache-2.0
// Element by element: sums, differences, products and the other sign, in fixed pieces of rows.
#include "kernels/cpu/ops.h"
#include "kernels/cpu/pieces.h"
#include "kernels/threads.h"

struct each {
    rs_join how;
    size_t B, n, rows, lda, ldy;
    const float *a;
    float *y;
};

static void row(rs_join how, size_t n, const float *a, float *y)
{
    switch (how) {
    case RS_JOIN_PLUS:
        for (size_t i = 0; i < n; i++)
            y[i] += a[i];
        break;
    case RS_JOIN_MINUS:
        for (size_t i = 0; i < n; i++)
            y[i] -= a[i];
        break;
    case RS_JOIN_TIMES:
        for (size_t i = 0; i < n; i++)
            y[i] *= a[i];
        break;
    case RS_JOIN_NEGATED:
        for (size_t i = 0; i < n; i++)
            y[i] = -a[i];
        break;
    }
}

static void piece(void *context, size_t i)
{
    const struct each *e = context;
    const size_t end = rs_pieces_min(e->B, (i + 1) * e->rows);
    for (size_t b = i * e->rows; b < end; b++)
        row(e->how, e->n, e->a + b * e->lda, e->y + b * e->ldy);
}

void rs_each_plain(rs_join how, size_t B, size_t n, const float *a, size_t lda, float *y, size_t ldy)
{
    struct each e = {how, B, n, rs_pieces_rows(n), lda, ldy, a, y};
    rs_threads_for(rs_pieces_count(B, e.rows), piece, &e);
}
