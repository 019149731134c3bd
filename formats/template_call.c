// SPDX-License-Identifier: Apache-2.0
// Arguments to their places, and the functions of the language.
#include "formats/template_call.h"

#include <string.h>
#include <time.h>

#include "formats/template_text.h"

#define MAX_RANGE 100000 // as the sandbox of Jinja has it

const rs_template_row *rs_template_find(const rs_template_row *rows, size_t n, const char *name, size_t len)
{
    for (size_t i = 0; i < n; i++)
        if (strlen(rows[i].name) == len && memcmp(rows[i].name, name, len) == 0) return &rows[i];
    return NULL;
}

rs_status rs_template_apply(rs_template_heap *h, const rs_template_row *row, const rs_tv *self, const rs_template_args *args, rs_tv *out)
{
    rs_tv place[RS_TEMPLATE_MAX_ARGS] = {{.kind = RS_TV_UNDEFINED}};
    size_t n = 0;
    while (n < RS_TEMPLATE_MAX_ARGS && row->arg[n] != NULL) n++;
    for (size_t i = 0; i < args->n; i++) {
        size_t k = i;
        if (!rs_tv_absent(&args->name[i]))
            for (k = 0; k < n && !rs_tv_is(&args->name[i], row->arg[k]);) k++;
        if (k >= n) return rs_template_fail(h, RS_E_IMPORT, "\"%s\" takes no such argument", row->name);
        if (!rs_tv_absent(&place[k])) return rs_template_fail(h, RS_E_IMPORT, "\"%s\" gets an argument twice", row->name);
        place[k] = args->value[i];
    }
    for (int i = 0; i < row->required; i++)
        if (rs_tv_absent(&place[i])) return rs_template_fail(h, RS_E_IMPORT, "\"%s\" needs an argument \"%s\"", row->name, row->arg[i]);
    return row->call(h, self, place, out);
}

rs_status rs_template_want_text(rs_template_heap *h, const rs_tv *v, const char *what)
{
    return v->kind == RS_TV_STR ? RS_OK : rs_template_fail(h, RS_E_IMPORT, "%s is a %s, not a text", what, rs_tv_type(v));
}

rs_status rs_template_want_int(rs_template_heap *h, const rs_tv *v, int64_t otherwise, int64_t *out)
{
    *out = otherwise;
    if (rs_tv_absent(v)) return RS_OK;
    return rs_tv_integer(v, out) ? RS_OK : rs_template_fail(h, RS_E_IMPORT, "an argument is a %s, not a whole number", rs_tv_type(v));
}

rs_status rs_template_pairs(rs_template_heap *h, const rs_tv *map, rs_tv_sort sort, rs_tv *out)
{
    RS_TRY(rs_tv_list_new(h, sort, out));
    for (size_t i = 0; i < map->map->n; i++) {
        rs_tv pair;
        RS_TRY(rs_tv_list_new(h, RS_TV_TUPLE, &pair));
        RS_TRY(rs_tv_push(h, &pair, map->map->item[i].key));
        RS_TRY(rs_tv_push(h, &pair, map->map->item[i].value));
        RS_TRY(rs_tv_push(h, out, pair));
    }
    return RS_OK;
}

// ---- functions

static rs_status call_range(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out)
{
    int64_t start = 0, stop, step;
    (void)self;
    RS_TRY(rs_template_want_int(h, &arg[0], 0, &stop));
    if (!rs_tv_absent(&arg[1])) {
        start = stop;
        RS_TRY(rs_template_want_int(h, &arg[1], 0, &stop));
    }
    RS_TRY(rs_template_want_int(h, &arg[2], 1, &step));
    if (step == 0) return rs_template_fail(h, RS_E_IMPORT, "the step of a range is 0");
    RS_TRY(rs_tv_list_new(h, RS_TV_RANGE, out));
    while (step > 0 ? start < stop : start > stop) {
        if (out->list->n == MAX_RANGE) return rs_template_fail(h, RS_E_LIMIT, "a range of more than %d numbers", MAX_RANGE);
        RS_TRY(rs_template_steps(h, 1));
        RS_TRY(rs_tv_push(h, out, RS_TV_INT_OF(start)));
        if (__builtin_add_overflow(start, step, &start)) break;
    }
    return RS_OK;
}

