// SPDX-License-Identifier: Apache-2.0
// Tests: what can stand behind "is".
#include <math.h>

#include "formats/template_call.h"

static rs_status truth(rs_tv *out, bool b)
{
    *out = RS_TV_BOOL_OF(b);
    return RS_OK;
}
static bool kind_in(const rs_tv *v, unsigned kinds) { return (1u << v->kind & kinds) != 0; }

enum { NUMBERS = 1u << RS_TV_INT | 1u << RS_TV_FLOAT | 1u << RS_TV_BOOL };

static rs_status t_defined(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out) { return (void)h, (void)arg, truth(out, v->kind != RS_TV_UNDEFINED); }
static rs_status t_undefined(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out) { return (void)h, (void)arg, truth(out, v->kind == RS_TV_UNDEFINED); }
static rs_status t_none(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out) { return (void)h, (void)arg, truth(out, v->kind == RS_TV_NONE); }
static rs_status t_string(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out) { return (void)h, (void)arg, truth(out, v->kind == RS_TV_STR); }
static rs_status t_mapping(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out) { return (void)h, (void)arg, truth(out, v->kind == RS_TV_MAP); }
static rs_status t_number(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out) { return (void)h, (void)arg, truth(out, kind_in(v, NUMBERS)); }
static rs_status t_integer(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out) { return (void)h, (void)arg, truth(out, v->kind == RS_TV_INT); }
static rs_status t_float(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out) { return (void)h, (void)arg, truth(out, v->kind == RS_TV_FLOAT); }
static rs_status t_boolean(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out) { return (void)h, (void)arg, truth(out, v->kind == RS_TV_BOOL); }
static rs_status t_true(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out) { return (void)h, (void)arg, truth(out, v->kind == RS_TV_BOOL && v->b); }
static rs_status t_false(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out) { return (void)h, (void)arg, truth(out, v->kind == RS_TV_BOOL && !v->b); }
static rs_status t_callable(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out) { return (void)h, (void)arg, truth(out, kind_in(v, 1u << RS_TV_CALL | 1u << RS_TV_LOOP | 1u << RS_TV_UNDEFINED)); }
static rs_status t_iterable(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out)
{
    return (void)h, (void)arg, truth(out, kind_in(v, 1u << RS_TV_UNDEFINED | 1u << RS_TV_STR | 1u << RS_TV_LIST | 1u << RS_TV_MAP | 1u << RS_TV_LOOP));
}
static rs_status t_sequence(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out)
{
    return (void)h, (void)arg, truth(out, kind_in(v, 1u << RS_TV_UNDEFINED | 1u << RS_TV_STR | 1u << RS_TV_MAP) || (v->kind == RS_TV_LIST && v->list->sort <= RS_TV_RANGE));
}

// Whether a number divided by another leaves a remainder.
static rs_status remains(rs_template_heap *h, const rs_tv *v, const rs_tv *by, bool *out)
{
    int64_t i, k;
    double x, y;
    if (!rs_tv_number(v, &x) || !rs_tv_number(by, &y)) return rs_template_fail(h, RS_E_IMPORT, "a %s and a %s cannot be divided", rs_tv_type(v), rs_tv_type(by));
    if (y == 0) return rs_template_fail(h, RS_E_IMPORT, "division by zero");
    *out = rs_tv_integer(v, &i) && rs_tv_integer(by, &k) ? k != -1 && i % k != 0 : !(fmod(x, y) == 0);
    return RS_OK;
}
static rs_status t_divisible(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out)
{
    bool rest = false;
    RS_TRY(remains(h, v, &arg[0], &rest));
    return truth(out, !rest);
}
static rs_status t_even(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out) { return (void)arg, t_divisible(h, v, &RS_TV_INT_OF(2), out); }
static rs_status t_odd(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out)
{
    bool rest = false;
    double f;
    (void)arg;
    RS_TRY(remains(h, v, &RS_TV_INT_OF(2), &rest));
    return truth(out, rest && rs_tv_number(v, &f) && f - 2 * floor(f / 2) == 1);
}

static rs_status t_in(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out)
{
    bool in;
    RS_TRY(rs_tv_in(h, v, &arg[0], &in));
    return truth(out, in);
}
static rs_status t_eq(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out)
{
    bool same;
    RS_TRY(rs_tv_equal(h, v, &arg[0], &same));
    return truth(out, same);
}
static rs_status t_ne(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out)
{
    RS_TRY(t_eq(h, v, arg, out));
    return truth(out, !out->b);
}
// mask: 1 less, 2 equal, 4 greater
static rs_status ordered(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, int mask, rs_tv *out)
{
    int order;
    RS_TRY(rs_tv_compare(h, v, &arg[0], &order));
    return truth(out, order != 2 && (mask >> (order + 1) & 1) != 0);
}
static rs_status t_lt(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out) { return ordered(h, v, arg, 1, out); }
static rs_status t_le(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out) { return ordered(h, v, arg, 3, out); }
static rs_status t_gt(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out) { return ordered(h, v, arg, 4, out); }
static rs_status t_ge(rs_template_heap *h, const rs_tv *v, const rs_tv *arg, rs_tv *out) { return ordered(h, v, arg, 6, out); }

static const rs_template_row tests[] = {
    {"defined", t_defined, 0, {NULL}}, {"undefined", t_undefined, 0, {NULL}}, {"none", t_none, 0, {NULL}}, {"string", t_string, 0, {NULL}}, {"mapping", t_mapping, 0, {NULL}}, {"number", t_number, 0, {NULL}},
    {"integer", t_integer, 0, {NULL}}, {"float", t_float, 0, {NULL}}, {"boolean", t_boolean, 0, {NULL}}, {"true", t_true, 0, {NULL}}, {"false", t_false, 0, {NULL}}, {"callable", t_callable, 0, {NULL}},
    {"iterable", t_iterable, 0, {NULL}}, {"sequence", t_sequence, 0, {NULL}}, {"odd", t_odd, 0, {NULL}}, {"even", t_even, 0, {NULL}}, {"divisibleby", t_divisible, 1, {"num"}}, {"in", t_in, 1, {"seq"}},
    {"eq", t_eq, 1, {"other"}}, {"equalto", t_eq, 1, {"other"}}, {"==", t_eq, 1, {"other"}}, {"ne", t_ne, 1, {"other"}}, {"!=", t_ne, 1, {"other"}}, {"lt", t_lt, 1, {"other"}}, {"lessthan", t_lt, 1, {"other"}},
    {"<", t_lt, 1, {"other"}}, {"le", t_le, 1, {"other"}}, {"<=", t_le, 1, {"other"}}, {"gt", t_gt, 1, {"other"}}, {"greaterthan", t_gt, 1, {"other"}}, {">", t_gt, 1, {"other"}}, {"ge", t_ge, 1, {"other"}}, {">=", t_ge, 1, {"other"}},
};

rs_status rs_template_test(rs_template_heap *h, rs_tv name, const rs_tv *value, const rs_template_args *args, bool *out)
{
    rs_tv v;
    const rs_template_row *row = rs_template_find(tests, sizeof tests / sizeof *tests, name.str.p, name.str.len);
    if (row == NULL) return rs_template_fail(h, RS_E_IMPORT, "test \"%.*s\" is not supported", (int)(name.str.len < 60 ? name.str.len : 60), name.str.p);
    RS_TRY(rs_template_apply(h, row, value, args, &v));
    *out = v.b;
    return RS_OK;
}
