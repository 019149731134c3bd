// SPDX-License-Identifier: Apache-2.0
// Recipes: what is read and refused, which rule wins, what the plan then says; and models packed by one, each matrix against the same matrix of a model packed alike as a whole.
#include "quantize/recipe.h"

#include "formats/json.h"
#include "inspect/verify.h"
#include "quantize/gptq_model.h"
#include "quantize/pack_list.h"
#include "tests/stages.h"

enum { L = 3 };
static char model[128], out[128], plain[128];

// ---- reading

static rs_status parse(rs_recipe **r, const char *json, rs_error *e)
{
    *e = (rs_error){0};
    return rs_recipe_parse(r, json, strlen(json), e);
}

// NULL with a failed check.
static rs_recipe *recipe(const char *json)
{
    rs_recipe *r;
    rs_error e;
    CHECKF(parse(&r, json, &e) == RS_OK, "%s: %s", json, e.text);
    return r;
}

static void refusals(void)
{
    static const struct {
        const char *json, *text;
        rs_status status;
    } bad[] = {
        {"", "line", RS_E_IMPORT}, {"{", "line 1", RS_E_IMPORT}, {"{\n\"rules\": [\n{\"w_bits\": 8,}]}", "line 3", RS_E_IMPORT},
        {"[]", "\"rules\"", RS_E_IMPORT}, {"{}", "\"rules\"", RS_E_IMPORT}, {"{\"rules\": {}}", "\"rules\"", RS_E_IMPORT}, {"{\"rules\": [], \"rule\": 1}", "unknown key \"rule\"", RS_E_IMPORT},
        {"{\"rules\": [], \"rules\": []}", "duplicate", RS_E_IMPORT}, {"{\"rules\": [{\"w_bits\": 8}, 3]}", "rule 2: not an object", RS_E_IMPORT},
        {"{\"rules\": [{\"bits\": 8}]}", "rule 1: unknown key \"bits\"", RS_E_IMPORT}, {"{\"rules\": [{}]}", "nothing is set", RS_E_IMPORT}, {"{\"rules\": [{\"role\": \"q\"}]}", "nothing is set", RS_E_IMPORT},
        {"{\"rules\": [{\"w_bits\": 1}]}", "rule 1: field \"w_bits\" is 1", RS_E_IMPORT}, {"{\"rules\": [{\"w_bits\": 9}]}", "not 2..8 or 16", RS_E_IMPORT}, {"{\"rules\": [{\"w_bits\": 17}]}", "is 17", RS_E_IMPORT},
        {"{\"rules\": [{\"w_bits\": 4.0}]}", "not an integer", RS_E_IMPORT}, {"{\"rules\": [{\"w_bits\": \"4\"}]}", "not an integer", RS_E_IMPORT}, {"{\"rules\": [{\"w_bits\": null}]}", "missing", RS_E_IMPORT},
        {"{\"rules\": [{\"group\": -1}]}", "\"group\" is -1", RS_E_IMPORT}, {"{\"rules\": [{\"group\": 16777217}]}", "16777217", RS_E_IMPORT}, {"{\"rules\": [{\"scale\": \"bf16\"}]}", "none of: f32 f16", RS_E_IMPORT},
        {"{\"rules\": [{\"clip\": \"max\"}]}", "none of: mse none", RS_E_IMPORT}, {"{\"rules\": [{\"clip\": 1}]}", "none of: mse none", RS_E_IMPORT}, {"{\"rules\": [{\"method\": \"awq\"}]}", "none of: rtn gptq", RS_E_IMPORT},
        {"{\"rules\": [{\"leave\": false}]}", "only be true", RS_E_IMPORT}, {"{\"rules\": [{\"leave\": true, \"w_bits\": 8}]}", "exclude", RS_E_IMPORT}, {"{\"rules\": [{\"leave\": true, \"clip\": \"none\"}]}", "exclude", RS_E_IMPORT},
        {"{\"rules\": [{\"role\": \"head\", \"w_bits\": 8}]}", "none of: q k v o gate up down", RS_E_IMPORT}, {"{\"rules\": [{\"role\": [], \"w_bits\": 8}]}", "names none", RS_E_IMPORT},
        {"{\"rules\": [{\"role\": [\"q\", 3], \"w_bits\": 8}]}", "none of", RS_E_IMPORT}, {"{\"rules\": [{\"layers\": 3, \"w_bits\": 8}]}", "[first, last]", RS_E_IMPORT},
        {"{\"rules\": [{\"layers\": [3], \"w_bits\": 8}]}", "[first, last]", RS_E_IMPORT}, {"{\"rules\": [{\"layers\": [0, 1, 2], \"w_bits\": 8}]}", "[first, last]", RS_E_IMPORT},
        {"{\"rules\": [{\"layers\": [2, 1], \"w_bits\": 8}]}", "[first, last]", RS_E_IMPORT}, {"{\"rules\": [{\"layers\": [-1, 1], \"w_bits\": 8}]}", "[first, last]", RS_E_IMPORT},
        {"{\"rules\": [{\"layers\": [0, 1.5], \"w_bits\": 8}]}", "[first, last]", RS_E_IMPORT}, {"{\"rules\": [{\"match\": \"\", \"w_bits\": 8}]}", "\"match\"", RS_E_IMPORT},
        {"{\"rules\": [{\"match\": 3, \"w_bits\": 8}]}", "\"match\"", RS_E_IMPORT}, {"{\"rules\": [{\"match\": \"a b\", \"w_bits\": 8}]}", "\"match\"", RS_E_IMPORT},
        {"{\"rules\": [{\"match\": \"\\u007f\", \"w_bits\": 8}]}", "\"match\"", RS_E_IMPORT}, {"{\"rules\": [{\"a_bits\": 12}]}", "\"a_bits\" is 12", RS_E_IMPORT},
        {"{\"rules\": [{\"a_clip\": 0}]}", "\"a_clip\" is 0", RS_E_IMPORT}, {"{\"rules\": [{\"a_clip\": 1.5}]}", "\"a_clip\" is 1.5", RS_E_IMPORT}, {"{\"rules\": [{\"a_clip\": \"1\"}]}", "not a number", RS_E_IMPORT},
        {"{\"rules\": [{\"a_sym\": 1}]}", "neither true nor false", RS_E_IMPORT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        rs_recipe *r;
        rs_error e;
        rs_status st = parse(&r, bad[i].json, &e);
        CHECKF(st == bad[i].status && r == NULL && strstr(e.text, bad[i].text) != NULL && strchr(e.text, '\n') == NULL, "%s: %s: %s", bad[i].json, rs_status_name(st), e.text);
    }
    enum { RULES = 1025 };
    static char many[RULES * 16];
    rs_recipe *r;
    rs_error e;
    for (int n = RULES - 1; n <= RULES; n++) {
        size_t at = (size_t)snprintf(many, sizeof many, "{\"rules\":[");
        for (int i = 0; i < n; i++) at += (size_t)snprintf(many + at, sizeof many - at, "%s{\"w_bits\":4}", i == 0 ? "" : ",");
        snprintf(many + at, sizeof many - at, "]}");
        CHECK(parse(&r, many, &e) == (n < RULES ? RS_OK : RS_E_LIMIT));
        CHECK(r == NULL || (r->n == RULES - 1 && r->text == NULL)); // too long for the provenance
        rs_recipe_free(r);
    }
}

// Any damage is taken or refused with a reason.
static void damage(const char *good)
{
    static const char other[] = "0-9\"{}[]:, *\\x\xff";
    char *json = malloc(strlen(good) + 1);
    rs_recipe *r;
    rs_error e;
    bool kept = true;
    for (size_t i = 0; i < strlen(good); i++)
        for (size_t k = 0; k < sizeof other; k++) { // the last one is NUL: a cut
            strcpy(json, good);
            json[i] = other[k];
            rs_status st = parse(&r, json, &e);
            kept = kept && st == e.status && (r != NULL) == (st == RS_OK) && (st == RS_OK || ((st == RS_E_IMPORT || st == RS_E_LIMIT) && e.text[0] != 0));
            if (r == NULL) continue;
            rs_scheme s = rs_scheme_default();
            st = rs_recipe_check(r, &s, L, &e);
            kept = kept && (st == RS_OK || st == RS_USAGE);
            rs_recipe_free(r);
        }
    CHECK(kept);
    free(json);
}

// ---- what rules say

static void requests(void)
{
    static const struct {
        const char *json, *text; // NULL: good
        bool gptq;
    } ask[] = {
        {"{\"rules\": []}", NULL, false}, {"{\"rules\": [{\"w_bits\": 3}]}", NULL, true}, {"{\"rules\": [{\"match\": \"*\", \"w_bits\": 3}]}", NULL, false},
        {"{\"rules\": [{\"match\": \"layers.0.*.down_proj*\", \"w_bits\": 8}]}", NULL, false}, {"{\"rules\": [{\"match\": \"model.layers.2.mlp.up_proj.weight\", \"w_bits\": 8}]}", NULL, false},
        {"{\"rules\": [{\"w_bits\": 3}, {\"match\": \"layers.3.*\", \"w_bits\": 8}]}", "rule 2 names no tensor: {\"match\":\"layers.3.*\",\"w_bits\":8}", false},
        {"{\"rules\": [{\"match\": \"*.mlp.*\", \"role\": \"q\", \"w_bits\": 8}]}", "rule 1 names no tensor", false}, {"{\"rules\": [{\"match\": \"lm_head*\", \"leave\": true}]}", "rule 1 names no tensor", false},
        {"{\"rules\": [{\"match\": \"*norm*\", \"leave\": true}]}", "rule 1 names no tensor", false}, {"{\"rules\": [{\"layers\": [2, 3], \"w_bits\": 8}]}", "rule 1 reaches beyond the 3 layers", false},
        {"{\"rules\": [{\"role\": \"o\", \"method\": \"gptq\"}]}", "rule 1 asks for GPTQ", false}, {"{\"rules\": [{\"role\": \"o\", \"method\": \"gptq\"}]}", NULL, true},
        {"{\"rules\": [{\"method\": \"rtn\"}]}", "leaves nothing", true}, {"{\"rules\": [{\"leave\": true}]}", "leaves nothing", true}, {"{\"rules\": [{\"method\": \"rtn\"}, {\"role\": \"q\", \"method\": \"gptq\"}]}", NULL, true},
    };
    for (size_t i = 0; i < sizeof ask / sizeof ask[0]; i++) {
        rs_recipe *r = recipe(ask[i].json);
        rs_scheme s = rs_scheme_default();
        rs_error e = {0};
        s.gptq = ask[i].gptq;
        if (r == NULL) continue;
        rs_status st = rs_recipe_check(r, &s, L, &e);
        CHECKF(ask[i].text == NULL ? st == RS_OK : st == RS_USAGE && strstr(e.text, ask[i].text) != NULL, "%s: %s: %s", ask[i].json, rs_status_name(st), e.text);
        rs_recipe_free(r);
    }
}

static rs_tensor matrix(rs_role role, uint64_t layer)
{
    rs_config c = {.L = L};
    rs_tensor t;
    rs_scheme_matrix_at(&c, layer * RS_SCHEME_ROLES + (uint64_t)(role - RS_ROLE_Q), &t);
    CHECK(t.role == role && t.layer == (int64_t)layer);
    return t;
}

static void order(void)
{
    rs_recipe *r = recipe("{\"rules\": [{\"role\": [\"q\", \"down\"], \"w_bits\": 8, \"group\": 16, \"clip\": \"none\", \"a_bits\": 8}, {\"layers\": [1, 2], \"leave\": true, \"a_clip\": 0.5},"
                          "{\"match\": \"layers.2.*.d[ow]*\", \"w_bits\": 3, \"scale\": \"f16\", \"method\": \"gptq\", \"a_sym\": true, \"a_group\": 4}]}");
    rs_scheme s = rs_scheme_default();
    rs_act a = {.bits = 4, .clip = 1};
    if (r == NULL) return;
    static const struct {
        rs_role role;
        uint64_t layer, group, a_group;
        int bits, clip;
        rs_dtype scale;
        bool gptq, a_sym;
        unsigned a_bits;
        double a_clip;
    } want[] = {
        {RS_ROLE_Q, 0, 16, 0, 8, 1, RS_F32, false, false, 8, 1}, {RS_ROLE_K, 0, 0, 0, 4, 80, RS_F32, false, false, 4, 1}, {RS_ROLE_DOWN, 1, 16, 0, 16, 1, RS_F32, false, false, 8, 0.5},
        {RS_ROLE_UP, 2, 0, 0, 16, 80, RS_F32, false, false, 4, 0.5}, {RS_ROLE_DOWN, 2, 16, 4, 3, 1, RS_F16, true, true, 8, 0.5},
    };
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        rs_tensor t = matrix(want[i].role, want[i].layer);
        rs_scheme w = rs_recipe_scheme(r, &s, &t);
        rs_act x = rs_recipe_act(r, RS_PEER_NONE, 0, &a, &t);
        CHECKF(w.w_bits == want[i].bits && w.group == want[i].group && w.clip_steps == want[i].clip && w.scale_dtype == want[i].scale && w.gptq == want[i].gptq, "%s: another scheme", t.name);
        CHECKF(x.bits == want[i].a_bits && x.group == want[i].a_group && x.clip == want[i].a_clip && x.sym == want[i].a_sym, "%s: another quantiser of the input", t.name);
    }
    rs_tensor other = {.name = "model.embed_tokens.weight", .role = RS_ROLE_EMBED, .layer = -1, .n_dims = 2};
    CHECK(rs_recipe_scheme(r, &s, &other).w_bits == 4 && rs_recipe_act(r, RS_PEER_NONE, 0, &a, &other).bits == 4);
    rs_recipe_free(r);
}

