// SPDX-License-Identifier: Apache-2.0
// Reads the sizes and constants of a Llama from the config.json that transformers writes (both its older and its newer form of the RoPE fields).
#include "formats/config.h"

#include <math.h>
#include <string.h>

#include "formats/json.h"

static const char what[] = "config.json";
static const char supported[] = "LlamaForCausalLM";

// Largest sizes taken seriously: far above any model, far below where a product of two would wrap.
#define MAX_LAYERS 65536u
#define MAX_WIDTH (1u << 24)
#define MAX_HEADS 65536u
#define MAX_TOKENS 0x7fffffffu

static rs_status read_architecture(rs_config *c, const json_t *o, rs_error *e)
{
    const json_t *list = json_object_get(o, "architectures"), *type = json_object_get(o, "model_type");
    if (json_is_null(list)) list = NULL;
    if (list != NULL && (json_array_size(list) != 1 || !json_is_string(json_array_get(list, 0))))
        return rs_fail(e, RS_E_IMPORT, "%s: field \"architectures\" is not a list of one name", what);
    if (list == NULL && !json_is_string(type)) return rs_fail(e, RS_E_IMPORT, "%s: field \"architectures\" is missing", what);
    const char *name = list != NULL ? json_string_value(json_array_get(list, 0)) : json_string_value(type);
    bool known = list != NULL ? strcmp(name, supported) == 0 : strcmp(name, "llama") == 0;
    if (known && json_is_string(type) && strcmp(json_string_value(type), "llama") != 0) {
        known = false;
        name = json_string_value(type);
    }
    if (!known) return rs_fail(e, RS_E_IMPORT, "%s: architecture \"%.64s\" is not supported (supported: %s)", what, name, supported);
    const json_t *act = json_object_get(o, "hidden_act");
    if (act != NULL && (!json_is_string(act) || strcmp(json_string_value(act), "silu") != 0))
        return rs_fail(e, RS_E_IMPORT, "%s: field \"hidden_act\" is not \"silu\"", what);
    const json_t *q = json_object_get(o, "quantization_config");
    if (q != NULL && !json_is_null(q)) return rs_fail(e, RS_E_IMPORT, "%s: the model is already quantised (field \"quantization_config\"); import the original", what);
    strcpy(c->arch, "llama");
    return RS_OK;
}

static rs_status read_sizes(rs_config *c, const json_t *o, rs_error *e)
{
    RS_TRY(rs_json_uint(o, what, "num_hidden_layers", 1, MAX_LAYERS, 0, &c->L, e));
    RS_TRY(rs_json_uint(o, what, "hidden_size", 1, MAX_WIDTH, 0, &c->d, e));
    RS_TRY(rs_json_uint(o, what, "intermediate_size", 1, MAX_WIDTH, 0, &c->f, e));
    RS_TRY(rs_json_uint(o, what, "num_attention_heads", 1, MAX_HEADS, 0, &c->n_q, e));
    RS_TRY(rs_json_uint(o, what, "num_key_value_heads", 1, MAX_HEADS, c->n_q, &c->n_kv, e));
    RS_TRY(rs_json_uint(o, what, "vocab_size", 1, MAX_TOKENS, 0, &c->V, e));
    RS_TRY(rs_json_uint(o, what, "max_position_embeddings", 1, MAX_TOKENS, 2048, &c->context, e));
    // Without a head size of its own a head is the hidden size shared out evenly: 0 stands for absent.
    RS_TRY(rs_json_uint(o, what, "head_dim", 0, MAX_WIDTH, 0, &c->h, e));
    if (c->h == 0) {
        if (c->d % c->n_q != 0)
            return rs_fail(e, RS_E_IMPORT, "%s: %llu heads do not divide the hidden size %llu", what, (unsigned long long)c->n_q, (unsigned long long)c->d);
        c->h = c->d / c->n_q;
    }
    if (c->h % 2 != 0) return rs_fail(e, RS_E_IMPORT, "%s: head size %llu is odd, but RoPE turns pairs", what, (unsigned long long)c->h);
    if (c->n_q % c->n_kv != 0)
        return rs_fail(e, RS_E_IMPORT, "%s: %llu key-value heads do not divide %llu heads", what, (unsigned long long)c->n_kv, (unsigned long long)c->n_q);
    return RS_OK;
}

static rs_status positive(const json_t *o, const char *key, double otherwise, double *out, rs_error *e)
{
    RS_TRY(rs_json_number(o, what, key, otherwise, out, e));
    return *out > 0 ? RS_OK : rs_fail(e, RS_E_IMPORT, "%s: field \"%s\" is not above 0", what, key);
}

