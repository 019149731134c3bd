// SPDX-License-Identifier: Apache-2.0
// Strict JSON over jansson: duplicate keys, bad UTF-8 and deep nesting are errors; helpers for fields with ranges.
#ifndef RS_FORMATS_JSON_H
#define RS_FORMATS_JSON_H

#include <jansson.h>

#include "formats/err.h"

// Parses len bytes; *root is owned by the caller (json_decref). what names the document in messages. E_IMPORT (form), E_LIMIT (nesting above 32).
RS_MUST_CHECK rs_status rs_json_parse(json_t **root, const void *bytes, size_t len, const char *what, rs_error *e);
// Integer field key of object in lo..hi; absent: *out = otherwise when it lies in lo..hi, else E_IMPORT naming what and key.
RS_MUST_CHECK rs_status rs_json_uint(const json_t *object, const char *what, const char *key, uint64_t lo, uint64_t hi, uint64_t otherwise, uint64_t *out, rs_error *e);
// Number (integer or real) field, finite.
RS_MUST_CHECK rs_status rs_json_number(const json_t *object, const char *what, const char *key, double otherwise, double *out, rs_error *e);

#endif
