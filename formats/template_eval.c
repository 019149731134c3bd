// SPDX-License-Identifier: Apache-2.0
// Values of the expressions of a chat template.
#include <math.h>
#include <string.h>

#include "formats/template_run.h"
#include "formats/template_text.h"

static rs_status undefined(rs_template_heap *h, const rs_tv *v) { return rs_template_fail(h, RS_E_IMPORT, "\"%.*s\" is undefined", (int)(v->str.len < 100 ? v->str.len : 100), v->str.p); }

// ---- arithmetic

static rs_status wrong_types(rs_template_heap *h, int op, const rs_tv *a, const rs_tv *b)
{
    if (a->kind == RS_TV_UNDEFINED) return undefined(h, a);
    if (b->kind == RS_TV_UNDEFINED) return undefined(h, b);
    return rs_template_fail(h, RS_E_IMPORT, "\"%c%s\" between a %s and a %s is not supported", op & 255, op > 255 ? (const char[]){(char)(op >> 8), 0} : "", rs_tv_type(a), rs_tv_type(b));
}

static rs_status too_large(rs_template_heap *h) { return rs_template_fail(h, RS_E_IMPORT, "an integer above 63 bits"); }

static rs_status power(rs_template_heap *h, int64_t a, int64_t b, rs_tv *out)
{
    *out = RS_TV_INT_OF(1);
    for (; b > 0; b >>= 1) {
        if ((b & 1) != 0 && __builtin_mul_overflow(out->i, a, &out->i)) return too_large(h);
        if (b > 1 && __builtin_mul_overflow(a, a, &a)) return too_large(h);
    }
    return RS_OK;
}

static rs_status of_integers(rs_template_heap *h, int op, int64_t a, int64_t b, rs_tv *out)
{
    int64_t r;
    switch (op) {
    case '+':
        if (__builtin_add_overflow(a, b, &r)) return too_large(h);
        break;
    case '-':
        if (__builtin_sub_overflow(a, b, &r)) return too_large(h);
        break;
    case '*':
        if (__builtin_mul_overflow(a, b, &r)) return too_large(h);
        break;
    case RS_OPERATOR('*', '*'): return power(h, a, b, out);
    default: // the quotient is rounded down, and the remainder has the sign of b
        if (b == 0) return rs_template_fail(h, RS_E_IMPORT, "division by zero");
        if (b == -1 && a == INT64_MIN) return too_large(h);
        r = op == '%' ? a % b : a / b;
        if (a % b != 0 && (a % b < 0) != (b < 0)) r += op == '%' ? b : -1;
        break;
    }
    *out = RS_TV_INT_OF(r);
    return RS_OK;
}

static rs_status of_floats(rs_template_heap *h, int op, double a, double b, rs_tv *out)
{
    double r = 0;
    bool divides = op == '/' || op == '%' || op == RS_OPERATOR('/', '/');
    if (divides && b == 0) return rs_template_fail(h, RS_E_IMPORT, "division by zero");
    switch (op) {
    case '+': r = a + b; break;
    case '-': r = a - b; break;
    case '*': r = a * b; break;
    case '/': r = a / b; break;
    case '%':
    case RS_OPERATOR('/', '/'): {
        double m = fmod(a, b), q = (a - m) / b;
        if (m != 0 && (m < 0) != (b < 0)) m += b, q -= 1;
        if (m == 0) m = copysign(0, b);
        if (q != 0) q = q - floor(q) > 0.5 ? floor(q) + 1 : floor(q);
        else q = copysign(0, a / b);
        r = op == '%' ? m : q;
        break;
    }
    default: r = pow(a, b); break;
    }
    if (op == RS_OPERATOR('*', '*') && ((a == 0 && b < 0) || (a < 0 && isnan(r) && !isnan(b)) || (isinf(r) && isfinite(a) && isfinite(b)))) return rs_template_fail(h, RS_E_IMPORT, "a power that is no number");
    *out = RS_TV_FLOAT_OF(r);
    return RS_OK;
}

