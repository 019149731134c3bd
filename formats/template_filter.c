// SPDX-License-Identifier: Apache-2.0
// Filters: those of Jinja that chat templates use, and tojson as transformers defines it.
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/template_call.h"
#include "formats/template_text.h"

#define NAMED(text) ((rs_tv){.kind = RS_TV_UNDEFINED, .str = {"" text, sizeof(text) - 1}})

// ---- text

static rs_status f_trim(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out)
{
    rs_tv text, set = arg[0].kind == RS_TV_NONE ? (rs_tv){.kind = RS_TV_UNDEFINED} : arg[0];
    RS_TRY(rs_template_to_str(h, v, &text));
    if (!rs_tv_absent(&set)) RS_TRY(rs_template_want_text(h, &set, "what is trimmed"));
    RS_TRY(rs_template_steps(h, (text.str.len / 16 + 1) * (rs_tv_absent(&set) ? 1 : set.str.len / 16 + 1)));
    *out = rs_template_strip(text, set, 3);
    return RS_OK;
}

static rs_status recase(rs_template_heap *h, const rs_tv *v, rs_template_case how, rs_tv *out)
{
    rs_tv text;
    RS_TRY(rs_template_to_str(h, v, &text));
    return rs_template_recase(h, text, how, out);
}
static rs_status f_upper(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out) { return (void)arg, recase(h, v, RS_CASE_UPPER, out); }
static rs_status f_lower(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out) { return (void)arg, recase(h, v, RS_CASE_LOWER, out); }
static rs_status f_title(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out) { return (void)arg, recase(h, v, RS_CASE_WORDS, out); }
static rs_status f_capitalize(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out) { return (void)arg, recase(h, v, RS_CASE_CAPITALIZE, out); }
static rs_status f_string(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out) { return (void)arg, rs_template_to_str(h, v, out); }

static rs_status f_replace(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out)
{
    rs_tv text, old, new;
    int64_t count = -1;
    RS_TRY(rs_template_to_str(h, v, &text));
    RS_TRY(rs_template_to_str(h, &arg[0], &old));
    RS_TRY(rs_template_to_str(h, &arg[1], &new));
    if (arg[2].kind != RS_TV_NONE) RS_TRY(rs_template_want_int(h, &arg[2], -1, &count));
    return rs_template_replace(h, text, old, new, count, out);
}

// Spaces (or a text) before every line but the first; lines that hold nothing stay so.
static rs_status f_indent(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out)
{
    rs_template_text t = {0};
    rs_tv text, pad;
    int64_t width = 4;
    RS_TRY(rs_template_want_text(h, v, "what is indented"));
    text = *v;
    if (arg[0].kind == RS_TV_STR) {
        pad = arg[0];
    } else {
        RS_TRY(rs_template_want_int(h, &arg[0], 4, &width));
        if (width > 1000) return rs_template_fail(h, RS_E_LIMIT, "an indent of %lld", (long long)width);
        char *p = rs_template_alloc(h, (size_t)(width > 0 ? width : 0) + 1);
        if (p == NULL) return h->status;
        if (width > 0) memset(p, ' ', (size_t)width);
        pad = RS_TV_STR_OF(p, (size_t)(width > 0 ? width : 0));
    }
    bool first = rs_tv_true(&arg[1]), blank = rs_tv_true(&arg[2]);
    RS_TRY(rs_template_steps(h, text.str.len / 16 + 1));
    for (size_t i = 0, line = 0; i <= text.str.len; line++) {
        const char *end = i < text.str.len ? memchr(text.str.p + i, '\n', text.str.len - i) : NULL;
        size_t n = end != NULL ? (size_t)(end - text.str.p) - i : text.str.len - i;
        if (line == 0 ? first : n > 0 || blank) RS_TRY(rs_template_add(h, &t, pad.str.p, pad.str.len));
        RS_TRY(rs_template_add(h, &t, text.str.p + i, n + (end != NULL)));
        i += n + 1;
    }
    *out = RS_TV_STR_OF(t.len > 0 ? t.p : "", t.len);
    return RS_OK;
}

