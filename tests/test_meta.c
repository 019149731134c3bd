// SPDX-License-Identifier: Apache-2.0
// Metadata maps: round trips, every limit at and above it, every malformed kind with its class of error.
#include "formats/meta.h"

#include <math.h>
#include <stdint.h>
#include <sys/resource.h>

#include "formats/limits.h"
#include "formats/meta_scan.h"
#include "tests/check.h"

// Growing bytes.
struct bytes {
    size_t len;
    uint8_t p[2u << 20];
};
static struct bytes buf;

static void add(const void *p, size_t n)
{
    memcpy(buf.p + buf.len, p, n);
    buf.len += n;
}
static void byte(int b)
{
    buf.p[buf.len++] = (uint8_t)b;
}
static void fill(int b, size_t n)
{
    memset(buf.p + buf.len, b, n);
    buf.len += n;
}
static void be16(int first, unsigned n)
{
    byte(first);
    byte((int)(n >> 8));
    byte((int)(n & 255));
}
static void begin(void)
{
    buf.len = 0;
}

static rs_status parse(const void *p, size_t len, rs_error *e)
{
    rs_arena *a = rs_arena_new();
    rs_value *map;
    // An exact allocation, so that a sanitizer sees a read behind the end.
    uint8_t *exact = malloc(len > 0 ? len : 1);
    if (len > 0) memcpy(exact, p, len);
    rs_status s = rs_meta_parse(a, exact, len, &map, e);
    CHECK((s == RS_OK) == (map != NULL));
    if (s == RS_OK) {
        uint8_t *again;
        size_t again_len;
        CHECK(rs_meta_encode(map, &again, &again_len, NULL) == RS_OK && again_len == len && memcmp(again, exact, len) == 0);
        free(again);
    }
    if (s == RS_E_LIMIT) CHECK(rs_meta_scan(exact, len, NULL) == RS_E_LIMIT); // before the library sees it
    free(exact);
    rs_arena_free(a);
    return s;
}

// Parses hex; expects status, and word in the message (NULL: no matter).
static void hex_at(int line, const char *hex, rs_status expect, const char *word)
{
    uint8_t p[512];
    size_t n = 0;
    rs_error e = {0};
    for (const char *h = hex; *h != 0;) {
        if (*h == ' ') {
            h++;
            continue;
        }
        unsigned b;
        if (sscanf(h, "%2x", &b) != 1) break;
        p[n++] = (uint8_t)b;
        h += 2;
    }
    rs_status s = parse(p, n, &e);
    check_that(s == expect, __FILE__, line, "%s: %s instead of %s (%s)", hex, rs_status_name(s), rs_status_name(expect), e.text);
    if (word != NULL) check_that(strstr(e.text, word) != NULL, __FILE__, line, "%s: '%s' not in '%s'", hex, word, e.text);
}
#define HEX(hex, expect, word) hex_at(__LINE__, hex, expect, word)

static void buffer_at(int line, rs_status expect, const char *word)
{
    rs_error e = {0};
    rs_status s = parse(buf.p, buf.len, &e);
    check_that(s == expect, __FILE__, line, "%s instead of %s (%s)", rs_status_name(s), rs_status_name(expect), e.text);
    if (word != NULL) check_that(strstr(e.text, word) != NULL, __FILE__, line, "'%s' not in '%s'", word, e.text);
}
#define BUFFER(expect, word) buffer_at(__LINE__, expect, word)

