// SPDX-License-Identifier: Apache-2.0
// The codecs of metadata fields, and the two walkers that read and write a map by the rows of a table.
#include "formats/codec.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// The object at p, as the type that its row promises.
#define AT(type, p) (*(type *)(void *)(p))
#define CAT(type, p) (*(const type *)(const void *)(p))

static rs_status wrong_type(const rs_field *f, const char *want, rs_error *e)
{
    return rs_fail(e, RS_E_META, "%s: is not %s", f->key, want);
}

// ---- scalars

static void store_uint(void *at, size_t size, uint64_t u)
{
    if (size == 8) AT(uint64_t, at) = u;
    else if (size == 4) AT(uint32_t, at) = (uint32_t)u;
    else AT(bool, at) = u != 0;
}

static uint64_t load_uint(const void *at, size_t size)
{
    return size == 8 ? CAT(uint64_t, at) : size == 4 ? CAT(uint32_t, at) : CAT(bool, at);
}

static rs_status get_uint(const rs_frames_how *how, const rs_field *f, const rs_value *v, void *at, rs_error *e)
{
    (void)how;
    if (v->type != RS_V_UINT) return wrong_type(f, "an unsigned integer", e);
    if (v->u < f->lo || v->u > f->hi) return rs_fail(e, f->unknown != RS_OK && v->u > f->hi ? f->unknown : RS_E_META, "%s: %" PRIu64 " is outside %" PRIu64 "..%" PRIu64, f->key, v->u, f->lo, f->hi);
    store_uint(at, f->size, v->u);
    return RS_OK;
}

static rs_value *put_uint(rs_arena *a, const rs_field *f, const void *at, const void *record)
{
    (void)record;
    return rs_value_uint(a, load_uint(at, f->size));
}

// Range -1..hi.
static rs_status get_index(const rs_frames_how *how, const rs_field *f, const rs_value *v, void *at, rs_error *e)
{
    (void)how;
    if (v->type != RS_V_UINT && v->type != RS_V_INT) return wrong_type(f, "an integer", e);
    if (v->type == RS_V_INT ? v->i != -1 : v->u > f->hi) return rs_fail(e, RS_E_META, "%s: is outside -1..%" PRIu64, f->key, f->hi);
    AT(int64_t, at) = v->type == RS_V_INT ? v->i : (int64_t)v->u;
    return RS_OK;
}

static rs_value *put_index(rs_arena *a, const rs_field *f, const void *at, const void *record)
{
    (void)f, (void)record;
    int64_t i = CAT(int64_t, at);
    return i < 0 ? rs_value_int(a, i) : rs_value_uint(a, (uint64_t)i);
}

static rs_status get_bool(const rs_frames_how *how, const rs_field *f, const rs_value *v, void *at, rs_error *e)
{
    (void)how;
    if (v->type != RS_V_BOOL) return wrong_type(f, "a bool", e);
    AT(bool, at) = v->b;
    return RS_OK;
}

static rs_value *put_bool(rs_arena *a, const rs_field *f, const void *at, const void *record)
{
    (void)f, (void)record;
    return rs_value_bool(a, CAT(bool, at));
}

// A clip ratio, above 0 and at most 1.
static rs_status get_ratio(const rs_frames_how *how, const rs_field *f, const rs_value *v, void *at, rs_error *e)
{
    (void)how;
    if (v->type != RS_V_F64) return wrong_type(f, "an f64", e);
    if (!(v->f > 0.0 && v->f <= 1.0)) return rs_fail(e, RS_E_META, "%s: %g is not above 0 and at most 1", f->key, v->f);
    AT(double, at) = v->f;
    return RS_OK;
}

static rs_value *put_ratio(rs_arena *a, const rs_field *f, const void *at, const void *record)
{
    (void)f, (void)record;
    return rs_value_f64(a, CAT(double, at));
}

static rs_status get_bits(const rs_frames_how *how, const rs_field *f, const rs_value *v, void *at, rs_error *e)
{
    (void)how;
    if (v->type != RS_V_UINT) return wrong_type(f, "an unsigned integer", e);
    if ((v->u < 2 || v->u > 8) && v->u != 16) return rs_fail(e, RS_E_META, "%s: %" PRIu64 " is not 2..8 or 16", f->key, v->u);
    AT(unsigned, at) = (unsigned)v->u;
    return RS_OK;
}

static rs_status get_rank(const rs_frames_how *how, const rs_field *f, const rs_value *v, void *at, rs_error *e)
{
    RS_TRY(get_uint(how, f, v, at, e));
    return v->u % 2 == 0 ? RS_OK : rs_fail(e, RS_E_META, "%s: %" PRIu64 " is odd", f->key, v->u);
}

