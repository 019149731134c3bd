// SPDX-License-Identifier: Apache-2.0
// Second moments of the residual stream at every basis, from calibration text: what a change of basis weighs.
#ifndef RS_TRANSFORMS_MOMENTS_H
#define RS_TRANSFORMS_MOMENTS_H

#include "transforms/network.h"

typedef struct rs_moments rs_moments;

typedef struct rs_moments_options {
    size_t samples, ctx; // at most this many windows of ctx tokens, from the start of the text on; fewer where it is short
    size_t skip;         // tokens at the start of each window that do not count, below ctx (attention sinks)
    bool raw;            // the stream as it passes the junction; false: RMS-normalised, as the quantisers read it
    void (*progress)(void *context, double done); // NULL allowed; hears tokens times layers done
    void *context;
} rs_moments_options;

// Runs the windows layer by layer through the network without its quantisers (the junctions as the file has them) and sums
// C_j = mean over tokens of x_j^T x_j [d, d] for the stream x_j in basis j = 0..2L: before attention (2i), before the FFN (2i+1), before the head (2L).
// The products are f32 per window, their sum fp64. Memory: samples ctx d floats, two matrices; the sums wait in an unlinked temporary file.
// RS_USAGE: fewer tokens than one window, skip >= ctx; E_VALUE (not finite), E_WRITE (temporary), E_NOMEM and what the network says. Free with rs_moments_free (NULL allowed).
RS_MUST_CHECK rs_status rs_moments_new(rs_moments **m, rs_network *n, const int32_t *ids, size_t count, const rs_moments_options *o, rs_error *e);
void rs_moments_free(rs_moments *m);
// C_j [d, d], symmetric; of m until the next call. E_READ.
RS_MUST_CHECK rs_status rs_moments_at(rs_moments *m, uint64_t j, const double **C, rs_error *e);
// Sizes, and the windows that were there.
uint64_t rs_moments_layers(const rs_moments *m);
uint64_t rs_moments_width(const rs_moments *m);
size_t rs_moments_windows(const rs_moments *m);

#endif
