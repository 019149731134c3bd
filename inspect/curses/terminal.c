// SPDX-License-Identifier: Apache-2.0
// The terminal by ncurses: the only file that includes it.
#include "inspect/terminal.h"

#define NCURSES_WIDECHAR 1
#include <curses.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <term.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

#include "inspect/screen.h"

static struct {
    SCREEN *screen;
    FILE *in, *out;
    bool colour;
} now;

// ---- what a signal that ends the process needs; written before the handlers are set

static const int fatal[] = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGINT, SIGTERM, SIGHUP, SIGQUIT};
#define FATAL (sizeof fatal / sizeof *fatal)
static struct sigaction before[FATAL];
static struct termios saved;
static int saved_fd = -1;
static char restore[256];
static size_t restore_len;

// Gives the terminal back with calls that are safe here, then lets the signal do what it did before.
static void on_fatal(int sig)
{
    if (saved_fd >= 0) {
        ssize_t ignored = write(saved_fd, restore, restore_len);
        (void)ignored;
        tcsetattr(saved_fd, TCSANOW, &saved);
    }
    for (size_t i = 0; i < FATAL; i++)
        if (fatal[i] == sig) sigaction(sig, &before[i], NULL);
    raise(sig);
}

// Appends a capability without its delays ("$<5>").
static void add_restore(const char *capability)
{
    const char *text = tigetstr((char *)(uintptr_t)capability);
    if (text == NULL || text == (const char *)(intptr_t)-1) return;
    for (; *text != 0 && restore_len + 1 < sizeof restore; text++) {
        if (text[0] == '$' && text[1] == '<' && strchr(text, '>') != NULL) text = strchr(text, '>');
        else restore[restore_len++] = *text;
    }
}

static void catch_fatal(void)
{
    struct sigaction action = {.sa_handler = on_fatal, .sa_flags = SA_RESETHAND | SA_NODEFER};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < FATAL; i++) {
        sigaction(fatal[i], NULL, &before[i]);
        if (before[i].sa_handler != SIG_IGN) sigaction(fatal[i], &action, NULL);
    }
}

// ---- opening and closing

static void close_files(void)
{
    if (now.in != NULL) fclose(now.in);
    if (now.out != NULL) fclose(now.out);
    now.in = now.out = NULL;
}

rs_status rs_terminal_open(const rs_terminal_options *o, rs_error *e)
{
    const char *type = o->type != NULL ? o->type : getenv("TERM");
    if (type == NULL || *type == 0) return rs_fail(e, RS_USAGE, "TERM is not set");
    const int fd = open(o->path, O_WRONLY | O_CLOEXEC | O_NOCTTY); // never makes a file
    now.in = fopen(o->path, "re");
    now.out = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (fd >= 0 && now.out == NULL) close(fd);
    if (now.in != NULL && now.out != NULL) {
        saved_fd = tcgetattr(fileno(now.out), &saved) == 0 ? fileno(now.out) : -1;
        int found; // newterm would leave memory behind where the type is unknown
        if (setupterm((char *)(uintptr_t)type, fileno(now.out), &found) == OK) {
            del_curterm(cur_term);
            now.screen = newterm(type, now.out, now.in);
        }
    }
    if (now.screen == NULL) {
        const bool there = now.in != NULL && now.out != NULL;
        close_files();
        return there ? rs_fail(e, RS_USAGE, "no terminal of type %s is known", type) : rs_fail(e, RS_USAGE, "no terminal at %s", o->path);
    }
    if (tigetstr((char *)(uintptr_t)"cup") == NULL) {
        rs_terminal_close();
        return rs_fail(e, RS_USAGE, "a terminal of type %s cannot place a cursor", type);
    }
    restore_len = 0;
    if (o->mouse) add_restore("rmm");
    add_restore("sgr0");
    add_restore("cnorm");
    add_restore("rmkx");
    add_restore("rmcup");
    cbreak();
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    meta(stdscr, TRUE);
    set_escdelay(25);
    curs_set(0);
    now.colour = o->colour && has_colors();
    if (now.colour) {
        start_color();
        const int ground = use_default_colors() == OK ? -1 : COLOR_BLACK;
        for (short i = 0; i < 8; i++) init_pair((short)(i + 1), i, (short)ground);
    }
    if (o->mouse) {
        mousemask(BUTTON1_CLICKED | BUTTON1_PRESSED | BUTTON4_PRESSED | BUTTON5_PRESSED, NULL);
        mouseinterval(0);
    }
    catch_fatal();
    return RS_OK;
}