static void plans(void)
{
    rs_arena *arena = rs_arena_new();
    rs_error e = {0};
    rs_except had[] = {{.layer = -1, .role = RS_ROLE_Q, .act = {.bits = 3, .clip = 1}}, {.layer = 1, .role = RS_ROLE_RESID, .rank = 4}, {.layer = 5, .role = RS_ROLE_RESID, .rank = 6}};
    rs_plan p = rs_plan_none();
    p.a = (rs_act){.bits = 4, .clip = 1};
    p.except = had;
    p.n_except = 3;
    rs_recipe *r = recipe("{\"rules\": [{\"role\": \"down\", \"a_bits\": 8}, {\"role\": [\"q\", \"k\"], \"layers\": [1, 1], \"a_bits\": 16}, {\"role\": \"k\", \"a_bits\": 4}, {\"role\": \"v\", \"layers\": [2, 2], \"a_clip\": 0.9}]}");
    if (r == NULL || !CHECKF(rs_recipe_plan(r, RS_PEER_NONE, 0, L, &p, arena, &e) == RS_OK, "%s", e.text)) return;
    static const struct {
        int64_t layer;
        rs_role role;
    } want[] = {{-1, RS_ROLE_DOWN}, {1, RS_ROLE_Q}, {1, RS_ROLE_RESID}, {2, RS_ROLE_V}, {5, RS_ROLE_RESID}};
    CHECK(p.n_except == 5);
    for (size_t i = 0; i < 5 && p.n_except == 5; i++) CHECKF(p.except[i].layer == want[i].layer && p.except[i].role == want[i].role, "exception %d", (int)i);
    CHECK(rs_plan_act(&p, 2, RS_ROLE_DOWN).bits == 8 && rs_plan_act(&p, 0, RS_ROLE_Q).bits == 4 && rs_plan_act(&p, 1, RS_ROLE_Q).bits == 16 && rs_plan_act(&p, 1, RS_ROLE_K).bits == 4);
    CHECK(rs_plan_act(&p, 2, RS_ROLE_V).clip == 0.9 && p.except[2].rank == 4 && p.except[4].rank == 6 && rs_plan_incompat(&p) == RS_INCOMPAT_ACT);
    rs_recipe_free(r);
    CHECK(rs_recipe_plan(NULL, RS_PEER_NONE, 0, L, &p, arena, &e) == RS_OK && p.n_except == 2);
    rs_arena_free(arena);
}

