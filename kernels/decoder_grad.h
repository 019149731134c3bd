// SPDX-License-Identifier: Apache-2.0
// One decoder layer for learning its rotations: forward in the original basis with Q(x R) R^T at each quantiser, and backward (method.md 5).
//
// Weights are never multiplied by a rotation: at a quantised input the normalised stream n [S,d] becomes z = n R, z^ = Q(z), y = z^ R^T, and y meets the norm scale and the weight.
// Rounding and clamping have gradient 1 (straight-through), so with e = (dL/dy) R the gradient at R is G = (dL/dy)^T z^ + n^T e. Only its part along the
// orthogonal matrices is of use, R (R^T G - G^T R) / 2, and since R^T G = e^T z^ + z^T e that is R (E - E^T) / 2 with E = e^T (z^ - z): one product in place of two, and no
// cancellation, for the large symmetric terms never arise. A head rotation P likewise: with v = v_0 P, v^ = Q(v), attention a, a^ = Q(a) and e = (dL/do) P per head,
// E = e^T (a^ - a) - (v^ - v)^T dL/dv^ (attention is linear in v^, which makes the symmetric rest vanish).
#ifndef RS_KERNELS_DECODER_GRAD_H
#define RS_KERNELS_DECODER_GRAD_H

#include "kernels/decoder_folded.h"

// How inputs of the linear layers, K and V, and rows of weights are quantised. Groups must be 0 in a: rotations mix what a group would keep apart. w.bits of 0 or 16 leave weights as they are,
// else the caller folds them (rs_decoder_fold).
typedef struct rs_decoder_bits {
    rs_quantizer a, kv, w;
} rs_decoder_bits;

// Everything that a call needs beside the stream. layer's junctions and quantisers are not used; biases are.
// folded (NULL: weights in full precision): the layer's weights, rounded in the same bases; then z^ meets them as it is, and what they write is turned back by the basis that they write in.
typedef struct rs_decoder_learn {
    const rs_kernels *k;
    const rs_decoder_shape *shape; // r3 and r4 act where what they feed is quantised
    const rs_decoder_layer *layer;
    const rs_decoder_folded *folded;
    rs_decoder_bases bases;
    rs_decoder_bits bits;
    size_t S;
    const float *cos, *sin;        // [S, h/2]
} rs_decoder_learn;

// Floats that the forward pass keeps for the backward pass of one layer, and floats of scratch for either.
size_t rs_decoder_learn_kept(const rs_decoder_shape *shape, size_t S);
size_t rs_decoder_learn_scratch(const rs_decoder_shape *shape, size_t S);
// x [S,d] in place through the layer; kept of rs_decoder_learn_kept floats. Returns the number of rows with NaN or infinity met by a quantiser (0 = fine).
size_t rs_decoder_learn_forward(const rs_decoder_learn *l, float *x, float *kept, float *scratch);
// dx [S,d]: on entry the derivative of the loss by the layer's output, on return by its input x [S,d] (the one that the forward pass was given). kept is used up.
void rs_decoder_learn_backward(const rs_decoder_learn *l, const float *x, float *kept, float *dx, rs_decoder_slopes slopes, float *scratch);

#endif
