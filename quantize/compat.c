// SPDX-License-Identifier: Apache-2.0
// One row per peer, and what its columns make of quantisers and scales.
#include "quantize/compat.h"

#include <string.h>

static const rs_compat peers[] = {
    [RS_PEER_NONE] = {.a_clip = 1, .kv_clip = 1, .steps = 80, .mse = 80},
    [RS_PEER_SPINQUANT] = {.name = "spinquant", .a_clip = 1, .kv_clip = 1, .steps = 80, .mse = 80, .a_head = true, .free_group = true, .least = 1e-5f, .own_group = true},
    [RS_PEER_QUAROT] = {.name = "quarot", .a_clip = 0.9, .kv_clip = 0.95, .steps = 80, .mse = 80, .free_group = true, .least = 1e-5f},
    [RS_PEER_COMPRESSED] = {.name = "compressed-tensors", .a_clip = 1, .kv_clip = 1, .a_sym = true, .group = 128, .steps = 1, .mse = 20, .patience = 5, .act_order = true, .half = true,
                            .own_group = true, .own_row = true},
};
#define PEERS (sizeof peers / sizeof *peers)

const rs_compat *rs_compat_of(rs_peer peer)
{
    return &peers[peer];
}

bool rs_compat_find(const char *name, rs_peer *peer)
{
    for (size_t i = 0; i < PEERS; i++)
        if (peers[i].name != NULL && strcmp(peers[i].name, name) == 0) {
            *peer = (rs_peer)i;
            return true;
        }
    return false;
}

rs_span rs_compat_range(rs_peer peer, const rs_act *a)
{
    const rs_compat *c = &peers[peer];
    if (a->bits >= 16) return RS_SPAN_ZERO;
    if (a->sym) return c->half ? RS_SPAN_HALF : RS_SPAN_ZERO;
    return c->free_group && a->group != 0 ? RS_SPAN_FREE : RS_SPAN_ZERO;
}

void rs_compat_kv(rs_peer peer, rs_act *kv, rs_span *v_range)
{
    kv->range = rs_compat_range(peer, kv);
    *v_range = kv->bits < 16 && !kv->sym && peers[peer].free_group ? RS_SPAN_FREE : kv->range;
}

rs_clip rs_compat_clip(rs_peer peer, int bits, int steps, rs_dtype scale, bool grouped, rs_dtype type)
{
    static const rs_clip_type types[] = {[RS_F32] = RS_CLIP_F32, [RS_F16] = RS_CLIP_F16, [RS_BF16] = RS_CLIP_BF16};
    static const float eps[] = {[RS_CLIP_F32] = 0x1p-23f, [RS_CLIP_F16] = 0x1p-10f, [RS_CLIP_BF16] = 0x1p-7f};
    const rs_compat *c = &peers[peer];
    rs_clip clip = {.bits = bits, .steps = steps, .scale_f16 = scale == RS_F16, .half = c->half, .least = c->least};
    if ((grouped ? c->own_group : c->own_row) && scale != RS_F16 && type <= RS_BF16) clip.own = types[type];
    if (c->half) clip.empty = eps[clip.own];
    return clip;
}
