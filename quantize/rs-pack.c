// SPDX-License-Identifier: Apache-2.0
// rs-pack: packs the weights of a stream to few bits, by themselves or by GPTQ, and records how activations and the KV cache are to be quantised.
#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "formats/text.h"
#include "kernels/threads.h"
#include "quantize/pack_cli.h"
#include "quantize/pack_list.h"

struct report {
    const rs_cli *cli;
    rs_progress progress;
};

// What packing a matrix cost, without the end of the line.
static void print_cost(const rs_tensor *t, const rs_pack_error *cost)
{
    fprintf(stderr, "rs-pack: %-44s %s  SQNR %6.2f dB  ends %.3f %%", t->name, rs_enc_name(t->enc), cost->error > 0 ? 10 * log10(cost->signal / cost->error) : INFINITY,
            cost->weights > 0 ? 100.0 * (double)cost->clipped / (double)cost->weights : 0);
}

static void on_packed(void *context, const rs_tensor *t, const rs_pack_error *cost)
{
    struct report *r = context;
    if (r->cli->verbose == 0) return;
    print_cost(t, cost);
    fprintf(stderr, "\n");
}

static void on_progress(void *context, double bytes)
{
    rs_progress_at(&((struct report *)context)->progress, bytes / 1e6);
}

static void on_gptq(void *context, const rs_tensor *t, const rs_gptq_report *g)
{
    struct report *r = context;
    if (r->cli->verbose == 0) return;
    print_cost(t, &g->cost);
    if (g->gptq) fprintf(stderr, "  output error %.4g", g->output_error);
    if (g->gptq && g->raised > 0) fprintf(stderr, "  damp %g", g->damp);
    fprintf(stderr, "\n");
}

static void on_layer(void *context, double layers)
{
    rs_progress_at(&((struct report *)context)->progress, layers);
}

static rs_value *params(rs_arena *a, const rs_pack_cli *options, const rs_gptq_model *g)
{
    const rs_pack_options *o = &options->pack;
    rs_value *p = rs_value_map(a);
    if (o->scheme.peer != RS_PEER_NONE) rs_map_put(a, p, "compat", rs_value_str(a, rs_compat_of(o->scheme.peer)->name));
    rs_map_put(a, p, "w_bits", rs_value_uint(a, (uint64_t)o->scheme.w_bits));
    rs_map_put(a, p, "w_group", rs_value_uint(a, o->scheme.group));
    rs_map_put(a, p, "w_clip", rs_value_str(a, o->scheme.clip_steps > 20 ? "mse80" : o->scheme.clip_steps > 1 ? "mse20" : "none"));
    rs_map_put(a, p, "w_method", rs_value_str(a, g != NULL ? "gptq" : "rtn"));
    rs_map_put(a, p, "scale", rs_value_str(a, rs_dtype_name(o->scheme.scale_dtype)));
    rs_map_put(a, p, "rest", rs_value_str(a, o->scheme.rest_keep ? "keep" : rs_dtype_name(o->scheme.rest)));
    if (o->scheme.head_bits != 0) rs_map_put(a, p, "head_bits", rs_value_uint(a, (uint64_t)o->scheme.head_bits));
    if (o->recipe != NULL && o->recipe->text != NULL) rs_map_put(a, p, "recipe", rs_value_str(a, o->recipe->text));
    if (g == NULL) return p;
    double damp;
    unsigned raised = rs_gptq_model_raised(g, &damp);
    rs_map_put(a, p, "samples", rs_value_uint(a, (uint64_t)options->samples));
    rs_map_put(a, p, "ctx", rs_value_uint(a, (uint64_t)options->ctx));
    rs_map_put(a, p, "skip", rs_value_uint(a, (uint64_t)options->skip));
    rs_map_put(a, p, "damp", rs_value_f64(a, options->by.gptq.damp));
    rs_map_put(a, p, "damp_raised", rs_value_uint(a, raised)); // Hessians that needed a larger one, and the largest
    if (raised > 0) rs_map_put(a, p, "damp_largest", rs_value_f64(a, damp));
    rs_map_put(a, p, "block", rs_value_uint(a, options->by.gptq.block));
    rs_map_put(a, p, "act_order", rs_value_bool(a, options->by.gptq.act_order));
    rs_map_put(a, p, "one_pass", rs_value_bool(a, options->by.one_pass));
    rs_map_put(a, p, "blas", rs_value_str(a, openblas_get_corename()));
    rs_map_put(a, p, "kernels", rs_value_str(a, rs_kernels_cpu()->name));
    return p;
}

// Everything that GPTQ needs before the stream can be written.
struct gptq {
    rs_mapped *m;
    rs_gptq_model *model;
    rs_input_sum text;
};

