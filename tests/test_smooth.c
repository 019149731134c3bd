// SPDX-License-Identifier: Apache-2.0
// SmoothQuant: factors against the definition on captured inputs, the network that stays the same, and ranges that are balanced where they were meant to be.
#include "transforms/smooth.h"

#include <math.h>

#include "tests/stages.h"
#include "transforms/weights.h"

enum { SAMPLES = 4, CTX = 12, S = 12 };

static char model[128], out[128], twice[128];
static int32_t ids[SAMPLES * CTX];

static const struct {
    const char *name;
    rs_tap tap;
} parts[] = {{"self_attn.q_proj", RS_TAP_QKV_RAW}, {"self_attn.k_proj", RS_TAP_QKV_RAW}, {"self_attn.v_proj", RS_TAP_QKV_RAW}, {"self_attn.o_proj", RS_TAP_O_RAW},
             {"mlp.gate_proj", RS_TAP_GATE_UP_RAW}, {"mlp.up_proj", RS_TAP_GATE_UP_RAW}, {"mlp.down_proj", RS_TAP_DOWN_RAW}};
enum { PARTS = sizeof parts / sizeof parts[0], INPUTS = 4 };
static const int input_of[PARTS] = {0, 0, 0, 1, 2, 2, 3};

// Largest magnitudes per column of each input of a layer: of what a network sees there, and of the weights in the file.
struct ranges {
    float x[INPUTS][64], w[INPUTS][64];
};

static void on_tap(void *context, rs_tap tap, size_t rows, size_t cols, const float *x, size_t ld)
{
    struct ranges *r = context;
    for (int i = 0; i < PARTS; i++) {
        if (parts[i].tap != tap || (i > 0 && parts[i - 1].tap == tap)) continue;
        for (size_t t = 0; t < rows; t++)
            for (size_t j = 0; j < cols; j++) r->x[input_of[i]][j] = fmaxf(r->x[input_of[i]][j], fabsf(x[t * ld + j]));
    }
}

static bool look(const char *path, const tiny_spec *s, struct ranges *layers)
{
    rs_mapped *m = NULL;
    rs_network *n = NULL;
    rs_error e = {0};
    memset(layers, 0, (size_t)s->L * sizeof *layers);
    if (!CHECKF(stages_network(path, NULL, &m, &n, &e) == RS_OK, "%s", e.text)) return false;
    float *x = malloc(CTX * (size_t)s->d * sizeof *x);
    for (int k = 0; k < SAMPLES; k++) {
        CHECK(rs_network_embed(n, CTX, ids + k * CTX, x, &e) == RS_OK);
        for (uint64_t i = 0; i < s->L; i++) {
            const rs_decoder_layer *layer;
            CHECK(rs_network_load(n, i, &layer, &e) == RS_OK && rs_network_forward(n, CTX, x, on_tap, &layers[i], &e) == RS_OK);
        }
    }
    for (uint64_t i = 0; i < s->L; i++)
        for (int p = 0; p < PARTS; p++) {
            char name[128];
            snprintf(name, sizeof name, "model.layers.%d.%s.weight", (int)i, parts[p].name);
            const rs_tensor *t = rs_mapped_find(m, name);
            if (!CHECK(t != NULL)) continue;
            float *w = malloc((size_t)(t->shape[0] * t->shape[1]) * sizeof *w);
            CHECK(rs_weights_rows(t, rs_mapped_payload(m, t), 0, t->shape[0], w, &e) == RS_OK);
            for (uint64_t k = 0; k < t->shape[0] * t->shape[1]; k++) {
                float *most = &layers[i].w[input_of[p]][k % t->shape[1]];
                *most = fmaxf(*most, fabsf(w[k]));
            }
            free(w);
        }
    free(x);
    rs_network_close(n);
    rs_mapped_close(m);
    return true;
}

static rs_status measure(const char *path, double alpha, size_t samples, rs_smooth **s, rs_error *e)
{
    rs_mapped *m = NULL;
    rs_network *n = NULL;
    rs_calibration_text text = {.ids = ids, .count = SAMPLES * CTX, .samples = samples, .ctx = CTX};
    *s = NULL;
    rs_status st = stages_network(path, NULL, &m, &n, e);
    if (st == RS_OK) st = rs_smooth_measure(s, n, &text, alpha, NULL, NULL, e);
    rs_network_close(n);
    rs_mapped_close(m);
    return st;
}

