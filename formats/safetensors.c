// SPDX-License-Identifier: Apache-2.0
// Reads the header of a safetensors file. Its JSON is a closed form of three levels, so it is read here item by item: duplicates are seen where a tree of values
// would have lost them, and nothing is allocated but the table of tensors.
#include "formats/safetensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "formats/endian.h"
#include "formats/json.h"
#include "formats/utf8.h"

#define MAX_TEXT 4096 // bytes of one decoded string that is kept or compared
#define MAX_SKIP RS_JSON_MAX_DEPTH // nesting of a value that st-extra-key lets pass

typedef struct scan {
    const char *p;
    size_t len, at;
    unsigned lenient, used;
    rs_error *e;
} scan;

typedef struct text {
    char p[MAX_TEXT];
    size_t len;
    bool cut; // longer than p
} text;

#define BAD(s, ...) rs_fail((s)->e, RS_E_IMPORT, "header byte %zu: " __VA_ARGS__)

static int peek(scan *s)
{
    while (s->at < s->len && (s->p[s->at] == ' ' || s->p[s->at] == '\t' || s->p[s->at] == '\n' || s->p[s->at] == '\r')) s->at++;
    return s->at < s->len ? (unsigned char)s->p[s->at] : -1;
}

static bool accept(scan *s, int c)
{
    if (peek(s) != c) return false;
    s->at++;
    return true;
}

static rs_status expect(scan *s, int c)
{
    return accept(s, c) ? RS_OK : BAD(s, "\"%c\" is missing", s->at, c);
}

static void put(text *t, unsigned c)
{
    if (t == NULL) return;
    if (t->len == sizeof t->p) t->cut = true;
    else t->p[t->len++] = (char)c;
}

static rs_status hex4(scan *s, unsigned *v)
{
    *v = 0;
    for (int i = 0; i < 4; i++, s->at++) {
        int c = s->at < s->len ? s->p[s->at] : -1;
        int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (d < 0) return BAD(s, "bad \\u escape", s->at);
        *v = *v << 4 | (unsigned)d;
    }
    return RS_OK;
}

static void put_utf8(text *t, unsigned c)
{
    if (c < 0x80) {
        put(t, c);
        return;
    }
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    put(t, (more == 1 ? 0xc0u : more == 2 ? 0xe0u : 0xf0u) | c >> 6 * more);
    for (int i = more - 1; i >= 0; i--) put(t, 0x80u | (c >> 6 * i & 0x3f));
}

static rs_status escape(scan *s, text *t)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    int c = s->at < s->len ? s->p[s->at++] : -1;
    const char *f = c > 0 ? strchr(from, c) : NULL;
    if (f != NULL) {
        put(t, (unsigned char)to[f - from]);
        return RS_OK;
    }
    if (c != 'u') return BAD(s, "bad escape", s->at);
    unsigned v, w;
    RS_TRY(hex4(s, &v));
    if (v >= 0xdc00 && v < 0xe000) return BAD(s, "lone surrogate", s->at);
    if (v >= 0xd800 && v < 0xdc00) {
        if (s->len - s->at < 2 || s->p[s->at] != '\\' || s->p[s->at + 1] != 'u') return BAD(s, "lone surrogate", s->at);
        s->at += 2;
        RS_TRY(hex4(s, &w));
        if (w < 0xdc00 || w >= 0xe000) return BAD(s, "lone surrogate", s->at);
        v = 0x10000 + ((v - 0xd800) << 10) + (w - 0xdc00);
    }
    put_utf8(t, v);
    return RS_OK;
}

// A string into t (NULL: checked and left).
static rs_status string(scan *s, text *t)
{
    if (t != NULL) t->len = 0, t->cut = false;
    RS_TRY(expect(s, '"'));
    for (;;) {
        if (s->at == s->len) return BAD(s, "the header ends in a string", s->at);
        unsigned char c = (unsigned char)s->p[s->at++];
        if (c == '"') return RS_OK;
        if (c < 0x20) return BAD(s, "control character in a string", s->at - 1);
        if (c == '\\') RS_TRY(escape(s, t));
        else put(t, c);
    }
}

// An integer 0..2^64-1 as JSON writes it: digits only, no sign, fraction or exponent.
static rs_status integer(scan *s, uint64_t *v)
{
    int c = peek(s);
    if (c < '0' || c > '9') return BAD(s, "not a non-negative integer", s->at);
    size_t start = s->at;
    for (*v = 0; s->at < s->len && s->p[s->at] >= '0' && s->p[s->at] <= '9'; s->at++)
        if (!rs_mul_ok(*v, 10, v) || !rs_add_ok(*v, (uint64_t)(s->p[s->at] - '0'), v)) return BAD(s, "integer above 2^64", start);
    if (s->p[start] == '0' && s->at > start + 1) return BAD(s, "leading zero", start);
    if (s->at < s->len && strchr(".eE", s->p[s->at]) != NULL) return BAD(s, "not an integer", start);
    return RS_OK;
}

