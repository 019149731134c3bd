// SPDX-License-Identifier: Apache-2.0
// The outline of a stream: lists of its tensors and statistics, filled from the index of a file or from the frames of a pipe as they pass.
#include "formats/outline.h"

#include "formats/census.h"
#include "formats/endian.h"
#include "formats/frames.h"
#include "formats/hash.h"
#include "formats/meta.h"
#include "formats/payload.h"
#include "formats/quick.h"
#include "formats/reader.h"
#include "formats/spool.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct rs_outline {
    rs_in *in;             // what was opened
    rs_in *store;          // where payloads are read: in itself, or the copy of a pipe
    int copy;              // its descriptor, -1: none
    uint64_t copied;
    rs_reader *reader;     // of a pipe
    rs_frame frame;        // fetched, not yet accepted
    bool fetched;
    rs_error error;        // the first one
    char *name;
    rs_quick quick;
    rs_head own_head;
    const rs_head *head;
    rs_arena *arena;
    rs_prov own_prov[RS_MAX_PROV];
    const rs_prov *prov;
    size_t n_prov;
    rs_psum_head psum[RS_MAX_PROV];
    size_t n_psum;
    rs_outline_tensor *tensor;
    size_t n_tensors, cap_tensors;
    rs_outline_stat *stat;
    size_t n_stats, cap_stats;
    uint32_t *slot;        // open addressing over names of tensors: number + 1
    size_t cap_slots;
    uint32_t count[RS_FRAME_UNKNOWN + 1];
    uint8_t digest[16];
    bool complete;
    bool kept;             // put together: payloads of statistics are here
    rs_census *census;
    rs_stat_head *kept_head;
    uint8_t **kept_payload;// [n_stats]
    rs_tensor *kept_tensor;
    size_t cap_heads, cap_payloads, cap_kept;
};

// ---- lists

static bool grow(void **list, size_t n, size_t *cap, size_t size)
{
    uint64_t bytes;
    if (n < *cap) return true;
    size_t more = *cap > 0 ? 2 * *cap : 256;
    void *p = rs_mul_ok(more, size, &bytes) ? realloc(*list, bytes) : NULL;
    if (p == NULL) return false;
    *list = p;
    *cap = more;
    return true;
}

static const char *keep(rs_outline *o, const char *text)
{
    const rs_value *v = rs_value_str(o->arena, text);
    return v != NULL ? v->str.p : NULL;
}

static void enter(rs_outline *o, size_t i)
{
    size_t k = (size_t)rs_hash_64(o->tensor[i].name, strlen(o->tensor[i].name)) & (o->cap_slots - 1);
    while (o->slot[k] != 0) k = (k + 1) & (o->cap_slots - 1);
    o->slot[k] = (uint32_t)i + 1;
}

static bool room_for_names(rs_outline *o)
{
    if (2 * (o->n_tensors + 1) <= o->cap_slots) return true;
    size_t cap = o->cap_slots > 0 ? 2 * o->cap_slots : 512;
    uint32_t *slot = calloc(cap, sizeof *slot);
    if (slot == NULL) return false;
    free(o->slot);
    o->slot = slot;
    o->cap_slots = cap;
    for (size_t i = 0; i < o->n_tensors; i++) enter(o, i);
    return true;
}

static rs_status add_tensor(rs_outline *o, const rs_tensor *t, uint64_t offset, uint64_t payload_off, rs_error *e)
{
    rs_outline_tensor new = {.name = keep(o, t->name), .role = t->role, .enc = t->enc, .dtype = t->dtype, .layer = t->layer, .n_dims = t->n_dims, .rows = 1, .cols = 1, .group = t->group,
                             .offset = offset, .payload_off = payload_off, .payload_len = t->payload_len};
    if (new.name == NULL || !room_for_names(o) || !grow((void **)&o->tensor, o->n_tensors, &o->cap_tensors, sizeof *o->tensor)) return rs_fail(e, RS_E_NOMEM, "list of %zu tensors", o->n_tensors);
    for (int i = 0; i + 1 < t->n_dims; i++)
        if (!rs_mul_ok(new.rows, t->shape[i], &new.rows)) new.rows = UINT64_MAX; // only where another dim is 0
    if (t->n_dims > 0) new.cols = t->shape[t->n_dims - 1];
    const rs_part *m = rs_tensor_part(t, "m");
    if (m != NULL) new.rank = m->shape[0];
    o->tensor[o->n_tensors] = new;
    enter(o, o->n_tensors++);
    return RS_OK;
}

