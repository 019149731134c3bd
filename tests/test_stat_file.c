// SPDX-License-Identifier: Apache-2.0
// Statistics from file to file: which frames there are and where, that nothing else changes, weights against what packing costs, activations against what the taps of a network see.
#include "inspect/stat_stream.h"

#include "inspect/stat_weights.h"
#include "tests/stages.h"
#include "tests/uniform.h"
#include "transforms/weights.h"

enum { CTX = 6, WINDOWS = 4, SKIP_TOKENS = 2, COUNT = CTX * WINDOWS + SKIP_TOKENS };
static char model[128], rot[128], fused[128], packed[128], out[128], again[128], changed[128];

// The stage, as rs-stat runs it; s NULL: weights only.
static rs_status measure(const char *in, const char *to, const tiny_spec *s, uint64_t mem, rs_error *e)
{
    rs_stage stage = {0};
    rs_mapped *m = NULL;
    rs_stat_walk *walk = NULL;
    rs_stat_work *work = NULL;
    int32_t ids[COUNT];
    char *argv[] = {(char[]){"rs-stat"}, NULL};
    rs_status st = rs_stat_work_new(&work, e);
    if (st == RS_OK && s != NULL) {
        tiny_ids(s, COUNT, ids);
        const rs_calibration_text text = {.ids = ids, .count = COUNT, .samples = WINDOWS, .ctx = CTX, .skip = SKIP_TOKENS, .mem = mem};
        st = rs_mapped_open(&m, in, e);
        if (st == RS_OK) st = rs_stat_walk_open(&walk, m, NULL, &text, work, NULL, NULL, e);
    }
    if (st == RS_OK) st = rs_stage_open(&stage, "rs-stat", in, e);
    if (st == RS_OK) st = rs_stage_begin(&stage, to, NULL, 0, rs_reader_head(stage.reader), 1, argv, NULL, e);
    if (st == RS_OK) st = rs_stat_stream(&stage, &(rs_stat_stream_options){.walk = walk, .work = work}, e);
    if (st == RS_OK) st = rs_stage_finish(&stage, e);
    rs_stage_close(&stage, e);
    rs_stat_walk_close(walk);
    rs_mapped_close(m);
    rs_stat_work_free(work);
    return st;
}

static const rs_stat_head *find(const rs_mapped *m, const char *of, const char *name, unsigned step, const uint8_t **payload)
{
    for (size_t i = 0; i < rs_mapped_stats(m); i++) {
        const rs_stat_head *h = rs_mapped_stat(m, i, payload);
        if (strcmp(h->of, of) == 0 && strcmp(h->name, name) == 0 && h->step == step) return h;
    }
    return NULL;
}

static double value(const rs_stat_head *h, const char *key) { return h != NULL ? rs_map_f64(h->values, key, NAN) : NAN; }

static bool near(double a, double b) { return (isnan(a) && isnan(b)) || fabs(a - b) <= 1e-9 * fabs(b); }

static float *decode(const rs_mapped *m, const char *name, uint64_t *n)
{
    uint64_t rows, cols;
    const rs_tensor *t = rs_mapped_find(m, name);
    rs_weights_shape(t, &rows, &cols);
    float *w = malloc(rows * cols * sizeof *w + 1);
    *n = rows * cols;
    CHECK(rs_weights_rows(t, rs_mapped_payload(m, t), 0, rows, w, NULL) == RS_OK);
    return w;
}

