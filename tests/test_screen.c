// SPDX-License-Identifier: Apache-2.0
// The renderer at every size, and under random keys over good and bad files: nothing outside the buffer, nothing on it that a terminal would obey.
#include "inspect/screen.h"

#include <dirent.h>

#include "inspect/top.h"
#include "tests/figures.h"

static rs_top *open_top(const char *path, bool finish)
{
    rs_top *t = NULL;
    rs_error e = {0};
    rs_status s = rs_top_open(&t, &(rs_top_options){.file = {path}, .steps = {-1, -1}}, 80, 24, &e);
    if (s == RS_OK && finish) s = rs_top_finish(t, true, false, NULL, NULL, &e);
    CHECKF(s == RS_OK, "%s: %s", rs_status_name(s), e.text);
    return t;
}

// Renders between two rows of guards; true if they stand, and all that was drawn is one column wide.
static bool render_guarded(const rs_view *v, int cols, int rows, bool ascii)
{
    enum { GUARD = 512 };
    const size_t n = (size_t)cols * (size_t)rows;
    rs_cell *room = malloc((n + 2 * GUARD) * sizeof *room);
    rs_cells c = {.cols = cols, .rows = rows, .ascii = ascii, .cell = room + GUARD};
    const uint32_t highest = ascii ? 0x7e : 0x10ffff;
    unsigned wrong = 0;
    if (room == NULL) return false;
    for (size_t i = 0; i < n + 2 * GUARD; i++) room[i] = (rs_cell){.ch = 0xfeedu, .ink = 77, .attr = 99};
    rs_screen_render(v, &c);
    for (size_t i = 0; i < GUARD; i++)
        for (int behind = 0; behind < 2; behind++) {
            const rs_cell *p = &room[behind ? n + GUARD + i : i];
            wrong |= (unsigned)(p->ch != 0xfeedu) | (unsigned)(p->ink != 77) | (unsigned)(p->attr != 99);
        }
    for (size_t i = 0; i < n; i++) {
        const rs_cell *p = &room[GUARD + i];
        wrong |= (unsigned)(p->ch < 32) | (unsigned)(p->ch - 0x7f < 0xa1 - 0x7f) | (unsigned)(p->ch > highest) | (unsigned)(p->ink >= RS_INK_COUNT) | (unsigned)(p->ch == 0xfeedu);
    }
    free(room);
    return wrong == 0;
}

static void test_sizes(const char *path, int step)
{
    rs_top *t = open_top(path, true);
    if (t == NULL) return;
    rs_view *v = rs_top_view(t);
    size_t bad = 0;
    for (int screen = 1; screen <= 5; screen++) {
        rs_view_screen(v, screen);
        rs_top_need(t);
        for (int cols = 1; cols <= 200; cols += cols < 140 ? 1 : step)
            for (int rows = 1; rows <= 80; rows += rows < 50 ? 1 : step) {
                rs_view_resize(v, cols, rows);
                if (!render_guarded(v, cols, rows, (cols + rows) % 2 != 0)) bad++;
            }
        // The map of errors and the help are screens, too.
        v->map = v->help = true;
        rs_top_need(t);
        for (int cols = 1; cols <= 200; cols += 7)
            for (int rows = 1; rows <= 80; rows += 5) {
                rs_view_resize(v, cols, rows);
                v->help = screen == 1;
                if (!render_guarded(v, cols, rows, false)) bad++;
            }
        v->map = v->help = false;
    }
    CHECKF(bad == 0, "%zu pictures wrote outside their place", bad);
    rs_top_close(t);
}

// Too small: one line that says so, and where it ends.
static void test_too_small(const char *path)
{
    rs_top *t = open_top(path, true);
    char text[256];
    rs_error e = {0};
    if (t == NULL) return;
    for (int k = 0; k < 4; k++) {
        const int cols[] = {59, 60, 200, 2}, rows[] = {16, 15, 1, 1};
        static const char *const want[] = {"need 60x16, have 59x16", "need 60x16, have 60x15", "need 60x16, have 200x1", "ne"};
        rs_cells c;
        CHECK(rs_cells_init(&c, cols[k], rows[k], false, &e) == RS_OK);
        rs_screen_render(rs_top_view(t), &c);
        rs_cells_row(&c, 0, text, sizeof text);
        CHECKF(strcmp(text, want[k]) == 0, "%s", text);
        for (int r = 1; r < c.rows; r++) CHECK(rs_cells_row(&c, r, text, sizeof text) == 0);
        rs_cells_free(&c);
    }
    rs_top_close(t);
}

