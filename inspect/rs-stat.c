// SPDX-License-Identifier: Apache-2.0
// rs-stat: measures the weights of a stream and, on a text, its activations, and writes the stream with the statistics in it.
#include <cblas.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/text.h"
#include "inspect/stat_cli.h"
#include "inspect/stat_stream.h"
#include "inspect/stat_text.h"
#include "kernels/threads.h"

struct run {
    rs_stat_cli *o;
    int argc;
    char **argv;
    rs_progress progress;
    rs_stage s;
    rs_mapped *model; // with a text
    rs_stat_walk *walk;
    rs_stat_work *work;
    rs_input_sum text_sum;
    rs_text_buffer buffer;
    rs_stat_text text;
};

static bool as_text(const struct run *r) { return r->o->csv || r->o->cli.json; }

static void on_bytes(void *context, double bytes)
{
    struct run *r = context;
    if (r->walk == NULL) rs_progress_at(&r->progress, bytes / 1e6);
}

static void on_tokens(void *context, double tokens)
{
    rs_progress_at(&((struct run *)context)->progress, tokens);
}

static void print_line(const struct run *r, const rs_stat_subject *s)
{
    if (r->progress.on) fputs("\r\033[K", stderr);
    fprintf(stderr, "rs-stat: %-44s %-6s max/rms %8.2f  kurtosis %9.3g", s->name, s->of, s->r->max / s->r->rms, s->r->kurt);
    if (s->r->sqnr[s->setting][0] == s->r->sqnr[s->setting][0]) fprintf(stderr, "  SQNR4 %6.2f dB", s->r->sqnr[s->setting][0]);
    if (s->r->massive > 0) fprintf(stderr, "  massive %" PRIu64, s->r->massive);
    if (s->r->bad > 0) fprintf(stderr, "  not finite %" PRIu64, s->r->bad);
    fprintf(stderr, "\n");
}

static rs_status on_measured(void *context, const rs_stat_subject *s, rs_error *e)
{
    struct run *r = context;
    if (as_text(r)) return rs_stat_text_row(&r->text, s, e);
    if (r->o->cli.verbose > 0) print_line(r, s);
    return RS_OK;
}

// What the provenance says beyond the arguments.
static const rs_value *params(const struct run *r, rs_arena *a)
{
    rs_value *map = rs_value_map(a);
    if (r->walk == NULL) return map;
    (void)rs_map_put(a, map, "samples", rs_value_uint(a, (uint64_t)r->o->samples));
    (void)rs_map_put(a, map, "ctx", rs_value_uint(a, (uint64_t)r->o->ctx));
    (void)rs_map_put(a, map, "skip", rs_value_uint(a, (uint64_t)r->o->skip));
    (void)rs_map_put(a, map, "blas", rs_value_str(a, openblas_get_corename()));
    (void)rs_map_put(a, map, "kernels", rs_value_str(a, r->o->k->name));
    return map;
}

static rs_status open_input(struct run *r, rs_error *e)
{
    if (r->o->text == NULL) return rs_stage_open(&r->s, "rs-stat", r->o->input, e);
    rs_mapped_guard();
    RS_TRY(rs_mapped_open(&r->model, r->o->input, e));
    if (rs_mapped_head(r->model)->kind != RS_KIND_WEIGHTS) return rs_fail(e, RS_USAGE, "--text: the stream holds rotations, not weights");
    return rs_stage_open_mapped(&r->s, "rs-stat", r->model, e);
}

static rs_status open_walk(struct run *r, rs_error *e)
{
    const rs_stat_cli *o = r->o;
    int32_t *ids = NULL;
    size_t count = 0;
    if (o->text == NULL) return RS_OK;
    RS_TRY(rs_text_ids(r->model, o->text, o->cli.threads, &ids, &count, &r->text_sum, e));
    const rs_calibration_text text = {.ids = ids, .count = count, .samples = (size_t)o->samples, .ctx = (size_t)o->ctx, .skip = (size_t)o->skip, .mem = o->cli.mem};
    rs_status st = rs_stat_walk_open(&r->walk, r->model, r->o->k, &text, r->work, on_tokens, r, e);
    free(ids);
    return st == RS_OK ? rs_mapped_check(r->model, e) : st;
}

