// SPDX-License-Identifier: Apache-2.0
// Fuzz target of whole streams: read as a pipe and as a view the outcome is the same, with a text; what is accepted passes through a writer frame by frame to the same tensors.
//
// libFuzzer: clang -std=c11 -D_GNU_SOURCE -I. -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -o fuzz_reader tests/fuzz/fuzz_reader.c
//            formats/{reader,reader_frame,reader_quick,writer,census,payload,hash,bytes,frames,codec,container,tensor,dtype,io,io_out,meta,meta_scan,value,utf8,err}.c
//            -lmsgpackc -lxxhash -lm    then: ./fuzz_reader -max_len=65536 CORPUS tests/golden/good tests/golden/bad
//            (libFuzzer's flag defines FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION: every hash then counts as equal.)
// Replay:    gcc with the same sources, without fuzzer among the sanitizers, and tests/fuzz/driver.c.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "formats/reader.h"
#include "formats/writer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// A broken promise ends the process, which is what a fuzzer reports.
static void demand(bool kept)
{
    if (!kept) abort();
}

// Passes the payload of f to w; a view and a pipe are read in pieces of different size.
static rs_status copy(rs_reader *r, rs_writer *w, const rs_frame *f, rs_error *e)
{
    uint8_t *p = malloc((size_t)f->payload_len + 1);
    demand(p != NULL);
    rs_status st = rs_reader_read_all(r, p, e);
    rs_error ew = {0};
    if (st == RS_OK && f->type == RS_FRAME_TENS) demand(rs_writer_tensor(w, f->tensor, p, &ew) == RS_OK);
    if (st == RS_OK && f->type == RS_FRAME_UNKNOWN) demand(rs_writer_copy(w, f->tag, f->meta, f->meta_len, p, (size_t)f->payload_len, &ew) == RS_OK);
    free(p);
    return st;
}

// Reads a stream to its end; the payloads are copied to w where it is given.
static rs_status walk(rs_reader *r, rs_writer *w, size_t size, rs_error *e)
{
    rs_frame f;
    for (;;) {
        RS_TRY(rs_reader_next(r, &f, e));
        if (f.type == RS_FRAME_END) return RS_OK;
        demand(f.meta_len < size && f.payload_off <= size);
        // Lengths are judged, but the bytes need not be there: only what fits is asked for at once.
        if (w != NULL && f.payload_len <= size) RS_TRY(copy(r, w, &f, e));
    }
}

static rs_status pipe_way(const uint8_t *data, size_t size, rs_error *e)
{
    rs_in *in = NULL;
    rs_out *out = NULL;
    rs_reader *r = NULL;
    rs_writer *w = NULL;
    rs_error ew = {0};
    demand(rs_in_memory(&in, data, size, e) == RS_OK && rs_out_memory(&out, e) == RS_OK);
    rs_in_set_chunk(in, 7);
    rs_status st = rs_reader_open(&r, in, e);
    if (st == RS_OK) {
        size_t len;
        const uint8_t *meta = rs_reader_prov_meta(r, 0, &len);
        demand(meta != NULL && rs_writer_open(&w, out, rs_reader_head(r), &ew) == RS_OK && rs_writer_prov_copy(w, meta, len, &ew) == RS_OK);
        st = walk(r, w, size, e);
        if (st == RS_OK) {
            demand(rs_reader_tensors(r) <= rs_reader_frames(r));
            demand(rs_writer_finish(w, &ew) == RS_OK);
        }
    }
    rs_writer_free(w);
    rs_out_close(out);
    rs_reader_free(r);
    rs_in_close(in);
    return st;
}

static void quick_way(const uint8_t *data, size_t size)
{
    rs_in *in = NULL;
    rs_error e = {0};
    rs_head head;
    rs_arena *a = rs_arena_new();
    demand(a != NULL && rs_in_memory(&in, data, size, &e) == RS_OK);
    rs_status st = rs_reader_quick(in, a, &head, NULL, NULL, NULL, &e);
    demand(st == e.status && st != RS_E_INTERNAL);
    rs_in_close(in);
    rs_arena_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rs_error ep = {0}, ev = {0};
    rs_reader *r = NULL;
    rs_status piped = pipe_way(data, size, &ep);
    rs_status viewed = rs_reader_open_view(&r, data, size, &ev);
    if (viewed == RS_OK) viewed = walk(r, NULL, size, &ev);
    rs_reader_free(r);
    demand(piped == viewed && piped == ep.status && strcmp(ep.text, ev.text) == 0);
    demand((piped == RS_OK) == (ep.text[0] == 0) && piped != RS_E_INTERNAL && piped != RS_E_READ);
    quick_way(data, size);
    return 0;
}
