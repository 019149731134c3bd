// SPDX-License-Identifier: Apache-2.0
// A file as a network: logits against the plain forward of tests/tiny.c for every form a file can have, packed weights as they decode, and what is refused.
#include "transforms/network.h"

#include "tests/stages.h"
#include "transforms/weights.h"

enum { S = 12 };
static char model[128], rot[128], fused[128], cut[128], changed[128];

// Reference kernels and the best ones of this machine against the plain forward.
static void same_logits(const char *what, const tiny_spec *s, const char *path)
{
    int32_t ids[S];
    tiny_ids(s, S, ids);
    float *want = tiny_logits(path, S, ids);
    for (int best = 0; best < 2 && CHECK(want != NULL); best++) {
        rs_mapped *m = NULL;
        rs_network *n = NULL;
        rs_error e = {0};
        float *got = NULL;
        bool ok = stages_network(path, best ? NULL : rs_kernels_reference(), &m, &n, &e) == RS_OK && (got = stages_logits(n, S, ids, &e)) != NULL;
        if (CHECKF(ok, "%s: %s", what, e.text)) {
            double x = tiny_difference(S * s->V, want, got);
            CHECKF(x <= (best ? 1e-4 : 1e-6), "%s: logits differ by %.3g with the %s kernels", what, x, rs_network_kernels(n)->name);
            CHECK(rs_network_config(n)->L == s->L && rs_network_shape(n)->d == s->d && rs_network_shape(n)->f == s->f);
        }
        free(got);
        rs_network_close(n);
        rs_mapped_close(m);
    }
    free(want);
}

static void forms(void)
{
    static const rs_dtype types[] = {RS_F32, RS_F16, RS_BF16};
    char what[64];
    for (int k = 0; k < 6; k++) {
        tiny_spec s = tiny_default();
        rs_error e = {0};
        s.dtype = types[k % 3];
        s.tied = k < 3;
        s.biases = k % 2 == 1;
        s.seed = (uint64_t)k + 1;
        snprintf(what, sizeof what, "form %d", k);
        if (!CHECK(tiny_model(model, &s))) return;
        same_logits(what, &s, model);
        snprintf(what, sizeof what, "form %d fused", k);
        if (CHECKF(tiny_fuse(model, NULL, fused, (rs_fuse_options){.rotate = true, .online = true, .seed = 3}, &e) == RS_OK, "%s", e.text)) same_logits(what, &s, fused);
    }
}

static void junctions(void)
{
    tiny_spec s = tiny_default();
    rs_error e = {0};
    if (!CHECK(tiny_model(model, &s) && tiny_rotations(rot, &s, TINY_DENSE, 0.4, 0, 3, model))) return;
    if (!CHECKF(tiny_fuse(model, rot, fused, (rs_fuse_options){.rotate = true, .online = true}, &e) == RS_OK, "%s", e.text)) return;
    same_logits("dense junctions", &s, fused);
    for (uint64_t rank = 0; rank <= s.d; rank += 8) {
        char what[64];
        snprintf(what, sizeof what, "junctions of rank %d", (int)rank);
        if (CHECKF(stages_residual(fused, rot, cut, rank, &e) == RS_OK, "%s: %s", what, e.text)) same_logits(what, &s, cut);
    }
}

// Every matrix that a layer hands to the kernels is the file's, decoded.
static void same_weights(const rs_mapped *m, uint64_t i, const rs_decoder_layer *l, const char *what)
{
    const struct {
        const char *name;
        const float *w;
    } part[] = {{"self_attn.q_proj", l->wq}, {"self_attn.k_proj", l->wk}, {"self_attn.v_proj", l->wv}, {"self_attn.o_proj", l->wo}, {"mlp.gate_proj", l->wgate}, {"mlp.up_proj", l->wup}, {"mlp.down_proj", l->wdown}};
    for (size_t p = 0; p < sizeof part / sizeof part[0]; p++) {
        char name[128];
        rs_error e = {0};
        uint64_t rows = 0, cols = 0;
        snprintf(name, sizeof name, "model.layers.%d.%s.weight", (int)i, part[p].name);
        const rs_tensor *t = rs_mapped_find(m, name);
        if (!CHECK(t != NULL)) return;
        rs_weights_shape(t, &rows, &cols);
        float *w = malloc(rows * cols * sizeof *w);
        CHECKF(rs_weights_rows(t, rs_mapped_payload(m, t), 0, rows, w, &e) == RS_OK && memcmp(w, part[p].w, rows * cols * sizeof *w) == 0, "%s: %s is not what the file says", what, name);
        free(w);
    }
}

