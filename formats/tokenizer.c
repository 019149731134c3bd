// SPDX-License-Identifier: Apache-2.0
// tokenizer.json to ids: added tokens first, then words, then merges; long texts are cut for threads where no word can be changed.
#include "formats/tokenizer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "formats/added.h"
#include "formats/bpe.h"
#include "formats/json.h"
#include "formats/nfc.h"
#include "formats/pretokenizer.h"
#include "formats/utf8.h"
#include "formats/vocab.h"

enum { MAX_THREADS = 64, THREAD_BYTES = 8192 };

struct rs_tokenizer {
    rs_vocab vocab;
    rs_bpe bpe;
    rs_pretokenizer pre;
    rs_added raw, normalized; // added tokens found in the text as it is, and those found in what is left of it after normalisation
    bool nfc;
};

// ---- reading tokenizer.json

static bool is(const char *text, const char *name) { return text != NULL && strcmp(text, name) == 0; }

// A field that must be absent, null, false, zero or empty, because what it asks for is not done here.
static rs_status refuse_field(const json_t *o, const char *what, const char *key, rs_error *e)
{
    const json_t *v = json_object_get(o, key);
    if (v == NULL || json_is_null(v) || json_is_false(v) || (json_is_string(v) && json_string_length(v) == 0) || (json_is_number(v) && json_number_value(v) == 0)) return RS_OK;
    return rs_fail(e, RS_E_IMPORT, "%s: field \"%s\" asks for something that is not supported", what, key);
}

static rs_status parse_normalizer(rs_tokenizer *t, const json_t *n, rs_error *e)
{
    if (n == NULL || json_is_null(n)) return RS_OK;
    const json_t *list = is(json_string_value(json_object_get(n, "type")), "Sequence") ? json_object_get(n, "normalizers") : NULL;
    for (size_t i = 0; i < (list != NULL ? json_array_size(list) : 1); i++) {
        const char *type = json_string_value(json_object_get(list != NULL ? json_array_get(list, i) : n, "type"));
        char name[64];
        if (!is(type, "NFC")) return rs_fail(e, RS_E_IMPORT, "normalizer: kind \"%s\" is not supported", rs_escape(name, sizeof name, type, type != NULL ? strlen(type) : 0));
        t->nfc = true;
    }
    return RS_OK;
}

// What the vocabulary needs room for.
static rs_status measure(json_t *vocab, const json_t *added, size_t *size, size_t *count, size_t *bytes, rs_error *e)
{
    const char *key;
    json_t *value;
    uint64_t top = 0, id;
    json_object_foreach(vocab, key, value)
    {
        if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > RS_VOCAB_MAX_ID) {
            char name[80];
            return rs_fail(e, RS_E_IMPORT, "vocabulary: id of \"%s\" is not an integer in 0..%d", rs_escape(name, sizeof name, key, strlen(key)), RS_VOCAB_MAX_ID);
        }
        id = (uint64_t)json_integer_value(value);
        if (id >= top) top = id + 1;
        ++*count;
        *bytes += strlen(key);
    }
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *content = json_object_get(json_array_get(added, i), "content");
        if (!json_is_string(content)) return rs_fail(e, RS_E_IMPORT, "added_tokens: entry %zu has no content", i);
        RS_TRY(rs_json_uint(json_array_get(added, i), "added_tokens", "id", 0, RS_VOCAB_MAX_ID, UINT64_MAX, &id, e));
        if (id >= top) top = id + 1;
        ++*count;
        *bytes += json_string_length(content);
    }
    *size = top;
    return RS_OK;
}

