// SPDX-License-Identifier: Apache-2.0
// Counter-based random numbers: value i of stream s under a seed is a pure function of (seed, s, i), the same on every machine and for any number of threads.
#ifndef RS_TRANSFORMS_RANDOM_H
#define RS_TRANSFORMS_RANDOM_H

#include <stddef.h>
#include <stdint.h>

// 64 well mixed bits for counter i of a stream (SplitMix64 finaliser over a Weyl sequence: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
uint64_t rs_random_u64(uint64_t seed, uint64_t stream, uint64_t i);
// A whole number in 0..n-1 (n >= 1), bias below 2^-32 for n up to 2^32.
uint64_t rs_random_below(uint64_t seed, uint64_t stream, uint64_t i, uint64_t n);
// Uniform in [0, 1): a multiple of 2^-53.
double rs_random_uniform(uint64_t seed, uint64_t stream, uint64_t i);
// Mean 0, variance 1, bell shaped (sum of 12 uniforms less 6, so that no libm decides a bit); always within -6..6.
double rs_random_normal(uint64_t seed, uint64_t stream, uint64_t i);
// n signs +1 or -1: counters 0..n-1 of the stream.
void rs_random_signs(uint64_t seed, uint64_t stream, size_t n, int8_t *signs);

#endif
