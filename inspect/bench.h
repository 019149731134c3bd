// SPDX-License-Identifier: Apache-2.0
// How fast a model runs here: a prompt, then token by token, with its residual junctions and without them in turn, beside what the machine can do at most.
#ifndef RS_INSPECT_BENCH_H
#define RS_INSPECT_BENCH_H

#include "inspect/generate.h"

typedef struct rs_bench_options {
    size_t prefill, tokens, rounds;   // tokens of the prompt, tokens behind it, how often; each at least 1
    const rs_int_kernels *by;         // NULL: the best where n computes
    void (*progress)(void *context, double rounds_done); // NULL allowed
    void *context;
} rs_bench_options;

typedef struct rs_bench_result {
    double prefill, decode;           // tokens per second, medians over the rounds
    bool junctions;                   // the model has some:
    double prefill_cost, decode_cost; // time with them / time without, minus 1, medians; else 0
    double bytes;                     // read for a token behind the prompt: weights, LM head, junctions, the mean of the KV cache
    double products;                  // of codes, for a token
    double read_rate, products_rate;  // limits of this machine (kernels/limits.h; of a device what copies read and write), per second; products_rate 0: the kernels have no instruction for them
    double read_share, products_share; // of these: decode bytes, prefill products
    size_t cache_bytes;               // of the KV cache
} rs_bench_result;

// From now on n multiplies codes as integers. RS_USAGE (as rs_generator_open), E_VALUE, E_NOMEM, E_TENSOR.
RS_MUST_CHECK rs_status rs_bench_run(rs_network *n, const rs_bench_options *o, rs_bench_result *r, rs_error *e);

#endif