// At most max integers between brackets.
static rs_status integers(scan *s, uint64_t *v, int max, int *n)
{
    *n = 0;
    RS_TRY(expect(s, '['));
    if (accept(s, ']')) return RS_OK;
    do {
        if (*n == max) return BAD(s, "more than %d items", s->at, max);
        RS_TRY(integer(s, &v[(*n)++]));
    } while (accept(s, ','));
    return expect(s, ']');
}

// Any value, without recursion; of numbers and words only the characters are checked.
static rs_status skip(scan *s)
{
    char open[MAX_SKIP];
    int depth = 0;
    for (;;) {
        int c = peek(s);
        if (c == '"') {
            RS_TRY(string(s, NULL));
        } else if (c == '[' || c == '{') {
            if (depth == MAX_SKIP) return rs_fail(s->e, RS_E_LIMIT, "header byte %zu: nested more than %d deep", s->at, MAX_SKIP);
            open[depth++] = (char)c;
            s->at++;
            if (c == '{' && peek(s) == '"') {
                RS_TRY(string(s, NULL));
                RS_TRY(expect(s, ':'));
                continue;
            }
            if (peek(s) != (c == '{' ? '}' : ']')) {
                if (c == '{') return BAD(s, "a key is missing", s->at);
                continue;
            }
        } else {
            size_t start = s->at;
            while (s->at < s->len && strchr("+-.0123456789abcdefghijklmnopqrstuvwxyzE", s->p[s->at]) != NULL && s->p[s->at] != 0) s->at++;
            if (s->at == start) return BAD(s, "a value is missing", s->at);
        }
        for (;;) {
            if (depth == 0) return RS_OK;
            if (accept(s, open[depth - 1] == '{' ? '}' : ']')) {
                depth--;
                continue;
            }
            RS_TRY(expect(s, ','));
            if (open[depth - 1] == '{') {
                RS_TRY(string(s, NULL));
                RS_TRY(expect(s, ':'));
            }
            break;
        }
    }
}

static bool is(const text *t, const char *word)
{
    return !t->cut && t->len == strlen(word) && memcmp(t->p, word, t->len) == 0;
}

// ---- __metadata__: an object of strings. Its keys are compared by sorting, so that many of them cost no square.

typedef struct key {
    size_t at, len; // in keys
} key;

typedef struct key_set {
    char *bytes;
    size_t len, cap, n, key_cap;
    key *key;
} key_set;

static bool key_add(key_set *k, const text *t)
{
    if (k->n == k->key_cap) {
        size_t cap = k->key_cap * 2 + 16;
        key *p = realloc(k->key, cap * sizeof *p);
        if (p == NULL) return false;
        k->key = p;
        k->key_cap = cap;
    }
    if (k->bytes == NULL || t->len > k->cap - k->len) {
        size_t cap = k->cap * 2 + MAX_TEXT;
        char *p = realloc(k->bytes, cap);
        if (p == NULL) return false;
        k->bytes = p;
        k->cap = cap;
    }
    memcpy(k->bytes + k->len, t->p, t->len);
    k->key[k->n++] = (key){k->len, t->len};
    k->len += t->len;
    return true;
}

static int compare_keys(const void *a, const void *b, void *bytes)
{
    const key *x = a, *y = b;
    int c = memcmp((char *)bytes + x->at, (char *)bytes + y->at, x->len < y->len ? x->len : y->len);
    return c != 0 ? c : (x->len > y->len) - (x->len < y->len);
}

static rs_status check_duplicates(scan *s, key_set *k)
{
    if (k->n > 1) qsort_r(k->key, k->n, sizeof *k->key, compare_keys, k->bytes);
    for (size_t i = 1; i < k->n; i++) {
        if (compare_keys(&k->key[i - 1], &k->key[i], k->bytes) != 0) continue;
        char shown[64];
        rs_escape(shown, sizeof shown, k->bytes + k->key[i].at, k->key[i].len);
        if ((s->lenient & RS_LENIENT_ST_META_DUP) == 0) return rs_fail(s->e, RS_E_IMPORT, "__metadata__: key \"%s\" is given twice (--lenient st-meta-dup lets it pass)", shown);
        s->used |= RS_LENIENT_ST_META_DUP;
    }
    return RS_OK;
}

