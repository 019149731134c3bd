// SPDX-License-Identifier: Apache-2.0
// Walks calibration text through a network layer by layer: the residual streams of all sequences, in memory or beyond a limit in a temporary file, and the weights of one layer.
#ifndef RS_TRANSFORMS_CALIBRATION_H
#define RS_TRANSFORMS_CALIBRATION_H

#include "transforms/network.h"

// Which tokens: samples windows of ctx tokens, one behind the other, after the first skip tokens.
typedef struct rs_calibration_text {
    const int32_t *ids;
    size_t count, samples, ctx, skip;
    uint64_t mem; // bytes that the streams may take, 0: any; the rest of them is kept in an unlinked temporary file, with the same results
} rs_calibration_text;

typedef struct rs_calibration {
    rs_network *n;       // borrowed
    size_t samples, ctx;
    float *x;            // [held, ctx, d]: the streams of the first sequences where the walk stands, where n computes
    size_t held;
    int fd;              // those of the others, one behind the other; -1: none
    float *copy, *work;  // [ctx, d] each: in the process; and what is worked on, where n computes (the same, if that is in the process)
    uint64_t passed;     // halves of a layer that sequences have passed, and whom to tell (NULL allowed): samples x 2 for each pass over a layer
    void (*progress)(void *context, double passed);
    bool (*stop)(void *context); // asked before each sequence of a pass that keeps nothing (NULL allowed): true ends the pass with RS_NO
    void *context;
} rs_calibration;

// Embeds the windows. RS_USAGE when the text is too short (says how many tokens there are) or mem does not hold a sequence; E_VALUE for an id outside the vocabulary, E_LIMIT, E_WRITE
// (temporary), E_NOMEM. c is to be closed in any case.
RS_MUST_CHECK rs_status rs_calibration_open(rs_calibration *c, rs_network *n, const rs_calibration_text *text, rs_error *e);
void rs_calibration_close(rs_calibration *c);
// The loaded layer with nothing quantised but its weights.
RS_MUST_CHECK rs_status rs_calibration_load(rs_calibration *c, uint64_t i, rs_decoder_layer *layer, rs_error *e);
// Every sequence through halves of layer; keep: the streams become what comes out, otherwise they stay. tap hears each sequence in turn. Errors of rs_network_run, E_READ, E_WRITE;
// RS_NO: it was stopped, and nothing has changed.
RS_MUST_CHECK rs_status rs_calibration_pass(rs_calibration *c, const rs_decoder_layer *layer, rs_half halves, bool keep, rs_tap_fn *tap, void *context, rs_error *e);
// The norm in front of a half alone (gamma [d] as in kernels.h): tap hears its output of each sequence as tap_id. E_READ.
RS_MUST_CHECK rs_status rs_calibration_norm(rs_calibration *c, const float *gamma, rs_tap tap_id, rs_tap_fn *tap, void *context, rs_error *e);
// The stream of sequence s as it stands into x [ctx, d]; and x in its place. E_READ, E_WRITE.
RS_MUST_CHECK rs_status rs_calibration_get(const rs_calibration *c, size_t s, float *x, rs_error *e);
RS_MUST_CHECK rs_status rs_calibration_put(rs_calibration *c, size_t s, const float *x, rs_error *e);

#endif
