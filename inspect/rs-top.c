// SPDX-License-Identifier: Apache-2.0
// rs-top: shows a model, its statistics, rotations, errors and origin on a terminal, or prints them.
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/io.h"
#include "inspect/export.h"
#include "inspect/screen.h"
#include "inspect/terminal.h"
#include "inspect/top.h"
#include "inspect/top_cli.h"
#include "kernels/threads.h"

#define BATCH_COLS 100
#define BATCH_ROWS 30

static bool wants_colour(const rs_top_cli *o, bool terminal)
{
    const char *no = getenv("NO_COLOR");
    return o->colour > 0 || (o->colour == 0 && terminal && !(no != NULL && *no != 0));
}

// Rows of a picture that shows everything.
static int batch_rows(const rs_top_cli *o, const rs_view *v)
{
    size_t rows = BATCH_ROWS;
    if (o->rows > 0) return o->rows;
    if (v->screen == RS_SCREEN_OVERVIEW || v->screen == RS_SCREEN_ERROR) rows = v->n_order + 5;
    return rows < RS_VIEW_MIN_ROWS ? RS_VIEW_MIN_ROWS : rows > RS_CELLS_MAX ? RS_CELLS_MAX : (int)rows;
}

// ---- batch

// The view as text of the given size.
static rs_status render_text(const rs_top_cli *o, rs_view *v, bool colour, rs_text_buffer *b, rs_error *e)
{
    rs_cells c = {0};
    char *text = NULL;
    if (o->plain) text = rs_screen_plain(v);
    else {
        rs_view_resize(v, o->cols > 0 ? o->cols : BATCH_COLS, batch_rows(o, v));
        RS_TRY(rs_cells_init(&c, v->cols, v->rows, v->ascii, e));
        rs_screen_render(v, &c);
        text = rs_screen_text(&c, colour, v->theme);
        rs_cells_free(&c);
    }
    if (text != NULL) rs_text_buffer_add(b, text, strlen(text));
    const bool good = text != NULL && !b->failed;
    free(text);
    return good ? RS_OK : rs_fail(e, RS_E_NOMEM, "text");
}

static rs_status write_text(const char *path, const rs_text_buffer *b, rs_error *e)
{
    rs_out *out = NULL;
    rs_status s = rs_out_open(&out, path, NULL, 0, e);
    if (s == RS_OK) s = rs_out_write(out, b->p, b->len, e);
    if (s == RS_OK) s = rs_out_commit(out, e);
    rs_out_close(out);
    return s;
}

static rs_status print_text(const rs_text_buffer *b, rs_error *e)
{
    return fwrite(b->p, 1, b->len, stdout) == b->len && fflush(stdout) == 0 ? RS_OK : rs_fail(e, RS_E_WRITE, "%s", strerror(errno));
}

static rs_status render(const rs_top_cli *o, rs_top *t, rs_top_format format, bool colour, rs_text_buffer *b, rs_error *e)
{
    rs_view *v = rs_top_view(t);
    if (format == RS_TOP_TEXT) return render_text(o, v, colour, b, e);
    rs_view_resize(v, o->cols > 0 ? o->cols : BATCH_COLS, batch_rows(o, v));
    return rs_export_as(rs_top_format_name(format), &(rs_export){v, {rs_top_outline(t, 0), rs_top_outline(t, 1)}}, b, e);
}

static void on_share(void *context, double share)
{
    rs_progress_at(context, share);
}

static void on_offender(void *context, const char *line)
{
    (void)context;
    fprintf(stderr, "rs-top: %s\n", line);
}

static rs_status batch(const rs_top_cli *o, rs_top *t, bool colour, const char **file, rs_error *e)
{
    rs_view *v = rs_top_view(t);
    rs_progress progress;
    rs_text_buffer text = {0};
    const bool figures = o->screen == 0 || o->screen == RS_SCREEN_OVERVIEW || o->screen == RS_SCREEN_TENSOR;
    rs_progress_start(&progress, &o->cli, "figures of weights", "", 1);
    rs_status s = rs_top_finish(t, figures, o->screen == RS_SCREEN_FILE, on_share, &progress, e);
    rs_progress_end(&progress);
    if (s == RS_OK) s = rs_top_cli_apply(o, v, e);
    if (s == RS_OK && o->has_check) return rs_thresholds_check(&o->check, v, on_offender, NULL, e);
    if (s == RS_OK) rs_top_need(t);
    if (s == RS_OK) s = rs_top_fault(t, e);
    if (s == RS_OK) s = render(o, t, o->format, colour, &text, e);
    if (s == RS_OK) {
        s = o->cli.output != NULL ? write_text(o->cli.output, &text, e) : print_text(&text, e);
        *file = rs_cli_output(&o->cli);
    }
    free(text.p);
    return s;
}

// ---- screen

