// SPDX-License-Identifier: Apache-2.0
// The pull iterator: opens a stream, hands out frames, verifies payloads as they pass, and lets the end be the end only when everything agreed.
#include "formats/reader.h"

#include "formats/endian.h"
#include "formats/reader_frame.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// The first error is kept; every public call hands it out.
static rs_status report(rs_reader *r, rs_status st, rs_error *e)
{
    if (st != RS_OK && r->error.status == RS_OK) r->error.status = st;
    if (st != RS_OK && e != NULL && e->status == RS_OK) *e = r->error;
    return st;
}

static rs_status new_reader(rs_reader **out, rs_error *e)
{
    rs_reader *r = calloc(1, sizeof *r);
    *out = r;
    if (r == NULL) return rs_fail(e, RS_E_NOMEM, "reader");
    r->block = malloc(RS_READER_BLOCK);
    r->arena = rs_arena_new();
    r->index = rs_hash_new();
    r->sums = rs_hash_new();
    r->head.align = 64;
    if (rs_payload_init(&r->payload, NULL) != RS_OK || r->block == NULL || r->arena == NULL || r->index == NULL || r->sums == NULL) return report(r, rs_fail(&r->error, RS_E_NOMEM, "reader"), e);
    rs_hash_start_64(r->index);
    rs_hash_start_128(r->sums);
    return RS_OK;
}

// Signature, HEAD, all PROV; the prologue behind the chain is then read already.
static rs_status read_front(rs_reader *r, rs_error *e)
{
    uint8_t signature[RS_SIGNATURE_LEN];
    size_t got;
    RS_TRY(rs_reader_take_some(r, signature, sizeof signature, &got, e));
    RS_TRY(rs_bytes_read_signature(signature, got, &r->minor, e));
    if (r->strict && r->minor > RS_MINOR) return rs_fail(e, RS_E_VERSION, "signature: minor version %u is newer than %d", r->minor, RS_MINOR);
    rs_hash_add_128(r->payload.stream, signature, sizeof signature);
    for (;;) {
        RS_TRY(rs_reader_prologue(r, &r->slot, e));
        r->pending = r->slot.p.type != RS_FRAME_HEAD && r->slot.p.type != RS_FRAME_PROV;
        if (r->pending) return RS_OK;
        RS_TRY(rs_reader_meta(r, &r->slot, e));
        RS_TRY(rs_reader_take_zeros(r, (size_t)(-r->pos & 7), true, "closing", e));
    }
}

static rs_status open_on(rs_reader **out, rs_in *in, const void *view, uint64_t len, bool strict, rs_reader_sink *sink, void *context, rs_error *e)
{
    RS_TRY(new_reader(out, e));
    rs_reader *r = *out;
    r->in = in;
    r->view = view;
    r->view_len = len;
    r->strict = strict;
    r->sink = sink;
    r->sink_context = context;
    return report(r, read_front(r, &r->error), e);
}

rs_status rs_reader_open(rs_reader **r, rs_in *in, rs_error *e)
{
    return open_on(r, in, NULL, 0, false, NULL, NULL, e);
}

rs_status rs_reader_open_strict(rs_reader **r, rs_in *in, rs_error *e)
{
    return open_on(r, in, NULL, 0, true, NULL, NULL, e);
}

rs_status rs_reader_open_view(rs_reader **r, const void *bytes, uint64_t len, rs_error *e)
{
    return open_on(r, NULL, bytes, len, false, NULL, NULL, e);
}

rs_status rs_reader_open_sink(rs_reader **r, rs_in *in, rs_reader_sink *sink, void *context, rs_error *e)
{
    return open_on(r, in, NULL, 0, false, sink, context, e);
}

void rs_reader_free(rs_reader *r)
{
    if (r == NULL) return;
    for (unsigned i = 0; i < r->n_prov; i++) free(r->prov_meta[i]);
    free(r->slot.meta);
    free(r->tsum.meta);
    rs_arena_free(r->slot.arena);
    rs_arena_free(r->tsum.arena);
    rs_arena_free(r->arena);
    rs_census_free(r->census);
    rs_payload_free(&r->payload);
    rs_hash_free(r->index);
    rs_hash_free(r->sums);
    free(r->block);
    free(r);
}

