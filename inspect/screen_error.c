// SPDX-License-Identifier: Apache-2.0
// Screen 4: what rounding cost, tensor by tensor or group by group.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/screen_inside.h"

#define END 40.0 // dB at the right end of the bars

static int shown_side(const rs_view *v)
{
    return rs_screen_side(v, 1) ? 1 : 0;
}

// Columns; 0: left out. What goes first as the width shrinks: worst group, scale, group, clip, then length of the bars.
struct layout {
    int enc, group, bar, number, clip, scales, worst, bar_len;
};

static struct layout lay_out(int cols)
{
    struct layout l = {0};
    int left = cols - 16 - 6 - 7 - 9 - 12, x = 16; // name, encoding, number, mark, least bar
    const bool clip = left >= 8, group = left >= 15, scales = left >= 25, worst = left >= 45;
    left -= (clip ? 8 : 0) + (group ? 7 : 0) + (scales ? 10 : 0) + (worst ? 20 : 0);
    l.bar_len = 12 + left > 40 ? 40 : 12 + left;
    l.enc = x, x += 6;
    if (group) l.group = x, x += 7;
    l.bar = x, x += l.bar_len;
    l.number = x, x += 7;
    if (clip) l.clip = x, x += 8;
    if (scales) l.scales = x, x += 10;
    if (worst) l.worst = x;
    return l;
}

static void header(const rs_view *v, rs_cells *c, const struct layout *l)
{
    const unsigned on = RS_ATTR_BOLD | RS_ATTR_UNDERLINE;
    char budget[32];
    snprintf(budget, sizeof budget, "SQNR, budget %.0f dB", RS_VIEW_BUDGET);
    rs_cells_put(c, 2, 1, 14, RS_INK_LABEL, v->sort == RS_SORT_MODEL || v->sort == RS_SORT_NAME ? on : 0, "layer role");
    rs_cells_put(c, 2, l->enc, 6, RS_INK_LABEL, 0, "enc");
    if (l->group > 0) rs_cells_right(c, 2, l->group, 6, RS_INK_LABEL, 0, "group");
    rs_cells_put(c, 2, l->bar + 1, l->bar_len - 1, RS_INK_LABEL, v->sort == RS_SORT_SQNR ? on : 0, l->bar_len > 19 ? budget : "SQNR");
    rs_cells_right(c, 2, l->number, 7, RS_INK_LABEL, 0, "dB");
    if (l->clip > 0) rs_cells_right(c, 2, l->clip, 8, RS_INK_LABEL, v->sort == RS_SORT_CLIP ? on : 0, "%s", "clip %");
    if (l->scales > 0) rs_cells_right(c, 2, l->scales, 10, RS_INK_LABEL, 0, "scales");
    if (l->worst > 0) rs_cells_put(c, 2, l->worst + 2, 18, RS_INK_LABEL, 0, "worst group (dB)");
    rs_cells_put(c, 2, c->cols - 8, 8, RS_INK_LABEL, 0, "mark");
}

// Row and group of the worst span, as text.
static void worst_text(const rs_view_row *r, int side, char *out, size_t cap)
{
    char db[16];
    double at;
    snprintf(out, cap, "-");
    if (!rs_figures_get(&r->fig[side], RS_FIG_WORST_GROUP, &at) || !(at >= 0 && at < 1e15)) return;
    const uint64_t groups = r->group > 0 && r->width >= r->group ? r->width / r->group : 1, span = (uint64_t)at; // FORMAT.md 14
    snprintf(out, cap, "r %" PRIu64 " g %" PRIu64 " (%s)", span / groups, span % groups, rs_screen_number(&r->fig[side], RS_FIG_WORST_SQNR, db));
}

