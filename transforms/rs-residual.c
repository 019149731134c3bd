// SPDX-License-Identifier: Apache-2.0
// rs-residual: makes the changes of basis between layers cheap by cutting them to a low rank, without changing the network.
#include <cblas.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/cli.h"
#include "formats/text.h"
#include "kernels/threads.h"
#include "transforms/cut.h"
#include "transforms/residual.h"

static const char usage_text[] =
    "Usage: rs-residual [OPTION]... -R ROTATIONS [FILE]\n"
    "Replaces the dense junctions that rs-fuse -R left in a model by low-rank ones and re-bases the weights, so that the\n"
    "full-precision network stays the same. A FILE of rotations is cut itself, and takes no -R.\n"
    "Without FILE, or when FILE is -, reads standard input.\n"
    "\n"
    "  -R, --rotations=FILE  the rotation set that rs-fuse was given\n"
    "  -r, --rank=R          rank of every junction, even (default 32); 0: no change of basis at all\n"
    "      --energy=SHARE    instead: per junction the least rank that keeps this share (0 to 1) of |T - I|_F^2\n"
    "      --budget=R        instead: R on average over the junctions, more where more would be lost; even\n"
    "      --weight=activations  choose the subspaces by what activations on a text lose, not by |T - I|_F alone\n"
    "      --text=FILE       the text, calibration not test (UTF-8)\n"
    "      --samples=N       windows of it (default 16)\n"
    "      --ctx=N           tokens in a window (default 512)\n"
    "      --skip=TOKENS     leave out so many at the start of each window (default 0)\n"
    "      --paper           leave the weights and put the cut T in place of T: the network changes\n"
    "      --report=FILE     what each junction kept, lost and costs, as JSON\n"
    "  -v, --verbose         the same on standard error, a line per junction\n"
    "  -o, --output=FILE     write to FILE, atomically (default: standard output)\n"
    "  -j, --threads=N       threads (default: all processors)\n"
    "  -q, --quiet           no progress line\n"
    "      --help, --version\n"
    "\n"
    "Exit status: 0 success, 2 usage, 10 to 32 as rs-verify(1) lists them.\n";

struct options {
    rs_cli cli;
    const char *input, *rotations, *report, *text;
    int64_t rank, budget, samples, ctx, skip;
    double energy;
    bool rank_given, energy_given, budget_given, weight, window_given, paper;
    bool reporting; // E_WRITE is about the report
};

// What --weight and --budget read beside the stream.
struct calibration {
    rs_mapped *input;   // the stream itself, at random; NULL: neither was asked for
    rs_moments *moments;// NULL: no --weight, or no junctions
    rs_input_sum text;
};

enum { OPERAND, ROTATIONS, RANK, ENERGY, BUDGET, WEIGHT, TEXT, SAMPLES, CTX, SKIP, PAPER, REPORT };
static const rs_option own[] = {
    {"rotations", 'R', true, ROTATIONS}, {"rank", 'r', true, RANK}, {"energy", 0, true, ENERGY}, {"budget", 0, true, BUDGET}, {"weight", 0, true, WEIGHT}, {"text", 0, true, TEXT},
    {"samples", 0, true, SAMPLES}, {"ctx", 0, true, CTX}, {"skip", 0, true, SKIP}, {"paper", 0, false, PAPER}, {"report", 0, true, REPORT},
};

static rs_status option(void *context, int id, const char *value, rs_error *e)
{
    struct options *o = context;
    switch (id) {
    case ROTATIONS: o->rotations = value; return RS_OK;
    case RANK: o->rank_given = true; return rs_cli_int("--rank", value, 0, 1 << 24, &o->rank, e);
    case ENERGY: o->energy_given = true; return rs_cli_real("--energy", value, 0, 1, &o->energy, e);
    case BUDGET: o->budget_given = true; return rs_cli_int("--budget", value, 0, 1 << 24, &o->budget, e);
    case WEIGHT: o->weight = true; return strcmp(value, "activations") == 0 ? RS_OK : rs_fail(e, RS_USAGE, "--weight: '%s' is not activations", value);
    case TEXT: o->text = value; return RS_OK;
    case SAMPLES: o->window_given = true; return rs_cli_int("--samples", value, 1, 1 << 20, &o->samples, e);
    case CTX: o->window_given = true; return rs_cli_int("--ctx", value, 1, 1 << 20, &o->ctx, e);
    case SKIP: o->window_given = true; return rs_cli_int("--skip", value, 0, 1 << 20, &o->skip, e);
    case PAPER: o->paper = true; return RS_OK;
    case REPORT: o->report = value; return RS_OK;
    default: break;
    }
    if (o->input != NULL) return rs_fail(e, RS_USAGE, "one input at a time: %s and %s", o->input, value);
    o->input = value;
    return RS_OK;
}

