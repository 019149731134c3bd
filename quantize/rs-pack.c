// SPDX-License-Identifier: Apache-2.0
// rs-pack: packs the weights of a stream to few bits, by themselves or by GPTQ, and records how activations and the KV cache are to be quantised.
#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/cli.h"
#include "formats/text.h"
#include "kernels/threads.h"
#include "quantize/gptq_model.h"
#include "quantize/pack.h"

static const char usage_text[] =
    "usage: rs-pack [options] [INPUT.rsq] [-o OUTPUT.rsq]\n"
    "Packs q k v o gate up down to integer codes (round to nearest or GPTQ, scales by the MSE clip grid) and records the activation and KV policy.\n"
    "\n"
    "      --w-bits N     bits of a weight, 2..8, or 16 = leave weights alone (default 4)\n"
    "      --group N      columns that share a scale (default 0: one scale per row)\n"
    "      --scale TYPE   type of the scales, f32 or f16 (default f32)\n"
    "      --clip MODE    mse = best of 80 clip ratios by error^2.4, none = max / (2^(b-1) - 1) (default mse)\n"
    "      --rest TYPE    type of embedding and LM head: f16, bf16, f32 or keep (default f16; keep with --w-bits 16)\n"
    "      --a-bits N     bits of activations, 2..8, or 16 = not quantised (default 16)\n"
    "      --a-group N    values that share a scale (default 0: one scale per token)\n"
    "      --a-clip X     clip ratio in (0, 1] (default 1)\n"
    "      --a-sym        symmetric instead of asymmetric\n"
    "      --kv-bits N, --kv-group N, --kv-clip X, --kv-sym   the same for the KV cache (per token and head)\n"
    "\n"
    "      --gptq         round by GPTQ on the text of --text; the input is mapped, standard input is spooled to a temporary file first\n"
    "      --text FILE    calibration text (UTF-8), read with the tokenizer of the model\n"
    "      --samples N, --ctx N, --skip N   N sequences of --ctx tokens after the first --skip tokens (default 128, 2048, 0)\n"
    "      --damp X       of the mean of the Hessian's diagonal, added to it (default 0.01)\n"
    "      --block N      columns finished before the rest hears of them (default 128)\n"
    "      --act-order    columns by falling diagonal of the Hessian\n"
    "      --one-pass     all Hessians of a layer before any of it is quantised; by default q k v, o, gate up, down each see the ones before quantised\n"
    "\n"
    "  -o, --output FILE  output, written atomically (default: standard output)\n"
    "  -v, --verbose      a line per tensor: SQNR, codes at the ends of the grid; with --gptq the mean squared error of an output\n"
    "  -j, --threads N    threads; the bytes written do not depend on it\n"
    "  -q, --quiet        no progress line\n"
    "      --help, --version\n";

enum { OPT_W_BITS = 1, OPT_GROUP, OPT_SCALE, OPT_CLIP, OPT_REST, OPT_A_BITS, OPT_A_GROUP, OPT_A_CLIP, OPT_A_SYM, OPT_KV_BITS, OPT_KV_GROUP, OPT_KV_CLIP, OPT_KV_SYM,
       OPT_GPTQ, OPT_TEXT, OPT_SAMPLES, OPT_CTX, OPT_SKIP, OPT_DAMP, OPT_BLOCK, OPT_ACT_ORDER, OPT_ONE_PASS };

static const rs_option option_list[] = {
    {"w-bits", 0, true, OPT_W_BITS},   {"group", 0, true, OPT_GROUP},       {"scale", 0, true, OPT_SCALE},     {"clip", 0, true, OPT_CLIP},     {"rest", 0, true, OPT_REST},
    {"a-bits", 0, true, OPT_A_BITS},   {"a-group", 0, true, OPT_A_GROUP},   {"a-clip", 0, true, OPT_A_CLIP},   {"a-sym", 0, false, OPT_A_SYM},
    {"kv-bits", 0, true, OPT_KV_BITS}, {"kv-group", 0, true, OPT_KV_GROUP}, {"kv-clip", 0, true, OPT_KV_CLIP}, {"kv-sym", 0, false, OPT_KV_SYM},
    {"gptq", 0, false, OPT_GPTQ},      {"text", 0, true, OPT_TEXT},         {"samples", 0, true, OPT_SAMPLES}, {"ctx", 0, true, OPT_CTX},       {"skip", 0, true, OPT_SKIP},
    {"damp", 0, true, OPT_DAMP},       {"block", 0, true, OPT_BLOCK},       {"act-order", 0, false, OPT_ACT_ORDER}, {"one-pass", 0, false, OPT_ONE_PASS},
};

