// SPDX-License-Identifier: Apache-2.0
// Fuzz target of saved JSON: what is accepted can be shown on every screen and exported in every format, and its own export opens again; the rest is refused with a text.
//
// libFuzzer: clang -std=c11 -D_GNU_SOURCE -I. -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -o fuzz_export tests/fuzz/fuzz_export.c, the sources of librs.a and
//            its libraries    then: ./fuzz_export -max_len=65536 -malloc_limit_mb=256 NEW tests/fuzz/corpus/fuzz_export
// Replay:    make tests builds it with tests/fuzz/driver.c; tests/fuzz/run.sh feeds it the corpus.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/export.h"
#include "inspect/spectrum.h"
#include "inspect/view_load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// A broken promise ends the process, which is what a fuzzer reports.
static void demand(bool kept)
{
    if (!kept) abort();
}

static void export_again(const rs_export *x)
{
    static const char *const formats[] = {"text", "csv", "svg", "html", "json"};
    rs_text_buffer b = {0};
    rs_error e = {0};
    for (int i = 0; i < 5; i++) {
        b.len = 0;
        demand(rs_export_as(formats[i], x, &b, &e) == RS_OK);
    }
    rs_outline *doc[2];
    int n;
    demand(rs_export_parse(b.p, b.len, doc, &n, &e) == RS_OK && (n == 2) == (x->doc[1] != NULL));
    rs_outline_close(doc[0]);
    rs_outline_close(doc[1]);
    free(b.p);
}

static void show(rs_outline *doc[2], rs_view *v)
{
    rs_view_channels channels[2] = {{0}, {0}};
    rs_view_spectrum spectrum = {0};
    const rs_view_row *r = rs_view_current(v);
    const rs_view_junction *j = rs_view_junction_at(v);
    for (int side = 0; r != NULL && side < 2; side++)
        if (r->frame[side] >= 0 && rs_view_channels_read(&channels[side], doc[v->model->side[r->of][side].doc], (size_t)r->frame[side], &(rs_error){0}) == RS_OK) v->channels[side] = &channels[side];
    v->channels_of = r;
    if (j != NULL && rs_spectrum_load(&spectrum, doc[1] != NULL ? doc[1] : doc[0], j, &(rs_error){0}) == RS_OK) v->spectrum = &spectrum;
    for (v->screen = 1; v->screen <= 5; v->screen++) export_again(&(rs_export){.view = v, .doc = {doc[0], doc[1]}});
    for (int side = 0; side < 2; side++) rs_view_channels_free(&channels[side]);
    rs_spectrum_free(&spectrum);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rs_outline *doc[2];
    rs_error e = {0};
    int n;
    const rs_status status = rs_export_parse(data, size, doc, &n, &e);
    demand(status == e.status && (status == RS_OK) == (doc[0] != NULL) && (status == RS_OK || e.text[0] != 0));
    if (status != RS_OK) return 0;
    rs_view_model m;
    rs_view v = {0};
    demand(rs_view_model_init(&m, doc[0], doc[1], NULL, &e) == RS_OK && rs_view_init(&v, &m, 80, 24, &e) == RS_OK);
    show(doc, &v);
    rs_view_free(&v);
    rs_view_model_free(&m);
    rs_outline_close(doc[0]);
    rs_outline_close(doc[1]);
    return 0;
}
