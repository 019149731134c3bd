// SPDX-License-Identifier: Apache-2.0
// Thresholds for CI: "max_rms<20,sqnr4>18" over the rows that a view selects. A number that is missing or NaN offends; it never passes.
#ifndef RS_INSPECT_THRESHOLD_H
#define RS_INSPECT_THRESHOLD_H

#include "inspect/view.h"

#define RS_THRESHOLDS 32

typedef enum rs_relation { RS_BELOW, RS_AT_MOST, RS_ABOVE, RS_AT_LEAST } rs_relation;

typedef struct rs_threshold {
    rs_figure figure;
    rs_relation relation;
    double limit;
} rs_threshold;

typedef struct rs_thresholds {
    rs_threshold item[RS_THRESHOLDS];
    size_t n;
} rs_thresholds;

// Reads a list, divided by commas, of a figure (rs_figure_name), one of < <= > >=, and a finite number; blanks around each are allowed. RS_USAGE, saying which part is wrong and why.
RS_MUST_CHECK rs_status rs_thresholds_parse(rs_thresholds *t, const char *text, rs_error *e);
// True when the figures meet this one.
bool rs_threshold_met(const rs_threshold *t, const rs_figures *f);
// Judges every row that v shows by the side that counts (rs_view_last_side) and hands one line for each threshold that a row does not meet to offends (NULL allowed): name, measure, figure, limit;
// text of the file escaped, no newline. RS_NO: some row offends; RS_USAGE: no row is selected, so nothing could be said.
RS_MUST_CHECK rs_status rs_thresholds_check(const rs_thresholds *t, const rs_view *v, void (*offends)(void *context, const char *line), void *context, rs_error *e);

#endif
