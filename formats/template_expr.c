// SPDX-License-Identifier: Apache-2.0
// Expressions of chat templates, by the grammar of Jinja's parser.
#include <string.h>

#include "formats/template_node.h"

#define NEW(out, p, kind)                                   \
    do {                                                    \
        *(out) = rs_template_node_new(p, kind);             \
        if (*(out) == NULL) return (p)->h->status;          \
    } while (0)

rs_template_node *rs_template_node_new(rs_template_parser *p, rs_template_node_kind kind)
{
    rs_template_node *n = rs_template_alloc(p->h, sizeof *n);
    if (n != NULL) {
        n->kind = kind;
        n->line = p->at->line;
    }
    return n;
}

rs_status rs_template_node_push(rs_template_parser *p, rs_template_node *node, rs_template_arg arg)
{
    if (node->n == node->room) {
        size_t room = node->room == 0 ? 4 : node->room * 2;
        rs_template_arg *grown = rs_template_alloc(p->h, room * sizeof *grown);
        if (grown == NULL) return p->h->status;
        if (node->n > 0) memcpy(grown, node->arg, node->n * sizeof *grown);
        node->arg = grown;
        node->room = room;
    }
    node->arg[node->n++] = arg;
    return RS_OK;
}

static rs_status push(rs_template_parser *p, rs_template_node *node, rs_template_node *value) { return rs_template_node_push(p, node, (rs_template_arg){.value = value}); }

// ---- tokens

bool rs_template_at_op(const rs_template_parser *p, int op) { return p->at->kind == RS_TOKEN_OPERATOR && p->at->op == op; }
bool rs_template_at_word(const rs_template_parser *p, const char *word) { return p->at->kind == RS_TOKEN_NAME && p->at->value.str.len == strlen(word) && memcmp(p->at->value.str.p, word, strlen(word)) == 0; }

bool rs_template_skip_op(rs_template_parser *p, int op)
{
    bool here = rs_template_at_op(p, op);
    p->at += here;
    return here;
}

bool rs_template_skip_word(rs_template_parser *p, const char *word)
{
    bool here = rs_template_at_word(p, word);
    p->at += here;
    return here;
}

rs_status rs_template_unexpected(rs_template_parser *p, const char *what)
{
    static const char *const names[] = {"the end of the template", "text", "\"{{\"", "\"}}\"", "\"{%\"", "\"%}\""};
    const rs_template_token *t = p->at;
    p->h->line = t->line;
    if (t->kind == RS_TOKEN_NAME) return rs_template_fail(p->h, RS_E_IMPORT, "expected %s, found \"%.*s\"", what, (int)(t->value.str.len < 60 ? t->value.str.len : 60), t->value.str.p);
    if (t->kind == RS_TOKEN_VALUE) return rs_template_fail(p->h, RS_E_IMPORT, "expected %s, found a %s", what, rs_tv_type(&t->value));
    if (t->kind == RS_TOKEN_OPERATOR) return rs_template_fail(p->h, RS_E_IMPORT, "expected %s, found \"%c%.1s\"", what, t->op & 255, t->op > 255 ? (const char[]){(char)(t->op >> 8), 0} : "");
    return rs_template_fail(p->h, RS_E_IMPORT, "expected %s, found %s", what, names[t->kind]);
}

rs_status rs_template_expect_op(rs_template_parser *p, int op)
{
    const char what[] = {'"', (char)(op & 255), '"', 0};
    return rs_template_skip_op(p, op) ? RS_OK : rs_template_unexpected(p, what);
}

rs_status rs_template_expect_name(rs_template_parser *p, rs_tv *name)
{
    if (p->at->kind != RS_TOKEN_NAME) return rs_template_unexpected(p, "a name");
    *name = p->at++->value;
    return RS_OK;
}

rs_status rs_template_deeper(rs_template_parser *p)
{
    p->h->line = p->at->line;
    return ++p->depth <= RS_TEMPLATE_MAX_PARSE ? RS_OK : rs_template_fail(p->h, RS_E_LIMIT, "nested more than %u deep", RS_TEMPLATE_MAX_PARSE);
}

// ---- what an expression is made of

