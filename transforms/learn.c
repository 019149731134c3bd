// SPDX-License-Identifier: Apache-2.0
// The loop: which sequences, which rates, when to look, which set is the best.
#include "transforms/learn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/threads.h"
#include "transforms/random.h"

enum { STREAM_WINDOWS = 1 << 20, STREAM_EPOCH = STREAM_WINDOWS + 1 }; // streams of the seed that rotations do not use
#define SMOOTH 16      // steps that the running mean of the loss looks back
#define RISING 20      // steps above the lowest mean before it is said aloud
#define RISEN 1.02     // how far above counts
#define LOOKS 4        // learned sequences that rs_learn_look takes where none are held out

struct rs_learn {
    rs_learn_options o;
    rs_learn_calls calls;
    const int32_t *ids;
    const rs_kernels *k;
    rs_objective *objective;
    rs_learned *set;
    rs_learn_state at;
    uint64_t *window;          // windows of the text in a random order: held-out ones first
    uint64_t *order;           // [learned] of the epoch
    uint64_t windows, learned, epoch;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// 0..n-1 in a random order (Fisher and Yates).
static void shuffle(uint64_t seed, uint64_t stream, uint64_t n, uint64_t *order)
{
    for (uint64_t i = 0; i < n; i++) order[i] = i;
    for (uint64_t i = n; i > 1; i--) {
        const uint64_t j = rs_random_below(seed, stream, i, i), x = order[i - 1];
        order[i - 1] = order[j];
        order[j] = x;
    }
}

static rs_status choose_sequences(rs_learn *l, size_t count, rs_error *e)
{
    const rs_learn_options *o = &l->o;
    l->windows = count / o->S;
    if (l->windows < o->holdout + 1)
        return rs_fail(e, RS_USAGE, "the text has %zu tokens, fewer than the %llu of one sequence to learn from and %llu to judge by, of %llu each", count, (unsigned long long)((o->holdout + 1) * o->S),
                       (unsigned long long)o->holdout, (unsigned long long)o->S);
    l->learned = l->windows - o->holdout;
    if (o->sequences != 0 && o->sequences < l->learned) l->learned = o->sequences;
    l->window = malloc(l->windows * sizeof *l->window);
    l->order = malloc(l->learned * sizeof *l->order);
    if (l->window == NULL || l->order == NULL) return rs_fail(e, RS_E_NOMEM, "the order of the sequences");
    shuffle(o->seed, STREAM_WINDOWS, l->windows, l->window);
    l->epoch = UINT64_MAX;
    return RS_OK;
}

rs_status rs_learn_new(rs_learn **out, rs_network *n, const int32_t *ids, size_t count, rs_rotation *from, bool unsign, const rs_learn_options *o, const rs_learn_calls *calls, rs_error *e)
{
    const rs_config *c = rs_network_config(n);
    rs_learn *l = calloc(1, sizeof *l);
    *out = l;
    if (l == NULL) return rs_fail(e, RS_E_NOMEM, "learning");
    l->o = *o;
    if (l->o.project > c->d) l->o.project = c->d - c->d % 2; // any rotation of the stream
    l->calls = *calls;
    l->ids = ids;
    l->k = rs_network_kernels(n);
    l->at.best = l->at.lowest = HUGE_VAL;
    const rs_learned_shape shape = {.mode = o->mode, .L = c->L, .d = c->d, .h = c->h, .rank = o->rank, .adam = o->adam};
    rs_objective_options oo = {.S = o->S, .bits = o->bits, .ce = o->ce, .kl = o->kl, .mem = o->mem, .params = rs_learned_bytes(&shape, rs_threads_get()), .mirrors = rs_learned_mirrors(&shape), .stop = calls->stop, .context = calls->context};
    rs_status s = choose_sequences(l, count, e);
    if (s == RS_OK) s = rs_objective_new(&l->objective, n, &oo, e);
    if (s == RS_OK) s = rs_learned_new(&l->set, &shape, e);
    if (s == RS_OK) s = rs_learned_start(l->set, from, unsign, o->seed, e);
    if (s != RS_OK) {
        rs_learn_free(l);
        *out = NULL;
    }
    return s;
}

void rs_learn_free(rs_learn *l)
{
    if (l == NULL) return;
    rs_objective_free(l->objective);
    rs_learned_free(l->set);
    free(l->window);
    free(l->order);
    free(l);
}

const rs_objective_memory *rs_learn_needs(const rs_learn *l) { return rs_objective_needs(l->objective); }
const rs_learn_options *rs_learn_asked(const rs_learn *l) { return &l->o; }
const char *rs_learn_device(const rs_learn *l) { return l->k->memory != NULL ? l->k->name : "cpu"; }
rs_learn_state *rs_learn_progress(rs_learn *l) { return &l->at; }
rs_learned *rs_learn_set(rs_learn *l) { return l->set; }
rs_status rs_learn_fetch(rs_learn *l, rs_error *e) { return rs_objective_fetch(l->objective, e); }
double rs_learn_flops(const rs_learn *l) { return rs_objective_flops(l->objective, true) * (double)l->o.batch; }

void rs_learn_sequences(const rs_learn *l, uint64_t *learned, uint64_t *held)
{
    *learned = l->learned;
    *held = l->o.holdout;
}

// The i-th sequence that steps take, counted from the start of learning: every epoch has an order of its own.
static const int32_t *sequence(rs_learn *l, uint64_t i)
{
    if (i / l->learned != l->epoch) {
        l->epoch = i / l->learned;
        shuffle(l->o.seed, STREAM_EPOCH + l->epoch, l->learned, l->order);
    }
    return l->ids + l->window[l->o.holdout + l->order[i % l->learned]] * l->o.S;
}

static void add(rs_objective_loss *sum, const rs_objective_loss *x, double share)
{
    sum->total += share * x->total;
    sum->nll += share * x->nll;
    sum->kl += share * x->kl;
}

rs_status rs_learn_look(rs_learn *l, rs_objective_loss *loss, rs_error *e)
{
    const uint64_t few = l->learned < LOOKS ? l->learned : LOOKS, n = l->o.holdout > 0 ? l->o.holdout : few;
    *loss = (rs_objective_loss){0};
    for (uint64_t i = 0; i < n; i++) {
        rs_objective_loss one;
        RS_TRY(rs_objective_run(l->objective, l->ids + l->window[i] * l->o.S, rs_learned_view(l->set, false, 1), &one, e));
        add(loss, &one, 1 / (double)n);
    }
    return RS_OK;
}

static double decay(const rs_learn_options *o, uint64_t step)
{
    const double t = (double)step / (double)o->steps;
    return o->decay == RS_DECAY_LINEAR ? 1 - t : o->decay == RS_DECAY_COSINE ? 0.5 * (1 + cos(3.14159265358979323846 * t)) : 1;
}

static void tell(const rs_learn *l, rs_learn_news *news)
{
    news->step = l->at.step;
    news->best = l->at.best;
    news->best_step = l->at.best_step;
    if (l->calls.news != NULL) l->calls.news(l->calls.context, news);
}

static rs_status look(rs_learn *l, rs_error *e)
{
    rs_learn_news news = {.what = RS_LEARN_LOOK};
    const double start = now();
    RS_TRY(rs_learn_look(l, &news.loss, e));
    news.seconds = now() - start;
    if (news.loss.total < l->at.best) {
        RS_TRY(rs_learn_fetch(l, e));
        l->at.best = news.loss.total;
        l->at.best_step = l->at.step;
        l->at.looks_without = 0;
        rs_learned_keep(l->set);
    } else l->at.looks_without++;
    l->at.looked = l->at.step + 1;
    tell(l, &news);
    return RS_OK;
}

// Says aloud, once for each time, that the running mean of the loss has stayed above its lowest by more than the noise of single steps explains.
static void watch(rs_learn *l, double loss)
{
    rs_learn_state *a = &l->at;
    const double share = 1 / (a->step < SMOOTH ? (double)a->step : SMOOTH), off = loss - a->smooth;
    if (a->step > 1) a->spread += share * (off * off - a->spread);
    a->smooth = a->step == 1 ? loss : a->smooth + share * off;
    if (a->step < SMOOTH) return;
    if (a->smooth < a->lowest) a->lowest = a->smooth;
    a->rising = a->smooth > RISEN * a->lowest && a->smooth > a->lowest + 3 * sqrt(a->spread / SMOOTH) ? a->rising + 1 : 0;
    if (a->rising == RISING) tell(l, &(rs_learn_news){.what = RS_LEARN_RISING, .loss = {.total = a->smooth}});
}

// Where the slopes are, if that can be.
static rs_status take_step(rs_learn *l, const rs_learned_rates *rates, rs_learned_move *move, rs_error *e)
{
    if (l->k->memory != NULL && rs_learned_steps_there(l->set)) return rs_learned_step_there(l->set, l->k, rs_objective_mirrors(l->objective), rates, move, e);
    RS_TRY(rs_objective_gather(l->objective, e));
    return rs_learned_step(l->set, rates, move, e);
}

static rs_status step(rs_learn *l, rs_error *e)
{
    rs_learn_news news = {.what = RS_LEARN_STEP};
    const double start = now(), share = 1 / (double)l->o.batch, left = decay(&l->o, l->at.step);
    news.rates = (rs_learned_rates){left * l->o.rates.bases, left * l->o.rates.heads, left * l->o.rates.chain};
    rs_learned_clear(l->set);
    for (uint64_t i = 0; i < l->o.batch; i++) {
        rs_objective_loss one;
        RS_TRY(rs_objective_run(l->objective, sequence(l, l->at.step * l->o.batch + i), rs_learned_view(l->set, true, share), &one, e));
        add(&news.loss, &one, share);
    }
    RS_TRY(take_step(l, &news.rates, &news.move, e));
    l->at.step++;
    news.seconds = now() - start;
    tell(l, &news);
    watch(l, news.loss.total);
    return RS_OK;
}

// True when the held-out sequences are to be looked at before the next step.
static bool look_is_due(const rs_learn *l)
{
    const rs_learn_options *o = &l->o;
    return o->holdout > 0 && o->eval_every > 0 && l->at.looked != l->at.step + 1 && (l->at.step % o->eval_every == 0 || l->at.step == o->steps);
}

rs_status rs_learn_run(rs_learn *l, rs_error *e)
{
    const rs_learn_options *o = &l->o;
    for (;;) {
        if (o->project > 0 && (look_is_due(l) || l->at.step == o->steps) && l->at.projected != l->at.step + 1) {
            RS_TRY(rs_learn_fetch(l, e));
            RS_TRY(rs_learned_project(l->set, o->project, e));
            l->at.projected = l->at.step + 1;
        }
        if (look_is_due(l)) {
            rs_status s = look(l, e);
            if (s == RS_E_VALUE) return rs_error_prefix(e, s, "held-out sequences after step %llu", (unsigned long long)l->at.step);
            RS_TRY(s);
        }
        if (l->at.step == o->steps) break;
        if (o->patience > 0 && l->at.looks_without >= o->patience) {
            tell(l, &(rs_learn_news){.what = RS_LEARN_PATIENCE});
            break;
        }
        rs_status s = step(l, e);
        if (s == RS_E_VALUE) return rs_error_prefix(e, s, "step %llu", (unsigned long long)l->at.step + 1);
        RS_TRY(s);
        if (l->calls.save != NULL && l->calls.save_every > 0 && l->at.step % l->calls.save_every == 0) RS_TRY(l->calls.save(l->calls.context, e));
    }
    RS_TRY(rs_learn_fetch(l, e));
    if (o->holdout == 0 || o->eval_every == 0) {
        rs_learned_keep(l->set);
        l->at.best_step = l->at.step;
    }
    return RS_OK;
}
