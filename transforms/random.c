// SPDX-License-Identifier: Apache-2.0
// Counter-based random numbers from a seed: a Weyl sequence per stream through the SplitMix64 finaliser, integer arithmetic only.
#include "transforms/random.h"

#define GOLDEN UINT64_C(0x9e3779b97f4a7c15)

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t rs_random_u64(uint64_t seed, uint64_t stream, uint64_t i)
{
    // Stream 0 is plain SplitMix64 started at seed; other streams start at far, unrelated places of the same sequence.
    uint64_t start = stream == 0 ? seed : seed + mix(mix(stream * GOLDEN) ^ ~seed);
    return mix(start + (i + 1) * GOLDEN);
}

uint64_t rs_random_below(uint64_t seed, uint64_t stream, uint64_t i, uint64_t n)
{
    return (uint64_t)(((unsigned __int128)rs_random_u64(seed, stream, i) * n) >> 64);
}

double rs_random_uniform(uint64_t seed, uint64_t stream, uint64_t i)
{
    return (double)(rs_random_u64(seed, stream, i) >> 11) * 0x1p-53;
}

double rs_random_normal(uint64_t seed, uint64_t stream, uint64_t i)
{
    double sum = 0;
    for (uint64_t t = 0; t < 12; t++) sum += rs_random_uniform(seed, stream, 12 * i + t);
    return sum - 6;
}

void rs_random_signs(uint64_t seed, uint64_t stream, size_t n, int8_t *signs)
{
    for (size_t i = 0; i < n; i++) signs[i] = rs_random_u64(seed, stream, i) >> 63 ? -1 : 1;
}
