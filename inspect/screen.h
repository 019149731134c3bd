// SPDX-License-Identifier: Apache-2.0
// From the state to the picture: a pure function over a cell buffer, and its plain-text sink.
#ifndef RS_INSPECT_SCREEN_H
#define RS_INSPECT_SCREEN_H

#include "inspect/cells.h"
#include "inspect/view.h"

// Draws the screen of v into all of c; below RS_VIEW_MIN_COLS x RS_VIEW_MIN_ROWS one line that says so. c->cols and c->rows decide the layout.
void rs_screen_render(const rs_view *v, rs_cells *c);
// The buffer as lines of UTF-8, blanks at their ends and empty lines at the end left out; malloc, ends with NUL, the caller frees; NULL without memory. colour: with SGR sequences.
char *rs_screen_text(const rs_cells *c, bool colour, int theme);
// The state as lines of words, for screen readers and terminals that only print; ownership as above.
char *rs_screen_plain(const rs_view *v);
// SGR parameters ("1;33") of a cell in a theme, "" for plain text; and its colour as 0xRRGGBB on a dark ground.
const char *rs_screen_sgr(const rs_cell *cell, int theme, char out[16]);
uint32_t rs_screen_rgb(rs_ink ink, int theme);
#define RS_THEMES 3

#endif
