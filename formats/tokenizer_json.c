// SPDX-License-Identifier: Apache-2.0
// Byte-level BPE from GGUF metadata as tokenizer.json: vocabulary and merges as they stand, and the splitting that llama.cpp does for each tokenizer.ggml.pre.
#include "formats/tokenizer_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/endian.h"
#include "formats/text_buffer.h"
#include "formats/utf8.h"

// How text is cut before the merges work on each piece.
typedef struct splitting {
    const char *names;      // values of tokenizer.ggml.pre, each between spaces
    bool digits;            // each \p{N} alone, first
    bool gpt2;              // last, the pattern that the ByteLevel step holds itself
    bool llama3;            // a piece that is a token stays one, and BOS is added unless the file says otherwise
    const char *pattern[5]; // the patterns between, applied one after the other, each isolating its matches
} splitting;

#define WORDS(numbers) \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" numbers "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

// Facts of llama.cpp's llama-vocab.cpp.
static const splitting splittings[] = {
    {" gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de gigachat a.x-4.0 mellum modern-bert mpt olmo jais trillion exaone4 granite-docling ", false, true, false, {NULL}},
    {" smollm starcoder refact command-r codeshell exaone minerva-7b mellum2 ", true, true, false, {NULL}},
    {" llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 ", false, false, true, {WORDS("\\p{N}{1,3}")}},
    {" dbrx smaug-bpe chatglm-bpe glm4 ", false, false, false, {WORDS("\\p{N}{1,3}")}},
    {" qwen2 deepseek-r1-qwen kormo stablelm2 hunyuan megrez ", false, false, false, {WORDS("\\p{N}")}},
    {" deepseek-coder ", false, false, false, {"[\r\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "[一-龥ࠀ-一가-퟿]+", "\\p{N}"}},
    {" default ", false, false, false, {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
};
#define N_SPLITTINGS (sizeof splittings / sizeof *splittings)

typedef enum token_kind { TOKEN_NORMAL = 1, TOKEN_UNKNOWN, TOKEN_CONTROL, TOKEN_USER, TOKEN_UNUSED, TOKEN_BYTE } token_kind;

typedef struct vocabulary {
    size_t n;
    rs_gguf_text *token;      // n of them
    const uint8_t *kind;      // n little-endian i32, or NULL: all normal
    const rs_gguf_kv *merges; // NULL: none
    const splitting *split;
    bool add_bos;
    uint64_t bos, eos, unknown, padding; // NONE: absent
} vocabulary;
#define NONE UINT64_MAX

static token_kind kind_of(const vocabulary *v, size_t i)
{
    return v->kind == NULL ? TOKEN_NORMAL : (token_kind)rs_get_u32(v->kind + 4 * i);
}

// Finds the splitting of a tokenizer.ggml.pre; absent is "default", as llama.cpp takes it.
static rs_status find_splitting(const rs_gguf *g, const splitting **split, rs_error *e)
{
    rs_gguf_text model, pre;
    RS_TRY(rs_gguf_string(g, "tokenizer.ggml.model", &model, e));
    if (model.p == NULL) return rs_fail(e, RS_E_IMPORT, "the file holds no tokenizer (--no-tokenizer imports the model without one)");
    if (model.len != 4 || memcmp(model.p, "gpt2", 4) != 0)
        return rs_fail(e, RS_E_IMPORT, "tokenizer \"%.*s\" is not supported (supported: gpt2, byte-level BPE; --no-tokenizer imports the model without one)", (int)(model.len < 64 ? model.len : 64), model.p);
    RS_TRY(rs_gguf_string(g, "tokenizer.ggml.pre", &pre, e));
    if (pre.p == NULL) pre = (rs_gguf_text){"default", 7};
    char name[68];
    if (pre.len > 0 && pre.len <= 64 && memchr(pre.p, ' ', pre.len) == NULL) {
        snprintf(name, sizeof name, " %.*s ", (int)pre.len, pre.p);
        for (size_t i = 0; i < N_SPLITTINGS; i++)
            if (strstr(splittings[i].names, name) != NULL) {
                *split = &splittings[i];
                return RS_OK;
            }
    }
    char known[600] = "";
    for (size_t i = 0; i < N_SPLITTINGS; i++) snprintf(known + strlen(known), sizeof known - strlen(known), "%s%.*s", i == 0 ? "" : " ", (int)strlen(splittings[i].names) - 2, splittings[i].names + 1);
    return rs_fail(e, RS_E_IMPORT, "tokenizer.ggml.pre \"%.*s\" is not supported (supported: %s)", (int)(pre.len < 64 ? pre.len : 64), pre.p, known);
}

static int compare_tokens(const void *a, const void *b)
{
    const rs_gguf_text *x = a, *y = b;
    int c = memcmp(x->p, y->p, x->len < y->len ? x->len : y->len);
    return c != 0 ? c : (x->len > y->len) - (x->len < y->len);
}

// Every token is text, and none stands twice: the vocabulary is a map.
static rs_status check_tokens(const vocabulary *v, rs_error *e)
{
    rs_gguf_text *sorted = malloc((v->n + 1) * sizeof *sorted);
    if (sorted == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for %zu tokens", v->n);
    rs_status s = RS_OK;
    for (size_t i = 0; i < v->n && s == RS_OK; i++)
        if (rs_utf8_valid(v->token[i].p, v->token[i].len) != v->token[i].len) s = rs_fail(e, RS_E_IMPORT, "tokenizer.ggml.tokens: token %zu is not UTF-8", i);
    memcpy(sorted, v->token, v->n * sizeof *sorted);
    qsort(sorted, v->n, sizeof *sorted, compare_tokens);
    for (size_t i = 1; i < v->n && s == RS_OK; i++)
        if (compare_tokens(&sorted[i - 1], &sorted[i]) == 0) {
            char shown[64];
            s = rs_fail(e, RS_E_IMPORT, "tokenizer.ggml.tokens: token \"%s\" is given twice", rs_escape(shown, sizeof shown, sorted[i].p, sorted[i].len));
        }
    free(sorted);
    return s;
}

static rs_status check_merges(const vocabulary *v, rs_error *e)
{
    if (v->merges == NULL) return RS_OK;
    const uint8_t *at = v->merges->data;
    for (uint64_t i = 0; i < v->merges->n; i++) {
        rs_gguf_text t = rs_gguf_next_string(&at);
        const char *space = t.len == 0 ? NULL : memchr(t.p, ' ', t.len);
        bool good = space != NULL && space != t.p && space != t.p + t.len - 1 && memchr(space + 1, ' ', t.len - (size_t)(space + 1 - t.p)) == NULL;
        if (!good || rs_utf8_valid(t.p, t.len) != t.len) return rs_fail(e, RS_E_IMPORT, "tokenizer.ggml.merges: merge %" PRIu64 " is not two tokens with a space between", i);
    }
    return RS_OK;
}

static rs_status read_vocabulary(const rs_gguf *g, uint64_t V, vocabulary *v, rs_error *e)
{
    const rs_gguf_kv *tokens, *kinds, *scores;
    RS_TRY(find_splitting(g, &v->split, e));
    RS_TRY(rs_gguf_array(g, "tokenizer.ggml.tokens", RS_GGUF_STRING, &tokens, e));
    RS_TRY(rs_gguf_array(g, "tokenizer.ggml.token_type", RS_GGUF_I32, &kinds, e));
    RS_TRY(rs_gguf_array(g, "tokenizer.ggml.scores", RS_GGUF_F32, &scores, e));
    RS_TRY(rs_gguf_array(g, "tokenizer.ggml.merges", RS_GGUF_STRING, &v->merges, e));
    if (tokens == NULL) return rs_fail(e, RS_E_IMPORT, "key tokenizer.ggml.tokens is missing");
    if (tokens->n != V) return rs_fail(e, RS_E_IMPORT, "the vocabulary has %" PRIu64 " tokens, the embedding %" PRIu64 " rows", tokens->n, V);
    if (kinds != NULL && kinds->n != V) return rs_fail(e, RS_E_IMPORT, "tokenizer.ggml.token_type has %" PRIu64 " items for %" PRIu64 " tokens", kinds->n, V);
    if (scores != NULL && scores->n != V) return rs_fail(e, RS_E_IMPORT, "tokenizer.ggml.scores has %" PRIu64 " items for %" PRIu64 " tokens", scores->n, V);
    v->n = (size_t)V;
    v->kind = kinds == NULL ? NULL : kinds->data;
    v->token = malloc((v->n + 1) * sizeof *v->token);
    if (v->token == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for %zu tokens", v->n);
    const uint8_t *at = tokens->data;
    for (size_t i = 0; i < v->n; i++) v->token[i] = rs_gguf_next_string(&at);
    for (size_t i = 0; i < v->n; i++)
        if (kind_of(v, i) < TOKEN_NORMAL || kind_of(v, i) > TOKEN_BYTE) return rs_fail(e, RS_E_IMPORT, "tokenizer.ggml.token_type: item %zu is no type of token", i);
    RS_TRY(check_tokens(v, e));
    RS_TRY(check_merges(v, e));
    RS_TRY(rs_gguf_bool(g, "tokenizer.ggml.add_bos_token", v->split->llama3, &v->add_bos, e));
    static const char *const keys[] = {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id", "tokenizer.ggml.unknown_token_id", "tokenizer.ggml.padding_token_id"};
    uint64_t *const ids[] = {&v->bos, &v->eos, &v->unknown, &v->padding};
    for (size_t i = 0; i < 4; i++) {
        *ids[i] = NONE;
        if (rs_gguf_find(g, keys[i]) != NULL) RS_TRY(rs_gguf_uint(g, keys[i], 0, V - 1, 0, ids[i], e));
    }
    return RS_OK;
}

static void add_token(rs_text_buffer *b, const vocabulary *v, uint64_t id)
{
    rs_text_buffer_json(b, v->token[id].p, v->token[id].len);
}

static void write_added_tokens(rs_text_buffer *b, const vocabulary *v)
{
    rs_text_buffer_print(b, "  \"added_tokens\": [");
    bool first = true;
    for (size_t i = 0; i < v->n; i++) {
        token_kind k = kind_of(v, i);
        if (k != TOKEN_CONTROL && k != TOKEN_USER && k != TOKEN_UNKNOWN) continue;
        rs_text_buffer_print(b, "%s\n    {\"id\": %zu, \"content\": ", first ? "" : ",", i);
        add_token(b, v, i);
        rs_text_buffer_print(b, ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, \"special\": %s}", k == TOKEN_USER ? "false" : "true");
        first = false;
    }
    rs_text_buffer_print(b, "%s],\n", first ? "" : "\n  ");
}

static void write_splitting(rs_text_buffer *b, const splitting *s)
{
    rs_text_buffer_print(b, "  \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [\n");
    if (s->digits) rs_text_buffer_print(b, "    {\"type\": \"Digits\", \"individual_digits\": true},\n");
    for (size_t i = 0; i < 5 && s->pattern[i] != NULL; i++) {
        rs_text_buffer_print(b, "    {\"type\": \"Split\", \"pattern\": {\"Regex\": ");
        rs_text_buffer_json(b, s->pattern[i], strlen(s->pattern[i]));
        rs_text_buffer_print(b, "}, \"behavior\": \"Isolated\", \"invert\": false},\n");
    }
    rs_text_buffer_print(b, "    {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": %s}\n  ]},\n", s->gpt2 ? "true" : "false");
}

// BOS in front of one text or of each of two, where the file asks for it.
static void write_template(rs_text_buffer *b, const vocabulary *v)
{
    if (!v->add_bos || v->bos == NONE) {
        rs_text_buffer_print(b, "  \"post_processor\": null,\n");
        return;
    }
    rs_text_buffer_print(b, "  \"post_processor\": {\"type\": \"TemplateProcessing\",\n    \"single\": [{\"SpecialToken\": {\"id\": ");
    add_token(b, v, v->bos);
    rs_text_buffer_print(b, ", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}],\n    \"pair\": [");
    for (int i = 0; i < 2; i++) {
        rs_text_buffer_print(b, "%s{\"SpecialToken\": {\"id\": ", i == 0 ? "" : ", ");
        add_token(b, v, v->bos);
        rs_text_buffer_print(b, ", \"type_id\": %d}}, {\"Sequence\": {\"id\": \"%c\", \"type_id\": %d}}", i, "AB"[i], i);
    }
    rs_text_buffer_print(b, "],\n    \"special_tokens\": {");
    add_token(b, v, v->bos);
    rs_text_buffer_print(b, ": {\"id\": ");
    add_token(b, v, v->bos);
    rs_text_buffer_print(b, ", \"ids\": [%" PRIu64 "], \"tokens\": [", v->bos);
    add_token(b, v, v->bos);
    rs_text_buffer_print(b, "]}}},\n");
}

static void write_model(rs_text_buffer *b, const vocabulary *v)
{
    rs_text_buffer_print(b, "  \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": false, "
            "\"byte_fallback\": false, \"ignore_merges\": %s,\n    \"vocab\": {", v->split->llama3 ? "true" : "false");
    for (size_t i = 0; i < v->n; i++) {
        if (i > 0) rs_text_buffer_print(b, ","); // and no space: of a small model these lists are a percent
        add_token(b, v, i);
        rs_text_buffer_print(b, ":%zu", i);
    }
    rs_text_buffer_print(b, "},\n    \"merges\": [");
    const uint8_t *at = v->merges == NULL ? NULL : v->merges->data;
    for (uint64_t i = 0; v->merges != NULL && i < v->merges->n; i++) {
        rs_gguf_text t = rs_gguf_next_string(&at);
        if (i > 0) rs_text_buffer_print(b, ",");
        rs_text_buffer_json(b, t.p, t.len);
    }
    rs_text_buffer_print(b, "]\n  }\n}\n");
}

static void write_tokenizer(rs_text_buffer *b, const vocabulary *v)
{
    rs_text_buffer_print(b, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n");
    write_added_tokens(b, v);
    rs_text_buffer_print(b, "  \"normalizer\": null,\n");
    write_splitting(b, v->split);
    write_template(b, v);
    rs_text_buffer_print(b, "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true, \"use_regex\": true},\n");
    write_model(b, v);
}

static rs_status write_config(rs_text_buffer *b, const rs_gguf *g, const vocabulary *v, rs_error *e)
{
    rs_gguf_text chat;
    RS_TRY(rs_gguf_string(g, "tokenizer.chat_template", &chat, e));
    rs_text_buffer_print(b, "{\n  \"add_bos_token\": %s,\n  \"add_prefix_space\": false", v->add_bos ? "true" : "false");
    const char *const names[] = {"bos_token", "eos_token", "pad_token", "unk_token"};
    const uint64_t ids[] = {v->bos, v->eos, v->padding, v->unknown};
    for (size_t i = 0; i < 4; i++) {
        if (ids[i] == NONE) continue;
        rs_text_buffer_print(b, ",\n  \"%s\": ", names[i]);
        add_token(b, v, ids[i]);
    }
    if (chat.p != NULL) {
        rs_text_buffer_print(b, ",\n  \"chat_template\": ");
        rs_text_buffer_json(b, chat.p, chat.len);
    }
    rs_text_buffer_print(b, ",\n  \"clean_up_tokenization_spaces\": false,\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\"\n}\n");
    return RS_OK;
}

rs_status rs_tokenizer_json_write(const rs_gguf *g, uint64_t V, char **json, size_t *json_len, char **config, size_t *config_len, rs_error *e)
{
    vocabulary v = {0};
    rs_text_buffer tokenizer = {0}, settings = {0};
    rs_status s = read_vocabulary(g, V, &v, e);
    if (s == RS_OK) write_tokenizer(&tokenizer, &v);
    if (s == RS_OK) s = write_config(&settings, g, &v, e);
    if (s == RS_OK && (tokenizer.failed || settings.failed)) s = rs_fail(e, RS_E_NOMEM, "no memory for the tokenizer");
    free(v.token);
    if (s != RS_OK) {
        free(tokenizer.p);
        free(settings.p);
        return s;
    }
    *json = tokenizer.p;
    *json_len = tokenizer.len;
    *config = settings.p;
    *config_len = settings.len;
    return RS_OK;
}
