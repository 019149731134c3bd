// SPDX-License-Identifier: Apache-2.0
// The tokens of a chat template, in the order in which Jinja tries them.
#include "formats/template_lex.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "formats/template_text.h"

typedef struct lexer {
    rs_template_heap *h;
    const char *p; // line ends are '\n'
    size_t len, at, counted;
    bool line_start; // the last token ended a line
    rs_template_token *token;
    size_t n, room;
} lexer;

// ---- the source

// Line ends become '\n', and one at the end of the template is dropped.
static rs_status normalize(lexer *l, const char *text, size_t len)
{
    char *p = rs_template_alloc(l->h, len + 1);
    if (p == NULL) return l->h->status;
    for (size_t i = 0; i < len; i++) {
        p[l->len++] = text[i] == '\r' ? '\n' : text[i];
        if (text[i] == '\r' && i + 1 < len && text[i + 1] == '\n') i++;
    }
    if (l->len > 0 && p[l->len - 1] == '\n') l->len--;
    l->p = p;
    return RS_OK;
}

static uint32_t line_at(lexer *l, size_t at)
{
    for (; l->counted < at && l->counted < l->len; l->counted++) l->h->line += l->p[l->counted] == '\n';
    return l->h->line;
}

static rs_status put(lexer *l, rs_template_token_kind kind, int op, rs_tv value)
{
    if (l->n == l->room) {
        size_t room = l->room == 0 ? 64 : l->room * 2;
        rs_template_token *grown = rs_template_alloc(l->h, room * sizeof *grown);
        if (grown == NULL) return l->h->status;
        if (l->n > 0) memcpy(grown, l->token, l->n * sizeof *grown);
        l->token = grown;
        l->room = room;
    }
    if (l->n == RS_TEMPLATE_MAX_TOKENS) return rs_template_fail(l->h, RS_E_LIMIT, "the template has more than %u tokens", RS_TEMPLATE_MAX_TOKENS);
    l->token[l->n++] = (rs_template_token){kind, l->h->line, op, value};
    return RS_OK;
}

static char peek(const lexer *l, size_t ahead) { return l->at + ahead < l->len ? l->p[l->at + ahead] : 0; }

// Offset behind the white space at a place.
static size_t skip_space(const lexer *l, size_t at)
{
    uint32_t c;
    while (at < l->len) {
        size_t n = rs_template_char(l->p + at, l->len - at, &c);
        if (!rs_template_space(c)) break;
        at += n;
    }
    return at;
}

// Moves behind the end of a tag of two characters at `at` that may have a sign: '-' takes the white space behind it, and without a sign one line end goes where trim says so.
// False: no such end here.
static bool tag_end(lexer *l, size_t at, char first, char second, bool plus, bool trim)
{
    char sign = at < l->len && (l->p[at] == '-' || (plus && l->p[at] == '+')) ? l->p[at] : 0;
    size_t end = at + (sign != 0);
    if (l->len - end < 2 || l->p[end] != first || l->p[end + 1] != second) return false;
    end += 2;
    if (sign == '-') end = skip_space(l, end);
    else if (sign == 0 && trim && end < l->len && l->p[end] == '\n') end++;
    l->at = end;
    l->line_start = l->p[end - 1] == '\n';
    return true;
}

// Puts the text before a tag at `to`, without what its sign or lstrip_blocks takes away.
static rs_status put_data(lexer *l, size_t from, size_t to, char sign, bool block)
{
    rs_tv text = RS_TV_STR_OF(l->p + from, to - from);
    if (sign == '-') {
        text = rs_template_strip(text, (rs_tv){.kind = RS_TV_UNDEFINED}, 2);
    } else if (sign != '+' && block) {
        size_t start = to;
        while (start > from && l->p[start - 1] != '\n') start--;
        if ((start > from || l->line_start) && skip_space(l, start) >= to) text.str.len = start - from;
    }
    (void)line_at(l, from);
    return text.str.len > 0 ? put(l, RS_TOKEN_DATA, 0, text) : RS_OK;
}

// ---- inside tags

static bool word_char(char c, bool first) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!first && c >= '0' && c <= '9'); }
static bool digit(char c) { return c >= '0' && c <= '9'; }

// Digits of a number in base 2^bits, at most max of them.
static bool read_hex(const lexer *l, size_t *at, size_t end, int bits, int max, bool all, uint32_t *out)
{
    int n = 0;
    *out = 0;
    for (; n < max && *at < end; n++, (*at)++) {
        char c = l->p[*at];
        uint32_t d = digit(c) ? (uint32_t)(c - '0') : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10) : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10) : 99;
        if (d >= 1u << bits) break;
        *out = *out << bits | d;
    }
    return n > 0 && (!all || n == max);
}