// Every tensor is there as it was, and its statistics right behind it.
static void passes_through(const char *from, const char *to)
{
    rs_mapped *a = NULL, *b = NULL;
    rs_stage s = {0};
    rs_frame f = {.type = RS_FRAME_HEAD};
    rs_error e = {0};
    uint8_t before[16], after[16];
    char expected[RS_MAX_NAME + 1] = "";
    if (!CHECKF(rs_mapped_open(&a, from, &e) == RS_OK && rs_mapped_open(&b, to, &e) == RS_OK, "%s", e.text)) return;
    rs_mapped_digest(a, NULL, before, NULL);
    rs_mapped_digest(b, NULL, after, NULL);
    CHECK(memcmp(before, after, sizeof before) == 0 && rs_mapped_count(a) == rs_mapped_count(b));
    for (size_t i = 0; i < rs_mapped_count(a); i++)
        CHECK(memcmp(rs_mapped_payload(a, rs_mapped_tensor(a, i)), rs_mapped_payload(b, rs_mapped_tensor(b, i)), (size_t)rs_mapped_tensor(a, i)->payload_len) == 0);
    CHECK(rs_stage_open(&s, "test", to, &e) == RS_OK);
    while (rs_reader_next(s.reader, &f, &e) == RS_OK && f.type != RS_FRAME_END) {
        if (expected[0] != 0) CHECKF(f.type == RS_FRAME_STAT && strcmp(f.stat->name, expected) == 0 && strcmp(f.stat->of, "weight") == 0, "no statistics behind %s", expected);
        expected[0] = 0;
        if (f.type == RS_FRAME_TENS && rs_stat_measures(f.tensor)) strcpy(expected, f.tensor->name);
    }
    CHECKF(f.type == RS_FRAME_END && expected[0] == 0, "%s", e.text);
    rs_stage_close(&s, NULL);
    rs_mapped_close(a);
    rs_mapped_close(b);
}

// Maxima of all tensors; of matrices also what packing them costs, by a file that is packed.
static void weights(const char *from)
{
    rs_mapped *m = NULL, *p[2] = {0};
    rs_error e = {0};
    if (!CHECKF(measure(from, out, NULL, 0, &e) == RS_OK && rs_mapped_open(&m, out, &e) == RS_OK, "%s", e.text)) return;
    passes_through(from, out);
    for (int b = 0; b < 2; b++) {
        rs_pack_options o = stages_pack_default();
        o.scheme.w_bits = 4 - b;
        o.scheme.rest_keep = true;
        if (!CHECKF(stages_pack(from, packed, &o, &e) == RS_OK && rs_mapped_open(&p[b], packed, &e) == RS_OK, "%s", e.text)) return;
    }
    for (size_t i = 0; i < rs_mapped_count(m); i++) {
        const rs_tensor *t = rs_mapped_tensor(m, i);
        const uint8_t *payload;
        const rs_stat_head *h = find(m, "weight", t->name, 0, &payload);
        if (!CHECKF(h != NULL, "%s has none", t->name)) continue;
        uint64_t n, cols = t->shape[t->n_dims - 1], k;
        float *w = decode(m, t->name, &n), most = 0, of_last = 0;
        for (uint64_t j = 0; j < n; j++) {
            most = fabsf(w[j]) > most ? fabsf(w[j]) : most;
            if (j % cols == cols - 1 && fabsf(w[j]) > of_last) of_last = fabsf(w[j]);
        }
        const float *absmax = (const float *)(const void *)payload;
        CHECKF(h->n_parts == 4 && h->parts[0].shape[0] == cols && absmax[cols - 1] == of_last && value(h, "max") == (double)most, "%s: largest %g, wanted %g", t->name, value(h, "max"), (double)most);
        CHECK(rs_map_get(h->values, "tokens") == NULL && rs_map_get(h->values, "massive") == NULL && rs_map_get(h->values, "bad") == NULL);
        for (int b = 0; b < 2; b++) {
            float *q = decode(p[b], t->name, &k);
            double signal = 0, error = 0;
            for (uint64_t j = 0; j < n; j++) {
                signal += (double)w[j] * (double)w[j];
                error += ((double)q[j] - (double)w[j]) * ((double)q[j] - (double)w[j]);
            }
            // the product of code and scale is rounded to f32 in the file, and not where errors are summed
            const double want = rs_scheme_matrix(t) ? 10 * log10(signal / error) : NAN, got = value(h, b == 0 ? "sqnr4" : "sqnr3");
            CHECKF((isnan(got) && isnan(want)) || fabs(got - want) < 1e-6, "%s: %d bits %.9g dB, packing %.9g", t->name, 4 - b, got, want);
            free(q);
        }
        free(w);
    }
    rs_mapped_close(p[0]);
    rs_mapped_close(p[1]);
    rs_mapped_close(m);
}

// ---- activations

// Rows of the taps of one layer, as they come; the stream before and between.
struct seen {
    float *x[RS_TAP_STREAM_FFN + 1];
    size_t rows[RS_TAP_STREAM_FFN + 1], cols[RS_TAP_STREAM_FFN + 1];
};

