// SPDX-License-Identifier: Apache-2.0
// A model in a mapped file as a network that runs, one layer's weights in memory at a time.
#include "transforms/network_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/threads.h"
#include "transforms/plan.h"
#include "transforms/weights.h"

#define HEAD_BLOCK 8192 // rows of the LM head decoded at a time

rs_status rs_network_find(const rs_network *n, const char *name, rs_role role, int64_t layer, bool required, const rs_tensor **t, rs_error *e)
{
    *t = rs_mapped_find(n->m, name);
    if (*t == NULL) return required ? rs_fail(e, RS_E_TENSOR, "%s: not in the file", name) : RS_OK;
    if ((*t)->role != role || (*t)->layer != layer) return rs_fail(e, RS_E_TENSOR, "%s: role %s of layer %lld, not %s of layer %lld", name, rs_role_name((*t)->role), (long long)(*t)->layer, rs_role_name(role), (long long)layer);
    return rs_plan_shape(*t, &n->c, e);
}

static rs_status check_tensors(rs_network *n, rs_error *e)
{
    RS_TRY(rs_network_find(n, "model.embed_tokens.weight", RS_ROLE_EMBED, -1, true, &n->embed, e));
    RS_TRY(rs_network_find(n, "lm_head.weight", RS_ROLE_HEAD, -1, !n->c.tied, &n->head, e));
    if (n->head == NULL) n->head = n->embed;
    RS_TRY(rs_network_find(n, "model.norm.weight", RS_ROLE_NORM, -1, true, &n->norm, e));
    for (uint64_t i = 0; i < n->c.L; i++)
        for (int w = 0; w < RS_NETWORK_TENSORS; w++) {
            const rs_tensor *t;
            RS_TRY(rs_network_find_layer(n, i, w, &t, e));
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
    n->at = &n->slot;
    RS_TRY(open_rope(n, e));
    return n->k->memory != NULL ? rs_network_device_open(n, e) : RS_OK;
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
    for (int w = 0; w < RS_NETWORK_TENSORS; w++) free(n->buffer[w]);
    for (int j = 0; j < 2; j++) free(n->junction[j]);
    for (uint64_t i = 0; n->kept != NULL && i < n->c.L; i++)
        for (int w = 0; w < RS_NETWORK_TENSORS; w++) free(n->kept[i].own[w]);
    free(n->kept);
    rs_network_device_close(n);
    rs_memory_of(n->k)->release(n->cache.memory);
    rs_memory_of(n->k)->release(n->scratch);
    free(n->norm_gamma);
    free(n->inv_freq);
    free(n->cos);
    free(n->sin);
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

void rs_network_integer(rs_network *n, const rs_int_kernels *by)
{
    n->by = by;
    n->loaded = n->c.L;
}
void rs_network_residual(rs_network *n, bool on)
{
    n->bare = !on;
}
rs_status rs_network_token_bytes(const rs_network *n, double *bytes, rs_error *e)
{
    *bytes = (double)n->head->payload_len + (double)n->norm->payload_len;
    for (uint64_t i = 0; i < n->c.L; i++)
        for (int w = 0; w < RS_NETWORK_TENSORS; w++) {
            const rs_tensor *t;
            RS_TRY(rs_network_find_layer(n, i, w, &t, e));
            if (t != NULL) *bytes += (double)t->payload_len;
        }
    for (uint64_t j = 0; j < 2 * n->c.L; j++) {
        char name[32];
        snprintf(name, sizeof name, "resid.%llu", (unsigned long long)j);
        const rs_tensor *t = rs_mapped_find(n->m, name);
        if (t != NULL) *bytes += (double)t->payload_len;
    }
    return RS_OK;
}
void rs_network_sums(rs_network *n)
{
    n->sums = true;
    n->loaded = n->c.L;
}
rs_status rs_network_keep(rs_network *n, rs_error *e)
{
    if (n->device != NULL) return rs_network_device_keep(n, e);
    n->stay = true;
    if (n->kept == NULL) n->kept = calloc((size_t)n->c.L, sizeof *n->kept);
    n->loaded = n->c.L;
    return n->kept != NULL ? RS_OK : rs_fail(e, RS_E_NOMEM, "%llu layers", (unsigned long long)n->c.L);
}
const float *rs_network_final_norm(const rs_network *n)
{
    return n->device != NULL ? rs_network_device_norm(n) : n->norm_gamma;
}
const float *rs_network_head_direct(const rs_network *n)
{
    return rs_weights_direct(n->head, rs_mapped_payload(n->m, n->head));
}
rs_status rs_network_head_rows(const rs_network *n, uint64_t first, uint64_t count, float *out, rs_error *e)
{
    return rs_weights_rows(n->head, rs_mapped_payload(n->m, n->head), first, count, out, e);
}

static rs_status embed(const rs_network *n, size_t S, const int32_t *ids, float *x, rs_error *e)
{
    const uint8_t *payload = rs_mapped_payload(n->m, n->embed);
    for (size_t s = 0; s < S; s++) {
        if (ids[s] < 0 || (uint64_t)ids[s] >= n->c.V) return rs_fail(e, RS_E_VALUE, "token %zu: id %d is outside the vocabulary of %llu", s, ids[s], (unsigned long long)n->c.V);
        RS_TRY(rs_weights_rows(n->embed, payload, (uint64_t)ids[s], 1, x + s * n->c.d, e));
    }
    if (!n->stay && n->embed != n->head) rs_mapped_release(n->m, n->embed);
    return RS_OK;
}

rs_status rs_network_embed(const rs_network *n, size_t S, const int32_t *ids, float *x, rs_error *e)
{
    if (n->device == NULL) return embed(n, S, ids, x, e);
    const size_t bytes = S * n->shape.d * sizeof *x;
    float *rows = malloc(bytes + (bytes == 0));
    if (rows == NULL) return rs_fail(e, RS_E_NOMEM, "embeddings of %zu tokens", S);
    const rs_status s = embed(n, S, ids, rows, e);
    if (s == RS_OK) n->k->memory->put(x, rows, bytes);
    free(rows);
    return s;
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
    return n->device != NULL ? rs_network_device_rope(n, n->rope_rows, cos, sin, e) : RS_OK;
}

rs_status rs_network_alloc(rs_network *n, size_t bytes, void **p, rs_error *e)
{
    rs_network_array a = {0};
    *p = NULL;
    if (n->device != NULL) RS_TRY(rs_network_room(n, &a, bytes, "arrays", e));
    else a.p = rs_memory_process.alloc(bytes);
    *p = a.p;
    return a.p != NULL ? RS_OK : rs_fail(e, RS_E_NOMEM, "%zu bytes", bytes);
}

rs_status rs_network_settle(rs_network *n, rs_error *e)
{
    return n->device != NULL ? rs_network_device_settle(n, e) : RS_OK;
}

// Scratch for S tokens.
static rs_status prepare(rs_network *n, const rs_decoder_layer *layer, size_t S, rs_error *e)
{
    size_t need = rs_decoder_scratch(&n->shape, layer, S);
    if (need <= n->scratch_size) return RS_OK;
    rs_memory_of(n->k)->release(n->scratch);
    n->scratch_size = 0;
    RS_TRY(rs_network_alloc(n, need, &n->scratch, e));
    n->scratch_size = need;
    return RS_OK;
}

static rs_status not_finite(rs_network *n, size_t bad, rs_error *e)
{
    rs_network_queued(n);
    return bad == 0 ? RS_OK : rs_fail(e, RS_E_VALUE, "layer %llu: %zu rows of activations hold NaN or infinity", (unsigned long long)n->loaded, bad);
}

rs_status rs_network_cache(rs_network *n, size_t capacity, rs_kv_cache *cache, rs_error *e)
{
    const rs_plan *plan = &rs_mapped_head(n->m)->plan;
    const rs_act *kv = &plan->kv;
    *cache = (rs_kv_cache){.q = {.bits = kv->bits, .sym = kv->sym, .clip = (float)kv->clip, .group = (size_t)kv->group, .range = rs_network_range(kv->range)}, .n_kv = n->shape.n_kv, .h = n->shape.h, .capacity = capacity,
                             .v_range = rs_network_range(plan->v_range)};
    size_t bytes = rs_kv_cache_bytes(cache);
    if (bytes == 0) return rs_fail(e, RS_USAGE, "no KV cache of %zu tokens and %zu heads of %zu", capacity, cache->n_kv, cache->h);
    rs_status s = rs_network_alloc(n, bytes, (void **)&cache->memory, e);
    return s == RS_OK ? RS_OK : rs_error_prefix(e, s, "KV cache of %zu tokens", capacity);
}

rs_status rs_network_step(rs_network *n, rs_kv_cache *cache, size_t S, float *x, rs_error *e)
{
    if (n->loaded == n->c.L || n->by == NULL || S > cache->capacity - cache->count) return rs_fail(e, RS_E_INTERNAL, "no layer is loaded, or the cache is full");
    const float *cos, *sin;
    rs_decoder_layer layer = n->at->layer;
    if (n->bare) layer.attn = layer.ffn = (rs_junction){0};
    RS_TRY(prepare(n, &layer, S, e));
    RS_TRY(rs_network_rope(n, cache->count + S, &cos, &sin, e));
    const size_t from = cache->count * (n->shape.h / 2);
    return not_finite(n, rs_decoder_cached(n->k, &n->shape, &layer, cache, S, cos + from, sin + from, x, n->scratch), e);
}

rs_status rs_network_forward(rs_network *n, size_t S, float *x, rs_tap_fn *tap, void *context, rs_error *e)
{
    if (n->by == NULL || tap != NULL) return rs_network_run(n, &n->at->layer, RS_HALF_BOTH, S, x, tap, context, e);
    if (n->cache.capacity < S) {
        rs_memory_of(n->k)->release(n->cache.memory);
        n->cache.memory = NULL;
        n->cache.capacity = 0;
        RS_TRY(rs_network_cache(n, S, &n->cache, e));
    }
    n->cache.count = 0;
    return rs_network_step(n, &n->cache, S, x, e);
}

rs_status rs_network_run(rs_network *n, const rs_decoder_layer *layer, rs_half halves, size_t S, float *x, rs_tap_fn *tap, void *context, rs_error *e)
{
    if (n->loaded == n->c.L) return rs_fail(e, RS_E_INTERNAL, "no layer is loaded");
    const float *cos, *sin;
    RS_TRY(prepare(n, layer, S, e));
    RS_TRY(rs_network_rope(n, S, &cos, &sin, e));
    return not_finite(n, rs_decoder_halves(n->k, &n->shape, layer, halves, S, cos, sin, x, n->scratch, tap, context), e);
}

// Of one row, by a head of 16-bit floats or 8-bit codes: converting it once more in memory would cost more than the product.
static rs_status row_logits(rs_network *n, const rs_int_weights *codes, const float *x, float *logits, rs_error *e)
{
    const size_t d = n->shape.d;
    float *y = malloc(d * sizeof *y);
    if (y == NULL) return rs_fail(e, RS_E_NOMEM, "LM head");
    n->k->rmsnorm(1, d, x, n->norm_gamma, n->shape.eps, y);
    if (codes != NULL) n->k->gemv_int8((size_t)n->c.V, d, y, (const int8_t *)codes->codes, codes->scales, logits);
    else n->k->gemv_half(n->head->dtype == RS_BF16, (size_t)n->c.V, d, y, (const uint16_t *)(const void *)rs_mapped_payload(n->m, n->head), d, logits);
    free(y);
    return RS_OK;
}

rs_status rs_network_logits(rs_network *n, size_t rows, const float *x, float *logits, rs_error *e)
{
    const size_t d = n->shape.d, V = (size_t)n->c.V;
    const uint8_t *payload = rs_mapped_payload(n->m, n->head);
    const float *direct = rs_weights_direct(n->head, payload);
    rs_int_weights codes;
    if (n->device != NULL) return rs_network_device_logits(n, rows, x, logits, e);
    if (rows == 1 && n->head->enc == RS_ENC_RAW && (n->head->dtype == RS_F16 || n->head->dtype == RS_BF16)) return row_logits(n, NULL, x, logits, e);
    if (rows == 1 && rs_weights_codes(n->head, payload, &codes) && codes.bits == 8 && codes.group == 0 && codes.scales != NULL) return row_logits(n, &codes, x, logits, e);
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

rs_status rs_network_losses(rs_network *n, size_t rows, const float *logits, const int32_t *target, double *nll, rs_error *e)
{
    const size_t V = (size_t)n->c.V;
    if (n->device != NULL) return rs_network_device_losses(n, rows, logits, target, nll, e);
    n->k->cross_entropy(rows, V, logits, V, target, nll, NULL);
    return RS_OK;
}
