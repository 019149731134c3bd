// SPDX-License-Identifier: Apache-2.0
// A recipe from JSON, by a table of the keys that a rule may have.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/cli.h"
#include "formats/hash.h"
#include "formats/json.h"
#include "quantize/recipe.h"

#define MAX_BYTES (1u << 20)
#define MAX_RULES 1024
#define MAX_GROUP (1u << 24)

static rs_status word(const json_t *v, const char *what, const char *key, const char *const *words, size_t n, size_t *index, rs_error *e)
{
    char known[96] = "";
    for (*index = 0; *index < n; ++*index)
        if (json_is_string(v) && strcmp(json_string_value(v), words[*index]) == 0) return RS_OK;
    for (size_t i = 0; i < n; i++) snprintf(known + strlen(known), sizeof known - strlen(known), " %s", words[i]);
    return rs_fail(e, RS_E_IMPORT, "%s: \"%s\" is none of:%s", what, key, known);
}

static rs_status read_bits(const json_t *object, const char *what, const char *key, uint64_t *bits, rs_error *e)
{
    RS_TRY(rs_json_uint(object, what, key, 2, 16, 0, bits, e));
    return *bits <= 8 || *bits == 16 ? RS_OK : rs_fail(e, RS_E_IMPORT, "%s: field \"%s\" is %" PRIu64 ", not 2..8 or 16", what, key, *bits);
}

static rs_status read_roles(rs_rule *r, const json_t *v, const char *what, rs_error *e)
{
    static const char *const names[RS_SCHEME_ROLES] = {"q", "k", "v", "o", "gate", "up", "down"};
    size_t n = json_is_array(v) ? json_array_size(v) : 1, at;
    for (size_t i = 0; i < n; i++) {
        RS_TRY(word(json_is_array(v) ? json_array_get(v, i) : v, what, "role", names, RS_SCHEME_ROLES, &at, e));
        r->roles |= 1u << at;
    }
    return n > 0 ? RS_OK : rs_fail(e, RS_E_IMPORT, "%s: \"role\" names none", what);
}

static rs_status read_layers(rs_rule *r, const json_t *v, const char *what, rs_error *e)
{
    const json_t *a = json_array_get(v, 0), *b = json_array_get(v, 1); // NULL for all but an array
    if (json_array_size(v) != 2 || !json_is_integer(a) || !json_is_integer(b) || json_integer_value(a) < 0 || json_integer_value(b) < json_integer_value(a))
        return rs_fail(e, RS_E_IMPORT, "%s: \"layers\" is not [first, last], two whole numbers that do not fall", what);
    r->layered = true;
    r->first = (uint64_t)json_integer_value(a);
    r->last = (uint64_t)json_integer_value(b);
    return RS_OK;
}

// Bytes that no name has could match nothing, and would not stand in a text of the container.
static rs_status read_match(rs_rule *r, const json_t *v, const char *what, rs_error *e)
{
    const char *match = json_string_value(v);
    size_t n = 0;
    while (match != NULL && match[n] > ' ' && match[n] <= '~') n++;
    if (n == 0 || n > RS_MAX_NAME || match[n] != 0) return rs_fail(e, RS_E_IMPORT, "%s: \"match\" is not a pattern of 1 to %d printable characters without spaces", what, RS_MAX_NAME);
    memcpy(r->match, match, n + 1);
    return RS_OK;
}

// One key of a rule; which: the bit that it sets, 0 for what chooses matrices.
static rs_status read_key(rs_rule *r, const json_t *object, const char *what, const char *key, unsigned which, rs_error *e)
{
    static const char *const types[] = {"f32", "f16"}, *const clips[] = {"mse", "none"}, *const methods[] = {"rtn", "gptq"};
    const json_t *v = json_object_get(object, key);
    uint64_t n = 0;
    size_t at = 0;
    switch (which) {
    case RS_RULE_W_BITS:
        RS_TRY(read_bits(object, what, key, &n, e));
        r->w.w_bits = (int)n;
        return RS_OK;
    case RS_RULE_GROUP: return rs_json_uint(object, what, key, 0, MAX_GROUP, UINT64_MAX, &r->w.group, e);
    case RS_RULE_SCALE:
        RS_TRY(word(v, what, key, types, 2, &at, e));
        r->w.scale_dtype = at == 0 ? RS_F32 : RS_F16;
        return RS_OK;
    case RS_RULE_CLIP:
        RS_TRY(word(v, what, key, clips, 2, &at, e));
        r->w.clip_steps = at == 0 ? 80 : 1;
        return RS_OK;
    case RS_RULE_METHOD:
        RS_TRY(word(v, what, key, methods, 2, &at, e));
        r->w.gptq = at == 1;
        return RS_OK;
    case RS_RULE_LEAVE:
        r->w.w_bits = 16;
        return json_is_true(v) ? RS_OK : rs_fail(e, RS_E_IMPORT, "%s: \"leave\" can only be true; a later rule with \"w_bits\" takes it back", what);
    case RS_RULE_A_BITS:
        RS_TRY(read_bits(object, what, key, &n, e));
        r->a.bits = (unsigned)n;
        return RS_OK;
    case RS_RULE_A_GROUP: return rs_json_uint(object, what, key, 0, MAX_GROUP, UINT64_MAX, &r->a.group, e);
    case RS_RULE_A_CLIP:
        RS_TRY(rs_json_number(object, what, key, NAN, &r->a.clip, e));
        return r->a.clip > 0 && r->a.clip <= 1 ? RS_OK : rs_fail(e, RS_E_IMPORT, "%s: field \"%s\" is %g, not above 0 and at most 1", what, key, r->a.clip);
    case RS_RULE_A_SYM: return rs_json_bool(object, what, key, false, &r->a.sym, e);
    default: break;
    }
    if (strcmp(key, "role") == 0) return read_roles(r, v, what, e);
    if (strcmp(key, "layers") == 0) return read_layers(r, v, what, e);
    return read_match(r, v, what, e);
}

