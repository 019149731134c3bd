// SPDX-License-Identifier: Apache-2.0
// What each key does to the state, and the command that shows the same without keys.
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/cells.h"
#include "inspect/screen.h"
#include "inspect/view.h"

static RS_PRINTF(2, 3) void say(rs_view *v, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(v->message, sizeof v->message, fmt, ap);
    va_end(ap);
}

// ---- typing

static void open_prompt(rs_view *v, rs_prompt p, const char *text)
{
    v->prompt = p;
    snprintf(v->typed, sizeof v->typed, "%s", text);
}

static void set_rank(rs_view *v, int64_t r)
{
    const rs_view_junction *j = rs_view_junction_at(v);
    const int64_t most = j != NULL && j->n > 0 && j->n < (UINT64_C(1) << 40) ? (int64_t)j->n : 1 << 24;
    r -= r % 2;
    v->rank = (uint64_t)(r < 0 ? 0 : r > most ? most : r);
}

static rs_action accept(rs_view *v)
{
    const rs_prompt p = v->prompt;
    char *end;
    v->prompt = RS_PROMPT_NONE;
    switch (p) {
    case RS_PROMPT_SEARCH:
        snprintf(v->search, sizeof v->search, "%s", v->typed);
        rs_view_search(v, 1);
        return RS_DO_NOTHING;
    case RS_PROMPT_FILTER:
        rs_view_filter(v, v->typed);
        if (v->n_order == 0) say(v, "nothing matches %s", v->filter);
        return RS_DO_NOTHING;
    case RS_PROMPT_RANK: {
        long long r = strtoll(v->typed, &end, 10);
        if (v->typed[0] == 0 || *end != 0 || r < 0) say(v, "%s is no rank", v->typed);
        else set_rank(v, r);
        return RS_DO_NOTHING;
    }
    case RS_PROMPT_EXPORT: return RS_DO_EXPORT;
    case RS_PROMPT_NONE: break;
    }
    return RS_DO_NOTHING;
}

static rs_action type(rs_view *v, int key)
{
    size_t n = strlen(v->typed);
    if (key == RS_KEY_ENTER || key == '\r') return accept(v);
    if (key == RS_KEY_ESC) v->prompt = RS_PROMPT_NONE;
    else if (key == RS_KEY_BACKSPACE || key == 8) v->typed[n > 0 ? n - 1 : 0] = 0;
    else if (key >= ' ' && key < 0x7f && n + 1 < sizeof v->typed) v->typed[n] = (char)key, v->typed[n + 1] = 0;
    return RS_DO_NOTHING;
}

// ---- moving

static void move(rs_view *v, int64_t by, bool sideways)
{
    if (v->help || v->screen == RS_SCREEN_FILE) {
        const int64_t to = (int64_t)v->scroll + by;
        v->scroll = to > 0 ? (size_t)to : 0;
        if (v->scroll > 4096) v->scroll = 4096;
    } else if (v->screen == RS_SCREEN_ROTATION) {
        const int64_t n = (int64_t)v->model->n_junctions, to = (int64_t)v->junction + by;
        v->junction = n == 0 || to < 0 ? 0 : (size_t)(to < n ? to : n - 1);
    } else if (v->screen == RS_SCREEN_TENSOR || !sideways) {
        rs_view_go(v, (int64_t)v->cursor + by);
    }
}

static bool moves(rs_view *v, int key)
{
    const int64_t page = rs_view_page(v), all = INT32_MAX;
    switch (key) {
    case RS_KEY_UP: case 'k': move(v, -1, false); return true;
    case RS_KEY_DOWN: case 'j': move(v, 1, false); return true;
    case RS_KEY_LEFT: case 'h': move(v, -1, true); return true;
    case RS_KEY_RIGHT: case 'l': move(v, 1, true); return true;
    case RS_KEY_PAGE_UP: move(v, -page, false); return true;
    case RS_KEY_PAGE_DOWN: move(v, page, false); return true;
    case RS_KEY_HOME: case 'g': move(v, -all, false); return true;
    case RS_KEY_END: case 'G': move(v, v->screen == RS_SCREEN_FILE || v->help ? page : all, false); return true;
    default: return false;
    }
}

// ---- what is shown