static rs_status metadata_items(scan *s, text *t, key_set *k)
{
    RS_TRY(expect(s, '{'));
    if (accept(s, '}')) return RS_OK;
    do {
        RS_TRY(string(s, t));
        if (t->cut) return rs_fail(s->e, RS_E_LIMIT, "__metadata__: a key of more than %d bytes", MAX_TEXT);
        if (!key_add(k, t)) return rs_fail(s->e, RS_E_NOMEM, "no memory for the metadata");
        RS_TRY(expect(s, ':'));
        if (peek(s) != '"') return rs_fail(s->e, RS_E_IMPORT, "__metadata__: a value is not a string (header byte %zu)", s->at);
        RS_TRY(string(s, NULL));
    } while (accept(s, ','));
    RS_TRY(expect(s, '}'));
    return check_duplicates(s, k);
}

static rs_status metadata(scan *s, text *t)
{
    key_set k = {0};
    rs_status status = metadata_items(s, t, &k);
    free(k.bytes);
    free(k.key);
    return status;
}

// ---- tensors

typedef struct st_type {
    const char *name;
    unsigned bits;
    bool supported;
    rs_dtype dtype;
} st_type;

static const st_type types[] = {
    {"F32", 32, true, RS_F32}, {"F16", 16, true, RS_F16}, {"BF16", 16, true, RS_BF16}, {"F64", 64, false, RS_F64}, {"I64", 64, false, RS_F32}, {"U64", 64, false, RS_F32},
    {"I32", 32, false, RS_F32}, {"U32", 32, false, RS_F32}, {"I16", 16, false, RS_F32}, {"U16", 16, false, RS_F32}, {"I8", 8, false, RS_F32}, {"U8", 8, false, RS_F32},
    {"BOOL", 8, false, RS_F32}, {"C64", 64, false, RS_F32}, {"F8_E5M2", 8, false, RS_F32}, {"F8_E4M3", 8, false, RS_F32}, {"F8_E8M0", 8, false, RS_F32},
    {"F8_E5M2FNUZ", 8, false, RS_F32}, {"F8_E4M3FNUZ", 8, false, RS_F32}, {"F6_E2M3", 6, false, RS_F32}, {"F6_E3M2", 6, false, RS_F32}, {"F4", 4, false, RS_F32},
};

static rs_status copy_name(scan *s, const text *raw, rs_st_tensor *t)
{
    static const char hex[] = "0123456789ABCDEF";
    char name[RS_MAX_NAME + 1], shown[64];
    size_t n = 0;
    rs_escape(shown, sizeof shown, raw->p, raw->len);
    if (raw->len == 0) return rs_fail(s->e, RS_E_IMPORT, "a tensor without a name");
    for (size_t i = 0; i < raw->len; i++) {
        unsigned char c = (unsigned char)raw->p[i];
        bool allowed = c >= '!' && c <= '~' && c != '"' && c != '\\' && c != '/';
        if (!allowed && (s->lenient & RS_LENIENT_NAME_ESCAPE) == 0)
            return rs_fail(s->e, RS_E_IMPORT, "tensor \"%s\": its name holds a byte that is not allowed (--lenient name-escape writes it as %%XX)", shown);
        if (raw->cut || n + (allowed ? 1 : 3) > RS_MAX_NAME) return rs_fail(s->e, RS_E_IMPORT, "tensor \"%s\": its name is longer than %d bytes", shown, RS_MAX_NAME);
        if (allowed) {
            name[n++] = (char)c;
            continue;
        }
        name[n++] = '%';
        name[n++] = hex[c >> 4];
        name[n++] = hex[c & 15];
        t->escaped = true;
        s->used |= RS_LENIENT_NAME_ESCAPE;
    }
    t->name = strndup(name, n);
    return t->name != NULL ? RS_OK : rs_fail(s->e, RS_E_NOMEM, "no memory for a tensor name");
}

