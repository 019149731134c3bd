// SPDX-License-Identifier: Apache-2.0
// GPTQ of a matrix against the textbook in fp64 (explicit inverse, one column after the other, no blocks); and of a model: each matrix again, on inputs measured in the network that came out.
#include <math.h>

#include "inspect/values.h"
#include "kernels/clip.h"
#include "quantize/gptq_model.h"
#include "tests/stages.h"
#include "transforms/random.h"
#include "transforms/weights.h"

enum { ROWS = 29, COLS = 96, TOKENS = 400 };
static float w[ROWS * COLS], H[COLS * COLS];

// ---- the textbook

// Inverse by Gauss-Jordan with row exchanges.
static void invert(size_t n, double *a, double *out)
{
    for (size_t i = 0; i < n * n; i++) out[i] = i % (n + 1) == 0;
    for (size_t i = 0; i < n; i++) {
        size_t p = i;
        for (size_t r = i; r < n; r++)
            if (fabs(a[r * n + i]) > fabs(a[p * n + i])) p = r;
        for (size_t j = 0; j < n; j++) {
            double t = a[i * n + j], u = out[i * n + j];
            a[i * n + j] = a[p * n + j], a[p * n + j] = t;
            out[i * n + j] = out[p * n + j], out[p * n + j] = u;
        }
        double d = a[i * n + i];
        for (size_t j = 0; j < n; j++) a[i * n + j] /= d, out[i * n + j] /= d;
        for (size_t r = 0; r < n; r++) {
            double m = a[r * n + i];
            for (size_t j = 0; r != i && j < n; j++) a[r * n + j] -= m * a[i * n + j], out[r * n + j] -= m * out[i * n + j];
        }
    }
}

struct textbook {
    size_t rows, n, group;
    int bits;
    bool f16, act_order;
    double damp;
};

// out [rows, n]: quantised weights. H symmetric [n, n].
static void textbook(const struct textbook *t, const float *weights, const float *hessian, double *out)
{
    const size_t n = t->n, group = t->group != 0 ? t->group : n;
    double *a = malloc(n * n * sizeof *a), *first = malloc(n * n * sizeof *first), *inverse = malloc(n * n * sizeof *inverse), *x = malloc(n * sizeof *x), mean = 0;
    size_t *order = malloc(n * sizeof *order);
    float *span = malloc(n * sizeof *span), *scale = malloc(n * sizeof *scale);
    int8_t *codes = malloc(n);
    for (size_t i = 0; i < n * n; i++) a[i] = hessian[i];
    for (size_t i = 0; i < n; i++) {
        if (hessian[i * n + i] == 0) a[i * n + i] = 1;
        mean += a[i * n + i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) { // insertion, stable
        size_t at = i;
        for (; t->act_order && at > 0 && a[order[at - 1] * n + order[at - 1]] < a[i * n + i]; at--) order[at] = order[at - 1];
        order[at] = i;
    }
    for (size_t i = 0; i < n; i++) a[i * n + i] += t->damp * mean;
    invert(n, a, first);
    for (size_t r = 0; r < t->rows; r++) {
        memcpy(inverse, first, n * n * sizeof *inverse);
        for (size_t j = 0; j < n; j++) x[j] = hessian[j * n + j] == 0 ? 0 : weights[r * n + j];
        bool seen[256] = {false};
        for (size_t i = 0; i < n; i++) {
            size_t c = order[i], g = c / group;
            if (!seen[g]) {
                rs_clip clip = {.bits = t->bits, .steps = 80, .scale_f16 = t->f16};
                for (size_t j = 0; j < group; j++) span[j] = (float)x[g * group + j];
                scale[g] = rs_clip_span(&clip, group, span, codes, NULL);
                seen[g] = true;
            }
            double top = (1 << (t->bits - 1)) - 1, q = rint(x[c] / (double)scale[g]);
            q = (q < -top - 1 ? -top - 1 : q > top ? top : q) * (double)scale[g];
            double e = (x[c] - q) / inverse[c * n + c];
            out[r * n + c] = q;
            for (size_t k = i + 1; k < n; k++) x[order[k]] -= e * inverse[c * n + order[k]];
            for (size_t k = i + 1; k < n; k++) // c leaves the inverse
                for (size_t l = i + 1; l < n; l++) inverse[order[k] * n + order[l]] -= inverse[order[k] * n + c] * inverse[c * n + order[l]] / inverse[c * n + c];
        }
    }
    free(a);
    free(first);
    free(inverse);
    free(x);
    free(order);
    free(span);
    free(scale);
    free(codes);
}

// Sum over rows of E (H + add I) E^T with E = q - w, dead columns left out.
static double proxy(size_t rows, size_t n, const float *weights, const double *q, const float *hessian, double add)
{
    double sum = 0;
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) {
                double h = hessian[i * n + j] + (i == j && hessian[i * n + i] != 0 ? add : 0);
                sum += (q[r * n + i] - weights[r * n + i]) * h * (q[r * n + j] - weights[r * n + j]);
            }
    return sum;
}

