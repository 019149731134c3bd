// SPDX-License-Identifier: Apache-2.0
// Twin of terminal.c for builds without ncurses: there is never a terminal, and everything is printed as with --batch.
#include "inspect/terminal.h"

rs_status rs_terminal_open(const rs_terminal_options *o, rs_error *e)
{
    (void)o;
    return rs_fail(e, RS_USAGE, "built without ncurses");
}

void rs_terminal_close(void) {}

void rs_terminal_size(int *cols, int *rows)
{
    *cols = 80;
    *rows = 24;
}

void rs_terminal_draw(const rs_cells *c, int theme)
{
    (void)c;
    (void)theme;
}

int rs_terminal_key(int timeout_ms, int *row, int *col)
{
    (void)timeout_ms;
    *row = *col = 0;
    return RS_KEY_ENDED;
}