// What the escape whose backslash stands before *at stands for; an unknown one is kept.
static rs_status read_escape(lexer *l, size_t *at, size_t end, rs_template_text *t)
{
    static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
    char c = l->p[*at], out[4];
    const char *known = strchr(from, c);
    uint32_t code = 0;
    if (c == '\n') {
        (*at)++;
        return RS_OK;
    }
    if (c != 0 && known != NULL) {
        (*at)++;
        return rs_template_add(l->h, t, &to[known - from], 1);
    }
    if (c == 'N') return rs_template_fail(l->h, RS_E_IMPORT, "characters by name in a text are not supported");
    if (c >= '0' && c <= '7') {
        (void)read_hex(l, at, end, 3, 3, false, &code);
    } else if (c == 'x' || c == 'u' || c == 'U') {
        (*at)++;
        if (!read_hex(l, at, end, 4, c == 'x' ? 2 : c == 'u' ? 4 : 8, true, &code)) return rs_template_fail(l->h, RS_E_IMPORT, "a bad escape in a text");
    } else {
        return rs_template_add(l->h, t, "\\", 1);
    }
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return rs_template_fail(l->h, RS_E_IMPORT, "an escape in a text is no character");
    return rs_template_add(l->h, t, out, rs_template_char_put(code, out));
}

static rs_status read_text(lexer *l)
{
    char quote = l->p[l->at];
    size_t end = l->at + 1;
    rs_template_text t = {0};
    bool escaped = false;
    for (; end < l->len && l->p[end] != quote; end++)
        if (l->p[end] == '\\') {
            escaped = true;
            end++;
        }
    if (end >= l->len) return rs_template_fail(l->h, RS_E_IMPORT, "a text in quotes does not end");
    rs_tv text = RS_TV_STR_OF(l->p + l->at + 1, end - l->at - 1);
    if (escaped) {
        for (size_t i = l->at + 1; i < end;) {
            if (l->p[i] == '\\') {
                i++;
                RS_TRY(read_escape(l, &i, end, &t));
            } else {
                RS_TRY(rs_template_add(l->h, &t, l->p + i++, 1));
            }
        }
        text = RS_TV_STR_OF(t.len > 0 ? t.p : "", t.len);
    }
    RS_TRY(put(l, RS_TOKEN_VALUE, 0, text));
    l->at = end + 1;
    return RS_OK;
}

static rs_status read_number(lexer *l)
{
    char s[64];
    size_t n = 0, at = l->at;
    bool real = false;
    for (; at < l->len && n < sizeof s - 1; at++) {
        char c = l->p[at], next = at + 1 < l->len ? l->p[at + 1] : 0;
        if (c == '_' && at > l->at && digit(l->p[at - 1]) && digit(next)) continue;
        if (c == '.' && !real && digit(next)) real = true;
        else if ((c == 'e' || c == 'E') && memchr(s, 'e', n) == NULL && (digit(next) || ((next == '+' || next == '-') && at + 2 < l->len && digit(l->p[at + 2])))) {
            real = true;
            s[n++] = 'e';
            if (!digit(next)) s[n++] = l->p[++at];
            if (n >= sizeof s - 1) break;
            continue;
        } else if (!digit(c)) break;
        s[n++] = c;
    }
    s[n] = 0;
    if (n >= sizeof s - 2 || (at < l->len && word_char(l->p[at], false)) || (!real && s[0] == '0' && strspn(s, "0") != n)) return rs_template_fail(l->h, RS_E_IMPORT, "a bad number: %s", s);
    errno = 0;
    rs_tv v = real ? RS_TV_FLOAT_OF(strtod(s, NULL)) : RS_TV_INT_OF(strtoll(s, NULL, 10));
    if (!real && errno == ERANGE) return rs_template_fail(l->h, RS_E_IMPORT, "the number %s is too large", s);
    l->at = at;
    return put(l, RS_TOKEN_VALUE, 0, v);
}