static void next_sort(rs_view *v)
{
    static const rs_sort figures[] = {RS_SORT_MAX_RMS, RS_SORT_KURT, RS_SORT_SQNR4, RS_SORT_CHANGE, RS_SORT_MODEL, RS_SORT_NAME, RS_SORT_WIDTH};
    static const rs_sort errors[] = {RS_SORT_SQNR, RS_SORT_CLIP, RS_SORT_MODEL, RS_SORT_NAME, RS_SORT_WIDTH};
    const rs_sort *list = v->of == RS_OF_ERROR ? errors : figures;
    const size_t n = v->of == RS_OF_ERROR ? sizeof errors / sizeof *errors : sizeof figures / sizeof *figures;
    size_t i = 0;
    while (i < n && list[i] != v->sort) i++;
    rs_view_sort(v, list[i < n ? (i + 1) % n : 0], false);
    say(v, "sorted by %s", rs_sort_name(v->sort));
}

static void next_measure(rs_view *v)
{
    const rs_measure from = v->of;
    for (int k = 1; k < RS_OF_COUNT; k++) {
        const rs_measure of = (rs_measure)(((int)from + k) % RS_OF_COUNT);
        if (!rs_view_measure(v, of)) continue;
        v->screen = of == RS_OF_ERROR ? RS_SCREEN_ERROR : v->screen == RS_SCREEN_ERROR ? RS_SCREEN_OVERVIEW : v->screen;
        return;
    }
    say(v, "the file has figures of one measure only");
}

static void enter(rs_view *v)
{
    if (v->screen == RS_SCREEN_OVERVIEW && rs_view_current(v) != NULL) rs_view_screen(v, RS_SCREEN_TENSOR);
    else if (v->screen == RS_SCREEN_ERROR && rs_view_current(v) != NULL) {
        const char *name = rs_view_current(v)->name;
        rs_view_screen(v, RS_SCREEN_TENSOR);
        if (rs_view_current(v) == NULL || strcmp(rs_view_current(v)->name, name) != 0) say(v, "no figures of its %s", rs_measure_name(v->of));
    }
}

static void up(rs_view *v)
{
    if (v->filter[0] != 0 && v->screen == RS_SCREEN_OVERVIEW) rs_view_filter(v, "");
    rs_view_screen(v, RS_SCREEN_OVERVIEW);
}

static void tag(rs_view *v)
{
    if ((v->screen != RS_SCREEN_OVERVIEW && v->screen != RS_SCREEN_ERROR && v->screen != RS_SCREEN_TENSOR) || rs_view_current(v) == NULL) return;
    rs_view_row *r = &v->model->row[v->order[v->cursor]];
    r->tagged = !r->tagged;
    if (v->screen != RS_SCREEN_TENSOR) rs_view_go(v, (int64_t)v->cursor + 1);
}

static rs_action command_key(rs_view *v, int key)
{
    const int64_t rank = (int64_t)v->rank;
    switch (key) {
    case 'q': case RS_KEY_F10: return RS_DO_QUIT;
    case '?': case RS_KEY_F1: v->help = true, v->scroll = 0; break;
    case '1': case '2': case '3': case '4': case '5': rs_view_screen(v, key - '0'); break;
    case RS_KEY_TAB: rs_view_screen(v, v->screen % 5 + 1); break;
    case RS_KEY_BACK_TAB: rs_view_screen(v, (v->screen + 3) % 5 + 1); break;
    case RS_KEY_ENTER: case '\r': enter(v); break;
    case RS_KEY_ESC: case RS_KEY_BACKSPACE: case 8: up(v); break;
    case '/': open_prompt(v, RS_PROMPT_SEARCH, ""); break;
    case 'n': rs_view_search(v, 1); break;
    case 'N': rs_view_search(v, -1); break;
    case '\\': case RS_KEY_F4: open_prompt(v, RS_PROMPT_FILTER, v->filter); break;
    case 's': case RS_KEY_F6:
        if (v->screen == RS_SCREEN_TENSOR) v->channel_sort = (rs_channel_sort)((v->channel_sort + 1) % RS_BY_COUNT);
        else next_sort(v);
        break;
    case 'I': rs_view_sort(v, v->sort, !v->inverted); break;
    case ' ': tag(v); break;
    case 'e': open_prompt(v, RS_PROMPT_EXPORT, "text"); return RS_DO_NOTHING;
    case 'b': v->show = (rs_show)((v->show + 1) % 3); break;
    case 'm': next_measure(v); break;
    case '[': set_rank(v, rank - 2); break;
    case ']': set_rank(v, rank + 2); break;
    case '{': set_rank(v, rank - 16); break;
    case '}': set_rank(v, rank + 16); break;
    case '=': open_prompt(v, RS_PROMPT_RANK, ""); break;
    case 't': v->map = !v->map; break;
    case 'L': v->linear = !v->linear; break;
    case 'u': v->ascii = !v->ascii; break;
    case 'c': v->theme = (v->theme + 1) % RS_THEMES; break;
    case 'r': return RS_DO_RELOAD;
    case 'z': v->paused = !v->paused; break;
    case 'y': rs_view_command(v, v->message, sizeof v->message); break;
    default: break;
    }
    return RS_DO_NOTHING;
}