// ---- one matrix

static rs_tensor matrix(uint64_t rows, uint64_t cols)
{
    rs_tensor t = {.role = RS_ROLE_Q, .layer = 0, .expert = -1, .dtype = RS_F32, .enc = RS_ENC_RAW, .n_dims = 2, .shape = {rows, cols}};
    strcpy(t.name, "model.layers.0.self_attn.q_proj.weight");
    return t;
}

static rs_scheme scheme(int bits, uint64_t group, rs_dtype scale)
{
    rs_scheme s = rs_scheme_default();
    s.w_bits = bits;
    s.group = group;
    s.scale_dtype = scale;
    return s;
}

// A random Hessian with strong correlations and a few large channels; dead: a channel that never fires.
static void make(int64_t dead)
{
    static float x[TOKENS * COLS];
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t j = 0; j < COLS; j++) {
            double v = rs_random_normal(3, t, j) + 2 * rs_random_normal(4, t, j / 7) + 0.5;
            x[t * COLS + j] = (int64_t)j == dead ? 0 : (float)(j % 31 == 5 ? 9 * v : v);
        }
    memset(H, 0, sizeof H);
    rs_kernels_reference()->gemm_tn(COLS, COLS, TOKENS, x, COLS, x, COLS, 0, H, COLS);
    for (size_t i = 0; i < ROWS * COLS; i++) w[i] = (float)(0.1 * rs_random_normal(5, 0, i) * (1 + (i % 17 == 3)));
}

// Quantises w on H into *payload (malloc'ed); false with a failed check.
static bool run(const rs_scheme *s, const rs_gptq_options *o, rs_tensor *packed, uint8_t **payload, rs_pack_error *cost, double *loss)
{
    rs_tensor t = matrix(ROWS, COLS);
    rs_error e = {0};
    rs_gptq_factor f;
    *payload = NULL;
    rs_status st = rs_quantize_layout(s, &t, packed, &e);
    if (st == RS_OK) *payload = aligned_alloc(64, (size_t)(packed->payload_len + 63) / 64 * 64);
    rs_status factored = rs_gptq_factorise(&f, o, COLS, H, &e);
    if (st == RS_OK) st = factored;
    if (st == RS_OK) st = rs_gptq_pack(s, packed, o, &f, w, *payload, cost, loss, &e);
    rs_gptq_factor_free(&f);
    return CHECKF(st == RS_OK, "%s", e.text);
}

static double decoded(const rs_tensor *packed, const uint8_t *payload, double *out)
{
    static float back[ROWS * COLS];
    double error = 0;
    CHECK(rs_weights_rows(packed, payload, 0, ROWS, back, NULL) == RS_OK);
    for (size_t i = 0; i < ROWS * COLS; i++) {
        out[i] = back[i];
        error += (out[i] - (double)w[i]) * (out[i] - (double)w[i]);
    }
    return error;
}

