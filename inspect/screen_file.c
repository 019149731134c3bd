// SPDX-License-Identifier: Apache-2.0
// Screen 5: where the file comes from, what its run-time must do, and whether its bytes are good.
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "formats/bytes.h"
#include "inspect/screen_inside.h"

static size_t append(char *out, size_t cap, size_t at, const char *fmt, ...) RS_PRINTF(4, 5);
static size_t append(char *out, size_t cap, size_t at, const char *fmt, ...)
{
    va_list ap;
    if (at + 1 >= cap) return at;
    va_start(ap, fmt);
    int n = vsnprintf(out + at, cap - at, fmt, ap);
    va_end(ap);
    return n < 0 ? at : at + (size_t)n < cap ? at + (size_t)n : cap - 1;
}

static const rs_outline *file(const rs_view *v)
{
    return v->model->doc[1] != NULL ? v->model->doc[1] : v->model->doc[0];
}

// ---- chain

static void put_step(const rs_view *v, rs_cells *c, int row, size_t step)
{
    size_t n, inputs;
    const rs_prov *p = &rs_outline_prov(file(v), &n)[step];
    const rs_input_sum *in = rs_outline_inputs(file(v), (unsigned)step, &inputs);
    char text[512], arguments[400], all[700];
    size_t at = 0;
    const int wide = c->cols >= 100 ? 34 : 22, args = 28, room = c->cols - args - wide - 7;
    rs_cells_right(c, row, 1, 4, RS_INK_TEXT, 0, "%zu", step);
    rs_cells_put(c, row, 6, 12, RS_INK_TEXT, RS_ATTR_BOLD, rs_cells_escape(text, sizeof text, p->tool, strlen(p->tool), c->ascii));
    rs_cells_put(c, row, 19, 8, RS_INK_DIM, 0, rs_cells_escape(text, sizeof text, p->ver, strlen(p->ver), c->ascii));
    arguments[0] = 0;
    for (size_t i = 1; i < p->argc; i++) at = append(arguments, sizeof arguments, at, "%s%s", i > 1 ? " " : "", p->argv[i]);
    rs_cells_put(c, row, args, room, RS_INK_TEXT, 0, rs_cells_escape(text, sizeof text, arguments, strlen(arguments), c->ascii));
    all[0] = 0;
    at = 0;
    for (size_t i = 0; i < inputs; i++) at = append(all, sizeof all, at, "%s%02x%02x.. %s", i > 0 ? " + " : "", in[i].digest[0], in[i].digest[1], in[i].fmt);
    if (in == NULL) snprintf(all, sizeof all, "-");
    rs_cells_put(c, row, args + room + 1, wide, RS_INK_DIM, 0, rs_cells_escape(text, sizeof text, all, strlen(all), c->ascii));
    rs_cells_put(c, row, c->cols - 5, 5, RS_INK_GOOD, 0, "ok"); // a broken chain is refused when the file is opened
}

static void except_text(const rs_except *x, char *out, size_t cap)
{
    size_t at = 0;
    out[0] = 0;
    if (x->layer < 0) at = append(out, cap, at, "except %s of all layers: ", rs_role_name(x->role));
    else if (x->role == RS_ROLE_RESID) at = append(out, cap, at, "except junction %" PRId64 ": ", x->layer);
    else at = append(out, cap, at, "except %" PRId64 ".%s: ", x->layer, rs_role_name(x->role));
    if (x->role == RS_ROLE_RESID) append(out, cap, at, "rank %" PRIu64, x->rank);
    else append(out, cap, at, "a%u %s clip %.2f group %" PRIu64, x->act.bits, x->act.sym ? "sym" : "asym", x->act.clip, x->act.group);
}

// ---- plan

