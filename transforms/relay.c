// SPDX-License-Identifier: Apache-2.0
// Two slots of frames read ahead and three blocks written behind, handed between three threads under one lock.
#include "transforms/relay.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 2
#define BLOCKS 3
#define QUEUE 8

typedef enum state { EMPTY, FULL, HELD, WRITING } state;

struct slot {
    state state;
    rs_status status; // of reading it
    rs_relay_item item;
    rs_tensor tensor;
    char name[RS_MAX_STR + 1], tag[5];
    uint8_t *meta, *payload;
    size_t meta_len, meta_cap, cap;
};

struct block {
    bool busy;
    uint8_t *bytes;
    size_t cap;
};

typedef enum what { COPY, FILE_, BEGIN, PAYLOAD, END_ } what;
struct job {
    what what;
    int slot, block;
    size_t n;
    rs_tensor tensor;
    const char *name;
    const void *data;
};

struct rs_relay {
    rs_stage *s;
    pthread_t reader, writer;
    bool reading, writing; // threads that run
    pthread_mutex_t lock;
    pthread_cond_t change;
    bool stop;
    struct slot slot[SLOTS];
    int current; // slot that the caller holds, -1: none
    int next;
    rs_error read_error;
    struct block block[BLOCKS];
    int fill; // block that the caller fills
    struct job job[QUEUE];
    unsigned head, tail; // jobs head .. tail-1 wait or run
    rs_status write_status;
    rs_error write_error;
};

static bool reserve(uint8_t **bytes, size_t *cap, size_t n)
{
    if (n <= *cap) return true;
    if (n > SIZE_MAX - 64) return false;
    free(*bytes);
    *bytes = aligned_alloc(64, (n + 63) / 64 * 64);
    *cap = *bytes == NULL ? 0 : n;
    return *bytes != NULL;
}

// ---- reading ahead

static rs_status fill_slot(rs_relay *r, struct slot *s, rs_error *e)
{
    rs_frame f;
    RS_TRY(rs_reader_next(r->s->reader, &f, e));
    s->item = (rs_relay_item){.type = f.type};
    if (f.type == RS_FRAME_END) return RS_OK;
    if (f.payload_len > SIZE_MAX || !reserve(&s->payload, &s->cap, f.payload_len > 0 ? f.payload_len : 1) || !reserve(&s->meta, &s->meta_cap, f.meta_len + 1))
        return rs_fail(e, RS_E_NOMEM, "frame %lu: no memory for its payload of %llu bytes", (unsigned long)f.seq, (unsigned long long)f.payload_len);
    memcpy(s->meta, f.meta, f.meta_len);
    s->meta_len = f.meta_len;
    memcpy(s->tag, f.tag, sizeof s->tag);
    s->item.payload = s->payload;
    s->item.payload_len = f.payload_len;
    if (f.type == RS_FRAME_TENS) {
        s->tensor = *f.tensor;
        s->item.tensor = &s->tensor;
    }
    if (f.type == RS_FRAME_FILE) {
        size_t n = strlen(f.file_name);
        if (n > RS_MAX_STR) n = RS_MAX_STR;
        memcpy(s->name, f.file_name, n);
        s->name[n] = 0;
        s->item.file_name = s->name;
    }
    return rs_reader_read_all(r->s->reader, s->payload, e);
}

static void *read_ahead(void *context)
{
    rs_relay *r = context;
    for (int i = 0;; i = (i + 1) % SLOTS) {
        struct slot *s = &r->slot[i];
        pthread_mutex_lock(&r->lock);
        while (s->state != EMPTY && !r->stop) pthread_cond_wait(&r->change, &r->lock);
        bool stop = r->stop;
        pthread_mutex_unlock(&r->lock);
        if (stop) return NULL;
        rs_error e = {0};
        rs_status status = fill_slot(r, s, &e);
        pthread_mutex_lock(&r->lock);
        s->status = status;
        if (status != RS_OK) r->read_error = e;
        s->state = FULL;
        pthread_cond_broadcast(&r->change);
        pthread_mutex_unlock(&r->lock);
        if (status != RS_OK || s->item.type == RS_FRAME_END) return NULL;
    }
}

rs_status rs_relay_next(rs_relay *r, const rs_relay_item **item, rs_error *e)
{
    pthread_mutex_lock(&r->lock);
    if (r->current >= 0 && r->slot[r->current].state == HELD) r->slot[r->current].state = EMPTY;
    pthread_cond_broadcast(&r->change);
    struct slot *s = &r->slot[r->next];
    while (s->state != FULL) pthread_cond_wait(&r->change, &r->lock);
    r->current = r->next;
    rs_status status = s->status;
    if (status == RS_OK) {
        s->state = HELD;
        r->next = (r->next + 1) % SLOTS;
    } else if (e != NULL && e->status == RS_OK) *e = r->read_error;
    pthread_mutex_unlock(&r->lock);
    *item = &s->item;
    return status;
}

// ---- writing behind

static rs_status write_job(rs_relay *r, const struct job *j, rs_error *e)
{
    rs_writer *w = r->s->writer;
    const struct slot *s = &r->slot[j->slot];
    switch (j->what) {
    case COPY:
        if (s->item.type == RS_FRAME_TENS) return rs_writer_tensor(w, &s->tensor, s->payload, e);
        return rs_writer_copy(w, s->tag, s->meta, s->meta_len, s->payload, s->item.payload_len, e);
    case FILE_: return rs_writer_file(w, j->name, j->data, j->n, e);
    case BEGIN: return rs_writer_tensor_begin(w, &j->tensor, e);
    case PAYLOAD: return rs_writer_payload(w, r->block[j->block].bytes, j->n, e);
    case END_: return rs_writer_tensor_end(w, e);
    }
    return RS_OK;
}

