// SPDX-License-Identifier: Apache-2.0
// Between files and screens: the outlines, the model made from them, the view, and the threads beside them.
#include "inspect/top.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "formats/bytes.h"
#include "inspect/cells.h"
#include "inspect/export.h"
#include "inspect/top_worker.h"
#include "inspect/view_load.h"

// A pipe that a thread reads: one frame is fetched, then waits until it has been taken.
struct feed {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    rs_outline *o;
    bool on, ready, ended, stop;
    rs_error error;
};

// Channels of a row whose figures were computed.
struct computed {
    const char *name;
    int side;
    rs_view_channels channels;
};

struct rs_top {
    rs_top_options o;
    rs_outline *doc[2];
    rs_view_model model;
    rs_view view;
    rs_view_channels channels[2];
    rs_view_spectrum spectrum;
    int64_t spectrum_of;      // junction, -1: none
    char spectrum_text[256];
    bool asked;
    struct computed *computed;
    size_t n_computed, cap_computed;
    struct feed feed;
    uint32_t frames;          // of the pipe when the model was made
    rs_top_worker *worker;
    rs_top_check *check;
    rs_error fault;
};

rs_view *rs_top_view(rs_top *t)
{
    return &t->view;
}

rs_outline *rs_top_outline(rs_top *t, int doc)
{
    return t->doc[doc];
}

static void blame(rs_top *t, const rs_error *e)
{
    char text[256];
    if (t->fault.status == RS_OK) t->fault = *e;
    rs_cells_escape(text, sizeof text, e->text, strlen(e->text), true);
    snprintf(t->view.fault, sizeof t->view.fault, "%s: %.200s", rs_status_name(e->status), text);
}

rs_status rs_top_fault(const rs_top *t, rs_error *e)
{
    if (t->fault.status != RS_OK) *e = t->fault;
    else if (t->view.check.done && t->view.check.status != RS_OK) return rs_fail(e, t->view.check.status, "%s", strchr(t->view.check.text, ' ') != NULL ? strchr(t->view.check.text, ' ') + 1 : "");
    return t->fault.status;
}

// ---- pipes

static void *feed_thread(void *context)
{
    struct feed *f = context;
    for (;;) {
        rs_error e = {0};
        rs_status s = rs_outline_fetch(f->o, &e); // may wait for bytes
        pthread_mutex_lock(&f->lock);
        if (s != RS_OK) f->error = e;
        f->ended = s != RS_OK;
        f->ready = s == RS_OK;
        while (f->ready && !f->stop) pthread_cond_wait(&f->wake, &f->lock);
        const bool end = f->stop || f->ended;
        pthread_mutex_unlock(&f->lock);
        if (end) return NULL;
    }
}

static rs_status feed_start(struct feed *f, rs_outline *o, rs_error *e)
{
    f->o = o;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->wake, NULL);
    f->on = pthread_create(&f->thread, NULL, feed_thread, f) == 0;
    return f->on ? RS_OK : rs_fail(e, RS_E_NOMEM, "no thread to read with");
}

// Takes what was fetched within a short while, so that a fast pipe is not slowed to one frame a picture; true if anything came.
static bool feed_take(rs_top *t)
{
    struct feed *f = &t->feed;
    bool any = false, more = true;
    for (int k = 0; k < 256 && more; k++) {
        rs_error e = {0};
        pthread_mutex_lock(&f->lock);
        const bool ready = f->ready, ended = f->ended;
        if (ready) {
            rs_status s = rs_outline_accept(f->o, &more, &e);
            f->ready = false;
            if (s != RS_OK || !more) f->stop = true;
            if (s != RS_OK) blame(t, &e);
            pthread_cond_signal(&f->wake);
        }
        if (ended) blame(t, &f->error);
        pthread_mutex_unlock(&f->lock);
        any = any || ready || ended;
        if (!ready || ended || f->stop) {
            if (ended || f->stop) {
                pthread_join(f->thread, NULL);
                f->on = false;
            }
            break;
        }
        struct timespec short_while = {.tv_nsec = 50000};
        nanosleep(&short_while, NULL);
    }
    return any;
}

