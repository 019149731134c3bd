// SPDX-License-Identifier: Apache-2.0
// Layouts of every encoding against sizes counted by hand, and each way in which a claimed layout can be wrong.
#include "formats/tensor.h"

#include "tests/check.h"
#include "tests/stream.h"

static void names(void)
{
    for (int i = 0; i < RS_ROLE_COUNT; i++) {
        rs_role r = RS_ROLE_COUNT;
        CHECK(rs_role_find(rs_role_name((rs_role)i), &r) && (int)r == i);
    }
    for (int i = 0; i < RS_ENC_COUNT; i++) {
        rs_enc c = RS_ENC_COUNT;
        CHECK(rs_enc_find(rs_enc_name((rs_enc)i), &c) && (int)c == i);
    }
    rs_role r;
    rs_enc c;
    CHECK(rs_role_name(RS_ROLE_COUNT) == NULL && rs_enc_name(RS_ENC_COUNT) == NULL);
    CHECK(!rs_role_find("Q", &r) && !rs_role_find(NULL, &r) && !rs_enc_find("int9", &c) && !rs_enc_find(NULL, &c));
    CHECK(rs_enc_bits(RS_ENC_RAW) == 0 && rs_enc_bits(RS_ENC_LOWRANK) == 0 && rs_enc_bits(RS_ENC_INT3) == 3 && rs_enc_bits(RS_ENC_INT8) == 8);
    for (int bits = 0; bits < 20; bits++) CHECK(rs_enc_of_bits(bits, &c) == (bits >= 2 && bits <= 8) && (bits < 2 || bits > 8 || rs_enc_bits(c) == bits));
}

static rs_tensor make(rs_dtype dtype, rs_enc enc, uint64_t group, int n_dims, uint64_t a, uint64_t b)
{
    rs_tensor t = stream_tensor("t", RS_ROLE_OTHER, -1, dtype, n_dims, a, b);
    t.enc = enc;
    t.group = group;
    return t;
}

static rs_status layout(rs_tensor *t, rs_dtype scales, uint64_t rank)
{
    rs_error e = {0};
    rs_status st = rs_tensor_layout(t, scales, rank, &e);
    CHECK(st == e.status && (st == RS_OK) == (e.text[0] == 0));
    return st;
}

