// SPDX-License-Identifier: Apache-2.0
// Statements of chat templates: the tags and what stands between them.
#include <string.h>

#include "formats/template_node.h"

#define NEW(out, p, kind)                                   \
    do {                                                    \
        *(out) = rs_template_node_new(p, kind);             \
        if (*(out) == NULL) return (p)->h->status;          \
    } while (0)

// Statements up to a tag that starts with one of the words (each between spaces; NULL: the end of the template). Leaves p->at on that word.
static rs_status statements(rs_template_parser *p, const char *ends, rs_template_node **first);

static rs_status block_end(rs_template_parser *p)
{
    if (p->at->kind != RS_TOKEN_BLOCK_END) return rs_template_unexpected(p, "\"%}\"");
    p->at++;
    return RS_OK;
}

// The rest of a tag, then statements up to one of the words.
static rs_status body(rs_template_parser *p, const char *ends, rs_template_node **first)
{
    (void)rs_template_skip_op(p, ':');
    RS_TRY(block_end(p));
    RS_TRY(rs_template_deeper(p));
    RS_TRY(statements(p, ends, first));
    p->depth--;
    return RS_OK;
}

// A body that ends with one word, which is skipped.
static rs_status whole_body(rs_template_parser *p, const char *ends, rs_template_node **first)
{
    RS_TRY(body(p, ends, first));
    p->at++;
    return RS_OK;
}

// The same, and no break in it leaves a loop around it.
static rs_status closed_body(rs_template_parser *p, const char *ends, rs_template_node **first)
{
    const unsigned loops = p->loops;
    p->loops = 0;
    RS_TRY(whole_body(p, ends, first));
    p->loops = loops;
    return RS_OK;
}

static rs_status read_for(rs_template_parser *p, rs_template_node *node)
{
    RS_TRY(rs_template_target(p, false, &node->a));
    if (!rs_template_skip_word(p, "in")) return rs_template_unexpected(p, "\"in\"");
    RS_TRY(rs_template_tuple(p, false, &node->b));
    if (rs_template_skip_word(p, "if")) RS_TRY(rs_template_expression(p, &node->c));
    if (rs_template_at_word(p, "recursive")) return rs_template_fail(p->h, RS_E_IMPORT, "recursive loops are not supported");
    p->loops++;
    RS_TRY(body(p, " endfor else ", &node->body));
    p->loops--;
    if (rs_template_skip_word(p, "else")) RS_TRY(body(p, " endfor ", &node->other));
    p->at++;
    return RS_OK;
}

static rs_status read_if(rs_template_parser *p, rs_template_node *node)
{
    for (;;) {
        RS_TRY(rs_template_tuple(p, false, &node->a));
        RS_TRY(body(p, " elif else endif ", &node->body));
        if (!rs_template_at_word(p, "elif")) break;
        NEW(&node->other, p, RS_NODE_IF);
        p->at++;
        node = node->other;
    }
    if (rs_template_skip_word(p, "else")) RS_TRY(body(p, " endif ", &node->other));
    p->at++;
    return RS_OK;
}

static rs_status read_set(rs_template_parser *p, rs_template_node *node)
{
    RS_TRY(rs_template_target(p, true, &node->a));
    if (rs_template_skip_op(p, '=')) return rs_template_tuple(p, true, &node->b);
    node->kind = RS_NODE_SET_BLOCK;
    RS_TRY(rs_template_filters(p, NULL, false, &node->b));
    return whole_body(p, " endset ", &node->body);
}

static rs_status read_macro(rs_template_parser *p, rs_template_node *node)
{
    bool optional = false;
    RS_TRY(rs_template_expect_name(p, &node->value));
    RS_TRY(rs_template_expect_op(p, '('));
    while (!rs_template_skip_op(p, ')')) {
        rs_template_arg arg = {.value = NULL};
        if (node->n > 0) RS_TRY(rs_template_expect_op(p, ','));
        RS_TRY(rs_template_expect_name(p, &arg.name));
        if (rs_template_skip_op(p, '=')) RS_TRY(rs_template_expression(p, &arg.value));
        if (optional && arg.value == NULL) return rs_template_fail(p->h, RS_E_IMPORT, "an argument without a default follows one that has a default");
        optional = arg.value != NULL;
        RS_TRY(rs_template_node_push(p, node, arg));
    }
    return closed_body(p, " endmacro ", &node->body);
}

