// SPDX-License-Identifier: Apache-2.0
// Writes a stream frame by frame; each one is judged by the reader's tables and census first, so that no tool can write what no reader takes.
#include "formats/writer.h"

#include "formats/bytes.h"
#include "formats/census.h"
#include "formats/endian.h"
#include "formats/frames.h"
#include "formats/meta.h"
#include "formats/payload.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct input {
    unsigned step;
    rs_input_sum sum;
} input;

struct rs_writer {
    rs_out *out;
    rs_arena *arena; // of head
    rs_head head;
    rs_census *census;
    rs_payload payload;
    uint64_t offset;      // of the next byte
    uint32_t seq, n_entries;
    uint8_t *entries;     // payload of INDX
    size_t entries_cap;
    unsigned n_prov;
    uint8_t prev[16];
    input *inputs;
    size_t n_inputs, inputs_cap;
    rs_tensor tensor;     // of the open TENS
    rs_stat_head stat;    // of the open sTAT
    rs_frame_type type;   // of the open frame
    uint64_t sum;         // that the meta of the open frame names
    enum { BETWEEN, INSIDE, BROKEN, DONE } state;
};

static rs_status emit(rs_writer *w, const void *bytes, size_t n, rs_error *e)
{
    rs_hash_add_128(w->payload.stream, bytes, n);
    w->offset += n;
    return rs_out_write(w->out, bytes, n, e);
}

static rs_status zeros(rs_writer *w, size_t n, rs_error *e)
{
    static const uint8_t zero[4096];
    return n > 0 ? emit(w, zero, n, e) : RS_OK;
}

// A frame up to its payload. From here to close_frame the stream stands inside a frame, and an error breaks it.
static rs_status open_frame(rs_writer *w, const char *tag, const uint8_t *meta, size_t meta_len, uint64_t payload_len, rs_error *e)
{
    uint8_t prologue[RS_PROLOGUE_LEN], check[4];
    rs_prologue p = {.type = rs_bytes_type(tag), .meta_len = (uint32_t)meta_len, .seq = w->seq, .payload_len = payload_len};
    memcpy(p.tag, tag, 5);
    if (!rs_bytes_pad(w->offset, meta_len, p.type == RS_FRAME_TENS ? w->head.align : 8, &p.pad_len)) return rs_fail(e, RS_E_LIMIT, "stream is too long");
    RS_TRY(rs_bytes_check_lengths(&p, w->offset, w->head.align, e));
    rs_bytes_prologue(prologue, &p);
    rs_put_u32(check, rs_hash_32(meta, meta_len));
    w->state = INSIDE;
    w->type = p.type;
    RS_TRY(emit(w, prologue, sizeof prologue, e));
    RS_TRY(emit(w, meta, meta_len, e));
    RS_TRY(emit(w, check, sizeof check, e));
    RS_TRY(zeros(w, p.pad_len, e));
    w->seq++;
    return RS_OK;
}

static rs_status close_frame(rs_writer *w, rs_error *e)
{
    RS_TRY(zeros(w, (size_t)(-w->offset & 7), e));
    w->state = BETWEEN;
    return RS_OK;
}

// Meta bytes (malloc) of a record, judged as a reader will judge them.
static rs_status encode(rs_frame_type type, const void *from, uint8_t **meta, size_t *len, rs_error *e)
{
    rs_arena *a = rs_arena_new();
    rs_record back;
    rs_value *map;
    *meta = NULL;
    rs_frames_how how = {.arena = a};
    rs_status st = a == NULL ? rs_fail(e, RS_E_NOMEM, "metadata") : rs_frames_put(type, a, from, &map, e);
    if (st == RS_OK) st = rs_frames_get(type, &how, map, &back, e);
    if (st == RS_OK) st = rs_meta_encode(map, meta, len, e);
    rs_arena_free(a);
    return st;
}

// A frame whose payload is at hand.
static rs_status write_frame(rs_writer *w, rs_frame_type type, const void *from, const uint8_t *payload, size_t n, rs_error *e)
{
    uint8_t *meta;
    size_t len;
    RS_TRY(encode(type, from, &meta, &len, e));
    rs_status st = open_frame(w, rs_bytes_tag(type), meta, len, n, e);
    free(meta);
    RS_TRY(st);
    RS_TRY(emit(w, payload, n, e));
    return close_frame(w, e);
}

