// SPDX-License-Identifier: Apache-2.0
// A text file as token ids, by the tokenizer that the model carries.
#include "formats/text.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "formats/cli.h"

rs_status rs_text_tokenizer(const rs_mapped *m, rs_tokenizer **t, rs_error *e)
{
    size_t len;
    const uint8_t *json = rs_mapped_file(m, "tokenizer.json", &len);
    *t = NULL;
    if (json == NULL) return rs_fail(e, RS_E_IMPORT, "tokenizer.json: the model carries none, so text cannot be read");
    return rs_tokenizer_parse(t, json, len, e);
}

rs_status rs_text_ids(const rs_mapped *m, const char *path, int threads, int32_t **ids, size_t *n, rs_input_sum *sum, rs_error *e)
{
    *ids = NULL;
    *n = 0;
    size_t len = 0;
    char *text = NULL;
    rs_tokenizer *t;
    RS_TRY(rs_text_tokenizer(m, &t, e));
    rs_status s = rs_cli_slurp(path, RS_TEXT_MAX, &text, &len, e);
    if (s == RS_OK) s = rs_tokenizer_encode(t, text, len, false, threads, ids, n, e);
    if (s != RS_OK) s = rs_error_prefix(e, s, "%s", path);
    if (s == RS_OK && sum != NULL) {
        XXH128_canonical_t digest;
        XXH128_canonicalFromHash(&digest, XXH3_128bits(text, len));
        memset(sum, 0, sizeof *sum);
        memcpy(sum->fmt, "text", 5);
        memcpy(sum->digest, digest.digest, 16);
        sum->size = len;
    }
    rs_tokenizer_free(t);
    free(text);
    return s;
}
