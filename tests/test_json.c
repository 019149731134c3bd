// SPDX-License-Identifier: Apache-2.0
// Strict JSON: what is refused, with which class, and the bounds on nesting and size.
#include "formats/json.h"

#include <math.h>

#include "tests/check.h"

static rs_status parse(const char *s, size_t len, json_t **root, rs_error *e)
{
    memset(e, 0, sizeof *e);
    return rs_json_parse(root, s, len, "doc", e);
}

static void refused(rs_status want, const char *s, size_t len)
{
    rs_error e;
    json_t *root;
    rs_status got = parse(s, len, &root, &e);
    CHECKF(got == want && e.status == want && root == NULL, "%.40s: %s, wanted %s", s, rs_status_name(got), rs_status_name(want));
    CHECK(strncmp(e.text, "doc: ", 5) == 0 && strchr(e.text, '\n') == NULL);
    json_decref(root);
}

static void forms(void)
{
#define REFUSED(text) refused(RS_E_IMPORT, text, sizeof text - 1)
    REFUSED("");
    REFUSED("{");
    REFUSED("{\"a\":1");
    REFUSED("{\"a\":1}x");
    REFUSED("{\"a\":1,\"a\":1}");
    REFUSED("{\"a\":\"\xff\"}");
    REFUSED("{\"a\":\"\xc0\x80\"}");
    REFUSED("{\"a\":\"\\ud800\"}");
    REFUSED("{\"a\":NaN}");
    REFUSED("{\"a\":1e999}");
    REFUSED("{\"a\":18446744073709551616}");
    REFUSED("{\"a\":01}");
    REFUSED("{\"a\0b\":1}");
    REFUSED("{\"a\\u0000b\":1}");
    REFUSED("3");
    REFUSED("version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
    rs_error e;
    json_t *root;
    CHECK(parse(" {\"a\":[1,\"]\\\"[\"]} \n", 19, &root, &e) == RS_OK);
    json_decref(root);
    CHECK(parse("version https://git-lfs.github.com/spec/v1", 42, &root, &e) == RS_E_IMPORT && strstr(e.text, "Git-LFS") != NULL);
}

static void bounds(void)
{
    char s[2 * 200 + 1];
    rs_error e;
    json_t *root;
    for (int depth = 31; depth <= 200; depth = depth < 33 ? depth + 1 : depth * 2) {
        memset(s, '[', (size_t)depth);
        memset(s + depth, ']', (size_t)depth);
        CHECKF(parse(s, 2 * (size_t)depth, &root, &e) == (depth <= RS_JSON_MAX_DEPTH ? RS_OK : RS_E_LIMIT), "depth %d", depth);
        json_decref(root);
        refused(depth <= RS_JSON_MAX_DEPTH ? RS_E_IMPORT : RS_E_LIMIT, s, (size_t)depth);
    }
    size_t n = (size_t)RS_JSON_MAX_VALUES + 2;
    char *many = malloc(n);
    if (!CHECK(many != NULL)) return;
    memset(many, ',', n);
    many[0] = '[';
    refused(RS_E_LIMIT, many, n);
    free(many);
}

static void fields(void)
{
    static const char text[] = "{\"i\":7,\"neg\":-1,\"r\":7.0,\"s\":\"7\",\"n\":null,\"b\":true}";
    rs_error e = {0};
    json_t *o;
    if (!CHECK(parse(text, sizeof text - 1, &o, &e) == RS_OK)) return;
    uint64_t u = 99;
    double d = 0;
    bool b = false;
    CHECK(rs_json_uint(o, "doc", "i", 1, 7, 0, &u, &e) == RS_OK && u == 7);
    CHECK(rs_json_uint(o, "doc", "absent", 1, 9, 3, &u, &e) == RS_OK && u == 3);
    CHECK(rs_json_uint(o, "doc", "n", 1, 9, 4, &u, &e) == RS_OK && u == 4);
    CHECK(rs_json_number(o, "doc", "r", 0, &d, &e) == RS_OK && d == 7.0);
    CHECK(rs_json_number(o, "doc", "i", 0, &d, &e) == RS_OK && d == 7.0);
    CHECK(rs_json_number(o, "doc", "absent", 0.5, &d, &e) == RS_OK && d == 0.5);
    CHECK(rs_json_bool(o, "doc", "b", false, &b, &e) == RS_OK && b);
    CHECK(rs_json_bool(o, "doc", "absent", true, &b, &e) == RS_OK && b);
    static const char *const bad[] = {"absent", "neg", "r", "s", "b"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rs_error f = {0};
        CHECKF(rs_json_uint(o, "doc", bad[i], 1, 9, 0, &u, &f) == RS_E_IMPORT && strstr(f.text, bad[i]) != NULL, "%s", bad[i]);
    }
    rs_error f = {0};
    CHECK(rs_json_uint(o, "doc", "i", 1, 6, 0, &u, &f) == RS_E_IMPORT && strstr(f.text, "1..6") != NULL);
    CHECK(rs_json_number(o, "doc", "s", 0, &d, NULL) == RS_E_IMPORT);
    CHECK(rs_json_number(o, "doc", "absent", NAN, &d, NULL) == RS_E_IMPORT);
    CHECK(rs_json_bool(o, "doc", "i", false, &b, NULL) == RS_E_IMPORT);
    json_decref(o);
}

int main(void)
{
    forms();
    bounds();
    fields();
    return check_report();
}
