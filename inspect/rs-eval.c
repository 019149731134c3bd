// SPDX-License-Identifier: Apache-2.0
// rs-eval: perplexity of a model on a text, with the activation and KV quantisers that its file asks for; KL and top-1 against another model.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/cli.h"
#include "formats/text.h"
#include "inspect/eval.h"
#include "kernels/threads.h"

static const char usage_text[] =
    "usage: rs-eval MODEL.rsq --text FILE [options]\n"
    "Perplexity of MODEL on FILE: non-overlapping windows, no BOS, exp of the mean over ctx - 1 predictions a window.\n"
    "Activations and the KV cache are quantised as MODEL's plan says. MODEL may be - (standard input).\n"
    "\n"
    "  --text FILE        text to score, as it is (UTF-8)\n"
    "  --ctx N            tokens in a window (default 1024)\n"
    "  --windows N        only the first N windows (default: all)\n"
    "  --bos              each window starts with the model's BOS token\n"
    "  --against REF.rsq  also KL(REF || MODEL) and top-1 agreement on the same windows\n"
    "  --reference        compute with the plain C kernels\n"
    "      --mem SIZE     memory for hidden states and logits (default 256M); weights are decoded one layer at a time\n"
    "  -j, --threads N    threads (default: all processors)\n"
    "      --json         results as JSON\n"
    "  -q, --quiet        no progress line\n"
    "      --help, --version\n"
    "\n"
    "Exit status: 0, or the class of the error (2 usage, 10-24 bad input, 30-32 system); 22 when the result is not a number.\n";

enum { OPT_TEXT = 1, OPT_CTX, OPT_WINDOWS, OPT_BOS, OPT_AGAINST, OPT_REFERENCE };

static const rs_option option_list[] = {
    {"text", 0, true, OPT_TEXT}, {"ctx", 0, true, OPT_CTX}, {"windows", 0, true, OPT_WINDOWS}, {"bos", 0, false, OPT_BOS}, {"against", 0, true, OPT_AGAINST}, {"reference", 0, false, OPT_REFERENCE},
};

struct options {
    const char *model, *text, *against;
    int64_t ctx, windows;
    bool bos, reference;
};

static rs_status parse(void *context, int id, const char *value, rs_error *e)
{
    struct options *o = context;
    switch (id) {
    case OPT_TEXT: o->text = value; return RS_OK;
    case OPT_CTX: return rs_cli_int("--ctx", value, 2, 1 << 24, &o->ctx, e);
    case OPT_WINDOWS: return rs_cli_int("--windows", value, 1, INT32_MAX, &o->windows, e);
    case OPT_BOS: o->bos = true; return RS_OK;
    case OPT_AGAINST: o->against = value; return RS_OK;
    case OPT_REFERENCE: o->reference = true; return RS_OK;
    default:
        if (o->model != NULL) return rs_fail(e, RS_USAGE, "more than one model: %s and %s", o->model, value);
        o->model = value;
        return RS_OK;
    }
}

// A member of an object; JSON has no NaN and no infinity, so they become null.
static void print_number(const char *before, const char *name, double x)
{
    if (isfinite(x)) printf("%s\"%s\": %.9g", before, name, x);
    else printf("%s\"%s\": null", before, name);
}

static void print_json(const struct options *o, const rs_eval_result *r, const char *kernels)
{
    printf("{\"windows\": %zu, \"ctx\": %lld, \"tokens\": %zu, \"predictions\": %zu", r->windows, (long long)o->ctx, r->tokens, r->predictions);
    print_number(", ", "nll", r->nll);
    print_number(", ", "nll_stderr", r->nll_stderr);
    print_number(", ", "perplexity", r->perplexity);
    print_number(", ", "seconds", r->seconds);
    print_number(", ", "tokens_per_s", (double)r->tokens / r->seconds);
    printf(", \"kernels\": \"%s\"", kernels);
    if (o->against != NULL) {
        printf(", \"against\": {");
        print_number("", "nll", r->ref_nll);
        print_number(", ", "perplexity", r->ref_perplexity);
        print_number(", ", "kl", r->kl);
        print_number(", ", "kl_max", r->kl_max);
        print_number(", ", "top1", r->top1);
        printf("}");
    }
    printf("}\n");
}

