// SPDX-License-Identifier: Apache-2.0
// What a view shows, as data and as figures: JSON (which can be opened again), CSV, SVG, HTML. Equal input gives equal bytes: no time, no path, no random number.
#ifndef RS_INSPECT_EXPORT_H
#define RS_INSPECT_EXPORT_H

#include "formats/text_buffer.h"
#include "inspect/screen.h"

// The view and its files (those of its model); all borrowed. Rows are those that the view shows, in their order; of them only the tagged ones, if there are any.
typedef struct rs_export {
    const rs_view *view;
    rs_outline *doc[2];
} rs_export;

// The row with number i among the exported ones; NULL past the last.
const rs_view_row *rs_export_row(const rs_view *v, size_t i);

// All append to b, which the caller owns; what comes from a file is escaped as the format asks. E_NOMEM besides what is said.

// The format of inspect/export.schema.json: the rows, and all that the files say about themselves, with the parts of statistics frames that the view holds and all angles. Errors of reading.
RS_MUST_CHECK rs_status rs_export_json(const rs_export *x, rs_text_buffer *b, rs_error *e);
// RFC 4180, by screen: rows (overview, error), channels (tensor), angles (rotation), provenance (file). Unknown numbers are empty fields.
RS_MUST_CHECK rs_status rs_export_csv(const rs_export *x, rs_text_buffer *b, rs_error *e);
// A vector figure of the screen: before and after for each layer and role, channels and histogram, spectrum, errors; of the file, and of a screen that has nothing to draw, its cells.
RS_MUST_CHECK rs_status rs_export_svg(const rs_export *x, rs_text_buffer *b, rs_error *e);
// One page with all figures and tables, which needs nothing beside it.
RS_MUST_CHECK rs_status rs_export_html(const rs_export *x, rs_text_buffer *b, rs_error *e);
// By name: "json", "csv", "svg", "html", "text". RS_USAGE for any other.
RS_MUST_CHECK rs_status rs_export_as(const char *format, const rs_export *x, rs_text_buffer *b, rs_error *e);

// Opens what rs_export_json wrote: the outlines of its one or two files, *n of them (rs_outline_new). E_IMPORT (form, another format), E_VERSION (a newer major), E_LIMIT, what
// rs_outline_enter says, E_READ, E_NOMEM. The caller closes them.
RS_MUST_CHECK rs_status rs_export_open(const char *path, rs_outline *doc[2], int *n, rs_error *e);
RS_MUST_CHECK rs_status rs_export_parse(const void *bytes, size_t len, rs_outline *doc[2], int *n, rs_error *e);

// The cells as SVG: one text element for each stretch of one ink, bars as rectangles.
RS_MUST_CHECK rs_status rs_screen_svg(const rs_cells *c, int theme, rs_text_buffer *b, rs_error *e);

#endif