// Items between brackets whose first one is behind us, up to the closing one.
static rs_status read_list(rs_template_parser *p, rs_template_node **out)
{
    NEW(out, p, RS_NODE_LIST);
    while (!rs_template_skip_op(p, ']')) {
        rs_template_node *item;
        if ((*out)->n > 0) RS_TRY(rs_template_expect_op(p, ','));
        if (rs_template_skip_op(p, ']')) break;
        RS_TRY(rs_template_expression(p, &item));
        RS_TRY(push(p, *out, item));
    }
    return RS_OK;
}

static rs_status read_map(rs_template_parser *p, rs_template_node **out)
{
    NEW(out, p, RS_NODE_MAP);
    while (!rs_template_skip_op(p, '}')) {
        rs_template_node *key, *value;
        if ((*out)->n > 0) RS_TRY(rs_template_expect_op(p, ','));
        if (rs_template_skip_op(p, '}')) break;
        RS_TRY(rs_template_expression(p, &key));
        RS_TRY(rs_template_expect_op(p, ':'));
        RS_TRY(rs_template_expression(p, &value));
        RS_TRY(push(p, *out, key));
        RS_TRY(push(p, *out, value));
    }
    return RS_OK;
}

// Texts that stand side by side are one.
static rs_status read_value(rs_template_parser *p, rs_template_node **out)
{
    rs_template_text t = {0};
    NEW(out, p, RS_NODE_CONST);
    (*out)->value = p->at++->value;
    if ((*out)->value.kind != RS_TV_STR || p->at->kind != RS_TOKEN_VALUE || p->at->value.kind != RS_TV_STR) return RS_OK;
    RS_TRY(rs_template_add(p->h, &t, (*out)->value.str.p, (*out)->value.str.len));
    for (; p->at->kind == RS_TOKEN_VALUE && p->at->value.kind == RS_TV_STR; p->at++) RS_TRY(rs_template_add(p->h, &t, p->at->value.str.p, p->at->value.str.len));
    (*out)->value = RS_TV_STR_OF(t.len > 0 ? t.p : "", t.len);
    return RS_OK;
}

static rs_status read_name(rs_template_parser *p, rs_template_node **out)
{
    static const struct { const char *word; rs_tv value; } constants[] = {
        {"true", {.kind = RS_TV_BOOL, .b = true}}, {"True", {.kind = RS_TV_BOOL, .b = true}}, {"false", {.kind = RS_TV_BOOL}}, {"False", {.kind = RS_TV_BOOL}}, {"none", {.kind = RS_TV_NONE}}, {"None", {.kind = RS_TV_NONE}},
    };
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (rs_template_at_word(p, constants[i].word)) {
            NEW(out, p, RS_NODE_CONST);
            (*out)->value = constants[i].value;
            p->at++;
            return RS_OK;
        }
    NEW(out, p, RS_NODE_NAME);
    (*out)->value = p->at++->value;
    return RS_OK;
}

static rs_status read_tuple_end(rs_template_parser *p, bool cond, bool brackets, rs_template_node **out);

static rs_status primary(rs_template_parser *p, rs_template_node **out)
{
    if (p->at->kind == RS_TOKEN_NAME) return read_name(p, out);
    if (p->at->kind == RS_TOKEN_VALUE) return read_value(p, out);
    if (rs_template_skip_op(p, '(')) {
        RS_TRY(read_tuple_end(p, true, true, out));
        return rs_template_expect_op(p, ')');
    }
    if (rs_template_skip_op(p, '[')) return read_list(p, out);
    if (rs_template_skip_op(p, '{')) return read_map(p, out);
    return rs_template_unexpected(p, "an expression");
}

// Arguments whose opening bracket is behind us.
static rs_status read_args(rs_template_parser *p, rs_template_node *node)
{
    bool named = false;
    while (!rs_template_skip_op(p, ')')) {
        rs_template_arg arg = {.value = NULL};
        if (node->n > 0) RS_TRY(rs_template_expect_op(p, ','));
        if (rs_template_skip_op(p, ')')) break;
        if (rs_template_at_op(p, '*') || rs_template_at_op(p, RS_OPERATOR('*', '*'))) return rs_template_fail(p->h, RS_E_IMPORT, "arguments from a list (\"*\") are not supported");
        if (p->at->kind == RS_TOKEN_NAME && p->at[1].kind == RS_TOKEN_OPERATOR && p->at[1].op == '=') {
            arg.name = p->at->value;
            p->at += 2;
            named = true;
        } else if (named) {
            return rs_template_unexpected(p, "a named argument");
        }
        RS_TRY(rs_template_expression(p, &arg.value));
        RS_TRY(rs_template_node_push(p, node, arg));
    }
    return RS_OK;
}

