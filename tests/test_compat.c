// SPDX-License-Identifier: Apache-2.0
// Numerics of peers: what each makes of plans and networks; scales and codes of weights by their formulas; the patience of a search, which is the matrix's; when GPTQ looks for its scales.
#include <math.h>

#include "inspect/values.h"
#include "quantize/gptq.h"
#include "quantize/scales.h"
#include "tests/stages.h"
#include "tests/uniform.h"
#include "transforms/weights.h"

enum { ROWS = 11, COLS = 32 };
static const rs_peer all[] = {RS_PEER_SPINQUANT, RS_PEER_QUAROT, RS_PEER_COMPRESSED};

static void names(void)
{
    rs_peer peer = RS_PEER_NONE;
    for (size_t i = 0; i < 3; i++) CHECK(rs_compat_find(rs_compat_of(all[i])->name, &peer) && peer == all[i]);
    CHECK(rs_compat_find("compressed-tensors", &peer) && peer == RS_PEER_COMPRESSED);
    CHECK(!rs_compat_find("", &peer) && !rs_compat_find("SpinQuant", &peer) && !rs_compat_find("respin", &peer));
}

// ---- plans, and the networks that they make

static char model[512], packed[512];

struct want {
    rs_range q, o, k, v;
    size_t q_group, o_group;
    bool sym;
};

static void network(const char *what, const rs_pack_options *o, const struct want *w)
{
    rs_error e = {0};
    rs_mapped *m = NULL;
    rs_network *n = NULL;
    const rs_decoder_layer *l = NULL;
    rs_kv_cache cache = {.memory = NULL};
    bool ok = stages_pack(model, packed, o, &e) == RS_OK && stages_network(packed, rs_kernels_reference(), &m, &n, &e) == RS_OK && rs_network_load(n, 1, &l, &e) == RS_OK && rs_network_cache(n, 4, &cache, &e) == RS_OK;
    if (CHECKF(ok, "%s: %s", what, e.text)) {
        CHECKF(l->in_q.range == w->q && l->in_down.range == w->q && l->in_q.group == w->q_group && l->in_q.sym == w->sym, "%s: input of q: range %d, group %zu", what, (int)l->in_q.range, l->in_q.group);
        CHECKF(l->in_o.range == w->o && l->in_o.group == w->o_group, "%s: input of o: range %d, group %zu", what, (int)l->in_o.range, l->in_o.group);
        CHECKF(l->kv.range == w->k && l->v_range == w->v && cache.q.range == w->k && cache.v_range == w->v, "%s: K range %d, V range %d", what, (int)l->kv.range, (int)l->v_range);
        const bool ranged = w->q != RS_RANGE_ZERO || w->o != RS_RANGE_ZERO || w->k != RS_RANGE_ZERO || w->v != RS_RANGE_ZERO;
        CHECKF((rs_mapped_head(m)->incompat & RS_INCOMPAT_RANGE) == (ranged ? RS_INCOMPAT_RANGE : 0), "%s: incompat %u", what, rs_mapped_head(m)->incompat);
    }
    free(cache.memory);
    rs_network_close(n);
    rs_mapped_close(m);
}

