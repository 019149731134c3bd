// SPDX-License-Identifier: Apache-2.0
// Screen 3: one junction T, the spectrum of T - I, and what a low rank keeps of it.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "inspect/screen_inside.h"

#define PI 3.14159265358979323846

static const char *basis_name(const rs_view *v, uint64_t j, char out[32])
{
    if (j >= 2 * v->model->head->layers) return "head";
    snprintf(out, 32, "%" PRIu64 ".%s", j / 2, j % 2 == 0 ? "attention" : "ffn");
    return out;
}

// Number of the value, 1..n, that column i of `cols` ends with, on a log axis.
static double at_column(int i, int cols, uint64_t n)
{
    return pow((double)n, (double)(i + 1) / cols);
}

// A curve over 1..n on a log axis: largest value of each column; NaN where none is known.
static void curve(rs_cells *c, int row, int col, int cols, int height, rs_ink ink, const double *y, size_t known, uint64_t n, double top)
{
    double share[RS_CELLS_MAX];
    for (int i = 0; i < cols; i++) {
        const uint64_t from = i == 0 ? 0 : (uint64_t)at_column(i - 1, cols, n);
        share[i] = from < known && from < n ? y[from] / top : NAN; // they fall, so the first is the largest
    }
    rs_cells_columns(c, row + height - 1, col, cols, height, ink, share, (size_t)cols);
}

static void edges(rs_cells *c, int row, int col, int cols, int height, const char *label, const char *top)
{
    rs_cells_put(c, row, 1, 6, RS_INK_LABEL, 0, label);
    rs_cells_right(c, row, col - 5, 4, RS_INK_DIM, 0, "%s", top);
    for (int h = 0; h < height; h++) {
        rs_cells_char(c, row + h, col - 1, RS_INK_DIM, 0, 0x2595);
        rs_cells_char(c, row + h, col + cols, RS_INK_DIM, 0, 0x258f);
    }
}

static void notes(rs_cells *c, int row, int col, rs_ink ink, const char *text)
{
    rs_cells_put(c, row, col, c->cols - col, ink, 0, text);
}

static void put_energy(const rs_view_spectrum *s, rs_cells *c, int row, int col, int cols, int height, uint64_t n)
{
    double share[RS_CELLS_MAX], sum = 0, kept = 0;
    size_t k = 0;
    if (!s->whole) return;
    for (size_t i = 0; i < s->known; i++) sum += s->sigma[i] * s->sigma[i];
    for (int i = 0; i < cols; i++) {
        for (; k < s->known && (double)k < at_column(i, cols, n) - 0.5; k++) kept += s->sigma[k] * s->sigma[k];
        share[i] = sum > 0 ? kept / sum : NAN;
    }
    rs_cells_columns(c, row + height - 1, col, cols, height, RS_INK_GOOD, share, (size_t)cols);
}

static void slider(const rs_view *v, rs_cells *c, int row, int col, int cols, uint64_t n)
{
    const double at = v->rank < 1 || n < 2 ? 0 : log((double)v->rank) / log((double)n);
    const int mark = (int)(at * (cols - 1) + 0.5);
    rs_cells_printf(c, row, 1, 12, RS_INK_TEXT, RS_ATTR_BOLD, "r = %llu", (unsigned long long)v->rank);
    for (int i = 0; i < cols; i++) rs_cells_char(c, row, col + i, i == mark ? RS_INK_CURSOR : RS_INK_DIM, i == mark ? RS_ATTR_BOLD : 0, i == mark ? 0x2502 : 0x2500);
    notes(c, row, col + cols + 2, RS_INK_DIM, "[ ] by 2  { } by 16  = type");
}

