// SPDX-License-Identifier: Apache-2.0
// Verification: bad numbers of every kind, quick and strict checks, a computation against its original, and weights that claim a rotation they never had.
#include "inspect/verify.h"

#include <fcntl.h>
#include <math.h>
#include <unistd.h>

#include "formats/cli.h"
#include "tests/stages.h"

enum { CTX = 16, COUNT = 3 * CTX };
static char model[128], rot[128], fused[128], cut[128], changed[128];

static rs_status verify(const char *path, rs_verify_options o, rs_verified *v, rs_error *e)
{
    rs_in *in = NULL;
    *e = (rs_error){0};
    rs_status st = rs_in_open(&in, path, e);
    if (st == RS_OK) st = rs_verify_stream(in, &o, v, e);
    rs_in_close(in);
    return st;
}

static const char *golden(char *buf, size_t cap, const char *name)
{
    const char *T = getenv("T");
    snprintf(buf, cap, "%s/golden/%s.rsq", T != NULL ? T : "tests", name);
    return buf;
}

// ---- numbers

// 100 scales that are NaN, infinite, negative, zero, subnormal; 101 sums; 102 Q and R: good for whoever does not look at values.
static void golden_values(void)
{
    static const struct {
        const char *name, *text;
    } row[] = {{"bad/100a", "scale"}, {"bad/100b", "scale"}, {"bad/100c", "scale"}, {"bad/100d", "scale"}, {"bad/100e", "scale"}, {"bad/101", "sum of codes"}, {"bad/102a", "orthonormal"}, {"bad/102b", "orthonormal"}};
    char path[512];
    rs_verified v;
    rs_error e;
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        golden(path, sizeof path, row[i].name);
        rs_status st = verify(path, (rs_verify_options){.values = true}, &v, &e);
        CHECKF(st == RS_E_VALUE && strstr(e.text, row[i].text) != NULL, "%s: %s: %s", row[i].name, rs_status_name(st), e.text);
        CHECKF(verify(path, (rs_verify_options){0}, &v, &e) == RS_OK && v.whole && !v.values, "%s: %s", row[i].name, e.text);
    }
    CHECK(verify(golden(path, sizeof path, "good/nan_raw"), (rs_verify_options){.values = true}, &v, &e) == RS_E_VALUE && verify(path, (rs_verify_options){0}, &v, &e) == RS_OK);
    static const char *const good[] = {"good/model", "good/rotations_chain", "good/rotations_dense", "good/int3", "good/int4_groups", "good/zero_dim", "good/scalar", "good/lowrank", "good/dense"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) CHECKF(verify(golden(path, sizeof path, good[i]), (rs_verify_options){.values = true}, &v, &e) == RS_OK && v.values, "%s: %s", good[i], e.text);
}

struct spot {
    const char *name;
    const char *part; // key
    size_t at;        // which f32 of the part
    float value;
    bool add;
};

static bool set_value(void *context, rs_tensor *t, uint8_t *payload)
{
    const struct spot *s = context;
    if (strcmp(t->name, s->name) != 0) return true;
    uint8_t *p = payload + rs_tensor_part(t, s->part)->off + 4 * s->at;
    float x = 0;
    if (s->add) memcpy(&x, p, 4);
    x += s->value;
    memcpy(p, &x, 4);
    return true;
}