static void see(struct seen *s, rs_tap tap, size_t rows, size_t cols, const float *x, size_t ld)
{
    s->x[tap] = realloc(s->x[tap], (s->rows[tap] + rows) * cols * sizeof(float));
    for (size_t r = 0; r < rows; r++) memcpy(s->x[tap] + (s->rows[tap] + r) * cols, x + r * ld, cols * sizeof(float));
    s->rows[tap] += rows;
    s->cols[tap] = cols;
}

static void on_tap(void *context, rs_tap tap, size_t rows, size_t cols, const float *x, size_t ld) { see(context, tap, rows, cols, x, ld); }

static void forget(struct seen *s)
{
    for (int t = 0; t <= RS_TAP_STREAM_FFN; t++) free(s->x[t]);
    memset(s, 0, sizeof *s);
}

// A frame against the rows that a tap saw, quantised by q in spans.
static void against(const rs_mapped *m, const char *of, const char *name, unsigned step, const struct seen *seen, rs_tap tap, const rs_act *act, rs_span range, size_t span)
{
    static const rs_range ranges[] = {RS_RANGE_ZERO, RS_RANGE_FREE, RS_RANGE_HALF};
    const uint8_t *payload;
    rs_error e = {0};
    rs_stat *s;
    rs_stat_work *w;
    rs_stat_result r;
    rs_stat_options o = {.rows = seen->rows[tap], .channels = seen->cols[tap], .tokens = true};
    if (act != NULL) {
        o.settings = 1;
        o.span = span != 0 ? span : seen->cols[tap];
        o.quantizer[0] = (rs_quantizer){.sym = act->sym, .clip = (float)act->clip, .group = (size_t)act->group, .range = ranges[range]};
    }
    const rs_stat_head *h = find(m, of, name, step, &payload);
    if (!CHECKF(h != NULL, "%s of %s: none", of, name)) return;
    CHECK(rs_stat_work_new(&w, &e) == RS_OK && rs_stat_new(&s, &o, &e) == RS_OK && rs_stat_add(s, w, seen->rows[tap], seen->x[tap], seen->cols[tap], &e) == RS_OK && rs_stat_finish(s, &r, &e) == RS_OK);
    bool same = near(value(h, "max"), r.max) && near(value(h, "rms"), r.rms) && near(value(h, "kurt"), r.kurt) && near(value(h, "p999"), r.p999) && near(value(h, "incoherence"), r.incoherence) &&
                near(value(h, "zeros"), r.zeros) && rs_map_uint(h->values, "massive", 9) == r.massive && rs_map_uint(h->values, "tokens", 0) == WINDOWS * CTX;
    CHECKF(same, "%s of %s: kurtosis %.12g, wanted %.12g", of, name, value(h, "kurt"), r.kurt);
    CHECKF(near(value(h, "sqnr4"), r.sqnr[0][0]) && near(value(h, "sqnr3"), r.sqnr[0][1]) && isnan(r.sqnr[0][0]) == (act == NULL), "%s of %s: %.9g dB, wanted %.9g", of, name, value(h, "sqnr4"), r.sqnr[0][0]);
    CHECKF(h->n_parts == 4 && memcmp(payload + h->parts[0].off, r.absmax, r.channels * 4) == 0 && memcmp(payload + h->parts[3].off, r.hist, sizeof r.hist) == 0, "%s of %s: parts", of, name);
    rs_stat_result_clear(&r);
    rs_stat_free(s);
    rs_stat_work_free(w);
}

