// SPDX-License-Identifier: Apache-2.0
// The table of places row by row, shapes, online Hadamards to their plan entries and back, ranks in a plan.
#include "transforms/plan.h"

#include "tests/check.h"
#include "transforms/junction.h"

static rs_tensor named(const char *name, rs_role role, int64_t layer)
{
    rs_tensor t = {.role = role, .layer = layer, .expert = -1};
    snprintf(t.name, sizeof t.name, "%s", name);
    return t;
}

static void places(void)
{
    static const struct {
        const char *name;
        rs_role role;
        int64_t layer, norm, in, out, head;
        int side;
        bool r4;
    } row[] = {
        {"model.embed_tokens.weight", RS_ROLE_EMBED, -1, -1, 0, -1, -1, 0, false},
        {"model.layers.2.self_attn.q_proj.weight", RS_ROLE_Q, 2, 4, 4, -1, -1, 0, false},
        {"model.layers.2.self_attn.k_proj.weight", RS_ROLE_K, 2, 4, 4, -1, -1, 0, false},
        {"model.layers.2.self_attn.v_proj.weight", RS_ROLE_V, 2, 4, 4, -1, 2, 1, false},
        {"model.layers.2.self_attn.o_proj.weight", RS_ROLE_O, 2, -1, -1, 5, 2, 0, false},
        {"model.layers.2.mlp.gate_proj.weight", RS_ROLE_GATE, 2, 5, 5, -1, -1, 0, false},
        {"model.layers.2.mlp.up_proj.weight", RS_ROLE_UP, 2, 5, 5, -1, -1, 0, false},
        {"model.layers.2.mlp.down_proj.weight", RS_ROLE_DOWN, 2, -1, -1, 6, -1, 0, true},
        {"lm_head.weight", RS_ROLE_HEAD, -1, 6, 6, -1, -1, 0, false},
        {"model.layers.2.self_attn.q_proj.bias", RS_ROLE_BIAS, 2, -1, -1, -1, -1, 0, false},
        {"model.layers.2.self_attn.v_proj.bias", RS_ROLE_BIAS, 2, -1, -1, -1, 2, 1, false},
        {"model.layers.2.self_attn.o_proj.bias", RS_ROLE_BIAS, 2, -1, -1, 5, -1, 0, false},
        {"model.layers.2.mlp.down_proj.bias", RS_ROLE_BIAS, 2, -1, -1, 6, -1, 0, false},
    };
    rs_error e = {0};
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        rs_tensor t = named(row[i].name, row[i].role, row[i].layer);
        rs_place p;
        if (!CHECKF(rs_plan_place(&t, 3, &p, &e) == RS_OK, "%s: %s", row[i].name, e.text)) continue;
        CHECKF(p.norm == row[i].norm && p.in == row[i].in && p.out == row[i].out && p.head == row[i].head && (p.head < 0 || p.head_side == row[i].side) && p.r4 == row[i].r4, "%s", row[i].name);
    }
    rs_place p;
    rs_tensor beyond = named("model.layers.3.self_attn.q_proj.weight", RS_ROLE_Q, 3), vague = named("model.layers.1.bias", RS_ROLE_BIAS, 1), other = named("x", RS_ROLE_OTHER, -1);
    CHECK(rs_plan_place(&beyond, 3, &p, NULL) == RS_E_TENSOR && rs_plan_place(&vague, 3, &p, NULL) == RS_E_TENSOR && rs_plan_place(&other, 3, &p, NULL) == RS_E_TENSOR);
}

static void norms(void)
{
    uint64_t index;
    rs_tensor a = named("model.layers.1.input_layernorm.weight", RS_ROLE_NORM, 1), f = named("model.layers.1.post_attention_layernorm.weight", RS_ROLE_NORM, 1),
              last = named("model.norm.weight", RS_ROLE_NORM, -1), odd = named("model.layers.1.norm.weight", RS_ROLE_NORM, 1);
    CHECK(rs_plan_norm(&a, 3, &index, NULL) == RS_OK && index == 2);
    CHECK(rs_plan_norm(&f, 3, &index, NULL) == RS_OK && index == 3);
    CHECK(rs_plan_norm(&last, 3, &index, NULL) == RS_OK && index == 6);
    CHECK(rs_plan_norm(&odd, 3, &index, NULL) == RS_E_TENSOR && rs_plan_norm(&a, 1, &index, NULL) == RS_E_TENSOR);
}