static rs_value *copy_value(rs_arena *a, const rs_value *v)
{
    switch (v->type) {
    case RS_V_BOOL: return rs_value_bool(a, v->b);
    case RS_V_INT: return rs_value_int(a, v->i);
    case RS_V_UINT: return rs_value_uint(a, v->u);
    case RS_V_F64: return rs_value_f64(a, v->f);
    case RS_V_STR: return rs_value_str(a, v->str.p);
    case RS_V_BIN:
    case RS_V_ARRAY:
    case RS_V_MAP: return rs_value_bool(a, false); // of an x_ key: it says nothing to us
    }
    return NULL;
}

static rs_status add_stat(rs_outline *o, const rs_stat_head *s, uint64_t offset, uint64_t payload_off, rs_error *e)
{
    rs_value *values = rs_value_map(o->arena);
    rs_outline_stat new = {.name = keep(o, s->name), .of = keep(o, s->of), .step = s->step, .values = values, .offset = offset, .payload_off = payload_off, .payload_len = s->payload_len};
    bool ok = values != NULL && new.name != NULL && new.of != NULL && grow((void **)&o->stat, o->n_stats, &o->cap_stats, sizeof *o->stat);
    for (size_t i = 0; ok && s->values != NULL && i < s->values->map.len; i++)
        if (strncmp(s->values->map.item[i].key, "x_", 2) != 0) ok = rs_map_put(o->arena, values, s->values->map.item[i].key, copy_value(o->arena, s->values->map.item[i].value));
    if (!ok) return rs_fail(e, RS_E_NOMEM, "list of %zu statistics", o->n_stats);
    o->stat[o->n_stats++] = new;
    return RS_OK;
}

// ---- a file

static rs_status file_chain(rs_outline *o, uint64_t *at, rs_error *e)
{
    uint8_t prev[16] = {0};
    uint64_t payload_off;
    rs_prologue p;
    for (*at = o->quick.chain_off; o->n_prov <= RS_MAX_PROV; *at = (payload_off + 7) / 8 * 8) {
        rs_record r;
        RS_TRY(rs_quick_prologue(&o->quick, *at, &p, e));
        if (p.type != RS_FRAME_PROV) break;
        if (o->n_prov == RS_MAX_PROV) return rs_fail(e, RS_E_LIMIT, "more than %d links", RS_MAX_PROV);
        RS_TRY(rs_quick_frame(&o->quick, o->arena, *at, RS_FRAME_PROV, &p, &payload_off, &r, e));
        if (r.prov.step != o->n_prov || memcmp(r.prov.prev, prev, 16) != 0) return rs_fail(e, RS_E_PROV, "PROV at offset %" PRIu64 ": link %zu does not follow the one before", *at, o->n_prov);
        uint8_t *meta = malloc((size_t)p.meta_len + 1);
        if (meta == NULL) return rs_fail(e, RS_E_NOMEM, "provenance");
        rs_status s = rs_in_pread(o->in, meta, p.meta_len, *at + RS_PROLOGUE_LEN, e);
        if (s == RS_OK) rs_hash_128(meta, p.meta_len, prev);
        free(meta);
        RS_TRY(s);
        o->own_prov[o->n_prov++] = r.prov;
    }
    if (o->n_prov == 0) return rs_fail(e, RS_E_PROV, "no PROV behind HEAD");
    return RS_OK;
}

// One frame that the index names; *end is where the next one can start.
static rs_status file_entry(rs_outline *o, rs_census *census, const uint8_t *entry, uint64_t *end, rs_error *e)
{
    rs_prologue p;
    rs_record r;
    uint64_t payload_off, offset = rs_get_u64(entry);
    rs_arena *scratch = rs_arena_new();
    if (scratch == NULL) return rs_fail(e, RS_E_NOMEM, "outline");
    rs_status s = rs_quick_frame(&o->quick, scratch, offset, RS_FRAME_END, &p, &payload_off, &r, e);
    if (s == RS_OK && (payload_off != rs_get_u64(entry + 8) || p.payload_len != rs_get_u64(entry + 16))) s = rs_fail(e, RS_E_INDEX, "its entry in INDX says other lengths");
    if (s == RS_OK) {
        *end = (payload_off + p.payload_len + 7) / 8 * 8;
        o->count[p.type]++;
        switch (p.type) {
        case RS_FRAME_TENS:
            r.tensor.payload_len = p.payload_len;
            s = rs_census_tensor(census, &r.tensor, e);
            if (s == RS_OK) s = add_tensor(o, &r.tensor, offset, payload_off, e);
            break;
        case RS_FRAME_STAT:
            r.stat.head.payload_len = p.payload_len;
            s = rs_census_stat(census, &r.stat.head, (unsigned)o->n_prov, e);
            if (s == RS_OK) s = add_stat(o, &r.stat.head, offset, payload_off, e);
            break;
        case RS_FRAME_FILE: s = rs_census_file(census, r.file.name, e); break;
        default: s = rs_fail(e, RS_E_INDEX, "a %s frame is in INDX", p.tag);
        }
    }
    rs_arena_free(scratch);
    return s == RS_OK ? s : rs_error_prefix(e, s, "frame at offset %" PRIu64, offset);
}

