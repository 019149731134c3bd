// SPDX-License-Identifier: Apache-2.0
// Methods and attributes of template values, those of Python's str, dict and list that change nothing.
#include <string.h>

#include "formats/template_call.h"
#include "formats/template_text.h"

#define MISSING ((rs_tv){.kind = RS_TV_UNDEFINED, .str = {"", 0}})

// ---- text

static rs_status strip(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, int sides, rs_tv *out)
{
    rs_tv set = arg[0].kind == RS_TV_NONE ? (rs_tv){.kind = RS_TV_UNDEFINED} : arg[0];
    if (!rs_tv_absent(&set)) RS_TRY(rs_template_want_text(h, &set, "what is stripped"));
    RS_TRY(rs_template_steps(h, (self->str.len / 16 + 1) * (rs_tv_absent(&set) ? 1 : set.str.len / 16 + 1)));
    *out = rs_template_strip(*self, set, sides);
    return RS_OK;
}
static rs_status text_strip(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out) { return strip(h, self, arg, 3, out); }
static rs_status text_lstrip(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out) { return strip(h, self, arg, 1, out); }
static rs_status text_rstrip(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out) { return strip(h, self, arg, 2, out); }

static rs_status text_upper(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out) { return (void)arg, rs_template_recase(h, *self, RS_CASE_UPPER, out); }
static rs_status text_lower(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out) { return (void)arg, rs_template_recase(h, *self, RS_CASE_LOWER, out); }
static rs_status text_title(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out) { return (void)arg, rs_template_recase(h, *self, RS_CASE_TITLE, out); }
static rs_status text_capitalize(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out) { return (void)arg, rs_template_recase(h, *self, RS_CASE_CAPITALIZE, out); }

static bool has_end(const rs_tv *text, const rs_tv *part, bool start)
{
    size_t n = part->str.len;
    return n <= text->str.len && (n == 0 || memcmp(text->str.p + (start ? 0 : text->str.len - n), part->str.p, n) == 0);
}

// startswith and endswith: a text or a tuple of texts.
static rs_status has_ends(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, bool start, rs_tv *out)
{
    bool tuple = arg->kind == RS_TV_LIST && arg->list->sort == RS_TV_TUPLE;
    const rs_tv *part = tuple ? arg->list->item : arg;
    *out = RS_TV_BOOL_OF(false);
    for (size_t i = 0; i < (tuple ? arg->list->n : 1); i++) {
        RS_TRY(rs_template_want_text(h, &part[i], "the start or end that is looked for"));
        RS_TRY(rs_template_steps(h, part[i].str.len / 256 + 1));
        out->b = out->b || has_end(self, &part[i], start);
    }
    return RS_OK;
}
static rs_status text_starts(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out) { return has_ends(h, self, arg, true, out); }
static rs_status text_ends(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out) { return has_ends(h, self, arg, false, out); }

static rs_status without_end(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, bool start, rs_tv *out)
{
    RS_TRY(rs_template_want_text(h, arg, "the start or end that is removed"));
    *out = *self;
    if (!has_end(self, arg, start) || arg->str.len == 0) return RS_OK;
    *out = RS_TV_STR_OF(self->str.p + (start ? arg->str.len : 0), self->str.len - arg->str.len);
    return RS_OK;
}
static rs_status text_removeprefix(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out) { return without_end(h, self, arg, true, out); }
static rs_status text_removesuffix(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out) { return without_end(h, self, arg, false, out); }

// Offset of part in text, the last one if asked for; -1 without.
static int64_t locate(const char *p, size_t len, const rs_tv *part, bool last)
{
    size_t n = part->str.len;
    if (n > len) return -1;
    if (n == 0) return last ? (int64_t)len : 0;
    if (!last) {
        const char *found = memmem(p, len, part->str.p, n);
        return found == NULL ? -1 : found - p;
    }
    for (size_t i = len - n + 1; i-- > 0;)
        if (p[i] == part->str.p[0] && memcmp(p + i, part->str.p, n) == 0) return (int64_t)i;
    return -1;
}

static rs_status find(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, bool last, rs_tv *out)
{
    RS_TRY(rs_template_want_text(h, arg, "what is looked for"));
    RS_TRY(rs_template_steps(h, self->str.len / 16 * (last ? arg->str.len / 16 + 1 : 1) + 1));
    int64_t at = locate(self->str.p, self->str.len, arg, last);
    *out = RS_TV_INT_OF(at <= 0 ? at : (int64_t)rs_template_chars(self->str.p, (size_t)at));
    return RS_OK;
}
static rs_status text_find(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out) { return find(h, self, arg, false, out); }
static rs_status text_rfind(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out) { return find(h, self, arg, true, out); }

