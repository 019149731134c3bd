// SPDX-License-Identifier: Apache-2.0
// The packing stage from file to file: every width, grouping and type of scales, what the head says, what is left alone, and what is refused.
#include "quantize/pack.h"

#include <math.h>

#include "formats/cli.h"
#include "inspect/verify.h"
#include "quantize/cost_map.h"
#include "tests/stages.h"
#include "transforms/weights.h"

static char model[128], out[128], again[128], changed[128];

static bool packs(rs_role r) { return r >= RS_ROLE_Q && r <= RS_ROLE_DOWN; }

// Whole, with good values.
static void verified(const char *path, const char *what)
{
    rs_in *in = NULL;
    rs_verified v;
    rs_error e = {0};
    rs_verify_options o = {.values = true, .strict = true};
    bool ok = rs_in_open(&in, path, &e) == RS_OK && rs_verify_stream(in, &o, &v, &e) == RS_OK;
    CHECKF(ok, "%s: %s", what, e.text);
    rs_in_close(in);
}

static float *decode(const rs_mapped *m, const rs_tensor *t, uint64_t *n)
{
    uint64_t rows, cols;
    rs_weights_shape(t, &rows, &cols);
    float *w = malloc(rows * cols * sizeof *w + 1);
    *n = rows * cols;
    CHECK(rs_weights_rows(t, rs_mapped_payload(m, t), 0, rows, w, NULL) == RS_OK);
    return w;
}

// Behind each packed matrix stands what rounding cost, cell by cell: here counted out from the two files.
static void mapped_cost(const rs_mapped *b, const rs_tensor *u, const float *x, const float *y, size_t stat, const char *what)
{
    const uint8_t *payload;
    const rs_stat_head *h = rs_mapped_stat(b, stat, &payload);
    const uint64_t rows = u->shape[0], cols = u->shape[1], group = u->group > 0 ? u->group : cols, each = rs_map_uint(h->values, "rows_each", 0);
    if (!CHECKF(strcmp(h->name, u->name) == 0 && strcmp(h->of, "error") == 0 && h->n_parts == 3 && each > 0, "%s: %s of %s stands behind %s", what, h->of, h->name, u->name)) return;
    const uint64_t n = h->parts[0].shape[0], G = h->parts[0].shape[1];
    CHECKF(n == (rows + each - 1) / each && G == cols / group && (n * G * 12 <= u->payload_len / RS_COST_SHARE || n * G <= RS_COST_LEAST || n == 1) && (each == 1 || (rows + each / 2 - 1) / (each / 2) * G * 12 > u->payload_len / RS_COST_SHARE), "%s: %s has %d x %d cells", what, u->name, (int)n, (int)G);
    const float *sig = (const float *)(const void *)(payload + h->parts[0].off), *err = (const float *)(const void *)(payload + h->parts[1].off), *scale = (const float *)(const void *)(rs_mapped_payload(b, u) + rs_tensor_part(u, "scales")->off);
    const uint32_t *clip = (const uint32_t *)(const void *)(payload + h->parts[2].off);
    const int top = 1 << (rs_enc_bits(u->enc) - 1);
    const bool wide = rs_tensor_part(u, "scales")->dtype == RS_F32;
    double signal = 0, error = 0, worst = INFINITY;
    uint64_t clipped = 0, at = 0;
    bool same = true;
    for (uint64_t c = 0; c < n * G; c++) {
        double s = 0, d = 0;
        uint64_t ends = 0;
        for (uint64_t r = c / G * each; r < (c / G + 1) * each && r < rows; r++) {
            double span_s = 0, span_d = 0;
            for (uint64_t j = c % G * group; j < (c % G + 1) * group; j++) {
                const double v = x[r * cols + j], w = y[r * cols + j];
                span_s += v * v;
                span_d += (w - v) * (w - v);
                if (wide) ends += w / (double)scale[r * G + c % G] > top - 1.5 || w / (double)scale[r * G + c % G] < 0.5 - top;
            }
            s += span_s;
            d += span_d;
            if (10 * log10(span_s / span_d) < worst - 1e-9 || (10 * log10(span_s / span_d) < worst + 1e-9 && r * G + c % G < at)) worst = 10 * log10(span_s / span_d), at = r * G + c % G;
        }
        same = same && fabs(s - (double)sig[c]) <= 1e-6 * s && fabs(d - (double)err[c]) <= 1e-5 * d && (!wide || ends == clip[c]);
        signal += s;
        error += d;
        clipped += clip[c];
    }
    CHECKF(same, "%s: %s: a cell of the map is wrong", what, u->name);
    CHECK(fabs(rs_map_f64(h->values, "signal", 0) - signal) <= 1e-9 * signal && fabs(rs_map_f64(h->values, "error", -1) - error) <= 1e-5 * error && rs_map_uint(h->values, "clipped", 0) == clipped);
    CHECK(fabs(rs_map_f64(h->values, "sqnr", 0) - 10 * log10(signal / error)) < 1e-4 && fabs(rs_map_f64(h->values, "worst_sqnr", 0) - worst) < 1e-4 && rs_map_uint(h->values, "worst_group", rows * G) == at);
    CHECK(fabs(rs_map_f64(h->values, "clip", -1) - (double)clipped / (double)(rows * cols)) < 1e-12);
}