static void plans(void)
{
    const rs_range ZERO = RS_RANGE_ZERO, FREE = RS_RANGE_FREE, HALF = RS_RANGE_HALF;
    const tiny_spec s = tiny_default(); // heads of 8
    rs_pack_options o = stages_pack_default();
    rs_error e = {0};
    rs_recipe *r = NULL;
    const char *rules = "{\"rules\": [{\"role\": \"o\", \"a_group\": 16}]}", *left = "{\"rules\": [{\"role\": \"o\", \"a_bits\": 16}]}", *turned = "{\"rules\": [{\"role\": \"o\", \"a_sym\": true}]}";
    if (!CHECK(tiny_model(model, &s))) return;
    network("respin, nothing quantised", &o, &(struct want){ZERO, ZERO, ZERO, ZERO, 0, 0, false});
    for (size_t i = 0; i < 3; i++) {
        o.scheme.peer = all[i];
        network("a peer, nothing quantised", &o, &(struct want){ZERO, ZERO, ZERO, ZERO, 0, 0, false});
    }
    o.a.bits = o.kv.bits = 4;
    o.scheme.peer = RS_PEER_NONE;
    network("respin", &o, &(struct want){ZERO, ZERO, ZERO, ZERO, 0, 0, false});
    o.scheme.peer = RS_PEER_QUAROT;
    network("quarot", &o, &(struct want){ZERO, ZERO, ZERO, FREE, 0, 0, false});
    o.scheme.peer = RS_PEER_SPINQUANT;
    network("spinquant", &o, &(struct want){ZERO, FREE, ZERO, FREE, 0, 8, false});
    o.a.group = 16;
    network("spinquant in groups", &o, &(struct want){FREE, FREE, ZERO, FREE, 16, 8, false});
    o.scheme.peer = RS_PEER_QUAROT;
    network("quarot in groups", &o, &(struct want){FREE, FREE, ZERO, FREE, 16, 16, false});
    o.a.sym = o.kv.sym = true;
    network("quarot, symmetric", &o, &(struct want){ZERO, ZERO, ZERO, ZERO, 16, 16, true});
    o.scheme.peer = RS_PEER_COMPRESSED;
    network("compressed-tensors in groups", &o, &(struct want){HALF, HALF, HALF, HALF, 16, 16, true});
    o.a = (rs_act){.bits = 4, .clip = 1};
    o.kv = o.a;
    o.scheme.peer = RS_PEER_SPINQUANT;
    const struct {
        const char *rules;
        struct want want;
    } recipes[] = {{rules, {ZERO, FREE, ZERO, FREE, 0, 16, false}}, {left, {ZERO, ZERO, ZERO, FREE, 0, 0, false}}, {turned, {ZERO, ZERO, ZERO, FREE, 0, 8, false}}};
    for (size_t i = 0; i < 3; i++) {
        if (!CHECKF(rs_recipe_parse(&r, recipes[i].rules, strlen(recipes[i].rules), &e) == RS_OK, "%s", e.text)) return;
        o.recipe = r;
        network(recipes[i].rules, &o, &recipes[i].want);
        rs_recipe_free(r);
    }
    // "mse" in a rule is the peer's search
    const char *clip = "{\"rules\": [{\"role\": \"k\", \"clip\": \"mse\"}]}";
    const rs_config names_of = {.L = 1};
    rs_tensor q, k;
    rs_scheme_matrix_at(&names_of, 0, &q);
    rs_scheme_matrix_at(&names_of, 1, &k);
    if (!CHECKF(rs_recipe_parse(&r, clip, strlen(clip), &e) == RS_OK, "%s", e.text)) return;
    for (size_t i = 0; i < 3; i++) {
        const rs_scheme base = {.w_bits = 4, .clip_steps = 1, .peer = all[i]};
        CHECK(rs_recipe_scheme(r, &base, &k).clip_steps == (all[i] == RS_PEER_COMPRESSED ? 20 : 80) && rs_recipe_scheme(r, &base, &q).clip_steps == 1);
    }
    rs_recipe_free(r);
}

// ---- weights

static float w[ROWS * COLS];

static float round_to(rs_dtype type, float x)
{
    const rs_kernels *k = rs_kernels_reference();
    uint16_t half;
    if (type == RS_F32) return x;
    (type == RS_F16 ? k->f32_to_f16 : k->f32_to_bf16)(1, &x, &half);
    (type == RS_F16 ? k->f16_to_f32 : k->bf16_to_f32)(1, &half, &x);
    return x;
}

static rs_tensor matrix(rs_dtype type)
{
    return (rs_tensor){.name = "model.layers.0.self_attn.q_proj.weight", .role = RS_ROLE_Q, .layer = 0, .expert = -1, .dtype = type, .enc = RS_ENC_RAW, .n_dims = 2, .shape = {ROWS, COLS}};
}

// Random rows in a type; one of zeros, one of tiny values.
static void fill(rs_dtype type)
{
    for (size_t i = 0; i < ROWS * COLS; i++) {
        const float u = uniform(), size = i / COLS == 7 ? 1e-5f : 1;
        w[i] = i / COLS == 5 ? 0 : round_to(type, size * u * u * u);
    }
}

// Packed by a scheme; the payload is the caller's.
static uint8_t *pack(const rs_scheme *s, const rs_gptq_factor *f, const rs_gptq_options *g, rs_tensor *to)
{
    rs_error e = {0};
    rs_tensor t = matrix(s->type);
    if (!CHECKF(rs_quantize_layout(s, &t, to, &e) == RS_OK, "%s", e.text)) return NULL;
    uint8_t *payload = aligned_alloc(64, (size_t)(to->payload_len + 63) / 64 * 64);
    rs_status st = f == NULL ? rs_rtn_pack(s, to, w, payload, NULL, &e) : rs_gptq_pack(s, to, g, f, w, payload, NULL, NULL, &e);
    CHECKF(st == RS_OK && rs_values_check(to, payload, &e) == RS_OK, "%s", e.text);
    return payload;
}