// ---- models

static void verified(const char *path)
{
    rs_in *in = NULL;
    rs_verified v;
    rs_error e = {0};
    rs_verify_options o = {.values = true, .strict = true};
    CHECKF(rs_in_open(&in, path, &e) == RS_OK && rs_verify_stream(in, &o, &v, &e) == RS_OK, "%s", e.text);
    rs_in_close(in);
}

// Packs from -> to; by GPTQ where g is given.
static bool pack(const char *from, const char *to, rs_pack_options o, const rs_gptq_model_options *g)
{
    enum { IDS = 80 };
    int32_t ids[IDS];
    tiny_spec s = tiny_default();
    rs_mapped *m = NULL;
    rs_gptq_model *made = NULL;
    rs_error e = {0};
    rs_status st = RS_OK;
    tiny_ids(&s, IDS, ids);
    if (g != NULL) {
        rs_gptq_model_options by = *g;
        by.scheme = o.scheme;
        by.recipe = o.recipe;
        rs_calibration_text text = {.ids = ids, .count = IDS, .samples = 5, .ctx = 16};
        st = rs_mapped_open(&m, from, &e);
        if (st == RS_OK) st = rs_gptq_model_open(&made, m, &text, &by, &e);
        o.payload = rs_gptq_model_payload;
        o.source = made;
    }
    if (st == RS_OK) st = stages_pack(from, to, &o, &e);
    rs_gptq_model_close(made);
    rs_mapped_close(m);
    return CHECKF(st == RS_OK, "%s", e.text);
}

