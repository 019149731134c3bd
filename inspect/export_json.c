// SPDX-License-Identifier: Apache-2.0
// A view as JSON (inspect/export.schema.json). A number that is not known is null; one that is not finite is null too, and "not_finite" says what it is.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/endian.h"
#include "formats/frames.h"
#include "formats/part.h"
#include "formats/value_json.h"
#include "inspect/export.h"

static rs_status no_memory(rs_error *e) { return rs_fail(e, RS_E_NOMEM, "export"); }

static json_t *number(double x) { return isfinite(x) ? json_real(x) : json_null(); }
static json_t *whole(uint64_t x) { return json_integer((json_int_t)x); }

const rs_view_row *rs_export_row(const rs_view *v, size_t i)
{
    bool tagged = false;
    for (size_t k = 0; k < v->n_order && !tagged; k++) tagged = rs_view_row_at(v, k)->tagged;
    for (size_t k = 0; k < v->n_order; k++)
        if ((!tagged || rs_view_row_at(v, k)->tagged) && i-- == 0) return rs_view_row_at(v, k);
    return NULL;
}

// ---- what a file says about itself

// A record as the map of its frame, without the keys that say how it lies in the stream.
static rs_status frame_json(rs_frame_type type, const void *record, json_t **out, rs_error *e)
{
    rs_arena *a = rs_arena_new();
    rs_value *map = NULL;
    rs_status st = a != NULL ? rs_frames_put(type, a, record, &map, e) : no_memory(e);
    *out = st == RS_OK ? rs_value_to_json(map) : NULL;
    rs_arena_free(a);
    return st == RS_OK && *out == NULL ? no_memory(e) : st;
}

static rs_status append_frame(json_t *list, rs_frame_type type, const void *record, rs_error *e)
{
    json_t *j;
    RS_TRY(frame_json(type, record, &j, e));
    return json_array_append_new(list, j) == 0 ? RS_OK : no_memory(e);
}

static json_t *floats(const float *x, uint64_t n)
{
    json_t *list = x != NULL ? json_array() : NULL;
    for (uint64_t i = 0; list != NULL && i < n; i++) json_array_append_new(list, number((double)x[i]));
    return list;
}

static json_t *counts_of(const rs_view_channels *c)
{
    json_t *list = c->clip != NULL ? json_array() : NULL;
    for (uint64_t i = 0; list != NULL && i < c->rows * c->groups; i++) json_array_append_new(list, whole(c->clip[i]));
    return list;
}

static json_t *histogram(const rs_view_channels *c)
{
    json_t *list = c->has_hist ? json_array() : NULL;
    for (int i = 0; list != NULL && i < 64; i++) json_array_append_new(list, whole(c->hist[i]));
    return list;
}

static void set(json_t *object, const char *key, json_t *value)
{
    if (value != NULL) json_object_set_new(object, key, value);
}

static json_t *parts_json(const rs_view_channels *c)
{
    json_t *parts = json_object();
    set(parts, "absmax", floats(c->absmax, c->n));
    set(parts, "rms", floats(c->rms, c->n));
    set(parts, "kurt", floats(c->kurt, c->n));
    set(parts, "hist", histogram(c));
    if (c->sig != NULL || c->err != NULL || c->clip != NULL) set(parts, "shape", json_pack("[I, I]", (json_int_t)c->rows, (json_int_t)c->groups));
    set(parts, "sig", floats(c->sig, c->rows * c->groups));
    set(parts, "err", floats(c->err, c->rows * c->groups));
    set(parts, "clip", counts_of(c));
    return parts;
}

static json_t *angles_json(const rs_view_spectrum *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->known; i++) json_array_append_new(list, number((double)(float)s->theta[i]));
    return json_pack("{s:o}", "theta", list);
}

