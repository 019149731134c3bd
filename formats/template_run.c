// SPDX-License-Identifier: Apache-2.0
// The statements of a chat template at work.
#include "formats/template_run.h"

#include <string.h>

#include "formats/template_text.h"

rs_status rs_template_scope_new(rs_template_heap *h, rs_template_scope *outer, rs_template_scope **out)
{
    *out = rs_template_alloc(h, sizeof **out);
    if (*out == NULL) return h->status;
    (*out)->outer = outer;
    return rs_tv_map_new(h, RS_TV_NAMESPACE, &(*out)->names);
}

// Gives a name, the names of a tuple or the attribute of a namespace its value.
static rs_status assign(rs_template_run *r, const rs_template_node *target, rs_tv value)
{
    rs_tv object, items;
    RS_TRY(rs_template_descend(r, target->line));
    if (target->kind == RS_NODE_NAME) {
        RS_TRY(rs_tv_put(r->h, &r->scope->names, target->value, value));
    } else if (target->kind == RS_NODE_ATTR) {
        RS_TRY(rs_template_eval(r, target->a, &object));
        if (object.kind != RS_TV_NAMESPACE) return rs_template_fail(r->h, RS_E_IMPORT, "an attribute of a %s cannot be set, only one of a namespace", rs_tv_type(&object));
        RS_TRY(rs_tv_put(r->h, &object, target->value, value));
    } else {
        RS_TRY(rs_tv_items(r->h, &value, &items));
        if (value.kind == RS_TV_UNDEFINED || items.list->n != target->n) return rs_template_fail(r->h, RS_E_IMPORT, "%zu values for %zu names", items.list->n, target->n);
        for (size_t i = 0; i < target->n; i++) RS_TRY(assign(r, target->arg[i].value, items.list->item[i]));
    }
    r->h->depth--;
    return RS_OK;
}

// Statements in a scope of their own, their text as a value (NULL: to the output).
static rs_status inner(rs_template_run *r, const rs_template_node *first, rs_template_scope *scope, rs_tv *text)
{
    rs_template_scope *outside = r->scope;
    rs_template_text own = {0}, *out = r->out;
    if (text != NULL) r->out = &own;
    r->scope = scope;
    RS_TRY(rs_template_exec(r, first));
    r->scope = outside;
    r->out = out;
    if (text != NULL) *text = RS_TV_STR_OF(own.len > 0 ? own.p : "", own.len);
    return RS_OK;
}

// The items for which the condition of the loop holds.
static rs_status filtered(rs_template_run *r, const rs_template_node *node, const rs_tv *items, rs_tv *out)
{
    rs_template_scope *outside = r->scope;
    rs_tv yes;
    RS_TRY(rs_tv_list_new(r->h, RS_TV_PLAIN, out));
    for (size_t i = 0; i < items->list->n; i++) {
        RS_TRY(rs_template_scope_new(r->h, outside, &r->scope));
        RS_TRY(assign(r, node->a, items->list->item[i]));
        RS_TRY(rs_template_eval(r, node->c, &yes));
        if (rs_tv_true(&yes)) RS_TRY(rs_tv_push(r->h, out, items->list->item[i]));
    }
    r->scope = outside;
    return RS_OK;
}

static rs_status run_for(rs_template_run *r, const rs_template_node *node)
{
    rs_template_scope *outside = r->scope, *turn;
    rs_tv over, items, chosen;
    bool whole = false;
    RS_TRY(rs_template_eval(r, node->b, &over));
    RS_TRY(rs_tv_items(r->h, &over, &items));
    chosen = items;
    if (node->c != NULL) RS_TRY(filtered(r, node, &items, &chosen));
    rs_tv_loop *loop = rs_template_alloc(r->h, sizeof *loop);
    if (loop == NULL) return r->h->status;
    loop->list = chosen.list;
    for (size_t i = 0; i < chosen.list->n && r->flow != RS_FLOW_BREAK; i++) {
        loop->at = i;
        RS_TRY(rs_template_scope_new(r->h, outside, &turn));
        r->scope = turn;
        RS_TRY(rs_tv_put(r->h, &turn->names, RS_TV_LITERAL("loop"), (rs_tv){.kind = RS_TV_LOOP, .loop = loop}));
        RS_TRY(assign(r, node->a, chosen.list->item[i]));
        r->scope = outside;
        RS_TRY(inner(r, node->body, turn, NULL));
        whole = whole || r->flow == RS_FLOW_ON;
        if (r->flow == RS_FLOW_CONTINUE) r->flow = RS_FLOW_ON;
    }
    r->flow = RS_FLOW_ON;
    if (whole || node->other == NULL) return RS_OK; // Jinja takes the other branch unless a turn came to its end
    RS_TRY(rs_template_scope_new(r->h, outside, &turn));
    return inner(r, node->other, turn, NULL);
}

static rs_status run_with(rs_template_run *r, const rs_template_node *node)
{
    rs_template_scope *outside = r->scope, *scope;
    RS_TRY(rs_template_scope_new(r->h, outside, &scope));
    for (size_t i = 0; i + 1 < node->n; i += 2) {
        rs_tv value;
        r->scope = outside; // the values see nothing of each other
        RS_TRY(rs_template_eval(r, node->arg[i + 1].value, &value));
        r->scope = scope;
        RS_TRY(assign(r, node->arg[i].value, value));
    }
    r->scope = outside;
    return inner(r, node->body, scope, NULL);
}

