// SPDX-License-Identifier: Apache-2.0
// rs-pack: packs the weights of a stream to few bits and records how activations and the KV cache are to be quantised.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/cli.h"
#include "kernels/threads.h"
#include "quantize/pack.h"

static const char usage_text[] =
    "usage: rs-pack [options] [INPUT.rsq] [-o OUTPUT.rsq]\n"
    "Packs q k v o gate up down to integer codes (round to nearest, scales by the MSE clip grid) and records the activation and KV policy.\n"
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
    "  -o, --output FILE  output, written atomically (default: standard output)\n"
    "  -v, --verbose      a line per tensor: SQNR, codes at the ends of the grid\n"
    "  -j, --threads N    threads; the bytes written do not depend on it\n"
    "  -q, --quiet        no progress line\n"
    "      --help, --version\n";

enum { OPT_W_BITS = 1, OPT_GROUP, OPT_SCALE, OPT_CLIP, OPT_REST, OPT_A_BITS, OPT_A_GROUP, OPT_A_CLIP, OPT_A_SYM, OPT_KV_BITS, OPT_KV_GROUP, OPT_KV_CLIP, OPT_KV_SYM };

static const rs_option option_list[] = {
    {"w-bits", 0, true, OPT_W_BITS},   {"group", 0, true, OPT_GROUP},       {"scale", 0, true, OPT_SCALE},     {"clip", 0, true, OPT_CLIP},     {"rest", 0, true, OPT_REST},
    {"a-bits", 0, true, OPT_A_BITS},   {"a-group", 0, true, OPT_A_GROUP},   {"a-clip", 0, true, OPT_A_CLIP},   {"a-sym", 0, false, OPT_A_SYM},
    {"kv-bits", 0, true, OPT_KV_BITS}, {"kv-group", 0, true, OPT_KV_GROUP}, {"kv-clip", 0, true, OPT_KV_CLIP}, {"kv-sym", 0, false, OPT_KV_SYM},
};

struct options {
    const char *input;
    rs_pack_options pack;
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
    default:
        if (o->input != NULL) return rs_fail(e, RS_USAGE, "more than one input: %s and %s", o->input, value);
        o->input = value;
        return RS_OK;
    }
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

static rs_value *params(rs_arena *a, const rs_pack_options *o)
{
    rs_value *p = rs_value_map(a);
    rs_map_put(a, p, "w_bits", rs_value_uint(a, (uint64_t)o->scheme.w_bits));
    rs_map_put(a, p, "w_group", rs_value_uint(a, o->scheme.group));
    rs_map_put(a, p, "w_clip", rs_value_str(a, o->scheme.clip_steps > 1 ? "mse80" : "none"));
    rs_map_put(a, p, "w_method", rs_value_str(a, "rtn"));
    rs_map_put(a, p, "scale", rs_value_str(a, rs_dtype_name(o->scheme.scale_dtype)));
    rs_map_put(a, p, "rest", rs_value_str(a, o->scheme.rest_keep ? "keep" : rs_dtype_name(o->scheme.rest)));
    return p;
}

static rs_status run(const rs_cli *cli, struct options *o, int argc, char **argv, const char **file, rs_error *e)
{
    struct report report = {.cli = cli};
    rs_stage s = {0};
    rs_head head;
    uint64_t total = 0;
    o->pack.packed = on_packed;
    o->pack.progress = on_progress;
    o->pack.context = &report;
    *file = o->input != NULL ? o->input : "-";
    rs_status st = rs_stage_open(&s, "rs-pack", o->input, e);
    if (st == RS_OK) st = rs_pack_head(rs_reader_head(s.reader), &o->pack, &head, e);
    if (st == RS_OK) st = rs_stage_begin(&s, cli->output, NULL, 0, &head, argc, argv, params(s.arena, &o->pack), e);
    if (st == RS_OK && rs_in_seekable(s.in)) st = rs_in_size(s.in, &total, e);
    rs_progress_start(&report.progress, cli, "pack", "MB", (double)total / 1e6);
    if (st == RS_OK) st = rs_pack_stream(&s, &o->pack, e);
    rs_progress_end(&report.progress);
    if (st == RS_OK) st = rs_stage_finish(&s, e);
    rs_stage_close(&s, e);
    if (st == RS_E_WRITE) *file = rs_cli_output(cli);
    return st;
}

int main(int argc, char **argv)
{
    rs_cli cli;
    rs_error e = {0};
    const char *file = NULL;
    struct options o = {.pack = {.scheme = rs_scheme_default(), .a = {.bits = 16, .clip = 1}, .kv = {.bits = 16, .clip = 1}}};
    rs_cli_start();
    rs_status s = rs_cli_parse(&cli, "rs-pack", usage_text, option_list, sizeof option_list / sizeof *option_list, argc, argv, parse, &o, &e);
    if (s == RS_OK) {
        rs_threads_set(cli.threads);
        s = run(&cli, &o, argc, argv, &file, &e);
    }
    return rs_cli_exit(&cli, s, file, &e);
}
