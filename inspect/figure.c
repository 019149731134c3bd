// SPDX-License-Identifier: Apache-2.0
// Figures of a view. Values of many that share a place merge by maximum (of SQNR by minimum): what is bad cannot vanish.
#include "inspect/figure.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/markup.h"
#include "inspect/screen_inside.h"

#define PI 3.14159265358979323846
enum { LEFT = 38, RIGHT = RS_PANEL_WIDTH - 10, TOP = 26, BOTTOM = RS_PANEL_HEIGHT - 30, POINTS = 320 };

static const char *const sides[2] = {"before", "after"};

// An axis: values lo..hi on pixels from..to.
struct axis {
    double lo, hi, from, to;
    bool log;
};

static double at(const struct axis *a, double x)
{
    double share = a->log ? (log(x > a->lo ? x : a->lo) - log(a->lo)) / (log(a->hi) - log(a->lo)) : (x - a->lo) / (a->hi - a->lo);
    share = share < 0 || isnan(share) ? 0 : share > 1 ? 1 : share;
    return a->from + share * (a->to - a->from);
}

static void label(rs_text_buffer *b, double x, double y, const char *class, const char *text)
{
    rs_text_buffer_print(b, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">", x, y, class);
    rs_markup(b, text);
    rs_text_buffer_print(b, "</text>\n");
}

static void begin(rs_text_buffer *b, double x, double y, const char *title, const char *note)
{
    rs_text_buffer_print(b, "<svg class=\"rs\" xmlns=\"http://www.w3.org/2000/svg\" x=\"%g\" y=\"%g\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\">\n", x, y, RS_PANEL_WIDTH, RS_PANEL_HEIGHT,
                         RS_PANEL_WIDTH, RS_PANEL_HEIGHT);
    rs_text_buffer_print(b, "<title>");
    rs_markup(b, title);
    rs_text_buffer_print(b, "</title>\n<rect class=\"bg\" width=\"%d\" height=\"%d\"/>\n", RS_PANEL_WIDTH, RS_PANEL_HEIGHT);
    label(b, LEFT, 16, "title", title);
    label(b, RIGHT, 16, "dim end", note);
}

static void tick_y(rs_text_buffer *b, const struct axis *y, double value, const char *text)
{
    const double p = at(y, value);
    rs_text_buffer_print(b, "<path class=\"grid\" d=\"M%d %.1fH%d\"/>", LEFT, p, RIGHT);
    label(b, LEFT - 5, p + 4, "dim end", text);
}

// A short number for a tick: 0.25, 20, 100k, 1M.
static void tick_text(double x, char text[16])
{
    static const char *const units[] = {"", "k", "M", "G", "T"};
    int i = 0;
    for (; x >= (i == 0 ? 10000 : 1000) && i < 4; i++) x /= 1000;
    if (i == 0 && x >= 1000) snprintf(text, 16, "%.0f", x);
    else snprintf(text, 16, "%.3g%s", x, units[i]);
}

// Ticks of a logarithmic axis at 1, 10, 100 ...; of a linear one at five places.
static void ticks_y(rs_text_buffer *b, const struct axis *y)
{
    char text[16];
    for (int i = 0; !y->log && i <= 4; i++) {
        const double x = y->lo + (y->hi - y->lo) * i / 4;
        tick_text(x, text);
        tick_y(b, y, x, text);
    }
    const bool wide = y->log && y->hi / y->lo > 200; // else at 2 and 5 as well
    for (double ten = y->log ? pow(10, floor(log10(y->lo) + 1e-9)) : INFINITY; ten <= y->hi * 1.0001; ten *= 10)
        for (int i = 0; i < (wide ? 1 : 3); i++) {
            const double x = ten * (i == 0 ? 1 : i == 1 ? 2 : 5);
            if (x < y->lo * 0.9999 || x > y->hi * 1.0001) continue;
            tick_text(x, text);
            tick_y(b, y, x, text);
        }
}

static void legend(rs_text_buffer *b, const bool on[2])
{
    double x = LEFT + 110;
    for (int side = 0; side < 2 && on[0] && on[1]; side++) {
        if (side == 0) rs_text_buffer_print(b, "<circle class=\"ring\" cx=\"%.0f\" cy=\"12\" r=\"3\"/>", x);
        else rs_text_buffer_print(b, "<rect class=\"after\" x=\"%.0f\" y=\"9\" width=\"6\" height=\"6\"/>", x - 3);
        label(b, x + 8, 16, "dim", sides[side]);
        x += 62;
    }
}

