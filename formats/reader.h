// SPDX-License-Identifier: Apache-2.0
// Pull iterator over an RSQ stream: verifies every length before it is used and every hash, in constant memory, from a pipe or a file.
#ifndef RS_FORMATS_READER_H
#define RS_FORMATS_READER_H

#include "formats/container.h"
#include "formats/io.h"

typedef struct rs_reader rs_reader;

// One frame as next() met it. Pointers are valid until the following next().
typedef struct rs_frame {
    rs_frame_type type;      // RS_FRAME_FILE, _TENS, _STAT, _UNKNOWN (ancillary, safe to copy) or _END
    uint32_t seq;
    uint64_t offset;         // of the frame in the stream
    uint64_t payload_off;    // of its payload in the stream
    uint64_t payload_len;
    char tag[5];             // the four letters
    const rs_tensor *tensor; // RS_FRAME_TENS
    const char *file_name;   // RS_FRAME_FILE
    const rs_stat_head *stat;// RS_FRAME_STAT
    const uint8_t *meta;     // canonical bytes of the metadata
    size_t meta_len;
} rs_frame;

// Starts on in (not owned, must outlive the reader): reads and checks signature, HEAD and the PROV chain. Free with rs_reader_free. Any class of error.
RS_MUST_CHECK rs_status rs_reader_open(rs_reader **r, rs_in *in, rs_error *e);
// strict: also reject what readers ignore (unknown ancillary frames, x_ keys, a newer minor version). Same errors as rs_reader_open.
RS_MUST_CHECK rs_status rs_reader_open_strict(rs_reader **r, rs_in *in, rs_error *e);
// The same over len bytes in memory or in a mapping, which must outlive the reader: payloads are hashed where they lie.
RS_MUST_CHECK rs_status rs_reader_open_view(rs_reader **r, const void *bytes, uint64_t len, rs_error *e);
// The same as rs_reader_open, and hands every byte taken from in to sink as well, in order, before it is judged: a spool.
typedef rs_status rs_reader_sink(void *context, const void *bytes, size_t n, rs_error *e);
RS_MUST_CHECK rs_status rs_reader_open_sink(rs_reader **r, rs_in *in, rs_reader_sink *sink, void *context, rs_error *e);
// Head and provenance chain (n links), owned by the reader, valid until rs_reader_free.
const rs_head *rs_reader_head(const rs_reader *r);
const rs_prov *rs_reader_prov(const rs_reader *r, size_t *n);
// Moves to the next frame that carries content; what was left of the current payload is skipped and still verified. RS_OK with f->type == RS_FRAME_END only
// after ENDS agreed and the stream ended; every other end is an error. After an error every call returns it again.
RS_MUST_CHECK rs_status rs_reader_next(rs_reader *r, rs_frame *f, rs_error *e);
// Reads the next n bytes of the current payload (tentative until the following next() or rs_reader_finish_payload agreed). Asking beyond its end is RS_E_INTERNAL.
RS_MUST_CHECK rs_status rs_reader_read(rs_reader *r, void *buf, size_t n, rs_error *e);
// Reads what is left of the current payload away and verifies its hashes (for TENS: reads the TSUM).
RS_MUST_CHECK rs_status rs_reader_finish_payload(rs_reader *r, rs_error *e);
// Reads the whole payload (f->payload_len bytes) into buf and verifies it.
RS_MUST_CHECK rs_status rs_reader_read_all(rs_reader *r, void *buf, rs_error *e);
// After RS_FRAME_END: XXH3-128 of the stream as ENDS holds it (canonical order), XXH3-128 over all TSUM payloads (the tensor digest), and total size.
void rs_reader_digest(const rs_reader *r, uint8_t digest[16], uint8_t tensors[16], uint64_t *size);
// After RS_FRAME_END: the inputs of provenance step (n of them), NULL if there is no such step.
const rs_input_sum *rs_reader_inputs(const rs_reader *r, unsigned step, size_t *n);
// Meta bytes of link i of the chain as they stand in the stream (for rs_writer_prov_copy), NULL beyond its end.
const uint8_t *rs_reader_prov_meta(const rs_reader *r, size_t i, size_t *len);
// Counts so far.
uint32_t rs_reader_frames(const rs_reader *r);
uint32_t rs_reader_tensors(const rs_reader *r);
// NULL allowed.
void rs_reader_free(rs_reader *r);

// Quick check of a seekable stream: signature, HEAD, tail, INDX; payloads are not read. Fills head (arena a holds its exceptions), digest and counts where not NULL.
RS_MUST_CHECK rs_status rs_reader_quick(rs_in *in, rs_arena *a, rs_head *head, uint8_t digest[16], uint32_t *frames, uint32_t *tensors, rs_error *e);

#endif