static rs_status define_macro(rs_template_run *r, const rs_template_node *node)
{
    rs_tv_call *call = rs_template_alloc(r->h, sizeof *call);
    if (call == NULL) return r->h->status;
    call->name = "macro";
    call->macro = node;
    call->scope = r->scope;
    return rs_tv_put(r->h, &r->scope->names, node->value, (rs_tv){.kind = RS_TV_CALL, .call = call});
}

rs_status rs_template_macro(rs_template_run *r, const rs_tv_call *call, const rs_template_args *args, rs_tv *out)
{
    const rs_template_node *node = call->macro;
    rs_template_scope *outside = r->scope, *scope;
    const rs_template_flow flow = r->flow;
    RS_TRY(rs_template_scope_new(r->h, call->scope, &scope));
    for (size_t i = 0; i < args->n; i++) {
        size_t k = i;
        if (!rs_tv_absent(&args->name[i]))
            for (k = 0; k < node->n && !(node->arg[k].name.str.len == args->name[i].str.len && memcmp(node->arg[k].name.str.p, args->name[i].str.p, args->name[i].str.len) == 0);) k++;
        const rs_tv *name = k < node->n ? &node->arg[k].name : NULL;
        if (name == NULL || rs_tv_get(scope->names.map, name->str.p, name->str.len) != NULL)
            return rs_template_fail(r->h, RS_E_IMPORT, "macro \"%.*s\" takes no such argument, or gets it twice", (int)(node->value.str.len < 60 ? node->value.str.len : 60), node->value.str.p);
        RS_TRY(rs_tv_put(r->h, &scope->names, *name, args->value[i]));
    }
    r->scope = scope;
    for (size_t i = 0; i < node->n; i++) {
        rs_tv name = node->arg[i].name, value = {.kind = RS_TV_UNDEFINED, .str = {name.str.p, name.str.len}};
        if (rs_tv_get(scope->names.map, name.str.p, name.str.len) != NULL) continue;
        if (node->arg[i].value != NULL) RS_TRY(rs_template_eval(r, node->arg[i].value, &value));
        RS_TRY(rs_tv_put(r->h, &scope->names, name, value));
    }
    r->scope = outside;
    RS_TRY(inner(r, node->body, scope, out));
    r->flow = flow;
    return RS_OK;
}

static rs_status run_block(rs_template_run *r, const rs_template_node *node)
{
    rs_template_scope *scope;
    rs_tv text, value;
    RS_TRY(rs_template_scope_new(r->h, r->scope, &scope));
    if (node->kind == RS_NODE_SCOPE) return inner(r, node->body, scope, NULL);
    RS_TRY(inner(r, node->body, scope, &text));
    if (r->flow != RS_FLOW_ON) return RS_OK; // a break in it leaves what it would have made
    RS_TRY(rs_template_eval_filters(r, node->b, text, &value));
    return node->kind == RS_NODE_SET_BLOCK ? assign(r, node->a, value) : rs_template_str(r->h, r->out, &value);
}

static rs_status exec_node(rs_template_run *r, const rs_template_node *node)
{
    rs_tv v;
    switch (node->kind) {
    case RS_NODE_TEXT: return rs_template_add(r->h, r->out, node->value.str.p, node->value.str.len);
    case RS_NODE_PRINT:
        RS_TRY(rs_template_eval(r, node->a, &v));
        r->h->line = node->line;
        return rs_template_str(r->h, r->out, &v);
    case RS_NODE_FOR: return run_for(r, node);
    case RS_NODE_IF: // an elif is an if that stands alone in the other branch
        for (;;) {
            RS_TRY(rs_template_eval(r, node->a, &v));
            if (rs_tv_true(&v)) return rs_template_exec(r, node->body);
            if (node->other == NULL || node->other->kind != RS_NODE_IF || node->other->next != NULL) return rs_template_exec(r, node->other);
            node = node->other;
        }
    case RS_NODE_SET:
        RS_TRY(rs_template_eval(r, node->b, &v));
        return assign(r, node->a, v);
    case RS_NODE_MACRO: return define_macro(r, node);
    case RS_NODE_WITH: return run_with(r, node);
    case RS_NODE_SET_BLOCK:
    case RS_NODE_FILTER_BLOCK:
    case RS_NODE_SCOPE: return run_block(r, node);
    case RS_NODE_BREAK:
    case RS_NODE_CONTINUE:
        r->flow = node->kind == RS_NODE_BREAK ? RS_FLOW_BREAK : RS_FLOW_CONTINUE;
        return RS_OK;
    default: return rs_template_fail(r->h, RS_E_INTERNAL, "node %d is no statement", (int)node->kind);
    }
}

rs_status rs_template_exec(rs_template_run *r, const rs_template_node *first)
{
    for (const rs_template_node *node = first; node != NULL && r->flow == RS_FLOW_ON; node = node->next) {
        RS_TRY(rs_template_descend(r, node->line));
        RS_TRY(exec_node(r, node));
        r->h->depth--;
    }
    return RS_OK;
}
