// SPDX-License-Identifier: Apache-2.0
// GPTQ of a whole model: calibration text walks through it layer by layer, each layer is quantised on what the quantised layers before it hand on, payloads wait in a temporary file.
#ifndef RS_QUANTIZE_GPTQ_MODEL_H
#define RS_QUANTIZE_GPTQ_MODEL_H

#include "quantize/gptq.h"
#include "quantize/recipe.h"
#include "transforms/calibration.h"

// What became of one matrix: cost as rounding has it, and the mean squared error of one of its outputs for one calibration token.
typedef struct rs_gptq_report {
    rs_pack_error cost;
    bool gptq;   // false: to nearest, by the recipe; what follows is not known
    double output_error;
    double damp; // and how often it had to be raised
    unsigned raised;
} rs_gptq_report;

typedef struct rs_gptq_model_options {
    rs_scheme scheme;        // by GPTQ, whatever scheme.gptq says,
    const rs_recipe *recipe; // but for matrices that this rounds to nearest or leaves alone; NULL: all alike
    rs_gptq_options gptq;
    bool one_pass; // the Hessians of a layer from one pass before any of it is quantised; otherwise q k v | o | gate up | down, each seeing the quantised ones before
    // Called after each matrix, and with the number of layers that are done; each may be NULL.
    void (*tensor)(void *context, const rs_tensor *packed, const rs_gptq_report *report);
    void (*progress)(void *context, double layers);
    void *context;
} rs_gptq_model_options;

typedef struct rs_gptq_model rs_gptq_model;

// Quantises q k v o gate up down, but for those that the recipe leaves alone, of all layers of m (borrowed until close), with the online rotations and junctions of its plan active and activations and KV unquantised.
// Memory: one layer in f32, its Hessians, and the streams of all calibration tokens. RS_USAGE: packed weights, a group that does not fit, a text that is too short;
// E_VALUE: weights or streams that are not finite, a Hessian that cannot be factored; errors of rs_network_open, E_WRITE (temporary file), E_NOMEM. Free with rs_gptq_model_close.
RS_MUST_CHECK rs_status rs_gptq_model_run(rs_gptq_model **g, const rs_mapped *m, const rs_calibration_text *text, const rs_gptq_model_options *o, rs_error *e);
// The payload of a matrix, packed->payload_len bytes. context is the rs_gptq_model: made for rs_pack_options. E_TENSOR: not one of its matrices; E_READ.
RS_MUST_CHECK rs_status rs_gptq_model_payload(void *context, const rs_tensor *packed, uint8_t *payload, rs_error *e);
// Hessians whose factorisation needed a larger damp, and the largest damp used.
unsigned rs_gptq_model_raised(const rs_gptq_model *g, double *damp);
// NULL allowed.
void rs_gptq_model_close(rs_gptq_model *g);

#endif