// Sizes agree: shape x type is the span.
static rs_status check_span(scan *s, rs_st_tensor *t, const st_type *type, uint64_t data, uint64_t begin, uint64_t end)
{
    uint64_t n = 1, bits;
    for (int i = 0; i < t->n_dims; i++)
        if (t->shape[i] > RS_MAX_DIM || !rs_mul_ok(n, t->shape[i], &n)) return rs_fail(s->e, RS_E_IMPORT, "tensor %s: the number of elements wraps", t->name);
    if (n > RS_MAX_ELEMENTS || !rs_mul_ok(n, type->bits, &bits)) return rs_fail(s->e, RS_E_IMPORT, "tensor %s: too many elements", t->name);
    if (bits % 8 != 0) return rs_fail(s->e, RS_E_IMPORT, "tensor %s: %" PRIu64 " elements of %s do not fill whole bytes", t->name, n, type->name);
    if (begin > end) return rs_fail(s->e, RS_E_IMPORT, "tensor %s: it begins at %" PRIu64 ", after its end %" PRIu64, t->name, begin, end);
    if (end > data) return rs_fail(s->e, RS_E_IMPORT, "tensor %s: it ends at byte %" PRIu64 " of the data, which has %" PRIu64, t->name, end, data);
    if (end - begin != bits / 8) return rs_fail(s->e, RS_E_IMPORT, "tensor %s: its shape takes %" PRIu64 " bytes, its offsets span %" PRIu64, t->name, bits / 8, end - begin);
    t->off = begin;
    t->len = end - begin;
    return RS_OK;
}

static rs_status find_type(scan *s, const text *word, const st_type **type, const rs_st_tensor *t)
{
    char shown[64];
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (is(word, types[i].name)) {
            *type = &types[i];
            return RS_OK;
        }
    rs_escape(shown, sizeof shown, word->p, word->len);
    return rs_fail(s->e, RS_E_IMPORT, "tensor %s: dtype \"%s\" is not supported (supported: F32 F16 BF16)", t->name, shown);
}

// {"dtype": ..., "shape": [...], "data_offsets": [begin, end]} in any order, each once.
static rs_status tensor(scan *s, text *word, rs_st_tensor *t, uint64_t data)
{
    const st_type *type = NULL;
    uint64_t span[2];
    int n_span = 0;
    bool shaped = false;
    char shown[64];
    RS_TRY(expect(s, '{'));
    if (peek(s) != '}') do {
        RS_TRY(string(s, word));
        RS_TRY(expect(s, ':'));
        rs_escape(shown, sizeof shown, word->p, word->len);
        bool dtype = is(word, "dtype"), shape = is(word, "shape"), offsets = is(word, "data_offsets");
        if ((dtype && type != NULL) || (shape && shaped) || (offsets && n_span != 0)) return rs_fail(s->e, RS_E_IMPORT, "tensor %s: field \"%s\" is given twice", t->name, shown);
        if (dtype) {
            RS_TRY(string(s, word));
            RS_TRY(find_type(s, word, &type, t));
        } else if (shape) {
            RS_TRY(integers(s, t->shape, RS_MAX_DIMS, &t->n_dims));
            shaped = true;
        } else if (offsets) {
            RS_TRY(integers(s, span, 2, &n_span));
            if (n_span != 2) return rs_fail(s->e, RS_E_IMPORT, "tensor %s: data_offsets are not two", t->name);
        } else if ((s->lenient & RS_LENIENT_ST_EXTRA_KEY) != 0) {
            s->used |= RS_LENIENT_ST_EXTRA_KEY;
            RS_TRY(skip(s));
        } else {
            return rs_fail(s->e, RS_E_IMPORT, "tensor %s: unknown field \"%s\" (--lenient st-extra-key lets it pass)", t->name, shown);
        }
    } while (accept(s, ','));
    RS_TRY(expect(s, '}'));
    if (type == NULL || !shaped || n_span == 0) return rs_fail(s->e, RS_E_IMPORT, "tensor %s: field \"%s\" is missing", t->name, type == NULL ? "dtype" : !shaped ? "shape" : "data_offsets");
    t->type = type->name;
    t->supported = type->supported;
    t->dtype = type->dtype;
    return check_span(s, t, type, data, span[0], span[1]);
}

static rs_status grow(scan *s, rs_st *st, size_t *cap)
{
    if (st->n == RS_MAX_TENSORS) return rs_fail(s->e, RS_E_LIMIT, "more than %u tensors", RS_MAX_TENSORS);
    if (st->n == *cap) {
        *cap = *cap == 0 ? 256 : *cap * 2;
        rs_st_tensor *p = realloc(st->tensor, *cap * sizeof *p);
        if (p == NULL) return rs_fail(s->e, RS_E_NOMEM, "no memory for the table of tensors");
        st->tensor = p;
    }
    memset(&st->tensor[st->n++], 0, sizeof *st->tensor);
    return RS_OK;
}

