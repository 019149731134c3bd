// SPDX-License-Identifier: Apache-2.0
// rs-eval: perplexity of a model on a text, with the activation and KV quantisers that its file asks for; KL and top-1 against another model; multiple-choice questions; text from a prompt;
// how fast the model runs.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "formats/text.h"
#include "formats/utf8.h"
#include "inspect/eval_cli.h"
#include "inspect/eval_report.h"
#include "inspect/tasks_report.h"
#include "kernels/threads.h"

// ---- perplexity

// A line of JSON, freed; NULL: memory is short.
static rs_status print_json(char *text, rs_error *e)
{
    if (text == NULL) return rs_fail(e, RS_E_NOMEM, "results");
    printf("%s\n", text);
    free(text);
    return RS_OK;
}

static rs_status print_perplexity(const rs_eval_cli *o, const rs_eval_result *r, const char *kernels, rs_error *e)
{
    if (o->cli.json) return print_json(rs_eval_report_json(r, (size_t)o->ctx, o->against != NULL, kernels), e);
    printf("perplexity   %.4f  (nll %.5f +- %.5f)\n", r->perplexity, r->nll, r->nll_stderr);
    printf("windows      %zu x %lld tokens, %s\n", r->windows, (long long)o->ctx, o->bos ? "BOS first" : "no BOS");
    if (o->against != NULL) {
        printf("against      %s: perplexity %.4f\n", o->against, r->ref_perplexity);
        printf("KL           mean %.6g, largest %.6g nats\n", r->kl, r->kl_max);
        printf("top-1        %.2f %% agree\n", 100 * r->top1);
    }
    printf("speed        %.0f tokens/s (%s, %d threads)\n", (double)r->tokens / r->seconds, kernels, rs_threads_get());
    return RS_OK;
}

static void on_progress(void *context, double done)
{
    rs_progress_at(context, done);
}

static rs_status evaluate(const rs_eval_cli *o, rs_network *n, rs_network *ref, const int32_t *ids, size_t count, rs_eval_result *r, rs_error *e)
{
    rs_progress progress;
    size_t whole = count / (size_t)(o->ctx - (o->bos ? 1 : 0));
    double windows = o->windows != 0 && (size_t)o->windows < whole ? (double)o->windows : (double)whole;
    rs_eval_options options = {.ctx = (size_t)o->ctx, .windows = (size_t)o->windows, .bos = o->bos, .bos_id = (int32_t)rs_network_config(n)->bos, .mem = o->cli.mem,
                               .progress = on_progress, .context = &progress};
    rs_progress_start(&progress, &o->cli, "eval", "tok", windows * (double)o->ctx);
    rs_status s = rs_eval_perplexity(n, ref, ids, count, &options, r, e);
    rs_progress_end(&progress);
    return s;
}

static rs_status perplexity(const rs_eval_cli *o, const rs_mapped *m, rs_network *n, const char **file, rs_error *e)
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
        if (s == RS_OK) s = rs_network_open(&ref, ref_m, o->k, e);
        if (s == RS_OK) rs_network_sums(ref);
        if (s == RS_OK) *file = o->model;
    }
    if (s == RS_OK) s = rs_text_ids(m, o->text, o->cli.threads, &ids, &count, NULL, e);
    if (s == RS_OK) s = evaluate(o, n, ref, ids, count, &r, e);
    if (s == RS_OK) s = rs_mapped_check(m, e);
    if (s == RS_OK && ref_m != NULL) s = rs_mapped_check(ref_m, e);
    if (s == RS_OK) s = print_perplexity(o, &r, rs_network_kernels(n)->name, e);
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

static rs_status print_tasks(const rs_eval_cli *o, const rs_tasks *t, const char *kernels, rs_error *e)
{
    if (o->cli.json) return print_json(rs_tasks_report_json(t, (size_t)o->ctx, kernels), e);
    printf("%-20s %6s   %8s %6s   %8s %6s\n", "task", "n", "acc", "+-", "acc_norm", "+-");
    for (size_t i = 0; i < t->n_names; i++) print_row(t->name[i], rs_tasks_summary(t, i));
    print_row("all", rs_tasks_summary(t, RS_TASKS_ALL));
    if (t->cut > 0) printf("cut          %zu of %zu choices, whose contexts do not fit into %lld tokens\n", t->cut, t->n_choices, (long long)o->ctx);
    printf("speed        %.0f tokens/s (%s, %d threads)\n", (double)t->tokens / t->seconds, kernels, rs_threads_get());
    return RS_OK;
}