static rs_status file_entries(rs_outline *o, uint64_t *end, rs_error *e)
{
    uint8_t entry[128 * RS_ENTRY_LEN];
    rs_census *census = rs_census_new(o->head);
    rs_status s = census != NULL ? RS_OK : rs_fail(e, RS_E_NOMEM, "outline");
    for (uint64_t i = 0; i < o->quick.n_entries && s == RS_OK; i += 128) {
        size_t k = o->quick.n_entries - i < 128 ? (size_t)(o->quick.n_entries - i) : 128;
        s = rs_in_pread(o->in, entry, k * RS_ENTRY_LEN, o->quick.entries_off + i * RS_ENTRY_LEN, e);
        for (size_t j = 0; j < k && s == RS_OK; j++) s = file_entry(o, census, entry + j * RS_ENTRY_LEN, end, e);
    }
    if (s == RS_OK) s = rs_census_complete(census, e);
    rs_census_free(census);
    return s;
}

// The frames from the last one in the index to INDX itself: a TSUM, unknown ones, PSUM.
static rs_status file_inputs(rs_outline *o, uint64_t at, rs_error *e)
{
    rs_prologue p;
    rs_record r;
    uint64_t payload_off;
    while (at < o->quick.tail.index_off) {
        RS_TRY(rs_quick_prologue(&o->quick, at, &p, e));
        payload_off = at + RS_PROLOGUE_LEN + p.meta_len + 4 + p.pad_len;
        if (p.type == RS_FRAME_PSUM) {
            RS_TRY(rs_quick_frame(&o->quick, o->arena, at, RS_FRAME_PSUM, &p, &payload_off, &r, e));
            if (o->n_psum == o->n_prov || r.psum.step != o->n_psum) return rs_fail(e, RS_E_PROV, "PSUM at offset %" PRIu64 ": step %u", at, r.psum.step);
            o->psum[o->n_psum++] = r.psum;
        }
        at = (payload_off + p.payload_len + 7) / 8 * 8;
    }
    return o->n_psum == o->n_prov ? RS_OK : rs_fail(e, RS_E_PROV, "%zu PSUM, %zu PROV", o->n_psum, o->n_prov);
}

static rs_status outline_file(rs_outline *o, rs_error *e)
{
    uint64_t at;
    o->store = o->in;
    RS_TRY(rs_quick_open(&o->quick, o->in, o->arena, &o->own_head, e));
    o->head = &o->own_head;
    o->prov = o->own_prov;
    RS_TRY(file_chain(o, &at, e));
    RS_TRY(file_entries(o, &at, e));
    RS_TRY(file_inputs(o, at, e));
    memcpy(o->digest, o->quick.tail.digest, 16);
    uint32_t known = 3 + 2 * (uint32_t)o->n_prov + 2 * o->count[RS_FRAME_TENS] + o->count[RS_FRAME_STAT] + o->count[RS_FRAME_FILE]; // HEAD INDX ENDS, PROV PSUM, TENS TSUM
    o->count[RS_FRAME_END] = o->quick.tail.n_frames;
    o->count[RS_FRAME_UNKNOWN] = o->quick.tail.n_frames > known ? o->quick.tail.n_frames - known : 0;
    o->complete = true;
    return RS_OK;
}

// ---- a pipe

static rs_status spool(void *context, const void *bytes, size_t n, rs_error *e)
{
    rs_outline *o = context;
    RS_TRY(rs_spool_put(o->copy, o->copied, bytes, n, e));
    o->copied += n;
    return RS_OK;
}