static rs_status parse(struct options *o, int argc, char **argv, rs_error *e)
{
    RS_TRY(rs_cli_parse(&o->cli, "rs-residual", usage_text, own, sizeof own / sizeof own[0], argc, argv, option, o, e));
    RS_TRY(rs_cli_one_stdin(3, (const char *const[]){o->rotations, o->text, o->input == NULL ? "-" : o->input}, e));
    if (o->rank_given && o->energy_given) return rs_fail(e, RS_USAGE, "--rank and --energy exclude each other");
    if (o->budget_given && (o->rank_given || o->energy_given)) return rs_fail(e, RS_USAGE, "--budget excludes --rank and --energy");
    if (o->budget % 2 != 0) return rs_fail(e, RS_USAGE, "--budget: %lld is odd, and a plane of rotation has two dimensions", (long long)o->budget);
    if (o->weight && o->energy_given) return rs_fail(e, RS_USAGE, "--energy is a share of |T - I|_F^2: not with --weight; say --rank or --budget");
    if (o->weight && o->text == NULL) return rs_fail(e, RS_USAGE, "--weight activations needs a text (--text)");
    if (!o->weight && (o->text != NULL || o->window_given)) return rs_fail(e, RS_USAGE, "--text, --samples, --ctx and --skip belong to --weight activations");
    if (o->skip >= o->ctx) return rs_fail(e, RS_USAGE, "--skip %lld leaves nothing of a window of %lld tokens", (long long)o->skip, (long long)o->ctx);
    if (o->rank % 2 != 0) return rs_fail(e, RS_USAGE, "--rank: %lld is odd, and a plane of rotation has two dimensions", (long long)o->rank);
    if (o->energy_given && o->energy <= 0) return rs_fail(e, RS_USAGE, "--energy: 0 keeps nothing; say --rank 0");
    return RS_OK;
}

// A junction as JSON; and as a line on standard error where asked for.
static json_t *junction(const struct options *o, size_t j, uint64_t d, const rs_lowrank_loss *l)
{
    json_t *out = json_pack("{s:I, s:I, s:f, s:f, s:f, s:I, s:I}", "junction", (json_int_t)j, "rank", (json_int_t)l->rank, "norm", l->norm, "kept", l->kept, "error", l->error, "macs_per_token",
                            (json_int_t)rs_cut_macs(d, l->rank), "bytes", (json_int_t)rs_cut_bytes(d, l->rank));
    if (o->weight) {
        (void)json_object_set_new(out, "energy", json_real(l->energy));
        (void)json_object_set_new(out, "energy_lost", json_real(l->lost));
    } else (void)json_object_set_new(out, "angle_lost_degrees", json_real(l->angle));
    if (o->cli.verbose == 0) return out;
    fprintf(stderr, "junction %3zu  rank %4llu  |T - I| %.4f  kept %.4f  ", j, (unsigned long long)l->rank, l->norm, l->kept);
    if (o->weight) fprintf(stderr, "error %.4f  energy %.5g  lost %.5g\n", l->error, l->energy, l->lost);
    else fprintf(stderr, "lost angle %.3f degrees  error %.4f\n", l->angle, l->error);
    return out;
}