static bool near(double a, double b) { return fabs(a - b) <= 1e-5 * fabs(b); }

// The factors are those of the definition.
static void definition(const tiny_spec *spec, double alpha)
{
    struct ranges r[4];
    rs_smooth *s;
    rs_error e = {0};
    if (!look(model, spec, r) || !CHECKF(measure(model, alpha, SAMPLES, &s, &e) == RS_OK, "%s", e.text)) return;
    size_t h = (size_t)spec->h, group = (size_t)(spec->n_q / spec->n_kv);
    bool good[RS_SMOOTH_PAIRS] = {true, true, true, true, true};
    for (uint64_t i = 0; i < spec->L; i++) {
        const struct ranges *l = &r[i];
        for (size_t j = 0; j < spec->d; j++) {
            good[RS_SMOOTH_QKV] = good[RS_SMOOTH_QKV] && near((double)rs_smooth_factors(s, i, RS_SMOOTH_QKV)[j], pow((double)l->x[0][j], alpha) / pow((double)l->w[0][j], 1 - alpha));
            good[RS_SMOOTH_GATE_UP] = good[RS_SMOOTH_GATE_UP] && near((double)rs_smooth_factors(s, i, RS_SMOOTH_GATE_UP)[j], pow((double)l->x[2][j], alpha) / pow((double)l->w[2][j], 1 - alpha));
        }
        for (size_t j = 0; j < spec->f; j++)
            good[RS_SMOOTH_DOWN] = good[RS_SMOOTH_DOWN] && near((double)rs_smooth_factors(s, i, RS_SMOOTH_DOWN)[j], pow((double)l->x[3][j], alpha) / pow((double)l->w[3][j], 1 - alpha));
        for (size_t q = 0; q < spec->n_q; q++)
            for (size_t j = 0; j < h; j++) {
                double x = 0, w = 0;
                for (size_t k = q / group * group; k < (q / group + 1) * group; k++) x = fmax(x, (double)l->x[1][k * h + j]), w = fmax(w, (double)l->w[1][k * h + j]);
                double want = pow(x, alpha) / pow(w, 1 - alpha);
                good[RS_SMOOTH_O] = good[RS_SMOOTH_O] && near((double)rs_smooth_factors(s, i, RS_SMOOTH_O)[q * h + j], want);
                good[RS_SMOOTH_V] = good[RS_SMOOTH_V] && near((double)rs_smooth_factors(s, i, RS_SMOOTH_V)[q / group * h + j], want);
            }
    }
    for (int p = 0; p < RS_SMOOTH_PAIRS; p++) CHECKF(good[p], "alpha %g: pair %d is not what the definition gives", alpha, p);
    rs_smooth_free(s);
}

static void same_network(const char *what, const tiny_spec *spec, double alpha, rs_fuse_options o, const char *to)
{
    rs_smooth *s;
    rs_error e = {0};
    int32_t some[S];
    tiny_ids(spec, S, some);
    if (!CHECKF(measure(model, alpha, SAMPLES, &s, &e) == RS_OK, "%s: %s", what, e.text)) return;
    o.smooth = s;
    if (CHECKF(tiny_fuse(model, NULL, to, o, &e) == RS_OK, "%s: %s", what, e.text)) {
        float *a = tiny_logits(model, S, some), *b = tiny_logits(to, S, some);
        if (CHECK(a != NULL && b != NULL)) {
            double x = tiny_difference(S * (size_t)spec->V, a, b);
            CHECKF(x <= 1e-5, "%s: logits differ by %.3g", what, x);
        }
        free(a);
        free(b);
    }
    rs_smooth_free(s);
}

