// SPDX-License-Identifier: Apache-2.0
// The measuring stage of a pipe.
#include "inspect/stat_stream.h"

#include <stdlib.h>
#include <string.h>

#include "inspect/stat_weights.h"

struct run {
    rs_stage *s;
    const rs_stat_stream_options *o;
    unsigned step; // whose output is measured: the last of the stream as it came
};

// Everything that is measured comes by here.
static rs_status give(void *context, const rs_stat_subject *subject, rs_error *e)
{
    const struct run *r = context;
    if (r->s->writer != NULL) RS_TRY(rs_stat_write(r->s->writer, subject, e));
    return r->o->sink != NULL ? r->o->sink(r->o->context, subject, e) : RS_OK;
}

static rs_status write_tensor(const struct run *r, const rs_frame *f, const uint8_t *payload, rs_error *e)
{
    if (r->s->writer == NULL) return RS_OK;
    RS_TRY(rs_writer_copy_begin(r->s->writer, f->tag, f->meta, f->meta_len, f->payload_len, e));
    RS_TRY(rs_writer_payload(r->s->writer, payload, (size_t)f->payload_len, e));
    return rs_writer_copy_end(r->s->writer, e);
}

static rs_status weights(struct run *r, const rs_frame *f, rs_error *e)
{
    const rs_tensor t = *f->tensor; // the frame is gone when the next one is asked for
    rs_stat_result result = {0};
    uint8_t *payload = malloc((size_t)f->payload_len + 1);
    if (payload == NULL) return rs_fail(e, RS_E_NOMEM, "%s: %llu bytes", t.name, (unsigned long long)f->payload_len);
    rs_status st = rs_reader_read_all(r->s->reader, payload, e);
    if (st == RS_OK) st = write_tensor(r, f, payload, e);
    if (st == RS_OK) st = rs_stat_weights(&t, payload, r->o->work, &result, e);
    free(payload);
    const rs_stat_subject s = {.name = t.name, .of = "weight", .role = t.role, .layer = t.layer, .step = r->step, .r = &result};
    if (st == RS_OK) st = give(r, &s, e);
    rs_stat_result_clear(&result);
    return st;
}

static rs_status copy(struct run *r, const rs_frame *f, rs_error *e)
{
    return r->s->writer != NULL ? rs_stage_copy(r->s, f, e) : rs_reader_finish_payload(r->s->reader, e);
}

static rs_status tensor(struct run *r, const rs_frame *f, rs_error *e)
{
    const rs_tensor t = *f->tensor;
    RS_TRY(rs_stat_measures(&t) ? weights(r, f, e) : copy(r, f, e));
    return r->o->walk != NULL ? rs_stat_walk_tensor(r->o->walk, &t, r->step, give, r, e) : RS_OK;
}

// Statistics that are measured anew.
static bool stale(const struct run *r, const rs_stat_head *h)
{
    if (h->step != r->step) return false;
    const bool activations = strcmp(h->of, "input") == 0 || strcmp(h->of, "kv") == 0 || strcmp(h->of, "stream") == 0;
    return strcmp(h->of, "weight") == 0 || (activations && r->o->walk != NULL);
}

rs_status rs_stat_stream(rs_stage *s, const rs_stat_stream_options *o, rs_error *e)
{
    size_t links;
    (void)rs_reader_prov(s->reader, &links);
    struct run r = {.s = s, .o = o, .step = (unsigned)links - 1};
    for (;;) {
        rs_frame f;
        RS_TRY(rs_reader_next(s->reader, &f, e));
        if (f.type == RS_FRAME_END) break;
        if (f.type == RS_FRAME_TENS) RS_TRY(tensor(&r, &f, e));
        else if (f.type == RS_FRAME_STAT && stale(&r, f.stat)) RS_TRY(rs_reader_finish_payload(s->reader, e));
        else RS_TRY(copy(&r, &f, e));
        if (o->progress != NULL) o->progress(o->context, (double)rs_in_offset(s->in));
    }
    return o->walk != NULL ? rs_stat_walk_stream(o->walk, r.step, give, &r, e) : RS_OK;
}
