// SPDX-License-Identifier: Apache-2.0
// Verification of a stream in one pass.
#include "inspect/verify.h"

#include <stdlib.h>
#include <string.h>

#include "inspect/values.h"
#include "transforms/plan.h"

static rs_status tensor_values(rs_reader *r, const rs_frame *f, rs_error *e)
{
    uint8_t *payload = aligned_alloc(64, ((size_t)f->payload_len + 64) / 64 * 64);
    if (payload == NULL) return rs_fail(e, RS_E_NOMEM, "%s: %llu bytes", f->tensor->name, (unsigned long long)f->payload_len);
    rs_status s = rs_reader_read_all(r, payload, e);
    if (s == RS_OK) s = rs_values_check(f->tensor, payload, e);
    free(payload);
    return s;
}

// Builds the matrices of the online rotations and compares them with their checksums (FORMAT.md 8.5); the reader cannot, for it computes nothing.
static rs_status online(const rs_plan *plan, rs_error *e)
{
    const rs_online *entries[] = {&plan->r3, &plan->r4};
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        rs_hadamard *H = NULL;
        if (entries[i]->on) RS_TRY(rs_plan_hadamard(entries[i], &H, e));
        rs_hadamard_free(H);
    }
    return RS_OK;
}

static rs_status pass(rs_reader *r, rs_in *in, const rs_verify_options *o, rs_verified *v, rs_error *e)
{
    v->head = *rs_reader_head(r);
    v->head.plan.except = NULL;
    RS_TRY(online(&v->head.plan, e));
    for (;;) {
        rs_frame f;
        RS_TRY(rs_reader_next(r, &f, e));
        if (f.type == RS_FRAME_END) break;
        if (f.type == RS_FRAME_TENS && o->values) RS_TRY(tensor_values(r, &f, e));
        else RS_TRY(rs_reader_finish_payload(r, e));
        if (o->progress != NULL) o->progress(o->context, (double)rs_in_offset(in));
    }
    rs_reader_digest(r, v->digest, v->tensor_digest, &v->size);
    v->frames = rs_reader_frames(r);
    v->tensors = rs_reader_tensors(r);
    v->whole = true;
    v->values = o->values;
    return RS_OK;
}

static rs_status quick(rs_in *in, rs_verified *v, rs_error *e)
{
    if (!rs_in_seekable(in)) return rs_fail(e, RS_USAGE, "--quick reads the end first, so it needs a file, not a pipe");
    rs_arena *a = rs_arena_new();
    if (a == NULL) return rs_fail(e, RS_E_NOMEM, "metadata");
    rs_status s = rs_reader_quick(in, a, &v->head, v->digest, &v->frames, &v->tensors, e);
    v->head.plan.except = NULL;
    rs_arena_free(a);
    if (s == RS_OK) s = rs_in_size(in, &v->size, e);
    return s;
}

rs_status rs_verify_stream(rs_in *in, const rs_verify_options *o, rs_verified *v, rs_error *e)
{
    memset(v, 0, sizeof *v);
    if (o->quick) return quick(in, v, e);
    rs_reader *r = NULL;
    rs_status s = o->strict ? rs_reader_open_strict(&r, in, e) : rs_reader_open(&r, in, e);
    if (s == RS_OK) s = pass(r, in, o, v, e);
    rs_reader_free(r);
    return s;
}
