// SPDX-License-Identifier: Apache-2.0
// Writing the packed cache and reading it.
#include "kernels/cpu/kv_layout.h"

#include <string.h>

#include "kernels/cpu/int_ops.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/pieces.h"
#include "kernels/cpu/vec.h"

size_t rs_kv_cache_bytes(const rs_kv_cache *c)
{
    size_t rows, bytes;
    if (c->n_kv == 0 || c->h == 0 || c->h > RS_KV_BLOCK || c->capacity == 0 || c->q.bits < 2 || (c->q.bits > 8 && c->q.bits != 16) || (c->q.group != 0 && c->h % c->q.group != 0))
        return 0;
    if (__builtin_mul_overflow(2 * c->capacity, c->n_kv, &rows) || c->capacity > SIZE_MAX / 4 || __builtin_mul_overflow(rows, rs_kv_row_bytes(c) + 8 * rs_kv_groups(c), &bytes) || bytes > SIZE_MAX / 2)
        return 0;
    return rs_kv_codes_bytes(c) + rows * 8 * rs_kv_groups(c);
}

size_t rs_kv_cache_work(const rs_kv_cache *c, size_t S)
{
    return rs_kv_half(c) ? 0 : S * c->n_kv * (c->h + 8 * rs_kv_groups(c));
}

static size_t append(rs_kv_cache *c, const rs_int_kernels *by, bool values, size_t S, const float *x, void *work)
{
    const size_t G = rs_kv_groups(c), m = S * c->n_kv * G;
    const rs_quantizer q = {.bits = c->q.bits, .sym = c->q.sym, .clip = c->q.clip, .range = values ? c->v_range : c->q.range};
    float *scale = work;
    int32_t *zero = (int32_t *)(void *)(scale + m);
    uint8_t *codes = (uint8_t *)(zero + m);
    size_t bad = 0;
    if (by->append != NULL) {
        by->append(c, values, S, x);
        return 0;
    }
    if (!rs_kv_half(c))
        bad = rs_int_quantise(by, &q, x, c->h / G, &(rs_int_rows){.bits = q.bits, .m = m, .k = c->h / G, .ld = c->h / G, .codes = codes, .scale = scale, .zero = zero});
    for (size_t s = 0; s < S; s++)
        for (size_t head = 0; head < c->n_kv; head++) {
            const size_t from = s * c->n_kv + head, to = rs_kv_row_of(c, values, head, c->count + s);
            uint8_t *row = c->memory + to * rs_kv_row_bytes(c);
            if (rs_kv_half(c)) {
                rs_convert_f32_to_f16_plain(c->h, x + from * c->h, (uint16_t *)(void *)row);
                continue;
            }
            rs_packed_pack((int)q.bits, c->h, (const int8_t *)codes + from * c->h, row);
            memcpy(rs_kv_scales(c) + to * G, scale + from * G, G * sizeof *scale);
            memcpy(rs_kv_zeros(c) + to * G, zero + from * G, G * sizeof *zero);
        }
    return bad;
}

size_t rs_kv_cache_append(rs_kv_cache *c, const rs_int_kernels *by, size_t S, const float *k, const float *v, void *work)
{
    const size_t bad = append(c, by, false, S, k, work) + append(c, by, true, S, v, work);
    c->count += S;
    return bad;
}

// Codes of n <= 64 values from the byte on that holds the first, n whole bytes of them but at the end of a row, as unsigned bytes.
static void codes_plain(unsigned bits, size_t n, const uint8_t *row, uint8_t *out)
{
    rs_packed_unpack((int)bits, n, row, (int8_t *)out);
    for (size_t j = 0; j < n; j++)
        out[j] &= (uint8_t)((1u << bits) - 1);
}

// value = scale (code - zero), in the groups of a row, for n values from column first on.
static void values_plain(size_t group, size_t first, size_t n, const uint8_t *codes, const float *scale, const int32_t *zero, float *out)
{
    for (size_t j = 0; j < n; j++) {
        const size_t g = (first + j) / group;
        out[j] = scale[g] * (float)(codes[j] - zero[g]);
    }
}