static void layouts(void)
{
    static const struct {
        rs_dtype dtype;
        rs_enc enc;
        uint64_t group;
        int n_dims;
        uint64_t a, b;
        rs_dtype scales;
        uint64_t rank, payload_len;
        rs_status want;
    } rows[] = {
        {RS_F32, RS_ENC_RAW, 0, 0, 0, 0, RS_F32, 0, 4, RS_OK}, // a scalar
        {RS_BF16, RS_ENC_RAW, 0, 1, 5, 0, RS_F32, 0, 10, RS_OK},
        {RS_F16, RS_ENC_RAW, 0, 2, 0, 7, RS_F32, 0, 0, RS_OK},
        {RS_I32, RS_ENC_RAW, 0, 1, 5, 0, RS_F32, 0, 0, RS_E_TENSOR},
        {RS_F32, RS_ENC_RAW, 8, 2, 8, 8, RS_F32, 0, 0, RS_E_TENSOR},
        {RS_F16, RS_ENC_INT4, 0, 2, 3, 10, RS_F32, 0, 128 + 12, RS_OK},     // 3 x 5 bytes, 3 f32 at 64, 3 i32 at 128
        {RS_F16, RS_ENC_INT3, 5, 2, 3, 10, RS_F16, 0, 128 + 24, RS_OK},     // 3 x 4 bytes, 6 f16 at 64, 6 i32 at 128
        {RS_F16, RS_ENC_INT8, 32, 2, 100, 64, RS_F32, 0, 7232 + 800, RS_OK}, // 6400, 800 at 6400, 800 at 7232
        {RS_F16, RS_ENC_INT4, 3, 2, 3, 10, RS_F32, 0, 0, RS_E_TENSOR},
        {RS_F16, RS_ENC_INT4, 0, 1, 3, 0, RS_F32, 0, 0, RS_E_TENSOR},
        {RS_F16, RS_ENC_INT4, 0, 2, 3, 10, RS_BF16, 0, 0, RS_E_TENSOR},
        {RS_F16, RS_ENC_INT4, 0, 2, 1, (1u << 24) + 1, RS_F32, 0, 0, RS_E_TENSOR},
        {RS_F16, RS_ENC_INT4, 0, 2, 0, 10, RS_F32, 0, 0, RS_OK},
        {RS_F32, RS_ENC_LOWRANK, 0, 2, 10, 10, RS_F32, 4, 192 + 64, RS_OK}, // 160, then 64 at 192
        {RS_F32, RS_ENC_LOWRANK, 0, 2, 10, 10, RS_F32, 10, 448 + 400, RS_OK},
        {RS_F32, RS_ENC_LOWRANK, 0, 2, 10, 10, RS_F32, 3, 0, RS_E_TENSOR},
        {RS_F32, RS_ENC_LOWRANK, 0, 2, 10, 10, RS_F32, 12, 0, RS_E_TENSOR},
        {RS_F32, RS_ENC_LOWRANK, 0, 2, 10, 10, RS_F32, 0, 0, RS_E_TENSOR},
        {RS_F16, RS_ENC_LOWRANK, 0, 2, 10, 10, RS_F32, 4, 0, RS_E_TENSOR},
        {RS_F32, RS_ENC_LOWRANK, 0, 2, 10, 12, RS_F32, 4, 0, RS_E_TENSOR},
        {RS_F32, RS_ENC_RAW, 0, 2, UINT64_C(1) << 32, UINT64_C(1) << 32, RS_F32, 0, 0, RS_E_LIMIT},
        {RS_F32, RS_ENC_RAW, 0, 2, 0, (UINT64_C(1) << 40) + 1, RS_F32, 0, 0, RS_E_LIMIT},
        {RS_F32, RS_ENC_RAW, 0, 2, 0, UINT64_C(1) << 40, RS_F32, 0, 0, RS_OK},
        {RS_F32, RS_ENC_RAW, 0, 1, UINT64_C(1) << 38, 0, RS_F32, 0, UINT64_C(1) << 40, RS_OK},
        {RS_F32, RS_ENC_RAW, 0, 1, (UINT64_C(1) << 38) + 1, 0, RS_F32, 0, 0, RS_E_LIMIT},
        {RS_F32, RS_ENC_RAW, 0, 9, 1, 1, RS_F32, 0, 0, RS_E_LIMIT},
        {RS_F32, RS_ENC_RAW, 0, -1, 1, 1, RS_F32, 0, 0, RS_E_LIMIT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rs_tensor t = make(rows[i].dtype, rows[i].enc, rows[i].group, rows[i].n_dims, rows[i].a, rows[i].b);
        rs_status st = layout(&t, rows[i].scales, rows[i].rank);
        CHECKF(st == rows[i].want, "row %zu: %s", i, rs_status_name(st));
        if (st != RS_OK) continue;
        CHECKF(t.payload_len == rows[i].payload_len, "row %zu: %llu", i, (unsigned long long)t.payload_len);
        rs_error e = {0};
        CHECKF(rs_tensor_check(&t, &e) == RS_OK, "row %zu: %s", i, e.text);
        for (int k = 0; k < t.n_parts; k++) CHECK(t.parts[k].off % 64 == 0 && rs_tensor_part(&t, t.parts[k].key) == &t.parts[k]);
        CHECK(rs_tensor_part(&t, "other") == NULL);
    }
}

static void elements(void)
{
    rs_tensor t = make(RS_F32, RS_ENC_RAW, 0, 3, UINT64_C(1) << 40, UINT64_C(1) << 40);
    uint64_t n = 1;
    CHECK(rs_tensor_elements(&t, &n) && n == 0); // the third dim is 0
    t.shape[2] = 1;
    CHECK(!rs_tensor_elements(&t, &n));
    t.n_dims = 0;
    CHECK(rs_tensor_elements(&t, &n) && n == 1);
}

// Every claim that differs from the derived layout by one is refused.
static void claims(void)
{
    rs_tensor good = make(RS_F16, RS_ENC_INT3, 5, 2, 3, 10), t;
    CHECK(layout(&good, RS_F16, 0) == RS_OK);
    for (int way = 0; way < 16; way++) {
        rs_error e = {0};
        rs_status want = RS_E_TENSOR;
        t = good;
        switch (way) {
        case 0: t.payload_len++; break;
        case 1: t.payload_len--; break;
        case 2: t.parts[1].off = 0; break;
        case 3: t.parts[2].off += 64; break;
        case 4: t.parts[2].off = UINT64_MAX - 3; break;
        case 5: t.parts[1].len++; break;
        case 6: t.parts[1].dtype = RS_BF16; break;
        case 7: t.parts[2].shape[1] = 3; break;
        case 8: t.parts[2].n_dims = 1; break;
        case 9: t.n_parts = 2; break;
        case 10: snprintf(t.parts[0].key, sizeof t.parts[0].key, "data"); break;
        case 11: t.group = 4; break;
        case 12: t.shape[0] = 4; break;
        case 13: t.name[0] = '"', want = RS_E_META; break;
        case 14: t.name[0] = 0, want = RS_E_META; break;
        case 15: t.n_xf = 33, want = RS_E_LIMIT; break;
        }
        rs_status st = rs_tensor_check(&t, &e);
        CHECKF(st == want, "way %d: %s: %s", way, rs_status_name(st), e.text);
    }
    t = make(RS_F32, RS_ENC_LOWRANK, 0, 2, 10, 10);
    rs_error e = {0};
    CHECK(layout(&t, RS_F32, 4) == RS_OK);
    t.parts[1].shape[0] = t.parts[1].shape[1] = 2;
    CHECK(rs_tensor_check(&t, &e) == RS_E_TENSOR && strstr(e.text, "rank 4") != NULL);
}

static void transforms(void)
{
    rs_tensor t = make(RS_F32, RS_ENC_RAW, 0, 2, 6, 8);
    rs_error e = {0};
    CHECK(layout(&t, RS_F32, 0) == RS_OK);
    CHECK(rs_tensor_add_xf(&t, "gamma", 8, 0, &e) == RS_OK && rs_tensor_add_xf(&t, "rot.1", 6, 1, &e) == RS_OK && rs_tensor_add_xf(&t, "headrot.0", 4, 0, &e) == RS_OK);
    CHECK(rs_tensor_has_xf(&t, "rot.1") && !rs_tensor_has_xf(&t, "rot.10") && rs_tensor_check(&t, &e) == RS_OK);
    CHECK(rs_tensor_add_xf(&t, "gamma", 8, 0, &e) == RS_E_TENSOR && t.n_xf == 3);
    for (int way = 0; way < 3; way++) {
        rs_tensor bad = t;
        rs_error e2 = {0};
        if (way == 0) bad.xf[1].n = 8;
        if (way == 1) bad.xf[2].n = 3;
        if (way == 2) snprintf(bad.xf[1].id, sizeof bad.xf[1].id, "gamma"), bad.xf[1].n = 6;
        CHECK(rs_tensor_check(&bad, &e2) == RS_E_TENSOR);
    }
    rs_error e3 = {0};
    while (t.n_xf < RS_MAX_XF) {
        char id[24];
        snprintf(id, sizeof id, "rebase.%d", t.n_xf);
        CHECK(rs_tensor_add_xf(&t, id, 8, 0, &e3) == RS_OK);
    }
    CHECK(rs_tensor_add_xf(&t, "r4", 8, 0, &e3) == RS_E_TENSOR);
}

int main(void)
{
    names();
    layouts();
    elements();
    claims();
    transforms();
    return check_report();
}