void rs_screen_rotation(const rs_view *v, rs_cells *c)
{
    const rs_view_junction *j = rs_view_junction_at(v);
    const rs_view_spectrum *s = j != NULL && v->spectrum != NULL && v->spectrum->j == j->j ? v->spectrum : NULL;
    char from[32], to[32], text[16], stored[64];
    if (j == NULL) {
        rs_cells_put(c, 3, 2, c->cols - 2, RS_INK_TEXT, 0, "This file has no junctions: one basis serves all layers, or none is rotated.");
        rs_cells_put(c, 4, 2, c->cols - 2, RS_INK_TEXT, 0, "They come from rs-fuse -R, rs-residual, or are in a file of rs-learn.");
        return;
    }
    const uint64_t n = s != NULL && s->n > 0 ? s->n : j->n;
    int at = 1 + rs_cells_printf(c, 1, 1, 60, RS_INK_TEXT, RS_ATTR_BOLD, "T %" PRIu64 "  %s > %s", j->j, basis_name(v, j->j, from), basis_name(v, j->j + 1, to));
    if (j->tensor < 0) snprintf(stored, sizeof stored, "angles only");
    else if (j->rank == RS_RANK_FULL) snprintf(stored, sizeof stored, "dense");
    else snprintf(stored, sizeof stored, "rank %" PRIu64, j->rank);
    at += rs_cells_printf(c, 1, at, c->cols - at, RS_INK_DIM, 0, "   n %" PRIu64 "   %s   ||T'T-I||max %s   det %s", n, stored, s == NULL || isnan(s->orth) ? "-" : rs_screen_double(s->orth, text),
                          s == NULL || s->det == 0 ? "-" : s->det > 0 ? "+1" : "-1");
    rs_cells_printf(c, 1, at + 3, c->cols - at - 3, RS_INK_DIM, 0, "%zu of %zu", v->junction + 1, v->model->n_junctions);
    const int body = c->rows - 8, h = body / 3 > 1 ? body / 3 : 1, col = 13, side = c->cols >= 110 ? 36 : c->cols >= 80 ? 18 : 2;
    const int cols = c->cols - col - side;
    const double energy = s != NULL ? rs_view_energy(s, v->rank) : NAN;
    edges(c, 2, col, cols, h, "angle", "pi");
    edges(c, 2 + h, col, cols, h, "sigma", "2.0");
    edges(c, 2 + 2 * h, col, cols, h, "E(r)", "1.0");
    if (s != NULL) {
        curve(c, 2, col, cols, h, RS_INK_BEFORE, s->theta, s->known, n, PI);
        curve(c, 2 + h, col, cols, h, RS_INK_AFTER, s->sigma, s->known, n, 2);
        put_energy(s, c, 2 + 2 * h, col, cols, h, n);
    }
    if (side > 2) {
        notes(c, 2, col + cols + 2, RS_INK_DIM, side > 20 ? "largest first, r on a log axis" : "log axis of r");
        notes(c, 2 + h, col + cols + 2, RS_INK_DIM, side > 20 ? "2 |sin(angle / 2)|, in pairs" : "in pairs");
    }
    rs_cells_printf(c, 2 + 2 * h, side > 2 ? col + cols + 2 : 1, side > 2 ? side : 12, RS_INK_TEXT, RS_ATTR_BOLD, side > 2 ? "E(%llu) = %s" : "E(r) %.0llu%s", (unsigned long long)(side > 2 ? v->rank : 0), isnan(energy) ? "-" : rs_screen_double(energy, text));
    int row = 2 + 3 * h;
    slider(v, c, row++, col, cols - (side > 30 ? 0 : 28 - side > 0 ? 28 - side : 0), n);
    const double r = (double)v->rank, N = (double)n;
    rs_cells_printf(c, row++, 1, c->cols - 1, RS_INK_TEXT, 0, "store nr + r^2, f32: %.2f MB of %.2f MB   multiply-adds 2nr + r^2: %.1f %% of n^2", 4 * (N * r + r * r) / 1e6, 4 * N * N / 1e6, N > 0 ? 100 * (2 * N * r + r * r) / (N * N) : 0);
    rs_cells_printf(c, row++, 1, c->cols - 1, RS_INK_DIM, 0, "for comparison, a Hadamard matrix: E(r) = 2r/n, here %.3f", N > 0 ? fmin(1, 2 * r / N) : 0);
    if (s == NULL || !s->whole) rs_cells_printf(c, row, 1, c->cols - 1, RS_INK_DIM, 0, "%s", v->spectrum_missing != NULL ? v->spectrum_missing : "the angles of T are not in the file; only those kept are known");
    rs_cells_put(c, c->rows - 1, 1, c->cols - 1, RS_INK_DIM, 0, "arrows next junction   [ ] { } = rank   1 overview   ? help");
}
