// SPDX-License-Identifier: Apache-2.0
// A rendering under way: names, and where text goes. Statements and expressions call each other through macros.
#ifndef RS_FORMATS_TEMPLATE_RUN_H
#define RS_FORMATS_TEMPLATE_RUN_H

#include "formats/template_call.h"
#include "formats/template_node.h"

// Names of a loop's turn, a macro's call, a block; what is not there is looked up outside.
typedef struct rs_template_scope rs_template_scope;
struct rs_template_scope {
    rs_template_scope *outer;
    rs_tv names; // a namespace
};

typedef enum rs_template_flow { RS_FLOW_ON, RS_FLOW_BREAK, RS_FLOW_CONTINUE } rs_template_flow;

typedef struct rs_template_run {
    rs_template_heap *h;
    rs_template_scope *scope;
    rs_template_text *out;
    rs_template_flow flow;
} rs_template_run;

// A new scope inside outer.
RS_MUST_CHECK rs_status rs_template_scope_new(rs_template_heap *h, rs_template_scope *outer, rs_template_scope **out);
// Value of an expression.
RS_MUST_CHECK rs_status rs_template_eval(rs_template_run *r, const rs_template_node *node, rs_tv *out);
// value through the filters of a block.
RS_MUST_CHECK rs_status rs_template_eval_filters(rs_template_run *r, const rs_template_node *node, rs_tv value, rs_tv *out);
// Runs statements in r->scope, their text to r->out.
RS_MUST_CHECK rs_status rs_template_exec(rs_template_run *r, const rs_template_node *first);
// Calls a macro.
RS_MUST_CHECK rs_status rs_template_macro(rs_template_run *r, const rs_tv_call *call, const rs_template_args *args, rs_tv *out);
// One level deeper, to be undone with h->depth--. E_LIMIT.
RS_MUST_CHECK rs_status rs_template_descend(rs_template_run *r, uint32_t line);

#endif
