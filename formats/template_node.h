// SPDX-License-Identifier: Apache-2.0
// The tree of a chat template, and the parser's state that its two halves (statements, expressions) share.
#ifndef RS_FORMATS_TEMPLATE_NODE_H
#define RS_FORMATS_TEMPLATE_NODE_H

#include "formats/template_lex.h"

#define RS_TEMPLATE_MAX_PARSE 150u // expressions within expressions, tags within tags

typedef enum rs_template_node_kind {
    // expressions
    RS_NODE_CONST, // value
    RS_NODE_NAME,  // value
    RS_NODE_LIST,  // arg: items
    RS_NODE_TUPLE, // arg: items
    RS_NODE_MAP,   // arg: keys and values in turn
    RS_NODE_ATTR,  // a.value
    RS_NODE_ITEM,  // a[b]
    RS_NODE_SLICE, // a[b:c:d]
    RS_NODE_CALL,  // a(arg)
    RS_NODE_FILTER, // a|value(arg); a NULL in a block: what the block holds
    RS_NODE_TEST,  // a is value(arg)
    RS_NODE_UNARY, // op a
    RS_NODE_BINARY, // a op b
    RS_NODE_NOT,
    RS_NODE_AND,
    RS_NODE_OR,
    RS_NODE_COND,    // b if a else c; c NULL: undefined
    RS_NODE_COMPARE, // a, then arg: each with its op
    RS_NODE_CONCAT,  // arg joined by ~
    // statements
    RS_NODE_TEXT,  // value
    RS_NODE_PRINT, // a
    RS_NODE_FOR,   // for a in b if c: body, other
    RS_NODE_IF,    // if a: body, other
    RS_NODE_SET,   // a = b
    RS_NODE_SET_BLOCK, // a = body, through the filter b
    RS_NODE_MACRO, // value(arg): body
    RS_NODE_WITH,  // arg: targets and values in turn; body
    RS_NODE_FILTER_BLOCK, // b: the filter; body
    RS_NODE_SCOPE, // body
    RS_NODE_BREAK,
    RS_NODE_CONTINUE
} rs_template_node_kind;

enum { RS_OP_IN = 1, RS_OP_NOT_IN = 2 }; // comparisons that are words

typedef struct rs_template_node rs_template_node;
typedef struct rs_template_arg {
    rs_tv name; // of a named argument; absent: by position
    int op;     // of a comparison
    rs_template_node *value;
} rs_template_arg;
struct rs_template_node {
    rs_template_node_kind kind;
    uint32_t line;
    int op;
    rs_tv value;
    rs_template_node *a, *b, *c, *d;
    rs_template_arg *arg;
    size_t n, room;
    rs_template_node *body, *other; // statements, each with the next behind it
    rs_template_node *next;
};

typedef struct rs_template_parser {
    rs_template_heap *h;
    const rs_template_token *at;
    unsigned depth, loops; // loops: that a break would leave
} rs_template_parser;

// The tree of tokens that end with RS_TOKEN_END: its first statement, NULL for none, in h. E_IMPORT with the line, E_LIMIT, E_NOMEM.
RS_MUST_CHECK rs_status rs_template_tree(rs_template_heap *h, const rs_template_token *tokens, rs_template_node **first);

// An expression at p->at; one or a tuple without brackets (cond: with an inline if); a target of an assignment; "|filter" behind node (NULL allowed), started: the bar is behind us.
RS_MUST_CHECK rs_status rs_template_expression(rs_template_parser *p, rs_template_node **out);
RS_MUST_CHECK rs_status rs_template_tuple(rs_template_parser *p, bool cond, rs_template_node **out);
RS_MUST_CHECK rs_status rs_template_target(rs_template_parser *p, bool attributes, rs_template_node **out);
RS_MUST_CHECK rs_status rs_template_filters(rs_template_parser *p, rs_template_node *node, bool started, rs_template_node **out);

// New node; NULL with h->status set. Appends an argument.
rs_template_node *rs_template_node_new(rs_template_parser *p, rs_template_node_kind kind);
RS_MUST_CHECK rs_status rs_template_node_push(rs_template_parser *p, rs_template_node *node, rs_template_arg arg);
// Whether the token here is this operator, this word; the same and moves on; the same and fails if not.
bool rs_template_at_op(const rs_template_parser *p, int op);
bool rs_template_at_word(const rs_template_parser *p, const char *word);
bool rs_template_skip_op(rs_template_parser *p, int op);
bool rs_template_skip_word(rs_template_parser *p, const char *word);
RS_MUST_CHECK rs_status rs_template_expect_op(rs_template_parser *p, int op);
RS_MUST_CHECK rs_status rs_template_expect_name(rs_template_parser *p, rs_tv *name);
// Fails at the token here: "expected what, found ...".
rs_status rs_template_unexpected(rs_template_parser *p, const char *what);
// One level deeper, to be undone with p->depth--. E_LIMIT.
RS_MUST_CHECK rs_status rs_template_deeper(rs_template_parser *p);

#endif