// ---- payloads

// Takes n bytes of the open payload into buf; NULL: they are only hashed, where they lie if the source is a view.
static rs_status take_payload(rs_reader *r, uint8_t *buf, uint64_t n, rs_error *e)
{
    while (n > 0) {
        size_t k = buf != NULL || r->view != NULL ? SIZE_MAX / 2 : RS_READER_BLOCK, got;
        if (k > n) k = (size_t)n;
        const uint8_t *from = buf != NULL ? buf : r->block;
        if (buf == NULL && r->view != NULL) {
            from = r->view + r->pos;
            got = k < r->view_len - r->pos ? k : (size_t)(r->view_len - r->pos);
            r->pos += got;
        } else {
            RS_TRY(rs_reader_take_some(r, buf != NULL ? buf : r->block, k, &got, e));
        }
        if (got < k) return rs_fail(e, RS_E_TRUNC, "the stream ends at offset %" PRIu64 ", inside the payload", r->pos);
        rs_payload_add(&r->payload, from, k);
        r->left -= k;
        n -= k;
        if (buf != NULL) buf += k;
    }
    return RS_OK;
}

// Reads the TSUM behind the tensor in r->slot and compares it with the chunks as they were.
static rs_status compare_chunks(rs_reader *r, rs_error *e)
{
    RS_TRY(rs_reader_prologue(r, &r->tsum, e));
    RS_TRY(rs_reader_meta(r, &r->tsum, e));
    const rs_payload *p = &r->payload;
    size_t bad = SIZE_MAX;
    uint64_t stored = 0;
    for (size_t i = 0; i < p->n_sums;) {
        size_t k = p->n_sums - i < RS_READER_BLOCK / 8 ? p->n_sums - i : RS_READER_BLOCK / 8;
        rs_status st = rs_reader_take(r, r->block, k * 8, true, "payload", e);
        if (st != RS_OK) return rs_reader_blame(r, &r->tsum, st, e);
        rs_hash_add_128(r->sums, r->block, k * 8);
        for (size_t j = 0; j < k && bad == SIZE_MAX; j++)
            if (!rs_bytes_same(rs_get_u64(p->sums + (i + j) * 8), rs_get_u64(r->block + j * 8))) {
                bad = i + j;
                stored = rs_get_u64(r->block + j * 8);
            }
        i += k;
    }
    rs_status st = RS_OK;
    if (bad != SIZE_MAX)
        st = rs_fail(e, RS_E_SUM, "chunk %zu of %zu at offset %" PRIu64 ": xxh3 %016" PRIx64 ", stored %016" PRIx64, bad + 1, p->n_sums, r->slot.payload_off + bad * (uint64_t)RS_CHUNK,
                     rs_get_u64(p->sums + bad * 8), stored);
    else if (p->bad_at != UINT64_MAX)
        st = rs_fail(e, RS_E_TENSOR, "payload byte %" PRIu64 " belongs to no value and is not zero", p->bad_at);
    if (st != RS_OK) return rs_reader_blame(r, &r->slot, st, e);
    return rs_reader_take_zeros(r, (size_t)(-r->pos & 7), true, "closing", e);
}

static rs_status compare_sum(rs_reader *r, uint64_t stored, rs_error *e)
{
    uint64_t computed = rs_payload_sum(&r->payload);
    if (!rs_bytes_same(computed, stored)) return rs_fail(e, RS_E_SUM, "payload: xxh3 %016" PRIx64 ", stored %016" PRIx64, computed, stored);
    if (r->payload.bad_at != UINT64_MAX) return rs_fail(e, RS_E_TENSOR, "payload byte %" PRIu64 " belongs to no value and is not zero", r->payload.bad_at);
    return RS_OK;
}