static void line_begin(rs_text_buffer *b, const char *class) { rs_text_buffer_print(b, "<path class=\"line %s\" d=\"", class); }
static void line_to(rs_text_buffer *b, bool *first, double x, double y)
{
    rs_text_buffer_print(b, "%s%.1f %.1f", *first ? "M" : "L", x, y);
    *first = false;
}
static void line_end(rs_text_buffer *b) { rs_text_buffer_print(b, "\"/>\n"); }

// ---- a role over the layers

static rs_figure figure_of(const rs_view *v) { return v->of == RS_OF_ERROR ? RS_FIG_SQNR : RS_FIG_MAX_RMS; }

// The figure of a role in each layer on one side; NaN where it is not known.
static void of_layers(const rs_view *v, rs_role role, int side, double *y, size_t n)
{
    const bool least = v->of == RS_OF_ERROR;
    for (size_t i = 0; i < n; i++) y[i] = NAN;
    for (size_t i = 0; i < v->model->n_rows; i++) {
        const rs_view_row *r = &v->model->row[i];
        double x;
        if (r->of != v->of || r->role != role || r->layer < 0 || (uint64_t)r->layer >= n || !rs_figures_get(&r->fig[side], figure_of(v), &x) || !isfinite(x)) continue;
        if (isnan(y[r->layer]) || (least ? x < y[r->layer] : x > y[r->layer])) y[r->layer] = x;
    }
}

// Ends of the axis that all roles share.
static struct axis figure_axis(const rs_view *v)
{
    double most = 0, x;
    for (size_t i = 0; i < v->model->n_rows; i++)
        for (int side = 0; side < 2; side++)
            if (v->model->row[i].of == v->of && rs_figures_get(&v->model->row[i].fig[side], figure_of(v), &x) && isfinite(x) && x > most) most = x;
    if (v->of == RS_OF_ERROR) return (struct axis){.lo = 0, .hi = most > 40 ? 10 * ceil(most / 10) : 40, .from = BOTTOM, .to = TOP};
    return (struct axis){.lo = v->linear ? 0 : 1, .hi = rs_screen_axis(most), .from = BOTTOM, .to = TOP, .log = !v->linear};
}

static void layer_ticks(rs_text_buffer *b, const struct axis *x, size_t n)
{
    static const size_t steps[] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000};
    char text[24];
    size_t k = 0;
    while (k + 1 < sizeof steps / sizeof *steps && n / steps[k] > 8) k++;
    for (size_t i = 0; i < n; i += steps[k]) {
        snprintf(text, sizeof text, "%zu", i);
        label(b, at(x, (double)i), BOTTOM + 15, "dim mid", text);
    }
}

static void series(rs_text_buffer *b, const double *values, size_t n, int side, const struct axis *x, const struct axis *y)
{
    bool first = true;
    char text[16];
    line_begin(b, side == 0 ? "soft before" : "soft after");
    for (size_t i = 0; i < n; i++) {
        if (isnan(values[i])) first = true;
        else line_to(b, &first, at(x, (double)i), at(y, values[i]));
    }
    line_end(b);
    const double r = n > 60 ? 2 : 3;
    for (size_t i = 0; i < n; i++) {
        if (isnan(values[i])) continue;
        const double px = at(x, (double)i), py = at(y, values[i]);
        if (side == 0) rs_text_buffer_print(b, "<circle class=\"ring\" cx=\"%.1f\" cy=\"%.1f\" r=\"%g\">", px, py, r);
        else rs_text_buffer_print(b, "<rect class=\"after\" x=\"%.1f\" y=\"%.1f\" width=\"%g\" height=\"%g\">", px - r, py - r, 2 * r, 2 * r);
        rs_text_buffer_print(b, "<title>%zu: %s %s</title></%s>\n", i, sides[side], rs_screen_double(values[i], text), side == 0 ? "circle" : "rect");
    }
}

static size_t places(const rs_view *v)
{
    const uint64_t n = v->model->head->layers;
    return (size_t)(v->of == RS_OF_STREAM ? 2 * n + 1 : n);
}