// ---- model

static void forget(rs_top *t)
{
    for (int side = 0; side < 2; side++) rs_view_channels_free(&t->channels[side]);
    rs_spectrum_free(&t->spectrum);
    t->spectrum_of = -1;
    t->asked = false;
    t->view.channels_of = NULL;
    t->view.channels[0] = t->view.channels[1] = NULL;
    t->view.spectrum = NULL;
}

static void say_digest(rs_top *t)
{
    const rs_outline *o = t->doc[1] != NULL ? t->doc[1] : t->doc[0];
    t->view.digest[0] = 0;
    if (rs_outline_complete(o)) rs_bytes_hex(rs_outline_digest(o), t->view.digest);
}

static uint32_t frames_so_far(const rs_top *t)
{
    uint32_t n = 0;
    for (int d = 0; d < 2 && t->doc[d] != NULL; d++) n += rs_outline_count(t->doc[d], RS_FRAME_TENS) + rs_outline_count(t->doc[d], RS_FRAME_STAT);
    return n;
}

// The model anew from the outlines as they are now.
static rs_status gather(rs_top *t, rs_error *e)
{
    rs_view_model old = t->model, new;
    rs_status s = rs_view_model_init(&new, t->doc[0], t->doc[1], t->o.steps, e);
    if (s != RS_OK) {
        rs_view_model_free(&new);
        return s;
    }
    forget(t);
    t->view.model = &old;
    t->model = new;
    s = rs_view_refresh(&t->view, &t->model, e);
    rs_view_model_free(&old);
    say_digest(t);
    t->frames = frames_so_far(t);
    return s;
}

static bool lacks_weights(const rs_top *t, int doc)
{
    const rs_outline *o = t->doc[doc];
    if (o == NULL || rs_outline_kept(o) || !rs_outline_complete(o) || rs_outline_head(o)->kind != RS_KIND_WEIGHTS) return false;
    for (size_t i = 0; i < rs_outline_stats(o); i++)
        if (strcmp(rs_outline_stat_at(o, i)->of, "weight") == 0 || strcmp(rs_outline_stat_at(o, i)->of, "input") == 0) return false;
    return true;
}

static rs_status start_worker(rs_top *t, rs_error *e)
{
    const bool wants[2] = {lacks_weights(t, 0), lacks_weights(t, 1)};
    RS_TRY(rs_top_worker_start(&t->worker, t->doc, wants, e));
    if (wants[0] || wants[1]) t->view.computing = 0;
    return RS_OK;
}

// Where the files can be read once more, for the check; false: nowhere.
static bool find_paths(const rs_top *t, const char *path[2])
{
    bool any = false;
    for (int d = 0; d < 2; d++) {
        path[d] = NULL;
        if (t->doc[d] == NULL || !rs_outline_seekable(t->doc[d])) continue;
        path[d] = strcmp(t->o.file[d], "-") == 0 ? "/proc/self/fd/0" : t->o.file[d];
        any = true;
    }
    return any;
}

static rs_status start_threads(rs_top *t, rs_error *e)
{
    const char *path[2];
    const bool any = find_paths(t, path);
    for (int d = 0; d < 2; d++)
        if (t->doc[d] != NULL && !rs_outline_seekable(t->doc[d]) && !rs_outline_kept(t->doc[d])) RS_TRY(feed_start(&t->feed, t->doc[d], e));
    if (any) RS_TRY(rs_top_check_start(&t->check, path, e));
    if (!t->feed.on) RS_TRY(start_worker(t, e));
    return RS_OK;
}

