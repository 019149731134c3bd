// SPDX-License-Identifier: Apache-2.0
// What all screens have: title, message line, help, the line for a screen that is too small, and the numbers.
#include "inspect/screen.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "inspect/screen_inside.h"

// ---- numbers

const char *rs_screen_double(double x, char out[16])
{
    const double a = fabs(x);
    if (isnan(x)) return "nan";
    if (isinf(x)) return x > 0 ? "inf" : "-inf";
    if (a >= 99999.5) { // "3.2e5", shorter than printf's
        int ten = (int)floor(log10(a));
        if (a / pow(10, ten) >= 9.95) ten++;
        snprintf(out, 16, "%.1fe%d", x / pow(10, ten), ten);
    }
    else if (a >= 99.95) snprintf(out, 16, "%.0f", x);
    else if (a >= 0.095 || a == 0) snprintf(out, 16, "%.1f", a == 0 ? 0.0 : x);
    else if (x < 0) snprintf(out, 16, a >= 0.0095 ? "%.3f" : "%.0e", x); // 6 characters with the sign
    else snprintf(out, 16, a >= 0.00095 ? "%.4f" : "%.0e", x);
    return out;
}

const char *rs_screen_number(const rs_figures *f, rs_figure which, char out[16])
{
    double x;
    return rs_figures_get(f, which, &x) ? rs_screen_double(x, out) : "-";
}

double rs_screen_axis(double x)
{
    static const double steps[] = {1, 2, 5};
    for (double ten = 10; ten < 1e300; ten *= 10)
        for (int i = 0; i < 3; i++)
            if (x <= ten * steps[i]) return ten * steps[i];
    return 1e300;
}

double rs_screen_share(const rs_view *v, double x, double end)
{
    if (isnan(x)) return NAN;
    if (v->linear) return x / end;
    return x > 1 ? log(x) / log(end) : x > 0 ? 1e-9 : 0;
}

bool rs_screen_side(const rs_view *v, int side)
{
    const rs_view_side *s = v->model->side[v->of];
    if (!s[side].on) return false;
    if (!s[1 - side].on) return true;
    return v->show == RS_SHOW_BOTH || (v->show == RS_SHOW_BEFORE) == (side == 0);
}

static const char *tool_name(const rs_outline *o, unsigned step)
{
    size_t n;
    const rs_prov *p = rs_outline_prov(o, &n);
    if (step >= n) return "?";
    return strncmp(p[step].tool, "rs-", 3) == 0 ? p[step].tool + 3 : p[step].tool;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL && slash[1] != 0 ? slash + 1 : path;
}

const char *rs_screen_side_name(const rs_view *v, int side, char *out, size_t cap)
{
    const rs_view_side *s = &v->model->side[v->of][side];
    const rs_outline *o = v->model->doc[s->doc];
    char name[64];
    out[0] = 0;
    if (!s->on || o == NULL) return out;
    if (v->model->doc[1] != NULL) {
        const char *base = base_name(rs_outline_name(o));
        rs_cells_escape(name, sizeof name, base, strlen(base), v->ascii);
        snprintf(out, cap, "%s", name);
    } else if (s->computed) {
        snprintf(out, cap, "computed now");
    } else {
        const char *tool = tool_name(o, s->step);
        rs_cells_escape(name, sizeof name, tool, strlen(tool), v->ascii);
        snprintf(out, cap, "step %u %s", s->step, name);
    }
    return out;
}

double rs_screen_largest(const rs_view *v)
{
    double most = 0, x;
    for (size_t i = 0; i < v->n_order; i++)
        for (int side = 0; side < 2; side++)
            if (rs_screen_side(v, side) && rs_figures_get(&rs_view_row_at(v, i)->fig[side], RS_FIG_MAX_RMS, &x) && x > most && isfinite(x)) most = x;
    return most;
}

// ---- pieces of lists

