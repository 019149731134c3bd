// SPDX-License-Identifier: Apache-2.0
// The cell buffer: what is put lies where it was asked for and nowhere else; bars in eighths; the ASCII fallback; the filter for foreign text.
#include "inspect/cells.h"
#include "tests/check.h"

static const char *row(const rs_cells *c, int r)
{
    static char text[4 * RS_CELLS_MAX + 1];
    rs_cells_row(c, r, text, sizeof text);
    return text;
}

static rs_cells cells(int cols, int rows, bool ascii)
{
    rs_cells c;
    rs_error e = {0};
    CHECKF(rs_cells_init(&c, cols, rows, ascii, &e) == RS_OK, "%s", e.text);
    return c;
}

static void test_put(void)
{
    rs_cells c = cells(8, 3, false);
    CHECK(rs_cells_put(&c, 0, 2, 20, RS_INK_TEXT, 0, "abcdefghij") == 10); // what it would take
    CHECK(strcmp(row(&c, 0), "  abcdef") == 0);
    CHECK(rs_cells_put(&c, 1, -2, 5, RS_INK_TEXT, 0, "uvwxyz") == 5);
    CHECK(strcmp(row(&c, 1), "wxy") == 0);
    CHECK(rs_cells_put(&c, 7, 0, 5, RS_INK_TEXT, 0, "no") == 2);
    rs_cells_right(&c, 2, 0, 8, RS_INK_TEXT, 0, "%d", 42);
    CHECK(strcmp(row(&c, 2), "      42") == 0);
    rs_cells_right(&c, 2, 0, 3, RS_INK_TEXT, 0, "12345"); // cut at the width
    CHECK(strcmp(row(&c, 2), "123   42") == 0);
    rs_cells_clear(&c);
    CHECK(row(&c, 0)[0] == 0 && row(&c, 2)[0] == 0);
    rs_cells_put(&c, 0, 0, 8, RS_INK_TEXT, 0, "a\tb\xff\xc3\xa4");
    CHECK(strcmp(row(&c, 0), "a?b\xef\xbf\xbd\xc3\xa4") == 0); // a control character and a broken byte never reach the terminal
    rs_cells_mark(&c, 0, 1, 200, RS_INK_BAD, RS_ATTR_BOLD);
    CHECK(c.cell[1].ink == RS_INK_BAD && c.cell[1].attr == RS_ATTR_BOLD && c.cell[0].ink == RS_INK_TEXT && c.cell[1].ch == '?');
    rs_cells_free(&c);
}

