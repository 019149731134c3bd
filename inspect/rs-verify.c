// SPDX-License-Identifier: Apache-2.0
// rs-verify: checks every byte and rule of an RSQ stream, and on request that a model computes what its original computes, or the same by every integer kernel.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/cli.h"
#include "formats/json.h"
#include "formats/text.h"
#include "inspect/kernels_report.h"
#include "inspect/verify_report.h"
#include "kernels/threads.h"

static const char usage_text[] =
    "usage: rs-verify [options] [FILE.rsq]\n"
    "Reads FILE (or standard input) once and checks every hash and every rule of the format.\n"
    "\n"
    "      --quick        only signature, head, tail and index: not fully checked (needs a file)\n"
    "      --format       also reject what readers ignore: the gate for files of strangers\n"
    "      --values       also check the numbers: NaN, scales, sums of codes, orthonormality\n"
    "      --against ORIGINAL.rsq --text FILE   run both models on FILE and compare each layer and the logits\n"
    "        --tol X      largest relative error, max abs difference / max abs (default 1e-4)\n"
    "        --ctx N, --windows N   tokens in a window, number of windows (default 512, 1)\n"
    "        --reference  compute with the plain C kernels\n"
    "      --kernels      prove that the packed model computes the same by every variant of the integer kernels here\n"
    "        --text FILE  run the model on FILE (default: token ids that look random); --ctx N tokens of it (default 32)\n"
    "        --device D   cpu (default); cuda is refused, since it has no integer kernels\n"
    "      --json         the verdict as JSON on standard output\n"
    "  -v, --verbose      the layers of a comparison that pass; the plan; the codes at a rounding boundary\n"
    "  -j, --threads N    threads\n"
    "  -q, --quiet        print nothing but errors\n"
    "      --help, --version\n"
    "\n"
    "Exit status: 0 good; 1 the comparison failed; 2 usage; 10-24 the class of the fault; 30-32 the system refused.\n";

enum { OPT_QUICK = 1, OPT_FORMAT, OPT_VALUES, OPT_AGAINST, OPT_TEXT, OPT_TOL, OPT_CTX, OPT_WINDOWS, OPT_REFERENCE, OPT_KERNELS };

static const rs_option option_list[] = {
    {"quick", 0, false, OPT_QUICK}, {"format", 0, false, OPT_FORMAT}, {"values", 0, false, OPT_VALUES}, {"against", 0, true, OPT_AGAINST},      {"text", 0, true, OPT_TEXT},
    {"tol", 0, true, OPT_TOL},      {"ctx", 0, true, OPT_CTX},        {"windows", 0, true, OPT_WINDOWS}, {"reference", 0, false, OPT_REFERENCE},
    {"kernels", 0, false, OPT_KERNELS},
};

struct options {
    const char *file, *against, *text;
    bool quick, format, values, reference, kernels;
    double tol;
    int64_t ctx, windows;
};

static rs_status parse(void *context, int id, const char *value, rs_error *e)
{
    struct options *o = context;
    switch (id) {
    case OPT_QUICK: o->quick = true; return RS_OK;
    case OPT_FORMAT: o->format = true; return RS_OK;
    case OPT_VALUES: o->values = true; return RS_OK;
    case OPT_REFERENCE: o->reference = true; return RS_OK;
    case OPT_KERNELS: o->kernels = true; return RS_OK;
    case OPT_AGAINST: o->against = value; return RS_OK;
    case OPT_TEXT: o->text = value; return RS_OK;
    case OPT_TOL: return rs_cli_real("--tol", value, 0, 1e30, &o->tol, e);
    case OPT_CTX: return rs_cli_int("--ctx", value, 1, 1 << 24, &o->ctx, e);
    case OPT_WINDOWS: return rs_cli_int("--windows", value, 1, INT32_MAX, &o->windows, e);
    default:
        if (o->file != NULL) return rs_fail(e, RS_USAGE, "more than one file: %s and %s", o->file, value);
        o->file = value;
        return RS_OK;
    }
}

