// SPDX-License-Identifier: Apache-2.0
// The tokenizer: words by scanner and by pattern, merges against a plain reference, cuts and threads, added tokens, refusals.
// With the arguments "ids TOKENIZER.json" it is a filter for tests/oracle/tokenizer.py: texts in, ids out.
#include <time.h>

#include "formats/bpe.h"
#include "formats/gguf.h"
#include "formats/nfc.h"
#include "formats/pretokenizer.h"
#include "formats/tokenizer.h"
#include "formats/tokenizer_json.h"
#include "tests/check.h"

// ---- filter for the oracle: {uint32 length, uint32 special, uint32 threads, bytes} ... -> {uint32 status, uint32 n, int32 ids} ...

static char *slurp(const char *path, size_t *len)
{
    FILE *f = fopen(path, "rb");
    char *bytes = NULL;
    long size;
    *len = 0;
    if (f == NULL) return NULL;
    if (fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) >= 0 && fseek(f, 0, SEEK_SET) == 0 && (bytes = malloc((size_t)size + 1)) != NULL) *len = fread(bytes, 1, (size_t)size, f);
    fclose(f);
    return bytes;
}

static int filter(const char *path)
{
    size_t len;
    char *json = slurp(path, &len);
    rs_tokenizer *t = NULL;
    rs_error e = {0};
    uint32_t head[3];
    if (json == NULL || rs_tokenizer_parse(&t, json, len, &e) != RS_OK) return fprintf(stderr, "%s: %s\n", path, e.text), 1;
    while (fread(head, sizeof head, 1, stdin) == 1) {
        char *text = malloc(head[0] + 1u);
        int32_t *ids = NULL;
        size_t n = 0;
        if (text == NULL || fread(text, 1, head[0], stdin) != head[0]) return 1;
        uint32_t out[2] = {(uint32_t)rs_tokenizer_encode(t, text, head[0], head[1] != 0, (int)head[2], &ids, &n, NULL), (uint32_t)n};
        fwrite(out, sizeof out, 1, stdout);
        if (n > 0) fwrite(ids, sizeof *ids, n, stdout);
        free(ids);
        free(text);
    }
    rs_tokenizer_free(t);
    free(json);
    return fclose(stdout) != 0;
}

// ---- building small tokenizers

#define GPT2_STEP "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"
#define WHOLE_STEP "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}"
#define PREFIX_STEP "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":true}"
#define DIGITS_STEP "{\"type\":\"Digits\",\"individual_digits\":true}"
#define SEQUENCE(steps) "{\"type\":\"Sequence\",\"pretokenizers\":[" steps "]}"
#define SPLIT(pattern, behavior) "{\"type\":\"Split\",\"pattern\":{" pattern "},\"behavior\":\"" behavior "\",\"invert\":false}"
#define LLAMA3 "\"Regex\":\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\""

static uint64_t seed = 88172645463325252u;
static unsigned any(unsigned below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)((seed >> 11) % below);
}

// tokenizer.json with the 256 bytes as ids 0..255, then merges[i] = id 256 + i, written "a b" in ASCII. added: a JSON list. Caller frees.
static char *document(const char *pre, const char *const *merges, size_t n, const char *added, bool ignore_merges)
{
    json_t *vocab = json_object(), *list = json_array();
    for (int i = 0; i < 256; i++) {
        char c[3] = "";
        rs_vocab_byte_char((uint8_t)i, c);
        json_object_set_new(vocab, c, json_integer(i));
    }
    for (size_t i = 0; i < n; i++) {
        char joined[700] = "";
        const char *space = strchr(merges[i], ' ');
        snprintf(joined, sizeof joined, "%.*s%s", (int)(space - merges[i]), merges[i], space + 1);
        if (json_object_get(vocab, joined) == NULL) json_object_set_new(vocab, joined, json_integer((json_int_t)(256 + i)));
        json_array_append_new(list, json_string(merges[i]));
    }
    json_t *root = json_pack("{s:n,s:o,s:o,s:{s:s,s:b,s:o,s:o}}", "normalizer", "pre_tokenizer", json_loads(pre, 0, NULL), "added_tokens", json_loads(added, 0, NULL), "model", "type", "BPE",
                             "ignore_merges", ignore_merges, "vocab", vocab, "merges", list);
    char *text = json_dumps(root, 0);
    json_decref(root);
    return text;
}

