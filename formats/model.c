// SPDX-License-Identifier: Apache-2.0
// The table of tensors of a Llama: what each is called, and which sizes of the configuration its shape takes.
#include "formats/model.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef enum size_of { D, F, Q, KV } size_of; // d, f, n_q h, n_kv h

// One linear map of a layer: weight [rows, cols], bias [rows].
typedef struct linear {
    rs_role role;
    const char *name, *gguf;
    size_of rows, cols;
    bool attention;
} linear;

static const linear linears[] = {
    {RS_ROLE_Q, "self_attn.q_proj", "attn_q", Q, D, true},
    {RS_ROLE_K, "self_attn.k_proj", "attn_k", KV, D, true},
    {RS_ROLE_V, "self_attn.v_proj", "attn_v", KV, D, true},
    {RS_ROLE_O, "self_attn.o_proj", "attn_output", D, Q, true},
    {RS_ROLE_GATE, "mlp.gate_proj", "ffn_gate", F, D, false},
    {RS_ROLE_UP, "mlp.up_proj", "ffn_up", F, D, false},
    {RS_ROLE_DOWN, "mlp.down_proj", "ffn_down", D, F, false},
};
#define N_LINEARS (sizeof linears / sizeof *linears)

static uint64_t size_value(const rs_config *c, size_of s)
{
    switch (s) {
    case D: return c->d;
    case F: return c->f;
    case Q: return c->n_q * c->h;
    case KV: break;
    }
    return c->n_kv * c->h;
}

static uint64_t per_layer(const rs_config *c)
{
    return N_LINEARS + (c->attention_bias ? 4 : 0) + (c->mlp_bias ? 3 : 0);
}

uint64_t rs_model_count(const rs_config *c)
{
    return c->L * 2 + 2 + c->L * per_layer(c) + (c->tied ? 0 : 1);
}

static void set(rs_model_tensor *t, rs_role role, int64_t layer, uint64_t rows, uint64_t cols)
{
    t->role = role;
    t->layer = layer;
    t->n_dims = cols == 0 ? 1 : 2;
    t->shape[0] = rows;
    t->shape[1] = cols;
}

static void norm_at(const rs_config *c, uint64_t i, rs_model_tensor *t)
{
    bool final = i == c->L * 2;
    set(t, RS_ROLE_NORM, final ? -1 : (int64_t)(i / 2), c->d, 0);
    if (final) {
        strcpy(t->name, "model.norm.weight");
        strcpy(t->gguf, "output_norm.weight");
        return;
    }
    snprintf(t->name, sizeof t->name, "model.layers.%" PRIu64 ".%s.weight", i / 2, i % 2 == 0 ? "input_layernorm" : "post_attention_layernorm");
    snprintf(t->gguf, sizeof t->gguf, "blk.%" PRIu64 ".%s.weight", i / 2, i % 2 == 0 ? "attn_norm" : "ffn_norm");
}

// The i-th tensor of a layer: weights in the table's order, each bias behind its weight.
static void linear_at(const rs_config *c, uint64_t layer, uint64_t i, rs_model_tensor *t)
{
    for (size_t k = 0; k < N_LINEARS; k++) {
        const linear *l = &linears[k];
        uint64_t n = l->attention ? (c->attention_bias ? 2 : 1) : (c->mlp_bias ? 2 : 1);
        if (i >= n) {
            i -= n;
            continue;
        }
        bool bias = i == 1;
        set(t, bias ? RS_ROLE_BIAS : l->role, (int64_t)layer, size_value(c, l->rows), bias ? 0 : size_value(c, l->cols));
        t->interleaved = l->role == RS_ROLE_Q ? c->n_q : l->role == RS_ROLE_K ? c->n_kv : 0;
        snprintf(t->name, sizeof t->name, "model.layers.%" PRIu64 ".%s.%s", layer, l->name, bias ? "bias" : "weight");
        snprintf(t->gguf, sizeof t->gguf, "blk.%" PRIu64 ".%s.%s", layer, l->gguf, bias ? "bias" : "weight");
        return;
    }
}

void rs_model_at(const rs_config *c, uint64_t i, rs_model_tensor *t)
{
    memset(t, 0, sizeof *t);
    uint64_t norms = c->L * 2 + 1;
    if (i < norms) {
        norm_at(c, i, t);
    } else if (i == norms) {
        set(t, RS_ROLE_EMBED, -1, c->V, c->d);
        strcpy(t->name, "model.embed_tokens.weight");
        strcpy(t->gguf, "token_embd.weight");
    } else if (i - norms - 1 < c->L * per_layer(c)) {
        linear_at(c, (i - norms - 1) / per_layer(c), (i - norms - 1) % per_layer(c), t);
    } else {
        set(t, RS_ROLE_HEAD, -1, c->V, c->d);
        strcpy(t->name, "lm_head.weight");
        strcpy(t->gguf, "output.weight");
    }
}
