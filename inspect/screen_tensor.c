// SPDX-License-Identifier: Apache-2.0
// Screen 2: channels, histogram, numbers and the worst channels of one tensor, before and after.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "inspect/screen_inside.h"

#define TOP 8
static const rs_ink inks[2] = {RS_INK_BEFORE, RS_INK_AFTER};
static const char *const side_names[2] = {"before", "after"};

static const char *side_name(const rs_view *v, const rs_view_row *r, int side)
{
    return v->model->side[r->of][1].on && v->model->side[r->of][0].on ? side_names[side] : "";
}

// The parts of one side, if they are there and asked for.
static const rs_view_channels *channels(const rs_view *v, const rs_view_row *r, int side)
{
    return v->channels_of == r && rs_screen_side(v, side) ? v->channels[side] : NULL;
}

// ---- channels

// Unit of the magnitudes: RMS of the tensor, or 1 where it is not known.
static double unit(const rs_view_row *r, int side)
{
    double x;
    return rs_figures_get(&r->fig[side], RS_FIG_RMS, &x) && x > 0 ? x : 1;
}

// Largest values of n channels in each of `cols` columns, in units of RMS; NaN stays only where all are.
static void merge(const float *x, uint64_t n, double scale, double *out, int cols)
{
    for (int i = 0; i < cols; i++) out[i] = NAN;
    for (uint64_t k = 0; k < n; k++) {
        const int i = n <= (uint64_t)cols ? (int)k : (int)((double)k * cols / (double)n);
        if (!isnan(x[k]) && !(x[k] * scale <= out[i])) out[i] = x[k] * scale;
    }
    if (n == 0 || n > (uint64_t)cols) return;
    for (int i = cols - 1; i >= 0; i--) out[i] = out[(uint64_t)i * n / (uint64_t)cols]; // fewer channels than columns: drawn wide
}

// Smallest and largest positive value of both sides, so that they share an axis.
static void range(const rs_view *v, const rs_view_row *r, double *lo, double *hi)
{
    *lo = INFINITY;
    *hi = 0;
    for (int side = 0; side < 2; side++) {
        const rs_view_channels *ch = channels(v, r, side);
        for (uint64_t k = 0; ch != NULL && ch->absmax != NULL && k < ch->n; k++) {
            const double x = ch->absmax[k] / unit(r, side);
            if (!(x > 0) || isinf(x)) continue;
            if (x < *lo) *lo = x;
            if (x > *hi) *hi = x;
        }
    }
    if (*hi == 0) *lo = *hi = 1;
    if (*lo < *hi / 1000) *lo = *hi / 1000;
}

static void frame(rs_cells *c, int row, int col, int width, int height)
{
    for (int h = 0; h < height; h++) {
        rs_cells_char(c, row + h, col, RS_INK_DIM, 0, 0x2595);
        rs_cells_char(c, row + h, col + width - 1, RS_INK_DIM, 0, 0x258f);
    }
}

static void put_channels(const rs_view *v, const rs_view_row *r, rs_cells *c, int side, int row, int col, int width, int height)
{
    const rs_view_channels *ch = channels(v, r, side);
    const int cols = width - 15;
    double lo, hi, share[RS_CELLS_MAX];
    char text[16];
    if (cols < 4 || cols > RS_CELLS_MAX || height < 1) return;
    range(v, r, &lo, &hi);
    frame(c, row, col + 7, cols + 2, height);
    rs_cells_right(c, row, col, 6, RS_INK_DIM, 0, "%s", rs_screen_double(hi, text));
    if (height > 1) rs_cells_right(c, row + height - 1, col, 6, RS_INK_DIM, 0, "%s", v->linear ? "0" : rs_screen_double(lo, text));
    rs_cells_put(c, row + height / 2, col + 9 + cols, 6, inks[side], 0, side_name(v, r, side));
    if (ch == NULL || ch->absmax == NULL) {
        rs_cells_put(c, row + height - 1, col + 9, cols - 1, RS_INK_DIM, 0, "- not in the file");
        return;
    }
    merge(ch->absmax, ch->n, 1 / unit(r, side), share, cols);
    for (int i = 0; i < cols; i++) share[i] = v->linear ? share[i] / hi : share[i] > 0 ? 0.08 + 0.92 * log(share[i] / lo) / (hi > lo ? log(hi / lo) : 1) : 0;
    for (int i = 0; i < cols && hi <= lo; i++) share[i] = isnan(share[i]) ? NAN : share[i] > 0 ? 1 : 0;
    for (int i = 0; i < cols; i++)
        if (share[i] > 0 && share[i] < 0.01) share[i] = 0.01;
    rs_cells_columns(c, row + height - 1, col + 8, cols, height, inks[side], share, (size_t)cols);
}

// ---- histogram

