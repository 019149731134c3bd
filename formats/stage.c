// SPDX-License-Identifier: Apache-2.0
// A filter of the pipe: the chain grows by one link, frames pass through in pieces, older PSUM are kept, and a failure is told downstream.
#include "formats/stage.h"

#include "formats/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE (1u << 20)

// ---- arguments as PROV records them

// Options that cannot change the content: long name, letter, whether a value follows.
static const struct {
    const char *name;
    char letter;
    bool value;
} unrecorded[] = {
    {"log", 0, true}, {"checkpoint", 0, true}, {"save-every", 0, true}, {"resume", 0, false}, {"output", 'o', true}, {"threads", 'j', true}, {"mem", 0, true}, {"device", 0, true}, {"verbose", 'v', false}, {"quiet", 'q', false},
};

// 0: recorded; 1: left out; 2: left out with the argument that follows.
static int left_out(const char *arg)
{
    for (size_t i = 0; i < sizeof unrecorded / sizeof *unrecorded; i++) {
        size_t n = strlen(unrecorded[i].name);
        if (strncmp(arg, "--", 2) == 0 && strncmp(arg + 2, unrecorded[i].name, n) == 0 && (arg[2 + n] == 0 || arg[2 + n] == '=')) return unrecorded[i].value && arg[2 + n] == 0 ? 2 : 1;
        if (unrecorded[i].letter != 0 && arg[0] == '-' && arg[1] == unrecorded[i].letter && (unrecorded[i].value || arg[2] == 0)) return unrecorded[i].value && arg[2] == 0 ? 2 : 1;
    }
    return 0;
}

// One argument with base names in place of paths and unprintable bytes escaped, in a.
static const char *base_name(rs_arena *a, const char *arg)
{
    const char *eq = strncmp(arg, "--", 2) == 0 ? strchr(arg, '=') : NULL;
    size_t keep = eq != NULL ? (size_t)(eq + 1 - arg) : arg[0] == '-' && arg[1] != 0 && arg[1] != '-' ? 2 : 0;
    size_t end = strlen(arg), from;
    while (end > keep + 1 && arg[end - 1] == '/') end--;
    for (from = end; from > keep && arg[from - 1] != '/';) from--;
    char *joined = rs_arena_alloc(a, end + 1), *text = rs_arena_alloc(a, RS_MAX_STR + 1);
    if (joined == NULL || text == NULL) return NULL;
    memcpy(joined, arg, keep);
    memcpy(joined + keep, arg + from, end - from);
    return rs_escape(text, RS_MAX_STR + 1, joined, keep + end - from);
}

rs_status rs_stage_link(rs_writer *w, const char *tool, int argc, char *const *argv, const rs_value *params, rs_error *e)
{
    rs_arena *a = rs_arena_new();
    const char **kept = a != NULL ? rs_arena_alloc(a, ((size_t)argc + 1) * sizeof *kept) : NULL;
    rs_prov link = {.tool = tool, .ver = RS_VERSION, .commit = RS_COMMIT, .argv = kept, .params = params};
    rs_status st = kept == NULL ? rs_fail(e, RS_E_NOMEM, "arguments") : RS_OK;
    bool operands = false;
    for (int i = 0; i < argc && st == RS_OK; i++) {
        int skip = i > 0 && !operands ? left_out(argv[i]) : 0;
        if (i > 0 && strcmp(argv[i], "--") == 0) operands = true;
        if (skip > 0) i += skip - 1;
        else if (link.argc >= RS_MAX_ARRAY) st = rs_fail(e, RS_E_LIMIT, "more than %u arguments", RS_MAX_ARRAY);
        else if ((kept[link.argc++] = base_name(a, argv[i])) == NULL) st = rs_fail(e, RS_E_NOMEM, "arguments");
    }
    if (st == RS_OK) st = rs_writer_prov(w, &link, e);
    rs_arena_free(a);
    return st;
}

// ---- the stage

static rs_status start(rs_stage *s, const char *tool, rs_error *e)
{
    memset(s, 0, sizeof *s);
    s->tool = tool;
    s->arena = rs_arena_new();
    return s->arena == NULL ? rs_fail(e, RS_E_NOMEM, "stage") : RS_OK;
}

rs_status rs_stage_open(rs_stage *s, const char *tool, const char *input, rs_error *e)
{
    RS_TRY(start(s, tool, e));
    RS_TRY(rs_in_open(&s->in, input, e));
    return rs_reader_open(&s->reader, s->in, e);
}

