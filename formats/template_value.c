// SPDX-License-Identifier: Apache-2.0
// Making, comparing and indexing of template values, with the rules of Python.
#include "formats/template_value.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "formats/template_text.h"

// ---- what a rendering may spend

rs_status rs_template_fail(rs_template_heap *h, rs_status status, const char *fmt, ...)
{
    char text[700];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    h->status = status;
    return rs_fail(h->e, status, "line %u: %s", h->line, text);
}

void *rs_template_alloc(rs_template_heap *h, size_t n)
{
    if (n > RS_TEMPLATE_MAX_BYTES - h->bytes) {
        (void)rs_template_fail(h, RS_E_LIMIT, "the template needs more than %zu MiB", RS_TEMPLATE_MAX_BYTES >> 20);
        return NULL;
    }
    void *p = rs_arena_alloc(h->arena, n);
    if (p == NULL) (void)rs_template_fail(h, RS_E_NOMEM, "no memory for the template");
    else h->bytes += n;
    return p;
}

rs_status rs_template_steps(rs_template_heap *h, uint64_t n)
{
    h->steps = n > RS_TEMPLATE_MAX_STEPS ? UINT64_MAX / 2 : h->steps + n;
    return h->steps <= RS_TEMPLATE_MAX_STEPS ? RS_OK : rs_template_fail(h, RS_E_LIMIT, "the template takes more than %u steps", RS_TEMPLATE_MAX_STEPS);
}

// A list of *room entries of the given size with room for more beyond n: the old one, or a longer copy; NULL with h->status set.
static void *roomy(rs_template_heap *h, void *list, size_t n, size_t more, size_t *room, size_t size)
{
    if (more <= *room - n) return list;
    size_t bigger = *room < 8 ? 8 : *room;
    while (bigger - n < more) {
        if (bigger > RS_TEMPLATE_MAX_BYTES) break;
        bigger *= 2;
    }
    void *p = bigger > RS_TEMPLATE_MAX_BYTES / size ? NULL : rs_template_alloc(h, bigger * size);
    if (p == NULL) {
        if (h->status == RS_OK) (void)rs_template_fail(h, RS_E_LIMIT, "the template needs more than %zu MiB", RS_TEMPLATE_MAX_BYTES >> 20);
        return NULL;
    }
    if (n > 0) memcpy(p, list, n * size);
    *room = bigger;
    return p;
}

rs_status rs_template_add(rs_template_heap *h, rs_template_text *t, const char *p, size_t len)
{
    if (len == 0) return RS_OK;
    char *to = roomy(h, t->p, t->len, len, &t->room, 1);
    if (to == NULL) return h->status;
    t->p = to;
    memcpy(t->p + t->len, p, len);
    t->len += len;
    return RS_OK;
}

// ---- making

rs_status rs_tv_list_new(rs_template_heap *h, rs_tv_sort sort, rs_tv *out)
{
    rs_tv_list *l = rs_template_alloc(h, sizeof *l);
    if (l == NULL) return h->status;
    l->sort = sort;
    *out = (rs_tv){.kind = RS_TV_LIST, .list = l};
    return RS_OK;
}

rs_status rs_tv_map_new(rs_template_heap *h, rs_tv_kind kind, rs_tv *out)
{
    rs_tv_map *m = rs_template_alloc(h, sizeof *m);
    if (m == NULL) return h->status;
    *out = (rs_tv){.kind = kind, .map = m};
    return RS_OK;
}

// Everything that recurses over values counts on this bound. A namespace is opaque, so that cycles through it are harmless.
static rs_status nest(rs_template_heap *h, unsigned *nesting, const rs_tv *v)
{
    unsigned inner = v->kind == RS_TV_LIST ? v->list->nesting : v->kind == RS_TV_MAP ? v->map->nesting : 0;
    if (inner + 1 > *nesting) *nesting = inner + 1;
    return *nesting <= RS_TEMPLATE_MAX_NESTING ? RS_OK : rs_template_fail(h, RS_E_LIMIT, "lists nested more than %u deep", RS_TEMPLATE_MAX_NESTING);
}

rs_status rs_tv_push(rs_template_heap *h, rs_tv *list, rs_tv item)
{
    rs_tv_list *l = list->list;
    RS_TRY(nest(h, &l->nesting, &item));
    rs_tv *p = roomy(h, l->item, l->n, 1, &l->room, sizeof *p);
    if (p == NULL) return h->status;
    l->item = p;
    l->item[l->n++] = item;
    return RS_OK;
}