static rs_status outline_pipe(rs_outline *o, rs_error *e)
{
    char path[64];
    RS_TRY(rs_spool_file(&o->copy, e));
    snprintf(path, sizeof path, "/proc/self/fd/%d", o->copy);
    RS_TRY(rs_in_open(&o->store, path, e));
    RS_TRY(rs_reader_open_sink(&o->reader, o->in, spool, o, e));
    o->head = rs_reader_head(o->reader);
    o->prov = rs_reader_prov(o->reader, &o->n_prov);
    o->quick = (rs_quick){.in = o->store, .align = o->head->align};
    return RS_OK;
}

rs_status rs_outline_fetch(rs_outline *o, rs_error *e)
{
    if (o->complete || o->fetched) return RS_OK;
    if (o->error.status == RS_OK) {
        rs_status s = rs_reader_next(o->reader, &o->frame, &o->error);
        if (s == RS_OK && o->frame.type != RS_FRAME_END) s = rs_reader_finish_payload(o->reader, &o->error);
        o->fetched = s == RS_OK;
    }
    if (o->error.status != RS_OK && e != NULL && e->status == RS_OK) *e = o->error;
    return o->error.status;
}

rs_status rs_outline_accept(rs_outline *o, bool *more, rs_error *e)
{
    const rs_frame *f = &o->frame;
    *more = !o->complete;
    if (!o->fetched) return RS_OK;
    o->fetched = false;
    o->count[f->type]++;
    switch (f->type) {
    case RS_FRAME_TENS: return add_tensor(o, f->tensor, f->offset, f->payload_off, e);
    case RS_FRAME_STAT: return add_stat(o, f->stat, f->offset, f->payload_off, e);
    case RS_FRAME_END:
        for (o->n_psum = 0; o->n_psum < o->n_prov; o->n_psum++) {
            rs_psum_head *p = &o->psum[o->n_psum];
            p->in = rs_reader_inputs(o->reader, (unsigned)o->n_psum, &p->n_in);
        }
        rs_reader_digest(o->reader, o->digest, NULL, NULL);
        o->count[RS_FRAME_END] = rs_reader_frames(o->reader);
        o->complete = true;
        *more = false;
        return RS_OK;
    default: return RS_OK;
    }
}

rs_status rs_outline_step(rs_outline *o, bool *more, rs_error *e)
{
    *more = true;
    RS_TRY(rs_outline_fetch(o, e));
    return rs_outline_accept(o, more, e);
}

// ---- both

static rs_status open_any(rs_outline *o, const char *path, rs_error *e)
{
    o->arena = rs_arena_new();
    if (o->arena == NULL) return rs_fail(e, RS_E_NOMEM, "outline");
    RS_TRY(rs_in_open(&o->in, path, e));
    return rs_in_seekable(o->in) ? outline_file(o, e) : outline_pipe(o, e);
}

rs_status rs_outline_open(rs_outline **out, const char *path, rs_error *e)
{
    *out = NULL;
    rs_outline *o = calloc(1, sizeof *o);
    if (o == NULL) return rs_fail(e, RS_E_NOMEM, "outline");
    o->copy = -1;
    rs_status s = open_any(o, path, e);
    if (s != RS_OK) rs_outline_close(o);
    else *out = o;
    return s;
}

void rs_outline_close(rs_outline *o)
{
    if (o == NULL) return;
    rs_reader_free(o->reader);
    if (o->store != o->in) rs_in_close(o->store);
    rs_in_close(o->in);
    if (o->copy >= 0) close(o->copy);
    for (size_t i = 0; o->kept && i < o->n_stats; i++) free(o->kept_payload[i]);
    free(o->kept_payload);
    free(o->kept_head);
    free(o->kept_tensor);
    rs_census_free(o->census);
    free(o->name);
    free(o->tensor);
    free(o->stat);
    free(o->slot);
    rs_arena_free(o->arena);
    free(o);
}

const char *rs_outline_name(const rs_outline *o)
{
    return o->kept ? o->name : rs_in_name(o->in);
}

const rs_head *rs_outline_head(const rs_outline *o)
{
    return o->head;
}

const rs_prov *rs_outline_prov(const rs_outline *o, size_t *n)
{
    *n = o->n_prov;
    return o->prov;
}

const rs_input_sum *rs_outline_inputs(const rs_outline *o, unsigned step, size_t *n)
{
    *n = step < o->n_psum ? o->psum[step].n_in : 0;
    return step < o->n_psum ? o->psum[step].in : NULL;
}