// Writes the scores to --scores.
static rs_status write_scores(const rs_eval_cli *o, const rs_mapped *m, const rs_tasks *t, rs_error *e)
{
    rs_out *out;
    RS_TRY(rs_out_open(&out, o->scores, (rs_in *const[]){rs_mapped_in(m)}, 1, e));
    rs_status s = rs_tasks_report_scores(t, out, e);
    if (s == RS_OK) s = rs_out_commit(out, e);
    rs_out_close(out);
    return s;
}

static rs_status questions(const rs_eval_cli *o, const rs_mapped *m, rs_network *n, const char **file, rs_error *e)
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
        rs_progress_start(&progress, &o->cli, "tasks", "tok", (double)t.tokens);
        s = rs_tasks_score(n, &t, o->cli.mem, on_progress, &progress, e);
        rs_progress_end(&progress);
    }
    if (s == RS_OK) s = rs_mapped_check(m, e);
    if (s == RS_OK && o->scores != NULL) {
        *file = o->scores;
        s = write_scores(o, m, &t, e);
    }
    if (s == RS_OK) s = print_tasks(o, &t, rs_network_kernels(n)->name, e);
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

static rs_status print_answer(const rs_eval_cli *o, struct answer *a, const rs_prompt_result *r, rs_error *e)
{
    if (!o->cli.json) {
        const double prefill = (double)r->prompt_tokens / r->prefill, decode = r->tokens > 1 ? (double)(r->tokens - 1) / r->decode : NAN;
        printf("\n");
        if (o->cli.verbose > 0)
            fprintf(stderr, "rs-eval: prompt %zu tokens, %.1f tokens/s; then %zu tokens, %.1f tokens/s; ended by %s; KV cache %.1f MB\n", r->prompt_tokens, prefill, r->tokens, decode,
                    r->stopped ? "the model" : "--tokens", 1e-6 * (double)r->cache_bytes);
        return RS_OK;
    }
    if (a->failed) return rs_fail(e, RS_E_NOMEM, "text");
    return print_json(rs_prompt_report_json(r, a->text, a->len), e);
}

// What goes into the model: the prompt, or a conversation of it that waits for an answer. *text: malloc.
static rs_status prompt_text(const rs_eval_cli *o, const rs_mapped *m, const char **file, char **text, size_t *len, rs_error *e)
{
    if (o->prompt_file != NULL) {
        *file = o->prompt_file;
        RS_TRY(rs_cli_slurp(o->prompt_file, RS_TEXT_MAX, text, len, e));
        *file = o->model;
    } else {
        *text = strdup(o->prompt);
        *len = strlen(o->prompt);
    }
    if (*text == NULL) return rs_fail(e, RS_E_NOMEM, "prompt");
    if (!o->chat) return RS_OK;
    if (strlen(*text) != *len) return rs_fail(e, RS_E_IMPORT, "a message with a NUL byte");
    const rs_chat_message all[] = {{"system", o->system}, {"user", *text}};
    rs_chat_files files = {0};
    char *rendered = NULL;
    rs_status s = rs_text_chat(m, &files, e);
    if (s == RS_OK) s = rs_chat_render(&files, o->system != NULL ? all : all + 1, o->system != NULL ? 2 : 1, true, (int64_t)time(NULL), &rendered, len, e);
    rs_chat_files_clear(&files);
    free(*text);
    *text = rendered;
    return s;
}

static rs_status answer(const rs_eval_cli *o, const rs_mapped *m, rs_network *n, const char **file, rs_error *e)
{
    struct answer a = {.json = o->cli.json};
    rs_stops stops = {.n = 0};
    rs_prompt_result r;
    rs_tokenizer *t = NULL;
    char *text = NULL;
    size_t len = 0;
    rs_status s = rs_text_tokenizer(m, &t, e);
    if (s == RS_OK && !o->ignore_eos) s = rs_text_stops(m, rs_network_config(n), t, &stops, e);
    if (s == RS_OK) s = prompt_text(o, m, file, &text, &len, e);
    const rs_prompt_options options = {.tokens = (size_t)o->tokens, .sampling = o->sampling, .bos = o->bos, .bos_id = (int32_t)rs_network_config(n)->bos, .stop = stops.id, .n_stop = stops.n,
                                       .by = o->by, .piece = on_piece, .context = &a};
    if (s == RS_OK) s = rs_prompt_continue(n, t, text, len, &options, &r, e);
    if (s == RS_OK) s = rs_mapped_check(m, e);
    if (s == RS_OK) s = print_answer(o, &a, &r, e);
    rs_tokenizer_free(t);
    free(text);
    free(a.text);
    return s;
}

