// SPDX-License-Identifier: Apache-2.0
// The weights of one layer multiplied by its rotations, as rs-fuse does it, and rounded: what learning needs where weights are quantised too, and what a rounded weight adds to the slopes.
//
// A weight W [out, in] that reads the stream in basis A and writes in basis B becomes Z = B^T W diag(gamma) A, rows are rounded to Z^, and its input z^ and output o = z^ (Z^)^T are in those bases.
// With D the derivative of the loss by o and rounding straight through, G = D^T z^ [out, in] is the derivative by Z^. In the notation of kernels/decoder_grad.h the slopes are
// E_A = e^T (z^ - z) + (Z - Z^)^T G with e = D Z^, and E_B = (Z - Z^) G^T: all other terms are symmetric, so they fall out (R^T G - G^T R).
#ifndef RS_KERNELS_DECODER_FOLDED_H
#define RS_KERNELS_DECODER_FOLDED_H

#include "kernels/decoder.h"

// Orthogonal matrices of one layer: bases at the inputs of attention and FFN and at the input behind this layer [d,d], head rotation [h,h]. NULL: the identity.
// next matters only where weights are quantised.
typedef struct rs_decoder_bases {
    const float *attn, *ffn, *head, *next;
} rs_decoder_bases;

// Where the slopes E of the matrices above are added up; NULL where the matrix is NULL or not learned.
typedef struct rs_decoder_slopes {
    float *attn, *ffn, *head, *next;
} rs_decoder_slopes;

// Side of a weight: blocks of n columns (or rows) that are multiplied by matrix R [n,n]; R NULL: not at all.
typedef struct rs_folded_side {
    size_t n;
    const float *R;
} rs_folded_side;

typedef struct rs_folded_weight {
    size_t out, in;
    rs_folded_side read, write;
    float *rounded; // Z^ [out,in]
    float *lost;    // Z - Z^
} rs_folded_weight;

typedef struct rs_decoder_folded {
    rs_folded_weight q, k, v, o, gate, up, down;
    float *bv;   // bias of v in the head basis [n_kv h]; NULL without
    float *work; // as large as the largest weight
} rs_decoder_folded;

// Floats of memory for the folded weights of one layer.
size_t rs_decoder_folded_size(const rs_decoder_shape *shape);
// Folds and rounds (w: bits, clip; symmetric, one scale a row). shape->r4 is folded into down. at [rs_decoder_folded_size], 64-aligned, holds the result; bases must live as long.
// Returns the number of rows with NaN or infinity (0 = fine).
size_t rs_decoder_fold(rs_decoder_folded *f, const rs_kernels *k, const rs_decoder_shape *shape, const rs_decoder_layer *layer, const rs_decoder_bases *bases, const rs_quantizer *w, float *at);
// What rounding this weight adds to slopes read [n,n] and write [n,n] of its sides (NULL: not wanted): z [S,in] its input, D [S,out] the derivative by its output.
void rs_folded_slopes(const rs_folded_weight *w, const rs_kernels *k, size_t S, const float *z, const float *D, float *read, float *write, float *work);

#endif
