// SPDX-License-Identifier: Apache-2.0
// A model in a mapped file as a network that runs, one layer's weights in memory at a time.
#include "transforms/network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/threads.h"
#include "transforms/plan.h"
#include "transforms/weights.h"

#define HEAD_BLOCK 8192 // rows of the LM head decoded at a time

enum { W_NORM_ATTN, W_Q, W_K, W_V, W_O, W_NORM_FFN, W_GATE, W_UP, W_DOWN, B_Q, B_K, B_V, B_O, B_GATE, B_UP, B_DOWN, W_COUNT };

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

struct rs_network {
    const rs_mapped *m;
    const rs_kernels *k;
    rs_config c;
    rs_hadamard *r3, *r4;
    rs_decoder_shape shape;
    const rs_tensor *embed, *head, *norm;
    float *norm_gamma;
    double *inv_freq;
    rs_decoder_layer layer;
    uint64_t loaded;              // layer whose weights are in memory, L = none
    float *buffer[W_COUNT];       // decoded weights, where the file cannot be used as it is
    float *junction[2][2];        // q and m, or t, of the two junctions
    const rs_tensor *in_use[W_COUNT + 2];
    bool stay;                    // pages of a layer are kept when the next one is loaded
    float *cos, *sin;
    size_t rope_rows;
    void *scratch;
    size_t scratch_size;
};

// Finds a tensor and checks its place and shape (the role decides the shape and, with the plan, how its input is quantised); *t = NULL when it is absent and not required.
static rs_status find(const rs_network *n, const char *name, rs_role role, int64_t layer, bool required, const rs_tensor **t, rs_error *e)
{
    *t = rs_mapped_find(n->m, name);
    if (*t == NULL) return required ? rs_fail(e, RS_E_TENSOR, "%s: not in the file", name) : RS_OK;
    if ((*t)->role != role || (*t)->layer != layer) return rs_fail(e, RS_E_TENSOR, "%s: role %s of layer %lld, not %s of layer %lld", name, rs_role_name((*t)->role), (long long)(*t)->layer, rs_role_name(role), (long long)layer);
    return rs_plan_shape(*t, &n->c, e);
}

static rs_status find_layer(const rs_network *n, uint64_t i, int w, const rs_tensor **t, rs_error *e)
{
    char name[RS_MAX_NAME + 1];
    snprintf(name, sizeof name, "model.layers.%llu.%s", (unsigned long long)i, layer_tensors[w].name);
    return find(n, name, layer_tensors[w].role, (int64_t)i, layer_tensors[w].required, t, e);
}

static rs_status check_tensors(rs_network *n, rs_error *e)
{
    RS_TRY(find(n, "model.embed_tokens.weight", RS_ROLE_EMBED, -1, true, &n->embed, e));
    RS_TRY(find(n, "lm_head.weight", RS_ROLE_HEAD, -1, !n->c.tied, &n->head, e));
    if (n->head == NULL) n->head = n->embed;
    RS_TRY(find(n, "model.norm.weight", RS_ROLE_NORM, -1, true, &n->norm, e));
    for (uint64_t i = 0; i < n->c.L; i++)
        for (int w = 0; w < W_COUNT; w++) {
            const rs_tensor *t;
            RS_TRY(find_layer(n, i, w, &t, e));
        }
    return RS_OK;
}

static rs_status open_rope(rs_network *n, rs_error *e)
{
    const rs_config *c = &n->c;
    n->inv_freq = malloc((size_t)c->h / 2 * sizeof *n->inv_freq);
    if (n->inv_freq == NULL) return rs_fail(e, RS_E_NOMEM, "RoPE frequencies");
    rs_rope_frequencies((size_t)c->h, c->rope_theta, n->inv_freq);
    if (c->rope_scaling == RS_ROPE_LLAMA3)
        rs_rope_scale_llama3((size_t)c->h, c->rope_factor, c->rope_low_freq, c->rope_high_freq, (double)c->rope_original_context, n->inv_freq);
    else if (c->rope_scaling == RS_ROPE_LINEAR) rs_rope_scale_linear((size_t)c->h, c->rope_factor, n->inv_freq);
    return RS_OK;
}