static rs_status finish(rs_reader *r, rs_error *e)
{
    rs_slot *s = &r->slot;
    if (!r->open) return RS_OK;
    rs_status st = take_payload(r, NULL, r->left, e);
    if (st == RS_OK) st = rs_reader_take_zeros(r, (size_t)(-r->pos & 7), true, "closing", e);
    if (st == RS_OK && s->p.type == RS_FRAME_FILE) st = compare_sum(r, s->record.file.sum, e);
    if (st == RS_OK && s->p.type == RS_FRAME_STAT) st = compare_sum(r, s->record.stat.sum, e);
    if (st != RS_OK) return rs_reader_blame(r, s, st, e);
    r->open = false;
    return s->p.type == RS_FRAME_TENS ? compare_chunks(r, e) : RS_OK;
}

rs_status rs_reader_read(rs_reader *r, void *buf, size_t n, rs_error *e)
{
    if (r->error.status != RS_OK) return report(r, r->error.status, e);
    if (!r->open || n > r->left) return report(r, rs_fail(&r->error, RS_E_INTERNAL, "reader: more asked than the payload has"), e);
    rs_status st = take_payload(r, buf, n, &r->error);
    if (st != RS_OK) st = rs_reader_blame(r, &r->slot, st, &r->error);
    return report(r, st, e);
}

rs_status rs_reader_finish_payload(rs_reader *r, rs_error *e)
{
    if (r->error.status != RS_OK) return report(r, r->error.status, e);
    return report(r, finish(r, &r->error), e);
}

rs_status rs_reader_read_all(rs_reader *r, void *buf, rs_error *e)
{
    RS_TRY(rs_reader_read(r, buf, (size_t)r->left, e));
    return rs_reader_finish_payload(r, e);
}

// ---- frames

static rs_status read_index(rs_reader *r, rs_error *e)
{
    RS_TRY(rs_payload_start(&r->payload, r->slot.p.payload_len, false, e));
    r->left = r->slot.p.payload_len;
    RS_TRY(take_payload(r, NULL, r->left, e));
    RS_TRY(compare_sum(r, r->slot.record.indx.sum, e));
    if (rs_payload_sum(&r->payload) != rs_hash_get_64(r->index)) return rs_fail(e, RS_E_INDEX, "an entry disagrees with the frames");
    return rs_reader_take_zeros(r, (size_t)(-r->pos & 7), true, "closing", e);
}

static rs_status field(const char *what, uint64_t stored, uint64_t found, rs_error *e)
{
    return stored == found ? RS_OK : rs_fail(e, RS_E_INDEX, "tail: %s %" PRIu64 ", the stream has %" PRIu64, what, stored, found);
}

static rs_status read_end(rs_reader *r, rs_error *e)
{
    uint8_t raw[RS_TAIL_LEN];
    char computed[33], stored[33];
    rs_tail t;
    size_t got;
    rs_hash_get_128(r->payload.stream, r->digest);
    rs_hash_get_128(r->sums, r->tensors);
    RS_TRY(rs_reader_take(r, raw, sizeof raw, false, "tail", e));
    RS_TRY(rs_bytes_read_tail(raw, &t, e));
    RS_TRY(field("index_off", t.index_off, r->index_off, e));
    RS_TRY(field("end_off", t.end_off, r->slot.offset, e));
    RS_TRY(field("total_size", t.total_size, r->pos, e));
    RS_TRY(field("frames", t.n_frames, r->seq, e));
    RS_TRY(field("tensors", t.n_tensors, rs_census_tensors(r->census), e));
    rs_bytes_hex(r->digest, computed);
    rs_bytes_hex(t.digest, stored);
    if (!rs_bytes_same(rs_get_u64(r->digest), rs_get_u64(t.digest)) || !rs_bytes_same(rs_get_u64(r->digest + 8), rs_get_u64(t.digest + 8)))
        return rs_fail(e, RS_E_SUM, "digest of the stream: xxh3 %s, stored %s", computed, stored);
    RS_TRY(rs_reader_take_some(r, raw, 1, &got, e));
    return got == 0 ? RS_OK : rs_fail(e, RS_E_TRAIL, "bytes after the end at offset %" PRIu64, t.total_size);
}

