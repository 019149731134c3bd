// SPDX-License-Identifier: Apache-2.0
// The writer refuses what no reader takes, keeps its order of calls, and never ends a broken stream well.
#include "formats/writer.h"

#include "formats/reader.h"
#include "tests/check.h"
#include "tests/stream.h"

static rs_status drain(rs_out *out, rs_error *e)
{
    size_t len;
    const uint8_t *p = rs_out_bytes(out, &len);
    rs_reader *r = NULL;
    rs_frame f = {.type = RS_FRAME_HEAD};
    rs_status st = rs_reader_open_view(&r, p, len, e);
    while (st == RS_OK && f.type != RS_FRAME_END) st = rs_reader_next(r, &f, e);
    rs_reader_free(r);
    return st;
}

static bool start(rs_out **out, rs_writer **w, const rs_head *head, bool link)
{
    rs_error e = {0};
    rs_prov p = {.tool = "t", .ver = "0", .commit = "0"};
    return CHECKF(rs_out_memory(out, &e) == RS_OK && rs_writer_open(w, *out, head, &e) == RS_OK && (!link || rs_writer_prov(*w, &p, &e) == RS_OK), "%s", e.text);
}

static void stop(rs_out *out, rs_writer *w)
{
    rs_writer_free(w);
    rs_out_close(out);
}

// Each way to do wrong at a frame boundary fails with its class, and the stream can still be finished.
static void refusals(void)
{
    for (int way = 0; way < 12; way++) {
        rs_head head = stream_head();
        rs_out *out;
        rs_writer *w;
        rs_error e = {0}, e2 = {0};
        rs_status st = RS_OK, want = RS_E_META;
        rs_tensor t = stream_tensor("t", RS_ROLE_OTHER, -1, RS_F32, 1, 4, 0);
        rs_stat_head s = {.name = "t", .of = "weight"};
        rs_input_sum in = {.fmt = "rsq"};
        if (!start(&out, &w, &head, true)) continue;
        CHECK(stream_put(w, &t, 0, &e) == RS_OK);
        switch (way) {
        case 0: st = rs_writer_file(w, "../x", "a", 1, &e); break;
        case 1: st = rs_writer_file(w, "", "a", 1, &e); break;
        case 2: st = rs_writer_file(w, "a", "a", 1, &e2), st = rs_writer_file(w, "a", "b", 1, &e), want = RS_E_DUP; break;
        case 3: st = stream_put(w, &t, 0, &e), want = RS_E_DUP; break;
        case 4: t.name[0] = '"', st = stream_put(w, &t, 0, &e); break;
        case 5: t.name[0] = 'u', t.layer = 1, st = stream_put(w, &t, 0, &e), want = RS_E_TENSOR; break;
        case 6: t.name[0] = 'u', t.payload_len++, st = rs_writer_tensor(w, &t, "", &e), want = RS_E_TENSOR; break;
        case 7: s.name[0] = 'x', st = rs_writer_stat(w, &s, NULL, &e), want = RS_E_TENSOR; break;
        case 8: s.step = 1, st = rs_writer_stat(w, &s, NULL, &e), want = RS_E_PROV; break;
        case 9: st = rs_writer_input(w, 1, &in, &e), want = RS_E_INTERNAL; break;
        case 10: st = rs_writer_payload(w, "", 1, &e), want = RS_E_INTERNAL; break;
        case 11: st = rs_writer_copy(w, "TSUM", (const uint8_t *)"\x80", 1, NULL, 0, &e), want = RS_E_INTERNAL; break;
        }
        CHECKF(st == want && st == e.status, "way %d: %s: %s", way, rs_status_name(st), e.text);
        CHECKF(rs_writer_finish(w, &e2) == RS_OK && drain(out, &e2) == RS_OK, "way %d: %s", way, e2.text);
        stop(out, w);
    }
}

