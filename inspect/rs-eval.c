// SPDX-License-Identifier: Apache-2.0
// rs-eval: perplexity of a model on a text, with the activation and KV quantisers that its file asks for; KL and top-1 against another model; multiple-choice questions.
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/cli.h"
#include "formats/text.h"
#include "formats/utf8.h"
#include "inspect/eval.h"
#include "inspect/prompt.h"
#include "inspect/tasks_report.h"
#include "kernels/threads.h"

static const char usage_text[] =
    "usage: rs-eval MODEL.rsq --text FILE [options]\n"
    "       rs-eval MODEL.rsq --tasks FILE.jsonl [options]\n"
    "       rs-eval MODEL.rsq --prompt TEXT [options]\n"
    "Perplexity of MODEL on FILE: non-overlapping windows, no BOS, exp of the mean over ctx - 1 predictions a window.\n"
    "Or its accuracy on multiple-choice questions, one JSON object a line: {\"context\": text, \"choices\": [text, ...], \"label\": index}.\n"
    "Or TEXT continued, token by token, from packed weights and a packed KV cache.\n"
    "Activations and the KV cache are quantised as MODEL's plan says. MODEL may be - (standard input).\n"
    "\n"
    "  --text FILE        text to score, as it is (UTF-8)\n"
    "  --windows N        only the first N windows (default: all)\n"
    "  --against REF.rsq  also KL(REF || MODEL) and top-1 agreement on the same windows\n"
    "  --tasks FILE       questions to answer, as lm-evaluation-harness scores them\n"
    "  --limit N          only the first N questions (default: all)\n"
    "  --delimiter STR    stands between context and choice (default a space)\n"
    "  --scores FILE      also the score of every choice, as JSON lines\n"
    "  --prompt TEXT      text to continue; special tokens in it are recognised\n"
    "  --prompt-file FILE the same from a file\n"
    "  -n, --tokens N     at most N new tokens (default 128); an end token of the model ends the text before\n"
    "  --ignore-eos       no token ends the text\n"
    "  --temperature T    draw tokens at this temperature (default 0: always the likeliest)\n"
    "  --top-p P          of the likeliest that together have probability P (default 1: of all)\n"
    "  --seed N           of the draws (default 1)\n"
    "  --ctx N            tokens in a window (default 1024); longer questions lose the start of their context\n"
    "  --bos              each window or question starts with the model's BOS token\n"
    "  --integer          multiply packed weights and activations as integers and attend to a packed KV cache, instead of simulating both in f32\n"
    "  --reference        compute with the plain C kernels\n"
    "      --mem SIZE     memory for hidden states and logits (default 256M); weights are decoded one layer at a time\n"
    "  -j, --threads N    threads (default: all processors)\n"
    "      --json         results as JSON\n"
    "  -q, --quiet        no progress line\n"
    "      --help, --version\n"
    "\n"
    "Exit status: 0, or the class of the error (2 usage, 10-24 bad input, 30-32 system); 22 when the result is not a number.\n";

enum { OPT_TEXT = 1, OPT_CTX, OPT_WINDOWS, OPT_BOS, OPT_AGAINST, OPT_REFERENCE, OPT_TASKS, OPT_LIMIT, OPT_DELIMITER, OPT_SCORES, OPT_INTEGER,
       OPT_PROMPT, OPT_PROMPT_FILE, OPT_TOKENS, OPT_IGNORE_EOS, OPT_TEMPERATURE, OPT_TOP_P, OPT_SEED };

static const rs_option option_list[] = {
    {"text", 0, true, OPT_TEXT}, {"ctx", 0, true, OPT_CTX}, {"windows", 0, true, OPT_WINDOWS}, {"bos", 0, false, OPT_BOS}, {"against", 0, true, OPT_AGAINST}, {"reference", 0, false, OPT_REFERENCE},
    {"tasks", 0, true, OPT_TASKS}, {"limit", 0, true, OPT_LIMIT}, {"delimiter", 0, true, OPT_DELIMITER}, {"scores", 0, true, OPT_SCORES},
    {"integer", 0, false, OPT_INTEGER}, {"prompt", 0, true, OPT_PROMPT}, {"prompt-file", 0, true, OPT_PROMPT_FILE}, {"tokens", 'n', true, OPT_TOKENS}, {"ignore-eos", 0, false, OPT_IGNORE_EOS},
    {"temperature", 0, true, OPT_TEMPERATURE}, {"top-p", 0, true, OPT_TOP_P}, {"seed", 0, true, OPT_SEED},
};

