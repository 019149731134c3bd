// SPDX-License-Identifier: Apache-2.0
// rs-learn: learns the rotations of a model on a text, so that its quantised activations lose the least.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/cli.h"
#include "formats/text.h"
#include "kernels/threads.h"
#include "transforms/learn_file.h"
#include "transforms/learn_log.h"
#include "transforms/search.h"

static const char usage_text[] =
    "Usage: rs-learn MODEL.rsq --text FILE -o ROT.rsq [OPTION]...\n"
    "Learns rotations for MODEL (as rs-import made it) on the text FILE; rs-fuse -R folds them in.\n"
    "\n"
    "      --text=FILE       text to learn from (UTF-8, as it is)\n"
    "      --mode=MODE       search: the best of --seeds random Hadamards; global: one rotation (SpinQuant);\n"
    "                        dense: one for each place (ReSpinQuant; default); chain: R_0 and junctions of rank --rank\n"
    "  -r, --rank=R          rank of the junctions of a chain, even (default 32)\n"
    "      --project=R       dense: keep to what junctions of rank R can express, at each look and at the end\n"
    "      --init=START      walsh: a Hadamard without random signs; or a rotation set to go on from\n"
    "                        (default: a randomised Hadamard by --seed)\n"
    "      --seed=N          start, order of sequences (default 1)\n"
    "      --seeds=N         how many Hadamards --mode search tries, from --seed on (default 16)\n"
    "      --steps=N         steps (default 80)\n"
    "      --length=N        tokens in a sequence (default 512)\n"
    "      --batch=N         sequences in a step (default 1)\n"
    "      --sequences=N     different sequences to learn from (default: all of the text)\n"
    "      --lr=X            step of the bases (default 1.5; 0.15 in a chain; 0.01 with --optimizer adam)\n"
    "      --head-lr=X       step of the head rotations (default: as --lr)\n"
    "      --chain-lr=X      step of Adam on the junctions of a chain (default 0.0003)\n"
    "      --optimizer=NAME  of bases and heads: sgd, along the gradient (default), or adam\n"
    "      --decay=KIND      of the steps: linear (default), cosine, none\n"
    "      --a-bits=N        bits of activations, 2 to 8, or 16: not quantised (default 4)\n"
    "      --kv-bits=N       bits of K and V (default 4)\n"
    "      --loss=KIND       ce: cross-entropy (default); kl: against full-precision logits; ce+kl: their sum\n"
    "      --holdout=N       sequences to judge by, never learned from (default 4)\n"
    "      --eval-every=N    steps between two looks at them (default 20)\n"
    "      --patience=N      end after N looks without a better loss (default 0: never)\n"
    "      --log=FILE        each step and look as a line of JSON\n"
    "      --checkpoint=FILE where to save for --resume (default: the output with .ckpt behind it)\n"
    "      --save-every=N    save every N steps (default 0: only when interrupted)\n"
    "      --resume          go on from the checkpoint\n"
    "      --dry-run         say what memory and how many operations a step needs, and end\n"
    "      --mem=SIZE        memory to stay within: less of it, and more is computed twice\n"
    "  -o, --output=FILE     write to FILE, atomically (default: standard output)\n"
    "  -j, --threads=N       threads (default: all processors)\n"
    "  -v, --verbose         each look at the held-out sequences on standard error\n"
    "  -q, --quiet           no progress line, no remarks\n"
    "      --help, --version\n"
    "\n"
    "Exit status: 0 success, 2 usage, 22 a loss or gradient that is not a number (the best set so far is written),\n"
    "130 interrupted and saved, 10 to 32 as rs-verify(1) lists them.\n";

struct options {
    rs_cli cli;
    const char *model, *text, *init, *log, *checkpoint;
    rs_learn_options learn;
    int64_t seeds, save_every;
    bool search, resume, dry_run, lr_given, head_lr_given;
};

