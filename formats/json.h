// SPDX-License-Identifier: Apache-2.0
// Strict JSON over jansson: duplicate keys, bad UTF-8 and deep nesting are errors; helpers for fields with ranges.
#ifndef RS_FORMATS_JSON_H
#define RS_FORMATS_JSON_H

#include <jansson.h>

#include "formats/err.h"

#define RS_JSON_MAX_DEPTH 32
#define RS_JSON_MAX_VALUES (1u << 22) // values in one document: what bounds the memory that a hostile one can ask for

// Parses len bytes, an object or an array; *root is owned by the caller (json_decref). what names the document in messages. E_IMPORT (form), E_LIMIT (nesting
// above RS_JSON_MAX_DEPTH, more values than RS_JSON_MAX_VALUES).
RS_MUST_CHECK rs_status rs_json_parse(json_t **root, const void *bytes, size_t len, const char *what, rs_error *e);
// The check of nesting and of the number of values that rs_json_parse makes first, for readers of their own. E_LIMIT.
RS_MUST_CHECK rs_status rs_json_scan(const char *bytes, size_t len, size_t max_values, const char *what, rs_error *e);
// Integer field key of object in lo..hi; absent or null: *out = otherwise when it lies in lo..hi, else E_IMPORT naming what and key.
RS_MUST_CHECK rs_status rs_json_uint(const json_t *object, const char *what, const char *key, uint64_t lo, uint64_t hi, uint64_t otherwise, uint64_t *out, rs_error *e);
// Number (integer or real) field, finite; absent or null: otherwise, or E_IMPORT where that is not finite (NAN: the field is required).
RS_MUST_CHECK rs_status rs_json_number(const json_t *object, const char *what, const char *key, double otherwise, double *out, rs_error *e);
// True or false; absent or null: otherwise.
RS_MUST_CHECK rs_status rs_json_bool(const json_t *object, const char *what, const char *key, bool otherwise, bool *out, rs_error *e);

#endif