// Angles are few and always kept, so that every junction can be looked at again.
static rs_status frame_angles(rs_outline *o, size_t i, json_t **parts, rs_error *e)
{
    rs_stat_head head;
    uint8_t *payload = NULL;
    *parts = NULL;
    RS_TRY(rs_outline_stat_read(o, i, &head, &payload, e));
    const rs_part *p = rs_part_find(&head, "theta");
    json_t *list = p != NULL ? json_array() : NULL;
    for (uint64_t k = 0; list != NULL && k < p->len / 4; k++) {
        const uint32_t bits = rs_get_u32(payload + p->off + 4 * k);
        float theta;
        memcpy(&theta, &bits, sizeof theta);
        json_array_append_new(list, number((double)theta));
    }
    if (list != NULL) *parts = json_pack("{s:o}", "theta", list);
    free(payload);
    return RS_OK;
}

// The parts that the view holds of frame i of file d; NULL: none.
static json_t *held_parts(const rs_view *v, int d, size_t i)
{
    const rs_view_row *r = v->channels_of;
    for (int side = 0; r != NULL && side < 2; side++)
        if (r->frame[side] == (int64_t)i && v->model->side[r->of][side].doc == d && v->channels[side] != NULL) return parts_json(v->channels[side]);
    return NULL;
}

static json_t *stat_json(const char *name, const char *of, unsigned step, json_t *values, json_t *parts)
{
    json_t *j = json_pack("{s:s, s:s, s:i, s:o}", "name", name, "of", of, "step", (int)step, "values", values);
    if (parts != NULL) json_object_set_new(j, "parts", parts);
    return j;
}

static bool counts(rs_figure f)
{
    return f == RS_FIG_MASSIVE || f == RS_FIG_TOKENS || f == RS_FIG_BAD || f == RS_FIG_WORST_GROUP;
}

// Figures that were computed for this view, in the form of a frame.
static json_t *computed_values(const rs_figures *f)
{
    json_t *values = json_object();
    for (int i = 0; i < RS_FIG_COUNT; i++) {
        double x;
        if (i == RS_FIG_MAX_RMS || !rs_figures_get(f, (rs_figure)i, &x) || !isfinite(x)) continue;
        set(values, rs_figure_name((rs_figure)i), counts((rs_figure)i) ? whole((uint64_t)x) : json_real(x));
    }
    return values;
}

static rs_status stats_json(const rs_export *x, int d, json_t *list, rs_error *e)
{
    const rs_view *v = x->view;
    rs_outline *o = x->doc[d];
    size_t links;
    (void)rs_outline_prov(o, &links);
    for (size_t i = 0; i < rs_outline_stats(o); i++) {
        const rs_outline_stat *s = rs_outline_stat_at(o, i);
        json_t *parts = held_parts(v, d, i);
        if (strcmp(s->of, "angles") == 0) RS_TRY(frame_angles(o, i, &parts, e));
        json_array_append_new(list, stat_json(s->name, s->of, s->step, rs_value_to_json(s->values), parts));
    }
    for (size_t i = 0; i < v->model->n_rows; i++)
        for (int side = 0; side < 2; side++) {
            const rs_view_row *r = &v->model->row[i];
            const rs_view_side *from = &v->model->side[r->of][side];
            if (from->on && from->doc == d && r->frame[side] < 0 && r->fig[side].known != 0) json_array_append_new(list, stat_json(r->name, rs_measure_name(r->of), from->step, computed_values(&r->fig[side]), NULL));
        }
    const rs_view_junction *jn = rs_view_junction_at(v);
    if ((v->model->doc[1] == NULL || d == 1) && jn != NULL && jn->frame < 0 && v->spectrum != NULL && v->spectrum->whole && v->spectrum->j == jn->j) {
        char name[40];
        json_t *values = json_object();
        snprintf(name, sizeof name, "junction.%llu", (unsigned long long)jn->j);
        if (isfinite(v->spectrum->orth)) set(values, "orthogonality", json_real(v->spectrum->orth));
        json_array_append_new(list, stat_json(name, "angles", (unsigned)links - 1, values, angles_json(v->spectrum)));
    }
    return RS_OK;
}

