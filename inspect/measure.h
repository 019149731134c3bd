// SPDX-License-Identifier: Apache-2.0
// Error measures, each with its formula.
#ifndef RS_INSPECT_MEASURE_H
#define RS_INSPECT_MEASURE_H

#include <stddef.h>
#include <stdint.h>

// Difference of two arrays, gathered piece by piece: max|a - b|, max|b|, sums of squares.
typedef struct rs_difference {
    double max_abs, max_ref, sum_sq, sum_ref_sq;
    uint64_t n, bad; // values compared; pairs with a NaN or infinity
} rs_difference;

// Adds n values of a against the reference b.
void rs_measure_add(rs_difference *d, size_t n, const float *a, const float *b);
// max|a - b| / max|b|; 0 if both are 0, infinity if only the reference is 0 or any value was NaN or infinite.
double rs_measure_relative(const rs_difference *d);
// Signal to noise 10 log10(sum b^2 / sum (a-b)^2) in dB; infinity without noise.
double rs_measure_snr(const rs_difference *d);

// Per row b of B: kl[b] = sum_v p (log p - log q) in nats, p = softmax(ref[b]), q = softmax(logits[b]) over V (never below 0); top[b] = 1 when the largest logit of both is the same
// index (lowest wins). Spread over the thread pool.
void rs_measure_kl(size_t B, size_t V, const float *logits, const float *ref, double *kl, uint8_t *top);

#endif