static void print_text(const struct options *o, const rs_eval_result *r, const char *kernels)
{
    printf("perplexity   %.4f  (nll %.5f +- %.5f)\n", r->perplexity, r->nll, r->nll_stderr);
    printf("windows      %zu x %lld tokens, %s\n", r->windows, (long long)o->ctx, o->bos ? "BOS first" : "no BOS");
    if (o->against != NULL) {
        printf("against      %s: perplexity %.4f\n", o->against, r->ref_perplexity);
        printf("KL           mean %.6g, largest %.6g nats\n", r->kl, r->kl_max);
        printf("top-1        %.2f %% agree\n", 100 * r->top1);
    }
    printf("speed        %.0f tokens/s (%s, %d threads)\n", (double)r->tokens / r->seconds, kernels, rs_threads_get());
}

static void on_progress(void *context, double done)
{
    rs_progress_at(context, done);
}

static rs_status evaluate(const rs_cli *cli, const struct options *o, rs_network *n, rs_network *ref, const int32_t *ids, size_t count, rs_eval_result *r, rs_error *e)
{
    rs_progress progress;
    size_t whole = count / (size_t)(o->ctx - (o->bos ? 1 : 0));
    double windows = o->windows != 0 && (size_t)o->windows < whole ? (double)o->windows : (double)whole;
    rs_eval_options options = {.ctx = (size_t)o->ctx, .windows = (size_t)o->windows, .bos = o->bos, .bos_id = (int32_t)rs_network_config(n)->bos, .mem = cli->mem,
                               .progress = on_progress, .context = &progress};
    if (o->bos && options.bos_id < 0) return rs_fail(e, RS_USAGE, "--bos: the model's configuration names no BOS token");
    rs_progress_start(&progress, cli, "eval", "tok", windows * (double)o->ctx);
    rs_status s = rs_eval_perplexity(n, ref, ids, count, &options, r, e);
    rs_progress_end(&progress);
    return s;
}

static rs_status run(const rs_cli *cli, const struct options *o, const char **file, rs_error *e)
{
    rs_mapped *m = NULL, *ref_m = NULL;
    rs_network *n = NULL, *ref = NULL;
    int32_t *ids = NULL;
    size_t count = 0;
    rs_eval_result r = {0};
    const rs_kernels *k = o->reference ? rs_kernels_reference() : NULL;
    *file = o->model;
    rs_status s = rs_mapped_open(&m, o->model, e);
    if (s == RS_OK) s = rs_network_open(&n, m, k, e);
    if (s == RS_OK && o->against != NULL) {
        *file = o->against;
        s = rs_mapped_open(&ref_m, o->against, e);
        if (s == RS_OK) s = rs_network_open(&ref, ref_m, k, e);
        if (s == RS_OK) *file = o->model;
    }
    if (s == RS_OK) s = rs_text_ids(m, o->text, cli->threads, &ids, &count, NULL, e);
    if (s == RS_OK) s = evaluate(cli, o, n, ref, ids, count, &r, e);
    if (s == RS_OK) s = rs_mapped_check(m, e);
    if (s == RS_OK && ref_m != NULL) s = rs_mapped_check(ref_m, e);
    if (s == RS_OK) (cli->json ? print_json : print_text)(o, &r, rs_network_kernels(n)->name);
    if (s == RS_OK && isnan(r.nll)) s = rs_fail(e, RS_E_VALUE, "the loss is not a number");
    free(ids);
    rs_network_close(n);
    rs_network_close(ref);
    rs_mapped_close(m);
    rs_mapped_close(ref_m);
    return s;
}

int main(int argc, char **argv)
{
    rs_cli cli;
    rs_error e = {0};
    struct options o = {.ctx = 1024};
    const char *file = NULL;
    rs_cli_start();
    rs_status s = rs_cli_parse(&cli, "rs-eval", usage_text, option_list, sizeof option_list / sizeof *option_list, argc, argv, parse, &o, &e);
    if (s == RS_OK && o.model == NULL) s = rs_fail(&e, RS_USAGE, "no model given; try rs-eval --help");
    if (s == RS_OK && o.text == NULL) s = rs_fail(&e, RS_USAGE, "no --text given; try rs-eval --help");
    if (s == RS_OK) s = rs_cli_one_stdin(3, (const char *const[]){o.model, o.text, o.against}, &e);
    if (s == RS_OK) {
        rs_threads_set(cli.threads);
        rs_mapped_guard();
        s = run(&cli, &o, &file, &e);
    }
    return rs_cli_exit(&cli, s, file, &e);
}
