// SPDX-License-Identifier: Apache-2.0
// Runs stages from file to file as the tools do, a file with changed tensors, and a network over a file: what tests of quantize/ and inspect/ share.
#ifndef RS_TESTS_STAGES_H
#define RS_TESTS_STAGES_H

#include "kernels/threads.h"
#include "quantize/pack.h"
#include "tests/check.h"
#include "tests/tiny.h"
#include "transforms/network.h"
#include "transforms/residual.h"

// Packs in -> out.
__attribute__((unused)) static rs_status stages_pack(const char *in, const char *out, const rs_pack_options *options, rs_error *e)
{
    rs_stage s = {0};
    rs_pack_options own = *options;
    const rs_pack_options *o = &own;
    rs_prelude *ahead = NULL;
    rs_head head;
    char *argv[] = {(char[]){"rs-pack"}, NULL};
    rs_status st = rs_stage_open(&s, "rs-pack", in, e);
    if (st == RS_OK) st = rs_pack_ahead(&own, s.reader, &ahead, e);
    if (st == RS_OK) st = rs_pack_head(rs_reader_head(s.reader), o, &head, s.arena, e);
    if (st == RS_OK) st = rs_stage_begin(&s, out, NULL, 0, &head, 1, argv, NULL, e);
    if (st == RS_OK && ahead != NULL) st = rs_prelude_write(ahead, s.writer, false, e);
    if (st == RS_OK) st = rs_pack_stream(&s, o, e);
    rs_prelude_free(ahead);
    if (st == RS_OK) st = rs_stage_finish(&s, e);
    rs_stage_close(&s, e);
    return st;
}

__attribute__((unused)) static rs_pack_options stages_pack_default(void)
{
    return (rs_pack_options){.scheme = rs_scheme_default(), .a = {.bits = 16, .clip = 1}, .kv = {.bits = 16, .clip = 1}};
}

// Cuts the junctions of in to a rank, exactly.
__attribute__((unused)) static rs_status stages_residual(const char *in, const char *rotations, const char *out, uint64_t rank, rs_error *e)
{
    rs_mapped *m = NULL;
    rs_stage s = {0};
    rs_residual *r = NULL;
    char *argv[] = {(char[]){"rs-residual"}, NULL};
    RS_TRY(rs_mapped_open(&m, rotations, e));
    rs_residual_options o = {.rule = {.rank = rank}, .rotations = m};
    rs_in *other = rs_mapped_in(m);
    rs_status st = rs_stage_open(&s, "rs-residual", in, e);
    if (st == RS_OK) st = rs_residual_open(&r, &s, &o, e);
    if (st == RS_OK) st = rs_stage_begin(&s, out, &other, 1, rs_residual_head(r), 1, argv, NULL, e);
    if (st == RS_OK) st = rs_residual_run(r, NULL, NULL, e);
    rs_residual_close(r);
    if (st == RS_OK) st = rs_stage_finish(&s, e);
    rs_stage_close(&s, e);
    rs_mapped_close(m);
    return st;
}

// Copies in -> out; change sees each tensor with its payload, may alter either (a longer payload is not possible), and drops it by returning false.
typedef bool stages_change(void *context, rs_tensor *t, uint8_t *payload);
__attribute__((unused)) static rs_status stages_edit(const char *in, const char *out, stages_change *change, void *context, rs_error *e)
{
    rs_stage s = {0};
    char *argv[] = {(char[]){"edit"}, NULL};
    rs_frame f = {.type = RS_FRAME_HEAD};
    rs_status st = rs_stage_open(&s, "edit", in, e);
    if (st == RS_OK) st = rs_stage_begin(&s, out, NULL, 0, rs_reader_head(s.reader), 1, argv, NULL, e);
    while (st == RS_OK && (st = rs_reader_next(s.reader, &f, e)) == RS_OK && f.type != RS_FRAME_END) {
        if (f.type != RS_FRAME_TENS) {
            st = rs_stage_copy(&s, &f, e);
            continue;
        }
        rs_tensor t = *f.tensor;
        uint8_t *payload = malloc((size_t)f.payload_len + 1);
        st = rs_reader_read_all(s.reader, payload, e);
        if (st == RS_OK && change(context, &t, payload)) st = rs_writer_tensor(s.writer, &t, payload, e);
        free(payload);
    }
    if (st == RS_OK) st = rs_stage_finish(&s, e);
    rs_stage_close(&s, e);
    return st;
}

// A network over path; both are to be closed (NULL after a failure).
__attribute__((unused)) static rs_status stages_network(const char *path, const rs_kernels *k, rs_mapped **m, rs_network **n, rs_error *e)
{
    *n = NULL;
    RS_TRY(rs_mapped_open(m, path, e));
    return rs_network_open(n, *m, k, e);
}

// Logits [S, V] of a network; malloc'ed, NULL on failure.
__attribute__((unused)) static float *stages_logits(rs_network *n, size_t S, const int32_t *ids, rs_error *e)
{
    const rs_config *c = rs_network_config(n);
    float *x = malloc(S * (size_t)c->d * sizeof *x), *logits = malloc(S * (size_t)c->V * sizeof *logits);
    rs_status st = rs_network_embed(n, S, ids, x, e);
    for (uint64_t i = 0; i < c->L && st == RS_OK; i++) {
        const rs_decoder_layer *layer;
        st = rs_network_load(n, i, &layer, e);
        if (st == RS_OK) st = rs_network_forward(n, S, x, NULL, NULL, e);
    }
    if (st == RS_OK) st = rs_network_logits(n, S, x, logits, e);
    free(x);
    if (st == RS_OK) return logits;
    free(logits);
    return NULL;
}

#endif