static rs_status open_all(const rs_top_options *o, rs_outline *doc[2], rs_error *e)
{
    int n;
    rs_status s = RS_OK;
    if (o->saved != NULL) return rs_export_open(o->saved, doc, &n, e);
    for (int d = 0; d < 2 && s == RS_OK && o->file[d] != NULL; d++) {
        s = rs_outline_open(&doc[d], o->file[d], e);
        if (s != RS_OK && o->file[1] != NULL) s = rs_error_prefix(e, s, "%s", o->file[d]);
    }
    return s;
}

rs_status rs_top_open(rs_top **out, const rs_top_options *o, int cols, int rows, rs_error *e)
{
    rs_top *t = *out = calloc(1, sizeof *t);
    if (t == NULL) return rs_fail(e, RS_E_NOMEM, "rs-top");
    t->o = *o;
    t->spectrum_of = -1;
    rs_status s = open_all(o, t->doc, e);
    if (s == RS_OK) s = rs_view_model_init(&t->model, t->doc[0], t->doc[1], o->steps, e);
    if (s == RS_OK) s = rs_view_init(&t->view, &t->model, cols, rows, e);
    if (s == RS_OK) say_digest(t);
    if (s == RS_OK && o->threads) s = start_threads(t, e);
    if (s == RS_OK) return s;
    rs_top_close(t);
    *out = NULL;
    return s;
}

static void stop_threads(rs_top *t)
{
    rs_top_worker_stop(t->worker);
    rs_top_check_stop(t->check);
    t->worker = NULL;
    t->check = NULL;
}

void rs_top_close(rs_top *t)
{
    if (t == NULL) return;
    stop_threads(t);
    if (t->feed.on) { // it may wait for bytes that never come
        pthread_mutex_lock(&t->feed.lock);
        t->feed.stop = true;
        pthread_cond_signal(&t->feed.wake);
        pthread_mutex_unlock(&t->feed.lock);
        pthread_cancel(t->feed.thread);
        pthread_join(t->feed.thread, NULL);
    }
    forget(t);
    for (size_t i = 0; i < t->n_computed; i++) rs_view_channels_free(&t->computed[i].channels);
    free(t->computed);
    rs_view_free(&t->view);
    rs_view_model_free(&t->model);
    for (int d = 0; d < 2; d++) rs_outline_close(t->doc[d]);
    free(t);
}

// ---- what a screen needs

static void read_channels(rs_top *t)
{
    const rs_view_row *r = rs_view_current(&t->view);
    if (r == NULL || t->view.channels_of == r) return;
    for (int side = 0; side < 2; side++) {
        rs_error e = {0};
        const rs_view_side *from = &t->model.side[r->of][side];
        rs_view_channels_free(&t->channels[side]);
        t->view.channels[side] = NULL;
        if (r->frame[side] >= 0) {
            if (rs_view_channels_read(&t->channels[side], t->doc[from->doc], (size_t)r->frame[side], &e) == RS_OK) t->view.channels[side] = &t->channels[side];
            else {
                rs_view_channels_free(&t->channels[side]);
                blame(t, &e);
            }
        }
        for (size_t i = 0; i < t->n_computed && r->frame[side] < 0 && r->of == RS_OF_WEIGHT; i++)
            if (t->computed[i].side == side && strcmp(t->computed[i].name, r->name) == 0) t->view.channels[side] = &t->computed[i].channels;
    }
    t->view.channels_of = r;
}

static void take_spectrum(rs_top *t, rs_view_spectrum *s, rs_status status, const rs_error *e)
{
    rs_spectrum_free(&t->spectrum);
    t->spectrum = *s;
    *s = (rs_view_spectrum){0};
    t->spectrum_text[0] = 0;
    t->view.spectrum = status == RS_OK && t->spectrum.known > 0 ? &t->spectrum : NULL;
    if (status != RS_OK) rs_cells_escape(t->spectrum_text, sizeof t->spectrum_text, e->text, strlen(e->text), true);
    t->view.spectrum_missing = status != RS_OK ? t->spectrum_text : NULL;
}

