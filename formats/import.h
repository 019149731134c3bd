// SPDX-License-Identifier: Apache-2.0
// Turns a source into a weights stream: every tensor of the architecture found, its shape checked, its values kept or made exact f32, in the container's order.
#ifndef RS_FORMATS_IMPORT_H
#define RS_FORMATS_IMPORT_H

#include "formats/model.h"
#include "formats/source.h"
#include "formats/writer.h"

typedef struct rs_import {
    rs_source source;
    rs_config config;
    const rs_source_tensor **place; // where the i-th tensor of the model comes from; behind them those that travel as role "other"
    uint64_t n_model, n_other;
    const char *note[4];            // what was decided for the user, one sentence each
    size_t n_notes;
} rs_import;

// Opens a source (path and options as rs_source_open takes them), reads its configuration and finds every tensor. On success free with rs_import_close. E_IMPORT: a
// tensor missing, of a wrong shape or unsupported type, or unknown to the architecture; a vocabulary that the embedding does not hold. Else as rs_source_open.
RS_MUST_CHECK rs_status rs_import_open(rs_import *m, const char *path, const rs_source_options *o, rs_error *e);
// Frees what m points to; a zeroed struct is allowed.
void rs_import_close(rs_import *m);

// Adds the rule of this name ("gguf-pad") to *lenient. RS_USAGE with the list of names.
RS_MUST_CHECK rs_status rs_import_lenient(const char *name, unsigned *lenient, rs_error *e);

// Number of tensors, and the i-th as it will stand in the stream with its layout derived.
uint64_t rs_import_count(const rs_import *m);
RS_MUST_CHECK rs_status rs_import_tensor(const rs_import *m, uint64_t i, rs_tensor *t, rs_error *e);
// Head of the stream.
rs_head rs_import_head(const rs_import *m);
// Parameters for the provenance link, a flat map in a: source format, rules that let something pass.
rs_value *rs_import_params(const rs_import *m, rs_arena *a);

// Writes documents and tensors to w, which has its head and its first link, and the digests of all inputs as inputs of step 0. With threads > 1 the digests are
// computed beside the copying. progress (NULL allowed) is called with the bytes read so far, at most rs_import_bytes. E_READ, E_TRUNC (a source that became shorter), E_WRITE.
RS_MUST_CHECK rs_status rs_import_write(const rs_import *m, rs_writer *w, int threads, void (*progress)(void *context, double bytes), void *context, rs_error *e);
// Bytes of all tensors in the source.
uint64_t rs_import_bytes(const rs_import *m);
// Most bytes that later stages need: those that work tensor by tensor (fuse, residual, pack) and evaluation with windows of ctx tokens.
uint64_t rs_import_stage_memory(const rs_import *m);
uint64_t rs_import_eval_memory(const rs_import *m, uint64_t ctx);

#endif