enum { OPERAND, TEXT, MODE, RANK, PROJECT, INIT, SEED, SEEDS, STEPS, LENGTH, BATCH, SEQUENCES, LR, HEAD_LR, CHAIN_LR, OPTIMIZER, DECAY, A_BITS, KV_BITS, LOSS, HOLDOUT, EVAL_EVERY, PATIENCE, LOG, CHECKPOINT, SAVE_EVERY, RESUME, DRY_RUN };
static const rs_option own[] = {
    {"text", 0, true, TEXT}, {"mode", 0, true, MODE}, {"rank", 'r', true, RANK}, {"project", 0, true, PROJECT}, {"init", 0, true, INIT}, {"seed", 0, true, SEED}, {"seeds", 0, true, SEEDS}, {"steps", 0, true, STEPS},
    {"length", 0, true, LENGTH}, {"batch", 0, true, BATCH}, {"sequences", 0, true, SEQUENCES}, {"lr", 0, true, LR}, {"head-lr", 0, true, HEAD_LR}, {"chain-lr", 0, true, CHAIN_LR},
    {"optimizer", 0, true, OPTIMIZER}, {"decay", 0, true, DECAY}, {"a-bits", 0, true, A_BITS}, {"kv-bits", 0, true, KV_BITS}, {"loss", 0, true, LOSS}, {"holdout", 0, true, HOLDOUT},
    {"eval-every", 0, true, EVAL_EVERY}, {"patience", 0, true, PATIENCE}, {"log", 0, true, LOG}, {"checkpoint", 0, true, CHECKPOINT}, {"save-every", 0, true, SAVE_EVERY},
    {"resume", 0, false, RESUME}, {"dry-run", 0, false, DRY_RUN},
};

// Index of value among words (n of them).
static rs_status word(const char *what, const char *value, const char *const *words, int n, int *index, rs_error *e)
{
    for (*index = 0; *index < n; ++*index)
        if (strcmp(value, words[*index]) == 0) return RS_OK;
    return rs_fail(e, RS_USAGE, "%s: %s is not one of its kinds; try rs-learn --help", what, value);
}

static rs_status number(const char *what, const char *value, int64_t lo, int64_t hi, uint64_t *out, rs_error *e)
{
    int64_t x;
    RS_TRY(rs_cli_int(what, value, lo, hi, &x, e));
    *out = (uint64_t)x;
    return RS_OK;
}

static rs_status bits(const char *what, const char *value, unsigned *out, rs_error *e)
{
    uint64_t x;
    RS_TRY(number(what, value, 2, 16, &x, e));
    if (x > 8 && x != 16) return rs_fail(e, RS_USAGE, "%s: 2 to 8, or 16 for none", what);
    *out = (unsigned)x;
    return RS_OK;
}

static rs_status option(void *context, int id, const char *value, rs_error *e)
{
    static const char *const modes[] = {"global", "dense", "chain", "search"}, *const decays[] = {"none", "linear", "cosine"}, *const losses[] = {"ce", "kl", "ce+kl"}, *const optimizers[] = {"sgd", "adam"};
    struct options *o = context;
    rs_learn_options *l = &o->learn;
    int i;
    switch (id) {
    case TEXT: o->text = value; return RS_OK;
    case MODE:
        RS_TRY(word("--mode", value, modes, 4, &i, e));
        o->search = i == 3;
        l->mode = o->search ? RS_LEARN_GLOBAL : (rs_learn_mode)i;
        return RS_OK;
    case RANK: return number("--rank", value, 2, 1 << 24, &l->rank, e);
    case PROJECT: return number("--project", value, 2, 1 << 24, &l->project, e);
    case INIT: o->init = value; return RS_OK;
    case SEED: return number("--seed", value, 0, INT64_MAX, &l->seed, e);
    case SEEDS: return rs_cli_int("--seeds", value, 1, 1 << 20, &o->seeds, e);
    case STEPS: return number("--steps", value, 0, 1 << 30, &l->steps, e);
    case LENGTH: return number("--length", value, 2, 1 << 20, &l->S, e);
    case BATCH: return number("--batch", value, 1, 1 << 20, &l->batch, e);
    case SEQUENCES: return number("--sequences", value, 1, INT32_MAX, &l->sequences, e);
    case LR: o->lr_given = true; return rs_cli_real("--lr", value, 0, 1e6, &l->rates.bases, e);
    case HEAD_LR: o->head_lr_given = true; return rs_cli_real("--head-lr", value, 0, 1e6, &l->rates.heads, e);
    case CHAIN_LR: return rs_cli_real("--chain-lr", value, 0, 1e6, &l->rates.chain, e);
    case OPTIMIZER:
        RS_TRY(word("--optimizer", value, optimizers, 2, &i, e));
        l->adam = i == 1;
        return RS_OK;
    case DECAY:
        RS_TRY(word("--decay", value, decays, 3, &i, e));
        l->decay = (rs_learn_decay)i;
        return RS_OK;
    case A_BITS: return bits("--a-bits", value, &l->bits.a.bits, e);
    case KV_BITS: return bits("--kv-bits", value, &l->bits.kv.bits, e);
    case LOSS:
        RS_TRY(word("--loss", value, losses, 3, &i, e));
        l->ce = i == 1 ? 0 : 1;
        l->kl = i == 0 ? 0 : 1;
        return RS_OK;
    case HOLDOUT: return number("--holdout", value, 0, INT32_MAX, &l->holdout, e);
    case EVAL_EVERY: return number("--eval-every", value, 0, INT32_MAX, &l->eval_every, e);
    case PATIENCE: return number("--patience", value, 0, INT32_MAX, &l->patience, e);
    case LOG: o->log = value; return RS_OK;
    case CHECKPOINT: o->checkpoint = value; return RS_OK;
    case SAVE_EVERY: return rs_cli_int("--save-every", value, 0, INT32_MAX, &o->save_every, e);
    case RESUME: o->resume = true; return RS_OK;
    case DRY_RUN: o->dry_run = true; return RS_OK;
    default: break;
    }
    if (o->model != NULL) return rs_fail(e, RS_USAGE, "more than one model: %s and %s", o->model, value);
    o->model = value;
    return RS_OK;
}

