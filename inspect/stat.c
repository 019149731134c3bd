// SPDX-License-Identifier: Apache-2.0
// Statistics of blocks of rows: strips of channels for the moments, pieces of rows for everything else.
#include "inspect/stat.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/stat_top.h"
#include "kernels/central.h"
#include "kernels/scan.h"
#include "kernels/threads.h"

enum { STRIP = 64, PIECE = 1 << 14, MOST_SLOTS = 64, COUNTS = 1 << 12 }; // channels of a strip; values of a piece of rows; counts that are added up at a time
#define LARGE 100.0f   // a massive row: its largest magnitude is above this,
#define TIMES 1000.0f  // and at least so many times the median (arXiv 2402.17762)

// What one thread finds in the pieces that it takes.
struct slot {
    uint64_t *count; // [RS_SCAN_HALVES], all zero between calls
    rs_stat_top top;
    float *copy;     // of a piece
    double incoherence;
    uint64_t zeros, massive, bad;
};

struct rs_stat_work {
    size_t slots, copied;
    struct slot slot[MOST_SLOTS];
    double *error; // [pieces, settings, widths]
    size_t errors;
};

struct rs_stat {
    rs_stat_options o;
    rs_central *column; // [channels]
    float *absmax;      // [channels]
    uint64_t *count;    // [RS_SCAN_HALVES]
    rs_stat_top top;
    double incoherence; // NaN: no row that has one
    uint64_t rows, zeros, massive, bad;
    double error[RS_STAT_SETTINGS][RS_STAT_WIDTHS];
    bool unquantised[RS_STAT_SETTINGS][RS_STAT_WIDTHS]; // a row that has no codes was met
};

// ---- scratch

rs_status rs_stat_work_new(rs_stat_work **out, rs_error *e)
{
    rs_stat_work *w = *out = calloc(1, sizeof *w);
    if (w == NULL) return rs_fail(e, RS_E_NOMEM, "statistics");
    w->slots = (size_t)rs_threads_get() < MOST_SLOTS ? (size_t)rs_threads_get() : MOST_SLOTS;
    bool ok = true;
    for (size_t i = 0; i < w->slots; i++) ok = (w->slot[i].count = calloc(RS_SCAN_HALVES, sizeof *w->slot[i].count)) != NULL && ok;
    if (ok) return RS_OK;
    rs_stat_work_free(w);
    *out = NULL;
    return rs_fail(e, RS_E_NOMEM, "statistics");
}

void rs_stat_work_free(rs_stat_work *w)
{
    if (w == NULL) return;
    for (size_t i = 0; i < w->slots; i++) {
        free(w->slot[i].count);
        free(w->slot[i].top.v);
        free(w->slot[i].copy);
    }
    free(w->error);
    free(w);
}

// Room for calls of so many pieces, each of so many values.
static rs_status reserve(rs_stat_work *w, const rs_stat *s, size_t pieces, size_t values, rs_error *e)
{
    const size_t errors = pieces * RS_STAT_SETTINGS * RS_STAT_WIDTHS;
    for (size_t i = 0; i < w->slots; i++) {
        struct slot *slot = &w->slot[i];
        RS_TRY(rs_stat_top_start(&slot->top, s->top.keep, s->top.least, e));
        slot->incoherence = NAN;
        slot->zeros = slot->massive = slot->bad = 0;
        if (values <= w->copied) continue;
        free(slot->copy);
        slot->copy = malloc(2 * values * sizeof *slot->copy); // a piece as it is, and quantised
        if (slot->copy == NULL) w->copied = 0;
        if (slot->copy == NULL) return rs_fail(e, RS_E_NOMEM, "statistics of %zu values", values);
    }
    w->copied = values > w->copied ? values : w->copied;
    if (errors <= w->errors) return RS_OK;
    free(w->error);
    w->errors = 0;
    w->error = malloc(errors * sizeof *w->error);
    if (w->error == NULL) return rs_fail(e, RS_E_NOMEM, "statistics of %zu rows", pieces);
    w->errors = errors;
    return RS_OK;
}

// ---- one call

struct call {
    rs_stat *s;
    rs_stat_work *w;
    size_t rows, ld, pieces, piece; // rows of a piece
    const float *x;
    atomic_size_t next;
    atomic_bool unquantised[RS_STAT_SETTINGS][RS_STAT_WIDTHS];
};

static void strip(void *context, size_t i)
{
    const struct call *c = context;
    const size_t first = i * STRIP, channels = (size_t)c->s->o.channels, n = channels - first < STRIP ? channels - first : STRIP;
    rs_central_add(NULL, c->rows, n, c->x + first, c->ld, c->s->column + first);
    rs_scan_columns(c->rows, n, c->x + first, c->ld, c->s->absmax + first);
}