struct sums {
    double signal, error;
    uint64_t weights;
    int calls;
};

static void on_packed(void *context, const rs_tensor *t, const rs_pack_error *cost)
{
    struct sums *s = context;
    s->signal += cost->signal;
    s->error += cost->error;
    s->weights += cost->weights;
    s->calls++;
    CHECK(rs_enc_bits(t->enc) != 0 && cost->clipped <= cost->weights);
}

// Each tensor of the packed file against the one it came from; returns the relative error of the packed ones.
static double compare(const rs_pack_options *o, const char *from, const char *to, const char *what, struct sums *total)
{
    rs_mapped *a = NULL, *b = NULL;
    rs_error e = {0};
    struct sums s = {0};
    if (!CHECKF(rs_mapped_open(&a, from, &e) == RS_OK && rs_mapped_open(&b, to, &e) == RS_OK, "%s", e.text)) return 1e9;
    CHECK(rs_mapped_count(a) == rs_mapped_count(b));
    size_t stats = 0;
    for (size_t i = 0; i < rs_mapped_count(a) && i < rs_mapped_count(b); i++) {
        const rs_tensor *t = rs_mapped_tensor(a, i), *u = rs_mapped_tensor(b, i);
        CHECKF(strcmp(t->name, u->name) == 0 && t->role == u->role && t->n_xf == u->n_xf, "%s: tensor %d is %s, was %s", what, (int)i, u->name, t->name);
        bool packed = packs(t->role) && o->scheme.w_bits != 16, rest = (t->role == RS_ROLE_EMBED || t->role == RS_ROLE_HEAD) && !o->scheme.rest_keep;
        if (!packed && !rest) {
            CHECKF(u->enc == RS_ENC_RAW && u->dtype == t->dtype && u->payload_len == t->payload_len && memcmp(rs_mapped_payload(a, t), rs_mapped_payload(b, u), t->payload_len) == 0, "%s: %s changed", what, t->name);
            continue;
        }
        CHECKF(packed ? rs_enc_bits(u->enc) == o->scheme.w_bits && u->group == o->scheme.group && rs_tensor_part(u, "scales")->dtype == o->scheme.scale_dtype : u->enc == RS_ENC_RAW && u->dtype == o->scheme.rest,
               "%s: %s has another form", what, t->name);
        uint64_t n, k;
        float *x = decode(a, t, &n), *y = decode(b, u, &k);
        double tol = o->scheme.rest == RS_F16 ? 0x1p-11 : o->scheme.rest == RS_BF16 ? 0x1p-8 : 0;
        bool near = n == k;
        for (uint64_t j = 0; j < n && near; j++) {
            s.signal += packed ? (double)x[j] * x[j] : 0;
            s.error += packed ? ((double)x[j] - y[j]) * ((double)x[j] - y[j]) : 0;
            near = packed || fabs((double)x[j] - y[j]) <= tol * fabs((double)x[j]) + 0x1p-25;
        }
        s.weights += packed ? n : 0;
        CHECKF(near, "%s: %s is not rounded to nearest", what, t->name);
        if (packed && CHECK(stats < rs_mapped_stats(b))) mapped_cost(b, u, x, y, stats++, what);
        free(x);
        free(y);
    }
    CHECK(stats == rs_mapped_stats(b));
    const rs_plan *p = &rs_mapped_head(b)->plan;
    CHECK(p->a.bits == o->a.bits && p->a.sym == o->a.sym && p->a.clip == o->a.clip && p->a.group == o->a.group);
    CHECK(p->kv.bits == o->kv.bits && p->kv.sym == o->kv.sym && p->kv.clip == o->kv.clip && p->kv.group == o->kv.group && p->r4.on == rs_mapped_head(a)->plan.r4.on);
    rs_mapped_close(a);
    rs_mapped_close(b);
    if (total->calls > 0) CHECKF(total->weights == s.weights && fabs(total->error - s.error) <= 1e-6 * s.error && fabs(total->signal - s.signal) <= 1e-6 * s.signal, "%s: the cost told is not the cost", what);
    return s.signal > 0 ? sqrt(s.error / s.signal) : 0;
}