static void export_screen(const rs_top_cli *o, rs_top *t)
{
    char path[64];
    rs_view *v = rs_top_view(t);
    rs_text_buffer text = {0};
    rs_error e = {0};
    rs_top_format f;
    int n = 1;
    if (!rs_top_format_find(v->typed, &f)) {
        snprintf(v->message, sizeof v->message, "%.40s is none of text csv json svg html", v->typed);
        return;
    }
    do snprintf(path, sizeof path, "rs-top-%d.%.5s", n, f == RS_TOP_TEXT ? "txt" : v->typed);
    while (access(path, F_OK) == 0 && n++ < 1000);
    rs_top_cli as = *o;
    as.plain = false;
    as.cols = v->cols;
    as.rows = v->rows;
    rs_status s = render(&as, t, f, false, &text, &e);
    if (s == RS_OK) s = write_text(path, &text, &e);
    free(text.p);
    if (s == RS_OK) snprintf(v->message, sizeof v->message, "written: %s", path);
    else snprintf(v->message, sizeof v->message, "%s: %.150s", rs_status_name(s), e.text);
}

static rs_status draw(const rs_view *v, rs_error *e)
{
    rs_cells c = {0};
    RS_TRY(rs_cells_init(&c, v->cols, v->rows, v->ascii, e));
    rs_screen_render(v, &c);
    rs_terminal_draw(&c, v->theme);
    rs_cells_free(&c);
    return RS_OK;
}

static rs_status look(const rs_top_cli *o, rs_top *t, rs_error *e)
{
    rs_view *v = rs_top_view(t);
    bool busy = true, changed = true;
    for (;;) {
        int row, col, cols, rows;
        if (rs_top_poll(t, &busy) || changed) {
            rs_terminal_size(&cols, &rows);
            if (cols != v->cols || rows != v->rows) rs_view_resize(v, cols, rows);
            rs_top_need(t);
            RS_TRY(draw(v, e));
        }
        const int key = rs_terminal_key(busy ? 40 : -1, &row, &col);
        changed = key != RS_KEY_NONE;
        if (key == RS_KEY_ENDED) return rs_fail(e, RS_E_READ, "the terminal is gone");
        if (key == RS_KEY_CLICKED) rs_view_click(v, row, col);
        if (key == RS_KEY_NONE || key == RS_KEY_CLICKED || key == RS_KEY_RESIZED) continue;
        switch (rs_view_key(v, key)) {
        case RS_DO_QUIT: return RS_OK;
        case RS_DO_RELOAD: rs_top_reload(t); break;
        case RS_DO_EXPORT: export_screen(o, t); break;
        case RS_DO_NOTHING: break;
        }
    }
}

static rs_status interactive(const rs_top_cli *o, rs_top *t, rs_error *e)
{
    rs_view *v = rs_top_view(t);
    rs_error fault = {0};
    rs_status s = rs_top_cli_apply(o, v, e);
    if (s == RS_OK) s = look(o, t, e);
    rs_terminal_close();
    return s == RS_OK && rs_top_fault(t, &fault) != RS_OK ? rs_fail(e, fault.status, "%s", fault.text) : s;
}

static rs_status open_top(rs_top **t, const rs_top_cli *o, bool screen, bool utf8, rs_error *e)
{
    RS_TRY(rs_top_open(t, &(rs_top_options){.file = {o->file[0], o->file[1]}, .saved = o->saved, .steps = {o->steps[0], o->steps[1]}, .threads = screen}, 80, 24, e));
    rs_top_view(*t)->ascii = o->ascii || !utf8;
    return RS_OK;
}

static rs_status run(rs_top_cli *o, const char **file, rs_error *e)
{
    rs_top *t = NULL;
    rs_error no_terminal = {0};
    const char *term = getenv("TERM");
    const bool utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    if (term != NULL && strcmp(term, "dumb") == 0) o->plain = true;
    bool screen = !o->batch && !o->plain && isatty(STDOUT_FILENO);
    const bool colour = wants_colour(o, isatty(STDOUT_FILENO) && o->cli.output == NULL);
    rs_status s = open_top(&t, o, screen, utf8, e);
    if (s == RS_OK && screen && rs_terminal_open(&(rs_terminal_options){.path = "/dev/tty", .colour = colour, .mouse = !o->no_mouse}, &no_terminal) != RS_OK) {
        if (!o->cli.quiet) fprintf(stderr, "rs-top: %s; printing instead\n", no_terminal.text);
        screen = false; // the threads have read nothing that cannot be read on
    }
    if (s == RS_OK) s = screen ? interactive(o, t, e) : batch(o, t, colour, file, e);
    rs_top_close(t);
    return s;
}

int main(int argc, char **argv)
{
    rs_top_cli o;
    rs_error e = {0};
    const char *file = NULL;
    rs_cli_start();
    setlocale(LC_CTYPE, "");
    rs_status s = rs_top_cli_parse(&o, argc, argv, &e);
    if (s == RS_OK) {
        rs_threads_set(o.cli.threads);
        file = o.saved != NULL ? o.saved : o.file[1] == NULL ? o.file[0] : NULL; // of two, the text names the one
        s = run(&o, &file, &e);
    }
    return rs_cli_exit(&o.cli, s, file, &e);
}
