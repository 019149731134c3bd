// SPDX-License-Identifier: Apache-2.0
// rs-pack: packs the weights of a stream to few bits, by themselves or by GPTQ, and records how activations and the KV cache are to be quantised.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/interrupt.h"
#include "formats/text.h"
#include "kernels/threads.h"
#include "quantize/gptq_file.h"
#include "quantize/pack_cli.h"
#include "quantize/pack_list.h"
#include "quantize/pack_params.h"

struct run {
    rs_pack_cli *o;
    rs_progress progress;
    const char *file; // that an error is about
    // of GPTQ
    rs_mapped *model, *checkpoint;
    rs_gptq_model *gptq;
    rs_gptq_origin origin;
    char checkpoint_name[4096]; // "": none
};

// ---- what is said

// What packing a matrix cost, without the end of the line.
static void print_cost(const struct run *r, const rs_tensor *t, const rs_pack_error *cost)
{
    if (r->progress.on) fputs("\r\033[K", stderr);
    fprintf(stderr, "rs-pack: %-44s %s  SQNR %6.2f dB  ends %.3f %%", t->name, rs_enc_name(t->enc), cost->error > 0 ? 10 * log10(cost->signal / cost->error) : INFINITY,
            cost->weights > 0 ? 100.0 * (double)cost->clipped / (double)cost->weights : 0);
}

static void on_packed(void *context, const rs_tensor *t, const rs_pack_error *cost)
{
    struct run *r = context;
    if (r->o->cli.verbose == 0) return;
    print_cost(r, t, cost);
    fprintf(stderr, "\n");
}

static void on_progress(void *context, double bytes)
{
    struct run *r = context;
    if (r->gptq == NULL) rs_progress_at(&r->progress, bytes / 1e6);
}

static void on_gptq(void *context, const rs_tensor *t, const rs_gptq_report *g)
{
    struct run *r = context;
    if (r->o->cli.verbose == 0) return;
    print_cost(r, t, &g->cost);
    if (g->gptq) fprintf(stderr, "  output error %.4g", g->output_error);
    if (g->gptq && g->raised > 0) fprintf(stderr, "  damp %g", g->damp);
    fprintf(stderr, "\n");
}

static void on_layer(void *context, uint64_t layer, double output_error)
{
    struct run *r = context;
    if (r->o->cli.verbose == 0) return;
    if (r->progress.on) fputs("\r\033[K", stderr);
    fprintf(stderr, "rs-pack: layer %llu of %llu: output error %.4g\n", (unsigned long long)layer + 1, (unsigned long long)rs_mapped_head(r->model)->layers, output_error);
}

static void on_layers(void *context, double layers)
{
    rs_progress_at(&((struct run *)context)->progress, layers);
}

// ---- GPTQ

static rs_status save(void *context, rs_error *e)
{
    struct run *r = context;
    rs_out *out = NULL;
    const char *file = r->file;
    r->file = r->checkpoint_name;
    rs_status st = rs_out_open(&out, r->checkpoint_name, (rs_in *const[]){rs_mapped_in(r->model)}, 1, e);
    if (st == RS_OK) st = rs_gptq_checkpoint(r->gptq, &r->origin, out, e);
    rs_out_close(out);
    if (st == RS_OK) r->file = file;
    return st;
}

// The signal has done its work: this save is not to be stopped.
static rs_status interrupted(struct run *r, rs_error *e)
{
    RS_TRY(save(r, e));
    if (!r->o->cli.quiet)
        fprintf(stderr, "rs-pack: interrupted after %g of %llu layers; --resume goes on from %s\n", (double)rs_gptq_model_done(r->gptq) / 2, (unsigned long long)rs_mapped_head(r->model)->layers, r->checkpoint_name);
    return rs_fail(e, RS_NO, "interrupted");
}

// Names the checkpoint, and opens it where the work goes on from one.
static rs_status checkpoint(struct run *r, rs_error *e)
{
    const rs_pack_cli *o = r->o;
    if (o->checkpoint != NULL) snprintf(r->checkpoint_name, sizeof r->checkpoint_name, "%s", o->checkpoint);
    else if (o->cli.output != NULL && strcmp(o->cli.output, "-") != 0) snprintf(r->checkpoint_name, sizeof r->checkpoint_name, "%s.ckpt", o->cli.output);
    if (!o->resume) return RS_OK;
    const char *file = r->file;
    r->file = r->checkpoint_name;
    RS_TRY(rs_mapped_open(&r->checkpoint, r->checkpoint_name, e));
    r->file = file;
    return RS_OK;
}

