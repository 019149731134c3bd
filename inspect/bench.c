// SPDX-License-Identifier: Apache-2.0
// Pairs of runs, with junctions and without, one right after the other, so that both meet the same machine.
#include "inspect/bench.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/limits.h"
#include "transforms/device.h"

enum { READ_BYTES = 256 << 20, COPIES = 4 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int ascending(const void *p, const void *q)
{
    const double d = *(const double *)p - *(const double *)q;
    return (d > 0) - (d < 0);
}

static double median(size_t n, double *x)
{
    qsort(x, n, sizeof *x, ascending);
    return (x[(n - 1) / 2] + x[n / 2]) / 2;
}

// Arrays that are larger than caches, where the network computes: one that is read, and on a device one that it is copied to.
struct yardstick {
    const rs_memory *memory;
    void *from, *to;
};

static void close_yardstick(const struct yardstick *y)
{
    y->memory->release(y->from);
    y->memory->release(y->to);
}

static rs_status open_yardstick(rs_network *n, struct yardstick *y, rs_error *e)
{
    const rs_memory *own = rs_network_kernels(n)->memory;
    *y = (struct yardstick){.memory = rs_memory_of(rs_network_kernels(n))};
    RS_TRY(rs_network_alloc(n, READ_BYTES, &y->from, e));
    if (own == NULL) memset(y->from, 1, READ_BYTES);
    else y->memory->zero(y->from, READ_BYTES);
    return own == NULL ? RS_OK : rs_network_alloc(n, READ_BYTES, &y->to, e);
}

// Bytes a second: read, or on a device read and written by copies.
static rs_status read_rate(rs_network *n, const struct yardstick *y, double *rate, rs_error *e)
{
    const double start = now();
    double bytes = 0;
    if (y->to == NULL) bytes = rs_limits_read(y->from, READ_BYTES);
    for (int i = 0; y->to != NULL && i < COPIES; i++, bytes += 2.0 * READ_BYTES) y->memory->move(y->to, y->from, READ_BYTES);
    RS_TRY(rs_network_settle(n, e));
    *rate = bytes / (now() - start);
    return RS_OK;
}

// What a token reads of the layers and the head, and the products of codes that it needs.
static rs_status count(rs_network *n, rs_bench_result *r, rs_error *e)
{
    const rs_config *c = rs_network_config(n);
    for (uint64_t i = 0; i < c->L; i++) {
        const rs_decoder_layer *layer;
        RS_TRY(rs_network_load(n, i, &layer, e));
        r->junctions = r->junctions || layer->attn.r > 0 || layer->ffn.r > 0 || layer->attn.t != NULL || layer->ffn.t != NULL;
        const rs_int_weights *codes[] = {layer->cq, layer->ck, layer->cv, layer->co, layer->cgate, layer->cup, layer->cdown};
        for (size_t j = 0; j < sizeof codes / sizeof *codes; j++)
            if (codes[j] != NULL) r->products += (double)codes[j]->n * (double)codes[j]->k;
    }
    return rs_network_token_bytes(n, &r->bytes, e);
}

struct times {
    double *prefill[2], *decode[2], *prefill_cost, *decode_cost, *read, *products; // [rounds]; [0]: with junctions
};

// One round: the prompt both ways, then tokens both ways in turn, each way in a cache of its own.
static rs_status round_of(rs_network *n, rs_generator *g[2], const rs_bench_options *o, int ways, const int32_t *ids, const struct times *t, size_t round, rs_error *e)
{
    const float *logits;
    for (int w = 0; w < ways; w++) {
        const int way = round % 2 == 0 ? w : ways - 1 - w;
        rs_network_residual(n, way == 0);
        rs_generator_reset(g[way]);
        double start = now();
        RS_TRY(rs_generator_feed(g[way], ids, o->prefill, &logits, e));
        t->prefill[way][round] = now() - start;
        t->decode[way][round] = 0;
    }
    for (size_t i = 0; i < o->tokens; i++)
        for (int w = 0; w < ways; w++) {
            const int way = i % 2 == 0 ? w : ways - 1 - w;
            rs_network_residual(n, way == 0);
            double start = now();
            RS_TRY(rs_generator_feed(g[way], ids + o->prefill + i, 1, &logits, e));
            t->decode[way][round] += now() - start;
        }
    t->prefill_cost[round] = ways == 2 ? t->prefill[0][round] / t->prefill[1][round] - 1 : 0;
    t->decode_cost[round] = ways == 2 ? t->decode[0][round] / t->decode[1][round] - 1 : 0;
    return RS_OK;
}

static rs_status measure(rs_network *n, const rs_bench_options *o, const rs_int_kernels *by, rs_generator *g[2], const int32_t *ids, const struct yardstick *yard, const struct times *t, rs_bench_result *r,
                         rs_error *e)
{
    const int ways = r->junctions ? 2 : 1;
    for (size_t i = 0; i < o->rounds; i++) {
        RS_TRY(read_rate(n, yard, &t->read[i], e));
        const double start = now();
        const double products = rs_limits_products(by);
        t->products[i] = products / (now() - start);
        RS_TRY(round_of(n, g, o, ways, ids, t, i, e));
        if (o->progress != NULL) o->progress(o->context, (double)(i + 1));
    }
    r->prefill = (double)o->prefill / median(o->rounds, t->prefill[0]);
    r->decode = (double)o->tokens / median(o->rounds, t->decode[0]);
    r->prefill_cost = median(o->rounds, t->prefill_cost);
    r->decode_cost = median(o->rounds, t->decode_cost);
    r->read_rate = median(o->rounds, t->read);
    r->products_rate = median(o->rounds, t->products);
    r->cache_bytes = rs_generator_cache_bytes(g[0]);
    r->bytes += (double)r->cache_bytes * ((double)o->prefill + (double)o->tokens / 2) / (double)(o->prefill + o->tokens);
    r->read_share = r->bytes * r->decode / r->read_rate;
    r->products_share = r->products_rate > 0 ? r->products * r->prefill / r->products_rate : 0;
    return RS_OK;
}

static rs_status run(rs_network *n, const rs_bench_options *o, const rs_int_kernels *by, rs_generator *g[2], rs_bench_result *r, rs_error *e)
{
    enum { ROWS = 8 };
    const size_t all = o->prefill + o->tokens;
    int32_t *ids = malloc(all * sizeof *ids);
    double *row = calloc(ROWS * o->rounds, sizeof *row);
    struct yardstick yard = {.memory = &rs_memory_process};
    rs_status s = ids == NULL || row == NULL ? rs_fail(e, RS_E_NOMEM, "benchmark") : open_yardstick(n, &yard, e);
    if (s == RS_OK) {
        const size_t m = o->rounds;
        const struct times t = {{row, row + m}, {row + 2 * m, row + 3 * m}, row + 4 * m, row + 5 * m, row + 6 * m, row + 7 * m};
        uint32_t state = 1;
        for (size_t i = 0; i < all; i++) {
            state = state * 1664525u + 1013904223u;
            ids[i] = (int32_t)((state >> 8) % rs_network_config(n)->V);
        }
        s = measure(n, o, by, g, ids, &yard, &t, r, e);
    }
    rs_network_residual(n, true);
    free(ids);
    free(row);
    close_yardstick(&yard);
    return s;
}

rs_status rs_bench_run(rs_network *n, const rs_bench_options *o, rs_bench_result *r, rs_error *e)
{
    const rs_int_kernels *by = o->by != NULL ? o->by : rs_device_products(rs_network_kernels(n));
    rs_generator *g[2] = {NULL, NULL};
    memset(r, 0, sizeof *r);
    rs_status s = RS_OK;
    for (int way = 0; way < 2 && s == RS_OK; way++) s = rs_generator_open(&g[way], n, by, o->prefill + o->tokens, e);
    if (s == RS_OK) s = count(n, r, e);
    if (s == RS_OK) s = run(n, o, by, g, r, e);
    for (int way = 0; way < 2; way++) rs_generator_close(g[way]);
    return s;
}
