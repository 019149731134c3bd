// SPDX-License-Identifier: Apache-2.0
// Gathers what one or two outlines hold into rows, sides and junctions.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/frames.h"
#include "formats/hash.h"
#include "inspect/view.h"

#define PLACE_BASIS (UINT64_C(1) << 50) // bases of the stream stand behind all tensors

// Rows by measure and name while the model is built.
struct names {
    size_t *slot, cap; // row + 1
};

static size_t place_of(const rs_view_model *m, const struct names *t, rs_measure of, const char *name)
{
    size_t k = (size_t)(rs_hash_64(name, strlen(name)) + (uint64_t)of * 0x9e3779b97f4a7c15u) & (t->cap - 1);
    while (t->slot[k] != 0 && (m->row[t->slot[k] - 1].of != of || strcmp(m->row[t->slot[k] - 1].name, name) != 0)) k = (k + 1) & (t->cap - 1);
    return k;
}

static rs_view_row *new_row(rs_view_model *m)
{
    if (m->n_rows == m->cap_rows) {
        size_t cap = m->cap_rows > 0 ? 2 * m->cap_rows : 256;
        rs_view_row *p = cap < SIZE_MAX / sizeof *p ? realloc(m->row, cap * sizeof *p) : NULL;
        if (p == NULL) return NULL;
        m->row = p;
        m->cap_rows = cap;
    }
    rs_view_row *r = &m->row[m->n_rows++];
    *r = (rs_view_row){.role = RS_ROLE_COUNT, .layer = -1, .frame = {-1, -1}};
    return r;
}

// What the file says about the tensor of a row.
static void describe(rs_view_row *r, const rs_outline_tensor *t, uint64_t place)
{
    r->role = t->role;
    r->layer = t->layer;
    r->enc = t->enc;
    r->group = t->group;
    r->width = r->of == RS_OF_KV ? t->rows : t->cols;
    r->place = place;
}

static const rs_outline *last(const rs_view_model *m)
{
    return m->doc[1] != NULL ? m->doc[1] : m->doc[0];
}

// The row of a frame; the last file describes its tensor, or else its own.
static rs_view_row *row_of(rs_view_model *m, struct names *t, rs_measure of, const rs_outline *o, const char *name)
{
    size_t k = place_of(m, t, of, name);
    if (t->slot[k] != 0) return &m->row[t->slot[k] - 1];
    rs_view_row *r = new_row(m);
    if (r == NULL) return NULL;
    t->slot[k] = m->n_rows;
    r->name = name;
    r->of = of;
    const rs_outline *from = last(m);
    const rs_outline_tensor *tensor = rs_outline_find(from, name);
    uint64_t behind = 0;
    if (tensor == NULL && from != o) {
        behind = rs_outline_tensors(from);
        from = o;
        tensor = rs_outline_find(from, name);
    }
    if (tensor != NULL) describe(r, tensor, behind + (uint64_t)(tensor - rs_outline_tensor_at(from, 0)));
    else if (of == RS_OF_STREAM && rs_frames_index(name, "basis.", &r->layer)) r->place = PLACE_BASIS + (uint64_t)r->layer;
    else r->place = PLACE_BASIS;
    return r;
}

// ---- sides

// Lowest and highest step with figures of each measure in one file; -1: none.
static void steps_of(const rs_outline *o, int64_t lo[RS_OF_COUNT], int64_t hi[RS_OF_COUNT])
{
    rs_measure of;
    for (int i = 0; i < RS_OF_COUNT; i++) lo[i] = hi[i] = -1;
    for (size_t i = 0; i < rs_outline_stats(o); i++) {
        const rs_outline_stat *s = rs_outline_stat_at(o, i);
        if (!rs_measure_find(s->of, &of)) continue;
        if (lo[of] < 0 || s->step < lo[of]) lo[of] = s->step;
        if (hi[of] < s->step) hi[of] = s->step;
    }
}

static bool has_step(const rs_outline *o, rs_measure of, int64_t step)
{
    for (size_t i = 0; i < rs_outline_stats(o); i++) {
        const rs_outline_stat *s = rs_outline_stat_at(o, i);
        if (s->step == step && strcmp(s->of, rs_measure_name(of)) == 0) return true;
    }
    return false;
}

