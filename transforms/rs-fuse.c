// SPDX-License-Identifier: Apache-2.0
// rs-fuse: folds norm scales and rotations into the weights of a stream, so that the network is the same and its activations have no outliers.
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>

#include "formats/cli.h"
#include "formats/text.h"
#include "kernels/threads.h"
#include "transforms/fuse.h"

static const char usage_text[] =
    "Usage: rs-fuse [OPTION]... [FILE]\n"
    "Folds norm scales and rotations into the weights of a model; the full-precision network stays the same.\n"
    "Without FILE, or when FILE is -, reads standard input.\n"
    "\n"
    "  -R, --rotations=FILE  rotation set to fuse (from rs-learn); default: one shared randomised Hadamard\n"
    "      --seed=N          seed of the randomised Hadamards (default 1)\n"
    "      --no-online       leave the online rotations of q and k (r3) and of the input of down (r4) out\n"
    "      --no-rotate       fold norm scales only\n"
    "      --precise         multiply by dense rotations in fp64, not f32\n"
    "\n"
    "      --smooth=ALPHA    SmoothQuant: divide v and up by factors max|x|^ALPHA / max|W|^(1-ALPHA), multiply o and down by them; with --no-rotate also\n"
    "                        the norms and q k v gate up, and norm scales are not folded. The input is mapped, standard input is spooled to a temporary file\n"
    "      --text=FILE       calibration text for it (UTF-8), read with the tokenizer of the model\n"
    "      --samples=N, --ctx=N   the first N sequences of --ctx tokens of it (default 128, 2048)\n"
    "\n"
    "  -o, --output=FILE     write to FILE, atomically (default: standard output)\n"
    "  -j, --threads=N       threads (default: all processors)\n"
    "  -q, --quiet           no progress line\n"
    "      --help, --version\n"
    "\n"
    "Exit status: 0 success, 2 usage, 10 to 32 as rs-verify(1) lists them.\n";

struct options {
    rs_cli cli;
    const char *input, *rotations, *text;
    int64_t seed, samples, ctx;
    double alpha;
    bool smooth, calibration_given;
    bool seed_given, no_online, no_rotate, precise;
};

enum { OPERAND, ROTATIONS, SEED, NO_ONLINE, NO_ROTATE, PRECISE, SMOOTH, TEXT, SAMPLES, CTX };
static const rs_option own[] = {
    {"rotations", 'R', true, ROTATIONS}, {"seed", 0, true, SEED}, {"no-online", 0, false, NO_ONLINE}, {"no-rotate", 0, false, NO_ROTATE}, {"precise", 0, false, PRECISE},
    {"smooth", 0, true, SMOOTH}, {"text", 0, true, TEXT}, {"samples", 0, true, SAMPLES}, {"ctx", 0, true, CTX},
};

static rs_status option(void *context, int id, const char *value, rs_error *e)
{
    struct options *o = context;
    switch (id) {
    case ROTATIONS: o->rotations = value; return RS_OK;
    case SEED: o->seed_given = true; return rs_cli_int("--seed", value, 0, INT64_MAX, &o->seed, e);
    case NO_ONLINE: o->no_online = true; return RS_OK;
    case NO_ROTATE: o->no_rotate = true; return RS_OK;
    case PRECISE: o->precise = true; return RS_OK;
    case SMOOTH: o->smooth = true; return rs_cli_real("--smooth", value, 0, 1, &o->alpha, e);
    case TEXT: o->text = value; return RS_OK;
    case SAMPLES: o->calibration_given = true; return rs_cli_int("--samples", value, 1, INT32_MAX, &o->samples, e);
    case CTX: o->calibration_given = true; return rs_cli_int("--ctx", value, 1, 1 << 24, &o->ctx, e);
    default: break;
    }
    if (o->input != NULL) return rs_fail(e, RS_USAGE, "one input at a time: %s and %s", o->input, value);
    o->input = value;
    return RS_OK;
}

static rs_status parse(struct options *o, int argc, char **argv, rs_error *e)
{
    RS_TRY(rs_cli_parse(&o->cli, "rs-fuse", usage_text, own, sizeof own / sizeof own[0], argc, argv, option, o, e));
    if (o->rotations != NULL && o->seed_given) return rs_fail(e, RS_USAGE, "--rotations and --seed exclude each other");
    if (o->smooth && o->text == NULL) return rs_fail(e, RS_USAGE, "--smooth needs a calibration text (--text)");
    if (!o->smooth && (o->text != NULL || o->calibration_given)) return rs_fail(e, RS_USAGE, "--text, --samples and --ctx go with --smooth");
    RS_TRY(rs_cli_one_stdin(3, (const char *const[]){o->rotations, o->input == NULL ? "-" : o->input, o->text}, e));
    if (o->no_rotate && (o->rotations != NULL || o->seed_given || o->no_online)) return rs_fail(e, RS_USAGE, "--no-rotate goes with no other rotation option");
    return RS_OK;
}

