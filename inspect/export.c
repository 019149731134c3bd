// SPDX-License-Identifier: Apache-2.0
// Formats of exports by name.
#include "inspect/export.h"

#include <stdlib.h>
#include <string.h>

static rs_status as_text(const rs_export *x, rs_text_buffer *b, rs_error *e)
{
    rs_cells c = {0};
    RS_TRY(rs_cells_init(&c, x->view->cols, x->view->rows, x->view->ascii, e));
    rs_screen_render(x->view, &c);
    char *text = rs_screen_text(&c, false, x->view->theme);
    rs_cells_free(&c);
    if (text != NULL) rs_text_buffer_add(b, text, strlen(text));
    free(text);
    return text == NULL || b->failed ? rs_fail(e, RS_E_NOMEM, "screen") : RS_OK;
}

rs_status rs_export_as(const char *format, const rs_export *x, rs_text_buffer *b, rs_error *e)
{
    static const struct {
        const char *name;
        rs_status (*write)(const rs_export *x, rs_text_buffer *b, rs_error *e);
    } list[] = {{"text", as_text}, {"csv", rs_export_csv}, {"json", rs_export_json}, {"svg", rs_export_svg}, {"html", rs_export_html}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (strcmp(format, list[i].name) == 0) return list[i].write(x, b, e);
    return rs_fail(e, RS_USAGE, "no format '%s': text, csv, json, svg and html are known", format);
}
