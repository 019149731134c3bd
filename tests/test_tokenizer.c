// SPDX-License-Identifier: Apache-2.0
// The tokenizer: words by scanner and by pattern, merges against a plain reference, cuts and threads, added tokens, refusals.
// With the arguments "ids TOKENIZER.json" it is a filter for tests/oracle/tokenizer.py: texts in, ids out.
#include <time.h>

#include "formats/bpe.h"
#include "formats/nfc.h"
#include "formats/pretokenizer.h"
#include "formats/tokenizer.h"
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

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "ids") == 0) return filter(argv[2]);
    return check_report();
}
