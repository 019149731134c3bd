// SPDX-License-Identifier: Apache-2.0
// Byte-level BPE tokenizer from a tokenizer.json (Hugging Face form; rs-import writes one for GGUF too).
#ifndef RS_FORMATS_TOKENIZER_H
#define RS_FORMATS_TOKENIZER_H

#include "formats/err.h"

typedef struct rs_tokenizer rs_tokenizer;

// Builds a tokenizer from the bytes of tokenizer.json. Free with rs_tokenizer_free. E_IMPORT (form, or a kind of tokenizer that is not byte-level BPE), E_NOMEM.
RS_MUST_CHECK rs_status rs_tokenizer_parse(rs_tokenizer **t, const void *json, size_t len, rs_error *e);
// Ids of text (len bytes of valid UTF-8, and surely in form C where the tokenizer normalises to it; E_IMPORT with the offset otherwise) into *ids (malloc, the caller frees), no BOS or EOS added;
// special tokens in the text are recognised when special is true. threads >= 1 splits long text at safe places: same ids for any number.
RS_MUST_CHECK rs_status rs_tokenizer_encode(const rs_tokenizer *t, const char *text, size_t len, bool special, int threads, int32_t **ids, size_t *n, rs_error *e);
// Bytes of one token (not NUL-terminated, owned by t); NULL for an id without token.
const char *rs_tokenizer_piece(const rs_tokenizer *t, int32_t id, size_t *len);
// One more than the largest id; number of merges.
size_t rs_tokenizer_vocab(const rs_tokenizer *t);
// Id of a token by its content as in the vocabulary file, -1 if absent.
int32_t rs_tokenizer_find(const rs_tokenizer *t, const char *content);
// Whether a token is found in text only where special tokens are asked for.
bool rs_tokenizer_special(const rs_tokenizer *t, int32_t id);
// NULL allowed.
void rs_tokenizer_free(rs_tokenizer *t);

#endif
