// SPDX-License-Identifier: Apache-2.0
// Writes tokenizer.json and tokenizer_config.json (Hugging Face form) from the tokenizer metadata of a GGUF file.
#ifndef RS_FORMATS_TOKENIZER_JSON_H
#define RS_FORMATS_TOKENIZER_JSON_H

#include "formats/gguf.h"

// Makes both texts (*json, *config: malloc, the caller frees; JSON, not ended by NUL) for a vocabulary of V tokens. The splitting of text before the merges is that
// of llama.cpp for the value of tokenizer.ggml.pre. E_IMPORT: a tokenizer that is not byte-level BPE or whose splitting is not known (the text lists those known), arrays of the wrong
// type or length, a token that is not UTF-8 or given twice. E_NOMEM.
RS_MUST_CHECK rs_status rs_tokenizer_json_write(const rs_gguf *g, uint64_t V, char **json, size_t *json_len, char **config, size_t *config_len, rs_error *e);

#endif
