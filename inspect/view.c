// SPDX-License-Identifier: Apache-2.0
// The state of the screens: which rows are shown, in which order, and where the cursor stands.
#include "inspect/view.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/cells.h"

#define FRAME_ROWS 5 // of a list screen: title, what is shown, header; two lines below

int rs_view_last_side(const rs_view_model *m, rs_measure of)
{
    return m->side[of][1].on ? 1 : 0;
}

const rs_view_row *rs_view_row_at(const rs_view *v, size_t i)
{
    return i < v->n_order ? &v->model->row[v->order[i]] : NULL;
}

const rs_view_row *rs_view_current(const rs_view *v)
{
    return rs_view_row_at(v, v->cursor);
}

const rs_view_junction *rs_view_junction_at(const rs_view *v)
{
    return v->junction < v->model->n_junctions ? &v->model->junction[v->junction] : NULL;
}

int rs_view_change(const rs_view_row *r)
{
    double a, b;
    if (!rs_figures_get(&r->fig[0], RS_FIG_MAX_RMS, &a) || !rs_figures_get(&r->fig[1], RS_FIG_MAX_RMS, &b)) return 0;
    return b > a * 1.01 ? 1 : b < a * 0.99 ? -1 : 0;
}

double rs_view_energy(const rs_view_spectrum *s, uint64_t r)
{
    double sum = 0, kept = 0;
    if (!s->whole || s->known == 0) return NAN;
    for (size_t i = 0; i < s->known; i++) {
        double square = s->sigma[i] * s->sigma[i];
        sum += square;
        if (i < r) kept += square;
    }
    return sum > 0 ? kept / sum : NAN;
}

int rs_view_page(const rs_view *v)
{
    return v->rows > FRAME_ROWS ? v->rows - FRAME_ROWS : 1;
}

// ---- order

static bool shown(const rs_view *v, const rs_view_row *r)
{
    char name[RS_MAX_NAME * 8];
    if (r->of != v->of) return false;
    if (v->filter[0] == 0) return true;
    rs_view_short_name(r, name, sizeof name, true);
    if (strpbrk(v->filter, "*?") != NULL) return rs_view_glob(v->filter, r->name) || rs_view_glob(v->filter, name);
    return strstr(r->name, v->filter) != NULL || strstr(name, v->filter) != NULL;
}

// What a row is sorted by; false: not known. Small comes first.
static bool sort_value(const rs_view *v, const rs_view_row *r, double *x)
{
    static const rs_figure of_key[RS_SORT_COUNT] = {[RS_SORT_MAX_RMS] = RS_FIG_MAX_RMS, [RS_SORT_KURT] = RS_FIG_KURT, [RS_SORT_SQNR4] = RS_FIG_SQNR4, [RS_SORT_SQNR] = RS_FIG_SQNR, [RS_SORT_CLIP] = RS_FIG_CLIP};
    const rs_figures *f = &r->fig[rs_view_last_side(v->model, r->of)];
    double before, after;
    switch (v->sort) {
    case RS_SORT_MODEL:
    case RS_SORT_NAME:
    case RS_SORT_COUNT: *x = 0; return true;
    case RS_SORT_WIDTH: *x = -(double)r->width; return true;
    case RS_SORT_CHANGE:
        if (!rs_figures_get(&r->fig[0], RS_FIG_MAX_RMS, &before) || !rs_figures_get(&r->fig[1], RS_FIG_MAX_RMS, &after)) return false;
        *x = -after / before;
        break;
    case RS_SORT_SQNR4:
    case RS_SORT_SQNR:
        if (!rs_figures_get(f, of_key[v->sort], x)) return false;
        break;
    case RS_SORT_MAX_RMS:
    case RS_SORT_KURT:
    case RS_SORT_CLIP:
        if (!rs_figures_get(f, of_key[v->sort], x)) return false;
        *x = -*x;
        break;
    }
    if (isnan(*x)) *x = -INFINITY; // the worst there is
    return true;
}

static int compare(const void *x, const void *y, void *context)
{
    const rs_view *v = context;
    const rs_view_row *a = &v->model->row[*(const size_t *)x], *b = &v->model->row[*(const size_t *)y];
    double s = 0, t = 0;
    const bool has_a = sort_value(v, a, &s), has_b = sort_value(v, b, &t);
    int order = 0;
    if (has_a != has_b) return has_a ? -1 : 1; // what is not known stands last, whichever way
    if (has_a && s != t) order = s < t ? -1 : 1;
    if (order == 0 && v->sort == RS_SORT_NAME) order = strcmp(a->name, b->name);
    if (order == 0) order = a->place != b->place ? (a->place < b->place ? -1 : 1) : strcmp(a->name, b->name);
    return v->inverted ? -order : order;
}

void rs_view_go(rs_view *v, int64_t i)
{
    const size_t page = (size_t)rs_view_page(v);
    if (i >= (int64_t)v->n_order) i = (int64_t)v->n_order - 1;
    v->cursor = i > 0 ? (size_t)i : 0;
    if (v->cursor < v->top) v->top = v->cursor;
    if (v->cursor >= v->top + page) v->top = v->cursor - page + 1;
    if (v->top + page > v->n_order) v->top = v->n_order > page ? v->n_order - page : 0;
}

