// SPDX-License-Identifier: Apache-2.0
// The added tokens of tokenizer.json: texts that are one token wherever they stand, found before anything else.
#ifndef RS_FORMATS_ADDED_H
#define RS_FORMATS_ADDED_H

#include "formats/err.h"

// A trie: children of a node are a list.
typedef struct rs_added_node {
    uint32_t child, sibling; // 0: none
    int32_t id;              // -1: no token ends here
    uint8_t byte;
    bool special;
} rs_added_node;

typedef struct rs_added {
    rs_added_node *node; // node[0] is the root
    size_t nodes, room;
    uint32_t first[256]; // children of the root by byte
} rs_added;

// Zeroed memory is an empty set. Adds one token (1..RS_ADDED_MAX bytes). E_IMPORT (given twice, or a length out of range), E_NOMEM. Release with rs_added_clear.
#define RS_ADDED_MAX 512
RS_MUST_CHECK rs_status rs_added_put(rs_added *a, const char *content, size_t len, int32_t id, bool special, rs_error *e);
void rs_added_clear(rs_added *a);

// First token in text[from..len), the longest of those that start there: *start, *end and its id; -1 and *start = *end = len when there is none.
// With special false a special token stays text, and nothing is looked for inside it.
int32_t rs_added_find(const rs_added *a, const char *text, size_t len, size_t from, bool special, size_t *start, size_t *end);

#endif