static void against_textbook(int bits, uint64_t group, rs_dtype scale, bool act_order, size_t block)
{
    static double got[ROWS * COLS], want[ROWS * COLS], nearest[ROWS * COLS];
    char what[100];
    snprintf(what, sizeof what, "%d bits, group %d, %s scales, act-order %d, block %zu", bits, (int)group, rs_dtype_name(scale), act_order, block);
    rs_scheme s = scheme(bits, group, scale);
    rs_gptq_options o = {.damp = 0.01, .block = block, .act_order = act_order};
    rs_tensor packed;
    uint8_t *payload, *again;
    rs_pack_error cost;
    double loss, mean = 0;
    rs_threads_set(1);
    if (!run(&s, &o, &packed, &payload, &cost, &loss)) return;
    rs_threads_set(3);
    if (run(&s, &o, &packed, &again, NULL, NULL)) CHECKF(memcmp(payload, again, (size_t)packed.payload_len) == 0, "%s: bytes depend on the threads", what);
    CHECKF(rs_values_check(&packed, payload, &(rs_error){0}) == RS_OK, "%s: bad values", what);
    double error = decoded(&packed, payload, got);
    CHECKF(fabs(error - cost.error) <= 1e-6 * error && cost.weights == ROWS * COLS, "%s: error %g, reported %g", what, error, cost.error);

    struct textbook t = {ROWS, COLS, group, bits, scale == RS_F16, act_order, o.damp};
    textbook(&t, w, H, want);
    size_t other = 0;
    for (size_t i = 0; i < ROWS * COLS; i++) other += fabs(got[i] - want[i]) > 1e-6 * fabs(want[i]);
    CHECKF(other <= ROWS * COLS / 200, "%s: %zu of %d weights differ from the textbook", what, other, ROWS * COLS);
    for (size_t j = 0; j < COLS; j++) mean += (H[j * COLS + j] == 0 ? 1 : (double)H[j * COLS + j]) / COLS;
    double a = proxy(ROWS, COLS, w, got, H, 0), b = proxy(ROWS, COLS, w, want, H, 0), damped = proxy(ROWS, COLS, w, got, H, o.damp * mean);
    CHECKF(fabs(a - b) <= 1e-3 * b, "%s: loss %g, of the textbook %g", what, a, b);
    CHECKF(fabs(loss - damped) <= 1e-3 * damped, "%s: loss %g, reported %g", what, damped, loss);

    CHECK(rs_rtn_pack(&s, &packed, w, again, NULL, NULL) == RS_OK);
    decoded(&packed, again, nearest);
    double rtn = proxy(ROWS, COLS, w, nearest, H, 0);
    CHECKF(a < 0.8 * rtn, "%s: loss %g, rounding to nearest has %g", what, a, rtn);
    free(payload);
    free(again);
}

// Independent inputs leave nothing to make up for: the bytes of rounding to nearest.
static void identity(void)
{
    static const uint64_t group[] = {0, 32, 48};
    make(-1);
    for (size_t i = 0; i < COLS * COLS; i++) H[i] = i % (COLS + 1) == 0 ? 3 : 0;
    for (int bits = 2; bits <= 8; bits++)
        for (int k = 0; k < 3; k++) {
            rs_scheme s = scheme(bits, group[k], k == 1 ? RS_F16 : RS_F32);
            rs_gptq_options o = rs_gptq_default();
            o.block = 20;
            o.act_order = k == 2;
            rs_tensor packed;
            uint8_t *payload;
            if (!run(&s, &o, &packed, &payload, NULL, NULL)) return;
            uint8_t *nearest = malloc((size_t)packed.payload_len);
            CHECK(rs_rtn_pack(&s, &packed, w, nearest, NULL, NULL) == RS_OK);
            CHECKF(memcmp(payload, nearest, (size_t)packed.payload_len) == 0, "%d bits, group %d: not what rounding to nearest gives", bits, (int)group[k]);
            free(nearest);
            free(payload);
        }
}

