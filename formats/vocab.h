// SPDX-License-Identifier: Apache-2.0
// The vocabulary of a byte-level tokenizer: id to content and bytes, content to id, and the map between bytes and their characters.
#ifndef RS_FORMATS_VOCAB_H
#define RS_FORMATS_VOCAB_H

#include "formats/err.h"

#define RS_VOCAB_MAX_ID ((1 << 22) - 1)

typedef struct rs_vocab_token {
    const char *content; // as in the vocabulary file; NULL: no token has this id
    const char *bytes;   // what it stands for in text
    uint32_t content_len, bytes_len;
    bool added; // not of the model: no word and no merge may become it
} rs_vocab_token;

typedef struct rs_vocab {
    rs_vocab_token *token; // ids 0..size-1
    size_t size, longest;  // one more than the largest id; bytes of the longest content
    uint32_t *slot;        // open addressing, id + 1 or 0
    size_t slots, blob_used;
    char *blob;
} rs_vocab;

// Room for ids 0..size-1, count tokens and content_bytes bytes of content in all. Release with rs_vocab_clear, also after an error. E_NOMEM.
RS_MUST_CHECK rs_status rs_vocab_init(rs_vocab *v, size_t size, size_t count, size_t content_bytes, rs_error *e);
void rs_vocab_clear(rs_vocab *v);
// Adds a token within the room asked for; added: its bytes are its content, otherwise the content is read as byte-level characters
// (and as it is where it has others). E_IMPORT (id or content given twice).
RS_MUST_CHECK rs_status rs_vocab_add(rs_vocab *v, const char *content, size_t len, int32_t id, bool added, rs_error *e);
// -1 if absent.
int32_t rs_vocab_find(const rs_vocab *v, const char *content, size_t len);

// Writes the byte-level character of byte b as UTF-8 into out[2]; returns its length, 1 or 2.
int rs_vocab_byte_char(uint8_t b, char *out);

#endif
