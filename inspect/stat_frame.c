// SPDX-License-Identifier: Apache-2.0
// Statistics as frames.
#include "inspect/stat_frame.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

size_t rs_stat_numbers(const rs_stat_subject *s, rs_stat_number list[RS_STAT_NUMBERS])
{
    const rs_stat_result *r = s->r;
    const rs_stat_number all[RS_STAT_NUMBERS] = {
        {"bad", true, r->bad, 0}, {"incoherence", false, 0, r->incoherence}, {"kurt", false, 0, r->kurt}, {"massive", true, r->massive, 0}, {"max", false, 0, r->max},
        {"p999", false, 0, r->p999}, {"p9999", false, 0, r->p9999}, {"rms", false, 0, r->rms}, {"sqnr3", false, 0, r->sqnr[s->setting][1]}, {"sqnr4", false, 0, r->sqnr[s->setting][0]},
        {"tokens", true, r->rows, 0}, {"zeros", false, 0, r->zeros},
    };
    size_t n = 0;
    for (size_t i = 0; i < RS_STAT_NUMBERS; i++) {
        if (all[i].whole && strcmp(all[i].key, "bad") == 0 && all[i].u == 0) continue;
        if (all[i].whole && strcmp(all[i].key, "bad") != 0 && !r->tokens) continue;
        if (!all[i].whole && !isfinite(all[i].f)) continue;
        list[n] = all[i];
        list[n].f = list[n].f == 0 ? 0 : list[n].f; // no -0
        n++;
    }
    return n;
}

// Lays the parts out one behind the other, each on a multiple of 64, and copies them there. *payload: malloc.
static rs_status parts(const rs_stat_result *r, rs_stat_head *h, uint8_t **payload, rs_error *e)
{
    const struct { const char *key; rs_dtype type; uint64_t n; const void *p; } all[] = {
        {"absmax", RS_F32, r->channels, r->absmax}, {"rms", RS_F32, r->channels, r->rms_of}, {"kurt", RS_F32, r->channels, r->kurt_of}, {"hist", RS_U64, RS_STAT_BINS, r->hist},
    };
    uint64_t end = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        rs_part *p = &h->parts[h->n_parts++];
        *p = (rs_part){.dtype = all[i].type, .n_dims = 1, .shape = {all[i].n}};
        strcpy(p->key, all[i].key);
        if (!rs_add_ok(end, 63, &p->off) || !rs_mul_ok(all[i].n, rs_dtype_size(all[i].type), &p->len) || !rs_add_ok(p->off &= ~UINT64_C(63), p->len, &end))
            return rs_fail(e, RS_E_LIMIT, "statistics of %llu channels", (unsigned long long)r->channels);
    }
    h->payload_len = end;
    *payload = calloc(1, (size_t)end + 1);
    if (*payload == NULL) return rs_fail(e, RS_E_NOMEM, "statistics of %llu channels", (unsigned long long)r->channels);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].n > 0) memcpy(*payload + h->parts[i].off, all[i].p, (size_t)h->parts[i].len);
    return RS_OK;
}

rs_status rs_stat_write(rs_writer *w, const rs_stat_subject *s, rs_error *e)
{
    rs_stat_head h = {.step = s->step};
    rs_stat_number list[RS_STAT_NUMBERS];
    uint8_t *payload = NULL;
    rs_arena *a = rs_arena_new();
    rs_value *map = a != NULL ? rs_value_map(a) : NULL;
    const size_t n = rs_stat_numbers(s, list);
    bool good = map != NULL;
    for (size_t i = 0; i < n; i++) good = rs_map_put(a, map, list[i].key, list[i].whole ? rs_value_uint(a, list[i].u) : rs_value_f64(a, list[i].f)) && good;
    rs_status st = good ? RS_OK : rs_fail(e, RS_E_NOMEM, "%s: statistics", s->name);
    if (st == RS_OK) {
        memcpy(h.name, s->name, strlen(s->name) + 1);
        strcpy(h.of, s->of);
        h.values = map;
        st = parts(s->r, &h, &payload, e);
    }
    if (st == RS_OK) st = rs_writer_stat(w, &h, payload, e);
    free(payload);
    rs_arena_free(a);
    return st;
}
