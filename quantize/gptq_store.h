// SPDX-License-Identifier: Apache-2.0
// Quantised matrices between the layer that made them and the stream that asks for them.
#ifndef RS_QUANTIZE_GPTQ_STORE_H
#define RS_QUANTIZE_GPTQ_STORE_H

#include "quantize/rtn.h"

// What became of one matrix: cost as rounding has it, and the mean squared error of one of its outputs for one calibration token.
typedef struct rs_gptq_report {
    rs_pack_error cost;
    bool gptq;   // false: to nearest, by the recipe; what follows is not known
    double output_error;
    double damp; // and how often it had to be raised
    unsigned raised;
} rs_gptq_report;

typedef struct rs_gptq_result {
    const rs_tensor *tensor; // as the model has it (borrowed), NULL: not made yet
    rs_gptq_report report;
    uint64_t len, off;       // of the payload in the temporary file
    uint8_t *payload;        // or in memory, until it is taken
} rs_gptq_result;

typedef struct rs_gptq_store {
    rs_gptq_result *result; // [n]
    size_t n;
    int fd;                 // -1: payloads are kept in memory
    uint64_t end;
} rs_gptq_store;

// Room for n results. keep: payloads go to an unlinked temporary file and can be read any number of times; otherwise they are taken from memory once. E_WRITE, E_NOMEM. Close in any case.
RS_MUST_CHECK rs_status rs_gptq_store_open(rs_gptq_store *s, size_t n, bool keep, rs_error *e);
void rs_gptq_store_close(rs_gptq_store *s);
// Result i; payload [len] becomes the store's (malloc), also after a failure. E_WRITE.
RS_MUST_CHECK rs_status rs_gptq_store_put(rs_gptq_store *s, size_t i, const rs_tensor *tensor, const rs_gptq_report *report, uint8_t *payload, uint64_t len, rs_error *e);
// Its payload into out [len]; without keep it is gone then. E_READ; E_INTERNAL: not there (any more), or of another length.
RS_MUST_CHECK rs_status rs_gptq_store_take(rs_gptq_store *s, size_t i, uint8_t *out, uint64_t len, rs_error *e);

#endif
