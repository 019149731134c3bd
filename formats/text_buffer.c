// SPDX-License-Identifier: Apache-2.0
// A growing text.
#include "formats/text_buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void rs_text_buffer_add(rs_text_buffer *b, const char *s, size_t len)
{
    if (b->failed || len == 0) return;
    if (len > b->cap - b->len) {
        size_t cap = b->cap < 256 ? 256 : b->cap;
        while (cap - b->len < len) cap *= 2;
        char *p = realloc(b->p, cap);
        if (p == NULL) {
            b->failed = true;
            return;
        }
        b->p = p;
        b->cap = cap;
    }
    memcpy(b->p + b->len, s, len);
    b->len += len;
}

void rs_text_buffer_print(rs_text_buffer *b, const char *fmt, ...)
{
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof line) b->failed = true;
    else rs_text_buffer_add(b, line, (size_t)n);
}

void rs_text_buffer_json(rs_text_buffer *b, const char *s, size_t len)
{
    rs_text_buffer_add(b, "\"", 1);
    size_t from = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f) continue;
        rs_text_buffer_add(b, s + from, i - from);
        if (c == '"' || c == '\\') rs_text_buffer_print(b, "\\%c", c);
        else rs_text_buffer_print(b, "\\u%04x", c);
        from = i + 1;
    }
    rs_text_buffer_add(b, s + from, len - from);
    rs_text_buffer_add(b, "\"", 1);
}

void rs_text_buffer_float(rs_text_buffer *b, float v)
{
    char s[64];
    bool whole = v > -1e15f && v < 1e15f && v == (float)(int64_t)v;
    if (whole) snprintf(s, sizeof s, "%.1f", (double)v);
    for (int digits = 1; digits <= 9 && !whole; digits++) {
        snprintf(s, sizeof s, "%.*g", digits, (double)v);
        if (strtof(s, NULL) == v) break;
    }
    rs_text_buffer_print(b, "%s%s", s, strpbrk(s, ".e") == NULL ? ".0" : "");
}
