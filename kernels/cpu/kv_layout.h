// SPDX-License-Identifier: Apache-2.0
// Layout of the packed cache, and what reads it without unpacking to memory.
//
//   codes of keys    [n_kv][capacity][row bytes]     then those of values
//   scales of keys   [n_kv][capacity][groups] f32    then those of values      (not for f16)
//   zero points      [n_kv][capacity][groups] i32    then those of values
#ifndef RS_KERNELS_CPU_KV_LAYOUT_H
#define RS_KERNELS_CPU_KV_LAYOUT_H

#include "kernels/kv_cache.h"
#include "kernels/packed.h"

static inline bool rs_kv_half(const rs_kv_cache *c)
{
    return c->q.bits == 16;
}

static inline size_t rs_kv_groups(const rs_kv_cache *c)
{
    return rs_kv_half(c) ? 0 : c->q.group != 0 ? c->h / c->q.group : 1;
}

static inline size_t rs_kv_row_bytes(const rs_kv_cache *c)
{
    return rs_kv_half(c) ? 2 * c->h : rs_packed_row_bytes((int)c->q.bits, c->h);
}

// Number of a row (of codes, or of groups) among all.
static inline size_t rs_kv_row_of(const rs_kv_cache *c, bool values, size_t head, size_t token)
{
    return ((values ? c->n_kv : 0) + head) * c->capacity + token;
}

static inline size_t rs_kv_codes_bytes(const rs_kv_cache *c)
{
    return (2 * c->n_kv * c->capacity * rs_kv_row_bytes(c) + 63) / 64 * 64;
}

static inline float *rs_kv_scales(const rs_kv_cache *c)
{
    return (float *)(void *)(c->memory + rs_kv_codes_bytes(c));
}

static inline int32_t *rs_kv_zeros(const rs_kv_cache *c)
{
    return (int32_t *)(void *)(rs_kv_scales(c) + 2 * c->n_kv * c->capacity * rs_kv_groups(c));
}

// Products of a few queries with codes as they lie (kv_few.c); for caches that fit: 4 or 8 bits, no groups, heads of whole vectors.
typedef struct rs_kv_few {
    bool (*fit)(const rs_kv_cache *c);
    // y[rows][ldy], column i for token first + i of count: q [rows, h] times its key.
    void (*scores)(const rs_kv_cache *c, size_t head, size_t first, size_t count, size_t rows, const float *q, float *y, size_t ldy);
    // y [rows, h] += x[rows][ldx] times the values of count tokens.
    void (*values)(const rs_kv_cache *c, size_t head, size_t first, size_t count, size_t rows, const float *x, size_t ldx, float *y);
} rs_kv_few;
extern const rs_kv_few rs_kv_few_avx2, rs_kv_few_avx512;

#endif
