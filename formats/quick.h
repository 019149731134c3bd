// SPDX-License-Identifier: Apache-2.0
// Frames of a seekable stream at random, from its tail and index; shared by the quick check and the outline.
#ifndef RS_FORMATS_QUICK_H
#define RS_FORMATS_QUICK_H

#include "formats/bytes.h"
#include "formats/frames.h"
#include "formats/io.h"

typedef struct rs_quick {
    rs_in *in;              // not owned
    uint32_t align;         // HEAD's
    unsigned minor;         // of the stream
    rs_tail tail;
    uint64_t chain_off;     // offset of the frame behind HEAD
    uint64_t entries_off, n_entries; // of INDX
} rs_quick;

// Checks signature, HEAD (into head; a holds its exceptions), tail and INDX of a seekable stream. Any class of error.
RS_MUST_CHECK rs_status rs_quick_open(rs_quick *q, rs_in *in, rs_arena *a, rs_head *head, rs_error *e);
// Reads and judges the prologue of the frame at offset. E_TRUNC, E_SUM, E_FRAME, E_LIMIT.
RS_MUST_CHECK rs_status rs_quick_prologue(const rs_quick *q, uint64_t offset, rs_prologue *p, rs_error *e);
// The same with its metadata, whose fields go to record (rs_record is room enough; nothing for unknown frames); texts and lists stand in a. type: what it must be (RS_FRAME_END: anything).
RS_MUST_CHECK rs_status rs_quick_frame(const rs_quick *q, rs_arena *a, uint64_t offset, rs_frame_type type, rs_prologue *p, uint64_t *payload_off, void *record, rs_error *e);

#endif
