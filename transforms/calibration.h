// SPDX-License-Identifier: Apache-2.0
// Walks calibration text through a network layer by layer: the residual streams of all sequences in memory, the weights of one layer.
#ifndef RS_TRANSFORMS_CALIBRATION_H
#define RS_TRANSFORMS_CALIBRATION_H

#include "transforms/network.h"

// Which tokens: samples windows of ctx tokens, one behind the other, after the first skip tokens.
typedef struct rs_calibration_text {
    const int32_t *ids;
    size_t count, samples, ctx, skip;
} rs_calibration_text;

typedef struct rs_calibration {
    rs_network *n;       // borrowed
    size_t samples, ctx;
    float *x;            // [samples, ctx, d]: the streams where the walk stands
    float *copy;         // [ctx, d]
    uint64_t passed;     // halves of a layer that sequences have passed, and whom to tell (NULL allowed): samples x 2 for each pass over a layer
    void (*progress)(void *context, double passed);
    void *context;
} rs_calibration;

// Embeds the windows. RS_USAGE when the text is too short (says how many tokens there are); E_VALUE for an id outside the vocabulary, E_LIMIT, E_NOMEM. c is to be closed in any case.
RS_MUST_CHECK rs_status rs_calibration_open(rs_calibration *c, rs_network *n, const rs_calibration_text *text, rs_error *e);
void rs_calibration_close(rs_calibration *c);
// The loaded layer with nothing quantised but its weights.
RS_MUST_CHECK rs_status rs_calibration_load(rs_calibration *c, uint64_t i, rs_decoder_layer *layer, rs_error *e);
// Every sequence through halves of layer; keep: the streams become what comes out, otherwise they stay. tap hears each sequence in turn. Errors of rs_network_run.
RS_MUST_CHECK rs_status rs_calibration_pass(rs_calibration *c, const rs_decoder_layer *layer, rs_half halves, bool keep, rs_tap_fn *tap, void *context, rs_error *e);
// The norm in front of a half alone (gamma [d] as in kernels.h): tap hears its output of each sequence as tap_id.
void rs_calibration_norm(rs_calibration *c, const float *gamma, rs_tap tap_id, rs_tap_fn *tap, void *context);

#endif