static void put_side(rs_view_side *side, const rs_outline *o, int doc, rs_measure of, int64_t wanted, int64_t otherwise)
{
    int64_t step = wanted >= 0 ? wanted : otherwise;
    if (step >= 0 && has_step(o, of, step)) *side = (rs_view_side){.on = true, .doc = doc, .step = (unsigned)step};
}

static void find_sides(rs_view_model *m, const int64_t steps[2])
{
    int64_t lo[RS_OF_COUNT], hi[RS_OF_COUNT];
    int64_t a = steps != NULL ? steps[0] : -1, b = steps != NULL ? steps[1] : -1;
    steps_of(m->doc[0], lo, hi);
    for (int i = 0; i < RS_OF_COUNT; i++) {
        put_side(&m->side[i][0], m->doc[0], 0, (rs_measure)i, a, m->doc[1] != NULL ? hi[i] : lo[i]);
        if (m->doc[1] == NULL && (b >= 0 || !m->side[i][0].on || hi[i] != m->side[i][0].step)) put_side(&m->side[i][1], m->doc[0], 0, (rs_measure)i, b, hi[i]);
    }
    if (m->doc[1] == NULL) return;
    steps_of(m->doc[1], lo, hi);
    for (int i = 0; i < RS_OF_COUNT; i++) put_side(&m->side[i][1], m->doc[1], 1, (rs_measure)i, b, hi[i]);
}

// ---- rows

static rs_status take_frames(rs_view_model *m, struct names *t, int side, rs_error *e)
{
    rs_measure of;
    const rs_outline *o = NULL;
    for (int d = 0; d < 2 && m->doc[d] != NULL; d++) {
        o = m->doc[d];
        for (size_t i = 0; i < rs_outline_stats(o); i++) {
            const rs_outline_stat *s = rs_outline_stat_at(o, i);
            if (!rs_measure_find(s->of, &of)) continue;
            const rs_view_side *from = &m->side[of][side];
            if (!from->on || from->doc != d || from->step != s->step) continue;
            rs_view_row *r = row_of(m, t, of, o, s->name);
            if (r == NULL) return rs_fail(e, RS_E_NOMEM, "rows");
            r->frame[side] = (int64_t)i;
            r->fig[side] = (rs_figures){0};
            rs_figures_read(&r->fig[side], s->values);
        }
    }
    return RS_OK;
}

static int by_place(const void *x, const void *y)
{
    const rs_view_row *a = x, *b = y;
    if (a->of != b->of) return a->of < b->of ? -1 : 1;
    if (a->place != b->place) return a->place < b->place ? -1 : 1;
    return strcmp(a->name, b->name);
}

static void stream_width(rs_view_model *m)
{
    const rs_outline *o = last(m);
    uint64_t d = 0;
    for (size_t i = 0; i < rs_outline_tensors(o) && d == 0; i++)
        if (rs_outline_tensor_at(o, i)->role == RS_ROLE_EMBED) d = rs_outline_tensor_at(o, i)->cols;
    for (size_t i = 0; i < m->n_rows; i++)
        if (m->row[i].of == RS_OF_STREAM) m->row[i].width = d;
}

static rs_status gather_rows(rs_view_model *m, rs_error *e)
{
    struct names t = {.cap = 64};
    size_t n = rs_outline_stats(m->doc[0]) + (m->doc[1] != NULL ? rs_outline_stats(m->doc[1]) : 0);
    while (t.cap < 2 * n + 2) t.cap *= 2;
    t.slot = calloc(t.cap, sizeof *t.slot);
    rs_status s = t.slot != NULL ? take_frames(m, &t, 0, e) : rs_fail(e, RS_E_NOMEM, "rows");
    if (s == RS_OK) s = take_frames(m, &t, 1, e);
    free(t.slot);
    if (s == RS_OK && m->n_rows > 0) qsort(m->row, m->n_rows, sizeof *m->row, by_place);
    stream_width(m);
    return s;
}

// ---- junctions