static rs_status start_progress(struct run *r, rs_error *e)
{
    uint64_t total = 0;
    const double tokens = (double)r->o->samples * (double)r->o->ctx;
    if (rs_in_seekable(r->s.in)) RS_TRY(rs_in_size(r->s.in, &total, e));
    rs_progress_start(&r->progress, &r->o->cli, "measure", r->walk != NULL ? "tok" : "MB", r->walk != NULL ? tokens : (double)total / 1e6);
    return RS_OK;
}

// The statistics as text, to where they belong.
static rs_status print(struct run *r, rs_error *e)
{
    rs_in *const inputs[] = {r->model != NULL ? rs_mapped_in(r->model) : NULL, r->s.in}; // a mapped one has its name there
    const rs_text_buffer *b = &r->buffer;
    rs_out *out = NULL;
    rs_stat_text_end(&r->text);
    if (b->failed) return rs_fail(e, RS_E_NOMEM, "statistics as text");
    if (r->o->cli.output == NULL || strcmp(r->o->cli.output, "-") == 0) return fwrite(b->p, 1, b->len, stdout) == b->len ? RS_OK : rs_fail(e, RS_E_WRITE, "%s", strerror(errno));
    RS_TRY(rs_out_open(&out, r->o->cli.output, inputs, 2, e));
    rs_status st = rs_out_write(out, b->p, b->len, e);
    if (st == RS_OK) st = rs_out_commit(out, e);
    rs_out_close(out);
    return st;
}

static void print_rate(const struct run *r)
{
    if (r->walk == NULL || r->o->cli.verbose == 0) return;
    double tokens;
    const double seconds = rs_stat_walk_seconds(r->walk, &tokens);
    fprintf(stderr, "rs-stat: %.0f tokens, %.0f tokens/s\n", tokens, tokens / seconds);
}

static rs_status run(struct run *r, rs_error *e)
{
    rs_in *const others[] = {r->model != NULL ? rs_mapped_in(r->model) : NULL};
    const rs_stat_stream_options options = {.walk = r->walk, .work = r->work, .sink = on_measured, .context = r, .progress = on_bytes};
    r->text = (rs_stat_text){.b = &r->buffer, .csv = r->o->csv, .channels = r->o->cli.verbose > 0};
    if (as_text(r)) rs_stat_text_begin(&r->text);
    else RS_TRY(rs_stage_begin(&r->s, r->o->cli.output, others, 1, rs_reader_head(r->s.reader), r->argc, r->argv, params(r, r->s.arena), e));
    if (!as_text(r) && r->walk != NULL) RS_TRY(rs_stage_add_input(&r->s, &r->text_sum, e));
    RS_TRY(start_progress(r, e));
    rs_status st = rs_stat_stream(&r->s, &options, e);
    rs_progress_end(&r->progress);
    if (st == RS_OK && r->model != NULL) st = rs_mapped_check(r->model, e);
    if (st == RS_OK) print_rate(r);
    if (st != RS_OK || !as_text(r)) return st == RS_OK ? rs_stage_finish(&r->s, e) : st;
    return print(r, e);
}

int main(int argc, char **argv)
{
    rs_stat_cli o;
    struct run r = {.o = &o, .argc = argc, .argv = argv};
    rs_error e = {0};
    const char *file = NULL;
    rs_cli_start();
    rs_status st = rs_stat_cli_parse(&o, argc, argv, &e);
    if (st == RS_OK) {
        file = o.input != NULL ? o.input : "-";
        rs_threads_set(o.cli.threads);
        st = open_input(&r, &e);
        rs_in *const others[] = {r.model != NULL ? rs_mapped_in(r.model) : NULL};
        if (st == RS_OK && !as_text(&r)) st = rs_stage_output(&r.s, o.cli.output, others, 1, &e);
        if (st == RS_OK) st = rs_stat_work_new(&r.work, &e);
        if (st == RS_OK) st = open_walk(&r, &e);
        if (st == RS_OK) st = run(&r, &e);
        if (st == RS_E_WRITE) file = rs_cli_output(&o.cli);
        rs_stage_close(&r.s, &e);
        rs_stat_walk_close(r.walk);
        rs_mapped_close(r.model);
        rs_stat_work_free(r.work);
        free(r.buffer.p);
    }
    return rs_cli_exit(&o.cli, st, file, &e);
}
