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
    rs_cells_printf(c, row, 1, col - 2, RS_INK_TEXT, RS_ATTR_BOLD, "r = %" PRIu64, v->rank);
    for (int i = 0; i < cols; i++) rs_cells_char(c, row, col + i, i == mark ? RS_INK_CURSOR : RS_INK_DIM, i == mark ? RS_ATTR_BOLD : 0, i == mark ? 0x2502 : 0x2500);
}

// The end of an axis for values whose largest is x: the most there can be, or less where that would show nothing.
static double axis_end(double x, double most)
{
    if (x <= 1e-4 * most) return most; // T is the identity, to rounding
    double end = most;
    while (x <= end / 2) end /= 2;
    return end;
}

static const char *what_it_is(const rs_view_junction *j, char out[32])
{
    if (j->tensor < 0) return "angles only";
    if (j->rank == RS_RANK_FULL) return "dense";
    snprintf(out, 32, "rank %" PRIu64, j->rank);
    return out;
}

static void head(const rs_view *v, const rs_view_junction *j, const rs_view_spectrum *s, uint64_t n, rs_cells *c)
{
    char from[32], to[32], stored[32], orth[16], line[200];
    snprintf(line, sizeof line, "n %" PRIu64 "   %s   ||T'T-I||max %s   det %s", n, what_it_is(j, stored), s == NULL || isnan(s->orth) ? "-" : rs_screen_double(s->orth, orth),
             s == NULL || s->det == 0 ? "-" : s->det > 0 ? "+1" : "-1");
    int at = 1 + rs_cells_printf(c, 1, 1, c->cols - 1, RS_INK_TEXT, RS_ATTR_BOLD, "T %" PRIu64 "  %s > %s", j->j, basis_name(v, j->j, from), basis_name(v, j->j + 1, to));
    at += 3 + rs_cells_printf(c, 1, at + 3, c->cols - at - 3, RS_INK_DIM, 0, "%zu of %zu", v->junction + 1, v->model->n_junctions);
    rs_cells_put(c, 2, 1, c->cols - 1, RS_INK_DIM, 0, line);
}

void rs_screen_rotation(const rs_view *v, rs_cells *c)
{
    const rs_view_junction *j = rs_view_junction_at(v);
    const rs_view_spectrum *s = j != NULL && v->spectrum != NULL && v->spectrum->j == j->j ? v->spectrum : NULL;
    char text[16];
    if (j == NULL) {
        rs_cells_put(c, 3, 2, c->cols - 2, RS_INK_TEXT, 0, "This file has no junctions: one basis serves all layers, or none.");
        rs_cells_put(c, 4, 2, c->cols - 2, RS_INK_TEXT, 0, "rs-learn, rs-fuse -R and rs-residual make them.");
        return;
    }
    const uint64_t n = s != NULL && s->n > 0 ? s->n : j->n;
    const int h = (c->rows - 8) / 3 > 1 ? (c->rows - 8) / 3 : 1, col = 13, side = c->cols >= 100 ? 32 : 1, cols = c->cols - col - side - 1;
    const double energy = s != NULL ? rs_view_energy(s, v->rank) : NAN, r = (double)v->rank, N = (double)n;
    const double most = s != NULL && s->known > 0 ? s->theta[0] : PI, most_sigma = s != NULL && s->known > 0 ? s->sigma[0] : 2;
    const double end = axis_end(most, PI), end_sigma = axis_end(most_sigma, 2);
    head(v, j, s, n, c);
    edges(c, 3, col, cols, h, "angle", end == PI ? "pi" : rs_screen_double(end, text));
    edges(c, 3 + h, col, cols, h, "sigma", rs_screen_double(end_sigma, text));
    edges(c, 3 + 2 * h, col, cols, h, "E(r)", "1.0");
    if (s != NULL) {
        curve(c, 3, col, cols, h, RS_INK_BEFORE, s->theta, s->known, n, end);
        curve(c, 3 + h, col, cols, h, RS_INK_AFTER, s->sigma, s->known, n, end_sigma);
        put_energy(s, c, 3 + 2 * h, col, cols, h, n);
    }
    if (side > 1) {
        rs_cells_printf(c, 3, col + cols + 2, side, RS_INK_DIM, 0, "%" PRIu64 " planes, r on a log axis", n / 2);
        rs_cells_put(c, 3 + h, col + cols + 2, side, RS_INK_DIM, 0, "2 |sin(angle / 2)|, in pairs");
        rs_cells_put(c, 3 + 2 * h, col + cols + 2, side, RS_INK_DIM, 0, "kept of the sum of sigma^2");
    }
    int row = 3 + 3 * h;
    slider(v, c, row++, col, cols, n);
    int at = 1;
    if (s != NULL && s->whole && most <= 1e-4) at += rs_cells_put(c, row, at, c->cols - 1, RS_INK_TEXT, RS_ATTR_BOLD, "T is the identity");
    else if (isnan(energy)) at += rs_cells_printf(c, row, at, c->cols - 1, RS_INK_TEXT, RS_ATTR_BOLD, "E(%" PRIu64 ") = -", v->rank);
    else at += rs_cells_printf(c, row, at, c->cols - 1, RS_INK_TEXT, RS_ATTR_BOLD, "E(%" PRIu64 ") = %.3f", v->rank, energy);
    rs_cells_printf(c, row++, at + 3, c->cols - at - 3, RS_INK_DIM, 0, "a Hadamard matrix, for comparison: 2r/n = %.3f", N > 0 ? fmin(1, 2 * r / N) : 0);
    rs_cells_printf(c, row++, 1, c->cols - 1, RS_INK_TEXT, 0, c->cols >= 90 ? "store nr + r^2: %.2f MB of %.2f MB in f32   multiply-adds 2nr + r^2: %.1f %% of n^2" : "store %.2f MB of %.2f MB   multiply-adds %.1f %% of n^2",
                    4 * (N * r + r * r) / 1e6, 4 * N * N / 1e6, N > 0 ? 100 * (2 * N * r + r * r) / (N * N) : 0);
    if (s == NULL || !s->whole) rs_cells_put(c, row, 1, c->cols - 1, RS_INK_DIM, 0, v->spectrum_missing != NULL ? v->spectrum_missing : "only the angles that were kept are in the file; the others are not known");
    rs_cells_put(c, c->rows - 1, 1, c->cols - 1, RS_INK_DIM, 0, "arrows next junction  [ ] rank by 2  { } by 16  = type  ? help");
}
