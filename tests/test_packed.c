// SPDX-License-Identifier: Apache-2.0
// Packed codes: round trip at every width and odd length, the drawn bit layout, zero pad bits, scaling by groups.
#include "kernels/packed.h"
#include "tests/check.h"

static void round_trip(int bits, size_t n)
{
    int8_t codes[300], back[300];
    uint8_t bytes[320];
    for (size_t j = 0; j < n; j++) codes[j] = (int8_t)((int)(j * 7919 + (size_t)bits) % (1 << bits) - (1 << (bits - 1)));
    memset(bytes, 0xff, sizeof bytes);
    rs_packed_pack(bits, n, codes, bytes);
    size_t used = rs_packed_row_bytes(bits, n);
    CHECKF(bytes[used] == 0xff, "%d bits, %zu codes: wrote beyond the row", bits, n);
    if (n * (size_t)bits % 8 != 0) CHECKF(bytes[used - 1] >> (n * (size_t)bits % 8) == 0, "%d bits, %zu codes: pad bits are not zero", bits, n);
    for (size_t j = 0; j < n; j++) { // bit by bit, from the definition
        int v = 0;
        for (int b = 0; b < bits; b++) v |= (bytes[(j * (size_t)bits + (size_t)b) / 8] >> ((j * (size_t)bits + (size_t)b) % 8) & 1) << b;
        if (v >= 1 << (bits - 1)) v -= 1 << bits;
        if (!CHECKF(v == codes[j], "%d bits, %zu codes: element %zu", bits, n, j)) return;
    }
    rs_packed_unpack(bits, n, bytes, back);
    CHECKF(memcmp(codes, back, n) == 0, "%d bits, %zu codes: round trip", bits, n);
}

int main(void)
{
    for (int bits = 2; bits <= 8; bits++)
        for (size_t n = 1; n <= 40; n++) round_trip(bits, n);
    for (int bits = 2; bits <= 8; bits++) round_trip(bits, 299);
    const int8_t codes[4] = {1, -2, 3, -8};
    uint8_t bytes[2];
    rs_packed_pack(4, 4, codes, bytes);
    CHECK(bytes[0] == 0xe1 && bytes[1] == 0x83);
    const float scales[2] = {0.5f, 4};
    float out[4];
    rs_packed_scale(4, 2, codes, scales, out);
    CHECK(out[0] == 0.5f && out[1] == -1 && out[2] == 12 && out[3] == -32);
    rs_packed_scale(4, 0, codes, scales, out);
    CHECK(out[3] == -4);
    return check_report();
}