static double pack(const rs_pack_options *options, const char *from, const char *what)
{
    rs_pack_options o = *options;
    struct sums told = {0};
    rs_error e = {0};
    o.packed = on_packed;
    o.context = &told;
    rs_threads_set(2);
    if (!CHECKF(stages_pack(from, out, &o, &e) == RS_OK, "%s: %s", what, e.text)) return 1e9;
    verified(out, what);
    return compare(&o, from, out, what, &told);
}

static void widths(const tiny_spec *s)
{
    double before = 1;
    for (int bits = 2; bits <= 8; bits++)
        for (int group = 0; group <= 16; group += 16)
            for (int half = 0; half < 2; half++) {
                char what[64];
                rs_pack_options o = stages_pack_default();
                o.scheme.w_bits = bits;
                o.scheme.group = (uint64_t)group;
                o.scheme.scale_dtype = half ? RS_F16 : RS_F32;
                snprintf(what, sizeof what, "%d bits, group %d, %s scales", bits, group, half ? "f16" : "f32");
                double x = pack(&o, model, what);
                CHECKF(x > 0 && x < before, "%s: relative error %g, with a bit less %g", what, x, before);
                if (group == 16 && half == 1) before = x * 1.3;
            }
    (void)s;
}

static void policies(void)
{
    rs_pack_options o = stages_pack_default();
    o.a = (rs_act){.bits = 4, .sym = true, .clip = 0.9, .group = 16};
    o.kv = (rs_act){.bits = 3, .clip = 0.95, .group = 4};
    (void)pack(&o, model, "policy");
    o.scheme.rest = RS_BF16;
    (void)pack(&o, model, "rest in bf16");
    if (CHECK(rename(out, changed) == 0)) {
        rs_recipe *leave = NULL; // packed by the stage before
        static const char json[] = "{\"rules\": [{\"leave\": true}]}";
        rs_pack_options widen = o;
        CHECK(rs_recipe_parse(&leave, json, sizeof json - 1, NULL) == RS_OK);
        widen.recipe = leave;
        widen.scheme.rest = RS_F32;
        rs_mapped *a = NULL, *b = NULL;
        if (CHECK(stages_pack(changed, again, &widen, NULL) == RS_OK && rs_mapped_open(&a, changed, NULL) == RS_OK && rs_mapped_open(&b, again, NULL) == RS_OK)) {
            uint64_t n, k;
            const rs_tensor *wide = rs_mapped_find(b, "model.embed_tokens.weight");
            float *x = decode(a, rs_mapped_find(a, "model.embed_tokens.weight"), &n), *y = decode(b, wide, &k);
            CHECKF(wide->dtype == RS_F32 && n == k && memcmp(x, y, (size_t)n * sizeof *x) == 0, "bf16 to f32 changes values");
            free(x);
            free(y);
        }
        rs_mapped_close(a);
        rs_mapped_close(b);
        rs_recipe_free(leave);
    }
    o.scheme.rest_keep = true;
    o.scheme.clip_steps = 1;
    (void)pack(&o, model, "rest kept, no clip search");
    o.scheme.w_bits = 16;
    CHECK(pack(&o, model, "policy only") == 0);
    rs_error e = {0};
    // what was packed to 16 bits may be packed later, and the policy is that of the last stage
    CHECKF(rename(out, changed) == 0 && stages_pack(changed, out, &(rs_pack_options){.scheme = rs_scheme_default(), .a = {.bits = 8, .clip = 1}, .kv = {.bits = 16, .clip = 1}}, &e) == RS_OK, "%s", e.text);
    rs_mapped *m = NULL;
    if (CHECK(rs_mapped_open(&m, out, &e) == RS_OK)) CHECK(rs_mapped_head(m)->plan.a.bits == 8 && rs_mapped_head(m)->plan.kv.bits == 16);
    rs_mapped_close(m);
    // a fused model keeps its online rotations
    if (CHECKF(tiny_fuse(model, NULL, changed, (rs_fuse_options){.rotate = true, .online = true, .seed = 1}, &e) == RS_OK, "%s", e.text)) (void)pack(&o, changed, "fused");
}

