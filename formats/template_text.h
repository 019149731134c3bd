// SPDX-License-Identifier: Apache-2.0
// Text of a chat template: characters of UTF-8, and how Python writes values.
#ifndef RS_FORMATS_TEMPLATE_TEXT_H
#define RS_FORMATS_TEMPLATE_TEXT_H

#include "formats/template_value.h"

typedef enum rs_template_case { RS_CASE_UPPER, RS_CASE_LOWER, RS_CASE_TITLE, RS_CASE_CAPITALIZE, RS_CASE_WORDS } rs_template_case;

// Length in bytes of the character at p (left >= 1 bytes of valid UTF-8), *c its code point; the same for the character that ends before p[len].
size_t rs_template_char(const char *p, size_t left, uint32_t *c);
size_t rs_template_char_before(const char *p, size_t len, uint32_t *c);
// Appends a code point below 2^21 as UTF-8 to out[4]; returns its length.
size_t rs_template_char_put(uint32_t c, char *out);
// Characters in text; offset of the n-th.
size_t rs_template_chars(const char *p, size_t len);
size_t rs_template_offset(const char *p, size_t len, size_t n);
// Python's str.isspace() of one character.
bool rs_template_space(uint32_t c);
// Removes characters of set (p NULL: white space) at the ends: sides 1 left, 2 right, 3 both.
rs_tv rs_template_strip(rs_tv text, rs_tv set, int sides);
// Letters of ASCII in another case; RS_CASE_TITLE as str.title(), RS_CASE_WORDS as the filter title. Letters of other scripts that have cases are refused: E_IMPORT.
RS_MUST_CHECK rs_status rs_template_recase(rs_template_heap *h, rs_tv text, rs_template_case how, rs_tv *out);
// Appends the value as str(), as repr(), as JSON (spaces: indent, -1: one line). E_IMPORT: a value that has no such form.
RS_MUST_CHECK rs_status rs_template_str(rs_template_heap *h, rs_template_text *t, const rs_tv *v);
RS_MUST_CHECK rs_status rs_template_repr(rs_template_heap *h, rs_template_text *t, const rs_tv *v);
typedef struct rs_template_json_how {
    int indent;       // -1: one line
    bool ascii, sort; // ensure_ascii, sort_keys
    rs_tv item, key;  // separators; absent: as json.dumps
} rs_template_json_how;
RS_MUST_CHECK rs_status rs_template_json(rs_template_heap *h, rs_template_text *t, const rs_tv *v, const rs_template_json_how *how);
// str() as a value.
RS_MUST_CHECK rs_status rs_template_to_str(rs_template_heap *h, const rs_tv *v, rs_tv *out);

#endif