// A channel that never fires gets zeros, and its weights, however large, do not reach the scales.
static void dead_columns(void)
{
    enum { DEAD = 40 };
    static double got[ROWS * COLS], want[ROWS * COLS];
    rs_scheme s = scheme(4, 0, RS_F32);
    rs_gptq_options o = rs_gptq_default();
    rs_tensor packed;
    uint8_t *payload;
    make(DEAD);
    for (size_t r = 0; r < ROWS; r++) w[r * COLS + DEAD] = 50;
    if (!run(&s, &o, &packed, &payload, NULL, NULL)) return;
    decoded(&packed, payload, got);
    struct textbook t = {.rows = ROWS, .n = COLS, .bits = 4, .damp = o.damp};
    textbook(&t, w, H, want);
    bool zeros = true, same = true;
    for (size_t r = 0; r < ROWS; r++)
        for (size_t j = 0; j < COLS; j++) {
            zeros = zeros && (j != DEAD || got[r * COLS + j] == 0);
            same = same && fabs(got[r * COLS + j] - want[r * COLS + j]) <= 1e-6;
        }
    CHECK(zeros);
    CHECK(same);
    free(payload);
    against_textbook(3, 32, RS_F32, true, 30);
}

static void factors(void)
{
    rs_gptq_options o = rs_gptq_default();
    rs_gptq_factor f;
    rs_error e = {0};
    float bad[4] = {1, 3, 3, 1}; // eigenvalues 4 and -2: needs a damp above 2
    CHECK(rs_gptq_factorise(&f, &o, 2, bad, &e) == RS_OK && f.raised == 3 && fabs(f.damp - 10) < 1e-9);
    rs_gptq_factor_free(&f);
    o.damp = 0.5;
    bad[1] = 1.4f; // 0.5 is enough
    CHECK(rs_gptq_factorise(&f, &o, 2, bad, &e) == RS_OK && f.raised == 0 && f.damp == 0.5 && f.U != NULL);
    double u = f.U[0], v = f.U[1], x = f.U[3]; // U^T U = [[1.5, 1.4], [1.4, 1.5]]^-1
    CHECK(f.U[2] == 0 && fabs(u * u - 1.5 / 0.29) < 1e-5 && fabs(u * v + 1.4 / 0.29) < 1e-5 && fabs(v * v + x * x - 1.5 / 0.29) < 1e-5);
    rs_gptq_factor_free(&f);
    bad[1] = 100;
    CHECK(rs_gptq_factorise(&f, &(rs_gptq_options){.damp = 0.01, .block = 8}, 2, bad, &e) == RS_E_VALUE && strstr(e.text, "cannot be factored") != NULL);
    rs_gptq_factor_free(&f);
    bad[1] = NAN;
    CHECK(rs_gptq_factorise(&f, &o, 2, bad, &(rs_error){0}) == RS_E_VALUE);
    rs_gptq_factor_free(&f);

    rs_scheme s = scheme(4, 0, RS_F32);
    rs_tensor t = matrix(ROWS, COLS), packed;
    make(-1);
    o = rs_gptq_default();
    CHECK(rs_gptq_factorise(&f, &o, COLS, H, &e) == RS_OK || e.status == RS_E_VALUE);
    CHECK(rs_quantize_layout(&s, &t, &packed, &(rs_error){0}) == RS_OK);
    uint8_t *payload = malloc((size_t)packed.payload_len);
    w[11 * COLS + 95] = INFINITY;
    w[17 * COLS] = NAN;
    e = (rs_error){0};
    CHECKF(rs_gptq_pack(&s, &packed, &o, &f, w, payload, NULL, NULL, &e) == RS_E_VALUE && strstr(e.text, "row 11") != NULL, "%s", e.text);
    free(payload);
    rs_gptq_factor_free(&f);
}

// ---- a model

enum { SAMPLES = 5, CTX = 14, SKIP = 3, IDS = 80 };

