// SPDX-License-Identifier: Apache-2.0
// GGUF headers built in memory: growth of the read buffer, counts at and above their limits, typed access; block values worked out by hand; texts.
#include "formats/gguf.h"

#include <math.h>

#include "formats/endian.h"
#include "formats/text_buffer.h"
#include "tests/check.h"

typedef rs_text_buffer bytes;

static void u32(bytes *b, uint32_t v)
{
    uint8_t p[4];
    rs_put_u32(p, v);
    rs_text_buffer_add(b, (const char *)p, 4);
}

static void u64(bytes *b, uint64_t v)
{
    u32(b, (uint32_t)v);
    u32(b, (uint32_t)(v >> 32));
}

static void text(bytes *b, const char *s)
{
    u64(b, strlen(s));
    rs_text_buffer_add(b, s, strlen(s));
}

static void start(bytes *b, uint64_t n_tensors, uint64_t n_kv)
{
    rs_text_buffer_add(b, "GGUF", 4);
    u32(b, 3);
    u64(b, n_tensors);
    u64(b, n_kv);
}

static void key(bytes *b, const char *name, rs_gguf_kind kind)
{
    text(b, name);
    u32(b, kind);
}

static rs_status open_bytes(rs_gguf *g, const bytes *b, rs_error *e)
{
    rs_in *in;
    memset(e, 0, sizeof *e);
    if (!CHECK(!b->failed && rs_in_memory(&in, b->p, b->len, e) == RS_OK)) return RS_E_INTERNAL;
    rs_status s = rs_gguf_open(g, in, 0, e);
    rs_in_close(in);
    return s;
}

// A header longer than the first piece that is read, so that it is parsed more than once.
static void long_header(void)
{
    const uint32_t n = 100000;
    bytes b = {0};
    rs_gguf g;
    rs_error e;
    start(&b, 0, 2);
    key(&b, "z", RS_GGUF_ARRAY);
    u32(&b, RS_GGUF_STRING);
    u64(&b, n);
    for (uint32_t i = 0; i < n; i++) {
        char s[16];
        snprintf(s, sizeof s, "%u", (unsigned)i);
        text(&b, s);
    }
    key(&b, "a", RS_GGUF_U16);
    rs_text_buffer_add(&b, "\x34\x12", 2);
    if (!CHECK(open_bytes(&g, &b, &e) == RS_OK)) return;
    uint64_t v = 0;
    const rs_gguf_kv *kv = NULL;
    CHECK(rs_gguf_uint(&g, "a", 0, 65535, 0, &v, &e) == RS_OK && v == 0x1234);
    CHECK(rs_gguf_array(&g, "z", RS_GGUF_STRING, &kv, &e) == RS_OK && kv->n == n);
    const uint8_t *at = kv->data;
    rs_gguf_text t = {0};
    for (uint32_t i = 0; i < n; i++) t = rs_gguf_next_string(&at);
    CHECK(t.len == 5 && memcmp(t.p, "99999", 5) == 0);
    rs_gguf_free(&g);
    b.len -= 3;
    CHECK(open_bytes(&g, &b, &e) == RS_E_IMPORT);
    free(b.p);
}

static void access_by_type(void)
{
    bytes b = {0};
    rs_gguf g;
    rs_error e;
    start(&b, 0, 6);
    key(&b, "i", RS_GGUF_I32), u32(&b, (uint32_t)-7);
    key(&b, "f", RS_GGUF_F32), u32(&b, 0x3fc00000);
    key(&b, "d", RS_GGUF_F64), u64(&b, 0x3ff8000000000000);
    key(&b, "inf", RS_GGUF_F32), u32(&b, 0x7f800000);
    key(&b, "s", RS_GGUF_STRING), text(&b, "h\xc3\xa9");
    key(&b, "bad", RS_GGUF_STRING), text(&b, "\xe9");
    if (!CHECK(open_bytes(&g, &b, &e) == RS_OK)) return;
    uint64_t u;
    double d;
    bool truth;
    rs_gguf_text t;
    const rs_gguf_kv *kv;
    CHECK(rs_gguf_uint(&g, "i", 0, 9, 0, &u, &e) == RS_E_IMPORT && strstr(e.text, "-7 is not in 0..9") != NULL);
    CHECK(rs_gguf_uint(&g, "f", 0, 9, 0, &u, NULL) == RS_E_IMPORT);
    CHECK(rs_gguf_uint(&g, "none", 1, 9, 4, &u, NULL) == RS_OK && u == 4);
    CHECK(rs_gguf_uint(&g, "none", 1, 9, 0, &u, NULL) == RS_E_IMPORT);
    CHECK(rs_gguf_number(&g, "f", 0, &d, NULL) == RS_OK && d == 1.5);
    CHECK(rs_gguf_number(&g, "d", 0, &d, NULL) == RS_OK && d == 1.5);
    CHECK(rs_gguf_number(&g, "inf", 0, &d, NULL) == RS_E_IMPORT);
    CHECK(rs_gguf_number(&g, "none", NAN, &d, NULL) == RS_E_IMPORT);
    CHECK(rs_gguf_bool(&g, "f", true, &truth, NULL) == RS_E_IMPORT);
    CHECK(rs_gguf_bool(&g, "none", true, &truth, NULL) == RS_OK && truth);
    CHECK(rs_gguf_string(&g, "s", &t, NULL) == RS_OK && t.len == 3);
    CHECK(rs_gguf_string(&g, "none", &t, NULL) == RS_OK && t.p == NULL);
    CHECK(rs_gguf_string(&g, "bad", &t, NULL) == RS_E_IMPORT);
    CHECK(rs_gguf_array(&g, "s", RS_GGUF_STRING, &kv, NULL) == RS_E_IMPORT);
    rs_gguf_free(&g);
    free(b.p);
}

