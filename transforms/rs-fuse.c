// SPDX-License-Identifier: Apache-2.0
// rs-fuse: folds norm scales and rotations into the weights of a stream, so that the network is the same and its activations have no outliers.
#include <cblas.h>
#include <stdio.h>

#include "formats/cli.h"
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
    "  -o, --output=FILE     write to FILE, atomically (default: standard output)\n"
    "  -j, --threads=N       threads (default: all processors)\n"
    "  -q, --quiet           no progress line\n"
    "      --help, --version\n"
    "\n"
    "Exit status: 0 success, 2 usage, 10 to 32 as rs-verify(1) lists them.\n";

struct options {
    rs_cli cli;
    const char *input, *rotations;
    int64_t seed;
    bool seed_given, no_online, no_rotate, precise;
};

enum { OPERAND, ROTATIONS, SEED, NO_ONLINE, NO_ROTATE, PRECISE };
static const rs_option own[] = {
    {"rotations", 'R', true, ROTATIONS}, {"seed", 0, true, SEED}, {"no-online", 0, false, NO_ONLINE}, {"no-rotate", 0, false, NO_ROTATE}, {"precise", 0, false, PRECISE},
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
    RS_TRY(rs_cli_one_stdin(2, (const char *const[]){o->rotations, o->input == NULL ? "-" : o->input}, e));
    if (o->no_rotate && (o->rotations != NULL || o->seed_given || o->no_online)) return rs_fail(e, RS_USAGE, "--no-rotate goes with no other rotation option");
    return RS_OK;
}

// What the provenance says beyond the arguments.
static const rs_value *params(const struct options *o, rs_arena *a)
{
    rs_value *map = rs_value_map(a);
    if (o->rotations == NULL && !o->no_rotate) (void)rs_map_put(a, map, "seed", rs_value_uint(a, (uint64_t)o->seed));
    if (o->rotations != NULL) (void)rs_map_put(a, map, "blas", rs_value_str(a, openblas_get_corename()));
    return map;
}

static void tick(void *context, double done) { rs_progress_at(context, done); }

static rs_status fuse(struct options *o, rs_stage *s, rs_mapped *rotations, int argc, char **argv, rs_error *e)
{
    rs_fuse_options fo = {.rotate = !o->no_rotate, .online = !o->no_online && !o->no_rotate, .precise = o->precise, .seed = (uint64_t)o->seed, .rotations = rotations};
    rs_fuse *f;
    RS_TRY(rs_fuse_open(&f, s, &fo, e));
    rs_in *other = rotations == NULL ? NULL : rs_mapped_in(rotations);
    rs_status status = rs_stage_begin(s, o->cli.output, &other, rotations != NULL, rs_fuse_head(f), argc, argv, params(o, s->arena), e);
    if (status == RS_OK) {
        rs_progress p;
        rs_progress_start(&p, &o->cli, "fusing", "tensor", rs_fuse_total(f));
        status = rs_fuse_run(f, tick, &p, e);
        rs_progress_end(&p);
    }
    rs_fuse_close(f);
    if (status == RS_OK && rotations != NULL) status = rs_mapped_check(rotations, e);
    return status == RS_OK ? rs_stage_finish(s, e) : status;
}

static rs_status run(struct options *o, int argc, char **argv, const char **file, rs_error *e)
{
    rs_mapped *rotations = NULL;
    rs_threads_set(o->cli.threads);
    *file = o->rotations;
    rs_mapped_guard();
    if (o->rotations != NULL) RS_TRY(rs_mapped_open(&rotations, o->rotations, e));
    *file = o->input == NULL ? "-" : o->input;
    rs_stage s = {0};
    rs_status status = rs_stage_open(&s, "rs-fuse", o->input, e);
    if (status == RS_OK) status = fuse(o, &s, rotations, argc, argv, e);
    if (status == RS_E_WRITE) *file = rs_cli_output(&o->cli);
    rs_stage_close(&s, e);
    rs_mapped_close(rotations);
    return status;
}

int main(int argc, char **argv)
{
    struct options o = {.seed = 1};
    rs_error e = {0};
    const char *file = NULL;
    rs_cli_start();
    rs_status status = parse(&o, argc, argv, &e);
    if (status == RS_OK) status = run(&o, argc, argv, &file, &e);
    return rs_cli_exit(&o.cli, status, file, &e);
}
