// SPDX-License-Identifier: Apache-2.0
// The fixed byte layouts of a stream: signature, frame prologue, tail (formats/FORMAT.md); reader and writer share them.
#ifndef RS_FORMATS_BYTES_H
#define RS_FORMATS_BYTES_H

#include "formats/container.h"

#define RS_SIGNATURE_LEN 16
#define RS_PROLOGUE_LEN 32
#define RS_TAIL_LEN 64
#define RS_ENTRY_LEN 32
#define RS_MAJOR 1
#define RS_MINOR 0

// What a prologue says; tag ends with NUL.
typedef struct rs_prologue {
    char tag[5];
    rs_frame_type type; // RS_FRAME_UNKNOWN for letters without a row
    uint32_t meta_len, pad_len, seq;
    uint64_t payload_len;
} rs_prologue;

// What the payload of ENDS says.
typedef struct rs_tail {
    uint64_t index_off, end_off, total_size;
    uint32_t n_frames, n_tensors;
    uint8_t digest[16];
} rs_tail;

// Writes the 16 bytes of the signature.
void rs_bytes_signature(uint8_t out[RS_SIGNATURE_LEN]);
// Reads a signature of which got bytes are there; *minor is the stream's. E_MAGIC, E_TRUNC, E_SUM, E_VERSION.
RS_MUST_CHECK rs_status rs_bytes_read_signature(const uint8_t *in, size_t got, unsigned *minor, rs_error *e);

// The four letters of a type (HEAD ... ABRT), NULL for others.
const char *rs_bytes_tag(rs_frame_type type);
// The type of four letters, RS_FRAME_UNKNOWN for letters without a row.
rs_frame_type rs_bytes_type(const char *tag);
// True for letters that name an ancillary type; one that is safe to copy unchanged.
bool rs_bytes_ancillary(const char *tag);
bool rs_bytes_safe(const char *tag);

// Pad that a frame at offset needs between its meta check and its payload. False when the sum does not fit.
RS_MUST_CHECK bool rs_bytes_pad(uint64_t offset, uint64_t meta_len, uint32_t align, uint32_t *pad);
// Writes the 32 bytes of a prologue.
void rs_bytes_prologue(uint8_t out[RS_PROLOGUE_LEN], const rs_prologue *p);
// Reads the 32 bytes of a prologue: check, sync and letters; its numbers are still to be judged. E_SUM, E_FRAME.
RS_MUST_CHECK rs_status rs_bytes_read_prologue(const uint8_t in[RS_PROLOGUE_LEN], rs_prologue *p, rs_error *e);
// Judges the lengths of a frame at offset against the limits, and its pad; align is HEAD's. E_LIMIT, E_FRAME.
RS_MUST_CHECK rs_status rs_bytes_check_lengths(const rs_prologue *p, uint64_t offset, uint32_t align, rs_error *e);

// Writes and reads the tail; reading checks its form only. E_SUM, E_INDEX.
void rs_bytes_tail(uint8_t out[RS_TAIL_LEN], const rs_tail *t);
RS_MUST_CHECK rs_status rs_bytes_read_tail(const uint8_t in[RS_TAIL_LEN], rs_tail *t, rs_error *e);

// 33 characters: the digest in hexadecimal.
void rs_bytes_hex(const uint8_t digest[16], char out[33]);
// False when two hashes differ; a fuzzer's build takes every hash as equal, so that it reaches the rules behind them.
bool rs_bytes_same(uint64_t computed, uint64_t stored);

#endif
