// SPDX-License-Identifier: Apache-2.0
// Key scripts against the screens that tests/screen keeps as text: in Unicode, in ASCII (which is what the C locale gets), and the inks that colour adds (NO_COLOR leaves the text as it is).
// UPDATE_GOLDEN=1 writes them anew (make update-golden).
#include "formats/cli.h"
#include "inspect/screen.h"
#include "inspect/top.h"
#include "tests/figures.h"

static const struct {
    const char *name, *keys;
} scripts[] = {
    {"overview", ""},          {"sorted", "ss  Gb"},  {"filtered", "\\*.down\n"}, {"searching", "/gat"}, {"tensor", "G\n"}, {"tensor-linear", "\nLsb"},
    {"rotation", "3jj}[[["},   {"error", "4"},        {"map", "4jt"},              {"file", "5"},        {"help", "?"},     {"stream", "mmmm"},
};
static const int sizes[][2] = {{60, 16}, {80, 24}, {132, 43}};

// The stretches of each row that are not plain text.
static void put_inks(FILE *out, const rs_cells *c)
{
    for (int row = 0; row < c->rows; row++) {
        bool any = false;
        for (int from = 0, to; from < c->cols; from = to) {
            char a[16], b[16], first[16];
            snprintf(first, sizeof first, "%s", rs_screen_sgr(&c->cell[row * c->cols + from], 0, a));
            for (to = from + 1; to < c->cols && strcmp(rs_screen_sgr(&c->cell[row * c->cols + to], 0, b), first) == 0;) to++;
            if (first[0] == 0) continue;
            if (any) fprintf(out, ", ");
            else fprintf(out, "%d: ", row);
            fprintf(out, "%d-%d %s", from, to - 1, first);
            any = true;
        }
        if (any) fputc('\n', out);
    }
}

static void put_screen(FILE *out, rs_view *v, bool ascii)
{
    rs_cells c;
    rs_error e = {0};
    v->ascii = ascii;
    if (!CHECK(rs_cells_init(&c, v->cols, v->rows, ascii, &e) == RS_OK)) return;
    rs_screen_render(v, &c);
    char *text = rs_screen_text(&c, false, 0);
    if (CHECK(text != NULL)) fprintf(out, "== %s\n%s", ascii ? "ascii" : "unicode", text);
    free(text);
    if (!ascii) {
        fprintf(out, "== inks\n");
        put_inks(out, &c);
    }
    rs_cells_free(&c);
}

static char *picture(const char *file, const char *keys, int cols, int rows, size_t *len)
{
    char *bytes = NULL;
    rs_top *t = NULL;
    rs_error e = {0};
    FILE *out = open_memstream(&bytes, len);
    rs_status s = rs_top_open(&t, &(rs_top_options){.file = {file}, .steps = {-1, -1}}, cols, rows, &e);
    if (s == RS_OK) s = rs_top_finish(t, false, false, NULL, NULL, &e);
    if (!CHECKF(out != NULL && s == RS_OK, "%s", e.text)) return NULL;
    for (const char *k = keys; *k != 0; k++) CHECK(rs_view_key(rs_top_view(t), *k == '\n' ? RS_KEY_ENTER : *k) == RS_DO_NOTHING);
    rs_top_need(t);
    put_screen(out, rs_top_view(t), false);
    put_screen(out, rs_top_view(t), true);
    rs_top_close(t);
    CHECK(fclose(out) == 0);
    return bytes;
}

static void compare(const char *path, const char *got, size_t got_len)
{
    char *want = NULL;
    size_t len = 0, line = 1, at = 0;
    rs_error e = {0};
    if (!CHECKF(rs_cli_slurp(path, 1 << 20, &want, &len, &e) == RS_OK, "%s: %s (make update-golden writes it)", path, e.text)) return;
    while (at < len && at < got_len && want[at] == got[at]) line += want[at++] == '\n';
    CHECKF(at == len && at == got_len, "%s: line %zu differs", path, line);
    free(want);
}

int main(void)
{
    const char *tests = getenv("T"), *update = getenv("UPDATE_GOLDEN"), *file = figures_path("model.rsq");
    if (figures_file(file, &(figures_options){.layers = 4}))
        for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++)
            for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
                char path[512];
                size_t len = 0;
                char *got = picture(file, scripts[i].keys, sizes[k][0], sizes[k][1], &len);
                snprintf(path, sizeof path, "%s/screen/%s.%dx%d", tests != NULL ? tests : "tests", scripts[i].name, sizes[k][0], sizes[k][1]);
                if (update != NULL && *update != 0 && got != NULL) {
                    FILE *f = fopen(path, "w");
                    CHECK(f != NULL && fwrite(got, 1, len, f) == len && fclose(f) == 0);
                } else if (got != NULL) compare(path, got, len);
                free(got);
            }
    figures_clean();
    return check_report();
}
