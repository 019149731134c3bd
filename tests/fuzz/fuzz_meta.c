// SPDX-License-Identifier: Apache-2.0
// Fuzz target of frame metadata: what is accepted encodes to the same bytes, what is refused is so in one of three classes with a text, and memory stays small.
//
// libFuzzer: clang -std=c11 -D_GNU_SOURCE -I. -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -o fuzz_meta
//            tests/fuzz/fuzz_meta.c formats/{meta,meta_scan,value,utf8,err}.c -lmsgpackc -lm    then: ./fuzz_meta -max_len=4096 -malloc_limit_mb=8 NEW tests/fuzz/corpus/fuzz_meta
// Replay:    make tests builds it with tests/fuzz/driver.c; tests/fuzz/run.sh feeds it the corpus.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "formats/meta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// A broken promise ends the process, which is what a fuzzer reports.
static void demand(bool kept)
{
    if (!kept) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rs_arena *a = rs_arena_new();
    rs_value *map;
    rs_error e = {0};
    rs_status status = rs_meta_parse(a, data, size, &map, &e);
    demand(status == e.status && (status == RS_OK) == (map != NULL));
    if (status == RS_OK) {
        uint8_t *bytes;
        size_t len;
        demand(rs_meta_encode(map, &bytes, &len, &e) == RS_OK && len == size && memcmp(bytes, data, size) == 0);
        free(bytes);
    } else {
        demand((status == RS_E_META || status == RS_E_LIMIT || status == RS_E_DUP) && e.text[0] != 0);
    }
    rs_arena_free(a);
    return 0;
}