void rs_screen_row_name(const rs_view *v, rs_cells *c, int row, size_t i)
{
    char name[RS_MAX_NAME * 8];
    const rs_view_row *r = rs_view_row_at(v, i);
    const bool here = i == v->cursor;
    if (here) rs_cells_put(c, row, 0, 1, RS_INK_CURSOR, RS_ATTR_BOLD, ">");
    if (r->tagged) rs_cells_put(c, row, 1, 1, RS_INK_TAG, RS_ATTR_BOLD, "*");
    rs_view_short_name(r, name, sizeof name, c->ascii);
    const char *dot = strchr(name, '.');
    const bool layered = r->layer >= 0 && dot != NULL && dot - name <= 4 && r->of != RS_OF_STREAM;
    if (layered) {
        rs_cells_right(c, row, 2, 4, RS_INK_TEXT, here ? RS_ATTR_BOLD : 0, "%.*s", (int)(dot - name), name);
        rs_cells_put(c, row, 7, 8, RS_INK_TEXT, here ? RS_ATTR_BOLD : 0, dot + 1);
    } else if (strlen(name) <= 8 && r->layer < 0) {
        rs_cells_put(c, row, 7, 8, RS_INK_TEXT, here ? RS_ATTR_BOLD : 0, name);
    } else if (rs_cells_put(c, row, 2, 13, RS_INK_TEXT, here ? RS_ATTR_BOLD : 0, name) == 13 && strlen(name) > 13) {
        rs_cells_char(c, row, 14, RS_INK_DIM, 0, 0x2026);
    }
}

void rs_screen_empty(const rs_view *v, rs_cells *c)
{
    static const char *const how[] = {"Figures of the activations are not in this file. To add them:", "  rs-stat --text FILE model.rsq -o with-figures.rsq"};
    int row = 4;
    if (v->filter[0] != 0) {
        rs_cells_printf(c, row, 2, c->cols - 2, RS_INK_TEXT, 0, "No tensor matches %s.  Esc shows all", v->filter);
        return;
    }
    if (v->computing >= 0) {
        rs_cells_printf(c, row, 2, c->cols - 2, RS_INK_TEXT, 0, "Figures of the weights are computed: %.0f %%", 100 * v->computing);
        rs_cells_bar(c, row + 1, 2, c->cols > 44 ? 40 : c->cols - 4, RS_INK_AFTER, v->computing);
        row += 3;
    } else if (!rs_outline_complete(v->model->doc[0])) {
        rs_cells_put(c, row, 2, c->cols - 2, RS_INK_TEXT, 0, "No statistics have come yet.");
        row += 2;
    }
    for (size_t i = 0; i < 2; i++) rs_cells_put(c, row + (int)i, 2, c->cols - 2, RS_INK_TEXT, 0, how[i]);
}

// ---- frame

static void title(const rs_view *v, rs_cells *c)
{
    const rs_outline *o = v->model->doc[1] != NULL ? v->model->doc[1] : v->model->doc[0];
    char name[64], chain[256] = "", state[96];
    const char *base = base_name(rs_outline_name(o));
    size_t n, at = 0;
    rs_cells_escape(name, sizeof name, base, strlen(base), c->ascii);
    const rs_prov *p = rs_outline_prov(o, &n);
    for (size_t i = 0; i < n && at + 40 < sizeof chain; i++) {
        char tool[32];
        const char *text = tool_name(o, (unsigned)i);
        (void)p;
        rs_cells_escape(tool, sizeof tool, text, strlen(text), c->ascii);
        at += (size_t)snprintf(chain + at, sizeof chain - at, "%s%s", i > 0 ? ">" : "", tool);
    }
    if (!rs_outline_complete(o)) snprintf(state, sizeof state, "incomplete, %.1f MB so far%s", (double)rs_outline_size(o) / 1e6, v->paused ? ", paused" : "");
    else snprintf(state, sizeof state, "complete, xxh128 %.8s..", v->digest);
    const char *screen = v->help ? "help" : rs_view_screen_name(v->screen);
    const int right = (int)strlen(screen) + 5, room = c->cols - right;
    const char *fault = v->fault[0] != 0 ? v->fault : v->check.done && v->check.status != RS_OK ? v->check.text : NULL;
    rs_cells_right(c, 0, room, right, RS_INK_TITLE, RS_ATTR_BOLD, "%s%d/5 %s", "", v->screen, screen);
    int x = 1 + rs_cells_put(c, 0, 1, room - 2, RS_INK_TITLE, RS_ATTR_BOLD, "rs-top");
    x += 2 + rs_cells_put(c, 0, x + 2, fault != NULL ? 20 : room - x - 3, RS_INK_TITLE, RS_ATTR_BOLD, name);
    if (fault != NULL) {
        rs_cells_printf(c, 0, x + 2, room - x - 3, RS_INK_BAD, RS_ATTR_BOLD, "! %s", fault);
        return;
    }
    const int state_len = (int)strlen(state);
    if (x + 3 + state_len > room - 1) return;
    int chain_room = room - 1 - x - 3 - state_len - 3;
    if (chain_room >= (int)strlen(chain) && chain[0] != 0) x += 3 + rs_cells_put(c, 0, x + 3, chain_room, RS_INK_LABEL, 0, chain);
    rs_cells_put(c, 0, x + 3, room - x - 4, rs_outline_complete(o) ? RS_INK_DIM : RS_INK_TAG, 0, state);
}