static void packed(void)
{
    tiny_spec s = tiny_default();
    int32_t ids[S];
    tiny_ids(&s, S, ids);
    if (!CHECK(tiny_model(model, &s))) return;
    float *plain = tiny_logits(model, S, ids);
    double before = 1e9;
    for (int bits = 2; bits <= 8; bits++) {
        rs_pack_options o = stages_pack_default();
        rs_error e = {0};
        rs_mapped *m = NULL;
        rs_network *n = NULL;
        char what[32];
        o.scheme.w_bits = bits;
        o.scheme.group = bits % 2 == 0 ? 0 : 16;
        snprintf(what, sizeof what, "%d bits", bits);
        bool ok = stages_pack(model, changed, &o, &e) == RS_OK && stages_network(changed, rs_kernels_reference(), &m, &n, &e) == RS_OK;
        for (uint64_t i = s.L; i-- > 0 && CHECKF(ok, "%s: %s", what, e.text);) {
            const rs_decoder_layer *l;
            ok = CHECKF(rs_network_load(n, i, &l, &e) == RS_OK, "%s", e.text);
            if (ok) same_weights(m, i, l, what);
        }
        float *got = ok ? stages_logits(n, S, ids, &e) : NULL;
        if (CHECK(got != NULL)) {
            double x = tiny_difference(S * s.V, plain, got);
            CHECKF(x > 0 && x < before * 1.5, "%s: logits differ by %.3g, with a bit less by %.3g", what, x, before);
            before = x;
        }
        free(got);
        rs_network_close(n);
        rs_mapped_close(m);
    }
    CHECKF(before < 0.05, "8 bits: logits differ by %.3g", before);
    free(plain);
}

// The policy of the plan acts: fewer bits of activations, and of K and V, move the logits more.
static void policy(void)
{
    static const struct {
        unsigned a, kv;
    } step[] = {{16, 16}, {8, 16}, {4, 16}, {16, 8}, {16, 3}};
    tiny_spec s = tiny_default();
    int32_t ids[S];
    double moved[5];
    tiny_ids(&s, S, ids);
    if (!CHECK(tiny_model(model, &s))) return;
    float *plain = tiny_logits(model, S, ids);
    for (int k = 0; k < 5; k++) {
        rs_pack_options o = stages_pack_default();
        rs_error e = {0};
        rs_mapped *m = NULL;
        rs_network *n = NULL;
        o.scheme.w_bits = 16;
        o.scheme.rest_keep = true;
        o.a.bits = step[k].a;
        o.kv.bits = step[k].kv;
        bool ok = stages_pack(model, changed, &o, &e) == RS_OK && stages_network(changed, rs_kernels_reference(), &m, &n, &e) == RS_OK;
        float *got = ok ? stages_logits(n, S, ids, &e) : NULL;
        moved[k] = CHECKF(got != NULL, "%s", e.text) ? tiny_difference(S * s.V, plain, got) : 0;
        free(got);
        rs_network_close(n);
        rs_mapped_close(m);
    }
    CHECKF(moved[0] <= 1e-6 && moved[1] > 1e-4 && moved[2] > 2 * moved[1] && moved[3] > 1e-5 && moved[4] > 2 * moved[3], "a 16 %g, 8 %g, 4 %g; kv 8 %g, 3 %g", moved[0], moved[1], moved[2], moved[3], moved[4]);
    free(plain);
}

// ---- refusals

static bool without(void *context, rs_tensor *t, uint8_t *payload)
{
    (void)payload;
    return strcmp(t->name, context) != 0;
}