static void shapes(void)
{
    rs_config c = {.L = 3, .d = 32, .f = 48, .h = 8, .n_q = 4, .n_kv = 2, .V = 50};
    rs_tensor k = named("model.layers.0.self_attn.k_proj.weight", RS_ROLE_K, 0), b = named("model.layers.0.self_attn.k_proj.bias", RS_ROLE_BIAS, 0);
    k.n_dims = 2, k.shape[0] = 16, k.shape[1] = 32;
    b.n_dims = 1, b.shape[0] = 16;
    CHECK(rs_plan_shape(&k, &c, NULL) == RS_OK && rs_plan_shape(&b, &c, NULL) == RS_OK);
    k.shape[0] = 32, b.shape[0] = 32;
    CHECK(rs_plan_shape(&k, &c, NULL) == RS_E_TENSOR && rs_plan_shape(&b, &c, NULL) == RS_E_TENSOR);
}

static void online(void)
{
    static const size_t sizes[] = {64, 576, 1536, 48, 28, 13696};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        rs_error e = {0};
        rs_hadamard *a = rs_hadamard_new(sizes[i]), *b = NULL;
        if (!CHECK(a != NULL)) continue;
        rs_online entry = rs_plan_online(a);
        CHECK(entry.on && entry.n == sizes[i] && entry.block == a->block && entry.k == a->k);
        CHECKF(rs_plan_hadamard(&entry, &b, &e) == RS_OK, "%s", e.text);
        CHECK(b != NULL && memcmp(a->signs, b->signs, a->k * a->k) == 0);
        rs_hadamard_free(b);
        entry.ksum ^= 1;
        CHECK(rs_plan_hadamard(&entry, &b, &e) == RS_E_TENSOR && b == NULL && strstr(e.text, "ksum") != NULL);
        rs_hadamard_free(a);
    }
    // The checksum of FORMAT.md 8.5, and forms that cannot be.
    rs_hadamard *H;
    rs_online entry = {.on = true, .n = 24, .block = 24, .k = 12, .ksum = UINT64_C(0x821c2a95d11fc6ce), .build = RS_BUILD_PALEY1};
    CHECK(rs_plan_hadamard(&entry, &H, NULL) == RS_OK);
    rs_hadamard_free(H);
    rs_online wrong[] = {entry, entry, entry, entry};
    wrong[0].block = 36;
    wrong[1].n = 36;
    wrong[2].k = 92, wrong[2].block = wrong[2].n = 92;
    wrong[3].k = 0;
    for (size_t i = 0; i < 4; i++) CHECK(rs_plan_hadamard(&wrong[i], &H, NULL) == RS_E_TENSOR && H == NULL);
}

static void ranks(void)
{
    rs_plan plan = rs_plan_none();
    const uint64_t mixed[6] = {8, 2, 8, 8, 4, 0}, none[6] = {0}, same[6] = {4, 4, 4, 4, 4, 4};
    rs_error e = {0};
    CHECK(rs_junction_plan(&plan, 6, mixed, &e) == RS_OK && plan.resid == RS_RESID_LOWRANK && plan.rank == 8 && plan.n_except == 3);
    for (uint64_t j = 0; j < 6; j++) CHECK(rs_plan_rank(&plan, j) == mixed[j]);
    CHECK(rs_junction_plan(&plan, 6, same, &e) == RS_OK && plan.rank == 4 && plan.n_except == 0);
    CHECK(rs_junction_plan(&plan, 6, none, &e) == RS_OK && plan.resid == RS_RESID_NONE && plan.rank == 0);
    free(plan.except);
}

int main(void)
{
    places();
    norms();
    shapes();
    online();
    ranks();
    return check_report();
}