// ---- text, digests, names of enums

static rs_status check_len(const rs_field *f, const rs_value *v, rs_error *e)
{
    if (v->type != RS_V_STR) return wrong_type(f, "a text", e);
    if (v->str.len < f->lo || v->str.len > f->hi) return rs_fail(e, RS_E_META, "%s: %zu bytes, not %" PRIu64 "..%" PRIu64, f->key, v->str.len, f->lo, f->hi);
    return RS_OK;
}

static rs_status get_text(const rs_frames_how *how, const rs_field *f, const rs_value *v, void *at, rs_error *e)
{
    (void)how;
    RS_TRY(check_len(f, v, e));
    memcpy(at, v->str.p, v->str.len + 1);
    return RS_OK;
}

static rs_value *put_text(rs_arena *a, const rs_field *f, const void *at, const void *record)
{
    (void)f, (void)record;
    return rs_value_str(a, at);
}

// Text that stays in the map; the record points at it.
static rs_status get_line(const rs_frames_how *how, const rs_field *f, const rs_value *v, void *at, rs_error *e)
{
    (void)how;
    RS_TRY(check_len(f, v, e));
    AT(const char *, at) = v->str.p;
    return RS_OK;
}

static rs_value *put_line(rs_arena *a, const rs_field *f, const void *at, const void *record)
{
    (void)f, (void)record;
    const char *s = *(const char *const *)at;
    return rs_value_str(a, s != NULL ? s : "");
}

static rs_status get_name(const rs_frames_how *how, const rs_field *f, const rs_value *v, void *at, rs_error *e)
{
    RS_TRY(get_text(how, f, v, at, e));
    for (size_t i = 0; i < v->str.len; i++)
        if (v->str.p[i] < '!' || v->str.p[i] > '~' || v->str.p[i] == '"' || v->str.p[i] == '\\') return rs_fail(e, RS_E_META, "%s: byte %02x at %zu", f->key, (unsigned char)v->str.p[i], i);
    return RS_OK;
}

static rs_status get_file_name(const rs_frames_how *how, const rs_field *f, const rs_value *v, void *at, rs_error *e)
{
    RS_TRY(get_text(how, f, v, at, e));
    if (v->str.p[0] == '.' || strchr(v->str.p, '/') != NULL) return rs_fail(e, RS_E_META, "%s: \"%s\" has a '/' or starts with a dot", f->key, v->str.p);
    return RS_OK;
}

// Key of a part: one that no table of FORMAT.md holds contradicts the derived layout.
static rs_status get_part_key(const rs_frames_how *how, const rs_field *f, const rs_value *v, void *at, rs_error *e)
{
    if (v->type == RS_V_STR && v->str.len >= f->size) return rs_fail(e, RS_E_TENSOR, "%s: no part is called so", f->key);
    return get_text(how, f, v, at, e);
}

static rs_status get_digest(const rs_frames_how *how, const rs_field *f, const rs_value *v, void *at, rs_error *e)
{
    (void)how;
    if (v->type != RS_V_BIN || v->str.len != 16) return wrong_type(f, "a bin of 16 bytes", e);
    memcpy(at, v->str.p, 16);
    return RS_OK;
}

static rs_value *put_digest(rs_arena *a, const rs_field *f, const void *at, const void *record)
{
    (void)f, (void)record;
    return rs_value_bin(a, at, 16);
}

// A name out of a list; the record holds its number (an enum), or the text itself where size says so.
rs_status rs_codec_get_enum(const rs_frames_how *how, const rs_field *f, const rs_value *v, void *at, rs_error *e)
{
    if (v->type != RS_V_STR) return wrong_type(f, "a text", e);
    for (unsigned i = 0; f->names[i] != NULL; i++)
        if (strcmp(f->names[i], v->str.p) == 0) {
            AT(unsigned, at) = i;
            return RS_OK;
        }
    return rs_fail(e, f->unknown != RS_OK ? f->unknown : how->newer ? RS_E_VERSION : RS_E_META, "%s: \"%.64s\" is unknown", f->key, v->str.p);
}

static rs_value *put_enum(rs_arena *a, const rs_field *f, const void *at, const void *record)
{
    (void)record;
    unsigned i = CAT(unsigned, at), n = 0;
    while (f->names[n] != NULL) n++;
    return i < n ? rs_value_str(a, f->names[i]) : NULL;
}