// At the smallest size and above, name, numbers and mark of each row stay.
static void test_what_stays(const char *path)
{
    rs_top *t = open_top(path, true);
    char text[4 * RS_CELLS_MAX + 1], name[300], number[16];
    rs_error e = {0};
    if (t == NULL) return;
    rs_view *v = rs_top_view(t);
    for (int cols = RS_VIEW_MIN_COLS; cols <= 140; cols++) {
        rs_cells c;
        rs_view_resize(v, cols, 30);
        CHECK(rs_cells_init(&c, cols, 30, true, &e) == RS_OK);
        rs_screen_render(v, &c);
        for (int i = 0; i < 10; i++) {
            const rs_view_row *r = rs_view_row_at(v, v->top + (size_t)i);
            rs_cells_row(&c, 3 + i, text, sizeof text);
            rs_view_short_name(r, name, sizeof name, true);
            CHECKF(strstr(text, strchr(name, '.') + 1) != NULL, "%d columns, %s: %s", cols, name, text);
            for (int side = 0; side < 2; side++) {
                double x;
                CHECK(rs_figures_get(&r->fig[side], RS_FIG_MAX_RMS, &x));
                snprintf(number, sizeof number, x >= 99.95 ? "%.0f" : "%.1f", x);
                CHECKF(strstr(text, number) != NULL, "%d columns, %s: %s", cols, number, text);
            }
            CHECKF((rs_view_change(r) > 0) == (strstr(text, "! worse") != NULL), "%d columns: %s", cols, text);
        }
        rs_cells_free(&c);
    }
    rs_top_close(t);
}

// An outlier among many channels shows in every width: columns merge by maximum.
static void test_outlier(void)
{
    enum { N = 10000 };
    static float absmax[N];
    rs_view_channels ch = {.n = N, .absmax = absmax};
    rs_error e = {0};
    const char *path = figures_path("one.rsq");
    rs_top *t = figures_file(path, &(figures_options){.layers = 1}) ? open_top(path, true) : NULL;
    if (t == NULL) return;
    rs_view *v = rs_top_view(t);
    rs_view_screen(v, RS_SCREEN_TENSOR);
    for (int cols = 60; cols <= 200; cols += 20)
        for (int at = 0; at < N; at += 1111) {
            rs_cells c;
            for (int k = 0; k < N; k++) absmax[k] = k == at ? 100 : 0.1f;
            v->channels_of = rs_view_current(v);
            v->channels[0] = v->channels[1] = &ch;
            rs_view_resize(v, cols, 40);
            CHECK(rs_cells_init(&c, cols, 40, false, &e) == RS_OK);
            rs_screen_render(v, &c);
            int full = 0; // cells of the top row of the picture
            for (int x = 8; x < cols; x++) full += c.cell[2 * cols + x].ch == 0x2588 && c.cell[2 * cols + x].ink == RS_INK_BEFORE;
            CHECKF(full >= 1, "%d columns, channel %d", cols, at);
            rs_cells_free(&c);
        }
    v->channels_of = NULL;
    v->channels[0] = v->channels[1] = NULL;
    rs_top_close(t);
}

// The text sink: without colour the cells, with colour the same text between SGR sequences.
static void test_text(const char *path)
{
    rs_top *t = open_top(path, true);
    rs_error e = {0};
    if (t == NULL) return;
    for (int screen = 1; screen <= 5; screen++) {
        rs_cells c;
        rs_view_screen(rs_top_view(t), screen);
        rs_top_need(t);
        CHECK(rs_cells_init(&c, 100, 30, false, &e) == RS_OK);
        rs_screen_render(rs_top_view(t), &c);
        for (int theme = 0; theme < RS_THEMES; theme++) {
            char *plain = rs_screen_text(&c, false, theme), *colour = rs_screen_text(&c, true, theme);
            CHECK(plain != NULL && colour != NULL && strchr(plain, '\033') == NULL && strchr(colour, '\033') != NULL);
            char *to = colour;
            for (const char *from = colour; from != NULL && *from != 0;) {
                if (*from == '\033') from = strchr(from, 'm') + 1;
                else *to++ = *from++;
            }
            if (to != NULL) *to = 0;
            CHECKF(plain != NULL && strcmp(plain, colour) == 0, "screen %d theme %d", screen, theme);
            free(plain);
            free(colour);
        }
        char *words = rs_screen_plain(rs_top_view(t));
        CHECK(words != NULL && strlen(words) > 100);
        for (const char *p = words; p != NULL && *p != 0; p++) CHECKF(*p == '\n' || (*p >= 32 && *p < 127), "screen %d: byte %d", screen, *p);
        free(words);
        rs_cells_free(&c);
    }
    rs_top_close(t);
}