static float scale_of(const rs_tensor *t, const uint8_t *payload, size_t i)
{
    float s;
    memcpy(&s, payload + rs_tensor_part(t, "scales")->off + i * sizeof s, sizeof s);
    return s;
}

// Without a search: each scale and each value by the formulas of numerics.md 2.
static void formulas(rs_peer peer, int bits, uint64_t group, rs_dtype type)
{
    const rs_scheme s = {.w_bits = bits, .group = group, .scale_dtype = RS_F32, .clip_steps = 1, .peer = peer, .type = type};
    const bool half = peer == RS_PEER_COMPRESSED;
    const rs_dtype in = half || (peer == RS_PEER_SPINQUANT && group != 0) ? type : RS_F32;
    const float top = (float)((1 << (bits - 1)) - 1), eps = type == RS_F32 ? 0x1p-23f : type == RS_F16 ? 0x1p-10f : 0x1p-7f;
    const size_t span = group != 0 ? (size_t)group : COLS;
    rs_tensor t;
    rs_error e = {0};
    float back[ROWS * COLS];
    size_t wrong = 0;
    fill(type);
    uint8_t *payload = pack(&s, NULL, NULL, &t);
    if (payload == NULL || !CHECK(rs_weights_rows(&t, payload, 0, ROWS, back, &e) == RS_OK)) return;
    for (size_t at = 0; at < ROWS * COLS; at += span) {
        float max = half ? 0 : 1e-5f;
        for (size_t j = at; j < at + span; j++) max = fmaxf(max, fabsf(w[j]));
        float want = half ? round_to(in, max / (top + 0.5f)) : round_to(in, round_to(in, max) / top);
        if (half && max == 0) want = eps;
        const float got = scale_of(&t, payload, at / span);
        wrong += got != want;
        for (size_t j = at; j < at + span; j++) wrong += back[j] != want * fminf(fmaxf(rintf(round_to(in, w[j] / want)), -top - 1), top);
    }
    CHECKF(wrong == 0, "%s: %d bits, group %zu, %s: %zu wrong", rs_compat_of(peer)->name, bits, span, rs_dtype_name(type), wrong);
    free(payload);
}

// With one: no candidate of the grid is better than the scale that was chosen, and it is one of them.
static void searches(rs_peer peer, int bits)
{
    rs_scheme s = {.w_bits = bits, .scale_dtype = RS_F32, .clip_steps = rs_compat_of(peer)->mse, .peer = peer};
    rs_tensor t;
    fill(RS_F32);
    uint8_t *payload = pack(&s, NULL, NULL, &t);
    if (payload == NULL) return;
    const int steps = rs_scales_clip(&s, w, ROWS, COLS, COLS).steps;
    CHECK(steps == s.clip_steps || peer == RS_PEER_COMPRESSED);
    for (size_t r = 0; r < ROWS; r++) {
        const float top = (float)((1 << (bits - 1)) - 1) + (peer == RS_PEER_COMPRESSED ? 0.5f : 0), got = scale_of(&t, payload, r);
        float max = peer == RS_PEER_COMPRESSED ? 0 : 1e-5f, best_s = peer == RS_PEER_COMPRESSED ? 0x1p-23f : 0;
        double best = INFINITY;
        for (size_t j = 0; j < COLS; j++) max = fmaxf(max, fabsf(w[r * COLS + j]));
        for (int i = 0; i < steps && max > 0; i++) {
            const float scale = (float)(1 - i / 100.0) * max / top;
            const double err = rs_clip_error(NULL, bits, COLS, w + r * COLS, scale);
            if (err < best) best = err, best_s = scale;
        }
        CHECKF(got == best_s, "%s: %d bits, row %zu: scale %g, not %g", rs_compat_of(peer)->name, bits, r, (double)got, (double)best_s);
    }
    free(payload);
}