static int rising(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

// Whether the largest magnitude is massive against the median of the n values in x, bad of which are not finite; work: n floats. The median itself is looked for only where the two values in the
// middle lie on different sides.
static bool massive(size_t n, size_t bad, const float *x, float max, float *work)
{
    size_t low = 0, count = 0;
    if (!(max > LARGE)) return false;
    for (size_t i = 0; i < n; i++) low += (double)TIMES * fabs((double)x[i]) <= (double)max;
    if (low <= (n - bad - 1) / 2) return false;
    if (low > (n - bad) / 2) return true;
    for (size_t i = 0; i < n; i++)
        if (isfinite(x[i])) work[count++] = fabsf(x[i]);
    qsort(work, count, sizeof *work, rising);
    return (double)max >= (double)TIMES * (((double)work[(count - 1) / 2] + (double)work[count / 2]) / 2);
}

static void row(const struct call *c, struct slot *slot, const float *x)
{
    const size_t n = (size_t)c->s->o.channels;
    const rs_scan scan = rs_scan_row(NULL, n, x);
    slot->zeros += scan.zeros;
    slot->bad += scan.bad;
    rs_scan_count(n, x, slot->count);
    rs_stat_top_add(&slot->top, n, x, scan.max);
    if (!(scan.square > 0)) return;
    const double incoherence = (double)scan.max * sqrt((double)(n - scan.bad) / scan.square);
    if (!(incoherence <= slot->incoherence)) slot->incoherence = incoherence;
    if (c->s->o.tokens && massive(n, scan.bad, x, scan.max, slot->copy)) slot->massive++;
}

// The errors of a piece of rows by every quantiser and width.
static void quantise(struct call *c, struct slot *slot, size_t p, size_t first, size_t rows)
{
    const rs_stat_options *o = &c->s->o;
    const size_t n = (size_t)o->channels, span = o->span, values = rows * n;
    float *as_it_is = slot->copy, *quantised = slot->copy + values;
    for (size_t r = 0; r < rows; r++) memcpy(as_it_is + r * n, c->x + (first + r) * c->ld, n * sizeof *as_it_is);
    for (size_t k = 0; k < o->settings; k++)
        for (size_t b = 0; b < RS_STAT_WIDTHS; b++) {
            rs_quantizer q = o->quantizer[k];
            q.bits = 4 - (unsigned)b;
            memcpy(quantised, as_it_is, values * sizeof *quantised);
            if (rs_kernels_cpu()->fake_quant(&q, values / span, span, quantised, span) > 0) atomic_store(&c->unquantised[k][b], true);
            c->w->error[(p * RS_STAT_SETTINGS + k) * RS_STAT_WIDTHS + b] = rs_scan_distance(values, quantised, as_it_is);
        }
}

static void take_pieces(void *context, size_t i)
{
    struct call *c = context;
    struct slot *slot = &c->w->slot[i];
    for (size_t p; (p = atomic_fetch_add(&c->next, 1)) < c->pieces;) {
        const size_t first = p * c->piece, rows = c->rows - first < c->piece ? c->rows - first : c->piece;
        for (size_t r = first; r < first + rows; r++) row(c, slot, c->x + r * c->ld);
        quantise(c, slot, p, first, rows);
    }
}

// A part of the counts, from all slots.
static void join_counts(void *context, size_t part)
{
    struct call *c = context;
    const size_t first = part * COUNTS;
    for (size_t i = 0; i < c->w->slots; i++) {
        uint64_t *count = c->w->slot[i].count + first;
        for (size_t k = 0; k < COUNTS; k++) c->s->count[first + k] += count[k];
        memset(count, 0, COUNTS * sizeof *count);
    }
}

// Sums that do not depend on who took which piece.
static void join(struct call *c)
{
    rs_stat *s = c->s;
    rs_threads_for(RS_SCAN_HALVES / COUNTS, join_counts, c);
    for (size_t i = 0; i < c->w->slots; i++) {
        struct slot *slot = &c->w->slot[i];
        rs_stat_top_join(&s->top, &slot->top);
        if (!(slot->incoherence <= s->incoherence) && !isnan(slot->incoherence)) s->incoherence = slot->incoherence;
        s->zeros += slot->zeros;
        s->massive += slot->massive;
        s->bad += slot->bad;
    }
    for (size_t k = 0; k < s->o.settings; k++)
        for (size_t b = 0; b < RS_STAT_WIDTHS; b++) {
            for (size_t p = 0; p < c->pieces; p++) s->error[k][b] += c->w->error[(p * RS_STAT_SETTINGS + k) * RS_STAT_WIDTHS + b];
            s->unquantised[k][b] = s->unquantised[k][b] || atomic_load(&c->unquantised[k][b]);
        }
}

rs_status rs_stat_add(rs_stat *s, rs_stat_work *w, size_t rows, const float *x, size_t ld, rs_error *e)
{
    const size_t channels = (size_t)s->o.channels;
    struct call c = {.s = s, .w = w, .rows = rows, .ld = ld, .x = x};
    if (rows == 0 || channels == 0) return RS_OK;
    c.piece = channels < PIECE ? PIECE / channels : 1;
    c.pieces = (rows + c.piece - 1) / c.piece;
    RS_TRY(reserve(w, s, c.pieces, c.piece * channels, e));
    rs_threads_for((channels + STRIP - 1) / STRIP, strip, &c);
    rs_threads_for(w->slots, take_pieces, &c);
    join(&c);
    s->rows += rows;
    return RS_OK;
}

// ---- from the first to the last

rs_status rs_stat_new(rs_stat **out, const rs_stat_options *o, rs_error *e)
{
    rs_stat *s = *out = calloc(1, sizeof *s);
    uint64_t values = 0, bytes = 0;
    if (s == NULL) return rs_fail(e, RS_E_NOMEM, "statistics");
    s->o = *o;
    s->incoherence = NAN;
    rs_status st = RS_OK;
    if (!rs_mul_ok(o->rows, o->channels, &values) || !rs_mul_ok(o->channels, sizeof *s->column, &bytes)) st = rs_fail(e, RS_E_LIMIT, "statistics of %llu channels", (unsigned long long)o->channels);
    if (st == RS_OK) {
        s->column = calloc(1, (size_t)bytes + 1);
        s->absmax = calloc((size_t)o->channels + 1, sizeof *s->absmax);
        s->count = calloc(RS_SCAN_HALVES, sizeof *s->count);
        if (s->column == NULL || s->absmax == NULL || s->count == NULL) st = rs_fail(e, RS_E_NOMEM, "statistics of %llu channels", (unsigned long long)o->channels);
    }
    if (st == RS_OK) st = rs_stat_top_start(&s->top, rs_stat_top_need(values, 0.999), -1, e);
    if (st == RS_OK) return RS_OK;
    rs_stat_free(s);
    *out = NULL;
    return st;
}

void rs_stat_free(rs_stat *s)
{
    if (s == NULL) return;
    free(s->column);
    free(s->absmax);
    free(s->count);
    free(s->top.v);
    free(s);
}

double rs_stat_decibel(double signal, double error)
{
    return signal > 0 && error > 0 ? 10 * log10(signal / error) : NAN;
}

// The counts by upper halves, as numbers cut to them, into bins a quarter of rms wide.
static void histogram(const rs_stat *s, double rms, uint64_t *bin)
{
    for (uint32_t k = 0; k < RS_SCAN_HALVES; k++) {
        const uint32_t bits = k << 16;
        float x;
        memcpy(&x, &bits, sizeof x);
        if (s->count[k] == 0 || !isfinite(x)) continue;
        const double at = rms > 0 ? floor(4 * (double)x / rms) + RS_STAT_BINS / 2 : RS_STAT_BINS / 2;
        bin[at < 0 ? 0 : at > RS_STAT_BINS - 1 ? RS_STAT_BINS - 1 : (size_t)at] += s->count[k];
    }
}

rs_status rs_stat_finish(rs_stat *s, rs_stat_result *r, rs_error *e)
{
    const size_t n = (size_t)s->o.channels;
    const rs_central all = rs_central_all(n, s->column);
    const uint64_t count = s->rows * s->o.channels - s->bad;
    float *parts = malloc(2 * n * sizeof *parts + 1);
    *r = (rs_stat_result){.channels = n, .tokens = s->o.tokens, .rows = s->rows, .massive = s->massive, .bad = s->bad, .incoherence = s->incoherence};
    if (parts == NULL) return rs_fail(e, RS_E_NOMEM, "statistics of %zu channels", n);
    r->absmax = s->absmax;
    r->rms_of = parts;
    r->kurt_of = parts + n;
    s->absmax = NULL;
    r->max = count > 0 ? 0 : NAN;
    for (size_t j = 0; j < n; j++) {
        r->rms_of[j] = (float)rs_central_rms(&s->column[j]);
        r->kurt_of[j] = (float)rs_central_kurtosis(&s->column[j]);
        if ((double)r->absmax[j] > r->max) r->max = (double)r->absmax[j];
    }
    r->rms = count > 0 ? rs_central_rms(&all) : NAN;
    r->kurt = count > 0 ? rs_central_kurtosis(&all) : NAN;
    r->zeros = count > 0 ? (double)s->zeros / (double)count : NAN;
    r->p999 = count > 0 ? rs_stat_top_quantile(&s->top, count, 0.999) : NAN;
    r->p9999 = count > 0 ? rs_stat_top_quantile(&s->top, count, 0.9999) : NAN;
    r->square = all.m2 + all.n * all.mean * all.mean;
    histogram(s, r->rms, r->hist);
    for (size_t k = 0; k < RS_STAT_SETTINGS; k++)
        for (size_t b = 0; b < RS_STAT_WIDTHS; b++) r->sqnr[k][b] = k < s->o.settings && !s->unquantised[k][b] ? rs_stat_decibel(r->square, s->error[k][b]) : NAN;
    return RS_OK;
}

void rs_stat_result_clear(rs_stat_result *r)
{
    free(r->absmax);
    free(r->rms_of); // and kurt_of
    *r = (rs_stat_result){0};
}