// At alpha 1/2 the channel of an input and the columns that read it end up with one range, sqrt(max|x| max|W|).
static void balanced(const tiny_spec *spec)
{
    struct ranges before[4], after[4];
    same_network("smoothed", spec, 0.5, (rs_fuse_options){0}, out);
    if (!look(model, spec, before) || !look(out, spec, after)) return;
    size_t h = (size_t)spec->h, group = (size_t)(spec->n_q / spec->n_kv);
    const size_t width[INPUTS] = {(size_t)spec->d, (size_t)(spec->n_q * h), (size_t)spec->d, (size_t)spec->f};
    for (uint64_t i = 0; i < spec->L; i++)
        for (int k = 0; k < INPUTS; k++)
            for (size_t j = 0; j < width[k]; j++) {
                double x = 0, w = 0, x0 = 0, w0 = 0;
                for (size_t q = 0; q < (k == 1 ? group : 1); q++) {
                    size_t c = k == 1 ? j / h / group * group * h + q * h + j % h : j;
                    x = fmax(x, (double)after[i].x[k][c]), w = fmax(w, (double)after[i].w[k][c]);
                    x0 = fmax(x0, (double)before[i].x[k][c]), w0 = fmax(w0, (double)before[i].w[k][c]);
                }
                // up is divided and multiplied: its rows change the range of the columns that the factors of the norm were made for
                bool ok = fabs(x * x / (x0 * w0) - 1) < 1e-3 && (k == 0 || k == 2 || fabs(w / x - 1) < 1e-3);
                if (!CHECKF(ok, "layer %d, input %d, channel %zu: ranges %g and %g, were %g and %g", (int)i, k, j, x, w, x0, w0)) return;
            }
}

static void what_it_writes(const tiny_spec *spec)
{
    rs_mapped *m[2];
    rs_smooth *s;
    rs_error e = {0};
    CHECK(measure(model, 0.5, SAMPLES, &s, &e) == RS_OK);
    CHECK(rs_mapped_open(&m[0], model, &e) == RS_OK && rs_mapped_open(&m[1], out, &e) == RS_OK);
    const rs_tensor *a = rs_mapped_find(m[0], "model.layers.1.post_attention_layernorm.weight"), *b = rs_mapped_find(m[1], a->name);
    const float *x = rs_weights_direct(a, rs_mapped_payload(m[0], a)), *y = rs_weights_direct(b, rs_mapped_payload(m[1], b)), *by = rs_smooth_factors(s, 1, RS_SMOOTH_GATE_UP);
    bool same = true;
    for (size_t j = 0; j < spec->d; j++) same = same && y[j] == x[j] / by[j];
    CHECK(same && b->n_xf == 1 && strcmp(b->xf[0].id, "smooth") == 0);
    const char *const column[] = {"self_attn.q_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj"};
    for (size_t i = 0; i < sizeof column / sizeof column[0]; i++) {
        char name[128];
        snprintf(name, sizeof name, "model.layers.0.%s.weight", column[i]);
        const rs_tensor *t = rs_mapped_find(m[1], name);
        CHECKF(t->n_xf == 1 && strcmp(t->xf[0].id, "smooth") == 0 && t->xf[0].side == 0 && t->dtype == RS_F32, "%s: xf", name);
    }
    const rs_tensor *norm = rs_mapped_find(m[1], "model.norm.weight"), *embed = rs_mapped_find(m[1], "model.embed_tokens.weight");
    CHECK(norm->n_xf == 0 && embed->n_xf == 0 && (rs_mapped_find(m[1], "lm_head.weight") == NULL) == spec->tied);
    rs_mapped_close(m[0]);
    rs_mapped_close(m[1]);
    rs_smooth_free(s);
    // What was smoothed may be rotated: the norms' part cancels, the rest is the same as in one go.
    int32_t some[S];
    tiny_ids(spec, S, some);
    CHECKF(tiny_fuse(out, NULL, twice, (rs_fuse_options){.rotate = true, .online = true, .seed = 5}, &e) == RS_OK, "%s", e.text);
    same_network("in one go", spec, 0.5, (rs_fuse_options){.rotate = true, .online = true, .seed = 5}, out);
    float *p = tiny_logits(twice, S, some), *q = tiny_logits(out, S, some);
    if (CHECK(p != NULL && q != NULL)) CHECK(tiny_difference(S * (size_t)spec->V, p, q) <= 1e-5);
    free(p);
    free(q);
    CHECK(rs_mapped_open(&m[0], twice, &e) == RS_OK && rs_mapped_open(&m[1], out, &e) == RS_OK);
    const char *const part[] = {"model.layers.1.self_attn.v_proj.weight", "model.layers.1.self_attn.o_proj.weight", "model.layers.2.mlp.up_proj.weight", "model.layers.2.mlp.down_proj.weight"};
    for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
        a = rs_mapped_find(m[0], part[i]), b = rs_mapped_find(m[1], part[i]);
        CHECKF(tiny_difference((size_t)(a->shape[0] * a->shape[1]), rs_weights_direct(a, rs_mapped_payload(m[0], a)), rs_weights_direct(b, rs_mapped_payload(m[1], b))) <= 1e-6, "%s: differs", part[i]);
        CHECKF(rs_tensor_has_xf(b, "smooth") && b->xf[0].side == (i % 2 == 0), "%s: xf", part[i]);
    }
    CHECK(!rs_tensor_has_xf(rs_mapped_find(m[1], "model.layers.1.self_attn.q_proj.weight"), "smooth"));
    rs_mapped_close(m[0]);
    rs_mapped_close(m[1]);
}