// A span whose first candidate is best, then none for five, then a later one; next to a span that gains in between the search goes on.
static void patience(void)
{
    const rs_scheme s = {.w_bits = 4, .scale_dtype = RS_F32, .clip_steps = 20, .peer = RS_PEER_COMPRESSED};
    const rs_clip clip = {.bits = 4, .steps = 20, .half = true};
    float pair[2 * 4];
    bool found[2] = {false};
    for (int i = 0; i < 100000 && !(found[0] && found[1]); i++) {
        float row[4];
        for (int j = 0; j < 4; j++) row[j] = uniform();
        const uint32_t gains = rs_clip_gains(&clip, 4, row);
        const int kind = (gains & 0x3f) == 1 && gains >> 6 != 0 ? 0 : (gains & 0x1f) == 0x11 && (gains >> 5 & 0xf) != 0 ? 1 : -1; // idle at 1..5 | a gain at 4
        if (kind >= 0 && !found[kind]) memcpy(pair + 4 * kind, row, sizeof row);
        if (kind >= 0) found[kind] = true;
    }
    if (!CHECK(found[0] && found[1])) return;
    CHECKF(rs_scales_clip(&s, pair, 1, 4, 4).steps == 6, "alone the search takes %d steps", rs_scales_clip(&s, pair, 1, 4, 4).steps);
    CHECKF(rs_scales_clip(&s, pair, 2, 4, 4).steps > 6 && rs_scales_clip(&s, pair, 1, 8, 4).steps > 6, "in company it takes %d", rs_scales_clip(&s, pair, 2, 4, 4).steps);
    CHECK(rs_scales_clip(&(rs_scheme){.w_bits = 4, .clip_steps = 80}, pair, 2, 4, 4).steps == 80);
}

// ---- GPTQ: which columns a scale is made from

static void gptq_scales(rs_peer peer, uint64_t group)
{
    enum { DEAD = 3 };
    const rs_scheme s = {.w_bits = 4, .group = group, .scale_dtype = RS_F32, .clip_steps = 1, .peer = peer};
    const size_t span = group != 0 ? (size_t)group : COLS;
    rs_gptq_options g = {.damp = 0.01, .block = 16};
    rs_gptq_factor f;
    rs_error e = {0};
    rs_tensor t;
    float H[COLS * COLS], x[COLS];
    memset(H, 0, sizeof H);
    fill(RS_F32);
    for (int n = 0; n < 3 * COLS; n++) {
        for (size_t j = 0; j < COLS; j++) x[j] = j == DEAD ? 0 : uniform() + (j > 0 ? x[j - 1] : 0);
        for (size_t i = 0; i < COLS * COLS; i++) H[i] += x[i / COLS] * x[i % COLS];
    }
    for (size_t r = 0; r < ROWS; r++) w[r * COLS + DEAD] = r % 2 ? 3 : -3; // the largest of the row
    if (!CHECKF(rs_gptq_factorise(&f, &g, COLS, H, &e) == RS_OK, "%s", e.text)) return;
    uint8_t *payload = pack(&s, &f, &g, &t);
    size_t came = 0, begun = 0, spans = 0;
    for (size_t r = 0; payload != NULL && r < ROWS; r++)
        for (size_t at = 0; at < COLS; at += span, spans++) {
            float live = 0, full = 0;
            for (size_t j = at; j < at + span; j++) {
                full = fmaxf(full, fabsf(w[r * COLS + j]));
                live = j == DEAD ? live : fmaxf(live, fabsf(w[r * COLS + j]));
            }
            const float top = peer == RS_PEER_COMPRESSED ? 7.5f : 7, got = scale_of(&t, payload, spans);
            came += got == (peer == RS_PEER_COMPRESSED ? (full > 0 ? full / top : 0x1p-23f) : fmaxf(full, 1e-5f) / top);
            begun += at < g.block && got == fmaxf(live, 1e-5f) / top;
        }
    if (peer == RS_PEER_COMPRESSED || group == 0) CHECKF(came == spans, "%s, group %zu: %zu of %zu scales from the columns as they came", rs_compat_of(peer)->name, span, came, spans);
    else CHECKF(begun == ROWS * g.block / span && came < spans, "%s, group %zu: %zu scales from the columns of the first block, %zu of %zu as they came", rs_compat_of(peer)->name, span, begun, came, spans);
    free(payload);
    if (peer != RS_PEER_COMPRESSED && group != 0) {
        g.act_order = true;
        payload = malloc((size_t)t.payload_len);
        CHECK(rs_gptq_pack(&s, &t, &g, &f, w, payload, NULL, NULL, &e) == RS_USAGE);
        free(payload);
    }
    rs_gptq_factor_free(&f);
}

int main(void)
{
    static const rs_dtype types[] = {RS_F32, RS_F16, RS_BF16};
    tiny_path(model, sizeof model, "model.rsq");
    tiny_path(packed, sizeof packed, "packed.rsq");
    names();
    plans();
    for (size_t i = 0; i < 3; i++) {
        for (int bits = 2; bits <= 8; bits++) {
            for (size_t k = 0; k < 3; k++)
                for (uint64_t group = 0; group <= 16; group += 8) formulas(all[i], bits, group, types[k]);
            searches(all[i], bits);
        }
        for (uint64_t group = 0; group <= 8; group += 4) gptq_scales(all[i], group);
    }
    patience();
    return check_report();
}