rs_status rs_tv_put(rs_template_heap *h, rs_tv *map, rs_tv key, rs_tv value)
{
    rs_tv_map *m = map->map;
    if (key.kind != RS_TV_STR) return rs_template_fail(h, RS_E_IMPORT, "a key that is a %s is not supported", rs_tv_type(&key));
    RS_TRY(rs_template_steps(h, m->n / 16 + 1));
    if (map->kind == RS_TV_MAP) RS_TRY(nest(h, &m->nesting, &value));
    for (size_t i = 0; i < m->n; i++)
        if (m->item[i].key.str.len == key.str.len && (key.str.len == 0 || memcmp(m->item[i].key.str.p, key.str.p, key.str.len) == 0)) {
            m->item[i].value = value;
            return RS_OK;
        }
    rs_tv_pair *p = roomy(h, m->item, m->n, 1, &m->room, sizeof *p);
    if (p == NULL) return h->status;
    m->item = p;
    m->item[m->n++] = (rs_tv_pair){key, value};
    return RS_OK;
}

const rs_tv *rs_tv_get(const rs_tv_map *map, const char *key, size_t len)
{
    for (size_t i = 0; i < map->n; i++)
        if (map->item[i].key.str.len == len && (len == 0 || memcmp(map->item[i].key.str.p, key, len) == 0)) return &map->item[i].value;
    return NULL;
}

rs_status rs_tv_from_json(rs_template_heap *h, const json_t *j, rs_tv *out)
{
    RS_TRY(rs_template_steps(h, 1));
    switch (json_typeof(j)) {
    case JSON_NULL: *out = (rs_tv){.kind = RS_TV_NONE}; return RS_OK;
    case JSON_TRUE:
    case JSON_FALSE: *out = RS_TV_BOOL_OF(json_is_true(j)); return RS_OK;
    case JSON_INTEGER: *out = RS_TV_INT_OF(json_integer_value(j)); return RS_OK;
    case JSON_REAL: *out = RS_TV_FLOAT_OF(json_real_value(j)); return RS_OK;
    case JSON_STRING: *out = RS_TV_STR_OF(json_string_value(j), json_string_length(j)); return RS_OK;
    case JSON_ARRAY:
        if (++h->depth > RS_TEMPLATE_MAX_NESTING) return rs_template_fail(h, RS_E_LIMIT, "lists nested more than %u deep", RS_TEMPLATE_MAX_NESTING);
        RS_TRY(rs_tv_list_new(h, RS_TV_PLAIN, out));
        for (size_t i = 0; i < json_array_size(j); i++) {
            rs_tv item;
            RS_TRY(rs_tv_from_json(h, json_array_get(j, i), &item));
            RS_TRY(rs_tv_push(h, out, item));
        }
        h->depth--;
        return RS_OK;
    case JSON_OBJECT: break;
    }
    const char *key;
    json_t *value;
    if (++h->depth > RS_TEMPLATE_MAX_NESTING) return rs_template_fail(h, RS_E_LIMIT, "lists nested more than %u deep", RS_TEMPLATE_MAX_NESTING);
    RS_TRY(rs_tv_map_new(h, RS_TV_MAP, out));
    json_object_foreach((json_t *)j, key, value) {
        rs_tv item;
        RS_TRY(rs_tv_from_json(h, value, &item));
        RS_TRY(rs_tv_put(h, out, RS_TV_STR_OF(key, strlen(key)), item));
    }
    h->depth--;
    return RS_OK;
}

// ---- looking at

bool rs_tv_is(const rs_tv *v, const char *text)
{
    return v->kind == RS_TV_STR && v->str.len == strlen(text) && memcmp(v->str.p, text, v->str.len) == 0;
}

bool rs_tv_absent(const rs_tv *v) { return v->kind == RS_TV_UNDEFINED && v->str.p == NULL; }

bool rs_tv_integer(const rs_tv *v, int64_t *i)
{
    *i = v->kind == RS_TV_INT ? v->i : v->kind == RS_TV_BOOL && v->b;
    return v->kind == RS_TV_INT || v->kind == RS_TV_BOOL;
}

bool rs_tv_number(const rs_tv *v, double *f)
{
    int64_t i;
    bool whole = rs_tv_integer(v, &i);
    *f = v->kind == RS_TV_FLOAT ? v->f : (double)i;
    return whole || v->kind == RS_TV_FLOAT;
}

const char *rs_tv_type(const rs_tv *v)
{
    static const char *const names[] = {"missing value", "none", "truth value", "whole number", "float", "text", "list", "map", "namespace", "loop", "function"};
    static const char *const lists[] = {"list", "tuple", "range", "view", "generator"};
    return v->kind == RS_TV_LIST ? lists[v->list->sort] : names[v->kind];
}

