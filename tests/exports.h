// SPDX-License-Identifier: Apache-2.0
// A small file with every kind of statistics, whose names and arguments try to become markup, and a view of it: what tests of exports share.
#ifndef RS_TESTS_EXPORTS_H
#define RS_TESTS_EXPORTS_H

#include "formats/cli.h"
#include "formats/part.h"
#include "formats/writer.h"
#include "inspect/export.h"
#include "inspect/spectrum.h"
#include "inspect/view_load.h"
#include "tests/check.h"
#include "tests/tiny.h"

enum { EXPORTS_ROWS = 4, EXPORTS_COLS = 6 };

// The name of its last tensor.
#define EXPORTS_HOSTILE "]]><script>alert(1)</script>&amp;'`{{x}}"

static rs_status exports_stat(rs_writer *w, rs_stat_head *h, rs_arena *a, double salt, rs_error *e)
{
    static const char *const names[] = {"max", "rms", "kurt", "p999", "p9999", "incoherence", "zeros", "sqnr4"};
    rs_value *values = rs_value_map(a);
    uint8_t payload[2048] = {0};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (salt != 3 || i != 2) rs_map_put(a, values, names[i], rs_value_f64(a, (double)(i + 1) * 1.1 / salt + (i == 0 ? 7 : 0))); // one kurt is missing
    rs_map_put(a, values, "tokens", rs_value_uint(a, 77));
    if (strcmp(h->of, "error") == 0) rs_map_put(a, values, "sqnr", rs_value_f64(a, 21.5 + salt));
    h->values = values;
    for (int k = 0; k < h->n_parts; k++) {
        const rs_part *p = &h->parts[k];
        for (uint64_t i = 0; i < p->len / rs_dtype_size(p->dtype); i++) {
            const float x = (float)((double)((i * 7 + (uint64_t)k) % 5 + 1) / salt / 3);
            const float angle = 3.1f - 0.5f * (float)(i / 2), y = strcmp(p->key, "theta") == 0 ? angle : x;
            const uint64_t n = i * i + (uint64_t)k;
            if (p->dtype == RS_F32) memcpy(payload + p->off + 4 * i, &y, 4);
            else memcpy(payload + p->off + rs_dtype_size(p->dtype) * i, &n, rs_dtype_size(p->dtype));
        }
    }
    return rs_writer_stat(w, h, payload, e);
}

static rs_status exports_tensor(rs_writer *w, const char *name, rs_role role, int64_t layer, rs_error *e)
{
    rs_tensor t = {.role = role, .layer = layer, .expert = -1, .dtype = RS_F32, .enc = RS_ENC_RAW, .n_dims = 2, .shape = {EXPORTS_ROWS, EXPORTS_COLS}};
    float data[EXPORTS_ROWS * EXPORTS_COLS];
    snprintf(t.name, sizeof t.name, "%s", name);
    for (int i = 0; i < EXPORTS_ROWS * EXPORTS_COLS; i++) data[i] = (float)i / 3;
    RS_TRY(rs_tensor_layout(&t, RS_F32, 0, e));
    return rs_writer_tensor(w, &t, data, e);
}

