// SPDX-License-Identifier: Apache-2.0
// Translates Oniguruma's syntax into PCRE2's where they agree or can be made to agree, and runs the JIT-compiled pattern.
#include "formats/pattern.h"

#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { MAX_SOURCE = 1 << 16, JIT_STACK_FIRST = 32 << 10, JIT_STACK_MOST = 4 << 20 };

struct rs_pattern {
    pcre2_code *code;
    bool jit;
};
struct rs_pattern_scratch {
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

// ---- translation

typedef struct translation {
    const char *in;
    size_t at, len;
    char *out; // room for the longest translation of every input byte
    size_t n;
} translation;

enum { GROWTH = 16 }; // output bytes per input byte at most; \S, two bytes, has the longest translation

static void put(translation *t, const char *s)
{
    size_t n = strlen(s);
    memcpy(t->out + t->n, s, n);
    t->n += n;
}

static rs_status refuse(const translation *t, const char *why, rs_error *e)
{
    return rs_fail(e, RS_E_IMPORT, "pattern: at byte %zu: %s", t->at, why);
}

// \p{X}, \P{X}, \p{^X}: a script is asked for by its Script property, since PCRE2 would take Script_Extensions.
static rs_status put_property(translation *t, rs_error *e)
{
    size_t name = t->at + 3, end = name;
    if (name >= t->len || t->in[t->at + 2] != '{') return refuse(t, "\\p without braces", e);
    while (end < t->len && t->in[end] != '}') end++;
    if (end >= t->len) return refuse(t, "\\p without a closing brace", e);
    put(t, t->in[t->at + 1] == 'p' ? "\\p{" : "\\P{");
    if (t->in[name] == '^') {
        put(t, "^");
        name++;
    }
    for (size_t i = name; i < end; i++)
        if (!((t->in[i] >= 'A' && t->in[i] <= 'Z') || (t->in[i] >= 'a' && t->in[i] <= 'z') || t->in[i] == '_')) return refuse(t, "a property name that is not understood", e);
    if (end - name > 2) put(t, "sc:");
    memcpy(t->out + t->n, t->in + name, end - name + 1);
    t->n += end - name + 1;
    t->at = end + 1;
    return RS_OK;
}

static bool is_hex(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f') || (s[i] >= 'A' && s[i] <= 'F'))) return false;
    return true;
}

// One escape sequence, outside or inside a class.
static rs_status put_escape(translation *t, bool class, rs_error *e)
{
    if (t->at + 1 >= t->len) return refuse(t, "ends in a backslash", e);
    char c = t->in[t->at + 1], two[3] = {'\\', c, 0};
    size_t left = t->len - t->at - 2;
    const char *next = t->in + t->at + 2;
    switch (c) {
    case 'p':
    case 'P': return put_property(t, e);
    case 's':
        if (class && t->in[t->at - 1] == '-') return refuse(t, "\\s at the end of a range", e);
        put(t, class ? "\\x09-\\x0d\\x{85}\\p{Z}" : "[\\p{Z}\\x09-\\x0d\\x{85}]");
        break;
    case 'S':
        if (class) return refuse(t, "\\S inside a class", e);
        put(t, "[^\\p{Z}\\x09-\\x0d\\x{85}]");
        break;
    case 'd':
    case 'D':
    case 'n':
    case 'r':
    case 't':
    case 'f': put(t, two); break;
    case 'x': {
        size_t n = 0;
        bool braces = left > 0 && next[0] == '{';
        while (n < 8 && n + braces < left && is_hex(next + braces + n, 1) && (braces || n < 2)) n++;
        if (n == 0 || (braces && (n + 1 >= left || next[n + 1] != '}'))) return refuse(t, "\\x without digits", e);
        put(t, "\\x{");
        memcpy(t->out + t->n, next + braces, n);
        t->n += n;
        put(t, "}");
        t->at += 2 + n + (braces ? 2 : 0);
        return RS_OK;
    }
    case 'u':
        if (left < 4 || !is_hex(next, 4)) return refuse(t, "\\u without four digits", e);
        put(t, "\\x{");
        memcpy(t->out + t->n, next, 4);
        t->n += 4;
        put(t, "}");
        t->at += 6;
        return RS_OK;
    default:
        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (unsigned char)c >= 0x80) return refuse(t, "an escape that PCRE2 and Oniguruma read differently", e);
        put(t, two);
    }
    t->at += 2;
    return RS_OK;
}

