// SPDX-License-Identifier: Apache-2.0
// A recipe: a list of rules that give some matrices another scheme, or their inputs another quantiser, than the options of rs-pack give all of them (rs-pack(1) has the form).
#ifndef RS_QUANTIZE_RECIPE_H
#define RS_QUANTIZE_RECIPE_H

#include "quantize/scheme.h"

// What a rule sets, as bits; those below LEAVE say how to round.
enum {
    RS_RULE_W_BITS = 1, RS_RULE_GROUP = 2, RS_RULE_SCALE = 4, RS_RULE_CLIP = 8, RS_RULE_METHOD = 16,
    RS_RULE_LEAVE = 32, // w_bits 16
    RS_RULE_A_BITS = 64, RS_RULE_A_GROUP = 128, RS_RULE_A_CLIP = 256, RS_RULE_A_SYM = 512 // the input
};

typedef struct rs_rule {
    char match[RS_MAX_NAME + 1]; // "": any name
    unsigned roles;              // bit i: RS_ROLE_Q + i; 0: any
    bool layered;
    uint64_t first, last;        // where layered
    unsigned sets;               // RS_RULE_*
    rs_scheme w;
    rs_act a;
    char *text;                  // as JSON on one line, for messages
} rs_rule;

typedef struct rs_recipe {
    rs_rule *rule;
    size_t n;
    char *text; // the whole on one line, for the provenance; NULL where that is longer than a text of the container may be
} rs_recipe;

// Reads a recipe from JSON. E_IMPORT (form, unknown keys, ranges; names the line or the rule), E_LIMIT, E_NOMEM. Free with rs_recipe_free.
RS_MUST_CHECK rs_status rs_recipe_parse(rs_recipe **r, const char *json, size_t len, rs_error *e);
// The same from a file ("-": standard input); sum gets its digest for a provenance link. Also E_READ.
RS_MUST_CHECK rs_status rs_recipe_read(rs_recipe **r, const char *path, rs_input_sum *sum, rs_error *e);
// NULL allowed.
void rs_recipe_free(rs_recipe *r);

// Whether every rule has something to say about a Llama of so many layers, and GPTQ something to do where s asks for it. RS_USAGE, naming the rule.
RS_MUST_CHECK rs_status rs_recipe_check(const rs_recipe *r, const rs_scheme *s, uint64_t layers, rs_error *e);
// What s (a, the quantiser of its input) becomes for matrix t: later rules win. r NULL, or t no matrix that can be packed: unchanged, but for what s->peer (peer; head: size of a head, 0: not
// known, then the input of o is as the others) makes of them.
rs_scheme rs_recipe_scheme(const rs_recipe *r, const rs_scheme *s, const rs_tensor *t);
rs_act rs_recipe_act(const rs_recipe *r, rs_peer peer, uint64_t head, const rs_act *a, const rs_tensor *t);
// Puts the exceptions from plan->a that the recipe and the peer ask for in place of those that the plan has; junctions keep theirs. The list is made in arena. E_NOMEM.
RS_MUST_CHECK rs_status rs_recipe_plan(const rs_recipe *r, rs_peer peer, uint64_t head, uint64_t layers, rs_plan *plan, rs_arena *arena, rs_error *e);

#endif