static bool same_tensor(const rs_mapped *a, const rs_mapped *b, const char *name)
{
    const rs_tensor *t = rs_mapped_find(a, name), *u = rs_mapped_find(b, name);
    return t != NULL && u != NULL && t->enc == u->enc && t->dtype == u->dtype && t->group == u->group && t->payload_len == u->payload_len &&
           memcmp(rs_mapped_payload(a, t), rs_mapped_payload(b, u), (size_t)t->payload_len) == 0;
}

// The list of a dry run names every tensor of the file that was written, with its bytes.
static void listed(const rs_pack_options *o, const rs_mapped *written)
{
    rs_stage s = {0};
    rs_text_buffer b = {0};
    rs_error e = {0};
    json_t *root = NULL;
    uint64_t total = 0;
    if (CHECKF(rs_stage_open(&s, "rs-pack", model, &e) == RS_OK && rs_pack_list(&s, o, true, &b, &e) == RS_OK && rs_json_parse(&root, b.p, b.len, "list", &e) == RS_OK, "%s", e.text)) {
        const json_t *tensors = json_object_get(root, "tensors");
        CHECK(json_array_size(tensors) == rs_mapped_count(written));
        for (size_t i = 0; i < json_array_size(tensors); i++) {
            const json_t *row = json_array_get(tensors, i);
            const rs_tensor *t = rs_mapped_tensor(written, i);
            CHECKF(strcmp(json_string_value(json_object_get(row, "name")), t->name) == 0 && (uint64_t)json_integer_value(json_object_get(row, "bytes")) == t->payload_len &&
                       json_integer_value(json_object_get(row, "bits")) == (t->enc == RS_ENC_RAW ? 8 * (int)rs_dtype_size(t->dtype) : rs_enc_bits(t->enc)), "%s: the list tells something else", t->name);
            total += t->payload_len;
        }
        CHECK((uint64_t)json_integer_value(json_object_get(json_object_get(root, "all"), "bytes")) == total);
    }
    json_decref(root);
    free(b.p);
    rs_stage_close(&s, &e);
}

