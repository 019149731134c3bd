// SPDX-License-Identifier: Apache-2.0
// The cell buffer as SVG: eighth blocks become rectangles, everything else text in stretches of one ink; each stretch is drawn to the width of its cells, whatever the font.
#include <stdio.h>
#include <string.h>

#include "inspect/export.h"
#include "inspect/markup.h"

enum { W = 8, H = 17, BASE = 13, EDGE = 8 }; // a cell, its base line, the margin

// A block element as a part of its cell, in eighths from its left and its lower edge; false: another character.
static bool block(uint32_t ch, int *left, int *bottom, int *width, int *height)
{
    *left = *bottom = 0;
    *width = *height = 8;
    if (ch >= 0x2581 && ch <= 0x2588) *height = (int)(ch - 0x2580);
    else if (ch >= 0x2589 && ch <= 0x258f) *width = (int)(0x2590 - ch);
    else if (ch == 0x2595) *left = 7, *width = 1;
    else return false;
    return true;
}

// The ground of a stretch that is shown in reverse, and its letters in the colour of the ground.
static void text(rs_text_buffer *b, const rs_cells *c, int row, int from, int to, int theme)
{
    const rs_cell *first = &c->cell[row * c->cols + from];
    const bool reverse = (first->attr & RS_ATTR_REVERSE) != 0;
    const unsigned colour = rs_screen_rgb((rs_ink)first->ink, theme);
    if (reverse) rs_text_buffer_print(b, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"#%06x\"/>", EDGE + from * W, EDGE + row * H, (to - from) * W, H, colour);
    rs_text_buffer_print(b, "<text x=\"%d\" y=\"%d\" textLength=\"%d\" lengthAdjust=\"spacingAndGlyphs\" fill=\"#%06x\"%s%s>", EDGE + from * W, EDGE + row * H + BASE, (to - from) * W, reverse ? 0x16181du : colour,
                         (first->attr & RS_ATTR_BOLD) != 0 ? " font-weight=\"bold\"" : "", (first->attr & RS_ATTR_UNDERLINE) != 0 ? " text-decoration=\"underline\"" : "");
    for (int i = from; i < to; i++) {
        char utf8[5];
        const int n = rs_cells_utf8(c->cell[row * c->cols + i].ch, utf8);
        rs_markup_text(b, utf8, (size_t)n);
    }
    rs_text_buffer_print(b, "</text>\n");
}

static void bar(rs_text_buffer *b, const rs_cells *c, int row, int col, int theme)
{
    const rs_cell *cell = &c->cell[row * c->cols + col];
    int left, bottom, width, height;
    (void)block(cell->ch, &left, &bottom, &width, &height);
    rs_text_buffer_print(b, "<rect x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\" fill=\"#%06x\"/>\n", EDGE + (col + left / 8.0) * W, EDGE + (row + 1 - (bottom + height) / 8.0) * H, width / 8.0 * W, height / 8.0 * H,
                         (unsigned)rs_screen_rgb((rs_ink)cell->ink, theme));
}

static bool blank(const rs_cell *x) { return x->ch == ' ' && (x->attr & RS_ATTR_REVERSE) == 0; }

static void row(rs_text_buffer *b, const rs_cells *c, int r, int theme)
{
    int l, m, w, h;
    for (int i = 0; i < c->cols;) {
        const rs_cell *x = &c->cell[r * c->cols + i];
        if (blank(x)) i++;
        else if (block(x->ch, &l, &m, &w, &h)) bar(b, c, r, i++, theme);
        else {
            int to = i + 1;
            for (const rs_cell *y = &c->cell[r * c->cols + to]; to < c->cols && !block(y->ch, &l, &m, &w, &h) && y->ink == x->ink && y->attr == x->attr; to++) {
                if (blank(y) && (to + 1 == c->cols || blank(y + 1))) break; // two blanks end a stretch
                y++;
            }
            const int next = to;
            while (to > i + 1 && blank(&c->cell[r * c->cols + to - 1])) to--; // readers leave out blanks at an end
            text(b, c, r, i, to, theme);
            i = next;
        }
    }
}

rs_status rs_screen_svg(const rs_cells *c, int theme, rs_text_buffer *b, rs_error *e)
{
    const int width = c->cols * W + 2 * EDGE, height = c->rows * H + 2 * EDGE;
    rs_text_buffer_print(b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" font-family=\"monospace\" font-size=\"13\" xml:space=\"preserve\">\n",
                         width, height, width, height);
    rs_text_buffer_print(b, "<rect width=\"%d\" height=\"%d\" fill=\"#16181d\"/>\n", width, height);
    for (int r = 0; r < c->rows; r++) row(b, c, r, theme);
    rs_text_buffer_print(b, "</svg>\n");
    return b->failed ? rs_fail(e, RS_E_NOMEM, "screen") : RS_OK;
}
