// SPDX-License-Identifier: Apache-2.0
// GPTQ as a stage: matrices in any order and with any memory are the same bytes; stopped anywhere and gone on from a checkpoint too; what the stream records; what is refused.
#include <unistd.h>

#include "quantize/gptq_file.h"
#include "tests/stages.h"

enum { SAMPLES = 4, CTX = 12, SKIP = 3, IDS = 60, LAYERS = 3, COUNT = LAYERS * RS_SCHEME_ROLES };

static int32_t ids[IDS];
static const rs_calibration_text text = {.ids = ids, .count = IDS, .samples = SAMPLES, .ctx = CTX, .skip = SKIP};
static int asked, patience; // how often stop was asked, and how often it says no; below 0: always
static uint64_t saved;

static bool stop(void *context)
{
    (void)context;
    return patience >= 0 && asked++ >= patience;
}

static rs_status count_saves(void *context, rs_error *e)
{
    (void)context, (void)e;
    saved++;
    return RS_OK;
}

static rs_gptq_model_options settings(bool one_pass)
{
    rs_gptq_model_options o = {.scheme = rs_scheme_default(), .gptq = rs_gptq_default(), .one_pass = one_pass, .stop = stop};
    o.gptq.block = 10;
    patience = -1;
    return o;
}

// All payloads, and what is recorded about each.
struct taken {
    uint8_t *payload[COUNT];
    uint64_t len[COUNT];
    double damp[COUNT], output_error[COUNT];
    uint64_t raised[COUNT];
    size_t n;
};

static void drop(struct taken *t)
{
    for (size_t i = 0; i < COUNT; i++) free(t->payload[i]);
    memset(t, 0, sizeof *t);
}

// Asks for matrices step, 2 step, ... (modulo their number, step prime to it) until all are there or the work stops.
static rs_status take(rs_gptq_model *g, size_t step, struct taken *t, rs_error *e)
{
    memset(t, 0, sizeof *t);
    for (; t->n < COUNT; t->n++) {
        const size_t i = t->n * step % COUNT;
        const rs_tensor *tensor;
        rs_value *values = NULL;
        rs_tensor packed;
        RS_TRY(rs_gptq_model_matrix(g, i, &tensor, &packed, e));
        t->len[i] = packed.payload_len;
        t->payload[i] = malloc((size_t)packed.payload_len);
        RS_TRY(rs_gptq_model_payload(g, &packed, t->payload[i], e));
        rs_arena *a = rs_arena_new();
        rs_status st = rs_gptq_model_values(g, &packed, a, &values, e);
        t->damp[i] = rs_map_f64(values, "damp", -1);
        t->output_error[i] = rs_map_f64(values, "output_error", -1);
        t->raised[i] = rs_map_uint(values, "damp_raised", 99);
        CHECK(rs_map_uint(values, "tokens", 0) == SAMPLES * CTX);
        rs_arena_free(a);
        RS_TRY(st);
    }
    return RS_OK;
}

static bool same(const struct taken *a, const struct taken *b)
{
    for (size_t i = 0; i < COUNT; i++)
        if (a->len[i] != b->len[i] || memcmp(a->payload[i], b->payload[i], (size_t)a->len[i]) != 0 || a->damp[i] != b->damp[i] || a->output_error[i] != b->output_error[i] || a->raised[i] != b->raised[i])
            return false;
    return true;
}

static rs_mapped *open_model(const char *path)
{
    rs_mapped *m = NULL;
    rs_error e = {0};
    CHECKF(rs_mapped_open(&m, path, &e) == RS_OK, "%s", e.text);
    return m;
}

static rs_gptq_origin origin(const rs_mapped *m)
{
    static char name[] = "rs-pack", *argv[] = {name, NULL};
    rs_gptq_origin from = {.model = m, .model_sum = {.fmt = "rsq"}, .text_sum = {.fmt = "text", .size = IDS}, .skip = SKIP, .argc = 1, .argv = argv};
    rs_mapped_digest(m, from.model_sum.digest, NULL, &from.model_sum.size);
    return from;
}