static void test_bars(void)
{
    static const struct {
        double share;
        const char *unicode, *ascii;
    } list[] = {{0, "", ""}, {1, "████", "####"}, {0.5, "██", "##"}, {0.40625, "█▋", "#="}, {0.001, "▏", "-"}, {2, "████", "####"}, {-1, "", ""}, {NAN, "", ""}, {INFINITY, "████", "####"}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        for (int ascii = 0; ascii < 2; ascii++) {
            rs_cells c = cells(6, 1, ascii);
            rs_cells_bar(&c, 0, 0, 4, RS_INK_TEXT, list[i].share);
            CHECKF(strcmp(row(&c, 0), ascii ? list[i].ascii : list[i].unicode) == 0, "share %g: %s", list[i].share, row(&c, 0));
            rs_cells_free(&c);
        }
}

static void test_columns(void)
{
    const double few[] = {0, 0.125, 0.5, 1, NAN, 0.001}, many[] = {0.1, 1, 0.1, 0.1, 0.1, 0.1, 0.5, 0.1};
    rs_cells c = cells(8, 2, false);
    rs_cells_columns(&c, 1, 0, 6, 2, RS_INK_TEXT, few, 6);
    CHECKF(strcmp(row(&c, 1), " ▂██ ▁") == 0, "%s", row(&c, 1));
    CHECKF(strcmp(row(&c, 0), "   █") == 0, "%s", row(&c, 0));
    rs_cells_clear(&c);
    rs_cells_columns(&c, 0, 0, 4, 1, RS_INK_TEXT, many, 8); // two to a column: the larger one stays
    CHECKF(strcmp(row(&c, 0), "█▁▁▄") == 0, "%s", row(&c, 0));
    rs_cells_clear(&c);
    rs_cells_columns(&c, 0, 0, 8, 1, RS_INK_TEXT, few, 4); // two columns to a value
    CHECKF(strcmp(row(&c, 0), "  ▁▁▄▄██") == 0, "%s", row(&c, 0));
    rs_cells_columns(&c, 0, 0, 8, 1, RS_INK_TEXT, few, 0);
    rs_cells_free(&c);
}

static void test_ascii(void)
{
    rs_cells c = cells(200, 1, true);
    rs_cells_put(&c, 0, 0, 200, RS_INK_TEXT, 0, "▁▂▃▄▅▆▇█▉▊▋▌▍▎▏▕│┊─·×σθ░▒▓…äж");
    for (int i = 0; i < c.cols; i++) CHECKF(c.cell[i].ch >= 32 && c.cell[i].ch < 127, "cell %d: %x", i, (unsigned)c.cell[i].ch);
    CHECKF(strcmp(row(&c, 0), "..::-=+#====|||||:-.xst.:%.??") == 0, "%s", row(&c, 0));
    rs_cells_free(&c);
}

static void test_escape(void)
{
    static const struct {
        const char *from, *unicode, *ascii;
    } list[] = {
        {"model.rsq", "model.rsq", "model.rsq"},
        {"\033[2J", "\\e[2J", "\\e[2J"},
        {"a\nb\r\t\x7f\x01", "a\\x0ab\\x0d\\x09\\x7f\\x01", "a\\x0ab\\x0d\\x09\\x7f\\x01"},
        {"\xc2\x9b" "31m", "\\x9b31m", "\\x9b31m"},         // a C1 control
        {"\xff\xc3", "\\xff\\xc3", "\\xff\\xc3"},           // no UTF-8
        {"Größe", "Größe", "Gr\\u{f6}\\u{df}e"},
        {"模型", "\\u{6a21}\\u{578b}", "\\u{6a21}\\u{578b}"}, // two columns wide
        {"e\xcc\x81", "e\\u{301}", "e\\u{301}"},             // a combining mark
        {"\xe2\x80\xae", "\\u{202e}", "\\u{202e}"},          // right to left
        {"", "", ""},
    };
    char out[128];
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        CHECKF(strcmp(rs_cells_escape(out, sizeof out, list[i].from, strlen(list[i].from), false), list[i].unicode) == 0, "%zu: %s", i, out);
        CHECKF(strcmp(rs_cells_escape(out, sizeof out, list[i].from, strlen(list[i].from), true), list[i].ascii) == 0, "%zu: %s", i, out);
    }
    CHECK(strcmp(rs_cells_escape(out, 5, "ab\033c", 4, true), "ab\\e") == 0);
    CHECK(strcmp(rs_cells_escape(out, 4, "ab\033c", 4, true), "ab") == 0); // never half an escape
    CHECK(strcmp(rs_cells_escape(out, 1, "ab", 2, true), "") == 0);
    CHECK(strcmp(rs_cells_escape(out, 9, NULL, 7, true), "") == 0);
    char byte = 'x';
    for (int b = 0; b < 256; b++) {
        byte = (char)b;
        for (const char *p = rs_cells_escape(out, sizeof out, &byte, 1, true); *p != 0; p++) CHECKF(*p >= 32 && *p < 127, "byte %d", b);
    }
}

static void test_sizes(void)
{
    rs_cells c = cells(-5, 1000000, false);
    CHECK(c.cols == 1 && c.rows == RS_CELLS_MAX);
    rs_cells_free(&c);
    rs_cells_free(&c); // twice is allowed
}

int main(void)
{
    test_put();
    test_bars();
    test_columns();
    test_ascii();
    test_escape();
    test_sizes();
    return check_report();
}
