// SPDX-License-Identifier: Apache-2.0
// Chat templates of models: where they stand, what they are given, which tokens end a turn.
#include "formats/chat.h"

#include <stdlib.h>
#include <string.h>

#include "formats/json.h"
#include "formats/template.h"
#include "formats/utf8.h"

static const char what[] = "tokenizer_config.json";

// Copy of len bytes with a NUL behind them.
static rs_status copy(char **out, const char *p, size_t len, rs_error *e)
{
    *out = malloc(len + 1);
    if (*out == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for %zu bytes", len);
    if (len > 0) memcpy(*out, p, len);
    (*out)[len] = 0;
    return RS_OK;
}

// A special token: a text, or an object that holds it.
static rs_status read_token(const json_t *o, const char *key, char **out, rs_error *e)
{
    const json_t *v = json_object_get(o, key);
    if (json_is_object(v)) v = json_object_get(v, "content");
    if (v == NULL || json_is_null(v)) return RS_OK;
    if (!json_is_string(v)) return rs_fail(e, RS_E_IMPORT, "%s: field \"%s\" is not a token", what, key);
    return copy(out, json_string_value(v), json_string_length(v), e);
}

// The template: a text, or a list of named ones.
static rs_status read_template(rs_chat_files *f, const json_t *o, rs_error *e)
{
    const json_t *v = json_object_get(o, "chat_template");
    if (v == NULL || json_is_null(v)) return RS_OK;
    for (size_t i = 0; json_is_array(v) && i < json_array_size(v); i++) {
        const char *name = json_string_value(json_object_get(json_array_get(v, i), "name"));
        if (name == NULL || strcmp(name, "default") != 0) continue;
        v = json_object_get(json_array_get(v, i), "template");
        break;
    }
    if (!json_is_string(v)) return rs_fail(e, RS_E_IMPORT, "%s: field \"chat_template\" is neither a text nor a list with a text named \"default\"", what);
    f->template_len = json_string_length(v);
    return copy(&f->template_text, json_string_value(v), f->template_len, e);
}

static rs_status read_settings(rs_chat_files *f, const json_t *o, rs_error *e)
{
    if (!json_is_object(o)) return rs_fail(e, RS_E_IMPORT, "%s: not an object", what);
    RS_TRY(read_token(o, "bos_token", &f->bos, e));
    RS_TRY(read_token(o, "eos_token", &f->eos, e));
    RS_TRY(read_token(o, "unk_token", &f->unk, e));
    RS_TRY(read_token(o, "pad_token", &f->pad, e));
    return f->template_text == NULL ? read_template(f, o, e) : RS_OK;
}

rs_status rs_chat_files_read(rs_chat_files *f, const void *settings, size_t settings_len, const void *jinja, size_t jinja_len, rs_error *e)
{
    rs_status s = RS_OK;
    memset(f, 0, sizeof *f);
    if (jinja != NULL) {
        f->template_len = jinja_len;
        s = copy(&f->template_text, jinja, jinja_len, e);
    }
    if (s == RS_OK && settings != NULL) {
        json_t *root;
        s = rs_json_parse(&root, settings, settings_len, what, e);
        if (s == RS_OK) {
            s = read_settings(f, root, e);
            json_decref(root);
        }
    }
    if (s != RS_OK) rs_chat_files_clear(f);
    return s;
}

void rs_chat_files_clear(rs_chat_files *f)
{
    free(f->template_text);
    free(f->bos);
    free(f->eos);
    free(f->unk);
    free(f->pad);
    memset(f, 0, sizeof *f);
}

// ---- rendering

static rs_status put(json_t *o, const char *key, json_t *value, rs_error *e)
{
    return json_object_set_new(o, key, value) == 0 ? RS_OK : rs_fail(e, RS_E_NOMEM, "no memory for the conversation");
}

static rs_status put_token(json_t *o, const char *key, const char *token, rs_error *e) { return token == NULL ? RS_OK : put(o, key, json_string(token), e); }

static rs_status put_messages(json_t *list, const rs_chat_message *m, size_t n, rs_error *e)
{
    for (size_t i = 0; i < n; i++) {
        json_t *o = json_object();
        if (rs_utf8_valid(m[i].role, strlen(m[i].role)) != strlen(m[i].role) || rs_utf8_valid(m[i].content, strlen(m[i].content)) != strlen(m[i].content)) {
            json_decref(o);
            return rs_fail(e, RS_E_IMPORT, "message %zu: not UTF-8", i + 1);
        }
        if (json_array_append_new(list, o) != 0) return rs_fail(e, RS_E_NOMEM, "no memory for the conversation"); // takes o over, also on failure
        RS_TRY(put(o, "role", json_string(m[i].role), e));
        RS_TRY(put(o, "content", json_string(m[i].content), e));
    }
    return RS_OK;
}

static rs_status put_names(json_t *o, const rs_chat_files *f, const rs_chat_message *m, size_t n, bool prompt, rs_error *e)
{
    json_t *list = json_array();
    RS_TRY(put(o, "messages", list, e));
    RS_TRY(put_messages(list, m, n, e));
    RS_TRY(put(o, "add_generation_prompt", json_boolean(prompt), e));
    RS_TRY(put(o, "tools", json_null(), e));
    RS_TRY(put(o, "documents", json_null(), e));
    RS_TRY(put_token(o, "bos_token", f->bos, e));
    RS_TRY(put_token(o, "eos_token", f->eos, e));
    RS_TRY(put_token(o, "unk_token", f->unk, e));
    return put_token(o, "pad_token", f->pad, e);
}

rs_status rs_chat_render(const rs_chat_files *f, const rs_chat_message *messages, size_t n, bool add_generation_prompt, int64_t now, char **text, size_t *len, rs_error *e)
{
    *text = NULL;
    *len = 0;
    if (f->template_text == NULL) return rs_fail(e, RS_E_IMPORT, "the model carries no chat template");
    json_t *names = json_object();
    rs_status s = names == NULL ? rs_fail(e, RS_E_NOMEM, "no memory for the conversation") : put_names(names, f, messages, n, add_generation_prompt, e);
    if (s == RS_OK) {
        s = rs_template_render(f->template_text, f->template_len, names, now, text, len, e);
        if (s != RS_OK) s = rs_error_prefix(e, s, "chat template");
    }
    json_decref(names);
    return s;
}

// ---- what ends a turn

rs_status rs_chat_stops(const rs_chat_files *f, const rs_tokenizer *t, rs_stops *out, rs_error *e)
{
    static const char *const ends[] = {"<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<end_of_turn>", "</s>"};
    int32_t id = f->eos != NULL ? rs_tokenizer_find(t, f->eos) : -1;
    if (id >= 0) RS_TRY(rs_stops_add(out, id, e));
    for (size_t i = 0; f->template_text != NULL && i < sizeof ends / sizeof *ends; i++) {
        if (memmem(f->template_text, f->template_len, ends[i], strlen(ends[i])) == NULL) continue;
        id = rs_tokenizer_find(t, ends[i]);
        if (id >= 0 && rs_tokenizer_special(t, id)) RS_TRY(rs_stops_add(out, id, e));
    }
    return RS_OK;
}
