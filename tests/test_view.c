// SPDX-License-Identifier: Apache-2.0
// The state behind the screens: what is gathered, the order of rows, and what keys do.
#include "inspect/view.h"

#include "inspect/top.h"
#include "inspect/view_load.h"
#include "tests/figures.h"

static rs_top *open_top(const char *a, const char *b, int64_t before, int64_t after)
{
    rs_top *t = NULL;
    rs_error e = {0};
    rs_status s = rs_top_open(&t, &(rs_top_options){.file = {a, b}, .steps = {before, after}}, 80, 24, &e);
    if (s == RS_OK) s = rs_top_finish(t, true, false, NULL, NULL, &e);
    CHECKF(s == RS_OK, "%s: %s", rs_status_name(s), e.text);
    return t;
}

static rs_action press(rs_view *v, const char *keys)
{
    rs_action a = RS_DO_NOTHING;
    for (; *keys != 0; keys++) a = rs_view_key(v, *keys == '\n' ? RS_KEY_ENTER : *keys == '\033' ? RS_KEY_ESC : *keys);
    return a;
}

static void push(rs_view *v, int key)
{
    CHECK(rs_view_key(v, key) == RS_DO_NOTHING);
}

static double figure(const rs_view_row *r, int side, rs_figure f)
{
    double x;
    return rs_figures_get(&r->fig[side], f, &x) ? x : NAN;
}

static void test_names(void)
{
    rs_measure of;
    rs_figure f;
    rs_sort s;
    for (int i = 0; i < RS_OF_COUNT; i++) CHECK(rs_measure_find(rs_measure_name((rs_measure)i), &of) && (int)of == i);
    for (int i = 0; i < RS_FIG_COUNT; i++) CHECK(rs_figure_find(rs_figure_name((rs_figure)i), &f) && (int)f == i);
    for (int i = 0; i < RS_SORT_COUNT; i++) CHECK(rs_sort_find(rs_sort_name((rs_sort)i), &s) && (int)s == i);
    CHECK(!rs_measure_find("inputs", &of) && !rs_figure_find("", &f) && !rs_sort_find("MAX", &s));
    CHECK(rs_measure_name(RS_OF_COUNT) == NULL && rs_figure_name(RS_FIG_COUNT) == NULL && rs_sort_name(RS_SORT_COUNT) == NULL);
}

