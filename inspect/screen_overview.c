// SPDX-License-Identifier: Apache-2.0
// Screen 1: one row per tensor, before and after, and a spark line over the layers.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/screen_inside.h"

// Columns from left to right; 0: left out. What goes first as the width shrinks: SQNR4, kurt, width, then length of the bars.
struct layout {
    int width, bar[2], number[2], kurt, sqnr, mark, bar_len;
};

#define PAIR 15 // "  214 > 3.4    "

static struct layout lay_out(const rs_view *v, int cols)
{
    struct layout l = {0};
    const bool both = rs_screen_side(v, 0) && rs_screen_side(v, 1);
    const int groups = both ? 2 : 1, fixed = 16 + groups * 8 + 10, least = groups * 8;
    int left = cols - fixed - least, x = 16;
    const bool width = left >= 7, kurt = left >= 7 + PAIR, sqnr = left >= 7 + 2 * PAIR;
    if (width) left -= 7;
    if (kurt) left -= PAIR;
    if (sqnr) left -= PAIR;
    l.bar_len = 8 + (left > 0 ? left : 0) / groups;
    if (l.bar_len > 40) l.bar_len = 40;
    if (width) l.width = x, x += 7;
    for (int side = 0; side < 2; side++) {
        if (!rs_screen_side(v, side)) continue;
        l.bar[side] = x;
        l.number[side] = x + l.bar_len;
        x += l.bar_len + 8;
    }
    l.mark = x;
    x += 3;
    if (kurt) l.kurt = x, x += PAIR;
    if (sqnr) l.sqnr = x;
    return l;
}

static void put_pair(const rs_view *v, rs_cells *c, int row, int col, const rs_view_row *r, rs_figure f)
{
    char a[16], b[16];
    const bool before = rs_screen_side(v, 0), after = rs_screen_side(v, 1);
    if (before) rs_cells_right(c, row, col, 6, RS_INK_BEFORE, 0, "%s", rs_screen_number(&r->fig[0], f, a));
    if (before && after) rs_cells_put(c, row, col + 7, 1, RS_INK_DIM, 0, ">");
    if (after) rs_cells_put(c, row, before ? col + 9 : col, 6, RS_INK_AFTER, 0, rs_screen_number(&r->fig[1], f, b));
}

static void header(const rs_view *v, rs_cells *c, const struct layout *l)
{
    const unsigned on = RS_ATTR_BOLD | RS_ATTR_UNDERLINE;
    const char *labels[2] = {"max/RMS before", "after"};
    rs_cells_put(c, 2, 1, 14, RS_INK_LABEL, v->sort == RS_SORT_MODEL || v->sort == RS_SORT_NAME ? on : 0, "layer role");
    if (l->width > 0) rs_cells_right(c, 2, l->width, 6, RS_INK_LABEL, v->sort == RS_SORT_WIDTH ? on : 0, "width");
    for (int side = 0; side < 2; side++)
        if (l->bar[side] > 0) rs_cells_put(c, 2, l->bar[side], l->bar_len + 8, RS_INK_LABEL, v->sort == RS_SORT_MAX_RMS ? on : 0, !v->model->side[v->of][1].on ? "max/RMS" : side == 1 && l->bar[0] == 0 ? "max/RMS after" : labels[side]);
    rs_cells_put(c, 2, l->mark, 2, RS_INK_LABEL, v->sort == RS_SORT_CHANGE ? on : 0, v->sort == RS_SORT_CHANGE ? "x" : "");
    const bool both = rs_screen_side(v, 0) && rs_screen_side(v, 1);
    if (l->kurt > 0) rs_cells_put(c, 2, l->kurt + 2, 10, RS_INK_LABEL, v->sort == RS_SORT_KURT ? on : 0, both ? "kurt b>a" : "kurt");
    if (l->sqnr > 0) rs_cells_put(c, 2, l->sqnr + 1, 10, RS_INK_LABEL, v->sort == RS_SORT_SQNR4 ? on : 0, both ? "SQNR4 b>a" : "SQNR4");
    rs_cells_put(c, 2, c->cols - 7, 7, RS_INK_LABEL, 0, "mark");
}