static size_t act_text(char *out, size_t cap, size_t at, const char *what, const rs_act *a, const char *ranges)
{
    at = append(out, cap, at, "%s%u", what, a->bits);
    if (a->bits == 16) return at;
    at = append(out, cap, at, " %s", a->sym ? "sym" : "asym");
    if (a->clip != 1) at = append(out, cap, at, " clip %.2f", a->clip);
    if (a->group != 0) at = append(out, cap, at, " group %" PRIu64, a->group);
    return append(out, cap, at, "%s", ranges);
}

static size_t online_text(char *out, size_t cap, size_t at, const char *what, const rs_online *r)
{
    static const char *const builds[] = {"sylvester", "paley1", "paley2"};
    if (!r->on) return at;
    at = append(out, cap, at, " | %s %s ", what, builds[r->build]);
    if (r->k > 1 && r->block % r->k == 0) at = append(out, cap, at, "%" PRIu64 " x %" PRIu64 " = ", r->k, r->block / r->k);
    at = append(out, cap, at, "%" PRIu64, r->block);
    return r->block != r->n ? append(out, cap, at, " (blocks of %" PRIu64 ")", r->n) : at;
}

static void plan_text(const rs_head *h, char *out, size_t cap)
{
    static const char *const spans[] = {"", " range free", " range half"};
    const rs_plan *p = &h->plan;
    char ranges[64];
    size_t at = 0;
    out[0] = 0;
    if (h->kind == RS_KIND_ROTATIONS) {
        append(out, cap, 0, "none: the file holds rotations, no weights");
        return;
    }
    at = act_text(out, cap, at, "a", &p->a, spans[p->a.range]);
    at = append(out, cap, at, " | ");
    snprintf(ranges, sizeof ranges, "%s%s%s%s", p->kv.range != RS_SPAN_ZERO ? " K" : "", spans[p->kv.range], p->v_range != RS_SPAN_ZERO ? " V" : "", spans[p->v_range]);
    at = act_text(out, cap, at, "kv", &p->kv, ranges);
    at = online_text(out, cap, at, "r3", &p->r3);
    at = online_text(out, cap, at, "r4", &p->r4);
    if (p->resid == RS_RESID_NONE) at = append(out, cap, at, " | no junctions");
    else if (p->resid == RS_RESID_DENSE) at = append(out, cap, at, " | dense junctions");
    else at = append(out, cap, at, " | rank %" PRIu64, p->rank);
    if (p->n_except > 0) append(out, cap, at, " | %zu exceptions", p->n_except);
}

// Text over as many rows as it takes, cut at blanks; returns the rows. c NULL: only counts.
static int wrapped(rs_cells *c, int cols, int row, const char *label, rs_ink ink, const char *text)
{
    int n = 0;
    const int room = cols - 8;
    if (c != NULL) rs_cells_put(c, row, 1, 6, RS_INK_LABEL, 0, label);
    while (*text != 0 && n < 64) {
        int len = (int)strlen(text), cut = len;
        if (len > room) {
            cut = room;
            while (cut > room / 2 && text[cut] != ' ') cut--;
            if (text[cut] != ' ') cut = room;
        }
        if (c != NULL) rs_cells_printf(c, row + n, 7, room, ink, 0, "%.*s", cut, text);
        text += cut;
        while (*text == ' ') text++;
        n++;
    }
    return n > 0 ? n : 1;
}

// ---- map of the file

static void frames_text(const rs_outline *o, char *out, size_t cap)
{
    static const rs_frame_type types[] = {RS_FRAME_PROV, RS_FRAME_FILE, RS_FRAME_TENS, RS_FRAME_STAT, RS_FRAME_PSUM, RS_FRAME_UNKNOWN};
    size_t at = append(out, cap, 0, "HEAD");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const uint32_t n = rs_outline_count(o, types[i]);
        if (n > 0) at = append(out, cap, at, " %sx%" PRIu32, types[i] == RS_FRAME_UNKNOWN ? "unknown" : rs_bytes_tag(types[i]), n);
    }
    if (rs_outline_complete(o)) at = append(out, cap, at, " INDX ENDS");
    append(out, cap, at, "   %.1f MB", (double)rs_outline_size(o) / 1e6);
}

