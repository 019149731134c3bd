// SPDX-License-Identifier: Apache-2.0
// Scale of a span of weights by the MSE clip grid (numerics.md 1): symmetric codes, 80 clip ratios, error sum |c s - w|^2.4.
#ifndef RS_KERNELS_CLIP_H
#define RS_KERNELS_CLIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum rs_clip_type { RS_CLIP_F32, RS_CLIP_F16, RS_CLIP_BF16 } rs_clip_type;

typedef struct rs_clip {
    int bits;        // 2..8
    int steps;       // candidates p = fp32(1 - i/100), i = 0..steps-1; 80 is the rule, 1 is max/Q without a search; 1..99
    bool scale_f16;  // candidates are rounded to f16 before codes and error are computed
    // What other quantisers do (numerics.md 2); zero: nothing of it.
    bool half;        // max / (Q + 1/2) in place of max / Q
    float least;      // max is at least this
    float empty;      // scale of a span that has none by itself; 0: 1
    rs_clip_type own; // p max, the scale and w / s are rounded to this type; errors of the search are not
} rs_clip;

// sum |clamp(rint(w / s)) s - w|^2.4 over n values for one scale s > 0: the power by a fixed sequence of fp32 operations in 16 lanes (relative error below 1e-6),
// the same bits on every processor. table: "reference", "avx2", "avx512" or NULL for the best here (an unknown or unsupported one reads as the reference).
double rs_clip_error(const char *table, int bits, size_t n, const float *w, float s);
// Chooses the scale for n weights, writes their codes and returns the scale; *err (NULL allowed) gets the error reached. A span of zeros, or one whose smallest
// candidate would be subnormal (in the scale's type), has scale 1 and codes 0. Values must be finite.
float rs_clip_span(const rs_clip *clip, size_t n, const float *w, int8_t *codes, double *err);
// Bit i: candidate i is better than all before; bit 0 alone where there is no scale. steps at most 32.
uint32_t rs_clip_gains(const rs_clip *clip, size_t n, const float *w);
// codes[j] = clamp(rint(w[j] / s), -Q-1, Q), Q = 2^(bits-1) - 1.
void rs_clip_codes(int bits, size_t n, const float *w, float s, int8_t *codes);

#endif
