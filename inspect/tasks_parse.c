// SPDX-License-Identifier: Apache-2.0
// Reads multiple-choice questions from JSON lines and makes their tokens as lm-evaluation-harness (0.4) does.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/cli.h"
#include "formats/json.h"
#include "formats/text.h"
#include "formats/utf8.h"
#include "inspect/tasks.h"

typedef struct reader {
    rs_tasks *t;
    const rs_tokenizer *tokenizer;
    const rs_config *c;
    const rs_tasks_options *o;
    json_t *names;                           // name of a task -> its index
    size_t room, room_choices, room_names;
    char what[32];                           // "line 12"
} reader;

// The array with room for one more than n elements of size bytes, NULL without memory (the array is then as it was).
static void *grow(void *array, size_t size, size_t n, size_t *room)
{
    if (n < *room) return array;
    size_t more = *room * 2 + 16;
    void *grown = realloc(array, more * size);
    if (grown != NULL) *room = more;
    return grown;
}

// ---- text

// What Python's str.isspace takes as white space.
static bool is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

// Bytes of text (valid UTF-8) without the white space at its end.
static size_t stripped(const char *text, size_t len)
{
    while (len > 0) {
        size_t at = len - 1;
        while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80) at--;
        const unsigned char *p = (const unsigned char *)text + at;
        size_t n = len - at; // no white space is longer than three bytes
        uint32_t c = n == 1 ? p[0] : n == 2 ? (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu) : n == 3 ? (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu) : 0;
        if (!is_space(c)) break;
        len = at;
    }
    return len;
}

static size_t characters(const char *text, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) n += ((unsigned char)text[i] & 0xc0) != 0x80;
    return n;
}

// ---- tokens

typedef struct tokens {
    int32_t *ids;
    size_t n;
} tokens;

// Ids of text, BOS first where bos asks for it and the text does not bring it.
static rs_status encode(const reader *r, const char *text, size_t len, bool bos, tokens *out, rs_error *e)
{
    RS_TRY(rs_tokenizer_encode(r->tokenizer, text, len, true, 1, &out->ids, &out->n, e));
    if (!bos || (out->n > 0 && out->ids[0] == (int32_t)r->c->bos)) return RS_OK;
    int32_t *longer = realloc(out->ids, (out->n + 1) * sizeof *longer);
    if (longer == NULL) return rs_fail(e, RS_E_NOMEM, "tokens");
    memmove(longer + 1, longer, out->n * sizeof *longer);
    longer[0] = (int32_t)r->c->bos;
    out->ids = longer;
    out->n++;
    return RS_OK;
}

// The context of a question: its tokens; without text the prefix token.
static rs_status encode_context(const reader *r, const char *text, size_t len, tokens *out, rs_error *e)
{
    int64_t prefix = r->c->bos >= 0 ? r->c->bos : r->c->eos;
    if (len > 0) {
        RS_TRY(encode(r, text, stripped(text, len), r->o->bos, out, e));
        return out->n > 0 ? RS_OK : rs_fail(e, RS_E_IMPORT, "the context is nothing but white space, which leaves no token to start from");
    }
    if (prefix < 0) return rs_fail(e, RS_E_IMPORT, "an empty context needs a BOS or EOS token, and the model's configuration names neither");
    out->ids = malloc(sizeof *out->ids);
    if (out->ids == NULL) return rs_fail(e, RS_E_NOMEM, "tokens");
    out->ids[0] = (int32_t)prefix;
    out->n = 1;
    return RS_OK;
}

// Joins context and the tokens of whole behind the first skip, cut from the left to ctx + 1.
static rs_status join(reader *r, const tokens *context, const tokens *whole, size_t skip, rs_task_choice *c, rs_error *e)
{
    const size_t most = r->o->ctx + 1;
    if (whole->n <= skip) return rs_fail(e, RS_E_IMPORT, "no token of its own behind the context");
    c->scored = whole->n - skip;
    if (c->scored > r->o->ctx) return rs_fail(e, RS_USAGE, "%zu tokens, more than the %zu of a window", c->scored, r->o->ctx);
    size_t total = context->n + c->scored, keep = total > most ? most - c->scored : context->n;
    r->t->cut += total > most;
    c->n = keep + c->scored;
    c->ids = malloc(c->n * sizeof *c->ids);
    if (c->ids == NULL) return rs_fail(e, RS_E_NOMEM, "tokens");
    memcpy(c->ids, context->ids + context->n - keep, keep * sizeof *c->ids);
    memcpy(c->ids + keep, whole->ids + skip, c->scored * sizeof *c->ids);
    return RS_OK;
}