static rs_status parse(struct options *o, int argc, char **argv, rs_error *e)
{
    rs_learn_options *l = &o->learn;
    RS_TRY(rs_cli_parse(&o->cli, "rs-learn", usage_text, own, sizeof own / sizeof own[0], argc, argv, option, o, e));
    if (o->model == NULL) return rs_fail(e, RS_USAGE, "no model given; try rs-learn --help");
    if (o->text == NULL) return rs_fail(e, RS_USAGE, "no --text given; try rs-learn --help");
    if (l->rank % 2 != 0) return rs_fail(e, RS_USAGE, "--rank: %llu is odd, and a plane of rotation has two dimensions", (unsigned long long)l->rank);
    if (l->project % 2 != 0) return rs_fail(e, RS_USAGE, "--project: %llu is odd, and a plane of rotation has two dimensions", (unsigned long long)l->project);
    if (l->project > 0 && l->mode != RS_LEARN_DENSE) return rs_fail(e, RS_USAGE, "--project goes with --mode dense");
    if (o->search && (o->init != NULL || o->resume)) return rs_fail(e, RS_USAGE, "--mode search starts at random Hadamards: no --init, no --resume");
    if ((o->save_every > 0 || o->resume) && o->checkpoint == NULL && o->cli.output == NULL) return rs_fail(e, RS_USAGE, "name a --checkpoint, since the output has no name");
    if (!o->lr_given) l->rates.bases = l->adam ? 0.01 : l->mode == RS_LEARN_CHAIN ? 0.15 : 1.5;
    if (!o->head_lr_given) l->rates.heads = l->rates.bases;
    return rs_cli_one_stdin(3, (const char *const[]){o->model, o->text, o->init != NULL && strcmp(o->init, "walsh") != 0 ? o->init : NULL}, e);
}

// ---- the run

struct run {
    struct options *o;
    rs_mapped *model, *init, *checkpoint;
    rs_network *network;
    rs_learn *learn;
    rs_learn_origin origin;
    rs_learn_log *log;
    rs_out *out;
    const char *file;        // that an error is about
    char checkpoint_name[4096];
    rs_progress progress;
    char doing[80];
};

static volatile sig_atomic_t interrupted;
static void on_signal(int number)
{
    interrupted = number;
    signal(number, SIG_DFL); // a second one ends at once
}

static bool stop(void *context)
{
    (void)context;
    return interrupted != 0;
}

static rs_status save(void *context, rs_error *e)
{
    struct run *r = context;
    rs_out *out = NULL;
    r->file = r->checkpoint_name;
    rs_status s = rs_out_open(&out, r->checkpoint_name, (rs_in *const[]){rs_mapped_in(r->model), r->init == NULL ? NULL : rs_mapped_in(r->init)}, 2, e);
    if (s == RS_OK) s = rs_learn_checkpoint(r->learn, &r->origin, out, e);
    rs_out_close(out);
    if (s == RS_OK) r->file = r->o->model;
    return s;
}

static void remark(struct run *r, const char *text)
{
    if (r->o->cli.quiet) return;
    if (r->progress.on) fputs("\r\033[K", stderr);
    fprintf(stderr, "rs-learn: %s\n", text);
}

