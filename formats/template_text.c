// SPDX-License-Identifier: Apache-2.0
// Characters, letters and the written forms of template values.
#include "formats/template_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- characters

size_t rs_template_char(const char *p, size_t left, uint32_t *c)
{
    const unsigned char *s = (const unsigned char *)p;
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (n > left) n = left;
    *c = n == 1 ? s[0] : s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) *c = *c << 6 | (s[i] & 0x3f);
    return n;
}

size_t rs_template_char_before(const char *p, size_t len, uint32_t *c)
{
    size_t n = 1;
    while (n < len && n < 4 && ((unsigned char)p[len - n] & 0xc0) == 0x80) n++;
    return rs_template_char(p + len - n, n, c);
}

size_t rs_template_char_put(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)((0xf00u >> n & 0xff) | c);
    return n;
}

size_t rs_template_chars(const char *p, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) n += ((unsigned char)p[i] & 0xc0) != 0x80;
    return n;
}

size_t rs_template_offset(const char *p, size_t len, size_t n)
{
    size_t i = 0;
    for (; i < len; i++)
        if (((unsigned char)p[i] & 0xc0) != 0x80 && n-- == 0) break;
    return i;
}

bool rs_template_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static bool stripped(uint32_t c, const rs_tv *set)
{
    uint32_t member;
    if (set->str.p == NULL) return rs_template_space(c);
    for (size_t i = 0; i < set->str.len;) {
        i += rs_template_char(set->str.p + i, set->str.len - i, &member);
        if (member == c) return true;
    }
    return false;
}

rs_tv rs_template_strip(rs_tv text, rs_tv set, int sides)
{
    const char *p = text.str.p;
    size_t from = 0, to = text.str.len, n;
    uint32_t c;
    while ((sides & 1) != 0 && from < to) {
        n = rs_template_char(p + from, to - from, &c);
        if (!stripped(c, &set)) break;
        from += n;
    }
    while ((sides & 2) != 0 && to > from) {
        n = rs_template_char_before(p, to, &c);
        if (!stripped(c, &set)) break;
        to -= n;
    }
    return RS_TV_STR_OF(from < to ? p + from : "", to - from);
}

// ---- letters

// Scripts without cases: East Asian ones and pictures; marks of punctuation that all scripts share.
static bool caseless(uint32_t c)
{
    return (c >= 0x2000 && c <= 0x206f) || (c >= 0x2190 && c <= 0x245f) || (c >= 0x2500 && c <= 0x2bff) || (c >= 0x2e80 && c <= 0xa63f) || (c >= 0xac00 && c <= 0xd7ff) || (c >= 0x0590 && c <= 0x109f) ||
           (c >= 0x1f000 && c <= 0x1faff) || (c >= 0x20000 && c <= 0x3ffff) || c == 0xa0 || c == 0xab || c == 0xbb || c == 0xbf || c == 0xa1;
}

// The separators of the filter title.
static bool splits_words(uint32_t c) { return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || rs_template_space(c); }

rs_status rs_template_recase(rs_template_heap *h, rs_tv text, rs_template_case how, rs_tv *out)
{
    char *to = rs_template_alloc(h, text.str.len + 1);
    bool start = true; // of a word
    if (to == NULL) return h->status;
    RS_TRY(rs_template_steps(h, text.str.len / 16));
    for (size_t i = 0; i < text.str.len;) {
        uint32_t c;
        size_t n = rs_template_char(text.str.p + i, text.str.len - i, &c);
        bool lower = c >= 'a' && c <= 'z', upper = c >= 'A' && c <= 'Z';
        if (n > 1 && !caseless(c)) return rs_template_fail(h, RS_E_IMPORT, "upper and lower case of U+%04" PRIX32 " is not supported", c);
        memcpy(to + i, text.str.p + i, n);
        bool up = how == RS_CASE_UPPER || (how != RS_CASE_LOWER && start);
        if (up && lower) to[i] = (char)(c - 'a' + 'A');
        if (!up && upper) to[i] = (char)(c - 'A' + 'a');
        start = how == RS_CASE_TITLE ? !(lower || upper) : how == RS_CASE_WORDS && splits_words(c);
        i += n;
    }
    *out = RS_TV_STR_OF(to, text.str.len);
    return RS_OK;
}

