// SPDX-License-Identifier: Apache-2.0
// A quick look at a seekable stream: signature and HEAD from the front, tail and INDX from the end. It is no check: payloads are not read.
#include "formats/quick.h"

#include "formats/endian.h"
#include "formats/hash.h"
#include "formats/meta.h"
#include "formats/reader.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ENDS_LEN (RS_PROLOGUE_LEN + 1 + 4 + 3 + RS_TAIL_LEN)

rs_status rs_quick_prologue(const rs_quick *q, uint64_t offset, rs_prologue *p, rs_error *e)
{
    uint8_t raw[RS_PROLOGUE_LEN];
    RS_TRY(rs_in_pread(q->in, raw, sizeof raw, offset, e));
    RS_TRY(rs_bytes_read_prologue(raw, p, e));
    return rs_bytes_check_lengths(p, offset, q->align, e);
}

rs_status rs_quick_frame(const rs_quick *q, rs_arena *a, uint64_t offset, rs_frame_type type, rs_prologue *p, uint64_t *payload_off, void *record, rs_error *e)
{
    rs_value *map;
    rs_frames_how how = {.arena = a, .newer = q->minor > RS_MINOR};
    RS_TRY(rs_quick_prologue(q, offset, p, e));
    if (type != RS_FRAME_END && p->type != type) return rs_fail(e, type == RS_FRAME_HEAD ? RS_E_FRAME : RS_E_INDEX, "a %s frame stands where %s belongs", p->tag, rs_bytes_tag(type));
    uint8_t *meta = malloc((size_t)p->meta_len + 4);
    if (meta == NULL) return rs_fail(e, RS_E_NOMEM, "metadata");
    rs_status st = rs_in_pread(q->in, meta, (size_t)p->meta_len + 4, offset + RS_PROLOGUE_LEN, e);
    if (st == RS_OK && !rs_bytes_same(rs_hash_32(meta, p->meta_len), rs_get_u32(meta + p->meta_len))) st = rs_fail(e, RS_E_SUM, "meta check does not agree");
    if (st == RS_OK) st = rs_meta_parse(a, meta, p->meta_len, &map, e);
    if (st == RS_OK && p->type != RS_FRAME_UNKNOWN) st = rs_frames_get(p->type, &how, map, record, e);
    free(meta);
    *payload_off = offset + RS_PROLOGUE_LEN + p->meta_len + 4 + p->pad_len;
    return st;
}

// The tail, and what it says about itself.
static rs_status read_tail(rs_in *in, uint64_t size, rs_tail *t, rs_error *e)
{
    uint8_t raw[RS_TAIL_LEN];
    if (size < RS_SIGNATURE_LEN + ENDS_LEN) return rs_fail(e, RS_E_TRUNC, "tail: %" PRIu64 " bytes have no room for one", size);
    RS_TRY(rs_in_pread(in, raw, sizeof raw, size - RS_TAIL_LEN, e));
    if (memcmp(raw, "RSQTAIL\n", 8) != 0) return rs_fail(e, RS_E_TRUNC, "tail: the last 64 bytes are none: the stream is cut, or bytes follow it");
    RS_TRY(rs_bytes_read_tail(raw, t, e));
    if (t->total_size < size) return rs_fail(e, RS_E_TRAIL, "tail: total_size %" PRIu64 " of %" PRIu64 " bytes", t->total_size, size);
    if (t->total_size > size || t->end_off != size - ENDS_LEN) return rs_fail(e, RS_E_INDEX, "tail: total_size %" PRIu64 ", end_off %" PRIu64 " of %" PRIu64 " bytes", t->total_size, t->end_off, size);
    if (t->index_off >= t->end_off || t->index_off % 8 != 0) return rs_fail(e, RS_E_INDEX, "tail: index_off %" PRIu64 " is not before the end", t->index_off);
    return RS_OK;
}