static void role_panel(const rs_view *v, const rs_panel *p, rs_text_buffer *b)
{
    const size_t n = places(v);
    const bool on[2] = {rs_screen_side(v, 0), rs_screen_side(v, 1)};
    const struct axis y = figure_axis(v), x = {.lo = 0, .hi = n > 1 ? (double)n - 1 : 1, .from = LEFT + 8, .to = RIGHT - 8};
    double *values = malloc((n + 1) * sizeof *values);
    if (values == NULL) b->failed = true;
    ticks_y(b, &y);
    layer_ticks(b, &x, n);
    if (v->of == RS_OF_ERROR) rs_text_buffer_print(b, "<path class=\"rule\" d=\"M%d %.1fH%d\"/>", LEFT, at(&y, RS_VIEW_BUDGET), RIGHT);
    for (int side = 0; side < 2 && values != NULL; side++) {
        if (!on[side]) continue;
        of_layers(v, p->role, side, values, n);
        series(b, values, n, side, &x, &y);
    }
    legend(b, on);
    label(b, RIGHT, RS_PANEL_HEIGHT - 3, "dim end", v->of == RS_OF_STREAM ? "basis" : "layer");
    free(values);
}

// ---- channels

// n values in at most POINTS columns: the largest of each.
static size_t merge(const float *x, uint64_t n, double *out)
{
    const size_t cols = n < POINTS ? (size_t)n : POINTS;
    for (size_t i = 0; i < cols; i++) out[i] = -INFINITY;
    for (uint64_t i = 0; i < n; i++) {
        double *to = &out[i * cols / n];
        if ((double)x[i] > *to) *to = (double)x[i];
    }
    return cols;
}

// From the least rms to the largest magnitude on either side.
static struct axis channel_axis(const rs_view *v)
{
    double lo = INFINITY, hi = 0;
    for (int side = 0; side < 2; side++) {
        const rs_view_channels *c = v->channels[side];
        for (uint64_t i = 0; c != NULL && i < c->n; i++) {
            const double m = c->absmax != NULL ? (double)c->absmax[i] : 0, r = c->rms != NULL ? (double)c->rms[i] : m;
            if (isfinite(m) && m > hi) hi = m;
            if (r > 0 && r < lo) lo = r;
        }
    }
    if (!(hi > 0)) hi = 1;
    if (!(lo < hi)) lo = hi / 10;
    if (lo < hi / 1e4) lo = hi / 1e4;
    return (struct axis){.lo = v->linear ? 0 : pow(10, floor(log10(lo))), .hi = v->linear ? hi : pow(10, ceil(log10(hi) - 1e-9)), .from = BOTTOM, .to = TOP, .log = !v->linear};
}

static void channels_panel(const rs_view *v, const rs_panel *p, rs_text_buffer *b)
{
    double m[POINTS], r[POINTS];
    const rs_view_channels *c = v->channels[p->side];
    const struct axis y = channel_axis(v);
    const size_t n = merge(c->absmax, c->n, m);
    const double width = (double)(RIGHT - LEFT) / (double)(n > 0 ? n : 1);
    char text[24];
    ticks_y(b, &y);
    rs_text_buffer_print(b, "<path class=\"%s\" d=\"", sides[p->side]);
    for (size_t i = 0; i < n; i++) {
        const double top = at(&y, m[i]), x = LEFT + width * (double)i;
        if (m[i] > 0) rs_text_buffer_print(b, "M%.2f %dV%.1fH%.2fV%dZ", x, BOTTOM, top, x + width * (width > 2 ? 0.85 : 1), BOTTOM);
    }
    rs_text_buffer_print(b, "\"/>\n");
    bool first = true;
    if (c->rms != NULL && merge(c->rms, c->n, r) > 0) {
        line_begin(b, "inside");
        for (size_t i = 0; i < n; i++) line_to(b, &first, LEFT + width * ((double)i + 0.5), at(&y, r[i]));
        line_end(b);
    }
    label(b, LEFT, BOTTOM + 15, "dim", "0");
    snprintf(text, sizeof text, "%" PRIu64, c->n > 0 ? c->n - 1 : 0);
    label(b, RIGHT, BOTTOM + 15, "dim end", text);
    label(b, (LEFT + RIGHT) / 2.0, BOTTOM + 15, "dim mid", n < c->n ? "channel (the largest of each column)" : "channel");
}

