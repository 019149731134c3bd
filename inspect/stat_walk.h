// SPDX-License-Identifier: Apache-2.0
// Statistics of activations: a text walks through the network that a file describes, with the quantisers that its plan has, and every input, K, V and the stream are measured on the way.
#ifndef RS_INSPECT_STAT_WALK_H
#define RS_INSPECT_STAT_WALK_H

#include "inspect/stat_frame.h"
#include "transforms/calibration.h"

typedef struct rs_stat_walk rs_stat_walk;

// Over a mapped model (borrowed) and the work of rs_stat_work_new (borrowed); the ids of the text are not needed afterwards. k: the kernels of the network (NULL: the best here). progress (NULL allowed) hears how many of the tokens are done.
// RS_USAGE: rotations, a text too short, mem too small; errors of rs_network_open and rs_calibration_open. Free with rs_stat_walk_close (NULL allowed).
RS_MUST_CHECK rs_status rs_stat_walk_open(rs_stat_walk **w, const rs_mapped *m, const rs_kernels *k, const rs_calibration_text *text, rs_stat_work *work, void (*progress)(void *context, double tokens), void *context,
                                          rs_error *e);
void rs_stat_walk_close(rs_stat_walk *w);
// Gives the statistics that belong to a tensor to sink: its input where it is one of q k v o gate up down, and K or V behind k or v. The walk goes on to its layer first, if it is not there
// yet. Others have none. E_VALUE if a quantiser met NaN or infinity; errors of rs_calibration_pass and of sink.
RS_MUST_CHECK rs_status rs_stat_walk_tensor(rs_stat_walk *w, const rs_tensor *t, unsigned step, rs_stat_sink *sink, void *context, rs_error *e);
// Walks to the end and gives those of the stream at every basis. Same errors.
RS_MUST_CHECK rs_status rs_stat_walk_stream(rs_stat_walk *w, unsigned step, rs_stat_sink *sink, void *context, rs_error *e);
// Seconds that walking and measuring took so far, and the tokens of the text.
double rs_stat_walk_seconds(const rs_stat_walk *w, double *tokens);

#endif
