// SPDX-License-Identifier: Apache-2.0
// A prompt continued as text: tokens are drawn one after the other, and their bytes given out as soon as they are whole characters.
#ifndef RS_INSPECT_PROMPT_H
#define RS_INSPECT_PROMPT_H

#include "formats/tokenizer.h"
#include "inspect/generate.h"
#include "inspect/sample.h"

typedef struct rs_prompt_options {
    size_t tokens;                    // at most so many new ones
    rs_sampler_options sampling;
    bool bos;                         // the prompt starts with bos_id
    int32_t bos_id;
    const int64_t *stop;              // ids that end the text, n_stop of them
    size_t n_stop;
    const rs_int_kernels *by;         // NULL: the best here
    // Gets bytes as they are decided; false ends the text.
    bool (*piece)(void *context, const char *bytes, size_t len);
    void *context;
} rs_prompt_options;

typedef struct rs_prompt_result {
    size_t prompt_tokens, tokens; // in and out, an end token not counted
    bool stopped;                 // by an end token, not by the number of tokens
    double prefill, decode;       // seconds: of the prompt, and of all tokens but the first
    size_t cache_bytes;
} rs_prompt_result;

// Continues prompt (len bytes of UTF-8; special tokens in it are recognised). RS_USAGE: an empty prompt without BOS, options that rs_sampler_new or rs_generator_open refuse; E_IMPORT (prompt is not
// UTF-8), E_VALUE, E_NOMEM.
RS_MUST_CHECK rs_status rs_prompt_continue(rs_network *n, const rs_tokenizer *t, const char *prompt, size_t len, const rs_prompt_options *o, rs_prompt_result *r, rs_error *e);

#endif