static void test_good(void)
{
    HEX("80", RS_OK, NULL);
    HEX("81 a161 00", RS_OK, NULL);
    HEX("81 a161 ff", RS_OK, NULL);                   // -1
    HEX("81 a161 d0 80", RS_OK, NULL);                // -128
    HEX("81 a161 d3 8000000000000000", RS_OK, NULL);  // INT64_MIN
    HEX("81 a161 cf ffffffffffffffff", RS_OK, NULL);
    HEX("81 a161 c2", RS_OK, NULL);
    HEX("81 a161 c3", RS_OK, NULL);
    HEX("81 a161 cb 3ff8000000000000", RS_OK, NULL);
    HEX("81 a161 cb 0000000000000000", RS_OK, NULL);
    HEX("81 a161 cb 0000000000000001", RS_OK, NULL);  // subnormal
    HEX("81 a161 a0", RS_OK, NULL);
    HEX("81 a161 c400", RS_OK, NULL);
    HEX("81 a161 c404 00ff001b", RS_OK, NULL);
    HEX("81 a161 90", RS_OK, NULL);
    HEX("81 a161 81a1 62 93 80 90 81a16301", RS_OK, NULL);
    HEX("83 a161 01 a2 6161 02 a162 03", RS_OK, NULL); // a < aa < b
    HEX("81 a161 a7 c3a9 e282ac c3bf", RS_OK, NULL);
    HEX("81 a161 a4 f09f9880", RS_OK, NULL);
    HEX("81 a161 a4 f48fbfbf", RS_OK, NULL);           // U+10FFFF
    HEX("81 a161 a6 ed9fbf ee8080", RS_OK, NULL);      // both neighbours of the surrogates
}

static void test_form(void)
{
    HEX("", RS_E_META, NULL);
    HEX("81", RS_E_META, NULL);
    HEX("81 a1", RS_E_META, NULL);
    HEX("81 a161", RS_E_META, NULL);
    HEX("82 a161 01", RS_E_META, NULL);
    HEX("82 a161 01 a162", RS_E_META, NULL);
    HEX("81 a161 cd 01", RS_E_META, NULL);
    HEX("81 a161 a3 6161", RS_E_META, NULL);
    HEX("81 a161 c4 02 00", RS_E_META, NULL);
    HEX("81 a161 01 00", RS_E_META, "bytes after");
    HEX("80 80", RS_E_META, "bytes after");
    HEX("90", RS_E_META, "not a map");
    HEX("01", RS_E_META, "not a map");
    HEX("a0", RS_E_META, "not a map");
    HEX("81 a161 c1", RS_E_META, "c1");
    HEX("81 a161 c0", RS_E_META, "nil");
    HEX("81 a161 ca 3fc00000", RS_E_META, "float32");
    HEX("81 a161 d4 0100", RS_E_META, "extension");
    HEX("81 a161 d5 010000", RS_E_META, "extension");
    HEX("81 a161 d6 ff00000000", RS_E_META, "extension");
    HEX("81 a161 d7 ff0000000000000000", RS_E_META, "extension");
    HEX("81 a161 d8 0100000000000000000000000000000000", RS_E_META, "extension");
    HEX("81 a161 c7 0001", RS_E_META, "extension");
    HEX("81 a161 c8 000001", RS_E_META, "extension");
    HEX("81 a161 c9 0000000001", RS_E_META, "extension");
    HEX("81 a161 cb 7ff0000000000000", RS_E_META, "finite");
    HEX("81 a161 cb fff0000000000000", RS_E_META, "finite");
    HEX("81 a161 cb 7ff8000000000000", RS_E_META, "finite");
    HEX("81 a161 cb 7ff0000000000001", RS_E_META, "finite");
    HEX("81 a161 cb 8000000000000000", RS_E_META, "zero");
    // not the shortest form
    HEX("81 a161 cc 01", RS_E_META, "shortest");
    HEX("81 a161 cd 00ff", RS_E_META, "shortest");
    HEX("81 a161 ce 0000ffff", RS_E_META, "shortest");
    HEX("81 a161 cf 0000000000000001", RS_E_META, "shortest");
    HEX("81 a161 d0 01", RS_E_META, "shortest");
    HEX("81 a161 d0 ff", RS_E_META, "shortest");
    HEX("81 a161 d1 ff80", RS_E_META, "shortest");
    HEX("81 a161 d2 ffff8000", RS_E_META, "shortest");
    HEX("81 a161 d3 ffffffff80000000", RS_E_META, "shortest");
    HEX("81 a161 d3 0000000000000000", RS_E_META, "shortest");
    HEX("81 a161 d9 01 61", RS_E_META, "shortest");
    HEX("81 a161 da 0001 61", RS_E_META, "shortest");
    HEX("81 a161 db 00000001 61", RS_E_META, "shortest");
    HEX("81 a161 c5 0001 00", RS_E_META, "shortest");
    HEX("81 a161 c6 00000001 00", RS_E_META, "shortest");
    HEX("81 a161 dc 0000", RS_E_META, "shortest");
    HEX("81 a161 dd 00000000", RS_E_META, "shortest");
    HEX("81 a161 de 0000", RS_E_META, "shortest");
    HEX("de 0001 a161 01", RS_E_META, "shortest");
    HEX("df 00000001 a161 01", RS_E_META, "shortest");
    HEX("81 d901 61 01", RS_E_META, "shortest");
    HEX("81 da0001 61 01", RS_E_META, "shortest");
}

