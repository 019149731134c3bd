// SPDX-License-Identifier: Apache-2.0
// The pre_tokenizer of tokenizer.json: cuts text into the words that BPE sees one by one.
#ifndef RS_FORMATS_PRETOKENIZER_H
#define RS_FORMATS_PRETOKENIZER_H

#include "formats/json.h"
#include "formats/pattern.h"

enum { RS_PRETOKENIZER_STEPS = 16 };

typedef enum rs_split_behavior { RS_SPLIT_ISOLATED, RS_SPLIT_REMOVED, RS_SPLIT_CONTIGUOUS, RS_SPLIT_WITH_PREVIOUS, RS_SPLIT_WITH_NEXT } rs_split_behavior;

// One step: every piece that reaches it is cut along the matches of one pattern.
typedef struct rs_split {
    rs_pattern *pattern; // NULL: the piece passes whole
    rs_split_behavior behavior;
    bool invert;       // what is between the matches counts as matched
    bool digits;       // the pattern is \p{N}
    bool gpt2;         // the pattern is GPT-2's
    bool prefix_space; // a space goes before each piece that has none
} rs_split;

typedef struct rs_pretokenizer {
    rs_split step[RS_PRETOKENIZER_STEPS];
    int steps;
    bool cuttable; // rs_pretokenizer_cut may be used
    bool fast;     // ASCII text takes the hand-written scanners; tests clear it to compare with the patterns
} rs_pretokenizer;

// The state of one thread; any number of texts, one after the other.
typedef struct rs_pretokenizer_run rs_pretokenizer_run;

// Called with each word in order (len >= 1 bytes, valid until it returns).
typedef rs_status (*rs_pretokenizer_word)(void *user, const char *word, size_t len, rs_error *e);

// Reads the value of the key "pre_tokenizer": ByteLevel, or a Sequence of Digits and Split that ends in ByteLevel. Release with rs_pretokenizer_clear, also after an error.
// E_IMPORT (another kind or form), E_NOMEM.
RS_MUST_CHECK rs_status rs_pretokenizer_parse(rs_pretokenizer *p, const json_t *json, rs_error *e);
void rs_pretokenizer_clear(rs_pretokenizer *p);

// First place x > from and x < len where text (len bytes of UTF-8) may be cut so that both sides give the words of the whole, len if there is none:
// a space between two ASCII letters starts a word whatever is around it, for the patterns that p->cuttable stands for.
size_t rs_pretokenizer_cut(const char *text, size_t len, size_t from);

// Free with rs_pretokenizer_run_free. E_NOMEM.
RS_MUST_CHECK rs_status rs_pretokenizer_run_new(rs_pretokenizer_run **r, rs_error *e);
// NULL allowed.
void rs_pretokenizer_run_free(rs_pretokenizer_run *r);
// Words of text (len bytes of valid UTF-8), one by one, to word(user). E_LIMIT, E_NOMEM, what word returns.
RS_MUST_CHECK rs_status rs_pretokenizer_split(const rs_pretokenizer *p, rs_pretokenizer_run *r, const char *text, size_t len, rs_pretokenizer_word word, void *user, rs_error *e);

#endif