static rs_status get_choice(const rs_frames_how *how, const rs_field *f, const rs_value *v, void *at, rs_error *e)
{
    unsigned i;
    RS_TRY(rs_codec_get_enum(how, f, v, &i, e));
    snprintf(at, f->size, "%s", f->names[i]);
    return RS_OK;
}

// Names through the find and name functions of tensor.h and dtype.h.
#define NAMED(enum_type, name)                                                                                                                  \
    static rs_status get_##name(const rs_frames_how *how, const rs_field *f, const rs_value *v, void *at, rs_error *e)                        \
    {                                                                                                                                      \
        enum_type t = (enum_type)0;                                                                                                                  \
        if (v->type != RS_V_STR) return wrong_type(f, "a text", e);                                                                        \
        if (!rs_##name##_find(v->str.p, &t) || (f->hi != 0 && (uint64_t)t > f->hi))                                                        \
            return rs_fail(e, how->newer ? RS_E_VERSION : RS_E_META, "%s: \"%.64s\" is unknown here", f->key, v->str.p);                   \
        AT(enum_type, at) = t;                                                                                                                  \
        return RS_OK;                                                                                                                      \
    }                                                                                                                                      \
    static rs_value *put_##name(rs_arena *a, const rs_field *f, const void *at, const void *record)                                           \
    {                                                                                                                                      \
        (void)f, (void)record;                                                                                                             \
        const char *s = rs_##name##_name(CAT(enum_type, at));                                                                              \
        return s != NULL ? rs_value_str(a, s) : NULL;                                                                                      \
    }
NAMED(rs_role, role)
NAMED(rs_enc, enc)
NAMED(rs_dtype, dtype)

bool rs_frames_index(const char *text, const char *prefix, int64_t *index)
{
    size_t n = strlen(prefix);
    if (strncmp(text, prefix, n) != 0) return false;
    const char *p = text + n;
    if (*p < '0' || *p > '9' || (*p == '0' && p[1] != 0)) return false;
    int64_t v = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (v > 99999999) return false;
        v = v * 10 + (*p - '0');
    }
    if (*p != 0) return false;
    *index = v;
    return true;
}

bool rs_frames_xf(const char *id, int64_t *index)
{
    *index = -1;
    if (strcmp(id, "gamma") == 0 || strcmp(id, "smooth") == 0 || strcmp(id, "r4") == 0) return true;
    return rs_frames_index(id, "rot.", index) || rs_frames_index(id, "rebase.", index) || rs_frames_index(id, "headrot.", index);
}

static rs_status get_xf_id(const rs_frames_how *how, const rs_field *f, const rs_value *v, void *at, rs_error *e)
{
    int64_t index;
    if (v->type != RS_V_STR) return wrong_type(f, "a text", e);
    if (v->str.len >= f->size || !rs_frames_xf(v->str.p, &index)) return rs_fail(e, RS_E_VERSION, "%s: transform \"%.64s\" is unknown", f->key, v->str.p);
    return get_text(how, f, v, at, e);
}

// ---- lists and maps

static rs_status get_dims(const rs_frames_how *how, const rs_field *f, const rs_value *v, void *at, rs_error *e)
{
    (void)how;
    if (v->type != RS_V_ARRAY) return wrong_type(f, "a list", e);
    if (v->array.len > RS_MAX_DIMS) return rs_fail(e, RS_E_LIMIT, "%s: %zu dims, at most %d", f->key, v->array.len, RS_MAX_DIMS);
    uint64_t *dims = at;
    for (size_t i = 0; i < v->array.len; i++) {
        if (v->array.item[i]->type != RS_V_UINT) return wrong_type(f, "a list of unsigned integers", e);
        dims[i] = v->array.item[i]->u;
        if (dims[i] > RS_MAX_DIM) return rs_fail(e, RS_E_LIMIT, "%s: dim %" PRIu64 ", at most 2^40", f->key, dims[i]);
    }
    AT(int, (uint8_t *)at - f->off + f->count_off) = (int)v->array.len;
    return RS_OK;
}

static rs_value *put_dims(rs_arena *a, const rs_field *f, const void *at, const void *record)
{
    const uint64_t *dims = at;
    int n = CAT(int, (const uint8_t *)record + f->count_off);
    rs_value *list = rs_value_array(a);
    for (int i = 0; i < n; i++)
        if (!rs_array_push(a, list, rs_value_uint(a, dims[i]))) return NULL;
    return list;
}

