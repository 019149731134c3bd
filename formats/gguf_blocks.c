// SPDX-License-Identifier: Apache-2.0
// Values of GGUF's quantised blocks. Every block is drawn as its bytes lie in the file; f16 scales are little-endian and stand unaligned.
#include "formats/gguf_blocks.h"

#include <string.h>

// Drawn for reading only: pointers to them are never made from file bytes.
typedef struct { uint8_t d[2], q[16]; } block_q4_0;               // d | 16 bytes: low nibble = element i, high nibble = element i + 16
typedef struct { uint8_t d[2], m[2], q[16]; } block_q4_1;         // d m | nibbles as above
typedef struct { uint8_t d[2], h[4], q[16]; } block_q5_0;         // d | bit i of h = fifth bit of element i | nibbles as above
typedef struct { uint8_t d[2], m[2], h[4], q[16]; } block_q5_1;   // d m | h | nibbles
typedef struct { uint8_t d[2], q[32]; } block_q8_0;               // d | 32 signed bytes
typedef struct { uint8_t d[2], m[2], s[12], q[128]; } block_q4_k; // d m | 8 x (6-bit scale, 6-bit minimum) packed | 4 x 32 bytes: low nibbles 32 elements, high nibbles the next 32
typedef struct { uint8_t d[2], m[2], s[12], h[32], q[128]; } block_q5_k; // as q4_k; bit g of h[i] = fifth bit of element i of group g
typedef struct { uint8_t l[128], h[64], s[16], d[2]; } block_q6_k; // low nibbles | pairs of high bits | 16 signed scales | d
_Static_assert(sizeof(block_q4_0) == 18, "q4_0");
_Static_assert(sizeof(block_q4_1) == 20, "q4_1");
_Static_assert(sizeof(block_q5_0) == 22, "q5_0");
_Static_assert(sizeof(block_q5_1) == 24, "q5_1");
_Static_assert(sizeof(block_q8_0) == 34, "q8_0");
_Static_assert(sizeof(block_q4_k) == 144, "q4_k");
_Static_assert(sizeof(block_q5_k) == 176, "q5_k");
_Static_assert(sizeof(block_q6_k) == 210, "q6_k");

// An IEEE half as float, exact, NaN payloads kept.
static inline float half(const uint8_t *p)
{
    uint32_t x = (uint32_t)p[0] | (uint32_t)p[1] << 8, sign = (x & 0x8000u) << 16, rest = x & 0x7fffu, bits;
    float f;
    if (rest >= 0x7c00u) {
        bits = sign | 0x7f800000u | (rest & 0x3ffu) << 13;
    } else if (rest >= 0x400u) {
        bits = sign | ((rest << 13) + 0x38000000u);
    } else { // subnormal: rest units of 2^-24
        f = (float)rest * 0x1p-24f;
        memcpy(&bits, &f, 4);
        bits |= sign;
    }
    memcpy(&f, &bits, 4);
    return f;
}

static void values_q4_0(const uint8_t *restrict in, size_t n, float *restrict out)
{
    for (; n > 0; n--, in += sizeof(block_q4_0), out += 32) {
        const float d = half(in);
        const uint8_t *q = in + offsetof(block_q4_0, q);
        for (int i = 0; i < 16; i++) out[i] = (float)((int)(q[i] & 15) - 8) * d;
        for (int i = 0; i < 16; i++) out[16 + i] = (float)((int)(q[i] >> 4) - 8) * d;
    }
}

static void values_q4_1(const uint8_t *restrict in, size_t n, float *restrict out)
{
    for (; n > 0; n--, in += sizeof(block_q4_1), out += 32) {
        const float d = half(in), m = half(in + 2);
        const uint8_t *q = in + offsetof(block_q4_1, q);
        for (int i = 0; i < 16; i++) out[i] = (float)(q[i] & 15) * d + m;
        for (int i = 0; i < 16; i++) out[16 + i] = (float)(q[i] >> 4) * d + m;
    }
}

