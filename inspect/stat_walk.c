// SPDX-License-Identifier: Apache-2.0
// The walk of a text through the layers, with statistics of what the taps see. What is measured waits here until its tensor comes, in whatever order tensors come.
#include "inspect/stat_walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "quantize/scheme.h"

// What is measured in a layer: the tap; whose inputs they are (offsets from role q), none: K or V or the stream.
enum { QKV, O, GATE_UP, DOWN, K, V, STREAM_ATTN, STREAM_FFN, PLACES };
static const struct place {
    rs_tap tap;
    int first, count;
} places[PLACES] = {
    [QKV] = {RS_TAP_QKV_RAW, 0, 3}, [O] = {RS_TAP_O_RAW, 3, 1}, [GATE_UP] = {RS_TAP_GATE_UP_RAW, 4, 2}, [DOWN] = {RS_TAP_DOWN_RAW, 6, 1},
    [K] = {RS_TAP_K_RAW, 0, 0}, [V] = {RS_TAP_V_RAW, 0, 0}, [STREAM_ATTN] = {RS_TAP_STREAM_ATTN, 0, 0}, [STREAM_FFN] = {RS_TAP_STREAM_FFN, 0, 0},
};

struct rs_stat_walk {
    const rs_mapped *m;
    rs_network *n;
    rs_calibration c;
    rs_stat_work *work;
    rs_stat_result *result; // [L, PLACES], and one more: the stream at the last basis
    rs_stat *now[PLACES];   // those of the layer under way
    float *seen;            // what a tap sees on a device, of one sequence; NULL where there is none
    uint64_t L, done;       // layers that are done; L + 1: the last basis too
    rs_status status;       // of what a tap could not say
    rs_error error;
    double seconds;
    void (*progress)(void *context, double tokens);
    void *context;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double tokens(const rs_stat_walk *w) { return (double)w->c.samples * (double)w->c.ctx; }

double rs_stat_walk_seconds(const rs_stat_walk *w, double *count)
{
    *count = tokens(w);
    return w->seconds;
}

static void drop(rs_stat_walk *w)
{
    for (int p = 0; p < PLACES; p++) {
        rs_stat_free(w->now[p]);
        w->now[p] = NULL;
    }
}

void rs_stat_walk_close(rs_stat_walk *w)
{
    if (w == NULL) return;
    drop(w);
    for (uint64_t i = 0; w->result != NULL && i <= w->L * PLACES; i++) rs_stat_result_clear(&w->result[i]);
    free(w->result);
    free(w->seen);
    rs_calibration_close(&w->c);
    rs_network_close(w->n);
    free(w);
}

// ---- what is measured in one layer

// A quantiser on vectors of n values; false where its groups do not fit them.
static bool fits(const rs_quantizer *q, size_t n) { return q->group == 0 || n % q->group == 0; }

static void settings(const rs_stat_walk *w, const rs_decoder_layer *l, int p, rs_stat_options *o)
{
    const rs_quantizer *const in[] = {&l->in_q, &l->in_k, &l->in_v, &l->in_o, &l->in_gate, &l->in_up, &l->in_down};
    o->span = (size_t)o->channels;
    for (int i = 0; i < places[p].count; i++) o->quantizer[o->settings++] = *in[places[p].first + i];
    if (p == K || p == V) {
        o->span = rs_network_shape(w->n)->h;
        o->settings = 1;
        o->quantizer[0] = l->kv;
        if (p == V) o->quantizer[0].range = l->v_range;
    }
    for (size_t k = 0; k < o->settings; k++)
        if (!fits(&o->quantizer[k], o->span)) o->settings = 0;
}

static rs_status begin(rs_stat_walk *w, const rs_decoder_layer *l, rs_error *e)
{
    const rs_decoder_shape *s = rs_network_shape(w->n);
    const size_t width[PLACES] = {[QKV] = s->d, [O] = s->n_q * s->h, [GATE_UP] = s->d, [DOWN] = s->f, [K] = s->n_kv * s->h, [V] = s->n_kv * s->h, [STREAM_ATTN] = s->d, [STREAM_FFN] = s->d};
    for (int p = 0; p < PLACES; p++) {
        rs_stat_options o = {.rows = (uint64_t)w->c.samples * w->c.ctx, .channels = width[p], .tokens = true};
        settings(w, l, p, &o);
        RS_TRY(rs_stat_new(&w->now[p], &o, e));
    }
    return RS_OK;
}

// What a tap sees, in the process.
static const float *seen(rs_stat_walk *w, size_t rows, size_t cols, const float *x, size_t ld)
{
    const rs_memory *m = rs_network_kernels(w->n)->memory;
    if (m == NULL) return x;
    m->get(w->seen, x, ((rows - 1) * ld + cols) * sizeof *x);
    return w->seen;
}

static void on_tap(void *context, rs_tap tap, size_t rows, size_t cols, const float *x, size_t ld)
{
    rs_stat_walk *w = context;
    for (int p = 0; p < PLACES && w->status == RS_OK; p++)
        if (places[p].tap == tap) w->status = rs_stat_add(w->now[p], w->work, rows, seen(w, rows, cols, x, ld), ld, &w->error);
}

static rs_status layer(rs_stat_walk *w, rs_error *e)
{
    const rs_decoder_layer *l;
    rs_error cut = {0};
    RS_TRY(rs_network_load(w->n, w->done, &l, e));
    RS_TRY(begin(w, l, e));
    rs_status st = rs_calibration_pass(&w->c, l, RS_HALF_BOTH, true, on_tap, w, e);
    if (st == RS_E_VALUE && rs_mapped_check(w->m, &cut) != RS_OK) { // what went wrong before that went wrong because of it
        *e = cut;
        return cut.status;
    }
    if (st == RS_E_VALUE) return rs_error_prefix(e, st, "layer %llu", (unsigned long long)w->done);
    if (st == RS_OK && w->status != RS_OK) st = rs_fail(e, w->status, "%s", w->error.text);
    for (int p = 0; st == RS_OK && p < PLACES; p++) st = rs_stat_finish(w->now[p], &w->result[w->done * PLACES + (uint64_t)p], e);
    drop(w);
    return st == RS_OK ? rs_mapped_check(w->m, e) : st;
}

// The stream that the final norm reads.
static rs_status last_basis(rs_stat_walk *w, rs_error *e)
{
    const size_t d = rs_network_shape(w->n)->d;
    RS_TRY(rs_stat_new(&w->now[0], &(rs_stat_options){.rows = (uint64_t)w->c.samples * w->c.ctx, .channels = d, .tokens = true}, e));
    for (size_t s = 0; s < w->c.samples; s++) {
        RS_TRY(rs_calibration_get(&w->c, s, w->c.copy, e));
        RS_TRY(rs_stat_add(w->now[0], w->work, w->c.ctx, w->c.copy, d, e));
    }
    RS_TRY(rs_stat_finish(w->now[0], &w->result[w->L * PLACES], e));
    drop(w);
    return RS_OK;
}

// So many layers; L + 1: the last basis too.
static rs_status walk(rs_stat_walk *w, uint64_t layers, rs_error *e)
{
    const double start = now();
    while (w->done < layers) {
        RS_TRY(w->done < w->L ? layer(w, e) : last_basis(w, e));
        w->done++;
    }
    w->seconds += now() - start;
    return RS_OK;
}

// ---- what is given out

static bool of_network(const rs_stat_walk *w, const rs_tensor *t)
{
    rs_tensor own;
    if (!rs_scheme_matrix(t) || t->layer < 0 || (uint64_t)t->layer >= w->L) return false;
    rs_scheme_matrix_at(rs_network_config(w->n), (uint64_t)t->layer * RS_SCHEME_ROLES + (uint64_t)(t->role - RS_ROLE_Q), &own);
    return strcmp(own.name, t->name) == 0;
}

rs_status rs_stat_walk_tensor(rs_stat_walk *w, const rs_tensor *t, unsigned step, rs_stat_sink *sink, void *context, rs_error *e)
{
    if (!of_network(w, t)) return RS_OK;
    RS_TRY(walk(w, (uint64_t)t->layer + 1, e));
    const int role = (int)t->role - RS_ROLE_Q;
    const rs_stat_result *of_layer = w->result + (uint64_t)t->layer * PLACES;
    rs_stat_subject s = {.name = t->name, .of = "input", .role = t->role, .layer = t->layer, .step = step};
    for (int p = 0; p < PLACES; p++)
        if (role >= places[p].first && role < places[p].first + places[p].count) {
            s.r = &of_layer[p];
            s.setting = (size_t)(role - places[p].first);
        }
    RS_TRY(sink(context, &s, e));
    if (t->role != RS_ROLE_K && t->role != RS_ROLE_V) return RS_OK;
    s.of = "kv";
    s.setting = 0;
    s.r = &of_layer[t->role == RS_ROLE_K ? K : V];
    return sink(context, &s, e);
}

rs_status rs_stat_walk_stream(rs_stat_walk *w, unsigned step, rs_stat_sink *sink, void *context, rs_error *e)
{
    char name[32];
    RS_TRY(walk(w, w->L + 1, e));
    for (uint64_t j = 0; j <= 2 * w->L; j++) {
        snprintf(name, sizeof name, "basis.%llu", (unsigned long long)j);
        const rs_stat_subject s = {.name = name, .of = "stream", .role = RS_ROLE_COUNT, .layer = -1, .step = step, .r = w->result + j / 2 * PLACES + (j == 2 * w->L ? 0 : j % 2 == 0 ? STREAM_ATTN : STREAM_FFN)};
        RS_TRY(sink(context, &s, e));
    }
    return RS_OK;
}

static void on_passed(void *context, double passed)
{
    const rs_stat_walk *w = context;
    if (w->progress != NULL) w->progress(w->context, passed * (double)w->c.ctx / (2 * (double)w->L));
}

// Room for the widest thing that a tap sees of a sequence.
static rs_status open_seen(rs_stat_walk *w, rs_error *e)
{
    const rs_decoder_shape *s = rs_network_shape(w->n);
    const size_t nq = s->n_q * s->h, wide = nq > s->f ? nq : s->f;
    if (rs_network_kernels(w->n)->memory == NULL) return RS_OK;
    w->seen = malloc(w->c.ctx * (wide > s->d ? wide : s->d) * sizeof *w->seen);
    return w->seen != NULL ? RS_OK : rs_fail(e, RS_E_NOMEM, "activations of %zu tokens", w->c.ctx);
}

static rs_status prepare(rs_stat_walk *w, const rs_kernels *k, const rs_calibration_text *text, rs_error *e)
{
    uint64_t count, bytes;
    RS_TRY(rs_network_open(&w->n, w->m, k, e));
    rs_network_sums(w->n);
    w->L = rs_network_config(w->n)->L;
    if (!rs_mul_ok(w->L, PLACES, &count) || !rs_add_ok(count, 1, &count) || !rs_mul_ok(count, sizeof *w->result, &bytes)) return rs_fail(e, RS_E_LIMIT, "statistics of %llu layers", (unsigned long long)w->L);
    w->result = calloc(1, (size_t)bytes);
    if (w->result == NULL) return rs_fail(e, RS_E_NOMEM, "statistics of %llu layers", (unsigned long long)w->L);
    RS_TRY(rs_calibration_open(&w->c, w->n, text, e));
    RS_TRY(open_seen(w, e));
    w->c.progress = on_passed;
    w->c.context = w;
    return RS_OK;
}

rs_status rs_stat_walk_open(rs_stat_walk **out, const rs_mapped *m, const rs_kernels *k, const rs_calibration_text *text, rs_stat_work *work, void (*progress)(void *context, double tokens), void *context, rs_error *e)
{
    rs_stat_walk *w = *out = calloc(1, sizeof *w);
    if (w == NULL) return rs_fail(e, RS_E_NOMEM, "statistics");
    w->m = m;
    w->work = work;
    w->progress = progress;
    w->context = context;
    w->c.fd = -1;
    rs_status st = prepare(w, k, text, e);
    if (st == RS_OK) return RS_OK;
    rs_stat_walk_close(w);
    *out = NULL;
    return st;
}
