// SPDX-License-Identifier: Apache-2.0
// Sizes and constants of a model from its config.json (Hugging Face form; rs-import writes one for GGUF too).
#ifndef RS_FORMATS_CONFIG_H
#define RS_FORMATS_CONFIG_H

#include "formats/err.h"

typedef enum rs_rope_scaling { RS_ROPE_NONE, RS_ROPE_LLAMA3, RS_ROPE_LINEAR } rs_rope_scaling;

typedef struct rs_config {
    char arch[32];        // "llama" (architectures LlamaForCausalLM)
    uint64_t L, d, f, h, n_q, n_kv, V;
    double norm_eps;
    double rope_theta;
    rs_rope_scaling rope_scaling;
    double rope_factor, rope_low_freq, rope_high_freq; // llama3; factor also for linear
    uint64_t rope_original_context;
    uint64_t context;     // max_position_embeddings
    bool tied;            // LM head shares the embedding
    bool attention_bias, mlp_bias;
    int64_t bos, eos;     // -1: none (of several eos the first)
} rs_config;

// Tokens that end a text, each once.
typedef struct rs_stops {
    int64_t id[16];
    size_t n;
} rs_stops;

// Reads and checks config.json. E_IMPORT: cut, missing field, wrong type or range, unknown architecture (the text lists the supported ones).
RS_MUST_CHECK rs_status rs_config_parse(rs_config *c, const void *json, size_t len, rs_error *e);
// Adds the eos_token_id (a number or a list) of config.json or generation_config.json, which `name` names in messages; absent or null adds nothing. V: size of the vocabulary. E_IMPORT, E_LIMIT.
RS_MUST_CHECK rs_status rs_config_stops(rs_stops *s, const void *json, size_t len, const char *name, uint64_t V, rs_error *e);
// Adds one token. E_LIMIT: the set is full.
RS_MUST_CHECK rs_status rs_stops_add(rs_stops *s, int64_t id, rs_error *e);

#endif
