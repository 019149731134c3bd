// SPDX-License-Identifier: Apache-2.0
// The bounded scan that every msgpack metadata map passes before a library sees it: form, limits, text, key order; no allocation, no recursion.
#ifndef RS_FORMATS_META_SCAN_H
#define RS_FORMATS_META_SCAN_H

#include "formats/err.h"

// Checks len bytes (NULL allowed when len is 0) against the rules of formats/FORMAT.md, "Metadata", all but "shortest form", which rs_meta_parse checks by
// encoding again. Memory: a fixed stack; time: linear in len. E_META, E_LIMIT, E_DUP; the text names the byte and the key.
RS_MUST_CHECK rs_status rs_meta_scan(const uint8_t *bytes, size_t len, rs_error *e);

// NULL if the n bytes at p are text as metadata may hold it (UTF-8 without control or direction-override characters), else what is wrong with them.
const char *rs_meta_scan_text(const uint8_t *p, size_t n);

#endif