static void put_row(const rs_view *v, rs_cells *c, const struct layout *l, int row, size_t i)
{
    const rs_view_row *r = rs_view_row_at(v, i);
    const int side = shown_side(v);
    const rs_figures *f = &r->fig[side];
    char text[64];
    double x;
    rs_screen_row_name(v, c, row, i);
    rs_cells_put(c, row, l->enc, 6, RS_INK_TEXT, 0, rs_enc_name(r->enc));
    if (l->group > 0 && r->group > 0) rs_cells_right(c, row, l->group, 6, RS_INK_DIM, 0, "%" PRIu64, r->group);
    else if (l->group > 0) rs_cells_right(c, row, l->group, 6, RS_INK_DIM, 0, "row");
    const bool known = rs_figures_get(f, RS_FIG_SQNR, &x), below = known && !(x >= RS_VIEW_BUDGET);
    const int budget = l->bar + (int)(RS_VIEW_BUDGET / END * l->bar_len);
    if (known) rs_cells_bar(c, row, l->bar, l->bar_len, below ? RS_INK_BAD : RS_INK_AFTER, x / END);
    if (!known || x < RS_VIEW_BUDGET - END / l->bar_len) rs_cells_char(c, row, budget, RS_INK_DIM, 0, 0x250a);
    rs_cells_right(c, row, l->number, 7, RS_INK_TEXT, 0, "%s", rs_screen_number(f, RS_FIG_SQNR, text));
    if (l->clip > 0 && rs_figures_get(f, RS_FIG_CLIP, &x)) rs_cells_right(c, row, l->clip, 8, RS_INK_TEXT, 0, "%.2f", 100 * x);
    else if (l->clip > 0) rs_cells_right(c, row, l->clip, 8, RS_INK_TEXT, 0, "-");
    if (l->scales > 0) rs_cells_right(c, row, l->scales, 10, RS_INK_TEXT, 0, "%s", rs_screen_number(f, RS_FIG_SCALES, text));
    if (l->worst > 0) {
        worst_text(r, side, text, sizeof text);
        rs_cells_put(c, row, l->worst + 2, c->cols - 9 - l->worst - 2, RS_INK_TEXT, 0, text);
    }
    if (below) rs_cells_put(c, row, c->cols - 8, 8, RS_INK_BAD, RS_ATTR_BOLD, "! below");
}

static void foot(const rs_view *v, rs_cells *c)
{
    static const char *const keys[] = {"t map", "s sort", "Enter tensor", "m measure", "? help"};
    const int row = c->rows - 1, side = shown_side(v);
    double sum = 0, x;
    size_t n = 0, below = 0, tags = 0;
    for (size_t i = 0; i < v->n_order; i++) {
        const rs_view_row *r = rs_view_row_at(v, i);
        tags += r->tagged;
        if (!rs_figures_get(&r->fig[side], RS_FIG_SQNR, &x)) continue;
        sum += x;
        n++;
        below += !(x >= RS_VIEW_BUDGET);
    }
    int at = 1;
    at += 3 + rs_cells_printf(c, row, at, c->cols - at, RS_INK_TEXT, 0, v->n_order == 1 ? "%zu tensor" : "%zu tensors", v->n_order);
    if (n > 0) at += 3 + rs_cells_printf(c, row, at, c->cols - at, RS_INK_TEXT, 0, "mean %.1f dB", sum / (double)n);
    at += 3 + rs_cells_printf(c, row, at, c->cols - at, below > 0 ? RS_INK_BAD : RS_INK_TEXT, 0, "below budget %zu", below);
    if (tags > 0) at += 3 + rs_cells_printf(c, row, at, c->cols - at, RS_INK_TAG, 0, "tags %zu", tags);
    for (size_t i = 0; i < sizeof keys / sizeof *keys && at + (int)strlen(keys[i]) <= c->cols; i++) at += 2 + rs_cells_put(c, row, at, c->cols - at, RS_INK_DIM, 0, keys[i]);
}

// ---- map

// Worst SQNR of the cells that one character stands for; NaN: none is known.
static double worst_of(const rs_view_channels *ch, uint64_t r0, uint64_t r1, uint64_t g0, uint64_t g1)
{
    double worst = NAN;
    for (uint64_t r = r0; r < r1; r++)
        for (uint64_t g = g0; g < g1; g++) {
            const double x = 10 * log10((double)ch->sig[r * ch->groups + g] / (double)ch->err[r * ch->groups + g]);
            if (!isnan(x) && !(x >= worst)) worst = x;
        }
    return worst;
}