// The matrix of an online rotation of size n, NULL where the plan has none.
static rs_status open_online(const rs_online *entry, const char *what, uint64_t n, rs_hadamard **H, rs_error *e)
{
    if (!entry->on) return RS_OK;
    if (entry->n != n) return rs_fail(e, RS_E_TENSOR, "%s: size %llu, the model needs %llu", what, (unsigned long long)entry->n, (unsigned long long)n);
    rs_status s = rs_plan_hadamard(entry, H, e);
    return s == RS_OK ? RS_OK : rs_error_prefix(e, s, "%s", what);
}

static rs_status open_network(rs_network *n, rs_error *e)
{
    const rs_head *head = rs_mapped_head(n->m);
    if (head->kind != RS_KIND_WEIGHTS) return rs_fail(e, RS_USAGE, "the file holds rotations, not weights");
    size_t len;
    const uint8_t *json = rs_mapped_file(n->m, "config.json", &len);
    if (json == NULL) return rs_fail(e, RS_E_IMPORT, "config.json: not in the file");
    RS_TRY(rs_config_parse(&n->c, json, len, e));
    if (n->c.L != head->layers) return rs_fail(e, RS_E_TENSOR, "config.json: %llu layers, HEAD says %llu", (unsigned long long)n->c.L, (unsigned long long)head->layers);
    RS_TRY(check_tensors(n, e));
    const rs_act *kv = &head->plan.kv;
    if (kv->bits < 16 && kv->group != 0 && n->c.h % kv->group != 0) return rs_fail(e, RS_E_TENSOR, "plan: kv_group %llu does not divide the head size %llu", (unsigned long long)kv->group, (unsigned long long)n->c.h);
    RS_TRY(open_online(&head->plan.r3, "r3", n->c.h, &n->r3, e));
    RS_TRY(open_online(&head->plan.r4, "r4", n->c.f, &n->r4, e));
    n->shape = (rs_decoder_shape){.d = n->c.d, .f = n->c.f, .h = n->c.h, .n_q = n->c.n_q, .n_kv = n->c.n_kv, .eps = (float)n->c.norm_eps, .r3 = n->r3, .r4 = n->r4};
    n->norm_gamma = malloc((size_t)n->c.d * sizeof(float));
    if (n->norm_gamma == NULL) return rs_fail(e, RS_E_NOMEM, "final norm");
    RS_TRY(rs_weights_rows(n->norm, rs_mapped_payload(n->m, n->norm), 0, 1, n->norm_gamma, e));
    n->loaded = n->c.L;
    return open_rope(n, e);
}

rs_status rs_network_open(rs_network **out, const rs_mapped *m, const rs_kernels *k, rs_error *e)
{
    rs_network *n = calloc(1, sizeof *n);
    *out = n;
    if (n == NULL) return rs_fail(e, RS_E_NOMEM, "network");
    n->m = m;
    n->k = k != NULL ? k : rs_kernels_cpu();
    rs_status s = open_network(n, e);
    if (s != RS_OK) {
        rs_network_close(n);
        *out = NULL;
    }
    return s;
}

void rs_network_close(rs_network *n)
{
    if (n == NULL) return;
    rs_hadamard_free(n->r3);
    rs_hadamard_free(n->r4);
    for (int w = 0; w < W_COUNT; w++) free(n->buffer[w]);
    for (int j = 0; j < 4; j++) free(n->junction[j / 2][j % 2]);
    free(n->norm_gamma);
    free(n->inv_freq);
    free(n->cos);
    free(n->sin);
    free(n->scratch);
    free(n);
}

const rs_config *rs_network_config(const rs_network *n)
{
    return &n->c;
}
const rs_head *rs_network_head(const rs_network *n)
{
    return rs_mapped_head(n->m);
}
const rs_decoder_shape *rs_network_shape(const rs_network *n)
{
    return &n->shape;
}
const rs_kernels *rs_network_kernels(const rs_network *n)
{
    return n->k;
}

void rs_network_stay(rs_network *n)
{
    n->stay = true;
}
const float *rs_network_final_norm(const rs_network *n)
{
    return n->norm_gamma;
}
const float *rs_network_head_direct(const rs_network *n)
{
    return rs_weights_direct(n->head, rs_mapped_payload(n->m, n->head));
}
rs_status rs_network_head_rows(const rs_network *n, uint64_t first, uint64_t count, float *out, rs_error *e)
{
    return rs_weights_rows(n->head, rs_mapped_payload(n->m, n->head), first, count, out, e);
}