static rs_status f_tojson(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out)
{
    rs_template_json_how how = {.indent = -1, .ascii = rs_tv_true(&arg[0]), .sort = rs_tv_true(&arg[3]), .item = {.kind = RS_TV_UNDEFINED}, .key = {.kind = RS_TV_UNDEFINED}};
    rs_template_text t = {0};
    int64_t indent = -1;
    if (arg[1].kind != RS_TV_NONE) RS_TRY(rs_template_want_int(h, &arg[1], -1, &indent));
    if (indent > 100) return rs_template_fail(h, RS_E_LIMIT, "an indent of %lld", (long long)indent);
    if (indent < 0 && !rs_tv_absent(&arg[1]) && arg[1].kind != RS_TV_NONE) indent = 0;
    how.indent = (int)indent;
    if (!rs_tv_absent(&arg[2]) && arg[2].kind != RS_TV_NONE) {
        if (arg[2].kind != RS_TV_LIST || arg[2].list->n != 2 || arg[2].list->item[0].kind != RS_TV_STR || arg[2].list->item[1].kind != RS_TV_STR) return rs_template_fail(h, RS_E_IMPORT, "the separators of tojson are not two texts");
        how.item = arg[2].list->item[0];
        how.key = arg[2].list->item[1];
    }
    RS_TRY(rs_template_json(h, &t, v, &how));
    *out = RS_TV_STR_OF(t.p, t.len);
    return RS_OK;
}

// ---- numbers

// A number as Python's float() reads it.
static bool parse_float(rs_tv text, double *out)
{
    char s[64], *end;
    size_t n = 0;
    text = rs_template_strip(text, (rs_tv){.kind = RS_TV_UNDEFINED}, 3);
    for (size_t i = 0; i < text.str.len; i++) {
        char c = text.str.p[i];
        bool digit = c >= '0' && c <= '9', between = c == '_' && i > 0 && i + 1 < text.str.len && text.str.p[i - 1] >= '0' && text.str.p[i - 1] <= '9' && text.str.p[i + 1] >= '0' && text.str.p[i + 1] <= '9';
        if (between) continue;
        if ((!digit && (c == 0 || strchr("+-.eE", c) == NULL)) || n == sizeof s - 1) return false;
        s[n++] = c;
    }
    s[n] = 0;
    *out = strtod(s, &end);
    return n > 0 && *end == 0;
}

static rs_status f_int(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out)
{
    double f = 0;
    int64_t i = 0;
    if (v->kind == RS_TV_UNDEFINED) return rs_template_fail(h, RS_E_IMPORT, "\"%.*s\" is undefined", (int)(v->str.len < 100 ? v->str.len : 100), v->str.p);
    *out = rs_tv_absent(&arg[0]) ? RS_TV_INT_OF(0) : arg[0];
    if (v->kind == RS_TV_STR) {
        if (!parse_float(*v, &f) || !isfinite(f)) return RS_OK;
        if (memchr(v->str.p, '.', v->str.len) == NULL && memchr(v->str.p, 'e', v->str.len) == NULL && memchr(v->str.p, 'E', v->str.len) == NULL && fabs(f) > 9e15) return rs_template_fail(h, RS_E_IMPORT, "an integer that is too large");
    } else if (rs_tv_integer(v, &i)) {
        *out = RS_TV_INT_OF(i);
        return RS_OK;
    } else if (!rs_tv_number(v, &f) || !isfinite(f)) {
        return RS_OK;
    }
    if (fabs(f) >= 9.2e18) return rs_template_fail(h, RS_E_IMPORT, "an integer that is too large");
    *out = RS_TV_INT_OF((int64_t)f);
    return RS_OK;
}

static rs_status f_float(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out)
{
    double f;
    if (v->kind == RS_TV_UNDEFINED) return rs_template_fail(h, RS_E_IMPORT, "\"%.*s\" is undefined", (int)(v->str.len < 100 ? v->str.len : 100), v->str.p);
    *out = rs_tv_absent(&arg[0]) ? RS_TV_FLOAT_OF(0) : arg[0];
    if (rs_tv_number(v, &f) || (v->kind == RS_TV_STR && parse_float(*v, &f))) *out = RS_TV_FLOAT_OF(f);
    return RS_OK;
}