// A class from [ to ]; t->at stands on the [.
static rs_status put_class(translation *t, rs_error *e)
{
    put(t, "[");
    t->at++;
    if (t->at < t->len && t->in[t->at] == '^') {
        put(t, "^");
        t->at++;
    }
    if (t->at < t->len && t->in[t->at] == ']') return refuse(t, "an empty class", e);
    while (t->at < t->len) {
        char c = t->in[t->at];
        if (c == ']') {
            put(t, "]");
            t->at++;
            return RS_OK;
        }
        if (c == '[') return refuse(t, "a class inside a class", e);
        if (c == '&' && t->at + 1 < t->len && t->in[t->at + 1] == '&') return refuse(t, "an intersection of classes", e);
        if (c == '\\') {
            RS_TRY(put_escape(t, true, e));
        } else {
            t->out[t->n++] = c;
            t->at++;
        }
    }
    return refuse(t, "a class that does not end", e);
}

// "(" and what may follow it: capture, (?: (?i: (?= (?! (?<= (?<! (?>.
static rs_status put_group(translation *t, rs_error *e)
{
    static const char *const known[] = {"(?:", "(?i:", "(?=", "(?!", "(?<=", "(?<!", "(?>"};
    const char *s = t->in + t->at;
    size_t left = t->len - t->at;
    if (left > 1 && s[1] == '*') return refuse(t, "a repetition of nothing", e);
    if (left < 2 || s[1] != '?') {
        put(t, "(");
        t->at++;
        return RS_OK;
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t n = strlen(known[i]);
        if (left >= n && memcmp(s, known[i], n) == 0) {
            put(t, known[i]);
            t->at += n;
            return RS_OK;
        }
    }
    return refuse(t, "a kind of group that is not understood", e);
}

// {n}, {n,} or {n,m}, which both libraries read alike.
static rs_status put_count(translation *t, rs_error *e)
{
    size_t i = t->at + 1, digits = 0;
    for (; i < t->len && t->in[i] >= '0' && t->in[i] <= '9'; i++) digits++;
    if (i < t->len && t->in[i] == ',')
        for (i++; i < t->len && t->in[i] >= '0' && t->in[i] <= '9';) i++;
    if (digits == 0 || i >= t->len || t->in[i] != '}') return refuse(t, "a brace that is not a count", e);
    if (i + 1 < t->len && (t->in[i + 1] == '+' || t->in[i + 1] == '?')) return refuse(t, "a count with a second sign, which the libraries read differently", e);
    memcpy(t->out + t->n, t->in + t->at, i + 1 - t->at);
    t->n += i + 1 - t->at;
    t->at = i + 1;
    return RS_OK;
}

static rs_status translate(translation *t, rs_error *e)
{
    while (t->at < t->len) {
        switch (t->in[t->at]) {
        case '\\': RS_TRY(put_escape(t, false, e)); break;
        case '[': RS_TRY(put_class(t, e)); break;
        case '(': RS_TRY(put_group(t, e)); break;
        case '{': RS_TRY(put_count(t, e)); break;
        case '^':
        case '$': return refuse(t, "a line anchor, which the libraries read differently", e);
        default: t->out[t->n++] = t->in[t->at++];
        }
    }
    return RS_OK;
}

// ---- compilation

