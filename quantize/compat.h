// SPDX-License-Identifier: Apache-2.0
// Numerics of other quantisers by name (numerics.md 2, 4): what each does to weights, activations and the KV cache where respin does something else.
#ifndef RS_QUANTIZE_COMPAT_H
#define RS_QUANTIZE_COMPAT_H

#include "formats/container.h"
#include "kernels/clip.h"

typedef enum rs_peer { RS_PEER_NONE, RS_PEER_SPINQUANT, RS_PEER_QUAROT, RS_PEER_COMPRESSED } rs_peer;

// What a peer does when nothing else is asked for.
typedef struct rs_compat {
    const char *name;
    double a_clip, kv_clip;
    bool a_sym;
    uint64_t group;  // columns per scale of weights below 8 bits; 8 bits: one scale per row
    int steps, mse;  // candidates of the clip search: by default, and where one is asked for
    int patience;    // which ends after so many candidates that are better for no span of the matrix; 0: never
    bool act_order;  // of GPTQ
    bool a_head;     // the input of o has a scale for each head
    bool free_group; // groups of activations, and V, have ranges that may leave 0 out
    bool half;       // symmetric ranges end half a step behind the last code
    float least;     // magnitude that a span of weights has at least
    bool own_group, own_row; // scales of groups, of rows, are computed in the type of the matrix
} rs_compat;

// By number (RS_PEER_NONE: respin itself). Never NULL.
const rs_compat *rs_compat_of(rs_peer peer);
// By name; false where there is none.
bool rs_compat_find(const char *name, rs_peer *peer);

// The range that a peer gives to an input that is quantised so.
rs_span rs_compat_range(rs_peer peer, const rs_act *a);
// The ranges of K (in kv) and of V.
void rs_compat_kv(rs_peer peer, rs_act *kv, rs_span *v_range);
// How the scale of a span of weights is found; type: of the matrix as it came.
rs_clip rs_compat_clip(rs_peer peer, int bits, int steps, rs_dtype scale, bool grouped, rs_dtype type);

#endif
