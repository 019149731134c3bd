// SPDX-License-Identifier: Apache-2.0
// Fuzz target of the tokenizer: any tokenizer.json is taken or refused with a reason, and with all 256 bytes in the vocabulary the pieces give the text back.
//
// Input: a first byte; odd: tokenizer.json, a zero byte, text; even: text for one of three tokenizers of this file, chosen by the byte.
// libFuzzer: clang -std=c11 -D_GNU_SOURCE -I. -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -pthread -o fuzz_tokenizer
//            tests/fuzz/fuzz_tokenizer.c formats/{tokenizer,added,bpe,nfc,pattern,pretokenizer,vocab,json,utf8,err}.c -lpcre2-8 -ljansson -lxxhash -lm
//            then: ./fuzz_tokenizer -max_len=4096 -detect_leaks=1 CORPUS
// Replay:    gcc with the same sources, without fuzzer among the sanitizers, and tests/fuzz/driver.c.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/tokenizer.h"
#include "formats/vocab.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// A broken promise ends the process, which is what a fuzzer reports.
static void demand(bool kept)
{
    if (!kept) abort();
}

static rs_tokenizer *parse(const char *json, size_t len)
{
    rs_tokenizer *t;
    rs_error e = {0};
    rs_status s = rs_tokenizer_parse(&t, json, len, &e);
    demand((t != NULL) == (s == RS_OK) && s == e.status && (s == RS_OK || e.text[0] != 0));
    demand(s == RS_OK || s == RS_E_IMPORT || s == RS_E_LIMIT || s == RS_E_NOMEM);
    return t;
}

// Ids of text, all of them with a piece; whole: the pieces are the text.
static void encode(const rs_tokenizer *t, const char *text, size_t len, bool special, bool whole)
{
    int32_t *ids;
    size_t n, at = 0, piece_len;
    rs_error e = {0};
    rs_status s = rs_tokenizer_encode(t, text, len, special, 2, &ids, &n, &e);
    demand(s == e.status && (s == RS_OK || (ids == NULL && n == 0 && (s == RS_E_IMPORT || s == RS_E_LIMIT))));
    for (size_t i = 0; i < n; i++) {
        const char *piece = rs_tokenizer_piece(t, ids[i], &piece_len);
        demand(piece != NULL);
        if (whole) demand(len - at >= piece_len && memcmp(text + at, piece, piece_len) == 0);
        at += whole ? piece_len : 0;
    }
    demand(!whole || s != RS_OK || at == len);
    free(ids);
}

// A tokenizer with every byte, some merges and some added tokens, which differs from the others of this file in its pre-tokenizer.
static rs_tokenizer *build(int kind)
{
    static const char *const pre[] = {
        "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":true},{\"type\":\"ByteLevel\",\"add_prefix_space\":false}]}",
        "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?i:'s|'t)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}|\\\\s+(?!\\\\S)|\\\\s+\"},\"behavior\":\"MergedWithNext\"},"
        "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]}",
        "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"String\":\"ab\"},\"behavior\":\"Contiguous\",\"invert\":true},{\"type\":\"ByteLevel\",\"add_prefix_space\":false}]}"};
    static char json[16384];
    size_t n = (size_t)snprintf(json, sizeof json, "{\"pre_tokenizer\":%s,\"added_tokens\":[{\"id\":300,\"content\":\"<s>\",\"special\":true},{\"id\":301,\"content\":\"  \",\"special\":false}],"
                                                   "\"model\":{\"merges\":[\"a b\",\"ab ab\",\"b a\",\"abab abab\"],\"vocab\":{\"ab\":256,\"abab\":257,\"ba\":258,\"abababab\":259", pre[kind]);
    for (int i = 0; i < 256; i++) {
        char c[3] = "";
        rs_vocab_byte_char((uint8_t)i, c);
        n += (size_t)snprintf(json + n, sizeof json - n, ",\"%s%s\":%d", i == '"' || i == '\\' ? "\\" : "", c, i);
    }
    n += (size_t)snprintf(json + n, sizeof json - n, "}}}");
    rs_tokenizer *t = parse(json, n);
    demand(t != NULL);
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static rs_tokenizer *fixed[3];
    if (size == 0) return 0;
    const char *rest = (const char *)data + 1;
    size_t left = size - 1;
    if (data[0] % 2 == 0) {
        int kind = data[0] / 2 % 3;
        if (fixed[kind] == NULL) fixed[kind] = build(kind);
        encode(fixed[kind], rest, left, data[0] >= 128, true);
        return 0;
    }
    const char *zero = memchr(rest, 0, left);
    size_t json_len = zero != NULL ? (size_t)(zero - rest) : left;
    rs_tokenizer *t = parse(rest, json_len);
    if (t != NULL) encode(t, zero != NULL ? zero + 1 : rest, zero != NULL ? left - json_len - 1 : left, data[0] >= 128, false);
    rs_tokenizer_free(t);
    return 0;
}