static rs_status text_count(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out)
{
    int64_t n = 0, found;
    RS_TRY(rs_template_want_text(h, arg, "what is counted"));
    RS_TRY(rs_template_steps(h, self->str.len / 16 + 1));
    if (arg->str.len == 0) n = rs_tv_length(self) + 1;
    else for (size_t at = 0; (found = locate(self->str.p + at, self->str.len - at, arg, false)) >= 0; n++) at += (size_t)found + arg->str.len;
    *out = RS_TV_INT_OF(n);
    return RS_OK;
}

rs_status rs_template_replace(rs_template_heap *h, rs_tv text, rs_tv old, rs_tv new, int64_t count, rs_tv *out)
{
    rs_template_text t = {0};
    size_t at = 0;
    RS_TRY(rs_template_steps(h, text.str.len / 16 + 1));
    for (; count != 0; count -= count > 0) {
        int64_t found = locate(text.str.p + at, text.str.len - at, &old, false);
        if (found < 0) break;
        RS_TRY(rs_template_steps(h, 1));
        RS_TRY(rs_template_add(h, &t, text.str.p + at, (size_t)found));
        RS_TRY(rs_template_add(h, &t, new.str.p, new.str.len));
        at += (size_t)found + old.str.len;
        if (old.str.len > 0) continue;
        if (at == text.str.len) break; // an empty text stands before each character and at the end
        uint32_t c;
        size_t n = rs_template_char(text.str.p + at, text.str.len - at, &c);
        RS_TRY(rs_template_add(h, &t, text.str.p + at, n));
        at += n;
    }
    RS_TRY(rs_template_add(h, &t, text.str.p + at, text.str.len - at));
    *out = RS_TV_STR_OF(t.len > 0 ? t.p : "", t.len);
    return RS_OK;
}

static rs_status text_replace(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out)
{
    int64_t count;
    RS_TRY(rs_template_want_text(h, &arg[0], "what is replaced"));
    RS_TRY(rs_template_want_text(h, &arg[1], "the replacement"));
    RS_TRY(rs_template_want_int(h, &arg[2], -1, &count));
    return rs_template_replace(h, *self, arg[0], arg[1], count, out);
}

// Pieces between white space, at most max cuts; from the right the list is made backwards.
static rs_status split_space(rs_template_heap *h, rs_tv text, int64_t max, bool right, rs_tv *out)
{
    const rs_tv space = {.kind = RS_TV_UNDEFINED};
    for (text = rs_template_strip(text, space, right ? 2 : 1); text.str.len > 0; text = rs_template_strip(text, space, right ? 2 : 1)) {
        size_t n = 0, k;
        uint32_t c;
        if (max-- == 0) {
            text = rs_template_strip(text, space, right ? 1 : 2);
            return rs_tv_push(h, out, text);
        }
        for (; n < text.str.len; n += k) {
            k = right ? rs_template_char_before(text.str.p, text.str.len - n, &c) : rs_template_char(text.str.p + n, text.str.len - n, &c);
            if (rs_template_space(c)) break;
        }
        RS_TRY(rs_tv_push(h, out, RS_TV_STR_OF(text.str.p + (right ? text.str.len - n : 0), n)));
        text = RS_TV_STR_OF(text.str.p + (right ? 0 : n), text.str.len - n);
    }
    return RS_OK;
}

static rs_status split_at(rs_template_heap *h, rs_tv text, const rs_tv *mark, int64_t max, bool right, rs_tv *out)
{
    int64_t found;
    size_t n = mark->str.len;
    if (n == 0) return rs_template_fail(h, RS_E_IMPORT, "a text is split at an empty one");
    while (max-- != 0 && (found = locate(text.str.p, text.str.len, mark, right)) >= 0) {
        size_t after = (size_t)found + n;
        RS_TRY(rs_template_steps(h, 1));
        RS_TRY(rs_tv_push(h, out, right ? RS_TV_STR_OF(text.str.p + after, text.str.len - after) : RS_TV_STR_OF(text.str.p, (size_t)found)));
        text = right ? RS_TV_STR_OF(text.str.p, (size_t)found) : RS_TV_STR_OF(text.str.p + after, text.str.len - after);
    }
    return rs_tv_push(h, out, text);
}