void rs_kv_read_plain(const rs_kv_cache *c, bool values, size_t head, size_t first, size_t count, float *out)
{
    for (size_t t = first; t < first + count; t++, out += c->h) {
        const size_t row = rs_kv_row_of(c, values, head, t), G = rs_kv_groups(c);
        const uint8_t *from = c->memory + row * rs_kv_row_bytes(c);
        uint8_t codes[64];
        if (rs_kv_half(c)) {
            rs_convert_f16_to_f32_plain(c->h, (const uint16_t *)(const void *)from, out);
            continue;
        }
        for (size_t j = 0; j < c->h; j += sizeof codes) {
            const size_t n = rs_pieces_min(sizeof codes, c->h - j);
            codes_plain(c->q.bits, n, from + j / 8 * c->q.bits, codes);
            values_plain(c->h / G, j, n, codes, rs_kv_scales(c) + row * G, rs_kv_zeros(c) + row * G, out + j);
        }
    }
}

#if defined(__x86_64__)

// 64 codes; every byte of theirs may be read.
static RS_AVX2 void codes_avx2(unsigned bits, const uint8_t *row, uint8_t *out)
{
    const __m256i low = _mm256_set1_epi8(15);
    if (bits == 4) {
        const __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)row), x = _mm256_and_si256(b, low), y = _mm256_and_si256(_mm256_srli_epi16(b, 4), low);
        const __m256i p = _mm256_unpacklo_epi8(x, y), q = _mm256_unpackhi_epi8(x, y);
        _mm256_storeu_si256((__m256i *)(void *)out, _mm256_permute2x128_si256(p, q, 0x20));
        _mm256_storeu_si256((__m256i *)(void *)(out + 32), _mm256_permute2x128_si256(p, q, 0x31));
        return;
    }
    rs_int_avx2.unpack(bits, 1, row, (int8_t *)out);
    for (size_t j = 0; j < 64; j++)
        out[j] &= (uint8_t)((1u << bits) - 1);
}

static RS_AVX2 void values_avx2(const uint8_t codes[64], float scale, int32_t zero, float *out)
{
    const __m256i z = _mm256_set1_epi32(zero);
    const v8 s = v8_set(scale);
    for (size_t j = 0; j < 64; j += 8)
        v8_store(out + j, v8_mul(s, _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(codes + j))), z))));
}

void rs_kv_read_avx2(const rs_kv_cache *c, bool values, size_t head, size_t first, size_t count, float *out)
{
    if (rs_kv_half(c)) {
        for (size_t t = first; t < first + count; t++, out += c->h)
            rs_convert_f16_to_f32_avx2(c->h, (const uint16_t *)(const void *)(c->memory + rs_kv_row_of(c, values, head, t) * rs_kv_row_bytes(c)), out);
        return;
    }
    const size_t G = rs_kv_groups(c), group = c->h / G;
    for (size_t t = first; t < first + count; t++, out += c->h) {
        const size_t row = rs_kv_row_of(c, values, head, t);
        const uint8_t *from = c->memory + row * rs_kv_row_bytes(c);
        const float *scale = rs_kv_scales(c) + row * G;
        const int32_t *zero = rs_kv_zeros(c) + row * G;
        uint8_t codes[64];
        for (size_t j = 0; j < c->h; j += sizeof codes) {
            const size_t n = rs_pieces_min(sizeof codes, c->h - j);
            if (n == sizeof codes && group % sizeof codes == 0) {
                codes_avx2(c->q.bits, from + j / 8 * c->q.bits, codes);
                values_avx2(codes, scale[j / group], zero[j / group], out + j);
            } else {
                codes_plain(c->q.bits, n, from + j / 8 * c->q.bits, codes);
                values_plain(group, j, n, codes, scale, zero, out + j);
            }
        }
    }
}

#else

void rs_kv_read_avx2(const rs_kv_cache *c, bool values, size_t head, size_t first, size_t count, float *out)
{
    rs_kv_read_plain(c, values, head, first, count, out);
}

#endif