static rs_status items(scan *s, text *word, rs_st *st, uint64_t data)
{
    size_t cap = 0;
    bool seen = false;
    RS_TRY(expect(s, '{'));
    if (peek(s) != '}') do {
        RS_TRY(string(s, word));
        if (is(word, "__metadata__")) {
            if (seen) return rs_fail(s->e, RS_E_IMPORT, "__metadata__ is given twice");
            seen = true;
            RS_TRY(expect(s, ':'));
            RS_TRY(metadata(s, word));
            continue;
        }
        RS_TRY(grow(s, st, &cap));
        RS_TRY(copy_name(s, word, &st->tensor[st->n - 1]));
        RS_TRY(expect(s, ':'));
        RS_TRY(tensor(s, word, &st->tensor[st->n - 1], data));
    } while (accept(s, ','));
    RS_TRY(expect(s, '}'));
    return peek(s) == -1 ? RS_OK : BAD(s, "something follows the object", s->at);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const rs_st_tensor *)a)->name, ((const rs_st_tensor *)b)->name);
}

static int compare_offsets(const void *a, const void *b)
{
    const rs_st_tensor *x = a, *y = b;
    if (x->off != y->off) return x->off < y->off ? -1 : 1;
    if (x->len != y->len) return x->len < y->len ? -1 : 1; // an empty tensor first
    return strcmp(x->name, y->name);
}

// No name twice; the tensors follow each other without gap or overlap to the end. Offsets become those of the file.
static rs_status check_table(rs_st *st, uint64_t start, uint64_t data, rs_error *e)
{
    if (st->n > 0) qsort(st->tensor, st->n, sizeof *st->tensor, compare_names);
    for (size_t i = 1; i < st->n; i++)
        if (compare_names(&st->tensor[i - 1], &st->tensor[i]) == 0) return rs_fail(e, RS_E_IMPORT, "tensor %s is given twice", st->tensor[i].name);
    if (st->n > 0) qsort(st->tensor, st->n, sizeof *st->tensor, compare_offsets);
    uint64_t at = 0;
    for (size_t i = 0; i < st->n; i++) {
        rs_st_tensor *t = &st->tensor[i];
        if (t->off != at) return rs_fail(e, RS_E_IMPORT, "tensor %s: it begins at byte %" PRIu64 " of the data, %s %" PRIu64, t->name, t->off, t->off < at ? "inside a tensor that ends at" : "after a hole from", at);
        at = t->off + t->len; // within the data, as was checked
        t->off += start;
    }
    return at == data ? RS_OK : rs_fail(e, RS_E_IMPORT, "%" PRIu64 " bytes after the last tensor", data - at);
}

static rs_status parse(rs_st *st, const char *header, size_t n, uint64_t data, unsigned lenient, rs_error *e)
{
    size_t good = rs_utf8_valid(header, n);
    if (good != n) return rs_fail(e, RS_E_IMPORT, "header byte %zu is not UTF-8", good);
    RS_TRY(rs_json_scan(header, n, SIZE_MAX, "header", e));
    text *word = malloc(sizeof *word);
    if (word == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for the header");
    scan s = {.p = header, .len = n, .lenient = lenient, .e = e};
    rs_status status = items(&s, word, st, data);
    st->lenient_used = s.used;
    free(word);
    return status == RS_OK ? check_table(st, 8 + (uint64_t)n, data, e) : status;
}

rs_status rs_st_open(rs_st *st, rs_in *in, unsigned lenient, rs_error *e)
{
    uint64_t size;
    uint8_t length[8];
    memset(st, 0, sizeof *st);
    RS_TRY(rs_in_size(in, &size, e));
    if (size < 8) return rs_fail(e, RS_E_IMPORT, "%" PRIu64 " bytes are no safetensors file", size);
    RS_TRY(rs_in_pread(in, length, 8, 0, e));
    uint64_t n = rs_get_u64(length);
    if (n > size - 8) return rs_fail(e, RS_E_IMPORT, "a header of %" PRIu64 " bytes in a file of %" PRIu64 " (no safetensors file, or cut short)", n, size);
    if (n > RS_ST_MAX_HEADER) return rs_fail(e, RS_E_IMPORT, "a header of %" PRIu64 " bytes, at most %u", n, RS_ST_MAX_HEADER);
    if (n == 0) return rs_fail(e, RS_E_IMPORT, "an empty header");
    char *header = malloc((size_t)n);
    if (header == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for a header of %" PRIu64 " bytes", n);
    rs_status s = rs_in_pread(in, header, (size_t)n, 8, e);
    if (s == RS_OK) s = parse(st, header, (size_t)n, size - 8 - n, lenient, e);
    free(header);
    if (s != RS_OK) rs_st_free(st);
    return s;
}

void rs_st_free(rs_st *st)
{
    for (size_t i = 0; i < st->n; i++) free(st->tensor[i].name);
    free(st->tensor);
    memset(st, 0, sizeof *st);
}
