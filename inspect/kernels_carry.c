// SPDX-License-Identifier: Apache-2.0
// Copies to a device and back around the integer kernels.
#include "inspect/kernels_carry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t spans(const rs_int_weights *w)
{
    return w->group != 0 ? w->k / w->group : 1;
}

static size_t row_bytes(const rs_int_weights *w)
{
    return (w->k * w->bits + 7) / 8;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

// A copy of what is in the process, or NULL of NULL; ok turns false where there is no memory.
static void *copy(const rs_memory *m, const void *from, size_t bytes, bool *ok)
{
    void *p = from != NULL ? m->alloc(bytes) : NULL;
    if (p != NULL) m->put(p, from, bytes);
    else if (from != NULL) *ok = false;
    return p;
}

static bool to_device(rs_carrier *c, size_t m, size_t work)
{
    const rs_int_weights *w = c->own;
    const rs_memory *d = c->memory;
    const size_t scales = w->n * spans(w), sums = m * scales * sizeof(int32_t), y = m * w->n * sizeof(float), codes = m * w->k;
    bool ok = true;
    c->w.codes = copy(d, w->codes, w->n * row_bytes(w), &ok);
    c->w.scales = copy(d, w->scales, scales * sizeof *w->scales, &ok);
    c->w.scales_16 = copy(d, w->scales_16, scales * sizeof *w->scales_16, &ok);
    c->w.sums = copy(d, w->sums, scales * sizeof *w->sums, &ok);
    c->rows = (rs_int_rows){.codes = d->alloc(codes), .scale = d->alloc(m * sizeof(float)), .zero = d->alloc(m * sizeof(int32_t))};
    c->x = d->alloc(m * w->k * sizeof *c->x);
    c->y = d->alloc(y);
    c->sums = d->alloc(sums);
    c->work = d->alloc(work);
    c->again = malloc(larger(larger(sums, y), codes));
    return ok && c->rows.codes != NULL && c->rows.scale != NULL && c->rows.zero != NULL && c->x != NULL && c->y != NULL && c->sums != NULL && c->work != NULL && c->again != NULL;
}

rs_status rs_carrier_open(rs_carrier *c, const rs_int_kernels *by, const rs_int_weights *w, unsigned a_bits, size_t m, size_t repeat, rs_error *e)
{
    *c = (rs_carrier){.by = by, .memory = rs_int_memory(by), .own = w, .w = *w, .repeat = repeat};
    const size_t bytes = rs_int_gemm_work(by, w, a_bits, m);
    bool ok = bytes > 0;
    if (ok && c->memory == NULL) ok = (c->work = aligned_alloc(64, (bytes + 63) / 64 * 64)) != NULL;
    else if (ok) ok = to_device(c, m, bytes);
    return ok ? RS_OK : rs_fail(e, RS_E_NOMEM, "work of %s%s", rs_int_name(by), c->memory != NULL ? " on the device" : "");
}

void rs_carrier_close(rs_carrier *c)
{
    if (c->memory == NULL) {
        free(c->work);
        return;
    }
    const void *all[] = {c->w.codes, c->w.scales, c->w.scales_16, c->w.sums, c->rows.codes, c->rows.scale, c->rows.zero, c->x, c->y, c->sums, c->work};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) c->memory->release((void *)(uintptr_t)all[i]);
    free(c->again);
}

// Those of the process on the device.
static rs_int_rows rows_there(const rs_carrier *c, const rs_int_rows *rows)
{
    rs_int_rows r = *rows;
    r.codes = c->rows.codes;
    r.scale = c->rows.scale;
    r.zero = c->rows.zero;
    return r;
}

static rs_int_rows put_rows(const rs_carrier *c, const rs_int_rows *rows)
{
    c->memory->put(c->rows.codes, rows->codes, rows->m * rows->k);
    c->memory->put(c->rows.scale, rows->scale, rows->m * sizeof *rows->scale);
    c->memory->put(c->rows.zero, rows->zero, rows->m * sizeof *rows->zero);
    return rows_there(c, rows);
}

// What was computed: the first time into out; after that it must be the same.
static void take_back(rs_carrier *c, size_t turn, void *out, const void *from, size_t bytes)
{
    c->memory->get(turn == 0 ? out : c->again, from, bytes);
    if (turn > 0 && memcmp(out, c->again, bytes) != 0) c->differ++;
}

// So that what an earlier turn left is not taken for a result.
static void spoil(const rs_carrier *c, void *there, size_t bytes)
{
    memset(c->again, 0xa5, bytes);
    c->memory->put(there, c->again, bytes);
}

// The first fault stays.
static void keep(rs_carrier *c, const char *fault)
{
    if (fault != NULL && c->fault[0] == 0) snprintf(c->fault, sizeof c->fault, "%s", fault);
}

size_t rs_carrier_quantise(rs_carrier *c, const rs_quantizer *q, const float *x, const rs_int_rows *rows)
{
    if (c->memory == NULL) return rs_int_quantise(c->by, q, x, rows->k, rows);
    const rs_int_rows there = rows_there(c, rows);
    const char *fault;
    size_t bad = 0;
    c->memory->put(c->x, x, rows->m * rows->k * sizeof *x);
    for (size_t i = 0; i < c->repeat; i++) {
        spoil(c, there.codes, rows->m * rows->k);
        (void)rs_int_quantise(c->by, q, c->x, rows->k, &there);
        take_back(c, i, rows->codes, there.codes, rows->m * rows->k);
        take_back(c, i, rows->scale, there.scale, rows->m * sizeof *rows->scale);
        take_back(c, i, rows->zero, there.zero, rows->m * sizeof *rows->zero);
        bad = c->memory->settle(&fault);
        keep(c, fault);
    }
    return bad;
}

void rs_carrier_sums(rs_carrier *c, const rs_int_rows *rows, int32_t *sums)
{
    if (c->memory == NULL) {
        rs_int_gemm_sums(c->by, c->own, rows, sums, c->work);
        return;
    }
    const rs_int_rows there = put_rows(c, rows);
    const size_t bytes = rows->m * spans(c->own) * c->own->n * sizeof *sums;
    for (size_t i = 0; i < c->repeat; i++) {
        spoil(c, c->sums, bytes);
        rs_int_gemm_sums(c->by, &c->w, &there, c->sums, c->work);
        take_back(c, i, sums, c->sums, bytes);
    }
}

void rs_carrier_product(rs_carrier *c, const rs_int_rows *rows, float *y, bool add)
{
    const size_t n = c->own->n, bytes = rows->m * n * sizeof *y;
    if (c->memory == NULL) {
        rs_int_gemm(c->by, 1, &(rs_int_product){.w = c->own, .y = y, .ldy = n, .add = add}, rows, c->work);
        return;
    }
    const rs_int_rows there = put_rows(c, rows);
    for (size_t i = 0; i < (add ? 1 : c->repeat); i++) {
        if (add) c->memory->put(c->y, y, bytes);
        else spoil(c, c->y, bytes);
        rs_int_gemm(c->by, 1, &(rs_int_product){.w = &c->w, .y = c->y, .ldy = n, .add = add}, &there, c->work);
        take_back(c, i, y, c->y, bytes);
    }
}

rs_status rs_carrier_fault(rs_carrier *c, rs_error *e)
{
    const char *fault = NULL;
    if (c->memory != NULL) (void)c->memory->settle(&fault);
    keep(c, fault);
    return c->fault[0] == 0 ? RS_OK : rs_fail(e, RS_E_INTERNAL, "the device failed: %s", c->fault);
}
