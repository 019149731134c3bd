// SPDX-License-Identifier: Apache-2.0
// A view as CSV by RFC 4180: a header, CR LF, fields in quotes where they need them, a decimal point, unknown numbers empty.
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "inspect/export.h"

static void text(rs_text_buffer *b, const char *s)
{
    if (strpbrk(s, ",\"\r\n") == NULL && s[0] != ' ' && (s[0] == 0 || s[strlen(s) - 1] != ' ')) {
        rs_text_buffer_add(b, s, strlen(s));
        return;
    }
    rs_text_buffer_add(b, "\"", 1);
    for (const char *p = s; *p != 0; p++) {
        if (*p == '"') rs_text_buffer_add(b, "\"", 1);
        rs_text_buffer_add(b, p, 1);
    }
    rs_text_buffer_add(b, "\"", 1);
}

// A number with all its digits.
static void number(rs_text_buffer *b, double x)
{
    if (isnan(x)) rs_text_buffer_print(b, "nan");
    else if (isinf(x)) rs_text_buffer_print(b, x > 0 ? "inf" : "-inf");
    else rs_text_buffer_print(b, "%.17g", x);
}

static void end(rs_text_buffer *b) { rs_text_buffer_add(b, "\r\n", 2); }

// ---- rows

static void rows(const rs_view *v, rs_text_buffer *b)
{
    static const char *const sides[] = {"before", "after"};
    rs_text_buffer_print(b, "name,of,role,layer,width,enc,group,tagged,change");
    for (int side = 0; side < 2; side++)
        for (int f = 0; f < RS_FIG_COUNT; f++) rs_text_buffer_print(b, ",%s_%s", rs_figure_name((rs_figure)f), sides[side]);
    end(b);
    for (size_t i = 0; rs_export_row(v, i) != NULL; i++) {
        const rs_view_row *r = rs_export_row(v, i);
        const bool tensor = r->role != RS_ROLE_COUNT;
        text(b, r->name);
        rs_text_buffer_print(b, ",%s,%s,", rs_measure_name(r->of), tensor ? rs_role_name(r->role) : "");
        if (r->layer >= 0) rs_text_buffer_print(b, "%" PRId64, r->layer);
        rs_text_buffer_print(b, ",");
        if (r->width > 0) rs_text_buffer_print(b, "%" PRIu64, r->width);
        rs_text_buffer_print(b, ",%s,", tensor ? rs_enc_name(r->enc) : "");
        if (tensor) rs_text_buffer_print(b, "%" PRIu64, r->group);
        rs_text_buffer_print(b, ",%d,%d", (int)r->tagged, rs_view_change(r));
        for (int side = 0; side < 2; side++)
            for (int f = 0; f < RS_FIG_COUNT; f++) {
                double x;
                rs_text_buffer_print(b, ",");
                if (rs_figures_get(&r->fig[side], (rs_figure)f, &x)) number(b, x);
            }
        end(b);
    }
}

// ---- channels, or cells of an error

static void field(rs_text_buffer *b, const float *x, uint64_t i)
{
    rs_text_buffer_print(b, ",");
    if (x != NULL) number(b, (double)x[i]);
}

static void channels(const rs_view *v, rs_text_buffer *b)
{
    static const rs_view_channels none = {0};
    const rs_view_channels *c[2] = {v->channels[0] != NULL ? v->channels[0] : &none, v->channels[1] != NULL ? v->channels[1] : &none};
    const uint64_t n = c[0]->n > c[1]->n ? c[0]->n : c[1]->n;
    rs_text_buffer_print(b, "channel,absmax_before,rms_before,kurt_before,absmax_after,rms_after,kurt_after");
    end(b);
    for (uint64_t i = 0; i < n; i++) {
        rs_text_buffer_print(b, "%" PRIu64, i);
        for (int side = 0; side < 2; side++) {
            const bool there = i < c[side]->n;
            field(b, there ? c[side]->absmax : NULL, i);
            field(b, there ? c[side]->rms : NULL, i);
            field(b, there ? c[side]->kurt : NULL, i);
        }
        end(b);
    }
}