bool rs_tv_true(const rs_tv *v)
{
    switch (v->kind) {
    case RS_TV_UNDEFINED:
    case RS_TV_NONE: return false;
    case RS_TV_BOOL: return v->b;
    case RS_TV_INT: return v->i != 0;
    case RS_TV_FLOAT: return v->f != 0;
    case RS_TV_STR: return v->str.len > 0;
    case RS_TV_LIST: return v->list->sort == RS_TV_GENERATOR || v->list->n > 0;
    case RS_TV_MAP: return v->map->n > 0;
    default: return true;
    }
}

static rs_status equal_lists(rs_template_heap *h, const rs_tv_list *a, const rs_tv_list *b, bool *out)
{
    *out = a == b;
    if (a == b || a->sort != b->sort || a->sort == RS_TV_VIEW || a->sort == RS_TV_GENERATOR || a->n != b->n) return RS_OK;
    *out = true;
    for (size_t i = 0; i < a->n && *out; i++) RS_TRY(rs_tv_equal(h, &a->item[i], &b->item[i], out));
    return RS_OK;
}

static rs_status equal_maps(rs_template_heap *h, const rs_tv_map *a, const rs_tv_map *b, bool *out)
{
    *out = a->n == b->n;
    for (size_t i = 0; i < a->n && *out; i++) {
        RS_TRY(rs_template_steps(h, b->n / 16 + 1));
        const rs_tv *other = rs_tv_get(b, a->item[i].key.str.p, a->item[i].key.str.len);
        if (other == NULL) *out = false;
        else RS_TRY(rs_tv_equal(h, &a->item[i].value, other, out));
    }
    return RS_OK;
}

rs_status rs_tv_equal(rs_template_heap *h, const rs_tv *a, const rs_tv *b, bool *out)
{
    double x, y;
    int64_t i, k;
    RS_TRY(rs_template_steps(h, 1));
    *out = false;
    if (rs_tv_integer(a, &i) && rs_tv_integer(b, &k)) *out = i == k;
    else if (rs_tv_number(a, &x) && rs_tv_number(b, &y)) *out = x == y;
    else if (a->kind != b->kind) return RS_OK;
    else if (a->kind == RS_TV_STR) {
        *out = a->str.len == b->str.len && (a->str.len == 0 || memcmp(a->str.p, b->str.p, a->str.len) == 0);
        return rs_template_steps(h, *out ? a->str.len / 256 : 0);
    } else if (a->kind == RS_TV_LIST) return equal_lists(h, a->list, b->list, out);
    else if (a->kind == RS_TV_MAP) return equal_maps(h, a->map, b->map, out);
    else if (a->kind == RS_TV_NAMESPACE) *out = a->map == b->map;
    else if (a->kind == RS_TV_LOOP) *out = a->loop == b->loop;
    else if (a->kind == RS_TV_CALL) *out = a->call == b->call;
    else *out = true; // none and none, undefined and undefined
    return RS_OK;
}

rs_status rs_tv_compare(rs_template_heap *h, const rs_tv *a, const rs_tv *b, int *out)
{
    double x, y;
    int64_t i, k;
    RS_TRY(rs_template_steps(h, 1));
    if (a->kind == RS_TV_UNDEFINED || b->kind == RS_TV_UNDEFINED) {
        const rs_tv *u = a->kind == RS_TV_UNDEFINED ? a : b;
        return rs_template_fail(h, RS_E_IMPORT, "\"%.*s\" is undefined", (int)(u->str.len < 100 ? u->str.len : 100), u->str.p);
    }
    if (rs_tv_integer(a, &i) && rs_tv_integer(b, &k)) *out = (i > k) - (i < k);
    else if (rs_tv_number(a, &x) && rs_tv_number(b, &y)) *out = isnan(x) || isnan(y) ? 2 : (x > y) - (x < y);
    else if (a->kind == RS_TV_STR && b->kind == RS_TV_STR) { // the order of UTF-8 is that of code points
        size_t n = a->str.len < b->str.len ? a->str.len : b->str.len;
        int c = n > 0 ? memcmp(a->str.p, b->str.p, n) : 0;
        *out = c != 0 ? (c > 0) - (c < 0) : (a->str.len > b->str.len) - (a->str.len < b->str.len);
        return rs_template_steps(h, n / 256);
    } else if (a->kind == RS_TV_LIST && b->kind == RS_TV_LIST && a->list->sort == b->list->sort && a->list->sort <= RS_TV_TUPLE) {
        const rs_tv_list *p = a->list, *q = b->list;
        for (size_t n = 0; n < p->n && n < q->n; n++) {
            bool same;
            RS_TRY(rs_tv_equal(h, &p->item[n], &q->item[n], &same));
            if (!same) return rs_tv_compare(h, &p->item[n], &q->item[n], out);
        }
        *out = (p->n > q->n) - (p->n < q->n);
    } else return rs_template_fail(h, RS_E_IMPORT, "a %s and a %s have no order", rs_tv_type(a), rs_tv_type(b));
    return RS_OK;
}

