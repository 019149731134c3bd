// SPDX-License-Identifier: Apache-2.0
// What a model carries for text: its tokenizer, its chat template, the tokens that end a text; a text file as token ids.
#ifndef RS_FORMATS_TEXT_H
#define RS_FORMATS_TEXT_H

#include "formats/chat.h"
#include "formats/container.h"
#include "formats/mapped.h"
#include "formats/tokenizer.h"

#define RS_TEXT_MAX (UINT64_C(4) << 30) // bytes of a text file

// The tokenizer that the model carries; free with rs_tokenizer_free. E_IMPORT (none in the file, or of a kind that is not supported), E_NOMEM.
RS_MUST_CHECK rs_status rs_text_tokenizer(const rs_mapped *m, rs_tokenizer **t, rs_error *e);
// Reads path ("-": standard input; at most RS_TEXT_MAX bytes, valid UTF-8), encodes it with the tokenizer.json in m into *ids (malloc, the caller frees), *n of them; nothing is added.
// sum (NULL allowed) gets the digest of the text for a provenance link. E_IMPORT (no tokenizer in the file, bad text), E_READ, E_LIMIT, E_NOMEM.
RS_MUST_CHECK rs_status rs_text_ids(const rs_mapped *m, const char *path, int threads, int32_t **ids, size_t *n, rs_input_sum *sum, rs_error *e);
// The chat template and special tokens that the model carries; free with rs_chat_files_clear. E_IMPORT (no template in the file, or bad form), E_NOMEM.
RS_MUST_CHECK rs_status rs_text_chat(const rs_mapped *m, rs_chat_files *out, rs_error *e);
// The tokens that end a text: those of config.json and generation_config.json (a GGUF file's end of text, turn and message become the former), and those of rs_chat_stops. An empty set is no error.
// E_IMPORT, E_LIMIT.
RS_MUST_CHECK rs_status rs_text_stops(const rs_mapped *m, const rs_config *config, const rs_tokenizer *tokenizer, rs_stops *out, rs_error *e);

#endif