static void test_keys(void)
{
    HEX("82 a162 01 a161 01", RS_E_META, "ascending");
    HEX("82 a26161 01 a161 01", RS_E_META, "ascending");
    HEX("82 a161 01 a161 01", RS_E_DUP, "twice");
    HEX("83 a161 01 a162 01 a161 01", RS_E_META, "ascending"); // twice, but not in a row: a lesser one
    HEX("83 a162 01 a164 01 a163 01", RS_E_META, "ascending");
    HEX("82 a161 81 a162 82 a163 01 a163 02 a162 00", RS_E_DUP, "key a.b: key given twice");
    HEX("81 a0 01", RS_E_META, "key is not");
    HEX("81 a141 01", RS_E_META, "key is not");  // A
    HEX("81 a12d 01", RS_E_META, "key is not");  // -
    HEX("81 a2c3a9 01", RS_E_META, "key is not");
    HEX("81 a100 01", RS_E_META, NULL);
    HEX("81 01 01", RS_E_META, "not text");
    HEX("81 c40161 01", RS_E_META, "not text");
    HEX("81 90 01", RS_E_META, "not text");
    HEX("81 80 01", RS_E_META, "not text");
    HEX("81 a161 92 01 81 a162 93 00 00 c0", RS_E_META, "key a[1].b[2]: nil");
    for (int n = 31; n <= 33; n++) { // 32 letters are str8
        begin();
        byte(0x81);
        if (n < 32) byte(0xa0 | n);
        else byte(0xd9), byte(n);
        fill('k', (size_t)n);
        byte(1);
        BUFFER(n <= 32 ? RS_OK : RS_E_META, NULL);
    }
}

