// SPDX-License-Identifier: Apache-2.0
// One table row per role says where a tensor meets norm scales, bases, head rotations and r4; online Hadamards go to and from their entries in the plan.
#include "transforms/plan.h"

#include <string.h>
#include <xxhash.h>

typedef enum place { NONE, ATTN, FFN, NEXT, FIRST, LAST } place; // a basis: R_2i, R_2i+1, R_2i+2, R_0, R_2L

static const struct row {
    rs_role role;
    place in, out;
    bool norm; // the scale of the norm in front of basis "in" multiplies the columns
    int head;  // side of the head rotation, -1: none
    bool r4;
    const char *name; // in the name of a bias
} table[] = {
    {RS_ROLE_EMBED, FIRST, NONE, false, -1, false, NULL},
    {RS_ROLE_Q, ATTN, NONE, true, -1, false, ".q_proj."},
    {RS_ROLE_K, ATTN, NONE, true, -1, false, ".k_proj."},
    {RS_ROLE_V, ATTN, NONE, true, 1, false, ".v_proj."},
    {RS_ROLE_O, NONE, FFN, false, 0, false, ".o_proj."},
    {RS_ROLE_GATE, FFN, NONE, true, -1, false, ".gate_proj."},
    {RS_ROLE_UP, FFN, NONE, true, -1, false, ".up_proj."},
    {RS_ROLE_DOWN, NONE, NEXT, false, -1, true, ".down_proj."},
    {RS_ROLE_HEAD, LAST, NONE, true, -1, false, NULL},
};
#define ROWS (sizeof table / sizeof table[0])

static int64_t basis(place p, int64_t layer, uint64_t L)
{
    switch (p) {
    case ATTN: return 2 * layer;
    case FFN: return 2 * layer + 1;
    case NEXT: return 2 * layer + 2;
    case FIRST: return 0;
    case LAST: return (int64_t)(2 * L);
    case NONE: break;
    }
    return -1;
}

rs_status rs_plan_place(const rs_tensor *t, uint64_t L, rs_place *p, rs_error *e)
{
    bool bias = t->role == RS_ROLE_BIAS;
    const struct row *row = NULL;
    for (size_t i = 0; i < ROWS && row == NULL; i++)
        if (bias ? table[i].name != NULL && strstr(t->name, table[i].name) != NULL : table[i].role == t->role) row = &table[i];
    if (row == NULL) return rs_fail(e, RS_E_TENSOR, "tensor %s: %s", t->name, bias ? "the name does not tell which linear layer the bias belongs to" : "its role has no place in the plan");
    bool layered = row->name != NULL;
    if (layered && (t->layer < 0 || (uint64_t)t->layer >= L))
        return rs_fail(e, RS_E_TENSOR, "tensor %s: layer %lld, but the model has %llu layers", t->name, (long long)t->layer, (unsigned long long)L);
    *p = (rs_place){.role = row->role, .bias = bias, .norm = -1, .in = -1, .out = basis(row->out, t->layer, L), .head = -1};
    if (row->head >= 0 && !(bias && row->head == 0)) {
        p->head = t->layer;
        p->head_side = row->head;
    }
    if (bias) return RS_OK;
    p->in = basis(row->in, t->layer, L);
    p->norm = row->norm ? p->in : -1;
    p->r4 = row->r4;
    return RS_OK;
}

rs_status rs_plan_norm(const rs_tensor *t, uint64_t L, uint64_t *index, rs_error *e)
{
    if (t->role != RS_ROLE_NORM) return rs_fail(e, RS_E_TENSOR, "tensor %s: no norm", t->name);
    if (t->layer == -1) {
        *index = 2 * L;
        return RS_OK;
    }
    if (t->layer < 0 || (uint64_t)t->layer >= L)
        return rs_fail(e, RS_E_TENSOR, "tensor %s: layer %lld, but the model has %llu layers", t->name, (long long)t->layer, (unsigned long long)L);
    bool attn = strstr(t->name, ".input_layernorm.") != NULL, ffn = strstr(t->name, ".post_attention_layernorm.") != NULL;
    if (attn == ffn) return rs_fail(e, RS_E_TENSOR, "tensor %s: the name does not tell which norm of the layer it is", t->name);
    *index = 2 * (uint64_t)t->layer + (ffn ? 1 : 0);
    return RS_OK;
}