// Codes 0..31 of the 32 elements of a q5_0 or q5_1 block.
static inline void codes_5(const uint8_t *restrict h, const uint8_t *restrict q, uint8_t *restrict code)
{
    uint32_t bits = (uint32_t)h[0] | (uint32_t)h[1] << 8 | (uint32_t)h[2] << 16 | (uint32_t)h[3] << 24;
    for (int i = 0; i < 16; i++) {
        code[i] = (uint8_t)((q[i] & 15) | (bits >> i & 1) << 4);
        code[16 + i] = (uint8_t)(q[i] >> 4 | (bits >> (16 + i) & 1) << 4);
    }
}

static void values_q5_0(const uint8_t *restrict in, size_t n, float *restrict out)
{
    for (; n > 0; n--, in += sizeof(block_q5_0), out += 32) {
        uint8_t code[32];
        const float d = half(in);
        codes_5(in + offsetof(block_q5_0, h), in + offsetof(block_q5_0, q), code);
        for (int i = 0; i < 32; i++) out[i] = (float)((int)code[i] - 16) * d;
    }
}

static void values_q5_1(const uint8_t *restrict in, size_t n, float *restrict out)
{
    for (; n > 0; n--, in += sizeof(block_q5_1), out += 32) {
        uint8_t code[32];
        const float d = half(in), m = half(in + 2);
        codes_5(in + offsetof(block_q5_1, h), in + offsetof(block_q5_1, q), code);
        for (int i = 0; i < 32; i++) out[i] = (float)code[i] * d + m;
    }
}

static void values_q8_0(const uint8_t *restrict in, size_t n, float *restrict out)
{
    for (; n > 0; n--, in += sizeof(block_q8_0), out += 32) {
        const float d = half(in);
        const uint8_t *q = in + offsetof(block_q8_0, q);
        for (int i = 0; i < 32; i++) out[i] = (float)(int8_t)q[i] * d;
    }
}

// Scale and minimum (6 bits each) of group g of a q4_k or q5_k block: groups 0..3 have theirs in the low 6 bits of s[g] and s[g + 4]; groups 4..7 have four
// low bits in s[g + 4] (scale in the low nibble) and two high bits on top of s[g - 4] and s[g].
static inline void group_k(const uint8_t *s, int g, float d, float m, float *scale, float *min)
{
    unsigned a = g < 4 ? s[g] & 63u : (s[g + 4] & 15u) | (unsigned)(s[g - 4] >> 6) << 4;
    unsigned b = g < 4 ? s[g + 4] & 63u : (unsigned)(s[g + 4] >> 4) | (unsigned)(s[g] >> 6) << 4;
    *scale = d * (float)a;
    *min = m * (float)b;
}

static void values_q4_k(const uint8_t *restrict in, size_t n, float *restrict out)
{
    for (; n > 0; n--, in += sizeof(block_q4_k)) {
        const float d = half(in), m = half(in + 2);
        const uint8_t *s = in + offsetof(block_q4_k, s), *q = in + offsetof(block_q4_k, q);
        for (int g = 0; g < 8; g += 2, q += 32, out += 64) {
            float s0, m0, s1, m1;
            group_k(s, g, d, m, &s0, &m0);
            group_k(s, g + 1, d, m, &s1, &m1);
            for (int i = 0; i < 32; i++) out[i] = s0 * (float)(q[i] & 15) - m0;
            for (int i = 0; i < 32; i++) out[32 + i] = s1 * (float)(q[i] >> 4) - m1;
        }
    }
}

static void values_q5_k(const uint8_t *restrict in, size_t n, float *restrict out)
{
    for (; n > 0; n--, in += sizeof(block_q5_k)) {
        const float d = half(in), m = half(in + 2);
        const uint8_t *s = in + offsetof(block_q5_k, s), *h = in + offsetof(block_q5_k, h), *q = in + offsetof(block_q5_k, q);
        for (int g = 0; g < 8; g += 2, q += 32, out += 64) {
            float s0, m0, s1, m1;
            group_k(s, g, d, m, &s0, &m0);
            group_k(s, g + 1, d, m, &s1, &m1);
            for (int i = 0; i < 32; i++) out[i] = s0 * (float)((q[i] & 15) | (h[i] >> g & 1) << 4) - m0;
            for (int i = 0; i < 32; i++) out[32 + i] = s1 * (float)(q[i] >> 4 | (h[i] >> (g + 1) & 1) << 4) - m1;
        }
    }
}