static void read_spectrum(rs_top *t)
{
    const rs_view_junction *j = rs_view_junction_at(&t->view);
    if (j == NULL || t->spectrum_of == (int64_t)j->j) return;
    t->spectrum_of = (int64_t)j->j;
    t->view.spectrum = NULL;
    if (t->worker != NULL) {
        t->view.spectrum_missing = "the spectrum is being computed";
        t->asked = true;
        rs_top_worker_ask(t->worker, t->model.junction_doc, j);
        return;
    }
    rs_error e = {0};
    rs_view_spectrum s = {0};
    const rs_status st = rs_outline_complete(t->doc[t->model.junction_doc]) ? rs_spectrum_load(&s, t->doc[t->model.junction_doc], j, &e) : rs_fail(&e, RS_E_TRUNC, "the stream has not come to its end");
    take_spectrum(t, &s, st, &e);
    rs_spectrum_free(&s);
}

void rs_top_need(rs_top *t)
{
    if (t->view.screen == RS_SCREEN_TENSOR || (t->view.screen == RS_SCREEN_ERROR && t->view.map)) read_channels(t);
    if (t->view.screen == RS_SCREEN_ROTATION) read_spectrum(t);
}

// ---- what threads bring

static rs_status take_weights(rs_top *t, rs_top_result *r, rs_error *e)
{
    if (r->fig.known == 0) return RS_OK;
    const rs_outline_tensor *tensor = rs_outline_tensor_at(t->doc[r->doc], r->tensor);
    if (t->n_computed == t->cap_computed) {
        const size_t cap = t->cap_computed > 0 ? 2 * t->cap_computed : 256;
        struct computed *p = realloc(t->computed, cap * sizeof *p);
        if (p == NULL) return rs_fail(e, RS_E_NOMEM, "figures");
        t->computed = p;
        t->cap_computed = cap;
    }
    t->computed[t->n_computed++] = (struct computed){tensor->name, r->doc, r->channels};
    r->channels = (rs_view_channels){0};
    t->view.channels_of = NULL;
    t->view.channels[0] = t->view.channels[1] = NULL;
    return rs_view_model_put(&t->model, RS_OF_WEIGHT, r->doc, tensor, &r->fig, e);
}

static bool take_results(rs_top *t)
{
    rs_error e = {0};
    bool weights = false, any = false;
    double share = 0;
    for (rs_top_result *r; (r = rs_top_worker_take(t->worker, &share)) != NULL;) {
        any = true;
        if (r->spectral) {
            if (t->spectrum_of == (int64_t)r->spectrum.j || r->status != RS_OK) take_spectrum(t, &r->spectrum, r->status, &r->error);
        } else if (r->status != RS_OK) {
            blame(t, &r->error);
        } else {
            weights = true;
            if (take_weights(t, r, &e) != RS_OK) blame(t, &e);
        }
        rs_top_result_free(r);
    }
    if (t->view.computing >= 0 && share != t->view.computing) any = true;
    if (t->view.computing >= 0) t->view.computing = rs_top_worker_busy(t->worker) ? share : -1;
    if (weights && rs_view_refresh(&t->view, &t->model, &e) != RS_OK) blame(t, &e);
    return any;
}

bool rs_top_poll(rs_top *t, bool *busy)
{
    bool any = false;
    rs_error e = {0};
    if (t->feed.on && !t->view.paused) {
        any = feed_take(t);
        if (any && (frames_so_far(t) != t->frames || !t->feed.on) && gather(t, &e) != RS_OK) blame(t, &e);
        if (!t->feed.on && t->fault.status == RS_OK && start_worker(t, &e) != RS_OK) blame(t, &e);
    }
    if (t->worker != NULL && take_results(t)) any = true;
    if (t->check != NULL) {
        const rs_view_check old = t->view.check;
        rs_top_check_look(t->check, &t->view.check);
        if (old.done != t->view.check.done || (int)(old.share * 100) != (int)(t->view.check.share * 100)) any = true;
    }
    *busy = t->feed.on || (t->worker != NULL && rs_top_worker_busy(t->worker)) || (t->check != NULL && !t->view.check.done);
    return any;
}

