// SPDX-License-Identifier: Apache-2.0
// Chats: where a model keeps its template, what the template is given, which tokens end a turn; for a directory and for GGUF, through an RSQ file.
#include "formats/import.h"
#include "formats/text.h"
#include "tests/check.h"
#include "tests/tiny.h"

static rs_status files(rs_chat_files *f, const char *settings, const char *jinja, rs_error *e)
{
    memset(e, 0, sizeof *e);
    return rs_chat_files_read(f, settings, settings != NULL ? strlen(settings) : 0, jinja, jinja != NULL ? strlen(jinja) : 0, e);
}

static void reading(void)
{
    rs_chat_files f;
    rs_error e;
    CHECK(files(&f, "{\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"</s>\"},\"pad_token\":null,\"chat_template\":\"one\"}", NULL, &e) == RS_OK);
    CHECK(strcmp(f.template_text, "one") == 0 && f.template_len == 3 && strcmp(f.bos, "<s>") == 0 && strcmp(f.eos, "</s>") == 0 && f.pad == NULL && f.unk == NULL);
    rs_chat_files_clear(&f);
    CHECK(files(&f, "{\"chat_template\":\"one\"}", "two", &e) == RS_OK && strcmp(f.template_text, "two") == 0 && f.bos == NULL);
    rs_chat_files_clear(&f);
    CHECK(files(&f, "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"a\"},{\"name\":\"default\",\"template\":\"b\"}]}", NULL, &e) == RS_OK && strcmp(f.template_text, "b") == 0);
    rs_chat_files_clear(&f);
    CHECK(files(&f, NULL, NULL, &e) == RS_OK && f.template_text == NULL);
    CHECK(files(&f, "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"a\"}]}", NULL, &e) == RS_E_IMPORT && strstr(e.text, "chat_template") != NULL && f.template_text == NULL);
    CHECK(files(&f, "{\"chat_template\":5}", NULL, &e) == RS_E_IMPORT);
    CHECK(files(&f, "{\"bos_token\":5}", NULL, &e) == RS_E_IMPORT && strstr(e.text, "bos_token") != NULL);
    CHECK(files(&f, "[]", NULL, &e) == RS_E_IMPORT && files(&f, "{", NULL, &e) == RS_E_IMPORT);
}

static void rendering(void)
{
    const rs_chat_message m[] = {{"user", "a\xc3\xa9"}, {"assistant", "b"}}, bad[] = {{"user", "a"}, {"user", "\xff"}};
    rs_chat_files f;
    rs_error e;
    char *text;
    size_t len;
    CHECK(files(&f, "{\"bos_token\":\"<s>\"}", "{{ bos_token }}{% for m in messages %}{{ m.role }}={{ m.content }};{% endfor %}{{ add_generation_prompt }}{{ tools is none }}{{ eos_token is defined }}{{ strftime_now('%Y') }}", &e) == RS_OK);
    CHECK(rs_chat_render(&f, m, 2, true, 1700000000, &text, &len, &e) == RS_OK && strcmp(text, "<s>user=a\xc3\xa9;assistant=b;TrueTrueFalse2023") == 0 && len == strlen(text));
    free(text);
    CHECK(rs_chat_render(&f, m, 0, false, 0, &text, &len, &e) == RS_OK && strcmp(text, "<s>FalseTrueFalse1970") == 0);
    free(text);
    CHECK(rs_chat_render(&f, bad, 2, true, 0, &text, &len, &e) == RS_E_IMPORT && strstr(e.text, "message 2: not UTF-8") != NULL && text == NULL);
    rs_chat_files_clear(&f);
    CHECK(files(&f, "{}", "a\n{{ raise_exception('roles must alternate') }}", &e) == RS_OK);
    CHECK(rs_chat_render(&f, m, 2, true, 0, &text, &len, &e) == RS_USAGE && strcmp(e.text, "chat template: line 2: the template refuses the conversation: roles must alternate") == 0 && text == NULL);
    rs_chat_files_clear(&f);
    memset(&e, 0, sizeof e);
    CHECK(rs_chat_render(&f, m, 2, true, 0, &text, &len, &e) == RS_E_IMPORT && strstr(e.text, "no chat template") != NULL);
}

static bool same(const rs_stops *s, size_t n, const int64_t *id) { return s->n == n && memcmp(s->id, id, n * sizeof *id) == 0; }

