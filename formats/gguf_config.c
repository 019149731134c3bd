// SPDX-License-Identifier: Apache-2.0
// config.json from GGUF metadata. What config.json cannot express is refused, so that no model changes on its way.
#include "formats/gguf_config.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/endian.h"
#include "formats/text_buffer.h"

#define MAX_SIZE (1u << 24)
#define MAX_TOKENS 0x7fffffffu
#define MAX_HALF_HEAD 4096u // factors that are read
// The context that every published llama3 scaling starts from; only its ratio to the two frequency factors counts.
#define LLAMA3_CONTEXT 8192u

typedef struct sizes {
    uint64_t L, d, f, h, n_q, n_kv, V, context;
    double eps, theta;
} sizes;

const rs_gguf_tensor *rs_gguf_config_tensor(const rs_gguf *g, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < g->n_tensors; i++)
        if (g->tensor[i].name.len == len && memcmp(g->tensor[i].name.p, name, len) == 0) return &g->tensor[i];
    return NULL;
}

static rs_status check_architecture(const rs_gguf *g, rs_error *e)
{
    rs_gguf_text t;
    RS_TRY(rs_gguf_string(g, "general.architecture", &t, e));
    if (t.p == NULL) return rs_fail(e, RS_E_IMPORT, "key general.architecture is missing");
    if (t.len == 5 && memcmp(t.p, "llama", 5) == 0) return RS_OK;
    return rs_fail(e, RS_E_IMPORT, "architecture \"%.*s\" is not supported (supported: llama)", (int)(t.len < 64 ? t.len : 64), t.p);
}

static rs_status read_sizes(const rs_gguf *g, sizes *s, rs_error *e)
{
    RS_TRY(rs_gguf_uint(g, "llama.block_count", 1, 65536, 0, &s->L, e));
    RS_TRY(rs_gguf_uint(g, "llama.embedding_length", 1, MAX_SIZE, 0, &s->d, e));
    RS_TRY(rs_gguf_uint(g, "llama.feed_forward_length", 1, MAX_SIZE, 0, &s->f, e));
    RS_TRY(rs_gguf_uint(g, "llama.attention.head_count", 1, 65536, 0, &s->n_q, e));
    RS_TRY(rs_gguf_uint(g, "llama.attention.head_count_kv", 1, 65536, s->n_q, &s->n_kv, e));
    RS_TRY(rs_gguf_uint(g, "llama.context_length", 1, MAX_TOKENS, 2048, &s->context, e));
    RS_TRY(rs_gguf_number(g, "llama.attention.layer_norm_rms_epsilon", NAN, &s->eps, e));
    RS_TRY(rs_gguf_number(g, "llama.rope.freq_base", 10000, &s->theta, e));
    uint64_t n, even = s->d % s->n_q == 0 ? s->d / s->n_q : 0;
    RS_TRY(rs_gguf_uint(g, "llama.attention.key_length", 2, MAX_SIZE, even, &s->h, e));
    RS_TRY(rs_gguf_uint(g, "llama.attention.value_length", 2, MAX_SIZE, s->h, &n, e));
    if (n != s->h) return rs_fail(e, RS_E_IMPORT, "heads of %" PRIu64 " for keys and %" PRIu64 " for values are not supported", s->h, n);
    RS_TRY(rs_gguf_uint(g, "llama.rope.dimension_count", 2, MAX_SIZE, s->h, &n, e));
    if (n != s->h) return rs_fail(e, RS_E_IMPORT, "RoPE on %" PRIu64 " of %" PRIu64 " dimensions of a head is not supported", n, s->h);
    RS_TRY(rs_gguf_uint(g, "llama.expert_count", 0, UINT64_MAX, 0, &n, e));
    if (n != 0) return rs_fail(e, RS_E_IMPORT, "a model of %" PRIu64 " experts is not supported", n);
    const rs_gguf_tensor *embed = rs_gguf_config_tensor(g, "token_embd.weight");
    if (embed == NULL || embed->n_dims != 2) return rs_fail(e, RS_E_IMPORT, "tensor token_embd.weight is missing or no matrix");
    s->V = embed->shape[0];
    RS_TRY(rs_gguf_uint(g, "llama.vocab_size", 1, MAX_TOKENS, s->V, &n, e));
    return n == s->V ? RS_OK : rs_fail(e, RS_E_IMPORT, "key llama.vocab_size is %" PRIu64 ", the embedding has %" PRIu64 " rows", n, s->V);
}

