// SPDX-License-Identifier: Apache-2.0
// Rows of signed b-bit codes, b = 2..8, packed densely: element j takes bits [j b, (j+1) b), lowest bit first, the row padded to a byte with zero bits.
//
//   int4   byte 0: [c1 c0]           int3   byte 0: [c2.1..0 c1 c0]   byte 1: [c5.0 c4 c3 c2.2]   byte 2: [c7 c6 c5.2..1]
#ifndef RS_KERNELS_PACKED_H
#define RS_KERNELS_PACKED_H

#include <stddef.h>
#include <stdint.h>

// Bytes of a row of n codes.
static inline size_t rs_packed_row_bytes(int bits, size_t n)
{
    return (n * (size_t)bits + 7) / 8;
}
// Packs n codes (each within -2^(bits-1) .. 2^(bits-1)-1) into rs_packed_row_bytes bytes.
void rs_packed_pack(int bits, size_t n, const int8_t *codes, uint8_t *bytes);
// Unpacks n codes. bytes holds rs_packed_row_bytes(bits, n) bytes.
void rs_packed_unpack(int bits, size_t n, const uint8_t *bytes, int8_t *codes);
// out[j] = codes[j] * scales[j / group], one rounding; group 0: scales[0] for all.
void rs_packed_scale(size_t n, size_t group, const int8_t *codes, const float *scales, float *out);

#endif
