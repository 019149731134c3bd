// SPDX-License-Identifier: Apache-2.0
// The thread that computes: one piece at a time, spectra first, so that the pool of threads has one caller.
#include "inspect/top_worker.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct rs_top_worker {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    rs_outline *doc[2];
    size_t next[2], total[2];   // tensors
    bool stop, asked, running;
    int asked_doc;
    rs_view_junction junction;
    rs_top_result *first, **last;
    rs_stat_work *work;
};

void rs_top_result_free(rs_top_result *r)
{
    if (r == NULL) return;
    rs_spectrum_free(&r->spectrum);
    free(r->channels.absmax);
    free(r->channels.rms);
    free(r->channels.kurt);
    free(r);
}

// Without memory there are no channels to show: NULL.
static float *copy(const float *x, uint64_t n)
{
    float *p = x != NULL ? malloc((size_t)n * sizeof *p + 1) : NULL;
    if (p != NULL) memcpy(p, x, (size_t)n * sizeof *p);
    return p;
}

static void take(rs_top_result *out, const rs_stat_result *r)
{
    const struct {
        rs_figure f;
        double x;
    } list[] = {{RS_FIG_MAX, r->max},       {RS_FIG_RMS, r->rms},     {RS_FIG_KURT, r->kurt},          {RS_FIG_P999, r->p999}, {RS_FIG_P9999, r->p9999}, {RS_FIG_INCOHERENCE, r->incoherence},
                {RS_FIG_ZEROS, r->zeros}, {RS_FIG_SQNR4, r->sqnr[0][0]}, {RS_FIG_SQNR3, r->sqnr[0][1]}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (!isnan(list[i].x)) rs_figures_set(&out->fig, list[i].f, list[i].x);
    rs_figures_set(&out->fig, RS_FIG_BAD, (double)r->bad);
    if (r->rms > 0) rs_figures_set(&out->fig, RS_FIG_MAX_RMS, r->max / r->rms);
    out->channels = (rs_view_channels){.n = r->channels, .absmax = copy(r->absmax, r->channels), .rms = copy(r->rms_of, r->channels), .kurt = copy(r->kurt_of, r->channels), .has_hist = true};
    memcpy(out->channels.hist, r->hist, sizeof out->channels.hist);
}

rs_status rs_top_weights(rs_outline *o, size_t i, rs_stat_work *work, rs_top_result *out, rs_error *e)
{
    rs_tensor t;
    rs_stat_result r = {0};
    out->tensor = i;
    RS_TRY(rs_outline_tensor_head(o, i, &t, e));
    const rs_outline_tensor *at = rs_outline_tensor_at(o, i);
    if (!rs_stat_measures(&t)) return RS_OK;
    if (t.payload_len > SIZE_MAX - 64) return rs_fail(e, RS_E_LIMIT, "%s: too large", t.name);
    uint8_t *payload = aligned_alloc(64, ((size_t)t.payload_len + 64) / 64 * 64);
    if (payload == NULL) return rs_fail(e, RS_E_NOMEM, "%s: %llu bytes", t.name, (unsigned long long)t.payload_len);
    rs_status s = rs_outline_read(o, at->payload_off, payload, (size_t)t.payload_len, e);
    if (s == RS_OK) s = rs_stat_weights(&t, payload, work, &r, e);
    if (s == RS_OK) take(out, &r);
    rs_stat_result_clear(&r);
    free(payload);
    return s;
}

// ---- the thread

static void run_one(rs_top_worker *w, rs_top_result *r, const rs_view_junction *j)
{
    if (r->spectral) r->status = rs_spectrum_load(&r->spectrum, w->doc[r->doc], j, &r->error);
    else r->status = rs_top_weights(w->doc[r->doc], r->tensor, w->work, r, &r->error);
}

// Takes the next piece; false: there is none now.
static bool next_piece(rs_top_worker *w, rs_top_result *r, rs_view_junction *j)
{
    if (w->asked) {
        w->asked = false;
        r->spectral = true;
        r->doc = w->asked_doc;
        *j = w->junction;
        return true;
    }
    for (int d = 0; d < 2; d++)
        if (w->next[d] < w->total[d]) {
            r->doc = d;
            r->tensor = w->next[d]++;
            return true;
        }
    return false;
}

static void *work(void *context)
{
    rs_top_worker *w = context;
    rs_view_junction j = {0};
    pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        rs_top_result *r = calloc(1, sizeof *r);
        if (r == NULL) break;
        if (!next_piece(w, r, &j)) {
            free(r);
            w->running = false;
            pthread_cond_wait(&w->wake, &w->lock);
            continue;
        }
        w->running = true;
        pthread_mutex_unlock(&w->lock);
        run_one(w, r, &j);
        pthread_mutex_lock(&w->lock);
        *w->last = r;
        w->last = &r->next;
    }
    w->running = false;
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

rs_status rs_top_worker_start(rs_top_worker **out, rs_outline *const doc[2], const bool wants[2], rs_error *e)
{
    rs_top_worker *w = *out = calloc(1, sizeof *w);
    if (w == NULL) return rs_fail(e, RS_E_NOMEM, "worker");
    rs_status s = rs_stat_work_new(&w->work, e);
    for (int d = 0; d < 2; d++) {
        w->doc[d] = doc[d];
        w->total[d] = doc[d] != NULL && wants[d] ? rs_outline_tensors(doc[d]) : 0;
    }
    w->last = &w->first;
    w->running = w->total[0] + w->total[1] > 0;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    if (s == RS_OK && pthread_create(&w->thread, NULL, work, w) != 0) s = rs_fail(e, RS_E_NOMEM, "no thread to compute with");
    if (s == RS_OK) return s;
    rs_stat_work_free(w->work);
    free(w);
    *out = NULL;
    return s;
}

void rs_top_worker_stop(rs_top_worker *w)
{
    if (w == NULL) return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    for (rs_top_result *r; (r = rs_top_worker_take(w, NULL)) != NULL;) rs_top_result_free(r);
    rs_stat_work_free(w->work);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->wake);
    free(w);
}

void rs_top_worker_ask(rs_top_worker *w, int doc, const rs_view_junction *j)
{
    pthread_mutex_lock(&w->lock);
    w->asked = true;
    w->running = true;
    w->asked_doc = doc;
    w->junction = *j;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

rs_top_result *rs_top_worker_take(rs_top_worker *w, double *share)
{
    pthread_mutex_lock(&w->lock);
    rs_top_result *r = w->first;
    if (r != NULL) w->first = r->next;
    if (w->first == NULL) w->last = &w->first;
    const size_t total = w->total[0] + w->total[1];
    if (share != NULL) *share = total > 0 ? (double)(w->next[0] + w->next[1]) / (double)total : 1;
    pthread_mutex_unlock(&w->lock);
    if (r != NULL) r->next = NULL;
    return r;
}

bool rs_top_worker_busy(rs_top_worker *w)
{
    pthread_mutex_lock(&w->lock);
    const bool busy = w->running || w->asked || w->first != NULL;
    pthread_mutex_unlock(&w->lock);
    return busy;
}