static void put_map(const rs_view *v, rs_cells *c)
{
    static const uint32_t shades[] = {' ', 0x2591, 0x2592, 0x2593, 0x2588};
    char name[RS_MAX_NAME * 8];
    const rs_view_row *r = rs_view_current(v);
    if (r == NULL) return;
    const rs_view_channels *ch = v->channels_of == r ? v->channels[shown_side(v)] : NULL;
    const int top = 3, height = c->rows - 5, width = c->cols - 10;
    rs_view_short_name(r, name, sizeof name, c->ascii);
    if (ch == NULL || ch->sig == NULL || ch->err == NULL || ch->rows == 0 || ch->groups == 0) {
        rs_cells_printf(c, 2, 1, c->cols - 1, RS_INK_TEXT, 0, "%s: its error group by group is not in the file", name);
        return;
    }
    const uint64_t each_r = (ch->rows + (uint64_t)height - 1) / (uint64_t)height, each_g = (ch->groups + (uint64_t)width - 1) / (uint64_t)width;
    rs_cells_printf(c, 2, 1, c->cols - 1, RS_INK_TEXT, 0, "%s   cells %" PRIu64 " x %" PRIu64 ", %" PRIu64 " x %" PRIu64 " a character, the worst counts", name, ch->rows, ch->groups, each_r, each_g);
    for (int y = 0; y < height && (uint64_t)y * each_r < ch->rows; y++) {
        const uint64_t r0 = (uint64_t)y * each_r, r1 = r0 + each_r < ch->rows ? r0 + each_r : ch->rows;
        rs_cells_right(c, top + y, 0, 8, RS_INK_DIM, 0, "%" PRIu64, r0);
        for (int x = 0; x < width && (uint64_t)x * each_g < ch->groups; x++) {
            const uint64_t g0 = (uint64_t)x * each_g, g1 = g0 + each_g < ch->groups ? g0 + each_g : ch->groups;
            const double db = worst_of(ch, r0, r1, g0, g1);
            const int shade = isnan(db) ? -1 : db >= RS_VIEW_BUDGET + 6 ? 0 : db >= RS_VIEW_BUDGET + 3 ? 1 : db >= RS_VIEW_BUDGET ? 2 : db >= RS_VIEW_BUDGET - 3 ? 3 : 4;
            rs_cells_char(c, top + y, 9 + x, shade > 2 ? RS_INK_BAD : RS_INK_AFTER, 0, shade < 0 ? '-' : shades[shade]);
        }
    }
    int at = 1 + rs_cells_put(c, c->rows - 2, 1, c->cols - 1, RS_INK_DIM, 0, "dB: ");
    static const int ends[] = {6, 3, 0, -3};
    for (int i = 0; i < 4; i++) {
        rs_cells_char(c, c->rows - 2, at, RS_INK_TEXT, 0, shades[i] == ' ' ? '_' : shades[i]);
        at += 2 + rs_cells_printf(c, c->rows - 2, at + 1, c->cols - at, RS_INK_DIM, 0, ">= %.0f", RS_VIEW_BUDGET + ends[i]);
    }
    rs_cells_char(c, c->rows - 2, at, RS_INK_TEXT, 0, shades[4]);
    rs_cells_printf(c, c->rows - 2, at + 1, c->cols - at, RS_INK_DIM, 0, "below");
}

void rs_screen_error(const rs_view *v, rs_cells *c)
{
    char name[96];
    if (v->of != RS_OF_ERROR || v->n_order == 0) {
        rs_cells_put(c, 3, 2, c->cols - 2, RS_INK_TEXT, 0, v->of == RS_OF_ERROR ? "No tensor matches.  Esc shows all" : "This file does not say what rounding cost: nothing in it was packed by rs-pack.");
        return;
    }
    rs_cells_printf(c, 1, 1, c->cols - 1, RS_INK_DIM, 0, "errors of rounding weights at %s", rs_screen_side_name(v, shown_side(v), name, sizeof name));
    if (v->map) put_map(v, c);
    else {
        const struct layout l = lay_out(c->cols);
        header(v, c, &l);
        for (size_t i = 0; i < (size_t)(c->rows - 5) && v->top + i < v->n_order; i++) put_row(v, c, &l, 3 + (int)i, v->top + i);
    }
    foot(v, c);
}