// text or list, n times
static rs_status repeat(rs_template_heap *h, const rs_tv *v, int64_t n, rs_tv *out)
{
    rs_template_text t = {0};
    size_t len = v->kind == RS_TV_STR ? v->str.len : v->list->n;
    if (v->kind == RS_TV_LIST) RS_TRY(rs_tv_list_new(h, v->list->sort, out));
    if (len == 0) n = 0;
    for (; n > 0; n--) {
        RS_TRY(rs_template_steps(h, 1));
        if (v->kind == RS_TV_STR) RS_TRY(rs_template_add(h, &t, v->str.p, len));
        for (size_t i = 0; v->kind == RS_TV_LIST && i < len; i++) RS_TRY(rs_tv_push(h, out, v->list->item[i]));
    }
    if (v->kind == RS_TV_STR) *out = RS_TV_STR_OF(t.len > 0 ? t.p : "", t.len);
    return RS_OK;
}

static rs_status join_lists(rs_template_heap *h, const rs_tv_list *a, const rs_tv_list *b, rs_tv *out)
{
    RS_TRY(rs_template_steps(h, a->n + b->n));
    RS_TRY(rs_tv_list_new(h, a->sort, out));
    for (size_t i = 0; i < a->n; i++) RS_TRY(rs_tv_push(h, out, a->item[i]));
    for (size_t i = 0; i < b->n; i++) RS_TRY(rs_tv_push(h, out, b->item[i]));
    return RS_OK;
}

static rs_status join_texts(rs_template_heap *h, const rs_tv *a, const rs_tv *b, rs_tv *out)
{
    char *p = rs_template_alloc(h, a->str.len + b->str.len + 1);
    if (p == NULL) return h->status;
    if (a->str.len > 0) memcpy(p, a->str.p, a->str.len);
    if (b->str.len > 0) memcpy(p + a->str.len, b->str.p, b->str.len);
    *out = RS_TV_STR_OF(p, a->str.len + b->str.len);
    return RS_OK;
}

static bool plain(const rs_tv *v) { return v->kind == RS_TV_STR || (v->kind == RS_TV_LIST && v->list->sort <= RS_TV_TUPLE); }

static rs_status binary(rs_template_heap *h, int op, const rs_tv *a, const rs_tv *b, rs_tv *out)
{
    int64_t i, k;
    double x, y;
    if (rs_tv_integer(a, &i) && rs_tv_integer(b, &k) && op != '/' && !(op == RS_OPERATOR('*', '*') && k < 0)) return of_integers(h, op, i, k, out);
    if (rs_tv_number(a, &x) && rs_tv_number(b, &y)) return of_floats(h, op, x, y, out);
    if (op == '+' && a->kind == RS_TV_STR && b->kind == RS_TV_STR) return join_texts(h, a, b, out);
    if (op == '+' && plain(a) && plain(b) && a->kind == b->kind && a->list->sort == b->list->sort) return join_lists(h, a->list, b->list, out);
    if (op == '*' && plain(a) && rs_tv_integer(b, &k)) return repeat(h, a, k, out);
    if (op == '*' && plain(b) && rs_tv_integer(a, &i)) return repeat(h, b, i, out);
    return wrong_types(h, op, a, b);
}

static rs_status unary(rs_template_heap *h, int op, const rs_tv *v, rs_tv *out)
{
    int64_t i;
    if (rs_tv_integer(v, &i)) return of_integers(h, op, 0, i, out);
    if (v->kind == RS_TV_UNDEFINED) return undefined(h, v);
    if (v->kind != RS_TV_FLOAT) return rs_template_fail(h, RS_E_IMPORT, "\"%c\" before a %s", op, rs_tv_type(v));
    *out = RS_TV_FLOAT_OF(op == '-' ? -v->f : v->f);
    return RS_OK;
}

// ---- comparison

static rs_status compare_one(rs_template_heap *h, int op, const rs_tv *a, const rs_tv *b, bool *out)
{
    int order;
    if (op == RS_OP_IN || op == RS_OP_NOT_IN || op == RS_OPERATOR('=', '=') || op == RS_OPERATOR('!', '=')) {
        RS_TRY(op <= RS_OP_NOT_IN ? rs_tv_in(h, a, b, out) : rs_tv_equal(h, a, b, out));
        *out = *out != (op == RS_OP_NOT_IN || op == RS_OPERATOR('!', '='));
        return RS_OK;
    }
    RS_TRY(rs_tv_compare(h, a, b, &order));
    *out = order != 2 && ((op & 255) == '<' ? order < 0 : order > 0);
    if (op > 255) *out = *out || order == 0;
    return RS_OK;
}

