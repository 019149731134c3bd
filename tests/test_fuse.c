// SPDX-License-Identifier: Apache-2.0
// Fusing leaves the network as it is: logits before and after, for every kind of rotation set; and what it refuses.
#include "transforms/fuse.h"

#include "kernels/threads.h"
#include "tests/check.h"
#include "tests/tiny.h"

enum { S = 12 };

static void same_network(const char *what, const tiny_spec *s, const char *in, const char *rotations, rs_fuse_options o)
{
    char out[128];
    rs_error e = {0};
    int32_t ids[S];
    tiny_ids(s, S, ids);
    tiny_path(out, sizeof out, "out.rsq");
    if (!CHECKF(tiny_fuse(in, rotations, out, o, &e) == RS_OK, "%s: %s", what, e.text)) return;
    float *a = tiny_logits(in, S, ids), *b = tiny_logits(out, S, ids);
    if (CHECK(a != NULL && b != NULL)) {
        double x = tiny_difference(S * s->V, a, b);
        CHECKF(x <= 1e-5, "%s: logits differ by %.3g", what, x);
    }
    free(a);
    free(b);
}

static void all_sets(const tiny_spec *s, const char *label)
{
    static const char *const kind[] = {"global", "dense", "chain"};
    char model[128], rot[128], what[128];
    tiny_path(model, sizeof model, "model.rsq");
    tiny_path(rot, sizeof rot, "rot.rsq");
    if (!CHECK(tiny_model(model, s))) return;
    for (int online = 0; online < 2; online++) {
        rs_fuse_options o = {.rotate = true, .online = online != 0, .seed = 7};
        snprintf(what, sizeof what, "%s seeded online %d", label, online);
        same_network(what, s, model, NULL, o);
        for (int k = 0; k < 3; k++) {
            if (!CHECK(tiny_rotations(rot, s, (tiny_set)k, 0.4, 6, 3, model))) return;
            for (int precise = 0; precise < 2; precise++) {
                o.precise = precise != 0;
                snprintf(what, sizeof what, "%s %s online %d precise %d", label, kind[k], online, precise);
                same_network(what, s, model, rot, o);
            }
        }
    }
    snprintf(what, sizeof what, "%s norms only", label);
    same_network(what, s, model, NULL, (rs_fuse_options){0});
}

static void what_it_writes(void)
{
    tiny_spec s = tiny_default();
    char model[128], rot[128], out[128];
    rs_error e = {0};
    rs_mapped *m;
    tiny_model(tiny_path(model, sizeof model, "model.rsq"), &s);
    tiny_rotations(tiny_path(rot, sizeof rot, "rot.rsq"), &s, TINY_DENSE, 0.4, 0, 3, model);
    tiny_path(out, sizeof out, "out.rsq");
    CHECK(tiny_fuse(model, rot, out, (rs_fuse_options){.rotate = true, .online = true}, &e) == RS_OK);
    if (!CHECK(rs_mapped_open(&m, out, &e) == RS_OK)) return;
    const rs_head *h = rs_mapped_head(m);
    CHECK(h->plan.resid == RS_RESID_DENSE && h->plan.r3.on && h->plan.r4.on && h->plan.r3.n == s.h && h->plan.r4.n == s.f);
    const rs_tensor *v = rs_mapped_find(m, "model.layers.1.self_attn.v_proj.weight"), *down = rs_mapped_find(m, "model.layers.2.mlp.down_proj.weight"),
                    *head = rs_mapped_find(m, "lm_head.weight"), *norm = rs_mapped_find(m, "model.norm.weight");
    CHECK(v != NULL && v->n_xf == 3 && strcmp(v->xf[0].id, "gamma") == 0 && strcmp(v->xf[1].id, "headrot.1") == 0 && v->xf[1].side == 1 && strcmp(v->xf[2].id, "rot.2") == 0);
    CHECK(down != NULL && down->n_xf == 2 && strcmp(down->xf[0].id, "r4") == 0 && strcmp(down->xf[1].id, "rot.6") == 0 && down->xf[1].side == 1);
    CHECK(head != NULL && head->role == RS_ROLE_HEAD && rs_tensor_has_xf(head, "rot.6") && rs_tensor_has_xf(head, "gamma"));
    CHECK(norm != NULL && rs_tensor_has_xf(norm, "gamma") && ((const float *)(const void *)rs_mapped_payload(m, norm))[5] == 1);
    size_t len, n;
    const char *config = (const char *)rs_mapped_file(m, "config.json", &len);
    CHECK(config != NULL && memmem(config, len, "\"tie_word_embeddings\": false", 28) != NULL);
    CHECK(rs_mapped_inputs(m, 1, &n) != NULL && n == 2);
    rs_mapped_close(m);
}