static rs_status parse_added(rs_tokenizer *t, const json_t *o, rs_error *e)
{
    static const char *const refused[] = {"lstrip", "rstrip", "single_word"};
    const char *content = json_string_value(json_object_get(o, "content"));
    size_t len = json_string_length(json_object_get(o, "content"));
    int32_t id = (int32_t)json_integer_value(json_object_get(o, "id"));
    bool special = false, normalized = false;
    char name[80];
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) RS_TRY(refuse_field(o, "added_tokens", refused[i], e));
    RS_TRY(rs_json_bool(o, "added_tokens", "special", false, &special, e));
    RS_TRY(rs_json_bool(o, "added_tokens", "normalized", !special, &normalized, e));
    int32_t known = rs_vocab_find(&t->vocab, content, len);
    if (known >= 0 && known != id) return rs_fail(e, RS_E_IMPORT, "added_tokens: \"%s\" has id %d, in the vocabulary %d", rs_escape(name, sizeof name, content, len), (int)id, (int)known);
    if (known < 0) RS_TRY(rs_vocab_add(&t->vocab, content, len, id, true, e));
    t->vocab.token[id].bytes = t->vocab.token[id].content; // an added token is its own text, whatever its characters
    t->vocab.token[id].bytes_len = t->vocab.token[id].content_len;
    if (t->nfc && normalized && rs_nfc_check(content, len) != len) return rs_fail(e, RS_E_IMPORT, "added_tokens: \"%s\" is not in normalisation form C", rs_escape(name, sizeof name, content, len));
    return rs_added_put(normalized ? &t->normalized : &t->raw, content, len, id, special, e);
}

// The vocabulary, the merges among it, and only then the added tokens, which no merge may name.
static rs_status parse_tokens(rs_tokenizer *t, const json_t *root, const json_t *model, bool ignore_merges, rs_error *e)
{
    json_t *vocab = json_object_get(model, "vocab"), *value;
    const json_t *added = json_object_get(root, "added_tokens");
    const char *key;
    size_t size = 0, count = 0, bytes = 0;
    if (!json_is_object(vocab) || json_object_size(vocab) == 0) return rs_fail(e, RS_E_IMPORT, "model: field \"vocab\" is not an object with tokens");
    if (added != NULL && !json_is_null(added) && !json_is_array(added)) return rs_fail(e, RS_E_IMPORT, "field \"added_tokens\" is not a list");
    RS_TRY(measure(vocab, added, &size, &count, &bytes, e));
    RS_TRY(rs_vocab_init(&t->vocab, size, count, bytes, e));
    json_object_foreach(vocab, key, value) RS_TRY(rs_vocab_add(&t->vocab, key, strlen(key), (int32_t)json_integer_value(value), false, e));
    RS_TRY(rs_bpe_parse(&t->bpe, &t->vocab, json_object_get(model, "merges"), ignore_merges, e));
    for (size_t i = 0; i < json_array_size(added); i++) RS_TRY(parse_added(t, json_array_get(added, i), e));
    return RS_OK;
}

static rs_status parse_root(rs_tokenizer *t, const json_t *root, rs_error *e)
{
    static const char *const refused[] = {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"};
    const json_t *model = json_object_get(root, "model"), *type = json_object_get(model, "type");
    bool ignore_merges = false;
    if (!json_is_object(model)) return rs_fail(e, RS_E_IMPORT, "field \"model\" is not an object");
    if (type != NULL && !is(json_string_value(type), "BPE")) return rs_fail(e, RS_E_IMPORT, "model: field \"type\" is not \"BPE\"");
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) RS_TRY(refuse_field(model, "model", refused[i], e));
    RS_TRY(rs_json_bool(model, "model", "ignore_merges", false, &ignore_merges, e));
    RS_TRY(parse_normalizer(t, json_object_get(root, "normalizer"), e));
    RS_TRY(rs_pretokenizer_parse(&t->pre, json_object_get(root, "pre_tokenizer"), e));
    return parse_tokens(t, root, model, ignore_merges, e);
}

rs_status rs_tokenizer_parse(rs_tokenizer **out, const void *json, size_t len, rs_error *e)
{
    json_t *root;
    *out = NULL;
    RS_TRY(rs_json_parse(&root, json, len, "tokenizer.json", e));
    rs_tokenizer *t = calloc(1, sizeof *t);
    rs_status s = t == NULL ? rs_fail(e, RS_E_NOMEM, "out of memory") : parse_root(t, root, e);
    json_decref(root);
    if (s != RS_OK) {
        rs_tokenizer_free(t);
        return rs_error_prefix(e, s, "tokenizer.json");
    }
    *out = t;
    return RS_OK;
}