size_t rs_outline_tensors(const rs_outline *o)
{
    return o->n_tensors;
}

const rs_outline_tensor *rs_outline_tensor_at(const rs_outline *o, size_t i)
{
    return i < o->n_tensors ? &o->tensor[i] : NULL;
}

const rs_outline_tensor *rs_outline_find(const rs_outline *o, const char *name)
{
    if (o->cap_slots == 0) return NULL;
    for (size_t k = (size_t)rs_hash_64(name, strlen(name)) & (o->cap_slots - 1); o->slot[k] != 0; k = (k + 1) & (o->cap_slots - 1))
        if (strcmp(o->tensor[o->slot[k] - 1].name, name) == 0) return &o->tensor[o->slot[k] - 1];
    return NULL;
}

size_t rs_outline_stats(const rs_outline *o)
{
    return o->n_stats;
}

const rs_outline_stat *rs_outline_stat_at(const rs_outline *o, size_t i)
{
    return i < o->n_stats ? &o->stat[i] : NULL;
}

int64_t rs_outline_stat_find(const rs_outline *o, const char *name, const char *of, unsigned step)
{
    for (size_t i = 0; i < o->n_stats; i++)
        if (o->stat[i].step == step && strcmp(o->stat[i].of, of) == 0 && strcmp(o->stat[i].name, name) == 0) return (int64_t)i;
    return -1;
}

uint32_t rs_outline_count(const rs_outline *o, rs_frame_type type)
{
    switch (type) {
    case RS_FRAME_HEAD: return 1;
    case RS_FRAME_PROV: return (uint32_t)o->n_prov;
    case RS_FRAME_PSUM: return (uint32_t)o->n_psum;
    case RS_FRAME_TSUM: return o->count[RS_FRAME_TENS];
    case RS_FRAME_INDX:
    case RS_FRAME_ENDS: return o->complete;
    default: return o->count[type];
    }
}

bool rs_outline_complete(const rs_outline *o)
{
    return o->complete;
}

const uint8_t *rs_outline_digest(const rs_outline *o)
{
    return o->digest;
}

uint64_t rs_outline_size(const rs_outline *o)
{
    return o->reader != NULL ? o->copied : o->quick.tail.total_size;
}

bool rs_outline_seekable(const rs_outline *o)
{
    return o->reader == NULL && !o->kept;
}

bool rs_outline_kept(const rs_outline *o)
{
    return o->kept;
}

// ---- what can be asked for

static rs_status not_kept(const rs_outline *o, rs_error *e)
{
    return rs_fail(e, RS_USAGE, "%s keeps what a file says, not its payloads", o->name);
}

rs_status rs_outline_read(rs_outline *o, uint64_t off, void *buf, size_t n, rs_error *e)
{
    if (o->kept) return not_kept(o, e);
    return rs_in_pread(o->store, buf, n, off, e);
}

rs_status rs_outline_tensor_head(rs_outline *o, size_t i, rs_tensor *t, rs_error *e)
{
    if (i >= o->n_tensors) return rs_fail(e, RS_E_INTERNAL, "no tensor %zu", i);
    if (o->kept) {
        *t = o->kept_tensor[i];
        return RS_OK;
    }
    rs_prologue p;
    rs_record r;
    uint64_t payload_off;
    rs_arena *scratch = rs_arena_new();
    if (scratch == NULL) return rs_fail(e, RS_E_NOMEM, "outline");
    rs_status s = rs_quick_frame(&o->quick, scratch, o->tensor[i].offset, RS_FRAME_TENS, &p, &payload_off, &r, e);
    if (s == RS_OK) {
        r.tensor.payload_len = p.payload_len;
        s = rs_tensor_check(&r.tensor, e);
        *t = r.tensor;
    }
    rs_arena_free(scratch);
    return s == RS_OK && (payload_off != o->tensor[i].payload_off || p.payload_len != o->tensor[i].payload_len) ? rs_fail(e, RS_E_INDEX, "%s: the file has changed", o->tensor[i].name) : s;
}

