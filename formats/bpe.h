// SPDX-License-Identifier: Apache-2.0
// Byte-pair encoding of single words: the merge of lowest rank first, the leftmost of equals.
#ifndef RS_FORMATS_BPE_H
#define RS_FORMATS_BPE_H

#include "formats/json.h"
#include "formats/vocab.h"

typedef struct rs_bpe_merge {
    uint32_t left, right; // left = UINT32_MAX: an empty slot
    uint32_t rank, id;
} rs_bpe_merge;

typedef struct rs_bpe {
    const rs_vocab *vocab;
    int32_t byte_id[256]; // -1: the vocabulary has no token for this byte and it leaves no trace, as in the `tokenizers` package
    rs_bpe_merge *merge;  // open addressing
    size_t slots, merges;
    bool ignore_merges; // a word that is a token is taken whole
} rs_bpe;

// Ids written so far, the words seen, and room to work: what one thread needs.
typedef struct rs_bpe_run rs_bpe_run;

// Reads "merges" (a list of "a b" or [a, b]) against vocab, which must outlive b. Release with rs_bpe_clear, also after an error. E_IMPORT, E_NOMEM.
RS_MUST_CHECK rs_status rs_bpe_parse(rs_bpe *b, const rs_vocab *vocab, const json_t *merges, bool ignore_merges, rs_error *e);
void rs_bpe_clear(rs_bpe *b);

// text_bytes: how much text is to come, about; it sets the size of the table of seen words (0: none). Free with rs_bpe_run_free. E_NOMEM.
RS_MUST_CHECK rs_status rs_bpe_run_new(rs_bpe_run **r, size_t text_bytes, rs_error *e);
// NULL allowed.
void rs_bpe_run_free(rs_bpe_run *r);
// Appends the ids of one word (len >= 1 bytes). E_LIMIT (a word of 2^31 bytes), E_NOMEM.
RS_MUST_CHECK rs_status rs_bpe_word(const rs_bpe *b, rs_bpe_run *r, const char *word, size_t len, rs_error *e);
// Appends one id. E_NOMEM.
RS_MUST_CHECK rs_status rs_bpe_push(rs_bpe_run *r, int32_t id, rs_error *e);
// What was appended; owned by r until rs_bpe_run_take gives it away (malloc; NULL when nothing was appended).
size_t rs_bpe_run_count(const rs_bpe_run *r);
int32_t *rs_bpe_run_take(rs_bpe_run *r);

#endif