// ---- written forms

// Python's repr of a float: the shortest decimal that reads back, with an exponent below 1e-4 and from 1e16 on.
static rs_status add_float(rs_template_heap *h, rs_template_text *t, double v)
{
    char s[64], out[64], digits[24];
    if (!isfinite(v)) {
        const char *name = isnan(v) ? "nan" : v < 0 ? "-inf" : "inf";
        return rs_template_add(h, t, name, strlen(name));
    }
    for (int n = 0; n < 17; n++) {
        snprintf(s, sizeof s, "%.*e", n, v);
        if (strtod(s, NULL) == v) break;
    }
    char *mark = strchr(s, 'e');
    int exponent = atoi(mark + 1), n = 0;
    for (char *p = s; p < mark; p++)
        if (*p >= '0' && *p <= '9') digits[n++] = *p;
    digits[n] = 0;
    const char *sign = s[0] == '-' ? "-" : "";
    if (exponent < -4 || exponent >= 16) snprintf(out, sizeof out, "%s%c%s%se%c%02d", sign, digits[0], n > 1 ? "." : "", digits + 1, exponent < 0 ? '-' : '+', abs(exponent));
    else if (exponent < 0) snprintf(out, sizeof out, "%s0.%.*s%s", sign, -exponent - 1, "0000", digits);
    else if (n <= exponent + 1) snprintf(out, sizeof out, "%s%s%.*s.0", sign, digits, exponent + 1 - n, "0000000000000000");
    else snprintf(out, sizeof out, "%s%.*s.%s", sign, exponent + 1, digits, digits + exponent + 1);
    return rs_template_add(h, t, out, strlen(out));
}

static rs_status add_int(rs_template_heap *h, rs_template_text *t, int64_t i)
{
    char s[24];
    int n = snprintf(s, sizeof s, "%" PRId64, i);
    return rs_template_add(h, t, s, (size_t)n);
}

// Characters that repr() shows by their number.
static bool unprintable(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0xa0) || c == 0xad || (c != 0x20 && rs_template_space(c)) || (c >= 0x200b && c <= 0x200f) || (c >= 0x202a && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) ||
           (c >= 0xe000 && c <= 0xf8ff) || c == 0xfeff || (c >= 0xfff0 && c <= 0xfffb) || c == 0xfffe || c == 0xffff || c >= 0xe0000;
}