static rs_status read_stat(rs_outline *o, const rs_outline_stat *f, const rs_stat_frame *s, uint8_t *payload, rs_error *e)
{
    rs_payload p;
    rs_status st = rs_payload_init(&p, e);
    if (st == RS_OK) st = rs_in_pread(o->store, payload, (size_t)f->payload_len, f->payload_off, e);
    if (st == RS_OK) st = rs_payload_start(&p, f->payload_len, false, e);
    if (st == RS_OK) {
        rs_payload_watch(&p, s->head.parts, s->head.n_parts);
        rs_payload_add(&p, payload, (size_t)f->payload_len);
        if (!rs_bytes_same(rs_payload_sum(&p), s->sum)) st = rs_fail(e, RS_E_SUM, "sTAT %s at offset %" PRIu64 ": xxh3 %016" PRIx64 ", stored %016" PRIx64, f->name, f->offset, rs_payload_sum(&p), s->sum);
        else if (p.bad_at != UINT64_MAX) st = rs_fail(e, RS_E_TENSOR, "sTAT %s: payload byte %" PRIu64 " belongs to no value and is not zero", f->name, p.bad_at);
    }
    rs_payload_free(&p);
    return st;
}

static rs_status kept_stat(const rs_outline *o, size_t i, rs_stat_head *head, uint8_t **payload, rs_error *e)
{
    const size_t len = (size_t)o->stat[i].payload_len;
    *head = o->kept_head[i];
    if (len == 0) return RS_OK;
    if ((*payload = malloc(len)) == NULL) return rs_fail(e, RS_E_NOMEM, "%s: %zu bytes of statistics", o->stat[i].name, len);
    memcpy(*payload, o->kept_payload[i], len);
    return RS_OK;
}

rs_status rs_outline_stat_read(rs_outline *o, size_t i, rs_stat_head *head, uint8_t **payload, rs_error *e)
{
    *payload = NULL;
    if (i >= o->n_stats) return rs_fail(e, RS_E_INTERNAL, "no statistics frame %zu", i);
    const rs_outline_stat *f = &o->stat[i];
    if (o->kept) return kept_stat(o, i, head, payload, e);
    rs_prologue p;
    rs_record r;
    uint64_t payload_off;
    rs_arena *scratch = rs_arena_new();
    if (scratch == NULL) return rs_fail(e, RS_E_NOMEM, "outline");
    rs_status s = rs_quick_frame(&o->quick, scratch, f->offset, RS_FRAME_STAT, &p, &payload_off, &r, e);
    if (s == RS_OK && (p.payload_len != f->payload_len || payload_off != f->payload_off)) s = rs_fail(e, RS_E_INDEX, "%s: the file has changed", f->name);
    if (s == RS_OK) {
        *head = r.stat.head;
        head->payload_len = p.payload_len;
        head->values = f->values;
        *payload = f->payload_len > 0 ? malloc((size_t)f->payload_len) : NULL;
        if (*payload == NULL && f->payload_len > 0) s = rs_fail(e, RS_E_NOMEM, "%s: %" PRIu64 " bytes of statistics", f->name, f->payload_len);
    }
    if (s == RS_OK && f->payload_len > 0) s = read_stat(o, f, &r.stat, *payload, e);
    rs_arena_free(scratch);
    if (s != RS_OK) {
        free(*payload);
        *payload = NULL;
    }
    return s;
}

// ---- put together

rs_status rs_outline_new(rs_outline **out, const char *name, rs_error *e)
{
    *out = NULL;
    rs_outline *o = calloc(1, sizeof *o);
    if (o != NULL) *o = (rs_outline){.copy = -1, .kept = true, .name = strdup(name), .arena = rs_arena_new()};
    if (o != NULL && o->name != NULL && o->arena != NULL) {
        *out = o;
        return RS_OK;
    }
    rs_outline_close(o);
    return rs_fail(e, RS_E_NOMEM, "outline");
}

// The end of the last part.
static uint64_t end_of(const rs_part *parts, int n)
{
    uint64_t end = 0;
    return n > 0 && rs_add_ok(parts[n - 1].off, parts[n - 1].len, &end) ? end : 0;
}