static void test_glob(void)
{
    static const struct {
        const char *pattern, *text;
        bool match;
    } list[] = {{"*", "", true},       {"", "", true},        {"", "a", false},    {"a?c", "abc", true},      {"a?c", "ac", false},     {"*.down", "12.down", true}, {"*.down", "12.downs", false},
                {"a*b*c", "aXbYc", true}, {"a*b*c", "aXcYb", false}, {"**", "x", true}, {"*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false}, {"?", "", false}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) CHECKF(rs_view_glob(list[i].pattern, list[i].text) == list[i].match, "%s over %s", list[i].pattern, list[i].text);
}

static void test_gathered(const char *path)
{
    rs_top *t = open_top(path, NULL, -1, -1);
    if (t == NULL) return;
    rs_view *v = rs_top_view(t);
    const rs_view_model *m = v->model;
    size_t n[RS_OF_COUNT] = {0};
    for (size_t i = 0; i < m->n_rows; i++) n[m->row[i].of]++;
    CHECK(n[RS_OF_INPUT] == 21 && n[RS_OF_WEIGHT] == 21 && n[RS_OF_ERROR] == 21 && n[RS_OF_KV] == 6 && n[RS_OF_STREAM] == 7);
    CHECK(m->n_junctions == 6 && m->junction[5].j == 5 && m->junction[5].frame >= 0 && m->junction[5].tensor == -1);
    CHECK(m->side[RS_OF_INPUT][0].on && m->side[RS_OF_INPUT][0].step == 0 && m->side[RS_OF_INPUT][1].on && m->side[RS_OF_INPUT][1].step == 2);
    CHECK(m->side[RS_OF_ERROR][0].on && !m->side[RS_OF_ERROR][1].on && m->side[RS_OF_ERROR][0].step == 3 && rs_view_last_side(m, RS_OF_ERROR) == 0);
    // The numbers are those of the frames, by name.
    for (size_t i = 0; i < m->n_rows; i++)
        for (int side = 0; side < 2; side++) {
            const rs_view_row *r = &m->row[i];
            if (r->frame[side] < 0) continue;
            const rs_outline_stat *s = rs_outline_stat_at(m->doc[0], (size_t)r->frame[side]);
            CHECK(strcmp(s->name, r->name) == 0 && s->step == m->side[r->of][side].step && strcmp(s->of, rs_measure_name(r->of)) == 0);
            if (r->of != RS_OF_ERROR) CHECK(figure(r, side, RS_FIG_MAX_RMS) == rs_map_f64(s->values, "max", 0) / rs_map_f64(s->values, "rms", 1));
            CHECK(rs_figures_get(&r->fig[side], RS_FIG_BAD, NULL) == false); // not in the file: not known
        }
    CHECK(v->screen == 1 && v->of == RS_OF_INPUT && v->n_order == 21 && v->sort == RS_SORT_MAX_RMS);
    // The worst stands first.
    for (size_t i = 1; i < v->n_order; i++) CHECK(figure(rs_view_row_at(v, i - 1), 1, RS_FIG_MAX_RMS) >= figure(rs_view_row_at(v, i), 1, RS_FIG_MAX_RMS));
    rs_top_close(t);
    t = open_top(path, NULL, 2, 0); // the other way round
    if (t != NULL) CHECK(rs_top_view(t)->model->side[RS_OF_INPUT][0].step == 2 && rs_top_view(t)->model->side[RS_OF_INPUT][1].step == 0);
    rs_top_close(t);
    t = open_top(path, NULL, 1, 2); // step 1 has none
    if (t != NULL) CHECK(!rs_top_view(t)->model->side[RS_OF_INPUT][0].on && rs_top_view(t)->model->side[RS_OF_INPUT][1].on && rs_view_last_side(rs_top_view(t)->model, RS_OF_INPUT) == 1);
    rs_top_close(t);
}

static void test_two_files(const char *path, const char *other)
{
    rs_top *t = open_top(path, other, -1, -1);
    if (t == NULL) return;
    const rs_view_model *m = rs_top_view(t)->model;
    CHECK(m->side[RS_OF_INPUT][0].doc == 0 && m->side[RS_OF_INPUT][1].doc == 1 && m->side[RS_OF_INPUT][0].step == 2);
    size_t both = 0, one = 0;
    for (size_t i = 0; i < m->n_rows; i++)
        if (m->row[i].of == RS_OF_INPUT) m->row[i].frame[0] >= 0 && m->row[i].frame[1] >= 0 ? both++ : one++;
    CHECKF(both == 14 && one == 7, "%zu and %zu", both, one); // two layers in both, one in the first only
    rs_top_close(t);
}

static void test_keys(const char *path)
{
    rs_top *t = open_top(path, NULL, -1, -1);
    if (t == NULL) return;
    rs_view *v = rs_top_view(t);
    const rs_view_row *worst = rs_view_current(v);
    CHECK(press(v, "G") == RS_DO_NOTHING && v->cursor == 20 && press(v, "g") == RS_DO_NOTHING && v->cursor == 0);
    press(v, "jjk");
    CHECK(v->cursor == 1);
    push(v, RS_KEY_PAGE_DOWN);
    CHECK(v->cursor == 1 + (size_t)rs_view_page(v) && v->top + (size_t)rs_view_page(v) > v->cursor);
    press(v, "g\n");
    CHECK(v->screen == RS_SCREEN_TENSOR && rs_view_current(v) == worst);
    push(v, RS_KEY_RIGHT);
    CHECK(v->cursor == 1 && v->screen == RS_SCREEN_TENSOR);
    press(v, "\033");
    CHECK(v->screen == RS_SCREEN_OVERVIEW);
    press(v, "/1.down\n");
    CHECK(strcmp(rs_view_current(v)->name, "model.layers.1.mlp.down_proj.weight") == 0);
    press(v, "/q_proj\nn");
    CHECK(rs_view_current(v)->role == RS_ROLE_Q);
    const size_t second = v->cursor;
    press(v, "nN");
    CHECK(v->cursor == second);
    press(v, "/nowhere\n");
    CHECK(v->cursor == second && v->message[0] != 0);
    press(v, "\\*.down\n");
    CHECK(v->n_order == 3 && rs_view_row_at(v, 2)->role == RS_ROLE_DOWN && v->message[0] == 0);
    press(v, "\033");
    CHECK(v->n_order == 21 && v->filter[0] == 0);
    press(v, "\\mlp\x7f\x7f\x7flayers.2\n"); // typed, taken back, typed
    CHECK(v->n_order == 7 && rs_view_row_at(v, 0)->layer == 2);
    press(v, "\\x\033"); // given up
    CHECK(v->n_order == 7 && v->prompt == RS_PROMPT_NONE);
    press(v, "\033g");
    press(v, "  ");
    CHECK(rs_view_row_at(v, 0)->tagged && rs_view_row_at(v, 1)->tagged && !rs_view_row_at(v, 2)->tagged && v->cursor == 2);
    press(v, "s"); // the next column
    CHECK(v->sort == RS_SORT_KURT && v->message[0] != 0);
    press(v, "I");
    CHECK(v->inverted && figure(rs_view_row_at(v, 0), 1, RS_FIG_KURT) <= figure(rs_view_row_at(v, 20), 1, RS_FIG_KURT));
    press(v, "ssssss");
    CHECK(v->sort == RS_SORT_MAX_RMS && !v->inverted);
    press(v, "m");
    CHECK(v->of == RS_OF_WEIGHT && v->screen == RS_SCREEN_OVERVIEW && v->n_order == 21);
    press(v, "m");
    CHECK(v->of == RS_OF_ERROR && v->screen == RS_SCREEN_ERROR && v->sort == RS_SORT_SQNR);
    for (size_t i = 1; i < v->n_order; i++) CHECK(figure(rs_view_row_at(v, i - 1), 0, RS_FIG_SQNR) <= figure(rs_view_row_at(v, i), 0, RS_FIG_SQNR));
    const char *lowest = rs_view_row_at(v, 0)->name;
    press(v, "g\n");
    CHECK(v->screen == RS_SCREEN_TENSOR && v->of == RS_OF_WEIGHT && strcmp(rs_view_current(v)->name, lowest) == 0); // the same tensor, under the measure one came from
    press(v, "4t");
    CHECK(v->screen == RS_SCREEN_ERROR && v->map && v->of == RS_OF_ERROR);
    press(v, "1");
    CHECK(v->of == RS_OF_WEIGHT && v->screen == RS_SCREEN_OVERVIEW);
    press(v, "bb");
    CHECK(v->show == RS_SHOW_AFTER);
    press(v, "b");
    push(v, RS_KEY_TAB);
    push(v, RS_KEY_TAB);
    CHECK(v->screen == RS_SCREEN_ROTATION && v->show == RS_SHOW_BOTH);
    push(v, RS_KEY_BACK_TAB);
    push(v, RS_KEY_BACK_TAB);
    push(v, RS_KEY_BACK_TAB);
    CHECK(v->screen == RS_SCREEN_FILE);
    press(v, "3jj");
    CHECK(v->junction == 2);
    press(v, "=10\n]");
    CHECK(v->rank == 12);
    press(v, "}}}");
    CHECK(v->rank == FIGURES_D); // no more than there are
    press(v, "{{{[");
    CHECK(v->rank == 0);
    press(v, "=7\n");
    CHECK(v->rank == 6); // pairs
    press(v, "=-2\n=x\n=\n");
    CHECK(v->rank == 6 && v->message[0] != 0);
    press(v, "Luucz");
    CHECK(v->linear && !v->ascii && v->theme == 1 && v->paused);
    press(v, "?");
    CHECK(v->help);
    press(v, "jjx");
    CHECK(!v->help && v->screen == RS_SCREEN_ROTATION);
    CHECK(press(v, "r") == RS_DO_RELOAD && press(v, "q") == RS_DO_QUIT && rs_view_key(v, RS_KEY_F10) == RS_DO_QUIT);
    CHECK(press(v, "e\n") == RS_DO_EXPORT && strcmp(v->typed, "text") == 0);
    rs_top_close(t);
}

static void test_command(const char *path)
{
    rs_top *t = open_top(path, NULL, -1, -1);
    char want[512];
    if (t == NULL) return;
    rs_view *v = rs_top_view(t);
    press(v, "\\*.down\nsIy");
    snprintf(want, sizeof want, "rs-top --batch --screen 1 --size 80x24 --tensor '*.down' --measure input --sort -kurt --step 0,2 %s", path);
    CHECKF(strcmp(v->message, want) == 0, "%s", v->message);
    rs_top_close(t);
}

// What is unknown stands last whichever way, and NaN before all numbers.
static void test_unknown(const char *path)
{
    rs_top *t = open_top(path, NULL, -1, -1);
    if (t == NULL) return;
    rs_view *v = rs_top_view(t);
    rs_figures_set(&v->model->row[v->order[7]].fig[1], RS_FIG_KURT, NAN);
    for (int inverted = 0; inverted < 2; inverted++) {
        rs_view_sort(v, RS_SORT_KURT, inverted);
        bool unknown = false;
        for (size_t i = 0; i < v->n_order; i++) {
            const bool known = rs_figures_get(&rs_view_row_at(v, i)->fig[1], RS_FIG_KURT, NULL);
            CHECK(!(unknown && known));
            unknown = unknown || !known;
        }
        CHECK(unknown);
        double x = 0;
        size_t first = inverted ? v->n_order : 0;
        for (size_t i = 0; i < v->n_order; i++)
            if (rs_figures_get(&rs_view_row_at(v, i)->fig[1], RS_FIG_KURT, &x) && isnan(x)) first = i;
        CHECK(inverted ? first > 0 : first == 0);
    }
    rs_top_close(t);
}

static void test_computed(const char *path)
{
    rs_top *t = open_top(path, NULL, -1, -1);
    if (t == NULL) return;
    rs_view *v = rs_top_view(t);
    CHECK(v->of == RS_OF_WEIGHT && v->n_order == 16 && v->model->side[RS_OF_WEIGHT][0].computed && !v->model->side[RS_OF_WEIGHT][1].on);
    press(v, "/embed\n\n");
    rs_top_need(t);
    const rs_view_channels *c = v->channels[0];
    double max = 0, x;
    CHECK(c != NULL && c->n == FIGURES_D && c->absmax != NULL);
    for (uint64_t k = 0; c != NULL && k < c->n; k++) max = fmax(max, (double)c->absmax[k]);
    CHECK(rs_figures_get(&rs_view_current(v)->fig[0], RS_FIG_MAX, &x) && x == max && max > 0.4);
    rs_top_close(t);
}

static void test_energy(void)
{
    double sigma[4] = {2, 2, 1, 1}, none[2] = {0, 0};
    rs_view_spectrum s = {.n = 4, .sigma = sigma, .known = 4, .whole = true};
    CHECK(fabs(rs_view_energy(&s, 2) - 0.8) < 1e-15 && rs_view_energy(&s, 4) == 1 && rs_view_energy(&s, 0) == 0 && rs_view_energy(&s, 99) == 1);
    s.whole = false;
    CHECK(isnan(rs_view_energy(&s, 2)));
    s = (rs_view_spectrum){.n = 2, .sigma = none, .known = 2, .whole = true};
    CHECK(isnan(rs_view_energy(&s, 2)));
}

int main(void)
{
    const char *path = figures_path("model.rsq"), *two = figures_path("two.rsq"), *odd = figures_path("odd.rsq"), *bare;
    test_names();
    test_glob();
    test_energy();
    if (figures_file(path, &(figures_options){.layers = 3}) && figures_file(two, &(figures_options){.layers = 2}) && figures_file(odd, &(figures_options){.layers = 3, .odd = true})) {
        test_gathered(path);
        test_two_files(path, two);
        test_keys(path);
        test_command(path);
        test_unknown(odd);
    }
    bare = figures_path("bare.rsq");
    if (figures_file(bare, &(figures_options){.layers = 2, .bare = true})) test_computed(bare);
    figures_clean();
    return check_report();
}
