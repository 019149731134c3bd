// SPDX-License-Identifier: Apache-2.0
// The screens as lines of words: no bars, no columns, one thing a line, for screen readers and terminals that only print.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/text_buffer.h"
#include "inspect/screen_inside.h"

static void figure(rs_text_buffer *t, const rs_view *v, const rs_view_row *r, const char *label, rs_figure f, double scale, const char *unit)
{
    char text[2][16];
    const char *shown[2] = {"", ""};
    int sides = 0;
    for (int side = 0; side < 2; side++) {
        double x;
        if (!rs_screen_side(v, side)) continue;
        shown[sides] = rs_figures_get(&r->fig[side], f, &x) ? rs_screen_double(x * scale, text[sides]) : "unknown";
        sides++;
    }
    bool any = false;
    for (int i = 0; i < sides; i++) any = any || strcmp(shown[i], "unknown") != 0;
    if (!any) return;
    if (sides == 2) rs_text_buffer_print(t, ", %s %s to %s%s", label, shown[0], shown[1], unit);
    else rs_text_buffer_print(t, ", %s %s%s", label, shown[0], unit);
}

static void put_row(rs_text_buffer *t, const rs_view *v, const rs_view_row *r, bool all)
{
    char name[RS_MAX_NAME * 8];
    const int change = rs_view_change(r);
    rs_view_short_name(r, name, sizeof name, true);
    rs_text_buffer_add(t, name, strlen(name));
    if (r->width > 0) rs_text_buffer_print(t, ", width %" PRIu64, r->width);
    figure(t, v, r, "max over RMS", RS_FIG_MAX_RMS, 1, "");
    if (change != 0) rs_text_buffer_print(t, ", %s", change > 0 ? "worse" : "better");
    figure(t, v, r, "kurtosis", RS_FIG_KURT, 1, "");
    figure(t, v, r, "SQNR at 4 bits", RS_FIG_SQNR4, 1, " dB");
    if (r->of == RS_OF_ERROR) {
        double x;
        figure(t, v, r, "SQNR", RS_FIG_SQNR, 1, " dB");
        figure(t, v, r, "clipped", RS_FIG_CLIP, 100, " percent");
        if (rs_figures_get(&r->fig[rs_view_last_side(v->model, r->of)], RS_FIG_SQNR, &x) && !(x >= RS_VIEW_BUDGET)) rs_text_buffer_print(t, ", below the budget of %.0f dB", RS_VIEW_BUDGET);
    }
    if (all) {
        figure(t, v, r, "SQNR at 3 bits", RS_FIG_SQNR3, 1, " dB");
        figure(t, v, r, "quantile 0.999", RS_FIG_P999, 1, "");
        figure(t, v, r, "quantile 0.9999", RS_FIG_P9999, 1, "");
        figure(t, v, r, "incoherence", RS_FIG_INCOHERENCE, 1, "");
        figure(t, v, r, "zeros", RS_FIG_ZEROS, 100, " percent");
        figure(t, v, r, "massive rows", RS_FIG_MASSIVE, 1, "");
        figure(t, v, r, "not finite", RS_FIG_BAD, 1, "");
    }
    rs_text_buffer_print(t, "\n");
}

static void put_rotation(rs_text_buffer *t, const rs_view *v)
{
    const rs_view_junction *j = rs_view_junction_at(v);
    const rs_view_spectrum *s = v->spectrum;
    if (j == NULL) {
        rs_text_buffer_print(t, "This file has no junctions.\n");
        return;
    }
    rs_text_buffer_print(t, "junction %" PRIu64 ", width %" PRIu64 "\n", j->j, j->n);
    if (s == NULL) {
        rs_text_buffer_print(t, "Its angles are unknown%s%s.\n", v->spectrum_missing != NULL ? ": " : "", v->spectrum_missing != NULL ? v->spectrum_missing : "");
        return;
    }
    for (size_t i = 0; i < s->known && i < 16; i += 2) rs_text_buffer_print(t, "angle %zu: %.4f radians, sigma %.4f\n", i / 2 + 1, s->theta[i], s->sigma[i]);
    const double energy = rs_view_energy(s, v->rank);
    if (!isnan(energy)) rs_text_buffer_print(t, "rank %" PRIu64 " keeps %.4f of the energy\n", v->rank, energy);
    else rs_text_buffer_print(t, "only the angles that were kept are known\n");
}

// The drawn screen without its marks: of a screen that is words already.
static void put_drawn(rs_text_buffer *t, const rs_view *v)
{
    rs_cells c;
    char line[4 * RS_CELLS_MAX + 1];
    rs_error e = {0};
    if (rs_cells_init(&c, v->cols > RS_VIEW_MIN_COLS ? v->cols : RS_VIEW_MIN_COLS, v->rows > RS_VIEW_MIN_ROWS ? v->rows : RS_VIEW_MIN_ROWS, true, &e) != RS_OK) t->failed = true;
    else {
        rs_screen_render(v, &c);
        for (int row = 1; row < c.rows; row++)
            if (rs_cells_row(&c, row, line, sizeof line) > 0) {
                rs_text_buffer_add(t, line, strlen(line));
                rs_text_buffer_add(t, "\n", 1);
            }
    }
    rs_cells_free(&c);
}

char *rs_screen_plain(const rs_view *v)
{
    rs_text_buffer t = {0};
    const rs_outline *o = v->model->doc[1] != NULL ? v->model->doc[1] : v->model->doc[0];
    char name[128], side[96];
    const char *file = rs_outline_name(o);
    rs_text_buffer_print(&t, "rs-top, screen %d of 5, %s\n", v->screen, rs_view_screen_name(v->screen));
    rs_text_buffer_print(&t, "file %s, %s\n", rs_cells_escape(name, sizeof name, file, strlen(file), true), rs_outline_complete(o) ? "complete" : "incomplete");
    if (v->fault[0] != 0) rs_text_buffer_print(&t, "fault: %s\n", v->fault);
    if (v->screen != RS_SCREEN_ROTATION && v->screen != RS_SCREEN_FILE) {
        static const char *const sides[2] = {"before", "after"};
        for (int k = 0; k < 2; k++)
            if (v->model->side[v->of][k].on) rs_text_buffer_print(&t, "%s: %s\n", sides[k], rs_screen_side_name(v, k, side, sizeof side));
        if (v->n_order == 0) rs_text_buffer_print(&t, "No statistics.  rs-stat --text FILE adds those of the activations\n");
        else rs_text_buffer_print(&t, "%zu of %s, sorted by %s\n", v->n_order, rs_measure_name(v->of), rs_sort_name(v->sort));
    }
    if (v->screen == RS_SCREEN_TENSOR && rs_view_current(v) != NULL) put_row(&t, v, rs_view_current(v), true);
    else if (v->screen == RS_SCREEN_OVERVIEW || v->screen == RS_SCREEN_ERROR)
        for (size_t i = 0; i < v->n_order; i++) put_row(&t, v, rs_view_row_at(v, i), false);
    else if (v->screen == RS_SCREEN_ROTATION) put_rotation(&t, v);
    else if (v->screen == RS_SCREEN_FILE) put_drawn(&t, v);
    rs_text_buffer_add(&t, "", 1);
    if (!t.failed) return t.p;
    free(t.p);
    return NULL;
}