// The Hessian of one input, summed in fp64 from what a tap sees.
struct watch {
    rs_tap tap;
    size_t n;
    double *sum;
};

static void on_tap(void *context, rs_tap tap, size_t rows, size_t cols, const float *x, size_t ld)
{
    struct watch *h = context;
    if (tap != h->tap) return;
    h->n = cols;
    for (size_t t = 0; t < rows; t++)
        for (size_t i = 0; i < cols; i++)
            for (size_t j = 0; j < cols; j++) h->sum[i * cols + j] += (double)x[t * ld + i] * (double)x[t * ld + j];
}

// Quantises the matrix t of the original again, on H, and compares its codes with those of the file.
static void same_matrix(const char *what, const rs_mapped *from, const rs_mapped *to, const char *name, const rs_pack_options *o, const rs_gptq_options *g, const struct watch *h)
{
    const rs_tensor *t = rs_mapped_find(from, name), *u = rs_mapped_find(to, name);
    if (!CHECK(t != NULL && u != NULL && rs_enc_bits(u->enc) == o->scheme.w_bits && h->n == t->shape[1])) return;
    float *x = malloc(h->n * h->n * sizeof *x), *values[2];
    uint64_t n = t->shape[0] * t->shape[1];
    uint8_t *payload = malloc((size_t)u->payload_len);
    rs_gptq_factor f;
    size_t other = 0;
    for (size_t i = 0; i < h->n * h->n; i++) x[i] = (float)h->sum[i];
    for (int i = 0; i < 2; i++) values[i] = malloc((size_t)n * sizeof(float));
    CHECK(rs_gptq_factorise(&f, g, h->n, x, NULL) == RS_OK);
    CHECK(rs_gptq_pack(&o->scheme, u, g, &f, rs_weights_direct(t, rs_mapped_payload(from, t)), payload, NULL, NULL, NULL) == RS_OK);
    CHECK(rs_weights_rows(u, payload, 0, t->shape[0], values[0], NULL) == RS_OK && rs_weights_rows(u, rs_mapped_payload(to, u), 0, t->shape[0], values[1], NULL) == RS_OK);
    for (uint64_t i = 0; i < n; i++) other += fabsf(values[0][i] - values[1][i]) > 1e-5f;
    CHECKF(other <= n / 50, "%s: %s: %zu of %d weights are not those that its inputs ask for", what, name, other, (int)n);
    free(x);
    free(payload);
    free(values[0]);
    free(values[1]);
    rs_gptq_factor_free(&f);
}

