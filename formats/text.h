// SPDX-License-Identifier: Apache-2.0
// A text file as token ids, by the tokenizer that the model carries.
#ifndef RS_FORMATS_TEXT_H
#define RS_FORMATS_TEXT_H

#include "formats/container.h"
#include "formats/mapped.h"

// Reads path ("-": standard input; at most 4 GiB, valid UTF-8), encodes it with the tokenizer.json in m into *ids (malloc, the caller frees), *n of them; nothing is added.
// sum (NULL allowed) gets the digest of the text for a provenance link. E_IMPORT (no tokenizer in the file, bad text), E_READ, E_LIMIT, E_NOMEM.
RS_MUST_CHECK rs_status rs_text_ids(const rs_mapped *m, const char *path, int threads, int32_t **ids, size_t *n, rs_input_sum *sum, rs_error *e);

#endif