static void same_bytes(void)
{
    static const int threads[] = {1, 2, 8};
    char *a = NULL, *b = NULL;
    size_t n = 0, k = 0;
    rs_pack_options o = stages_pack_default();
    rs_error e = {0};
    o.scheme.w_bits = 3;
    for (int i = 0; i < 3; i++) {
        rs_threads_set(threads[i]);
        if (!CHECKF(stages_pack(model, i == 0 ? out : again, &o, &e) == RS_OK, "%s", e.text)) return;
        if (i == 0) continue;
        if (CHECK(rs_cli_slurp(out, 1 << 28, &a, &n, &e) == RS_OK && rs_cli_slurp(again, 1 << 28, &b, &k, &e) == RS_OK)) CHECKF(n == k && memcmp(a, b, n) == 0, "%d threads: other bytes", threads[i]);
        free(a);
        free(b);
    }
    rs_threads_set(2);
}

// ---- refusals

struct spot {
    const char *name;
    size_t at; // which f32
    float value;
};

static bool set_value(void *context, rs_tensor *t, uint8_t *payload)
{
    const struct spot *s = context;
    if (strcmp(t->name, s->name) == 0) memcpy(payload + 4 * s->at, &s->value, 4);
    return true;
}

static void refuse_value(struct spot s, const char *text)
{
    rs_error e = {0};
    rs_pack_options o = stages_pack_default();
    remove(out);
    if (!CHECKF(stages_edit(model, changed, set_value, &s, &e) == RS_OK, "%s", e.text)) return;
    rs_status st = stages_pack(changed, out, &o, &e);
    CHECKF(st == RS_E_VALUE && strstr(e.text, s.name) != NULL && strstr(e.text, text) != NULL, "%s: %s: %s", s.name, rs_status_name(st), e.text);
    CHECKF(remove(out) != 0, "a failure left its output");
}

static void refusals(const tiny_spec *s)
{
    rs_pack_options o = stages_pack_default();
    rs_error e = {0};
    if (!CHECKF(stages_pack(model, changed, &o, &e) == RS_OK, "%s", e.text)) return;
    CHECK(stages_pack(changed, out, &o, &e) == RS_USAGE && strstr(e.text, "packed already") != NULL);
    o.scheme.w_bits = 16;
    o.scheme.rest_keep = true;
    e = (rs_error){0};
    CHECKF(stages_pack(changed, out, &o, &e) == RS_OK, "a new policy for packed weights: %s", e.text);
    CHECK(tiny_rotations(changed, s, TINY_GLOBAL, 0, 0, 1, NULL) && stages_pack(changed, out, &o, &(rs_error){0}) == RS_USAGE);

    static const struct {
        uint64_t w, a, kv;
    } groups[] = {{5, 0, 0}, {32, 0, 0}, {0, 5, 0}, {0, 32, 0}, {0, 0, 3}, {0, 0, 16}};
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) { // 32 divides d but not f = 48
        o = stages_pack_default();
        o.scheme.group = groups[i].w;
        o.a.group = groups[i].a;
        o.kv.group = groups[i].kv;
        e = (rs_error){0};
        rs_status st = stages_pack(model, out, &o, &e);
        CHECKF(st == RS_USAGE && strstr(e.text, "does not divide") != NULL, "groups %d: %s: %s", (int)i, rs_status_name(st), e.text);
    }

    refuse_value((struct spot){"model.layers.1.self_attn.v_proj.weight", 37, NAN}, "NaN");
    refuse_value((struct spot){"model.layers.0.mlp.down_proj.weight", 5, -INFINITY}, "row 0");
    refuse_value((struct spot){"model.embed_tokens.weight", 33, 65520}, "f16");
    refuse_value((struct spot){"model.embed_tokens.weight", 33, -1e6f}, "bf16");
    struct spot fits = {"model.embed_tokens.weight", 33, 65519};
    o = stages_pack_default();
    e = (rs_error){0};
    CHECKF(stages_edit(model, changed, set_value, &fits, &e) == RS_OK && stages_pack(changed, out, &o, &e) == RS_OK, "%s", e.text);
    fits.value = 1e6f;
    o.scheme.rest = RS_BF16;
    CHECKF(stages_edit(model, changed, set_value, &fits, &e) == RS_OK && stages_pack(changed, out, &o, &e) == RS_OK, "%s", e.text);
}

int main(void)
{
    tiny_spec s = tiny_default();
    s.tied = false;
    tiny_path(model, sizeof model, "model.rsq");
    tiny_path(out, sizeof out, "out.rsq");
    tiny_path(again, sizeof again, "again.rsq");
    tiny_path(changed, sizeof changed, "changed.rsq");
    if (CHECK(tiny_model(model, &s))) {
        widths(&s);
        policies();
        same_bytes();
        refusals(&s);
    }
    return check_report();
}