static bool forget_column(void *context, rs_tensor *t, uint8_t *payload)
{
    (void)context;
    size_t size = rs_dtype_size(t->dtype), row = (size_t)t->shape[1] * size;
    for (uint64_t r = 0; t->role == RS_ROLE_DOWN && t->layer == 0 && r < t->shape[0]; r++) memset(payload + r * row + 7 * size, 0, size);
    return true;
}

static void refusals(const tiny_spec *spec)
{
    rs_smooth *s, *again;
    rs_error e = {0};
    rs_pack_options o = stages_pack_default();
    CHECK(measure(model, 0.5, SAMPLES + 1, &s, &e) == RS_USAGE && s == NULL && strstr(e.text, "48 tokens") != NULL);
    CHECK(stages_pack(model, out, &o, &(rs_error){0}) == RS_OK && measure(out, 0.5, 1, &s, &(rs_error){0}) == RS_USAGE);
    CHECK(tiny_fuse(model, NULL, out, (rs_fuse_options){.rotate = true, .seed = 1}, &(rs_error){0}) == RS_OK && measure(out, 0.5, 1, &s, &(rs_error){0}) == RS_USAGE);
    CHECK(measure(model, 0.5, 1, &s, &(rs_error){0}) == RS_OK);
    e = (rs_error){0};
    CHECK(tiny_fuse(model, NULL, out, (rs_fuse_options){.smooth = s}, &e) == RS_OK && measure(out, 0.5, 1, &again, &(rs_error){0}) == RS_USAGE);
    CHECK(tiny_fuse(out, NULL, twice, (rs_fuse_options){.smooth = s}, &e) == RS_USAGE && strstr(e.text, "smooth is folded in already") != NULL);
    rs_smooth_free(s);
    tiny_spec bad = *spec;
    bad.nan_in = "model.layers.1.mlp.down_proj.weight";
    e = (rs_error){0};
    CHECK(tiny_model(out, &bad) && measure(out, 0.5, 1, &s, &e) == RS_E_VALUE && strstr(e.text, "layer 1") != NULL);
    // a channel that nothing reads has the factor 1
    if (CHECK(stages_edit(model, out, forget_column, NULL, &(rs_error){0}) == RS_OK && measure(out, 0.5, 1, &s, &(rs_error){0}) == RS_OK))
        CHECK(rs_smooth_factors(s, 0, RS_SMOOTH_DOWN)[7] == 1 && rs_smooth_factors(s, 1, RS_SMOOTH_DOWN)[7] != 1);
    rs_smooth_free(s);
}

int main(void)
{
    tiny_spec s = tiny_default();
    rs_threads_set(2);
    tiny_path(model, sizeof model, "model.rsq");
    tiny_path(out, sizeof out, "out.rsq");
    tiny_path(twice, sizeof twice, "twice.rsq");
    for (int k = 0; k < 2; k++) {
        s.biases = k == 1;
        s.tied = k == 0;
        s.n_kv = k == 0 ? 2 : 4;
        s.dtype = k == 0 ? RS_F32 : RS_BF16;
        tiny_ids(&s, SAMPLES * CTX, ids);
        if (!CHECK(tiny_model(model, &s))) break;
        definition(&s, 0.5);
        definition(&s, 0.8);
        balanced(&s);
        what_it_writes(&s);
        same_network("alpha 1", &s, 1, (rs_fuse_options){0}, out);
        same_network("alpha 0, rotated", &s, 0, (rs_fuse_options){.rotate = true, .seed = 2}, out);
        same_network("rotated, online", &s, 0.7, (rs_fuse_options){.rotate = true, .online = true, .seed = 2}, out);
        refusals(&s);
    }
    return check_report();
}