// Matrices of the file that the recipe makes are those of a file that is packed by their scheme as a whole.
static void by_recipe(const char *json, const rs_gptq_model_options *g)
{
    rs_recipe *r = recipe(json);
    rs_pack_options o = stages_pack_default();
    rs_mapped *made = NULL, *from = NULL, *whole = NULL;
    rs_error e = {0};
    o.recipe = r;
    o.a = (rs_act){.bits = 8, .clip = 1};
    o.scheme.gptq = g != NULL;
    if (r == NULL || !pack(model, out, o, g)) return;
    verified(out);
    if (!CHECKF(rs_mapped_open(&made, out, &e) == RS_OK && rs_mapped_open(&from, model, &e) == RS_OK, "%s", e.text)) return;
    listed(&o, made);
    for (size_t i = 0; i < rs_mapped_count(from); i++) {
        const rs_tensor *t = rs_mapped_tensor(from, i);
        const rs_act a = rs_recipe_act(r, RS_PEER_NONE, 0, &o.a, t), b = rs_plan_act(&rs_mapped_head(made)->plan, t->layer, t->role);
        rs_pack_options alike = {.scheme = rs_recipe_scheme(r, &o.scheme, t), .a = o.a, .kv = o.kv};
        if (!rs_scheme_matrix(t)) continue;
        CHECKF(a.bits == b.bits && a.clip == b.clip && a.group == b.group && a.sym == b.sym, "%s: the plan says something else", t->name);
        if (alike.scheme.gptq && (t->layer > 0 || t->role > RS_ROLE_V)) continue; // reads what others hand on
        if (alike.scheme.w_bits == 16) CHECKF(same_tensor(made, from, t->name), "%s: was to be left alone", t->name);
        else if (pack(model, plain, alike, alike.scheme.gptq ? g : NULL) && CHECK(rs_mapped_open(&whole, plain, &e) == RS_OK)) {
            CHECKF(same_tensor(made, whole, t->name), "%s: is not what its scheme alone gives", t->name);
            rs_mapped_close(whole);
        }
    }
    rs_mapped_close(made);
    rs_mapped_close(from);
    rs_recipe_free(r);
    rs_pack_options later = {.scheme = {.w_bits = 16}, .a = {.bits = 8, .clip = 1}, .kv = o.kv}; // a policy is replaced with its exceptions
    if (!pack(out, plain, later, NULL) || !CHECK(rs_mapped_open(&made, plain, &e) == RS_OK)) return;
    CHECK(rs_mapped_head(made)->plan.n_except == 0 && rs_mapped_head(made)->plan.a.bits == 8);
    rs_mapped_close(made);
}

