// SPDX-License-Identifier: Apache-2.0
// Thresholds: parsed, applied, and who offends.
#include "inspect/threshold.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const relations[] = {[RS_BELOW] = "<", [RS_AT_MOST] = "<=", [RS_ABOVE] = ">", [RS_AT_LEAST] = ">="};

static rs_status no_figure(const char *name, rs_error *e)
{
    char known[256] = "", text[64];
    for (int i = 0; i < RS_FIG_COUNT; i++) snprintf(known + strlen(known), sizeof known - strlen(known), " %s", rs_figure_name((rs_figure)i));
    return rs_fail(e, RS_USAGE, "--check: '%s' is none of:%s", rs_escape(text, sizeof text, name, strlen(name)), known);
}

static char *trim(char *s)
{
    while (isspace((unsigned char)*s)) s++;
    for (size_t n = strlen(s); n > 0 && isspace((unsigned char)s[n - 1]); n--) s[n - 1] = 0;
    return s;
}

// One part, which may be changed.
static rs_status parse_one(rs_threshold *t, char *part, rs_error *e)
{
    char *at = part + strcspn(part, "<>=!"), text[96];
    rs_escape(text, sizeof text, part, strlen(part));
    if (*trim(part) == 0) return rs_fail(e, RS_USAGE, "--check: an empty part; the form is figure<number,figure>number");
    if (*at != '<' && *at != '>') return rs_fail(e, RS_USAGE, "--check: '%s' has none of < <= > >=", text);
    const bool equal = at[1] == '=';
    t->relation = *at == '<' ? equal ? RS_AT_MOST : RS_BELOW : equal ? RS_AT_LEAST : RS_ABOVE;
    char *number = trim(at + 1 + equal), *end;
    *at = 0;
    char *name = trim(part);
    if (!rs_figure_find(name, &t->figure)) return no_figure(name, e);
    t->limit = strtod(number, &end);
    if (end == number || *end != 0 || !isfinite(t->limit)) return rs_fail(e, RS_USAGE, "--check: '%s': what stands behind %s is not a number", text, relations[t->relation]);
    return RS_OK;
}

rs_status rs_thresholds_parse(rs_thresholds *t, const char *text, rs_error *e)
{
    *t = (rs_thresholds){0};
    for (const char *p = text;; p++) {
        char part[128];
        const size_t len = strcspn(p, ",");
        if (t->n == RS_THRESHOLDS) return rs_fail(e, RS_USAGE, "--check: more than %d thresholds", RS_THRESHOLDS);
        if (len >= sizeof part) return rs_fail(e, RS_USAGE, "--check: a part of %zu characters", len);
        memcpy(part, p, len);
        part[len] = 0;
        RS_TRY(parse_one(&t->item[t->n], part, e));
        t->n++;
        p += len;
        if (*p == 0) return RS_OK;
    }
}

bool rs_threshold_met(const rs_threshold *t, const rs_figures *f)
{
    double x;
    if (!rs_figures_get(f, t->figure, &x)) return false;
    switch (t->relation) {
    case RS_BELOW: return x < t->limit;
    case RS_AT_MOST: return x <= t->limit;
    case RS_ABOVE: return x > t->limit;
    default: return x >= t->limit;
    }
}

static void say(const rs_threshold *t, const rs_view_row *r, const rs_figures *f, void (*offends)(void *context, const char *line), void *context)
{
    char name[4 * RS_MAX_NAME + 1], line[sizeof name + 160];
    const char *figure = rs_figure_name(t->figure), *relation = relations[t->relation];
    double x;
    rs_escape(name, sizeof name, r->name, strlen(r->name));
    if (rs_figures_get(f, t->figure, &x)) snprintf(line, sizeof line, "%s: %s: %s is %.6g, not %s %.6g", name, rs_measure_name(r->of), figure, x, relation, t->limit);
    else snprintf(line, sizeof line, "%s: %s: %s is not known, asked for %s %.6g", name, rs_measure_name(r->of), figure, relation, t->limit);
    offends(context, line);
}

rs_status rs_thresholds_check(const rs_thresholds *t, const rs_view *v, void (*offends)(void *context, const char *line), void *context, rs_error *e)
{
    rs_status st = RS_OK;
    if (v->n_order == 0) return rs_fail(e, RS_USAGE, "--check: no tensor is selected");
    for (size_t i = 0; i < v->n_order; i++) {
        const rs_view_row *r = rs_view_row_at(v, i);
        const rs_figures *f = &r->fig[rs_view_last_side(v->model, r->of)];
        for (size_t k = 0; k < t->n; k++) {
            if (rs_threshold_met(&t->item[k], f)) continue;
            st = RS_NO;
            if (offends != NULL) say(&t->item[k], r, f, offends, context);
        }
    }
    return st;
}