// Opens the payload of the frame in r->slot for the caller.
static rs_status give(rs_reader *r, rs_frame *f, rs_error *e)
{
    rs_slot *s = &r->slot;
    rs_frame_type type = s->p.type;
    RS_TRY(rs_payload_start(&r->payload, s->p.payload_len, type == RS_FRAME_TENS, e));
    if (type == RS_FRAME_TENS) rs_payload_watch_tensor(&r->payload, &s->record.tensor);
    if (type == RS_FRAME_STAT) rs_payload_watch(&r->payload, s->record.stat.head.parts, s->record.stat.head.n_parts);
    r->left = s->p.payload_len;
    r->open = true;
    *f = (rs_frame){.type = type, .seq = s->p.seq, .offset = s->offset, .payload_off = s->payload_off, .payload_len = s->p.payload_len, .meta = s->meta, .meta_len = s->p.meta_len};
    memcpy(f->tag, s->p.tag, sizeof f->tag);
    if (type == RS_FRAME_FILE) f->file_name = s->record.file.name;
    if (type == RS_FRAME_TENS) f->tensor = &s->record.tensor;
    if (type == RS_FRAME_STAT) f->stat = &s->record.stat.head;
    return RS_OK;
}

static rs_status next(rs_reader *r, rs_frame *f, rs_error *e)
{
    rs_slot *s = &r->slot;
    memset(f, 0, sizeof *f);
    RS_TRY(finish(r, e));
    while (r->place != RS_AT_END || r->pending) {
        if (!r->pending) RS_TRY(rs_reader_prologue(r, s, e));
        r->pending = false;
        RS_TRY(rs_reader_meta(r, s, e));
        rs_status st = RS_OK;
        switch (s->p.type) {
        case RS_FRAME_PSUM: st = rs_reader_take_zeros(r, (size_t)(-r->pos & 7), true, "closing", e); break;
        case RS_FRAME_INDX: st = read_index(r, e); break;
        case RS_FRAME_ENDS: st = read_end(r, e); break;
        default:
            RS_TRY(give(r, f, e));
            if (s->p.type != RS_FRAME_UNKNOWN || rs_bytes_safe(s->p.tag)) return RS_OK;
            RS_TRY(finish(r, e)); // not safe to copy: dropped
            memset(f, 0, sizeof *f);
        }
        if (st != RS_OK) return rs_reader_blame(r, s, st, e);
    }
    return RS_OK;
}

rs_status rs_reader_next(rs_reader *r, rs_frame *f, rs_error *e)
{
    if (r->error.status != RS_OK) return report(r, r->error.status, e);
    return report(r, next(r, f, &r->error), e);
}

// ---- what was read

const rs_head *rs_reader_head(const rs_reader *r)
{
    return &r->head;
}

const rs_prov *rs_reader_prov(const rs_reader *r, size_t *n)
{
    *n = r->n_prov;
    return r->prov;
}

const uint8_t *rs_reader_prov_meta(const rs_reader *r, size_t i, size_t *len)
{
    if (i >= r->n_prov) return NULL;
    *len = r->prov_meta_len[i];
    return r->prov_meta[i];
}

void rs_reader_digest(const rs_reader *r, uint8_t digest[16], uint8_t tensors[16], uint64_t *size)
{
    if (digest != NULL) memcpy(digest, r->digest, 16);
    if (tensors != NULL) memcpy(tensors, r->tensors, 16);
    if (size != NULL) *size = r->pos;
}

const rs_input_sum *rs_reader_inputs(const rs_reader *r, unsigned step, size_t *n)
{
    *n = 0;
    if (step >= r->n_psum) return NULL;
    *n = r->psum[step].n_in;
    return r->psum[step].in;
}

uint32_t rs_reader_frames(const rs_reader *r)
{
    return r->seq;
}

uint32_t rs_reader_tensors(const rs_reader *r)
{
    return r->census != NULL ? rs_census_tensors(r->census) : 0;
}