static rs_status call_raise(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out)
{
    rs_tv text;
    (void)self, (void)out;
    RS_TRY(rs_template_to_str(h, &arg[0], &text));
    return rs_template_fail(h, RS_USAGE, "the template refuses the conversation: %.*s", (int)(text.str.len < 500 ? text.str.len : 500), text.str.p);
}

static rs_status call_now(rs_template_heap *h, const rs_tv *self, const rs_tv *arg, rs_tv *out)
{
    char format[256], text[1024];
    struct tm tm;
    time_t now = (time_t)h->now;
    (void)self;
    RS_TRY(rs_template_want_text(h, &arg[0], "the format of strftime_now"));
    if (arg[0].str.len >= sizeof format || memchr(arg[0].str.p, 0, arg[0].str.len) != NULL || localtime_r(&now, &tm) == NULL) return rs_template_fail(h, RS_E_IMPORT, "strftime_now: a format that is too long");
    memcpy(format, arg[0].str.p, arg[0].str.len);
    format[arg[0].str.len] = 0;
    size_t n = 0;
    if (*format != 0) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        n = strftime(text, sizeof text, format, &tm);
#pragma GCC diagnostic pop
    }
    char *copy = rs_template_alloc(h, n + 1);
    if (copy == NULL) return h->status;
    memcpy(copy, text, n);
    *out = RS_TV_STR_OF(copy, n);
    return RS_OK;
}

static const rs_template_row functions[] = {
    {"range", call_range, 1, {"start", "stop", "step"}},
    {"raise_exception", call_raise, 1, {"message"}},
    {"strftime_now", call_now, 1, {"format"}},
};
#define N_FUNCTIONS (sizeof functions / sizeof *functions)

// namespace(a=1, ...) and dict(a=1, ...), both also of a map.
static rs_status call_map(rs_template_heap *h, bool namespace, const rs_template_args *args, rs_tv *out)
{
    RS_TRY(rs_tv_map_new(h, namespace ? RS_TV_NAMESPACE : RS_TV_MAP, out));
    for (size_t i = 0; i < args->n; i++) {
        if (!rs_tv_absent(&args->name[i])) {
            RS_TRY(rs_tv_put(h, out, args->name[i], args->value[i]));
            continue;
        }
        if (i > 0 || args->value[i].kind != RS_TV_MAP) return rs_template_fail(h, RS_E_IMPORT, "\"%s\" takes named arguments or one map", namespace ? "namespace" : "dict");
        for (size_t k = 0; k < args->value[i].map->n; k++) RS_TRY(rs_tv_put(h, out, args->value[i].map->item[k].key, args->value[i].map->item[k].value));
    }
    return RS_OK;
}

rs_status rs_template_global(rs_template_heap *h, rs_tv name, rs_tv *out)
{
    const rs_template_row *row = rs_template_find(functions, N_FUNCTIONS, name.str.p, name.str.len);
    const char *known = row != NULL ? row->name : rs_tv_is(&name, "namespace") ? "namespace" : rs_tv_is(&name, "dict") ? "dict" : NULL;
    *out = (rs_tv){.kind = RS_TV_UNDEFINED, .str = {name.str.p, name.str.len}};
    if (rs_tv_is(&name, "joiner") || rs_tv_is(&name, "cycler") || rs_tv_is(&name, "lipsum")) return rs_template_fail(h, RS_E_IMPORT, "function \"%.*s\" is not supported", (int)name.str.len, name.str.p);
    if (known == NULL) return RS_OK;
    rs_tv_call *call = rs_template_alloc(h, sizeof *call);
    if (call == NULL) return h->status;
    call->name = known;
    *out = (rs_tv){.kind = RS_TV_CALL, .call = call};
    return RS_OK;
}

rs_status rs_template_call(rs_template_heap *h, const rs_tv_call *call, const rs_template_args *args, rs_tv *out)
{
    if (!rs_tv_absent(&call->self)) return rs_template_method(h, call, args, out);
    if (strcmp(call->name, "namespace") == 0 || strcmp(call->name, "dict") == 0) return call_map(h, call->name[0] == 'n', args, out);
    return rs_template_apply(h, rs_template_find(functions, N_FUNCTIONS, call->name, strlen(call->name)), NULL, args, out);
}