static rs_status split(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, bool right, rs_tv *out)
{
    int64_t max;
    bool space = rs_tv_absent(&arg[0]) || arg[0].kind == RS_TV_NONE;
    if (!space) RS_TRY(rs_template_want_text(h, &arg[0], "where a text is split"));
    RS_TRY(rs_template_want_int(h, &arg[1], -1, &max));
    RS_TRY(rs_template_steps(h, self->str.len / 16 + 1));
    RS_TRY(rs_tv_list_new(h, RS_TV_PLAIN, out));
    RS_TRY(space ? split_space(h, *self, max, right, out) : split_at(h, *self, &arg[0], max, right, out));
    rs_tv_list *l = out->list;
    for (size_t i = 0; right && i < l->n / 2; i++) {
        rs_tv swap = l->item[i];
        l->item[i] = l->item[l->n - 1 - i];
        l->item[l->n - 1 - i] = swap;
    }
    return RS_OK;
}
static rs_status text_split(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out) { return split(h, self, arg, false, out); }
static rs_status text_rsplit(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out) { return split(h, self, arg, true, out); }

static rs_status text_lines(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out)
{
    size_t start = 0, n;
    bool keep = rs_tv_true(&arg[0]);
    RS_TRY(rs_template_steps(h, self->str.len / 16 + 1));
    RS_TRY(rs_tv_list_new(h, RS_TV_PLAIN, out));
    for (size_t i = 0; i < self->str.len; i += n) {
        uint32_t c;
        n = rs_template_char(self->str.p + i, self->str.len - i, &c);
        if (!((c >= 10 && c <= 13) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029)) continue;
        if (c == '\r' && i + 1 < self->str.len && self->str.p[i + 1] == '\n') n++;
        RS_TRY(rs_tv_push(h, out, RS_TV_STR_OF(self->str.p + start, i + (keep ? n : 0) - start)));
        start = i + n;
    }
    return start < self->str.len ? rs_tv_push(h, out, RS_TV_STR_OF(self->str.p + start, self->str.len - start)) : RS_OK;
}

static rs_status text_join(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out)
{
    rs_template_text t = {0};
    rs_tv items;
    RS_TRY(rs_tv_items(h, arg, &items));
    for (size_t i = 0; i < items.list->n; i++) {
        RS_TRY(rs_template_want_text(h, &items.list->item[i], "what is joined"));
        RS_TRY(rs_template_steps(h, 1));
        if (i > 0) RS_TRY(rs_template_add(h, &t, self->str.p, self->str.len));
        RS_TRY(rs_template_add(h, &t, items.list->item[i].str.p, items.list->item[i].str.len));
    }
    *out = RS_TV_STR_OF(t.len > 0 ? t.p : "", t.len);
    return RS_OK;
}

// Whether the text has characters and all are of a kind: 'd' digits, 'a' letters, 'n' either, 's' white space; 'u' and 'l': letters of one case and at least one.
static rs_status all_of(rs_template_heap *h, const rs_tv *self, char kind, rs_tv *out)
{
    bool all = self->str.len > 0, some = false;
    RS_TRY(rs_template_steps(h, self->str.len / 16 + 1));
    for (size_t i = 0; i < self->str.len && all;) {
        uint32_t c;
        i += rs_template_char(self->str.p + i, self->str.len - i, &c);
        bool digit = c >= '0' && c <= '9', lower = c >= 'a' && c <= 'z', upper = c >= 'A' && c <= 'Z';
        if (c >= 0x80 && kind != 's') return rs_template_fail(h, RS_E_IMPORT, "the kind of character U+%04lX is not known here", (unsigned long)c);
        some = some || (kind == 'u' ? upper : lower);
        all = kind == 'd' ? digit : kind == 'a' ? lower || upper : kind == 'n' ? lower || upper || digit : kind == 's' ? rs_template_space(c) : kind == 'u' ? !lower : !upper;
    }
    *out = RS_TV_BOOL_OF(all && (some || (kind != 'u' && kind != 'l')));
    return RS_OK;
}
static rs_status text_isdigit(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out) { return (void)arg, all_of(h, self, 'd', out); }
static rs_status text_isalpha(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out) { return (void)arg, all_of(h, self, 'a', out); }
static rs_status text_isalnum(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out) { return (void)arg, all_of(h, self, 'n', out); }
static rs_status text_isspace(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out) { return (void)arg, all_of(h, self, 's', out); }
static rs_status text_isupper(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out) { return (void)arg, all_of(h, self, 'u', out); }
static rs_status text_islower(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out) { return (void)arg, all_of(h, self, 'l', out); }