static void cells(const rs_view *v, rs_text_buffer *b)
{
    const rs_view_channels *c = v->channels[1] != NULL ? v->channels[1] : v->channels[0];
    rs_text_buffer_print(b, "row,group,sig,err,clip");
    end(b);
    for (uint64_t i = 0; c != NULL && i < c->rows * c->groups; i++) {
        rs_text_buffer_print(b, "%" PRIu64 ",%" PRIu64, i / c->groups, i % c->groups);
        field(b, c->sig, i);
        field(b, c->err, i);
        rs_text_buffer_print(b, ",");
        if (c->clip != NULL) rs_text_buffer_print(b, "%" PRIu32, c->clip[i]);
        end(b);
    }
}

// ---- a junction

static void angles(const rs_view *v, rs_text_buffer *b)
{
    const rs_view_spectrum *s = v->spectrum;
    rs_text_buffer_print(b, "rank,theta,sigma,energy");
    end(b);
    for (size_t i = 0; s != NULL && i < s->known; i++) {
        const double energy = rs_view_energy(s, i + 1);
        rs_text_buffer_print(b, "%zu,%.17g,%.17g,", i + 1, s->theta[i], s->sigma[i]);
        if (isfinite(energy)) number(b, energy);
        end(b);
    }
}

// ---- the chain

static void join(rs_text_buffer *b, const char *const *words, size_t n)
{
    rs_text_buffer_add(b, "\"", 1);
    for (size_t i = 0; i < n; i++) {
        if (i > 0) rs_text_buffer_add(b, " ", 1);
        for (const char *p = words[i]; *p != 0; p++) {
            if (*p == '"') rs_text_buffer_add(b, "\"", 1);
            rs_text_buffer_add(b, p, 1);
        }
    }
    rs_text_buffer_add(b, "\"", 1);
}

static void chain(const rs_export *x, rs_text_buffer *b)
{
    size_t n, inputs;
    const rs_outline *o = x->doc[1] != NULL ? x->doc[1] : x->doc[0];
    const rs_prov *p = rs_outline_prov(o, &n);
    rs_text_buffer_print(b, "step,tool,version,commit,arguments,inputs");
    end(b);
    for (size_t i = 0; i < n; i++) {
        const rs_input_sum *in = rs_outline_inputs(o, (unsigned)i, &inputs);
        rs_text_buffer_print(b, "%zu,", i);
        text(b, p[i].tool);
        rs_text_buffer_print(b, ",");
        text(b, p[i].ver);
        rs_text_buffer_print(b, ",");
        text(b, p[i].commit);
        rs_text_buffer_print(b, ",");
        join(b, p[i].argv + (p[i].argc > 0), p[i].argc > 0 ? p[i].argc - 1 : 0);
        rs_text_buffer_print(b, ",");
        for (size_t k = 0; k < inputs; k++) {
            rs_text_buffer_print(b, "%s%s:", k > 0 ? " " : "", in[k].fmt);
            for (int j = 0; j < 16; j++) rs_text_buffer_print(b, "%02x", in[k].digest[j]);
        }
        end(b);
    }
}

rs_status rs_export_csv(const rs_export *x, rs_text_buffer *b, rs_error *e)
{
    const rs_view *v = x->view;
    switch (v->screen) {
    case RS_SCREEN_TENSOR: v->of == RS_OF_ERROR ? cells(v, b) : channels(v, b); break;
    case RS_SCREEN_ROTATION: angles(v, b); break;
    case RS_SCREEN_FILE: chain(x, b); break;
    default: rows(v, b); break;
    }
    return b->failed ? rs_fail(e, RS_E_NOMEM, "export") : RS_OK;
}