static void news(void *context, const rs_learn_news *n)
{
    struct run *r = context;
    char text[200];
    rs_learn_log_line(r->log, n);
    snprintf(text, sizeof text, "step %llu: held-out loss %.4f, best %.4f at step %llu", (unsigned long long)n->step, n->loss.total, n->best, (unsigned long long)n->best_step);
    if (n->what == RS_LEARN_LOOK && r->o->cli.verbose > 0) remark(r, text);
    if (n->what == RS_LEARN_RISING) remark(r, "the loss has been rising for many steps: the best set is kept, a lower --lr may help");
    if (n->what == RS_LEARN_PATIENCE && r->o->cli.verbose > 0) remark(r, "no better held-out loss for long: it ends here");
    if (n->what == RS_LEARN_STEP) snprintf(r->doing, sizeof r->doing, "learning, loss %.4f", n->loss.total);
    if (n->what == RS_LEARN_STEP) rs_progress_at(&r->progress, (double)n->step);
}

static void say_needs(const struct run *r)
{
    const rs_objective_memory *m = rs_learn_needs(r->learn);
    const double mib = 1 << 20;
    uint64_t learned, held;
    rs_learn_sequences(r->learn, &learned, &held);
    fprintf(stderr, "rs-learn: memory %.0f MiB: weights %.0f, rotations and their state %.0f, activations %.0f (%llu of %llu layers kept)\n", (double)m->total / mib, (double)m->weights / mib, (double)m->params / mib,
            (double)m->activations / mib, (unsigned long long)m->kept, (unsigned long long)rs_network_config(r->network)->L);
    fprintf(stderr, "rs-learn: %llu steps of %llu x %llu tokens from %llu sequences, %llu held out; %.1f GFLOP a step\n", (unsigned long long)r->o->learn.steps, (unsigned long long)r->o->learn.batch,
            (unsigned long long)r->o->learn.S, (unsigned long long)learned, (unsigned long long)held, rs_learn_flops(r->learn) * 1e-9);
}

static void tried(void *context, const rs_learn_news *n)
{
    struct run *r = context;
    rs_learn_log_line(r->log, n);
    rs_progress_at(&r->progress, (double)(n->step - r->o->learn.seed) + 1);
    char text[200];
    snprintf(text, sizeof text, "seed %llu: loss %.4f, best %.4f with seed %llu", (unsigned long long)n->step, n->loss.total, n->best, (unsigned long long)n->best_step);
    if (r->o->cli.verbose > 0) remark(r, text);
}

static rs_status search(struct run *r, rs_error *e)
{
    rs_learn_news best;
    RS_TRY(rs_search_seeds(r->learn, rs_network_config(r->network), (uint64_t)r->o->seeds, tried, r, &best, e));
    char text[200];
    snprintf(text, sizeof text, "best seed %llu: loss %.4f (rs-fuse --seed %llu makes the same rotations)", (unsigned long long)best.best_step, best.best, (unsigned long long)best.best_step);
    remark(r, text);
    return RS_OK;
}

static rs_status learn(struct run *r, rs_error *e)
{
    struct options *o = r->o;
    rs_progress_start(&r->progress, &o->cli, r->doing, o->search ? "seed" : "step", o->search ? (double)o->seeds : (double)o->learn.steps);
    rs_status s = o->search ? search(r, e) : rs_learn_run(r->learn, e);
    rs_progress_end(&r->progress);
    if (s == RS_NO && r->checkpoint_name[0] != 0 && !o->search) { // the signal has done its work: this save is not to be stopped
        RS_TRY(save(r, e));
        if (!o->cli.quiet) fprintf(stderr, "rs-learn: interrupted after step %llu of %llu; --resume goes on from %s\n", (unsigned long long)rs_learn_progress(r->learn)->step, (unsigned long long)o->learn.steps, r->checkpoint_name);
    }
    if (s != RS_OK && s != RS_E_VALUE) return s;
    double error = 0;
    rs_error later = {0};
    rs_status written = rs_learn_write(r->learn, &r->origin, r->out, &error, s == RS_OK ? e : &later);
    if (written == RS_E_WRITE && s == RS_OK) r->file = rs_cli_output(&o->cli);
    if (written == RS_OK && !o->cli.quiet) {
        const rs_learn_state *at = rs_learn_progress(r->learn);
        if (o->learn.holdout > 0 && !o->search) fprintf(stderr, "rs-learn: best held-out loss %.4f after step %llu; ", at->best, (unsigned long long)at->best_step);
        else fprintf(stderr, "rs-learn: ");
        fprintf(stderr, "max |R^T R - I| %.2g\n", error);
    }
    if (s == RS_E_VALUE && written == RS_OK) fprintf(stderr, "rs-learn: the best set before that is kept in %s\n", rs_cli_output(&o->cli));
    return s != RS_OK ? s : written;
}