static void put_histogram(const rs_view *v, const rs_view_row *r, rs_cells *c, int side, int row, int col, int width, int height)
{
    const rs_view_channels *ch = channels(v, r, side);
    const int cols = width - 16 < 64 ? width - 16 : 64;
    double share[64], most = 0;
    if (cols < 8 || height < 1) return;
    frame(c, row, col + 3, cols + 2, height);
    rs_cells_put(c, row + height - 1, col, 2, RS_INK_DIM, 0, "-8");
    rs_cells_put(c, row + height - 1, col + cols + 6, 2, RS_INK_DIM, 0, "+8");
    rs_cells_put(c, row, col + cols + 6 + (height > 1 ? 0 : 3), 6, inks[side], 0, side_name(v, r, side));
    if (ch == NULL || !ch->has_hist) {
        rs_cells_put(c, row + height - 1, col + 5, cols - 1, RS_INK_DIM, 0, "- not in the file");
        return;
    }
    for (int i = 0; i < 64; i++)
        if ((double)ch->hist[i] > most) most = (double)ch->hist[i];
    for (int i = 0; i < 64; i++) share[i] = most == 0 ? 0 : v->linear ? (double)ch->hist[i] / most : log1p((double)ch->hist[i]) / log1p(most);
    rs_cells_columns(c, row + height - 1, col + 4, cols, height, inks[side], share, 64);
}

// ---- numbers

static int put_numbers(const rs_view *v, const rs_view_row *r, rs_cells *c, int row, int col, int width, int rows)
{
    static const struct {
        const char *label;
        rs_figure f;
        bool by_rms;
        double scale; // 0: a count
        const char *unit;
    } list[] = {
        {"max/RMS", RS_FIG_MAX_RMS, false, 1, ""},     {"kurtosis", RS_FIG_KURT, false, 1, ""},       {"SQNR int4", RS_FIG_SQNR4, false, 1, " dB"}, {"p99.99/RMS", RS_FIG_P9999, true, 1, ""},
        {"p99.9/RMS", RS_FIG_P999, true, 1, ""},       {"SQNR int3", RS_FIG_SQNR3, false, 1, " dB"}, {"zeros", RS_FIG_ZEROS, false, 100, " %"},      {"massive", RS_FIG_MASSIVE, false, 0, ""},
        {"incoherence", RS_FIG_INCOHERENCE, false, 1, ""}, {"max", RS_FIG_MAX, false, 1, ""},          {"RMS", RS_FIG_RMS, false, 1, ""},              {"tokens", RS_FIG_TOKENS, false, 0, ""},
        {"not finite", RS_FIG_BAD, false, 0, ""},
    };
    const int cell = width >= 66 ? 33 : width >= 60 ? 30 : width, per_row = width / cell > 0 ? width / cell : 1;
    int used = 0;
    for (size_t i = 0, k = 0; i < sizeof list / sizeof *list; i++) {
        char text[2][16];
        const char *shown[2];
        double x, rms;
        bool any = false;
        for (int side = 0; side < 2; side++) {
            const rs_figures *f = &r->fig[side];
            shown[side] = "-";
            if (!rs_figures_get(f, list[i].f, &x) || (list[i].by_rms && !(rs_figures_get(f, RS_FIG_RMS, &rms) && rms > 0))) continue;
            if (list[i].scale == 0 && x < 1e6) snprintf(text[side], sizeof text[side], "%.0f", x), shown[side] = text[side];
            else shown[side] = rs_screen_double(list[i].by_rms ? x / rms : list[i].scale == 0 ? x : x * list[i].scale, text[side]);
            any = true;
        }
        if (!any && i > 6) continue;
        const int y = row + (int)k / per_row, at = col + (int)(k % (size_t)per_row) * cell;
        if ((int)k / per_row >= rows) break;
        k++;
        used = y - row + 1;
        rs_cells_put(c, y, at, 12, RS_INK_LABEL, 0, list[i].label);
        const bool both = rs_screen_side(v, 0) && rs_screen_side(v, 1);
        if (both) rs_cells_right(c, y, at + 11, 7, RS_INK_BEFORE, 0, "%s", shown[0]);
        if (both) rs_cells_put(c, y, at + 19, 1, RS_INK_DIM, 0, ">");
        const int last = rs_screen_side(v, 1) ? 1 : 0;
        int n = rs_cells_put(c, y, at + (both ? 21 : 13), cell - (both ? 21 : 13), last == 1 ? RS_INK_AFTER : RS_INK_BEFORE, 0, shown[last]);
        if (strcmp(shown[last], "-") != 0) rs_cells_put(c, y, at + (both ? 21 : 13) + n, cell - (both ? 22 : 14) - n, RS_INK_DIM, 0, list[i].unit);
    }
    return used;
}

// ---- worst channels