static void activations(const tiny_spec *s, const char *path, const char *measured, unsigned step)
{
    static const struct { const char *name; rs_role role; rs_tap tap; } inputs[] = {
        {"self_attn.q_proj", RS_ROLE_Q, RS_TAP_QKV_RAW}, {"self_attn.k_proj", RS_ROLE_K, RS_TAP_QKV_RAW}, {"self_attn.v_proj", RS_ROLE_V, RS_TAP_QKV_RAW}, {"self_attn.o_proj", RS_ROLE_O, RS_TAP_O_RAW},
        {"mlp.gate_proj", RS_ROLE_GATE, RS_TAP_GATE_UP_RAW}, {"mlp.up_proj", RS_ROLE_UP, RS_TAP_GATE_UP_RAW}, {"mlp.down_proj", RS_ROLE_DOWN, RS_TAP_DOWN_RAW},
    };
    rs_mapped *m = NULL, *t = NULL;
    rs_network *n = NULL;
    rs_error e = {0};
    int32_t ids[COUNT];
    char name[RS_MAX_NAME + 1];
    struct seen seen = {0};
    tiny_ids(s, COUNT, ids);
    if (!CHECKF(stages_network(path, NULL, &m, &n, &e) == RS_OK && rs_mapped_open(&t, measured, &e) == RS_OK, "%s", e.text)) return;
    rs_network_sums(n);
    const rs_plan *plan = &rs_mapped_head(m)->plan;
    float *x = malloc(WINDOWS * CTX * s->d * sizeof *x);
    for (size_t w = 0; w < WINDOWS; w++) CHECK(rs_network_embed(n, CTX, ids + SKIP_TOKENS + w * CTX, x + w * CTX * s->d, &e) == RS_OK);
    for (uint64_t i = 0; i < s->L; i++) {
        const rs_decoder_layer *layer;
        CHECK(rs_network_load(n, i, &layer, &e) == RS_OK);
        for (size_t w = 0; w < WINDOWS; w++) CHECKF(rs_network_forward(n, CTX, x + w * CTX * s->d, on_tap, &seen, &e) == RS_OK, "%s", e.text);
        for (size_t k = 0; k < sizeof inputs / sizeof *inputs; k++) {
            const rs_act a = rs_plan_act(plan, (int64_t)i, inputs[k].role);
            snprintf(name, sizeof name, "model.layers.%d.%s.weight", (int)i, inputs[k].name);
            against(t, "input", name, step, &seen, inputs[k].tap, &a, a.range, 0);
            if (inputs[k].role == RS_ROLE_K) against(t, "kv", name, step, &seen, RS_TAP_K_RAW, &plan->kv, plan->kv.range, s->h);
            if (inputs[k].role == RS_ROLE_V) against(t, "kv", name, step, &seen, RS_TAP_V_RAW, &plan->kv, plan->v_range, s->h);
        }
        snprintf(name, sizeof name, "basis.%d", (int)(2 * i));
        against(t, "stream", name, step, &seen, RS_TAP_STREAM_ATTN, NULL, RS_SPAN_ZERO, 0);
        snprintf(name, sizeof name, "basis.%d", (int)(2 * i + 1));
        against(t, "stream", name, step, &seen, RS_TAP_STREAM_FFN, NULL, RS_SPAN_ZERO, 0);
        forget(&seen);
    }
    see(&seen, RS_TAP_STREAM_ATTN, WINDOWS * CTX, s->d, x, s->d);
    snprintf(name, sizeof name, "basis.%d", (int)(2 * s->L));
    against(t, "stream", name, step, &seen, RS_TAP_STREAM_ATTN, NULL, RS_SPAN_ZERO, 0);
    forget(&seen);
    free(x);
    rs_network_close(n);
    rs_mapped_close(t);
    rs_mapped_close(m);
}

// The tensors of a file from the last to the first.
static rs_status backwards(const char *in, const char *to, rs_error *e)
{
    rs_mapped *m = NULL;
    rs_stage s = {0};
    rs_frame f;
    char *argv[] = {(char[]){"backwards"}, NULL};
    RS_TRY(rs_mapped_open(&m, in, e));
    rs_status st = rs_stage_open(&s, "backwards", in, e);
    if (st == RS_OK) st = rs_stage_begin(&s, to, NULL, 0, rs_reader_head(s.reader), 1, argv, NULL, e);
    while (st == RS_OK && (st = rs_reader_next(s.reader, &f, e)) == RS_OK && f.type != RS_FRAME_END)
        if (f.type == RS_FRAME_FILE) st = rs_stage_copy(&s, &f, e);
    for (size_t i = rs_mapped_count(m); st == RS_OK && i-- > 0;) st = rs_writer_tensor(s.writer, rs_mapped_tensor(m, i), rs_mapped_payload(m, rs_mapped_tensor(m, i)), e);
    if (st == RS_OK) st = rs_stage_finish(&s, e);
    rs_stage_close(&s, e);
    rs_mapped_close(m);
    return st;
}

