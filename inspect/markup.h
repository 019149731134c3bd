// SPDX-License-Identifier: Apache-2.0
// Text in SVG and HTML: what a file says can never become markup.
#ifndef RS_INSPECT_MARKUP_H
#define RS_INSPECT_MARKUP_H

#include "formats/text_buffer.h"

// Appends len bytes of any text, escaped: control characters and broken UTF-8 as rs_cells_escape shows them, then & < > " ' as entities. Good between tags and inside quotes.
void rs_markup_text(rs_text_buffer *b, const char *s, size_t len);
// The same for a text that ends with NUL.
void rs_markup(rs_text_buffer *b, const char *s);
// A number as the screens show it, "-" where it is not known.
void rs_markup_number(rs_text_buffer *b, bool known, double x);

// Colours of figures as CSS, for SVG and HTML alike, on light and on dark grounds; and of the page.
void rs_markup_style(rs_text_buffer *b);

#endif
