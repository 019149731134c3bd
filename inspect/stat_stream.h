// SPDX-License-Identifier: Apache-2.0
// The measuring stage of a pipe: what every tensor holds, right behind it, and what a text makes of the network; everything else passes through.
#ifndef RS_INSPECT_STAT_STREAM_H
#define RS_INSPECT_STAT_STREAM_H

#include "formats/stage.h"
#include "inspect/stat_walk.h"

typedef struct rs_stat_stream_options {
    rs_stat_walk *walk;   // NULL: weights only
    rs_stat_work *work;
    rs_stat_sink *sink;   // hears of everything that is measured; NULL: nobody
    void *context;
    // After every tensor, with the bytes read so far; NULL allowed.
    void (*progress)(void *context, double bytes);
} rs_stat_stream_options;

// Every frame from the current one to the end. With a writer (after rs_stage_begin, up to and without rs_stage_finish) they are written with the statistics; older statistics of the same step that
// are measured anew are left out. Without, nothing is written. Errors of reading, writing, measuring and of sink.
RS_MUST_CHECK rs_status rs_stat_stream(rs_stage *s, const rs_stat_stream_options *o, rs_error *e);

#endif