void rs_terminal_close(void)
{
    if (now.screen == NULL) return;
    curs_set(1);
    endwin();
    for (size_t i = 0; i < FATAL && restore_len > 0; i++) sigaction(fatal[i], &before[i], NULL);
    saved_fd = -1;
    delscreen(now.screen);
    now.screen = NULL;
    close_files();
}

void rs_terminal_size(int *cols, int *rows)
{
    getmaxyx(stdscr, *rows, *cols);
}

// ---- drawing

// Curses attributes of SGR parameters such as "1;33".
static attr_t attributes(const char *sgr, short *pair)
{
    attr_t a = A_NORMAL;
    *pair = 0;
    for (const char *p = sgr; *p != 0; p += *p == ';') {
        char *end;
        const long n = strtol(p, &end, 10);
        if (end == p) break;
        p = end;
        if (n == 1) a |= A_BOLD;
        if (n == 2) a |= A_DIM;
        if (n == 4) a |= A_UNDERLINE;
        if (n == 7) a |= A_REVERSE;
        if (n >= 30 && n < 38 && now.colour) *pair = (short)(n - 30 + 1);
    }
    return a;
}

void rs_terminal_draw(const rs_cells *c, int theme)
{
    int cols, rows;
    rs_terminal_size(&cols, &rows);
    for (int y = 0; y < rows && y < c->rows; y++)
        for (int x = 0; x < cols && x < c->cols; x++) {
            const rs_cell *cell = &c->cell[y * c->cols + x];
            const wchar_t text[2] = {(wchar_t)cell->ch, 0};
            char sgr[16];
            short pair;
            cchar_t cc;
            const attr_t a = attributes(rs_screen_sgr(cell, theme, sgr), &pair);
            setcchar(&cc, text, a, pair, NULL);
            mvadd_wch(y, x, &cc);
        }
    refresh();
}

// ---- keys

static int clicked(int *row, int *col)
{
    MEVENT m;
    if (getmouse(&m) != OK) return RS_KEY_NONE;
    if ((m.bstate & BUTTON4_PRESSED) != 0) return RS_KEY_UP;
    if ((m.bstate & BUTTON5_PRESSED) != 0) return RS_KEY_DOWN;
    *row = m.y;
    *col = m.x;
    return RS_KEY_CLICKED;
}

static int special(wint_t key, int *row, int *col)
{
    switch (key) {
    case KEY_UP: return RS_KEY_UP;
    case KEY_DOWN: return RS_KEY_DOWN;
    case KEY_LEFT: return RS_KEY_LEFT;
    case KEY_RIGHT: return RS_KEY_RIGHT;
    case KEY_PPAGE: return RS_KEY_PAGE_UP;
    case KEY_NPAGE: return RS_KEY_PAGE_DOWN;
    case KEY_HOME: return RS_KEY_HOME;
    case KEY_END: return RS_KEY_END;
    case KEY_BTAB: return RS_KEY_BACK_TAB;
    case KEY_ENTER: return RS_KEY_ENTER;
    case KEY_BACKSPACE: return RS_KEY_BACKSPACE;
    case KEY_F(1): return RS_KEY_F1;
    case KEY_F(4): return RS_KEY_F4;
    case KEY_F(6): return RS_KEY_F6;
    case KEY_F(10): return RS_KEY_F10;
    case KEY_RESIZE: return RS_KEY_RESIZED;
    case KEY_MOUSE: return clicked(row, col);
    default: return RS_KEY_NONE;
    }
}

int rs_terminal_key(int timeout_ms, int *row, int *col)
{
    wint_t key;
    *row = *col = 0;
    timeout(timeout_ms);
    const int kind = get_wch(&key);
    if (kind == KEY_CODE_YES) return special(key, row, col);
    if (kind == OK) return (int)key < 0x110000 ? (int)key : RS_KEY_NONE;
    // No key: after the time, after a signal, or because the terminal is gone.
    struct termios t;
    return saved_fd >= 0 && tcgetattr(saved_fd, &t) != 0 ? RS_KEY_ENDED : RS_KEY_NONE;
}