static rs_tokenizer *build(const char *pre, const char *const *merges, size_t n, const char *added, bool ignore_merges)
{
    rs_tokenizer *t = NULL;
    rs_error e = {0};
    char *json = document(pre, merges, n, added, ignore_merges);
    CHECKF(json != NULL && rs_tokenizer_parse(&t, json, strlen(json), &e) == RS_OK, "%s", e.text);
    free(json);
    if (t == NULL) exit(check_report() | 1);
    return t;
}

// The ids of text against a list that ends in -1.
static void check_ids(const rs_tokenizer *t, const char *text, bool special, const int *want)
{
    int32_t *ids = NULL;
    size_t n = 0, i = 0;
    rs_error e = {0};
    CHECKF(rs_tokenizer_encode(t, text, strlen(text), special, 1, &ids, &n, &e) == RS_OK, "%s", e.text);
    while (i < n && want[i] >= 0 && ids[i] == want[i]) i++;
    CHECKF(i == n && want[i] < 0, "\"%s\": id %zu of %zu is %d, not %d", text, i, n, i < n ? (int)ids[i] : -1, want[i]);
    free(ids);
}

// ---- words

typedef struct word_list {
    size_t end[4096], n;
    char text[1 << 16];
    size_t len;
} word_list;

static rs_status collect(void *user, const char *word, size_t len, rs_error *e)
{
    word_list *l = user;
    (void)e;
    if (l->n == sizeof l->end / sizeof *l->end || l->len + len > sizeof l->text) return RS_E_LIMIT;
    memcpy(l->text + l->len, word, len);
    l->end[l->n++] = l->len += len;
    return RS_OK;
}

static bool split_into(const rs_pretokenizer *p, const char *text, size_t len, word_list *l)
{
    rs_pretokenizer_run *run = NULL;
    rs_error e = {0};
    bool ok = rs_pretokenizer_run_new(&run, &e) == RS_OK && rs_pretokenizer_split(p, run, text, len, collect, l, &e) == RS_OK;
    rs_pretokenizer_run_free(run);
    return ok;
}

static bool same_words(const word_list *a, const word_list *b) { return a->n == b->n && memcmp(a->end, b->end, a->n * sizeof *a->end) == 0 && memcmp(a->text, b->text, a->len) == 0; }

static rs_status parse_pre(rs_pretokenizer *p, const char *json, rs_error *e)
{
    json_t *o = json_loads(json, 0, NULL);
    rs_status s = rs_pretokenizer_parse(p, o, e);
    json_decref(o);
    return s;
}

static word_list one, two;

