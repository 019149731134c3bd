// SPDX-License-Identifier: Apache-2.0
// Tokenizing speed: bench_tokenizer TOKENIZER.json|MODEL.rsq TEXT prints MB/s, best of eleven, for one thread and for two; cpu: per second of processor time, which a busy machine disturbs less.
#include <time.h>

#include "formats/mapped.h"
#include "formats/tokenizer.h"
#include "tests/check.h"

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

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
    size_t json_len, text_len, n = 0;
    if (argc != 3) return fprintf(stderr, "usage: bench_tokenizer TOKENIZER.json|MODEL.rsq TEXT\n"), 2;
    const char *json;
    char *text = slurp(argv[2], &text_len);
    rs_tokenizer *t = NULL;
    rs_mapped *m = NULL;
    rs_error e = {0};
    if (strlen(argv[1]) > 4 && strcmp(argv[1] + strlen(argv[1]) - 4, ".rsq") == 0) {
        if (rs_mapped_open(&m, argv[1], &e) != RS_OK) return fprintf(stderr, "bench_tokenizer: %s\n", e.text), 1;
        json = (const char *)rs_mapped_file(m, "tokenizer.json", &json_len);
    } else {
        json = slurp(argv[1], &json_len);
    }
    if (json == NULL || text == NULL) return fprintf(stderr, "bench_tokenizer: cannot read\n"), 1;
    double t0 = now(CLOCK_MONOTONIC);
    if (rs_tokenizer_parse(&t, json, json_len, &e) != RS_OK) return fprintf(stderr, "bench_tokenizer: %s\n", e.text), 1;
    printf("tokenizer: parse %.1f ms\n", 1e3 * (now(CLOCK_MONOTONIC) - t0));
    for (int threads = 1; threads <= 2; threads++) {
        double best = 1e9, best_cpu = 1e9;
        for (int i = 0; i < 11; i++) {
            int32_t *ids;
            double c0 = now(CLOCK_PROCESS_CPUTIME_ID);
            t0 = now(CLOCK_MONOTONIC);
            if (rs_tokenizer_encode(t, text, text_len, false, threads, &ids, &n, &e) != RS_OK) return fprintf(stderr, "bench_tokenizer: %s\n", e.text), 1;
            double d = now(CLOCK_MONOTONIC) - t0, c = now(CLOCK_PROCESS_CPUTIME_ID) - c0;
            if (d < best) best = d;
            if (c < best_cpu) best_cpu = c;
            free(ids);
        }
        printf("tokenizer: encode %zu bytes, %zu ids, %d thread%s: %.1f MB/s, cpu %.1f MB/s\n", text_len, n, threads, threads > 1 ? "s" : "", (double)text_len / best / 1e6,
               (double)text_len / best_cpu / 1e6);
    }
    rs_tokenizer_free(t);
    free(text);
    return 0;
}
