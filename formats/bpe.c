// SPDX-License-Identifier: Apache-2.0
// Merges: a scan over the pairs of a short word, a heap over those of a long one, and a table of the words seen before.
#include "formats/bpe.h"

#include <stdlib.h>
#include <string.h>

enum { SHORT_WORD = 40, SEEN_BYTES = 16, SEEN_IDS = 3, SEEN_BITS_LEAST = 6, SEEN_BITS_MOST = 16 };
#define NO_RANK UINT32_MAX

// A word of at most SEEN_BYTES bytes with at most SEEN_IDS ids; len = 0: an empty place.
typedef struct seen {
    uint64_t a, b;
    int32_t id[SEEN_IDS];
    uint8_t len, n;
} seen;

// One symbol of a long word, in a list by index; a merged one points to the left of itself no more and has dead = true.
typedef struct symbol {
    uint32_t id, prev, next;
} symbol;

struct rs_bpe_run {
    int32_t *id;
    size_t n, room;
    seen *table;
    int table_bits;
    symbol *symbol;
    size_t symbol_room;
    uint64_t *heap; // rank << 32 | index of the left symbol
    size_t heap_n, heap_room;
    char *content; // a word in byte-level characters
};

// ---- merges

static inline uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t h = a * UINT64_C(0x9e3779b97f4a7c15) ^ b * UINT64_C(0xc2b2ae3d27d4eb4f);
    h ^= h >> 32;
    return h * UINT64_C(0xd6e8feb86659fd93);
}

// The place of a pair, or the empty one where it belongs.
static inline size_t merge_slot(const rs_bpe *b, uint32_t left, uint32_t right)
{
    size_t mask = b->slots - 1, i = (size_t)(mix(left, right) >> 32) & mask;
    while (b->merge[i].left != UINT32_MAX && (b->merge[i].left != left || b->merge[i].right != right)) i = (i + 1) & mask;
    return i;
}

// Rank of the merge of two neighbours and the id they become; NO_RANK without one.
static inline uint32_t merge_rank(const rs_bpe *b, uint32_t left, uint32_t right, uint32_t *id)
{
    const rs_bpe_merge *m = &b->merge[merge_slot(b, left, right)];
    if (m->left == UINT32_MAX) return NO_RANK;
    *id = m->id;
    return m->rank;
}

// The two halves of a merge written "a b" or [a, b].
static rs_status halves(const json_t *m, size_t i, const char *half[2], size_t len[2], rs_error *e)
{
    if (json_is_string(m)) {
        const char *s = json_string_value(m), *space = strchr(s, ' ');
        if (space == NULL || strchr(space + 1, ' ') != NULL) return rs_fail(e, RS_E_IMPORT, "merges: entry %zu is not two tokens with a space between", i);
        half[0] = s;
        len[0] = (size_t)(space - s);
        half[1] = space + 1;
        len[1] = json_string_length(m) - len[0] - 1;
        return RS_OK;
    }
    if (json_array_size(m) != 2 || !json_is_string(json_array_get(m, 0)) || !json_is_string(json_array_get(m, 1)))
        return rs_fail(e, RS_E_IMPORT, "merges: entry %zu is neither \"a b\" nor [a, b]", i);
    for (size_t k = 0; k < 2; k++) {
        half[k] = json_string_value(json_array_get(m, k));
        len[k] = json_string_length(json_array_get(m, k));
    }
    return RS_OK;
}

static rs_status add_merge(rs_bpe *b, const json_t *m, size_t i, char *joined, rs_error *e)
{
    const char *half[2];
    size_t len[2];
    int32_t id[3] = {-1, -1, -1};
    RS_TRY(halves(m, i, half, len, e));
    if (len[0] + len[1] <= b->vocab->longest) {
        memcpy(joined, half[0], len[0]);
        memcpy(joined + len[0], half[1], len[1]);
        id[2] = rs_vocab_find(b->vocab, joined, len[0] + len[1]);
        for (size_t k = 0; k < 2; k++) id[k] = rs_vocab_find(b->vocab, half[k], len[k]);
    }
    if (id[0] < 0 || id[1] < 0 || id[2] < 0) return rs_fail(e, RS_E_IMPORT, "merges: entry %zu has a token that is not in the vocabulary", i);
    rs_bpe_merge *slot = &b->merge[merge_slot(b, (uint32_t)id[0], (uint32_t)id[1])];
    if (slot->left != UINT32_MAX) return rs_fail(e, RS_E_IMPORT, "merges: entry %zu repeats entry %u", i, (unsigned)slot->rank);
    *slot = (rs_bpe_merge){(uint32_t)id[0], (uint32_t)id[1], (uint32_t)i, (uint32_t)id[2]};
    b->merges++;
    return RS_OK;
}