// Every public call passes through here: after an error in the middle of a frame nothing more can be written.
static rs_status ended(rs_writer *w, rs_status st)
{
    if (st != RS_OK && w->state == INSIDE) w->state = BROKEN;
    return st;
}

static rs_status expect(const rs_writer *w, bool inside, bool chain, rs_error *e)
{
    if (w->state != (inside ? INSIDE : BETWEEN)) return rs_fail(e, RS_E_INTERNAL, "writer: call out of turn");
    if (!inside && chain && w->n_prov == 0) return rs_fail(e, RS_E_INTERNAL, "writer: content before the provenance chain");
    return RS_OK;
}

rs_status rs_writer_open(rs_writer **out_w, rs_out *out, const rs_head *head, rs_error *e)
{
    uint8_t signature[RS_SIGNATURE_LEN];
    rs_writer *w = calloc(1, sizeof *w);
    *out_w = w;
    if (w == NULL) return rs_fail(e, RS_E_NOMEM, "writer");
    w->out = out;
    w->state = BROKEN;
    w->head = *head;
    if (head->kind != RS_KIND_WEIGHTS) w->head.plan = rs_plan_none();
    w->head.incompat = rs_plan_incompat(&w->head.plan);
    w->arena = rs_arena_new();
    size_t bytes = w->head.plan.n_except * sizeof *head->plan.except;
    w->head.plan.except = w->arena != NULL ? rs_arena_alloc(w->arena, bytes + 1) : NULL;
    w->census = rs_census_new(&w->head);
    rs_status st = rs_payload_init(&w->payload, e);
    if (w->head.plan.except == NULL || w->census == NULL) st = rs_fail(e, RS_E_NOMEM, "writer");
    if (st == RS_OK) {
        if (bytes > 0) memcpy(w->head.plan.except, head->plan.except, bytes);
        w->offset = rs_out_offset(out);
        if (w->offset != 0) st = rs_fail(e, RS_E_INTERNAL, "writer: the stream does not start at its beginning");
    }
    rs_bytes_signature(signature);
    if (st == RS_OK) st = emit(w, signature, sizeof signature, e);
    if (st == RS_OK) st = write_frame(w, RS_FRAME_HEAD, &w->head, NULL, 0, e);
    return ended(w, st);
}

rs_status rs_writer_prov_copy(rs_writer *w, const uint8_t *meta, size_t meta_len, rs_error *e)
{
    RS_TRY(expect(w, false, false, e));
    if (rs_census_tensors(w->census) > 0 || w->n_entries > 0) return rs_fail(e, RS_E_INTERNAL, "writer: provenance after content");
    if (w->n_prov >= RS_MAX_PROV) return rs_fail(e, RS_E_LIMIT, "more than %d links of provenance", RS_MAX_PROV);
    rs_arena *a = rs_arena_new();
    rs_prov prov;
    rs_value *map;
    rs_frames_how how = {.arena = a};
    rs_status st = a == NULL ? rs_fail(e, RS_E_NOMEM, "metadata") : rs_meta_parse(a, meta, meta_len, &map, e);
    if (st == RS_OK) st = rs_frames_get(RS_FRAME_PROV, &how, map, &prov, e);
    if (st == RS_OK && (prov.step != w->n_prov || memcmp(prov.prev, w->prev, 16) != 0)) st = rs_fail(e, RS_E_PROV, "step %u does not continue the chain", prov.step);
    rs_arena_free(a);
    RS_TRY(st);
    st = open_frame(w, "PROV", meta, meta_len, 0, e);
    if (st == RS_OK) st = close_frame(w, e);
    rs_hash_128(meta, meta_len, w->prev);
    w->n_prov++;
    return ended(w, st);
}

rs_status rs_writer_prov(rs_writer *w, const rs_prov *p, rs_error *e)
{
    rs_prov link = *p;
    uint8_t *meta;
    size_t len;
    link.step = w->n_prov;
    memcpy(link.prev, w->prev, 16);
    RS_TRY(encode(RS_FRAME_PROV, &link, &meta, &len, e));
    rs_status st = rs_writer_prov_copy(w, meta, len, e);
    free(meta);
    return st;
}

// Room for n items of size bytes in a growing array.
static bool grow(void *array, size_t *cap, size_t n, size_t size)
{
    void **p = array;
    if (n <= *cap) return true;
    size_t cap2 = *cap < 32 ? 64 : *cap * 2;
    void *q = realloc(*p, cap2 * size);
    if (q == NULL) return false;
    *p = q;
    *cap = cap2;
    return true;
}