static void own_values(const tiny_spec *s)
{
    rs_pack_options o = stages_pack_default();
    rs_error e = {0};
    rs_verified v;
    o.scheme.group = 16;
    char packed[128];
    tiny_path(packed, sizeof packed, "packed.rsq");
    if (!CHECKF(stages_pack(cut, packed, &o, &e) == RS_OK, "%s", e.text)) return;
    const struct {
        const char *from;
        struct spot spot;
        bool bad;
    } row[] = {
        {model, {"model.layers.1.mlp.up_proj.weight", "data", 77, NAN, false}, true},
        {model, {"model.layers.1.mlp.up_proj.weight", "data", 0, -INFINITY, false}, true},
        {model, {"model.norm.weight", "data", 3, INFINITY, false}, true},
        {model, {"model.norm.weight", "data", 3, 1e30f, false}, false},
        {packed, {"model.layers.0.self_attn.q_proj.weight", "scales", 3, 0, false}, true},
        {packed, {"model.layers.0.self_attn.q_proj.weight", "scales", 3, -0.1f, false}, true},
        {packed, {"model.layers.0.self_attn.q_proj.weight", "scales", 3, NAN, false}, true},
        {packed, {"model.layers.0.self_attn.q_proj.weight", "scales", 3, INFINITY, false}, true},
        {packed, {"model.layers.0.self_attn.q_proj.weight", "scales", 3, 1e-39f, false}, true},
        {packed, {"model.layers.0.self_attn.q_proj.weight", "scales", 3, 0.3f, false}, false},
        {packed, {"model.layers.2.mlp.down_proj.weight", "sums", 0, 1, false}, true}, // the bits of 1.0 are no sum of 16 codes
        {packed, {"resid.1", "q", 5, 1e-3f, true}, true},
        {packed, {"resid.1", "m", 0, 1e-3f, true}, true},
        {packed, {"resid.1", "q", 5, 1e-7f, true}, false},
        {fused, {"resid.4", "data", 9, 1e-3f, true}, true},
        {rot, {"rot.0", "data", 0, 1e-3f, true}, true},
        {rot, {"headrot.2", "data", 0, 1e-3f, true}, true},
        {rot, {"headrot.2", "data", 0, 1e-7f, true}, false},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        struct spot spot = row[i].spot;
        e = (rs_error){0};
        if (!CHECKF(stages_edit(row[i].from, changed, set_value, &spot, &e) == RS_OK, "%s: %s", spot.name, e.text)) continue;
        rs_status st = verify(changed, (rs_verify_options){.values = true}, &v, &e);
        CHECKF(st == (row[i].bad ? RS_E_VALUE : RS_OK) && (!row[i].bad || strstr(e.text, spot.name) != NULL), "row %d, %s %s: %s: %s", (int)i, spot.name, spot.part, rs_status_name(st), e.text);
        CHECK(verify(changed, (rs_verify_options){0}, &v, &e) == RS_OK);
    }
    (void)s;
}

// ---- how much is read

static void quick_and_full(void)
{
    char *bytes = NULL;
    size_t len = 0;
    rs_error e = {0};
    rs_verified v, w;
    if (!CHECK(rs_cli_slurp(model, 1 << 28, &bytes, &len, &e) == RS_OK)) return;
    CHECK(verify(model, (rs_verify_options){0}, &v, &e) == RS_OK && verify(model, (rs_verify_options){.quick = true}, &w, &e) == RS_OK);
    CHECK(v.whole && !w.whole && v.size == len && w.size == len && v.tensors == w.tensors && v.frames == w.frames && memcmp(v.digest, w.digest, 16) == 0 && v.head.layers == 3);
    // a byte in the middle, a payload's: only the full check sees it; a byte of the tail: both do; a cut: both do
    const struct {
        size_t at, cut;
        rs_status quick, full;
    } row[] = {{len / 2, 0, RS_OK, RS_E_SUM}, {len - 20, 0, RS_E_SUM, RS_E_SUM}, {0, 1, RS_E_TRUNC, RS_E_TRUNC}, {0, len / 2, RS_E_TRUNC, RS_E_TRUNC}};
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        rs_in *in = NULL;
        if (row[i].at != 0) bytes[row[i].at] ^= 16;
        rs_status st[2];
        for (int full = 0; full < 2; full++) {
            e = (rs_error){0};
            CHECK(rs_in_memory(&in, bytes, len - row[i].cut, &e) == RS_OK);
            st[full] = rs_verify_stream(in, &(rs_verify_options){.quick = full == 0}, &v, &e);
            rs_in_close(in);
        }
        CHECKF(st[0] == row[i].quick && st[1] == row[i].full, "row %d: quick %s, full %s", (int)i, rs_status_name(st[0]), rs_status_name(st[1]));
        if (row[i].at != 0) bytes[row[i].at] ^= 16;
    }
    free(bytes);
    int fd[2];
    char path[32];
    if (!CHECK(pipe(fd) == 0)) return;
    snprintf(path, sizeof path, "/dev/fd/%d", fd[0]);
    CHECK(verify(path, (rs_verify_options){.quick = true}, &v, &e) == RS_USAGE);
    close(fd[0]);
    close(fd[1]);
}

