// SPDX-License-Identifier: Apache-2.0
// A chat template as tokens: text, tags and what stands inside them, with the white space rules of Jinja (trim_blocks and lstrip_blocks on).
#ifndef RS_FORMATS_TEMPLATE_LEX_H
#define RS_FORMATS_TEMPLATE_LEX_H

#include "formats/template_value.h"

#define RS_TEMPLATE_MAX_TOKENS 200000u

typedef enum rs_template_token_kind { RS_TOKEN_END, RS_TOKEN_DATA, RS_TOKEN_PRINT, RS_TOKEN_PRINT_END, RS_TOKEN_BLOCK, RS_TOKEN_BLOCK_END, RS_TOKEN_NAME, RS_TOKEN_VALUE, RS_TOKEN_OPERATOR } rs_template_token_kind;

// An operator of one or two characters as a number.
#define RS_OPERATOR(a, b) ((a) | (b) << 8)

typedef struct rs_template_token {
    rs_template_token_kind kind;
    uint32_t line;
    int op;
    rs_tv value; // RS_TOKEN_VALUE: text or number; RS_TOKEN_DATA and RS_TOKEN_NAME: the text
} rs_template_token;

// Cuts len bytes of valid UTF-8 into tokens, the last of which is RS_TOKEN_END. They live in h; texts may lie in the template. E_IMPORT with the line, E_LIMIT, E_NOMEM.
RS_MUST_CHECK rs_status rs_template_lex(rs_template_heap *h, const char *text, size_t len, rs_template_token **tokens);

#endif