static void put_row(const rs_view *v, rs_cells *c, const struct layout *l, int row, size_t i, double end)
{
    static const rs_ink inks[2] = {RS_INK_BEFORE, RS_INK_AFTER};
    const rs_view_row *r = rs_view_row_at(v, i);
    const int change = rs_view_change(r);
    char text[16];
    double x;
    rs_screen_row_name(v, c, row, i);
    if (l->width > 0 && r->width > 0) rs_cells_right(c, row, l->width, 6, RS_INK_DIM, 0, "%llu", (unsigned long long)r->width);
    for (int side = 0; side < 2; side++) {
        if (l->bar[side] == 0) continue;
        if (rs_figures_get(&r->fig[side], RS_FIG_MAX_RMS, &x)) rs_cells_bar(c, row, l->bar[side], l->bar_len, inks[side], rs_screen_share(v, x, end));
        rs_cells_right(c, row, l->number[side], 7, RS_INK_TEXT, 0, "%s", rs_screen_number(&r->fig[side], RS_FIG_MAX_RMS, text));
    }
    if (change != 0) rs_cells_put(c, row, l->mark, 1, change > 0 ? RS_INK_BAD : RS_INK_GOOD, 0, change > 0 ? "^" : "v");
    if (l->kurt > 0) put_pair(v, c, row, l->kurt, r, RS_FIG_KURT);
    if (l->sqnr > 0) put_pair(v, c, row, l->sqnr, r, RS_FIG_SQNR4);
    double bad;
    if (rs_figures_get(&r->fig[rs_view_last_side(v->model, r->of)], RS_FIG_BAD, &bad) && bad > 0) rs_cells_put(c, row, c->cols - 7, 7, RS_INK_BAD, RS_ATTR_BOLD, "! nan");
    else if (change > 0) rs_cells_put(c, row, c->cols - 7, 7, RS_INK_BAD, RS_ATTR_BOLD, "! worse");
}

static void headline(const rs_view *v, rs_cells *c)
{
    char name[96], tokens[16], measured[96];
    double n = 0, x;
    int at = 1;
    static const char *const labels[2] = {"before: ", "after: "};
    const bool two = v->model->side[v->of][0].on && v->model->side[v->of][1].on;
    for (int side = 0; side < 2; side++) {
        if (!v->model->side[v->of][side].on) continue;
        at += rs_cells_put(c, 1, at, c->cols - at, RS_INK_DIM, 0, two ? labels[side] : "at: ");
        at += 3 + rs_cells_put(c, 1, at, c->cols - at, side == 0 ? RS_INK_BEFORE : RS_INK_AFTER, 0, rs_screen_side_name(v, side, name, sizeof name));
    }
    for (size_t i = 0; i < v->n_order && n == 0; i++)
        if (rs_figures_get(&rs_view_row_at(v, i)->fig[rs_view_last_side(v->model, v->of)], RS_FIG_TOKENS, &x)) n = x;
    static const char *const what[RS_OF_COUNT] = {"input activations", "weights", "rounding errors", "keys and values", "residual stream"};
    snprintf(tokens, sizeof tokens, "%.0f", n < 1e12 ? n : 0);
    snprintf(measured, sizeof measured, n > 0 ? "measured: %s, %s tokens" : "measured: %s", what[v->of], tokens);
    if (at + (int)strlen(measured) <= c->cols) rs_cells_put(c, 1, at, c->cols - at, RS_INK_DIM, 0, measured);
    else rs_cells_put(c, 1, at, c->cols - at, RS_INK_DIM, 0, rs_measure_name(v->of));
}

// ---- foot

// Largest max/RMS of each layer on one side; NaN where none is known.
static double *per_layer(const rs_view *v, int side, size_t *layers)
{
    uint64_t n = v->model->head->layers;
    if (v->of == RS_OF_STREAM) n = 2 * n + 1;
    double x, *most = n > 0 ? malloc(n * sizeof *most) : NULL;
    *layers = most != NULL ? n : 0;
    for (size_t i = 0; i < *layers; i++) most[i] = NAN;
    for (size_t i = 0; i < v->model->n_rows; i++) {
        const rs_view_row *r = &v->model->row[i];
        if (r->of != v->of || r->layer < 0 || (uint64_t)r->layer >= *layers || !rs_figures_get(&r->fig[side], RS_FIG_MAX_RMS, &x)) continue;
        if (!(x <= most[r->layer])) most[r->layer] = x;
    }
    return most;
}

