// SPDX-License-Identifier: Apache-2.0
// A small stream against every accident: each byte changed, each cut, bytes behind the end; and what a plan says.
#include "formats/container.h"

#include "formats/reader.h"
#include "tests/check.h"
#include "tests/stream.h"

// Reads a whole stream from memory; chunk > 0 limits each read.
static rs_status read_through(const uint8_t *bytes, size_t len, bool view, rs_error *e)
{
    rs_in *in = NULL;
    rs_reader *r = NULL;
    rs_frame f = {0};
    rs_status st = view ? RS_OK : rs_in_memory(&in, bytes, len, e);
    if (st == RS_OK) st = view ? rs_reader_open_view(&r, bytes, len, e) : rs_reader_open(&r, in, e);
    while (st == RS_OK && (st = rs_reader_next(r, &f, e)) == RS_OK && f.type != RS_FRAME_END) {}
    rs_reader_free(r);
    rs_in_close(in);
    return st;
}

static void whole(const uint8_t *bytes, size_t len)
{
    rs_error e = {0};
    CHECKF(read_through(bytes, len, false, &e) == RS_OK, "%s", e.text);
    CHECKF(read_through(bytes, len, true, &e) == RS_OK, "%s", e.text);
}

static void flips(uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        for (int bit = 0; bit < 8; bit += 7) {
            rs_error e = {0};
            bytes[i] ^= (uint8_t)(1 << bit);
            rs_status st = read_through(bytes, len, i % 2 == 0, &e);
            CHECKF(st != RS_OK && st == e.status && e.text[0] != 0, "byte %zu bit %d: %s", i, bit, rs_status_name(st));
            if (i < 8) CHECK(st == RS_E_MAGIC);
            bytes[i] ^= (uint8_t)(1 << bit);
        }
}

static void cuts(const uint8_t *bytes, size_t len)
{
    for (size_t n = 0; n < len; n++) {
        rs_error e = {0};
        rs_status st = read_through(bytes, n, n % 2 == 0, &e);
        CHECKF(st == RS_E_TRUNC, "cut at %zu: %s: %s", n, rs_status_name(st), e.text);
    }
}

static void trails(const uint8_t *bytes, size_t len)
{
    uint8_t *twice = malloc(2 * len);
    rs_error e = {0}, e2 = {0};
    memcpy(twice, bytes, len);
    memcpy(twice + len, bytes, len);
    CHECK(read_through(twice, len + 1, false, &e) == RS_E_TRAIL);
    CHECK(read_through(twice, 2 * len, true, &e2) == RS_E_TRAIL);
    free(twice);
}

static void plan(void)
{
    rs_except x[] = {
        {.layer = -1, .role = RS_ROLE_DOWN, .act = {8, true, 1.0, 0, RS_SPAN_ZERO}},
        {.layer = -1, .role = RS_ROLE_HEAD, .act = {8, true, 1.0, 0, RS_SPAN_ZERO}},
        {.layer = 2, .role = RS_ROLE_DOWN, .act = {16, true, 1.0, 0, RS_SPAN_ZERO}},
        {.layer = 3, .role = RS_ROLE_RESID, .rank = 0},
    };
    rs_plan p = rs_plan_none();
    CHECK(rs_plan_incompat(&p) == 0);
    CHECK(rs_plan_act(&p, 0, RS_ROLE_Q).bits == 16);
    CHECK(rs_plan_rank(&p, 0) == 0);
    p.a.bits = 4;
    p.resid = RS_RESID_LOWRANK;
    p.rank = 32;
    p.except = x;
    p.n_except = 4;
    CHECK(rs_plan_incompat(&p) == (RS_INCOMPAT_RESID | RS_INCOMPAT_ACT));
    CHECK(rs_plan_act(&p, 0, RS_ROLE_Q).bits == 4);
    CHECK(rs_plan_act(&p, 0, RS_ROLE_DOWN).bits == 8);
    CHECK(rs_plan_act(&p, 2, RS_ROLE_DOWN).bits == 16);
    CHECK(rs_plan_act(&p, -1, RS_ROLE_HEAD).bits == 8);
    p.n_except = 1;
    CHECK(rs_plan_act(&p, -1, RS_ROLE_HEAD).bits == 16);
    p.n_except = 4;
    CHECK(rs_plan_rank(&p, 2) == 32 && rs_plan_rank(&p, 3) == 0);
    p.resid = RS_RESID_DENSE;
    CHECK(rs_plan_rank(&p, 2) == RS_RANK_FULL);
    p.r3.on = true;
    CHECK(rs_plan_incompat(&p) == 7);
    x[2].act.range = RS_SPAN_HALF;
    CHECK(rs_plan_incompat(&p) == (7 | RS_INCOMPAT_RANGE) && rs_plan_act(&p, 2, RS_ROLE_DOWN).range == RS_SPAN_HALF && rs_plan_act(&p, 1, RS_ROLE_DOWN).range == RS_SPAN_ZERO);
    p = rs_plan_none();
    p.v_range = RS_SPAN_FREE;
    CHECK(rs_plan_incompat(&p) == RS_INCOMPAT_RANGE);
    p.v_range = RS_SPAN_ZERO, p.kv.range = RS_SPAN_FREE;
    CHECK(rs_plan_incompat(&p) == RS_INCOMPAT_RANGE);
    p.kv.range = RS_SPAN_ZERO, p.a.range = RS_SPAN_FREE;
    CHECK(rs_plan_incompat(&p) == RS_INCOMPAT_RANGE && rs_plan_act(&p, 0, RS_ROLE_Q).range == RS_SPAN_FREE);
}

int main(void)
{
    size_t len;
    rs_head head = stream_head();
    uint8_t *bytes = stream_bytes(&head, &len);
    if (bytes != NULL) {
        whole(bytes, len);
        flips(bytes, len);
        cuts(bytes, len);
        trails(bytes, len);
    }
    free(bytes);
    plan();
    return check_report();
}