static void test_words(void)
{
#define LITERAL "\"String\":\"-\""
    static const struct {
        const char *pre, *text, *want;
    } cases[] = {
        {GPT2_STEP, "Hello  world's 12\n\n x", "Hello| | world|'s| 12|\n\n| x"},
        {GPT2_STEP, "a  ", "a|  "},
        {GPT2_STEP, "a\n b''s I'Ll", "a|\n| b|''|s| I|'|Ll"},
        {GPT2_STEP, "'", "'"},
        {GPT2_STEP, "", ""},
        {GPT2_STEP, "a\xc2\xa0 \xe3\x80\x80\xd0\xb6 \xe6\x97\xa5!", "a|\xc2\xa0 |\xe3\x80\x80|\xd0\xb6| \xe6\x97\xa5|!"},
        {SEQUENCE(DIGITS_STEP "," GPT2_STEP), "ab 123 \xd9\xa3", "ab| |1|2|3| |\xd9\xa3"},
        {SEQUENCE("{\"type\":\"Digits\",\"individual_digits\":false}," GPT2_STEP), "ab 123 c", "ab| |123| c"},
        {PREFIX_STEP, "a b", " a| b"},
        {PREFIX_STEP, " a", " a"},
        {PREFIX_STEP, "", ""},
        {SEQUENCE(DIGITS_STEP "," PREFIX_STEP), "a 1", " a| | 1"},
        {WHOLE_STEP, "a b  c", "a b  c"},
        {SEQUENCE(SPLIT(LITERAL, "Isolated") "," WHOLE_STEP), "--a-b-", "-|-|a|-|b|-"},
        {SEQUENCE(SPLIT(LITERAL, "Removed") "," WHOLE_STEP), "--a-b-", "a|b"},
        {SEQUENCE(SPLIT(LITERAL, "Contiguous") "," WHOLE_STEP), "--a-b-", "--|a|-|b|-"},
        {SEQUENCE(SPLIT(LITERAL, "MergedWithPrevious") "," WHOLE_STEP), "--a-b-", "-|-|a-|b-"},
        {SEQUENCE(SPLIT(LITERAL, "MergedWithNext") "," WHOLE_STEP), "--a-b-", "-|-a|-b|-"},
        {SEQUENCE(SPLIT("\"Regex\":\"\\\\s\"", "Isolated") "," WHOLE_STEP), "a\xe1\xa0\x8e\xe3\x80\x80" "b", "a\xe1\xa0\x8e|\xe3\x80\x80|b"},           // U+180E is no space
        {SEQUENCE(SPLIT("\"Regex\":\"\\\\p{Han}+\"", "Isolated") "," WHOLE_STEP), "\xe3\x80\x81\xe6\xbc\xa2", "\xe3\x80\x81|\xe6\xbc\xa2"},              // U+3001 is used with Han, not of it
        {SEQUENCE(SPLIT("\"Regex\":\"[^\\\\s\\\\u0061x-]\"", "Removed") "," WHOLE_STEP), "a b\xc2\x85x-", "a |\xc2\x85x-"},
        {SEQUENCE(SPLIT(LLAMA3, "Isolated") "," WHOLE_STEP), "I'LL 12345 !!\n\nx \n", "I|'LL| |123|45| !!\n\n|x| \n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rs_pretokenizer p;
        rs_error e = {0};
        char got[200] = "";
        size_t n = 0, at = 0;
        one.n = one.len = 0;
        if (CHECKF(parse_pre(&p, cases[i].pre, &e) == RS_OK, "case %zu: %s", i, e.text) && CHECK(split_into(&p, cases[i].text, strlen(cases[i].text), &one)))
            for (size_t k = 0; k < one.n; at = one.end[k++]) n += (size_t)snprintf(got + n, sizeof got - n, "%s%.*s", k > 0 ? "|" : "", (int)(one.end[k] - at), one.text + at);
        CHECKF(strcmp(got, cases[i].want) == 0, "case %zu: \"%s\", not \"%s\"", i, got, cases[i].want);
        rs_pretokenizer_clear(&p);
    }
}

// Text made of what words begin and end with.
static size_t random_text(char *text, size_t room, bool unicode)
{
    static const char *const pieces[] = {" ", "  ", "\n", "a", "b", "Z", "'", "'s", "'ll", "'LL", "'re", "'v", "1", "23", "!", "-", "\t", "\r\n", " x", "word", "a b", " \n", "{", "\x7f", "\x1c",
                                         "\xc3\xa9", "\xc2\xa0", "\xe3\x80\x80", "\xe6\x97\xa5", "\xd9\xa3", "\xf0\x9f\x98\x80", "\xcc\x81", "\xe1\xa0\x8e", "\xc2\x85", "\xc2\xbd", "\xc5\xbf"};
    size_t n = 0, many = 1 + any((unsigned)(room / 8) + 1);
    for (size_t i = 0; i < many; i++) {
        const char *p = pieces[any(unicode ? 36 : 25)];
        size_t len = strlen(p);
        if (n + len > room) break;
        memcpy(text + n, p, len);
        n += len;
    }
    return n;
}

static const char *const known[] = {GPT2_STEP, SEQUENCE(DIGITS_STEP "," GPT2_STEP), SEQUENCE("{\"type\":\"Digits\"}," GPT2_STEP), SEQUENCE(SPLIT(LLAMA3, "Isolated") "," WHOLE_STEP),
                                    SEQUENCE(SPLIT("\"Regex\":\"\\\\p{N}\"", "Isolated") "," GPT2_STEP), PREFIX_STEP, SEQUENCE(DIGITS_STEP "," PREFIX_STEP)};

// The scanners give the words of the patterns, and a cut changes no word.
static void test_scanners_and_cuts(void)
{
    char text[160];
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        rs_pretokenizer p;
        int bad_scan = 0, bad_cut = 0, cuts = 0;
        if (!CHECK(parse_pre(&p, known[k], NULL) == RS_OK)) continue;
        CHECK(p.cuttable == (k < 5));
        for (int i = 0; i < 4000; i++) {
            size_t len = random_text(text, 1 + any(sizeof text), i % 2);
            one.n = one.len = two.n = two.len = 0;
            p.fast = true;
            bool ok = split_into(&p, text, len, &one);
            p.fast = false;
            bad_scan += !(ok && split_into(&p, text, len, &two) && same_words(&one, &two));
            p.fast = true;
            for (size_t x = 0; p.cuttable && (x = rs_pretokenizer_cut(text, len, x)) < len; cuts++) {
                two.n = two.len = 0;
                bad_cut += !(split_into(&p, text, x, &two) && split_into(&p, text + x, len - x, &two) && same_words(&one, &two));
            }
        }
        CHECKF(bad_scan == 0, "%d texts where scanner and pattern differ: %s", bad_scan, known[k]);
        CHECKF(bad_cut == 0 && (cuts > 500) == p.cuttable, "%d of %d cuts change words: %s", bad_cut, cuts, known[k]);
        rs_pretokenizer_clear(&p);
    }
}

