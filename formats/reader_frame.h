// SPDX-License-Identifier: Apache-2.0
// Inside of the reader, shared by its files: the source of bytes, and one frame from its prologue to its payload. Included by formats/reader*.c only.
#ifndef RS_FORMATS_READER_FRAME_H
#define RS_FORMATS_READER_FRAME_H

#include "formats/bytes.h"
#include "formats/census.h"
#include "formats/frames.h"
#include "formats/payload.h"
#include "formats/reader.h"

#define RS_READER_BLOCK (256u << 10)

// One frame up to its payload. TSUM has a slot of its own, so that what next() gave out about its TENS stays valid.
typedef struct rs_slot {
    rs_prologue p;
    uint64_t offset, payload_off;
    uint8_t *meta;
    size_t cap;
    rs_arena *arena; // of record; renewed for each frame
    rs_record record;
    const char *name; // for messages, NULL if there is none yet
} rs_slot;

typedef enum rs_place { RS_AT_HEAD, RS_AT_PROV, RS_IN_CHAIN, RS_IN_BODY, RS_AT_TSUM, RS_IN_PSUM, RS_AT_ENDS, RS_AT_END } rs_place;

struct rs_reader {
    // source
    rs_in *in;
    const uint8_t *view; // instead of in
    uint64_t view_len, pos;
    rs_reader_sink *sink;
    void *sink_context;
    uint8_t *block;      // RS_READER_BLOCK bytes
    // state
    bool strict;
    unsigned minor;
    rs_place place;
    uint32_t seq;
    rs_slot slot, tsum;
    bool pending;        // slot holds a prologue that was read ahead
    uint64_t left;       // of the open payload
    bool open;           // a payload is open
    rs_error error;      // the first one, kept
    // what was read
    rs_arena *arena;     // of head, prov, psum
    rs_head head;
    rs_prov prov[RS_MAX_PROV];
    uint8_t *prov_meta[RS_MAX_PROV];
    size_t prov_meta_len[RS_MAX_PROV];
    uint8_t prev[16];
    rs_psum_head psum[RS_MAX_PROV];
    unsigned n_prov, n_psum;
    rs_census *census;
    rs_payload payload;
    rs_hash *index, *sums; // XXH3-64 of the derived INDX payload, XXH3-128 of all TSUM payloads
    uint32_t n_entries;
    uint64_t index_off;
    uint8_t digest[16], tensors[16];
};

// Takes n bytes; what (such as "meta") names them when the stream ends first. They join the stream's hash when hashed. E_TRUNC, E_READ, E_WRITE (sink).
RS_MUST_CHECK rs_status rs_reader_take(rs_reader *r, void *buf, size_t n, bool hashed, const char *what, rs_error *e);
// Takes up to n bytes, *got fewer only at the end.
RS_MUST_CHECK rs_status rs_reader_take_some(rs_reader *r, void *buf, size_t n, size_t *got, rs_error *e);
// Takes n (fewer than RS_READER_BLOCK) bytes that must be zero. E_FRAME.
RS_MUST_CHECK rs_status rs_reader_take_zeros(rs_reader *r, size_t n, bool hashed, const char *what, rs_error *e);
// Reads the prologue of the next frame into s and judges its place and its lengths.
RS_MUST_CHECK rs_status rs_reader_prologue(rs_reader *r, rs_slot *s, rs_error *e);
// Reads meta and pad of the frame in s and judges its fields; afterwards the source stands at the payload.
RS_MUST_CHECK rs_status rs_reader_meta(rs_reader *r, rs_slot *s, rs_error *e);
// Puts "frame N TAG name" before the text of an error.
rs_status rs_reader_blame(const rs_reader *r, const rs_slot *s, rs_status st, rs_error *e);

#endif