static rs_status f_abs(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out)
{
    int64_t i;
    (void)arg;
    if (rs_tv_integer(v, &i) && i != INT64_MIN) *out = RS_TV_INT_OF(i < 0 ? -i : i);
    else if (v->kind == RS_TV_FLOAT) *out = RS_TV_FLOAT_OF(fabs(v->f));
    else return rs_template_fail(h, RS_E_IMPORT, "abs of a %s", rs_tv_type(v));
    return RS_OK;
}

// ---- lists

static rs_status f_length(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out)
{
    (void)arg;
    if (v->kind == RS_TV_STR) RS_TRY(rs_template_steps(h, v->str.len / 64 + 1));
    *out = RS_TV_INT_OF(rs_tv_length(v));
    return out->i >= 0 ? RS_OK : rs_template_fail(h, RS_E_IMPORT, "a %s has no length", rs_tv_type(v));
}

static rs_status f_default(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out)
{
    (void)h;
    bool missing = v->kind == RS_TV_UNDEFINED || (rs_tv_true(&arg[1]) && !rs_tv_true(v));
    *out = !missing ? *v : rs_tv_absent(&arg[0]) ? RS_TV_LITERAL("") : arg[0];
    return RS_OK;
}

static rs_status f_first(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out)
{
    rs_tv items;
    (void)arg;
    *out = NAMED("first item");
    if (v->kind == RS_TV_LIST && v->list->n > 0) {
        *out = v->list->item[0];
        if (v->list->sort == RS_TV_GENERATOR) v->list->item++, v->list->n--;
        return RS_OK;
    }
    if (v->kind == RS_TV_STR && v->str.len > 0) return rs_tv_index(h, v, &RS_TV_INT_OF(0), out);
    RS_TRY(rs_tv_items(h, v, &items));
    if (items.list->n > 0) *out = items.list->item[0];
    return RS_OK;
}

static rs_status f_last(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out)
{
    rs_tv items;
    (void)arg;
    *out = NAMED("last item");
    if (v->kind == RS_TV_LIST && v->list->sort == RS_TV_GENERATOR) return rs_template_fail(h, RS_E_IMPORT, "a generator has no last item");
    RS_TRY(rs_tv_items(h, v, &items));
    if (items.list->n > 0) *out = items.list->item[items.list->n - 1];
    return RS_OK;
}

static rs_status f_list(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out)
{
    rs_tv items;
    (void)arg;
    RS_TRY(rs_tv_items(h, v, &items));
    RS_TRY(rs_tv_list_new(h, RS_TV_PLAIN, out));
    RS_TRY(rs_template_steps(h, items.list->n));
    for (size_t i = 0; i < items.list->n; i++) RS_TRY(rs_tv_push(h, out, items.list->item[i]));
    return RS_OK;
}

static rs_status f_items(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out)
{
    (void)arg;
    if (v->kind == RS_TV_UNDEFINED) return rs_tv_list_new(h, RS_TV_GENERATOR, out);
    if (v->kind != RS_TV_MAP) return rs_template_fail(h, RS_E_IMPORT, "items of a %s", rs_tv_type(v));
    return rs_template_pairs(h, v, RS_TV_GENERATOR, out);
}

static rs_status f_reverse(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out)
{
    rs_tv items;
    rs_template_text t = {0};
    (void)arg;
    RS_TRY(rs_tv_items(h, v, &items));
    RS_TRY(rs_tv_list_new(h, RS_TV_GENERATOR, out));
    for (size_t i = items.list->n; i-- > 0;) {
        const rs_tv *item = &items.list->item[i];
        if (v->kind == RS_TV_STR) RS_TRY(rs_template_add(h, &t, item->str.p, item->str.len));
        else RS_TRY(rs_tv_push(h, out, *item));
    }
    if (v->kind == RS_TV_STR) *out = RS_TV_STR_OF(t.len > 0 ? t.p : "", t.len);
    return RS_OK;
}

