// SPDX-License-Identifier: Apache-2.0
// GPTQ of a whole model: calibration text walks through it layer by layer, each layer is quantised on what the quantised layers before it hand on, and when a stream asks for one of its matrices.
#ifndef RS_QUANTIZE_GPTQ_MODEL_H
#define RS_QUANTIZE_GPTQ_MODEL_H

#include "quantize/gptq.h"
#include "quantize/gptq_store.h"
#include "quantize/recipe.h"
#include "transforms/calibration.h"

typedef struct rs_gptq_model_options {
    rs_scheme scheme;        // by GPTQ, whatever scheme.gptq says,
    const rs_recipe *recipe; // but for matrices that this rounds to nearest or leaves alone; NULL: all alike
    rs_gptq_options gptq;
    const rs_kernels *k; // to compute with, NULL: the best of this processor; a device is used by the thread that asks for payloads alone
    bool one_pass; // the Hessians of a layer from one pass before any of it is quantised; otherwise q k v | o | gate up | down, each seeing the quantised ones before
    bool keep;     // results stay, in a temporary file, for checkpoints
    // Called after each matrix, after each layer with the sum of its output errors, and with the number of layers that are done; each may be NULL.
    void (*tensor)(void *context, const rs_tensor *packed, const rs_gptq_report *report);
    void (*layer)(void *context, uint64_t layer, double output_error);
    void (*progress)(void *context, double layers);
    bool (*stop)(void *context);                // asked often (NULL allowed): true ends the work with RS_NO
    rs_status (*save)(void *context, rs_error *e); // called after every save_every layers (0: never)
    uint64_t save_every;
    void *context;
} rs_gptq_model_options;

typedef struct rs_gptq_model rs_gptq_model;

// Prepares to quantise q k v o gate up down, but for those that the recipe leaves alone, of all layers of m (borrowed until close, as the recipe is), with the online rotations and junctions of its plan
// active and activations and KV unquantised. Nothing is quantised yet. RS_USAGE: packed weights, a group that does not fit, a text that is too short; errors of rs_network_open and
// rs_calibration_open, E_WRITE (temporary file), E_NOMEM. Free with rs_gptq_model_close.
RS_MUST_CHECK rs_status rs_gptq_model_open(rs_gptq_model **g, const rs_mapped *m, const rs_calibration_text *text, const rs_gptq_model_options *o, rs_error *e);
// The payload of a matrix, packed->payload_len bytes: layers up to its own are quantised first, unless they are done. context is the rs_gptq_model: made for rs_pack_options. Without o->keep each is
// given once. Memory: one layer in f32, its Hessians, the streams of the calibration tokens, and what was made and not asked for yet: of one layer, where the stream has the layers in order.
// E_TENSOR: not one of its matrices; E_VALUE: weights or streams that are not finite, a Hessian that cannot be factored; E_READ (also where the file was cut), E_WRITE, E_NOMEM (also of the device), E_INTERNAL
// (the device failed); RS_NO: stopped.
RS_MUST_CHECK rs_status rs_gptq_model_payload(void *context, const rs_tensor *packed, uint8_t *payload, rs_error *e);
// What is to be recorded about how a matrix was made whose payload was given (FORMAT.md 20.9), in a; NULL for one that was rounded to nearest. E_NOMEM.
RS_MUST_CHECK rs_status rs_gptq_model_values(void *context, const rs_tensor *packed, rs_arena *a, rs_value **values, rs_error *e);
// NULL allowed.
void rs_gptq_model_close(rs_gptq_model *g);

// ---- for checkpoints

// Halves of layers (attention, FFN) that are done, 0..2L; with one_pass whole layers.
uint64_t rs_gptq_model_done(const rs_gptq_model *g);
// Goes on behind so many of them, whose results and streams the caller has put in place. RS_E_VALUE: more than there are, or half a layer with one_pass.
RS_MUST_CHECK rs_status rs_gptq_model_skip(rs_gptq_model *g, uint64_t halves, rs_error *e);
// Where results and streams stand: result 7 i + role of layer i, q to down.
rs_gptq_store *rs_gptq_model_results(rs_gptq_model *g);
rs_calibration *rs_gptq_model_streams(rs_gptq_model *g);
const rs_gptq_model_options *rs_gptq_model_asked(const rs_gptq_model *g);
// Matrix i of the results as the model has it, and as it is packed; *tensor NULL where it is left alone. E_TENSOR, RS_USAGE as rs_quantize_layout.
RS_MUST_CHECK rs_status rs_gptq_model_matrix(const rs_gptq_model *g, size_t i, const rs_tensor **tensor, rs_tensor *packed, rs_error *e);

#endif