// Entries ascend and lie before the index.
static rs_status check_entries(rs_in *in, uint64_t at, uint64_t n, uint64_t limit, uint64_t stored, rs_error *e)
{
    uint8_t entry[128 * RS_ENTRY_LEN];
    uint64_t end = RS_SIGNATURE_LEN;
    rs_hash *h = rs_hash_new();
    if (h == NULL) return rs_fail(e, RS_E_NOMEM, "index");
    rs_hash_start_64(h);
    rs_status st = RS_OK;
    for (uint64_t i = 0; i < n && st == RS_OK; i += 128) {
        size_t k = n - i < 128 ? (size_t)(n - i) : 128;
        st = rs_in_pread(in, entry, k * RS_ENTRY_LEN, at + i * RS_ENTRY_LEN, e);
        if (st != RS_OK) break;
        rs_hash_add_64(h, entry, k * RS_ENTRY_LEN);
        for (size_t j = 0; j < k && st == RS_OK; j++) {
            const uint8_t *p = entry + j * RS_ENTRY_LEN;
            uint64_t frame = rs_get_u64(p), payload = rs_get_u64(p + 8), to;
            if (frame < end || payload < frame || !rs_add_ok(payload, rs_get_u64(p + 16), &to) || to > limit) st = rs_fail(e, RS_E_INDEX, "INDX: entry %" PRIu64 " lies outside its place", i + j);
            else end = to;
        }
    }
    uint64_t sum = rs_hash_get_64(h);
    rs_hash_free(h);
    if (st == RS_OK && !rs_bytes_same(sum, stored)) st = rs_fail(e, RS_E_SUM, "INDX: xxh3 %016" PRIx64 ", stored %016" PRIx64, sum, stored);
    return st;
}

rs_status rs_quick_open(rs_quick *q, rs_in *in, rs_arena *a, rs_head *head, rs_error *e)
{
    uint8_t signature[RS_SIGNATURE_LEN];
    uint64_t size, payload_off;
    rs_prologue p;
    rs_indx_head indx;
    *q = (rs_quick){.in = in, .align = 64};
    if (!rs_in_seekable(in)) return rs_fail(e, RS_USAGE, "a quick look needs a file, not a pipe");
    RS_TRY(rs_in_size(in, &size, e));
    size_t got = size < sizeof signature ? (size_t)size : sizeof signature;
    RS_TRY(rs_in_pread(in, signature, got, 0, e));
    RS_TRY(rs_bytes_read_signature(signature, got, &q->minor, e));
    rs_status st = rs_quick_frame(q, a, RS_SIGNATURE_LEN, RS_FRAME_HEAD, &p, &payload_off, head, e);
    if (st != RS_OK) return rs_error_prefix(e, st, "frame 0 HEAD");
    q->align = head->align;
    q->chain_off = (payload_off + 7) / 8 * 8;
    RS_TRY(read_tail(in, size, &q->tail, e));
    st = rs_quick_frame(q, a, q->tail.index_off, RS_FRAME_INDX, &p, &payload_off, &indx, e);
    if (st != RS_OK) return rs_error_prefix(e, st, "INDX at offset %" PRIu64, q->tail.index_off);
    uint64_t end;
    q->entries_off = payload_off;
    q->n_entries = p.payload_len / RS_ENTRY_LEN;
    if (p.payload_len % RS_ENTRY_LEN != 0 || !rs_add_ok(payload_off, p.payload_len, &end) || end != q->tail.end_off || q->tail.n_tensors > q->n_entries || q->tail.n_frames != p.seq + 2)
        return rs_fail(e, RS_E_INDEX, "INDX: its %" PRIu64 " bytes disagree with the tail", p.payload_len);
    return check_entries(in, payload_off, q->n_entries, q->tail.index_off, indx.sum, e);
}

rs_status rs_reader_quick(rs_in *in, rs_arena *a, rs_head *head, uint8_t digest[16], uint32_t *frames, uint32_t *tensors, rs_error *e)
{
    rs_head room;
    rs_quick q;
    RS_TRY(rs_quick_open(&q, in, a, head != NULL ? head : &room, e));
    if (digest != NULL) memcpy(digest, q.tail.digest, 16);
    if (frames != NULL) *frames = q.tail.n_frames;
    if (tensors != NULL) *tensors = q.tail.n_tensors;
    return RS_OK;
}