static void counts(void)
{
    for (uint64_t n = RS_GGUF_MAX_KV; n <= RS_GGUF_MAX_KV + 1; n++) {
        bytes b = {0};
        rs_gguf g;
        rs_error e;
        start(&b, 0, n);
        for (uint64_t i = 0; i < n; i++) {
            char s[16];
            snprintf(s, sizeof s, "%u", (unsigned)i);
            key(&b, s, RS_GGUF_U8);
            rs_text_buffer_add(&b, "", 1);
        }
        rs_status got = open_bytes(&g, &b, &e);
        CHECKF(got == (n == RS_GGUF_MAX_KV ? RS_OK : RS_E_LIMIT), "%llu keys: %s", (unsigned long long)n, e.text);
        if (got == RS_OK) rs_gguf_free(&g);
        free(b.p);
    }
}

// One block of a type: d = 2 (and m = 1 or dmin = 0.5), codes set by hand; the values follow from the drawing.
static void blocks(void)
{
    uint8_t q[256] = {0};
    float out[256];
    const rs_gguf_type *t = rs_gguf_type_row(3); // Q4_1
    q[1] = 0x40, q[3] = 0x3c, q[4] = 0xa1;       // d 2, m 1; elements 0 and 16: 1 and 10
    rs_gguf_type_values(t, q, 1, out);
    CHECK(out[0] == 3 && out[16] == 21 && out[1] == 1 && out[31] == 1);

    memset(q, 0, sizeof q);
    t = rs_gguf_type_row(2); // Q4_0
    q[1] = 0x40, q[2] = 0xf0;
    rs_gguf_type_values(t, q, 1, out);
    CHECK(out[0] == -16 && out[16] == 14 && out[5] == -16);

    memset(q, 0, sizeof q);
    t = rs_gguf_type_row(6);         // Q5_0
    q[1] = 0x40, q[2 + 2] = 1, q[6] = 0x21; // bit 16: fifth bit of element 16
    rs_gguf_type_values(t, q, 1, out);
    CHECK(out[0] == -30 && out[16] == 4 && out[1] == -32);

    memset(q, 0, sizeof q);
    t = rs_gguf_type_row(7); // Q5_1
    q[1] = 0x40, q[3] = 0x3c, q[4] = 1, q[8] = 0x0f;
    rs_gguf_type_values(t, q, 1, out);
    CHECK(out[0] == 63 && out[16] == 1);

    memset(q, 0, sizeof q);
    t = rs_gguf_type_row(8); // Q8_0, d = -2^-24, the smallest subnormal
    q[0] = 0x01, q[1] = 0x80, q[2] = 0x80, q[33] = 0x7f;
    rs_gguf_type_values(t, q, 1, out);
    CHECK(out[0] == 128 * 0x1p-24f && out[31] == -127 * 0x1p-24f);

    memset(q, 0, sizeof q);
    t = rs_gguf_type_row(12); // Q4_K: group 0 scale 3, minimum 5; group 4 scale 0x21 (high bits on s[0]), minimum 0x12 (high bits on s[4])
    q[1] = 0x40, q[3] = 0x38;
    q[4] = 3 | 2 << 6, q[8] = 5 | 1 << 6, q[12] = 0x21, q[16] = 7, q[16 + 64] = 9;
    rs_gguf_type_values(t, q, 1, out);
    CHECK(out[0] == 2 * 3 * 7 - 2.5f && out[1] == -2.5f && out[128] == 2 * 0x21 * 9 - 0.5f * 0x12);

    memset(q, 0, sizeof q);
    t = rs_gguf_type_row(13); // Q5_K: group 1 scale 1; element 32 with its fifth bit
    q[1] = 0x40, q[5] = 1, q[16] = 2, q[48] = 0x30;
    rs_gguf_type_values(t, q, 1, out);
    CHECK(out[32] == 2 * 19 && out[33] == 0 && out[0] == 0);

    memset(q, 0, sizeof q);
    t = rs_gguf_type_row(14); // Q6_K: scale of elements 16..31 is -1; element 16 has low bits 5 and high bits 2
    q[16] = 5, q[128 + 16] = 2, q[192 + 1] = 0xff, q[209] = 0x40;
    rs_gguf_type_values(t, q, 1, out);
    CHECK(out[16] == -2 * (37 - 32) && out[17] == 64 && out[0] == 0);

    CHECK(rs_gguf_type_row(4) == NULL && rs_gguf_type_row(9999) == NULL && rs_gguf_type_row(10)->block == 0);
}

static void decimals(void)
{
    static const struct {
        float v;
        const char *text;
    } rows[] = {{10000, "10000.0"}, {1e-5f, "1e-05"}, {0.1f, "0.1"}, {500000, "500000.0"}, {1.0f / 3, "0.33333334"}, {0, "0.0"}, {1e20f, "1e+20"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rs_text_buffer b = {0};
        rs_text_buffer_float(&b, rows[i].v);
        CHECKF(b.len == strlen(rows[i].text) && memcmp(b.p, rows[i].text, b.len) == 0, "%.*s, wanted %s", (int)b.len, b.p, rows[i].text);
        free(b.p);
    }
    rs_text_buffer b = {0};
    rs_text_buffer_json(&b, "a\"\\\n\x7f\xc3\xa9", 7);
    CHECK(b.len == 21 && memcmp(b.p, "\"a\\\"\\\\\\u000a\\u007f\xc3\xa9\"", 21) == 0);
    free(b.p);
}

int main(void)
{
    long_header();
    access_by_type();
    counts();
    blocks();
    decimals();
    return check_report();
}