// The same statistics in both files, whatever their order; what packing left behind its matrices is another stage's.
static void same_statistics(const char *a, const char *b, unsigned step_a, unsigned step_b)
{
    rs_mapped *m = NULL, *t = NULL;
    rs_error e = {0};
    if (!CHECKF(rs_mapped_open(&m, a, &e) == RS_OK && rs_mapped_open(&t, b, &e) == RS_OK, "%s", e.text)) return;
    size_t n = 0, differ = 0;
    for (size_t i = 0; i < rs_mapped_stats(m); i++) {
        const uint8_t *p, *q;
        const rs_stat_head *h = rs_mapped_stat(m, i, &p), *g;
        if (h->step != step_a || strcmp(h->of, "error") == 0) continue;
        n++;
        g = find(t, h->of, h->name, step_b, &q);
        differ += g == NULL || g->payload_len != h->payload_len || memcmp(p, q, (size_t)h->payload_len) != 0 || value(g, "kurt") != value(h, "kurt") || !(value(g, "sqnr4") == value(h, "sqnr4") || isnan(value(h, "sqnr4")));
    }
    CHECKF(n > 0 && differ == 0, "%s: %d of %d statistics differ from those of %s", b, (int)differ, (int)n, a);
    rs_mapped_close(m);
    rs_mapped_close(t);
}

static void walks(const tiny_spec *s)
{
    rs_error e = {0};
    CHECKF(measure(model, out, s, 0, &e) == RS_OK, "%s", e.text);
    passes_through(model, out);
    activations(s, model, out, 0);
    CHECKF(measure(fused, out, s, 0, &e) == RS_OK, "%s", e.text); // online rotations and junctions
    activations(s, fused, out, 1);
    rs_pack_options o = stages_pack_default();
    o.a = (rs_act){.bits = 4, .clip = 0.9, .group = 8};
    o.kv = (rs_act){.bits = 4, .clip = 1, .sym = true};
    CHECKF(stages_pack(fused, packed, &o, &e) == RS_OK && measure(packed, out, s, 0, &e) == RS_OK, "%s", e.text);
    activations(s, packed, out, 2);
    passes_through(packed, out);
    o.a = o.kv = (rs_act){.bits = 4, .clip = 1};
    o.scheme.peer = RS_PEER_SPINQUANT; // other ranges, and the input of o by heads
    CHECKF(stages_pack(fused, packed, &o, &e) == RS_OK && measure(packed, out, s, 0, &e) == RS_OK, "%s", e.text);
    activations(s, packed, out, 2);
    static const char rules[] = "{\"rules\": [{\"role\": \"k\", \"a_sym\": true}, {\"role\": \"v\", \"a_clip\": 0.8}, {\"role\": \"up\", \"layers\": [1, 1], \"a_group\": 16}]}";
    rs_recipe *recipe = NULL;
    o.scheme.peer = RS_PEER_NONE;
    CHECKF(rs_recipe_parse(&recipe, rules, sizeof rules - 1, &e) == RS_OK, "%s", e.text);
    o.recipe = recipe;
    CHECKF(stages_pack(fused, packed, &o, &e) == RS_OK && measure(packed, out, s, 0, &e) == RS_OK, "%s", e.text);
    activations(s, packed, out, 2); // inputs that are shared, each quantised as its own role has it
    rs_recipe_free(recipe);
    rs_threads_set(5); // other pieces, and most of the stream in a file
    CHECKF(measure(packed, again, s, 2 * CTX * s->d * 4, &e) == RS_OK, "%s", e.text);
    rs_threads_set(2);
    same_statistics(out, again, 2, 2);
    CHECKF(backwards(packed, changed, &e) == RS_OK && measure(changed, again, s, 0, &e) == RS_OK, "%s", e.text);
    same_statistics(out, again, 2, 3);
    CHECK(measure(packed, again, s, CTX * s->d * 4 - 1, &e) == RS_USAGE);
    e = (rs_error){0};
    CHECK(measure(rot, again, s, 0, &e) == RS_USAGE);
}