// ---- merges

// Merges the way the definition says, over ids 0..255 and merges (left, right) -> 256 + index.
static size_t merge_plainly(const int (*merge)[2], size_t merges, int *id, size_t n)
{
    for (size_t rank = 0; rank < merges;) {
        size_t i = 0;
        while (i + 1 < n && (id[i] != merge[rank][0] || id[i + 1] != merge[rank][1])) i++;
        if (i + 1 >= n) {
            rank++;
            continue;
        }
        id[i] = 256 + (int)rank;
        memmove(id + i + 1, id + i + 2, (n - i - 2) * sizeof *id);
        n--;
        rank = 0; // what was made may merge at a lower rank
    }
    return n;
}

enum { MERGES = 60 };

static void test_merges(void)
{
    for (int round = 0; round < 6; round++) {
        int merge[MERGES][2], want[401];
        static char symbol[256 + MERGES][32], text[MERGES][80];
        const char *list[MERGES];
        size_t n = 0;
        for (int i = 0; i < 256; i++) snprintf(symbol[i], sizeof symbol[i], "%c", i);
        for (int tries = 0; n < MERGES && tries < 20000; tries++) {
            int a = any(3) ? 'a' + (int)any(3) : 256 + (int)any((unsigned)n + 1), b = any(3) ? 'a' + (int)any(3) : 256 + (int)any((unsigned)n + 1);
            if (a >= 256 + (int)n || b >= 256 + (int)n || strlen(symbol[a]) + strlen(symbol[b]) > 12) continue;
            char joined[32];
            snprintf(joined, sizeof joined, "%s%s", symbol[a], symbol[b]);
            bool fresh = true;
            for (size_t i = 0; i < n; i++) fresh &= strcmp(symbol[256 + i], joined) != 0;
            if (!fresh) continue;
            snprintf(text[n], sizeof *text, "%s %s", symbol[a], symbol[b]);
            memcpy(symbol[256 + n], joined, sizeof joined);
            list[n] = text[n];
            merge[n][0] = a;
            merge[n++][1] = b;
        }
        rs_tokenizer *t = build(WHOLE_STEP, list, n, "[]", false);
        int bad = 0;
        for (int i = 0; i < 400; i++) {
            char word[400];
            size_t len = 1 + any(i % 4 ? 30 : 399), got_n = 0;
            int32_t *got = NULL;
            for (size_t k = 0; k < len; k++) want[k] = word[k] = (char)('a' + any(i % 3 ? 3 : 2));
            size_t m = merge_plainly((const int(*)[2])merge, n, want, len);
            bad += rs_tokenizer_encode(t, word, len, false, 1, &got, &got_n, NULL) != RS_OK || got_n != m || memcmp(got, want, m * sizeof *got) != 0;
            free(got);
        }
        CHECKF(bad == 0, "round %d: %d words differ from the plain merges", round, bad);
        rs_tokenizer_free(t);
    }
}

// A word of 1 MB costs far less than the square of its length.
static void test_long_word(void)
{
    static const char *const merges[] = {"a a", "aa aa", "a b", "ab ab", "aaaa aaaa", "abab abab", "b a"};
    enum { LEN = 1 << 20 };
    char *word = malloc(LEN);
    rs_tokenizer *t = build(GPT2_STEP, merges, 7, "[]", false);
    if (!CHECK(word != NULL)) return;
    for (int k = 0; k < 3; k++) {
        int32_t *ids = NULL;
        size_t n = 0;
        for (size_t i = 0; i < LEN; i++) word[i] = k == 0 ? 'a' : k == 1 ? "ab"[i % 2] : "abc"[any(3)];
        clock_t start = clock();
        CHECK(rs_tokenizer_encode(t, word, LEN, false, 2, &ids, &n, NULL) == RS_OK);
        CHECKF((double)(clock() - start) / CLOCKS_PER_SEC < 10, "a word of 1 MB took over 10 s");
        CHECK(k > 1 || n == LEN / 8);
        free(ids);
    }
    free(word);
    rs_tokenizer_free(t);
}

