// SPDX-License-Identifier: Apache-2.0
// Hashes a payload block by block while the block is in the cache, and looks at the bytes that must be zero.
#include "formats/payload.h"

#include "formats/endian.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK (64u << 10)

rs_status rs_payload_init(rs_payload *p, rs_error *e)
{
    memset(p, 0, sizeof *p);
    p->stream = rs_hash_new();
    p->piece = rs_hash_new();
    if (p->stream == NULL || p->piece == NULL) return rs_fail(e, RS_E_NOMEM, "hash states");
    rs_hash_start_128(p->stream);
    return RS_OK;
}

void rs_payload_free(rs_payload *p)
{
    rs_hash_free(p->stream);
    rs_hash_free(p->piece);
    free(p->sums);
    memset(p, 0, sizeof *p);
}

rs_status rs_payload_start(rs_payload *p, uint64_t len, bool chunked, rs_error *e)
{
    size_t need = chunked ? (size_t)(len / RS_CHUNK + (len % RS_CHUNK != 0)) : 0;
    if (need > p->cap) {
        uint8_t *grown = realloc(p->sums, need * 8);
        if (grown == NULL) return rs_fail(e, RS_E_NOMEM, "%zu chunk hashes", need);
        p->sums = grown;
        p->cap = need;
    }
    p->len = len;
    p->at = 0;
    p->chunked = chunked;
    p->n_sums = 0;
    p->n_parts = 0;
    p->row_mask = 0;
    p->bad_at = UINT64_MAX;
    rs_hash_start_64(p->piece);
    return RS_OK;
}

void rs_payload_watch(rs_payload *p, const rs_part *parts, int n_parts)
{
    p->parts = parts;
    p->n_parts = n_parts;
}

void rs_payload_watch_tensor(rs_payload *p, const rs_tensor *t)
{
    rs_payload_watch(p, t->parts, t->n_parts);
    int bits = rs_enc_bits(t->enc);
    if (bits == 0 || t->parts[0].len == 0) return;
    uint64_t used = t->shape[1] % 8 * (uint64_t)bits % 8;
    p->codes_len = t->parts[0].len;
    p->row_bytes = p->codes_len / t->shape[0];
    p->row_mask = used == 0 ? 0 : (uint8_t)(0xff << used);
}

static void look(rs_payload *p, const uint8_t *bytes, size_t n)
{
    uint64_t from = p->at, to = from + n;
    for (int i = 1; i < p->n_parts; i++) {
        uint64_t a = p->parts[i - 1].off + p->parts[i - 1].len, b = p->parts[i].off;
        for (uint64_t k = a > from ? a : from; k < b && k < to; k++)
            if (bytes[k - from] != 0 && k < p->bad_at) p->bad_at = k;
    }
    if (p->row_mask == 0 || from >= p->codes_len) return;
    if (to > p->codes_len) to = p->codes_len;
    for (uint64_t k = from - from % p->row_bytes + p->row_bytes - 1; k < to; k += p->row_bytes)
        if ((bytes[k - from] & p->row_mask) != 0 && k < p->bad_at) p->bad_at = k;
}

void rs_payload_add(rs_payload *p, const uint8_t *bytes, size_t n)
{
    look(p, bytes, n);
    while (n > 0) {
        uint64_t room = p->chunked ? RS_CHUNK - p->at % RS_CHUNK : BLOCK;
        size_t k = n < BLOCK ? n : BLOCK;
        if (k > room) k = (size_t)room;
        rs_hash_add_128(p->stream, bytes, k);
        rs_hash_add_64(p->piece, bytes, k);
        p->at += k;
        bytes += k;
        n -= k;
        if (p->chunked && (p->at % RS_CHUNK == 0 || p->at == p->len)) {
            rs_put_u64(p->sums + 8 * p->n_sums++, rs_hash_get_64(p->piece));
            rs_hash_start_64(p->piece);
        }
    }
}

uint64_t rs_payload_sum(const rs_payload *p)
{
    return rs_hash_get_64(p->piece);
}