struct options {
    const char *model, *text, *against, *tasks, *delimiter, *scores, *prompt, *prompt_file; // NULL: not given
    int64_t ctx, windows, limit, tokens, seed;
    double temperature, top_p;
    bool bos, reference, integer, ignore_eos, sampling; // sampling: an option that goes with a prompt only
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
    case OPT_INTEGER: o->integer = true; return RS_OK;
    case OPT_PROMPT: o->prompt = value; return RS_OK;
    case OPT_PROMPT_FILE: o->prompt_file = value; return RS_OK;
    case OPT_TOKENS: o->sampling = true; return rs_cli_int("--tokens", value, 1, 1 << 24, &o->tokens, e);
    case OPT_IGNORE_EOS: o->sampling = o->ignore_eos = true; return RS_OK;
    case OPT_TEMPERATURE: o->sampling = true; return rs_cli_real("--temperature", value, 0, 1e6, &o->temperature, e);
    case OPT_TOP_P: o->sampling = true; return rs_cli_real("--top-p", value, 1e-9, 1, &o->top_p, e);
    case OPT_SEED: o->sampling = true; return rs_cli_int("--seed", value, 0, INT64_MAX, &o->seed, e);
    case OPT_TASKS: o->tasks = value; return RS_OK;
    case OPT_LIMIT: return rs_cli_int("--limit", value, 1, INT32_MAX, &o->limit, e);
    case OPT_DELIMITER: o->delimiter = value; return RS_OK;
    case OPT_SCORES: o->scores = value; return RS_OK;
    default:
        if (o->model != NULL) return rs_fail(e, RS_USAGE, "more than one model: %s and %s", o->model, value);
        o->model = value;
        return RS_OK;
    }
}

static rs_status check_options(const struct options *o, rs_error *e)
{
    if (o->model == NULL) return rs_fail(e, RS_USAGE, "no model given; try rs-eval --help");
    const int modes = (o->text != NULL) + (o->tasks != NULL) + (o->prompt != NULL) + (o->prompt_file != NULL);
    if (modes == 0) return rs_fail(e, RS_USAGE, "none of --text, --tasks and --prompt given; try rs-eval --help");
    if (modes > 1) return rs_fail(e, RS_USAGE, "--text, --tasks, --prompt and --prompt-file exclude each other");
    if (o->text == NULL && (o->windows != 0 || o->against != NULL)) return rs_fail(e, RS_USAGE, "--windows and --against go with --text");
    if (o->tasks == NULL && (o->limit != 0 || o->delimiter != NULL || o->scores != NULL)) return rs_fail(e, RS_USAGE, "--limit, --delimiter and --scores go with --tasks");
    if (o->prompt == NULL && o->prompt_file == NULL && o->sampling) return rs_fail(e, RS_USAGE, "--tokens, --ignore-eos, --temperature, --top-p and --seed go with --prompt");
    return rs_cli_one_stdin(5, (const char *const[]){o->model, o->text, o->tasks, o->against, o->prompt_file}, e);
}

// ---- perplexity

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
    rs_progress_start(&progress, cli, "eval", "tok", windows * (double)o->ctx);
    rs_status s = rs_eval_perplexity(n, ref, ids, count, &options, r, e);
    rs_progress_end(&progress);
    return s;
}

static rs_status perplexity(const rs_cli *cli, const struct options *o, const rs_mapped *m, rs_network *n, const char **file, rs_error *e)
{
    rs_mapped *ref_m = NULL;
    rs_network *ref = NULL;
    int32_t *ids = NULL;
    size_t count = 0;
    rs_eval_result r = {0};
    rs_status s = RS_OK;
    if (o->against != NULL) {
        *file = o->against;
        s = rs_mapped_open(&ref_m, o->against, e);
        if (s == RS_OK) s = rs_network_open(&ref, ref_m, o->reference ? rs_kernels_reference() : NULL, e);
        if (s == RS_OK) *file = o->model;
    }
    if (s == RS_OK) s = rs_text_ids(m, o->text, cli->threads, &ids, &count, NULL, e);
    if (s == RS_OK) s = evaluate(cli, o, n, ref, ids, count, &r, e);
    if (s == RS_OK) s = rs_mapped_check(m, e);
    if (s == RS_OK && ref_m != NULL) s = rs_mapped_check(ref_m, e);
    if (s == RS_OK) (cli->json ? print_json : print_text)(o, &r, rs_network_kernels(n)->name);
    if (s == RS_OK && isnan(r.nll)) s = rs_fail(e, RS_E_VALUE, "the loss is not a number");
    free(ids);
    rs_network_close(ref);
    rs_mapped_close(ref_m);
    return s;
}