static void histogram_panel(const rs_view *v, rs_text_buffer *b)
{
    double most = 10;
    const double width = (RIGHT - LEFT) / 64.0;
    bool on[2] = {false, false};
    for (int side = 0; side < 2; side++)
        for (int i = 0; v->channels[side] != NULL && v->channels[side]->has_hist && i < 64; i++) {
            most = fmax(most, (double)v->channels[side]->hist[i]);
            on[side] = true;
        }
    const struct axis y = {.lo = 0.5, .hi = pow(10, ceil(log10(most))), .from = BOTTOM, .to = TOP, .log = true};
    ticks_y(b, &y);
    for (int side = 0; side < 2; side++) {
        if (!on[side]) continue;
        bool first = true;
        line_begin(b, sides[side]);
        for (int i = 0; i < 64; i++) {
            const double h = v->channels[side]->hist[i] > 0 ? at(&y, (double)v->channels[side]->hist[i]) : BOTTOM;
            line_to(b, &first, LEFT + width * i, h);
            line_to(b, &first, LEFT + width * (i + 1), h);
        }
        line_end(b);
    }
    for (int i = -8; i <= 8; i += 4) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        label(b, LEFT + width * (i + 8) * 4, BOTTOM + 15, i < 8 ? "dim mid" : "dim end", text);
    }
    legend(b, on);
}

// ---- a spectrum

static void rank_ticks(rs_text_buffer *b, const struct axis *x, uint64_t n)
{
    char text[24];
    for (uint64_t r = 1; r < n; r *= 4) {
        snprintf(text, sizeof text, "%" PRIu64, r);
        if (at(x, (double)r) < RIGHT - 30) label(b, at(x, (double)r), BOTTOM + 15, "dim mid", text);
    }
    snprintf(text, sizeof text, "%" PRIu64, n);
    label(b, RIGHT, BOTTOM + 15, "dim end", text);
    label(b, RIGHT, RS_PANEL_HEIGHT - 3, "dim end", "r, logarithmic");
}

// y[0..n-1] belong to r = 1..n; where several fall on one pixel the first, which is the largest, stands for them.
static void curve(rs_text_buffer *b, const char *class, const double *values, size_t known, const struct axis *x, const struct axis *y)
{
    double last = -INFINITY;
    bool first = true;
    line_begin(b, class);
    for (size_t i = 0; i < known; i++) {
        const double px = at(x, (double)i + 1);
        if (px - last < 0.5 && i + 1 < known) continue;
        line_to(b, &first, px, at(y, values[i]));
        last = px;
    }
    line_end(b);
}

static void spectrum_panel(const rs_view *v, const rs_panel *p, rs_text_buffer *b)
{
    const rs_view_spectrum *s = v->spectrum;
    const double hi = p->kind == RS_PANEL_ANGLES ? PI : p->kind == RS_PANEL_SIGMA ? 2 : 1;
    const struct axis x = {.lo = 1, .hi = s->n > 1 ? (double)s->n : 2, .from = LEFT, .to = RIGHT, .log = true}, y = {.lo = 0, .hi = hi, .from = BOTTOM, .to = TOP};
    static const char *const pi[] = {"0", "\xcf\x80/4", "\xcf\x80/2", "3\xcf\x80/4", "\xcf\x80"};
    for (int i = 0; i <= 4 && p->kind == RS_PANEL_ANGLES; i++) tick_y(b, &y, hi * i / 4, pi[i]);
    if (p->kind != RS_PANEL_ANGLES) ticks_y(b, &y);
    rank_ticks(b, &x, s->n);
    if (p->kind == RS_PANEL_ANGLES) curve(b, "before", s->theta, s->known, &x, &y);
    if (p->kind == RS_PANEL_SIGMA) curve(b, "after", s->sigma, s->known, &x, &y);
    if (v->rank >= 1 && v->rank <= s->n) rs_text_buffer_print(b, "<path class=\"rule\" d=\"M%.1f %dV%d\"/>\n", at(&x, (double)v->rank), TOP, BOTTOM);
    if (p->kind != RS_PANEL_ENERGY) return;
    double *energy = malloc((s->known + 1) * sizeof *energy), sum = 0, total = 0;
    if (energy == NULL) {
        b->failed = true;
        return;
    }
    for (size_t i = 0; i < s->known; i++) total += s->sigma[i] * s->sigma[i];
    for (size_t i = 0; i < s->known; i++) energy[i] = (sum += s->sigma[i] * s->sigma[i]) / (total > 0 ? total : 1);
    if (total > 0) curve(b, "good", energy, s->known, &x, &y);
    for (size_t i = 0; i < s->known; i++) energy[i] = fmin(1, 2 * ((double)i + 1) / (double)s->n);
    curve(b, "rule", energy, s->known, &x, &y);
    free(energy);
}