static json_t *frames_json(const rs_outline *o)
{
    static const struct { const char *name; rs_frame_type type; } list[] = {{"fILe", RS_FRAME_FILE}, {"TENS", RS_FRAME_TENS}, {"sTAT", RS_FRAME_STAT}, {"unknown", RS_FRAME_UNKNOWN}, {"all", RS_FRAME_END}};
    json_t *j = json_object();
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) set(j, list[i].name, whole(rs_outline_count(o, list[i].type)));
    return j;
}

static rs_status source_json(const rs_export *x, int d, json_t *into, rs_error *e)
{
    rs_outline *o = x->doc[d];
    const char *name = rs_outline_name(o), *slash = strrchr(name, '/');
    char digest[33], safe[1024];
    size_t n, n_in;
    json_t *head, *chain = json_array(), *inputs = json_array(), *tensors = json_array();
    rs_hex_write(rs_outline_digest(o), 16, digest);
    name = slash != NULL && slash[1] != 0 ? slash + 1 : name;
    rs_cells_escape(safe, sizeof safe, name, strlen(name), false); // a path need not be UTF-8
    set(into, "name", json_string(safe));
    set(into, "digest", json_string(digest));
    set(into, "size", whole(rs_outline_size(o)));
    set(into, "complete", json_boolean(rs_outline_complete(o)));
    set(into, "frames", frames_json(o));
    rs_status st = frame_json(RS_FRAME_HEAD, rs_outline_head(o), &head, e);
    set(into, "head", head);
    const rs_prov *p = rs_outline_prov(o, &n);
    for (size_t i = 0; st == RS_OK && i < n; i++) st = append_frame(chain, RS_FRAME_PROV, &p[i], e);
    for (size_t i = 0; st == RS_OK && i < n; i++) {
        const rs_psum_head s = {.step = (unsigned)i, .in = rs_outline_inputs(o, (unsigned)i, &n_in), .n_in = n_in};
        if (rs_outline_count(o, RS_FRAME_PSUM) > i) st = append_frame(inputs, RS_FRAME_PSUM, &(rs_psum_head){.step = s.step, .in = s.in, .n_in = n_in}, e);
    }
    for (size_t i = 0; st == RS_OK && i < rs_outline_tensors(o); i++) {
        rs_tensor t;
        st = rs_outline_tensor_head(o, i, &t, e);
        if (st == RS_OK) st = append_frame(tensors, RS_FRAME_TENS, &t, e);
    }
    set(into, "provenance", chain);
    set(into, "inputs", inputs);
    set(into, "tensors", tensors);
    json_t *statistics = json_array();
    set(into, "statistics", statistics);
    return st == RS_OK ? stats_json(x, d, statistics, e) : st;
}

// ---- what is shown

static json_t *figures_json(const rs_figures *f)
{
    json_t *j = json_object(), *odd = json_object();
    for (int i = 0; i < RS_FIG_COUNT; i++) {
        const char *name = rs_figure_name((rs_figure)i);
        double x = NAN;
        const bool known = rs_figures_get(f, (rs_figure)i, &x);
        set(j, name, known && isfinite(x) && counts((rs_figure)i) ? whole((uint64_t)x) : number(x));
        if (known && !isfinite(x)) set(odd, name, json_string(isnan(x) ? "nan" : x > 0 ? "inf" : "-inf"));
    }
    if (json_object_size(odd) > 0) set(j, "not_finite", odd);
    else json_decref(odd);
    return j;
}