// ---- rates

static rs_status print_bench(const rs_eval_cli *o, const rs_bench_options *b, const rs_bench_result *r, rs_error *e)
{
    if (o->cli.json) return print_json(rs_bench_report_json(r, b, rs_int_name(b->by), rs_threads_get()), e);
    printf("prefill      %.1f tokens/s (%zu tokens); %.3g products of codes a second, ", r->prefill, b->prefill, r->products * r->prefill);
    if (r->products_rate > 0) printf("%.0f %% of what %s reaches on registers\n", 100 * r->products_share, rs_int_instruction(b->by));
    else printf("%s\n", b->by == rs_int_reference() ? "in plain C" : rs_int_instruction(b->by));
    printf("decode       %.1f tokens/s (%zu tokens); %.1f MB a token, %.0f %% of the read bandwidth of %.1f GB/s\n", r->decode, b->tokens, 1e-6 * r->bytes, 100 * r->read_share, 1e-9 * r->read_rate);
    if (r->junctions) printf("junctions    prefill %+.2f %%, decode %+.2f %% of the time without them\n", 100 * r->prefill_cost, 100 * r->decode_cost);
    else printf("junctions    none\n");
    printf("KV cache     %.1f MB for %zu tokens\n", 1e-6 * (double)r->cache_bytes, b->prefill + b->tokens);
    printf("kernels      %s, %d threads, %zu rounds\n", rs_int_name(b->by), rs_threads_get(), b->rounds);
    return RS_OK;
}

static rs_status bench(const rs_eval_cli *o, const rs_mapped *m, rs_network *n, rs_error *e)
{
    rs_progress progress;
    const rs_bench_options options = {.prefill = (size_t)o->prefill, .tokens = (size_t)o->tokens, .rounds = (size_t)o->rounds, .by = o->by,
                                      .progress = on_progress, .context = &progress};
    rs_bench_result r;
    rs_progress_start(&progress, &o->cli, "bench", "round", (double)o->rounds);
    rs_status s = rs_bench_run(n, &options, &r, e);
    rs_progress_end(&progress);
    if (s == RS_OK) s = rs_mapped_check(m, e);
    if (s == RS_OK) s = print_bench(o, &options, &r, e);
    return s;
}

static rs_status run(const rs_eval_cli *o, const char **file, rs_error *e)
{
    rs_mapped *m = NULL;
    rs_network *n = NULL;
    *file = o->model;
    rs_status s = rs_mapped_open(&m, o->model, e);
    if (s == RS_OK) s = rs_network_open(&n, m, o->k, e);
    if (s == RS_OK && o->bos && rs_network_config(n)->bos < 0) s = rs_fail(e, RS_USAGE, "--bos: the model's configuration names no BOS token");
    if (s == RS_OK) rs_network_sums(n);
    if (s == RS_OK && o->integer) rs_network_integer(n, o->by);
    if (s == RS_OK && o->tasks != NULL) s = questions(o, m, n, file, e);
    if (s == RS_OK && o->text != NULL) s = perplexity(o, m, n, file, e);
    if (s == RS_OK && o->bench) s = bench(o, m, n, e);
    if (s == RS_OK && (o->prompt != NULL || o->prompt_file != NULL)) s = answer(o, m, n, file, e);
    rs_network_close(n);
    rs_mapped_close(m);
    return s;
}

int main(int argc, char **argv)
{
    rs_eval_cli o;
    rs_error e = {0};
    const char *file = NULL;
    rs_cli_start();
    rs_status s = rs_eval_cli_parse(&o, argc, argv, &e);
    if (s == RS_OK) {
        rs_threads_set(o.cli.threads);
        rs_mapped_guard();
        s = run(&o, &file, &e);
    }
    return rs_cli_exit(&o.cli, s, file, &e);
}