static rs_status compile(rs_pattern *p, const char *source, size_t len, uint32_t options, rs_error *e)
{
    int error = 0;
    size_t offset = 0;
    uint32_t empty = 0;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (context == NULL) return rs_fail(e, RS_E_NOMEM, "pattern: out of memory");
    (void)pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    p->code = pcre2_compile((PCRE2_SPTR)source, len, options, &error, &offset, context);
    pcre2_compile_context_free(context);
    if (p->code == NULL) {
        PCRE2_UCHAR text[200] = "";
        (void)pcre2_get_error_message(error, text, sizeof text);
        return rs_fail(e, RS_E_IMPORT, "pattern: %s", (const char *)text);
    }
    if (pcre2_pattern_info(p->code, PCRE2_INFO_MATCHEMPTY, &empty) != 0 || empty) return rs_fail(e, RS_E_IMPORT, "pattern: matches the empty text");
    p->jit = pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE) == 0;
    return RS_OK;
}

rs_status rs_pattern_compile(rs_pattern **out, const char *source, size_t len, bool literal, rs_error *e)
{
    *out = NULL;
    if (len == 0) return rs_fail(e, RS_E_IMPORT, "pattern: empty");
    if (len > MAX_SOURCE) return rs_fail(e, RS_E_LIMIT, "pattern: longer than %d bytes", MAX_SOURCE);
    translation t = {.in = source, .len = len, .out = malloc(len * GROWTH)};
    rs_pattern *p = calloc(1, sizeof *p);
    rs_status s = RS_OK;
    if (t.out == NULL || p == NULL)
        s = rs_fail(e, RS_E_NOMEM, "pattern: out of memory");
    else if (literal)
        s = compile(p, source, len, PCRE2_UTF | PCRE2_LITERAL, e);
    else if ((s = translate(&t, e)) == RS_OK)
        s = compile(p, t.out, t.n, PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, e);
    free(t.out);
    if (s != RS_OK) {
        rs_pattern_free(p);
        return s;
    }
    *out = p;
    return RS_OK;
}

void rs_pattern_free(rs_pattern *p)
{
    if (p == NULL) return;
    pcre2_code_free(p->code);
    free(p);
}

// ---- matching

rs_status rs_pattern_scratch_new(rs_pattern_scratch **out, rs_error *e)
{
    rs_pattern_scratch *s = calloc(1, sizeof *s);
    *out = s;
    if (s == NULL) return rs_fail(e, RS_E_NOMEM, "pattern: out of memory");
    s->match = pcre2_match_data_create(1, NULL);
    s->context = pcre2_match_context_create(NULL);
    s->stack = pcre2_jit_stack_create(JIT_STACK_FIRST, JIT_STACK_MOST, NULL);
    if (s->match == NULL || s->context == NULL) {
        rs_pattern_scratch_free(s);
        *out = NULL;
        return rs_fail(e, RS_E_NOMEM, "pattern: out of memory");
    }
    if (s->stack != NULL) pcre2_jit_stack_assign(s->context, NULL, s->stack);
    return RS_OK;
}

void rs_pattern_scratch_free(rs_pattern_scratch *s)
{
    if (s == NULL) return;
    pcre2_match_data_free(s->match);
    pcre2_match_context_free(s->context);
    pcre2_jit_stack_free(s->stack);
    free(s);
}

rs_status rs_pattern_find(const rs_pattern *p, rs_pattern_scratch *s, const char *text, size_t len, size_t from, size_t *start, size_t *end, rs_error *e)
{
    PCRE2_SPTR subject = (PCRE2_SPTR)text;
    *start = *end = len;
    int n = p->jit ? pcre2_jit_match(p->code, subject, len, from, 0, s->match, s->context)
                   : pcre2_match(p->code, subject, len, from, PCRE2_NO_UTF_CHECK, s->match, s->context);
    if (n == PCRE2_ERROR_NOMATCH) return RS_OK;
    if (n == PCRE2_ERROR_NOMEMORY) return rs_fail(e, RS_E_NOMEM, "pattern: out of memory");
    if (n < 0) return rs_fail(e, RS_E_LIMIT, "pattern: gave up at byte %zu of a piece of text (PCRE2 error %d)", from, n);
    const size_t *v = pcre2_get_ovector_pointer(s->match);
    if (v[0] < from || v[1] <= v[0] || v[1] > len) return rs_fail(e, RS_E_IMPORT, "pattern: an empty match at byte %zu of a piece of text", from);
    *start = v[0];
    *end = v[1];
    return RS_OK;
}