// Everything that GPTQ needs before the stream can be written.
static rs_status calibrate(struct run *r, rs_error *e)
{
    rs_pack_cli *o = r->o;
    int32_t *ids = NULL;
    size_t count = 0, len;
    rs_config c;
    const uint8_t *json = rs_mapped_file(r->model, "config.json", &len);
    if (json != NULL) {
        RS_TRY(rs_config_parse(&c, json, len, e));
        RS_TRY(rs_pack_check(&c, &o->pack, e));
    }
    RS_TRY(rs_text_ids(r->model, o->text, o->cli.threads, &ids, &count, &r->origin.text_sum, e));
    const rs_calibration_text text = {.ids = ids, .count = count, .samples = (size_t)o->samples, .ctx = (size_t)o->ctx, .skip = (size_t)o->skip, .mem = o->cli.mem};
    const bool keep = r->checkpoint_name[0] != 0;
    o->by.scheme = o->pack.scheme;
    o->by.recipe = o->pack.recipe;
    o->by.keep = keep;
    o->by.tensor = on_gptq;
    o->by.layer = on_layer;
    o->by.progress = on_layers;
    o->by.stop = rs_interrupt_stop;
    o->by.save = save;
    o->by.context = r;
    r->origin.model = r->model;
    r->origin.skip = (uint64_t)o->skip;
    strcpy(r->origin.model_sum.fmt, "rsq");
    rs_mapped_digest(r->model, r->origin.model_sum.digest, NULL, &r->origin.model_sum.size);
    rs_status st = rs_gptq_model_open(&r->gptq, r->model, &text, &o->by, e);
    free(ids);
    if (st == RS_OK && r->checkpoint != NULL) {
        st = rs_gptq_resume(r->gptq, &r->origin, r->checkpoint, e);
        if (st != RS_OK && st != RS_E_WRITE) r->file = r->checkpoint_name;
        rs_mapped_close(r->checkpoint);
        r->checkpoint = NULL;
    }
    o->pack.payload = rs_gptq_model_payload;
    o->pack.values = rs_gptq_model_values;
    o->pack.source = r->gptq;
    if (keep) rs_interrupt_catch();
    return st == RS_OK ? rs_mapped_check(r->model, e) : st;
}

// ---- the run

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

static rs_status run(struct run *r, rs_error *e)
{
    rs_pack_cli *o = r->o;
    rs_stage s = {0};
    rs_prelude *ahead = NULL;
    rs_head head;
    uint64_t total = 0;
    const bool gptq = o->pack.scheme.gptq;
    o->pack.packed = on_packed;
    o->pack.progress = on_progress;
    o->pack.context = r;
    rs_status st = RS_OK;
    if (gptq) {
        rs_mapped_guard();
        st = rs_mapped_open(&r->model, o->input, e);
        if (st == RS_OK) st = rs_stage_open_mapped(&s, "rs-pack", r->model, e);
        if (st == RS_OK) st = checkpoint(r, e);
    } else st = rs_stage_open(&s, "rs-pack", o->input, e);
    rs_in *const others[] = {r->model != NULL ? rs_mapped_in(r->model) : NULL, r->checkpoint != NULL ? rs_mapped_in(r->checkpoint) : NULL};
    if (st == RS_OK) st = rs_pack_ahead(&o->pack, s.reader, &ahead, e);
    if (st == RS_OK) st = rs_pack_head(rs_reader_head(s.reader), &o->pack, &head, s.arena, e);
    if (st == RS_OK) st = rs_stage_output(&s, o->cli.output, others, 2, e);
    if (st == RS_OK && gptq) st = calibrate(r, e);
    if (st == RS_OK) st = rs_stage_begin(&s, NULL, NULL, 0, &head, r->origin.argc, r->origin.argv, rs_pack_params(s.arena, o), e);
    if (st == RS_OK && o->pack.recipe != NULL) st = rs_stage_add_input(&s, &r->origin.recipe_sum, e);
    if (st == RS_OK && gptq) st = rs_stage_add_input(&s, &r->origin.text_sum, e);
    if (st == RS_OK && rs_in_seekable(s.in)) st = rs_in_size(s.in, &total, e);
    rs_progress_start(&r->progress, &o->cli, gptq ? "GPTQ" : "pack", gptq ? "layer" : "MB", gptq && r->model != NULL ? (double)rs_mapped_head(r->model)->layers : (double)total / 1e6);
    if (r->gptq != NULL) r->progress.from = (double)rs_gptq_model_done(r->gptq) / 2;
    if (st == RS_OK && ahead != NULL) st = rs_prelude_write(ahead, s.writer, false, e);
    if (st == RS_OK) st = rs_pack_stream(&s, &o->pack, e);
    if (st == RS_OK && r->gptq != NULL && rs_interrupt_stop(NULL)) st = RS_NO; // all is made, but not written to its end
    rs_progress_end(&r->progress);
    if (st == RS_NO) st = interrupted(r, e);
    if (st == RS_OK && r->model != NULL) st = rs_mapped_check(r->model, e);
    if (st == RS_OK) st = rs_stage_finish(&s, e);
    rs_prelude_free(ahead);
    rs_stage_close(&s, e);
    rs_gptq_model_close(r->gptq);
    rs_mapped_close(r->checkpoint);
    rs_mapped_close(r->model);
    return st;
}

int main(int argc, char **argv)
{
    rs_pack_cli o;
    struct run r = {.o = &o, .origin = {.argc = argc, .argv = argv}};
    rs_error e = {0};
    rs_recipe *recipe = NULL;
    rs_cli_start();
    rs_status st = rs_pack_cli_parse(&o, argc, argv, &e);
    if (st == RS_OK && o.recipe != NULL) st = rs_recipe_read(&recipe, r.file = o.recipe, &r.origin.recipe_sum, &e);
    if (st == RS_OK) {
        const char *input = r.file = o.input != NULL ? o.input : "-";
        o.pack.recipe = recipe;
        rs_threads_set(o.cli.threads);
        st = o.dry_run ? dry_run(&o.cli, &o, &e) : run(&r, &e);
        if (st == RS_E_WRITE && r.file == input) r.file = o.dry_run ? "standard output" : rs_cli_output(&o.cli);
    }
    rs_recipe_free(recipe);
    if (st == RS_NO && rs_interrupt_number() != 0) return 128 + rs_interrupt_number();
    return rs_cli_exit(&o.cli, st, r.file, &e);
}