// ---- order and memory

static void any_order(const rs_mapped *m, bool one_pass, struct taken *whole)
{
    static const uint64_t one = CTX * 32 * sizeof(float);
    static const size_t held[] = {4, 0, 0, 1, 3, 4};
    rs_error e = {0};
    rs_gptq_model *g = NULL;
    rs_gptq_model_options o = settings(one_pass);
    if (!CHECKF(rs_gptq_model_open(&g, m, &text, &o, &e) == RS_OK && take(g, 1, whole, &e) == RS_OK, "%s", e.text)) return;
    CHECK(rs_gptq_model_done(g) == 2 * LAYERS);
    const rs_tensor *t;
    rs_tensor packed;
    uint8_t *again = malloc((size_t)whole->len[4]);
    CHECK(rs_gptq_model_matrix(g, 4, &t, &packed, &e) == RS_OK && rs_gptq_model_payload(g, &packed, again, &(rs_error){0}) == RS_E_INTERNAL); // given once
    free(again);
    rs_gptq_model_close(g);
    for (size_t k = 0; k < 6; k++) {
        struct taken other = {0};
        rs_calibration_text less = text;
        less.mem = (uint64_t[]){0, one, one + 1, 2 * one, 4 * one, 5 * one}[k];
        o.keep = k % 2 == 1;
        CHECKF(rs_gptq_model_open(&g, m, &less, &o, &e) == RS_OK && take(g, k == 0 ? 8 : 1, &other, &e) == RS_OK, "%s", e.text);
        CHECK(rs_gptq_model_streams(g)->held == held[k]);
        CHECKF(same(whole, &other), "variant %zu: other bytes", k);
        rs_gptq_model_close(g);
        drop(&other);
    }
    rs_calibration_text less = text;
    less.mem = one - 1;
    CHECKF(rs_gptq_model_open(&g, m, &less, &o, &e) == RS_USAGE && strstr(e.text, "--mem") != NULL, "%s", e.text);
}

// ---- checkpoints

static rs_status checkpoint(rs_gptq_model *g, const rs_gptq_origin *from, const char *path, rs_error *e)
{
    rs_out *out = NULL;
    rs_status st = rs_out_open(&out, path, NULL, 0, e);
    if (st == RS_OK) st = rs_gptq_checkpoint(g, from, out, e);
    rs_out_close(out);
    return st;
}

// Stopped when stop is asked for the first, fifth, ninth ... time, and gone on from there; the streams of the second run need not be where those of the first were.
static void stopped_anywhere(const rs_mapped *m, bool one_pass, const struct taken *whole)
{
    char path[128];
    bool done[2 * LAYERS + 1] = {false}, ended = false;
    const rs_gptq_origin from = origin(m);
    tiny_path(path, sizeof path, "gptq.ckpt");
    for (int stop_at = 0; !ended; stop_at += 4) {
        rs_error e = {0};
        rs_gptq_model *g = NULL;
        rs_mapped *c = NULL;
        struct taken t = {0};
        rs_gptq_model_options o = settings(one_pass);
        o.keep = true;
        rs_calibration_text less = text;
        less.mem = stop_at % 8 == 0 ? CTX * 32 * 2 * sizeof(float) : 0;
        asked = 0;
        patience = stop_at;
        if (!CHECKF(rs_gptq_model_open(&g, m, &less, &o, &e) == RS_OK, "%s", e.text)) return;
        rs_status st = take(g, 1, &t, &e);
        drop(&t);
        ended = st == RS_OK;
        if (!CHECKF(ended || st == RS_NO, "%s", e.text)) return;
        const uint64_t at = rs_gptq_model_done(g);
        done[at] = true;
        CHECKF(checkpoint(g, &from, path, &e) == RS_OK, "%s", e.text);
        rs_gptq_model_close(g);
        patience = -1;
        if (!CHECKF(rs_mapped_open(&c, path, &e) == RS_OK && rs_gptq_model_open(&g, m, &text, &o, &e) == RS_OK, "%s", e.text)) return;
        CHECKF(rs_gptq_resume(g, &from, c, &e) == RS_OK && rs_gptq_model_done(g) == at, "%s", e.text);
        rs_mapped_close(c);
        CHECKF(take(g, 1, &t, &e) == RS_OK, "%s", e.text);
        CHECKF(same(whole, &t), "stopped after %d halves: other bytes", (int)at);
        drop(&t);
        rs_gptq_model_close(g);
    }
    for (int i = 0; i <= 2 * LAYERS; i++) CHECKF(done[i] == (!one_pass || i % 2 == 0), "%s stop after %d halves", done[i] ? "a" : "no", i);
}