static rs_status check_options(const rs_cli *cli, struct options *o, rs_error *e)
{
    const bool cuda = strcmp(cli->device, "cuda") == 0;
    if (o->kernels && (o->against != NULL || o->quick || o->format || o->values || o->reference)) return rs_fail(e, RS_USAGE, "--kernels excludes --quick, --format, --values, --against and --reference");
    if (!o->kernels && (o->against == NULL) != (o->text == NULL)) return rs_fail(e, RS_USAGE, "--against and --text go together");
    if (o->quick && (o->format || o->values || o->against != NULL)) return rs_fail(e, RS_USAGE, "--quick excludes --format, --values and --against");
    if (o->against != NULL && (o->format || o->values)) return rs_fail(e, RS_USAGE, "--against excludes --format and --values: run rs-verify twice");
    if (cuda && !o->kernels) return rs_fail(e, RS_USAGE, "--device goes with --kernels");
    if (cuda && rs_kernels_cuda() == NULL) return rs_fail(e, RS_USAGE, "--device cuda: %s", rs_kernels_cuda_reason());
    if (cuda) return rs_fail(e, RS_USAGE, "--device cuda: the CUDA kernels multiply no integers yet");
    if (o->ctx == 0) o->ctx = o->kernels ? 32 : 512;
    if (o->ctx == 1 && !o->kernels) return rs_fail(e, RS_USAGE, "--ctx: '1' is not a whole number from 2 to %d", 1 << 24);
    return RS_OK;
}

