// SPDX-License-Identifier: Apache-2.0
// What templates can call: functions, methods of values, filters and tests, each a row of a table.
#ifndef RS_FORMATS_TEMPLATE_CALL_H
#define RS_FORMATS_TEMPLATE_CALL_H

#include "formats/template_value.h"

#define RS_TEMPLATE_MAX_ARGS 4

// Arguments of a call: n by position, then those with a name.
typedef struct rs_template_args {
    const rs_tv *value;
    const rs_tv *name; // of each; absent: by position
    size_t n;
} rs_template_args;

// One that can be called: arguments that are not given are absent in arg.
typedef rs_status (*rs_template_function)(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out);
typedef struct rs_template_row {
    const char *name;
    rs_template_function call;
    int required;
    const char *arg[RS_TEMPLATE_MAX_ARGS];
} rs_template_row;

// Row by name, NULL if absent.
const rs_template_row *rs_template_find(const rs_template_row *rows, size_t n, const char *name, size_t len);
// Puts the arguments in the places of a row and calls it. E_IMPORT: too many, unknown, missing ones.
RS_MUST_CHECK rs_status rs_template_apply(rs_template_heap *h, const rs_template_row *row, const rs_tv *self, const rs_template_args *args, rs_tv *out);

// The function of the language called so; undefined without one.
RS_MUST_CHECK rs_status rs_template_global(rs_template_heap *h, rs_tv name, rs_tv *out);
// object.name: an attribute, an item or a method; undefined without one. E_IMPORT: object is undefined, or the method would change it.
RS_MUST_CHECK rs_status rs_template_attribute(rs_template_heap *h, const rs_tv *object, rs_tv name, rs_tv *out);
// Calls a method.
RS_MUST_CHECK rs_status rs_template_method(rs_template_heap *h, const rs_tv_call *call, const rs_template_args *args, rs_tv *out);
// Calls a function or a method, not a macro. RS_USAGE: raise_exception.
RS_MUST_CHECK rs_status rs_template_call(rs_template_heap *h, const rs_tv_call *call, const rs_template_args *args, rs_tv *out);
// value|name(args), value is name(args). E_IMPORT: not known.
RS_MUST_CHECK rs_status rs_template_filter(rs_template_heap *h, rs_tv name, const rs_tv *value, const rs_template_args *args, rs_tv *out);
RS_MUST_CHECK rs_status rs_template_test(rs_template_heap *h, rs_tv name, const rs_tv *value, const rs_template_args *args, bool *out);

// text.replace(old, new, count), a count below 0: all.
RS_MUST_CHECK rs_status rs_template_replace(rs_template_heap *h, rs_tv text, rs_tv old, rs_tv new, int64_t count, rs_tv *out);
// An argument that must be a text, an integer (absent: otherwise).
RS_MUST_CHECK rs_status rs_template_want_text(rs_template_heap *h, const rs_tv *v, const char *what);
RS_MUST_CHECK rs_status rs_template_want_int(rs_template_heap *h, const rs_tv *v, int64_t otherwise, int64_t *out);
// The pairs of a map as a list of this sort.
RS_MUST_CHECK rs_status rs_template_pairs(rs_template_heap *h, const rs_tv *map, rs_tv_sort sort, rs_tv *out);

#endif
