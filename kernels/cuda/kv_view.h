// SPDX-License-Identifier: Apache-2.0
// A packed KV cache (kernels/cpu/kv_layout.h) as a kernel sees it: where its parts lie, and one number of it.
#ifndef RS_KERNELS_CUDA_KV_VIEW_H
#define RS_KERNELS_CUDA_KV_VIEW_H

#include "kernels/cuda/half.h"

extern "C" {
#include "kernels/cpu/kv_layout.h"
}

struct rs_kv_view {
    uint8_t *codes;
    float *scales;
    int32_t *zeros;
    size_t n_kv, h, capacity, count, row, groups, group;
    unsigned bits; // 16: f16
};

static inline struct rs_kv_view rs_kv_view_of(const rs_kv_cache *c)
{
    struct rs_kv_view v;
    v.codes = c->memory;
    v.scales = rs_kv_scales(c);
    v.zeros = rs_kv_zeros(c);
    v.n_kv = c->n_kv;
    v.h = c->h;
    v.capacity = c->capacity;
    v.count = c->count;
    v.row = rs_kv_row_bytes(c);
    v.groups = rs_kv_groups(c);
    v.group = v.groups != 0 ? c->h / v.groups : c->h;
    v.bits = c->q.bits;
    return v;
}

// Number of a row among all.
RS_DEVICE size_t rs_kv_view_row(const struct rs_kv_view *c, bool values, size_t head, size_t token)
{
    return ((values ? c->n_kv : 0) + head) * c->capacity + token;
}

// Number i of a row: what fake_quant makes of it.
RS_DEVICE float rs_kv_view_at(const struct rs_kv_view *c, size_t row, unsigned i)
{
    const uint8_t *codes = c->codes + row * c->row;
    if (c->bits == 16)
        return rs_half_to_float(codes[2 * i] | (unsigned)codes[2 * i + 1] << 8);
    const unsigned bit = i * c->bits, shift = bit % 8, pair = codes[bit / 8] | (shift + c->bits > 8 ? (unsigned)codes[bit / 8 + 1] << 8 : 0u);
    const size_t g = row * c->groups + (c->groups == 1 ? 0 : i / (unsigned)c->group);
    return c->scales[g] * (float)((int)(pair >> shift & ((1u << c->bits) - 1)) - c->zeros[g]);
}

#endif