static void saves(const rs_mapped *m)
{
    static const uint64_t every[] = {0, 1, 2, 3, 4};
    for (size_t k = 0; k < 5; k++) {
        rs_gptq_model *g = NULL;
        rs_error e = {0};
        struct taken t;
        rs_gptq_model_options o = settings(false);
        o.save = count_saves;
        o.save_every = every[k];
        saved = 0;
        CHECKF(rs_gptq_model_open(&g, m, &text, &o, &e) == RS_OK && take(g, 1, &t, &e) == RS_OK, "%s", e.text);
        CHECKF(saved == (every[k] == 0 ? 0 : LAYERS / every[k]), "every %d layers: %d saves", (int)every[k], (int)saved);
        drop(&t);
        rs_gptq_model_close(g);
    }
}

// Opens with o and asks to go on from the checkpoint at path; what became of it.
static rs_status go_on(const rs_mapped *m, const rs_calibration_text *t, rs_gptq_model_options o, rs_gptq_origin from, const char *path, rs_error *e)
{
    rs_gptq_model *g = NULL;
    rs_mapped *c = NULL;
    *e = (rs_error){0};
    o.keep = true;
    rs_status st = rs_mapped_open(&c, path, e);
    if (st == RS_OK) st = rs_gptq_model_open(&g, m, t, &o, e);
    if (st == RS_OK) st = rs_gptq_resume(g, &from, c, e);
    rs_gptq_model_close(g);
    rs_mapped_close(c);
    return st;
}

// A copy of a checkpoint without the tensor of this name.
static bool without(void *context, rs_tensor *t, uint8_t *payload)
{
    (void)payload;
    return strcmp(t->name, context) != 0;
}

