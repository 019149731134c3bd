// SPDX-License-Identifier: Apache-2.0
// The layers of a network: which tensors make one, and how they come into memory, as f32 or as the codes that the file holds.
#include <stdio.h>
#include <stdlib.h>

#include "transforms/device.h"
#include "transforms/network_inside.h"
#include "transforms/plan.h"

enum { W_NORM_ATTN, W_Q, W_K, W_V, W_O, W_NORM_FFN, W_GATE, W_UP, W_DOWN, B_Q, B_K, B_V, B_O, B_GATE, B_UP, B_DOWN, W_COUNT };
_Static_assert((int)W_COUNT == (int)RS_NETWORK_TENSORS, "tensors of a layer");

// One row per tensor of a layer: its name inside the layer, its role.
static const struct {
    const char *name;
    rs_role role;
    bool required;
} layer_tensors[W_COUNT] = {
    [W_NORM_ATTN] = {"input_layernorm.weight", RS_ROLE_NORM, true},
    [W_Q] = {"self_attn.q_proj.weight", RS_ROLE_Q, true},
    [W_K] = {"self_attn.k_proj.weight", RS_ROLE_K, true},
    [W_V] = {"self_attn.v_proj.weight", RS_ROLE_V, true},
    [W_O] = {"self_attn.o_proj.weight", RS_ROLE_O, true},
    [W_NORM_FFN] = {"post_attention_layernorm.weight", RS_ROLE_NORM, true},
    [W_GATE] = {"mlp.gate_proj.weight", RS_ROLE_GATE, true},
    [W_UP] = {"mlp.up_proj.weight", RS_ROLE_UP, true},
    [W_DOWN] = {"mlp.down_proj.weight", RS_ROLE_DOWN, true},
    [B_Q] = {"self_attn.q_proj.bias", RS_ROLE_BIAS, false},
    [B_K] = {"self_attn.k_proj.bias", RS_ROLE_BIAS, false},
    [B_V] = {"self_attn.v_proj.bias", RS_ROLE_BIAS, false},
    [B_O] = {"self_attn.o_proj.bias", RS_ROLE_BIAS, false},
    [B_GATE] = {"mlp.gate_proj.bias", RS_ROLE_BIAS, false},
    [B_UP] = {"mlp.up_proj.bias", RS_ROLE_BIAS, false},
    [B_DOWN] = {"mlp.down_proj.bias", RS_ROLE_BIAS, false},
};

rs_status rs_network_find_layer(const rs_network *n, uint64_t i, int w, const rs_tensor **t, rs_error *e)
{
    char name[RS_MAX_NAME + 1];
    snprintf(name, sizeof name, "model.layers.%llu.%s", (unsigned long long)i, layer_tensors[w].name);
    return rs_network_find(n, name, layer_tensors[w].role, (int64_t)i, layer_tensors[w].required, t, e);
}

// Weights of one tensor as f32: the file's own bytes where they serve, else decoded into *buffer, which grows as needed. codes: these as numbers, NULL: values.
static rs_status load_tensor(rs_network *n, const rs_tensor *t, const rs_int_weights *codes, float **buffer, const float **out, rs_error *e)
{
    const uint8_t *payload = rs_mapped_payload(n->m, t);
    *out = codes == NULL ? rs_weights_direct(t, payload) : NULL;
    if (*out != NULL) return RS_OK;
    uint64_t rows, cols;
    rs_weights_shape(t, &rows, &cols);
    if (*buffer == NULL && (*buffer = aligned_alloc(64, ((size_t)(rows * cols) * sizeof(float) + 63) / 64 * 64)) == NULL)
        return rs_fail(e, RS_E_NOMEM, "%s: %llu x %llu numbers", t->name, (unsigned long long)rows, (unsigned long long)cols);
    *out = *buffer;
    if (codes != NULL) return rs_weights_numbers(t, codes, *buffer, e);
    return rs_weights_rows(t, payload, 0, rows, *buffer, e);
}

