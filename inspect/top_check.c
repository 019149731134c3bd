// SPDX-License-Identifier: Apache-2.0
// The check of the whole file, which goes on while one looks: the reader of formats/ in a thread of its own.
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/reader.h"
#include "inspect/cells.h"
#include "inspect/top_worker.h"

struct rs_top_check {
    pthread_t thread;
    rs_in *in[2];
    uint64_t size[2];
    atomic_bool stop, done;
    _Atomic uint64_t bytes;
    rs_status status; // when done
    rs_error error;
};

static rs_status read_all(rs_top_check *c, int k)
{
    rs_reader *r = NULL;
    rs_frame f = {.type = RS_FRAME_HEAD};
    uint64_t before = k > 0 ? c->size[0] : 0;
    rs_status s = rs_reader_open(&r, c->in[k], &c->error);
    while (s == RS_OK && f.type != RS_FRAME_END && !atomic_load(&c->stop)) {
        s = rs_reader_next(r, &f, &c->error);
        atomic_store(&c->bytes, before + rs_in_offset(c->in[k]));
    }
    rs_reader_free(r);
    return s;
}

static void *check(void *context)
{
    rs_top_check *c = context;
    for (int k = 0; k < 2 && c->status == RS_OK; k++)
        if (c->in[k] != NULL) c->status = read_all(c, k);
    atomic_store(&c->done, true);
    return NULL;
}

rs_status rs_top_check_start(rs_top_check **out, const char *const path[2], rs_error *e)
{
    rs_top_check *c = *out = calloc(1, sizeof *c);
    if (c == NULL) return rs_fail(e, RS_E_NOMEM, "check");
    rs_status s = RS_OK;
    for (int k = 0; k < 2 && s == RS_OK; k++)
        if (path[k] != NULL) {
            s = rs_in_open(&c->in[k], path[k], e);
            if (s == RS_OK && rs_in_seekable(c->in[k])) s = rs_in_size(c->in[k], &c->size[k], e);
        }
    if (s == RS_OK && pthread_create(&c->thread, NULL, check, c) == 0) return RS_OK;
    if (s == RS_OK) s = rs_fail(e, RS_E_NOMEM, "no thread to check with");
    for (int k = 0; k < 2; k++) rs_in_close(c->in[k]);
    free(c);
    *out = NULL;
    return s;
}

void rs_top_check_stop(rs_top_check *c)
{
    if (c == NULL) return;
    atomic_store(&c->stop, true);
    pthread_join(c->thread, NULL);
    for (int k = 0; k < 2; k++) rs_in_close(c->in[k]);
    free(c);
}

void rs_top_check_look(rs_top_check *c, rs_view_check *out)
{
    const uint64_t total = c->size[0] + c->size[1];
    *out = (rs_view_check){.on = true, .done = atomic_load(&c->done), .share = total > 0 ? (double)atomic_load(&c->bytes) / (double)total : 0};
    if (!out->done) return;
    char text[256];
    out->status = c->status;
    out->share = 1;
    if (c->status == RS_OK) return;
    rs_cells_escape(text, sizeof text, c->error.text, strlen(c->error.text), true);
    snprintf(out->text, sizeof out->text, "%s: %.230s", rs_status_name(c->status), text);
}