// ---- whole texts

static void test_threads(void)
{
    static const char *const merges[] = {"a b", "\xc4\xa0 a", "\xc4\xa0 \xc4\xa0", "w o", "r d", "wo rd", "\xc4\xa0\xc4\xa0 \xc4\x8a", "' s"};
    enum { LEN = 200000 };
    char *text = malloc(LEN);
    if (!CHECK(text != NULL)) return;
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        rs_tokenizer *t = build(known[k], merges, 8, "[{\"id\":300,\"content\":\"ord a\",\"special\":true},{\"id\":301,\"content\":\" \\n\",\"special\":false,\"normalized\":true}]", false);
        for (int kind = 0; kind < 4; kind++) {
            size_t len = 0, n1 = 0;
            int32_t *first = NULL;
            while (len < LEN - 200 && kind < 2) len += random_text(text + len, 160, kind);
            for (; len < LEN - 200; len++) text[len] = kind == 2 ? ' ' : " a\n"[any(3)];
            bool special = kind & 1;
            CHECK(rs_tokenizer_encode(t, text, len, special, 1, &first, &n1, NULL) == RS_OK);
            for (int threads = 2; threads <= 9; threads++) {
                size_t n = 0;
                int32_t *ids = NULL;
                CHECKF(rs_tokenizer_encode(t, text, len, special, threads, &ids, &n, NULL) == RS_OK && n == n1 && memcmp(ids, first, n * sizeof *ids) == 0, "%d threads give other ids: %s", threads, known[k]);
                free(ids);
            }
            free(first);
        }
        rs_tokenizer_free(t);
    }
    free(text);
}

static void test_added(void)
{
    static const char added[] = "[{\"id\":260,\"content\":\"<s>\",\"special\":true},{\"id\":261,\"content\":\"<s>x\",\"special\":false,\"normalized\":false},"
                                "{\"id\":262,\"content\":\"a<s>\",\"special\":false,\"normalized\":true},{\"id\":263,\"content\":\"\\u0416\",\"special\":false},{\"id\":264,\"content\":\"<s>xy\",\"special\":true}]";
    rs_tokenizer *t = build(GPT2_STEP, NULL, 0, added, false);
    check_ids(t, "<s>", true, (const int[]){260, -1});
    check_ids(t, "<s>", false, (const int[]){'<', 's', '>', -1});
    check_ids(t, "a<s>", true, (const int[]){'a', 260, -1}); // as it is comes before normalised
    check_ids(t, "a<s>", false, (const int[]){262, -1});
    check_ids(t, "<s>xz", false, (const int[]){261, 'z', -1});
    check_ids(t, "<s>xy", true, (const int[]){264, -1});
    check_ids(t, "<s>xy", false, (const int[]){'<', 's', '>', 'x', 'y', -1}); // the longest is special, so all of it is text
    check_ids(t, "<s<s>\xd0\x96", true, (const int[]){'<', 's', 260, 263, -1});
    check_ids(t, "<unk>", true, (const int[]){'<', 'u', 'n', 'k', '>', -1});
    check_ids(t, "", true, (const int[]){-1});
    size_t len;
    const char *p = rs_tokenizer_piece(t, 263, &len);
    CHECK(p != NULL && len == 2 && memcmp(p, "\xd0\x96", 2) == 0);
    CHECK(rs_tokenizer_piece(t, 258, &len) == NULL && len == 0);
    CHECK(rs_tokenizer_piece(t, -1, &len) == NULL && rs_tokenizer_piece(t, 265, &len) == NULL);
    CHECK(rs_tokenizer_vocab(t) == 265);
    CHECK(rs_tokenizer_find(t, "<s>") == 260 && rs_tokenizer_find(t, "no such") == -1 && rs_tokenizer_find(t, "\xc4\xa0") == ' ');
    rs_tokenizer_free(t);
}