// ---- twice, and what was there before

// Copies in -> to and writes statistics of its own step: of the last tensor's weights, of its rounding, of the stream.
static rs_status claim(const char *in, const char *to, char *name, rs_error *e)
{
    rs_stage s = {0};
    rs_frame f;
    rs_arena *a = rs_arena_new();
    char *argv[] = {(char[]){"claim"}, NULL};
    rs_status st = rs_stage_open(&s, "claim", in, e);
    if (st == RS_OK) st = rs_stage_begin(&s, to, NULL, 0, rs_reader_head(s.reader), 1, argv, NULL, e);
    while (st == RS_OK && (st = rs_reader_next(s.reader, &f, e)) == RS_OK && f.type != RS_FRAME_END) {
        if (f.type == RS_FRAME_TENS) strcpy(name, f.tensor->name);
        st = rs_stage_copy(&s, &f, e);
    }
    rs_stat_head h = {.step = rs_stage_step(&s), .values = rs_value_map(a)};
    rs_map_put(a, (rs_value *)(uintptr_t)h.values, "max", rs_value_f64(a, 12345));
    for (int i = 0; st == RS_OK && i < 3; i++) {
        strcpy(h.name, i == 2 ? "basis.1" : name);
        strcpy(h.of, (const char *const[]){"weight", "error", "stream"}[i]);
        st = rs_writer_stat(s.writer, &h, NULL, e);
    }
    if (st == RS_OK) st = rs_stage_finish(&s, e);
    rs_stage_close(&s, e);
    rs_arena_free(a);
    return st;
}

static void twice(const tiny_spec *s)
{
    rs_error e = {0};
    rs_mapped *m = NULL;
    const uint8_t *p;
    char name[RS_MAX_NAME + 1];
    CHECKF(measure(model, out, s, 0, &e) == RS_OK && measure(out, again, s, 0, &e) == RS_OK, "%s", e.text);
    same_statistics(out, again, 0, 0);
    same_statistics(out, again, 0, 1);
    CHECKF(claim(model, changed, name, &e) == RS_OK && measure(changed, out, NULL, 0, &e) == RS_OK && measure(changed, again, s, 0, &e) == RS_OK, "%s", e.text);
    for (int with_text = 0; with_text < 2; with_text++) {
        if (!CHECKF(rs_mapped_open(&m, with_text ? again : out, &e) == RS_OK, "%s", e.text)) return;
        CHECK(value(find(m, "weight", name, 1, &p), "max") < 1000); // measured anew,
        CHECK(value(find(m, "error", name, 1, &p), "max") == 12345); // this not
        CHECK((value(find(m, "stream", "basis.1", 1, &p), "max") == 12345) == !with_text);
        rs_mapped_close(m);
    }
}

// ---- a matrix of several blocks, against all of it at once