static rs_status load_junction(rs_network *n, uint64_t j, rs_junction *out, const rs_tensor **in_use, rs_error *e)
{
    const rs_plan *plan = &rs_mapped_head(n->m)->plan;
    *out = (rs_junction){0};
    *in_use = NULL;
    if (plan->resid == RS_RESID_NONE) return RS_OK;
    uint64_t r = rs_plan_rank(plan, j);
    if (r == 0) return RS_OK;
    char name[32];
    snprintf(name, sizeof name, "resid.%llu", (unsigned long long)j);
    const rs_tensor *t = rs_mapped_find(n->m, name);
    if (t == NULL) return rs_fail(e, RS_E_TENSOR, "%s: not in the file although the plan asks for it", name);
    if (t->n_dims != 2 || t->shape[0] != n->c.d || t->shape[1] != n->c.d) return rs_fail(e, RS_E_TENSOR, "%s: not %llu x %llu", name, (unsigned long long)n->c.d, (unsigned long long)n->c.d);
    *in_use = t;
    const uint8_t *payload = rs_mapped_payload(n->m, t);
    if (plan->resid == RS_RESID_DENSE) return load_tensor(n, t, NULL, &n->junction[j % 2], &out->t, e);
    const rs_part *q = rs_tensor_part(t, "q"), *m = rs_tensor_part(t, "m");
    if (q == NULL || m == NULL || q->shape[1] != r) return rs_fail(e, RS_E_TENSOR, "%s: not of rank %llu as the plan says", name, (unsigned long long)r);
    out->r = (size_t)r;
    out->q = (const float *)(const void *)(payload + q->off);
    out->m = (const float *)(const void *)(payload + m->off);
    return RS_OK;
}

rs_range rs_network_range(rs_span span)
{
    static const rs_range ranges[] = {[RS_SPAN_ZERO] = RS_RANGE_ZERO, [RS_SPAN_FREE] = RS_RANGE_FREE, [RS_SPAN_HALF] = RS_RANGE_HALF};
    return ranges[span];
}

static rs_quantizer quantizer(rs_act a)
{
    return (rs_quantizer){.bits = a.bits, .sym = a.sym, .clip = (float)a.clip, .group = (size_t)a.group, .range = rs_network_range(a.range)};
}

static const int matrices[RS_NETWORK_MATRICES] = {W_Q, W_K, W_V, W_O, W_GATE, W_UP, W_DOWN};

const float **rs_network_numbers(rs_decoder_layer *l, int w)
{
    const float **const all[W_COUNT] = {[W_NORM_ATTN] = &l->norm_attn, [W_Q] = &l->wq, [W_K] = &l->wk, [W_V] = &l->wv, [W_O] = &l->wo, [W_NORM_FFN] = &l->norm_ffn, [W_GATE] = &l->wgate, [W_UP] = &l->wup, [W_DOWN] = &l->wdown,
                                        [B_Q] = &l->bq, [B_K] = &l->bk, [B_V] = &l->bv, [B_O] = &l->bo, [B_GATE] = &l->bgate, [B_UP] = &l->bup, [B_DOWN] = &l->bdown};
    return all[w];
}

const rs_int_weights **rs_network_codes(rs_decoder_layer *l, int m)
{
    const rs_int_weights **const all[RS_NETWORK_MATRICES] = {&l->cq, &l->ck, &l->cv, &l->co, &l->cgate, &l->cup, &l->cdown};
    return all[m];
}

int rs_network_matrix(int w)
{
    for (int m = 0; m < RS_NETWORK_MATRICES; m++)
        if (matrices[m] == w) return m;
    return -1;
}

const rs_int_kernels *rs_network_products(const rs_network *n)
{
    return n->by != NULL || n->device == NULL || !n->sums ? n->by : rs_device_products(n->k);
}

bool rs_network_narrow(const rs_network *n, const rs_tensor *t)
{
    return n->device != NULL && t->enc == RS_ENC_RAW && (t->dtype == RS_F16 || t->dtype == RS_BF16);
}