// Every byte has its own character, and pieces give the bytes back.
static void test_bytes(void)
{
    static const char *const merges[] = {"\xc4\xa0 a", "\xc4\xa0\x61 \xc3\xa9", "a b", "b c", "a bc"};
    rs_tokenizer *t = build(GPT2_STEP, merges, 5, "[]", false);
    size_t len;
    for (int i = 0; i < 256; i++) {
        const char *p = rs_tokenizer_piece(t, i, &len);
        CHECKF(p != NULL && len == 1 && (unsigned char)*p == i, "piece of byte %d", i);
    }
    const char *p = rs_tokenizer_piece(t, 257, &len);
    CHECK(p != NULL && len == 3 && memcmp(p, " a\xe9", 3) == 0);
    check_ids(t, " a abc", false, (const int[]){256, 256, 259, -1}); // "a b" before "b c": " a" first of all
    check_ids(t, "abc", false, (const int[]){258, 'c', -1});
    rs_tokenizer_free(t);
    t = build(GPT2_STEP, merges, 5, "[{\"id\":400,\"content\":\"zz\",\"special\":true}]", true);
    check_ids(t, "abc", false, (const int[]){260, -1}); // the word is a token
    check_ids(t, "zz", false, (const int[]){'z', 'z', -1});
    rs_tokenizer_free(t);
}

static void test_bad_text(void)
{
    static const struct {
        const char *text;
        size_t len;
        const char *want;
    } cases[] = {{"ab\xff", 3, "byte 2"}, {"\xc3", 1, "byte 0"}, {"a\xed\xa0\x80", 4, "byte 1"}, {"12345678\xc0\x80", 10, "byte 8"}, {"\xf4\x90\x80\x80", 4, "byte 0"}, {"a\0\xe2\x82", 4, "byte 2"}};
    rs_tokenizer *t = build(GPT2_STEP, NULL, 0, "[]", false);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t *ids = NULL;
        size_t n = 1;
        rs_error e = {0};
        CHECK(rs_tokenizer_encode(t, cases[i].text, cases[i].len, false, 1, &ids, &n, &e) == RS_E_IMPORT && ids == NULL && n == 0);
        CHECKF(strstr(e.text, cases[i].want) != NULL, "case %zu: \"%s\"", i, e.text);
    }
    rs_tokenizer_free(t);
    CHECK(rs_nfc_check("abc \xc3\xa9\xcb\xbf", 8) == 8);
    CHECK(rs_nfc_check("e\xcc\x81", 3) == 1);                                    // composes
    CHECK(rs_nfc_check("\xe2\x80\x94\xe6\x97\xa5\xed\x95\x9c\xf0\x9f\x98\x80", 13) == 13);
    CHECK(rs_nfc_check("x\xe2\x84\xa6", 4) == 1);                                // OHM SIGN is replaced
    CHECK(rs_nfc_check("\xd7\xa9\xd6\xb0\xd6\xb7", 6) == 6);                      // classes 10, 17
    CHECK(rs_nfc_check("\xd7\xa9\xd6\xb7\xd6\xb0", 6) == 4);                      // 17, 10
    CHECK(rs_nfc_check("\xe1\x84\x80\xe1\x85\xa1", 6) == 3);                      // Hangul letters compose
}

