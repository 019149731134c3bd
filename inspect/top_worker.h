// SPDX-License-Identifier: Apache-2.0
// What takes longer than a key press: figures of weights that the file lacks, spectra of junctions, and the check of the whole file; at once for batch, by threads for the screen.
#ifndef RS_INSPECT_TOP_WORKER_H
#define RS_INSPECT_TOP_WORKER_H

#include "inspect/spectrum.h"
#include "inspect/stat_weights.h"
#include "inspect/view.h"

// Figures of one tensor, with its channels; or the spectrum of one junction.
typedef struct rs_top_result {
    bool spectral;
    int doc;
    size_t tensor;              // of the outline
    rs_figures fig;
    rs_view_channels channels;
    rs_view_spectrum spectrum;
    rs_status status;
    rs_error error;
    struct rs_top_result *next;
} rs_top_result;

// Measures tensor i of o; status RS_OK and no known figure for one that has none. work is that of rs_stat_work_new. E_READ, E_TRUNC, E_NOMEM and others.
RS_MUST_CHECK rs_status rs_top_weights(rs_outline *o, size_t i, rs_stat_work *work, rs_top_result *r, rs_error *e);
void rs_top_result_free(rs_top_result *r);

typedef struct rs_top_worker rs_top_worker;

// A thread that measures all tensors of the outlines that wants names, and spectra first when they are asked for. The outlines must be complete and outlive it. E_NOMEM. Free with rs_top_worker_stop,
// which waits until the piece under way is done (NULL allowed).
RS_MUST_CHECK rs_status rs_top_worker_start(rs_top_worker **w, rs_outline *const doc[2], const bool wants[2], rs_error *e);
void rs_top_worker_stop(rs_top_worker *w);
// Asks for the spectrum of a junction; a later request takes the place of one that has not begun.
void rs_top_worker_ask(rs_top_worker *w, int doc, const rs_view_junction *j);
// The next result, NULL if there is none now; the caller frees it. *share (NULL allowed): how much of the weights is done.
rs_top_result *rs_top_worker_take(rs_top_worker *w, double *share);
// False once nothing is left to do.
bool rs_top_worker_busy(rs_top_worker *w);

typedef struct rs_top_check rs_top_check;

// A thread that verifies every byte and rule of the files (NULL entries are skipped), one after the other. E_NOMEM. rs_top_check_stop (NULL allowed) ends it soon.
RS_MUST_CHECK rs_status rs_top_check_start(rs_top_check **c, const char *const path[2], rs_error *e);
void rs_top_check_stop(rs_top_check *c);
// How it stands.
void rs_top_check_look(rs_top_check *c, rs_view_check *out);

#endif
