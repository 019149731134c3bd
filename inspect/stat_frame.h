// SPDX-License-Identifier: Apache-2.0
// Statistics as frames of the container: what was measured, where, and the numbers (formats/FORMAT.md 14).
#ifndef RS_INSPECT_STAT_FRAME_H
#define RS_INSPECT_STAT_FRAME_H

#include "formats/writer.h"
#include "inspect/stat.h"

// One thing that was measured; all borrowed. role RS_ROLE_COUNT and layer -1 for a stream.
typedef struct rs_stat_subject {
    const char *name, *of;  // of a tensor, or basis.J; weight, input, kv, stream
    rs_role role;
    int64_t layer;
    unsigned step;          // whose output was measured
    const rs_stat_result *r;
    size_t setting;         // whose sqnr it is
} rs_stat_subject;

// Who wants the statistics, one after the other.
typedef rs_status rs_stat_sink(void *context, const rs_stat_subject *s, rs_error *e);

// A number of the flat map, in the order of its keys.
typedef struct rs_stat_number {
    const char *key;
    bool whole;    // u, else f
    uint64_t u;
    double f;
} rs_stat_number;
enum { RS_STAT_NUMBERS = 12 };

// Those that are defined, into list; how many.
size_t rs_stat_numbers(const rs_stat_subject *s, rs_stat_number list[RS_STAT_NUMBERS]);
// Writes the frame. Errors of rs_writer_stat, E_NOMEM.
RS_MUST_CHECK rs_status rs_stat_write(rs_writer *w, const rs_stat_subject *s, rs_error *e);

#endif
