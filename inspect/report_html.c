// SPDX-License-Identifier: Apache-2.0
// All figures and tables of a view as one page: no script, no font and no picture from elsewhere; light or dark as the reader has it, in one column on a phone.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/export.h"
#include "inspect/figure.h"
#include "inspect/markup.h"
#include "inspect/screen_inside.h"

static void style(rs_text_buffer *b)
{
    static const char *const lines[] = {
        "*{box-sizing:border-box}body{margin:0 auto;padding:1rem;max-width:84rem;background:var(--bg);color:var(--fg);font:15px/1.45 sans-serif}\n",
        "h1{font-size:1.4rem;margin:.2rem 0}h2{font-size:1.1rem;margin:1.6rem 0 .4rem;border-bottom:1px solid var(--grid)}p{margin:.3rem 0}.note{color:var(--dim)}\n",
        ".panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,20rem),1fr));gap:.6rem}.panels svg{width:100%;height:auto}\n",
        ".wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}th,td{padding:.15rem .5rem;text-align:right;white-space:nowrap}\n",
        "th{position:sticky;top:0;background:var(--bg);border-bottom:1px solid var(--dim)}td.l,th.l{text-align:left}td.w{white-space:normal;overflow-wrap:anywhere;min-width:14rem}\n",
        "tr:nth-child(even) td{background:color-mix(in srgb,var(--grid) 35%,transparent)}code{font-family:monospace;font-size:13px;overflow-wrap:anywhere}\n",
        ".bad{color:var(--bad);font-weight:600}.good{color:var(--good)}summary{cursor:pointer;padding:.3rem 0}dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem .8rem;margin:.4rem 0}dt{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere}\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) rs_text_buffer_add(b, lines[i], strlen(lines[i]));
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL && slash[1] != 0 ? slash + 1 : path;
}

static void cell(rs_text_buffer *b, const char *class, const char *text)
{
    rs_text_buffer_print(b, "<td%s%s%s>", class[0] != 0 ? " class=\"" : "", class, class[0] != 0 ? "\"" : "");
    rs_markup(b, text);
    rs_text_buffer_print(b, "</td>");
}

// ---- the file

static void act(rs_text_buffer *b, const char *what, const rs_act *a)
{
    if (a->bits == 16) rs_text_buffer_print(b, "%s not quantised", what);
    else rs_text_buffer_print(b, "%s %u bits, %s, clip %g, group %" PRIu64, what, a->bits, a->sym ? "symmetric" : "asymmetric", a->clip, a->group);
}

static void online(rs_text_buffer *b, const char *name, const rs_online *o)
{
    static const char *const builds[] = {[RS_BUILD_SYLVESTER] = "sylvester", [RS_BUILD_PALEY1] = "paley1", [RS_BUILD_PALEY2] = "paley2"};
    if (o->on) rs_text_buffer_print(b, "; %s %s %" PRIu64 " in blocks of %" PRIu64, name, builds[o->build], o->n, o->block);
}

// Everything that the run-time must do, so that no online transform goes unnoticed.
static void plan(rs_text_buffer *b, const rs_plan *p)
{
    rs_text_buffer_print(b, "<dt>plan</dt><dd>");
    act(b, "inputs", &p->a);
    rs_text_buffer_print(b, "; ");
    act(b, "K and V", &p->kv);
    online(b, "r3", &p->r3);
    online(b, "r4", &p->r4);
    if (p->resid == RS_RESID_NONE) rs_text_buffer_print(b, "; no junctions");
    else if (p->resid == RS_RESID_DENSE) rs_text_buffer_print(b, "; dense junctions");
    else rs_text_buffer_print(b, "; junctions of rank %" PRIu64, p->rank);
    if (p->n_except > 0) rs_text_buffer_print(b, "; %zu exceptions", p->n_except);
    rs_text_buffer_print(b, "</dd>\n");
}

static void about(const rs_outline *o, rs_text_buffer *b)
{
    const rs_head *h = rs_outline_head(o);
    const uint8_t *digest = rs_outline_digest(o);
    rs_text_buffer_print(b, "<dl><dt>model</dt><dd>");
    rs_markup(b, h->model[0] != 0 ? h->model : "-");
    rs_text_buffer_print(b, "</dd>\n<dt>kind</dt><dd>%s, ", h->kind == RS_KIND_WEIGHTS ? "weights" : "rotations");
    rs_markup(b, h->arch);
    rs_text_buffer_print(b, ", %" PRIu64 " layers, %zu tensors, %zu statistics, %.1f MB</dd>\n<dt>digest</dt><dd><code>", h->layers, rs_outline_tensors(o), rs_outline_stats(o), (double)rs_outline_size(o) / 1e6);
    if (rs_outline_complete(o))
        for (int i = 0; i < 16; i++) rs_text_buffer_print(b, "%02x", digest[i]);
    rs_text_buffer_print(b, "%s</code></dd>\n", rs_outline_complete(o) ? "" : "incomplete: ENDS has not been read");
    if (h->kind == RS_KIND_WEIGHTS) plan(b, &h->plan);
    rs_text_buffer_print(b, "</dl>\n");
}

static void chain(const rs_outline *o, rs_text_buffer *b)
{
    size_t n, inputs;
    const rs_prov *p = rs_outline_prov(o, &n);
    rs_text_buffer_print(b, "<div class=\"wide\"><table><tr><th>step</th><th class=\"l\">tool</th><th class=\"l\">version</th><th class=\"l\">arguments</th><th class=\"l\">inputs</th></tr>\n");
    for (size_t i = 0; i < n; i++) {
        const rs_input_sum *in = rs_outline_inputs(o, (unsigned)i, &inputs);
        rs_text_buffer_print(b, "<tr><td>%zu</td>", i);
        cell(b, "l", p[i].tool);
        cell(b, "l", p[i].ver);
        rs_text_buffer_print(b, "<td class=\"l w\"><code>");
        for (size_t k = 1; k < p[i].argc; k++) {
            if (k > 1) rs_text_buffer_add(b, " ", 1);
            rs_markup(b, p[i].argv[k]);
        }
        rs_text_buffer_print(b, "</code></td><td class=\"l\"><code>");
        for (size_t k = 0; k < inputs; k++) {
            rs_text_buffer_print(b, "%s%02x%02x%02x%02x.. ", k > 0 ? " + " : "", in[k].digest[0], in[k].digest[1], in[k].digest[2], in[k].digest[3]);
            rs_markup(b, in[k].fmt);
        }
        rs_text_buffer_print(b, "</code></td></tr>\n");
    }
    rs_text_buffer_print(b, "</table></div>\n");
}

// ---- measures

static void figures(const rs_view *v, int screen, rs_text_buffer *b)
{
    rs_panel panels[RS_PANELS];
    const size_t n = rs_figure_panels(v, screen, panels);
    if (n == 0) return;
    rs_text_buffer_print(b, "<div class=\"panels\">\n");
    for (size_t i = 0; i < n; i++) rs_figure_panel(v, &panels[i], 0, 0, b);
    rs_text_buffer_print(b, "</div>\n");
}

static void number(rs_text_buffer *b, const rs_figures *f, rs_figure which)
{
    double x = 0;
    const bool known = rs_figures_get(f, which, &x);
    rs_text_buffer_print(b, "<td>");
    rs_markup_number(b, known, x);
    rs_text_buffer_print(b, "</td>");
}

static const rs_figure shown[] = {RS_FIG_MAX_RMS, RS_FIG_KURT, RS_FIG_SQNR4, RS_FIG_SQNR3, RS_FIG_P9999, RS_FIG_INCOHERENCE}, shown_error[] = {RS_FIG_SQNR, RS_FIG_WORST_SQNR, RS_FIG_WORST_GROUP, RS_FIG_CLIP, RS_FIG_SCALES};
static const char *const labels[] = {"max/RMS", "kurtosis", "SQNR4 dB", "SQNR3 dB", "p99.99", "incoherence"}, *const labels_error[] = {"SQNR dB", "worst group dB", "group", "at the ends", "scale max/min"};

static void row(const rs_view *v, const rs_view_row *r, rs_text_buffer *b)
{
    const bool error = v->of == RS_OF_ERROR;
    const size_t n = error ? sizeof shown_error / sizeof *shown_error : sizeof shown / sizeof *shown;
    const int change = rs_view_change(r);
    rs_text_buffer_print(b, "<tr>");
    cell(b, "l", r->name);
    rs_text_buffer_print(b, "<td>");
    if (r->width > 0) rs_text_buffer_print(b, "%" PRIu64, r->width);
    rs_text_buffer_print(b, "</td>");
    for (size_t k = 0; k < n; k++)
        for (int side = 0; side < 2; side++)
            if (rs_screen_side(v, side)) number(b, &r->fig[side], error ? shown_error[k] : shown[k]);
    rs_text_buffer_print(b, "<td class=\"%s\">%s</td></tr>\n", change > 0 ? "bad" : "good", change > 0 ? "^ worse" : change < 0 ? "v" : "");
}

static void table(const rs_view *v, rs_text_buffer *b)
{
    const bool error = v->of == RS_OF_ERROR;
    const size_t n = error ? sizeof shown_error / sizeof *shown_error : sizeof shown / sizeof *shown;
    const int sides = (int)rs_screen_side(v, 0) + (int)rs_screen_side(v, 1);
    rs_text_buffer_print(b, "<details><summary>%zu rows</summary><div class=\"wide\"><table><tr><th class=\"l\">name</th><th>width</th>", v->n_order);
    for (size_t k = 0; k < n; k++) {
        const char *name = error ? labels_error[k] : labels[k];
        if (sides < 2) rs_text_buffer_print(b, "<th>%s</th>", name);
        else rs_text_buffer_print(b, "<th>%s before</th><th>after</th>", name);
    }
    rs_text_buffer_print(b, "<th></th></tr>\n");
    for (size_t i = 0; rs_export_row(v, i) != NULL; i++) row(v, rs_export_row(v, i), b);
    rs_text_buffer_print(b, "</table></div></details>\n");
}

static void in_short(const rs_view *v, rs_text_buffer *b)
{
    char name[96];
    size_t worse = 0, fell = 0;
    for (size_t i = 0; i < v->n_order; i++) {
        worse += rs_view_change(rs_view_row_at(v, i)) > 0;
        fell += rs_view_change(rs_view_row_at(v, i)) < 0;
    }
    rs_text_buffer_print(b, "<p class=\"note\">");
    for (int side = 0; side < 2; side++) {
        if (!rs_screen_side(v, side)) continue;
        rs_text_buffer_print(b, "%s", !v->model->side[v->of][1].on ? "at " : side == 0 ? "before: " : "after: ");
        rs_markup(b, rs_screen_side_name(v, side, name, sizeof name));
        rs_text_buffer_print(b, ". ");
    }
    if (worse + fell > 0) rs_text_buffer_print(b, "max/RMS fell in %zu and rose in %zu of %zu.", fell, worse, v->n_order);
    rs_text_buffer_print(b, "</p>\n");
}

static rs_status measure(const rs_view *v, rs_measure of, rs_text_buffer *b, rs_error *e)
{
    static const char *const titles[RS_OF_COUNT] = {"Inputs of the multiplications", "Weights", "What rounding cost", "Keys and values", "The residual stream"};
    rs_view own = {0};
    RS_TRY(rs_view_init(&own, v->model, v->cols, v->rows, e));
    rs_view_filter(&own, v->filter);
    own.linear = v->linear;
    if (rs_view_measure(&own, of) && own.n_order > 0) {
        rs_text_buffer_print(b, "<h2>%s</h2>\n", titles[of]);
        in_short(&own, b);
        figures(&own, of == RS_OF_ERROR ? RS_SCREEN_ERROR : RS_SCREEN_OVERVIEW, b);
        table(&own, b);
    }
    rs_view_free(&own);
    return RS_OK;
}

rs_status rs_export_html(const rs_export *x, rs_text_buffer *b, rs_error *e)
{
    const rs_view *v = x->view;
    const rs_outline *last = x->doc[1] != NULL ? x->doc[1] : x->doc[0];
    rs_text_buffer_print(b, "<!DOCTYPE html>\n<html lang=\"en\" class=\"rs\"><head><meta charset=\"utf-8\"/><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"/><meta name=\"color-scheme\" content=\"light dark\"/>\n<title>");
    rs_markup(b, base_name(rs_outline_name(last)));
    rs_text_buffer_print(b, "</title>\n<style>\n");
    rs_markup_style(b);
    style(b);
    rs_text_buffer_print(b, "</style></head><body>\n");
    for (int d = 0; d < 2 && x->doc[d] != NULL; d++) {
        rs_text_buffer_print(b, "<h1>");
        rs_markup(b, base_name(rs_outline_name(x->doc[d])));
        rs_text_buffer_print(b, "</h1>\n");
        about(x->doc[d], b);
        chain(x->doc[d], b);
    }
    for (int of = 0; of < RS_OF_COUNT; of++) RS_TRY(measure(v, (rs_measure)of, b, e));
    if (v->channels_of != NULL && (v->channels[0] != NULL || v->channels[1] != NULL)) {
        rs_text_buffer_print(b, "<h2>");
        rs_markup(b, v->channels_of->name);
        rs_text_buffer_print(b, ", %s</h2>\n", rs_measure_name(v->channels_of->of));
        figures(v, RS_SCREEN_TENSOR, b);
    }
    if (rs_view_junction_at(v) != NULL && v->spectrum != NULL && v->spectrum->known > 0) {
        rs_text_buffer_print(b, "<h2>Junction %" PRIu64 "</h2>\n", v->spectrum->j);
        figures(v, RS_SCREEN_ROTATION, b);
    }
    rs_text_buffer_print(b, "</body></html>\n");
    return b->failed ? rs_fail(e, RS_E_NOMEM, "page") : RS_OK;
}