// Documents that must be refused, each with a word of its reason.
static void test_refusals(void)
{
#define MODEL(fields) "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]" fields "}"
#define PRE ",\"pre_tokenizer\":" GPT2_STEP
#define WITH(pattern) "{" MODEL("") ",\"pre_tokenizer\":" SEQUENCE(SPLIT("\"Regex\":\"" pattern "\"", "Isolated") "," WHOLE_STEP) "}"
#define ADDED(fields) "{" MODEL("") PRE ",\"added_tokens\":[{\"content\":\"x\"," fields "}]}"
    static const struct {
        const char *json, *want;
        rs_status status;
    } cases[] = {
        {"{" MODEL("") PRE "}", "", RS_OK},
        {"{" MODEL(",\"dropout\":null,\"unk_token\":null,\"byte_fallback\":false,\"end_of_word_suffix\":\"\"") PRE ",\"normalizer\":{\"type\":\"NFC\"}}", "", RS_OK},
        {WITH("[\\\\p{P}\\\\$\\\\+<=>\\\\^~\\\\|]+"), "", RS_OK},
        {WITH("\\\\x41\\\\x{1f600}\\\\u0041+?(?:a|(b))(?<=a)(?<!b)(?=c)(?>d)x{2,3}y{2}.*+"), "", RS_OK},
        {"", "", RS_E_IMPORT},
        {"[]", "model", RS_E_IMPORT},
        {"{\"model\":{\"type\":\"Unigram\"}}", "BPE", RS_E_IMPORT},
        {"{" MODEL(",\"dropout\":0.1") PRE "}", "dropout", RS_E_IMPORT},
        {"{" MODEL(",\"unk_token\":\"a\"") PRE "}", "unk_token", RS_E_IMPORT},
        {"{" MODEL(",\"byte_fallback\":true") PRE "}", "byte_fallback", RS_E_IMPORT},
        {"{" MODEL(",\"continuing_subword_prefix\":\"##\"") PRE "}", "continuing_subword_prefix", RS_E_IMPORT},
        {"{" MODEL(",\"end_of_word_suffix\":\"</w>\"") PRE "}", "end_of_word_suffix", RS_E_IMPORT},
        {"{" MODEL(",\"ignore_merges\":1") PRE "}", "ignore_merges", RS_E_IMPORT},
        {"{" MODEL("") PRE ",\"normalizer\":{\"type\":\"Lowercase\"}}", "Lowercase", RS_E_IMPORT},
        {"{" MODEL("") "}", "pre_tokenizer", RS_E_IMPORT},
        {"{" MODEL("") ",\"pre_tokenizer\":{\"type\":\"Metaspace\"}}", "Metaspace", RS_E_IMPORT},
        {"{" MODEL("") ",\"pre_tokenizer\":" SEQUENCE(GPT2_STEP "," DIGITS_STEP) "}", "after ByteLevel", RS_E_IMPORT},
        {"{" MODEL("") ",\"pre_tokenizer\":" SEQUENCE(DIGITS_STEP) "}", "byte-level", RS_E_IMPORT},
        {"{" MODEL("") ",\"pre_tokenizer\":" SEQUENCE(SPLIT("\"Regex\":\"a\"", "Sideways") "," WHOLE_STEP) "}", "behavior", RS_E_IMPORT},
        {WITH("a*"), "empty", RS_E_IMPORT},
        {WITH("a|(?=b)"), "empty", RS_E_IMPORT},
        {WITH("[a"), "class", RS_E_IMPORT},
        {WITH("[a&&b]"), "intersection", RS_E_IMPORT},
        {WITH("[a[b]]"), "inside a class", RS_E_IMPORT},
        {WITH("[!-\\\\s]"), "range", RS_E_IMPORT},
        {WITH("[\\\\Sa]"), "S inside", RS_E_IMPORT},
        {WITH("\\\\w+"), "escape", RS_E_IMPORT},
        {WITH("\\\\h"), "escape", RS_E_IMPORT},
        {WITH("(a)\\\\1"), "escape", RS_E_IMPORT},
        {WITH("^a"), "anchor", RS_E_IMPORT},
        {WITH("a$"), "anchor", RS_E_IMPORT},
        {WITH("a{2}+"), "second sign", RS_E_IMPORT},
        {WITH("a{,2}"), "brace", RS_E_IMPORT},
        {WITH("(?x)a"), "group", RS_E_IMPORT},
        {WITH("(*UTF)a"), "repetition", RS_E_IMPORT},
        {WITH("\\\\p{Nonsense}"), "pattern", RS_E_IMPORT},
        {WITH("\\\\pL"), "braces", RS_E_IMPORT},
        {WITH("a)"), "pattern", RS_E_IMPORT},
        {WITH("a\\\\"), "backslash", RS_E_IMPORT},
        {ADDED("\"id\":3,\"lstrip\":true"), "lstrip", RS_E_IMPORT},
        {ADDED("\"id\":3,\"rstrip\":true"), "rstrip", RS_E_IMPORT},
        {ADDED("\"id\":3,\"single_word\":true"), "single_word", RS_E_IMPORT},
        {ADDED("\"id\":2"), "given twice", RS_E_IMPORT},
        {ADDED("\"id\":-1"), "id", RS_E_IMPORT},
        {ADDED("\"id\":4194304"), "id", RS_E_IMPORT},
        {ADDED("\"special\":false"), "id", RS_E_IMPORT},
        {"{" MODEL("") PRE ",\"added_tokens\":[{\"id\":1,\"content\":\"a\"}]}", "has id 1", RS_E_IMPORT},
        {"{" MODEL("") PRE ",\"added_tokens\":[{\"id\":9,\"content\":\"\"}]}", "0 bytes", RS_E_IMPORT},
        {"{\"model\":{\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}" PRE "}", "given twice", RS_E_IMPORT},
        {"{\"model\":{\"vocab\":{\"a\":0.5},\"merges\":[]}" PRE "}", "integer", RS_E_IMPORT},
        {"{\"model\":{\"vocab\":{},\"merges\":[]}" PRE "}", "vocab", RS_E_IMPORT},
        {"{\"model\":{\"vocab\":{\"a\":0}}" PRE "}", "merges", RS_E_IMPORT},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a a\"]}" PRE "}", "not in the vocabulary", RS_E_IMPORT},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"aa\"]}" PRE "}", "two tokens", RS_E_IMPORT},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}" PRE "}", "neither", RS_E_IMPORT},
        {"{\"model\":{\"vocab\":{\"a\":0,\"aa\":1},\"merges\":[\"a a\",[\"a\",\"a\"]]}" PRE "}", "repeats", RS_E_IMPORT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rs_tokenizer *t = NULL;
        rs_error e = {0};
        rs_status s = rs_tokenizer_parse(&t, cases[i].json, strlen(cases[i].json), &e);
        CHECKF(s == cases[i].status && (t != NULL) == (s == RS_OK), "case %zu: status %d, %s", i, (int)s, e.text);
        CHECKF(strstr(e.text, cases[i].want) != NULL, "case %zu: \"%s\" lacks \"%s\"", i, e.text, cases[i].want);
        rs_tokenizer_free(t);
    }
    // a pattern that backtracks without end is stopped
    rs_tokenizer *t = NULL;
    rs_error e = {0};
    int32_t *ids = NULL;
    size_t n = 0;
    static const char slow[] = WITH("(?:a+)+[bc]");
    static char many[5001];
    memset(many, 'a', 5000);
    CHECK(rs_tokenizer_parse(&t, slow, strlen(slow), NULL) == RS_OK);
    CHECK(t != NULL && rs_tokenizer_encode(t, many, 5000, false, 1, &ids, &n, &e) == RS_E_LIMIT);
    rs_tokenizer_free(t);
}