// A list of maps in an array inside the record; the count is an int. More than hi is of the class unknown.
static rs_status get_list(const rs_frames_how *how, const rs_field *f, const rs_value *v, void *at, rs_error *e)
{
    if (v->type != RS_V_ARRAY) return wrong_type(f, "a list", e);
    if (v->array.len > f->hi) return rs_fail(e, f->unknown, "%s: %zu items, at most %" PRIu64, f->key, v->array.len, f->hi);
    for (size_t i = 0; i < v->array.len; i++) RS_TRY(rs_codec_get(how, f->sub, v->array.item[i], (uint8_t *)at + i * f->sub->size, e));
    AT(int, (uint8_t *)at - f->off + f->count_off) = (int)v->array.len;
    return RS_OK;
}

static rs_value *put_list(rs_arena *a, const rs_field *f, const void *at, const void *record)
{
    int n = CAT(int, (const uint8_t *)record + f->count_off);
    rs_value *list = rs_value_array(a);
    for (int i = 0; i < n; i++)
        if (!rs_array_push(a, list, rs_codec_put(a, f->sub, (const uint8_t *)at + (size_t)i * f->sub->size))) return NULL;
    return list;
}

// A list of maps in the arena; the record holds a pointer and a size_t.
rs_status rs_codec_get_rows(const rs_frames_how *how, const rs_field *f, const rs_value *v, void *at, rs_error *e)
{
    if (v->type != RS_V_ARRAY) return wrong_type(f, "a list", e);
    size_t n = v->array.len;
    uint8_t *rows = rs_arena_alloc(how->arena, (n + 1) * f->sub->size);
    if (rows == NULL) return rs_fail(e, RS_E_NOMEM, "%s", f->key);
    for (size_t i = 0; i < n; i++) RS_TRY(rs_codec_get(how, f->sub, v->array.item[i], rows + i * f->sub->size, e));
    AT(void *, at) = rows;
    AT(size_t, (uint8_t *)at - f->off + f->count_off) = n;
    return RS_OK;
}

static rs_value *put_rows(rs_arena *a, const rs_field *f, const void *at, const void *record)
{
    size_t n = CAT(size_t, (const uint8_t *)record + f->count_off);
    const uint8_t *rows = *(const uint8_t *const *)at;
    rs_value *list = rs_value_array(a);
    for (size_t i = 0; i < n; i++)
        if (!rs_array_push(a, list, rs_codec_put(a, f->sub, rows + i * f->sub->size))) return NULL;
    return list;
}

static rs_status get_lines(const rs_frames_how *how, const rs_field *f, const rs_value *v, void *at, rs_error *e)
{
    if (v->type != RS_V_ARRAY) return wrong_type(f, "a list", e);
    size_t n = v->array.len;
    const char **lines = rs_arena_alloc(how->arena, (n + 1) * sizeof *lines);
    if (lines == NULL) return rs_fail(e, RS_E_NOMEM, "%s", f->key);
    for (size_t i = 0; i < n; i++) {
        if (v->array.item[i]->type != RS_V_STR) return wrong_type(f, "a list of texts", e);
        lines[i] = v->array.item[i]->str.p;
    }
    AT(const char **, at) = lines;
    AT(size_t, (uint8_t *)at - f->off + f->count_off) = n;
    return RS_OK;
}

static rs_value *put_lines(rs_arena *a, const rs_field *f, const void *at, const void *record)
{
    size_t n = CAT(size_t, (const uint8_t *)record + f->count_off);
    const char *const *lines = *(const char *const *const *)at;
    rs_value *list = rs_value_array(a);
    for (size_t i = 0; i < n; i++)
        if (!rs_array_push(a, list, rs_value_str(a, lines[i]))) return NULL;
    return list;
}

static rs_status get_flat(const rs_frames_how *how, const rs_field *f, const rs_value *v, void *at, rs_error *e)
{
    if (v->type != RS_V_MAP) return wrong_type(f, "a map", e);
    for (size_t i = 0; i < v->map.len; i++) {
        rs_value_type t = v->map.item[i].value->type;
        bool ancillary = strncmp(v->map.item[i].key, "x_", 2) == 0;
        if (ancillary && how->strict) return rs_fail(e, RS_E_VERSION, "%s: ancillary key \"%s\"", f->key, v->map.item[i].key);
        if (!ancillary && (t == RS_V_BIN || t == RS_V_ARRAY || t == RS_V_MAP)) return rs_fail(e, RS_E_META, "%s: \"%s\" is not a scalar", f->key, v->map.item[i].key);
    }
    AT(const rs_value *, at) = v;
    return RS_OK;
}