static void refusals(const rs_mapped *m, const char *model, const char *other_path)
{
    char path[128], cut[128];
    rs_gptq_model *g = NULL;
    rs_error e = {0};
    struct taken t;
    tiny_path(path, sizeof path, "gptq.ckpt");
    tiny_path(cut, sizeof cut, "cut.ckpt");
    rs_gptq_model_options o = settings(false), other;
    rs_gptq_origin from = origin(m);
    o.keep = true;
    patience = 25;
    asked = 0;
    if (!CHECKF(rs_gptq_model_open(&g, m, &text, &o, &e) == RS_OK && take(g, 1, &t, &e) == RS_NO && checkpoint(g, &from, path, &e) == RS_OK, "%s", e.text)) return;
    drop(&t);
    rs_gptq_model_close(g);
    patience = -1;
    CHECKF(go_on(m, &text, o, from, path, &e) == RS_OK, "%s", e.text);
    const char *names[] = {"w-bits", "group", "scale", "clip", "damp", "block", "act-order", "one-pass"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        other = o;
        switch (i) {
        case 0: other.scheme.w_bits = 3; break;
        case 1: other.scheme.group = 8; break;
        case 2: other.scheme.scale_dtype = RS_F16; break;
        case 3: other.scheme.clip_steps = 1; break;
        case 4: other.gptq.damp = 0.02; break;
        case 5: other.gptq.block = 11; break;
        case 6: other.gptq.act_order = true; break;
        default: other.one_pass = true; break;
        }
        CHECKF(go_on(m, &text, other, from, path, &e) == RS_USAGE && strstr(e.text, names[i]) != NULL, "%s: %s", names[i], e.text);
    }
    rs_calibration_text fewer = text;
    fewer.samples = 3;
    CHECKF(go_on(m, &fewer, o, from, path, &e) == RS_USAGE && strstr(e.text, "samples") != NULL, "%s", e.text);
    fewer.samples = SAMPLES;
    fewer.ctx = 11;
    CHECKF(go_on(m, &fewer, o, from, path, &e) == RS_USAGE && strstr(e.text, "ctx") != NULL, "%s", e.text);
    rs_gptq_origin with = from;
    with.skip = 2;
    CHECKF(go_on(m, &text, o, with, path, &e) == RS_USAGE && strstr(e.text, "skip") != NULL, "%s", e.text);
    with = from;
    with.text_sum.digest[3] ^= 1;
    CHECKF(go_on(m, &text, o, with, path, &e) == RS_USAGE && strstr(e.text, "text") != NULL, "%s", e.text);
    with = from;
    strcpy(with.recipe_sum.fmt, "json");
    CHECKF(go_on(m, &text, o, with, path, &e) == RS_USAGE && strstr(e.text, "recipe") != NULL, "%s", e.text);
    CHECKF(go_on(m, &text, o, from, model, &e) == RS_USAGE && strstr(e.text, "not a checkpoint") != NULL, "%s", e.text);
    rs_mapped *stranger = open_model(other_path);
    CHECKF(go_on(stranger, &text, o, origin(stranger), path, &e) == RS_E_PROV, "%s", e.text);
    rs_mapped_close(stranger);
    char *lost[] = {(char[]){"model.layers.0.self_attn.k_proj.weight"}, (char[]){"calibration.streams"}};
    for (int i = 0; i < 2; i++) {
        e = (rs_error){0};
        CHECKF(stages_edit(path, cut, without, lost[i], &e) == RS_OK, "%s", e.text);
        CHECKF(go_on(m, &text, o, from, cut, &e) == RS_E_TENSOR && strstr(e.text, lost[i]) != NULL, "%s", e.text);
    }
    // skipping what is not there
    e = (rs_error){0};
    o.one_pass = true;
    CHECK(rs_gptq_model_open(&g, m, &text, &o, &e) == RS_OK);
    CHECK(rs_gptq_model_skip(g, 1, &e) == RS_E_VALUE && rs_gptq_model_skip(g, 2 * LAYERS + 2, &e) == RS_E_VALUE && rs_gptq_model_done(g) == 0);
    rs_gptq_model_close(g);
}

// ---- the stream