// Reads everything that is read, and opens everything that is written.
static rs_status prepare(struct run *r, int32_t **ids, rs_rotation **from, rs_error *e)
{
    struct options *o = r->o;
    size_t count;
    const bool file = o->init != NULL && strcmp(o->init, "walsh") != 0;
    r->file = o->model;
    RS_TRY(rs_mapped_open(&r->model, o->model, e));
    RS_TRY(rs_network_open(&r->network, r->model, NULL, e));
    r->origin.model = r->model;
    strcpy(r->origin.model_sum.fmt, "rsq");
    rs_mapped_digest(r->model, r->origin.model_sum.digest, NULL, &r->origin.model_sum.size);
    RS_TRY(rs_text_ids(r->model, o->text, o->cli.threads, ids, &count, &r->origin.text_sum, e));
    const rs_config *c = rs_network_config(r->network);
    if (file) {
        r->file = o->init;
        RS_TRY(rs_mapped_open(&r->init, o->init, e));
        RS_TRY(rs_rotation_from_file(from, r->init, e));
        strcpy(r->origin.start_sum.fmt, "rsq");
        rs_mapped_digest(r->init, r->origin.start_sum.digest, NULL, &r->origin.start_sum.size);
    } else RS_TRY(rs_rotation_seeded(from, c->L, c->d, c->h, o->learn.seed, e));
    const rs_learn_calls calls = {.news = news, .stop = stop, .save = save, .save_every = (uint64_t)o->save_every, .context = r};
    if (o->search && o->learn.holdout == 0) o->learn.holdout = 4;
    RS_TRY(rs_learn_new(&r->learn, r->network, *ids, count, *from, o->init != NULL && !file, &o->learn, &calls, e));
    if (o->dry_run || o->cli.verbose > 0) say_needs(r);
    if (o->checkpoint != NULL) snprintf(r->checkpoint_name, sizeof r->checkpoint_name, "%s", o->checkpoint);
    else if (o->cli.output != NULL) snprintf(r->checkpoint_name, sizeof r->checkpoint_name, "%s.ckpt", o->cli.output);
    if (o->resume) {
        r->file = r->checkpoint_name;
        RS_TRY(rs_mapped_open(&r->checkpoint, r->checkpoint_name, e));
        RS_TRY(rs_learn_resume(r->learn, &r->origin, r->checkpoint, e));
    }
    if (o->dry_run) return RS_OK;
    r->file = o->log;
    if (o->log != NULL) RS_TRY(rs_learn_log_open(&r->log, o->log, o->resume, e));
    r->file = rs_cli_output(&o->cli);
    RS_TRY(rs_out_open(&r->out, o->cli.output, (rs_in *const[]){rs_mapped_in(r->model), r->init == NULL ? NULL : rs_mapped_in(r->init), r->checkpoint == NULL ? NULL : rs_mapped_in(r->checkpoint)}, 3, e));
    r->file = o->model;
    return RS_OK;
}

static rs_status run(struct run *r, rs_error *e)
{
    int32_t *ids = NULL;
    rs_rotation *from = NULL;
    rs_threads_set(r->o->cli.threads);
    rs_mapped_guard();
    rs_status s = prepare(r, &ids, &from, e);
    if (s == RS_OK && !r->o->dry_run) {
        signal(SIGINT, on_signal);
        signal(SIGTERM, on_signal);
        s = learn(r, e);
    }
    rs_status closed = rs_learn_log_close(r->log, s == RS_OK ? e : NULL);
    if (s == RS_OK && closed != RS_OK) {
        s = closed;
        r->file = r->o->log;
    }
    rs_out_close(r->out);
    rs_learn_free(r->learn);
    rs_rotation_free(from);
    rs_network_close(r->network);
    rs_mapped_close(r->checkpoint);
    rs_mapped_close(r->init);
    rs_mapped_close(r->model);
    free(ids);
    return s;
}

int main(int argc, char **argv)
{
    static struct options o = {.seeds = 16, .learn = {.mode = RS_LEARN_DENSE, .rank = 32, .S = 512, .batch = 1, .steps = 80, .holdout = 4, .eval_every = 20, .rates = {.chain = 3e-4}, .decay = RS_DECAY_LINEAR,
                                                      .bits = {.a = {.bits = 4, .clip = 1}, .kv = {.bits = 4, .clip = 1}}, .ce = 1, .seed = 1}};
    static struct run r = {.o = &o, .doing = "learning"};
    rs_error e = {0};
    r.origin.argc = argc;
    r.origin.argv = argv;
    rs_cli_start();
    rs_status s = parse(&o, argc, argv, &e);
    if (s == RS_OK) s = run(&r, &e);
    if (s == RS_NO && interrupted != 0) return 128 + interrupted;
    return rs_cli_exit(&o.cli, s, r.file, &e);
}