// The report as JSON, and on standard error where asked for.
static rs_status report(struct options *o, const rs_residual *r, rs_error *e)
{
    size_t n;
    uint64_t d, macs = 0, bytes = 0, rank = 0;
    double energy = 0, lost = 0;
    const rs_lowrank_loss *l = rs_residual_losses(r, &n, &d);
    json_t *list = json_array();
    for (size_t j = 0; j < n; j++) {
        macs += rs_cut_macs(d, l[j].rank);
        bytes += rs_cut_bytes(d, l[j].rank);
        rank += l[j].rank;
        energy += l[j].energy;
        lost += l[j].lost;
        (void)json_array_append_new(list, junction(o, j, d, &l[j]));
    }
    if (o->cli.verbose > 0) {
        fprintf(stderr, "%zu junctions of rank %llu in all, %llu multiplications and %llu bytes per token", n, (unsigned long long)rank, (unsigned long long)macs, (unsigned long long)bytes);
        if (o->weight) fprintf(stderr, ", energy %.5g, lost %.5g", energy, lost);
        fputc('\n', stderr);
    }
    json_t *root = json_pack("{s:s, s:I, s:o, s:{s:I, s:I, s:I}}", "mode", o->paper ? "paper" : "exact", "width", (json_int_t)d, "junctions", list, "total", "rank", (json_int_t)rank, "macs_per_token",
                             (json_int_t)macs, "bytes", (json_int_t)bytes);
    json_t *total = json_object_get(root, "total");
    if (o->weight && total != NULL) {
        (void)json_object_set_new(total, "energy", json_real(energy));
        (void)json_object_set_new(total, "energy_lost", json_real(lost));
    }
    if (o->report == NULL) {
        json_decref(root);
        return RS_OK;
    }
    char *text = root == NULL ? NULL : json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    json_decref(root);
    if (text == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for the report");
    rs_out *out = NULL;
    o->reporting = true;
    rs_status status = rs_out_open(&out, o->report, NULL, 0, e);
    if (status == RS_OK) status = rs_out_write(out, text, strlen(text), e);
    if (status == RS_OK) status = rs_out_write(out, "\n", 1, e);
    if (status == RS_OK) status = rs_out_commit(out, e);
    rs_out_close(out);
    free(text);
    o->reporting = status != RS_OK;
    return status;
}

static void tick(void *context, double done) { rs_progress_at(context, done); }

// Moments of the mapped input on the text.
static rs_status weigh(struct options *o, struct calibration *c, rs_error *e)
{
    const rs_head *head = rs_mapped_head(c->input);
    if (head->kind != RS_KIND_WEIGHTS) return rs_fail(e, RS_USAGE, "--weight activations: the input holds rotations, and activations need the weights of a model");
    if (head->plan.resid != RS_RESID_DENSE) return RS_OK; // nothing to cut, or cut already
    rs_network *n = NULL;
    int32_t *ids = NULL;
    size_t count;
    rs_progress p;
    rs_moments_options mo = {.samples = (size_t)o->samples, .ctx = (size_t)o->ctx, .skip = (size_t)o->skip, .raw = o->paper, .progress = tick, .context = &p};
    rs_status status = rs_network_open(&n, c->input, NULL, e);
    if (status == RS_OK) status = rs_text_ids(c->input, o->text, o->cli.threads, &ids, &count, &c->text, e);
    if (status == RS_OK) {
        size_t windows = count / mo.ctx < mo.samples ? count / mo.ctx : mo.samples;
        rs_progress_start(&p, &o->cli, "calibrating", "tok", (double)windows * (double)o->ctx * (double)head->layers);
        status = rs_moments_new(&c->moments, n, ids, count, &mo, e);
        rs_progress_end(&p);
    }
    free(ids);
    rs_network_close(n);
    return status;
}

static rs_status cut(struct options *o, rs_stage *s, rs_mapped *rotations, const struct calibration *c, int argc, char **argv, rs_error *e)
{
    rs_residual_options ro = {.rule = {.rank = (uint64_t)o->rank, .energy = o->energy_given ? o->energy : 0}, .budgeted = o->budget_given, .budget = (uint64_t)o->budget, .paper = o->paper,
                              .rotations = rotations, .input = c->input, .moments = c->moments, .text = c->moments != NULL ? &c->text : NULL};
    rs_residual *r;
    RS_TRY(rs_residual_open(&r, s, &ro, e));
    rs_in *others[2] = {rotations == NULL ? NULL : rs_mapped_in(rotations), c->input == NULL ? NULL : rs_mapped_in(c->input)};
    rs_value *params = rs_value_map(s->arena);
    (void)rs_map_put(s->arena, params, "mode", rs_value_str(s->arena, o->paper ? "paper" : "exact"));
    (void)rs_map_put(s->arena, params, "blas", rs_value_str(s->arena, openblas_get_corename()));
    if (c->moments != NULL) (void)rs_map_put(s->arena, params, "windows", rs_value_uint(s->arena, rs_moments_windows(c->moments)));
    rs_status status = rs_stage_begin(s, o->cli.output, others, 2, rs_residual_head(r), argc, argv, params, e);
    if (status == RS_OK) {
        rs_progress p;
        rs_progress_start(&p, &o->cli, "cutting junctions", "tensor", rs_residual_total(r));
        status = rs_residual_run(r, tick, &p, e);
        rs_progress_end(&p);
    }
    if (status == RS_OK && rotations != NULL) status = rs_mapped_check(rotations, e);
    if (status == RS_OK && c->input != NULL) status = rs_mapped_check(c->input, e);
    if (status == RS_OK) status = report(o, r, e);
    rs_residual_close(r);
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
    struct calibration c = {0};
    rs_status status = RS_OK;
    if (o->weight || o->budget_given) {
        status = rs_mapped_open(&c.input, *file, e);
        if (status == RS_OK && o->weight) status = weigh(o, &c, e);
        if (status == RS_OK) status = rs_stage_open_mapped(&s, "rs-residual", c.input, e);
    } else status = rs_stage_open(&s, "rs-residual", o->input, e);
    if (status == RS_OK) status = cut(o, &s, rotations, &c, argc, argv, e);
    if (status == RS_E_WRITE) *file = o->reporting ? o->report : rs_cli_output(&o->cli);
    rs_stage_close(&s, e);
    rs_moments_free(c.moments);
    rs_mapped_close(c.input);
    rs_mapped_close(rotations);
    return status;
}

int main(int argc, char **argv)
{
    struct options o = {.rank = 32, .samples = 16, .ctx = 512};
    rs_error e = {0};
    const char *file = NULL;
    rs_cli_start();
    rs_status status = parse(&o, argc, argv, &e);
    if (status == RS_OK) status = run(&o, argc, argv, &file, &e);
    return rs_cli_exit(&o.cli, status, file, &e);
}
