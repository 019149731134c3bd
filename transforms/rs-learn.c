// SPDX-License-Identifier: Apache-2.0
// rs-learn: learns the rotations of a model on a text, so that its quantised activations lose the least.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/interrupt.h"
#include "formats/text.h"
#include "kernels/threads.h"
#include "transforms/device.h"
#include "transforms/fuse.h"
#include "transforms/learn_cli.h"
#include "transforms/learn_file.h"
#include "transforms/learn_log.h"
#include "transforms/search.h"

struct run {
    const rs_learn_cli *o;
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

static rs_status save(void *context, rs_error *e)
{
    struct run *r = context;
    rs_out *out = NULL;
    RS_TRY(rs_mapped_check(r->model, e));
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
    const bool device = rs_network_kernels(r->network)->memory != NULL;
    fprintf(stderr, "rs-learn: memory%s %.0f MiB: weights %.0f%s, rotations and their %s %.0f, activations %.0f (%llu of %llu layers kept)\n", device ? " of the device" : "", (double)m->total / mib, (double)m->weights / mib,
            !device ? "" : m->layers == rs_network_config(r->network)->L ? " (all layers)" : " (two layers at a time)", device ? "slopes" : "state", (double)m->params / mib, (double)m->activations / mib,
            (unsigned long long)m->kept, (unsigned long long)rs_network_config(r->network)->L);
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
    const rs_learn_cli *o = r->o;
    rs_progress_start(&r->progress, &o->cli, r->doing, o->search ? "seed" : "step", o->search ? (double)o->seeds : (double)o->learn.steps);
    rs_status s = o->search ? search(r, e) : rs_learn_run(r->learn, e);
    rs_progress_end(&r->progress);
    if (s == RS_NO && r->checkpoint_name[0] != 0 && !o->search) { // the signal has done its work: this save is not to be stopped
        RS_TRY(save(r, e));
        if (!o->cli.quiet) fprintf(stderr, "rs-learn: interrupted after step %llu of %llu; --resume goes on from %s\n", (unsigned long long)rs_learn_progress(r->learn)->step, (unsigned long long)o->learn.steps, r->checkpoint_name);
    }
    if (s != RS_OK && s != RS_E_VALUE) return s;
    rs_error cut = {0};
    if (rs_mapped_check(r->model, &cut) != RS_OK) { // what went wrong before that went wrong because of it
        *e = cut;
        return cut.status;
    }
    double error = 0;
    rs_error later = {0};
    rs_status written = rs_learn_write(r->learn, &r->origin, r->out, &error, s == RS_OK ? e : &later);
    if (written == RS_E_WRITE && s == RS_OK) r->file = rs_cli_output(&o->cli);
    if (written == RS_OK && !o->cli.quiet) {
        const rs_learn_state *at = rs_learn_progress(r->learn);
        if (at->looked > 0) fprintf(stderr, "rs-learn: best held-out loss %.4f after step %llu; ", at->best, (unsigned long long)at->best_step);
        else fprintf(stderr, "rs-learn: ");
        fprintf(stderr, "max |R^T R - I| %.2g\n", error);
    }
    if (s == RS_E_VALUE && written == RS_OK) fprintf(stderr, "rs-learn: the best set before that is kept in %s\n", rs_cli_output(&o->cli));
    else if (s == RS_E_VALUE) fprintf(stderr, "rs-learn: the best set before that cannot be written to %s: %s\n", rs_cli_output(&o->cli), later.text);
    return s != RS_OK ? s : written;
}

// Reads everything that is read, and opens everything that is written.
static rs_status prepare(struct run *r, int32_t **ids, rs_rotation **from, rs_error *e)
{
    const rs_learn_cli *o = r->o;
    const rs_kernels *k;
    size_t count;
    RS_TRY(rs_device_find(o->device, &k, NULL, e));
    r->file = o->model;
    RS_TRY(rs_mapped_open(&r->model, o->model, e));
    RS_TRY(rs_network_open(&r->network, r->model, k, e));
    for (size_t i = 0; i < rs_mapped_count(r->model); i++) // what is learned is to be fused into it
        if (rs_fuse_accepts(rs_mapped_tensor(r->model, i), e) != RS_OK) return rs_error_prefix(e, RS_USAGE, "learn from the model as it was imported");
    r->origin.model = r->model;
    strcpy(r->origin.model_sum.fmt, "rsq");
    rs_mapped_digest(r->model, r->origin.model_sum.digest, NULL, &r->origin.model_sum.size);
    RS_TRY(rs_text_ids(r->model, o->text, o->cli.threads, ids, &count, &r->origin.text_sum, e));
    const rs_config *c = rs_network_config(r->network);
    if (o->start != NULL) {
        r->file = o->start;
        RS_TRY(rs_mapped_open(&r->init, o->start, e));
        RS_TRY(rs_rotation_from_file(from, r->init, e));
        strcpy(r->origin.start_sum.fmt, "rsq");
        rs_mapped_digest(r->init, r->origin.start_sum.digest, NULL, &r->origin.start_sum.size);
    } else RS_TRY(rs_rotation_seeded(from, c->L, c->d, c->h, o->learn.seed, e));
    const rs_learn_calls calls = {.news = news, .stop = rs_interrupt_stop, .save = save, .save_every = o->save_every, .context = r};
    RS_TRY(rs_learn_new(&r->learn, r->network, *ids, count, *from, o->unsign, &o->learn, &calls, e));
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
    if (o->log != NULL) RS_TRY(rs_learn_log_open(&r->log, o->log, o->resume, (const char *const[]){o->model, o->text, o->start, o->resume ? r->checkpoint_name : NULL}, 4, e));
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
        rs_interrupt_catch(); // saves what was learned
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
    static rs_learn_cli o;
    static struct run r = {.o = &o, .doing = "learning"};
    rs_error e = {0};
    r.origin.argc = argc;
    r.origin.argv = argv;
    rs_cli_start();
    rs_status s = rs_learn_cli_parse(&o, argc, argv, &e);
    if (s == RS_OK) s = run(&r, &e);
    if (s == RS_NO && rs_interrupt_number() != 0) return 128 + rs_interrupt_number();
    return rs_cli_exit(&o.cli, s, r.file, &e);
}
