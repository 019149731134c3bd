// SPDX-License-Identifier: Apache-2.0
// Records through their metadata maps and back: a head with everything in it, and what the tables refuse (tests/test_golden.c has the rest).
#include "formats/frames.h"

#include "formats/meta.h"
#include "tests/check.h"
#include "tests/stream.h"

// Through put, encode, parse and get.
static rs_status through(rs_frame_type type, rs_arena *a, const void *from, void *to, rs_error *e)
{
    rs_value *map;
    uint8_t *bytes;
    size_t len;
    rs_frames_how how = {.arena = a, .strict = true};
    RS_TRY(rs_frames_put(type, a, from, &map, e));
    RS_TRY(rs_meta_encode(map, &bytes, &len, e));
    rs_status st = rs_meta_parse(a, bytes, len, &map, e);
    free(bytes);
    return st == RS_OK ? rs_frames_get(type, &how, map, to, e) : st;
}

static rs_head full_head(rs_except *x)
{
    rs_head h = stream_head();
    h.layers = 4;
    h.align = 4096;
    h.plan.a = (rs_act){4, false, 0.9, 128, RS_SPAN_ZERO};
    h.plan.kv = (rs_act){8, true, 1.0, 0, RS_SPAN_HALF};
    h.plan.r3 = (rs_online){true, 64, 64, 1, 5, RS_BUILD_SYLVESTER};
    h.plan.r4 = (rs_online){true, 1536, 192, 12, UINT64_MAX, RS_BUILD_PALEY1};
    h.plan.resid = RS_RESID_LOWRANK;
    h.plan.rank = 32;
    x[0] = (rs_except){.layer = -1, .role = RS_ROLE_DOWN, .act = {8, false, 0.9, 128, RS_SPAN_FREE}};
    x[1] = (rs_except){.layer = -1, .role = RS_ROLE_HEAD, .act = {6, true, 1.0, 0, RS_SPAN_HALF}};
    x[2] = (rs_except){.layer = 3, .role = RS_ROLE_Q, .act = {4, false, 0.9, 128, RS_SPAN_ZERO}};
    x[3] = (rs_except){.layer = 7, .role = RS_ROLE_RESID, .rank = 0};
    h.plan.except = x;
    h.plan.n_except = 4;
    h.incompat = rs_plan_incompat(&h.plan);
    return h;
}

static bool same_act(rs_act a, rs_act b)
{
    return a.bits == b.bits && a.sym == b.sym && a.clip == b.clip && a.group == b.group && a.range == b.range;
}

static bool same_online(const rs_online *a, const rs_online *b)
{
    return a->on == b->on && a->n == b->n && a->block == b->block && a->k == b->k && a->ksum == b->ksum && a->build == b->build;
}

static void heads(void)
{
    rs_arena *a = rs_arena_new();
    rs_error e = {0};
    rs_except x[4];
    rs_head h = full_head(x), g;
    if (CHECKF(through(RS_FRAME_HEAD, a, &h, &g, &e) == RS_OK, "%s", e.text)) {
        CHECK(g.align == h.align && g.kind == h.kind && g.layers == h.layers && g.incompat == 15 && strcmp(g.arch, h.arch) == 0 && strcmp(g.model, h.model) == 0 && !g.has_base);
        CHECK(same_act(g.plan.a, h.plan.a) && same_act(g.plan.kv, h.plan.kv) && same_online(&g.plan.r3, &h.plan.r3) && same_online(&g.plan.r4, &h.plan.r4));
        CHECK(g.plan.resid == h.plan.resid && g.plan.rank == 32 && g.plan.n_except == 4);
        for (int i = 0; i < 3; i++) CHECKF(g.plan.except[i].layer == x[i].layer && g.plan.except[i].role == x[i].role && same_act(g.plan.except[i].act, x[i].act), "%d", i);
        CHECK(g.plan.except[3].layer == 7 && g.plan.except[3].role == RS_ROLE_RESID && g.plan.except[3].rank == 0);
    }
    rs_head rot = {.align = 64, .kind = RS_KIND_ROTATIONS, .arch = "llama", .has_base = true, .base = {9, 8, 7}};
    CHECKF(through(RS_FRAME_HEAD, a, &rot, &g, &e) == RS_OK, "%s", e.text);
    CHECK(g.kind == RS_KIND_ROTATIONS && g.has_base && memcmp(g.base, rot.base, 16) == 0 && g.plan.a.bits == 16 && g.model[0] == 0);
    rs_arena_free(a);
}