rs_status rs_network_embed(const rs_network *n, size_t S, const int32_t *ids, float *x, rs_error *e)
{
    const uint8_t *payload = rs_mapped_payload(n->m, n->embed);
    for (size_t s = 0; s < S; s++) {
        if (ids[s] < 0 || (uint64_t)ids[s] >= n->c.V) return rs_fail(e, RS_E_VALUE, "token %zu: id %d is outside the vocabulary of %llu", s, ids[s], (unsigned long long)n->c.V);
        RS_TRY(rs_weights_rows(n->embed, payload, (uint64_t)ids[s], 1, x + s * n->c.d, e));
    }
    return RS_OK;
}

// Weights of one tensor as f32: the file's own bytes where they serve, else decoded into *buffer, which grows as needed.
static rs_status load_tensor(rs_network *n, const rs_tensor *t, float **buffer, const float **out, rs_error *e)
{
    const uint8_t *payload = rs_mapped_payload(n->m, t);
    *out = rs_weights_direct(t, payload);
    if (*out != NULL) return RS_OK;
    uint64_t rows, cols;
    rs_weights_shape(t, &rows, &cols);
    if (*buffer == NULL && (*buffer = aligned_alloc(64, ((size_t)(rows * cols) * sizeof(float) + 63) / 64 * 64)) == NULL)
        return rs_fail(e, RS_E_NOMEM, "%s: %llu x %llu numbers", t->name, (unsigned long long)rows, (unsigned long long)cols);
    *out = *buffer;
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
    if (plan->resid == RS_RESID_DENSE) return load_tensor(n, t, &n->junction[j % 2][0], &out->t, e);
    const rs_part *q = rs_tensor_part(t, "q"), *m = rs_tensor_part(t, "m");
    if (q == NULL || m == NULL || q->shape[1] != r) return rs_fail(e, RS_E_TENSOR, "%s: not of rank %llu as the plan says", name, (unsigned long long)r);
    out->r = (size_t)r;
    out->q = (const float *)(const void *)(payload + q->off);
    out->m = (const float *)(const void *)(payload + m->off);
    return RS_OK;
}

static rs_quantizer quantizer(rs_act a)
{
    return (rs_quantizer){.bits = a.bits, .sym = a.sym, .clip = (float)a.clip, .group = (size_t)a.group};
}

rs_status rs_network_load(rs_network *n, uint64_t i, const rs_decoder_layer **layer, rs_error *e)
{
    *layer = &n->layer;
    if (n->loaded == i) return RS_OK;
    for (int w = 0; w < W_COUNT + 2; w++)
        if (n->in_use[w] != NULL && !n->stay) rs_mapped_release(n->m, n->in_use[w]);
    n->loaded = n->c.L;
    const float *p[W_COUNT] = {0};
    for (int w = 0; w < W_COUNT; w++) {
        RS_TRY(find_layer(n, i, w, &n->in_use[w], e));
        if (n->in_use[w] != NULL) RS_TRY(load_tensor(n, n->in_use[w], &n->buffer[w], &p[w], e));
    }
    const rs_plan *plan = &rs_mapped_head(n->m)->plan;
    int64_t l = (int64_t)i;
    n->layer = (rs_decoder_layer){
        .norm_attn = p[W_NORM_ATTN], .norm_ffn = p[W_NORM_FFN],
        .wq = p[W_Q], .wk = p[W_K], .wv = p[W_V], .wo = p[W_O], .wgate = p[W_GATE], .wup = p[W_UP], .wdown = p[W_DOWN],
        .bq = p[B_Q], .bk = p[B_K], .bv = p[B_V], .bo = p[B_O], .bgate = p[B_GATE], .bup = p[B_UP], .bdown = p[B_DOWN],
        .in_q = quantizer(rs_plan_act(plan, l, RS_ROLE_Q)), .in_k = quantizer(rs_plan_act(plan, l, RS_ROLE_K)), .in_v = quantizer(rs_plan_act(plan, l, RS_ROLE_V)),
        .in_o = quantizer(rs_plan_act(plan, l, RS_ROLE_O)), .in_gate = quantizer(rs_plan_act(plan, l, RS_ROLE_GATE)),
        .in_up = quantizer(rs_plan_act(plan, l, RS_ROLE_UP)), .in_down = quantizer(rs_plan_act(plan, l, RS_ROLE_DOWN)), .kv = quantizer(plan->kv),
    };
    RS_TRY(load_junction(n, 2 * i, &n->layer.attn, &n->in_use[W_COUNT], e));
    RS_TRY(load_junction(n, 2 * i + 1, &n->layer.ffn, &n->in_use[W_COUNT + 1], e));
    n->loaded = i;
    return RS_OK;
}