static rs_status read_rule(rs_rule *r, const json_t *object, size_t number, rs_error *e)
{
    static const struct {
        const char *name;
        unsigned sets;
    } keys[] = {{"match", 0}, {"role", 0}, {"layers", 0},
                {"w_bits", RS_RULE_W_BITS}, {"group", RS_RULE_GROUP}, {"scale", RS_RULE_SCALE}, {"clip", RS_RULE_CLIP}, {"method", RS_RULE_METHOD}, {"leave", RS_RULE_LEAVE},
                {"a_bits", RS_RULE_A_BITS}, {"a_group", RS_RULE_A_GROUP}, {"a_clip", RS_RULE_A_CLIP}, {"a_sym", RS_RULE_A_SYM}};
    enum { KEYS = sizeof keys / sizeof *keys };
    char what[48];
    const char *key;
    json_t *v;
    snprintf(what, sizeof what, "recipe: rule %zu", number);
    if (!json_is_object(object)) return rs_fail(e, RS_E_IMPORT, "%s: not an object", what);
    json_object_foreach((json_t *)object, key, v) {
        size_t i = 0;
        while (i < KEYS && strcmp(keys[i].name, key) != 0) i++;
        if (i == KEYS) return rs_fail(e, RS_E_IMPORT, "%s: unknown key \"%.60s\"", what, key);
        RS_TRY(read_key(r, object, what, key, keys[i].sets, e));
        r->sets |= keys[i].sets;
    }
    if (r->sets == 0) return rs_fail(e, RS_E_IMPORT, "%s: nothing is set", what);
    if ((r->sets & RS_RULE_LEAVE) != 0 && (r->sets & (RS_RULE_LEAVE - 1)) != 0) return rs_fail(e, RS_E_IMPORT, "%s: \"leave\" and how to round exclude each other", what);
    r->text = json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII);
    return r->text != NULL ? RS_OK : rs_fail(e, RS_E_NOMEM, "%s", what);
}

static rs_status read_rules(rs_recipe *r, json_t *root, rs_error *e)
{
    const json_t *rules = json_object_get(root, "rules");
    const char *key;
    json_t *v;
    if (!json_is_array(rules)) return rs_fail(e, RS_E_IMPORT, "recipe: not an object with the list \"rules\"");
    json_object_foreach(root, key, v)
        if (strcmp(key, "rules") != 0) return rs_fail(e, RS_E_IMPORT, "recipe: unknown key \"%.60s\" beside \"rules\"", key);
    r->n = json_array_size(rules);
    if (r->n > MAX_RULES) return rs_fail(e, RS_E_LIMIT, "%zu rules, at most %d", r->n, MAX_RULES);
    r->rule = calloc(r->n + 1, sizeof *r->rule);
    if (r->rule == NULL) return rs_fail(e, RS_E_NOMEM, "%zu rules", r->n);
    for (size_t i = 0; i < r->n; i++) RS_TRY(read_rule(&r->rule[i], json_array_get(rules, i), i + 1, e));
    r->text = json_dumps(root, JSON_COMPACT | JSON_ENSURE_ASCII);
    if (r->text == NULL) return rs_fail(e, RS_E_NOMEM, "recipe");
    if (strlen(r->text) <= RS_MAX_STR) return RS_OK;
    free(r->text);
    r->text = NULL;
    return RS_OK;
}

rs_status rs_recipe_parse(rs_recipe **out, const char *json, size_t len, rs_error *e)
{
    rs_recipe *r = *out = calloc(1, sizeof *r);
    if (r == NULL) return rs_fail(e, RS_E_NOMEM, "recipe");
    json_t *root;
    rs_status st = rs_json_parse(&root, json, len, "recipe", e);
    if (st == RS_OK) st = read_rules(r, root, e);
    json_decref(root);
    if (st == RS_OK) return RS_OK;
    rs_recipe_free(r);
    *out = NULL;
    return st;
}

rs_status rs_recipe_read(rs_recipe **r, const char *path, rs_input_sum *sum, rs_error *e)
{
    char *json = NULL;
    size_t len = 0;
    *r = NULL;
    RS_TRY(rs_cli_slurp(path, MAX_BYTES, &json, &len, e));
    *sum = (rs_input_sum){.fmt = "json", .size = len};
    rs_hash_128(json, len, sum->digest);
    rs_status st = rs_recipe_parse(r, json, len, e);
    free(json);
    return st;
}

void rs_recipe_free(rs_recipe *r)
{
    if (r == NULL) return;
    for (size_t i = 0; r->rule != NULL && i < r->n; i++) free(r->rule[i].text);
    free(r->rule);
    free(r->text);
    free(r);
}
