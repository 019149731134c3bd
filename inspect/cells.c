// SPDX-License-Identifier: Apache-2.0
// The cell buffer: text, bars and columns clipped to a rectangle, the ASCII fallback, and the filter for foreign text.
#include "inspect/cells.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/utf8.h"

#define FULL 0x2588u // a full block; the seven lower eighths stand before it, the seven left eighths behind it
#define LOWER(n) (0x2580u + (uint32_t)(n))
#define LEFT(n) (0x2590u - (uint32_t)(n))

static int clamp(int x, int lo, int hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

rs_status rs_cells_init(rs_cells *c, int cols, int rows, bool ascii, rs_error *e)
{
    *c = (rs_cells){.cols = clamp(cols, 1, RS_CELLS_MAX), .rows = clamp(rows, 1, RS_CELLS_MAX), .ascii = ascii};
    c->cell = calloc((size_t)c->cols * (size_t)c->rows, sizeof *c->cell);
    if (c->cell == NULL) return rs_fail(e, RS_E_NOMEM, "a screen of %d x %d cells", c->cols, c->rows);
    rs_cells_clear(c);
    return RS_OK;
}

void rs_cells_free(rs_cells *c)
{
    free(c->cell);
    *c = (rs_cells){0};
}

void rs_cells_clear(rs_cells *c)
{
    for (size_t i = 0; i < (size_t)c->cols * (size_t)c->rows; i++) c->cell[i] = (rs_cell){.ch = ' '};
}

char rs_cells_ascii(uint32_t ch)
{
    static const struct {
        uint32_t ch;
        char to;
    } table[] = {{0x00b7, '.'}, {0x2026, '.'}, {0x2191, '^'}, {0x2193, 'v'}, {0x2500, '-'}, {0x2591, '.'}, {0x2592, ':'}, {0x2593, '%'}, {0x2502, '|'}, {0x250a, ':'}, {0x253c, '+'}, {0x2595, '|'}, {0x03c3, 's'}, {0x03b8, 't'}, {0x00d7, 'x'}};
    static const char eighths[] = "..::-=+#"; // of a lower block
    if (ch < 0x80) return (char)ch;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].ch == ch) return table[i].to;
    if (ch >= LOWER(1) && ch <= FULL) return eighths[ch - LOWER(1)];
    if (ch > FULL && ch <= LEFT(1)) return ch <= LEFT(4) ? '=' : '|';
    return '?';
}

void rs_cells_char(rs_cells *c, int row, int col, rs_ink ink, unsigned attr, uint32_t ch)
{
    if (row < 0 || row >= c->rows || col < 0 || col >= c->cols) return;
    c->cell[row * c->cols + col] = (rs_cell){.ch = c->ascii ? (uint32_t)(unsigned char)rs_cells_ascii(ch) : ch, .ink = (uint8_t)ink, .attr = (uint8_t)attr};
}

// Code point at *p, which moves on; text is valid UTF-8, anything else gives U+FFFD byte by byte.
static uint32_t decode(const char **p)
{
    const unsigned char *s = (const unsigned char *)*p;
    int n = *s < 0x80 ? 1 : *s >= 0xf0 ? 4 : *s >= 0xe0 ? 3 : 2;
    size_t have = strnlen(*p, (size_t)n);
    if (n > 1 && (have < (size_t)n || rs_utf8_valid(*p, (size_t)n) != (size_t)n)) {
        ++*p;
        return 0xfffd;
    }
    uint32_t ch = n == 1 ? *s : (uint32_t)(*s & (0xff >> (n + 1)));
    for (int i = 1; i < n; i++) ch = ch << 6 | (s[i] & 0x3f);
    *p += n;
    return ch;
}

int rs_cells_put(rs_cells *c, int row, int col, int width, rs_ink ink, unsigned attr, const char *text)
{
    int n = 0;
    for (const char *p = text; *p != 0 && n < width; n++) {
        uint32_t ch = decode(&p);
        rs_cells_char(c, row, col + n, ink, attr, ch < ' ' || ch == 0x7f ? '?' : ch);
    }
    return n;
}

static int length(const char *text)
{
    int n = 0;
    for (const char *p = text; *p != 0; n++) (void)decode(&p);
    return n;
}

int rs_cells_printf(rs_cells *c, int row, int col, int width, rs_ink ink, unsigned attr, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return rs_cells_put(c, row, col, width, ink, attr, text);
}

int rs_cells_right(rs_cells *c, int row, int col, int width, rs_ink ink, unsigned attr, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    int n = length(text), skip = n < width ? width - n : 0;
    return rs_cells_put(c, row, col + skip, width - skip, ink, attr, text);
}

