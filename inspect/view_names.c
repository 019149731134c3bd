// SPDX-License-Identifier: Apache-2.0
// Names of measures, figures, sort keys and rows, and the figures of one row.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "inspect/cells.h"
#include "inspect/view.h"

static const char *const measures[RS_OF_COUNT] = {"input", "weight", "error", "kv", "stream"};
static const char *const figures[RS_FIG_COUNT] = {"max_rms", "kurt",   "sqnr4", "sqnr3", "max", "rms",        "p999",        "p9999", "incoherence",
                                                  "zeros",   "massive", "tokens", "bad",   "sqnr", "worst_sqnr", "worst_group", "clip",  "scales"};
static const char *const sorts[RS_SORT_COUNT] = {"model", "name", "width", "max_rms", "kurt", "sqnr4", "change", "sqnr", "clip"};

static int find(const char *const *names, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0) return i;
    return -1;
}

const char *rs_measure_name(rs_measure of)
{
    return (unsigned)of < RS_OF_COUNT ? measures[of] : NULL;
}

const char *rs_figure_name(rs_figure f)
{
    return (unsigned)f < RS_FIG_COUNT ? figures[f] : NULL;
}

const char *rs_sort_name(rs_sort s)
{
    return (unsigned)s < RS_SORT_COUNT ? sorts[s] : NULL;
}

bool rs_measure_find(const char *name, rs_measure *of)
{
    int i = find(measures, RS_OF_COUNT, name);
    if (i >= 0) *of = (rs_measure)i;
    return i >= 0;
}

bool rs_figure_find(const char *name, rs_figure *f)
{
    int i = find(figures, RS_FIG_COUNT, name);
    if (i >= 0) *f = (rs_figure)i;
    return i >= 0;
}

bool rs_sort_find(const char *name, rs_sort *s)
{
    int i = find(sorts, RS_SORT_COUNT, name);
    if (i >= 0) *s = (rs_sort)i;
    return i >= 0;
}

const char *rs_view_screen_name(int screen)
{
    static const char *const names[] = {"overview", "tensor", "rotation", "error", "file"};
    return screen >= 1 && screen <= 5 ? names[screen - 1] : NULL;
}

bool rs_figures_get(const rs_figures *f, rs_figure which, double *v)
{
    bool known = (unsigned)which < RS_FIG_COUNT && (f->known >> which & 1) != 0;
    if (known && v != NULL) *v = f->v[which];
    return known;
}

void rs_figures_set(rs_figures *f, rs_figure which, double v)
{
    if ((unsigned)which >= RS_FIG_COUNT) return;
    f->v[which] = v;
    f->known |= UINT32_C(1) << which;
}

static bool number(const rs_value *v, double *x)
{
    if (v == NULL) return false;
    if (v->type == RS_V_F64) *x = v->f;
    else if (v->type == RS_V_UINT) *x = (double)v->u;
    else if (v->type == RS_V_INT) *x = (double)v->i;
    else return false;
    return true;
}

void rs_figures_read(rs_figures *f, const rs_value *values)
{
    double x, y;
    for (int i = 0; i < RS_FIG_COUNT; i++)
        if (i != RS_FIG_MAX_RMS && number(rs_map_get(values, figures[i]), &x)) rs_figures_set(f, (rs_figure)i, x);
    if (rs_figures_get(f, RS_FIG_MAX, &x) && rs_figures_get(f, RS_FIG_RMS, &y) && y > 0) rs_figures_set(f, RS_FIG_MAX_RMS, x / y);
    // What GPTQ says of a matrix (FORMAT.md 20.9).
    if (number(rs_map_get(values, "signal"), &x) && number(rs_map_get(values, "error"), &y) && x > 0 && y > 0) rs_figures_set(f, RS_FIG_SQNR, 10 * log10(x / y));
}

static const char *role_label(const rs_view_row *r)
{
    if (r->role == RS_ROLE_NORM && strstr(r->name, "input_layernorm") != NULL) return "norm1";
    if (r->role == RS_ROLE_NORM && strstr(r->name, "post_attention_layernorm") != NULL) return "norm2";
    if (r->role == RS_ROLE_OTHER || r->role == RS_ROLE_BIAS) return NULL;
    return rs_role_name(r->role);
}

const char *rs_view_short_name(const rs_view_row *r, char *out, size_t cap, bool ascii)
{
    const char *role = r->of == RS_OF_STREAM ? NULL : role_label(r);
    if (role == NULL) return rs_cells_escape(out, cap, r->name, strlen(r->name), ascii);
    if (r->layer < 0) snprintf(out, cap, "%s", role);
    else snprintf(out, cap, "%lld.%s", (long long)r->layer, role);
    return out;
}

bool rs_view_glob(const char *pattern, const char *text)
{
    // The place to go back to when a * was too short: one is enough, the last.
    const char *star = NULL, *from = NULL;
    while (*text != 0) {
        if (*pattern == '*') {
            star = ++pattern;
            from = text;
        } else if (*pattern == '?' || *pattern == *text) {
            pattern++;
            text++;
        } else if (star != NULL) {
            pattern = star;
            text = ++from;
        } else {
            return false;
        }
    }
    while (*pattern == '*') pattern++;
    return *pattern == 0;
}