// What llama3 scaling divides the frequency of pair i by (the rule of transformers, ROPE_INIT_FUNCTIONS["llama3"]), frequencies counted in turns per original context.
static double llama3_factor(const sizes *s, uint64_t i, double factor)
{
    const double low = 1, high = 4, turns = LLAMA3_CONTEXT / (2 * M_PI) * pow(s->theta, -2.0 * (double)i / (double)s->h);
    if (turns > high) return 1;
    if (turns < low) return factor;
    double smooth = (turns - low) / (high - low);
    return 1 / ((1 - smooth) / factor + smooth);
}

// The factors of rope_freqs.weight as the "factor" of a llama3 scaling; 1 when they are all 1.
static rs_status read_factors(const rs_gguf *g, rs_in *in, const sizes *s, double *factor, rs_error *e)
{
    const rs_gguf_tensor *t = rs_gguf_config_tensor(g, "rope_freqs.weight");
    *factor = 1;
    if (t == NULL) return RS_OK;
    uint8_t bytes[4 * MAX_HALF_HEAD];
    float f[MAX_HALF_HEAD];
    if (strcmp(t->type->name, "F32") != 0 || t->n_dims != 1 || t->shape[0] != s->h / 2 || t->shape[0] > MAX_HALF_HEAD)
        return rs_fail(e, RS_E_IMPORT, "tensor rope_freqs.weight: not %" PRIu64 " numbers of type F32", s->h / 2);
    RS_TRY(rs_in_pread(in, bytes, (size_t)t->len, t->off, e));
    for (uint64_t i = 0; i < s->h / 2; i++) {
        uint32_t bits = rs_get_u32(bytes + 4 * i);
        memcpy(&f[i], &bits, 4);
    }
    *factor = (double)f[s->h / 2 - 1];
    for (uint64_t i = 0; i < s->h / 2; i++) {
        double want = llama3_factor(s, i, *factor);
        if (!(fabs((double)f[i] - want) <= 2e-6 * want))
            return rs_fail(e, RS_E_IMPORT, "tensor rope_freqs.weight: factor %" PRIu64 " is %.9g, a llama3 scaling by %.9g has %.9g there: config.json cannot express it", i, (double)f[i], *factor, want);
    }
    return RS_OK;
}

static rs_status write_rope(rs_text_buffer *b, const rs_gguf *g, rs_in *in, const sizes *s, rs_error *e)
{
    rs_gguf_text type;
    double linear, llama3;
    RS_TRY(rs_gguf_string(g, "llama.rope.scaling.type", &type, e));
    RS_TRY(rs_gguf_number(g, "llama.rope.scale_linear", 1, &linear, e));
    RS_TRY(rs_gguf_number(g, "llama.rope.scaling.factor", linear, &linear, e));
    bool none = type.p == NULL || (type.len == 4 && memcmp(type.p, "none", 4) == 0);
    if (!none && !(type.len == 6 && memcmp(type.p, "linear", 6) == 0))
        return rs_fail(e, RS_E_IMPORT, "RoPE scaling \"%.*s\" is not supported (supported: none, linear, and factors of llama3)", (int)(type.len < 64 ? type.len : 64), type.p);
    if (type.p != NULL && none) linear = 1;
    if (!(linear > 0)) return rs_fail(e, RS_E_IMPORT, "key llama.rope.scaling.factor is not above 0");
    RS_TRY(read_factors(g, in, s, &llama3, e));
    if (linear != 1 && llama3 != 1) return rs_fail(e, RS_E_IMPORT, "both linear RoPE scaling and rope_freqs.weight: config.json cannot express it");
    if (linear == 1 && llama3 == 1) {
        rs_text_buffer_print(b, "  \"rope_scaling\": null,\n");
    } else if (linear != 1) {
        rs_text_buffer_print(b, "  \"rope_scaling\": {\"factor\": ");
        rs_text_buffer_float(b, (float)linear);
        rs_text_buffer_print(b, ", \"rope_type\": \"linear\"},\n");
    } else {
        rs_text_buffer_print(b, "  \"rope_scaling\": {\"factor\": ");
        rs_text_buffer_float(b, (float)llama3);
        rs_text_buffer_print(b, ", \"high_freq_factor\": 4.0, \"low_freq_factor\": 1.0, \"original_max_position_embeddings\": %u, \"rope_type\": \"llama3\"},\n", LLAMA3_CONTEXT);
    }
    return RS_OK;
}

