// SPDX-License-Identifier: Apache-2.0
// One KV cache per layer; a chunk of tokens goes through all layers before the next one does.
#include "inspect/generate.h"

#include <stdlib.h>
#include <string.h>

#include "transforms/device.h"

enum { CHUNK = 512 };

struct rs_generator {
    rs_network *n;
    size_t L, d, capacity, bytes;
    rs_kv_cache *cache; // [L]
    float *x, *logits;  // [CHUNK, d], [V], where the network computes
    float *got;         // [V]: logits in the process, where they lie elsewhere
};

static rs_status open_generator(rs_generator *g, rs_error *e)
{
    const size_t logits = (size_t)rs_network_config(g->n)->V * sizeof *g->logits;
    const bool elsewhere = rs_network_kernels(g->n)->memory != NULL;
    g->cache = calloc(g->L, sizeof *g->cache);
    g->got = elsewhere ? malloc(logits) : NULL;
    if (g->cache == NULL || (elsewhere && g->got == NULL)) return rs_fail(e, RS_E_NOMEM, "generation");
    RS_TRY(rs_network_alloc(g->n, (g->capacity < CHUNK ? g->capacity : CHUNK) * g->d * sizeof *g->x, (void **)&g->x, e));
    RS_TRY(rs_network_alloc(g->n, logits, (void **)&g->logits, e));
    for (size_t i = 0; i < g->L; i++) {
        RS_TRY(rs_network_cache(g->n, g->capacity, &g->cache[i], e));
        g->bytes += rs_kv_cache_bytes(&g->cache[i]);
    }
    const float *cos, *sin;
    RS_TRY(rs_network_rope(g->n, g->capacity, &cos, &sin, e)); // at once, rather than again for each token
    return rs_network_keep(g->n, e);
}

rs_status rs_generator_open(rs_generator **out, rs_network *n, const rs_int_kernels *by, size_t capacity, rs_error *e)
{
    rs_generator *g = calloc(1, sizeof *g);
    *out = g;
    if (g == NULL) return rs_fail(e, RS_E_NOMEM, "generation");
    g->n = n;
    g->L = (size_t)rs_network_config(n)->L;
    g->d = rs_network_shape(n)->d;
    g->capacity = capacity;
    rs_network_integer(n, by != NULL ? by : rs_device_products(rs_network_kernels(n)));
    rs_status s = open_generator(g, e);
    if (s != RS_OK) {
        rs_generator_close(g);
        *out = NULL;
    }
    return s;
}

void rs_generator_close(rs_generator *g)
{
    if (g == NULL) return;
    const rs_memory *m = rs_memory_of(rs_network_kernels(g->n));
    for (size_t i = 0; g->cache != NULL && i < g->L; i++) m->release(g->cache[i].memory);
    m->release(g->x);
    m->release(g->logits);
    free(g->cache);
    free(g->got);
    free(g);
}

size_t rs_generator_count(const rs_generator *g)
{
    return g->cache[0].count;
}

size_t rs_generator_cache_bytes(const rs_generator *g)
{
    return g->bytes;
}

void rs_generator_reset(rs_generator *g)
{
    for (size_t i = 0; i < g->L; i++) g->cache[i].count = 0;
}

rs_status rs_generator_feed(rs_generator *g, const int32_t *ids, size_t count, const float **logits, rs_error *e)
{
    if (count == 0 || count > g->capacity - rs_generator_count(g)) return rs_fail(e, RS_USAGE, "%zu more tokens do not fit behind %zu of at most %zu", count, rs_generator_count(g), g->capacity);
    for (size_t done = 0, m; done < count; done += m) {
        m = count - done < CHUNK ? count - done : CHUNK;
        RS_TRY(rs_network_embed(g->n, m, ids + done, g->x, e));
        for (size_t i = 0; i < g->L; i++) {
            const rs_decoder_layer *layer;
            RS_TRY(rs_network_load(g->n, i, &layer, e));
            RS_TRY(rs_network_step(g->n, &g->cache[i], m, g->x, e));
        }
        if (done + m == count) RS_TRY(rs_network_logits(g->n, 1, g->x + (m - 1) * g->d, g->logits, e));
    }
    *logits = g->logits;
    if (g->got == NULL) return RS_OK;
    rs_network_kernels(g->n)->memory->get(g->got, g->logits, (size_t)rs_network_config(g->n)->V * sizeof *g->got);
    *logits = g->got;
    return rs_network_settle(g->n, e);
}