struct options {
    const char *input, *text;
    rs_pack_options pack;
    bool gptq;
    const char *only_gptq; // an option that was given and goes with --gptq only
    int64_t samples, ctx, skip;
    rs_gptq_model_options by;
};

struct report {
    const rs_cli *cli;
    rs_progress progress;
};

static rs_status bits(const char *what, const char *value, int64_t *out, rs_error *e)
{
    RS_TRY(rs_cli_int(what, value, 2, 16, out, e));
    return *out <= 8 || *out == 16 ? RS_OK : rs_fail(e, RS_USAGE, "%s: %lld is not 2..8 or 16", what, (long long)*out);
}

static rs_status parse_act(rs_act *a, int kind, const char *names[3], const char *value, rs_error *e)
{
    int64_t n = 0;
    switch (kind) {
    case OPT_A_BITS:
        RS_TRY(bits(names[0], value, &n, e));
        a->bits = (unsigned)n;
        return RS_OK;
    case OPT_A_GROUP:
        RS_TRY(rs_cli_int(names[1], value, 0, 1 << 24, &n, e));
        a->group = (uint64_t)n;
        return RS_OK;
    case OPT_A_CLIP:
        RS_TRY(rs_cli_real(names[2], value, 0, 1, &a->clip, e));
        return a->clip > 0 ? RS_OK : rs_fail(e, RS_USAGE, "%s: must be above 0", names[2]);
    default: a->sym = true; return RS_OK;
    }
}

static rs_status choice(const char *what, const char *value, const char *const *names, size_t n, size_t *index, rs_error *e)
{
    for (*index = 0; *index < n; ++*index)
        if (strcmp(value, names[*index]) == 0) return RS_OK;
    char known[64] = "";
    for (size_t i = 0; i < n; i++) snprintf(known + strlen(known), sizeof known - strlen(known), " %s", names[i]);
    return rs_fail(e, RS_USAGE, "%s: '%s' is none of:%s", what, value, known);
}

static rs_status parse_gptq(struct options *o, int id, const char *value, rs_error *e)
{
    int64_t n = 0;
    for (size_t i = 0; i < sizeof option_list / sizeof *option_list; i++)
        if (option_list[i].id == id && id != OPT_GPTQ) o->only_gptq = option_list[i].name;
    switch (id) {
    case OPT_GPTQ: o->gptq = true; return RS_OK;
    case OPT_TEXT: o->text = value; return RS_OK;
    case OPT_SAMPLES: return rs_cli_int("--samples", value, 1, INT32_MAX, &o->samples, e);
    case OPT_CTX: return rs_cli_int("--ctx", value, 1, 1 << 24, &o->ctx, e);
    case OPT_SKIP: return rs_cli_int("--skip", value, 0, INT64_MAX, &o->skip, e);
    case OPT_DAMP:
        RS_TRY(rs_cli_real("--damp", value, 0, 1, &o->by.gptq.damp, e));
        return o->by.gptq.damp > 0 ? RS_OK : rs_fail(e, RS_USAGE, "--damp: must be above 0");
    case OPT_BLOCK:
        RS_TRY(rs_cli_int("--block", value, 1, 1 << 24, &n, e));
        o->by.gptq.block = (size_t)n;
        return RS_OK;
    case OPT_ACT_ORDER: o->by.gptq.act_order = true; return RS_OK;
    default: o->by.one_pass = true; return RS_OK;
    }
}

