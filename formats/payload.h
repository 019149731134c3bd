// SPDX-License-Identifier: Apache-2.0
// One payload on its way through: hashes of its chunks, the hash of the whole stream, and the bytes that must be zero, all in one pass over it.
#ifndef RS_FORMATS_PAYLOAD_H
#define RS_FORMATS_PAYLOAD_H

#include "formats/hash.h"
#include "formats/tensor.h"

typedef struct rs_payload {
    rs_hash *stream, *piece; // stream: XXH3-128 of all bytes; piece: XXH3-64 of the chunk or of the whole payload
    uint64_t len, at;
    bool chunked;
    uint8_t *sums;           // 8 bytes per finished chunk, as TSUM holds them
    size_t n_sums, cap;
    const rs_part *parts;    // zeros between them; borrowed
    int n_parts;
    uint64_t row_bytes, codes_len; // rows whose last byte has pad bits
    uint8_t row_mask;
    uint64_t bad_at;         // first byte that should have been zero, UINT64_MAX if none
} rs_payload;

// Makes the hashes; stream starts at once. E_NOMEM. rs_payload_free frees what p owns.
RS_MUST_CHECK rs_status rs_payload_init(rs_payload *p, rs_error *e);
void rs_payload_free(rs_payload *p);
// Starts a payload of len bytes (at most RS_MAX_PAYLOAD); chunked: one hash per RS_CHUNK. E_NOMEM.
RS_MUST_CHECK rs_status rs_payload_start(rs_payload *p, uint64_t len, bool chunked, rs_error *e);
// Names the parts of the payload, so that the zeros between them are looked at; of a tensor also the pad bits of its rows.
void rs_payload_watch(rs_payload *p, const rs_part *parts, int n_parts);
void rs_payload_watch_tensor(rs_payload *p, const rs_tensor *t);
// Takes the next n bytes; the caller sees to it that they do not pass len.
void rs_payload_add(rs_payload *p, const uint8_t *bytes, size_t n);
// Hash of a payload that is not chunked, after its last byte.
uint64_t rs_payload_sum(const rs_payload *p);

#endif