static rs_status calibrate(const rs_cli *cli, rs_pack_cli *o, struct report *report, struct gptq *g, rs_error *e)
{
    int32_t *ids = NULL;
    size_t count = 0, len;
    rs_config c;
    const uint8_t *json = rs_mapped_file(g->m, "config.json", &len);
    if (json != NULL) {
        RS_TRY(rs_config_parse(&c, json, len, e));
        RS_TRY(rs_pack_check(&c, &o->pack, e));
    }
    RS_TRY(rs_text_ids(g->m, o->text, cli->threads, &ids, &count, &g->text, e));
    rs_calibration_text text = {.ids = ids, .count = count, .samples = (size_t)o->samples, .ctx = (size_t)o->ctx, .skip = (size_t)o->skip};
    o->by.scheme = o->pack.scheme;
    o->by.recipe = o->pack.recipe;
    o->by.tensor = on_gptq;
    o->by.progress = on_layer;
    o->by.context = report;
    rs_progress_start(&report->progress, cli, "GPTQ", "layer", (double)rs_mapped_head(g->m)->layers);
    rs_status st = rs_gptq_model_run(&g->model, g->m, &text, &o->by, e);
    rs_progress_end(&report->progress);
    free(ids);
    o->pack.payload = rs_gptq_model_payload;
    o->pack.source = g->model;
    return st == RS_OK ? rs_mapped_check(g->m, e) : st;
}

static rs_status dry_run(const rs_cli *cli, const rs_pack_cli *o, rs_error *e)
{
    rs_stage s = {0};
    rs_text_buffer b = {0};
    rs_status st = rs_stage_open(&s, "rs-pack", o->input, e);
    if (st == RS_OK) st = rs_pack_list(&s, &o->pack, cli->json, &b, e);
    rs_stage_close(&s, e);
    if (st == RS_OK && fwrite(b.p, 1, b.len, stdout) != b.len) st = rs_fail(e, RS_E_WRITE, "standard output");
    free(b.p);
    return st;
}

static rs_status run(const rs_cli *cli, rs_pack_cli *o, const rs_input_sum *recipe, int argc, char **argv, rs_error *e)
{
    struct report report = {.cli = cli};
    rs_stage s = {0};
    rs_prelude *ahead = NULL;
    rs_head head;
    struct gptq g = {0};
    uint64_t total = 0;
    const bool gptq = o->pack.scheme.gptq;
    o->pack.packed = on_packed;
    o->pack.progress = on_progress;
    o->pack.context = &report;
    rs_status st = RS_OK;
    if (gptq) {
        rs_mapped_guard();
        st = rs_mapped_open(&g.m, o->input, e);
        if (st == RS_OK) st = rs_stage_open_mapped(&s, "rs-pack", g.m, e);
    } else st = rs_stage_open(&s, "rs-pack", o->input, e);
    rs_in *other = g.m != NULL ? rs_mapped_in(g.m) : NULL;
    if (st == RS_OK) st = rs_pack_ahead(&o->pack, s.reader, &ahead, e);
    if (st == RS_OK) st = rs_pack_head(rs_reader_head(s.reader), &o->pack, &head, s.arena, e);
    if (st == RS_OK) st = rs_stage_output(&s, cli->output, &other, 1, e);
    if (st == RS_OK && gptq) st = calibrate(cli, o, &report, &g, e);
    if (st == RS_OK) st = rs_stage_begin(&s, NULL, NULL, 0, &head, argc, argv, params(s.arena, o, g.model), e);
    if (st == RS_OK && o->pack.recipe != NULL) st = rs_stage_add_input(&s, recipe, e);
    if (st == RS_OK && gptq) st = rs_stage_add_input(&s, &g.text, e);
    if (st == RS_OK && rs_in_seekable(s.in)) st = rs_in_size(s.in, &total, e);
    rs_progress_start(&report.progress, cli, "pack", "MB", (double)total / 1e6);
    if (st == RS_OK && ahead != NULL) st = rs_prelude_write(ahead, s.writer, false, e);
    if (st == RS_OK) st = rs_pack_stream(&s, &o->pack, e);
    rs_progress_end(&report.progress);
    if (st == RS_OK && g.m != NULL) st = rs_mapped_check(g.m, e);
    if (st == RS_OK) st = rs_stage_finish(&s, e);
    rs_prelude_free(ahead);
    rs_stage_close(&s, e);
    rs_gptq_model_close(g.model);
    rs_mapped_close(g.m);
    return st;
}

int main(int argc, char **argv)
{
    rs_pack_cli o;
    rs_error e = {0};
    rs_input_sum sum;
    rs_recipe *recipe = NULL;
    const char *file = NULL;
    rs_cli_start();
    rs_status st = rs_pack_cli_parse(&o, argc, argv, &e);
    if (st == RS_OK && o.recipe != NULL) st = rs_recipe_read(&recipe, file = o.recipe, &sum, &e);
    if (st == RS_OK) {
        file = o.input != NULL ? o.input : "-";
        o.pack.recipe = recipe;
        rs_threads_set(o.cli.threads);
        st = o.dry_run ? dry_run(&o.cli, &o, &e) : run(&o.cli, &o, &sum, argc, argv, &e);
        if (st == RS_E_WRITE) file = o.dry_run ? "standard output" : rs_cli_output(&o.cli);
    }
    rs_recipe_free(recipe);
    return rs_cli_exit(&o.cli, st, file, &e);
}