// The network quantises the inputs that the plan excepts: two recipes that mean the same give the same logits, and others than the plan without them.
static void inputs(void)
{
    static const char *const json[] = {"{\"rules\": [{\"role\": [\"q\", \"down\"], \"layers\": [1, 2], \"a_bits\": 3}]}",
                                       "{\"rules\": [{\"a_bits\": 16}, {\"role\": [\"q\", \"down\"], \"layers\": [1, 2], \"a_bits\": 3}]}", "{\"rules\": []}", "{\"rules\": []}"};
    static const unsigned bits[] = {16, 3, 16, 3};
    enum { S = 24 };
    tiny_spec spec = tiny_default();
    int32_t ids[S];
    float *logits[4];
    rs_mapped *m = NULL;
    rs_network *n;
    rs_error e = {0};
    tiny_ids(&spec, S, ids);
    for (int i = 0; i < 4; i++) {
        rs_recipe *r = recipe(json[i]);
        rs_pack_options o = {.scheme = {.w_bits = 16}, .a = {.bits = bits[i], .clip = 1}, .kv = {.bits = 16, .clip = 1}, .recipe = r};
        if (!pack(model, out, o, NULL) || !CHECKF(stages_network(out, NULL, &m, &n, &e) == RS_OK && (logits[i] = stages_logits(n, S, ids, &e)) != NULL, "%s", e.text)) return;
        rs_network_close(n);
        rs_mapped_close(m);
        rs_recipe_free(r);
    }
    CHECK(memcmp(logits[0], logits[1], S * spec.V * sizeof(float)) == 0);
    for (int i = 2; i < 4; i++) CHECK(tiny_difference(S * spec.V, logits[0], logits[i]) > 1e-3);
    for (int i = 0; i < 4; i++) free(logits[i]);
}

static void names(void)
{
    rs_recipe *r = recipe("{\"rules\": [{\"role\": \"down\", \"w_bits\": 8}]}");
    rs_pack_options o = stages_pack_default();
    rs_pack_target to;
    rs_tensor t = matrix(RS_ROLE_DOWN, 1);
    t.shape[0] = t.shape[1] = 8;
    o.recipe = r;
    CHECK(rs_tensor_layout(&t, RS_F32, 0, NULL) == RS_OK && rs_pack_plan(&o, &t, &to, &(rs_error){0}) == RS_OK && to.kind == RS_PACK_CODE && to.tensor.enc == RS_ENC_INT8);
    for (int64_t layer = -1; layer <= 2; layer += 3) {
        t.layer = layer;
        CHECK(rs_pack_plan(&o, &t, &to, &(rs_error){0}) == RS_E_TENSOR);
    }
    t.layer = 1;
    t.role = RS_ROLE_UP;
    CHECK(rs_pack_plan(&o, &t, &to, &(rs_error){0}) == RS_E_TENSOR);
    o.recipe = NULL;
    CHECK(rs_pack_plan(&o, &t, &to, &(rs_error){0}) == RS_OK && to.tensor.enc == RS_ENC_INT4);
    rs_recipe_free(r);
}

