// SPDX-License-Identifier: Apache-2.0
// Metadata as JSON and back: an integer stays an integer, an f64 a real; bytes are {"hex": "..."}, an integer above 2^63 - 1 {"uint": "..."}.
#ifndef RS_FORMATS_VALUE_JSON_H
#define RS_FORMATS_VALUE_JSON_H

#include "formats/json.h"
#include "formats/value.h"

// A new reference; NULL without memory.
json_t *rs_value_to_json(const rs_value *v);
// The value in a. E_IMPORT: null, or bytes and integers in another form; E_LIMIT: bytes, lists and maps above the limits of metadata; E_NOMEM.
RS_MUST_CHECK rs_status rs_value_from_json(rs_arena *a, const json_t *j, rs_value **v, rs_error *e);
// n bytes as lower-case hexadecimal into out [2 n + 1]; and back: false unless text has exactly 2 n digits.
void rs_hex_write(const uint8_t *bytes, size_t n, char *out);
bool rs_hex_read(const char *text, uint8_t *bytes, size_t n);

#endif