static void put_check(const rs_view *v, rs_cells *c, int row)
{
    const rs_view_check *k = &v->check;
    rs_cells_put(c, row, 1, 6, RS_INK_LABEL, 0, "check");
    if (v->fault[0] != 0) rs_cells_printf(c, row, 7, c->cols - 7, RS_INK_BAD, RS_ATTR_BOLD, "! %s", v->fault);
    else if (!k->on) rs_cells_put(c, row, 7, c->cols - 7, RS_INK_DIM, 0, rs_outline_seekable(file(v)) ? "not checked" : "each frame is verified as it comes");
    else if (!k->done) {
        rs_cells_bar(c, row, 7, 30, RS_INK_AFTER, k->share);
        rs_cells_printf(c, row, 38, c->cols - 38, RS_INK_TEXT, 0, "%.0f %% verified", 100 * k->share);
    } else if (k->status == RS_OK)
        rs_cells_put(c, row, 7, c->cols - 7, RS_INK_GOOD, 0, "every byte and every rule verified: good");
    else
        rs_cells_printf(c, row, 7, c->cols - 7, RS_INK_BAD, RS_ATTR_BOLD, "! %s", k->text);
}

void rs_screen_file(const rs_view *v, rs_cells *c)
{
    const rs_outline *o = file(v);
    const rs_head *h = rs_outline_head(o);
    char plan[512], frames[256], about[700], model[600], text[256];
    size_t steps;
    (void)rs_outline_prov(o, &steps);
    plan_text(h, plan, sizeof plan);
    frames_text(o, frames, sizeof frames);
    rs_cells_escape(model, sizeof model, h->model, strlen(h->model), c->ascii);
    snprintf(about, sizeof about, "%s, %s, %" PRIu64 " layers   xxh128 %s", model[0] != 0 ? model : "no name", h->arch, h->layers, v->digest[0] != 0 ? v->digest : "-");
    const int plan_rows = wrapped(NULL, c->cols, 0, "", RS_INK_TEXT, plan), fixed = plan_rows + wrapped(NULL, c->cols, 0, "", RS_INK_TEXT, frames) + 3;
    const size_t room = (size_t)(c->rows - 3 - fixed), lines = steps + h->plan.n_except, from = lines <= room ? 0 : v->scroll < lines - room ? v->scroll : lines - room;
    const int wide = c->cols >= 100 ? 34 : 22;
    rs_cells_put(c, 1, 1, 40, RS_INK_LABEL, 0, "step tool         version  arguments");
    rs_cells_put(c, 1, c->cols - 6 - wide, wide, RS_INK_LABEL, 0, "inputs (xxh128)");
    rs_cells_put(c, 1, c->cols - 5, 5, RS_INK_LABEL, 0, "chain");
    for (size_t i = 0; i < room && from + i < lines; i++) {
        if (from + i < steps) put_step(v, c, 2 + (int)i, from + i);
        else {
            except_text(&h->plan.except[from + i - steps], text, sizeof text);
            rs_cells_put(c, 2 + (int)i, 7, c->cols - 7, RS_INK_TEXT, 0, text);
        }
    }
    int row = c->rows - 1 - fixed;
    if (from + room < lines) rs_cells_printf(c, row, 7, c->cols - 7, RS_INK_DIM, 0, "%zu more below: down", lines - from - room);
    row++;
    row += wrapped(c, c->cols, row, "plan", RS_INK_TEXT, plan);
    rs_cells_put(c, row, 1, 6, RS_INK_LABEL, 0, "model");
    rs_cells_put(c, row++, 7, c->cols - 7, RS_INK_TEXT, 0, about);
    row += wrapped(c, c->cols, row, "file", RS_INK_TEXT, frames);
    put_check(v, c, row);
}
