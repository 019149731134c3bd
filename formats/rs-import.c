// SPDX-License-Identifier: Apache-2.0
// rs-import: turns a Llama in safetensors or GGUF into an RSQ stream.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/cli.h"
#include "formats/import.h"
#include "formats/stage.h"
#include "formats/text_buffer.h"

#define DRY_RUN_CTX 1024u

static const char usage_text[] =
    "usage: rs-import [options] [MODEL]\n"
    "Turns a Llama into an RSQ stream. MODEL: a directory as transformers writes it, a .safetensors or a .gguf file; default standard input.\n"
    "  -o, --output FILE     write FILE, whole or not at all; default standard output\n"
    "      --config FILE     config.json of a safetensors model; default beside the model\n"
    "      --tokenizer FILE  tokenizer.json; default beside the model, or from GGUF metadata\n"
    "      --no-tokenizer    leave the tokenizer out\n"
    "      --lenient RULE    switch off one rule (may be repeated): st-meta-dup st-extra-key name-escape gguf-pad gguf-tail\n"
    "      --dry-run         list what would be written and the memory that later stages need; write nothing\n"
    "      --json            the list as JSON\n"
    "  -j, --threads N       with more than 1 the digest of the source is computed beside the copying\n"
    "  -q, --quiet  -v, --verbose  --version  --help\n";

struct options {
    rs_cli cli;
    rs_source_options source;
    const char *path;
    bool dry_run;
    bool writing; // from here on E_WRITE is about the output
};

enum { OPT_CONFIG = 1, OPT_TOKENIZER, OPT_NO_TOKENIZER, OPT_LENIENT, OPT_DRY_RUN };

static const rs_option own_options[] = {
    {"config", 0, true, OPT_CONFIG}, {"tokenizer", 0, true, OPT_TOKENIZER}, {"no-tokenizer", 0, false, OPT_NO_TOKENIZER}, {"lenient", 0, true, OPT_LENIENT}, {"dry-run", 0, false, OPT_DRY_RUN},
};

static rs_status parse_option(void *context, int id, const char *value, rs_error *e)
{
    struct options *o = context;
    switch (id) {
    case 0:
        if (o->path != NULL) return rs_fail(e, RS_USAGE, "more than one model: %s", value);
        o->path = value;
        return RS_OK;
    case OPT_CONFIG: o->source.config = value; return RS_OK;
    case OPT_TOKENIZER: o->source.tokenizer = value; return RS_OK;
    case OPT_NO_TOKENIZER: o->source.no_tokenizer = true; return RS_OK;
    case OPT_DRY_RUN: o->dry_run = true; return RS_OK;
    case OPT_LENIENT: return rs_import_lenient(value, &o->source.lenient, e);
    default: return rs_fail(e, RS_E_INTERNAL, "option %d", id);
    }
}

static rs_status parse(struct options *o, int argc, char **argv, rs_error *e)
{
    RS_TRY(rs_cli_parse(&o->cli, "rs-import", usage_text, own_options, sizeof own_options / sizeof *own_options, argc, argv, parse_option, o, e));
    if (o->path == NULL) o->path = "-";
    if (o->cli.json && !o->dry_run) return rs_fail(e, RS_USAGE, "--json goes with --dry-run");
    if (o->source.no_tokenizer && o->source.tokenizer != NULL) return rs_fail(e, RS_USAGE, "--no-tokenizer and --tokenizer exclude each other");
    return RS_OK;
}

static void print_shape(rs_text_buffer *b, const rs_tensor *t, const char *between)
{
    for (int i = 0; i < t->n_dims; i++) rs_text_buffer_print(b, "%s%" PRIu64, i == 0 ? "" : between, t->shape[i]);
}

static void print_row(rs_text_buffer *b, const rs_tensor *t, const char *type, bool json, bool first)
{
    if (json) {
        rs_text_buffer_print(b, "%s\n    {\"name\": ", first ? "" : ",");
        rs_text_buffer_json(b, t->name, strlen(t->name));
        rs_text_buffer_print(b, ", \"role\": \"%s\", \"layer\": %" PRId64 ", \"shape\": [", rs_role_name(t->role), t->layer);
        print_shape(b, t, ", ");
        rs_text_buffer_print(b, "], \"source_type\": \"%s\", \"dtype\": \"%s\", \"bytes\": %" PRIu64 "}", type, rs_dtype_name(t->dtype), t->payload_len);
        return;
    }
    rs_text_buffer dims = {0};
    print_shape(&dims, t, "x");
    rs_text_buffer_print(b, "%-48s %-6s %-14.*s %-5s %-5s %12" PRIu64 "\n", t->name, rs_role_name(t->role), (int)dims.len, dims.p, type, rs_dtype_name(t->dtype), t->payload_len);
    free(dims.p);
}

static uint64_t mebibytes(uint64_t bytes)
{
    return (bytes >> 20) + ((bytes & 0xfffff) != 0);
}