// The same bytes for any number of threads.
static void deterministic(void)
{
    tiny_spec s = tiny_default();
    s.d = 96, s.h = 24, s.f = 160, s.V = 3000;
    char model[128], rot[128], out[128];
    uint8_t digest[2][16], t[16];
    uint64_t size;
    tiny_model(tiny_path(model, sizeof model, "model.rsq"), &s);
    tiny_rotations(tiny_path(rot, sizeof rot, "rot.rsq"), &s, TINY_DENSE, 0.4, 0, 3, model);
    tiny_path(out, sizeof out, "out.rsq");
    for (int i = 0; i < 2; i++) {
        rs_error e = {0};
        rs_mapped *m;
        rs_threads_set(i == 0 ? 1 : 4);
        CHECKF(tiny_fuse(model, rot, out, (rs_fuse_options){.rotate = true, .online = true}, &e) == RS_OK, "%s", e.text);
        if (!CHECK(rs_mapped_open(&m, out, &e) == RS_OK)) return;
        rs_mapped_digest(m, digest[i], t, &size);
        rs_mapped_close(m);
    }
    rs_threads_set(1);
    CHECK(memcmp(digest[0], digest[1], 16) == 0);
}

static void refusals(void)
{
    tiny_spec s = tiny_default(), other = s;
    char model[128], rot[128], out[128], second[128];
    tiny_model(tiny_path(model, sizeof model, "model.rsq"), &s);
    tiny_path(rot, sizeof rot, "rot.rsq");
    tiny_path(out, sizeof out, "out.rsq");
    tiny_path(second, sizeof second, "second.rsq");
    rs_fuse_options o = {.rotate = true, .online = true};
    rs_error e = {0};
    CHECK(tiny_fuse(model, NULL, out, o, &e) == RS_OK);
    CHECK(tiny_fuse(out, NULL, second, o, &e) == RS_USAGE); // fused already
    e = (rs_error){0};
    CHECK(tiny_fuse(model, NULL, out, (rs_fuse_options){0}, &e) == RS_OK);
    CHECK(tiny_fuse(out, NULL, second, o, &e) == RS_USAGE && strstr(e.text, "gamma") != NULL);
    e = (rs_error){0};
    CHECK(tiny_fuse(model, model, second, o, &e) == RS_USAGE); // weights given as rotations
    e = (rs_error){0};
    other.d = 64, other.h = 16;
    tiny_rotations(rot, &other, TINY_GLOBAL, 0, 0, 3, NULL);
    CHECK(tiny_fuse(model, rot, second, o, &e) == RS_E_TENSOR);
    e = (rs_error){0};
    CHECK(tiny_fuse(rot, NULL, second, o, &e) == RS_USAGE); // rotations given as weights
    // Learned from another model: no output is left behind.
    e = (rs_error){0};
    tiny_rotations(rot, &s, TINY_DENSE, 0.3, 0, 3, out);
    CHECK(tiny_fuse(model, rot, second, o, &e) == RS_E_PROV);
    e = (rs_error){0};
    rs_mapped *m;
    CHECK(rs_mapped_open(&m, second, &e) == RS_E_READ);
}

// A NaN anywhere is named, with its tensor.
static void values(void)
{
    static const char *const name[] = {"model.norm.weight", "model.embed_tokens.weight", "model.layers.0.self_attn.v_proj.weight", "model.layers.1.mlp.down_proj.weight", "model.layers.2.self_attn.o_proj.bias"};
    char model[128], rot[128], out[128];
    for (size_t i = 0; i < sizeof name / sizeof name[0]; i++)
        for (int k = 0; k < 3; k++) {
            tiny_spec s = tiny_default();
            s.biases = true;
            tiny_rotations(tiny_path(rot, sizeof rot, "rot.rsq"), &s, TINY_DENSE, 0.3, 0, 3, NULL);
            s.nan_in = name[i];
            tiny_model(tiny_path(model, sizeof model, "nan.rsq"), &s);
            rs_error e = {0};
            CHECKF(tiny_fuse(model, k == 0 ? NULL : rot, tiny_path(out, sizeof out, "nan-out.rsq"), (rs_fuse_options){.rotate = true, .online = true, .precise = k == 2}, &e) == RS_E_VALUE &&
                       strstr(e.text, name[i]) != NULL,
                   "%s, way %d: %s", name[i], k, e.text);
        }
}

int main(void)
{
    tiny_spec s = tiny_default();
    all_sets(&s, "tied");
    s.tied = false, s.biases = true, s.dtype = RS_BF16;
    all_sets(&s, "untied with biases");
    s.dtype = RS_F16, s.n_kv = 4, s.d = 36, s.f = 60, s.h = 12, s.L = 2, s.tied = true;
    all_sets(&s, "Paley sizes");
    what_it_writes();
    deterministic();
    refusals();
    values();
    return check_report();
}