static const rs_template_row text_rows[] = {
    {"strip", text_strip, 0, {"chars"}}, {"lstrip", text_lstrip, 0, {"chars"}}, {"rstrip", text_rstrip, 0, {"chars"}},
    {"upper", text_upper, 0, {NULL}}, {"lower", text_lower, 0, {NULL}}, {"title", text_title, 0, {NULL}}, {"capitalize", text_capitalize, 0, {NULL}},
    {"startswith", text_starts, 1, {"prefix"}}, {"endswith", text_ends, 1, {"suffix"}}, {"removeprefix", text_removeprefix, 1, {"prefix"}}, {"removesuffix", text_removesuffix, 1, {"suffix"}},
    {"find", text_find, 1, {"sub"}}, {"rfind", text_rfind, 1, {"sub"}}, {"count", text_count, 1, {"sub"}}, {"replace", text_replace, 2, {"old", "new", "count"}},
    {"split", text_split, 0, {"sep", "maxsplit"}}, {"rsplit", text_rsplit, 0, {"sep", "maxsplit"}}, {"splitlines", text_lines, 0, {"keepends"}}, {"join", text_join, 1, {"iterable"}},
    {"isdigit", text_isdigit, 0, {NULL}}, {"isalpha", text_isalpha, 0, {NULL}}, {"isalnum", text_isalnum, 0, {NULL}}, {"isspace", text_isspace, 0, {NULL}}, {"isupper", text_isupper, 0, {NULL}}, {"islower", text_islower, 0, {NULL}},
};

// ---- maps, lists, loops

static rs_status map_items(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out) { return (void)arg, rs_template_pairs(h, self, RS_TV_VIEW, out); }

static rs_status map_parts(rs_template_heap *h, const rs_tv *self, bool keys, rs_tv *out)
{
    RS_TRY(rs_tv_list_new(h, RS_TV_VIEW, out));
    for (size_t i = 0; i < self->map->n; i++) RS_TRY(rs_tv_push(h, out, keys ? self->map->item[i].key : self->map->item[i].value));
    return RS_OK;
}
static rs_status map_keys(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out) { return (void)arg, map_parts(h, self, true, out); }
static rs_status map_values(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out) { return (void)arg, map_parts(h, self, false, out); }

static rs_status map_get(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out)
{
    RS_TRY(rs_template_steps(h, self->map->n / 16 + 1));
    const rs_tv *found = arg[0].kind == RS_TV_STR ? rs_tv_get(self->map, arg[0].str.p, arg[0].str.len) : NULL;
    *out = found != NULL ? *found : rs_tv_absent(&arg[1]) ? (rs_tv){.kind = RS_TV_NONE} : arg[1];
    return RS_OK;
}

static rs_status copy_self(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out)
{
    (void)h, (void)arg; // nothing can tell a copy from the thing itself
    *out = *self;
    return RS_OK;
}

static rs_status list_search(rs_template_heap *h, const rs_tv *self, const rs_tv *what, bool count, rs_tv *out)
{
    int64_t n = 0;
    for (size_t i = 0; i < self->list->n; i++) {
        bool same;
        RS_TRY(rs_tv_equal(h, &self->list->item[i], what, &same));
        n += same;
        if (!same || count) continue;
        *out = RS_TV_INT_OF((int64_t)i);
        return RS_OK;
    }
    *out = RS_TV_INT_OF(n);
    return count ? RS_OK : rs_template_fail(h, RS_E_IMPORT, "index: the list does not hold this");
}
static rs_status list_index(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out) { return list_search(h, self, arg, false, out); }
static rs_status list_count(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out) { return list_search(h, self, arg, true, out); }

static const rs_template_row map_rows[] = {
    {"items", map_items, 0, {NULL}}, {"keys", map_keys, 0, {NULL}}, {"values", map_values, 0, {NULL}}, {"get", map_get, 1, {"key", "default"}}, {"copy", copy_self, 0, {NULL}},
};
static const rs_template_row list_rows[] = {{"index", list_index, 1, {"value"}}, {"count", list_count, 1, {"value"}}, {"copy", copy_self, 0, {NULL}}};

