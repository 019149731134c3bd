// SPDX-License-Identifier: Apache-2.0
// safetensors headers built in memory: what must be accepted, the order of the table, the number of tensors at and above its limit. Bad files: tests/golden/import.
#include "formats/safetensors.h"

#include "formats/endian.h"
#include "formats/text_buffer.h"
#include "formats/utf8.h"
#include "tests/check.h"

// Opens a file of this header and data bytes of zero.
static rs_status open_header(rs_st *s, const char *header, size_t len, size_t data, unsigned lenient, rs_error *e)
{
    uint8_t length[8];
    rs_text_buffer b = {0};
    rs_in *in;
    memset(e, 0, sizeof *e);
    rs_put_u64(length, len);
    rs_text_buffer_add(&b, (const char *)length, 8);
    rs_text_buffer_add(&b, header, len);
    for (size_t i = 0; i < data; i++) rs_text_buffer_add(&b, "", 1);
    rs_status status = b.failed ? RS_E_NOMEM : rs_in_memory(&in, b.p, b.len, e);
    if (status == RS_OK) {
        status = rs_st_open(s, in, lenient, e);
        rs_in_close(in);
    }
    free(b.p);
    return status;
}

static void takes(const char *header, size_t data, size_t n)
{
    rs_st s;
    rs_error e;
    rs_status got = open_header(&s, header, strlen(header), data, 0, &e);
    if (!CHECKF(got == RS_OK && s.n == n, "%s: %s", header, e.text)) return;
    rs_st_free(&s);
}

static void refuses(const char *header, size_t data, rs_status want, const char *part)
{
    rs_st s;
    rs_error e;
    rs_status got = open_header(&s, header, strlen(header), data, 0, &e);
    CHECKF(got == want && strstr(e.text, part) != NULL && s.tensor == NULL, "%s: %s \"%s\", wanted \"%s\"", header, rs_status_name(got), e.text, part);
}

static void accepted(void)
{
    takes("{}", 0, 0);
    takes(" \t\r\n{ } \n", 0, 0);
    takes("{\"__metadata__\":{}}", 0, 0);
    takes("{\"__metadata__\":{\"a\":\"1\",\"b\":\"\\u00e9\\ud83d\\ude00\"}}", 0, 0);
    takes("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, 1);
    takes("{\"a\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[0,0]}}", 0, 1);
    takes("{\"a\" : {\"data_offsets\" : [ 0 , 8 ] , \"shape\" : [ 4 ] , \"dtype\" : \"BF16\" } }", 8, 1);
    takes("{\"b\":{\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[1,2]},\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 2, 2);
    takes("{\"\\u0061.\\u0062\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1, 1);
}

static void refused(void)
{
    refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1, RS_E_IMPORT, "more than 8 items");
    refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[01],\"data_offsets\":[0,1]}}", 1, RS_E_IMPORT, "leading zero");
    refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[1,],\"data_offsets\":[0,1]}}", 1, RS_E_IMPORT, "integer");
    refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},}", 1, RS_E_IMPORT, "missing");
    refuses("{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, RS_E_IMPORT, "\"shape\" is missing");
    refuses("{\"a\":{}}", 0, RS_E_IMPORT, "\"dtype\" is missing");
    refuses("{} x", 0, RS_E_IMPORT, "follows");
    refuses("{", 0, RS_E_IMPORT, "missing");
    refuses("{\"a", 0, RS_E_IMPORT, "ends in a string");
    refuses("{\"\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, RS_E_IMPORT, "without a name");
    refuses("{\"a\\x\":{}}", 0, RS_E_IMPORT, "bad escape");
    refuses("{\"\\ud800\\u0041\":{}}", 0, RS_E_IMPORT, "lone surrogate");
    refuses("{\"\\udc00\":{}}", 0, RS_E_IMPORT, "lone surrogate");
    refuses("{\"a\nb\":{}}", 0, RS_E_IMPORT, "control character");
    refuses("{\"\\u0061\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, RS_E_IMPORT, "given twice");
}

static void lenient(void)
{
    static const char extra[] = "{\"a\":{\"x\":[{\"y\":[1,-2.5e3,null,\"z\"]},{}],\"dtype\":\"U8\",\"shape\":[1],\"z\":true,\"data_offsets\":[0,1]}}";
    static const char name[] = "{\"a b/\\u00e9\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}";
    rs_st s;
    rs_error e;
    if (CHECKF(open_header(&s, extra, sizeof extra - 1, 1, RS_LENIENT_ST_EXTRA_KEY, &e) == RS_OK, "%s", e.text)) {
        CHECK(s.lenient_used == RS_LENIENT_ST_EXTRA_KEY);
        rs_st_free(&s);
    }
    if (CHECKF(open_header(&s, name, sizeof name - 1, 1, RS_LENIENT_NAME_ESCAPE, &e) == RS_OK, "%s", e.text)) {
        CHECK(strcmp(s.tensor[0].name, "a%20b%2F%C3%A9") == 0 && s.tensor[0].escaped && s.lenient_used == RS_LENIENT_NAME_ESCAPE);
        rs_st_free(&s);
    }
    static const char broken[] = "{\"a\":{\"x\":[1,},\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}";
    CHECK(open_header(&s, broken, sizeof broken - 1, 1, RS_LENIENT_ST_EXTRA_KEY, &e) == RS_E_IMPORT);
}

// Tensors of no bytes, so that the header is all there is.
static void many(void)
{
    for (unsigned n = RS_MAX_TENSORS; n <= RS_MAX_TENSORS + 1; n++) {
        rs_text_buffer b = {0};
        rs_st s;
        rs_error e;
        for (unsigned i = 0; i < n; i++) rs_text_buffer_print(&b, "%c\"%x\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", i == 0 ? '{' : ',', i);
        rs_text_buffer_add(&b, "}", 1);
        rs_status got = open_header(&s, b.p, b.len, 0, 0, &e);
        CHECKF(got == (n == RS_MAX_TENSORS ? RS_OK : RS_E_LIMIT), "%u tensors: %s %s", n, rs_status_name(got), e.text);
        if (got == RS_OK) rs_st_free(&s);
        free(b.p);
    }
}

static void utf8(void)
{
    static const struct {
        const char *s;
        size_t good;
    } rows[] = {{"a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 10}, {"\xc0\x80", 0}, {"\xc1\xbf", 0}, {"\xe0\x9f\xbf", 0}, {"\xed\xa0\x80", 0}, {"\xed\x9f\xbf", 3}, {"\xf0\x8f\xbf\xbf", 0}, {"\xf4\x8f\xbf\xbf", 4},
                {"\xf4\x90\x80\x80", 0}, {"\xf5\x80\x80\x80", 0}, {"a\x80", 1}, {"ab\xe2\x82", 2}, {"\xc3(", 0}, {"\xe2\x82(", 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) CHECKF(rs_utf8_valid(rows[i].s, strlen(rows[i].s)) == rows[i].good, "row %zu", i);
}

int main(void)
{
    accepted();
    refused();
    lenient();
    many();
    utf8();
    return check_report();
}