static rs_status add_quoted(rs_template_heap *h, rs_template_text *t, const rs_tv *v)
{
    const char *p = v->str.p;
    size_t len = v->str.len;
    char quote = len > 0 && memchr(p, '\'', len) != NULL && memchr(p, '"', len) == NULL ? '"' : '\'', s[16];
    RS_TRY(rs_template_steps(h, len / 16));
    RS_TRY(rs_template_add(h, t, &quote, 1));
    for (size_t i = 0, n; i < len; i += n) {
        uint32_t c;
        n = rs_template_char(p + i, len - i, &c);
        if (c == '\n' || c == '\r' || c == '\t') snprintf(s, sizeof s, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else if (c == '\\' || c == (unsigned char)quote) snprintf(s, sizeof s, "\\%c", (char)c);
        else if (unprintable(c)) snprintf(s, sizeof s, c < 0x100 ? "\\x%02" PRIx32 : c < 0x10000 ? "\\u%04" PRIx32 : "\\U%08" PRIx32, c);
        else {
            RS_TRY(rs_template_add(h, t, p + i, n));
            continue;
        }
        RS_TRY(rs_template_add(h, t, s, strlen(s)));
    }
    return rs_template_add(h, t, &quote, 1);
}

static rs_status add_word(rs_template_heap *h, rs_template_text *t, const char *word) { return rs_template_add(h, t, word, strlen(word)); }

rs_status rs_template_repr(rs_template_heap *h, rs_template_text *t, const rs_tv *v)
{
    RS_TRY(rs_template_steps(h, 1));
    if (v->kind == RS_TV_STR) return add_quoted(h, t, v);
    if (v->kind == RS_TV_UNDEFINED) return add_word(h, t, "Undefined");
    if (v->kind == RS_TV_LIST && v->list->sort <= RS_TV_TUPLE) {
        bool tuple = v->list->sort == RS_TV_TUPLE;
        RS_TRY(add_word(h, t, tuple ? "(" : "["));
        for (size_t i = 0; i < v->list->n; i++) {
            if (i > 0) RS_TRY(add_word(h, t, ", "));
            RS_TRY(rs_template_repr(h, t, &v->list->item[i]));
        }
        return add_word(h, t, tuple ? v->list->n == 1 ? ",)" : ")" : "]");
    }
    if (v->kind == RS_TV_MAP) {
        RS_TRY(add_word(h, t, "{"));
        for (size_t i = 0; i < v->map->n; i++) {
            if (i > 0) RS_TRY(add_word(h, t, ", "));
            RS_TRY(rs_template_repr(h, t, &v->map->item[i].key));
            RS_TRY(add_word(h, t, ": "));
            RS_TRY(rs_template_repr(h, t, &v->map->item[i].value));
        }
        return add_word(h, t, "}");
    }
    return rs_template_str(h, t, v);
}

rs_status rs_template_str(rs_template_heap *h, rs_template_text *t, const rs_tv *v)
{
    switch (v->kind) {
    case RS_TV_UNDEFINED: return RS_OK;
    case RS_TV_NONE: return add_word(h, t, "None");
    case RS_TV_BOOL: return add_word(h, t, v->b ? "True" : "False");
    case RS_TV_INT: return add_int(h, t, v->i);
    case RS_TV_FLOAT: return add_float(h, t, v->f);
    case RS_TV_STR: return rs_template_add(h, t, v->str.p, v->str.len);
    case RS_TV_LIST:
        if (v->list->sort > RS_TV_TUPLE) break;
        return rs_template_repr(h, t, v);
    case RS_TV_MAP: return rs_template_repr(h, t, v);
    default: break;
    }
    return rs_template_fail(h, RS_E_IMPORT, "a %s cannot be written as text", rs_tv_type(v));
}

rs_status rs_template_to_str(rs_template_heap *h, const rs_tv *v, rs_tv *out)
{
    rs_template_text t = {0};
    if (v->kind == RS_TV_STR) {
        *out = *v;
        return RS_OK;
    }
    RS_TRY(rs_template_str(h, &t, v));
    *out = RS_TV_STR_OF(t.len > 0 ? t.p : "", t.len);
    return RS_OK;
}

// ---- JSON as json.dumps writes it

static rs_status json_text(rs_template_heap *h, rs_template_text *t, const rs_tv *v, bool ascii)
{
    static const char short_from[] = "\"\\\n\r\t\b\f", short_to[] = "\"\\nrtbf";
    RS_TRY(rs_template_steps(h, v->str.len / 16));
    RS_TRY(add_word(h, t, "\""));
    for (size_t i = 0, n; i < v->str.len; i += n) {
        uint32_t c;
        char s[16];
        n = rs_template_char(v->str.p + i, v->str.len - i, &c);
        const char *known = c != 0 && c < 0x80 ? strchr(short_from, (int)c) : NULL;
        if (known != NULL) snprintf(s, sizeof s, "\\%c", short_to[known - short_from]);
        else if (c < 0x20 || (ascii && c >= 0x7f && c < 0x10000 && c != 0x7f)) snprintf(s, sizeof s, "\\u%04" PRIx32, c);
        else if (ascii && c >= 0x10000) snprintf(s, sizeof s, "\\u%04" PRIx32 "\\u%04" PRIx32, 0xd800 + ((c - 0x10000) >> 10), 0xdc00 + ((c - 0x10000) & 0x3ff));
        else {
            RS_TRY(rs_template_add(h, t, v->str.p + i, n));
            continue;
        }
        RS_TRY(rs_template_add(h, t, s, strlen(s)));
    }
    return add_word(h, t, "\"");
}

static rs_status new_line(rs_template_heap *h, rs_template_text *t, const rs_template_json_how *how, unsigned level)
{
    if (how->indent < 0) return RS_OK;
    RS_TRY(add_word(h, t, "\n"));
    for (unsigned i = 0; i < level * (unsigned)how->indent; i++) RS_TRY(add_word(h, t, " "));
    return RS_OK;
}

static int compare_keys(const void *a, const void *b)
{
    const rs_tv *x = &(*(const rs_tv_pair *const *)a)->key, *y = &(*(const rs_tv_pair *const *)b)->key;
    size_t n = x->str.len < y->str.len ? x->str.len : y->str.len;
    int c = n > 0 ? memcmp(x->str.p, y->str.p, n) : 0;
    return c != 0 ? c : (x->str.len > y->str.len) - (x->str.len < y->str.len);
}

static rs_status json_value(rs_template_heap *h, rs_template_text *t, const rs_tv *v, const rs_template_json_how *how, unsigned level)
{
    const char *comma = how->indent < 0 ? ", " : ",";
    rs_tv item = rs_tv_absent(&how->item) ? RS_TV_STR_OF(comma, strlen(comma)) : how->item, colon = rs_tv_absent(&how->key) ? RS_TV_LITERAL(": ") : how->key;
    RS_TRY(rs_template_steps(h, 1));
    switch (v->kind) {
    case RS_TV_NONE: return add_word(h, t, "null");
    case RS_TV_BOOL: return add_word(h, t, v->b ? "true" : "false");
    case RS_TV_INT: return add_int(h, t, v->i);
    case RS_TV_FLOAT: return isfinite(v->f) ? add_float(h, t, v->f) : add_word(h, t, isnan(v->f) ? "NaN" : v->f < 0 ? "-Infinity" : "Infinity");
    case RS_TV_STR: return json_text(h, t, v, how->ascii);
    case RS_TV_LIST:
        if (v->list->sort > RS_TV_TUPLE) break;
        if (v->list->n == 0) return add_word(h, t, "[]");
        RS_TRY(add_word(h, t, "["));
        for (size_t i = 0; i < v->list->n; i++) {
            if (i > 0) RS_TRY(rs_template_add(h, t, item.str.p, item.str.len));
            RS_TRY(new_line(h, t, how, level + 1));
            RS_TRY(json_value(h, t, &v->list->item[i], how, level + 1));
        }
        RS_TRY(new_line(h, t, how, level));
        return add_word(h, t, "]");
    case RS_TV_MAP: {
        if (v->map->n == 0) return add_word(h, t, "{}");
        const rs_tv_pair **order = rs_template_alloc(h, v->map->n * sizeof *order);
        if (order == NULL) return h->status;
        for (size_t i = 0; i < v->map->n; i++) order[i] = &v->map->item[i];
        if (how->sort) qsort(order, v->map->n, sizeof *order, compare_keys);
        RS_TRY(add_word(h, t, "{"));
        for (size_t i = 0; i < v->map->n; i++) {
            if (i > 0) RS_TRY(rs_template_add(h, t, item.str.p, item.str.len));
            RS_TRY(new_line(h, t, how, level + 1));
            RS_TRY(json_text(h, t, &order[i]->key, how->ascii));
            RS_TRY(rs_template_add(h, t, colon.str.p, colon.str.len));
            RS_TRY(json_value(h, t, &order[i]->value, how, level + 1));
        }
        RS_TRY(new_line(h, t, how, level));
        return add_word(h, t, "}");
    }
    default: break;
    }
    return rs_template_fail(h, RS_E_IMPORT, "JSON has no %s", rs_tv_type(v));
}

rs_status rs_template_json(rs_template_heap *h, rs_template_text *t, const rs_tv *v, const rs_template_json_how *how) { return json_value(h, t, v, how, 0); }