rs_status rs_tv_in(rs_template_heap *h, const rs_tv *a, const rs_tv *b, bool *out)
{
    *out = false;
    if (b->kind == RS_TV_UNDEFINED) return RS_OK;
    if (b->kind == RS_TV_STR) {
        if (a->kind != RS_TV_STR) return rs_template_fail(h, RS_E_IMPORT, "a %s is looked for in a text", rs_tv_type(a));
        RS_TRY(rs_template_steps(h, b->str.len / 256 + 1));
        *out = a->str.len == 0 || (b->str.len > 0 && memmem(b->str.p, b->str.len, a->str.p, a->str.len) != NULL);
    } else if (b->kind == RS_TV_MAP) {
        if (a->kind == RS_TV_LIST || a->kind == RS_TV_MAP) return rs_template_fail(h, RS_E_IMPORT, "a %s is looked for among keys", rs_tv_type(a));
        RS_TRY(rs_template_steps(h, b->map->n / 16 + 1));
        *out = a->kind == RS_TV_STR && rs_tv_get(b->map, a->str.p, a->str.len) != NULL;
    } else if (b->kind == RS_TV_LIST) {
        size_t i = 0;
        while (i < b->list->n && !*out) RS_TRY(rs_tv_equal(h, a, &b->list->item[i++], out));
        if (b->list->sort == RS_TV_GENERATOR) {
            b->list->item += b->list->n > 0 ? i : 0;
            b->list->n -= i;
        }
    } else return rs_template_fail(h, RS_E_IMPORT, "a %s holds nothing that \"in\" could find", rs_tv_type(b));
    return RS_OK;
}

int64_t rs_tv_length(const rs_tv *v)
{
    switch (v->kind) {
    case RS_TV_UNDEFINED: return 0;
    case RS_TV_STR: return (int64_t)rs_template_chars(v->str.p, v->str.len);
    case RS_TV_LIST: return v->list->sort == RS_TV_GENERATOR ? -1 : (int64_t)v->list->n;
    case RS_TV_MAP: return (int64_t)v->map->n;
    case RS_TV_LOOP: return (int64_t)v->loop->list->n;
    default: return -1;
    }
}

rs_status rs_tv_items(rs_template_heap *h, const rs_tv *v, rs_tv *out)
{
    if (v->kind == RS_TV_LIST && v->list->sort != RS_TV_GENERATOR) {
        *out = *v;
        return RS_OK;
    }
    RS_TRY(rs_tv_list_new(h, RS_TV_PLAIN, out));
    if (v->kind == RS_TV_LIST) {
        *out->list = *v->list;
        out->list->sort = RS_TV_PLAIN;
        v->list->n = 0;
    } else if (v->kind == RS_TV_STR) {
        uint32_t c;
        RS_TRY(rs_template_steps(h, v->str.len));
        for (size_t i = 0, n; i < v->str.len; i += n) {
            n = rs_template_char(v->str.p + i, v->str.len - i, &c);
            RS_TRY(rs_tv_push(h, out, RS_TV_STR_OF(v->str.p + i, n)));
        }
    } else if (v->kind == RS_TV_MAP) {
        RS_TRY(rs_template_steps(h, v->map->n));
        for (size_t i = 0; i < v->map->n; i++) RS_TRY(rs_tv_push(h, out, v->map->item[i].key));
    } else if (v->kind != RS_TV_UNDEFINED) return rs_template_fail(h, RS_E_IMPORT, "a %s cannot be gone through", rs_tv_type(v));
    return RS_OK;
}

