// SPDX-License-Identifier: Apache-2.0
// Added tokens in a trie, leftmost first and longest of those.
#include "formats/added.h"

#include <stdlib.h>
#include <string.h>

static rs_status new_node(rs_added *a, uint8_t byte, uint32_t *out, rs_error *e)
{
    if (a->nodes == a->room) {
        size_t room = a->room * 2 + 64;
        rs_added_node *grown = realloc(a->node, room * sizeof *grown);
        if (grown == NULL) return rs_fail(e, RS_E_NOMEM, "added_tokens: out of memory");
        a->node = grown;
        a->room = room;
    }
    if (a->nodes >= UINT32_MAX) return rs_fail(e, RS_E_LIMIT, "added_tokens: too long in all");
    *out = (uint32_t)a->nodes;
    a->node[a->nodes++] = (rs_added_node){.id = -1, .byte = byte};
    return RS_OK;
}

// Child of node at for byte, 0 if there is none.
static uint32_t child(const rs_added *a, uint32_t at, uint8_t byte)
{
    uint32_t c = at == 0 ? a->first[byte] : a->node[at].child;
    while (c != 0 && a->node[c].byte != byte) c = a->node[c].sibling;
    return c;
}

rs_status rs_added_put(rs_added *a, const char *content, size_t len, int32_t id, bool special, rs_error *e)
{
    uint32_t at = 0, next = 0;
    char name[80];
    if (len == 0 || len > RS_ADDED_MAX) return rs_fail(e, RS_E_IMPORT, "added_tokens: token %d has %zu bytes, not 1..%d", (int)id, len, RS_ADDED_MAX);
    if (a->nodes == 0) RS_TRY(new_node(a, 0, &at, e));
    for (size_t i = 0; i < len; i++, at = next) {
        uint8_t byte = (uint8_t)content[i];
        next = child(a, at, byte);
        if (next != 0) continue;
        RS_TRY(new_node(a, byte, &next, e));
        if (at == 0) {
            a->first[byte] = next;
        } else {
            a->node[next].sibling = a->node[at].child;
            a->node[at].child = next;
        }
    }
    if (a->node[at].id >= 0) return rs_fail(e, RS_E_IMPORT, "added_tokens: \"%s\" given twice", rs_escape(name, sizeof name, content, len));
    a->node[at].id = id;
    a->node[at].special = special;
    return RS_OK;
}

void rs_added_clear(rs_added *a)
{
    free(a->node);
    memset(a, 0, sizeof *a);
}

int32_t rs_added_find(const rs_added *a, const char *text, size_t len, size_t from, bool special, size_t *start, size_t *end)
{
    size_t i = from;
    while (i < len) {
        uint32_t at = a->first[(unsigned char)text[i]], found = 0;
        size_t stop = i;
        for (size_t k = i + 1; at != 0; at = child(a, at, (uint8_t)text[k++])) {
            if (a->node[at].id >= 0) {
                found = at;
                stop = k;
            }
            if (k >= len) break;
        }
        if (found == 0) {
            i++;
            continue;
        }
        if (a->node[found].special && !special) {
            i = stop;
            continue;
        }
        *start = i;
        *end = stop;
        return a->node[found].id;
    }
    *start = *end = len;
    return -1;
}