// Random keys and sizes; the same on every run.
static void test_keys(const char *path, size_t keys, bool finish)
{
    static const int special[] = {RS_KEY_UP, RS_KEY_DOWN, RS_KEY_LEFT, RS_KEY_RIGHT, RS_KEY_PAGE_UP, RS_KEY_PAGE_DOWN, RS_KEY_HOME, RS_KEY_END, RS_KEY_BACK_TAB, RS_KEY_F1, RS_KEY_F4, RS_KEY_F6, RS_KEY_F10,
                                  RS_KEY_ENTER, RS_KEY_TAB, RS_KEY_ESC, RS_KEY_BACKSPACE, 0, -1, 0x10ffff, 0x120000};
    rs_top *t = open_top(path, finish);
    if (t == NULL) return;
    rs_view *v = rs_top_view(t);
    uint64_t state = 12345;
    size_t bad = 0, quits = 0;
    int cols = 80, rows = 24;
    for (size_t i = 0; i < keys; i++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        const unsigned r = (unsigned)(state >> 33);
        if (r % 16 == 0) rs_view_click(v, (int)(r / 16 % 40) - 2, (int)(r / 640 % 200));
        else if (r % 64 == 1) {
            cols = (int)(r / 64 % 200) + 1;
            rows = (int)(r / 12800 % 80) + 1;
            rs_view_resize(v, cols, rows);
        } else {
            const int key = r % 3 == 0 ? special[r / 3 % (sizeof special / sizeof *special)] : (int)(r / 3 % 95) + 32;
            const rs_action a = rs_view_key(v, key);
            quits += a == RS_DO_QUIT;
        }
        rs_top_need(t);
        if (i % 64 == 0 && !render_guarded(v, cols, rows, v->ascii)) bad++;
        if (v->cursor >= v->n_order && v->n_order > 0) bad++;
        if (v->top + (size_t)rs_view_page(v) <= v->cursor && v->n_order > 0) bad++;
    }
    CHECKF(bad == 0, "%zu bad pictures or cursors", bad);
    CHECKF(keys < 10000 || quits > 0, "no key quit");
    rs_top_close(t);
}

// A file that is cut while it is looked at: what is read afterwards is a fault in the header of every screen, not a crash.
static void test_cut_while_watched(void)
{
    const char *path = figures_path("watched.rsq");
    char text[1024];
    rs_error e = {0};
    rs_top *t = figures_file(path, &(figures_options){.layers = 2}) ? open_top(path, true) : NULL;
    if (t == NULL) return;
    CHECK(truncate(path, 4000) == 0);
    rs_view_screen(rs_top_view(t), RS_SCREEN_TENSOR);
    rs_top_need(t);
    for (int screen = 1; screen <= 5; screen++) {
        rs_cells c;
        rs_view_screen(rs_top_view(t), screen);
        rs_top_need(t);
        CHECK(rs_cells_init(&c, 100, 30, false, &e) == RS_OK);
        rs_screen_render(rs_top_view(t), &c);
        rs_cells_row(&c, 0, text, sizeof text);
        CHECKF(strstr(text, "! E_TRUNC") != NULL, "screen %d: %s", screen, text);
        rs_cells_free(&c);
    }
    CHECK(rs_top_fault(t, &e) == RS_E_TRUNC);
    rs_top_reload(t); // nothing to open any more: what was there stays
    CHECK(rs_view_current(rs_top_view(t)) != NULL);
    rs_top_close(t);
}