// One field of the full head changed, and the class that it brings.
static void bad_heads(void)
{
    for (int way = 0; way < 29; way++) {
        rs_arena *a = rs_arena_new();
        rs_error e = {0};
        rs_except x[4], swap;
        rs_head h = full_head(x), g;
        rs_status want = RS_E_META;
        switch (way) {
        case 0: h.align = 128; break;
        case 1: h.arch[0] = 0; break;
        case 2: h.layers = 65537; break;
        case 3: h.incompat = 3, want = RS_E_TENSOR; break;
        case 4: h.incompat = 16, want = RS_E_VERSION; break;
        case 5: h.plan.a.bits = 9; break;
        case 6: h.plan.kv.clip = 0; break;
        case 7: h.plan.a.clip = 1.5; break;
        case 8: h.plan.rank = 31; break;
        case 9: h.plan.resid = RS_RESID_DENSE, want = RS_E_TENSOR; break;
        case 10: h.plan.r4.block = 190, want = RS_E_TENSOR; break;
        case 11: h.plan.r4.k = 6, want = RS_E_TENSOR; break;
        case 12: h.plan.r4.build = RS_BUILD_SYLVESTER, want = RS_E_TENSOR; break;
        case 13: h.plan.r4.k = 4097, want = RS_E_LIMIT; break;
        case 14: h.plan.r4 = (rs_online){true, 92, 92, 92, 0, RS_BUILD_PALEY1}, want = RS_E_TENSOR; break;
        case 15: swap = x[0], x[0] = x[1], x[1] = swap; break;
        case 16: x[1] = x[0], want = RS_E_DUP; break;
        case 17: x[3].layer = 8, want = RS_E_TENSOR; break;
        case 18: x[3].rank = 32; break;
        case 19: x[3].rank = 3; break;
        case 20: x[2].role = RS_ROLE_NORM; break;
        case 21: x[1].layer = 0; break;
        case 22: h.plan.r3.n = 0; break;
        case 23: x[2].layer = 4, want = RS_E_TENSOR; break;
        case 24: h.plan.a.range = RS_SPAN_HALF, want = RS_E_TENSOR; break;
        case 25: h.plan.v_range = RS_SPAN_FREE, want = RS_E_TENSOR; break;
        case 26: h.plan.kv.sym = false, want = RS_E_TENSOR; break;
        case 27: x[2].act.range = RS_SPAN_HALF, want = RS_E_TENSOR; break;
        case 28: h.incompat &= ~RS_INCOMPAT_RANGE, want = RS_E_TENSOR; break;
        }
        rs_status st = through(RS_FRAME_HEAD, a, &h, &g, &e);
        CHECKF(st == want && st == e.status, "way %d: %s, not %s: %s", way, rs_status_name(st), rs_status_name(want), e.text);
        rs_arena_free(a);
    }
    static const uint64_t paley2[] = {12, 20, 28, 36, 52, 100, 148, 164, 924};
    for (size_t i = 0; i < sizeof paley2 / sizeof *paley2; i++) {
        rs_arena *a = rs_arena_new();
        rs_error e = {0};
        rs_except x[4];
        rs_head h = full_head(x), g;
        h.plan.r4 = (rs_online){true, 2 * paley2[i], 2 * paley2[i], paley2[i], 0, RS_BUILD_PALEY2};
        CHECK(through(RS_FRAME_HEAD, a, &h, &g, &e) == RS_OK);
        h.plan.r4.k += 2; // 14, 22, ...: q is not 1 mod 4
        h.plan.r4.n = h.plan.r4.block = h.plan.r4.k;
        CHECK(through(RS_FRAME_HEAD, a, &h, &g, &e) == RS_E_TENSOR);
        rs_arena_free(a);
    }
}

static void others(void)
{
    static const char *const argv[] = {"rs-x", "a b"};
    rs_arena *a = rs_arena_new();
    rs_error e = {0};
    rs_value *params = rs_value_map(a);
    CHECK(rs_map_put(a, params, "seed", rs_value_uint(a, 7)));
    rs_prov p = {.step = 3, .tool = "rs-x", .ver = "1", .commit = "c", .argv = argv, .argc = 2, .prev = {1}, .params = params}, q;
    CHECK(through(RS_FRAME_PROV, a, &p, &q, &e) == RS_OK && q.step == 3 && q.argc == 2 && strcmp(q.argv[1], "a b") == 0 && q.prev[0] == 1 && rs_map_uint(q.params, "seed", 0) == 7);
    rs_input_sum in[2] = {{.fmt = "rsq", .size = 5, .digest = {1}}, {.fmt = "text", .size = UINT64_MAX, .digest = {2}}};
    rs_psum_head s = {.step = 1, .in = in, .n_in = 2}, t;
    CHECK(through(RS_FRAME_PSUM, a, &s, &t, &e) == RS_OK && t.n_in == 2 && t.in[1].size == UINT64_MAX && strcmp(t.in[1].fmt, "text") == 0 && t.in[1].digest[0] == 2);
    in[0].fmt[0] = 'q';
    CHECK(through(RS_FRAME_PSUM, a, &s, &t, &e) == RS_E_META);
    e = (rs_error){0};
    CHECK(rs_map_put(a, params, "list", rs_value_array(a)));
    CHECK(through(RS_FRAME_PROV, a, &p, &q, &e) == RS_E_META);
    int64_t index;
    CHECK(rs_frames_xf("gamma", &index) && index == -1 && rs_frames_xf("rot.12", &index) && index == 12 && rs_frames_xf("headrot.0", &index) && index == 0);
    CHECK(!rs_frames_xf("rot.", &index) && !rs_frames_xf("rot.01", &index) && !rs_frames_xf("rot.1x", &index) && !rs_frames_xf("r5", &index) && !rs_frames_xf("rot.-1", &index));
    rs_arena_free(a);
}

int main(void)
{
    heads();
    bad_heads();
    others();
    return check_report();
}