// item.a.b of a name with points, as map, join and the like take it; numbers are indices.
static rs_status attribute(rs_template_heap *h, rs_tv item, const rs_tv *path, rs_tv *out)
{
    *out = item;
    if (path->kind == RS_TV_INT) return rs_tv_index(h, &item, path, out);
    RS_TRY(rs_template_want_text(h, path, "the name of an attribute"));
    for (size_t at = 0; at <= path->str.len;) {
        const char *dot = at < path->str.len ? memchr(path->str.p + at, '.', path->str.len - at) : NULL;
        rs_tv name = RS_TV_STR_OF(path->str.p + at, (dot != NULL ? (size_t)(dot - path->str.p) : path->str.len) - at), index = RS_TV_INT_OF(0);
        bool number = name.str.len > 0 && name.str.len < 10;
        for (size_t i = 0; i < name.str.len && number; i++) {
            number = name.str.p[i] >= '0' && name.str.p[i] <= '9';
            index.i = index.i * 10 + (name.str.p[i] - '0');
        }
        item = *out;
        RS_TRY(rs_template_steps(h, 1));
        if (number) RS_TRY(rs_tv_index(h, &item, &index, out));
        else RS_TRY(rs_tv_index(h, &item, &name, out));
        if (!number && out->kind == RS_TV_UNDEFINED) RS_TRY(rs_template_attribute(h, &item, name, out));
        at += name.str.len + 1;
    }
    return RS_OK;
}

static rs_status f_join(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out)
{
    rs_template_text t = {0};
    rs_tv items, between = RS_TV_LITERAL("");
    RS_TRY(rs_tv_items(h, v, &items));
    if (!rs_tv_absent(&arg[0])) RS_TRY(rs_template_to_str(h, &arg[0], &between));
    for (size_t i = 0; i < items.list->n; i++) {
        rs_tv item = items.list->item[i];
        RS_TRY(rs_template_steps(h, 1));
        if (!rs_tv_absent(&arg[1]) && arg[1].kind != RS_TV_NONE) RS_TRY(attribute(h, items.list->item[i], &arg[1], &item));
        if (i > 0) RS_TRY(rs_template_add(h, &t, between.str.p, between.str.len));
        RS_TRY(rs_template_str(h, &t, &item));
    }
    *out = RS_TV_STR_OF(t.len > 0 ? t.p : "", t.len);
    return RS_OK;
}

// What a value is sorted and compared by: its attribute, in lower case unless asked otherwise.
static rs_status sort_key(rs_template_heap *h, const rs_tv *item, const rs_tv *path, bool sensitive, rs_tv *key)
{
    *key = *item;
    if (!rs_tv_absent(path) && path->kind != RS_TV_NONE) RS_TRY(attribute(h, *item, path, key));
    return key->kind == RS_TV_STR && !sensitive ? rs_template_recase(h, *key, RS_CASE_LOWER, key) : RS_OK;
}

// A stable sort of a list by keys; the steps bound its square.
static rs_status sort_items(rs_template_heap *h, rs_tv_list *list, const rs_tv *path, bool sensitive, bool reverse)
{
    rs_tv *key = rs_template_alloc(h, (list->n + 1) * sizeof *key);
    if (key == NULL) return h->status;
    for (size_t i = 0; i < list->n; i++) {
        rs_tv item = list->item[i], k;
        size_t at = i;
        int order;
        RS_TRY(sort_key(h, &item, path, sensitive, &k));
        for (; at > 0; at--) {
            RS_TRY(rs_tv_compare(h, &key[at - 1], &k, &order));
            if (reverse ? order >= 0 : order <= 0 || order == 2) break;
            key[at] = key[at - 1];
            list->item[at] = list->item[at - 1];
        }
        key[at] = k;
        list->item[at] = item;
    }
    return RS_OK;
}

