// SPDX-License-Identifier: Apache-2.0
// Frame metadata: one canonical msgpack map, read with msgpack-c behind a bounded pre-scan and written with msgpack-c (formats/FORMAT.md, "Metadata").
#ifndef RS_FORMATS_META_H
#define RS_FORMATS_META_H

#include "formats/value.h"

// Parses len bytes into *map, allocated in a. E_META, E_LIMIT, E_DUP, E_NOMEM; text says where in the map.
RS_MUST_CHECK rs_status rs_meta_parse(rs_arena *a, const uint8_t *bytes, size_t len, rs_value **map, rs_error *e);
// Encodes map canonically (keys sorted) into *bytes (malloc, the caller frees). The same rules as for parsing hold: E_META, E_LIMIT, E_NOMEM.
RS_MUST_CHECK rs_status rs_meta_encode(const rs_value *map, uint8_t **bytes, size_t *len, rs_error *e);

#endif