// What the provenance says beyond the arguments.
static const rs_value *params(const struct options *o, rs_arena *a)
{
    rs_value *map = rs_value_map(a);
    if (o->rotations == NULL && !o->no_rotate) (void)rs_map_put(a, map, "seed", rs_value_uint(a, (uint64_t)o->seed));
    if (o->rotations != NULL) (void)rs_map_put(a, map, "blas", rs_value_str(a, openblas_get_corename()));
    if (o->smooth) {
        (void)rs_map_put(a, map, "smooth", rs_value_f64(a, o->alpha));
        (void)rs_map_put(a, map, "samples", rs_value_uint(a, (uint64_t)o->samples));
        (void)rs_map_put(a, map, "ctx", rs_value_uint(a, (uint64_t)o->ctx));
        (void)rs_map_put(a, map, "blas", rs_value_str(a, openblas_get_corename()));
        (void)rs_map_put(a, map, "kernels", rs_value_str(a, rs_kernels_cpu()->name));
    }
    return map;
}

static void tick(void *context, double done) { rs_progress_at(context, done); }

// The input as a network on the calibration text: the factors, and the digest of the text.
static rs_status smooth(const struct options *o, const rs_mapped *model, rs_smooth **factors, rs_input_sum *sum, rs_error *e)
{
    rs_network *n = NULL;
    rs_progress p;
    int32_t *ids = NULL;
    size_t count = 0;
    rs_status status = rs_network_open(&n, model, NULL, e);
    if (status == RS_OK) status = rs_text_ids(model, o->text, o->cli.threads, &ids, &count, sum, e);
    if (status == RS_OK) {
        rs_calibration_text text = {.ids = ids, .count = count, .samples = (size_t)o->samples, .ctx = (size_t)o->ctx};
        rs_progress_start(&p, &o->cli, "measuring", "layer", (double)rs_network_config(n)->L);
        status = rs_smooth_measure(factors, n, &text, o->alpha, tick, &p, e);
        rs_progress_end(&p);
    }
    free(ids);
    rs_network_close(n);
    return status == RS_OK ? rs_mapped_check(model, e) : status;
}

// model: the input, mapped, where it is to be smoothed, else NULL.
static rs_status fuse(struct options *o, rs_stage *s, rs_mapped *model, rs_mapped *rotations, int argc, char **argv, rs_error *e)
{
    rs_fuse_options fo = {.rotate = !o->no_rotate, .online = !o->no_online && !o->no_rotate, .precise = o->precise, .seed = (uint64_t)o->seed, .rotations = rotations};
    rs_fuse *f = NULL;
    rs_smooth *factors = NULL;
    rs_input_sum text;
    rs_in *others[] = {rotations == NULL ? NULL : rs_mapped_in(rotations), model == NULL ? NULL : rs_mapped_in(model)};
    rs_status status = model == NULL ? RS_OK : rs_stage_output(s, o->cli.output, others, 2, e);
    if (status == RS_OK && model != NULL) status = smooth(o, model, &factors, &text, e);
    fo.smooth = factors;
    if (status == RS_OK) status = rs_fuse_open(&f, s, &fo, e);
    if (status == RS_OK) status = rs_stage_begin(s, o->cli.output, others, 2, rs_fuse_head(f), argc, argv, params(o, s->arena), e);
    if (status == RS_OK && model != NULL) status = rs_stage_add_input(s, &text, e);
    if (status == RS_OK) {
        rs_progress p;
        rs_progress_start(&p, &o->cli, "fusing", "tensor", rs_fuse_total(f));
        status = rs_fuse_run(f, tick, &p, e);
        rs_progress_end(&p);
    }
    rs_fuse_close(f);
    rs_smooth_free(factors);
    if (status == RS_OK && model != NULL) status = rs_mapped_check(model, e);
    if (status == RS_OK && rotations != NULL) status = rs_mapped_check(rotations, e);
    return status == RS_OK ? rs_stage_finish(s, e) : status;
}

static rs_status run(struct options *o, int argc, char **argv, const char **file, rs_error *e)
{
    rs_mapped *rotations = NULL, *model = NULL;
    rs_threads_set(o->cli.threads);
    *file = o->rotations;
    rs_mapped_guard();
    if (o->rotations != NULL) RS_TRY(rs_mapped_open(&rotations, o->rotations, e));
    *file = o->input == NULL ? "-" : o->input;
    rs_stage s = {0};
    rs_status status = o->smooth ? rs_mapped_open(&model, o->input, e) : rs_stage_open(&s, "rs-fuse", o->input, e);
    if (status == RS_OK && o->smooth) status = rs_stage_open_mapped(&s, "rs-fuse", model, e);
    if (status == RS_OK) status = fuse(o, &s, model, rotations, argc, argv, e);
    if (status == RS_E_WRITE) *file = rs_cli_output(&o->cli);
    rs_stage_close(&s, e);
    rs_mapped_close(rotations);
    rs_mapped_close(model);
    return status;
}

int main(int argc, char **argv)
{
    struct options o = {.seed = 1, .samples = 128, .ctx = 2048};
    rs_error e = {0};
    const char *file = NULL;
    rs_cli_start();
    rs_status status = parse(&o, argc, argv, &e);
    if (status == RS_OK) status = run(&o, argc, argv, &file, &e);
    return rs_cli_exit(&o.cli, status, file, &e);
}