static void wait_a_little(void)
{
    const struct timespec t = {.tv_nsec = 1000000};
    nanosleep(&t, NULL);
}

static rs_status compute_weights(rs_top *t, int d, void (*progress)(void *context, double share), void *context, rs_error *e)
{
    rs_stat_work *work = NULL;
    const size_t n = rs_outline_tensors(t->doc[d]);
    rs_status s = rs_stat_work_new(&work, e);
    for (size_t i = 0; i < n && s == RS_OK; i++) {
        rs_top_result r = {.doc = d};
        s = rs_top_weights(t->doc[d], i, work, &r, e);
        if (s == RS_OK) s = take_weights(t, &r, e);
        rs_view_channels_free(&r.channels);
        if (progress != NULL) progress(context, (double)(i + 1) / (double)n);
    }
    rs_stat_work_free(work);
    return s;
}

static rs_status verify_now(rs_top *t, rs_error *e)
{
    const char *path[2];
    if (!find_paths(t, path)) return RS_OK;
    if (t->check == NULL) RS_TRY(rs_top_check_start(&t->check, path, e));
    for (rs_top_check_look(t->check, &t->view.check); !t->view.check.done; rs_top_check_look(t->check, &t->view.check)) wait_a_little();
    return RS_OK;
}

rs_status rs_top_finish(rs_top *t, bool figures, bool verify, void (*progress)(void *context, double share), void *context, rs_error *e)
{
    bool stepped = false;
    if (t->o.threads) { // they have begun; what they do is done when they rest
        for (bool busy = true; busy && t->fault.status == RS_OK; wait_a_little()) (void)rs_top_poll(t, &busy);
        return rs_top_fault(t, e);
    }
    for (int d = 0; d < 2 && t->doc[d] != NULL; d++)
        for (bool more = !rs_outline_complete(t->doc[d]); more; stepped = true) RS_TRY(rs_outline_step(t->doc[d], &more, e));
    if (stepped) RS_TRY(gather(t, e));
    for (int d = 0; d < 2 && figures; d++)
        if (lacks_weights(t, d)) RS_TRY(compute_weights(t, d, progress, context, e));
    if (t->n_computed > 0) RS_TRY(rs_view_refresh(&t->view, &t->model, e));
    return verify ? verify_now(t, e) : RS_OK;
}

void rs_top_reload(rs_top *t)
{
    rs_outline *doc[2] = {NULL, NULL};
    rs_error e = {0};
    for (int d = 0; d < 2 && t->doc[d] != NULL; d++)
        if (!rs_outline_seekable(t->doc[d]) && !rs_outline_kept(t->doc[d])) {
            snprintf(t->view.message, sizeof t->view.message, "a stream cannot be read again");
            return;
        }
    rs_status s = open_all(&t->o, doc, &e);
    if (s == RS_OK) {
        stop_threads(t);
        rs_outline *old[2] = {t->doc[0], t->doc[1]};
        t->fault = (rs_error){0};
        t->view.fault[0] = 0;
        t->view.check = (rs_view_check){0};
        for (size_t i = 0; i < t->n_computed; i++) rs_view_channels_free(&t->computed[i].channels);
        t->n_computed = 0;
        for (int d = 0; d < 2; d++) t->doc[d] = doc[d];
        s = gather(t, &e);
        for (int d = 0; d < 2; d++) rs_outline_close(old[d]);
        if (s == RS_OK && t->o.threads) s = start_threads(t, &e);
        if (s == RS_OK) snprintf(t->view.message, sizeof t->view.message, "read again");
    } else {
        for (int d = 0; d < 2; d++) rs_outline_close(doc[d]);
    }
    if (s != RS_OK) blame(t, &e);
}