static void blocks(rs_dtype type)
{
    enum { ROWS = 2101, COLS = 1000 };
    rs_error e = {0};
    rs_tensor t = {.role = RS_ROLE_Q, .layer = 0, .expert = -1, .dtype = type, .n_dims = 2, .shape = {ROWS, COLS}};
    float *w = malloc(ROWS * COLS * sizeof *w);
    uint16_t *half = malloc(ROWS * COLS * sizeof *half);
    strcpy(t.name, "model.layers.0.self_attn.q_proj.weight");
    for (size_t i = 0; i < ROWS * COLS; i++) w[i] = (1 + (float)(i / COLS % 7)) * uniform() * uniform();
    if (type == RS_F16) {
        rs_kernels_reference()->f32_to_f16(ROWS * COLS, w, half);
        rs_kernels_reference()->f16_to_f32(ROWS * COLS, half, w);
    }
    rs_stat_work *work;
    rs_stat *s;
    rs_stat_result got, want;
    const uint8_t *payload = type == RS_F16 ? (const uint8_t *)half : (const uint8_t *)w;
    bool ok = rs_stat_work_new(&work, &e) == RS_OK && rs_tensor_layout(&t, RS_F32, 0, &e) == RS_OK && rs_stat_weights(&t, payload, work, &got, &e) == RS_OK &&
              rs_stat_new(&s, &(rs_stat_options){.rows = ROWS, .channels = COLS}, &e) == RS_OK && rs_stat_add(s, work, ROWS, w, COLS, &e) == RS_OK && rs_stat_finish(s, &want, &e) == RS_OK;
    if (!CHECKF(ok, "%s", e.text)) return;
    CHECK(got.max == want.max && near(got.rms, want.rms) && near(got.kurt, want.kurt) && got.p999 == want.p999 && got.p9999 == want.p9999 && near(got.incoherence, want.incoherence) && near(got.zeros, want.zeros));
    CHECK(memcmp(got.absmax, want.absmax, COLS * 4) == 0 && memcmp(got.hist, want.hist, sizeof want.hist) == 0);
    for (int b = 0; b < 2; b++) {
        rs_scheme scheme = rs_scheme_default();
        rs_tensor whole;
        rs_pack_error cost;
        t.dtype = RS_F32;
        scheme.w_bits = 4 - b;
        CHECK(rs_quantize_layout(&scheme, &t, &whole, &e) == RS_OK);
        uint8_t *codes = malloc((size_t)whole.payload_len);
        CHECK(rs_rtn_pack(&scheme, &whole, w, codes, &cost, &e) == RS_OK);
        CHECKF(near(got.sqnr[0][b], 10 * log10(cost.signal / cost.error)), "%d bits: %.9g dB, at once %.9g", 4 - b, got.sqnr[0][b], 10 * log10(cost.signal / cost.error));
        free(codes);
    }
    rs_stat_result_clear(&got);
    rs_stat_result_clear(&want);
    rs_stat_free(s);
    rs_stat_work_free(work);
    free(w);
    free(half);
}

// ---- odd files

static void odd_shapes(void)
{
    rs_error e = {0};
    rs_stage s = {0};
    rs_frame f;
    rs_mapped *m = NULL;
    const uint8_t *p;
    static const struct { const char *name; int dims; uint64_t shape[3]; } odd[] = {{"none", 2, {0, 5}}, {"empty", 2, {3, 0}}, {"nothing", 1, {0}}, {"scalar", 0, {0}}, {"one", 1, {1}}, {"cube", 3, {2, 3, 4}}};
    float data[24];
    char *argv[] = {(char[]){"odd"}, NULL};
    for (int i = 0; i < 24; i++) data[i] = (float)i - 3;
    rs_status st = rs_stage_open(&s, "odd", model, &e);
    if (st == RS_OK) st = rs_stage_begin(&s, changed, NULL, 0, rs_reader_head(s.reader), 1, argv, NULL, &e);
    while (st == RS_OK && (st = rs_reader_next(s.reader, &f, &e)) == RS_OK && f.type != RS_FRAME_END) st = rs_stage_copy(&s, &f, &e);
    for (size_t i = 0; st == RS_OK && i < sizeof odd / sizeof *odd; i++) {
        rs_tensor t = {.role = RS_ROLE_OTHER, .layer = -1, .expert = -1, .dtype = RS_F32, .n_dims = odd[i].dims};
        strcpy(t.name, odd[i].name);
        memcpy(t.shape, odd[i].shape, sizeof odd[i].shape);
        st = rs_tensor_layout(&t, RS_F32, 0, &e);
        if (st == RS_OK) st = rs_writer_tensor(s.writer, &t, data, &e);
    }
    if (st == RS_OK) st = rs_stage_finish(&s, &e);
    rs_stage_close(&s, &e);
    if (!CHECKF(st == RS_OK && measure(changed, out, NULL, 0, &e) == RS_OK && rs_mapped_open(&m, out, &e) == RS_OK, "%s", e.text)) return;
    passes_through(changed, out);
    CHECK(find(m, "weight", "scalar", 1, &p) == NULL);
    for (int i = 0; i < 3; i++) {
        const rs_stat_head *h = find(m, "weight", odd[i].name, 1, &p);
        CHECKF(h != NULL && h->n_parts == 4 && h->parts[0].shape[0] == odd[i].shape[odd[i].dims - 1] && rs_map_get(h->values, "max") == NULL && rs_map_get(h->values, "rms") == NULL, "%s", odd[i].name);
    }
    CHECK(value(find(m, "weight", "one", 1, &p), "max") == 3 && value(find(m, "weight", "one", 1, &p), "kurt") == 0);
    const rs_stat_head *cube = find(m, "weight", "cube", 1, &p);
    CHECK(value(cube, "max") == 20 && cube->parts[0].shape[0] == 4 && ((const float *)(const void *)p)[1] == 18 && near(value(cube, "zeros"), 1 / 24.0));
    rs_mapped_close(m);
}