rs_status rs_stage_open_mapped(rs_stage *s, const char *tool, const rs_mapped *m, rs_error *e)
{
    char path[64]; // by its descriptor, so that what is passed through does not count as memory in use, as pages of the mapping would
    snprintf(path, sizeof path, "/proc/self/fd/%d", rs_mapped_fd(m));
    RS_TRY(start(s, tool, e));
    RS_TRY(rs_in_open(&s->in, path, e));
    return rs_reader_open(&s->reader, s->in, e);
}

rs_status rs_stage_output(rs_stage *s, const char *output, rs_in *const *others, size_t n_others, rs_error *e)
{
    rs_in **inputs = calloc(n_others + 1, sizeof *inputs);
    if (inputs == NULL) return rs_fail(e, RS_E_NOMEM, "inputs");
    for (size_t i = 0; i < n_others; i++) inputs[i] = others[i]; // first, since a mapped input has its name there
    inputs[n_others] = s->in;
    rs_status st = rs_out_open(&s->out, output, inputs, n_others + 1, e);
    free(inputs);
    return st;
}

rs_status rs_stage_begin(rs_stage *s, const char *output, rs_in *const *others, size_t n_others, const rs_head *head, int argc, char *const *argv, const rs_value *params, rs_error *e)
{
    if (s->out == NULL) RS_TRY(rs_stage_output(s, output, others, n_others, e));
    RS_TRY(rs_writer_open(&s->writer, s->out, head, e));
    const uint8_t *meta;
    size_t len;
    for (size_t i = 0; (meta = rs_reader_prov_meta(s->reader, i, &len)) != NULL; i++) RS_TRY(rs_writer_prov_copy(s->writer, meta, len, e));
    return rs_stage_link(s->writer, s->tool, argc, argv, params, e);
}

unsigned rs_stage_step(const rs_stage *s)
{
    return rs_writer_steps(s->writer) - 1;
}

// The open payload of the reader into the open payload of the writer.
static rs_status pass(rs_stage *s, uint64_t n, rs_error *e)
{
    uint8_t *piece = malloc(n < PIECE ? (size_t)n + 1 : PIECE);
    if (piece == NULL) return rs_fail(e, RS_E_NOMEM, "copy");
    rs_status st = RS_OK;
    while (n > 0 && st == RS_OK) {
        size_t k = n < PIECE ? (size_t)n : PIECE;
        st = rs_reader_read(s->reader, piece, k, e);
        if (st == RS_OK) st = rs_writer_payload(s->writer, piece, k, e);
        n -= k;
    }
    free(piece);
    return st;
}

rs_status rs_stage_copy(rs_stage *s, const rs_frame *f, rs_error *e)
{
    RS_TRY(rs_writer_copy_begin(s->writer, f->tag, f->meta, f->meta_len, f->payload_len, e));
    RS_TRY(pass(s, f->payload_len, e));
    RS_TRY(rs_reader_finish_payload(s->reader, e)); // what is wrong on the way in is said before the frame is closed
    return rs_writer_copy_end(s->writer, e);
}

rs_status rs_stage_add_input(rs_stage *s, const rs_input_sum *sum, rs_error *e)
{
    return rs_writer_input(s->writer, rs_stage_step(s), sum, e);
}

rs_status rs_stage_finish(rs_stage *s, rs_error *e)
{
    size_t n;
    const rs_input_sum *in;
    rs_input_sum own = {.fmt = "rsq"};
    rs_reader_digest(s->reader, own.digest, NULL, &own.size);
    for (unsigned step = 0; (in = rs_reader_inputs(s->reader, step, &n)) != NULL; step++)
        for (size_t i = 0; i < n; i++) RS_TRY(rs_writer_input(s->writer, step, &in[i], e));
    RS_TRY(rs_stage_add_input(s, &own, e));
    RS_TRY(rs_writer_finish(s->writer, e));
    s->done = true;
    return RS_OK;
}

void rs_stage_close(rs_stage *s, const rs_error *e)
{
    if (!s->done && s->writer != NULL) rs_writer_abort(s->writer, e != NULL && e->status != RS_OK ? e->status : RS_E_INTERNAL, s->tool, e != NULL ? e->text : "");
    rs_writer_free(s->writer);
    rs_out_close(s->out);
    rs_reader_free(s->reader);
    rs_in_close(s->in);
    rs_arena_free(s->arena);
    memset(s, 0, sizeof *s);
}