static void strict(void)
{
    static const char *const ignored[] = {"good/ancillary", "good/x_keys", "good/minor_1"};
    char path[512];
    rs_verified v;
    rs_error e;
    for (size_t i = 0; i < 3; i++) {
        golden(path, sizeof path, ignored[i]);
        CHECKF(verify(path, (rs_verify_options){0}, &v, &e) == RS_OK, "%s: %s", ignored[i], e.text);
        CHECKF(verify(path, (rs_verify_options){.strict = true}, &v, &e) == RS_E_VERSION, "%s: %s", ignored[i], e.text);
    }
    CHECK(verify(fused, (rs_verify_options){.strict = true, .values = true}, &v, &e) == RS_OK);
}

// ---- computations

struct layers {
    int calls;
    double worst_before; // of the layers below bad
    int64_t bad;
};

static void on_layer(void *context, const rs_against_layer *l)
{
    struct layers *c = context;
    CHECK(l->layer == (uint64_t)c->calls && l->k.n > 0 && l->ffn.n > 0);
    c->calls++;
    if ((int64_t)l->layer < c->bad) c->worst_before = fmax(c->worst_before, fmax(rs_measure_relative(&l->k), rs_measure_relative(&l->ffn)));
}

static rs_status against(const char *path, const char *ref, rs_against_options o, rs_against_result *r, size_t count, rs_error *e)
{
    rs_mapped *m = NULL, *ref_m = NULL;
    rs_network *n = NULL, *ref_n = NULL;
    tiny_spec s = tiny_default();
    int32_t ids[COUNT];
    tiny_ids(&s, COUNT, ids);
    *e = (rs_error){0};
    rs_status st = stages_network(path, rs_kernels_reference(), &m, &n, e);
    if (st == RS_OK) st = stages_network(ref, rs_kernels_reference(), &ref_m, &ref_n, e);
    if (st == RS_OK) st = rs_verify_against(n, ref_n, ids, count, &o, r, e);
    rs_network_close(n);
    rs_network_close(ref_n);
    rs_mapped_close(m);
    rs_mapped_close(ref_m);
    return st;
}

static void same_network(const char *what, const char *path)
{
    struct layers c = {.bad = 99};
    rs_against_result r;
    rs_error e;
    rs_against_options o = {.ctx = CTX, .windows = 2, .tol = 1e-5, .layer = on_layer, .context = &c};
    if (!CHECKF(against(path, model, o, &r, COUNT, &e) == RS_OK, "%s: %s", what, e.text)) return;
    CHECKF(r.pass && r.first_layer == -1 && r.tokens == 2 * CTX && c.calls == 3 && r.top1 == 1 && r.kl < 1e-6 && fabs(r.nll - r.ref_nll) < 1e-4 && rs_measure_relative(&r.logits) <= 1e-5,
           "%s: logits %.3g, layers %.3g, first %d, KL %g", what, rs_measure_relative(&r.logits), c.worst_before, (int)r.first_layer, r.kl);
}

static void same_networks(void)
{
    rs_error e = {0};
    same_network("itself", model);
    same_network("dense junctions", fused);
    same_network("junctions of rank 6", cut);
    if (CHECKF(tiny_fuse(model, NULL, changed, (rs_fuse_options){.rotate = true, .online = true, .seed = 4}, &e) == RS_OK, "%s", e.text)) same_network("one Hadamard", changed);
    if (CHECKF(tiny_fuse(model, NULL, changed, (rs_fuse_options){0}, &e) == RS_OK, "%s", e.text)) same_network("norms only", changed);
}