static const char *prompt_text(rs_prompt p)
{
    switch (p) {
    case RS_PROMPT_SEARCH: return "search: ";
    case RS_PROMPT_FILTER: return "only names that match (* ?): ";
    case RS_PROMPT_RANK: return "rank: ";
    case RS_PROMPT_EXPORT: return "export as text, csv, json, svg or html: ";
    case RS_PROMPT_NONE: break;
    }
    return "";
}

// The last line: what is typed, what there is to say; false: the screen may use it.
static void bottom(const rs_view *v, rs_cells *c)
{
    char text[RS_VIEW_TEXT * 8];
    if (v->prompt == RS_PROMPT_NONE && v->message[0] == 0) return;
    for (int i = 0; i < c->cols; i++) rs_cells_char(c, c->rows - 1, i, RS_INK_TEXT, 0, ' ');
    if (v->prompt != RS_PROMPT_NONE) {
        int x = 1 + rs_cells_put(c, c->rows - 1, 1, c->cols - 1, RS_INK_LABEL, RS_ATTR_BOLD, prompt_text(v->prompt));
        x += rs_cells_put(c, c->rows - 1, x, c->cols - x, RS_INK_TEXT, 0, v->typed);
        rs_cells_char(c, c->rows - 1, x, RS_INK_CURSOR, RS_ATTR_REVERSE, ' ');
    } else {
        rs_cells_escape(text, sizeof text, v->message, strlen(v->message), c->ascii);
        rs_cells_put(c, c->rows - 1, 1, c->cols - 1, RS_INK_LABEL, 0, text);
    }
}

void rs_screen_help(const rs_view *v, rs_cells *c)
{
    static const char *const lines[] = {
        "q F10          quit                     ? F1       this help",
        "arrows hjkl    move                     PgUp PgDn  a page",
        "g G Home End   first, last              1 .. 5     screen",
        "Tab S-Tab      next screen, previous    Enter      into a tensor",
        "Esc Backspace  up                       b          before, after, both",
        "m              measure: input, weight, error, kv, stream",
        "/ n N          search, next, previous   \\ F4       show only what matches",
        "s F6           sort by the next column  I          invert the order",
        "Space          tag                      e          export (tagged rows, or all)",
        "[ ]  { }       rank by 2, by 16         =          type a rank",
        "t              rows or group map        L          linear or log",
        "u              Unicode or ASCII         c          next theme",
        "r              read the file again      z          pause a stream",
        "y              the --batch command that shows the same",
        "",
        "max/RMS   largest magnitude over root mean square: how far the worst outlier sticks out",
        "kurt      excess kurtosis: 0 for a bell curve, large where few values are far out",
        "SQNR4     signal to noise in dB after rounding to 4 bits as the plan has it; larger is better",
        "v ^       max/RMS fell, rose by more than 1 %;  ! marks what needs a look",
        "-         the number is not in the file",
    };
    const size_t n = sizeof lines / sizeof *lines, room = (size_t)(c->rows - 3);
    const size_t from = v->scroll + room > n ? (n > room ? n - room : 0) : v->scroll;
    for (size_t i = from; i < n && i - from < room; i++) rs_cells_put(c, 2 + (int)(i - from), 1, c->cols - 1, RS_INK_TEXT, 0, lines[i]);
    if (n > room) rs_cells_put(c, c->rows - 1, 1, c->cols - 1, RS_INK_DIM, 0, "up and down scroll, any other key goes back");
}

void rs_screen_render(const rs_view *v, rs_cells *c)
{
    rs_cells_clear(c);
    if (c->cols < RS_VIEW_MIN_COLS || c->rows < RS_VIEW_MIN_ROWS) {
        rs_cells_printf(c, 0, 0, c->cols, RS_INK_BAD, 0, "need %dx%d, have %dx%d", RS_VIEW_MIN_COLS, RS_VIEW_MIN_ROWS, c->cols, c->rows);
        return;
    }
    title(v, c);
    if (v->help) rs_screen_help(v, c);
    else if (v->screen == RS_SCREEN_OVERVIEW) rs_screen_overview(v, c);
    else if (v->screen == RS_SCREEN_TENSOR) rs_screen_tensor(v, c);
    else if (v->screen == RS_SCREEN_ROTATION) rs_screen_rotation(v, c);
    else if (v->screen == RS_SCREEN_ERROR) rs_screen_error(v, c);
    else rs_screen_file(v, c);
    bottom(v, c);
}