// a < b < c: the first that does not hold ends it.
static rs_status compare(rs_template_run *r, const rs_template_node *node, rs_tv *out)
{
    rs_tv left, right;
    bool holds = true;
    RS_TRY(rs_template_eval(r, node->a, &left));
    for (size_t i = 0; i < node->n && holds; i++, left = right) {
        RS_TRY(rs_template_eval(r, node->arg[i].value, &right));
        r->h->line = node->line;
        RS_TRY(compare_one(r->h, node->arg[i].op, &left, &right, &holds));
    }
    *out = RS_TV_BOOL_OF(holds);
    return RS_OK;
}

// ---- names and calls

static rs_status find_name(rs_template_run *r, rs_tv name, rs_tv *out)
{
    for (const rs_template_scope *s = r->scope; s != NULL; s = s->outer) {
        RS_TRY(rs_template_steps(r->h, s->names.map->n / 16 + 1));
        const rs_tv *v = rs_tv_get(s->names.map, name.str.p, name.str.len);
        if (v == NULL) continue;
        *out = *v;
        return RS_OK;
    }
    return rs_template_global(r->h, name, out);
}

static rs_status eval_args(rs_template_run *r, const rs_template_node *node, rs_template_args *args)
{
    rs_tv *value = rs_template_alloc(r->h, (node->n + 1) * sizeof *value), *name = rs_template_alloc(r->h, (node->n + 1) * sizeof *name);
    if (value == NULL || name == NULL) return r->h->status;
    for (size_t i = 0; i < node->n; i++) {
        name[i] = node->arg[i].name;
        RS_TRY(rs_template_eval(r, node->arg[i].value, &value[i]));
    }
    *args = (rs_template_args){value, name, node->n};
    r->h->line = node->line;
    return RS_OK;
}

static rs_status call(rs_template_run *r, const rs_template_node *node, rs_tv *out)
{
    rs_tv callee;
    rs_template_args args;
    RS_TRY(rs_template_eval(r, node->a, &callee));
    RS_TRY(eval_args(r, node, &args));
    if (callee.kind == RS_TV_UNDEFINED) return undefined(r->h, &callee);
    if (callee.kind != RS_TV_CALL) return rs_template_fail(r->h, RS_E_IMPORT, "a %s cannot be called", rs_tv_type(&callee));
    return callee.call->macro != NULL ? rs_template_macro(r, callee.call, &args, out) : rs_template_call(r->h, callee.call, &args, out);
}

rs_status rs_template_eval_filters(rs_template_run *r, const rs_template_node *node, rs_tv value, rs_tv *out)
{
    rs_template_args args;
    *out = value;
    if (node == NULL) return RS_OK;
    RS_TRY(rs_template_descend(r, node->line));
    RS_TRY(rs_template_eval_filters(r, node->a, value, out));
    value = *out;
    RS_TRY(eval_args(r, node, &args));
    RS_TRY(rs_template_filter(r->h, node->value, &value, &args, out));
    r->h->depth--;
    return RS_OK;
}

// ---- the rest

static rs_status make_list(rs_template_run *r, const rs_template_node *node, rs_tv *out)
{
    rs_tv key, value;
    RS_TRY(node->kind == RS_NODE_MAP ? rs_tv_map_new(r->h, RS_TV_MAP, out) : rs_tv_list_new(r->h, node->kind == RS_NODE_TUPLE ? RS_TV_TUPLE : RS_TV_PLAIN, out));
    for (size_t i = 0; i < node->n; i++) {
        RS_TRY(rs_template_eval(r, node->arg[i].value, &value));
        if (node->kind != RS_NODE_MAP) {
            RS_TRY(rs_tv_push(r->h, out, value));
            continue;
        }
        key = value;
        RS_TRY(rs_template_eval(r, node->arg[++i].value, &value));
        RS_TRY(rs_tv_put(r->h, out, key, value));
    }
    return RS_OK;
}

static rs_status concat(rs_template_run *r, const rs_template_node *node, rs_tv *out)
{
    rs_template_text t = {0};
    rs_tv v;
    for (size_t i = 0; i < node->n; i++) {
        RS_TRY(rs_template_eval(r, node->arg[i].value, &v));
        RS_TRY(rs_template_str(r->h, &t, &v));
    }
    *out = RS_TV_STR_OF(t.len > 0 ? t.p : "", t.len);
    return RS_OK;
}

