// SPDX-License-Identifier: Apache-2.0
// The buffer as text, and the colours of the themes.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/screen.h"

// For dark grounds, for light ones and for colour-blind eyes, and without colour.
static const struct {
    const char *sgr;
    uint32_t rgb;
} themes[RS_THEMES][RS_INK_COUNT] = {
    {{"", 0xd0d0d0}, {"2", 0x8a8a8a}, {"1", 0xffffff}, {"36", 0x5fd7d7}, {"33", 0xd7af00}, {"36", 0x00afd7}, {"32", 0x5faf5f}, {"31", 0xff5f5f}, {"1;33", 0xffd75f}, {"35", 0xd787d7}},
    {{"", 0xd0d0d0}, {"2", 0x8a8a8a}, {"1", 0xffffff}, {"34", 0x87afff}, {"33", 0xd78700}, {"34", 0x5f87ff}, {"34", 0x5f87ff}, {"1", 0xffaf00}, {"1", 0xffffff}, {"35", 0xd787d7}},
    {{"", 0xd0d0d0}, {"2", 0x8a8a8a}, {"1", 0xffffff}, {"", 0xd0d0d0}, {"", 0xa8a8a8}, {"", 0xffffff}, {"", 0xd0d0d0}, {"1", 0xffffff}, {"1", 0xffffff}, {"1", 0xffffff}},
};

const char *rs_screen_sgr(const rs_cell *cell, int theme, char out[16])
{
    const char *ink = cell->ink < RS_INK_COUNT ? themes[theme % RS_THEMES][cell->ink].sgr : "";
    const bool bold = (cell->attr & RS_ATTR_BOLD) != 0 && strncmp(ink, "1", 2) != 0 && strncmp(ink, "1;", 2) != 0;
    snprintf(out, 16, "%s%s%s%s", ink, bold ? ";1" : "", (cell->attr & RS_ATTR_UNDERLINE) != 0 ? ";4" : "", (cell->attr & RS_ATTR_REVERSE) != 0 ? ";7" : "");
    return out[0] == ';' ? out + 1 : out;
}

uint32_t rs_screen_rgb(rs_ink ink, int theme)
{
    return themes[theme % RS_THEMES][(unsigned)ink < RS_INK_COUNT ? ink : 0].rgb;
}

// One row with SGR sequences into out; returns its length.
static size_t coloured_row(const rs_cells *c, int row, int theme, char *out)
{
    char now[16] = "", text[16];
    size_t at = 0;
    int end = c->cols;
    while (end > 0 && c->cell[row * c->cols + end - 1].ch == ' ' && (c->cell[row * c->cols + end - 1].attr & ~RS_ATTR_BOLD) == 0) end--;
    for (int i = 0; i < end; i++) {
        const rs_cell *cell = &c->cell[row * c->cols + i];
        const char *sgr = rs_screen_sgr(cell, theme, text);
        if (cell->ch == ' ' && cell->attr == 0) sgr = ""; // a blank has no colour
        if (strcmp(sgr, now) != 0) {
            at += (size_t)sprintf(out + at, now[0] != 0 && sgr[0] != 0 ? "\033[0;%sm" : "\033[%sm", sgr);
            snprintf(now, sizeof now, "%s", sgr);
        }
        at += (size_t)rs_cells_utf8(cell->ch, out + at);
    }
    if (now[0] != 0) at += (size_t)sprintf(out + at, "\033[m");
    return at;
}

char *rs_screen_text(const rs_cells *c, bool colour, int theme)
{
    const size_t per_cell = colour ? 32 : 4;
    char *out = malloc((size_t)c->rows * ((size_t)c->cols * per_cell + 16) + 1);
    size_t at = 0, end = 0;
    if (out == NULL) return NULL;
    for (int row = 0; row < c->rows; row++) {
        const size_t n = colour ? coloured_row(c, row, theme, out + at) : rs_cells_row(c, row, out + at, (size_t)c->cols * 4 + 1);
        at += n;
        out[at++] = '\n';
        if (n > 0) end = at;
    }
    out[end] = 0;
    return out;
}