// One weight of one layer is changed: that layer is named where its own K or FFN move, else the next one, and after the last only the logits tell.
static void named_layer(void)
{
    static const struct {
        const char *part;
        int later; // layers until the change shows
    } row[] = {{"self_attn.k_proj", 0}, {"mlp.up_proj", 0}, {"mlp.gate_proj", 0}, {"self_attn.v_proj", 0}, {"mlp.down_proj", 1}};
    for (size_t p = 0; p < sizeof row / sizeof row[0]; p++)
        for (int layer = 0; layer < 3; layer++) {
            char name[128];
            rs_against_result r;
            rs_error e = {0};
            int64_t want = layer + row[p].later < 3 ? layer + row[p].later : -1;
            struct layers c = {.bad = want < 0 ? 99 : want};
            snprintf(name, sizeof name, "model.layers.%d.%s.weight", layer, row[p].part);
            struct spot spot = {name, "data", 10, 0.05f, true};
            rs_against_options o = {.ctx = CTX, .windows = 3, .tol = 1e-5, .layer = on_layer, .context = &c}; // there are two, as the last needs one token more
            if (!CHECKF(stages_edit(cut, changed, set_value, &spot, &e) == RS_OK, "%s: %s", name, e.text)) continue;
            if (!CHECKF(against(changed, model, o, &r, COUNT, &e) == RS_OK, "%s: %s", name, e.text)) continue;
            CHECKF(!r.pass && r.first_layer == want && r.tokens == 2 * CTX && c.worst_before <= 1e-5 && c.calls == 3, "%s: first layer %d, expected %d; below it %.3g", name, (int)r.first_layer, (int)want, c.worst_before);
            o.tol = 10;
            CHECKF((c.calls = 0, against(changed, model, o, &r, COUNT, &e)) == RS_OK && r.pass && r.first_layer == -1, "%s: with a tolerance of 10", name);
        }
}

static void against_refusals(const tiny_spec *s)
{
    rs_against_result r;
    rs_error e;
    rs_against_options o = {.ctx = CTX, .windows = 1, .tol = 1e-5};
    CHECK(against(model, model, o, &r, CTX, &e) == RS_USAGE && against(model, model, o, &r, 0, &e) == RS_USAGE && against(model, model, o, &r, CTX + 1, &e) == RS_OK);
    tiny_spec other = *s;
    other.f += 16;
    if (CHECK(tiny_model(changed, &other))) CHECK(against(changed, model, o, &r, COUNT, &e) == RS_USAGE && strstr(e.text, "differ") != NULL);
}

// ---- claims

static bool claim(void *context, rs_tensor *t, uint8_t *payload)
{
    (void)payload;
    if (strcmp(t->name, context) == 0) CHECK(rs_tensor_add_xf(t, "rot.0", t->shape[1], 0, NULL) == RS_OK);
    return true;
}

static void moved(const char *path, const char *want)
{
    rs_mapped *m = NULL, *ref = NULL;
    rs_error e = {0};
    const char *name = "?";
    if (CHECKF(rs_mapped_open(&m, path, &e) == RS_OK && rs_mapped_open(&ref, model, &e) == RS_OK && rs_verify_moved(m, ref, &name, &e) == RS_OK, "%s", e.text))
        CHECKF(want == NULL ? name == NULL : name != NULL && strcmp(name, want) == 0, "%s does not move, expected %s", name == NULL ? "nothing" : name, want == NULL ? "nothing" : want);
    rs_mapped_close(m);
    rs_mapped_close(ref);
}

static void claims(void)
{
    char up[] = "model.layers.2.mlp.up_proj.weight";
    rs_against_result r;
    rs_error e = {0};
    moved(model, NULL);
    moved(fused, NULL);
    moved(cut, NULL);
    if (!CHECKF(stages_edit(model, changed, claim, up, &e) == RS_OK, "%s", e.text)) return;
    moved(changed, up);
    // which the computation cannot see
    CHECK(against(changed, model, (rs_against_options){.ctx = CTX, .windows = 1, .tol = 0}, &r, COUNT, &e) == RS_OK && r.pass);
}

int main(void)
{
    tiny_spec s = tiny_default();
    rs_error e = {0};
    tiny_path(model, sizeof model, "model.rsq");
    tiny_path(rot, sizeof rot, "rot.rsq");
    tiny_path(fused, sizeof fused, "fused.rsq");
    tiny_path(cut, sizeof cut, "cut.rsq");
    tiny_path(changed, sizeof changed, "changed.rsq");
    rs_threads_set(2);
    if (CHECK(tiny_model(model, &s) && tiny_rotations(rot, &s, TINY_DENSE, 0.4, 0, 3, model)) &&
        CHECKF(tiny_fuse(model, rot, fused, (rs_fuse_options){.rotate = true, .online = true}, &e) == RS_OK && stages_residual(fused, rot, cut, 6, &e) == RS_OK, "%s", e.text)) {
        golden_values();
        own_values(&s);
        quick_and_full();
        strict();
        same_networks();
        named_layer();
        against_refusals(&s);
        claims();
    }
    return check_report();
}