static rs_status encode_choice(reader *r, const json_t *context, const tokens *context_ids, const json_t *choice, rs_task_choice *c, rs_error *e)
{
    const size_t first = json_string_length(context), delimiter = strlen(r->o->delimiter), last = json_string_length(choice);
    if (last == 0) return rs_fail(e, RS_E_IMPORT, "empty");
    c->chars = characters(json_string_value(choice), last);
    char *text = malloc(first + delimiter + last + 1);
    if (text == NULL) return rs_fail(e, RS_E_NOMEM, "text");
    memcpy(text, json_string_value(context), first);
    memcpy(text + first, r->o->delimiter, delimiter);
    memcpy(text + first + delimiter, json_string_value(choice), last);
    tokens whole = {0};
    rs_status s = encode(r, text, first + delimiter + last, r->o->bos && first > 0, &whole, e);
    // Without a context a choice that starts with the prefix token keeps it as its context.
    size_t skip = first > 0 ? context_ids->n : whole.n > 0 && whole.ids[0] == context_ids->ids[0] ? 1 : 0;
    if (s == RS_OK) s = join(r, context_ids, &whole, skip, c, e);
    free(whole.ids);
    free(text);
    return s;
}

// ---- lines

static rs_status read_choices(reader *r, const json_t *context, const json_t *choices, rs_task_question *q, rs_error *e)
{
    rs_tasks *t = r->t;
    tokens ids = {0};
    rs_status s = encode_context(r, json_string_value(context), json_string_length(context), &ids, e);
    q->first = t->n_choices;
    for (size_t i = 0; s == RS_OK && i < json_array_size(choices); i++) {
        const json_t *text = json_array_get(choices, i);
        rs_task_choice *all = grow(t->choice, sizeof *all, t->n_choices, &r->room_choices), *c;
        if (all == NULL) {
            s = rs_fail(e, RS_E_NOMEM, "choices");
            break;
        }
        t->choice = all;
        c = &all[t->n_choices++];
        *c = (rs_task_choice){0};
        s = json_is_string(text) ? encode_choice(r, context, &ids, text, c, e) : rs_fail(e, RS_E_IMPORT, "not a text");
        if (s != RS_OK) {
            s = rs_error_prefix(e, s, "choice %zu", i);
            break;
        }
        c->shares = i > 0 && c->n == c[-1].n && memcmp(c->ids, c[-1].ids, (c->n - 1) * sizeof *c->ids) == 0;
        t->tokens += c->shares ? 0 : c->n - 1;
        q->n++;
    }
    free(ids.ids);
    return s;
}

// A text field that may be absent or null: *out NULL then.
static rs_status optional(const reader *r, const json_t *o, const char *key, const char **out, rs_error *e)
{
    const json_t *v = json_object_get(o, key);
    *out = json_string_value(v);
    return v == NULL || json_is_null(v) || json_is_string(v) ? RS_OK : rs_fail(e, RS_E_IMPORT, "%s: field \"%s\" is not a text", r->what, key);
}

// Index of the task called name, new or known.
static rs_status task_index(reader *r, const char *name, size_t *index, rs_error *e)
{
    rs_tasks *t = r->t;
    const json_t *known = json_object_get(r->names, name);
    *index = known != NULL ? (size_t)json_integer_value(known) : t->n_names;
    if (known != NULL) return RS_OK;
    char **all = grow(t->name, sizeof *all, t->n_names, &r->room_names);
    if (all == NULL) return rs_fail(e, RS_E_NOMEM, "names of tasks");
    t->name = all;
    if ((all[t->n_names] = strdup(name)) == NULL) return rs_fail(e, RS_E_NOMEM, "names of tasks");
    t->n_names++;
    return json_object_set_new(r->names, name, json_integer((json_int_t)*index)) == 0 ? RS_OK : rs_fail(e, RS_E_NOMEM, "names of tasks");
}