// The junction list by number while it is filled; those that nothing names are left out afterwards.
static rs_status gather_junctions(rs_view_model *m, int doc, rs_error *e)
{
    const rs_outline *o = m->doc[doc];
    uint64_t n = 2 * rs_outline_head(o)->layers;
    rs_view_junction *j = n > 0 ? calloc(n, sizeof *j) : NULL;
    if (n == 0) return RS_OK;
    if (j == NULL) return rs_fail(e, RS_E_NOMEM, "junctions");
    for (uint64_t i = 0; i < n; i++) j[i] = (rs_view_junction){.j = i, .frame = -1, .tensor = -1, .next = -1};
    for (size_t i = 0; i < rs_outline_tensors(o); i++) {
        const rs_outline_tensor *t = rs_outline_tensor_at(o, i);
        const uint64_t at = (uint64_t)t->layer;
        const bool dense = t->enc != RS_ENC_LOWRANK;
        if (t->layer < 0) continue;
        if ((t->role == RS_ROLE_RESID || t->role == RS_ROLE_TRANS) && at < n) {
            j[at].tensor = (int64_t)i;
            j[at].n = t->cols;
            j[at].rank = dense ? RS_RANK_FULL : t->rank;
        } else if (t->role == RS_ROLE_ROT) {
            if (at < n && j[at].tensor < 0) j[at].tensor = (int64_t)i, j[at].n = t->cols, j[at].rank = RS_RANK_FULL;
            if (at >= 1 && at - 1 < n) j[at - 1].next = (int64_t)i;
        }
    }
    // A rotation alone is no junction.
    for (uint64_t i = 0; i < n; i++)
        if (j[i].tensor >= 0 && rs_outline_tensor_at(o, (size_t)j[i].tensor)->role == RS_ROLE_ROT && j[i].next < 0) j[i].tensor = -1;
    for (size_t i = 0; i < rs_outline_stats(o); i++) {
        const rs_outline_stat *s = rs_outline_stat_at(o, i);
        int64_t at;
        if (strcmp(s->of, "angles") != 0 || !rs_frames_index(s->name, "junction.", &at) || (uint64_t)at >= n) continue;
        if (j[at].frame < 0 || rs_outline_stat_at(o, (size_t)j[at].frame)->step < s->step) j[at].frame = (int64_t)i;
        if (j[at].n == 0) j[at].n = s->payload_len / 4; // one angle, f32, for each dim
    }
    m->n_junctions = 0;
    for (uint64_t i = 0; i < n; i++)
        if (j[i].tensor >= 0 || j[i].frame >= 0) j[m->n_junctions++] = j[i];
    m->junction = j;
    m->junction_doc = doc;
    return RS_OK;
}

rs_status rs_view_model_init(rs_view_model *m, const rs_outline *before, const rs_outline *after, const int64_t steps[2], rs_error *e)
{
    *m = (rs_view_model){.doc = {before, after}};
    m->head = rs_outline_head(last(m));
    find_sides(m, steps);
    RS_TRY(gather_rows(m, e));
    RS_TRY(gather_junctions(m, after != NULL, e));
    if (m->n_junctions > 0 || after == NULL) return RS_OK;
    free(m->junction);
    m->junction = NULL;
    return gather_junctions(m, 0, e);
}

void rs_view_model_free(rs_view_model *m)
{
    free(m->row);
    free(m->junction);
    *m = (rs_view_model){0};
}

rs_status rs_view_model_put(rs_view_model *m, rs_measure of, int side, const rs_outline_tensor *t, const rs_figures *f, rs_error *e)
{
    rs_view_row *r = NULL;
    for (size_t i = m->n_rows; i-- > 0 && r == NULL;)
        if (m->row[i].of == of && strcmp(m->row[i].name, t->name) == 0) r = &m->row[i];
    if (r == NULL) {
        const rs_outline_tensor *first = rs_outline_tensor_at(last(m), 0);
        const rs_outline_tensor *same = rs_outline_find(last(m), t->name);
        r = new_row(m);
        if (r == NULL) return rs_fail(e, RS_E_NOMEM, "rows");
        r->name = t->name;
        r->of = of;
        describe(r, t, same != NULL ? (uint64_t)(same - first) : m->n_rows + PLACE_BASIS);
    }
    r->fig[side] = *f;
    m->side[of][side].on = m->side[of][side].computed = true;
    m->side[of][side].doc = m->doc[1] != NULL ? side : 0;
    qsort(m->row, m->n_rows, sizeof *m->row, by_place);
    return RS_OK;
}
