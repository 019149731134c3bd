// SPDX-License-Identifier: Apache-2.0
// Fuzz target of chat templates: any text is rendered or refused with a line and a reason, within bounds of memory, steps and depth, and the same text twice gives the same.
//
// Input: the template; the conversation is fixed.
// libFuzzer: clang -std=c11 -D_GNU_SOURCE -I. -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -o fuzz_template
//            tests/fuzz/fuzz_template.c formats/{template*,value,utf8,err}.c -ljansson -lm    then: ./fuzz_template -max_len=4096 -timeout=30 NEW tests/fuzz/corpus/fuzz_template
// Replay:    make tests builds it with tests/fuzz/driver.c; tests/fuzz/run.sh feeds it the corpus.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "formats/template.h"
#include "formats/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// A broken promise ends the process, which is what a fuzzer reports.
static void demand(bool kept)
{
    if (!kept) abort();
}

static rs_status render(const uint8_t *data, size_t size, const json_t *names, char **out, size_t *len)
{
    rs_error e = {0};
    rs_status s = rs_template_render((const char *)data, size, names, 1700000000, out, len, &e);
    demand(s == e.status && (s == RS_OK) == (*out != NULL));
    demand(s == RS_OK || s == RS_E_IMPORT || s == RS_USAGE || s == RS_E_LIMIT);
    demand(s == RS_OK || e.text[0] != 0);
    demand(s != RS_OK || ((*out)[*len] == 0 && rs_utf8_valid(*out, *len) == *len));
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static json_t *names;
    if (names == NULL)
        names = json_loads("{\"messages\":[{\"role\":\"system\",\"content\":\" s\\u00e9 \"},{\"role\":\"user\",\"content\":\"a b\\nc\"},{\"role\":\"assistant\",\"content\":\"\\u65e5\"}],\"bos_token\":\"<s>\",\"eos_token\":\"</s>\","
                           "\"add_generation_prompt\":true,\"tools\":null,\"n\":7,\"f\":2.5,\"l\":[3,1,2],\"d\":{\"k\":[1,{\"x\":null}]}}", 0, NULL);
    char *first, *second;
    size_t n, m;
    rs_status s = render(data, size, names, &first, &n);
    if (size < 256) {
        demand(render(data, size, names, &second, &m) == s && (s != RS_OK || (m == n && memcmp(first, second, n) == 0)));
        free(second);
    }
    free(first);
    return 0;
}
