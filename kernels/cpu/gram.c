// SPDX-License-Identifier: Apache-2.0
// x^T x, of which only the upper triangle is made: triangles along the diagonal, products to their right.
#include <cblas.h>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/pieces.h"
#include "kernels/threads.h"

enum { SIDE = 256, WIDE = 640, SMALL = 1 << 20 }; // largest triangle and longest piece beside it; below this many multiplications one piece

void rs_gram_plain(size_t n, size_t k, const float *x, size_t ldx, float beta, float *y, size_t ldy)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = i; j < n; j++) {
            double sum = beta != 0 ? (double)y[i * ldy + j] : 0;
            for (size_t l = 0; l < k; l++)
                sum += (double)x[l * ldx + i] * (double)x[l * ldx + j];
            y[i * ldy + j] = (float)sum;
        }
}

struct gram {
    size_t n, k, ldx, ldy, side, wide;
    const float *x;
    float beta, *y;
};

// Row strip `strip` has one triangle and then pieces of at most `wide` columns.
static size_t pieces_of(const struct gram *g, size_t strip)
{
    const size_t end = rs_pieces_min(g->n, (strip + 1) * g->side);
    return 1 + rs_pieces_count(g->n - end, g->wide);
}

static void gram_piece(void *context, size_t piece)
{
    const struct gram *g = context;
    size_t strip = 0;
    for (size_t of; piece >= (of = pieces_of(g, strip)); strip++)
        piece -= of;
    const size_t i = strip * g->side, rows = rs_pieces_min(g->side, g->n - i);
    if (piece == 0) {
        cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, (int)rows, (int)g->k, 1, g->x + i, (int)g->ldx, g->beta, g->y + i * g->ldy + i, (int)g->ldy);
        return;
    }
    const size_t j = i + rows + (piece - 1) * g->wide, columns = rs_pieces_min(g->wide, g->n - j);
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)rows, (int)columns, (int)g->k, 1, g->x + i, (int)g->ldx, g->x + j, (int)g->ldx, g->beta, g->y + i * g->ldy + j, (int)g->ldy);
}

void rs_gram_blas(size_t n, size_t k, const float *x, size_t ldx, float beta, float *y, size_t ldy)
{
    if (n == 0)
        return;
    const bool small = n * n < SMALL && n * n * k < SMALL;
    struct gram g = {.n = n, .k = k, .ldx = ldx, .ldy = ldy, .side = n, .wide = WIDE, .x = x, .beta = beta, .y = y};
    if (!small)
        g.side = (rs_pieces_count(n, rs_pieces_count(n, SIDE)) + 15) / 16 * 16;
    size_t pieces = 0;
    for (size_t strip = 0; strip < rs_pieces_count(n, g.side); strip++)
        pieces += pieces_of(&g, strip);
    rs_threads_for(pieces, gram_piece, &g);
}