static rs_status f_sort(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out)
{
    RS_TRY(f_list(h, v, arg, out));
    return sort_items(h, out->list, &arg[2], rs_tv_true(&arg[1]), rs_tv_true(&arg[0]));
}

static rs_status f_dictsort(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out)
{
    bool by_value = rs_tv_is(&arg[1], "value");
    if (v->kind != RS_TV_MAP) return rs_template_fail(h, RS_E_IMPORT, "dictsort of a %s", rs_tv_type(v));
    if (!rs_tv_absent(&arg[1]) && !by_value && !rs_tv_is(&arg[1], "key")) return rs_template_fail(h, RS_E_IMPORT, "dictsort by something that is neither \"key\" nor \"value\"");
    RS_TRY(rs_template_pairs(h, v, RS_TV_PLAIN, out));
    return sort_items(h, out->list, &RS_TV_INT_OF(by_value), rs_tv_true(&arg[0]), rs_tv_true(&arg[2]));
}

static rs_status f_unique(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out)
{
    rs_tv items, keys, key;
    RS_TRY(rs_tv_items(h, v, &items));
    RS_TRY(rs_tv_list_new(h, RS_TV_PLAIN, &keys));
    RS_TRY(rs_tv_list_new(h, RS_TV_GENERATOR, out));
    for (size_t i = 0; i < items.list->n; i++) {
        bool seen = false;
        RS_TRY(sort_key(h, &items.list->item[i], &arg[1], rs_tv_true(&arg[0]), &key));
        if (key.kind == RS_TV_MAP || (key.kind == RS_TV_LIST && key.list->sort == RS_TV_PLAIN)) return rs_template_fail(h, RS_E_IMPORT, "unique: a %s cannot be compared", rs_tv_type(&key));
        for (size_t k = 0; k < keys.list->n && !seen; k++) RS_TRY(rs_tv_equal(h, &key, &keys.list->item[k], &seen));
        if (seen) continue;
        RS_TRY(rs_tv_push(h, &keys, key));
        RS_TRY(rs_tv_push(h, out, items.list->item[i]));
    }
    return RS_OK;
}

// ---- filters that call others

// select and reject (by a test of the item), selectattr and rejectattr (of its attribute); without a test by truth.
static rs_status choose(rs_template_heap *h, const rs_tv *v, const rs_template_args *args, bool by_attribute, bool wanted, rs_tv *out)
{
    rs_tv items;
    const size_t skip = by_attribute ? 1 : 0;
    if (args->n < skip) return rs_template_fail(h, RS_E_IMPORT, "selectattr and rejectattr need the name of an attribute");
    RS_TRY(rs_tv_list_new(h, RS_TV_GENERATOR, out));
    if (!rs_tv_true(v)) return RS_OK;
    RS_TRY(rs_tv_items(h, v, &items));
    for (size_t i = 0; i < items.list->n; i++) {
        rs_tv item = items.list->item[i];
        bool yes;
        RS_TRY(rs_template_steps(h, 1));
        if (by_attribute) RS_TRY(attribute(h, items.list->item[i], &args->value[0], &item));
        yes = rs_tv_true(&item);
        if (args->n > skip) {
            const rs_template_args rest = {args->value + skip + 1, args->name + skip + 1, args->n - skip - 1};
            RS_TRY(rs_template_want_text(h, &args->value[skip], "the name of a test"));
            RS_TRY(rs_template_test(h, args->value[skip], &item, &rest, &yes));
        }
        if (yes == wanted) RS_TRY(rs_tv_push(h, out, items.list->item[i]));
    }
    return RS_OK;
}

