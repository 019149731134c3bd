// SPDX-License-Identifier: Apache-2.0
// Writes config.json (Hugging Face form) from the metadata of a GGUF file.
#ifndef RS_FORMATS_GGUF_CONFIG_H
#define RS_FORMATS_GGUF_CONFIG_H

#include "formats/gguf.h"

// Makes the text (*json: malloc, the caller frees; *len bytes) of a Llama from llama.* keys and from which tensors there are (embedding rows, head, biases). in is the
// file that g was read from: the factors of rope_freqs.weight are read and expressed as llama3 scaling where that gives the same factors.
// E_IMPORT: another architecture (the text lists the supported ones), a key missing or out of range, RoPE that config.json cannot say. E_READ, E_NOMEM.
RS_MUST_CHECK rs_status rs_gguf_config_write(const rs_gguf *g, rs_in *in, char **json, size_t *len, rs_error *e);
// Tensor by name, NULL if absent.
const rs_gguf_tensor *rs_gguf_config_tensor(const rs_gguf *g, const char *name);

#endif
