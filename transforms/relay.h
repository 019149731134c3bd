// SPDX-License-Identifier: Apache-2.0
// Overlaps the three works of a filter: one thread reads and verifies ahead, the caller computes, one thread hashes and writes behind.
#ifndef RS_TRANSFORMS_RELAY_H
#define RS_TRANSFORMS_RELAY_H

#include "formats/stage.h"

typedef struct rs_relay rs_relay;

// One frame that arrived, whole and verified; valid until the next rs_relay_next.
typedef struct rs_relay_item {
    rs_frame_type type;       // RS_FRAME_FILE, _TENS, _STAT, _UNKNOWN or _END
    const rs_tensor *tensor;  // RS_FRAME_TENS
    const char *file_name;    // RS_FRAME_FILE
    const uint8_t *payload;   // 64-aligned
    uint64_t payload_len;
} rs_relay_item;

// Starts on a stage whose output has begun (rs_stage_begin). Until rs_relay_finish or rs_relay_close nobody else may use its reader and writer.
// Memory: two frames (the caller's and the next) and at most three output blocks. E_NOMEM.
RS_MUST_CHECK rs_status rs_relay_open(rs_relay **r, rs_stage *s, rs_error *e);
// The next frame; RS_FRAME_END only when the input ended well. Any class of error.
RS_MUST_CHECK rs_status rs_relay_next(rs_relay *r, const rs_relay_item **item, rs_error *e);
// Passes the current frame on unchanged. Any error of the writer, here as in all calls below.
RS_MUST_CHECK rs_status rs_relay_copy(rs_relay *r, rs_error *e);
// Writes a file.
RS_MUST_CHECK rs_status rs_relay_file(rs_relay *r, const char *name, const void *data, size_t len, rs_error *e);
// Writes a tensor with a derived layout: begin; blocks of the payload one after the other (rs_relay_block gives room for n bytes, 64-aligned and owned by the
// relay; rs_relay_post sends its first n bytes); end.
RS_MUST_CHECK rs_status rs_relay_begin(rs_relay *r, const rs_tensor *t, rs_error *e);
RS_MUST_CHECK rs_status rs_relay_block(rs_relay *r, size_t n, void **block, rs_error *e);
RS_MUST_CHECK rs_status rs_relay_post(rs_relay *r, size_t n, rs_error *e);
RS_MUST_CHECK rs_status rs_relay_end(rs_relay *r, rs_error *e);
// Waits until all is written; the stage is the caller's again. To be followed by rs_stage_finish.
RS_MUST_CHECK rs_status rs_relay_finish(rs_relay *r, rs_error *e);
// Stops the threads and frees; NULL allowed.
void rs_relay_close(rs_relay *r);

#endif