static rs_status enter_stat(rs_outline *o, rs_stat_head *s, const void *payload, uint64_t len, rs_error *e)
{
    s->payload_len = end_of(s->parts, s->n_parts);
    if (s->payload_len != len) return rs_fail(e, RS_E_TENSOR, "sTAT %s: %" PRIu64 " bytes for parts of %" PRIu64, s->name, len, s->payload_len);
    RS_TRY(rs_census_stat(o->census, s, (unsigned)o->n_prov, e));
    uint8_t *own = malloc((size_t)len + 1);
    bool ok = own != NULL && grow((void **)&o->kept_head, o->n_stats, &o->cap_heads, sizeof *o->kept_head) && grow((void **)&o->kept_payload, o->n_stats, &o->cap_payloads, sizeof *o->kept_payload);
    rs_status st = ok ? add_stat(o, s, 0, 0, e) : rs_fail(e, RS_E_NOMEM, "sTAT %s", s->name);
    if (st != RS_OK) {
        free(own);
        return st;
    }
    if (len > 0) memcpy(own, payload, (size_t)len);
    o->kept_payload[o->n_stats - 1] = own;
    o->kept_head[o->n_stats - 1] = *s;
    o->kept_head[o->n_stats - 1].values = o->stat[o->n_stats - 1].values;
    return RS_OK;
}

static rs_status enter_record(rs_outline *o, rs_frame_type type, rs_record *r, const void *payload, uint64_t len, rs_error *e)
{
    if (type == RS_FRAME_HEAD ? o->head != NULL : o->head == NULL || (type != RS_FRAME_PROV && o->n_prov == 0) || (type == RS_FRAME_PROV && o->n_tensors + o->n_stats + o->n_psum > 0))
        return rs_fail(e, RS_E_FRAME, "frames in an order that no stream has");
    switch (type) {
    case RS_FRAME_HEAD:
        o->own_head = r->head;
        o->head = &o->own_head;
        o->census = rs_census_new(o->head);
        return o->census != NULL ? RS_OK : rs_fail(e, RS_E_NOMEM, "outline");
    case RS_FRAME_PROV:
        if (o->n_prov == RS_MAX_PROV || r->prov.step != o->n_prov) return rs_fail(e, RS_E_PROV, "link %zu is step %u", o->n_prov, r->prov.step);
        o->own_prov[o->n_prov++] = r->prov;
        o->prov = o->own_prov;
        return RS_OK;
    case RS_FRAME_TENS:
        r->tensor.payload_len = end_of(r->tensor.parts, r->tensor.n_parts);
        RS_TRY(rs_census_tensor(o->census, &r->tensor, e));
        if (!grow((void **)&o->kept_tensor, o->n_tensors, &o->cap_kept, sizeof *o->kept_tensor)) return rs_fail(e, RS_E_NOMEM, "list of %zu tensors", o->n_tensors);
        o->kept_tensor[o->n_tensors] = r->tensor;
        return add_tensor(o, &r->tensor, 0, 0, e);
    case RS_FRAME_STAT: return enter_stat(o, &r->stat.head, payload, len, e);
    case RS_FRAME_PSUM:
        if (o->n_psum == o->n_prov || r->psum.step != o->n_psum) return rs_fail(e, RS_E_PROV, "inputs of step %u come as number %zu", r->psum.step, o->n_psum);
        o->psum[o->n_psum++] = r->psum;
        return RS_OK;
    default: return rs_fail(e, RS_E_FRAME, "a frame that an outline does not hold");
    }
}

rs_status rs_outline_enter(rs_outline *o, rs_frame_type type, const rs_value *map, const void *payload, uint64_t len, rs_error *e)
{
    uint8_t *bytes = NULL;
    size_t n;
    rs_value *canonical;
    rs_record r;
    const rs_frames_how how = {.arena = o->arena};
    RS_TRY(rs_meta_encode(map, &bytes, &n, e));
    rs_status st = rs_meta_parse(o->arena, bytes, n, &canonical, e);
    free(bytes);
    if (st == RS_OK) st = rs_frames_get(type, &how, canonical, &r, e);
    return st == RS_OK ? enter_record(o, type, &r, payload, len, e) : st;
}

rs_status rs_outline_seal(rs_outline *o, const uint8_t digest[16], uint64_t size, bool complete, const uint32_t count[RS_FRAME_UNKNOWN + 1], rs_error *e)
{
    if (o->n_prov == 0) return rs_fail(e, RS_E_FRAME, "no HEAD, or no PROV");
    if (complete && o->n_psum != o->n_prov) return rs_fail(e, RS_E_PROV, "%zu PSUM, %zu PROV", o->n_psum, o->n_prov);
    if (complete) RS_TRY(rs_census_complete(o->census, e));
    memcpy(o->digest, digest, 16);
    memcpy(o->count, count, sizeof o->count);
    o->quick.tail.total_size = size;
    o->complete = complete;
    return RS_OK;
}