rs_status rs_bpe_parse(rs_bpe *b, const rs_vocab *vocab, const json_t *merges, bool ignore_merges, rs_error *e)
{
    *b = (rs_bpe){.vocab = vocab, .ignore_merges = ignore_merges, .slots = 16};
    if (!json_is_array(merges)) return rs_fail(e, RS_E_IMPORT, "field \"merges\" is not a list");
    for (int i = 0; i < 256; i++) {
        char c[2];
        int n = rs_vocab_byte_char((uint8_t)i, c);
        b->byte_id[i] = rs_vocab_find(vocab, c, (size_t)n);
    }
    while (b->slots < 2 * json_array_size(merges)) b->slots *= 2;
    b->merge = malloc(b->slots * sizeof *b->merge);
    char *joined = malloc(vocab->longest + 1);
    rs_status s = b->merge == NULL || joined == NULL ? rs_fail(e, RS_E_NOMEM, "merges: out of memory") : RS_OK;
    if (s == RS_OK) memset(b->merge, 0xff, b->slots * sizeof *b->merge);
    for (size_t i = 0; s == RS_OK && i < json_array_size(merges); i++) {
        const char *text = json_string_value(json_array_get(merges, i));
        if (text != NULL && strncmp(text, "#version", 8) == 0) continue; // the head line of a merges.txt
        s = add_merge(b, json_array_get(merges, i), i, joined, e);
    }
    free(joined);
    return s;
}

void rs_bpe_clear(rs_bpe *b)
{
    free(b->merge);
    memset(b, 0, sizeof *b);
}

// ---- runs

rs_status rs_bpe_run_new(rs_bpe_run **out, size_t text_bytes, rs_error *e)
{
    rs_bpe_run *r = calloc(1, sizeof *r);
    *out = r;
    if (r == NULL) return rs_fail(e, RS_E_NOMEM, "tokenizer: out of memory");
    if (text_bytes == 0) return RS_OK;
    r->table_bits = SEEN_BITS_LEAST;
    while (r->table_bits < SEEN_BITS_MOST && ((size_t)8 << r->table_bits) < text_bytes) r->table_bits++;
    r->table = calloc((size_t)1 << r->table_bits, sizeof *r->table);
    if (r->table != NULL) return RS_OK;
    rs_bpe_run_free(r);
    *out = NULL;
    return rs_fail(e, RS_E_NOMEM, "tokenizer: out of memory");
}

void rs_bpe_run_free(rs_bpe_run *r)
{
    if (r == NULL) return;
    free(r->id);
    free(r->table);
    free(r->symbol);
    free(r->heap);
    free(r->content);
    free(r);
}

size_t rs_bpe_run_count(const rs_bpe_run *r) { return r->n; }

int32_t *rs_bpe_run_take(rs_bpe_run *r)
{
    int32_t *id = r->id;
    r->id = NULL;
    r->n = r->room = 0;
    return id;
}

// Makes *p hold at least need elements of size bytes.
static rs_status grow(void *p, size_t *room, size_t need, size_t size, rs_error *e)
{
    if (*room >= need) return RS_OK;
    uint64_t count = need + need / 2 + 64, bytes;
    void *old, *grown = NULL;
    memcpy(&old, p, sizeof old);
    if (rs_mul_ok(count, size, &bytes)) grown = realloc(old, bytes);
    if (grown == NULL) return rs_fail(e, RS_E_NOMEM, "tokenizer: out of memory");
    memcpy(p, &grown, sizeof grown);
    *room = count;
    return RS_OK;
}

rs_status rs_bpe_push(rs_bpe_run *r, int32_t id, rs_error *e)
{
    RS_TRY(grow(&r->id, &r->room, r->n + 1, sizeof *r->id, e));
    r->id[r->n++] = id;
    return RS_OK;
}