static void stops(void)
{
    static const char json[] = "{\"added_tokens\":[{\"id\":2,\"content\":\"<|im_end|>\",\"special\":true},{\"id\":3,\"content\":\"<|eot_id|>\",\"special\":true},{\"id\":4,\"content\":\"<|end|>\",\"special\":false},"
                               "{\"id\":5,\"content\":\"</s>\",\"special\":true,\"normalized\":true}],\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},\"model\":{\"vocab\":{\"a\":0,\"b\":1},\"merges\":[]}}";
    rs_error e = {0};
    rs_tokenizer *t = NULL;
    rs_chat_files f;
    rs_stops s = {.n = 0};
    if (!CHECKF(rs_tokenizer_parse(&t, json, sizeof json - 1, &e) == RS_OK, "%s", e.text)) return;
    CHECK(rs_tokenizer_special(t, 2) && rs_tokenizer_special(t, 5) && !rs_tokenizer_special(t, 4) && !rs_tokenizer_special(t, 0) && !rs_tokenizer_special(t, -1) && !rs_tokenizer_special(t, 99));
    // In the template and special: 2 and 5. Not there: 3. Not special: 4.
    CHECK(files(&f, "{\"eos_token\":\"b\"}", "<|im_end|><|end|></s><end_of_turn>", &e) == RS_OK && rs_chat_stops(&f, t, &s, &e) == RS_OK);
    CHECK(same(&s, 3, (const int64_t[]){1, 2, 5}));
    CHECK(rs_chat_stops(&f, t, &s, &e) == RS_OK && s.n == 3);
    rs_chat_files_clear(&f);
    s.n = 0;
    CHECK(files(&f, "{\"eos_token\":\"zzz\"}", NULL, &e) == RS_OK && rs_chat_stops(&f, t, &s, &e) == RS_OK && s.n == 0);
    rs_chat_files_clear(&f);
    rs_tokenizer_free(t);

    const struct { const char *json; rs_status status; size_t n; int64_t id[2]; } cases[] = {
        {"{\"eos_token_id\":3}", RS_OK, 1, {3}}, {"{\"eos_token_id\":[3,4,3]}", RS_OK, 2, {3, 4}}, {"{\"eos_token_id\":null}", RS_OK, 0, {0}}, {"{}", RS_OK, 0, {0}}, {"{\"eos_token_id\":[]}", RS_OK, 0, {0}},
        {"{\"eos_token_id\":5}", RS_E_IMPORT, 0, {0}}, {"{\"eos_token_id\":[-1]}", RS_E_IMPORT, 0, {0}}, {"{\"eos_token_id\":\"3\"}", RS_E_IMPORT, 0, {0}}, {"[]", RS_E_IMPORT, 0, {0}}, {"{", RS_E_IMPORT, 0, {0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memset(&e, 0, sizeof e);
        s.n = 0;
        rs_status got = rs_config_stops(&s, cases[i].json, strlen(cases[i].json), "x.json", 5, &e);
        CHECKF(got == cases[i].status && (got == RS_OK ? same(&s, cases[i].n, cases[i].id) : strncmp(e.text, "x.json: ", 8) == 0), "%s: %s", cases[i].json, e.text);
    }
    s.n = 0;
    for (int64_t i = 0; i < 16; i++) CHECK(rs_stops_add(&s, i, NULL) == RS_OK);
    CHECK(rs_stops_add(&s, 7, NULL) == RS_OK && s.n == 16 && rs_stops_add(&s, 16, NULL) == RS_E_LIMIT && s.n == 16);
}

// Imports a golden model into a file and maps it.
static rs_mapped *mapped(const char *name)
{
    char from[4096], to[4096];
    const char *t = getenv("T"), *const argv[] = {"rs-import"};
    rs_error e = {0};
    rs_import m;
    rs_out *out = NULL;
    rs_writer *w = NULL;
    rs_mapped *file = NULL;
    rs_source_options o = {0};
    snprintf(from, sizeof from, "%s/golden/import/good/%s", t != NULL ? t : "tests", name);
    tiny_path(to, sizeof to, "chat.rsq");
    if (!CHECKF(rs_import_open(&m, from, &o, &e) == RS_OK, "%s: %s", from, e.text)) return NULL;
    rs_arena *a = rs_arena_new();
    rs_head head = rs_import_head(&m);
    rs_prov prov = {.tool = "rs-import", .ver = "0", .commit = "test", .argv = argv, .argc = 1, .params = rs_import_params(&m, a)};
    bool ok = rs_out_open(&out, to, NULL, 0, &e) == RS_OK && rs_writer_open(&w, out, &head, &e) == RS_OK && rs_writer_prov(w, &prov, &e) == RS_OK && rs_import_write(&m, w, 1, NULL, NULL, &e) == RS_OK &&
              rs_writer_finish(w, &e) == RS_OK;
    rs_writer_free(w);
    rs_out_close(out);
    rs_arena_free(a);
    rs_import_close(&m);
    ok = ok && rs_mapped_open(&file, to, &e) == RS_OK;
    CHECKF(ok, "%s: %s", from, e.text);
    return file;
}

// A model with a template: its text of a conversation and the tokens that end a turn.
static void carried(const char *name, size_t n, const int64_t *ids)
{
    const rs_chat_message m[] = {{"user", " ab "}};
    rs_mapped *file = mapped(name);
    rs_chat_files f = {0};
    rs_error e = {0};
    rs_config c;
    rs_tokenizer *t = NULL;
    rs_stops s;
    char *text = NULL;
    size_t len;
    if (file == NULL) return;
    const uint8_t *config = rs_mapped_file(file, "config.json", &len);
    CHECKF(rs_config_parse(&c, config, len, &e) == RS_OK && rs_text_tokenizer(file, &t, &e) == RS_OK, "%s: %s", name, e.text);
    CHECKF(rs_text_chat(file, &f, &e) == RS_OK && rs_chat_render(&f, m, 1, true, 0, &text, &len, &e) == RS_OK && strcmp(text, "cuser:ab<|end|>\nassistant:") == 0, "%s: %s%s", name, e.text, text != NULL ? text : "");
    CHECKF(rs_text_stops(file, &c, t, &s, &e) == RS_OK && same(&s, n, ids), "%s: %zu stops, %s", name, s.n, e.text);
    free(text);
    rs_chat_files_clear(&f);
    rs_tokenizer_free(t);
    rs_mapped_close(file);
}

static void without(void)
{
    rs_mapped *file = mapped("directory");
    rs_chat_files f;
    rs_error e = {0};
    if (file == NULL) return;
    CHECK(rs_text_chat(file, &f, &e) == RS_E_IMPORT && strstr(e.text, "carries no chat template") != NULL && f.template_text == NULL);
    rs_mapped_close(file);
}

int main(void)
{
    reading();
    rendering();
    stops();
    carried("chat", 2, (const int64_t[]){4, 3});         // generation_config.json; <|end|> is 4
    carried("chat.gguf", 2, (const int64_t[]){4, 1}); // end of text, of turn; that of messages is the former
    without();
    return check_report();
}
