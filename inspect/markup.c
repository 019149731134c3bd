// SPDX-License-Identifier: Apache-2.0
// Escaping, numbers and colours of SVG and HTML.
#include "inspect/markup.h"

#include <string.h>

#include "inspect/cells.h"
#include "inspect/screen_inside.h"

#define PIECE 96 // bytes that are escaped at a time

static void entities(rs_text_buffer *b, const char *s)
{
    for (const char *p = s; *p != 0; p++) {
        switch (*p) {
        case '&': rs_text_buffer_print(b, "&amp;"); break;
        case '<': rs_text_buffer_print(b, "&lt;"); break;
        case '>': rs_text_buffer_print(b, "&gt;"); break;
        case '"': rs_text_buffer_print(b, "&quot;"); break;
        case '\'': rs_text_buffer_print(b, "&#39;"); break;
        default: rs_text_buffer_add(b, p, 1);
        }
    }
}

void rs_markup_text(rs_text_buffer *b, const char *s, size_t len)
{
    char out[PIECE * 10];
    while (len > 0) {
        size_t n = len < PIECE ? len : PIECE;
        while (n < len && n > PIECE - 4 && ((unsigned char)s[n] & 0xc0) == 0x80) n--; // not within a character
        entities(b, rs_cells_escape(out, sizeof out, s, n, false));
        s += n;
        len -= n;
    }
}

void rs_markup(rs_text_buffer *b, const char *s) { rs_markup_text(b, s, strlen(s)); }

void rs_markup_number(rs_text_buffer *b, bool known, double x)
{
    char text[16];
    rs_text_buffer_print(b, "%s", known ? rs_screen_double(x, text) : "-");
}

void rs_markup_style(rs_text_buffer *b)
{
    static const char *const lines[] = {
        ".rs{--bg:#fff;--fg:#1c1c1e;--dim:#62626a;--grid:#e2e2e6;--before:#b06000;--after:#1a5fc4;--good:#1a7f37;--bad:#c22020}\n",
        "@media (prefers-color-scheme:dark){.rs{--bg:#17181c;--fg:#e6e6ea;--dim:#9c9ca6;--grid:#34363e;--before:#f0a53a;--after:#6cb0ff;--good:#57c06a;--bad:#ff7b72}}\n",
        ".rs text{font-family:sans-serif;font-size:11px;fill:var(--fg)}\n",
        ".rs .title{font-size:13px;font-weight:600}\n",
        ".rs .dim{fill:var(--dim)}.rs .end{text-anchor:end}.rs .mid{text-anchor:middle}\n",
        ".rs .bg{fill:var(--bg)}.rs .grid{stroke:var(--grid);fill:none}.rs .rule{stroke:var(--dim);stroke-dasharray:4 3;fill:none}\n",
        ".rs .before{fill:var(--before)}.rs .after{fill:var(--after)}.rs .bad{fill:var(--bad)}.rs .good{fill:var(--good)}\n",
        ".rs .ring{fill:var(--bg);stroke:var(--before);stroke-width:1.5}\n",
        ".rs .line{fill:none;stroke-width:1.2;stroke-linejoin:round}.rs .line.before{stroke:var(--before);fill:none}.rs .line.after{stroke:var(--after);fill:none}.rs .line.good{stroke:var(--good);fill:none}.rs .line.inside{stroke:var(--bg)}\n",
        ".rs .soft{opacity:.45}\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) rs_text_buffer_add(b, lines[i], strlen(lines[i]));
}
