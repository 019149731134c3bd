// SPDX-License-Identifier: Apache-2.0
// The value tree, its arena, and the table of element types.
#include "formats/value.h"

#include "formats/dtype.h"
#include "tests/check.h"

static void test_arena(void)
{
    rs_arena *a = rs_arena_new();
    unsigned seen = 0;
    for (size_t n = 0; n < 3000; n += 7) {
        unsigned char *p = rs_arena_alloc(a, n);
        CHECK(p != NULL && (uintptr_t)p % 16 == 0);
        for (size_t i = 0; p != NULL && i < n; i++) seen |= p[i];
        if (p != NULL) memset(p, 0xa5, n); // a later piece that overlapped would not be zero
    }
    CHECK(seen == 0);
    char *large = rs_arena_alloc(a, 5u << 20);
    CHECK(large != NULL && large[0] == 0 && large[(5u << 20) - 1] == 0);
    CHECK(rs_arena_alloc(a, SIZE_MAX) == NULL && rs_arena_alloc(a, SIZE_MAX - 15) == NULL && rs_arena_alloc(NULL, 1) == NULL);
    rs_arena_free(a);
    rs_arena_free(NULL);
}

static void test_access(void)
{
    rs_arena *a = rs_arena_new();
    rs_value *m = rs_value_map(a);
    char text[] = "text";
    CHECK(rs_map_put(a, m, "u", rs_value_uint(a, UINT64_MAX)) && rs_map_put(a, m, "i", rs_value_int(a, -5)) && rs_map_put(a, m, "p", rs_value_int(a, 5)));
    CHECK(rs_map_put(a, m, "f", rs_value_f64(a, 1.5)) && rs_map_put(a, m, "s", rs_value_str(a, text)) && rs_map_put(a, m, "t", rs_value_bool(a, true)));
    text[0] = 'X'; // values are copies
    CHECK(rs_map_uint(m, "u", 0) == UINT64_MAX && rs_map_int(m, "u", 7) == 7);
    CHECK(rs_map_int(m, "i", 0) == -5 && rs_map_uint(m, "i", 9) == 9);
    CHECK(rs_map_get(m, "p")->type == RS_V_UINT && rs_map_int(m, "p", 0) == 5 && rs_map_uint(m, "p", 0) == 5);
    CHECK(rs_map_f64(m, "f", 0) == 1.5 && rs_map_f64(m, "p", 2.5) == 2.5);
    CHECK(strcmp(rs_map_str(m, "s", ""), "text") == 0 && strcmp(rs_map_str(m, "u", "no"), "no") == 0 && rs_map_str(m, "none", NULL) == NULL);
    CHECK(rs_map_bool(m, "t", false) && rs_map_bool(m, "s", true) && !rs_map_bool(m, "u", false));
    CHECK(rs_map_get(m, "none") == NULL && rs_map_get(NULL, "u") == NULL && rs_map_get(rs_map_get(m, "s"), "u") == NULL);
    CHECK(rs_map_put(a, m, "s", rs_value_uint(a, 1)) && m->map.len == 6 && rs_map_uint(m, "s", 0) == 1);
    char key[] = "copied";
    CHECK(rs_map_put(a, m, key, rs_value_uint(a, 2)));
    key[0] = 'X';
    CHECK(rs_map_uint(m, "copied", 0) == 2);
    rs_value *b = rs_value_bin(a, "a\0b", 3);
    CHECK(b != NULL && b->str.len == 3 && memcmp(b->str.p, "a\0b", 4) == 0);
    CHECK(rs_value_bin(a, NULL, 0) != NULL);
    rs_arena_free(a);
}

// NULL goes through every setter, so that a caller may check once.
static void test_null(void)
{
    rs_arena *a = rs_arena_new();
    rs_value *m = rs_value_map(a), *l = rs_value_array(a), *one = rs_value_uint(a, 1);
    CHECK(rs_value_str(a, NULL) == NULL && rs_value_bin(a, NULL, 1) == NULL && rs_value_uint(NULL, 1) == NULL && rs_value_str(NULL, "x") == NULL);
    CHECK(!rs_map_put(a, m, "k", NULL) && !rs_map_put(a, NULL, "k", one) && !rs_map_put(a, m, NULL, one) && !rs_map_put(a, l, "k", one));
    CHECK(!rs_array_push(a, l, NULL) && !rs_array_push(a, NULL, one) && !rs_array_push(a, m, one));
    CHECK(m->map.len == 0 && l->array.len == 0);
    for (uint64_t i = 0; i < 1000; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%llu", (unsigned long long)i);
        CHECK(rs_array_push(a, l, rs_value_uint(a, i)) && rs_map_put(a, m, key, rs_value_uint(a, i)));
    }
    CHECK(l->array.len == 1000 && l->array.item[999]->u == 999 && l->array.item[0]->u == 0 && rs_map_uint(m, "k0", 5) == 0 && rs_map_uint(m, "k999", 0) == 999);
    rs_arena_free(a);
}

static void test_dtype(void)
{
    static const struct {
        rs_dtype t;
        const char *name;
        size_t size;
    } all[] = {{RS_F32, "f32", 4}, {RS_F16, "f16", 2}, {RS_BF16, "bf16", 2}, {RS_I32, "i32", 4}, {RS_U8, "u8", 1}, {RS_U32, "u32", 4}, {RS_U64, "u64", 8}, {RS_F64, "f64", 8}};
    CHECK(sizeof all / sizeof all[0] == RS_DTYPE_COUNT);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        rs_dtype t = RS_DTYPE_COUNT;
        CHECK(strcmp(rs_dtype_name(all[i].t), all[i].name) == 0 && rs_dtype_size(all[i].t) == all[i].size);
        CHECK(rs_dtype_find(all[i].name, &t) && t == all[i].t);
    }
    rs_dtype t = RS_U64;
    CHECK(!rs_dtype_find("F32", &t) && !rs_dtype_find("", &t) && !rs_dtype_find(NULL, &t) && !rs_dtype_find("f320", &t) && t == RS_U64);
    CHECK(rs_dtype_name(RS_DTYPE_COUNT) == NULL && rs_dtype_size(RS_DTYPE_COUNT) == 0 && rs_dtype_name((rs_dtype)-1) == NULL && rs_dtype_size((rs_dtype)-1) == 0);
}

int main(void)
{
    test_arena();
    test_access();
    test_null();
    test_dtype();
    return check_report();
}