// The model's own tokenizer on real text: the ids that llama.cpp gave.
static void test_model(void)
{
    static const char *const names[] = {"wiki.test.raw", "wiki.valid.txt"};
    const char *shared = check_shared();
    char path[4096];
    rs_in *in = NULL;
    rs_gguf g = {0};
    rs_tokenizer *t = NULL;
    char *json = NULL, *config = NULL;
    size_t json_len, config_len;
    rs_error e = {0};
    if (shared == NULL) {
        SKIP("no RS_SHARED");
        return;
    }
    snprintf(path, sizeof path, "%s/data/SmolLM2-135M-Instruct.Q4_1.gguf", shared);
    if (!CHECKF(rs_in_open(&in, path, &e) == RS_OK && rs_gguf_open(&g, in, 0, &e) == RS_OK && rs_tokenizer_json_write(&g, 49152, &json, &json_len, &config, &config_len, &e) == RS_OK &&
                    rs_tokenizer_parse(&t, json, json_len, &e) == RS_OK,
                "%s", e.text))
        return;
    for (int i = 0; i < 2; i++) {
        size_t len, npy_len, n = 0, head;
        int32_t *ids = NULL;
        snprintf(path, sizeof path, "%s/data/%s", shared, names[i]);
        char *text = slurp(path, &len);
        snprintf(path, sizeof path, "%s/reference/ids/%s.npy", shared, names[i]);
        unsigned char *npy = (unsigned char *)slurp(path, &npy_len);
        if (CHECK(text != NULL && npy != NULL && npy_len > 10)) {
            head = 10u + npy[8] + 256u * npy[9];
            for (int threads = 1; threads <= 2; threads++) {
                CHECK(rs_tokenizer_encode(t, text, len, threads > 1, threads, &ids, &n, &e) == RS_OK);
                CHECKF(npy_len == head + 4 * n && memcmp(ids, npy + head, 4 * n) == 0, "%s: ids differ from llama.cpp's", names[i]);
                free(ids);
            }
        }
        free(text);
        free(npy);
    }
    rs_tokenizer_free(t);
    free(json);
    free(config);
    rs_gguf_free(&g);
    rs_in_close(in);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "ids") == 0) return filter(argv[2]);
    test_words();
    test_scanners_and_cuts();
    test_merges();
    test_long_word();
    test_threads();
    test_added();
    test_bytes();
    test_bad_text();
    test_refusals();
    test_model();
    return check_report();
}
