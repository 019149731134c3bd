// SPDX-License-Identifier: Apache-2.0
// What the parts of kernels_check.c share.
#ifndef RS_INSPECT_KERNELS_INSIDE_H
#define RS_INSPECT_KERNELS_INSIDE_H

#include "inspect/kernels_check.h"

// What taps of a layer see before it is quantised.
enum { RS_KERNELS_QKV, RS_KERNELS_Q, RS_KERNELS_K, RS_KERNELS_V, RS_KERNELS_O, RS_KERNELS_GATE_UP, RS_KERNELS_DOWN, RS_KERNELS_FFN, RS_KERNELS_PLACES }; // FFN: the stream between the halves

// One run of a layer: its input, what the taps saw, and its output in x.
typedef struct rs_kernels_run {
    float *x, *place[RS_KERNELS_PLACES];
    size_t columns[RS_KERNELS_PLACES];
} rs_kernels_run;

typedef struct rs_kernels_state {
    const rs_kernels_options *o;
    rs_kernels_result *r;
    const rs_int_kernels *const *variants;
    size_t n_variants, S;
    uint64_t layer;
} rs_kernels_state;

// Counts a failure; the text of the first is kept.
void rs_kernels_fail(rs_kernels_state *s, const char *fmt, ...) RS_PRINTF(2, 3);

// A matrix whose input is quantised by q, and real inputs x [S, w->k]. E_NOMEM, E_VALUE.
RS_MUST_CHECK rs_status rs_kernels_matrix(rs_kernels_state *s, size_t role, const char *name, const rs_int_weights *w, const rs_quantizer *q, const float *x, rs_error *e);
// How often a device computes each thing.
size_t rs_kernels_repeat(const rs_kernels_state *s);
// The operations of the device's table on what the simulated run of a layer saw, x: its input [S, d], against the reference. E_NOMEM, E_INTERNAL.
RS_MUST_CHECK rs_status rs_kernels_device(rs_kernels_state *s, rs_network *n, const rs_decoder_layer *l, const rs_kernels_run *sim, const float *x, rs_error *e);
// The pass that the device makes of a stream x [S, d] in one go (rs_int_norm_quantise), as often as it is asked for, against its parts one by one. E_NOMEM, E_INTERNAL.
RS_MUST_CHECK rs_status rs_kernels_fused(rs_kernels_state *s, const char *where, const rs_decoder_shape *h, const rs_quantizer *q, const float *gamma, const rs_junction *j, const float *x, rs_error *e);
// x [S, d] in place through the layer of the integer network n on the device. E_NOMEM, E_INTERNAL.
RS_MUST_CHECK rs_status rs_kernels_device_layer(rs_kernels_state *s, rs_network *n, float *x, rs_error *e);
// The packed cache of K and V [S, n_kv h] as they are before quantising. E_NOMEM, E_INTERNAL.
RS_MUST_CHECK rs_status rs_kernels_cache(rs_kernels_state *s, rs_network *n, const float *k, const float *v, rs_error *e);
// The stages of the layer that both networks have loaded; sim: the simulated run of it, x: its input [S, d]. E_NOMEM, E_VALUE.
RS_MUST_CHECK rs_status rs_kernels_stages(rs_kernels_state *s, rs_network *n, const rs_decoder_layer *simulated, const rs_decoder_layer *integer, const rs_kernels_run *sim, rs_kernels_run *run,
                                          const float *x, rs_error *e);
// Values of one place in both networks, [S, n], and how far those of a token may be apart.
typedef struct rs_kernels_pair {
    const char *what; // that reads them
    size_t n;
    const float *sim, *x;
    const double *allowed; // [S]
} rs_kernels_pair;

// Codes of both by q, in rows of `row` values that share a scale: counts them in *inputs, those that differ in *moved. E_NOMEM, E_VALUE.
RS_MUST_CHECK rs_status rs_kernels_codes(rs_kernels_state *s, const rs_kernels_pair *p, rs_quantizer q, size_t row, uint64_t *inputs, uint64_t *moved, rs_error *e);
// max |x| over n values.
double rs_kernels_largest(size_t n, const float *x);
// Fills a run's places as the taps call it (a rs_tap_fn; context: the run).
void rs_kernels_tap(void *context, rs_tap tap, size_t rows, size_t cols, const float *x, size_t ld);
// Logits of hidden states x [S, d] of networks sim, integer, plain, sums, nudged (the first once more) and, where there is one, device (x is here all the same) into r. E_NOMEM.
RS_MUST_CHECK rs_status rs_kernels_logits_compare(rs_kernels_state *s, rs_network *const n[6], float *const x[6], rs_error *e);

#endif
