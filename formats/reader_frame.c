// SPDX-License-Identifier: Apache-2.0
// One frame from its prologue to its payload: place in the order, lengths, metadata, and what its fields must agree on.
#include "formats/reader_frame.h"

#include "formats/endian.h"
#include "formats/meta.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

rs_status rs_reader_take_some(rs_reader *r, void *buf, size_t n, size_t *got, rs_error *e)
{
    if (r->view != NULL) {
        *got = n < r->view_len - r->pos ? n : (size_t)(r->view_len - r->pos);
        memcpy(buf, r->view + r->pos, *got);
    } else {
        RS_TRY(rs_in_read(r->in, buf, n, got, e));
        if (r->sink != NULL && *got > 0) RS_TRY(r->sink(r->sink_context, buf, *got, e));
    }
    r->pos += *got;
    return RS_OK;
}

rs_status rs_reader_take(rs_reader *r, void *buf, size_t n, bool hashed, const char *what, rs_error *e)
{
    size_t got = 0;
    if (n == 0) return RS_OK;
    RS_TRY(rs_reader_take_some(r, buf, n, &got, e));
    if (got < n) return rs_fail(e, RS_E_TRUNC, "the stream ends at offset %" PRIu64 ", inside the %s", r->pos, what);
    if (hashed) rs_hash_add_128(r->payload.stream, buf, n);
    return RS_OK;
}

rs_status rs_reader_take_zeros(rs_reader *r, size_t n, bool hashed, const char *what, rs_error *e)
{
    RS_TRY(rs_reader_take(r, r->block, n, hashed, what, e));
    for (size_t i = 0; i < n; i++)
        if (r->block[i] != 0) return rs_fail(e, RS_E_FRAME, "%s byte at offset %" PRIu64 " is not zero", what, r->pos - n + i);
    return RS_OK;
}

rs_status rs_reader_blame(const rs_reader *r, const rs_slot *s, rs_status st, rs_error *e)
{
    (void)r;
    if (s->p.tag[0] == 0) return rs_error_prefix(e, st, "frame %" PRIu32 " at offset %" PRIu64, s->p.seq, s->offset);
    if (s->name == NULL) return rs_error_prefix(e, st, "frame %" PRIu32 " %s", s->p.seq, s->p.tag);
    return rs_error_prefix(e, st, "frame %" PRIu32 " %s %s", s->p.seq, s->p.tag, s->name);
}

// Where the stream stands after a frame of type p->type, or the error of a frame in a wrong place.
static rs_status step(rs_reader *r, const rs_prologue *p, rs_error *e)
{
    rs_place at = r->place;
    bool body = at == RS_IN_CHAIN || at == RS_IN_BODY, psum = body || at == RS_IN_PSUM;
    bool missing = r->n_psum < r->n_prov;
    switch (p->type) {
    case RS_FRAME_HEAD:
        if (at != RS_AT_HEAD) break;
        r->place = RS_AT_PROV;
        return RS_OK;
    case RS_FRAME_PROV:
        if (at != RS_AT_PROV && at != RS_IN_CHAIN) break;
        r->place = RS_IN_CHAIN;
        return RS_OK;
    case RS_FRAME_FILE:
    case RS_FRAME_STAT:
    case RS_FRAME_UNKNOWN:
        if (!body) break;
        r->place = RS_IN_BODY;
        return RS_OK;
    case RS_FRAME_TENS:
        if (!body) break;
        r->place = RS_AT_TSUM;
        return RS_OK;
    case RS_FRAME_TSUM:
        if (at != RS_AT_TSUM) break;
        r->place = RS_IN_BODY;
        return RS_OK;
    case RS_FRAME_PSUM:
        if ((psum && !missing) || at == RS_AT_ENDS) return rs_fail(e, RS_E_PROV, "more PSUM than PROV");
        if (!psum) break;
        r->place = RS_IN_PSUM;
        return RS_OK;
    case RS_FRAME_INDX:
        if (psum && missing) return rs_fail(e, RS_E_PROV, "PSUM of step %u is missing", r->n_psum);
        if (at != RS_IN_PSUM) break;
        r->place = RS_AT_ENDS;
        return RS_OK;
    case RS_FRAME_ENDS:
        if (psum && missing) return rs_fail(e, RS_E_PROV, "PSUM of step %u is missing", r->n_psum);
        if (at != RS_AT_ENDS) break;
        r->place = RS_AT_END;
        return RS_OK;
    case RS_FRAME_ABRT:
        if (at == RS_AT_HEAD) break;
        return RS_OK;
    case RS_FRAME_END:
        break;
    }
    static const char *const wanted[] = {"HEAD", "PROV", "PROV, content or PSUM", "content or PSUM", "TSUM", "PSUM or INDX", "ENDS", "nothing"};
    return rs_fail(e, RS_E_FRAME, "stands where %s belongs", wanted[at]);
}

