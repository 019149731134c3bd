// SPDX-License-Identifier: Apache-2.0
// Inside of the renderer: the screens, and what they draw alike. Included by inspect/screen*.c only.
#ifndef RS_INSPECT_SCREEN_INSIDE_H
#define RS_INSPECT_SCREEN_INSIDE_H

#include "inspect/screen.h"

void rs_screen_overview(const rs_view *v, rs_cells *c);
void rs_screen_tensor(const rs_view *v, rs_cells *c);
void rs_screen_rotation(const rs_view *v, rs_cells *c);
void rs_screen_error(const rs_view *v, rs_cells *c);
void rs_screen_file(const rs_view *v, rs_cells *c);
void rs_screen_help(const rs_view *v, rs_cells *c);

// A figure in at most 7 characters: "-" unknown, "nan", "61.2", "1.2e5".
const char *rs_screen_number(const rs_figures *f, rs_figure which, char out[16]);
const char *rs_screen_double(double x, char out[16]);
// True if side 0 or 1 of the measure is there and asked for.
bool rs_screen_side(const rs_view *v, int side);
// "step 3 residual", or the file's name where there are two.
const char *rs_screen_side_name(const rs_view *v, int side, char *out, size_t cap);
// The next of 1, 2, 5, 10, ... that is not below x, at least 10: end of a logarithmic axis that starts at 1.
double rs_screen_axis(double x);
// Place of x on an axis from 1 to end (linear: from 0).
double rs_screen_share(const rs_view *v, double x, double end);
// Largest max/RMS of all rows shown, on the sides shown; 0 if none.
double rs_screen_largest(const rs_view *v);
// The line of cursor mark, tag mark and name that starts a row of a list; it takes 15 cells.
void rs_screen_row_name(const rs_view *v, rs_cells *c, int row, size_t i);
// What to say where a list is empty.
void rs_screen_empty(const rs_view *v, rs_cells *c);

#endif