static rs_status item(rs_template_run *r, const rs_template_node *node, rs_tv *out)
{
    rs_tv object, index;
    RS_TRY(rs_template_eval(r, node->a, &object));
    RS_TRY(rs_template_eval(r, node->b, &index));
    r->h->line = node->line;
    RS_TRY(rs_tv_index(r->h, &object, &index, out));
    return out->kind == RS_TV_UNDEFINED && index.kind == RS_TV_STR ? rs_template_attribute(r->h, &object, index, out) : RS_OK;
}

static rs_status slice(rs_template_run *r, const rs_template_node *node, rs_tv *out)
{
    rs_tv object, bound[3];
    const rs_template_node *const from[3] = {node->b, node->c, node->d};
    RS_TRY(rs_template_eval(r, node->a, &object));
    for (int i = 0; i < 3; i++) {
        bound[i] = (rs_tv){.kind = RS_TV_NONE};
        if (from[i] != NULL) RS_TRY(rs_template_eval(r, from[i], &bound[i]));
    }
    r->h->line = node->line;
    return rs_tv_slice(r->h, &object, bound, out);
}

static rs_status eval_node(rs_template_run *r, const rs_template_node *node, rs_tv *out)
{
    rs_tv a, b;
    rs_template_args args;
    switch (node->kind) {
    case RS_NODE_CONST: *out = node->value; return RS_OK;
    case RS_NODE_NAME: return find_name(r, node->value, out);
    case RS_NODE_LIST:
    case RS_NODE_TUPLE:
    case RS_NODE_MAP: return make_list(r, node, out);
    case RS_NODE_ATTR:
        RS_TRY(rs_template_eval(r, node->a, &a));
        r->h->line = node->line;
        return rs_template_attribute(r->h, &a, node->value, out);
    case RS_NODE_ITEM: return item(r, node, out);
    case RS_NODE_SLICE: return slice(r, node, out);
    case RS_NODE_CALL: return call(r, node, out);
    case RS_NODE_FILTER:
        RS_TRY(rs_template_eval(r, node->a, &a));
        RS_TRY(eval_args(r, node, &args));
        return rs_template_filter(r->h, node->value, &a, &args, out);
    case RS_NODE_TEST:
        RS_TRY(rs_template_eval(r, node->a, &a));
        RS_TRY(eval_args(r, node, &args));
        *out = RS_TV_BOOL_OF(false);
        return rs_template_test(r->h, node->value, &a, &args, &out->b);
    case RS_NODE_UNARY:
        RS_TRY(rs_template_eval(r, node->a, &a));
        return unary(r->h, node->op, &a, out);
    case RS_NODE_BINARY:
        RS_TRY(rs_template_eval(r, node->a, &a));
        RS_TRY(rs_template_eval(r, node->b, &b));
        r->h->line = node->line;
        return binary(r->h, node->op, &a, &b, out);
    case RS_NODE_NOT:
        RS_TRY(rs_template_eval(r, node->a, &a));
        *out = RS_TV_BOOL_OF(!rs_tv_true(&a));
        return RS_OK;
    case RS_NODE_AND:
    case RS_NODE_OR:
        RS_TRY(rs_template_eval(r, node->a, out));
        return rs_tv_true(out) == (node->kind == RS_NODE_AND) ? rs_template_eval(r, node->b, out) : RS_OK;
    case RS_NODE_COND:
        RS_TRY(rs_template_eval(r, node->a, &a));
        if (rs_tv_true(&a)) return rs_template_eval(r, node->b, out);
        *out = (rs_tv){.kind = RS_TV_UNDEFINED, .str = {"if without else", 15}};
        return node->c != NULL ? rs_template_eval(r, node->c, out) : RS_OK;
    case RS_NODE_COMPARE: return compare(r, node, out);
    case RS_NODE_CONCAT: return concat(r, node, out);
    default: return rs_template_fail(r->h, RS_E_INTERNAL, "node %d is no expression", (int)node->kind);
    }
}

rs_status rs_template_descend(rs_template_run *r, uint32_t line)
{
    r->h->line = line;
    if (++r->h->depth > RS_TEMPLATE_MAX_DEPTH) return rs_template_fail(r->h, RS_E_LIMIT, "calls nested more than %u deep", RS_TEMPLATE_MAX_DEPTH);
    return rs_template_steps(r->h, 1);
}

rs_status rs_template_eval(rs_template_run *r, const rs_template_node *node, rs_tv *out)
{
    RS_TRY(rs_template_descend(r, node->line));
    RS_TRY(eval_node(r, node, out));
    r->h->depth--;
    return RS_OK;
}