// After an error inside a frame the stream is cut, at a boundary it can say why.
static void broken(void)
{
    for (int way = 0; way < 6; way++) {
        rs_head head = stream_head();
        rs_out *out;
        rs_writer *w;
        rs_error e = {0}, e2 = {0};
        rs_tensor t = stream_tensor("t", RS_ROLE_Q, 0, RS_F16, 2, 3, 10);
        rs_status st = RS_OK, want = RS_E_TRUNC;
        t.enc = RS_ENC_INT3;
        if (!start(&out, &w, &head, true)) continue;
        CHECK(rs_tensor_layout(&t, RS_F32, 0, &e) == RS_OK);
        uint8_t *p = stream_payload(&t);
        if (way < 4) CHECK(rs_writer_tensor_begin(w, &t, &e) == RS_OK);
        switch (way) {
        case 0: st = rs_writer_tensor_end(w, &e); break;                           // short
        case 1: st = rs_writer_payload(w, p, (size_t)t.payload_len + 1, &e); break; // long
        case 2: p[3] |= 0x80, st = rs_writer_payload(w, p, (size_t)t.payload_len, &e), st = rs_writer_tensor_end(w, &e); break; // pad bits
        case 3: p[20] = 1, st = rs_writer_payload(w, p, (size_t)t.payload_len, &e), st = rs_writer_tensor_end(w, &e); break;    // hole
        case 4: st = rs_fail(&e, RS_E_VALUE, "no"), want = RS_E_ABORT; break;
        case 5: st = rs_fail(&e, RS_E_VALUE, "no"); break; // freed without a word
        }
        CHECKF(st != RS_OK, "way %d", way);
        if (way < 4) CHECK(rs_writer_finish(w, &e2) == RS_E_INTERNAL);
        if (way < 5) rs_writer_abort(w, st, "rs-x", e.text);
        if (way < 5) CHECK(rs_writer_finish(w, NULL) == RS_E_INTERNAL);
        e2 = (rs_error){0};
        st = drain(out, &e2);
        CHECKF(st == want, "way %d: %s: %s", way, rs_status_name(st), e2.text);
        if (way == 4) CHECKF(strstr(e2.text, "rs-x failed upstream: E_VALUE: no") != NULL, "%s", e2.text);
        free(p);
        stop(out, w);
    }
}

static void order(void)
{
    rs_head head = stream_head();
    rs_out *out = NULL;
    rs_writer *w = NULL;
    rs_error e = {0};
    rs_prov p = {.tool = "t", .ver = "0", .commit = "0"};
    if (!start(&out, &w, &head, false)) return;
    CHECK(rs_writer_file(w, "a", "a", 1, &e) == RS_E_INTERNAL);
    CHECK(rs_writer_finish(w, NULL) == RS_E_INTERNAL);
    for (int i = 0; i < RS_MAX_PROV; i++) CHECK(rs_writer_prov(w, &p, NULL) == RS_OK);
    CHECK(rs_writer_steps(w) == RS_MAX_PROV);
    CHECK(rs_writer_prov(w, &p, NULL) == RS_E_LIMIT);
    CHECK(rs_writer_file(w, "a", "a", 1, NULL) == RS_OK);
    CHECK(rs_writer_prov(w, &p, NULL) == RS_E_INTERNAL);
    e = (rs_error){0};
    CHECKF(rs_writer_finish(w, &e) == RS_OK && drain(out, &e) == RS_OK, "%s", e.text);
    CHECK(rs_writer_finish(w, NULL) == RS_E_INTERNAL && rs_writer_file(w, "b", "a", 1, NULL) == RS_E_INTERNAL);
    stop(out, w);
    head.align = 128;
    CHECK(rs_out_memory(&out, &e) == RS_OK && rs_writer_open(&w, out, &head, &e) == RS_E_META);
    stop(out, w);
    rs_writer_free(NULL);
    rs_writer_abort(NULL, RS_E_VALUE, NULL, NULL);
}

// A plan with junctions needs them all; rotations need rot.0.
static void completeness(void)
{
    for (int n = 0; n < 3; n++) {
        rs_head head = stream_head();
        rs_out *out;
        rs_writer *w;
        rs_error e = {0};
        head.plan.resid = RS_RESID_LOWRANK;
        head.plan.rank = 2;
        if (!start(&out, &w, &head, true)) return;
        for (int j = 0; j < n; j++) {
            char name[32];
            snprintf(name, sizeof name, "resid.%d", j);
            rs_tensor t = stream_tensor(name, RS_ROLE_RESID, j, RS_F32, 2, 8, 8);
            t.enc = RS_ENC_LOWRANK;
            CHECKF(stream_put(w, &t, 2, &e) == RS_OK, "%s", e.text);
        }
        CHECKF(rs_writer_finish(w, &e) == (n == 2 ? RS_OK : RS_E_TENSOR), "%d: %s", n, e.text);
        stop(out, w);
    }
    rs_head head = {.align = 64, .kind = RS_KIND_ROTATIONS, .arch = "llama", .layers = 2};
    rs_out *out = NULL;
    rs_writer *w = NULL;
    rs_error e = {0}, e2 = {0};
    if (!start(&out, &w, &head, true)) return;
    CHECK(rs_writer_finish(w, &e) == RS_E_TENSOR);
    rs_tensor t = stream_tensor("rot.0", RS_ROLE_ROT, 0, RS_F32, 2, 4, 4);
    CHECKF(stream_put(w, &t, 0, &e2) == RS_OK && rs_writer_finish(w, &e2) == RS_OK && drain(out, &e2) == RS_OK, "%s", e2.text);
    stop(out, w);
}

int main(void)
{
    refusals();
    broken();
    order();
    completeness();
    return check_report();
}