// Behind each matrix its sTAT, and nowhere else; one whose Hessian needed a larger damp says so.
static void recorded(const rs_mapped *m, const char *from, size_t samples, double damp, bool raises)
{
    char path[128];
    rs_gptq_model *g = NULL;
    rs_stage s = {0};
    rs_frame f = {.type = RS_FRAME_HEAD};
    rs_error e = {0};
    size_t matrices = 0, stats = 0, raised = 0;
    char last[RS_MAX_NAME + 1] = "";
    tiny_path(path, sizeof path, "recorded.rsq");
    rs_gptq_model_options by = settings(false);
    rs_calibration_text few = text;
    few.samples = samples;
    by.gptq.damp = damp;
    rs_pack_options o = stages_pack_default();
    CHECKF(rs_gptq_model_open(&g, m, &few, &by, &e) == RS_OK, "%s", e.text);
    o.payload = rs_gptq_model_payload;
    o.values = rs_gptq_model_values;
    o.source = g;
    CHECKF(stages_pack(from, path, &o, &e) == RS_OK, "damp %g: %s", damp, e.text);
    rs_gptq_model_close(g);
    if (!CHECKF(rs_stage_open(&s, "read", path, &e) == RS_OK, "%s", e.text)) return;
    while (rs_reader_next(s.reader, &f, &e) == RS_OK && f.type != RS_FRAME_END) {
        if (f.type == RS_FRAME_STAT) {
            const double used = rs_map_f64(f.stat->values, "damp", 0);
            const uint64_t times = rs_map_uint(f.stat->values, "damp_raised", 99);
            CHECKF(strcmp(f.stat->name, last) == 0 && strcmp(f.stat->of, "error") == 0, "sTAT %s behind %s", f.stat->name, last);
            CHECK(f.stat->n_parts == 3 && rs_map_f64(f.stat->values, "signal", 0) > rs_map_f64(f.stat->values, "error", 0) && rs_map_f64(f.stat->values, "sqnr", 0) > 0);
            CHECKF(times <= 3 && fabs(used / damp - pow(10, (double)times)) < 1e-9 * pow(10, (double)times), "damp %g, raised %d times", used, (int)times);
            raised += times > 0;
            stats++;
        }
        last[0] = 0;
        if (f.type == RS_FRAME_TENS && f.tensor->enc != RS_ENC_RAW) {
            strcpy(last, f.tensor->name);
            matrices++;
        }
    }
    CHECKF(e.status == RS_OK && f.type == RS_FRAME_END, "%s", e.text);
    CHECKF(matrices == COUNT && stats == COUNT && (raised > 0) == raises, "%d matrices, %d sTAT, %d with a larger damp", (int)matrices, (int)stats, (int)raised);
    rs_stage_close(&s, NULL);
}

// A weight that is not a number is refused by name, wherever it stands, in whatever order the Hessians come.
static void not_numbers(tiny_spec s)
{
    static const char *const part[] = {"self_attn.q_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj"};
    char path[128], name[128];
    tiny_path(path, sizeof path, "nan.rsq");
    for (int k = 0; k < 10; k++) {
        rs_gptq_model *g = NULL;
        rs_error e = {0};
        struct taken t = {0};
        snprintf(name, sizeof name, "model.layers.1.%s.weight", part[k / 2]);
        s.nan_in = name;
        if (!CHECK(tiny_model(path, &s))) return;
        rs_mapped *m = open_model(path);
        rs_gptq_model_options o = settings(k % 2 == 1);
        CHECK(rs_gptq_model_open(&g, m, &text, &o, &e) == RS_OK);
        CHECKF(take(g, 1, &t, &e) == RS_E_VALUE && strstr(e.text, name) != NULL && rs_gptq_model_done(g) >= 2, "%s: %s", name, e.text);
        drop(&t);
        rs_gptq_model_close(g);
        rs_mapped_close(m);
    }
}

int main(void)
{
    char model[128], other[128];
    struct taken whole;
    tiny_spec s = tiny_default();
    rs_threads_set(2);
    tiny_ids(&s, IDS, ids);
    tiny_path(model, sizeof model, "model.rsq");
    tiny_path(other, sizeof other, "other.rsq");
    if (!CHECK(s.L == LAYERS && s.d == 32 && tiny_model(model, &s))) return check_report();
    rs_mapped *m = open_model(model);
    for (int one_pass = 0; one_pass < 2; one_pass++) {
        any_order(m, one_pass, &whole);
        stopped_anywhere(m, one_pass, &whole);
        drop(&whole);
    }
    saves(m);
    s.seed++;
    if (CHECK(tiny_model(other, &s))) refusals(m, model, other);
    recorded(m, model, SAMPLES, 0.01, false);
    recorded(m, model, 1, 1e-9, true); // fewer tokens than columns: f32 sums are not positive definite by themselves
    not_numbers(s);
    rs_mapped_close(m);
    return check_report();
}
