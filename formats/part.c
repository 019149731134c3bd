// SPDX-License-Identifier: Apache-2.0
// Parts of a statistics frame.
#include "formats/part.h"

#include <stdio.h>
#include <string.h>

bool rs_part_add(rs_stat_head *s, const char *key, rs_dtype dtype, int n_dims, const uint64_t *shape)
{
    if (s->n_parts < 0 || (size_t)s->n_parts == sizeof s->parts / sizeof *s->parts || n_dims < 1 || n_dims > 2) return false;
    rs_part *p = &s->parts[s->n_parts];
    uint64_t count = 1, off;
    *p = (rs_part){.dtype = dtype, .n_dims = n_dims};
    snprintf(p->key, sizeof p->key, "%s", key);
    for (int i = 0; i < n_dims; i++) {
        p->shape[i] = shape[i];
        if (!rs_mul_ok(count, shape[i], &count)) return false;
    }
    if (!rs_mul_ok(count, rs_dtype_size(dtype), &p->len) || !rs_add_ok(s->payload_len, 63, &off)) return false;
    p->off = off / 64 * 64;
    if (!rs_add_ok(p->off, p->len, &s->payload_len) || s->payload_len > RS_MAX_PAYLOAD) return false;
    s->n_parts++;
    return true;
}

const rs_part *rs_part_find(const rs_stat_head *s, const char *key)
{
    for (int i = 0; i < s->n_parts; i++)
        if (strcmp(s->parts[i].key, key) == 0) return &s->parts[i];
    return NULL;
}