void rs_view_order(rs_view *v)
{
    const rs_view_row *r = rs_view_current(v);
    const char *name = r != NULL ? r->name : NULL;
    v->n_order = 0;
    for (size_t i = 0; i < v->model->n_rows && v->n_order < v->cap_order; i++)
        if (shown(v, &v->model->row[i])) v->order[v->n_order++] = i;
    qsort_r(v->order, v->n_order, sizeof *v->order, compare, v);
    int64_t at = 0;
    for (size_t i = 0; name != NULL && i < v->n_order; i++)
        if (strcmp(v->model->row[v->order[i]].name, name) == 0) at = (int64_t)i;
    rs_view_go(v, at);
}

static bool has_rows(const rs_view_model *m, rs_measure of)
{
    for (size_t i = 0; i < m->n_rows; i++)
        if (m->row[i].of == of) return true;
    return false;
}

bool rs_view_measure(rs_view *v, rs_measure of)
{
    if (!has_rows(v->model, of)) return false;
    if ((of == RS_OF_ERROR) != (v->of == RS_OF_ERROR)) {
        v->sort = of == RS_OF_ERROR ? RS_SORT_SQNR : RS_SORT_MAX_RMS;
        v->inverted = false;
    }
    if (of != RS_OF_ERROR) v->back_of = of;
    v->of = of;
    rs_view_order(v);
    return true;
}

void rs_view_sort(rs_view *v, rs_sort s, bool inverted)
{
    v->sort = s;
    v->inverted = inverted;
    rs_view_order(v);
    v->top = 0;
    rs_view_go(v, 0);
}

void rs_view_filter(rs_view *v, const char *glob)
{
    snprintf(v->filter, sizeof v->filter, "%s", glob);
    rs_view_order(v);
}

void rs_view_search(rs_view *v, int step)
{
    char name[RS_MAX_NAME * 8];
    if (v->search[0] == 0) return;
    for (size_t k = 1; k <= v->n_order; k++) {
        size_t i = (v->cursor + (step > 0 ? k : v->n_order - k)) % v->n_order;
        const rs_view_row *r = rs_view_row_at(v, i);
        if (strstr(r->name, v->search) == NULL && strstr(rs_view_short_name(r, name, sizeof name, true), v->search) == NULL) continue;
        rs_view_go(v, (int64_t)i);
        return;
    }
    snprintf(v->message, sizeof v->message, "no name holds %s", v->search);
}

// ---- screens

void rs_view_screen(rs_view *v, int screen)
{
    if (screen < RS_SCREEN_OVERVIEW || screen > RS_SCREEN_FILE) return;
    v->screen = screen;
    v->scroll = 0;
    if (screen == RS_SCREEN_ERROR && !rs_view_measure(v, RS_OF_ERROR)) return;
    if (screen < RS_SCREEN_ERROR && v->of == RS_OF_ERROR) (void)rs_view_measure(v, v->back_of);
}

void rs_view_resize(rs_view *v, int cols, int rows)
{
    v->cols = cols;
    v->rows = rows;
    rs_view_go(v, (int64_t)v->cursor);
}

static rs_status room(rs_view *v, rs_error *e)
{
    const size_t n = v->model->n_rows + 1;
    if (n <= v->cap_order) return RS_OK;
    size_t *p = realloc(v->order, n * sizeof *p);
    if (p == NULL) return rs_fail(e, RS_E_NOMEM, "list of %zu rows", n);
    v->order = p;
    v->cap_order = n;
    return RS_OK;
}

rs_status rs_view_init(rs_view *v, rs_view_model *m, int cols, int rows, rs_error *e)
{
    *v = (rs_view){.model = m, .cols = cols, .rows = rows, .screen = RS_SCREEN_OVERVIEW, .sort = RS_SORT_MAX_RMS, .rank = 32, .computing = -1};
    RS_TRY(room(v, e));
    for (int of = 0; of < RS_OF_COUNT; of++)
        if (of != RS_OF_ERROR && rs_view_measure(v, (rs_measure)of)) break;
    const rs_view_junction *j = rs_view_junction_at(v);
    if (j != NULL && j->rank != RS_RANK_FULL && j->rank > 0) v->rank = j->rank;
    if (j != NULL && v->rank > j->n) v->rank = j->n - j->n % 2;
    return RS_OK;
}

void rs_view_free(rs_view *v)
{
    free(v->order);
    *v = (rs_view){0};
}

rs_status rs_view_refresh(rs_view *v, rs_view_model *m, rs_error *e)
{
    rs_view_model *old = v->model;
    const char *current = rs_view_current(v) != NULL ? rs_view_current(v)->name : NULL;
    if (old != m) {
        for (size_t i = 0; i < old->n_rows; i++)
            for (size_t k = 0; old->row[i].tagged && k < m->n_rows; k++)
                if (m->row[k].of == old->row[i].of && strcmp(m->row[k].name, old->row[i].name) == 0) m->row[k].tagged = true;
    }
    v->model = m;
    v->channels_of = NULL;
    v->channels[0] = v->channels[1] = NULL;
    v->spectrum = NULL;
    if (v->junction >= m->n_junctions) v->junction = 0;
    RS_TRY(room(v, e));
    v->n_order = 0; // the old numbers mean nothing now
    if (!has_rows(m, v->of))
        for (int of = 0; of < RS_OF_COUNT; of++)
            if (of != RS_OF_ERROR && has_rows(m, (rs_measure)of)) {
                v->of = v->back_of = (rs_measure)of;
                break;
            }
    size_t at = v->cursor;
    rs_view_order(v);
    for (size_t i = 0; current != NULL && i < v->n_order; i++)
        if (strcmp(rs_view_row_at(v, i)->name, current) == 0) at = i;
    rs_view_go(v, (int64_t)at);
    return RS_OK;
}