// ---- questions

static void print_row(const char *name, rs_tasks_result r)
{
    char shown[256];
    printf("%-20s %6zu", rs_escape(shown, sizeof shown, name, strlen(name)), r.n);
    for (int i = 0; i < 2; i++) {
        double error = i == 0 ? r.acc_stderr : r.acc_norm_stderr;
        printf("   %8.4f", i == 0 ? r.acc : r.acc_norm);
        if (isnan(error)) printf(" %6s", "-");
        else printf(" %.4f", error);
    }
    printf("\n");
}

static rs_status print_tasks(const rs_cli *cli, const struct options *o, const rs_tasks *t, const char *kernels, rs_error *e)
{
    if (cli->json) {
        char *text = rs_tasks_report_json(t, (size_t)o->ctx, kernels);
        if (text == NULL) return rs_fail(e, RS_E_NOMEM, "results");
        printf("%s\n", text);
        free(text);
        return RS_OK;
    }
    printf("%-20s %6s   %8s %6s   %8s %6s\n", "task", "n", "acc", "+-", "acc_norm", "+-");
    for (size_t i = 0; i < t->n_names; i++) print_row(t->name[i], rs_tasks_summary(t, i));
    print_row("all", rs_tasks_summary(t, RS_TASKS_ALL));
    if (t->cut > 0) printf("cut          %zu of %zu choices, whose contexts do not fit into %lld tokens\n", t->cut, t->n_choices, (long long)o->ctx);
    printf("speed        %.0f tokens/s (%s, %d threads)\n", (double)t->tokens / t->seconds, kernels, rs_threads_get());
    return RS_OK;
}

// Writes the scores to --scores.
static rs_status write_scores(const struct options *o, const rs_mapped *m, const rs_tasks *t, rs_error *e)
{
    rs_out *out;
    RS_TRY(rs_out_open(&out, o->scores, (rs_in *const[]){rs_mapped_in(m)}, 1, e));
    rs_status s = rs_tasks_report_scores(t, out, e);
    if (s == RS_OK) s = rs_out_commit(out, e);
    rs_out_close(out);
    return s;
}

static rs_status questions(const rs_cli *cli, const struct options *o, const rs_mapped *m, rs_network *n, const char **file, rs_error *e)
{
    const rs_tasks_options options = {.ctx = (size_t)o->ctx, .limit = (size_t)o->limit, .delimiter = o->delimiter != NULL ? o->delimiter : " ", .bos = o->bos};
    rs_progress progress;
    rs_tokenizer *tokenizer;
    rs_tasks t = {0};
    RS_TRY(rs_text_tokenizer(m, &tokenizer, e));
    *file = o->tasks;
    rs_status s = rs_tasks_read(&t, tokenizer, rs_network_config(n), o->tasks, &options, e);
    rs_tokenizer_free(tokenizer);
    if (s == RS_OK) {
        *file = o->model;
        rs_progress_start(&progress, cli, "tasks", "tok", (double)t.tokens);
        s = rs_tasks_score(n, &t, cli->mem, on_progress, &progress, e);
        rs_progress_end(&progress);
    }
    if (s == RS_OK) s = rs_mapped_check(m, e);
    if (s == RS_OK && o->scores != NULL) {
        *file = o->scores;
        s = write_scores(o, m, &t, e);
    }
    if (s == RS_OK) s = print_tasks(cli, o, &t, rs_network_kernels(n)->name, e);
    rs_tasks_free(&t);
    return s;
}

// ---- a prompt

struct answer {
    bool json, failed;
    char *text; // for JSON, which comes at the end
    size_t len;
};

static bool on_piece(void *context, const char *bytes, size_t len)
{
    struct answer *a = context;
    if (!a->json) return fwrite(bytes, 1, len, stdout) == len && fflush(stdout) == 0;
    char *more = realloc(a->text, a->len + len + 1);
    a->failed = more == NULL;
    if (a->failed) return false;
    memcpy(more + a->len, bytes, len);
    a->text = more;
    a->len += len;
    a->text[a->len] = 0;
    return true;
}