static rs_status list(const struct options *o, const rs_import *m, rs_error *e)
{
    rs_text_buffer b = {0};
    uint64_t bytes = 0, stage = rs_import_stage_memory(m), eval = rs_import_eval_memory(m, DRY_RUN_CTX);
    bool json = o->cli.json;
    if (json) {
        rs_text_buffer_print(&b, "{\n  \"model\": ");
        rs_text_buffer_json(&b, m->source.model, strlen(m->source.model));
        rs_text_buffer_print(&b, ",\n  \"arch\": \"%s\",\n  \"source\": \"%s\",\n  \"tensors\": [", m->config.arch, m->source.gguf ? "gguf" : "safetensors");
    }
    for (uint64_t i = 0; i < rs_import_count(m); i++) {
        rs_tensor t;
        RS_TRY(rs_import_tensor(m, i, &t, e));
        print_row(&b, &t, m->place[i]->type, json, i == 0);
        bytes += t.payload_len; // each a payload of at most 2^40, at most 2^20 of them
    }
    if (json)
        rs_text_buffer_print(&b, "\n  ],\n  \"total_tensors\": %" PRIu64 ",\n  \"total_bytes\": %" PRIu64 ",\n  \"memory\": {\"fuse\": %" PRIu64 ", \"residual\": %" PRIu64 ", \"pack\": %" PRIu64 ", \"eval\": %" PRIu64 ", \"eval_ctx\": %u}\n}\n",
                             rs_import_count(m), bytes, stage, stage, stage, eval, DRY_RUN_CTX);
    else
        rs_text_buffer_print(&b, "%s: %" PRIu64 " tensors, %" PRIu64 " bytes\nmemory: rs-fuse, rs-residual, rs-pack %" PRIu64 " MiB; rs-eval --ctx %u %" PRIu64 " MiB\n", m->source.model, rs_import_count(m), bytes,
                             mebibytes(stage), DRY_RUN_CTX, mebibytes(eval));
    rs_status s = b.failed ? rs_fail(e, RS_E_NOMEM, "no memory for the list") : RS_OK;
    if (s == RS_OK && fwrite(b.p, 1, b.len, stdout) != b.len) s = rs_fail(e, RS_E_WRITE, "standard output");
    free(b.p);
    return s;
}

static void progress(void *context, double bytes)
{
    rs_progress_at(context, bytes / (1 << 20));
}

static rs_status write_frames(const struct options *o, const rs_import *m, rs_writer *w, int argc, char **argv, rs_error *e)
{
    rs_arena *arena = rs_arena_new();
    rs_value *params = arena == NULL ? NULL : rs_import_params(m, arena);
    rs_status status = params == NULL ? rs_fail(e, RS_E_NOMEM, "no memory for parameters") : rs_stage_link(w, o->cli.tool, argc, argv, params, e);
    rs_arena_free(arena);
    RS_TRY(status);
    rs_progress p;
    rs_progress_start(&p, &o->cli, "importing", "MiB", (double)rs_import_bytes(m) / (1 << 20));
    status = rs_import_write(m, w, o->cli.threads, progress, &p, e);
    rs_progress_end(&p);
    RS_TRY(status);
    return rs_writer_finish(w, e);
}

static rs_status write_stream(const struct options *o, const rs_import *m, int argc, char **argv, rs_error *e)
{
    rs_out *out = NULL;
    rs_writer *w = NULL;
    rs_head head = rs_import_head(m);
    size_t n = m->source.n_files;
    rs_in **inputs = calloc(n + RS_TEXT_COUNT + 1, sizeof *inputs);
    rs_status status = inputs == NULL ? rs_fail(e, RS_E_NOMEM, "no memory for the inputs") : RS_OK;
    for (size_t i = 0; status == RS_OK && i < n; i++) inputs[i] = m->source.file[i].in;
    for (int i = 0; status == RS_OK && i <= RS_TEXT_COUNT; i++) inputs[n++] = i < RS_TEXT_COUNT ? m->source.text[i].in : m->source.index.in;
    if (status == RS_OK) status = rs_out_open(&out, o->cli.output, inputs, n, e);
    if (status == RS_OK) status = rs_writer_open(&w, out, &head, e);
    if (status == RS_OK) status = write_frames(o, m, w, argc, argv, e);
    if (status != RS_OK && w != NULL) rs_writer_abort(w, status, o->cli.tool, e->text);
    rs_writer_free(w);
    rs_out_close(out);
    free(inputs);
    return status;
}

static rs_status run(struct options *o, int argc, char **argv, rs_error *e)
{
    rs_import m;
    RS_TRY(rs_import_open(&m, o->path, &o->source, e));
    for (size_t i = 0; i < m.n_notes && o->cli.verbose > 0; i++) fprintf(stderr, "rs-import: %s: %s\n", o->path, m.note[i]);
    o->writing = true;
    rs_status status = o->dry_run ? list(o, &m, e) : write_stream(o, &m, argc, argv, e);
    rs_import_close(&m);
    return status;
}

int main(int argc, char **argv)
{
    rs_cli_start();
    struct options o = {0};
    rs_error e = {0};
    rs_status status = parse(&o, argc, argv, &e);
    bool parsed = status == RS_OK;
    if (parsed) status = run(&o, argc, argv, &e);
    const char *file = status == RS_E_WRITE && o.writing ? rs_cli_output(&o.cli) : o.path;
    return rs_cli_exit(&o.cli, status, parsed ? file : NULL, &e);
}