static void rotations(void)
{
    rs_error e = {0};
    rs_mapped *m = NULL;
    const uint8_t *p;
    if (!CHECKF(measure(rot, out, NULL, 0, &e) == RS_OK && rs_mapped_open(&m, out, &e) == RS_OK, "%s", e.text)) return;
    passes_through(rot, out);
    CHECK(fabs(value(find(m, "weight", "rot.0", 0, &p), "rms") - 1 / sqrt(32.0)) < 1e-6); // orthogonal, in f32
    CHECK(find(m, "weight", "trans.0", 0, &p) == NULL && rs_mapped_find(m, "trans.0") != NULL);
    rs_mapped_close(m);
}

static void not_finite(tiny_spec s)
{
    rs_error e = {0};
    rs_mapped *m = NULL;
    const uint8_t *p;
    s.nan_in = "model.layers.1.self_attn.v_proj.weight";
    rs_pack_options o = stages_pack_default();
    o.scheme.w_bits = 16;
    o.a.bits = 4;
    o.scheme.rest_keep = true;
    if (!CHECK(tiny_model(changed, &s)) || !CHECKF(measure(changed, out, &s, 0, &e) == RS_OK && rs_mapped_open(&m, out, &e) == RS_OK, "%s", e.text)) return;
    const rs_stat_head *h = find(m, "weight", s.nan_in, 0, &p);
    CHECK(rs_map_uint(h->values, "bad", 0) == 1 && rs_map_get(h->values, "sqnr4") == NULL && isfinite(value(h, "rms")));
    h = find(m, "kv", s.nan_in, 0, &p);
    CHECK(rs_map_uint(h->values, "bad", 0) == WINDOWS * CTX && rs_map_get(h->values, "sqnr4") == NULL && isfinite(value(h, "rms"))); // one channel of V, in every token
    h = find(m, "input", "model.layers.2.self_attn.q_proj.weight", 0, &p);
    CHECK(rs_map_uint(h->values, "bad", 0) == WINDOWS * CTX * s.d && rs_map_get(h->values, "rms") == NULL);
    rs_mapped_close(m);
    CHECKF(stages_pack(changed, packed, &o, &e) == RS_OK, "%s", e.text);
    CHECKF(measure(packed, out, &s, 0, &e) == RS_E_VALUE && strstr(e.text, "layer 1") != NULL, "%s", e.text); // its quantisers cannot
}

int main(void)
{
    tiny_spec s = tiny_default(), half = s;
    rs_error e = {0};
    rs_threads_set(2);
    tiny_path(model, sizeof model, "model.rsq");
    tiny_path(rot, sizeof rot, "rot.rsq");
    tiny_path(fused, sizeof fused, "fused.rsq");
    tiny_path(packed, sizeof packed, "packed.rsq");
    tiny_path(out, sizeof out, "out.rsq");
    tiny_path(again, sizeof again, "again.rsq");
    tiny_path(changed, sizeof changed, "changed.rsq");
    half.dtype = RS_BF16;
    half.biases = true;
    if (!CHECK(tiny_model(model, &half))) return check_report();
    weights(model);
    half.dtype = RS_F16;
    if (!CHECK(tiny_model(model, &half))) return check_report();
    weights(model);
    bool ok = tiny_model(model, &s) && tiny_rotations(rot, &s, TINY_CHAIN, 0.4, 4, 3, model) && tiny_fuse(model, rot, fused, (rs_fuse_options){.rotate = true, .online = true}, &e) == RS_OK;
    if (!CHECKF(ok, "%s", e.text)) return check_report();
    weights(model);
    walks(&s);
    twice(&s);
    blocks(RS_F32);
    blocks(RS_F16);
    odd_shapes();
    rotations();
    not_finite(s);
    return check_report();
}