// In order: what a matrix was calibrated on is what it reads in the network that came out. In one pass: what it reads where only the layers before are quantised.
static void inspect(const char *what, const char *from_path, const char *to_path, const int32_t *ids, const rs_pack_options *o, const rs_gptq_model_options *g)
{
    static const struct {
        const char *name;
        rs_tap tap;
    } part[] = {{"self_attn.q_proj", RS_TAP_QKV_RAW}, {"self_attn.k_proj", RS_TAP_QKV_RAW}, {"self_attn.v_proj", RS_TAP_QKV_RAW}, {"self_attn.o_proj", RS_TAP_O_RAW},
                {"mlp.gate_proj", RS_TAP_GATE_UP_RAW}, {"mlp.up_proj", RS_TAP_GATE_UP_RAW}, {"mlp.down_proj", RS_TAP_DOWN_RAW}};
    rs_mapped *m[2] = {NULL, NULL};
    rs_network *n[2] = {NULL, NULL};
    rs_error e = {0};
    if (!CHECKF(stages_network(from_path, NULL, &m[0], &n[0], &e) == RS_OK && stages_network(to_path, NULL, &m[1], &n[1], &e) == RS_OK, "%s: %s", what, e.text)) return;
    const rs_config *c = rs_network_config(n[0]);
    float *x = malloc(SAMPLES * CTX * (size_t)c->d * sizeof *x), *copy = malloc(CTX * (size_t)c->d * sizeof *copy);
    const size_t size = CTX * (size_t)c->d;
    CHECK(rs_network_embed(n[1], SAMPLES * CTX, ids + SKIP, x, &e) == RS_OK);
    for (uint64_t i = 0; i < c->L; i++) {
        const rs_decoder_layer *layer;
        rs_network *measured = n[g->one_pass ? 0 : 1];
        CHECK(rs_network_load(measured, i, &layer, &e) == RS_OK);
        for (size_t p = 0; p < sizeof part / sizeof part[0]; p++) {
            char name[128];
            struct watch h = {.tap = part[p].tap, .sum = calloc((size_t)(c->f * c->f), sizeof(double))};
            for (size_t s = 0; s < SAMPLES; s++) {
                memcpy(copy, x + s * size, size * sizeof *x);
                CHECK(rs_network_forward(measured, CTX, copy, on_tap, &h, &e) == RS_OK);
            }
            snprintf(name, sizeof name, "model.layers.%d.%s.weight", (int)i, part[p].name);
            same_matrix(what, m[0], m[1], name, o, &g->gptq, &h);
            free(h.sum);
        }
        CHECK(rs_network_load(n[1], i, &layer, &e) == RS_OK);
        for (size_t s = 0; s < SAMPLES; s++) CHECK(rs_network_forward(n[1], CTX, x + s * size, NULL, NULL, &e) == RS_OK);
    }
    free(x);
    free(copy);
    for (int i = 0; i < 2; i++) {
        rs_network_close(n[i]);
        rs_mapped_close(m[i]);
    }
}

static void quantised_model(const char *what, const char *from, const tiny_spec *s, bool one_pass, bool act_order, uint64_t group)
{
    char out[128];
    rs_mapped *m = NULL;
    rs_error e = {0};
    rs_gptq_model *model = NULL;
    int32_t ids[IDS];
    tiny_ids(s, IDS, ids);
    tiny_path(out, sizeof out, "gptq.rsq");
    rs_pack_options o = stages_pack_default();
    o.scheme = scheme(4, group, RS_F32);
    o.scheme.rest_keep = true;
    rs_gptq_model_options g = {.scheme = o.scheme, .gptq = rs_gptq_default(), .one_pass = one_pass};
    g.gptq.block = 10;
    g.gptq.act_order = act_order;
    rs_calibration_text text = {.ids = ids, .count = IDS, .samples = SAMPLES, .ctx = CTX, .skip = SKIP};
    if (!CHECKF(rs_mapped_open(&m, from, &e) == RS_OK && rs_gptq_model_open(&model, m, &text, &g, &e) == RS_OK, "%s: %s", what, e.text)) return;
    o.payload = rs_gptq_model_payload;
    o.source = model;
    if (CHECKF(stages_pack(from, out, &o, &e) == RS_OK, "%s: %s", what, e.text)) inspect(what, from, out, ids, &o, &g);
    rs_gptq_model_close(model);
    rs_mapped_close(m);
}

