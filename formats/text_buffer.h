// SPDX-License-Identifier: Apache-2.0
// A growing text, and JSON strings in it; one check at the end is enough.
#ifndef RS_FORMATS_TEXT_BUFFER_H
#define RS_FORMATS_TEXT_BUFFER_H

#include "formats/err.h"

typedef struct rs_text_buffer {
    char *p; // malloc; the owner frees
    size_t len, cap;
    bool failed; // memory was short; nothing is appended any more
} rs_text_buffer;

void rs_text_buffer_add(rs_text_buffer *b, const char *s, size_t len);
void rs_text_buffer_print(rs_text_buffer *b, const char *fmt, ...) RS_PRINTF(2, 3);
// Appends len bytes of valid UTF-8 as a JSON string with its quotes.
void rs_text_buffer_json(rs_text_buffer *b, const char *s, size_t len);
// Appends the shortest decimal that reads back as the same float, as a JSON real.
void rs_text_buffer_float(rs_text_buffer *b, float v);

#endif