// Payload lengths that are fixed by the type.
static rs_status check_payload_len(const rs_reader *r, const rs_prologue *p, rs_error *e)
{
    uint64_t want = 0, n = r->payload.n_sums;
    switch (p->type) {
    case RS_FRAME_HEAD:
    case RS_FRAME_PROV:
    case RS_FRAME_PSUM:
    case RS_FRAME_ABRT: break;
    case RS_FRAME_TSUM: want = 8 * n; break;
    case RS_FRAME_ENDS: want = RS_TAIL_LEN; break;
    case RS_FRAME_INDX:
        want = (uint64_t)r->n_entries * RS_ENTRY_LEN;
        return p->payload_len == want ? RS_OK : rs_fail(e, RS_E_INDEX, "payload of %" PRIu64 " bytes, %" PRIu32 " frames make %" PRIu64, p->payload_len, r->n_entries, want);
    case RS_FRAME_FILE: return p->payload_len <= RS_MAX_FILE ? RS_OK : rs_fail(e, RS_E_LIMIT, "%" PRIu64 " bytes, at most %u", p->payload_len, RS_MAX_FILE);
    case RS_FRAME_END:
    case RS_FRAME_TENS:
    case RS_FRAME_STAT:
    case RS_FRAME_UNKNOWN: return RS_OK;
    }
    return p->payload_len == want ? RS_OK : rs_fail(e, RS_E_FRAME, "payload of %" PRIu64 " bytes, not %" PRIu64, p->payload_len, want);
}

static rs_status judge_prologue(rs_reader *r, rs_slot *s, const uint8_t *raw, rs_error *e)
{
    rs_prologue *p = &s->p;
    RS_TRY(rs_bytes_read_prologue(raw, p, e));
    if (p->type == RS_FRAME_UNKNOWN && (r->strict || !rs_bytes_ancillary(p->tag)))
        return rs_fail(e, RS_E_VERSION, "unknown %s frame", rs_bytes_ancillary(p->tag) ? "ancillary" : "critical");
    if (p->seq != r->seq) return rs_fail(e, RS_E_FRAME, "seq %" PRIu32 ", %" PRIu32 " expected", p->seq, r->seq);
    RS_TRY(step(r, p, e));
    RS_TRY(rs_bytes_check_lengths(p, s->offset, r->head.align, e));
    if (p->type == RS_FRAME_PROV && r->n_prov >= RS_MAX_PROV) return rs_fail(e, RS_E_LIMIT, "more than %d links", RS_MAX_PROV);
    RS_TRY(check_payload_len(r, p, e));
    r->seq++;
    return RS_OK;
}

rs_status rs_reader_prologue(rs_reader *r, rs_slot *s, rs_error *e)
{
    uint8_t raw[RS_PROLOGUE_LEN];
    size_t got;
    memset(&s->p, 0, sizeof s->p);
    s->p.seq = r->seq;
    s->name = NULL;
    s->offset = r->pos;
    RS_TRY(rs_reader_take_some(r, raw, sizeof raw, &got, e));
    if (got == 0) return rs_fail(e, RS_E_TRUNC, "the stream ends at offset %" PRIu64 " without ENDS", r->pos);
    if (got < sizeof raw) return rs_fail(e, RS_E_TRUNC, "the stream ends at offset %" PRIu64 ", inside the prologue of frame %" PRIu32, r->pos, r->seq);
    rs_status st = judge_prologue(r, s, raw, e);
    if (st != RS_OK) return rs_reader_blame(r, s, st, e);
    if (s->p.type != RS_FRAME_ENDS) rs_hash_add_128(r->payload.stream, raw, sizeof raw);
    return RS_OK;
}

// ---- metadata

static rs_status judge_prov(rs_reader *r, rs_slot *s, rs_error *e)
{
    rs_prov *p = &s->record.prov;
    if (p->step != r->n_prov) return rs_fail(e, RS_E_PROV, "step %u, %u expected", p->step, r->n_prov);
    if (memcmp(p->prev, r->prev, 16) != 0) return rs_fail(e, RS_E_PROV, "prev is not the digest of the link before");
    uint8_t *copy = malloc(s->p.meta_len);
    if (copy == NULL) return rs_fail(e, RS_E_NOMEM, "provenance");
    memcpy(copy, s->meta, s->p.meta_len);
    r->prov_meta[r->n_prov] = copy;
    r->prov_meta_len[r->n_prov] = s->p.meta_len;
    rs_hash_128(copy, s->p.meta_len, r->prev);
    r->prov[r->n_prov++] = *p;
    return RS_OK;
}

static rs_status judge_abrt(const rs_slot *s, rs_error *e)
{
    const rs_abrt_head *a = &s->record.abrt;
    return rs_fail(e, RS_E_ABORT, "%s failed upstream: %s: %s", a->tool, rs_status_name((rs_status)a->status), a->text);
}