// Names and paths with control characters are drawn escaped.
static void test_names(void)
{
    const char *path = figures_path("e\033[31m\n.rsq");
    rs_error e = {0};
    rs_cells c;
    char text[1024];
    rs_top *t = figures_file(path, &(figures_options){.layers = 1, .model = "Mod\xc3\xa8le \xe6\xa8\xa1"}) ? open_top(path, true) : NULL;
    if (t == NULL) return;
    rs_view *v = rs_top_view(t);
    v->model->row[v->order[0]].name = "evil\033]0;x\a";
    v->model->row[v->order[0]].role = RS_ROLE_OTHER;
    v->model->row[v->order[0]].layer = -1;
    CHECK(rs_cells_init(&c, 120, 30, false, &e) == RS_OK);
    rs_screen_render(v, &c);
    rs_cells_row(&c, 0, text, sizeof text);
    CHECKF(strstr(text, "e\\e[31m\\x0a.rsq") != NULL, "%s", text);
    rs_cells_row(&c, 3, text, sizeof text);
    CHECKF(strstr(text, "evil\\e]0;x") != NULL, "%s", text);
    rs_view_screen(v, RS_SCREEN_FILE);
    rs_screen_render(v, &c);
    bool found = false;
    for (int r = 0; r < c.rows; r++) {
        rs_cells_row(&c, r, text, sizeof text);
        found = found || strstr(text, "Mod\xc3\xa8le \\u{6a21}") != NULL;
    }
    CHECK(found);
    rs_cells_free(&c);
    rs_top_close(t);
}

// Every golden file, good or bad: it is refused, or it can be looked at.
static void test_golden(const char *kind)
{
    char folder[512], path[1024];
    const char *tests = getenv("T");
    struct dirent *d;
    size_t opened = 0, refused = 0;
    snprintf(folder, sizeof folder, "%s/golden/%s", tests != NULL ? tests : "tests", kind);
    DIR *dir = opendir(folder);
    if (!CHECKF(dir != NULL, "%s", folder)) return;
    while ((d = readdir(dir)) != NULL) {
        rs_top *t = NULL;
        rs_error e = {0};
        if (strstr(d->d_name, ".rsq") == NULL) continue;
        snprintf(path, sizeof path, "%s/%s", folder, d->d_name);
        rs_status s = rs_top_open(&t, &(rs_top_options){.file = {path}, .steps = {-1, -1}}, 80, 24, &e);
        refused += s != RS_OK;
        if (s != RS_OK) CHECK(t == NULL && e.text[0] != 0);
        rs_top_close(t);
        if (s != RS_OK) continue;
        opened++;
        test_keys(path, 500, false);
    }
    closedir(dir);
    CHECKF(strcmp(kind, "good") != 0 || (refused == 0 && opened > 3), "%s: %zu refused", kind, refused);
    CHECKF(strcmp(kind, "bad") != 0 || refused > 20, "%s: %zu refused", kind, refused);
}

int main(void)
{
    const char *slow = getenv("SAN"), *path = figures_path("model.rsq");
    const size_t keys = slow != NULL && strcmp(slow, "1") == 0 ? 30000 : 200000;
    if (figures_file(path, &(figures_options){.layers = 3})) {
        test_sizes(path, 1);
        test_too_small(path);
        test_what_stays(path);
        test_text(path);
        test_keys(path, 2 * keys, true);
    }
    path = figures_path("odd.rsq");
    if (figures_file(path, &(figures_options){.layers = 3, .odd = true})) {
        test_sizes(path, 9);
        test_keys(path, keys, true);
    }
    path = figures_path("one.rsq");
    if (figures_file(path, &(figures_options){.layers = 1, .one_step = true})) test_keys(path, keys, true);
    path = figures_path("deep.rsq");
    if (figures_file(path, &(figures_options){.layers = 200})) {
        test_sizes(path, 23);
        test_keys(path, keys / 40, true);
    }
    path = figures_path("bare.rsq");
    if (figures_file(path, &(figures_options){.layers = 1, .bare = true})) {
        test_sizes(path, 23);
        test_keys(path, keys, true);
        test_keys(path, keys, false);
    }
    path = figures_path("none.rsq");
    if (figures_file(path, &(figures_options){.layers = 0, .bare = true})) test_keys(path, keys / 10, false);
    test_golden("good");
    test_golden("bad");
    test_outlier();
    test_cut_while_watched();
    test_names();
    figures_clean();
    return check_report();
}