// What stands in square brackets, of which the first is behind us.
static rs_status read_item(rs_template_parser *p, rs_template_node *object, rs_template_node **out)
{
    rs_template_node *bound[3] = {NULL};
    int n = 0;
    NEW(out, p, RS_NODE_ITEM);
    (*out)->a = object;
    for (; n < 3; n++) {
        if (!rs_template_at_op(p, ':') && !rs_template_at_op(p, ']')) RS_TRY(rs_template_expression(p, &bound[n]));
        if (!rs_template_skip_op(p, ':')) break;
    }
    if (n == 0 && bound[0] == NULL) return rs_template_unexpected(p, "an expression");
    if (n > 0) (*out)->kind = RS_NODE_SLICE;
    (*out)->b = bound[0];
    (*out)->c = bound[1];
    (*out)->d = bound[2];
    if (rs_template_at_op(p, ',')) return rs_template_fail(p->h, RS_E_IMPORT, "an index of several values is not supported");
    return rs_template_expect_op(p, ']');
}

static rs_status postfix(rs_template_parser *p, rs_template_node *node, rs_template_node **out)
{
    for (*out = node;; node = *out) {
        if (rs_template_skip_op(p, '.')) {
            if (p->at->kind == RS_TOKEN_VALUE && p->at->value.kind == RS_TV_INT) {
                NEW(out, p, RS_NODE_ITEM);
                RS_TRY(read_value(p, &(*out)->b));
            } else {
                NEW(out, p, RS_NODE_ATTR);
                RS_TRY(rs_template_expect_name(p, &(*out)->value));
            }
            (*out)->a = node;
        } else if (rs_template_skip_op(p, '[')) {
            RS_TRY(read_item(p, node, out));
        } else if (rs_template_skip_op(p, '(')) {
            NEW(out, p, RS_NODE_CALL);
            (*out)->a = node;
            RS_TRY(read_args(p, *out));
        } else {
            return RS_OK;
        }
    }
}

// The name of a filter or a test, which may have points in it.
static rs_status read_dotted(rs_template_parser *p, rs_tv *name)
{
    rs_tv part = {.kind = RS_TV_NONE};
    RS_TRY(rs_template_expect_name(p, name));
    while (rs_template_skip_op(p, '.')) {
        rs_template_text t = {0};
        RS_TRY(rs_template_expect_name(p, &part));
        RS_TRY(rs_template_add(p->h, &t, name->str.p, name->str.len));
        RS_TRY(rs_template_add(p->h, &t, ".", 1));
        RS_TRY(rs_template_add(p->h, &t, part.str.p, part.str.len));
        *name = RS_TV_STR_OF(t.p, t.len);
    }
    return RS_OK;
}

rs_status rs_template_filters(rs_template_parser *p, rs_template_node *node, bool started, rs_template_node **out)
{
    for (*out = node; started || rs_template_skip_op(p, '|'); node = *out, started = false) {
        NEW(out, p, RS_NODE_FILTER);
        (*out)->a = node;
        RS_TRY(read_dotted(p, &(*out)->value));
        if (rs_template_skip_op(p, '(')) RS_TRY(read_args(p, *out));
    }
    return RS_OK;
}

// "is" is behind us.
static rs_status read_test(rs_template_parser *p, rs_template_node *node, rs_template_node **out)
{
    rs_template_node *test, *arg;
    bool negated = rs_template_skip_word(p, "not");
    NEW(&test, p, RS_NODE_TEST);
    test->a = node;
    RS_TRY(read_dotted(p, &test->value));
    bool word = rs_template_at_word(p, "else") || rs_template_at_word(p, "or") || rs_template_at_word(p, "and");
    if (rs_template_at_word(p, "is")) return rs_template_unexpected(p, "an argument of a test");
    if (rs_template_skip_op(p, '(')) {
        RS_TRY(read_args(p, test));
    } else if ((p->at->kind == RS_TOKEN_NAME && !word) || p->at->kind == RS_TOKEN_VALUE || rs_template_at_op(p, '[') || rs_template_at_op(p, '{')) {
        RS_TRY(primary(p, &arg));
        RS_TRY(postfix(p, arg, &arg));
        RS_TRY(push(p, test, arg));
    }
    *out = test;
    if (negated) {
        NEW(out, p, RS_NODE_NOT);
        (*out)->a = test;
    }
    return RS_OK;
}