// Entry of INDX for the frame that starts at off, whose payload starts here.
static rs_status note(rs_writer *w, uint64_t off, uint64_t payload_len, const char *name, rs_error *e)
{
    if (!grow(&w->entries, &w->entries_cap, (size_t)w->n_entries + 1, RS_ENTRY_LEN)) return rs_fail(e, RS_E_NOMEM, "index of %" PRIu32 " frames", w->n_entries);
    uint8_t *p = w->entries + (size_t)w->n_entries++ * RS_ENTRY_LEN;
    rs_put_u64(p, off);
    rs_put_u64(p + 8, w->offset);
    rs_put_u64(p + 16, payload_len);
    rs_put_u64(p + 24, rs_hash_64(name, strlen(name)));
    return RS_OK;
}

// Opens an indexed (name not NULL) or unknown frame for its payload.
static rs_status begin(rs_writer *w, const char *tag, const uint8_t *meta, size_t meta_len, uint64_t payload_len, const char *name, rs_error *e)
{
    uint64_t off = w->offset;
    RS_TRY(rs_payload_start(&w->payload, payload_len, rs_bytes_type(tag) == RS_FRAME_TENS, e));
    RS_TRY(open_frame(w, tag, meta, meta_len, payload_len, e));
    return name != NULL ? note(w, off, payload_len, name, e) : RS_OK;
}

// The payload is whole and has zeros where they belong.
static rs_status payload_whole(const rs_writer *w, rs_error *e)
{
    const rs_payload *p = &w->payload;
    if (p->at != p->len) return rs_fail(e, RS_E_INTERNAL, "writer: %" PRIu64 " payload bytes of %" PRIu64, p->at, p->len);
    if (p->bad_at != UINT64_MAX) return rs_fail(e, RS_E_TENSOR, "payload byte %" PRIu64 " is not zero, but belongs to no value", p->bad_at);
    return RS_OK;
}

rs_status rs_writer_tensor_begin(rs_writer *w, const rs_tensor *t, rs_error *e)
{
    uint8_t *meta;
    size_t len;
    RS_TRY(expect(w, false, true, e));
    RS_TRY(encode(RS_FRAME_TENS, t, &meta, &len, e));
    rs_status st = rs_census_tensor(w->census, t, e);
    if (st == RS_OK) st = begin(w, "TENS", meta, len, t->payload_len, t->name, e);
    free(meta);
    if (st != RS_OK) return ended(w, rs_error_prefix(e, st, "TENS %s", t->name));
    w->tensor = *t;
    rs_payload_watch_tensor(&w->payload, &w->tensor);
    return RS_OK;
}

rs_status rs_writer_payload(rs_writer *w, const void *bytes, size_t n, rs_error *e)
{
    RS_TRY(expect(w, true, true, e));
    if (n > w->payload.len - w->payload.at) return ended(w, rs_fail(e, RS_E_INTERNAL, "writer: more than %" PRIu64 " payload bytes", w->payload.len));
    rs_payload_add(&w->payload, bytes, n);
    w->offset += n;
    return ended(w, rs_out_write(w->out, bytes, n, e));
}

rs_status rs_writer_tensor_end(rs_writer *w, rs_error *e)
{
    RS_TRY(expect(w, true, true, e));
    rs_status st = payload_whole(w, e);
    if (st == RS_OK) st = close_frame(w, e);
    rs_tsum_head h = {.n = w->payload.n_sums};
    if (st == RS_OK) st = write_frame(w, RS_FRAME_TSUM, &h, w->payload.sums, w->payload.n_sums * 8, e);
    return ended(w, st);
}

rs_status rs_writer_tensor(rs_writer *w, const rs_tensor *t, const void *payload, rs_error *e)
{
    RS_TRY(rs_writer_tensor_begin(w, t, e));
    RS_TRY(rs_writer_payload(w, payload, (size_t)t->payload_len, e));
    return rs_writer_tensor_end(w, e);
}