// ---- which there are

static bool has_role(const rs_view *v, rs_role role)
{
    for (size_t i = 0; i < v->model->n_rows; i++) {
        const rs_view_row *r = &v->model->row[i];
        for (int side = 0; side < 2; side++)
            if (r->of == v->of && r->role == role && r->layer >= 0 && rs_screen_side(v, side) && rs_figures_get(&r->fig[side], figure_of(v), NULL)) return true;
    }
    return false;
}

size_t rs_figure_panels(const rs_view *v, int screen, rs_panel panels[RS_PANELS])
{
    size_t n = 0;
    if (screen == RS_SCREEN_OVERVIEW || (screen == RS_SCREEN_ERROR && v->of == RS_OF_ERROR))
        for (int role = 0; role <= RS_ROLE_COUNT && n < RS_PANELS; role++)
            if (has_role(v, (rs_role)role)) panels[n++] = (rs_panel){.kind = RS_PANEL_ROLE, .role = (rs_role)role};
    if (screen == RS_SCREEN_TENSOR) {
        bool hist = false;
        for (int side = 0; side < 2; side++) {
            if (v->channels[side] == NULL || !rs_screen_side(v, side)) continue;
            if (v->channels[side]->absmax != NULL && v->channels[side]->n > 0) panels[n++] = (rs_panel){.kind = RS_PANEL_CHANNELS, .side = side};
            hist = hist || v->channels[side]->has_hist;
        }
        if (hist) panels[n++] = (rs_panel){.kind = RS_PANEL_HISTOGRAM};
    }
    const rs_view_junction *j = rs_view_junction_at(v);
    if (screen == RS_SCREEN_ROTATION && j != NULL && v->spectrum != NULL && v->spectrum->j == j->j && v->spectrum->known > 0) {
        panels[n++] = (rs_panel){.kind = RS_PANEL_ANGLES};
        panels[n++] = (rs_panel){.kind = RS_PANEL_SIGMA};
        if (v->spectrum->whole) panels[n++] = (rs_panel){.kind = RS_PANEL_ENERGY};
    }
    return n;
}

void rs_figure_panel(const rs_view *v, const rs_panel *p, double x, double y, rs_text_buffer *b)
{
    char title[96], note[96] = "", number[16];
    const double energy = v->spectrum != NULL ? rs_view_energy(v->spectrum, v->rank) : NAN;
    switch (p->kind) {
    case RS_PANEL_ROLE:
        begin(b, x, y, p->role == RS_ROLE_COUNT ? "residual stream" : rs_role_name(p->role), v->of == RS_OF_ERROR ? "SQNR, dB" : "max/RMS");
        role_panel(v, p, b);
        break;
    case RS_PANEL_CHANNELS:
        snprintf(title, sizeof title, "channels%s%s", rs_screen_side(v, 0) && rs_screen_side(v, 1) ? ", " : "", rs_screen_side(v, 0) && rs_screen_side(v, 1) ? sides[p->side] : "");
        begin(b, x, y, title, "largest magnitude; line: RMS");
        channels_panel(v, p, b);
        break;
    case RS_PANEL_HISTOGRAM:
        begin(b, x, y, "histogram", "x / RMS, counts");
        histogram_panel(v, b);
        break;
    case RS_PANEL_ANGLES:
        snprintf(title, sizeof title, "T %" PRIu64 ": angles", v->spectrum->j);
        if (!v->spectrum->whole) snprintf(note, sizeof note, "%zu of %" PRIu64 " are known", v->spectrum->known, v->spectrum->n);
        begin(b, x, y, title, note);
        spectrum_panel(v, p, b);
        break;
    case RS_PANEL_SIGMA:
        begin(b, x, y, "singular values of T - I", "2 |sin(angle / 2)|");
        spectrum_panel(v, p, b);
        break;
    case RS_PANEL_ENERGY:
        if (isnan(energy)) snprintf(number, sizeof number, "-");
        else snprintf(number, sizeof number, "%.3f", energy);
        snprintf(note, sizeof note, "E(%" PRIu64 ") = %s; dashed: Hadamard 2r/n", v->rank, number);
        begin(b, x, y, "energy E(r)", note);
        spectrum_panel(v, p, b);
        break;
    }
    rs_text_buffer_print(b, "</svg>\n");
}
