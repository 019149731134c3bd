// SPDX-License-Identifier: Apache-2.0
// Fuzz target of GGUF headers and what is made of them: accepted tensors lie in the file one after the other, JSON made from metadata is JSON, the rest is refused with a text.
//
// libFuzzer: clang -std=c11 -D_GNU_SOURCE -I. -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -o fuzz_gguf tests/fuzz/fuzz_gguf.c
//            formats/{gguf,gguf_blocks,gguf_config,tokenizer_json,text_buffer,config,json,io,utf8,err}.c -ljansson -lm
//            then: ./fuzz_gguf -max_len=8192 -malloc_limit_mb=64 NEW tests/fuzz/corpus/fuzz_gguf
// Replay:    make tests builds it with tests/fuzz/driver.c; tests/fuzz/run.sh feeds it the corpus and tests/golden/import.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "formats/config.h"
#include "formats/gguf.h"
#include "formats/gguf_config.h"
#include "formats/json.h"
#include "formats/tokenizer_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// A broken promise ends the process, which is what a fuzzer reports.
static void demand(bool kept)
{
    if (!kept) abort();
}

static void demand_refused(rs_status status, const rs_error *e)
{
    demand(status == e->status && e->text[0] != 0 && (status == RS_E_IMPORT || status == RS_E_LIMIT));
}

static void use(const rs_gguf *g, rs_in *in, size_t size)
{
    uint64_t end = 0;
    float out[256];
    uint8_t block[256] = {0};
    for (size_t i = 0; i < g->n_tensors; i++) {
        const rs_gguf_tensor *t = &g->tensor[i];
        demand(t->off >= end && t->off <= size && t->len <= size - t->off);
        end = t->off + t->len;
        if (t->type->values == NULL || t->len == 0) continue;
        rs_error e = {0};
        demand(rs_in_pread(in, block, t->type->bytes, t->off, &e) == RS_OK);
        rs_gguf_type_values(t->type, block, 1, out);
    }
    char *json, *settings;
    size_t len, settings_len;
    rs_error e = {0};
    rs_config c;
    json_t *root;
    rs_status s = rs_gguf_config_write(g, in, &json, &len, &e);
    if (s == RS_OK) {
        s = rs_config_parse(&c, json, len, &e);
        free(json);
    }
    if (s != RS_OK) demand_refused(s, &e);
    e = (rs_error){0};
    const rs_gguf_tensor *embed = rs_gguf_config_tensor(g, "token_embd.weight");
    s = rs_tokenizer_json_write(g, embed == NULL || embed->shape[0] == 0 ? 1 : embed->shape[0], &json, &len, &settings, &settings_len, &e);
    if (s != RS_OK) {
        demand_refused(s, &e);
        return;
    }
    demand(rs_json_parse(&root, json, len, "tokenizer.json", &e) == RS_OK);
    json_decref(root);
    demand(rs_json_parse(&root, settings, settings_len, "tokenizer_config.json", &e) == RS_OK);
    json_decref(root);
    free(json);
    free(settings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (unsigned lenient = 0; lenient <= (RS_LENIENT_GGUF_PAD | RS_LENIENT_GGUF_TAIL); lenient += RS_LENIENT_GGUF_PAD | RS_LENIENT_GGUF_TAIL) {
        rs_in *in;
        rs_gguf g;
        rs_error e = {0};
        demand(rs_in_memory(&in, data, size, &e) == RS_OK);
        rs_status s = rs_gguf_open(&g, in, lenient, &e);
        if (s == RS_OK) use(&g, in, size);
        else demand_refused(s, &e);
        if (s == RS_OK) rs_gguf_free(&g);
        rs_in_close(in);
    }
    return 0;
}
