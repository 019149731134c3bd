// SPDX-License-Identifier: Apache-2.0
// Finds each tensor of the architecture in a source and checks that nothing is missing, misshapen or left over.
#include "formats/import.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/json.h"

// Bit i of RS_LENIENT_* is rule i.
static const char *const rules[] = {"st-meta-dup", "st-extra-key", "name-escape", "gguf-pad", "gguf-tail"};
#define N_RULES (sizeof rules / sizeof *rules)
_Static_assert(RS_LENIENT_GGUF_TAIL == 1u << (N_RULES - 1), "one name per rule");

rs_status rs_import_lenient(const char *name, unsigned *lenient, rs_error *e)
{
    for (size_t i = 0; i < N_RULES; i++)
        if (strcmp(name, rules[i]) == 0) {
            *lenient |= 1u << i;
            return RS_OK;
        }
    return rs_fail(e, RS_USAGE, "--lenient: no rule \"%s\" (known: st-meta-dup st-extra-key name-escape gguf-pad gguf-tail)", name);
}

static void note(rs_import *m, const char *text)
{
    if (m->n_notes < sizeof m->note / sizeof *m->note) m->note[m->n_notes++] = text;
}

// One more than the largest id of an object of ids and of a list of added tokens.
static uint64_t largest_id(const json_t *root)
{
    uint64_t n = 0;
    const char *token;
    json_t *v;
    json_object_foreach(json_object_get(json_object_get(root, "model"), "vocab"), token, v)
        if (json_is_integer(v) && json_integer_value(v) >= 0 && (uint64_t)json_integer_value(v) >= n) n = (uint64_t)json_integer_value(v) + 1;
    size_t i;
    json_array_foreach(json_object_get(root, "added_tokens"), i, v) {
        const json_t *id = json_object_get(v, "id");
        if (json_is_integer(id) && json_integer_value(id) >= 0 && (uint64_t)json_integer_value(id) >= n) n = (uint64_t)json_integer_value(id) + 1;
    }
    return n;
}

// The embedding has a row for each token. More rows than tokens are common: vocabularies are rounded up.
static rs_status check_vocabulary(rs_import *m, rs_error *e)
{
    const rs_source_text *t = &m->source.text[RS_TEXT_TOKENIZER];
    if (t->bytes == NULL) {
        note(m, "no tokenizer: the text tools will need one");
        return RS_OK;
    }
    if (!t->read) return RS_OK;
    json_t *root;
    RS_TRY(rs_json_parse(&root, t->bytes, t->len, t->name, e));
    uint64_t n = largest_id(root);
    json_decref(root);
    if (n > m->config.V) return rs_fail(e, RS_E_IMPORT, "%s: a token has number %" PRIu64 ", the vocabulary of config.json ends at %" PRIu64, t->name, n - 1, m->config.V - 1);
    return RS_OK;
}

static void shape_text(char *out, size_t cap, const uint64_t *shape, int n)
{
    size_t at = 0;
    out[0] = 0;
    for (int i = 0; i < n && at < cap; i++) at += (size_t)snprintf(out + at, cap - at, "%s%" PRIu64, i == 0 ? "" : " x ", shape[i]);
}

static rs_status check_tensor(const rs_import *m, const rs_model_tensor *want, const rs_source_tensor *t, const char *name, rs_error *e)
{
    if (t == NULL) return rs_fail(e, RS_E_IMPORT, "tensor %s is missing", name);
    if (!t->supported) return rs_fail(e, RS_E_IMPORT, "tensor %s: dtype %s is not supported (supported: F32 F16 BF16)", name, t->type);
    bool same = t->n_dims == want->n_dims;
    for (int i = 0; same && i < want->n_dims; i++) same = t->shape[i] == want->shape[i];
    if (!same) {
        char has[200], needs[200];
        shape_text(has, sizeof has, t->shape, t->n_dims);
        shape_text(needs, sizeof needs, want->shape, want->n_dims);
        return rs_fail(e, RS_E_IMPORT, "tensor %s has shape %s, the configuration asks for %s", name, has, needs);
    }
    if (m->source.gguf && want->interleaved != 0 && want->n_dims == 1 && t->block != NULL) return rs_fail(e, RS_E_IMPORT, "tensor %s: a bias of type %s is not supported", name, t->type);
    return RS_OK;
}

static bool ends_with(const rs_source_tensor *t, const char *tail)
{
    size_t n = strlen(tail);
    return t->name_len >= n && memcmp(t->name + t->name_len - n, tail, n) == 0;
}

// What is left over must be known to carry no weights of its own.
static rs_status check_rest(rs_import *m, rs_error *e)
{
    for (size_t i = 0; i < m->source.n_tensors; i++) {
        rs_source_tensor *t = &m->source.tensor[i];
        if (t->used) continue;
        if (t->escaped && t->supported) {
            m->place[m->n_model + m->n_other++] = t;
        } else if (m->source.gguf && t->name_len == 17 && memcmp(t->name, "rope_freqs.weight", 17) == 0) {
            continue; // config.json says the same
        } else if (!m->source.gguf && ends_with(t, ".rotary_emb.inv_freq")) {
            note(m, "rotary_emb.inv_freq left out: the configuration says the same");
        } else if (m->config.tied && t->name_len == 14 && memcmp(t->name, "lm_head.weight", 14) == 0) {
            note(m, "lm_head.weight left out: config.json says that the embedding is tied to the head");
        } else {
            return rs_fail(e, RS_E_IMPORT, "tensor %.*s is no part of the architecture (LlamaForCausalLM with this configuration)", (int)t->name_len, t->name);
        }
    }
    return RS_OK;
}