static void put_top(const rs_view *v, const rs_view_row *r, rs_cells *c, int side, int row)
{
    static const char *const by[RS_BY_COUNT] = {"|max|", "rms", "kurtosis"};
    const rs_view_channels *ch = channels(v, r, side);
    const float *x = ch == NULL ? NULL : v->channel_sort == RS_BY_ABSMAX ? ch->absmax : v->channel_sort == RS_BY_RMS ? ch->rms : ch->kurt;
    uint64_t top[TOP];
    int n = 0, at = 1;
    char text[16];
    for (uint64_t k = 0; x != NULL && k < ch->n; k++) {
        int i = n;
        while (i > 0 && (x[k] > x[top[i - 1]] || (isnan(x[k]) && !isnan(x[top[i - 1]])))) i--;
        if (i >= TOP) continue;
        if (n < TOP) n++;
        memmove(top + i + 1, top + i, (size_t)(n - 1 - i) * sizeof *top);
        top[i] = k;
    }
    at += 1 + rs_cells_printf(c, row, at, c->cols - at, RS_INK_LABEL, 0, "top by %s", by[v->channel_sort]);
    at += 1 + rs_cells_put(c, row, at, c->cols - at, inks[side], 0, side_name(v, r, side));
    if (x == NULL) rs_cells_put(c, row, at + 1, c->cols - at, RS_INK_DIM, 0, "-");
    for (int i = 0; i < n; i++) {
        char piece[64];
        const double value = v->channel_sort == RS_BY_KURT ? (double)x[top[i]] : (double)x[top[i]] / unit(r, side);
        snprintf(piece, sizeof piece, i == 0 && v->channel_sort != RS_BY_KURT ? "%llu (%s x RMS)" : "%llu (%s)", (unsigned long long)top[i], rs_screen_double(value, text));
        if (at + 1 + (int)strlen(piece) > c->cols) break;
        at += 2 + rs_cells_put(c, row, at + 1, c->cols - at - 1, RS_INK_TEXT, 0, piece);
    }
}

// ---- layout

void rs_screen_tensor(const rs_view *v, rs_cells *c)
{
    char name[RS_MAX_NAME * 8];
    const rs_view_row *r = rs_view_current(v);
    if (r == NULL) {
        rs_screen_empty(v, c);
        return;
    }
    const bool sides[2] = {rs_screen_side(v, 0), rs_screen_side(v, 1)};
    const int n = sides[0] + sides[1], wide = c->cols >= 100, left = wide ? c->cols - 50 : c->cols;
    const rs_view_channels *ch = channels(v, r, 0) != NULL ? channels(v, r, 0) : channels(v, r, 1);
    int at = 1 + rs_cells_printf(c, 1, 1, c->cols / 2, RS_INK_TEXT, RS_ATTR_BOLD, "%s", rs_view_short_name(r, name, sizeof name, c->ascii));
    at += rs_cells_printf(c, 1, at, c->cols - at, RS_INK_DIM, 0, "  %s", rs_measure_name(r->of));
    if (ch != NULL && ch->n > 0 && left > 15) at += rs_cells_printf(c, 1, at, c->cols - at, RS_INK_DIM, 0, ", %llu channels, %llu per column, x RMS, %s", (unsigned long long)ch->n, (unsigned long long)((ch->n + (uint64_t)left - 16) / (uint64_t)(left - 15)), v->linear ? "linear" : "log");
    if (strcmp(name, r->name) != 0 && at + 3 + (int)strlen(r->name) < c->cols) rs_cells_printf(c, 1, at + 3, c->cols - at - 3, RS_INK_DIM, 0, "%s", rs_cells_escape(name, sizeof name, r->name, strlen(r->name), c->ascii));
    const int top = n, body = c->rows - 3 - top; // rows between the head and the worst channels
    if (n == 0) return;
    if (wide) {
        const int h = body / n, hist = h > 6 ? 5 : h > 2 ? 2 : 1;
        for (int side = 0, row = 2; side < 2; side++) {
            if (!sides[side]) continue;
            put_channels(v, r, c, side, row, 0, left, h);
            row += h;
        }
        for (int side = 0, row = 2; side < 2; side++) {
            if (!sides[side]) continue;
            put_histogram(v, r, c, side, row, left + 1, 49, hist);
            row += hist;
        }
        put_numbers(v, r, c, 2 + n * hist + 1, left + 1, 49, body - n * hist - 1);
    } else {
        const int numbers = body >= 16 ? 5 : 4, hist = body >= 18 ? 2 : 1, h = (body - numbers - n * hist) / n;
        int row = 2;
        for (int side = 0; side < 2; side++) {
            if (!sides[side]) continue;
            put_channels(v, r, c, side, row, 0, c->cols, h);
            row += h;
        }
        for (int side = 0; side < 2; side++) {
            if (!sides[side]) continue;
            put_histogram(v, r, c, side, row, 4, c->cols - 4, hist);
            row += hist;
        }
        put_numbers(v, r, c, row, 1, c->cols - 1, numbers);
    }
    for (int side = 0, row = c->rows - 1 - top; side < 2; side++)
        if (sides[side]) put_top(v, r, c, side, row++);
    rs_cells_put(c, c->rows - 1, 1, c->cols - 1, RS_INK_DIM, 0, "up down next tensor  s channels by  b both  L linear  m measure  Esc back  ? help");
}