static void spark(const rs_view *v, rs_cells *c, double end)
{
    static const rs_ink inks[2] = {RS_INK_BEFORE, RS_INK_AFTER};
    static const char *const labels[2] = {"before", "after"};
    const int row = c->rows - 2, sides = rs_screen_side(v, 0) + rs_screen_side(v, 1);
    size_t n = 0;
    int x = 1;
    if (sides == 0) return;
    free(per_layer(v, 0, &n));
    if (n == 0) return;
    x += 1 + rs_cells_printf(c, row, x, c->cols, RS_INK_DIM, 0, v->of == RS_OF_STREAM ? "%zu places" : n == 1 ? "%zu layer" : "%zu layers", n);
    int room = (c->cols - x - 16) / sides - 9;
    if ((size_t)room > n) room = (int)n;
    for (int side = 0; side < 2; side++) {
        if (!rs_screen_side(v, side)) continue;
        double *most = per_layer(v, side, &n);
        for (size_t i = 0; i < n; i++) most[i] = rs_screen_share(v, most[i], end);
        rs_cells_columns(c, row, x, room, 1, inks[side], most, n);
        free(most);
        x += room + 1;
        x += 3 + rs_cells_put(c, row, x, 6, inks[side], 0, v->model->side[v->of][1].on ? labels[side] : "");
    }
    rs_cells_printf(c, row, x, c->cols - x, RS_INK_DIM, 0, v->linear ? "linear 0..%g" : "log 1..%g", end);
}

static int ascending(const void *x, const void *y)
{
    const double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static double median_drop(const rs_view *v)
{
    double a, b, *drop = malloc((v->n_order + 1) * sizeof *drop), m = NAN;
    size_t n = 0;
    for (size_t i = 0; drop != NULL && i < v->n_order; i++) {
        const rs_view_row *r = rs_view_row_at(v, i);
        if (rs_figures_get(&r->fig[0], RS_FIG_MAX_RMS, &a) && rs_figures_get(&r->fig[1], RS_FIG_MAX_RMS, &b) && a > 0 && b > 0) drop[n++] = a / b;
    }
    if (n > 0) {
        qsort(drop, n, sizeof *drop, ascending);
        m = n % 2 != 0 ? drop[n / 2] : (drop[n / 2 - 1] + drop[n / 2]) / 2;
    }
    free(drop);
    return m;
}

static void foot(const rs_view *v, rs_cells *c)
{
    static const char *const keys[] = {"? help", "/ search", "s sort", "Enter drill", "b both", "m measure", "2 tensor 3 rotation 4 error 5 file"};
    char name[RS_MAX_NAME * 8];
    const rs_view_row *worst = NULL;
    size_t rose = 0, tags = 0, compared = 0;
    double x, most = -INFINITY;
    for (size_t i = 0; i < v->n_order; i++) {
        const rs_view_row *r = rs_view_row_at(v, i);
        const rs_figures *f = &r->fig[rs_view_last_side(v->model, v->of)];
        if (rs_figures_get(f, RS_FIG_MAX_RMS, &x) && x > most) most = x, worst = r;
        if (rs_figures_get(&r->fig[0], RS_FIG_MAX_RMS, NULL) && rs_figures_get(&r->fig[1], RS_FIG_MAX_RMS, NULL)) compared++;
        rose += rs_view_change(r) > 0;
        tags += r->tagged;
    }
    const int row = c->rows - 1;
    const double drop = median_drop(v);
    int at = 1;
    if (worst != NULL) at += 3 + rs_cells_printf(c, row, at, 30, RS_INK_TEXT, RS_ATTR_BOLD, "worst %s", rs_view_short_name(worst, name, sizeof name, c->ascii));
    if (!isnan(drop)) {
        at += 3 + rs_cells_printf(c, row, at, c->cols - at, RS_INK_TEXT, 0, "median drop %.1fx", drop);
        at += 3 + rs_cells_printf(c, row, at, c->cols - at, rose > 0 ? RS_INK_BAD : RS_INK_TEXT, 0, "worse %zu of %zu", rose, compared);
    }
    if (tags > 0) at += 3 + rs_cells_printf(c, row, at, c->cols - at, RS_INK_TAG, 0, "tags %zu", tags);
    for (size_t i = 0; i < sizeof keys / sizeof *keys && at + (int)strlen(keys[i]) <= c->cols; i++) at += 2 + rs_cells_put(c, row, at, c->cols - at, RS_INK_DIM, 0, keys[i]);
}

void rs_screen_overview(const rs_view *v, rs_cells *c)
{
    const struct layout l = lay_out(v, c->cols);
    const double end = rs_screen_axis(rs_screen_largest(v));
    const size_t page = (size_t)(c->rows - 5);
    headline(v, c);
    header(v, c, &l);
    for (size_t i = 0; i < page && v->top + i < v->n_order; i++) put_row(v, c, &l, 3 + (int)i, v->top + i, end);
    if (v->n_order == 0) rs_screen_empty(v, c);
    spark(v, c, end);
    foot(v, c);
}