// Judges a fILe, TENS or sTAT by its meta and finds its name and sum.
static rs_status judge(rs_writer *w, rs_frame_type type, const uint8_t *meta, size_t meta_len, uint64_t payload_len, char name[RS_MAX_NAME + 1], rs_error *e)
{
    rs_arena *a = rs_arena_new();
    rs_value *map;
    rs_record r;
    rs_frames_how how = {.arena = a};
    rs_status st = a == NULL ? rs_fail(e, RS_E_NOMEM, "metadata") : rs_meta_parse(a, meta, meta_len, &map, e);
    if (st == RS_OK && type != RS_FRAME_UNKNOWN) st = rs_frames_get(type, &how, map, &r, e);
    if (st == RS_OK && type == RS_FRAME_FILE) {
        if (payload_len > RS_MAX_FILE) st = rs_fail(e, RS_E_LIMIT, "fILe %s: %" PRIu64 " bytes, at most %u", r.file.name, payload_len, RS_MAX_FILE);
        if (st == RS_OK) st = rs_census_file(w->census, r.file.name, e);
        memcpy(name, r.file.name, sizeof r.file.name);
        w->sum = r.file.sum;
    } else if (st == RS_OK && type == RS_FRAME_STAT) {
        r.stat.head.payload_len = payload_len;
        st = rs_census_stat(w->census, &r.stat.head, w->n_prov, e);
        memcpy(name, r.stat.head.name, sizeof r.stat.head.name);
        w->sum = r.stat.sum;
        w->stat = r.stat.head;
    } else if (st == RS_OK && type == RS_FRAME_TENS) {
        r.tensor.payload_len = payload_len;
        st = rs_census_tensor(w->census, &r.tensor, e);
        memcpy(name, r.tensor.name, sizeof r.tensor.name);
        w->tensor = r.tensor;
    }
    rs_arena_free(a);
    return st;
}

rs_status rs_writer_copy_begin(rs_writer *w, const char tag[5], const uint8_t *meta, size_t meta_len, uint64_t payload_len, rs_error *e)
{
    char name[RS_MAX_NAME + 1];
    rs_frame_type type = rs_bytes_type(tag);
    RS_TRY(expect(w, false, true, e));
    if (type != RS_FRAME_FILE && type != RS_FRAME_STAT && type != RS_FRAME_TENS && (type != RS_FRAME_UNKNOWN || !rs_bytes_ancillary(tag))) return rs_fail(e, RS_E_INTERNAL, "writer: a %s frame is not copied", tag);
    RS_TRY(judge(w, type, meta, meta_len, payload_len, name, e));
    RS_TRY(ended(w, begin(w, tag, meta, meta_len, payload_len, type == RS_FRAME_UNKNOWN ? NULL : name, e)));
    if (type == RS_FRAME_STAT) rs_payload_watch(&w->payload, w->stat.parts, w->stat.n_parts);
    if (type == RS_FRAME_TENS) rs_payload_watch_tensor(&w->payload, &w->tensor);
    return RS_OK;
}

rs_status rs_writer_copy_end(rs_writer *w, rs_error *e)
{
    RS_TRY(expect(w, true, true, e));
    if (w->type == RS_FRAME_TENS) return rs_writer_tensor_end(w, e);
    rs_status st = payload_whole(w, e);
    if (st == RS_OK && w->type != RS_FRAME_UNKNOWN && rs_payload_sum(&w->payload) != w->sum)
        st = rs_fail(e, RS_E_SUM, "payload: xxh3 %016" PRIx64 ", stored %016" PRIx64, rs_payload_sum(&w->payload), w->sum);
    if (st == RS_OK) st = close_frame(w, e);
    return ended(w, st);
}

rs_status rs_writer_copy(rs_writer *w, const char tag[5], const uint8_t *meta, size_t meta_len, const void *payload, size_t payload_len, rs_error *e)
{
    RS_TRY(rs_writer_copy_begin(w, tag, meta, meta_len, payload_len, e));
    RS_TRY(rs_writer_payload(w, payload, payload_len, e));
    return rs_writer_copy_end(w, e);
}

static rs_status write_new(rs_writer *w, rs_frame_type type, const void *from, const void *payload, size_t n, rs_error *e)
{
    uint8_t *meta;
    size_t len;
    RS_TRY(encode(type, from, &meta, &len, e));
    rs_status st = rs_writer_copy(w, rs_bytes_tag(type), meta, len, payload, n, e);
    free(meta);
    return st;
}