static void test_text(void)
{
    HEX("81 a161 a1 80", RS_E_META, "UTF-8");
    HEX("81 a161 a1 ff", RS_E_META, "UTF-8");
    HEX("81 a161 a1 c3", RS_E_META, "UTF-8");
    HEX("81 a161 a2 e282", RS_E_META, "UTF-8");
    HEX("81 a161 a3 f09f98", RS_E_META, "UTF-8");
    HEX("81 a161 a2 c328", RS_E_META, "UTF-8");
    HEX("81 a161 a2 c080", RS_E_META, "UTF-8"); // overlong
    HEX("81 a161 a2 c1bf", RS_E_META, "UTF-8");
    HEX("81 a161 a3 e09fbf", RS_E_META, "UTF-8");
    HEX("81 a161 a4 f08fbfbf", RS_E_META, "UTF-8");
    HEX("81 a161 a3 eda080", RS_E_META, "UTF-8"); // surrogates
    HEX("81 a161 a3 edbfbf", RS_E_META, "UTF-8");
    HEX("81 a161 a4 f4908080", RS_E_META, "UTF-8"); // above U+10FFFF
    HEX("81 a161 a4 f5808080", RS_E_META, "UTF-8");
    HEX("81 a161 a5 f888808080", RS_E_META, "UTF-8");
    for (int c = 0; c < 0xa0; c++) {
        char s[3] = {(char)c, 0, 0};
        size_t n = 1;
        if (c >= 0x80) s[0] = (char)0xc2, s[1] = (char)c, n = 2;
        bool control = c < 0x20 || c >= 0x7f;
        CHECKF((rs_meta_scan_text((uint8_t *)s, n) != NULL) == control, "U+%04X", (unsigned)c);
    }
    HEX("81 a161 a1 00", RS_E_META, "control");
    HEX("81 a161 a1 1b", RS_E_META, "control");
    HEX("81 a161 a2 c29b", RS_E_META, "control");
    HEX("81 a161 a3 e280ae", RS_E_META, "direction");
    for (unsigned c = 0x2029; c <= 0x206a; c++) {
        uint8_t s[3] = {0xe2, (uint8_t)(0x80 | ((c >> 6) & 63)), (uint8_t)(0x80 | (c & 63))};
        bool bad = (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
        CHECKF((rs_meta_scan_text(s, 3) != NULL) == bad, "U+%04X", c);
    }
    CHECK(rs_meta_scan_text(NULL, 0) == NULL);
}

// A map of n keys k00.. with the value 1.
static void map_of(unsigned n)
{
    begin();
    if (n < 16) byte((int)(0x80 | n));
    else be16(0xde, n);
    for (unsigned i = 0; i < n; i++) {
        char key[16];
        snprintf(key, sizeof key, "\xa3k%02u", i);
        add(key, 4);
        byte(1);
    }
}

// {"a": [n times 0]} and more lists of the given lengths under b, c, ...
static void lists(const unsigned *n, int count)
{
    begin();
    byte(0x80 | count);
    for (int i = 0; i < count; i++) {
        byte(0xa1);
        byte('a' + i);
        be16(0xdc, n[i]);
        fill(0, n[i]);
    }
}

static void test_limits(void)
{
    map_of(64);
    BUFFER(RS_OK, NULL);
    map_of(65);
    BUFFER(RS_E_LIMIT, "64 keys");
    lists((unsigned[]){1024}, 1);
    BUFFER(RS_OK, NULL);
    lists((unsigned[]){1025}, 1);
    BUFFER(RS_E_LIMIT, "1024 items");
    // values: 8 for the map, 8184 in the lists
    lists((unsigned[]){1024, 1024, 1024, 1024, 1024, 1024, 1024, 1016}, 8);
    BUFFER(RS_OK, NULL);
    lists((unsigned[]){1024, 1024, 1024, 1024, 1024, 1024, 1024, 1017}, 8);
    BUFFER(RS_E_LIMIT, "8192 values");
    for (unsigned n = 4096; n <= 4097; n++) {
        begin();
        add("\x81\xa1" "a", 3);
        be16(0xda, n);
        fill('x', n);
        BUFFER(n == 4096 ? RS_OK : RS_E_LIMIT, NULL);
    }
    for (int n = 64; n <= 65; n++) {
        begin();
        add("\x81\xa1" "a\xc4", 4);
        byte(n);
        fill(0, (size_t)n);
        BUFFER(n == 64 ? RS_OK : RS_E_LIMIT, NULL);
    }
    HEX("81 a161 91 91 91 01", RS_OK, NULL); // 4 levels
    HEX("81 a161 91 91 90", RS_OK, NULL);
    HEX("81 a161 91 91 91 90", RS_E_LIMIT, "levels");
    HEX("81 a161 91 91 91 80", RS_E_LIMIT, "levels");
    // 1 MiB exactly: lists of texts of 4096 bytes
    for (size_t over = 0; over < 2; over++) {
        begin();
        add("\x81\xa1" "a", 3);
        size_t rest = RS_MAX_META + over - buf.len - 3, n = rest / 4099, last = rest - n * 4099;
        be16(0xdc, (unsigned)(n + 1));
        for (size_t i = 0; i < n; i++) {
            be16(0xda, 4096);
            fill('x', 4096);
        }
        be16(0xda, (unsigned)(last - 3));
        fill('y', last - 3);
        CHECK(buf.len == RS_MAX_META + over && last > 260);
        BUFFER(over == 0 ? RS_OK : RS_E_LIMIT, NULL);
    }
}

static long peak_kib(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_maxrss;
}

static void test_bombs(void)
{
    long before = peak_kib();
    HEX("81 a161 dd ffffffff", RS_E_LIMIT, NULL);
    HEX("81 a161 df ffffffff", RS_E_LIMIT, NULL);
    HEX("dd ffffffff", RS_E_LIMIT, NULL);
    HEX("df ffffffff", RS_E_LIMIT, NULL);
    HEX("81 a161 db ffffffff", RS_E_LIMIT, NULL);
    HEX("81 a161 c6 ffffffff", RS_E_LIMIT, NULL);
    HEX("81 db ffffffff", RS_E_LIMIT, NULL);
    begin();
    fill(0x91, 1000);
    byte(1);
    BUFFER(RS_E_LIMIT, "levels");
    begin();
    add("\x81\xa1" "a", 3);
    fill(0x91, 1000);
    BUFFER(RS_E_LIMIT, "levels");
    begin(); // 1024 lists that each say 1024 items, and have them
    add("\x81\xa1" "a", 3);
    be16(0xdc, 1024);
    for (int i = 0; i < 1024; i++) {
        be16(0xdc, 1024);
        fill(0, 1024);
    }
    buf.len = RS_MAX_META;
    BUFFER(RS_E_LIMIT, "8192 values");
    HEX("81 a161 dc 0010 00000000", RS_E_META, "bytes left");
    HEX("81 a161 de 0010 a1610000", RS_E_META, "bytes left");
    HEX("81 a161 9f 00", RS_E_META, "bytes left");
    HEX("8f a161 00", RS_E_META, "bytes left");
    CHECKF(peak_kib() - before < 8192, "%ld KiB more", peak_kib() - before);
}

static void test_encode(void)
{
    rs_arena *a = rs_arena_new();
    rs_value *m = rs_value_map(a), *list = rs_value_array(a);
    uint8_t *p;
    size_t n;
    rs_error e = {0};
    CHECK(rs_map_put(a, m, "zeta", rs_value_f64(a, 0.5)) && rs_map_put(a, m, "a", rs_value_int(a, -1)) && rs_map_put(a, m, "list", list) && rs_map_put(a, m, "b", rs_value_bool(a, true)));
    CHECK(rs_array_push(a, list, rs_value_uint(a, 300)) && rs_array_push(a, list, rs_value_str(a, "x")) && rs_array_push(a, list, rs_value_bin(a, "\0\1", 2)));
    CHECK(rs_meta_encode(m, &p, &n, &e) == RS_OK);
    static const uint8_t expect[] = "\x84\xa1" "a\xff\xa1" "b\xc3\xa4" "list\x93\xcd\x01\x2c\xa1x\xc4\x02\x00\x01\xa4zeta\xcb\x3f\xe0\0\0\0\0\0";
    CHECK(n == sizeof expect && memcmp(p, expect, sizeof expect) == 0);
    rs_value *back;
    CHECK(rs_meta_parse(a, p, n, &back, &e) == RS_OK);
    CHECK(rs_map_int(back, "a", 0) == -1 && rs_map_f64(back, "zeta", 0) == 0.5 && rs_map_bool(back, "b", false));
    const rs_value *l = rs_map_get(back, "list");
    CHECK(l != NULL && l->type == RS_V_ARRAY && l->array.len == 3 && l->array.item[0]->u == 300 && l->array.item[2]->str.len == 2);
    CHECK(l != NULL && strcmp(l->array.item[1]->str.p, "x") == 0);
    free(p);

    // What may not be read may not be written.
    struct {
        rs_value *value;
        rs_status status;
    } bad[] = {
        {rs_value_f64(a, NAN), RS_E_META}, {rs_value_f64(a, -INFINITY), RS_E_META}, {rs_value_f64(a, -0.0), RS_E_META}, {rs_value_str(a, "\x1b[2J"), RS_E_META},
        {rs_value_str(a, "\xff"), RS_E_META}, {rs_value_bin(a, buf.p, 65), RS_E_LIMIT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        rs_value *one = rs_value_map(a);
        CHECK(rs_map_put(a, one, "k", bad[i].value));
        CHECKF(rs_meta_encode(one, &p, &n, NULL) == bad[i].status && p == NULL, "value %zu", i);
    }
    rs_value *deep = rs_value_map(a), *at = deep;
    for (int d = 2; d <= 5; d++) {
        rs_value *next = rs_value_map(a);
        CHECK(rs_map_put(a, at, "m", next));
        at = next;
        CHECKF(rs_meta_encode(deep, &p, &n, NULL) == (d <= 4 ? RS_OK : RS_E_LIMIT), "%d levels", d);
        free(p);
    }
    rs_value *wide = rs_value_map(a), *many = rs_value_map(a), *items = rs_value_array(a);
    for (int i = 0; i < 65; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%d", 64 - i);
        CHECK(rs_map_put(a, wide, key, rs_value_bool(a, false)));
        CHECKF(rs_meta_encode(wide, &p, &n, NULL) == (i < 64 ? RS_OK : RS_E_LIMIT), "%d keys", i + 1);
        free(p);
    }
    CHECK(rs_map_put(a, many, "items", items));
    for (int i = 0; i < 1025; i++) CHECK(rs_array_push(a, items, rs_value_uint(a, 0)));
    CHECK(rs_meta_encode(many, &p, &n, NULL) == RS_E_LIMIT);
    items->array.len--;
    CHECK(rs_meta_encode(many, &p, &n, NULL) == RS_OK);
    free(p);
    CHECK(rs_meta_encode(items, &p, &n, NULL) == RS_E_META);
    CHECK(rs_meta_encode(NULL, &p, &n, NULL) == RS_E_NOMEM);
    rs_value *key = rs_value_map(a);
    CHECK(rs_map_put(a, key, "Key", rs_value_bool(a, true)) && rs_meta_encode(key, &p, &n, NULL) == RS_E_META);
    rs_arena_free(a);
}

// Every single-byte change of a good map is either rejected or another canonical map (parse() checks that it encodes to the same bytes).
static void test_mutations(void)
{
    static const uint8_t good[] = "\x84\xa1" "a\xff\xa1" "b\xc3\xa4" "list\x93\xcd\x01\x2c\xa1x\xc4\x02\x00\x01\xa4zeta\xcb\x3f\xe0\0\0\0\0\0";
    int accepted = 0;
    for (size_t i = 0; i < sizeof good; i++) {
        for (int v = 0; v < 256; v++) {
            uint8_t m[sizeof good];
            memcpy(m, good, sizeof good);
            m[i] = (uint8_t)v;
            accepted += parse(m, sizeof m, NULL) == RS_OK;
        }
        CHECKF(parse(good, i, NULL) == RS_E_META, "cut at %zu", i);
    }
    CHECK(accepted > (int)sizeof good);
}

int main(void)
{
    test_good();
    test_form();
    test_keys();
    test_text();
    test_bombs(); // before the limits, which use memory of their own
    test_limits();
    test_encode();
    test_mutations();
    return check_report();
}
