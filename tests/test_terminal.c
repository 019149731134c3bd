// SPDX-License-Identifier: Apache-2.0
// The terminal sink where there is no terminal: on /dev/null every known type draws, an unknown one is refused with a reason, and it can be opened again after it was closed.
#include "inspect/terminal.h"

#include <locale.h>

#include "inspect/view.h"
#include "tests/check.h"

static void draw_all(void)
{
    rs_error e = {0};
    int row, col, cols, rows;
    rs_terminal_size(&cols, &rows);
    CHECKF(cols == 80 && rows == 24, "%d x %d", cols, rows);
    for (int k = 1; k < 200; k += 33) { // smaller and larger than the terminal
        rs_cells c;
        CHECK(rs_cells_init(&c, k, k / 2 + 1, false, &e) == RS_OK);
        for (int i = 0; i < c.rows; i++) rs_cells_bar(&c, i, 0, c.cols, (rs_ink)(i % RS_INK_COUNT), 0.37);
        for (int theme = 0; theme < 3; theme++) rs_terminal_draw(&c, theme);
        rs_cells_free(&c);
    }
    CHECK(rs_terminal_key(0, &row, &col) == RS_KEY_NONE);
}

int main(void)
{
    rs_error e = {0}, bad = {0};
    setlocale(LC_CTYPE, "C.UTF-8");
    setenv("LINES", "24", 1);
    setenv("COLUMNS", "80", 1);
    const rs_status first = rs_terminal_open(&(rs_terminal_options){.path = "/dev/null", .type = "xterm", .colour = true, .mouse = true}, &e);
    if (first != RS_OK && strcmp(e.text, "built without ncurses") == 0) {
        SKIP("built without ncurses");
        return check_report();
    }
    CHECKF(first == RS_OK, "%s", e.text);
    draw_all();
    rs_terminal_close();
    rs_terminal_close(); // twice is allowed
    static const char *const types[] = {"xterm-256color", "vt100", "linux", "screen"};
    size_t known = 0;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        e = (rs_error){0};
        if (rs_terminal_open(&(rs_terminal_options){.path = "/dev/null", .type = types[i], .colour = i % 2 == 0}, &e) != RS_OK) continue;
        known++;
        draw_all();
        rs_terminal_close();
    }
    CHECK(known > 0);
    CHECK(rs_terminal_open(&(rs_terminal_options){.path = "/dev/null", .type = "no-such-terminal"}, &bad) == RS_USAGE && strstr(bad.text, "no-such-terminal") != NULL);
    bad = (rs_error){0};
    CHECK(rs_terminal_open(&(rs_terminal_options){.path = "/nonexistent", .type = "xterm"}, &bad) == RS_USAGE && strstr(bad.text, "/nonexistent") != NULL);
    bad = (rs_error){0};
    CHECK(rs_terminal_open(&(rs_terminal_options){.path = "/dev/null", .type = ""}, &bad) == RS_USAGE);
    return check_report();
}
