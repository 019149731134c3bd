// SPDX-License-Identifier: Apache-2.0
// Which tensors are packed and how: bits, grouping, type of the scales, clip search, method, and what becomes of the tensors left alone.
#ifndef RS_QUANTIZE_SCHEME_H
#define RS_QUANTIZE_SCHEME_H

#include "formats/config.h"
#include "formats/container.h"
#include "quantize/compat.h"

#define RS_SCHEME_ROLES 7 // q k v o gate up down: the matrices of a layer that can be packed

typedef struct rs_scheme {
    int w_bits;            // 2..8, 16 = weights are left alone
    uint64_t group;        // columns per scale, 0 = one scale per row
    rs_dtype scale_dtype;  // RS_F32 or RS_F16
    int clip_steps;        // 80 = the MSE grid (another peer's: its mse), 1 = the largest magnitude
    rs_peer peer;          // whose numerics
    rs_dtype type;         // of the matrix as it came (rs_recipe_scheme), in which some peers compute
    bool gptq;             // rounded by GPTQ, otherwise to nearest
    int head_bits;         // of the LM head, 2..8, to nearest, a scale for each row; 0 = it goes with the rest
    bool rest_keep;        // tensors that are not packed keep their type,
    rs_dtype rest;         // else embedding and LM head are rounded to this type, and norms of ones have it
} rs_scheme;

// 4 bits, per row, f32 scales, 80 steps, to nearest, embedding and head in f16.
rs_scheme rs_scheme_default(void);
// True for matrices of the roles q k v o gate up down.
bool rs_scheme_matrix(const rs_tensor *t);
// The i-th of the RS_SCHEME_ROLES L such matrices of a model, layer by layer: name, role, layer, and the shape in raw f32. c may hold nothing but L, then the shape is zero.
void rs_scheme_matrix_at(const rs_config *c, uint64_t i, rs_tensor *t);
// True for the matrices that a scheme packs.
bool rs_scheme_packs(const rs_scheme *s, const rs_tensor *t);
// True for the tensors whose type scheme->rest changes: embed, head, and norms whose scales were folded in.
bool rs_scheme_rounds(const rs_scheme *s, const rs_tensor *t);

#endif
