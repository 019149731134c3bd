// SPDX-License-Identifier: Apache-2.0
// Dense products: a plain triple loop with fp64 sums, and OpenBLAS on pieces whose bounds depend on m, n, k only.
#include <cblas.h>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/pieces.h"
#include "kernels/threads.h"

// y[i, j] = sum over l of x[i sx + l tx] w[j sw + l tw], + y where beta is 1.
static void plain(size_t m, size_t n, size_t k, const float *x, size_t sx, size_t tx, const float *w, size_t sw, size_t tw, float beta, float *y, size_t ldy)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = beta != 0 ? (double)y[i * ldy + j] : 0;
            for (size_t l = 0; l < k; l++)
                sum += (double)x[i * sx + l * tx] * (double)w[j * sw + l * tw];
            y[i * ldy + j] = (float)sum;
        }
}

void rs_gemm_nt_plain(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy)
{
    plain(m, n, k, x, ldx, 1, w, ldw, 1, beta, y, ldy);
}

void rs_gemm_nn_plain(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy)
{
    plain(m, n, k, x, ldx, 1, w, 1, ldw, beta, y, ldy);
}

void rs_gemm_tn_plain(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy)
{
    plain(m, n, k, x, 1, ldx, w, 1, ldw, beta, y, ldy);
}

// Large pieces pack less, small ones spread better: the first of these sizes of which the result has at least ENOUGH pieces, or else the last. SMALL: below this many multiplications one piece.
enum { ENOUGH = 8, SMALL = 1 << 20 };
static const struct {
    size_t rows, columns;
} sizes[] = {{256, 640}, {256, 320}, {128, 320}};

// One product and the grid of pieces it is cut into: rows x columns each, column strips outermost so that a strip of w is read once.
struct product {
    CBLAS_TRANSPOSE tx, tw;
    size_t m, n, k, ldx, ldw, ldy, rows, columns, strips;
    const float *x, *w;
    float beta, *y;
};

// Size of a piece when total is cut evenly into parts of at most most, rounded up to a multiple of 16.
static size_t even(size_t total, size_t most)
{
    const size_t parts = rs_pieces_count(total, most);
    return (rs_pieces_count(total, parts) + 15) / 16 * 16;
}

static void product_piece(void *context, size_t piece)
{
    const struct product *p = context;
    const size_t i = piece % p->strips * p->rows, j = piece / p->strips * p->columns;
    const size_t m = rs_pieces_min(p->rows, p->m - i), n = rs_pieces_min(p->columns, p->n - j);
    const float *x = p->x + (p->tx == CblasTrans ? i : i * p->ldx), *w = p->w + (p->tw == CblasTrans ? j * p->ldw : j);
    float *y = p->y + i * p->ldy + j;
    if (p->m == 1 && p->k > 0 && p->tx == CblasNoTrans) {
        const bool rows = p->tw == CblasTrans;
        cblas_sgemv(CblasRowMajor, rows ? CblasNoTrans : CblasTrans, (int)(rows ? n : p->k), (int)(rows ? p->k : n), 1, w, (int)p->ldw, x, 1, p->beta, y, 1);
        return;
    }
    cblas_sgemm(CblasRowMajor, p->tx, p->tw, (int)m, (int)n, (int)p->k, 1, x, (int)p->ldx, w, (int)p->ldw, p->beta, y, (int)p->ldy);
}

static void multiply(struct product p)
{
    if (p.m == 0 || p.n == 0)
        return;
    const bool small = p.m * p.n < SMALL && p.m * p.n * p.k < SMALL;
    size_t i = 0;
    while (i + 1 < sizeof sizes / sizeof sizes[0] && rs_pieces_count(p.m, sizes[i].rows) * rs_pieces_count(p.n, sizes[i].columns) < ENOUGH)
        i++;
    p.rows = small ? p.m : even(p.m, sizes[i].rows);
    p.columns = small ? p.n : even(p.n, sizes[i].columns);
    p.strips = rs_pieces_count(p.m, p.rows);
    rs_threads_for(p.strips * rs_pieces_count(p.n, p.columns), product_piece, &p);
}

void rs_gemm_nt_blas(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy)
{
    multiply((struct product){.tx = CblasNoTrans, .tw = CblasTrans, .m = m, .n = n, .k = k, .ldx = ldx, .ldw = ldw, .ldy = ldy, .x = x, .w = w, .beta = beta, .y = y});
}

void rs_gemm_nn_blas(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy)
{
    multiply((struct product){.tx = CblasNoTrans, .tw = CblasNoTrans, .m = m, .n = n, .k = k, .ldx = ldx, .ldw = ldw, .ldy = ldy, .x = x, .w = w, .beta = beta, .y = y});
}

void rs_gemm_tn_blas(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy)
{
    multiply((struct product){.tx = CblasTrans, .tw = CblasNoTrans, .m = m, .n = n, .k = k, .ldx = ldx, .ldw = ldw, .ldy = ldy, .x = x, .w = w, .beta = beta, .y = y});
}
