// SPDX-License-Identifier: Apache-2.0
// SmoothQuant (arXiv 2211.10438, eq. 4): factors s_j = max|x_j|^alpha / max|W_j|^(1 - alpha) that move the range of an input channel into the weights that read it.
#ifndef RS_TRANSFORMS_SMOOTH_H
#define RS_TRANSFORMS_SMOOTH_H

#include "transforms/calibration.h"

// Who makes a channel and who reads it. Heads share the factors of their KV head: the largest of what the query heads of a group see counts.
typedef enum rs_smooth_pair {
    RS_SMOOTH_QKV,     // [d]: norm before attention -> q k v
    RS_SMOOTH_V,       // [n_kv h]: rows of v
    RS_SMOOTH_O,       // [n_q h]: the same for the columns of o
    RS_SMOOTH_GATE_UP, // [d]: norm before the FFN -> gate up
    RS_SMOOTH_DOWN,    // [f]: rows of up -> columns of down
    RS_SMOOTH_PAIRS
} rs_smooth_pair;

typedef struct rs_smooth rs_smooth;

// Runs calibration text through a network that is neither packed nor fused, activations and KV unquantised, and takes the maxima. alpha in 0..1. A channel that is always 0, or whose weights are,
// has the factor 1. progress (NULL allowed) hears how many layers are done. Memory: the streams of the text, one layer, and the factors of all.
// RS_USAGE: packed or fused weights, text too short; E_VALUE: not finite; errors of rs_calibration_open and rs_network_run, E_NOMEM. Free with rs_smooth_free (NULL allowed).
RS_MUST_CHECK rs_status rs_smooth_measure(rs_smooth **s, rs_network *n, const rs_calibration_text *text, double alpha, void (*progress)(void *context, double layers), void *context, rs_error *e);
void rs_smooth_free(rs_smooth *s);
// The factors of a pair of layer i; owned by s.
const float *rs_smooth_factors(const rs_smooth *s, uint64_t i, rs_smooth_pair pair);

#endif