rs_status rs_network_rope(rs_network *n, size_t S, const float **cos, const float **sin, rs_error *e)
{
    size_t half = n->shape.h / 2;
    if (S > n->rope_rows) {
        free(n->cos);
        free(n->sin);
        n->rope_rows = 0;
        n->cos = malloc(S * half * sizeof(float));
        n->sin = malloc(S * half * sizeof(float));
        if (n->cos == NULL || n->sin == NULL) return rs_fail(e, RS_E_NOMEM, "RoPE tables of %zu tokens", S);
        rs_rope_tables(S, 0, n->shape.h, n->inv_freq, n->cos, n->sin);
        n->rope_rows = S;
    }
    *cos = n->cos;
    *sin = n->sin;
    return RS_OK;
}

// Scratch for S tokens.
static rs_status prepare(rs_network *n, const rs_decoder_layer *layer, size_t S, rs_error *e)
{
    size_t need = rs_decoder_scratch(&n->shape, layer, S);
    if (need <= n->scratch_size) return RS_OK;
    free(n->scratch);
    n->scratch_size = 0;
    n->scratch = aligned_alloc(64, (need + 63) / 64 * 64);
    if (n->scratch == NULL) return rs_fail(e, RS_E_NOMEM, "%zu bytes of activations", need);
    n->scratch_size = need;
    return RS_OK;
}

rs_status rs_network_forward(rs_network *n, size_t S, float *x, rs_tap_fn *tap, void *context, rs_error *e)
{
    return rs_network_run(n, &n->layer, RS_HALF_BOTH, S, x, tap, context, e);
}

const rs_tensor *rs_network_tensor(const rs_network *n, rs_role role)
{
    for (int w = 0; w < B_Q; w++)
        if (layer_tensors[w].role == role) return n->in_use[w];
    return NULL;
}

rs_status rs_network_run(rs_network *n, const rs_decoder_layer *layer, rs_half halves, size_t S, float *x, rs_tap_fn *tap, void *context, rs_error *e)
{
    if (n->loaded == n->c.L) return rs_fail(e, RS_E_INTERNAL, "no layer is loaded");
    const float *cos, *sin;
    RS_TRY(prepare(n, layer, S, e));
    RS_TRY(rs_network_rope(n, S, &cos, &sin, e));
    size_t bad = rs_decoder_halves(n->k, &n->shape, layer, halves, S, cos, sin, x, n->scratch, tap, context);
    return bad == 0 ? RS_OK : rs_fail(e, RS_E_VALUE, "layer %llu: %zu rows of activations hold NaN or infinity", (unsigned long long)n->loaded, bad);
}

rs_status rs_network_logits(rs_network *n, size_t rows, const float *x, float *logits, rs_error *e)
{
    const size_t d = n->shape.d, V = (size_t)n->c.V;
    const uint8_t *payload = rs_mapped_payload(n->m, n->head);
    const float *direct = rs_weights_direct(n->head, payload);
    float *y = malloc(rows * d * sizeof *y), *block = direct == NULL ? malloc((V < HEAD_BLOCK ? V : HEAD_BLOCK) * d * sizeof *block) : NULL;
    rs_status s = y == NULL || (direct == NULL && block == NULL) ? rs_fail(e, RS_E_NOMEM, "LM head") : RS_OK;
    if (s == RS_OK) n->k->rmsnorm(rows, d, x, n->norm_gamma, n->shape.eps, y);
    if (s == RS_OK && direct != NULL) n->k->gemm_nt(rows, V, d, y, d, direct, d, 0, logits, V);
    for (size_t v = 0; s == RS_OK && direct == NULL && v < V; v += HEAD_BLOCK) {
        size_t m = V - v < HEAD_BLOCK ? V - v : HEAD_BLOCK;
        s = rs_weights_rows(n->head, payload, v, m, block, e);
        if (s == RS_OK) n->k->gemm_nt(rows, m, d, y, d, block, d, 0, logits + v, V);
    }
    free(y);
    free(block);
    return s;
}