void rs_tokenizer_free(rs_tokenizer *t)
{
    if (t == NULL) return;
    rs_bpe_clear(&t->bpe);
    rs_vocab_clear(&t->vocab);
    rs_pretokenizer_clear(&t->pre);
    rs_added_clear(&t->raw);
    rs_added_clear(&t->normalized);
    free(t);
}

// ---- the text as a list of parts

// A stretch of text, or the added token id when it is not negative.
typedef struct part {
    size_t start, len;
    int32_t id;
} part;

typedef struct part_list {
    part *part;
    size_t n, room;
} part_list;

static rs_status put_part(part_list *l, size_t start, size_t end, int32_t id, rs_error *e)
{
    if (start == end) return RS_OK;
    if (l->n == l->room) {
        size_t room = l->room * 2 + 16;
        part *grown = realloc(l->part, room * sizeof *grown);
        if (grown == NULL) return rs_fail(e, RS_E_NOMEM, "tokenizer: out of memory");
        l->part = grown;
        l->room = room;
    }
    l->part[l->n++] = (part){start, end - start, id};
    return RS_OK;
}

// Text between added tokens, in stretches of about step bytes where it may be cut.
static rs_status put_text(const rs_tokenizer *t, part_list *l, const char *text, size_t start, size_t end, size_t step, rs_error *e)
{
    while (t->pre.cuttable && end - start > step) {
        size_t cut = start + rs_pretokenizer_cut(text + start, end - start, step);
        RS_TRY(put_part(l, start, cut, -1, e));
        start = cut;
    }
    return put_part(l, start, end, -1, e);
}

static rs_status list_parts(const rs_tokenizer *t, part_list *l, const char *text, size_t len, bool special, size_t step, rs_error *e)
{
    for (size_t at = 0; at < len;) {
        size_t start, end;
        int32_t id = rs_added_find(&t->raw, text, len, at, special, &start, &end);
        while (at < start) {
            size_t inner_start, inner_end;
            int32_t inner = rs_added_find(&t->normalized, text, start, at, special, &inner_start, &inner_end);
            RS_TRY(put_text(t, l, text, at, inner_start, step, e));
            if (inner >= 0) RS_TRY(put_part(l, inner_start, inner_end, inner, e));
            at = inner_end;
        }
        if (id >= 0) RS_TRY(put_part(l, start, end, id, e));
        at = end;
    }
    return RS_OK;
}

// ---- threads

typedef struct job {
    const rs_tokenizer *t;
    const char *text;
    const part *part;
    size_t parts, bytes;
    rs_bpe_run *run;
    pthread_t thread;
    bool started;
    rs_status status;
    rs_error error;
} job;

static rs_status one_word(void *user, const char *word, size_t len, rs_error *e)
{
    job *j = user;
    return rs_bpe_word(&j->t->bpe, j->run, word, len, e);
}

static rs_status run_parts(job *j, rs_pretokenizer_run *words, rs_error *e)
{
    for (size_t i = 0; i < j->parts; i++) {
        const part *p = &j->part[i];
        if (p->id >= 0)
            RS_TRY(rs_bpe_push(j->run, p->id, e));
        else
            RS_TRY(rs_pretokenizer_split(&j->t->pre, words, j->text + p->start, p->len, one_word, j, e));
    }
    return RS_OK;
}

static void *run_job(void *user)
{
    job *j = user;
    rs_pretokenizer_run *words = NULL;
    j->status = rs_bpe_run_new(&j->run, j->bytes, &j->error);
    if (j->status == RS_OK) j->status = rs_pretokenizer_run_new(&words, &j->error);
    if (j->status == RS_OK) j->status = run_parts(j, words, &j->error);
    rs_pretokenizer_run_free(words);
    return NULL;
}

// Gives each of n jobs its share of the parts, by bytes.
static void share(job *jobs, int n, const part_list *l, size_t len)
{
    size_t next = 0;
    for (int i = 0; i < n; i++) {
        job *j = &jobs[i];
        size_t first = next;
        while (next < l->n && (i == n - 1 || l->part[next].start < len / (size_t)n * (size_t)(i + 1))) j->bytes += l->part[next++].len;
        j->part = first < next ? &l->part[first] : NULL;
        j->parts = next - first;
    }
}