rs_action rs_view_key(rs_view *v, int key)
{
    v->message[0] = 0;
    if (v->prompt != RS_PROMPT_NONE) return type(v, key);
    if (moves(v, key)) return RS_DO_NOTHING;
    if (v->help) { // any other key leaves it
        v->help = false;
        v->scroll = 0;
        return RS_DO_NOTHING;
    }
    return command_key(v, key);
}

void rs_view_click(rs_view *v, int row, int col)
{
    (void)col;
    if (v->help || v->prompt != RS_PROMPT_NONE || (v->screen != RS_SCREEN_OVERVIEW && v->screen != RS_SCREEN_ERROR)) return;
    if (row == 2) next_sort(v);
    else if (row >= 3 && row < 3 + rs_view_page(v) && v->top + (size_t)(row - 3) < v->n_order) rs_view_go(v, (int64_t)v->top + row - 3);
}

// ---- the same without keys

static size_t append(char *out, size_t cap, size_t at, const char *fmt, ...) RS_PRINTF(4, 5);
static size_t append(char *out, size_t cap, size_t at, const char *fmt, ...)
{
    va_list ap;
    if (at >= cap) return at;
    va_start(ap, fmt);
    int n = vsnprintf(out + at, cap - at, fmt, ap);
    va_end(ap);
    return n < 0 || (size_t)n >= cap - at ? cap : at + (size_t)n;
}

const char *rs_view_command(const rs_view *v, char *out, size_t cap)
{
    const rs_view_side *side = v->model->side[v->of];
    size_t at = append(out, cap, 0, "rs-top --batch --screen %d --size %dx%d", v->screen, v->cols, v->rows);
    if (v->screen == RS_SCREEN_ROTATION) at = append(out, cap, at, " --junction %" PRIu64 " --rank %" PRIu64, rs_view_junction_at(v) != NULL ? rs_view_junction_at(v)->j : 0, v->rank);
    if (v->screen == RS_SCREEN_TENSOR && rs_view_current(v) != NULL) at = append(out, cap, at, " --tensor '%s'", rs_view_current(v)->name);
    else if (v->filter[0] != 0) at = append(out, cap, at, " --tensor '%s'", v->filter);
    if (v->of != RS_OF_ERROR && v->screen <= RS_SCREEN_TENSOR) at = append(out, cap, at, " --measure %s", rs_measure_name(v->of));
    if (v->screen == RS_SCREEN_OVERVIEW || v->screen == RS_SCREEN_ERROR) at = append(out, cap, at, " --sort %s%s", v->inverted ? "-" : "", rs_sort_name(v->sort));
    if (side[0].on && side[1].on && v->model->doc[1] == NULL) at = append(out, cap, at, " --step %u,%u", side[0].step, side[1].step);
    for (int d = 0; d < 2 && v->model->doc[d] != NULL; d++) {
        char name[256];
        rs_cells_escape(name, sizeof name, rs_outline_name(v->model->doc[d]), strlen(rs_outline_name(v->model->doc[d])), true);
        at = append(out, cap, at, " %s", strcmp(name, "standard input") == 0 ? "-" : name);
    }
    return out;
}