rs_status rs_plan_shape(const rs_tensor *t, const rs_config *c, rs_error *e)
{
    rs_role role = t->role;
    bool vector = role == RS_ROLE_BIAS;
    if (vector) {
        rs_place p;
        RS_TRY(rs_plan_place(t, c->L, &p, e));
        role = p.role;
    }
    uint64_t q = c->n_q * c->h, kv = c->n_kv * c->h, rows, cols; // bounded by rs_config_parse
    switch (role) {
    case RS_ROLE_EMBED:
    case RS_ROLE_HEAD: rows = c->V, cols = c->d; break;
    case RS_ROLE_Q: rows = q, cols = c->d; break;
    case RS_ROLE_K:
    case RS_ROLE_V: rows = kv, cols = c->d; break;
    case RS_ROLE_O: rows = c->d, cols = q; break;
    case RS_ROLE_GATE:
    case RS_ROLE_UP: rows = c->f, cols = c->d; break;
    case RS_ROLE_DOWN: rows = c->d, cols = c->f; break;
    case RS_ROLE_NORM: rows = c->d, cols = 0, vector = true; break;
    default: return rs_fail(e, RS_E_TENSOR, "tensor %s: its role has no shape in a Llama", t->name);
    }
    if (t->n_dims == (vector ? 1 : 2) && t->shape[0] == rows && (vector || t->shape[1] == cols)) return RS_OK;
    if (vector) return rs_fail(e, RS_E_TENSOR, "tensor %s: its shape is not [%llu], as config.json asks for", t->name, (unsigned long long)rows);
    return rs_fail(e, RS_E_TENSOR, "tensor %s: its shape is not [%llu, %llu], as config.json asks for", t->name, (unsigned long long)rows, (unsigned long long)cols);
}

// XXH3-64 of the k x k signs; int8_t +1 and -1 are the bytes 01 and FF.
static uint64_t base_sum(const rs_hadamard *H)
{
    return XXH3_64bits(H->signs, H->k * H->k);
}

rs_online rs_plan_online(const rs_hadamard *H)
{
    rs_build build = H->build == RS_HADAMARD_PALEY1 ? RS_BUILD_PALEY1 : H->build == RS_HADAMARD_PALEY2 ? RS_BUILD_PALEY2 : RS_BUILD_SYLVESTER;
    return (rs_online){.on = true, .n = H->n, .block = H->block, .k = H->k, .ksum = base_sum(H), .build = build};
}

rs_status rs_plan_hadamard(const rs_online *entry, rs_hadamard **H, rs_error *e)
{
    static const rs_hadamard_build build[] = {[RS_BUILD_SYLVESTER] = RS_HADAMARD_SYLVESTER, [RS_BUILD_PALEY1] = RS_HADAMARD_PALEY1, [RS_BUILD_PALEY2] = RS_HADAMARD_PALEY2};
    static const char *const name[] = {[RS_BUILD_SYLVESTER] = "sylvester", [RS_BUILD_PALEY1] = "paley1", [RS_BUILD_PALEY2] = "paley2"};
    unsigned long long n = entry->n, block = entry->block, k = entry->k;
    *H = NULL;
    if (!entry->on) return rs_fail(e, RS_E_INTERNAL, "online rotation: asked for one that the plan does not hold");
    if (n > (1u << 24)) return rs_fail(e, RS_E_LIMIT, "online rotation: size %llu is above %u", n, 1u << 24);
    if (k == 0 || block == 0 || n == 0 || block % k != 0 || ((block / k) & (block / k - 1)) != 0 || n % block != 0)
        return rs_fail(e, RS_E_TENSOR, "online rotation: block %llu is not k = %llu times a power of 2, or does not divide n = %llu", block, k, n);
    *H = rs_hadamard_new_form(n, block, k, build[entry->build]);
    if (*H == NULL) return rs_fail(e, RS_E_TENSOR, "online rotation: no %s matrix of order %llu", name[entry->build], k);
    uint64_t sum = base_sum(*H);
    if (sum == entry->ksum) return RS_OK;
    rs_hadamard_free(*H);
    *H = NULL;
    return rs_fail(e, RS_E_TENSOR, "online rotation: %s matrix of order %llu: ksum %016llx, stored %016llx", name[entry->build], k, (unsigned long long)sum, (unsigned long long)entry->ksum);
}
