// SPDX-License-Identifier: Apache-2.0
// Regular expressions of tokenizer.json (Oniguruma's syntax) compiled with PCRE2: what would mean something else there is refused.
#ifndef RS_FORMATS_PATTERN_H
#define RS_FORMATS_PATTERN_H

#include "formats/err.h"

typedef struct rs_pattern rs_pattern;
// What one thread needs to match; any number of patterns may use one, one after the other.
typedef struct rs_pattern_scratch rs_pattern_scratch;

// Compiles source (len bytes of UTF-8); literal: the text itself, no syntax. \s is Unicode's White_Space, \d and \p as Unicode 14 has them. Free with rs_pattern_free.
// E_IMPORT (syntax, a construct that the two libraries read differently, a pattern that matches the empty text), E_NOMEM.
RS_MUST_CHECK rs_status rs_pattern_compile(rs_pattern **p, const char *source, size_t len, bool literal, rs_error *e);
// NULL allowed.
void rs_pattern_free(rs_pattern *p);

// Free with rs_pattern_scratch_free. E_NOMEM.
RS_MUST_CHECK rs_status rs_pattern_scratch_new(rs_pattern_scratch **s, rs_error *e);
// NULL allowed.
void rs_pattern_scratch_free(rs_pattern_scratch *s);

// First match in text (len bytes of valid UTF-8, which is not checked again) that starts at from or later (what is before from is seen by lookbehinds): *start < *end, or *start = *end = len when there is none.
// E_LIMIT (a pattern that needs too much backtracking on this text), E_NOMEM.
RS_MUST_CHECK rs_status rs_pattern_find(const rs_pattern *p, rs_pattern_scratch *s, const char *text, size_t len, size_t from, size_t *start, size_t *end, rs_error *e);

#endif
