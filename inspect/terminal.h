// SPDX-License-Identifier: Apache-2.0
// The terminal as a sink of cells and a source of keys. Built on ncurses (inspect/curses/terminal.c), or without it (none.c), where there never is a terminal.
#ifndef RS_INSPECT_TERMINAL_H
#define RS_INSPECT_TERMINAL_H

#include "inspect/cells.h"

typedef struct rs_terminal_options {
    const char *path;  // "/dev/tty", so that data may come on standard input
    const char *type;  // NULL: $TERM
    bool colour, mouse;
} rs_terminal_options;

// What rs_terminal_key gives beside the keys of inspect/view.h.
enum { RS_KEY_NONE = 0, RS_KEY_RESIZED = 0x120000, RS_KEY_CLICKED, RS_KEY_ENDED };

// Takes over the terminal (one at a time). RS_USAGE with the reason where there is none, or none that can place a cursor. rs_terminal_close gives it back as it was; so do the signals
// that end a process, SIGSEGV and SIGABRT among them, and SIGTSTP and SIGCONT around a stop.
RS_MUST_CHECK rs_status rs_terminal_open(const rs_terminal_options *o, rs_error *e);
void rs_terminal_close(void);
void rs_terminal_size(int *cols, int *rows);
// Shows the cells in the colours of a theme.
void rs_terminal_draw(const rs_cells *c, int theme);
// The next key, waiting at most so many milliseconds (-1: for ever): RS_KEY_NONE if none came, RS_KEY_RESIZED, RS_KEY_CLICKED with the cell in *row, *col, RS_KEY_ENDED if the terminal is gone.
int rs_terminal_key(int timeout_ms, int *row, int *col);

#endif