static rs_status unary(rs_template_parser *p, bool filters, rs_template_node **out)
{
    rs_template_node *node;
    RS_TRY(rs_template_deeper(p));
    if (rs_template_at_op(p, '-') || rs_template_at_op(p, '+')) {
        NEW(&node, p, RS_NODE_UNARY);
        node->op = p->at++->op;
        RS_TRY(unary(p, false, &node->a));
    } else {
        RS_TRY(primary(p, &node));
    }
    RS_TRY(postfix(p, node, out));
    while (filters) {
        node = *out;
        if (rs_template_at_op(p, '|')) {
            RS_TRY(rs_template_filters(p, node, false, out));
        } else if (rs_template_skip_word(p, "is")) {
            RS_TRY(read_test(p, node, out));
        } else if (rs_template_skip_op(p, '(')) {
            NEW(out, p, RS_NODE_CALL);
            (*out)->a = node;
            RS_TRY(read_args(p, *out));
        } else {
            break;
        }
    }
    p->depth--;
    return RS_OK;
}

// ---- operators, the loosest last

// Levels of two-sided operators that group from the left.
static bool of_level(const rs_template_parser *p, int level)
{
    static const int ops[3][5] = {{RS_OPERATOR('*', '*')}, {'*', '/', RS_OPERATOR('/', '/'), '%'}, {'+', '-'}};
    for (int i = 0; i < 5; i++)
        if (ops[level][i] != 0 && rs_template_at_op(p, ops[level][i])) return true;
    return false;
}

static rs_status concat(rs_template_parser *p, rs_template_node **out);

static rs_status binary(rs_template_parser *p, int level, rs_template_node **out)
{
    RS_TRY(level == 0 ? unary(p, true, out) : level == 1 ? binary(p, 0, out) : concat(p, out));
    while (of_level(p, level)) {
        rs_template_node *left = *out;
        NEW(out, p, RS_NODE_BINARY);
        (*out)->a = left;
        (*out)->op = p->at++->op;
        RS_TRY(level == 0 ? unary(p, true, &(*out)->b) : level == 1 ? binary(p, 0, &(*out)->b) : concat(p, &(*out)->b));
    }
    return RS_OK;
}

static rs_status concat(rs_template_parser *p, rs_template_node **out)
{
    RS_TRY(binary(p, 1, out));
    if (!rs_template_at_op(p, '~')) return RS_OK;
    rs_template_node *item = *out;
    NEW(out, p, RS_NODE_CONCAT);
    RS_TRY(push(p, *out, item));
    while (rs_template_skip_op(p, '~')) {
        RS_TRY(binary(p, 1, &item));
        RS_TRY(push(p, *out, item));
    }
    return RS_OK;
}

static int comparison(rs_template_parser *p)
{
    static const int ops[] = {RS_OPERATOR('=', '='), RS_OPERATOR('!', '='), '<', '>', RS_OPERATOR('<', '='), RS_OPERATOR('>', '=')};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (rs_template_skip_op(p, ops[i])) return ops[i];
    if (rs_template_skip_word(p, "in")) return RS_OP_IN;
    if (rs_template_at_word(p, "not") && p->at[1].kind == RS_TOKEN_NAME && p->at[1].value.str.len == 2 && memcmp(p->at[1].value.str.p, "in", 2) == 0) {
        p->at += 2;
        return RS_OP_NOT_IN;
    }
    return 0;
}

static rs_status compare(rs_template_parser *p, rs_template_node **out)
{
    rs_template_node *node = NULL;
    RS_TRY(binary(p, 2, out));
    for (rs_template_arg arg = {.value = NULL}; (arg.op = comparison(p)) != 0;) {
        if (node == NULL) {
            NEW(&node, p, RS_NODE_COMPARE);
            node->a = *out;
            *out = node;
        }
        RS_TRY(binary(p, 2, &arg.value));
        RS_TRY(rs_template_node_push(p, node, arg));
    }
    return RS_OK;
}