// Each half of 128 elements: quarter k (32 elements) takes its low nibbles from l[(k & 1) * 32 + i], low half of the byte for k < 2, and two bits from h[i] >> 2k.
static void values_q6_k(const uint8_t *restrict in, size_t n, float *restrict out)
{
    for (; n > 0; n--, in += sizeof(block_q6_k)) {
        const float d = half(in + offsetof(block_q6_k, d));
        const uint8_t *l = in, *h = in + offsetof(block_q6_k, h), *s = in + offsetof(block_q6_k, s);
        for (int part = 0; part < 2; part++, l += 64, h += 32, s += 8)
            for (int k = 0; k < 4; k++, out += 32) {
                const float scale[2] = {d * (float)(int8_t)s[2 * k], d * (float)(int8_t)s[2 * k + 1]};
                for (int i = 0; i < 32; i++) {
                    int low = l[(k & 1) * 32 + i] >> (k >> 1) * 4 & 15, code = (low | (h[i] >> 2 * k & 3) << 4) - 32;
                    out[i] = scale[i / 16] * (float)code;
                }
            }
    }
}

#define KEPT(id, name, bytes, dtype) {id, name, 1, bytes, dtype, NULL}
#define BLOCK(id, name, n, bytes, fn) {id, name, n, bytes, RS_F32, fn}
#define NAMED(id, name) {id, name, 0, 0, RS_F32, NULL}
static const rs_gguf_type types[] = {
    KEPT(0, "F32", 4, RS_F32), KEPT(1, "F16", 2, RS_F16), KEPT(30, "BF16", 2, RS_BF16),
    BLOCK(2, "Q4_0", 32, sizeof(block_q4_0), values_q4_0), BLOCK(3, "Q4_1", 32, sizeof(block_q4_1), values_q4_1),
    BLOCK(6, "Q5_0", 32, sizeof(block_q5_0), values_q5_0), BLOCK(7, "Q5_1", 32, sizeof(block_q5_1), values_q5_1),
    BLOCK(8, "Q8_0", 32, sizeof(block_q8_0), values_q8_0), BLOCK(12, "Q4_K", 256, sizeof(block_q4_k), values_q4_k),
    BLOCK(13, "Q5_K", 256, sizeof(block_q5_k), values_q5_k), BLOCK(14, "Q6_K", 256, sizeof(block_q6_k), values_q6_k),
    NAMED(9, "Q8_1"), NAMED(10, "Q2_K"), NAMED(11, "Q3_K"), NAMED(15, "Q8_K"), NAMED(16, "IQ2_XXS"), NAMED(17, "IQ2_XS"), NAMED(18, "IQ3_XXS"),
    NAMED(19, "IQ1_S"), NAMED(20, "IQ4_NL"), NAMED(21, "IQ3_S"), NAMED(22, "IQ2_S"), NAMED(23, "IQ4_XS"), NAMED(24, "I8"), NAMED(25, "I16"),
    NAMED(26, "I32"), NAMED(27, "I64"), NAMED(28, "F64"), NAMED(29, "IQ1_M"), NAMED(34, "TQ1_0"), NAMED(35, "TQ2_0"), NAMED(39, "MXFP4"),
};

const rs_gguf_type *rs_gguf_type_row(uint32_t id)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].id == id) return &types[i];
    return NULL;
}

const char *rs_gguf_type_list(void)
{
    return "F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4_K Q5_K Q6_K";
}

void rs_gguf_type_values(const rs_gguf_type *type, const uint8_t *in, size_t n_blocks, float *out)
{
    type->values(in, n_blocks, out);
}
