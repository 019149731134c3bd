// SPDX-License-Identifier: Apache-2.0
// A conversation as the text that a chat model was trained on, by the template that the model carries.
#ifndef RS_FORMATS_CHAT_H
#define RS_FORMATS_CHAT_H

#include "formats/config.h"
#include "formats/tokenizer.h"

// What a model's files say about chats; texts are malloc, ended by NUL, NULL where the files name none.
typedef struct rs_chat_files {
    char *template_text; // template_len bytes
    size_t template_len;
    char *bos, *eos, *unk, *pad; // contents of the special tokens, for the template
} rs_chat_files;

typedef struct rs_chat_message {
    const char *role, *content; // UTF-8
} rs_chat_message;

// Reads settings (tokenizer_config.json, which a GGUF file's metadata become too) and jinja (chat_template.jinja, which goes before the template in settings); NULL allowed for each. Of several
// named templates "default" is taken. Free with rs_chat_files_clear. E_IMPORT (form), E_NOMEM.
RS_MUST_CHECK rs_status rs_chat_files_read(rs_chat_files *f, const void *settings, size_t settings_len, const void *jinja, size_t jinja_len, rs_error *e);
// A zeroed struct is allowed.
void rs_chat_files_clear(rs_chat_files *f);

// Renders n messages into *text (malloc, the caller frees; *len bytes, ended by NUL) with the names that transformers' apply_chat_template gives: messages, add_generation_prompt, tools and documents
// (none), bos_token, eos_token, unk_token, pad_token. Special tokens are in the text, BOS too: encode it with special true and add nothing. now: seconds since 1970, for templates that show the date.
// RS_USAGE: the template refuses the conversation, and its reason; E_IMPORT: no template, a message that is not UTF-8, else as rs_template_render.
RS_MUST_CHECK rs_status rs_chat_render(const rs_chat_files *f, const rs_chat_message *messages, size_t n, bool add_generation_prompt, int64_t now, char **text, size_t *len, rs_error *e);

// Adds the token that ends a text, and of the usual names for the end of a turn those that stand in the template and are special tokens of t. E_LIMIT.
RS_MUST_CHECK rs_status rs_chat_stops(const rs_chat_files *f, const rs_tokenizer *t, rs_stops *out, rs_error *e);

#endif