// ---- a short word: the ids in out[0..n), merged in place; returns how many are left
static size_t merge_short(const rs_bpe *b, uint32_t *out, size_t n)
{
    uint32_t rank[SHORT_WORD], id[SHORT_WORD] = {0};
    for (size_t i = 0; i + 1 < n; i++) rank[i] = merge_rank(b, out[i], out[i + 1], &id[i]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best]) best = i;
        if (rank[best] == NO_RANK) break;
        out[best] = id[best];
        n--;
        for (size_t i = best + 1; i < n; i++) {
            out[i] = out[i + 1];
            rank[i] = rank[i + 1];
            id[i] = id[i + 1];
        }
        if (best > 0) rank[best - 1] = merge_rank(b, out[best - 1], out[best], &id[best - 1]);
        if (best + 1 < n) rank[best] = merge_rank(b, out[best], out[best + 1], &id[best]);
    }
    return n;
}

// ---- a long word: a list of symbols and a heap of pairs, in which pairs that are no more are passed over

static void sift_down(uint64_t *heap, size_t n, size_t i)
{
    uint64_t v = heap[i];
    for (size_t c; (c = 2 * i + 1) < n; i = c) {
        if (c + 1 < n && heap[c + 1] < heap[c]) c++;
        if (heap[c] >= v) break;
        heap[i] = heap[c];
    }
    heap[i] = v;
}

static rs_status heap_push(rs_bpe_run *r, uint64_t v, rs_error *e)
{
    RS_TRY(grow(&r->heap, &r->heap_room, r->heap_n + 1, sizeof *r->heap, e));
    size_t i = r->heap_n++;
    for (; i > 0 && r->heap[(i - 1) / 2] > v; i = (i - 1) / 2) r->heap[i] = r->heap[(i - 1) / 2];
    r->heap[i] = v;
    return RS_OK;
}

#define NOWHERE UINT32_MAX

// Puts the pair that starts at symbol i into the heap when it can merge.
static rs_status offer(const rs_bpe *b, rs_bpe_run *r, uint32_t i, rs_error *e)
{
    if (i == NOWHERE || r->symbol[i].next == NOWHERE) return RS_OK;
    uint32_t id, rank = merge_rank(b, r->symbol[i].id, r->symbol[r->symbol[i].next].id, &id);
    return rank == NO_RANK ? RS_OK : heap_push(r, (uint64_t)rank << 32 | i, e);
}

// Appends the ids of the n symbols of r.
static rs_status merge_long(const rs_bpe *b, rs_bpe_run *r, size_t n, rs_error *e)
{
    symbol *s = r->symbol;
    r->heap_n = 0;
    for (size_t i = 0; i + 1 < n; i++) {
        uint32_t id, rank = merge_rank(b, s[i].id, s[i + 1].id, &id);
        if (rank == NO_RANK) continue;
        RS_TRY(grow(&r->heap, &r->heap_room, r->heap_n + 1, sizeof *r->heap, e));
        r->heap[r->heap_n++] = (uint64_t)rank << 32 | i;
    }
    for (size_t i = r->heap_n / 2; i-- > 0;) sift_down(r->heap, r->heap_n, i);
    while (r->heap_n > 0) {
        uint64_t top = r->heap[0];
        r->heap[0] = r->heap[--r->heap_n];
        if (r->heap_n > 1) sift_down(r->heap, r->heap_n, 0);
        uint32_t i = (uint32_t)top, j = s[i].next, id = 0;
        if (s[i].id == NOWHERE || j == NOWHERE || merge_rank(b, s[i].id, s[j].id, &id) != (uint32_t)(top >> 32)) continue;
        s[i].id = id;
        s[i].next = s[j].next;
        s[j].id = NOWHERE;
        if (s[i].next != NOWHERE) s[s[i].next].prev = i;
        RS_TRY(offer(b, r, s[i].prev, e));
        RS_TRY(offer(b, r, i, e));
    }
    for (uint32_t i = 0; i != NOWHERE; i = s[i].next) r->id[r->n++] = (int32_t)s[i].id;
    return RS_OK;
}