void rs_cells_mark(rs_cells *c, int row, int col, int width, rs_ink ink, unsigned attr)
{
    for (int i = col; i < col + width; i++) {
        if (row < 0 || row >= c->rows || i < 0 || i >= c->cols) continue;
        rs_cell *p = &c->cell[row * c->cols + i];
        if (ink != RS_INK_TEXT) p->ink = (uint8_t)ink;
        p->attr |= (uint8_t)attr;
    }
}

// Eighths of units that a share fills; 1 at least where there is anything.
static int eighths(double share, int units)
{
    if (isnan(share) || !(share > 0) || units <= 0) return 0;
    int n = (int)((share < 1 ? share : 1) * 8 * units + 0.5);
    return n > 0 ? n : 1;
}

void rs_cells_bar(rs_cells *c, int row, int col, int width, rs_ink ink, double share)
{
    int n = eighths(share, width);
    for (int i = 0; i < width && n > 0; i++, n -= 8) {
        if (c->ascii && n < 8) rs_cells_char(c, row, col + i, ink, 0, n >= 4 ? '=' : '-');
        else rs_cells_char(c, row, col + i, ink, 0, n >= 8 ? FULL : LEFT(n));
    }
}

void rs_cells_columns(rs_cells *c, int row, int col, int width, int height, rs_ink ink, const double *share, size_t n)
{
    for (int i = 0; i < width; i++) {
        // Values of this column: at least one, so that a short list is drawn wide.
        size_t from = (size_t)((double)n * i / width), to = (size_t)((double)n * (i + 1) / width);
        double most = NAN;
        if (to <= from) to = from + 1;
        for (size_t k = from; k < to && k < n; k++)
            if (!isnan(share[k]) && !(share[k] <= most)) most = share[k];
        for (int h = 0, left = eighths(most, height); h < height && left > 0; h++, left -= 8) rs_cells_char(c, row - h, col + i, ink, 0, left >= 8 ? FULL : LOWER(left));
    }
}

int rs_cells_utf8(uint32_t ch, char out[4])
{
    if (ch < 0x80) {
        out[0] = (char)ch;
        return 1;
    }
    int n = ch < 0x800 ? 2 : ch < 0x10000 ? 3 : 4;
    for (int i = n - 1; i > 0; i--, ch >>= 6) out[i] = (char)(0x80 | (ch & 0x3f));
    out[0] = (char)((0xf00 >> n & 0xff) | ch);
    return n;
}

size_t rs_cells_row(const rs_cells *c, int row, char *out, size_t cap)
{
    size_t len = 0;
    int end = row >= 0 && row < c->rows ? c->cols : 0;
    while (end > 0 && c->cell[row * c->cols + end - 1].ch == ' ') end--;
    for (int i = 0; i < end; i++) {
        char bytes[4];
        size_t n = (size_t)rs_cells_utf8(c->cell[row * c->cols + i].ch, bytes);
        if (len + n >= cap) break;
        memcpy(out + len, bytes, n);
        len += n;
    }
    out[len] = 0;
    return len;
}

// Letters that every terminal draws in one column: Latin, Greek, Cyrillic without combining marks.
static bool narrow(uint32_t ch)
{
    return (ch >= 0xa1 && ch <= 0x2ff && ch != 0xad) || (ch >= 0x370 && ch <= 0x482) || (ch >= 0x48a && ch <= 0x52f);
}

char *rs_cells_escape(char *dst, size_t cap, const char *src, size_t len, bool ascii)
{
    size_t at = 0;
    if (src == NULL) len = 0;
    for (size_t i = 0; i < len;) {
        unsigned char b = (unsigned char)src[i];
        char piece[16];
        int n = 1;
        size_t bytes = b < 0x80 ? 1 : b >= 0xf0 ? 4 : b >= 0xe0 ? 3 : 2;
        if (b >= 0x20 && b < 0x7f) {
            piece[0] = (char)b;
        } else if (b == 0x1b) {
            n = snprintf(piece, sizeof piece, "\\e");
        } else if (b < 0x80 || bytes > len - i || rs_utf8_valid(src + i, bytes) != bytes) {
            bytes = 1;
            n = snprintf(piece, sizeof piece, "\\x%02x", b);
        } else {
            char text[5] = {0};
            memcpy(text, src + i, bytes);
            const char *p = text;
            uint32_t ch = decode(&p);
            n = ch < 0xa0 ? snprintf(piece, sizeof piece, "\\x%02x", (unsigned)ch) : narrow(ch) && !ascii ? snprintf(piece, sizeof piece, "%s", text) : snprintf(piece, sizeof piece, "\\u{%x}", (unsigned)ch);
        }
        if (at + (size_t)n >= cap) break;
        memcpy(dst + at, piece, (size_t)n);
        at += (size_t)n;
        i += bytes;
    }
    dst[at] = 0;
    return dst;
}