// The codes of matrix w (W_Q .. W_DOWN) where they can be multiplied as they are; false otherwise: a zero point of a free range could leave the int32 sums.
static bool load_codes(rs_network *n, const rs_tensor *t, rs_quantizer input, rs_int_weights *codes)
{
    const rs_int_kernels *products = rs_network_products(n), *by = products != NULL ? products : rs_int_reference();
    return (n->by != NULL || n->sums) && input.bits < 16 && input.range != RS_RANGE_FREE && (input.group == 0 || input.group == t->shape[1]) && rs_weights_codes(t, rs_mapped_payload(n->m, t), codes) &&
           rs_int_gemm_work(by, codes, input.bits, 1) != 0 && (n->by != NULL || codes->group == 0);
}

rs_status rs_network_fill(rs_network *n, uint64_t i, struct rs_network_layer *slot, bool *kept, rs_error *e)
{
    const rs_plan *plan = &rs_mapped_head(n->m)->plan;
    const rs_int_kernels *by = rs_network_products(n);
    rs_quantizer in[W_COUNT];
    rs_decoder_layer *l = &slot->layer;
    *l = (rs_decoder_layer){.by = by, .kv = quantizer(plan->kv), .v_range = rs_network_range(plan->v_range)};
    *kept = n->kept != NULL;
    for (int w = 0; w < W_COUNT; w++) {
        const int m = rs_network_matrix(w);
        RS_TRY(rs_network_find_layer(n, i, w, &n->in_use[w], e));
        in[w] = quantizer(rs_plan_act(plan, (int64_t)i, layer_tensors[w].role));
        const rs_int_weights *codes = m >= 0 && load_codes(n, n->in_use[w], in[w], &slot->codes[m]) ? &slot->codes[m] : NULL;
        if (m >= 0) *rs_network_codes(l, m) = codes;
        if (n->in_use[w] == NULL || (codes != NULL && by != NULL) || rs_network_narrow(n, n->in_use[w])) continue;
        bool vector = n->in_use[w]->n_dims == 1;
        float **buffer = n->kept != NULL && vector ? &slot->own[w] : &n->buffer[w];
        RS_TRY(load_tensor(n, n->in_use[w], codes, buffer, rs_network_numbers(l, w), e));
        *kept = *kept && *rs_network_numbers(l, w) != n->buffer[w];
    }
    l->in_q = in[W_Q], l->in_k = in[W_K], l->in_v = in[W_V], l->in_o = in[W_O], l->in_gate = in[W_GATE], l->in_up = in[W_UP], l->in_down = in[W_DOWN];
    RS_TRY(load_junction(n, 2 * i, &slot->layer.attn, &n->in_use[W_COUNT], e));
    RS_TRY(load_junction(n, 2 * i + 1, &slot->layer.ffn, &n->in_use[W_COUNT + 1], e));
    for (int j = 0; j < 2; j++) {
        const float *t = j == 0 ? slot->layer.attn.t : slot->layer.ffn.t;
        *kept = *kept && (t == NULL || t != n->junction[j]);
    }
    return RS_OK;
}

void rs_network_release(const rs_network *n)
{
    for (int w = 0; w < W_COUNT + 2; w++)
        if (n->in_use[w] != NULL && !n->stay) rs_mapped_release(n->m, n->in_use[w]);
}

rs_status rs_network_load(rs_network *n, uint64_t i, const rs_decoder_layer **layer, rs_error *e)
{
    if (n->loaded != i && n->device != NULL) {
        RS_TRY(rs_network_device_load(n, i, e));
    } else if (n->loaded != i && n->kept != NULL && n->kept[i].ready) {
        n->at = &n->kept[i];
        n->loaded = i;
    } else if (n->loaded != i) {
        bool kept;
        rs_network_release(n);
        n->loaded = n->c.L;
        n->at = n->kept != NULL ? &n->kept[i] : &n->slot;
        RS_TRY(rs_network_fill(n, i, n->at, &kept, e));
        n->at->ready = kept;
        n->loaded = i;
    }
    *layer = &n->at->layer;
    return RS_OK;
}

const rs_tensor *rs_network_tensor(const rs_network *n, rs_role role)
{
    for (int w = 0; w < B_Q; w++)
        if (layer_tensors[w].role == role) return n->in_use[w];
    return NULL;
}