static rs_status exports_write(rs_writer *w, rs_arena *a, rs_error *e)
{
    static const char *const tensors[] = {"model.layers.0.mlp.down_proj.weight", "model.layers.1.mlp.down_proj.weight", EXPORTS_HOSTILE};
    static const char *const of[] = {"input", "weight"};
    const char *argv0[] = {"rs-import", "</style><b>\"x\"", "a,b"}, *argv1[] = {"rs-pack", "--w-bits", "4"};
    const uint64_t cols[] = {EXPORTS_COLS}, bins[] = {64}, cells[] = {EXPORTS_ROWS, 2};
    RS_TRY(rs_writer_prov(w, &(rs_prov){.tool = "rs-import", .ver = "0.1.0", .commit = "c0ffee", .argv = argv0, .argc = 3}, e));
    RS_TRY(rs_writer_prov(w, &(rs_prov){.tool = "rs-pack", .ver = "0.1.0", .commit = "c0ffee", .argv = argv1, .argc = 3}, e));
    for (int i = 0; i < 3; i++) RS_TRY(exports_tensor(w, tensors[i], i < 2 ? RS_ROLE_DOWN : RS_ROLE_OTHER, i < 2 ? i : -1, e));
    for (unsigned k = 0; k < 12; k++) { // three tensors, two measures, two steps
        rs_stat_head h = {.step = k / 6};
        snprintf(h.name, sizeof h.name, "%s", tensors[k % 3]);
        strcpy(h.of, of[k / 3 % 2]);
        if (!rs_part_add(&h, "absmax", RS_F32, 1, cols) || !rs_part_add(&h, "rms", RS_F32, 1, cols) || !rs_part_add(&h, "kurt", RS_F32, 1, cols) || !rs_part_add(&h, "hist", RS_U64, 1, bins)) return RS_E_INTERNAL;
        RS_TRY(exports_stat(w, &h, a, k + 1, e));
    }
    for (int i = 0; i < 2; i++) {
        rs_stat_head h = {.of = "error", .step = 1};
        strcpy(h.name, tensors[i]);
        if (!rs_part_add(&h, "sig", RS_F32, 2, cells) || !rs_part_add(&h, "err", RS_F32, 2, cells) || !rs_part_add(&h, "clip", RS_U32, 2, cells)) return RS_E_INTERNAL;
        RS_TRY(exports_stat(w, &h, a, 2 + i, e));
    }
    rs_stat_head stream = {.name = "basis.2", .of = "stream"}, angles = {.name = "junction.1", .of = "angles", .step = 1};
    if (!rs_part_add(&angles, "theta", RS_F32, 1, cols)) return RS_E_INTERNAL;
    RS_TRY(exports_stat(w, &stream, a, 5, e));
    RS_TRY(exports_stat(w, &angles, a, 1, e));
    RS_TRY(rs_writer_input(w, 0, &(rs_input_sum){.fmt = "text", .size = UINT64_MAX, .digest = {1, 2, 254}}, e)); // an integer that JSON readers often cannot hold
    return rs_writer_finish(w, e);
}

// Writes the file; false on failure (printed).
static bool exports_file(const char *path)
{
    rs_out *out = NULL;
    rs_writer *w = NULL;
    rs_error e = {0};
    rs_arena *a = rs_arena_new();
    rs_head head = {.align = 64, .kind = RS_KIND_WEIGHTS, .arch = "llama", .model = "<i>&model\"", .layers = 2, .plan = rs_plan_none()};
    rs_status st = rs_out_open(&out, path, NULL, 0, &e);
    if (st == RS_OK) st = rs_writer_open(&w, out, &head, &e);
    if (st == RS_OK) st = exports_write(w, a, &e);
    rs_writer_free(w);
    rs_out_close(out);
    rs_arena_free(a);
    return CHECKF(st == RS_OK, "%s: %s", path, e.text);
}

// A view of one outline with the parts of its first row and the spectrum of its first junction.
typedef struct exports_view {
    rs_outline *o;
    rs_view_model m;
    rs_view v;
    rs_view_channels channels[2];
    rs_view_spectrum spectrum;
    rs_export x;
} exports_view;

static bool exports_open(exports_view *t, rs_outline *o, int screen, rs_measure of)
{
    rs_error e = {0};
    *t = (exports_view){.o = o};
    rs_status st = rs_view_model_init(&t->m, o, NULL, NULL, &e);
    if (st == RS_OK) st = rs_view_init(&t->v, &t->m, 100, 30, &e);
    if (!CHECKF(st == RS_OK, "%s", e.text)) return false;
    t->v.screen = screen;
    t->v.rank = 2;
    CHECK(rs_view_measure(&t->v, of));
    const rs_view_row *r = rs_view_current(&t->v);
    t->v.channels_of = r;
    for (int side = 0; side < 2 && CHECK(r != NULL); side++) {
        if (r->frame[side] < 0) continue;
        CHECKF(rs_view_channels_read(&t->channels[side], o, (size_t)r->frame[side], &e) == RS_OK, "%s", e.text);
        t->v.channels[side] = &t->channels[side];
    }
    if (CHECK(t->m.n_junctions > 0) && CHECKF(rs_spectrum_load(&t->spectrum, o, &t->m.junction[0], &e) == RS_OK, "%s", e.text)) t->v.spectrum = &t->spectrum;
    t->x = (rs_export){.view = &t->v, .doc = {o, NULL}};
    return true;
}

static void exports_close(exports_view *t)
{
    for (int side = 0; side < 2; side++) rs_view_channels_free(&t->channels[side]);
    rs_spectrum_free(&t->spectrum);
    rs_view_free(&t->v);
    rs_view_model_free(&t->m);
}

#endif
