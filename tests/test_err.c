// SPDX-License-Identifier: Apache-2.0
// The frozen status codes and their names, the error record, escaping, checked arithmetic.
#include "formats/err.h"

#include "tests/check.h"

static void test_table(void)
{
    // Exit codes are stored in files: numbers and names never change.
    static const struct {
        int code;
        const char *name;
    } all[] = {
        {0, "ok"},       {1, "no"},         {2, "usage"},    {10, "E_MAGIC"}, {11, "E_VERSION"}, {12, "E_TRUNC"}, {13, "E_SUM"},   {14, "E_FRAME"},
        {15, "E_META"},  {16, "E_LIMIT"},   {17, "E_TENSOR"}, {18, "E_DUP"},  {19, "E_PROV"},    {20, "E_TRAIL"}, {21, "E_INDEX"}, {22, "E_VALUE"},
        {23, "E_IMPORT"}, {24, "E_ABORT"},  {30, "E_READ"},  {31, "E_WRITE"}, {32, "E_NOMEM"},   {70, "internal"},
    };
    int known = 0;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        CHECKF(strcmp(rs_status_name((rs_status)all[i].code), all[i].name) == 0, "%d is %s", all[i].code, rs_status_name((rs_status)all[i].code));
        CHECKF(strcmp(rs_status_text((rs_status)all[i].code), "unknown status") != 0, "%d has no text", all[i].code);
    }
    for (int c = 0; c < 256; c++) known += strcmp(rs_status_name((rs_status)c), "unknown") != 0;
    CHECK(known == (int)(sizeof all / sizeof all[0]));
}

static void test_record(void)
{
    rs_error e = {0};
    CHECK(rs_fail(&e, RS_E_SUM, "chunk %d", 7) == RS_E_SUM && e.status == RS_E_SUM && strcmp(e.text, "chunk 7") == 0);
    CHECK(rs_fail(&e, RS_E_META, "later") == RS_E_META && e.status == RS_E_SUM && strcmp(e.text, "chunk 7") == 0); // the first stays
    CHECK(rs_error_prefix(&e, RS_E_META, "frame %d", 3) == RS_E_SUM && strcmp(e.text, "frame 3: chunk 7") == 0);
    CHECK(rs_fail(NULL, RS_E_READ, "x") == RS_E_READ && rs_error_prefix(NULL, RS_E_READ, "x") == RS_E_READ);
    rs_error hostile = {0};
    CHECK(rs_fail(&hostile, RS_E_META, "%s", "a\nb\x1b[2J\xc3\xa9") == RS_E_META && strcmp(hostile.text, "a\\x0ab\\x1b[2J\\xc3\\xa9") == 0);
    CHECK(rs_error_prefix(&hostile, RS_E_META, "%s", "\r") == RS_E_META && strncmp(hostile.text, "\\x0d: a\\x0ab", 11) == 0);
    rs_error empty = {0};
    CHECK(rs_error_prefix(&empty, RS_E_READ, "p") == RS_E_READ && empty.status == RS_E_READ);
}

// Texts longer than the record are cut, never written over its end, and stay terminated.
static void test_long(void)
{
    static char text[4000];
    memset(text, 'x', sizeof text - 1);
    struct {
        rs_error e;
        char guard[8];
    } r = {.guard = "guarded"};
    CHECK(rs_fail(&r.e, RS_E_META, "%s", text) == RS_E_META && strlen(r.e.text) == sizeof r.e.text - 1);
    for (int i = 0; i < 3; i++) CHECK(rs_error_prefix(&r.e, RS_E_META, "where") == RS_E_META && strlen(r.e.text) < sizeof r.e.text);
    CHECK(strncmp(r.e.text, "where: where: where: xxx", 24) == 0);
    CHECK(rs_error_prefix(&r.e, RS_E_META, "%s", text) == RS_E_META && strlen(r.e.text) < sizeof r.e.text);
    memset(text, 1, sizeof text - 1);
    r.e = (rs_error){0};
    CHECK(rs_fail(&r.e, RS_E_META, "%s", text) == RS_E_META && strlen(r.e.text) < sizeof r.e.text && strcmp(r.guard, "guarded") == 0);
}

static void test_escape(void)
{
    char out[16];
    CHECK(strcmp(rs_escape(out, sizeof out, NULL, 5), "") == 0 && strcmp(rs_escape(out, sizeof out, "a\0b", 3), "a\\x00b") == 0);
    CHECK(strcmp(rs_escape(out, 1, "abc", 3), "") == 0 && strcmp(rs_escape(out, 3, "abc", 3), "ab") == 0);
    CHECK(strcmp(rs_escape(out, 4, "\n", 1), "") == 0 && strcmp(rs_escape(out, 5, "\n", 1), "\\x0a") == 0);
    for (int c = 0; c < 256; c++) {
        char in = (char)c, o[8];
        CHECKF(strlen(rs_escape(o, sizeof o, &in, 1)) == (c >= 0x20 && c < 0x7f ? 1u : 4u), "byte %d", c);
    }
}

static void test_arithmetic(void)
{
    uint64_t r = 5;
    CHECK(rs_mul_ok(UINT64_C(1) << 32, (UINT64_C(1) << 32) - 1, &r) && r == 0xffffffff00000000u);
    CHECK(!rs_mul_ok(UINT64_C(1) << 32, UINT64_C(1) << 32, &r) && r == 0xffffffff00000000u);
    CHECK(rs_mul_ok(0, UINT64_MAX, &r) && r == 0);
    CHECK(rs_add_ok(UINT64_MAX - 1, 1, &r) && r == UINT64_MAX);
    CHECK(!rs_add_ok(UINT64_MAX, 1, &r) && r == UINT64_MAX);
}

int main(void)
{
    test_table();
    test_record();
    test_long();
    test_escape();
    test_arithmetic();
    return check_report();
}