static rs_status parse(void *context, int id, const char *value, rs_error *e)
{
    static const char *const types[] = {"f32", "f16", "bf16", "keep"}, *const clips[] = {"mse", "none"};
    static const rs_dtype dtypes[] = {RS_F32, RS_F16, RS_BF16, RS_F32};
    static const char *a_names[] = {"--a-bits", "--a-group", "--a-clip"}, *kv_names[] = {"--kv-bits", "--kv-group", "--kv-clip"};
    struct options *o = context;
    rs_scheme *s = &o->pack.scheme;
    int64_t n = 0;
    size_t at = 0;
    switch (id) {
    case OPT_W_BITS:
        RS_TRY(bits("--w-bits", value, &n, e));
        s->w_bits = (int)n;
        return RS_OK;
    case OPT_GROUP:
        RS_TRY(rs_cli_int("--group", value, 0, 1 << 24, &n, e));
        s->group = (uint64_t)n;
        return RS_OK;
    case OPT_SCALE:
        RS_TRY(choice("--scale", value, types, 2, &at, e));
        s->scale_dtype = dtypes[at];
        return RS_OK;
    case OPT_CLIP:
        RS_TRY(choice("--clip", value, clips, 2, &at, e));
        s->clip_steps = at == 0 ? 80 : 1;
        return RS_OK;
    case OPT_REST:
        RS_TRY(choice("--rest", value, types, 4, &at, e));
        s->rest = dtypes[at];
        s->rest_keep = at == 3;
        return RS_OK;
    case OPT_A_BITS: case OPT_A_GROUP: case OPT_A_CLIP: case OPT_A_SYM: return parse_act(&o->pack.a, id, a_names, value, e);
    case OPT_KV_BITS: case OPT_KV_GROUP: case OPT_KV_CLIP: case OPT_KV_SYM: return parse_act(&o->pack.kv, id - OPT_KV_BITS + OPT_A_BITS, kv_names, value, e);
    case 0:
        if (o->input != NULL) return rs_fail(e, RS_USAGE, "more than one input: %s and %s", o->input, value);
        o->input = value;
        return RS_OK;
    default: return parse_gptq(o, id, value, e);
    }
}

// What the options say about each other.
static rs_status check(const struct options *o, rs_error *e)
{
    if (!o->gptq) return o->only_gptq == NULL ? RS_OK : rs_fail(e, RS_USAGE, "--%s goes with --gptq", o->only_gptq);
    if (o->text == NULL) return rs_fail(e, RS_USAGE, "--gptq needs a calibration text (--text)");
    if (o->pack.scheme.w_bits == 16) return rs_fail(e, RS_USAGE, "--gptq with --w-bits 16: there is nothing to round");
    return rs_cli_one_stdin(2, (const char *const[]){o->input == NULL ? "-" : o->input, o->text}, e);
}

static void on_packed(void *context, const rs_tensor *t, const rs_pack_error *cost)
{
    struct report *r = context;
    if (r->cli->verbose > 0)
        fprintf(stderr, "rs-pack: %-44s %s  SQNR %6.2f dB  ends %.3f %%\n", t->name, rs_enc_name(t->enc), cost->error > 0 ? 10 * log10(cost->signal / cost->error) : INFINITY,
                cost->weights > 0 ? 100.0 * (double)cost->clipped / (double)cost->weights : 0);
}

static void on_progress(void *context, double bytes)
{
    rs_progress_at(&((struct report *)context)->progress, bytes / 1e6);
}

static void on_gptq(void *context, const rs_tensor *t, const rs_gptq_report *g)
{
    struct report *r = context;
    if (r->cli->verbose == 0) return;
    fprintf(stderr, "rs-pack: %-44s %s  SQNR %6.2f dB  ends %.3f %%  output error %.4g", t->name, rs_enc_name(t->enc), g->cost.error > 0 ? 10 * log10(g->cost.signal / g->cost.error) : INFINITY,
            g->cost.weights > 0 ? 100.0 * (double)g->cost.clipped / (double)g->cost.weights : 0, g->output_error);
    fprintf(stderr, g->raised > 0 ? "  damp %g\n" : "\n", g->damp);
}

