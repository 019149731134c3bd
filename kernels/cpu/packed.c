// SPDX-License-Identifier: Apache-2.0
// Packing and unpacking of dense b-bit codes: eight codes always fill b whole bytes, so blocks of eight go through one 64-bit word.
#include "kernels/packed.h"

#include <string.h>

static uint64_t load_le(const uint8_t *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static void store_le(uint8_t *p, size_t n, uint64_t v)
{
    for (size_t i = 0; i < n; i++) p[i] = (uint8_t)(v >> (8 * i));
}

void rs_packed_pack(int bits, size_t n, const int8_t *codes, uint8_t *bytes)
{
    const uint64_t mask = (1u << bits) - 1;
    for (size_t j = 0; j < n; j += 8) {
        size_t m = n - j < 8 ? n - j : 8;
        uint64_t word = 0;
        for (size_t i = 0; i < m; i++) word |= ((uint64_t)(uint8_t)codes[j + i] & mask) << (i * (size_t)bits);
        store_le(bytes, rs_packed_row_bytes(bits, m), word);
        bytes += bits;
    }
}

void rs_packed_unpack(int bits, size_t n, const uint8_t *bytes, int8_t *codes)
{
    const int shift = 8 - bits;
    if (bits == 8) {
        memcpy(codes, bytes, n);
        return;
    }
    size_t j = 0;
    if (bits == 4) {
        for (; j + 2 <= n; j += 2) {
            uint8_t b = bytes[j / 2];
            codes[j] = (int8_t)((int8_t)(uint8_t)(b << 4) >> 4);
            codes[j + 1] = (int8_t)((int8_t)b >> 4);
        }
        bytes += j / 2;
    }
    for (; j < n; j += 8) {
        size_t m = n - j < 8 ? n - j : 8;
        uint64_t word = load_le(bytes, rs_packed_row_bytes(bits, m));
        for (size_t i = 0; i < m; i++) codes[j + i] = (int8_t)((int8_t)(uint8_t)((word >> (i * (size_t)bits)) << shift) >> shift);
        bytes += bits;
    }
}

void rs_packed_scale(size_t n, size_t group, const int8_t *codes, const float *scales, float *out)
{
    if (group == 0) group = n;
    for (size_t g = 0; g * group < n; g++) {
        const float s = scales[g];
        size_t end = (g + 1) * group < n ? (g + 1) * group : n;
        for (size_t j = g * group; j < end; j++) out[j] = (float)codes[j] * s;
    }
}
