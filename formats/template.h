// SPDX-License-Identifier: Apache-2.0
// Chat templates: the part of Jinja that the templates of Hugging Face models use, as transformers sets it up (trim_blocks, lstrip_blocks, loop controls, nothing that changes a value).
#ifndef RS_FORMATS_TEMPLATE_H
#define RS_FORMATS_TEMPLATE_H

#include <jansson.h>

#include "formats/err.h"

#define RS_TEMPLATE_MAX_LENGTH (1u << 20) // bytes of a template

// Renders text (len bytes) with the members of vars, an object, as its names into *out (malloc, the caller frees; *out_len bytes, ended by NUL). now: what strftime_now shows, seconds since 1970.
// Messages give the line. E_IMPORT: not UTF-8, wrong or unsupported syntax, a value that does not fit; RS_USAGE: the template itself refuses (raise_exception); E_LIMIT: too long, too deep, too much
// memory, too many steps; E_NOMEM. The semantics are those of Jinja 3.1, from its documentation and tested against it; integers have 63 bits, and upper and lower case are those of ASCII.
RS_MUST_CHECK rs_status rs_template_render(const char *text, size_t len, const json_t *vars, int64_t now, char **out, size_t *out_len, rs_error *e);

#endif
