// SPDX-License-Identifier: Apache-2.0
// Parts of a statistics frame laid out one after the other (FORMAT.md 11, 14).
#ifndef RS_FORMATS_PART_H
#define RS_FORMATS_PART_H

#include "formats/container.h"

// Appends a part of n_dims (1 or 2) dims to s, behind those that are there, and makes payload_len end with it. False when s has no room for it or a size does not fit.
RS_MUST_CHECK bool rs_part_add(rs_stat_head *s, const char *key, rs_dtype dtype, int n_dims, const uint64_t *shape);
// The part with this key, NULL if there is none.
const rs_part *rs_part_find(const rs_stat_head *s, const char *key);

#endif
