// SPDX-License-Identifier: Apache-2.0
// A screen as a rectangle of cells: one character, an ink and attributes each. Every sink (terminal, text, SVG, tests) draws the same buffer; nothing here knows a terminal.
#ifndef RS_INSPECT_CELLS_H
#define RS_INSPECT_CELLS_H

#include "formats/err.h"

// What a piece of text is; a theme says which colour that means. Meaning never rests on colour alone.
typedef enum rs_ink {
    RS_INK_TEXT, RS_INK_DIM, RS_INK_TITLE, RS_INK_LABEL, RS_INK_BEFORE, RS_INK_AFTER, RS_INK_GOOD, RS_INK_BAD, RS_INK_CURSOR, RS_INK_TAG, RS_INK_COUNT
} rs_ink;

#define RS_ATTR_BOLD 1u
#define RS_ATTR_REVERSE 2u
#define RS_ATTR_UNDERLINE 4u

// One place of the screen: a code point that is one column wide.
typedef struct rs_cell {
    uint32_t ch;
    uint8_t ink, attr;
} rs_cell;

#define RS_CELLS_MAX 1024 // columns, rows

typedef struct rs_cells {
    int cols, rows;
    bool ascii;    // draw with ASCII only
    rs_cell *cell; // [rows][cols]
} rs_cells;

// A buffer of blanks, 1..RS_CELLS_MAX on each side (values outside are cut to that); release with rs_cells_free, also after an error. E_NOMEM.
RS_MUST_CHECK rs_status rs_cells_init(rs_cells *c, int cols, int rows, bool ascii, rs_error *e);
void rs_cells_free(rs_cells *c);
// Makes all cells blanks.
void rs_cells_clear(rs_cells *c);

// Everything below is clipped to the buffer, so any row, column and width may be asked for. Characters that ascii forbids are replaced (rs_cells_ascii).
// Puts UTF-8 text (no control characters: rs_cells_escape comes first) into at most width cells from (row, col) on; returns the cells that it takes.
int rs_cells_put(rs_cells *c, int row, int col, int width, rs_ink ink, unsigned attr, const char *text);
// The same, formatted, at most 511 bytes; right: ends at col + width.
int rs_cells_printf(rs_cells *c, int row, int col, int width, rs_ink ink, unsigned attr, const char *fmt, ...) RS_PRINTF(7, 8);
int rs_cells_right(rs_cells *c, int row, int col, int width, rs_ink ink, unsigned attr, const char *fmt, ...) RS_PRINTF(7, 8);
// One character; a piece of one row gets an attribute (its text stays).
void rs_cells_char(rs_cells *c, int row, int col, rs_ink ink, unsigned attr, uint32_t ch);
void rs_cells_mark(rs_cells *c, int row, int col, int width, rs_ink ink, unsigned attr);
// A bar from left to right over width cells, share (cut to 0..1, NaN: none) of them full, in eighths of a cell; anything above 0 shows.
void rs_cells_bar(rs_cells *c, int row, int col, int width, rs_ink ink, double share);
// Columns of height rows whose lowest row is row: share[i] (cut to 0..1) of it full, in eighths; NaN stays blank. n values over width cells: those of one cell merge by maximum.
void rs_cells_columns(rs_cells *c, int row, int col, int width, int height, rs_ink ink, const double *share, size_t n);

// The character that stands for ch where only ASCII may be drawn; ch itself if it is ASCII.
char rs_cells_ascii(uint32_t ch);
// Row as UTF-8 without blanks at its end into out (cap bytes, cap >= 1); 4 cols + 1 are always enough. Returns its length.
size_t rs_cells_row(const rs_cells *c, int row, char *out, size_t cap);
// One character as UTF-8, 1..4 bytes, no NUL; returns their number.
int rs_cells_utf8(uint32_t ch, char out[4]);

// The one filter that every text of a file passes before it is drawn: ESC becomes \e, other control characters and broken UTF-8 \xNN for each byte, characters that are not surely one
// column wide \u{HEX}; with ascii all that is not ASCII. Copies len bytes of src (NULL reads as "") into dst (cap >= 1), cut between whole escapes; ends with NUL. Returns dst.
char *rs_cells_escape(char *dst, size_t cap, const char *src, size_t len, bool ascii);

#endif
