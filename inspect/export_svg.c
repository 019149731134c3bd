// SPDX-License-Identifier: Apache-2.0
// A screen as a figure: its panels side by side, or its cells where it has none.
#include <inttypes.h>
#include <string.h>

#include "inspect/export.h"
#include "inspect/figure.h"
#include "inspect/markup.h"
#include "inspect/screen_inside.h"

enum { COLUMNS = 2, HEAD = 44, GAP = 12 };

static rs_status cells(const rs_view *v, rs_text_buffer *b, rs_error *e)
{
    rs_cells c = {0};
    RS_TRY(rs_cells_init(&c, v->cols, v->rows, v->ascii, e));
    rs_screen_render(v, &c);
    rs_status st = rs_screen_svg(&c, v->theme, b, e);
    rs_cells_free(&c);
    return st;
}

static void headline(const rs_export *x, rs_text_buffer *b)
{
    const rs_view *v = x->view;
    const rs_outline *o = x->doc[1] != NULL ? x->doc[1] : x->doc[0];
    const char *path = rs_outline_name(o), *slash = strrchr(path, '/');
    const rs_view_row *r = v->channels_of;
    rs_text_buffer_print(b, "<text x=\"%d\" y=\"18\" class=\"title\">", GAP);
    rs_markup(b, slash != NULL && slash[1] != 0 ? slash + 1 : path);
    rs_text_buffer_print(b, "</text>\n<text x=\"%d\" y=\"35\" class=\"dim\">", GAP);
    if (v->screen == RS_SCREEN_TENSOR && r != NULL) {
        rs_markup(b, r->name);
        rs_text_buffer_print(b, ", ");
    }
    if (v->screen != RS_SCREEN_ROTATION) rs_text_buffer_print(b, "%s", rs_measure_name(v->of));
    for (int side = 0; side < 2 && v->screen != RS_SCREEN_ROTATION; side++) {
        char name[96];
        if (!rs_screen_side(v, side)) continue;
        rs_text_buffer_print(b, "%s", !v->model->side[v->of][1].on ? "; at " : side == 0 ? "; before: " : "; after: ");
        rs_markup(b, rs_screen_side_name(v, side, name, sizeof name));
    }
    if (v->screen == RS_SCREEN_ROTATION) rs_text_buffer_print(b, "%s", "T = R^T R', from basis to basis");
    rs_text_buffer_print(b, "</text>\n");
}

rs_status rs_export_svg(const rs_export *x, rs_text_buffer *b, rs_error *e)
{
    rs_panel panels[RS_PANELS];
    const size_t n = rs_figure_panels(x->view, x->view->screen, panels), rows = (n + COLUMNS - 1) / COLUMNS;
    if (n == 0) return cells(x->view, b, e);
    const int width = COLUMNS * (RS_PANEL_WIDTH + GAP) + GAP, height = HEAD + (int)rows * (RS_PANEL_HEIGHT + GAP);
    rs_text_buffer_print(b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg class=\"rs\" xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n<style>\n", width, height, width, height);
    rs_markup_style(b);
    rs_text_buffer_print(b, "</style>\n<rect class=\"bg\" width=\"%d\" height=\"%d\"/>\n", width, height);
    headline(x, b);
    for (size_t i = 0; i < n; i++) rs_figure_panel(x->view, &panels[i], GAP + (double)(i % COLUMNS) * (RS_PANEL_WIDTH + GAP), HEAD + (double)(i / COLUMNS) * (RS_PANEL_HEIGHT + GAP), b);
    rs_text_buffer_print(b, "</svg>\n");
    return b->failed ? rs_fail(e, RS_E_NOMEM, "figure") : RS_OK;
}