static rs_status read_question(reader *r, const json_t *o, size_t line, rs_error *e)
{
    rs_tasks *t = r->t;
    const json_t *context = json_object_get(o, "context"), *choices = json_object_get(o, "choices");
    const char *id, *task;
    uint64_t label;
    if (!json_is_object(o)) return rs_fail(e, RS_E_IMPORT, "%s: not an object", r->what);
    if (!json_is_string(context)) return rs_fail(e, RS_E_IMPORT, "%s: field \"context\" is %s", r->what, context == NULL ? "missing" : "not a text");
    if (!json_is_array(choices)) return rs_fail(e, RS_E_IMPORT, "%s: field \"choices\" is %s", r->what, choices == NULL ? "missing" : "not a list");
    if (json_array_size(choices) < 2) return rs_fail(e, RS_E_IMPORT, "%s: field \"choices\" has fewer than two entries", r->what);
    RS_TRY(rs_json_uint(o, r->what, "label", 0, json_array_size(choices) - 1, UINT64_MAX, &label, e));
    RS_TRY(optional(r, o, "id", &id, e));
    RS_TRY(optional(r, o, "task", &task, e));
    rs_task_question *all = grow(t->question, sizeof *all, t->n, &r->room);
    if (all == NULL) return rs_fail(e, RS_E_NOMEM, "questions");
    t->question = all;
    rs_task_question *q = &all[t->n++];
    *q = (rs_task_question){.line = line, .label = (size_t)label, .task = RS_TASKS_ALL};
    if (id != NULL && (q->id = strdup(id)) == NULL) return rs_fail(e, RS_E_NOMEM, "questions");
    if (task != NULL) RS_TRY(task_index(r, task, &q->task, e));
    rs_status s = read_choices(r, context, choices, q, e);
    return s == RS_OK ? RS_OK : rs_error_prefix(e, s, "%s", r->what);
}

static rs_status read_lines(reader *r, const char *text, size_t len, rs_error *e)
{
    size_t line = 0;
    for (const char *end; len > 0 && (r->o->limit == 0 || line < r->o->limit); len -= (size_t)(end - text), text = end) {
        const char *feed = memchr(text, '\n', len);
        json_t *o;
        end = feed != NULL ? feed + 1 : text + len;
        snprintf(r->what, sizeof r->what, "line %zu", ++line);
        RS_TRY(rs_json_parse(&o, text, (size_t)((feed != NULL ? feed : end) - text), r->what, e));
        rs_status s = read_question(r, o, line, e);
        json_decref(o);
        if (s != RS_OK) return s;
    }
    return line > 0 ? RS_OK : rs_fail(e, RS_USAGE, "no question in it");
}

rs_status rs_tasks_parse(rs_tasks *t, const rs_tokenizer *tokenizer, const rs_config *c, const char *text, size_t len, const rs_tasks_options *o, rs_error *e)
{
    reader r = {.t = t, .tokenizer = tokenizer, .c = c, .o = o};
    memset(t, 0, sizeof *t);
    if (o->ctx < 2) return rs_fail(e, RS_USAGE, "a window needs at least 2 tokens");
    if (o->bos && c->bos < 0) return rs_fail(e, RS_USAGE, "the model's configuration names no BOS token");
    if (rs_utf8_valid(o->delimiter, strlen(o->delimiter)) != strlen(o->delimiter)) return rs_fail(e, RS_USAGE, "the delimiter is not UTF-8");
    r.names = json_object();
    rs_status s = r.names == NULL ? rs_fail(e, RS_E_NOMEM, "names of tasks") : read_lines(&r, text, len, e);
    json_decref(r.names);
    return s;
}

rs_status rs_tasks_read(rs_tasks *t, const rs_tokenizer *tokenizer, const rs_config *c, const char *path, const rs_tasks_options *o, rs_error *e)
{
    char *text;
    size_t len;
    memset(t, 0, sizeof *t);
    RS_TRY(rs_cli_slurp(path, RS_TEXT_MAX, &text, &len, e));
    rs_status s = rs_tasks_parse(t, tokenizer, c, text, len, o, e);
    free(text);
    return s;
}

void rs_tasks_free(rs_tasks *t)
{
    for (size_t i = 0; i < t->n; i++) free(t->question[i].id);
    for (size_t i = 0; i < t->n_choices; i++) free(t->choice[i].ids);
    for (size_t i = 0; i < t->n_names; i++) free(t->name[i]);
    free(t->question);
    free(t->choice);
    free(t->name);
    memset(t, 0, sizeof *t);
}