static rs_status read_operator(lexer *l, char *open, size_t *depth, size_t max)
{
    static const char two[] = "** // == != >= <= ", one[] = "+-/*%~[](){}><=.:|,;";
    char c = l->p[l->at], s[4] = {c, peek(l, 1), ' ', 0};
    bool pair = s[1] != 0 && s[1] != ' ' && strstr(two, s) != NULL;
    if (c == 0 || strchr(one, c) == NULL) {
        if (!(pair && c == '!')) return rs_template_fail(l->h, RS_E_IMPORT, "unexpected \"%.*s\"", (int)rs_template_char(l->p + l->at, l->len - l->at, &(uint32_t){0}), l->p + l->at);
    }
    if (!pair && (c == '(' || c == '[' || c == '{')) {
        if (*depth == max) return rs_template_fail(l->h, RS_E_LIMIT, "brackets nested more than %zu deep", max);
        open[(*depth)++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (!pair && (c == ')' || c == ']' || c == '}')) {
        if (*depth == 0 || open[--*depth] != c) return rs_template_fail(l->h, RS_E_IMPORT, "unexpected \"%c\"", c);
    }
    RS_TRY(put(l, RS_TOKEN_OPERATOR, pair ? RS_OPERATOR(s[0], s[1]) : c, (rs_tv){.kind = RS_TV_NONE}));
    l->at += pair ? 2 : 1;
    return RS_OK;
}

// Everything from behind "{{" or "{%" to behind its end.
static rs_status read_tag(lexer *l, bool block)
{
    char open[RS_TEMPLATE_MAX_DEPTH];
    size_t depth = 0;
    for (;;) {
        l->at = skip_space(l, l->at);
        (void)line_at(l, l->at);
        if (l->at >= l->len) return RS_OK; // the parser says what is missing
        if (depth == 0 && tag_end(l, l->at, block ? '%' : '}', '}', block, block)) return put(l, block ? RS_TOKEN_BLOCK_END : RS_TOKEN_PRINT_END, 0, (rs_tv){.kind = RS_TV_NONE});
        char c = l->p[l->at];
        if (digit(c)) {
            RS_TRY(read_number(l));
        } else if (word_char(c, true)) {
            size_t end = l->at;
            while (end < l->len && word_char(l->p[end], false)) end++;
            RS_TRY(put(l, RS_TOKEN_NAME, 0, RS_TV_STR_OF(l->p + l->at, end - l->at)));
            l->at = end;
        } else if (c == '\'' || c == '"') {
            RS_TRY(read_text(l));
        } else {
            RS_TRY(read_operator(l, open, &depth, sizeof open));
        }
    }
}

// ---- tags

// As in Jinja, one that starts at the end of the template is none; so with raw blocks.
static rs_status skip_comment(lexer *l)
{
    if (l->at == l->len) return RS_OK;
    for (size_t i = l->at; i < l->len; i++)
        if (tag_end(l, i, '#', '}', true, true)) return RS_OK;
    return rs_template_fail(l->h, RS_E_IMPORT, "a comment does not end");
}

// True with *end behind the tag when it is "{%", a sign, white space, the word, white space; its end follows.
static bool tag_word(const lexer *l, size_t at, const char *word, char *sign, size_t *end)
{
    size_t n = strlen(word);
    if (l->len - at < 2 || l->p[at] != '{' || l->p[at + 1] != '%') return false;
    at += 2;
    *sign = at < l->len && (l->p[at] == '-' || l->p[at] == '+') ? l->p[at++] : 0;
    at = skip_space(l, at);
    if (l->len - at < n || memcmp(l->p + at, word, n) != 0) return false;
    *end = skip_space(l, at + n);
    return true;
}

// The text of a raw block, which starts at l->at, up to behind its endraw.
static rs_status read_raw(lexer *l)
{
    char sign;
    size_t from = l->at, end;
    if (from == l->len) return RS_OK;
    for (size_t i = from; i < l->len; i++) {
        bool start = l->line_start;
        if (!tag_word(l, i, "endraw", &sign, &end)) continue;
        if (!tag_end(l, end, '%', '}', true, true)) continue;
        bool after = l->line_start;
        l->line_start = start;
        RS_TRY(put_data(l, from, i, sign, true));
        l->line_start = after;
        return RS_OK;
    }
    return rs_template_fail(l->h, RS_E_IMPORT, "a raw block does not end");
}

static rs_status read_root(lexer *l)
{
    while (l->at < l->len) {
        size_t from = l->at, to = from, end;
        char sign, kind = 0;
        for (; to < l->len; to++) {
            const char *brace = memchr(l->p + to, '{', l->len - to);
            to = brace == NULL ? l->len : (size_t)(brace - l->p);
            kind = to + 1 < l->len ? l->p[to + 1] : 0;
            if (kind == '#' || kind == '%' || kind == '{') break;
        }
        if (to >= l->len) {
            (void)line_at(l, from);
            return put(l, RS_TOKEN_DATA, 0, RS_TV_STR_OF(l->p + from, l->len - from));
        }
        sign = to + 2 < l->len && (l->p[to + 2] == '-' || l->p[to + 2] == '+') ? l->p[to + 2] : 0;
        RS_TRY(put_data(l, from, to, sign, kind != '{'));
        (void)line_at(l, to);
        l->line_start = false;
        if (kind == '%' && tag_word(l, to, "raw", &sign, &end) && tag_end(l, end, '%', '}', false, false)) {
            RS_TRY(read_raw(l));
            continue;
        }
        l->at = to + 2 + (sign != 0);
        if (kind == '#') {
            RS_TRY(skip_comment(l));
            continue;
        }
        RS_TRY(put(l, kind == '%' ? RS_TOKEN_BLOCK : RS_TOKEN_PRINT, 0, (rs_tv){.kind = RS_TV_NONE}));
        RS_TRY(read_tag(l, kind == '%'));
    }
    return RS_OK;
}

rs_status rs_template_lex(rs_template_heap *h, const char *text, size_t len, rs_template_token **tokens)
{
    lexer l = {.h = h, .line_start = true};
    h->line = 1;
    RS_TRY(normalize(&l, text, len));
    RS_TRY(read_root(&l));
    (void)line_at(&l, l.len);
    RS_TRY(put(&l, RS_TOKEN_END, 0, (rs_tv){.kind = RS_TV_NONE}));
    *tokens = l.token;
    return RS_OK;
}