static rs_status read_with(rs_template_parser *p, rs_template_node *node)
{
    while (p->at->kind != RS_TOKEN_BLOCK_END) {
        rs_template_node *target, *value;
        if (node->n > 0) RS_TRY(rs_template_expect_op(p, ','));
        RS_TRY(rs_template_target(p, false, &target));
        RS_TRY(rs_template_expect_op(p, '='));
        RS_TRY(rs_template_expression(p, &value));
        RS_TRY(rs_template_node_push(p, node, (rs_template_arg){.value = target}));
        RS_TRY(rs_template_node_push(p, node, (rs_template_arg){.value = value}));
    }
    return whole_body(p, " endwith ", &node->body);
}

// The tag whose word is at p->at, up to before its "%}".
static rs_status statement(rs_template_parser *p, rs_template_node **out)
{
    static const char *const foreign[] = {"block", "extends", "include", "import", "from", "call", "autoescape", "print", "do", "trans"};
    const rs_template_token *tag = p->at;
    if (tag->kind != RS_TOKEN_NAME) return rs_template_unexpected(p, "the name of a tag");
    NEW(out, p, RS_NODE_IF);
    rs_template_node *node = *out;
    p->at++;
    p->h->line = tag->line;
    if (rs_tv_is(&tag->value, "if")) return read_if(p, node);
    if (rs_tv_is(&tag->value, "for")) return node->kind = RS_NODE_FOR, read_for(p, node);
    if (rs_tv_is(&tag->value, "set")) return node->kind = RS_NODE_SET, read_set(p, node);
    if (rs_tv_is(&tag->value, "macro")) return node->kind = RS_NODE_MACRO, read_macro(p, node);
    if (rs_tv_is(&tag->value, "with")) return node->kind = RS_NODE_WITH, read_with(p, node);
    if (rs_tv_is(&tag->value, "generation")) return node->kind = RS_NODE_SCOPE, closed_body(p, " endgeneration ", &node->body);
    if (rs_tv_is(&tag->value, "filter")) {
        node->kind = RS_NODE_FILTER_BLOCK;
        RS_TRY(rs_template_filters(p, NULL, true, &node->b));
        return whole_body(p, " endfilter ", &node->body);
    }
    bool leave = rs_tv_is(&tag->value, "break");
    if (leave || rs_tv_is(&tag->value, "continue")) {
        node->kind = leave ? RS_NODE_BREAK : RS_NODE_CONTINUE;
        return p->loops > 0 ? RS_OK : rs_template_fail(p->h, RS_E_IMPORT, "\"%s\" outside of a loop", leave ? "break" : "continue");
    }
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (rs_tv_is(&tag->value, foreign[i])) return rs_template_fail(p->h, RS_E_IMPORT, "tag \"%s\" is not supported", foreign[i]);
    return rs_template_fail(p->h, RS_E_IMPORT, "tag \"%.*s\" is unknown here", (int)(tag->value.str.len < 60 ? tag->value.str.len : 60), tag->value.str.p);
}

// A word among words that stand between spaces.
static bool among(const rs_template_token *t, const char *words)
{
    char word[20];
    if (t->kind != RS_TOKEN_NAME || t->value.str.len > sizeof word - 3) return false;
    word[0] = ' ';
    memcpy(word + 1, t->value.str.p, t->value.str.len);
    word[t->value.str.len + 1] = ' ';
    word[t->value.str.len + 2] = 0;
    return strstr(words, word) != NULL;
}

static rs_status statements(rs_template_parser *p, const char *ends, rs_template_node **first)
{
    rs_template_node **last = first;
    for (*first = NULL; p->at->kind != RS_TOKEN_END; last = &(*last)->next) {
        if (p->at->kind == RS_TOKEN_DATA) {
            NEW(last, p, RS_NODE_TEXT);
            (*last)->value = p->at++->value;
        } else if (p->at->kind == RS_TOKEN_PRINT) {
            NEW(last, p, RS_NODE_PRINT);
            p->at++;
            RS_TRY(rs_template_tuple(p, true, &(*last)->a));
            if (p->at->kind != RS_TOKEN_PRINT_END) return rs_template_unexpected(p, "\"}}\"");
            p->at++;
        } else {
            p->at++;
            if (ends != NULL && among(p->at, ends)) return RS_OK;
            RS_TRY(statement(p, last));
            RS_TRY(block_end(p));
        }
    }
    return ends == NULL ? RS_OK : rs_template_fail(p->h, RS_E_IMPORT, "the template ends where a tag of%sis missing", ends);
}

rs_status rs_template_tree(rs_template_heap *h, const rs_template_token *tokens, rs_template_node **first)
{
    rs_template_parser p = {.h = h, .at = tokens};
    return statements(&p, NULL, first);
}
