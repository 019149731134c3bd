// SPDX-License-Identifier: Apache-2.0
// Statistics as JSON and as a table of comma-separated values (RFC 4180). A number that is not defined is left out, or its field is empty.
#ifndef RS_INSPECT_STAT_TEXT_H
#define RS_INSPECT_STAT_TEXT_H

#include "formats/text_buffer.h"
#include "inspect/stat_frame.h"

typedef struct rs_stat_text {
    rs_text_buffer *b; // borrowed
    bool csv, channels; // channels: also the numbers of every channel, and the histogram in JSON
    size_t rows;        // written so far
} rs_stat_text;

// What stands before the first and behind the last.
void rs_stat_text_begin(rs_stat_text *t);
void rs_stat_text_end(rs_stat_text *t);
// Appends one; an rs_stat_sink. E_NOMEM.
rs_status rs_stat_text_row(void *text, const rs_stat_subject *s, rs_error *e);

#endif
