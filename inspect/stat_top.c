// SPDX-License-Identifier: Apache-2.0
// The largest values: the buffer is twice what is kept, and cut in half by a selection when it is full.
#include "inspect/stat_top.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK = 16 }; // values that are passed over together

uint64_t rs_stat_top_need(uint64_t count, double q)
{
    return count == 0 ? 0 : count - (uint64_t)floor(q * (double)(count - 1));
}

rs_status rs_stat_top_start(rs_stat_top *t, uint64_t keep, int32_t least, rs_error *e)
{
    uint64_t cap, bytes;
    if (!rs_mul_ok(keep, 2, &cap) || !rs_add_ok(cap, LOOK, &cap) || !rs_mul_ok(cap, sizeof *t->v, &bytes)) return rs_fail(e, RS_E_LIMIT, "%llu largest values", (unsigned long long)keep);
    if (cap > t->cap) {
        free(t->v);
        t->cap = 0;
        t->v = malloc(bytes);
        if (t->v == NULL) return rs_fail(e, RS_E_NOMEM, "%llu largest values", (unsigned long long)keep);
        t->cap = (size_t)cap;
    }
    t->n = 0;
    t->keep = (size_t)keep;
    t->least = least;
    return RS_OK;
}

static uint32_t median_of_3(uint32_t a, uint32_t b, uint32_t c)
{
    const uint32_t low = a < b ? a : b, high = a < b ? b : a;
    return c < low ? low : c > high ? high : c;
}

// Puts the keep largest of v [n] first; many of them may be equal.
static void select_largest(uint32_t *v, size_t n, size_t keep)
{
    size_t from = 0, to = n;
    while (to - from > 1) {
        const uint32_t pivot = median_of_3(v[from], v[from + (to - from) / 2], v[to - 1]);
        size_t above = from, i = from, below = to; // [from, above) > pivot, [above, i) equal, [below, to) < pivot
        while (i < below) {
            const uint32_t x = v[i];
            if (x > pivot) {
                v[i++] = v[above];
                v[above++] = x;
            } else if (x < pivot) {
                v[i] = v[--below];
                v[below] = x;
            } else i++;
        }
        if (keep <= above) to = above;
        else if (keep >= below) from = below;
        else return;
    }
}

static void cut(rs_stat_top *t)
{
    select_largest(t->v, t->n, t->keep);
    t->n = t->keep;
    for (size_t i = 0; i < t->n; i++)
        if (i == 0 || (int32_t)t->v[i] < t->least) t->least = (int32_t)t->v[i];
}

static void add(rs_stat_top *t, uint32_t bits)
{
    t->v[t->n++] = bits;
    if (t->n == t->cap) cut(t);
}

static int32_t magnitude(const float *x)
{
    int32_t b;
    memcpy(&b, x, sizeof b);
    return b & 0x7fffffff;
}

void rs_stat_top_add(rs_stat_top *t, size_t n, const float *x, float max)
{
    if (t->keep == 0 || magnitude(&max) <= t->least) return;
    for (size_t i = 0; i < n;) {
        const size_t end = n - i < LOOK ? n : i + LOOK;
        int32_t most = -1;
        for (size_t j = i; j < end; j++) most = magnitude(x + j) > most ? magnitude(x + j) : most;
        if (most > t->least)
            for (size_t j = i; j < end; j++)
                if (magnitude(x + j) > t->least && magnitude(x + j) < 0x7f800000) add(t, (uint32_t)magnitude(x + j));
        i = end;
    }
}

void rs_stat_top_join(rs_stat_top *t, const rs_stat_top *other)
{
    for (size_t i = 0; i < other->n; i++)
        if ((int32_t)other->v[i] > t->least) add(t, other->v[i]);
}

static int falling(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

// Order statistic i of count, from the smallest on.
static double ordered(const rs_stat_top *t, uint64_t count, uint64_t i)
{
    float x;
    memcpy(&x, &t->v[count - 1 - i], sizeof x);
    return (double)x;
}

double rs_stat_top_quantile(rs_stat_top *t, uint64_t count, double q)
{
    const double at = q * (double)(count - 1);
    const uint64_t i = (uint64_t)floor(at);
    qsort(t->v, t->n, sizeof *t->v, falling);
    const double low = ordered(t, count, i), high = ordered(t, count, i + 1 < count ? i + 1 : i);
    return low + (high - low) * (at - (double)i);
}