// transformers 5 keeps theta and scaling in "rope_parameters"; before, theta stood beside "rope_scaling", which was null without scaling.
static rs_status read_rope(rs_config *c, const json_t *o, rs_error *e)
{
    const json_t *s = json_object_get(o, "rope_parameters");
    if (s == NULL || json_is_null(s)) s = json_object_get(o, "rope_scaling");
    if (json_is_null(s)) s = NULL;
    if (s != NULL && !json_is_object(s)) return rs_fail(e, RS_E_IMPORT, "%s: the RoPE scaling is not an object", what);
    RS_TRY(positive(o, "rope_theta", 10000, &c->rope_theta, e));
    double part;
    RS_TRY(positive(o, "partial_rotary_factor", 1, &part, e));
    c->rope_factor = 1;
    if (s == NULL) return part == 1 ? RS_OK : rs_fail(e, RS_E_IMPORT, "%s: RoPE on a part of the head is not supported", what);
    RS_TRY(positive(s, "rope_theta", c->rope_theta, &c->rope_theta, e));
    RS_TRY(positive(s, "partial_rotary_factor", part, &part, e));
    if (part != 1) return rs_fail(e, RS_E_IMPORT, "%s: RoPE on a part of the head is not supported", what);

    const json_t *type = json_object_get(s, "rope_type");
    if (type == NULL || json_is_null(type)) type = json_object_get(s, "type");
    const char *name = type == NULL || json_is_null(type) ? "default" : json_string_value(type);
    if (name == NULL) return rs_fail(e, RS_E_IMPORT, "%s: the type of RoPE scaling is not a text", what);
    if (strcmp(name, "default") == 0) return RS_OK;
    if (strcmp(name, "linear") == 0) c->rope_scaling = RS_ROPE_LINEAR;
    else if (strcmp(name, "llama3") == 0) c->rope_scaling = RS_ROPE_LLAMA3;
    else return rs_fail(e, RS_E_IMPORT, "%s: RoPE scaling \"%.64s\" is not supported (supported: default, linear, llama3)", what, name);
    RS_TRY(positive(s, "factor", NAN, &c->rope_factor, e));
    if (c->rope_scaling != RS_ROPE_LLAMA3) return RS_OK;
    RS_TRY(positive(s, "low_freq_factor", NAN, &c->rope_low_freq, e));
    RS_TRY(positive(s, "high_freq_factor", NAN, &c->rope_high_freq, e));
    if (c->rope_high_freq <= c->rope_low_freq) return rs_fail(e, RS_E_IMPORT, "%s: field \"high_freq_factor\" is not above \"low_freq_factor\"", what);
    return rs_json_uint(s, what, "original_max_position_embeddings", 1, MAX_TOKENS, 0, &c->rope_original_context, e);
}

// A token id, the first of a list of them, or -1 for absent and null.
static rs_status token_id(const json_t *o, const char *key, uint64_t V, int64_t *id, rs_error *e)
{
    const json_t *v = json_object_get(o, key);
    if (json_is_array(v)) v = json_array_get(v, 0);
    *id = -1;
    if (v == NULL || json_is_null(v)) return RS_OK;
    if (!json_is_integer(v) || json_integer_value(v) < 0 || (uint64_t)json_integer_value(v) >= V)
        return rs_fail(e, RS_E_IMPORT, "%s: field \"%s\" is no token of a vocabulary of %llu", what, key, (unsigned long long)V);
    *id = json_integer_value(v);
    return RS_OK;
}

static rs_status read_config(rs_config *c, const json_t *o, rs_error *e)
{
    if (!json_is_object(o)) return rs_fail(e, RS_E_IMPORT, "%s: not an object", what);
    RS_TRY(read_architecture(c, o, e));
    RS_TRY(read_sizes(c, o, e));
    RS_TRY(positive(o, "rms_norm_eps", 1e-6, &c->norm_eps, e));
    RS_TRY(read_rope(c, o, e));
    RS_TRY(rs_json_bool(o, what, "tie_word_embeddings", false, &c->tied, e));
    RS_TRY(rs_json_bool(o, what, "attention_bias", false, &c->attention_bias, e));
    RS_TRY(rs_json_bool(o, what, "mlp_bias", false, &c->mlp_bias, e));
    RS_TRY(token_id(o, "bos_token_id", c->V, &c->bos, e));
    return token_id(o, "eos_token_id", c->V, &c->eos, e);
}

rs_status rs_config_parse(rs_config *c, const void *json, size_t len, rs_error *e)
{
    memset(c, 0, sizeof *c);
    json_t *root;
    RS_TRY(rs_json_parse(&root, json, len, what, e));
    rs_status s = read_config(c, root, e);
    json_decref(root);
    return s;
}

// ---- tokens that end a text

rs_status rs_stops_add(rs_stops *s, int64_t id, rs_error *e)
{
    const size_t most = sizeof s->id / sizeof *s->id;
    for (size_t i = 0; i < s->n; i++)
        if (s->id[i] == id) return RS_OK;
    if (s->n == most) return rs_fail(e, RS_E_LIMIT, "more than %zu tokens end a text", most);
    s->id[s->n++] = id;
    return RS_OK;
}

static rs_status add_stops(rs_stops *s, const json_t *o, const char *name, uint64_t V, rs_error *e)
{
    if (!json_is_object(o)) return rs_fail(e, RS_E_IMPORT, "%s: not an object", name);
    const json_t *v = json_object_get(o, "eos_token_id");
    if (v == NULL || json_is_null(v)) return RS_OK;
    for (size_t i = 0; i < (json_is_array(v) ? json_array_size(v) : 1); i++) {
        const json_t *id = json_is_array(v) ? json_array_get(v, i) : v;
        if (!json_is_integer(id) || json_integer_value(id) < 0 || (uint64_t)json_integer_value(id) >= V)
            return rs_fail(e, RS_E_IMPORT, "%s: field \"eos_token_id\" is no token of a vocabulary of %llu", name, (unsigned long long)V);
        RS_TRY(rs_stops_add(s, json_integer_value(id), e));
    }
    return RS_OK;
}

rs_status rs_config_stops(rs_stops *s, const void *json, size_t len, const char *name, uint64_t V, rs_error *e)
{
    json_t *root;
    RS_TRY(rs_json_parse(&root, json, len, name, e));
    rs_status status = add_stops(s, root, name, V, e);
    json_decref(root);
    return status;
}
