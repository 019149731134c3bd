// SPDX-License-Identifier: Apache-2.0
// Rules of a recipe matched against names, roles and layers: schemes of matrices, quantisers of their inputs, exceptions of the plan.
#include "quantize/recipe.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool matches(const rs_rule *r, const rs_tensor *t)
{
    static const char prefix[] = "model.";
    const size_t n = sizeof prefix - 1;
    if (r->roles != 0 && (r->roles >> (t->role - RS_ROLE_Q) & 1) == 0) return false;
    if (r->layered && (t->layer < 0 || (uint64_t)t->layer < r->first || (uint64_t)t->layer > r->last)) return false;
    return r->match[0] == 0 || fnmatch(r->match, t->name, 0) == 0 || (strncmp(t->name, prefix, n) == 0 && fnmatch(r->match, t->name + n, 0) == 0);
}

rs_scheme rs_recipe_scheme(const rs_recipe *recipe, const rs_scheme *s, const rs_tensor *t)
{
    rs_scheme out = *s;
    out.type = t->dtype;
    for (size_t i = 0; recipe != NULL && rs_scheme_matrix(t) && i < recipe->n; i++) {
        const rs_rule *r = &recipe->rule[i];
        if (!matches(r, t)) continue;
        if ((r->sets & (RS_RULE_W_BITS | RS_RULE_LEAVE)) != 0) out.w_bits = r->w.w_bits;
        if ((r->sets & RS_RULE_GROUP) != 0) out.group = r->w.group;
        if ((r->sets & RS_RULE_SCALE) != 0) out.scale_dtype = r->w.scale_dtype;
        if ((r->sets & RS_RULE_CLIP) != 0) out.clip_steps = r->w.clip_steps > 1 ? rs_compat_of(s->peer)->mse : 1;
        if ((r->sets & RS_RULE_METHOD) != 0) out.gptq = r->w.gptq;
    }
    return out;
}

rs_act rs_recipe_act(const rs_recipe *recipe, rs_peer peer, uint64_t head, const rs_act *a, const rs_tensor *t)
{
    rs_act out = *a;
    bool grouped = false;
    for (size_t i = 0; recipe != NULL && rs_scheme_matrix(t) && i < recipe->n; i++) {
        const rs_rule *r = &recipe->rule[i];
        if (!matches(r, t)) continue;
        if ((r->sets & RS_RULE_A_BITS) != 0) out.bits = r->a.bits;
        grouped = grouped || (r->sets & RS_RULE_A_GROUP) != 0;
        if ((r->sets & RS_RULE_A_GROUP) != 0) out.group = r->a.group;
        if ((r->sets & RS_RULE_A_CLIP) != 0) out.clip = r->a.clip;
        if ((r->sets & RS_RULE_A_SYM) != 0) out.sym = r->a.sym;
    }
    if (out.bits < 16 && !grouped && head != 0 && t->role == RS_ROLE_O && rs_compat_of(peer)->a_head) out.group = head;
    out.range = rs_compat_range(peer, &out);
    return out;
}

// A complaint about a rule, which is shown.
static rs_status refuse(const rs_recipe *r, size_t i, const char *why, rs_error *e)
{
    return rs_fail(e, RS_USAGE, "recipe: rule %zu %s: %s", i + 1, why, r->rule[i].text);
}

rs_status rs_recipe_check(const rs_recipe *r, const rs_scheme *s, uint64_t layers, rs_error *e)
{
    const rs_config names = {.L = layers};
    const uint64_t n = layers * RS_SCHEME_ROLES;
    rs_tensor t;
    bool busy = !s->gptq;
    for (size_t i = 0; i < r->n; i++) {
        uint64_t at = 0;
        char why[64];
        snprintf(why, sizeof why, "reaches beyond the %" PRIu64 " layers of the model", layers);
        if (r->rule[i].layered && r->rule[i].last >= layers) return refuse(r, i, why, e);
        if ((r->rule[i].sets & RS_RULE_METHOD) != 0 && r->rule[i].w.gptq && !s->gptq) return refuse(r, i, "asks for GPTQ, which takes --gptq and a text", e);
        for (; at < n; at++) {
            rs_scheme_matrix_at(&names, at, &t);
            if (matches(&r->rule[i], &t)) break;
        }
        if (at == n) return refuse(r, i, "names no tensor", e);
    }
    for (uint64_t at = 0; at < n && !busy; at++) {
        rs_scheme_matrix_at(&names, at, &t);
        rs_scheme own = rs_recipe_scheme(r, s, &t);
        busy = own.gptq && own.w_bits < 16;
    }
    return busy ? RS_OK : rs_fail(e, RS_USAGE, "--gptq, but the recipe leaves nothing to it");
}

static bool same(const rs_act *a, const rs_act *b)
{
    return a->bits == b->bits && a->group == b->group && a->clip == b->clip && a->sym == b->sym && a->range == b->range;
}

static int by_place(const void *a, const void *b)
{
    const rs_except *x = a, *y = b;
    if (x->layer != y->layer) return x->layer < y->layer ? -1 : 1;
    return (int)x->role - (int)y->role;
}

rs_status rs_recipe_plan(const rs_recipe *r, rs_peer peer, uint64_t head, uint64_t layers, rs_plan *plan, rs_arena *arena, rs_error *e)
{
    const rs_config names = {.L = layers};
    rs_except *list = rs_arena_alloc(arena, (plan->n_except + (size_t)layers * RS_SCHEME_ROLES + 1) * sizeof *list);
    size_t n = 0;
    if (list == NULL) return rs_fail(e, RS_E_NOMEM, "exceptions of the plan");
    for (size_t i = 0; i < plan->n_except; i++)
        if (plan->except[i].role == RS_ROLE_RESID) list[n++] = plan->except[i];
    for (uint64_t role = 0; (r != NULL || peer != RS_PEER_NONE) && role < RS_SCHEME_ROLES; role++) {
        const size_t from = n;
        bool alike = true;
        for (uint64_t l = 0; l < layers; l++) {
            rs_tensor t;
            rs_scheme_matrix_at(&names, l * RS_SCHEME_ROLES + role, &t);
            rs_except x = {.layer = t.layer, .role = t.role, .act = rs_recipe_act(r, peer, head, &plan->a, &t)};
            if (!same(&x.act, &plan->a)) list[n++] = x;
            alike = alike && n == from + l + 1 && same(&x.act, &list[from].act);
        }
        if (!alike || layers == 0) continue;
        list[from].layer = -1; // one entry for all layers
        n = from + 1;
    }
    qsort(list, n, sizeof *list, by_place);
    plan->except = list;
    plan->n_except = n;
    return RS_OK;
}
