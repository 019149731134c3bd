// SPDX-License-Identifier: Apache-2.0
// Vocabulary tables. Byte-level characters are GPT-2's: printable Latin-1 stands for itself, the 68 other bytes for U+0100 and up, in order.
#include "formats/vocab.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static bool stands_for_itself(unsigned b) { return (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae; }

// Code point of the byte-level character of b.
static unsigned byte_code(unsigned b)
{
    if (stands_for_itself(b)) return b;
    return b <= 0x20 ? 0x100 + b : b == 0xad ? 0x143 : 0x121 + b - 0x7f;
}

int rs_vocab_byte_char(uint8_t b, char *out)
{
    unsigned c = byte_code(b);
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    out[0] = (char)(0xc0 | c >> 6);
    out[1] = (char)(0x80 | (c & 0x3f));
    return 2;
}

// Byte of the byte-level character at s (left bytes of UTF-8), its length in *n; -1 for another character.
static int char_byte(const char *s, size_t left, size_t *n)
{
    unsigned a = (unsigned char)s[0];
    *n = 1;
    if (a < 0x80) return stands_for_itself(a) ? (int)a : -1;
    if (a < 0xc2 || a > 0xc5 || left < 2) return -1;
    unsigned c = (a & 0x1f) << 6 | ((unsigned char)s[1] & 0x3f);
    *n = 2;
    if (c < 0x100) return stands_for_itself(c) ? (int)c : -1;
    if (c < 0x121) return (int)(c - 0x100);        // 0x00..0x20
    if (c < 0x143) return (int)(c - 0x121) + 0x7f; // 0x7f..0xa0
    return c == 0x143 ? 0xad : -1;
}

rs_status rs_vocab_init(rs_vocab *v, size_t size, size_t count, size_t content_bytes, rs_error *e)
{
    *v = (rs_vocab){.size = size, .slots = 16};
    if (size > RS_VOCAB_MAX_ID + 1u) return rs_fail(e, RS_E_LIMIT, "vocabulary: an id above %d", RS_VOCAB_MAX_ID);
    while (v->slots < 2 * count) v->slots *= 2;
    v->token = calloc(size + 1, sizeof *v->token);
    v->slot = calloc(v->slots, sizeof *v->slot);
    v->blob = malloc(2 * content_bytes + 2 * count + 1);
    if (v->token == NULL || v->slot == NULL || v->blob == NULL) return rs_fail(e, RS_E_NOMEM, "vocabulary: out of memory");
    return RS_OK;
}

void rs_vocab_clear(rs_vocab *v)
{
    free(v->token);
    free(v->slot);
    free(v->blob);
    memset(v, 0, sizeof *v);
}

// The slot that holds content, or the empty one where it belongs.
static size_t find_slot(const rs_vocab *v, const char *content, size_t len)
{
    size_t mask = v->slots - 1, i = XXH3_64bits(content, len) & mask;
    for (; v->slot[i] != 0; i = (i + 1) & mask) {
        const rs_vocab_token *t = &v->token[v->slot[i] - 1];
        if (t->content_len == len && memcmp(t->content, content, len) == 0) break;
    }
    return i;
}

rs_status rs_vocab_add(rs_vocab *v, const char *content, size_t len, int32_t id, bool added, rs_error *e)
{
    char name[80];
    bool literal = added;
    size_t slot = find_slot(v, content, len), n = 0, step;
    rs_vocab_token *t = &v->token[id];
    if (v->slot[slot] != 0) return rs_fail(e, RS_E_IMPORT, "vocabulary: token \"%s\" given twice", rs_escape(name, sizeof name, content, len));
    if (t->content != NULL) return rs_fail(e, RS_E_IMPORT, "vocabulary: id %d given twice, second as \"%s\"", (int)id, rs_escape(name, sizeof name, content, len));
    char *copy = v->blob + v->blob_used, *bytes = copy + len + 1;
    memcpy(copy, content, len);
    copy[len] = 0;
    for (size_t i = 0; i < len && !literal; i += step) {
        int b = char_byte(content + i, len - i, &step);
        literal = b < 0;
        bytes[n++] = (char)b;
    }
    *t = (rs_vocab_token){copy, literal ? copy : bytes, (uint32_t)len, (uint32_t)(literal ? len : n), added};
    v->blob_used += len + 1 + (literal ? 0 : n);
    v->slot[slot] = (uint32_t)id + 1;
    if (len > v->longest) v->longest = len;
    return RS_OK;
}

int32_t rs_vocab_find(const rs_vocab *v, const char *content, size_t len) { return (int32_t)v->slot[find_slot(v, content, len)] - 1; }
