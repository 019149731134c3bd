// SPDX-License-Identifier: Apache-2.0
// The packed KV cache by every variant: what is read back is what fake_quant makes of it, and every variant packs the same bytes.
#include <stdlib.h>
#include <string.h>

#include "inspect/kernels_inside.h"

typedef struct fixture {
    size_t n, heads, h;
    const float *x[2]; // K, V
    float *want[2];    // [S, heads h]
    float *out;        // [S, h]
    uint8_t *bytes;    // of the reference's cache
} fixture;

static const char *const names[2] = {"k", "v"};

static void expect(const rs_kv_cache *c, fixture *f)
{
    const rs_kernels *k = rs_kernels_reference();
    for (int i = 0; i < 2; i++) {
        memcpy(f->want[i], f->x[i], f->n * sizeof(float));
        if (c->q.bits < 16) (void)k->fake_quant(&c->q, f->n / f->h, f->h, f->want[i], f->h);
        for (size_t j = 0; c->q.bits == 16 && j < f->n; j++) {
            uint16_t half;
            k->f32_to_f16(1, &f->want[i][j], &half);
            k->f16_to_f32(1, &half, &f->want[i][j]);
        }
    }
}

static void compare(rs_kernels_state *s, const rs_kv_cache *c, const fixture *f, const rs_int_kernels *by, rs_kv_read *read, const char *reader)
{
    for (size_t i = 0; i < 2 * f->heads; i++) {
        const size_t head = i / 2;
        read(c, i % 2 != 0, head, 0, s->S, f->out);
        s->r->cached += s->S * f->h;
        for (size_t t = 0; t < s->S; t++) {
            const float *want = f->want[i % 2] + (t * f->heads + head) * f->h, *got = f->out + t * f->h;
            size_t j = 0;
            while (j < f->h && memcmp(&got[j], &want[j], sizeof *got) == 0) j++;
            if (j == f->h) continue;
            rs_kernels_fail(s, "layer %llu, cache of %s: packed by %s, read by %s: token %zu, head %zu, column %zu: %.9g, fake_quant gives %.9g", (unsigned long long)s->layer, names[i % 2],
                            rs_int_name(by), reader, t, head, j, (double)got[j], (double)want[j]);
            return;
        }
    }
}

static rs_status variant(rs_kernels_state *s, rs_network *n, fixture *f, const rs_int_kernels *by, rs_error *e)
{
    rs_kv_cache c;
    RS_TRY(rs_network_cache(n, s->S, &c, e));
    const size_t bytes = rs_kv_cache_bytes(&c), space = rs_kv_cache_work(&c, s->S);
    memset(c.memory, 0, bytes);
    void *work = aligned_alloc(64, (space + 64) / 64 * 64);
    rs_status status = work == NULL ? rs_fail(e, RS_E_NOMEM, "KV cache") : RS_OK;
    if (status == RS_OK) {
        const bool first = by == rs_int_reference();
        size_t half = s->S / 2; // in two steps
        size_t bad = rs_kv_cache_append(&c, by, half, f->x[0], f->x[1], work);
        bad += rs_kv_cache_append(&c, by, s->S - half, f->x[0] + half * f->heads * f->h, f->x[1] + half * f->heads * f->h, work);
        if (bad != 0) rs_kernels_fail(s, "layer %llu, cache of k and v: %s refuses %zu vectors", (unsigned long long)s->layer, rs_int_name(by), bad);
        if (first) {
            expect(&c, f);
            f->bytes = malloc(bytes);
            status = f->bytes == NULL ? rs_fail(e, RS_E_NOMEM, "KV cache") : RS_OK;
            if (status == RS_OK) memcpy(f->bytes, c.memory, bytes);
        } else if (memcmp(f->bytes, c.memory, bytes) != 0)
            rs_kernels_fail(s, "layer %llu, cache of k and v: %s packs other bytes than the reference", (unsigned long long)s->layer, rs_int_name(by));
        if (status == RS_OK) compare(s, &c, f, by, rs_kv_read_plain, "the plain reader");
        if (status == RS_OK && !first) compare(s, &c, f, by, rs_kv_read_avx2, "the fast reader");
    }
    free(work);
    free(c.memory);
    return status;
}

// The same of a device, whose bytes must be those of the reference.
static rs_status device(rs_kernels_state *s, rs_network *n, fixture *f, const rs_int_kernels *by, rs_error *e)
{
    const rs_memory *m = rs_int_memory(by);
    rs_kv_cache c;
    RS_TRY(rs_network_cache(n, s->S, &c, e));
    const size_t bytes = rs_kv_cache_bytes(&c), half = s->S / 2, row = f->heads * f->h;
    uint8_t *own = c.memory;
    float *x[2] = {m->alloc(f->n * sizeof(float)), m->alloc(f->n * sizeof(float))};
    const char *fault = NULL;
    memset(own, 0, bytes);
    c.memory = m->alloc(bytes);
    rs_status status = c.memory == NULL || x[0] == NULL || x[1] == NULL ? rs_fail(e, RS_E_NOMEM, "KV cache on the device") : RS_OK;
    if (status == RS_OK) {
        m->put(c.memory, own, bytes);
        for (int i = 0; i < 2; i++) m->put(x[i], f->x[i], f->n * sizeof(float));
        (void)rs_kv_cache_append(&c, by, half, x[0], x[1], NULL);
        (void)rs_kv_cache_append(&c, by, s->S - half, x[0] + half * row, x[1] + half * row, NULL);
        m->get(own, c.memory, bytes);
        const size_t bad = m->settle(&fault);
        if (fault != NULL) status = rs_fail(e, RS_E_INTERNAL, "layer %llu, cache of k and v: the device failed: %s", (unsigned long long)s->layer, fault);
        else if (bad != 0) rs_kernels_fail(s, "layer %llu, cache of k and v: %s refuses %zu vectors", (unsigned long long)s->layer, rs_int_name(by), bad);
        else if (memcmp(f->bytes, own, bytes) != 0) rs_kernels_fail(s, "layer %llu, cache of k and v: %s packs other bytes than the reference", (unsigned long long)s->layer, rs_int_name(by));
    }
    m->release(x[0]);
    m->release(x[1]);
    m->release(c.memory);
    c.memory = own;
    if (status == RS_OK) compare(s, &c, f, by, rs_kv_read_plain, "the plain reader");
    free(own);
    return status;
}

rs_status rs_kernels_cache(rs_kernels_state *s, rs_network *n, const float *k, const float *v, rs_error *e)
{
    const rs_decoder_shape *shape = rs_network_shape(n);
    const size_t all = s->S * shape->n_kv * shape->h;
    fixture f = {.n = all, .heads = shape->n_kv, .h = shape->h, .x = {k, v}, .want = {malloc(all * sizeof(float)), malloc(all * sizeof(float))}, .out = malloc(s->S * shape->h * sizeof(float))};
    rs_status status = f.want[0] == NULL || f.want[1] == NULL || f.out == NULL ? rs_fail(e, RS_E_NOMEM, "KV cache") : RS_OK;
    if (status == RS_OK) status = variant(s, n, &f, rs_int_reference(), e);
    for (size_t i = 0; status == RS_OK && i < s->n_variants; i++)
        if (s->variants[i] != rs_int_reference()) status = variant(s, n, &f, s->variants[i], e);
    if (status == RS_OK && s->o->n_device_variants > 0) status = device(s, n, &f, s->o->device_variants[0], e); // all of a device share it
    free(f.want[0]);
    free(f.want[1]);
    free(f.out);
    free(f.bytes);
    return status;
}
