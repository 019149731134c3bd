// SPDX-License-Identifier: Apache-2.0
// Documents that the model carries, found by their names.
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

static rs_status read_chat(const rs_mapped *m, rs_chat_files *out, rs_error *e)
{
    size_t settings_len = 0, jinja_len = 0;
    const uint8_t *settings = rs_mapped_file(m, "tokenizer_config.json", &settings_len), *jinja = rs_mapped_file(m, "chat_template.jinja", &jinja_len);
    return rs_chat_files_read(out, settings, settings_len, jinja, jinja_len, e);
}

rs_status rs_text_chat(const rs_mapped *m, rs_chat_files *out, rs_error *e)
{
    RS_TRY(read_chat(m, out, e));
    if (out->template_text != NULL) return RS_OK;
    rs_chat_files_clear(out);
    return rs_fail(e, RS_E_IMPORT, "the model carries no chat template (chat_template.jinja, or \"chat_template\" in tokenizer_config.json)");
}

rs_status rs_text_stops(const rs_mapped *m, const rs_config *config, const rs_tokenizer *tokenizer, rs_stops *out, rs_error *e)
{
    static const char *const names[] = {"config.json", "generation_config.json"};
    rs_chat_files chat;
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < 2; i++) {
        size_t len;
        const uint8_t *json = rs_mapped_file(m, names[i], &len);
        if (json != NULL) RS_TRY(rs_config_stops(out, json, len, names[i], config->V, e));
    }
    RS_TRY(read_chat(m, &chat, e));
    rs_status s = rs_chat_stops(&chat, tokenizer, out, e);
    rs_chat_files_clear(&chat);
    return s;
}
