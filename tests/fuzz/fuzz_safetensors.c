// SPDX-License-Identifier: Apache-2.0
// Fuzz target of safetensors headers: accepted tensors fill the file without gap or overlap under names of their own, the rest is refused with a text.
//
// libFuzzer: clang -std=c11 -D_GNU_SOURCE -I. -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -o fuzz_safetensors tests/fuzz/fuzz_safetensors.c
//            formats/{safetensors,json,io,utf8,err}.c -ljansson -lm    then: ./fuzz_safetensors -max_len=4096 -malloc_limit_mb=64 NEW tests/fuzz/corpus/fuzz_safetensors
// Replay:    make tests builds it with tests/fuzz/driver.c; tests/fuzz/run.sh feeds it the corpus and tests/golden/import.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "formats/json.h"
#include "formats/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// A broken promise ends the process, which is what a fuzzer reports.
static void demand(bool kept)
{
    if (!kept) abort();
}

static void check_table(const rs_st *s, size_t size)
{
    uint64_t end = s->n > 0 ? s->tensor[0].off : size;
    for (size_t i = 0; i < s->n; i++) {
        const rs_st_tensor *t = &s->tensor[i];
        demand(t->off == end && t->len <= size - end && t->name[0] != 0 && strlen(t->name) <= RS_MAX_NAME && t->n_dims <= RS_MAX_DIMS);
        end += t->len;
    }
    demand(end == size);
}

// What the strict rules accept is JSON without duplicates in the library's eyes too.
static void check_json(const uint8_t *data, size_t size)
{
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--) n = n << 8 | data[i];
    json_error_t err;
    json_t *root = json_loadb((const char *)data + 8, (size_t)n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &err);
    demand(size >= 8 + n && (root != NULL || json_error_code(&err) == json_error_null_byte_in_key || json_error_code(&err) == json_error_numeric_overflow));
    json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned rules[] = {0, RS_LENIENT_ST_META_DUP | RS_LENIENT_ST_EXTRA_KEY | RS_LENIENT_NAME_ESCAPE};
    for (int i = 0; i < 2; i++) {
        rs_in *in;
        rs_st s;
        rs_error e = {0};
        demand(rs_in_memory(&in, data, size, &e) == RS_OK);
        rs_status status = rs_st_open(&s, in, rules[i], &e);
        rs_in_close(in);
        if (status == RS_OK) {
            check_table(&s, size);
            if (i == 0) check_json(data, size);
            rs_st_free(&s);
        } else {
            demand(status == e.status && e.text[0] != 0 && (status == RS_E_IMPORT || status == RS_E_LIMIT));
        }
    }
    return 0;
}