static void print_json(json_t *j)
{
    char *text = json_dumps(j, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    if (text != NULL) puts(text);
    free(text);
    json_decref(j);
}

static void print_stream(const rs_cli *cli, const char *name, const rs_verified *v)
{
    char text[33];
    if (cli->quiet) return;
    printf("%s: %s: %u tensors in %u frames, %.1f MB, xxh3-128 %s\n", name, v->whole ? v->values ? "good, values too" : "good" : "head, tail and index are good; not fully checked", v->tensors,
           v->frames, (double)v->size / 1e6, rs_verify_report_hex(v->digest, text));
    if (cli->verbose == 0) return;
    const rs_plan *p = &v->head.plan;
    printf("  %s %s, %llu layers\n", v->head.arch, v->head.model, (unsigned long long)v->head.layers);
    if (v->head.kind == RS_KIND_WEIGHTS)
        printf("  plan: activations %u bits, KV %u bits, online %s%s%s, junctions %s rank %llu\n", p->a.bits, p->kv.bits, p->r3.on ? "r3 " : "", p->r4.on ? "r4" : "", p->r3.on || p->r4.on ? "" : "none",
               p->resid == RS_RESID_NONE ? "none" : p->resid == RS_RESID_DENSE ? "dense" : "lowrank", (unsigned long long)p->rank);
}

static void on_bytes(void *context, double bytes)
{
    rs_progress_at(context, bytes / 1e6);
}

static rs_status verify_stream(const rs_cli *cli, const struct options *o, rs_error *e)
{
    rs_in *in = NULL;
    rs_verified v;
    rs_progress progress;
    uint64_t size = 0;
    rs_status s = rs_in_open(&in, o->file, e);
    if (s == RS_OK && rs_in_seekable(in)) s = rs_in_size(in, &size, e);
    rs_verify_options options = {.quick = o->quick, .strict = o->format, .values = o->values, .progress = on_bytes, .context = &progress};
    rs_progress_start(&progress, cli, "verify", "MB", (double)size / 1e6);
    if (s == RS_OK) s = rs_verify_stream(in, &options, &v, e);
    rs_progress_end(&progress);
    if (cli->json) {
        json_t *j = rs_verify_report_verdict(o->file, s, e);
        if (s == RS_OK) rs_verify_report_stream(j, &v);
        print_json(j);
    } else if (s == RS_OK) print_stream(cli, rs_in_name(in), &v);
    rs_in_close(in);
    return s;
}

struct layers {
    const rs_cli *cli;
    const struct options *o;
    json_t *list;
};

static void on_layer(void *context, const rs_against_layer *l)
{
    struct layers *c = context;
    double k = rs_measure_relative(&l->k), f = rs_measure_relative(&l->ffn);
    if (c->cli->json)
        json_array_append_new(c->list, json_pack("{s:I, s:f, s:f, s:f, s:f}", "layer", (json_int_t)l->layer, "k_abs", l->k.max_abs, "k_rel", isfinite(k) ? k : 1e308, "ffn_abs", l->ffn.max_abs, "ffn_rel",
                                                 isfinite(f) ? f : 1e308));
    else if (!c->cli->quiet && (c->cli->verbose > 0 || !(k <= c->o->tol && f <= c->o->tol)))
        printf("layer %-3llu  K max abs %.3g rel %.3g   FFN max abs %.3g rel %.3g%s\n", (unsigned long long)l->layer, l->k.max_abs, k, l->ffn.max_abs, f, k <= c->o->tol && f <= c->o->tol ? "" : "   above tolerance");
}

static void print_against(const rs_cli *cli, const struct options *o, json_t *list, const rs_against_result *r)
{
    double rel = rs_measure_relative(&r->logits);
    if (cli->json) {
        json_t *j = rs_verify_report_verdict(o->file, r->pass ? RS_OK : RS_NO, &(rs_error){0});
        json_object_set_new(j, "against", json_string(o->against));
        json_object_set_new(j, "tol", json_real(o->tol));
        json_object_set(j, "layers", list);
        json_object_set_new(j, "first_layer", json_integer((json_int_t)r->first_layer));
        json_object_set_new(j, "logits_abs", json_real(r->logits.max_abs));
        json_object_set_new(j, "logits_rel", json_real(isfinite(rel) ? rel : 1e308));
        json_object_set_new(j, "kl", json_real(isfinite(r->kl) ? r->kl : 1e308));
        json_object_set_new(j, "top1", json_real(r->top1));
        json_object_set_new(j, "tokens", json_integer((json_int_t)r->tokens));
        print_json(j);
    } else if (!cli->quiet)
        printf("%s: %s %s: logits max abs %.3g rel %.3g, KL %.3g (largest %.3g), top-1 %.2f %%, %zu tokens, tolerance %g\n", strcmp(o->file, "-") == 0 ? "standard input" : o->file, r->pass ? "computes the same as" : "DIFFERS from", o->against, r->logits.max_abs, rel,
               r->kl, r->kl_max, 100 * r->top1, r->tokens, o->tol);
}

static rs_status compare(const rs_cli *cli, const struct options *o, rs_mapped *m, rs_mapped *ref, rs_error *e)
{
    rs_network *n = NULL, *ref_n = NULL;
    int32_t *ids = NULL;
    size_t count = 0;
    const char *unmoved = NULL;
    const rs_kernels *k = o->reference ? rs_kernels_reference() : NULL;
    struct layers layers = {.cli = cli, .o = o, .list = json_array()};
    rs_against_options options = {.ctx = (size_t)o->ctx, .windows = (size_t)o->windows, .tol = o->tol, .layer = on_layer, .context = &layers};
    rs_against_result r;
    rs_status s = rs_network_open(&n, m, k, e);
    if (s == RS_OK) s = rs_network_open(&ref_n, ref, k, e);
    if (s == RS_OK) s = rs_text_ids(m, o->text, cli->threads, &ids, &count, NULL, e);
    if (s == RS_OK) s = rs_verify_moved(m, ref, &unmoved, e);
    if (s == RS_OK) s = rs_verify_against(n, ref_n, ids, count, &options, &r, e);
    if (s == RS_OK) s = rs_mapped_check(m, e);
    if (s == RS_OK) s = rs_mapped_check(ref, e);
    if (s == RS_OK) {
        print_against(cli, o, layers.list, &r);
        if (unmoved != NULL) s = rs_fail(e, RS_NO, "%s says that it was rotated, but its weights are the original's", unmoved);
        else if (r.first_layer >= 0) s = rs_fail(e, RS_NO, "layer %lld is the first above the tolerance of %g", (long long)r.first_layer, o->tol);
        else if (!r.pass) s = rs_fail(e, RS_NO, "the logits are above the tolerance of %g: %.3g", o->tol, rs_measure_relative(&r.logits));
    }
    json_decref(layers.list);
    free(ids);
    rs_network_close(n);
    rs_network_close(ref_n);
    return s;
}

static rs_status verify_against(const rs_cli *cli, const struct options *o, const char **file, rs_error *e)
{
    rs_mapped *m = NULL, *ref = NULL;
    rs_status s = rs_mapped_open(&m, o->file, e);
    if (s == RS_OK) {
        *file = o->against;
        s = rs_mapped_open(&ref, o->against, e);
    }
    if (s == RS_OK) {
        *file = o->file;
        s = compare(cli, o, m, ref, e);
    }
    rs_mapped_close(m);
    rs_mapped_close(ref);
    return s;
}

// ---- kernels

struct kernels {
    const rs_cli *cli;
    rs_progress progress;
    json_t *flips;
};

static void on_matrices(void *context, double done)
{
    rs_progress_at(&((struct kernels *)context)->progress, done);
}

static void on_flip(void *context, const rs_kernels_flip *f)
{
    struct kernels *c = context;
    if (c->cli->json)
        json_array_append_new(c->flips, json_pack("{s:I, s:s, s:I, s:I, s:f, s:f, s:f}", "layer", (json_int_t)f->layer, "input", f->what, "token", (json_int_t)f->token, "column", (json_int_t)f->column, "at",
                                                  f->at, "distance", f->distance, "allowed", f->allowed));
    else if (!c->cli->quiet)
        printf("layer %-3llu  input of %-4s  token %zu, column %zu: %.7f steps, %.3g from a boundary (%.3g allowed)\n", (unsigned long long)f->layer, f->what, f->token, f->column, f->at, f->distance,
               f->allowed);
}

static void print_kernels(const rs_cli *cli, const struct options *o, const rs_kernels_result *r, json_t *flips)
{
    if (cli->json) {
        json_t *j = rs_verify_report_verdict(o->file, r->failures == 0 ? RS_OK : RS_NO, &(rs_error){0});
        rs_kernels_report_json(j, r);
        if (cli->verbose > 0) json_object_set(j, "flips", flips);
        print_json(j);
    } else if (!cli->quiet) {
        char *table = rs_kernels_report_table(r);
        if (table != NULL) fputs(table, stdout);
        free(table);
        printf("%s: %s\n", strcmp(o->file, "-") == 0 ? "standard input" : o->file, r->failures == 0 ? "every variant computes the same" : "FAILED");
    }
}

static rs_status verify_kernels(const rs_cli *cli, const struct options *o, const char **file, rs_error *e)
{
    rs_mapped *m = NULL;
    int32_t *ids = NULL;
    size_t count = (size_t)o->ctx;
    struct kernels k = {.cli = cli, .flips = json_array()};
    rs_kernels_options options = {.flip = cli->verbose > 0 ? on_flip : NULL, .progress = on_matrices, .context = &k};
    rs_kernels_result r = {0};
    *file = o->file;
    rs_status s = rs_mapped_open(&m, o->file, e);
    if (s == RS_OK && o->text != NULL) s = rs_text_ids(m, o->text, cli->threads, &ids, &count, NULL, e);
    if (s == RS_OK) {
        rs_progress_start(&k.progress, cli, "kernels", "matrices", rs_kernels_total(m));
        s = rs_kernels_check(m, ids, count < (size_t)o->ctx ? count : (size_t)o->ctx, &options, &r, e);
        rs_progress_end(&k.progress);
    }
    if (s == RS_OK) s = rs_mapped_check(m, e);
    if (s == RS_OK) {
        print_kernels(cli, o, &r, k.flips);
        if (r.failures > 0) s = rs_fail(e, RS_NO, "%s", r.first);
    }
    json_decref(k.flips);
    free(ids);
    rs_mapped_close(m);
    return s;
}

int main(int argc, char **argv)
{
    rs_cli cli;
    rs_error e = {0};
    struct options o = {.tol = 1e-4, .windows = 1};
    rs_cli_start();
    rs_status s = rs_cli_parse(&cli, "rs-verify", usage_text, option_list, sizeof option_list / sizeof *option_list, argc, argv, parse, &o, &e);
    if (s == RS_OK) s = check_options(&cli, &o, &e);
    if (o.file == NULL) o.file = "-";
    if (s == RS_OK) s = rs_cli_one_stdin(3, (const char *const[]){o.file, o.against, o.text}, &e);
    const char *file = NULL;
    if (s == RS_OK) {
        file = o.file;
        rs_threads_set(cli.threads);
        rs_mapped_guard();
        s = o.kernels ? verify_kernels(&cli, &o, &file, &e) : o.against != NULL ? verify_against(&cli, &o, &file, &e) : verify_stream(&cli, &o, &e);
    }
    if (s == RS_NO && e.text[0] != 0) fprintf(stderr, "rs-verify: %s: %s\n", file, e.text);
    return rs_cli_exit(&cli, s, file, &e);
}
