// SPDX-License-Identifier: Apache-2.0
// Reads the header of a GGUF file. It is parsed from a buffer that grows while the parser asks for more, so that nothing is held but what the lengths, checked
// against the size of the file first, account for.
#include "formats/gguf.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/endian.h"
#include "formats/limits.h"
#include "formats/utf8.h"

#define FIRST_READ (UINT64_C(1) << 18)
#define MIN_KV 13     // key length, a key of 1 byte, type, and no value at all
#define MIN_TENSOR 33 // name length, a name of 1 byte, dims, one dim, type, offset
#define MAX_ALIGN 65536u
#define DEFAULT_ALIGN 32u

// [0, have) of a file of size bytes lies at p; need, when not 0, is how much must lie there to go on.
typedef struct cursor {
    const uint8_t *p;
    uint64_t have, size, at, need;
    rs_error *e;
} cursor;

static const uint8_t kind_size[RS_GGUF_KIND_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

// The next n bytes. RS_NO: they are in the file but not yet read (c->need says how far).
static rs_status take(cursor *c, uint64_t n, const char *what, const uint8_t **p)
{
    *p = c->p + c->at;
    if (n > c->size - c->at) return rs_fail(c->e, RS_E_IMPORT, "byte %" PRIu64 ": %s needs %" PRIu64 " bytes, the file has %" PRIu64 " left", c->at, what, n, c->size - c->at);
    if (n > c->have - c->at) {
        c->need = c->at + n;
        return RS_NO;
    }
    c->at += n;
    return RS_OK;
}

static rs_status take_u32(cursor *c, const char *what, uint32_t *v)
{
    const uint8_t *p;
    RS_TRY(take(c, 4, what, &p));
    *v = rs_get_u32(p);
    return RS_OK;
}

static rs_status take_u64(cursor *c, const char *what, uint64_t *v)
{
    const uint8_t *p;
    RS_TRY(take(c, 8, what, &p));
    *v = rs_get_u64(p);
    return RS_OK;
}

static rs_status take_text(cursor *c, const char *what, rs_gguf_text *t)
{
    uint64_t n;
    const uint8_t *p;
    RS_TRY(take_u64(c, what, &n));
    RS_TRY(take(c, n, what, &p));
    t->p = (const char *)p;
    t->len = (size_t)n;
    return RS_OK;
}

// A key or tensor name: printable ASCII without space, 1 to RS_MAX_NAME bytes.
static rs_status take_name(cursor *c, const char *what, rs_gguf_text *t)
{
    RS_TRY(take_text(c, what, t));
    char shown[64];
    rs_escape(shown, sizeof shown, t->p, t->len);
    if (t->len == 0) return rs_fail(c->e, RS_E_IMPORT, "byte %" PRIu64 ": empty %s", c->at, what);
    if (t->len > RS_MAX_NAME) return rs_fail(c->e, RS_E_IMPORT, "%s \"%s...\" has %zu bytes, at most %d are allowed", what, shown, t->len, RS_MAX_NAME);
    for (size_t i = 0; i < t->len; i++)
        if (t->p[i] < '!' || t->p[i] > '~' || t->p[i] == '"' || t->p[i] == '\\') return rs_fail(c->e, RS_E_IMPORT, "%s \"%s\" holds a byte that is not allowed in names", what, shown);
    return RS_OK;
}

static rs_status check_bools(cursor *c, const rs_gguf_kv *v)
{
    for (uint64_t i = 0; i < v->n; i++)
        if (v->data[i] > 1) return rs_fail(c->e, RS_E_IMPORT, "key %.*s: a truth value of %u", (int)v->key.len, v->key.p, v->data[i]);
    return RS_OK;
}

// Walks over n strings; each takes 8 bytes at least, which bounds n before the walk.
static rs_status skip_strings(cursor *c, uint64_t n, const char *what)
{
    if (n > (c->size - c->at) / 8) return rs_fail(c->e, RS_E_IMPORT, "byte %" PRIu64 ": %s of %" PRIu64 " strings is longer than the file", c->at, what, n);
    for (rs_gguf_text t; n > 0; n--) RS_TRY(take_text(c, what, &t));
    return RS_OK;
}

static rs_status take_kv(cursor *c, rs_gguf_kv *v)
{
    uint32_t kind;
    RS_TRY(take_name(c, "key", &v->key));
    RS_TRY(take_u32(c, "value type", &kind));
    v->array = kind == RS_GGUF_ARRAY;
    v->n = 1;
    if (v->array) {
        RS_TRY(take_u32(c, "array type", &kind));
        RS_TRY(take_u64(c, "array length", &v->n));
        if (kind == RS_GGUF_ARRAY) return rs_fail(c->e, RS_E_IMPORT, "key %.*s: an array of arrays", (int)v->key.len, v->key.p);
    }
    if (kind >= RS_GGUF_KIND_COUNT) return rs_fail(c->e, RS_E_IMPORT, "key %.*s: unknown value type %" PRIu32, (int)v->key.len, v->key.p, kind);
    v->kind = (rs_gguf_kind)kind;
    if (v->kind == RS_GGUF_STRING) {
        uint64_t start = c->at;
        RS_TRY(skip_strings(c, v->n, v->array ? "array" : "string"));
        v->data = c->p + start;
        return RS_OK;
    }
    uint64_t bytes;
    if (!rs_mul_ok(v->n, kind_size[kind], &bytes)) return rs_fail(c->e, RS_E_IMPORT, "key %.*s: the size of %" PRIu64 " items wraps", (int)v->key.len, v->key.p, v->n);
    RS_TRY(take(c, bytes, v->array ? "array" : "value", &v->data));
    return v->kind == RS_GGUF_BOOL ? check_bools(c, v) : RS_OK;
}

static rs_status take_tensor(cursor *c, rs_gguf_tensor *t)
{
    uint32_t n_dims, type;
    RS_TRY(take_name(c, "tensor name", &t->name));
    const int len = (int)t->name.len;
    const char *name = t->name.p;
    RS_TRY(take_u32(c, "number of dims", &n_dims));
    if (n_dims < 1 || n_dims > 4) return rs_fail(c->e, RS_E_IMPORT, "tensor %.*s: %" PRIu32 " dims, not 1 to 4", len, name, n_dims);
    t->n_dims = (int)n_dims;
    uint64_t elements = 1;
    for (int i = t->n_dims - 1; i >= 0; i--) {
        RS_TRY(take_u64(c, "dim", &t->shape[i]));
        if (t->shape[i] > RS_MAX_DIM || !rs_mul_ok(elements, t->shape[i], &elements) || elements > RS_MAX_ELEMENTS)
            return rs_fail(c->e, RS_E_IMPORT, "tensor %.*s: too many elements, or their number wraps", len, name);
    }
    RS_TRY(take_u32(c, "tensor type", &type));
    t->type = rs_gguf_type_row(type);
    if (t->type == NULL) return rs_fail(c->e, RS_E_IMPORT, "tensor %.*s: unknown type %" PRIu32, len, name, type);
    if (t->type->block == 0) return rs_fail(c->e, RS_E_IMPORT, "tensor %.*s: type %s is not supported (supported: %s)", len, name, t->type->name, rs_gguf_type_list());
    uint64_t row = t->shape[t->n_dims - 1];
    if (row % t->type->block != 0)
        return rs_fail(c->e, RS_E_IMPORT, "tensor %.*s: rows of %" PRIu64 " are not whole blocks of %" PRIu32 " (%s)", len, name, row, t->type->block, t->type->name);
    if (!rs_mul_ok(elements / t->type->block, t->type->bytes, &t->len)) return rs_fail(c->e, RS_E_IMPORT, "tensor %.*s: its size wraps", len, name);
    return take_u64(c, "tensor offset", &t->off);
}

static int compare_text(const rs_gguf_text *a, const rs_gguf_text *b)
{
    int c = memcmp(a->p, b->p, a->len < b->len ? a->len : b->len);
    return c != 0 ? c : (a->len > b->len) - (a->len < b->len);
}

static int compare_kv(const void *a, const void *b)
{
    return compare_text(&((const rs_gguf_kv *)a)->key, &((const rs_gguf_kv *)b)->key);
}

static int compare_names(const void *a, const void *b)
{
    return compare_text(a, b);
}

static rs_status sort_kv(rs_gguf *g, rs_error *e)
{
    qsort(g->kv, g->n_kv, sizeof *g->kv, compare_kv);
    for (size_t i = 1; i < g->n_kv; i++)
        if (compare_kv(&g->kv[i - 1], &g->kv[i]) == 0) return rs_fail(e, RS_E_IMPORT, "key %.*s is given twice", (int)g->kv[i].key.len, g->kv[i].key.p);
    return RS_OK;
}

static rs_status check_names(const rs_gguf *g, rs_error *e)
{
    rs_gguf_text *names = malloc((g->n_tensors + 1) * sizeof *names);
    if (names == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for %zu tensor names", g->n_tensors);
    for (size_t i = 0; i < g->n_tensors; i++) names[i] = g->tensor[i].name;
    qsort(names, g->n_tensors, sizeof *names, compare_names);
    rs_status s = RS_OK;
    for (size_t i = 1; i < g->n_tensors && s == RS_OK; i++)
        if (compare_text(&names[i - 1], &names[i]) == 0) s = rs_fail(e, RS_E_IMPORT, "tensor %.*s is given twice", (int)names[i].len, names[i].p);
    free(names);
    return s;
}

static rs_status read_align(rs_gguf *g, rs_error *e)
{
    const rs_gguf_kv *v = rs_gguf_find(g, "general.alignment");
    g->align = DEFAULT_ALIGN;
    if (v == NULL) return RS_OK;
    if (v->array || v->kind != RS_GGUF_U32) return rs_fail(e, RS_E_IMPORT, "key general.alignment: not a 32-bit unsigned integer");
    g->align = rs_get_u32(v->data);
    if (g->align < 8 || g->align > MAX_ALIGN || (g->align & (g->align - 1)) != 0)
        return rs_fail(e, RS_E_IMPORT, "key general.alignment: %" PRIu64 " is not a power of two in 8..%u", g->align, MAX_ALIGN);
    return RS_OK;
}

// Rounds *v up to the alignment; false when it wraps.
static RS_MUST_CHECK bool align_up(const rs_gguf *g, uint64_t *v)
{
    uint64_t sum;
    if (!rs_add_ok(*v, g->align - 1, &sum)) return false;
    *v = sum & ~(g->align - 1);
    return true;
}

// The data of a tensor starts where that of the one before ends, rounded up: as ggml lays files out, and as its reader demands.
static rs_status place_tensors(rs_gguf *g, uint64_t header_end, uint64_t size, rs_error *e)
{
    uint64_t next = 0;
    g->data_off = header_end;
    if (!align_up(g, &g->data_off)) return rs_fail(e, RS_E_IMPORT, "the header's size wraps");
    if (g->n_tensors == 0) return RS_OK;
    for (size_t i = 0; i < g->n_tensors; i++) {
        rs_gguf_tensor *t = &g->tensor[i];
        const int len = (int)t->name.len;
        if (t->off % g->align != 0) return rs_fail(e, RS_E_IMPORT, "tensor %.*s: offset %" PRIu64 " is not a multiple of %" PRIu64, len, t->name.p, t->off, g->align);
        if (t->off != next)
            return rs_fail(e, RS_E_IMPORT, "tensor %.*s: offset %" PRIu64 " %s, it should be %" PRIu64, len, t->name.p, t->off, t->off < next ? "overlaps the tensor before" : "leaves a hole", next);
        uint64_t start, end;
        if (!rs_add_ok(g->data_off, t->off, &start) || !rs_add_ok(start, t->len, &end) || end > size)
            return rs_fail(e, RS_E_IMPORT, "tensor %.*s: its %" PRIu64 " bytes at offset %" PRIu64 " end past the file (%" PRIu64 " bytes)", len, t->name.p, t->len, t->off, size);
        if (!rs_add_ok(t->off, t->len, &next) || !align_up(g, &next)) return rs_fail(e, RS_E_IMPORT, "tensor %.*s: the sum of sizes wraps", len, t->name.p);
        t->off = start;
    }
    return RS_OK;
}

// Bytes from..to of the file are padding: zero, or let pass by gguf-pad.
static rs_status check_padding(rs_gguf *g, rs_in *in, uint64_t from, uint64_t to, unsigned lenient, rs_error *e)
{
    uint8_t pad[256];
    for (; from < to; from += sizeof pad) {
        size_t n = to - from < sizeof pad ? (size_t)(to - from) : sizeof pad;
        RS_TRY(rs_in_pread(in, pad, n, from, e));
        for (size_t i = 0; i < n; i++)
            if (pad[i] != 0) {
                if ((lenient & RS_LENIENT_GGUF_PAD) == 0) return rs_fail(e, RS_E_IMPORT, "byte %" PRIu64 ": padding is not zero (--lenient gguf-pad lets it pass)", from + i);
                g->lenient_used |= RS_LENIENT_GGUF_PAD;
                return RS_OK;
            }
    }
    return RS_OK;
}

// All between and behind the tensors: zero padding, and no byte after the last one's (which some writers pad and some do not).
static rs_status check_gaps(rs_gguf *g, rs_in *in, uint64_t header_end, uint64_t size, unsigned lenient, rs_error *e)
{
    uint64_t at = header_end;
    for (size_t i = 0; i < g->n_tensors; i++) {
        RS_TRY(check_padding(g, in, at, g->tensor[i].off, lenient, e));
        at = g->tensor[i].off + g->tensor[i].len;
    }
    uint64_t end = at;
    if (!align_up(g, &end)) return rs_fail(e, RS_E_IMPORT, "the sum of sizes wraps");
    if (end > size) end = size;
    RS_TRY(check_padding(g, in, at, end, lenient, e));
    if (end == size) return RS_OK;
    if ((lenient & RS_LENIENT_GGUF_TAIL) == 0)
        return rs_fail(e, RS_E_IMPORT, "%" PRIu64 " bytes after the last tensor, from byte %" PRIu64 " on (--lenient gguf-tail lets them pass)", size - end, end);
    g->lenient_used |= RS_LENIENT_GGUF_TAIL;
    return RS_OK;
}

static rs_status parse_counts(cursor *c, rs_gguf *g, uint64_t *n_tensors, uint64_t *n_kv)
{
    const uint8_t *magic;
    RS_TRY(take(c, 4, "signature", &magic));
    if (memcmp(magic, "GGUF", 4) != 0) return rs_fail(c->e, RS_E_IMPORT, "not a GGUF file");
    RS_TRY(take_u32(c, "version", &g->version));
    if (g->version == 0x03000000u || g->version == 0x02000000u) return rs_fail(c->e, RS_E_IMPORT, "a big-endian GGUF file is not supported");
    if (g->version != 2 && g->version != 3) return rs_fail(c->e, RS_E_IMPORT, "GGUF version %" PRIu32 " is not supported (supported: 2, 3)", g->version);
    RS_TRY(take_u64(c, "number of tensors", n_tensors));
    RS_TRY(take_u64(c, "number of keys", n_kv));
    uint64_t left = c->size - c->at;
    if (*n_kv > left / MIN_KV) return rs_fail(c->e, RS_E_IMPORT, "%" PRIu64 " keys do not fit into the file", *n_kv);
    if (*n_tensors > left / MIN_TENSOR) return rs_fail(c->e, RS_E_IMPORT, "%" PRIu64 " tensors do not fit into the file", *n_tensors);
    if (*n_kv > RS_GGUF_MAX_KV) return rs_fail(c->e, RS_E_LIMIT, "%" PRIu64 " keys, at most %u", *n_kv, RS_GGUF_MAX_KV);
    if (*n_tensors > RS_MAX_TENSORS) return rs_fail(c->e, RS_E_LIMIT, "%" PRIu64 " tensors, at most %u", *n_tensors, RS_MAX_TENSORS);
    return RS_OK;
}

// Parses what lies in c; RS_NO: more bytes are needed, and nothing but the two tables (whose sizes the counts bound) is kept for the next try.
static rs_status parse(cursor *c, rs_gguf *g)
{
    uint64_t n_tensors = 0, n_kv = 0;
    RS_TRY(parse_counts(c, g, &n_tensors, &n_kv));
    if (g->kv == NULL) g->kv = calloc((size_t)n_kv + 1, sizeof *g->kv);
    if (g->kv == NULL) return rs_fail(c->e, RS_E_NOMEM, "no memory for %" PRIu64 " keys", n_kv);
    for (g->n_kv = 0; g->n_kv < n_kv; g->n_kv++) RS_TRY(take_kv(c, &g->kv[g->n_kv]));
    if (g->tensor == NULL) g->tensor = calloc((size_t)n_tensors + 1, sizeof *g->tensor);
    if (g->tensor == NULL) return rs_fail(c->e, RS_E_NOMEM, "no memory for %" PRIu64 " tensors", n_tensors);
    for (g->n_tensors = 0; g->n_tensors < n_tensors; g->n_tensors++) RS_TRY(take_tensor(c, &g->tensor[g->n_tensors]));
    return RS_OK;
}

static rs_status read_header(rs_gguf *g, rs_in *in, uint64_t size, uint64_t *header_end, rs_error *e)
{
    cursor c = {.size = size, .e = e};
    uint64_t want = FIRST_READ;
    for (;;) {
        if (want > size) want = size;
        uint8_t *p = realloc(g->header, want > 0 ? (size_t)want : 1);
        if (p == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for a header of %" PRIu64 " bytes", want);
        g->header = p;
        RS_TRY(rs_in_pread(in, p + c.have, (size_t)(want - c.have), c.have, e));
        c.p = p;
        c.have = want;
        c.at = 0;
        rs_status s = parse(&c, g);
        *header_end = c.at;
        if (s != RS_NO) return s;
        want = c.need > 2 * c.have ? c.need : 2 * c.have;
        if (c.need > RS_GGUF_MAX_HEADER) return rs_fail(e, RS_E_LIMIT, "the header is longer than %llu bytes", (unsigned long long)RS_GGUF_MAX_HEADER);
    }
}

static rs_status open_gguf(rs_gguf *g, rs_in *in, unsigned lenient, rs_error *e)
{
    uint64_t size, header_end = 0;
    RS_TRY(rs_in_size(in, &size, e));
    RS_TRY(read_header(g, in, size, &header_end, e));
    RS_TRY(sort_kv(g, e));
    RS_TRY(read_align(g, e));
    RS_TRY(check_names(g, e));
    RS_TRY(place_tensors(g, header_end, size, e));
    return check_gaps(g, in, header_end, size, lenient, e);
}

rs_status rs_gguf_open(rs_gguf *g, rs_in *in, unsigned lenient, rs_error *e)
{
    memset(g, 0, sizeof *g);
    rs_status s = open_gguf(g, in, lenient, e);
    if (s != RS_OK) rs_gguf_free(g);
    return s;
}

void rs_gguf_free(rs_gguf *g)
{
    free(g->header);
    free(g->kv);
    free(g->tensor);
    memset(g, 0, sizeof *g);
}

const rs_gguf_kv *rs_gguf_find(const rs_gguf *g, const char *key)
{
    rs_gguf_kv want = {.key = {key, strlen(key)}};
    return g->n_kv == 0 ? NULL : bsearch(&want, g->kv, g->n_kv, sizeof *g->kv, compare_kv);
}

rs_status rs_gguf_uint(const rs_gguf *g, const char *key, uint64_t lo, uint64_t hi, uint64_t otherwise, uint64_t *out, rs_error *e)
{
    const rs_gguf_kv *v = rs_gguf_find(g, key);
    int64_t i = 0;
    *out = otherwise;
    if (v == NULL) return otherwise >= lo && otherwise <= hi ? RS_OK : rs_fail(e, RS_E_IMPORT, "key %s is missing", key);
    if (v->array) return rs_fail(e, RS_E_IMPORT, "key %s: not an integer", key);
    switch (v->kind) {
    case RS_GGUF_U8: *out = v->data[0]; break;
    case RS_GGUF_U16: *out = rs_get_u16(v->data); break;
    case RS_GGUF_U32: *out = rs_get_u32(v->data); break;
    case RS_GGUF_U64: *out = rs_get_u64(v->data); break;
    case RS_GGUF_I8: i = (int8_t)v->data[0]; break;
    case RS_GGUF_I16: i = (int16_t)rs_get_u16(v->data); break;
    case RS_GGUF_I32: i = (int32_t)rs_get_u32(v->data); break;
    case RS_GGUF_I64: i = (int64_t)rs_get_u64(v->data); break;
    default: return rs_fail(e, RS_E_IMPORT, "key %s: not an integer", key);
    }
    if (v->kind == RS_GGUF_I8 || v->kind == RS_GGUF_I16 || v->kind == RS_GGUF_I32 || v->kind == RS_GGUF_I64) *out = (uint64_t)i;
    if (i < 0 || *out < lo || *out > hi)
        return rs_fail(e, RS_E_IMPORT, "key %s: %s%" PRIu64 " is not in %" PRIu64 "..%" PRIu64, key, i < 0 ? "-" : "", i < 0 ? -(uint64_t)i : *out, lo, hi);
    return RS_OK;
}

rs_status rs_gguf_number(const rs_gguf *g, const char *key, double otherwise, double *out, rs_error *e)
{
    const rs_gguf_kv *v = rs_gguf_find(g, key);
    *out = otherwise;
    if (v == NULL) return isfinite(otherwise) ? RS_OK : rs_fail(e, RS_E_IMPORT, "key %s is missing", key);
    if (!v->array && v->kind == RS_GGUF_F32) {
        uint32_t bits = rs_get_u32(v->data);
        float f;
        memcpy(&f, &bits, 4);
        *out = (double)f;
    } else if (!v->array && v->kind == RS_GGUF_F64) {
        uint64_t bits = rs_get_u64(v->data);
        memcpy(out, &bits, 8);
    } else {
        return rs_fail(e, RS_E_IMPORT, "key %s: not a floating-point number", key);
    }
    return isfinite(*out) ? RS_OK : rs_fail(e, RS_E_IMPORT, "key %s: not a finite number", key);
}

rs_status rs_gguf_bool(const rs_gguf *g, const char *key, bool otherwise, bool *out, rs_error *e)
{
    const rs_gguf_kv *v = rs_gguf_find(g, key);
    if (v != NULL && (v->array || v->kind != RS_GGUF_BOOL)) return rs_fail(e, RS_E_IMPORT, "key %s: not a truth value", key);
    *out = v == NULL ? otherwise : v->data[0] == 1;
    return RS_OK;
}

rs_gguf_text rs_gguf_next_string(const uint8_t **at)
{
    rs_gguf_text t = {(const char *)*at + 8, (size_t)rs_get_u64(*at)};
    *at += 8 + t.len;
    return t;
}

rs_status rs_gguf_string(const rs_gguf *g, const char *key, rs_gguf_text *out, rs_error *e)
{
    const rs_gguf_kv *v = rs_gguf_find(g, key);
    *out = (rs_gguf_text){NULL, 0};
    if (v == NULL) return RS_OK;
    if (v->array || v->kind != RS_GGUF_STRING) return rs_fail(e, RS_E_IMPORT, "key %s: not a string", key);
    const uint8_t *at = v->data;
    *out = rs_gguf_next_string(&at);
    size_t good = rs_utf8_valid(out->p, out->len);
    return good == out->len ? RS_OK : rs_fail(e, RS_E_IMPORT, "key %s: byte %zu is not UTF-8", key, good);
}

rs_status rs_gguf_array(const rs_gguf *g, const char *key, rs_gguf_kind kind, const rs_gguf_kv **kv, rs_error *e)
{
    *kv = rs_gguf_find(g, key);
    if (*kv != NULL && (!(*kv)->array || (*kv)->kind != kind)) return rs_fail(e, RS_E_IMPORT, "key %s: not an array of the expected type", key);
    return RS_OK;
}