static void *write_behind(void *context)
{
    rs_relay *r = context;
    for (;;) {
        pthread_mutex_lock(&r->lock);
        while (r->head == r->tail && !r->stop) pthread_cond_wait(&r->change, &r->lock);
        bool done = r->head == r->tail, failed = r->write_status != RS_OK; // what was handed over before the stop is still written: ABRT needs the end of a frame
        pthread_mutex_unlock(&r->lock);
        if (done) return NULL;
        const struct job *j = &r->job[r->head % QUEUE];
        rs_error e = {0};
        rs_status status = failed ? RS_OK : write_job(r, j, &e);
        pthread_mutex_lock(&r->lock);
        if (status != RS_OK) {
            r->write_status = status;
            r->write_error = e;
        }
        if (j->what == COPY) r->slot[j->slot].state = EMPTY;
        if (j->what == PAYLOAD) r->block[j->block].busy = false;
        r->head++;
        pthread_cond_broadcast(&r->change);
        pthread_mutex_unlock(&r->lock);
    }
}

// With the lock held: what the writer met so far.
static rs_status written(rs_relay *r, rs_error *e)
{
    if (r->write_status != RS_OK && e != NULL && e->status == RS_OK) *e = r->write_error;
    return r->write_status;
}

static rs_status push(rs_relay *r, const struct job *j, bool wait, rs_error *e)
{
    pthread_mutex_lock(&r->lock);
    while (r->tail - r->head == QUEUE) pthread_cond_wait(&r->change, &r->lock);
    r->job[r->tail++ % QUEUE] = *j;
    if (j->what == COPY) r->slot[j->slot].state = WRITING;
    if (j->what == PAYLOAD) r->block[j->block].busy = true;
    pthread_cond_broadcast(&r->change);
    while (wait && r->head != r->tail) pthread_cond_wait(&r->change, &r->lock);
    rs_status status = written(r, e);
    pthread_mutex_unlock(&r->lock);
    return status;
}

rs_status rs_relay_copy(rs_relay *r, rs_error *e)
{
    return push(r, &(struct job){.what = COPY, .slot = r->current}, false, e);
}

rs_status rs_relay_file(rs_relay *r, const char *name, const void *data, size_t len, rs_error *e)
{
    return push(r, &(struct job){.what = FILE_, .name = name, .data = data, .n = len}, true, e);
}

rs_status rs_relay_begin(rs_relay *r, const rs_tensor *t, rs_error *e)
{
    return push(r, &(struct job){.what = BEGIN, .tensor = *t}, false, e);
}

rs_status rs_relay_block(rs_relay *r, size_t n, void **block, rs_error *e)
{
    struct block *b = &r->block[r->fill];
    pthread_mutex_lock(&r->lock);
    while (b->busy) pthread_cond_wait(&r->change, &r->lock);
    pthread_mutex_unlock(&r->lock);
    if (!reserve(&b->bytes, &b->cap, n > 0 ? n : 1)) return rs_fail(e, RS_E_NOMEM, "no memory for a block of %zu bytes", n);
    *block = b->bytes;
    return RS_OK;
}

rs_status rs_relay_post(rs_relay *r, size_t n, rs_error *e)
{
    int block = r->fill;
    r->fill = (r->fill + 1) % BLOCKS;
    return push(r, &(struct job){.what = PAYLOAD, .block = block, .n = n}, false, e);
}

rs_status rs_relay_end(rs_relay *r, rs_error *e)
{
    return push(r, &(struct job){.what = END_}, false, e);
}

// ---- life

rs_status rs_relay_open(rs_relay **out, rs_stage *s, rs_error *e)
{
    rs_relay *r = calloc(1, sizeof *r);
    *out = r;
    if (r == NULL) return rs_fail(e, RS_E_NOMEM, "no memory to read ahead");
    r->s = s;
    r->current = -1;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->change, NULL);
    r->reading = pthread_create(&r->reader, NULL, read_ahead, r) == 0;
    r->writing = r->reading && pthread_create(&r->writer, NULL, write_behind, r) == 0;
    if (r->writing) return RS_OK;
    rs_relay_close(r);
    *out = NULL;
    return rs_fail(e, RS_E_NOMEM, "no thread to read ahead");
}

rs_status rs_relay_finish(rs_relay *r, rs_error *e)
{
    pthread_mutex_lock(&r->lock);
    while (r->head != r->tail) pthread_cond_wait(&r->change, &r->lock);
    rs_status status = written(r, e);
    pthread_mutex_unlock(&r->lock);
    return status;
}

void rs_relay_close(rs_relay *r)
{
    if (r == NULL) return;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_broadcast(&r->change);
    pthread_mutex_unlock(&r->lock);
    if (r->reading) pthread_join(r->reader, NULL);
    if (r->writing) pthread_join(r->writer, NULL);
    pthread_cond_destroy(&r->change);
    pthread_mutex_destroy(&r->lock);
    for (int i = 0; i < SLOTS; i++) {
        free(r->slot[i].meta);
        free(r->slot[i].payload);
    }
    for (int i = 0; i < BLOCKS; i++) free(r->block[i].bytes);
    free(r);
}