// Runs the jobs and joins their ids in order.
static rs_status run_jobs(job *jobs, int n, int32_t **ids, size_t *count, rs_error *e)
{
    for (int i = 1; i < n; i++) jobs[i].started = pthread_create(&jobs[i].thread, NULL, run_job, &jobs[i]) == 0;
    for (int i = 0; i < n; i++)
        if (!jobs[i].started) run_job(&jobs[i]);
    size_t total = 0;
    rs_status s = RS_OK;
    for (int i = 0; i < n; i++) {
        if (jobs[i].started) (void)pthread_join(jobs[i].thread, NULL);
        if (s == RS_OK && jobs[i].status != RS_OK) s = rs_fail(e, jobs[i].status, "%s", jobs[i].error.text);
        if (jobs[i].run != NULL) total += rs_bpe_run_count(jobs[i].run);
    }
    if (s != RS_OK) return s;
    size_t have = rs_bpe_run_count(jobs[0].run);
    int32_t *first = rs_bpe_run_take(jobs[0].run), *all = realloc(first, (total + 1) * sizeof *all);
    if (all == NULL) {
        free(first);
        return rs_fail(e, RS_E_NOMEM, "tokenizer: out of memory");
    }
    for (int i = 1; i < n; i++) {
        size_t m = rs_bpe_run_count(jobs[i].run);
        int32_t *more = rs_bpe_run_take(jobs[i].run);
        if (m > 0) memcpy(all + have, more, m * sizeof *all);
        have += m;
        free(more);
    }
    *ids = all;
    *count = total;
    return RS_OK;
}

rs_status rs_tokenizer_encode(const rs_tokenizer *t, const char *text, size_t len, bool special, int threads, int32_t **ids, size_t *n, rs_error *e)
{
    *ids = NULL;
    *n = 0;
    size_t bad = rs_utf8_valid(text, len);
    if (bad != len) return rs_fail(e, RS_E_IMPORT, "text: not UTF-8 at byte %zu", bad);
    if (t->nfc && (bad = rs_nfc_check(text, len)) != len) return rs_fail(e, RS_E_IMPORT, "text: at byte %zu a character that may not be in normalisation form C", bad);
    if (threads < 1) threads = 1;
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    if ((size_t)threads > len / THREAD_BYTES + 1) threads = (int)(len / THREAD_BYTES) + 1;
    job jobs[MAX_THREADS] = {{0}};
    part_list list = {0};
    rs_status s = list_parts(t, &list, text, len, special, threads == 1 ? len : len / (size_t)threads, e);
    if (s == RS_OK) {
        share(jobs, threads, &list, len);
        for (int i = 0; i < threads; i++) {
            jobs[i].t = t;
            jobs[i].text = text;
        }
        s = run_jobs(jobs, threads, ids, n, e);
    }
    for (int i = 0; i < threads; i++) rs_bpe_run_free(jobs[i].run);
    free(list.part);
    return s;
}

// ---- looking up

const char *rs_tokenizer_piece(const rs_tokenizer *t, int32_t id, size_t *len)
{
    if (id < 0 || (size_t)id >= t->vocab.size || t->vocab.token[id].content == NULL) {
        *len = 0;
        return NULL;
    }
    *len = t->vocab.token[id].bytes_len;
    return t->vocab.token[id].bytes;
}

size_t rs_tokenizer_vocab(const rs_tokenizer *t) { return t->vocab.size; }
int32_t rs_tokenizer_find(const rs_tokenizer *t, const char *content) { return rs_vocab_find(&t->vocab, content, strlen(content)); }

bool rs_tokenizer_special(const rs_tokenizer *t, int32_t id)
{
    size_t len, start, end;
    const char *content = rs_tokenizer_piece(t, id, &len);
    if (content == NULL || !t->vocab.token[id].added) return false;
    const rs_added *set = rs_added_find(&t->raw, content, len, 0, true, &start, &end) == id ? &t->raw : &t->normalized;
    return rs_added_find(set, content, len, 0, true, &start, &end) == id && rs_added_find(set, content, len, 0, false, &start, &end) != id;
}