rs_status rs_tv_index(rs_template_heap *h, const rs_tv *object, const rs_tv *index, rs_tv *out)
{
    int64_t i, n;
    *out = (rs_tv){.kind = RS_TV_UNDEFINED, .str = {"item", 4}};
    if (index->kind == RS_TV_STR) out->str.p = index->str.p, out->str.len = index->str.len;
    if (object->kind == RS_TV_UNDEFINED) return rs_template_fail(h, RS_E_IMPORT, "\"%.*s\" is undefined", (int)(object->str.len < 100 ? object->str.len : 100), object->str.p);
    if (object->kind == RS_TV_MAP || object->kind == RS_TV_NAMESPACE) {
        RS_TRY(rs_template_steps(h, object->map->n / 16 + 1));
        const rs_tv *v = index->kind == RS_TV_STR ? rs_tv_get(object->map, index->str.p, index->str.len) : NULL;
        if (v != NULL) *out = *v;
        return RS_OK;
    }
    bool text = object->kind == RS_TV_STR, list = object->kind == RS_TV_LIST && object->list->sort <= RS_TV_RANGE;
    if (!(text || list) || !rs_tv_integer(index, &i)) return RS_OK;
    if (text) RS_TRY(rs_template_steps(h, object->str.len / 64 + 1));
    n = rs_tv_length(object);
    if (i < 0) i += n;
    if (i < 0 || i >= n) return RS_OK;
    if (list) {
        *out = object->list->item[i];
        return RS_OK;
    }
    uint32_t c;
    size_t at = rs_template_offset(object->str.p, object->str.len, (size_t)i);
    *out = RS_TV_STR_OF(object->str.p + at, rs_template_char(object->str.p + at, object->str.len - at, &c));
    return RS_OK;
}

// A bound as Python clips it to low..high.
static rs_status clip(rs_template_heap *h, const rs_tv *bound, int64_t otherwise, int64_t n, int64_t low, int64_t high, int64_t *out)
{
    *out = otherwise;
    if (bound->kind == RS_TV_NONE) return RS_OK;
    if (!rs_tv_integer(bound, out)) return rs_template_fail(h, RS_E_IMPORT, "a bound of a slice is a %s", rs_tv_type(bound));
    if (*out < 0) *out += n;
    if (*out < low) *out = low;
    if (*out > high) *out = high;
    return RS_OK;
}

rs_status rs_tv_slice(rs_template_heap *h, const rs_tv *object, const rs_tv bound[3], rs_tv *out)
{
    int64_t start, stop, step = 1, n = rs_tv_length(object);
    bool text = object->kind == RS_TV_STR, list = object->kind == RS_TV_LIST && object->list->sort <= RS_TV_RANGE;
    if (object->kind == RS_TV_UNDEFINED) return rs_template_fail(h, RS_E_IMPORT, "\"%.*s\" is undefined", (int)(object->str.len < 100 ? object->str.len : 100), object->str.p);
    if (!text && !list) return rs_template_fail(h, RS_E_IMPORT, "a %s cannot be sliced", rs_tv_type(object));
    if (bound[2].kind != RS_TV_NONE && !rs_tv_integer(&bound[2], &step)) return rs_template_fail(h, RS_E_IMPORT, "the step of a slice is a %s", rs_tv_type(&bound[2]));
    if (step == 0) return rs_template_fail(h, RS_E_IMPORT, "the step of a slice is 0");
    if (step > n) step = n + 1; // the same items, and no overflow
    if (step < -n) step = -n - 1;
    RS_TRY(clip(h, &bound[0], step > 0 ? 0 : n - 1, n, step > 0 ? 0 : -1, step > 0 ? n : n - 1, &start));
    RS_TRY(clip(h, &bound[1], step > 0 ? n : -1, n, step > 0 ? 0 : -1, step > 0 ? n : n - 1, &stop));
    RS_TRY(rs_template_steps(h, (uint64_t)n / 16 + 1));
    if (text && step == 1) {
        size_t from = rs_template_offset(object->str.p, object->str.len, (size_t)start), to = stop > start ? rs_template_offset(object->str.p, object->str.len, (size_t)stop) : from;
        *out = RS_TV_STR_OF(object->str.p + from, to - from);
        return RS_OK;
    }
    rs_tv items;
    rs_template_text joined = {0};
    RS_TRY(rs_tv_items(h, object, &items));
    RS_TRY(rs_tv_list_new(h, list ? object->list->sort : RS_TV_PLAIN, out));
    for (int64_t i = start; step > 0 ? i < stop : i > stop; i += step) {
        const rs_tv *item = &items.list->item[i];
        if (list) RS_TRY(rs_tv_push(h, out, *item));
        else RS_TRY(rs_template_add(h, &joined, item->str.p, item->str.len));
    }
    if (text) *out = RS_TV_STR_OF(joined.len > 0 ? joined.p : "", joined.len);
    return RS_OK;
}