static void model_refusals(const char *from, const tiny_spec *s)
{
    char out[128];
    rs_mapped *m = NULL;
    rs_error e = {0};
    rs_gptq_model *model;
    int32_t ids[IDS];
    tiny_ids(s, IDS, ids);
    rs_gptq_model_options g = {.scheme = scheme(4, 0, RS_F32), .gptq = rs_gptq_default()};
    rs_calibration_text text = {.ids = ids, .count = IDS, .samples = 5, .ctx = 16, .skip = 1};
    if (!CHECK(rs_mapped_open(&m, from, &e) == RS_OK)) return;
    CHECK(rs_gptq_model_open(&model, m, &text, &g, &e) == RS_USAGE && model == NULL && strstr(e.text, "80 tokens") != NULL && strstr(e.text, "81") != NULL);
    text.skip = 0;
    e = (rs_error){0};
    CHECKF(rs_gptq_model_open(&model, m, &text, &g, &e) == RS_OK, "%s", e.text);
    rs_tensor odd = *rs_mapped_find(m, "model.layers.0.self_attn.q_proj.weight"), packed;
    CHECK(rs_quantize_layout(&g.scheme, &odd, &packed, &e) == RS_OK);
    uint8_t *payload = malloc((size_t)packed.payload_len);
    CHECK(rs_gptq_model_payload(model, &packed, payload, &e) == RS_OK);
    packed.layer = 99;
    CHECK(rs_gptq_model_payload(model, &packed, payload, &(rs_error){0}) == RS_E_TENSOR);
    packed.layer = 0;
    packed.role = RS_ROLE_K;
    CHECK(rs_gptq_model_payload(model, &packed, payload, &(rs_error){0}) == RS_E_TENSOR);
    free(payload);
    rs_gptq_model_close(model);
    ids[7] = (int32_t)s->V;
    CHECK(rs_gptq_model_open(&model, m, &text, &g, &(rs_error){0}) == RS_E_VALUE);
    ids[7] = 0;
    g.scheme.group = 5;
    CHECK(rs_gptq_model_open(&model, m, &text, &g, &(rs_error){0}) == RS_USAGE);
    rs_mapped_close(m);
    rs_pack_options o = stages_pack_default();
    tiny_path(out, sizeof out, "packed.rsq");
    g.scheme.group = 0;
    CHECK(stages_pack(from, out, &o, &e) == RS_OK && rs_mapped_open(&m, out, &e) == RS_OK);
    CHECK(rs_gptq_model_open(&model, m, &text, &g, &e) == RS_USAGE && strstr(e.text, "packed already") != NULL);
    rs_mapped_close(m);
}

static void models(void)
{
    char model[128], rot[128], fused[128], cut[128];
    rs_error e = {0};
    tiny_spec s = tiny_default();
    s.L = 2;
    s.biases = true;
    tiny_path(model, sizeof model, "model.rsq");
    tiny_path(rot, sizeof rot, "rot.rsq");
    tiny_path(fused, sizeof fused, "fused.rsq");
    tiny_path(cut, sizeof cut, "cut.rsq");
    if (!CHECK(tiny_model(model, &s) && tiny_rotations(rot, &s, TINY_DENSE, 0.4, 0, 3, model))) return;
    if (!CHECKF(tiny_fuse(model, rot, fused, (rs_fuse_options){.rotate = true, .online = true}, &e) == RS_OK && stages_residual(fused, rot, cut, 8, &e) == RS_OK, "%s", e.text)) return;
    quantised_model("plain", model, &s, false, false, 0);
    quantised_model("junctions, in order", cut, &s, false, false, 0);
    quantised_model("junctions, one pass", cut, &s, true, false, 0);
    quantised_model("dense junctions, groups, act-order", fused, &s, false, true, 16);
    // a policy that the input carries already does not reach the calibration
    rs_pack_options policy = {.scheme = {.w_bits = 16, .rest_keep = true}, .a = {.bits = 3, .clip = 1}, .kv = {.bits = 2, .clip = 1}};
    if (CHECKF(stages_pack(cut, rot, &policy, &e) == RS_OK, "%s", e.text)) quantised_model("a policy before", rot, &s, false, false, 0);
    model_refusals(model, &s);
}

int main(void)
{
    rs_threads_set(2);
    make(-1);
    for (int bits = 3; bits <= 4; bits++)
        for (int act_order = 0; act_order < 2; act_order++) {
            against_textbook(bits, 0, RS_F32, act_order, 128);
            against_textbook(bits, 0, RS_F16, act_order, 36);
            against_textbook(bits, 8, RS_F32, act_order, 36);  // groups across the ends of blocks
            against_textbook(bits, 48, RS_F32, act_order, 20); // and longer than them
        }
    against_textbook(8, 0, RS_F32, false, 1);
    against_textbook(2, 0, RS_F32, false, 7);
    identity();
    dead_columns();
    factors();
    rs_threads_set(2);
    models();
    return check_report();
}
