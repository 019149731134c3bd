// SPDX-License-Identifier: Apache-2.0
// The reader as an iterator, its quick look, and its messages (tests/test_golden.c has the classes).
#include "formats/reader.h"

#include "tests/check.h"
#include "tests/stream.h"

static rs_status drain(rs_reader *r, rs_error *e)
{
    rs_frame f;
    do RS_TRY(rs_reader_next(r, &f, e));
    while (f.type != RS_FRAME_END);
    return RS_OK;
}

static void iterate(const uint8_t *bytes, size_t len)
{
    static const rs_frame_type order[] = {RS_FRAME_FILE, RS_FRAME_FILE, RS_FRAME_TENS, RS_FRAME_TENS, RS_FRAME_TENS, RS_FRAME_TENS, RS_FRAME_STAT, RS_FRAME_END, RS_FRAME_END};
    rs_error e = {0};
    rs_in *in = NULL;
    rs_reader *r = NULL;
    rs_frame f;
    CHECK(rs_in_memory(&in, bytes, len, &e) == RS_OK && rs_reader_open_strict(&r, in, &e) == RS_OK);
    CHECK(rs_reader_head(r)->layers == 1);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        if (!CHECKF(rs_reader_next(r, &f, &e) == RS_OK && f.type == order[i], "%zu: %s", i, e.text)) break;
        if (i == 1) CHECK(strcmp(f.file_name, "empty") == 0 && f.payload_len == 0);
        if (i < 2 || i > 5) continue;
        uint8_t *want = stream_payload(f.tensor), *got = malloc((size_t)f.payload_len + 1);
        CHECK(f.payload_off % 64 == 0 && f.tensor->payload_len == f.payload_len);
        if (i == 2) CHECK(rs_reader_read_all(r, got, &e) == RS_OK && memcmp(want, got, (size_t)f.payload_len) == 0);
        if (i == 3) {
            CHECK(rs_reader_read(r, got, 3, &e) == RS_OK && rs_reader_read(r, got + 3, 4, &e) == RS_OK && memcmp(want, got, 7) == 0);
            CHECK(rs_reader_finish_payload(r, &e) == RS_OK && rs_reader_finish_payload(r, &e) == RS_OK);
            CHECK(strcmp(f.tensor->name, "model.embed_tokens.weight") == 0 && rs_tensor_has_xf(f.tensor, "gamma"));
        }
        if (i == 4) CHECK(rs_reader_read(r, got, 3, &e) == RS_OK);
        free(want);
        free(got);
    }
    CHECK(rs_reader_tensors(r) == 4);
    CHECKF(rs_reader_frames(r) == 16, "%u", rs_reader_frames(r));
    uint8_t digest[16];
    uint64_t size;
    rs_reader_digest(r, digest, NULL, &size);
    CHECK(size == len && memcmp(digest, bytes + len - 24, 16) == 0);
    rs_reader_free(r);
    rs_in_close(in);

    rs_error e2 = {0}, e3 = {0};
    CHECK(rs_in_memory(&in, bytes, len, &e) == RS_OK && rs_reader_open(&r, in, &e) == RS_OK && rs_reader_next(r, &f, &e) == RS_OK);
    CHECK(rs_reader_read(r, digest, 4, &e2) == RS_E_INTERNAL);
    CHECK(rs_reader_next(r, &f, &e3) == RS_E_INTERNAL && strcmp(e2.text, e3.text) == 0);
    rs_reader_free(r);
    rs_in_close(in);
}

static void quick_look(uint8_t *bytes, size_t len)
{
    rs_error e = {0};
    rs_in *in = NULL;
    rs_head head;
    uint8_t digest[16];
    uint32_t frames, tensors;
    rs_arena *a = rs_arena_new();
    CHECK(rs_in_memory(&in, bytes, len, &e) == RS_OK);
    CHECKF(rs_reader_quick(in, a, &head, digest, &frames, &tensors, &e) == RS_OK, "%s", e.text);
    CHECK(frames == 16 && tensors == 4 && head.layers == 1 && memcmp(digest, bytes + len - 24, 16) == 0);
    CHECK(rs_reader_quick(in, a, NULL, NULL, NULL, NULL, &e) == RS_OK);
    rs_in_close(in);
    for (size_t n = 0; n < len; n += 7) {
        rs_error ec = {0};
        CHECK(rs_in_memory(&in, bytes, n, &ec) == RS_OK);
        CHECK(rs_reader_quick(in, a, NULL, NULL, NULL, NULL, &ec) == RS_E_TRUNC);
        rs_in_close(in);
    }
    for (size_t i = len - 500; i < len; i++) { // INDX, ENDS: anything but a fault of ours
        rs_error ef = {0};
        bytes[i] ^= 0x10;
        CHECK(rs_in_memory(&in, bytes, len, &ef) == RS_OK);
        rs_status st = rs_reader_quick(in, a, NULL, NULL, NULL, NULL, &ef);
        CHECK(st == ef.status && st != RS_E_INTERNAL && st != RS_E_READ);
        if (i >= len - 64) CHECKF(st != RS_OK, "tail byte %zu", i);
        rs_in_close(in);
        bytes[i] ^= 0x10;
    }
    rs_arena_free(a);
}

// A large tensor: the chunk at fault is named with its place.
static void message(void)
{
    rs_error e = {0};
    rs_out *out = NULL;
    rs_writer *w = NULL;
    rs_head head = stream_head();
    rs_prov link = {.tool = "t", .ver = "0", .commit = "0"};
    rs_tensor t = stream_tensor("model.layers.0.mlp.up_proj.weight", RS_ROLE_UP, 0, RS_F32, 2, 1300, 1024 * 2);
    CHECK(rs_out_memory(&out, &e) == RS_OK && rs_writer_open(&w, out, &head, &e) == RS_OK && rs_writer_prov(w, &link, &e) == RS_OK && stream_put(w, &t, 0, &e) == RS_OK &&
          rs_writer_finish(w, &e) == RS_OK);
    rs_writer_free(w);
    size_t len;
    const uint8_t *p = rs_out_bytes(out, &len);
    uint8_t *bytes = malloc(len);
    memcpy(bytes, p, len);
    rs_out_close(out);
    for (int view = 0; view < 2; view++) {
        rs_reader *r = NULL;
        rs_in *in = NULL;
        rs_error e2 = {0};
        bytes[6u << 20] ^= 4;
        CHECK(rs_in_memory(&in, bytes, len, &e) == RS_OK);
        CHECK((view ? rs_reader_open_view(&r, bytes, len, &e2) : rs_reader_open(&r, in, &e2)) == RS_OK && drain(r, &e2) == RS_E_SUM);
        CHECKF(strstr(e2.text, "frame 2 TENS model.layers.0.mlp.up_proj.weight: chunk 2 of 3 at offset 41") != NULL && strstr(e2.text, ": xxh3 ") != NULL && strstr(e2.text, ", stored ") != NULL, "%s", e2.text);
        bytes[6u << 20] ^= 4;
        rs_reader_free(r);
        rs_in_close(in);
    }
    free(bytes);
}

int main(void)
{
    size_t len;
    rs_head head = stream_head();
    uint8_t *bytes = stream_bytes(&head, &len);
    if (bytes != NULL) {
        iterate(bytes, len);
        quick_look(bytes, len);
    }
    free(bytes);
    message();
    return check_report();
}