static rs_status print_answer(const rs_cli *cli, struct answer *a, const rs_prompt_result *r, rs_error *e)
{
    const double prefill = (double)r->prompt_tokens / r->prefill, decode = r->tokens > 1 ? (double)(r->tokens - 1) / r->decode : NAN;
    if (!cli->json) {
        printf("\n");
        if (cli->verbose > 0)
            fprintf(stderr, "rs-eval: prompt %zu tokens, %.1f tokens/s; then %zu tokens, %.1f tokens/s; ended by %s; KV cache %.1f MB\n", r->prompt_tokens, prefill, r->tokens, decode,
                    r->stopped ? "the model" : "--tokens", 1e-6 * (double)r->cache_bytes);
        return RS_OK;
    }
    if (a->failed) return rs_fail(e, RS_E_NOMEM, "text");
    for (size_t bad; a->len > 0 && (bad = rs_utf8_valid(a->text, a->len)) < a->len;) a->text[bad] = '?'; // JSON has no bytes that are no characters
    json_t *text = json_stringn(a->text != NULL ? a->text : "", a->len);
    char *quoted = text != NULL ? json_dumps(text, JSON_ENCODE_ANY) : NULL;
    json_decref(text);
    if (quoted == NULL) return rs_fail(e, RS_E_NOMEM, "text");
    printf("{\"text\": %s, \"prompt_tokens\": %zu, \"tokens\": %zu, \"stopped\": %s", quoted, r->prompt_tokens, r->tokens, r->stopped ? "true" : "false");
    print_number(", ", "prefill_tokens_per_s", prefill);
    print_number(", ", "decode_tokens_per_s", decode);
    printf(", \"kv_cache_bytes\": %zu}\n", r->cache_bytes);
    free(quoted);
    return RS_OK;
}

static rs_status answer(const rs_cli *cli, const struct options *o, const rs_mapped *m, rs_network *n, const char **file, rs_error *e)
{
    const rs_config *c = rs_network_config(n);
    struct answer a = {.json = cli->json};
    const rs_prompt_options options = {.tokens = (size_t)o->tokens, .sampling = {o->temperature, o->top_p, (uint64_t)o->seed}, .bos = o->bos, .bos_id = (int32_t)c->bos, .stop = &c->eos,
                                       .n_stop = !o->ignore_eos && c->eos >= 0, .by = o->reference ? rs_int_reference() : NULL, .piece = on_piece, .context = &a};
    rs_prompt_result r;
    rs_tokenizer *t = NULL;
    char *text = NULL;
    size_t len = o->prompt != NULL ? strlen(o->prompt) : 0;
    rs_status s = rs_text_tokenizer(m, &t, e);
    if (s == RS_OK && o->prompt_file != NULL) {
        *file = o->prompt_file;
        s = rs_cli_slurp(o->prompt_file, RS_TEXT_MAX, &text, &len, e);
        if (s == RS_OK) *file = o->model;
    }
    if (s == RS_OK) s = rs_prompt_continue(n, t, text != NULL ? text : o->prompt, len, &options, &r, e);
    if (s == RS_OK) s = rs_mapped_check(m, e);
    if (s == RS_OK) s = print_answer(cli, &a, &r, e);
    rs_tokenizer_free(t);
    free(text);
    free(a.text);
    return s;
}

static rs_status run(const rs_cli *cli, const struct options *o, const char **file, rs_error *e)
{
    rs_mapped *m = NULL;
    rs_network *n = NULL;
    *file = o->model;
    rs_status s = rs_mapped_open(&m, o->model, e);
    if (s == RS_OK) s = rs_network_open(&n, m, o->reference ? rs_kernels_reference() : NULL, e);
    if (s == RS_OK && o->bos && rs_network_config(n)->bos < 0) s = rs_fail(e, RS_USAGE, "--bos: the model's configuration names no BOS token");
    if (s == RS_OK && o->integer) rs_network_integer(n, o->reference ? rs_int_reference() : rs_int_cpu());
    if (s == RS_OK && o->tasks != NULL) s = questions(cli, o, m, n, file, e);
    if (s == RS_OK && o->text != NULL) s = perplexity(cli, o, m, n, file, e);
    if (s == RS_OK && (o->prompt != NULL || o->prompt_file != NULL)) s = answer(cli, o, m, n, file, e);
    rs_network_close(n);
    rs_mapped_close(m);
    return s;
}

int main(int argc, char **argv)
{
    rs_cli cli;
    rs_error e = {0};
    struct options o = {.ctx = 1024, .tokens = 128, .top_p = 1, .seed = 1};
    const char *file = NULL;
    rs_cli_start();
    rs_status s = rs_cli_parse(&cli, "rs-eval", usage_text, option_list, sizeof option_list / sizeof *option_list, argc, argv, parse, &o, &e);
    if (s == RS_OK) s = check_options(&o, &e);
    if (s == RS_OK) {
        rs_threads_set(cli.threads);
        rs_mapped_guard();
        s = run(&cli, &o, &file, &e);
    }
    return rs_cli_exit(&cli, s, file, &e);
}
