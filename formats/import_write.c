// SPDX-License-Identifier: Apache-2.0
// Copies the tensors of a source into a stream, block by block or head by head, and computes the digests of the source's files beside it.
#include "formats/import.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "formats/hash.h"

#define PIECE (1u << 20) // bytes held of a tensor's output, and of a file under the hash

typedef struct copier {
    rs_writer *w;
    uint8_t *in, *out; // buffers of in_cap and out_cap bytes
    size_t in_cap, out_cap;
    double done;
    void (*progress)(void *context, double bytes);
    void *context;
} copier;

static rs_status reserve(uint8_t **p, size_t *cap, uint64_t n, rs_error *e)
{
    if (n <= *cap) return RS_OK;
    free(*p);
    *cap = 0;
    *p = malloc((size_t)n);
    if (*p == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for %llu bytes", (unsigned long long)n);
    *cap = (size_t)n;
    return RS_OK;
}

static void step(copier *c, uint64_t bytes)
{
    c->done += (double)bytes;
    if (c->progress != NULL) c->progress(c->context, c->done);
}

// Bytes as they are.
static rs_status copy_kept(copier *c, rs_in *in, const rs_source_tensor *t, rs_error *e)
{
    RS_TRY(reserve(&c->in, &c->in_cap, PIECE, e));
    for (uint64_t at = 0; at < t->len; at += PIECE) {
        size_t n = t->len - at < PIECE ? (size_t)(t->len - at) : PIECE;
        RS_TRY(rs_in_pread(in, c->in, n, t->off + at, e));
        RS_TRY(rs_writer_payload(c->w, c->in, n, e));
        step(c, n);
    }
    return RS_OK;
}

// Blocks as f32.
static rs_status copy_values(copier *c, rs_in *in, const rs_source_tensor *t, rs_error *e)
{
    const uint64_t per_step = PIECE / 4 / t->block->block, blocks = t->len / t->block->bytes;
    RS_TRY(reserve(&c->in, &c->in_cap, PIECE, e));
    RS_TRY(reserve(&c->out, &c->out_cap, PIECE, e));
    for (uint64_t at = 0; at < blocks; at += per_step) {
        size_t n = blocks - at < per_step ? (size_t)(blocks - at) : (size_t)per_step;
        RS_TRY(rs_in_pread(in, c->in, n * t->block->bytes, t->off + at * t->block->bytes, e));
        rs_gguf_type_values(t->block, c->in, n, (float *)(void *)c->out);
        RS_TRY(rs_writer_payload(c->w, c->out, n * t->block->block * 4, e));
        step(c, n * t->block->bytes);
    }
    return RS_OK;
}

// Rows of each head from neighbours to halves (model.h), one head at a time.
static rs_status copy_heads(copier *c, rs_in *in, const rs_source_tensor *t, uint64_t heads, rs_error *e)
{
    const uint64_t h = t->shape[0] / heads, cols = t->n_dims == 2 ? t->shape[1] : 1, row_in = t->len / t->shape[0];
    const uint64_t row_out = cols * (t->block != NULL ? 4 : rs_dtype_size(t->dtype));
    RS_TRY(reserve(&c->in, &c->in_cap, h * row_in, e));
    RS_TRY(reserve(&c->out, &c->out_cap, h * row_out, e));
    for (uint64_t head = 0; head < heads; head++) {
        RS_TRY(rs_in_pread(in, c->in, (size_t)(h * row_in), t->off + head * h * row_in, e));
        for (uint64_t r = 0; r < h; r++) {
            const uint8_t *from = c->in + (r < h / 2 ? 2 * r : 2 * (r - h / 2) + 1) * row_in;
            uint8_t *to = c->out + r * row_out;
            if (t->block != NULL) rs_gguf_type_values(t->block, from, (size_t)(cols / t->block->block), (float *)(void *)to);
            else memcpy(to, from, (size_t)row_out);
        }
        RS_TRY(rs_writer_payload(c->w, c->out, (size_t)(h * row_out), e));
        step(c, h * row_in);
    }
    return RS_OK;
}

static rs_status copy_tensor(copier *c, const rs_import *m, uint64_t i, rs_error *e)
{
    const rs_source_tensor *t = m->place[i];
    rs_in *in = m->source.file[t->file].in;
    rs_tensor out;
    rs_model_tensor row = {.interleaved = 0};
    RS_TRY(rs_import_tensor(m, i, &out, e));
    if (m->source.gguf && i < m->n_model) rs_model_at(&m->config, i, &row);
    RS_TRY(rs_writer_tensor_begin(c->w, &out, e));
    if (row.interleaved != 0) RS_TRY(copy_heads(c, in, t, row.interleaved, e));
    else if (t->block != NULL) RS_TRY(copy_values(c, in, t, e));
    else RS_TRY(copy_kept(c, in, t, e));
    return rs_writer_tensor_end(c->w, e);
}

static rs_status copy_all(copier *c, const rs_import *m, rs_error *e)
{
    for (int i = 0; i < RS_TEXT_COUNT; i++)
        if (m->source.text[i].bytes != NULL) RS_TRY(rs_writer_file(c->w, m->source.text[i].name, m->source.text[i].bytes, m->source.text[i].len, e));
    for (uint64_t i = 0; i < rs_import_count(m); i++) {
        rs_status s = copy_tensor(c, m, i, e);
        if (s != RS_OK) return rs_error_prefix(e, s, "tensor %.*s", (int)m->place[i]->name_len, m->place[i]->name);
    }
    return RS_OK;
}

// ---- digests

typedef struct digester {
    const rs_import *m;
    rs_input_sum *sum; // one per file
    rs_status status;
    rs_error error;
    atomic_bool stop; // the copying failed: nobody wants the digests
} digester;

static rs_status digest_file(digester *d, size_t i, rs_hash *hash, uint8_t *piece, rs_error *e)
{
    rs_in *in = d->m->source.file[i].in;
    rs_input_sum *sum = &d->sum[i];
    strcpy(sum->fmt, d->m->source.gguf ? "gguf" : "safetensors");
    RS_TRY(rs_in_size(in, &sum->size, e));
    rs_hash_start_128(hash);
    for (uint64_t at = 0; at < sum->size && !atomic_load_explicit(&d->stop, memory_order_relaxed); at += PIECE) {
        size_t n = sum->size - at < PIECE ? (size_t)(sum->size - at) : PIECE;
        RS_TRY(rs_in_pread(in, piece, n, at, e));
        rs_hash_add_128(hash, piece, n);
    }
    rs_hash_get_128(hash, sum->digest);
    return RS_OK;
}

static void *digest_files(void *arg)
{
    digester *d = arg;
    rs_hash *hash = rs_hash_new();
    uint8_t *piece = malloc(PIECE);
    if (hash == NULL || piece == NULL) d->status = rs_fail(&d->error, RS_E_NOMEM, "no memory for a digest");
    for (size_t i = 0; i < d->m->source.n_files && d->status == RS_OK; i++) d->status = digest_file(d, i, hash, piece, &d->error);
    rs_hash_free(hash);
    free(piece);
    return NULL;
}

static rs_status add_text(rs_writer *w, const rs_source_text *t, rs_error *e)
{
    if (t->bytes == NULL) return RS_OK;
    rs_input_sum sum = {.size = t->len};
    strcpy(sum.fmt, strstr(t->name, ".json") != NULL ? "json" : "text");
    rs_hash_128(t->bytes, t->len, sum.digest);
    return rs_writer_input(w, 0, &sum, e);
}

static rs_status add_inputs(const rs_import *m, rs_writer *w, const rs_input_sum *sum, rs_error *e)
{
    for (size_t i = 0; i < m->source.n_files; i++) RS_TRY(rs_writer_input(w, 0, &sum[i], e));
    RS_TRY(add_text(w, &m->source.index, e));
    for (int i = 0; i < RS_TEXT_COUNT; i++)
        if (m->source.text[i].read) RS_TRY(add_text(w, &m->source.text[i], e));
    return RS_OK;
}

rs_status rs_import_write(const rs_import *m, rs_writer *w, int threads, void (*progress)(void *context, double bytes), void *context, rs_error *e)
{
    copier c = {.w = w, .progress = progress, .context = context};
    digester d = {.m = m, .sum = calloc(m->source.n_files, sizeof *d.sum)};
    if (d.sum == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for the digests");
    pthread_t thread;
    bool beside = threads > 1 && pthread_create(&thread, NULL, digest_files, &d) == 0;
    rs_status s = copy_all(&c, m, e);
    if (s != RS_OK) atomic_store(&d.stop, true);
    if (beside) pthread_join(thread, NULL);
    else if (s == RS_OK) digest_files(&d);
    if (s == RS_OK && d.status != RS_OK) s = rs_fail(e, d.status, "%s", d.error.text);
    if (s == RS_OK) s = add_inputs(m, w, d.sum, e);
    free(c.in);
    free(c.out);
    free(d.sum);
    return s;
}