static json_t *row_json(const rs_view *v, const rs_view_row *r)
{
    const bool tensor = r->role != RS_ROLE_COUNT;
    json_t *j = json_object();
    set(j, "name", json_string(r->name));
    set(j, "of", json_string(rs_measure_name(r->of)));
    set(j, "role", tensor ? json_string(rs_role_name(r->role)) : json_null());
    set(j, "layer", r->layer >= 0 ? json_integer(r->layer) : json_null());
    set(j, "width", r->width > 0 ? whole(r->width) : json_null());
    set(j, "enc", tensor ? json_string(rs_enc_name(r->enc)) : json_null());
    set(j, "group", tensor ? whole(r->group) : json_null());
    set(j, "tagged", json_boolean(r->tagged));
    set(j, "change", json_integer(rs_view_change(r)));
    set(j, "before", v->model->side[r->of][0].on ? figures_json(&r->fig[0]) : json_null());
    set(j, "after", v->model->side[r->of][1].on ? figures_json(&r->fig[1]) : json_null());
    return j;
}

static json_t *side_json(const rs_view_side *s)
{
    return s->on ? json_pack("{s:i, s:i, s:b}", "source", s->doc, "step", (int)s->step, "computed", (int)s->computed) : json_null();
}

static json_t *junction_json(const rs_view *v)
{
    const rs_view_junction *jn = rs_view_junction_at(v);
    const rs_view_spectrum *s = v->spectrum;
    if (jn == NULL) return json_null();
    json_t *j = json_object(), *sigma = json_array();
    const bool have = s != NULL && s->j == jn->j;
    set(j, "junction", whole(jn->j));
    set(j, "n", whole(have ? s->n : jn->n));
    set(j, "stored_rank", jn->tensor < 0 || jn->rank == RS_RANK_FULL ? json_null() : whole(jn->rank));
    set(j, "rank", whole(v->rank));
    set(j, "known", whole(have ? s->known : 0));
    set(j, "energy", have ? number(rs_view_energy(s, v->rank)) : json_null());
    set(j, "orthogonality", have ? number(s->orth) : json_null());
    set(j, "determinant", have && s->det != 0 ? json_integer(s->det) : json_null());
    for (size_t i = 0; have && i < s->known; i++) json_array_append_new(sigma, number(s->sigma[i]));
    set(j, "sigma", sigma);
    return j;
}

static rs_status fill(json_t *root, const rs_export *x, rs_error *e)
{
    const rs_view *v = x->view;
    json_t *sources = json_array(), *rows = json_array(), *sides = json_object();
    rs_status st = RS_OK;
    set(root, "format", json_string("rs-top"));
    set(root, "major", json_integer(1));
    set(root, "minor", json_integer(0));
    set(root, "screen", json_string(rs_view_screen_name(v->screen)));
    set(root, "measure", json_string(rs_measure_name(v->of)));
    set(sides, "before", side_json(&v->model->side[v->of][0]));
    set(sides, "after", side_json(&v->model->side[v->of][1]));
    set(root, "sides", sides);
    for (size_t i = 0; rs_export_row(v, i) != NULL; i++) json_array_append_new(rows, row_json(v, rs_export_row(v, i)));
    set(root, "rows", rows);
    set(root, "junction", junction_json(v));
    for (int d = 0; st == RS_OK && d < 2 && x->doc[d] != NULL; d++) {
        json_t *source = json_object();
        json_array_append_new(sources, source);
        st = source != NULL ? source_json(x, d, source, e) : no_memory(e);
    }
    set(root, "sources", sources);
    return st;
}

rs_status rs_export_json(const rs_export *x, rs_text_buffer *b, rs_error *e)
{
    json_t *root = json_object();
    rs_status st = root != NULL ? fill(root, x, e) : no_memory(e);
    char *text = st == RS_OK ? json_dumps(root, JSON_INDENT(1)) : NULL;
    json_decref(root);
    if (st == RS_OK && text == NULL) st = no_memory(e);
    if (text != NULL) {
        rs_text_buffer_add(b, text, strlen(text));
        rs_text_buffer_add(b, "\n", 1);
    }
    free(text);
    return st == RS_OK && b->failed ? no_memory(e) : st;
}