static rs_status map_all(rs_template_heap *h, const rs_tv *v, const rs_template_args *args, rs_tv *out)
{
    rs_tv items, otherwise = {.kind = RS_TV_UNDEFINED};
    bool by_attribute = args->n > 0 && rs_tv_is(&args->name[0], "attribute");
    for (size_t i = 1; by_attribute && i < args->n; i++) {
        if (!rs_tv_is(&args->name[i], "default")) return rs_template_fail(h, RS_E_IMPORT, "\"map\" takes no such argument");
        otherwise = args->value[i];
    }
    if (args->n == 0) return rs_template_fail(h, RS_E_IMPORT, "\"map\" needs a filter or an attribute");
    RS_TRY(rs_tv_list_new(h, RS_TV_GENERATOR, out));
    if (!rs_tv_true(v)) return RS_OK;
    RS_TRY(rs_tv_items(h, v, &items));
    for (size_t i = 0; i < items.list->n; i++) {
        rs_tv item;
        RS_TRY(rs_template_steps(h, 1));
        if (by_attribute) {
            RS_TRY(attribute(h, items.list->item[i], &args->value[0], &item));
            if (item.kind == RS_TV_UNDEFINED && !rs_tv_absent(&otherwise)) item = otherwise;
        } else {
            const rs_template_args rest = {args->value + 1, args->name + 1, args->n - 1};
            RS_TRY(rs_template_want_text(h, &args->value[0], "the name of a filter"));
            RS_TRY(rs_template_filter(h, args->value[0], &items.list->item[i], &rest, &item));
        }
        RS_TRY(rs_tv_push(h, out, item));
    }
    return RS_OK;
}

static rs_status f_same(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out) { return (void)arg, rs_template_to_str(h, v, out); }

static const rs_template_row filters[] = {
    {"trim", f_trim, 0, {"chars"}}, {"length", f_length, 0, {NULL}}, {"count", f_length, 0, {NULL}}, {"upper", f_upper, 0, {NULL}}, {"lower", f_lower, 0, {NULL}}, {"title", f_title, 0, {NULL}},
    {"capitalize", f_capitalize, 0, {NULL}}, {"string", f_string, 0, {NULL}}, {"safe", f_same, 0, {NULL}}, {"replace", f_replace, 2, {"old", "new", "count"}}, {"indent", f_indent, 0, {"width", "first", "blank"}},
    {"tojson", f_tojson, 0, {"ensure_ascii", "indent", "separators", "sort_keys"}}, {"int", f_int, 0, {"default"}}, {"float", f_float, 0, {"default"}}, {"abs", f_abs, 0, {NULL}},
    {"default", f_default, 0, {"default_value", "boolean"}}, {"d", f_default, 0, {"default_value", "boolean"}}, {"first", f_first, 0, {NULL}}, {"last", f_last, 0, {NULL}}, {"list", f_list, 0, {NULL}},
    {"items", f_items, 0, {NULL}}, {"reverse", f_reverse, 0, {NULL}}, {"join", f_join, 0, {"d", "attribute"}}, {"sort", f_sort, 0, {"reverse", "case_sensitive", "attribute"}},
    {"dictsort", f_dictsort, 0, {"case_sensitive", "by", "reverse"}}, {"unique", f_unique, 0, {"case_sensitive", "attribute"}},
};

rs_status rs_template_filter(rs_template_heap *h, rs_tv name, const rs_tv *value, const rs_template_args *args, rs_tv *out)
{
    const rs_template_row *row = rs_template_find(filters, sizeof filters / sizeof *filters, name.str.p, name.str.len);
    rs_status s;
    // Filters name filters in their arguments, which the parser's bound on nesting does not see.
    if (++h->depth > RS_TEMPLATE_MAX_DEPTH) return rs_template_fail(h, RS_E_LIMIT, "calls nested more than %u deep", RS_TEMPLATE_MAX_DEPTH);
    if (row != NULL) s = rs_template_apply(h, row, value, args, out);
    else if (rs_tv_is(&name, "map")) s = map_all(h, value, args, out);
    else if (rs_tv_is(&name, "select") || rs_tv_is(&name, "reject")) s = choose(h, value, args, false, name.str.p[0] == 's', out);
    else if (rs_tv_is(&name, "selectattr") || rs_tv_is(&name, "rejectattr")) s = choose(h, value, args, true, name.str.p[0] == 's', out);
    else s = rs_template_fail(h, RS_E_IMPORT, "filter \"%.*s\" is not supported", (int)(name.str.len < 60 ? name.str.len : 60), name.str.p);
    h->depth--;
    return s;
}
