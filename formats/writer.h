// SPDX-License-Identifier: Apache-2.0
// Writes an RSQ stream front to back without a seek. Only rs_writer_finish makes it complete; freeing earlier leaves ABRT or a cut stream, never a whole one.
#ifndef RS_FORMATS_WRITER_H
#define RS_FORMATS_WRITER_H

#include "formats/container.h"
#include "formats/io.h"

typedef struct rs_writer rs_writer;

// Starts on out (not owned, must outlive w): writes signature and HEAD; head->incompat is derived from its plan. Then PROV frames must follow. Every frame is judged by the
// reader's rules before it is written: what a reader would refuse fails here with the same class.
RS_MUST_CHECK rs_status rs_writer_open(rs_writer **w, rs_out *out, const rs_head *head, rs_error *e);
// Writes one PROV; step and prev of p are ignored: they are derived from the frames before. The last one is this stage.
RS_MUST_CHECK rs_status rs_writer_prov(rs_writer *w, const rs_prov *p, rs_error *e);
// Writes a PROV of another stream by its meta bytes; it must be the next link of the chain here too. E_PROV.
RS_MUST_CHECK rs_status rs_writer_prov_copy(rs_writer *w, const uint8_t *meta, size_t meta_len, rs_error *e);
// Writes a fILe (len at most RS_MAX_FILE; name without '/' and leading dot).
RS_MUST_CHECK rs_status rs_writer_file(rs_writer *w, const char *name, const void *data, size_t len, rs_error *e);
// Writes a tensor whose layout is derived (rs_tensor_layout): whole, or begin, payload in pieces, end. The TSUM follows by itself.
RS_MUST_CHECK rs_status rs_writer_tensor(rs_writer *w, const rs_tensor *t, const void *payload, rs_error *e);
RS_MUST_CHECK rs_status rs_writer_tensor_begin(rs_writer *w, const rs_tensor *t, rs_error *e);
RS_MUST_CHECK rs_status rs_writer_payload(rs_writer *w, const void *bytes, size_t n, rs_error *e);
RS_MUST_CHECK rs_status rs_writer_tensor_end(rs_writer *w, rs_error *e);
// Writes a statistics frame with its payload (s->payload_len bytes).
RS_MUST_CHECK rs_status rs_writer_stat(rs_writer *w, const rs_stat_head *s, const void *payload, rs_error *e);
// Copies a frame of another stream (FILE, TENS, STAT, UNKNOWN) as it is: canonical meta bytes, ancillary keys among them, and payload. A TSUM follows TENS by itself.
RS_MUST_CHECK rs_status rs_writer_copy(rs_writer *w, const char tag[5], const uint8_t *meta, size_t meta_len, const void *payload, size_t payload_len, rs_error *e);
// The same in pieces: begin, rs_writer_payload, end (which compares the payload with the sum that the meta names: E_SUM).
RS_MUST_CHECK rs_status rs_writer_copy_begin(rs_writer *w, const char tag[5], const uint8_t *meta, size_t meta_len, uint64_t payload_len, rs_error *e);
RS_MUST_CHECK rs_status rs_writer_copy_end(rs_writer *w, rs_error *e);
// Adds an input of a provenance step; they are written as PSUM by finish, one PSUM per PROV (steps without input get an empty list).
RS_MUST_CHECK rs_status rs_writer_input(rs_writer *w, unsigned step, const rs_input_sum *in, rs_error *e);
// PSUM, INDX, ENDS, then rs_out_commit.
RS_MUST_CHECK rs_status rs_writer_finish(rs_writer *w, rs_error *e);
// Ends the stream with ABRT when it stands at a frame boundary (best effort: upstream's fault is what is reported), so that the next stage can name the culprit.
void rs_writer_abort(rs_writer *w, rs_status status, const char *tool, const char *text);
// Number of links written so far; the last one is this stage.
unsigned rs_writer_steps(const rs_writer *w);
// NULL allowed; without finish nothing more is written.
void rs_writer_free(rs_writer *w);

#endif