// Enters the frame in the derived index.
static void enter(rs_reader *r, const rs_slot *s)
{
    uint8_t entry[RS_ENTRY_LEN];
    rs_put_u64(entry, s->offset);
    rs_put_u64(entry + 8, s->payload_off);
    rs_put_u64(entry + 16, s->p.payload_len);
    rs_put_u64(entry + 24, rs_hash_64(s->name, strlen(s->name)));
    rs_hash_add_64(r->index, entry, sizeof entry);
    r->n_entries++;
}

static rs_status judge(rs_reader *r, rs_slot *s, rs_error *e)
{
    rs_record *rec = &s->record;
    switch (s->p.type) {
    case RS_FRAME_HEAD:
        r->head = rec->head;
        r->census = rs_census_new(&r->head);
        return r->census != NULL ? RS_OK : rs_fail(e, RS_E_NOMEM, "census");
    case RS_FRAME_PROV: return judge_prov(r, s, e);
    case RS_FRAME_FILE:
        s->name = rec->file.name;
        RS_TRY(rs_census_file(r->census, s->name, e));
        enter(r, s);
        return RS_OK;
    case RS_FRAME_TENS:
        s->name = rec->tensor.name;
        rec->tensor.payload_len = s->p.payload_len;
        RS_TRY(rs_census_tensor(r->census, &rec->tensor, e));
        enter(r, s);
        return RS_OK;
    case RS_FRAME_STAT:
        s->name = rec->stat.head.name;
        rec->stat.head.payload_len = s->p.payload_len;
        RS_TRY(rs_census_stat(r->census, &rec->stat.head, r->n_prov, e));
        enter(r, s);
        return RS_OK;
    case RS_FRAME_TSUM:
        if (rec->tsum.n != r->payload.n_sums) return rs_fail(e, RS_E_FRAME, "n %" PRIu64 ", the payload has %zu chunks", rec->tsum.n, r->payload.n_sums);
        return RS_OK;
    case RS_FRAME_PSUM:
        if (rec->psum.step != r->n_psum) return rs_fail(e, RS_E_PROV, "step %u, %u expected", rec->psum.step, r->n_psum);
        if (r->n_psum == 0) RS_TRY(rs_census_complete(r->census, e));
        r->psum[r->n_psum++] = rec->psum;
        return RS_OK;
    case RS_FRAME_ABRT: return judge_abrt(s, e);
    case RS_FRAME_INDX: r->index_off = s->offset; return RS_OK;
    case RS_FRAME_END:
    case RS_FRAME_ENDS:
    case RS_FRAME_UNKNOWN: return RS_OK;
    }
    return RS_OK;
}

static rs_status read_meta(rs_reader *r, rs_slot *s, rs_error *e)
{
    size_t len = s->p.meta_len, need = len + 4;
    rs_frame_type type = s->p.type;
    bool hashed = type != RS_FRAME_ENDS;
    if (need > s->cap) {
        free(s->meta);
        s->cap = 0;
        s->meta = malloc(need);
        if (s->meta == NULL) return rs_fail(e, RS_E_NOMEM, "metadata of %zu bytes", len);
        s->cap = need;
    }
    RS_TRY(rs_reader_take(r, s->meta, need, hashed, "metadata", e));
    uint32_t computed = rs_hash_32(s->meta, len), stored = rs_get_u32(s->meta + len);
    if (!rs_bytes_same(computed, stored)) return rs_fail(e, RS_E_SUM, "meta check %08" PRIx32 ", stored %08" PRIx32, computed, stored);
    bool lasting = type == RS_FRAME_HEAD || type == RS_FRAME_PROV || type == RS_FRAME_PSUM;
    if (!lasting) {
        rs_arena_free(s->arena);
        s->arena = rs_arena_new();
        if (s->arena == NULL) return rs_fail(e, RS_E_NOMEM, "metadata");
    }
    rs_frames_how how = {.arena = lasting ? r->arena : s->arena, .strict = r->strict, .newer = r->minor > RS_MINOR};
    rs_value *map;
    RS_TRY(rs_meta_parse(how.arena, s->meta, len, &map, e));
    if (type != RS_FRAME_UNKNOWN) RS_TRY(rs_frames_get(type, &how, map, &s->record, e));
    s->payload_off = r->pos + s->p.pad_len;
    RS_TRY(judge(r, s, e));
    return rs_reader_take_zeros(r, s->p.pad_len, hashed, "pad", e);
}

rs_status rs_reader_meta(rs_reader *r, rs_slot *s, rs_error *e)
{
    rs_status st = read_meta(r, s, e);
    return st == RS_OK ? st : rs_reader_blame(r, s, st, e);
}