// Packed in two goes: a matrix that was packed before is left alone.
static void twice(void)
{
    rs_recipe *first = recipe("{\"rules\": [{\"leave\": true}, {\"role\": \"down\", \"w_bits\": 8}]}"), *second = recipe("{\"rules\": [{\"role\": \"down\", \"leave\": true}]}"), *once = recipe("{\"rules\": [{\"role\": \"down\", \"w_bits\": 8}]}");
    rs_pack_options o = stages_pack_default();
    rs_mapped *a = NULL, *b = NULL;
    rs_gptq_model_options g = {.gptq = rs_gptq_default()};
    o.recipe = first;
    if (!pack(model, plain, o, NULL)) return;
    o.recipe = second;
    if (!pack(plain, out, o, NULL)) return;
    o.recipe = once;
    if (!pack(model, plain, o, NULL) || !CHECK(rs_mapped_open(&a, out, NULL) == RS_OK && rs_mapped_open(&b, plain, NULL) == RS_OK)) return;
    for (size_t i = 0; i < rs_mapped_count(a); i++) CHECKF(same_tensor(a, b, rs_mapped_tensor(a, i)->name), "%s: differs when packed in two goes", rs_mapped_tensor(a, i)->name);
    rs_mapped_close(a);
    rs_mapped_close(b);
    // GPTQ behind it walks through the packed ones
    o.recipe = first;
    if (!pack(model, plain, o, NULL)) return;
    o.recipe = second;
    if (pack(plain, out, o, &g)) verified(out);
    rs_recipe_free(first);
    rs_recipe_free(second);
    rs_recipe_free(once);
}

// What GPTQ reads behind matrices that are left alone is what it reads, in one pass, before its layer is quantised.
static void behind_left(void)
{
    rs_recipe *r = recipe("{\"rules\": [{\"leave\": true}, {\"layers\": [0, 0], \"role\": [\"o\", \"down\"], \"w_bits\": 4}, {\"layers\": [0, 0], \"role\": \"o\", \"leave\": true}]}");
    rs_gptq_model_options g = {.gptq = rs_gptq_default()};
    rs_pack_options o = stages_pack_default();
    rs_mapped *a = NULL, *b = NULL;
    o.recipe = r;
    if (r == NULL || !pack(model, out, o, &g)) return;
    o.recipe = NULL;
    g.one_pass = true;
    if (!pack(model, plain, o, &g) || !CHECK(rs_mapped_open(&a, out, NULL) == RS_OK && rs_mapped_open(&b, plain, NULL) == RS_OK)) return;
    CHECK(same_tensor(a, b, "model.layers.0.mlp.down_proj.weight") && !same_tensor(a, b, "model.layers.0.self_attn.o_proj.weight"));
    rs_mapped_close(a);
    rs_mapped_close(b);
    rs_recipe_free(r);
}

int main(void)
{
    static const char mixed[] = "{\"rules\": [{\"role\": [\"gate\", \"up\"], \"w_bits\": 3}, {\"match\": \"layers.0.*.down_proj*\", \"w_bits\": 8, \"group\": 16, \"scale\": \"f16\", \"clip\": \"none\", \"a_bits\": 4},"
                                "{\"role\": \"o\", \"method\": \"rtn\", \"a_bits\": 16}, {\"role\": \"v\", \"layers\": [1, 2], \"leave\": true, \"a_group\": 8}]}";
    tiny_spec s = tiny_default();
    s.L = L;
    tiny_path(model, sizeof model, "model.rsq");
    tiny_path(out, sizeof out, "out.rsq");
    tiny_path(plain, sizeof plain, "plain.rsq");
    rs_threads_set(2);
    refusals();
    damage(mixed);
    requests();
    order();
    plans();
    names();
    if (CHECK(tiny_model(model, &s))) {
        rs_gptq_model_options g = {.gptq = rs_gptq_default()};
        by_recipe("{\"rules\": []}", NULL);
        by_recipe(mixed, NULL);
        by_recipe(mixed, &g);
        by_recipe("{\"rules\": [{\"method\": \"rtn\"}, {\"role\": \"q\", \"method\": \"gptq\", \"w_bits\": 5}]}", &g);
        inputs();
        twice();
        behind_left();
    }
    return check_report();
}