static void on_layer(void *context, double layers)
{
    rs_progress_at(&((struct report *)context)->progress, layers);
}

static rs_value *params(rs_arena *a, const struct options *options, const rs_gptq_model *g)
{
    const rs_pack_options *o = &options->pack;
    rs_value *p = rs_value_map(a);
    rs_map_put(a, p, "w_bits", rs_value_uint(a, (uint64_t)o->scheme.w_bits));
    rs_map_put(a, p, "w_group", rs_value_uint(a, o->scheme.group));
    rs_map_put(a, p, "w_clip", rs_value_str(a, o->scheme.clip_steps > 1 ? "mse80" : "none"));
    rs_map_put(a, p, "w_method", rs_value_str(a, g != NULL ? "gptq" : "rtn"));
    rs_map_put(a, p, "scale", rs_value_str(a, rs_dtype_name(o->scheme.scale_dtype)));
    rs_map_put(a, p, "rest", rs_value_str(a, o->scheme.rest_keep ? "keep" : rs_dtype_name(o->scheme.rest)));
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

static rs_status calibrate(const rs_cli *cli, struct options *o, struct report *report, struct gptq *g, rs_error *e)
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

static rs_status run(const rs_cli *cli, struct options *o, int argc, char **argv, const char **file, rs_error *e)
{
    struct report report = {.cli = cli};
    rs_stage s = {0};
    rs_head head;
    struct gptq g = {0};
    uint64_t total = 0;
    o->pack.packed = on_packed;
    o->pack.progress = on_progress;
    o->pack.context = &report;
    *file = o->input != NULL ? o->input : "-";
    rs_status st = RS_OK;
    if (o->gptq) {
        rs_mapped_guard();
        st = rs_mapped_open(&g.m, o->input, e);
        if (st == RS_OK) st = rs_stage_open_mapped(&s, "rs-pack", g.m, e);
    } else st = rs_stage_open(&s, "rs-pack", o->input, e);
    rs_in *other = g.m != NULL ? rs_mapped_in(g.m) : NULL;
    if (st == RS_OK) st = rs_pack_head(rs_reader_head(s.reader), &o->pack, &head, e);
    if (st == RS_OK) st = rs_stage_output(&s, cli->output, &other, 1, e);
    if (st == RS_OK && o->gptq) st = calibrate(cli, o, &report, &g, e);
    if (st == RS_OK) st = rs_stage_begin(&s, NULL, NULL, 0, &head, argc, argv, params(s.arena, o, g.model), e);
    if (st == RS_OK && o->gptq) st = rs_stage_add_input(&s, &g.text, e);
    if (st == RS_OK && rs_in_seekable(s.in)) st = rs_in_size(s.in, &total, e);
    rs_progress_start(&report.progress, cli, "pack", "MB", (double)total / 1e6);
    if (st == RS_OK) st = rs_pack_stream(&s, &o->pack, e);
    rs_progress_end(&report.progress);
    if (st == RS_OK && g.m != NULL) st = rs_mapped_check(g.m, e);
    if (st == RS_OK) st = rs_stage_finish(&s, e);
    rs_stage_close(&s, e);
    rs_gptq_model_close(g.model);
    rs_mapped_close(g.m);
    if (st == RS_E_WRITE) *file = rs_cli_output(cli);
    return st;
}

int main(int argc, char **argv)
{
    rs_cli cli;
    rs_error e = {0};
    const char *file = NULL;
    struct options o = {.pack = {.scheme = rs_scheme_default(), .a = {.bits = 16, .clip = 1}, .kv = {.bits = 16, .clip = 1}}, .samples = 128, .ctx = 2048, .by = {.gptq = rs_gptq_default()}};
    rs_cli_start();
    rs_status s = rs_cli_parse(&cli, "rs-pack", usage_text, option_list, sizeof option_list / sizeof *option_list, argc, argv, parse, &o, &e);
    if (s == RS_OK) s = check(&o, &e);
    if (s == RS_OK) {
        rs_threads_set(cli.threads);
        s = run(&cli, &o, argc, argv, &file, &e);
    }
    return rs_cli_exit(&cli, s, file, &e);
}