rs_status rs_writer_file(rs_writer *w, const char *name, const void *data, size_t len, rs_error *e)
{
    rs_file_head h = {.sum = rs_hash_64(data, len)};
    if (strlen(name) > RS_MAX_NAME) return rs_fail(e, RS_E_META, "fILe: name of %zu bytes", strlen(name));
    snprintf(h.name, sizeof h.name, "%s", name);
    rs_status st = write_new(w, RS_FRAME_FILE, &h, data, len, e);
    return st == RS_OK ? st : rs_error_prefix(e, st, "fILe %s", h.name);
}

rs_status rs_writer_stat(rs_writer *w, const rs_stat_head *s, const void *payload, rs_error *e)
{
    rs_stat_frame f = {.head = *s, .sum = rs_hash_64(payload, (size_t)s->payload_len)};
    rs_status st = write_new(w, RS_FRAME_STAT, &f, payload, (size_t)s->payload_len, e);
    return st == RS_OK ? st : rs_error_prefix(e, st, "sTAT %s", s->name);
}

rs_status rs_writer_input(rs_writer *w, unsigned step, const rs_input_sum *in, rs_error *e)
{
    if (step >= w->n_prov) return rs_fail(e, RS_E_INTERNAL, "writer: input of step %u, the chain has %u", step, w->n_prov);
    if (!grow(&w->inputs, &w->inputs_cap, w->n_inputs + 1, sizeof *w->inputs)) return rs_fail(e, RS_E_NOMEM, "inputs");
    w->inputs[w->n_inputs++] = (input){step, *in};
    return RS_OK;
}

static rs_status write_psum(rs_writer *w, unsigned step, rs_input_sum *room, rs_error *e)
{
    rs_psum_head h = {.step = step, .in = room};
    for (size_t i = 0; i < w->n_inputs; i++)
        if (w->inputs[i].step == step) room[h.n_in++] = w->inputs[i].sum;
    return write_frame(w, RS_FRAME_PSUM, &h, NULL, 0, e);
}

static rs_status write_end(rs_writer *w, rs_error *e)
{
    uint8_t payload[RS_TAIL_LEN];
    rs_indx_head h = {.sum = rs_hash_64(w->entries, (size_t)w->n_entries * RS_ENTRY_LEN)};
    rs_tail t = {.index_off = w->offset, .n_tensors = rs_census_tensors(w->census)};
    RS_TRY(write_frame(w, RS_FRAME_INDX, &h, w->entries, (size_t)w->n_entries * RS_ENTRY_LEN, e));
    t.n_frames = w->seq + 1;
    t.end_off = w->offset;
    rs_hash_get_128(w->payload.stream, t.digest);
    t.total_size = w->offset + RS_PROLOGUE_LEN + 1 + 4 + 3 + RS_TAIL_LEN; // the empty map is 1 byte, 3 of pad follow its check
    rs_bytes_tail(payload, &t);
    return write_frame(w, RS_FRAME_ENDS, NULL, payload, sizeof payload, e);
}

rs_status rs_writer_finish(rs_writer *w, rs_error *e)
{
    RS_TRY(expect(w, false, true, e));
    RS_TRY(rs_census_complete(w->census, e));
    rs_input_sum *room = calloc(w->n_inputs + 1, sizeof *room);
    if (room == NULL) return rs_fail(e, RS_E_NOMEM, "inputs");
    rs_status st = RS_OK;
    for (unsigned i = 0; i < w->n_prov && st == RS_OK; i++) st = write_psum(w, i, room, e);
    free(room);
    if (st == RS_OK) st = write_end(w, e);
    if (st == RS_OK) st = rs_out_commit(w->out, e);
    if (st == RS_OK) w->state = DONE;
    return ended(w, st);
}

unsigned rs_writer_steps(const rs_writer *w)
{
    return w->n_prov;
}

void rs_writer_abort(rs_writer *w, rs_status status, const char *tool, const char *text)
{
    if (w == NULL || w->state != BETWEEN) return;
    rs_abrt_head h = {.status = (unsigned)status, .text = text != NULL ? text : "", .tool = tool != NULL ? tool : ""};
    rs_status ignored = write_frame(w, RS_FRAME_ABRT, &h, NULL, 0, NULL);
    (void)ignored;
    w->state = BROKEN;
}

void rs_writer_free(rs_writer *w)
{
    if (w == NULL) return;
    rs_payload_free(&w->payload);
    rs_census_free(w->census);
    rs_arena_free(w->arena);
    free(w->entries);
    free(w->inputs);
    free(w);
}