static rs_status find_tensors(rs_import *m, rs_error *e)
{
    // A configuration can ask for more tensors than the table of places should hold; the source bounds what is worth looking for.
    m->n_model = rs_model_count(&m->config);
    if (m->n_model > RS_MAX_TENSORS) return rs_fail(e, RS_E_LIMIT, "a model of %" PRIu64 " tensors, at most %u", m->n_model, RS_MAX_TENSORS);
    m->place = calloc((size_t)m->n_model + m->source.n_tensors + 1, sizeof *m->place);
    if (m->place == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for %" PRIu64 " tensors", m->n_model);
    for (uint64_t i = 0; i < m->n_model; i++) {
        rs_model_tensor want;
        rs_model_at(&m->config, i, &want);
        const char *name = m->source.gguf ? want.gguf : want.name;
        rs_source_tensor *t = rs_source_find(&m->source, name);
        RS_TRY(check_tensor(m, &want, t, name, e));
        t->used = true;
        m->place[i] = t;
    }
    return check_rest(m, e);
}

static rs_status open_import(rs_import *m, const char *path, const rs_source_options *o, rs_error *e)
{
    RS_TRY(rs_source_open(&m->source, path, o, e));
    const rs_source_text *config = &m->source.text[RS_TEXT_CONFIG];
    RS_TRY(rs_config_parse(&m->config, config->bytes, config->len, e));
    RS_TRY(check_vocabulary(m, e));
    return find_tensors(m, e);
}

rs_status rs_import_open(rs_import *m, const char *path, const rs_source_options *o, rs_error *e)
{
    memset(m, 0, sizeof *m);
    rs_status s = open_import(m, path, o, e);
    if (s != RS_OK) rs_import_close(m);
    return s;
}

void rs_import_close(rs_import *m)
{
    rs_source_close(&m->source);
    free(m->place);
    memset(m, 0, sizeof *m);
}

uint64_t rs_import_count(const rs_import *m)
{
    return m->n_model + m->n_other;
}

rs_status rs_import_tensor(const rs_import *m, uint64_t i, rs_tensor *t, rs_error *e)
{
    const rs_source_tensor *from = m->place[i];
    memset(t, 0, sizeof *t);
    t->role = RS_ROLE_OTHER;
    t->layer = -1;
    if (i < m->n_model) {
        rs_model_tensor want;
        rs_model_at(&m->config, i, &want);
        memcpy(t->name, want.name, sizeof t->name);
        t->role = want.role;
        t->layer = want.layer;
    } else {
        memcpy(t->name, from->name, from->name_len);
    }
    t->expert = -1;
    t->dtype = from->dtype;
    t->enc = RS_ENC_RAW;
    t->n_dims = from->n_dims;
    memcpy(t->shape, from->shape, sizeof t->shape);
    return rs_tensor_layout(t, RS_F32, 0, e);
}

rs_head rs_import_head(const rs_import *m)
{
    rs_head h = {.align = 64, .kind = RS_KIND_WEIGHTS, .layers = m->config.L, .plan = rs_plan_none()};
    memcpy(h.arch, m->config.arch, sizeof h.arch);
    memcpy(h.model, m->source.model, sizeof h.model);
    return h;
}

rs_value *rs_import_params(const rs_import *m, rs_arena *a)
{
    char used[100] = "";
    rs_value *map = rs_value_map(a);
    bool ok = rs_map_put(a, map, "source", rs_value_str(a, m->source.gguf ? "gguf" : "safetensors"));
    for (size_t i = 0; i < N_RULES; i++)
        if ((m->source.lenient_used >> i & 1) != 0) snprintf(used + strlen(used), sizeof used - strlen(used), "%s%s", *used == 0 ? "" : " ", rules[i]);
    if (*used != 0) ok = ok && rs_map_put(a, map, "lenient", rs_value_str(a, used));
    return ok ? map : NULL;
}

uint64_t rs_import_bytes(const rs_import *m)
{
    uint64_t n = 0;
    for (uint64_t i = 0; i < rs_import_count(m); i++) n += m->place[i]->len; // parts of files, which are smaller than 2^56
    return n;
}

uint64_t rs_import_stage_memory(const rs_import *m)
{
    uint64_t largest = 0;
    for (uint64_t i = 0; i < m->n_model; i++) {
        uint64_t n = 4;
        for (int k = 0; k < m->place[i]->n_dims; k++) n *= m->place[i]->shape[k]; // at most 2^48 elements, as the source was checked
        if (n > largest) largest = n;
    }
    return (UINT64_C(64) << 20) + 3 * largest;
}

uint64_t rs_import_eval_memory(const rs_import *m, uint64_t ctx)
{
    const rs_config *c = &m->config;
    uint64_t q = c->n_q * c->h, kv = c->n_kv * c->h;
    uint64_t layer = 2 * c->d * q + 2 * c->d * kv + 3 * c->d * c->f, row = 2 * c->d + 2 * q + 2 * kv + 2 * c->f;
    return 4 * (layer + ctx * row + ctx * c->V);
}