static rs_value *put_flat(rs_arena *a, const rs_field *f, const void *at, const void *record)
{
    (void)f, (void)record;
    const rs_value *map = *(const rs_value *const *)at;
    rs_value *copy = rs_value_map(a);
    for (size_t i = 0; map != NULL && i < map->map.len; i++)
        if (!rs_map_put(a, copy, map->map.item[i].key, map->map.item[i].value)) return NULL;
    return copy;
}

static rs_status get_map(const rs_frames_how *how, const rs_field *f, const rs_value *v, void *at, rs_error *e)
{
    return rs_codec_get(how, f->sub, v, at, e);
}

static rs_value *put_map(rs_arena *a, const rs_field *f, const void *at, const void *record)
{
    (void)record;
    return rs_codec_put(a, f->sub, at);
}

const rs_codec rs_codec_uint = {get_uint, put_uint};
const rs_codec rs_codec_index = {get_index, put_index};
const rs_codec rs_codec_bool = {get_bool, put_bool};
const rs_codec rs_codec_ratio = {get_ratio, put_ratio};
const rs_codec rs_codec_bits = {get_bits, put_uint};
const rs_codec rs_codec_rank = {get_rank, put_uint};
const rs_codec rs_codec_text = {get_text, put_text};
const rs_codec rs_codec_line = {get_line, put_line};
const rs_codec rs_codec_name = {get_name, put_text};
const rs_codec rs_codec_file_name = {get_file_name, put_text};
const rs_codec rs_codec_part_key = {get_part_key, put_text};
const rs_codec rs_codec_digest = {get_digest, put_digest};
const rs_codec rs_codec_enum = {rs_codec_get_enum, put_enum};
const rs_codec rs_codec_choice = {get_choice, put_text};
const rs_codec rs_codec_role = {get_role, put_role};
const rs_codec rs_codec_enc = {get_enc, put_enc};
const rs_codec rs_codec_dtype = {get_dtype, put_dtype};
const rs_codec rs_codec_xf_id = {get_xf_id, put_text};
const rs_codec rs_codec_dims = {get_dims, put_dims};
const rs_codec rs_codec_list = {get_list, put_list};
const rs_codec rs_codec_rows = {rs_codec_get_rows, put_rows};
const rs_codec rs_codec_lines = {get_lines, put_lines};
const rs_codec rs_codec_flat = {get_flat, put_flat};
const rs_codec rs_codec_map = {get_map, put_map};

// ---- the two walkers

static rs_status check_keys(const rs_frames_how *how, const rs_table *t, const rs_value *map, rs_error *e)
{
    for (size_t i = 0; i < map->map.len; i++) {
        const char *key = map->map.item[i].key;
        bool known = false;
        for (size_t k = 0; k < t->n_rows && !known; k++) known = strcmp(t->rows[k].key, key) == 0;
        if (known) continue;
        if (strncmp(key, "x_", 2) != 0) return rs_fail(e, t->unknown_key != RS_OK ? t->unknown_key : how->newer ? RS_E_VERSION : RS_E_META, "%s: unknown key \"%s\"", t->what, key);
        if (t->n_rows == 0) return rs_fail(e, RS_E_META, "%s: key \"%s\"", t->what, key);
        if (how->strict) return rs_fail(e, RS_E_VERSION, "%s: ancillary key \"%s\"", t->what, key);
    }
    return RS_OK;
}

rs_status rs_codec_get(const rs_frames_how *how, const rs_table *t, const rs_value *map, void *record, rs_error *e)
{
    if (map->type != RS_V_MAP) return rs_fail(e, RS_E_META, "%s: is not a map", t->what);
    for (size_t k = 0; k < t->n_rows; k++) {
        const rs_field *f = &t->rows[k];
        const rs_value *v = rs_map_get(map, f->key);
        if (v == NULL && f->has != NULL) continue;
        if (v == NULL) return rs_fail(e, RS_E_META, "%s: is missing", f->key);
        RS_TRY(f->codec->get(how, f, v, (uint8_t *)record + f->off, e));
    }
    RS_TRY(check_keys(how, t, map, e));
    return t->check != NULL ? t->check(how, map, record, e) : RS_OK;
}

rs_value *rs_codec_put(rs_arena *a, const rs_table *t, const void *record)
{
    rs_value *map = rs_value_map(a);
    for (size_t k = 0; k < t->n_rows; k++) {
        const rs_field *f = &t->rows[k];
        if (f->has != NULL && !f->has(record)) continue;
        if (!rs_map_put(a, map, f->key, f->codec->put(a, f, (const uint8_t *)record + f->off, record))) return NULL;
    }
    return map;
}