// The rows of gate are halved.
static bool shorter(void *context, rs_tensor *t, uint8_t *payload)
{
    (void)payload;
    if (strcmp(t->name, context) == 0) {
        t->shape[0] /= 2;
        CHECK(rs_tensor_layout(t, RS_F32, 0, NULL) == RS_OK);
    }
    return true;
}

static bool infinite(void *context, rs_tensor *t, uint8_t *payload)
{
    const float x = 1e30f;
    if (strcmp(t->name, context) == 0) memcpy(payload, &x, sizeof x);
    return true;
}

static void refuses(const char *path, rs_status status, const char *text)
{
    rs_mapped *m = NULL;
    rs_network *n = NULL;
    rs_error e = {0};
    rs_status st = stages_network(path, NULL, &m, &n, &e);
    CHECKF(st == status && n == NULL && strstr(e.text, text) != NULL, "%s, expected %s: %s", rs_status_name(st), rs_status_name(status), e.text);
    rs_network_close(n);
    rs_mapped_close(m);
}

static void refusals(void)
{
    static const char *const needed[] = {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight", "model.layers.2.mlp.up_proj.weight", "model.layers.0.input_layernorm.weight"};
    tiny_spec s = tiny_default();
    rs_error e = {0};
    s.tied = false;
    if (!CHECK(tiny_model(model, &s) && tiny_rotations(rot, &s, TINY_GLOBAL, 0, 0, 1, NULL))) return;
    refuses(rot, RS_USAGE, "rotations");
    for (size_t k = 0; k < sizeof needed / sizeof needed[0]; k++)
        if (CHECKF(stages_edit(model, changed, without, (void *)(size_t)needed[k], &e) == RS_OK, "%s", e.text)) refuses(changed, RS_E_TENSOR, needed[k]);
    char gate[] = "model.layers.1.mlp.gate_proj.weight", up[] = "model.layers.1.mlp.up_proj.weight";
    if (CHECKF(stages_edit(model, changed, shorter, gate, &e) == RS_OK, "%s", e.text)) refuses(changed, RS_E_TENSOR, gate);

    rs_mapped *m = NULL;
    rs_network *n = NULL;
    float x[2 * 32];
    if (CHECK(stages_network(model, NULL, &m, &n, &e) == RS_OK)) {
        CHECK(rs_network_embed(n, 2, (int32_t[]){0, 49}, x, &e) == RS_OK);
        CHECK(rs_network_embed(n, 2, (int32_t[]){0, 50}, x, &(rs_error){0}) == RS_E_VALUE && rs_network_embed(n, 2, (int32_t[]){-1, 0}, x, &(rs_error){0}) == RS_E_VALUE);
    }
    rs_network_close(n);
    rs_mapped_close(m);
    rs_network_close(NULL);

    // an activation that overflows where a quantiser reads it is an error, not a number
    rs_pack_options o = stages_pack_default();
    int32_t ids[S];
    tiny_ids(&s, S, ids);
    o.scheme.w_bits = 16;
    o.scheme.rest_keep = true;
    o.a.bits = 8;
    m = NULL;
    if (CHECKF(stages_edit(model, cut, infinite, up, &e) == RS_OK && stages_edit(cut, fused, infinite, gate, &e) == RS_OK && stages_pack(fused, changed, &o, &e) == RS_OK, "%s", e.text) &&
        CHECK(stages_network(changed, NULL, &m, &n, &e) == RS_OK))
        CHECK(stages_logits(n, S, ids, &e) == NULL && e.status == RS_E_VALUE);
    rs_network_close(n);
    rs_mapped_close(m);
}

int main(void)
{
    tiny_path(model, sizeof model, "model.rsq");
    tiny_path(rot, sizeof rot, "rot.rsq");
    tiny_path(fused, sizeof fused, "fused.rsq");
    tiny_path(cut, sizeof cut, "cut.rsq");
    tiny_path(changed, sizeof changed, "changed.rsq");
    rs_threads_set(2);
    forms();
    junctions();
    packed();
    policy();
    refusals();
    return check_report();
}
