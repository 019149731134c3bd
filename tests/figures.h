// SPDX-License-Identifier: Apache-2.0
// A small model with statistics of every kind, written to a file: what the tests of the screens look at.
#ifndef RS_TESTS_FIGURES_H
#define RS_TESTS_FIGURES_H

#include <unistd.h>

#include "formats/writer.h"
#include "tests/check.h"

typedef struct figures_options {
    uint64_t layers;
    bool bare;     // no statistics at all
    bool one_step; // only those of step 1
    bool odd;      // NaN among the channels, frames without channels, values that are missing, zero channels
    bool cut;      // without its last 100 bytes
    const char *model;
} figures_options;

enum { FIGURES_D = 16, FIGURES_F = 32 };

// A number in 0..1 that depends on the arguments only.
static inline double figures_number(uint64_t a, uint64_t b)
{
    uint64_t x = (a + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ (b + 7) * UINT64_C(0xc2b2ae3d27d4eb4f);
    x ^= x >> 29;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 32;
    return (double)(x >> 11) / (double)(UINT64_C(1) << 53);
}

// The parts of a channel frame behind one another, each at a multiple of 64.
static inline uint8_t *figures_channels(rs_stat_head *s, uint64_t n, uint64_t seed, double rms, double max, bool odd)
{
    static const char *const keys[] = {"absmax", "rms", "kurt"};
    uint64_t off = 0;
    for (int i = 0; i < 4; i++) {
        rs_part *p = &s->parts[i];
        *p = (rs_part){.dtype = i < 3 ? RS_F32 : RS_U64, .n_dims = 1, .shape = {i < 3 ? n : 64}, .off = (off + 63) / 64 * 64};
        snprintf(p->key, sizeof p->key, "%s", i < 3 ? keys[i] : "hist");
        p->len = p->shape[0] * (i < 3 ? 4 : 8);
        off = p->off + p->len;
    }
    s->n_parts = 4;
    s->payload_len = off;
    uint8_t *bytes = calloc(1, (size_t)off + 1);
    for (uint64_t k = 0; bytes != NULL && k < n; k++) {
        const double u = figures_number(seed, k);
        float x[3] = {(float)(k == n / 3 ? max : rms * (1 + u)), (float)(rms * (0.5 + u)), (float)(u * 3 - 1)};
        if (odd && k == 1) x[0] = x[1] = x[2] = NAN;
        if (odd && k == 2) x[0] = INFINITY;
        for (int i = 0; i < 3; i++) memcpy(bytes + s->parts[i].off + 4 * k, &x[i], 4);
    }
    for (int b = 0; bytes != NULL && b < 64; b++) {
        const uint64_t count = (uint64_t)((32 - abs(b - 32)) * (32 - abs(b - 32)));
        memcpy(bytes + s->parts[3].off + 8 * b, &count, 8);
    }
    return bytes;
}

static inline rs_status figures_stat(rs_writer *w, const char *name, const char *of, unsigned step, uint64_t n, uint64_t seed, const figures_options *o, rs_error *e)
{
    rs_stat_head s = {.step = step};
    rs_arena *a = rs_arena_new();
    rs_value *map = rs_value_map(a);
    // One in seven rows gets worse; the others get better.
    const double rms = 0.25 + figures_number(seed, 1), high = 4 + 60 * figures_number(seed, 2), ratio = step < 2 ? high : seed % 7 == 3 ? high * 1.2 : 3 + 5 * figures_number(seed, 3), max = rms * ratio;
    const bool missing = o->odd && seed % 3 == 0;
    snprintf(s.name, sizeof s.name, "%s", name);
    snprintf(s.of, sizeof s.of, "%s", of);
    bool good = rs_map_put(a, map, "max", rs_value_f64(a, max)) && rs_map_put(a, map, "rms", rs_value_f64(a, rms));
    if (!missing) {
        good = good && rs_map_put(a, map, "kurt", rs_value_f64(a, ratio * ratio / 20)) && rs_map_put(a, map, "p999", rs_value_f64(a, rms * ratio / 3)) && rs_map_put(a, map, "p9999", rs_value_f64(a, rms * ratio / 2));
        good = good && rs_map_put(a, map, "incoherence", rs_value_f64(a, ratio)) && rs_map_put(a, map, "zeros", rs_value_f64(a, 0.125));
        good = good && rs_map_put(a, map, "sqnr4", rs_value_f64(a, 26 - ratio / 4)) && rs_map_put(a, map, "sqnr3", rs_value_f64(a, 20 - ratio / 4));
    }
    if (strcmp(of, "weight") != 0) good = good && rs_map_put(a, map, "tokens", rs_value_uint(a, 4096)) && rs_map_put(a, map, "massive", rs_value_uint(a, step < 2 ? 3 : 0));
    if (o->odd && seed % 5 == 1) good = good && rs_map_put(a, map, "bad", rs_value_uint(a, 2));
    s.values = map;
    if (o->odd && seed % 4 == 2) n = 0; // no channels
    uint8_t *payload = o->odd && seed % 4 == 3 ? NULL : figures_channels(&s, n, seed * 3 + step, rms, max, o->odd);
    rs_status st = good ? rs_writer_stat(w, &s, payload, e) : RS_E_NOMEM;
    free(payload);
    rs_arena_free(a);
    return st;
}

static inline rs_status figures_error(rs_writer *w, const char *name, uint64_t seed, uint64_t groups, rs_error *e)
{
    rs_stat_head s = {.of = "error", .step = 3, .n_parts = 3};
    rs_arena *a = rs_arena_new();
    rs_value *map = rs_value_map(a);
    const uint64_t cells = 4 * groups, each = (4 * cells + 63) / 64 * 64;
    const double sqnr = 14 + 12 * figures_number(seed, 9);
    static const char *const keys[] = {"sig", "err", "clip"};
    snprintf(s.name, sizeof s.name, "%s", name);
    for (int i = 0; i < 3; i++) {
        s.parts[i] = (rs_part){.dtype = i < 2 ? RS_F32 : RS_U32, .n_dims = 2, .shape = {4, groups}, .off = (uint64_t)i * each, .len = 4 * cells};
        snprintf(s.parts[i].key, sizeof s.parts[i].key, "%s", keys[i]);
    }
    s.payload_len = 2 * each + 4 * cells;
    uint8_t *payload = calloc(1, (size_t)s.payload_len + 1);
    for (uint64_t k = 0; payload != NULL && k < cells; k++) {
        const float sig = 1, err = (float)(0.001 + 0.03 * figures_number(seed, k + 20));
        const uint32_t clip = (uint32_t)(k % 3);
        memcpy(payload + 4 * k, &sig, 4);
        memcpy(payload + each + 4 * k, &err, 4);
        memcpy(payload + 2 * each + 4 * k, &clip, 4);
    }
    bool good = rs_map_put(a, map, "sqnr", rs_value_f64(a, sqnr)) && rs_map_put(a, map, "worst_sqnr", rs_value_f64(a, sqnr - 4)) && rs_map_put(a, map, "worst_group", rs_value_uint(a, cells - 1));
    good = good && rs_map_put(a, map, "clip", rs_value_f64(a, figures_number(seed, 10) / 50)) && rs_map_put(a, map, "scales", rs_value_f64(a, 2 + 30 * figures_number(seed, 11))) &&
           rs_map_put(a, map, "rows_each", rs_value_uint(a, 2));
    s.values = map;
    rs_status st = good && payload != NULL ? rs_writer_stat(w, &s, payload, e) : RS_E_NOMEM;
    free(payload);
    rs_arena_free(a);
    return st;
}

static inline rs_status figures_angles(rs_writer *w, uint64_t j, rs_error *e)
{
    rs_stat_head s = {.of = "angles", .step = 2, .n_parts = 1, .payload_len = 4 * FIGURES_D};
    float theta[FIGURES_D];
    s.parts[0] = (rs_part){.key = "theta", .dtype = RS_F32, .n_dims = 1, .shape = {FIGURES_D}, .len = 4 * FIGURES_D};
    snprintf(s.name, sizeof s.name, "junction.%llu", (unsigned long long)j);
    for (int i = 0; i < FIGURES_D; i++) theta[i] = (float)(0.5 / (1 + i / 2)); // in pairs, falling
    return rs_writer_stat(w, &s, theta, e);
}

static inline rs_status figures_tensor(rs_writer *w, const char *name, rs_role role, int64_t layer, uint64_t rows, uint64_t cols, bool packed, rs_error *e)
{
    rs_tensor t = {.role = role, .layer = layer, .expert = -1, .dtype = RS_F32, .n_dims = cols > 0 ? 2 : 1, .shape = {rows, cols}, .enc = packed ? RS_ENC_INT4 : RS_ENC_RAW, .group = packed ? 8 : 0};
    snprintf(t.name, sizeof t.name, "%s", name);
    RS_TRY(rs_tensor_layout(&t, RS_F32, 0, e));
    uint8_t *payload = calloc(1, (size_t)t.payload_len + 1);
    if (payload == NULL) return RS_E_NOMEM;
    for (uint64_t k = 0; !packed && k < t.payload_len / 4; k++) {
        const float x = (float)(figures_number((uint64_t)role + 100, k) - 0.5);
        memcpy(payload + 4 * k, &x, 4);
    }
    rs_status st = rs_writer_tensor(w, &t, payload, e);
    free(payload);
    return st;
}

static const struct {
    const char *name;
    rs_role role;
    uint64_t rows, cols;
} figures_matrices[] = {{"self_attn.q_proj", RS_ROLE_Q, FIGURES_D, FIGURES_D}, {"self_attn.k_proj", RS_ROLE_K, FIGURES_D / 2, FIGURES_D}, {"self_attn.v_proj", RS_ROLE_V, FIGURES_D / 2, FIGURES_D},
                        {"self_attn.o_proj", RS_ROLE_O, FIGURES_D, FIGURES_D}, {"mlp.gate_proj", RS_ROLE_GATE, FIGURES_F, FIGURES_D},  {"mlp.up_proj", RS_ROLE_UP, FIGURES_F, FIGURES_D},
                        {"mlp.down_proj", RS_ROLE_DOWN, FIGURES_D, FIGURES_F}};

static inline rs_status figures_layer(rs_writer *w, uint64_t i, const figures_options *o, rs_error *e)
{
    for (size_t m = 0; m < sizeof figures_matrices / sizeof *figures_matrices; m++) {
        char name[128];
        const uint64_t seed = i * 7 + m, cols = figures_matrices[m].cols;
        snprintf(name, sizeof name, "model.layers.%llu.%s.weight", (unsigned long long)i, figures_matrices[m].name);
        RS_TRY(figures_tensor(w, name, figures_matrices[m].role, (int64_t)i, figures_matrices[m].rows, cols, true, e));
        for (unsigned step = o->one_step ? 2 : 0; step <= 2 && !o->bare; step += 2) {
            RS_TRY(figures_stat(w, name, "weight", step, cols, seed + 1000, o, e));
            RS_TRY(figures_stat(w, name, "input", step, cols, seed, o, e));
            if (figures_matrices[m].role == RS_ROLE_K || figures_matrices[m].role == RS_ROLE_V) RS_TRY(figures_stat(w, name, "kv", step, figures_matrices[m].rows, seed + 2000, o, e));
        }
        if (!o->bare) RS_TRY(figures_error(w, name, seed, cols / 8, e));
    }
    return RS_OK;
}

static inline rs_status figures_write(rs_writer *w, const figures_options *o, rs_error *e)
{
    static const char *const tools[] = {"rs-import", "rs-stat", "rs-fuse", "rs-pack"};
    char name[64];
    for (unsigned i = 0; i < 4; i++) {
        const char *const argv[] = {tools[i], i == 1 ? "--text" : "-q", i == 1 ? "calib.txt" : "model.rsq"};
        RS_TRY(rs_writer_prov(w, &(rs_prov){.tool = tools[i], .ver = "0.1.0", .commit = "none", .argv = argv, .argc = 3}, e));
    }
    RS_TRY(rs_writer_file(w, "config.json", "{}\n", 3, e));
    RS_TRY(figures_tensor(w, "model.norm.weight", RS_ROLE_NORM, -1, FIGURES_D, 0, false, e));
    RS_TRY(figures_tensor(w, "model.embed_tokens.weight", RS_ROLE_EMBED, -1, 40, FIGURES_D, false, e));
    for (uint64_t i = 0; i < o->layers; i++) RS_TRY(figures_layer(w, i, o, e));
    for (uint64_t j = 0; j <= 2 * o->layers && !o->bare; j++) {
        snprintf(name, sizeof name, "basis.%llu", (unsigned long long)j);
        RS_TRY(figures_stat(w, name, "stream", 0, FIGURES_D, j + 5000, o, e));
        if (j < 2 * o->layers) RS_TRY(figures_angles(w, j, e));
    }
    return rs_writer_input(w, 0, &(rs_input_sum){.fmt = "safetensors", .size = 99, .digest = {0xab, 0xcd}}, e);
}

// Writes it to path; false, with the reason printed, on failure.
static inline bool figures_file(const char *path, const figures_options *o)
{
    rs_out *out = NULL;
    rs_writer *w = NULL;
    rs_error e = {0};
    rs_head head = {.align = 64, .kind = RS_KIND_WEIGHTS, .arch = "llama", .layers = o->layers};
    snprintf(head.model, sizeof head.model, "%s", o->model != NULL ? o->model : "small");
    head.plan = rs_plan_none();
    head.plan.a = (rs_act){.bits = 4, .clip = 0.9};
    rs_status s = rs_out_open(&out, path, NULL, 0, &e);
    if (s == RS_OK) s = rs_writer_open(&w, out, &head, &e);
    if (s == RS_OK) s = figures_write(w, o, &e);
    if (s == RS_OK) s = rs_writer_finish(w, &e);
    const uint64_t size = out != NULL ? rs_out_offset(out) : 0;
    rs_writer_free(w);
    rs_out_close(out);
    bool good = CHECKF(s == RS_OK, "%s: %s", rs_status_name(s), e.text);
    if (good && o->cut) good = CHECK(truncate(path, (off_t)size - 100) == 0);
    return good;
}

// A path for a file of this process, in a folder that goes with figures_clean.
static char figures_folder[64];
static inline const char *figures_path(const char *name)
{
    static char path[4][128];
    static int k;
    if (figures_folder[0] == 0) {
        snprintf(figures_folder, sizeof figures_folder, "/tmp/rs-figures.XXXXXX");
        if (mkdtemp(figures_folder) == NULL) figures_folder[0] = 0;
    }
    snprintf(path[k = (k + 1) % 4], sizeof path[0], "%s/%s", figures_folder, name);
    return path[k];
}
static inline void figures_clean(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", figures_folder);
    if (figures_folder[0] != 0) CHECK(system(command) == 0);
}

#endif
