// SPDX-License-Identifier: Apache-2.0
// Between files and the state of the screens: opens, gathers, reads what a screen needs, and takes what threads have brought.
#ifndef RS_INSPECT_TOP_H
#define RS_INSPECT_TOP_H

#include "inspect/view.h"

typedef struct rs_top rs_top;

typedef struct rs_top_options {
    const char *file[2];   // file[1] NULL: one; "-": standard input
    const char *saved;     // in their place: an export that is opened again
    int64_t steps[2];      // before, after; -1: lowest, highest
    bool threads;          // compute, check and read pipes beside the caller (screens); otherwise rs_top_finish does it
} rs_top_options;

// Opens the files and makes a view of them (rs_top_view). Any class of error. Free with rs_top_close (NULL allowed).
RS_MUST_CHECK rs_status rs_top_open(rs_top **t, const rs_top_options *o, int cols, int rows, rs_error *e);
void rs_top_close(rs_top *t);
rs_view *rs_top_view(rs_top *t);
rs_outline *rs_top_outline(rs_top *t, int doc);
// For batch: reads a pipe to its end; with figures computes those of the weights where the file has none (progress, NULL allowed, hears the share), with verify checks every byte. Any class of error.
RS_MUST_CHECK rs_status rs_top_finish(rs_top *t, bool figures, bool verify, void (*progress)(void *context, double share), void *context, rs_error *e);
// Reads what the screen of the view needs: parts of the current row, the spectrum of the junction. What cannot be read is said in the view, not returned.
void rs_top_need(rs_top *t);
// Takes what the threads brought; true if the picture may have changed. *busy: more will come.
bool rs_top_poll(rs_top *t, bool *busy);
// Opens the files anew; the old state stays, with the reason in its message line, if that fails.
void rs_top_reload(rs_top *t);
// The first fault that reading or checking met: what the program ends with.
rs_status rs_top_fault(const rs_top *t, rs_error *e);

#endif