static rs_status long_word(const rs_bpe *b, rs_bpe_run *r, const char *word, size_t len, rs_error *e)
{
    if (len > INT32_MAX) return rs_fail(e, RS_E_LIMIT, "tokenizer: a word of more than %d bytes", INT32_MAX);
    RS_TRY(grow(&r->symbol, &r->symbol_room, len, sizeof *r->symbol, e));
    uint32_t n = 0;
    for (size_t i = 0; i < len; i++) {
        int32_t id = b->byte_id[(unsigned char)word[i]];
        if (id < 0) continue;
        r->symbol[n] = (symbol){(uint32_t)id, n == 0 ? NOWHERE : n - 1, n + 1};
        n++;
    }
    if (n == 0) return RS_OK;
    r->symbol[n - 1].next = NOWHERE;
    return merge_long(b, r, n, e);
}

// ---- words

// The id of a word that is a token as it stands, -1 otherwise.
static rs_status whole_word(const rs_bpe *b, rs_bpe_run *r, const char *word, size_t len, int32_t *id, rs_error *e)
{
    *id = -1;
    if (len > b->vocab->longest) return RS_OK;
    if (r->content == NULL && (r->content = malloc(2 * b->vocab->longest + 1)) == NULL) return rs_fail(e, RS_E_NOMEM, "tokenizer: out of memory");
    size_t n = 0;
    for (size_t i = 0; i < len; i++) n += (size_t)rs_vocab_byte_char((uint8_t)word[i], r->content + n);
    *id = rs_vocab_find(b->vocab, r->content, n);
    if (*id >= 0 && b->vocab->token[*id].added) *id = -1;
    return RS_OK;
}

// Appends the ids of a word without looking at the table; r->id has room for len more.
static rs_status encode(const rs_bpe *b, rs_bpe_run *r, const char *word, size_t len, rs_error *e)
{
    if (b->ignore_merges) {
        int32_t id;
        RS_TRY(whole_word(b, r, word, len, &id, e));
        if (id >= 0) {
            r->id[r->n++] = id;
            return RS_OK;
        }
    }
    if (len > SHORT_WORD) return long_word(b, r, word, len, e);
    uint32_t id[SHORT_WORD];
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        int32_t k = b->byte_id[(unsigned char)word[i]];
        if (k >= 0) id[n++] = (uint32_t)k;
    }
    n = merge_short(b, id, n);
    for (size_t i = 0; i < n; i++) r->id[r->n++] = (int32_t)id[i];
    return RS_OK;
}

static inline uint64_t load(const char *p, size_t n)
{
    uint64_t v = 0;
    memcpy(&v, p, n);
    return v;
}

// A word of at most SEEN_BYTES bytes as two numbers, one-to-one for a given length.
static inline void pack_word(const char *w, size_t len, uint64_t *a, uint64_t *b)
{
    *b = 0;
    if (len >= 8) {
        *a = load(w, 8);
        *b = load(w + len - 8, 8);
    } else if (len >= 4) {
        *a = load(w, 4) | load(w + len - 4, 4) << 32;
    } else {
        *a = (uint64_t)(unsigned char)w[0] | (uint64_t)(unsigned char)w[len / 2] << 8 | (uint64_t)(unsigned char)w[len - 1] << 16;
    }
}

rs_status rs_bpe_word(const rs_bpe *b, rs_bpe_run *r, const char *word, size_t len, rs_error *e)
{
    size_t first = r->n, room = len > SEEN_IDS ? len : SEEN_IDS; // a seen word is copied with all its places
    if (r->room - r->n < room) RS_TRY(grow(&r->id, &r->room, r->n + room, sizeof *r->id, e));
    if (r->table == NULL || len > SEEN_BYTES) return encode(b, r, word, len, e);
    uint64_t k0, k1;
    pack_word(word, len, &k0, &k1);
    seen *s = &r->table[mix(k0, k1 + len) >> (64 - r->table_bits)];
    if (s->a == k0 && s->b == k1 && s->len == len) {
        memcpy(r->id + r->n, s->id, sizeof s->id);
        r->n += s->n;
        return RS_OK;
    }
    RS_TRY(encode(b, r, word, len, e));
    size_t n = r->n - first;
    if (n > SEEN_IDS) return RS_OK;
    *s = (seen){.a = k0, .b = k1, .len = (uint8_t)len, .n = (uint8_t)n};
    memcpy(s->id, r->id + first, n * sizeof *s->id);
    return RS_OK;
}