static rs_status write_id(rs_text_buffer *b, const rs_gguf *g, const char *key, const char *field, uint64_t V, rs_error *e)
{
    uint64_t id;
    if (rs_gguf_find(g, key) == NULL) return RS_OK;
    RS_TRY(rs_gguf_uint(g, key, 0, V - 1, 0, &id, e));
    rs_text_buffer_print(b, "  \"%s\": %" PRIu64 ",\n", field, id);
    return RS_OK;
}

// The tokens that end a text, a turn or a message: a list where there are several, as transformers has it.
static rs_status write_ends(rs_text_buffer *b, const rs_gguf *g, uint64_t V, rs_error *e)
{
    static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
    uint64_t id[3];
    size_t n = 0;
    for (size_t i = 0; i < 3; i++) {
        bool known = rs_gguf_find(g, keys[i]) == NULL;
        if (!known) RS_TRY(rs_gguf_uint(g, keys[i], 0, V - 1, 0, &id[n], e));
        for (size_t k = 0; k < n && !known; k++) known = id[k] == id[n];
        n += !known;
    }
    if (n == 0) return RS_OK;
    rs_text_buffer_print(b, "  \"eos_token_id\": %s", n > 1 ? "[" : "");
    for (size_t i = 0; i < n; i++) rs_text_buffer_print(b, "%s%" PRIu64, i > 0 ? ", " : "", id[i]);
    rs_text_buffer_print(b, "%s,\n", n > 1 ? "]" : "");
    return RS_OK;
}

static rs_status write_config(rs_text_buffer *b, const rs_gguf *g, rs_in *in, rs_error *e)
{
    sizes s;
    RS_TRY(check_architecture(g, e));
    RS_TRY(read_sizes(g, &s, e));
    bool attention_bias = rs_gguf_config_tensor(g, "blk.0.attn_q.bias") != NULL, mlp_bias = rs_gguf_config_tensor(g, "blk.0.ffn_gate.bias") != NULL;
    rs_text_buffer_print(b, "{\n  \"architectures\": [\"LlamaForCausalLM\"],\n  \"attention_bias\": %s,\n", attention_bias ? "true" : "false");
    RS_TRY(write_id(b, g, "tokenizer.ggml.bos_token_id", "bos_token_id", s.V, e));
    RS_TRY(write_ends(b, g, s.V, e));
    rs_text_buffer_print(b, "  \"head_dim\": %" PRIu64 ",\n  \"hidden_act\": \"silu\",\n  \"hidden_size\": %" PRIu64 ",\n  \"intermediate_size\": %" PRIu64 ",\n", s.h, s.d, s.f);
    rs_text_buffer_print(b, "  \"max_position_embeddings\": %" PRIu64 ",\n  \"mlp_bias\": %s,\n  \"model_type\": \"llama\",\n", s.context, mlp_bias ? "true" : "false");
    rs_text_buffer_print(b, "  \"num_attention_heads\": %" PRIu64 ",\n  \"num_hidden_layers\": %" PRIu64 ",\n  \"num_key_value_heads\": %" PRIu64 ",\n  \"rms_norm_eps\": ", s.n_q, s.L, s.n_kv);
    rs_text_buffer_float(b, (float)s.eps);
    rs_text_buffer_print(b, ",\n");
    RS_TRY(write_rope(b, g, in, &s, e));
    rs_text_buffer_print(b, "  \"rope_theta\": ");
    rs_text_buffer_float(b, (float)s.theta);
    rs_text_buffer_print(b, ",\n  \"tie_word_embeddings\": %s,\n  \"vocab_size\": %" PRIu64 "\n}\n", rs_gguf_config_tensor(g, "output.weight") == NULL ? "true" : "false", s.V);
    return RS_OK;
}

rs_status rs_gguf_config_write(const rs_gguf *g, rs_in *in, char **json, size_t *len, rs_error *e)
{
    rs_text_buffer b = {0};
    rs_status s = write_config(&b, g, in, e);
    if (s == RS_OK && b.failed) s = rs_fail(e, RS_E_NOMEM, "no memory for config.json");
    if (s != RS_OK) {
        free(b.p);
        return s;
    }
    *json = b.p;
    *len = b.len;
    return RS_OK;
}