static const rs_template_row *method_of(const rs_tv *object, const char *name, size_t len)
{
    if (object->kind == RS_TV_STR) return rs_template_find(text_rows, sizeof text_rows / sizeof *text_rows, name, len);
    if (object->kind == RS_TV_MAP) return rs_template_find(map_rows, sizeof map_rows / sizeof *map_rows, name, len);
    if (object->kind == RS_TV_LIST && object->list->sort <= RS_TV_TUPLE) return rs_template_find(list_rows, sizeof list_rows / sizeof *list_rows, name, len);
    return NULL;
}

static rs_status bind(rs_template_heap *h, const rs_tv *self, const char *name, rs_tv *out)
{
    rs_tv_call *call = rs_template_alloc(h, sizeof *call);
    if (call == NULL) return h->status;
    call->name = name;
    call->self = *self;
    *out = (rs_tv){.kind = RS_TV_CALL, .call = call};
    return RS_OK;
}

static rs_status loop_attribute(rs_template_heap *h, const rs_tv *object, const rs_tv *name, rs_tv *out)
{
    const rs_tv_list *list = object->loop->list;
    const size_t at = object->loop->at;
    const struct { const char *name; rs_tv value; } fields[] = {
        {"index", RS_TV_INT_OF((int64_t)at + 1)}, {"index0", RS_TV_INT_OF((int64_t)at)}, {"revindex", RS_TV_INT_OF((int64_t)(list->n - at))}, {"revindex0", RS_TV_INT_OF((int64_t)(list->n - at) - 1)},
        {"first", RS_TV_BOOL_OF(at == 0)}, {"last", RS_TV_BOOL_OF(at + 1 >= list->n)}, {"length", RS_TV_INT_OF((int64_t)list->n)}, {"depth", RS_TV_INT_OF(1)}, {"depth0", RS_TV_INT_OF(0)},
        {"previtem", at > 0 ? list->item[at - 1] : MISSING}, {"nextitem", at + 1 < list->n ? list->item[at + 1] : MISSING},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (rs_tv_is(name, fields[i].name)) {
            *out = fields[i].value;
            return RS_OK;
        }
    if (rs_tv_is(name, "cycle")) return bind(h, object, "cycle", out);
    if (rs_tv_is(name, "changed")) return rs_template_fail(h, RS_E_IMPORT, "\"loop.changed\" is not supported");
    return RS_OK;
}

rs_status rs_template_attribute(rs_template_heap *h, const rs_tv *object, rs_tv name, rs_tv *out)
{
    static const char changing[] = " append extend insert remove pop popitem clear update setdefault sort reverse ";
    char word[16];
    *out = (rs_tv){.kind = RS_TV_UNDEFINED, .str = {name.str.p, name.str.len}};
    if (object->kind == RS_TV_UNDEFINED) return rs_template_fail(h, RS_E_IMPORT, "\"%.*s\" is undefined", (int)(object->str.len < 100 ? object->str.len : 100), object->str.p);
    if (object->kind == RS_TV_LOOP) return loop_attribute(h, object, &name, out);
    const rs_template_row *row = method_of(object, name.str.p, name.str.len);
    if (row != NULL) return bind(h, object, row->name, out);
    if (object->kind == RS_TV_MAP || object->kind == RS_TV_NAMESPACE) RS_TRY(rs_tv_index(h, object, &name, out));
    if (out->kind != RS_TV_UNDEFINED || (object->kind != RS_TV_LIST && object->kind != RS_TV_MAP) || name.str.len + 3 > sizeof word) return RS_OK;
    word[0] = word[name.str.len + 1] = ' ';
    memcpy(word + 1, name.str.p, name.str.len);
    word[name.str.len + 2] = 0;
    return strstr(changing, word) == NULL ? RS_OK : rs_template_fail(h, RS_E_IMPORT, "method%sis not supported: it changes its object", word);
}

rs_status rs_template_method(rs_template_heap *h, const rs_tv_call *call, const rs_template_args *args, rs_tv *out)
{
    if (call->self.kind != RS_TV_LOOP) return rs_template_apply(h, method_of(&call->self, call->name, strlen(call->name)), &call->self, args, out);
    if (args->n == 0) return rs_template_fail(h, RS_E_IMPORT, "\"loop.cycle\" without values");
    *out = args->value[call->self.loop->at % args->n];
    return RS_OK;
}