static rs_status negation(rs_template_parser *p, rs_template_node **out)
{
    if (!rs_template_at_word(p, "not")) return compare(p, out);
    RS_TRY(rs_template_deeper(p));
    NEW(out, p, RS_NODE_NOT);
    p->at++;
    RS_TRY(negation(p, &(*out)->a));
    p->depth--;
    return RS_OK;
}

// "and" binds its sides more tightly than "or".
static rs_status logic(rs_template_parser *p, bool or, rs_template_node **out)
{
    RS_TRY(or ? logic(p, false, out) : negation(p, out));
    while (rs_template_skip_word(p, or ? "or" : "and")) {
        rs_template_node *left = *out;
        NEW(out, p, or ? RS_NODE_OR : RS_NODE_AND);
        (*out)->a = left;
        RS_TRY(or ? logic(p, false, &(*out)->b) : negation(p, &(*out)->b));
    }
    return RS_OK;
}

rs_status rs_template_expression(rs_template_parser *p, rs_template_node **out)
{
    RS_TRY(rs_template_deeper(p));
    RS_TRY(logic(p, true, out));
    while (rs_template_skip_word(p, "if")) {
        rs_template_node *yes = *out;
        NEW(out, p, RS_NODE_COND);
        (*out)->b = yes;
        RS_TRY(logic(p, true, &(*out)->a));
        if (rs_template_skip_word(p, "else")) RS_TRY(rs_template_expression(p, &(*out)->c));
    }
    p->depth--;
    return RS_OK;
}

static bool tuple_ends(const rs_template_parser *p) { return p->at->kind == RS_TOKEN_PRINT_END || p->at->kind == RS_TOKEN_BLOCK_END || rs_template_at_op(p, ')') || rs_template_at_word(p, "recursive"); }

static rs_status read_tuple_end(rs_template_parser *p, bool cond, bool brackets, rs_template_node **out)
{
    rs_template_node *item, *list = NULL;
    if (tuple_ends(p) && !brackets) return rs_template_unexpected(p, "an expression");
    if (!tuple_ends(p)) {
        RS_TRY(cond ? rs_template_expression(p, out) : logic(p, true, out));
        if (!rs_template_at_op(p, ',')) return RS_OK;
        item = *out;
        NEW(&list, p, RS_NODE_TUPLE);
        RS_TRY(push(p, list, item));
    } else {
        NEW(&list, p, RS_NODE_TUPLE);
    }
    while (rs_template_skip_op(p, ',') && !tuple_ends(p)) {
        RS_TRY(cond ? rs_template_expression(p, &item) : logic(p, true, &item));
        RS_TRY(push(p, list, item));
    }
    *out = list;
    return RS_OK;
}

rs_status rs_template_tuple(rs_template_parser *p, bool cond, rs_template_node **out) { return read_tuple_end(p, cond, false, out); }

// ---- targets

static rs_status one_target(rs_template_parser *p, bool attributes, rs_template_node **out)
{
    static const char *const reserved[] = {"true", "True", "false", "False", "none", "None"};
    if (rs_template_skip_op(p, '(')) {
        RS_TRY(rs_template_deeper(p));
        RS_TRY(rs_template_target(p, attributes, out));
        p->depth--;
        return rs_template_expect_op(p, ')');
    }
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (rs_template_at_word(p, reserved[i])) return rs_template_unexpected(p, "a name");
    NEW(out, p, RS_NODE_NAME);
    RS_TRY(rs_template_expect_name(p, &(*out)->value));
    if (!attributes || !rs_template_skip_op(p, '.')) return RS_OK;
    rs_template_node *object = *out;
    NEW(out, p, RS_NODE_ATTR);
    (*out)->a = object;
    return rs_template_expect_name(p, &(*out)->value);
}

rs_status rs_template_target(rs_template_parser *p, bool attributes, rs_template_node **out)
{
    rs_template_node *item, *list;
    RS_TRY(one_target(p, attributes, out));
    if (!rs_template_at_op(p, ',')) return RS_OK;
    item = *out;
    NEW(&list, p, RS_NODE_TUPLE);
    RS_TRY(push(p, list, item));
    while (rs_template_skip_op(p, ',') && p->at->kind == RS_TOKEN_NAME && !rs_template_at_word(p, "in")) {
        RS_TRY(one_target(p, attributes, &item));
        RS_TRY(push(p, list, item));
    }
    *out = list;
    return RS_OK;
}
