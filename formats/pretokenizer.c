// SPDX-License-Identifier: Apache-2.0
// Pre-tokenizer steps as a stack of piece iterators over the text; ASCII runs through hand-written scanners, all else through PCRE2.
#include "formats/pretokenizer.h"

#include <stdlib.h>
#include <string.h>

// ---- reading tokenizer.json

// The patterns below cut before a space that stands between two letters and look at nothing across that place, so text may be cut there (see rs_pretokenizer_cut).
static const char gpt2_pattern[] = "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
static const char gpt2_older[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
static const char *const cuttable_patterns[] = {
    gpt2_pattern,
    gpt2_older,
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
};

static bool is(const char *text, const char *name) { return text != NULL && strcmp(text, name) == 0; }

static rs_status parse_behavior(const char *name, rs_split_behavior *out, rs_error *e)
{
    static const char *const names[] = {"Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext"};
    for (int i = 0; i < 5; i++)
        if (is(name, names[i])) {
            *out = (rs_split_behavior)i;
            return RS_OK;
        }
    return rs_fail(e, RS_E_IMPORT, "Split: field \"behavior\" is none of Isolated, Removed, Contiguous, MergedWithPrevious, MergedWithNext");
}

static rs_status parse_split(rs_split *s, const json_t *o, rs_error *e)
{
    const json_t *pattern = json_object_get(o, "pattern");
    const json_t *regex = json_object_get(pattern, "Regex"), *literal = json_object_get(pattern, "String");
    const json_t *text = regex != NULL ? regex : literal;
    if (!json_is_string(text) || (regex != NULL && literal != NULL)) return rs_fail(e, RS_E_IMPORT, "Split: field \"pattern\" is neither {\"Regex\": text} nor {\"String\": text}");
    RS_TRY(rs_json_bool(o, "Split", "invert", false, &s->invert, e));
    RS_TRY(parse_behavior(json_string_value(json_object_get(o, "behavior")), &s->behavior, e));
    s->gpt2 = regex != NULL && (is(json_string_value(text), gpt2_pattern) || is(json_string_value(text), gpt2_older));
    s->digits = regex != NULL && is(json_string_value(text), "\\p{N}");
    return rs_pattern_compile(&s->pattern, json_string_value(text), json_string_length(text), literal != NULL, e);
}

static rs_status parse_digits(rs_split *s, const json_t *o, rs_error *e)
{
    bool individual = false;
    RS_TRY(rs_json_bool(o, "Digits", "individual_digits", false, &individual, e));
    s->digits = true;
    s->behavior = individual ? RS_SPLIT_ISOLATED : RS_SPLIT_CONTIGUOUS;
    return rs_pattern_compile(&s->pattern, "\\p{N}", 5, false, e);
}

static rs_status parse_byte_level(rs_split *s, const json_t *o, rs_error *e)
{
    bool regex = true;
    RS_TRY(rs_json_bool(o, "ByteLevel", "use_regex", true, &regex, e));
    RS_TRY(rs_json_bool(o, "ByteLevel", "add_prefix_space", true, &s->prefix_space, e));
    s->gpt2 = regex;
    return regex ? rs_pattern_compile(&s->pattern, gpt2_pattern, sizeof gpt2_pattern - 1, false, e) : RS_OK;
}

// True when cutting as rs_pretokenizer_cut does changes no word: every step keeps to itself there, and one of them cuts there.
static bool is_cuttable(const rs_pretokenizer *p, const bool *known)
{
    bool cuts = false;
    for (int i = 0; i < p->steps; i++) {
        const rs_split *s = &p->step[i];
        bool isolates = s->behavior == RS_SPLIT_ISOLATED && !s->invert;
        if (s->prefix_space || (s->pattern != NULL && !(known[i] && isolates) && !(s->digits && !s->invert && s->behavior <= RS_SPLIT_CONTIGUOUS))) return false;
        cuts |= known[i] && isolates;
    }
    return cuts;
}

rs_status rs_pretokenizer_parse(rs_pretokenizer *p, const json_t *json, rs_error *e)
{
    memset(p, 0, sizeof *p);
    bool known[RS_PRETOKENIZER_STEPS] = {false}, done = false;
    const json_t *list = is(json_string_value(json_object_get(json, "type")), "Sequence") ? json_object_get(json, "pretokenizers") : NULL;
    size_t n = list != NULL ? json_array_size(list) : 1;
    if (n > RS_PRETOKENIZER_STEPS) return rs_fail(e, RS_E_LIMIT, "pre_tokenizer: more than %d steps", RS_PRETOKENIZER_STEPS);
    for (size_t i = 0; i < n; i++) {
        const json_t *o = list != NULL ? json_array_get(list, i) : json;
        const char *type = json_string_value(json_object_get(o, "type"));
        rs_split *s = &p->step[p->steps++];
        if (done) return rs_fail(e, RS_E_IMPORT, "pre_tokenizer: a step after ByteLevel");
        if (is(type, "Split")) {
            RS_TRY(parse_split(s, o, e));
            const char *regex = json_string_value(json_object_get(json_object_get(o, "pattern"), "Regex"));
            for (size_t k = 0; k < sizeof cuttable_patterns / sizeof *cuttable_patterns; k++) known[i] |= is(regex, cuttable_patterns[k]);
        } else if (is(type, "Digits")) {
            RS_TRY(parse_digits(s, o, e));
        } else if (is(type, "ByteLevel")) {
            RS_TRY(parse_byte_level(s, o, e));
            known[i] = s->gpt2;
            done = true;
        } else {
            char name[64];
            return rs_fail(e, RS_E_IMPORT, "pre_tokenizer: kind \"%s\" is not supported", rs_escape(name, sizeof name, type, type != NULL ? strlen(type) : 0));
        }
    }
    if (!done) return rs_fail(e, RS_E_IMPORT, "pre_tokenizer: does not end in ByteLevel, so this is not a byte-level BPE");
    p->cuttable = is_cuttable(p, known);
    p->fast = true;
    return RS_OK;
}

void rs_pretokenizer_clear(rs_pretokenizer *p)
{
    for (int i = 0; i < p->steps; i++) rs_pattern_free(p->step[i].pattern);
    memset(p, 0, sizeof *p);
}

// ---- scanners for ASCII; each equals its pattern and gives up where a byte above 127 could matter

enum { OTHER, LETTER, NUMBER, SPACE, HIGH };

static const uint8_t ascii_class[256] = {
    ['\t'] = SPACE, ['\n'] = SPACE, ['\v'] = SPACE, ['\f'] = SPACE, ['\r'] = SPACE, [' '] = SPACE,
    ['0'] = NUMBER, ['1'] = NUMBER, ['2'] = NUMBER, ['3'] = NUMBER, ['4'] = NUMBER, ['5'] = NUMBER, ['6'] = NUMBER, ['7'] = NUMBER, ['8'] = NUMBER, ['9'] = NUMBER,
#define L(c) [c] = LETTER, [(c) + 32] = LETTER
    L('A'), L('B'), L('C'), L('D'), L('E'), L('F'), L('G'), L('H'), L('I'), L('J'), L('K'), L('L'), L('M'),
    L('N'), L('O'), L('P'), L('Q'), L('R'), L('S'), L('T'), L('U'), L('V'), L('W'), L('X'), L('Y'), L('Z'),
#undef L
#define H4(c) [c] = HIGH, [(c) + 1] = HIGH, [(c) + 2] = HIGH, [(c) + 3] = HIGH
#define H16(c) H4(c), H4((c) + 4), H4((c) + 8), H4((c) + 12)
    H16(0x80), H16(0x90), H16(0xa0), H16(0xb0), H16(0xc0), H16(0xd0), H16(0xe0), H16(0xf0),
#undef H16
#undef H4
};

static inline int class_at(const char *p) { return ascii_class[(unsigned char)*p]; }

// Length of GPT-2's match at p (before end), 0 when a byte above 127 could matter.
static inline size_t scan_gpt2(const char *p, const char *end)
{
    const char *q = p;
    if (*p == '\'' && end - p >= 2) {
        char c = p[1], d = end - p >= 3 ? p[2] : 0;
        if (c == 's' || c == 'd' || c == 'm' || c == 't') return 2;
        if ((c == 'l' && d == 'l') || (c == 'v' && d == 'e') || (c == 'r' && d == 'e')) return 3;
    }
    int k = class_at(q);
    if (*q == ' ' && end - q >= 2 && class_at(q + 1) != SPACE) k = class_at(++q);
    if (k == HIGH) return 0;
    do q++;
    while (q < end && class_at(q) == k);
    if (q < end && class_at(q) == HIGH) return 0;
    if (k == SPACE && q < end && q - p > 1) q--; // the last one stays with what follows
    return (size_t)(q - p);
}

// Place of the first ASCII digit or byte above 127 in p..end, end if none.
static inline const char *scan_digit(const char *p, const char *end)
{
    while (p < end && class_at(p) != NUMBER && class_at(p) != HIGH) p++;
    return p;
}

// ---- pieces

typedef struct piece {
    size_t start, end;
    bool match;
} piece;

// One step over one piece of text: next_piece gives matches and what is between them, in order and without gaps.
typedef struct iterator {
    const rs_split *split;
    const char *text;
    size_t len, at;
    size_t match_start, match_end; // the next match, found and not given yet, when match_end > at
    bool have_ahead;
    piece ahead;
} iterator;

struct rs_pretokenizer_run {
    rs_pattern_scratch *scratch;
    iterator level[RS_PRETOKENIZER_STEPS];
    char *copy; // a piece with a space put before it
    size_t copy_size;
};

static rs_status find_match(iterator *it, rs_pattern_scratch *scratch, bool fast, rs_error *e)
{
    const char *p = it->text + it->at, *end = it->text + it->len;
    if (fast && it->split->gpt2) {
        size_t n = scan_gpt2(p, end);
        it->match_start = it->at;
        it->match_end = it->at + n;
        if (n > 0) return RS_OK;
    }
    size_t from = it->at;
    if (fast && it->split->digits) {
        const char *q = scan_digit(p, end);
        from = (size_t)(q - it->text);
        it->match_start = from;
        it->match_end = from + (q < end);
        if (q == end || class_at(q) == NUMBER) return RS_OK;
    }
    return rs_pattern_find(it->split->pattern, scratch, it->text, it->len, from, &it->match_start, &it->match_end, e);
}

// *more is false, and *out untouched, after the last piece.
static rs_status next_piece(iterator *it, rs_pattern_scratch *scratch, bool fast, piece *out, bool *more, rs_error *e)
{
    *more = it->at < it->len;
    if (!*more) return RS_OK;
    if (it->split->pattern == NULL) {
        *out = (piece){it->at, it->len, false};
        it->at = it->len;
        return RS_OK;
    }
    if (it->match_end <= it->at) RS_TRY(find_match(it, scratch, fast, e));
    bool match = it->match_start == it->at && it->match_end > it->at;
    *out = (piece){it->at, match ? it->match_end : it->match_start, match != it->split->invert};
    it->at = out->end;
    return RS_OK;
}

static rs_status take(iterator *it, rs_pattern_scratch *scratch, bool fast, piece *out, bool *more, rs_error *e)
{
    if (it->have_ahead) {
        it->have_ahead = false;
        *out = it->ahead;
        *more = true;
        return RS_OK;
    }
    return next_piece(it, scratch, fast, out, more, e);
}

static bool joins(rs_split_behavior b, bool first, bool second)
{
    switch (b) {
    case RS_SPLIT_CONTIGUOUS: return first == second;
    case RS_SPLIT_WITH_PREVIOUS: return !first && second;
    case RS_SPLIT_WITH_NEXT: return first && !second;
    default: return false;
    }
}

// The next part of a piece after the behaviour has joined or dropped what it joins or drops.
static rs_status next_part(iterator *it, rs_pattern_scratch *scratch, bool fast, piece *out, bool *more, rs_error *e)
{
    rs_split_behavior b = it->split->behavior;
    RS_TRY(take(it, scratch, fast, out, more, e));
    if (b == RS_SPLIT_ISOLATED) return RS_OK;
    if (b == RS_SPLIT_REMOVED) {
        while (*more && out->match) RS_TRY(take(it, scratch, fast, out, more, e));
        return RS_OK;
    }
    while (*more) {
        bool another = false;
        RS_TRY(take(it, scratch, fast, &it->ahead, &another, e));
        it->have_ahead = another;
        if (!another || !joins(b, out->match, it->ahead.match)) return RS_OK;
        out->end = it->ahead.end;
        it->have_ahead = false;
        if (b != RS_SPLIT_CONTIGUOUS) return RS_OK;
    }
    return RS_OK;
}

// Points level i at a piece of text, with a space put before it where the step asks for one.
static rs_status enter(const rs_pretokenizer *p, rs_pretokenizer_run *r, int i, const char *text, size_t len, rs_error *e)
{
    if (p->step[i].prefix_space && len > 0 && text[0] != ' ') {
        if (r->copy_size < len + 1) {
            size_t size = len + len / 2 + 64;
            char *grown = realloc(r->copy, size);
            if (grown == NULL) return rs_fail(e, RS_E_NOMEM, "pre-tokenizer: out of memory");
            r->copy = grown;
            r->copy_size = size;
        }
        r->copy[0] = ' ';
        memcpy(r->copy + 1, text, len);
        text = r->copy;
        len++;
    }
    r->level[i] = (iterator){.split = &p->step[i], .text = text, .len = len};
    return RS_OK;
}

rs_status rs_pretokenizer_split(const rs_pretokenizer *p, rs_pretokenizer_run *r, const char *text, size_t len, rs_pretokenizer_word word, void *user, rs_error *e)
{
    int depth = 0, last = p->steps - 1;
    RS_TRY(enter(p, r, 0, text, len, e));
    while (depth >= 0) {
        iterator *it = &r->level[depth];
        piece part = {0};
        bool more = false;
        RS_TRY(next_part(it, r->scratch, p->fast, &part, &more, e));
        if (!more)
            depth--;
        else if (depth == last)
            RS_TRY(word(user, it->text + part.start, part.end - part.start, e));
        else
            RS_TRY(enter(p, r, ++depth, it->text + part.start, part.end - part.start, e));
    }
    return RS_OK;
}

rs_status rs_pretokenizer_run_new(rs_pretokenizer_run **out, rs_error *e)
{
    rs_pretokenizer_run *r = calloc(1, sizeof *r);
    *out = NULL;
    if (r == NULL) return rs_fail(e, RS_E_NOMEM, "pre-tokenizer: out of memory");
    rs_status s = rs_pattern_scratch_new(&r->scratch, e);
    if (s != RS_OK) {
        free(r);
        return s;
    }
    *out = r;
    return RS_OK;
}

void rs_pretokenizer_run_free(rs_pretokenizer_run *r)
{
    if (r == NULL) return;
    rs_pattern_scratch_free(r->scratch);
    free(r->copy);
    free(r);
}

size_t rs_pretokenizer_cut(const char *text, size_t len, size_t from)
{
    for (size_t x = from + 1; x + 1 < len; x++)
        if (text[x] == ' ' && class_at(text + x - 1) == LETTER && class_at(text + x + 1) == LETTER) return x;
    return len;
}
