// SPDX-License-Identifier: Apache-2.0
// A list of arrays here and there; the few hundred matrices of a model are found by going through it.
#include "transforms/mirrors.h"

#include <stdlib.h>

struct mirror {
    const float *here;
    float *sums;   // the same array, where it is one of sums, else NULL
    float *back;   // the same array, where it was changed there and not yet here, else NULL
    float *there;
    size_t count;
    bool good;     // there is what is here; of sums: something has been added since they were gathered
};

struct rs_mirrors {
    const rs_memory *memory; // NULL: that of the process
    struct mirror *list;
    size_t n, room;
    bool sent;
};

rs_status rs_mirrors_new(rs_mirrors **m, const rs_kernels *k, rs_error *e)
{
    *m = calloc(1, sizeof **m);
    if (*m == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for the rotations");
    (*m)->memory = k->memory;
    return RS_OK;
}

void rs_mirrors_free(rs_mirrors *m)
{
    if (m == NULL) return;
    for (size_t i = 0; i < m->n; i++) m->memory->release(m->list[i].there);
    free(m->list);
    free(m);
}

void rs_mirrors_moved(rs_mirrors *m)
{
    for (size_t i = 0; i < m->n; i++) {
        if (m->list[i].sums == NULL) m->list[i].good = false;
        m->list[i].back = NULL;
    }
}

void rs_mirrors_drop(rs_mirrors *m)
{
    for (size_t i = 0; i < m->n; i++)
        if (m->list[i].sums != NULL) m->list[i].good = false;
}

// The entry of an array, which may be new.
static rs_status find(rs_mirrors *m, const float *here, float *sums, size_t count, struct mirror **found, rs_error *e)
{
    for (size_t i = 0; i < m->n; i++) {
        *found = &m->list[i];
        if ((*found)->here == here && (*found)->sums == sums && (*found)->count == count) return RS_OK;
    }
    if (m->n == m->room) {
        const size_t room = 2 * m->room + 16;
        struct mirror *list = realloc(m->list, room * sizeof *list);
        if (list == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for the rotations");
        m->list = list;
        m->room = room;
    }
    float *there = m->memory->alloc(count * sizeof *there);
    if (there == NULL) return rs_fail(e, RS_E_NOMEM, "no memory on the device for the rotations");
    *found = &m->list[m->n++];
    **found = (struct mirror){here, sums, NULL, there, count, false};
    return RS_OK;
}

rs_status rs_mirrors_matrix(rs_mirrors *m, const float *p, size_t count, const float **there, rs_error *e)
{
    struct mirror *f = NULL;
    *there = p;
    if (m->memory == NULL || p == NULL) return RS_OK;
    RS_TRY(find(m, p, NULL, count, &f, e));
    if (!f->good) {
        m->memory->send(f->there, p, count * sizeof *p);
        m->sent = f->good = true;
    }
    *there = f->there;
    return RS_OK;
}

rs_status rs_mirrors_change(rs_mirrors *m, float *p, size_t count, float **there, rs_error *e)
{
    const float *unused;
    struct mirror *f = NULL;
    *there = p;
    if (m->memory == NULL || p == NULL) return RS_OK;
    RS_TRY(rs_mirrors_matrix(m, p, count, &unused, e));
    RS_TRY(find(m, p, NULL, count, &f, e));
    f->back = p;
    *there = f->there;
    return RS_OK;
}

void rs_mirrors_fetch(rs_mirrors *m)
{
    for (size_t i = 0; i < m->n; i++) {
        struct mirror *f = &m->list[i];
        if (f->back != NULL) m->memory->get(f->back, f->there, f->count * sizeof(float));
        f->back = NULL;
    }
}

void rs_mirrors_meet(rs_mirrors *m)
{
    if (m->sent) m->memory->meet();
    m->sent = false;
}

rs_status rs_mirrors_sum(rs_mirrors *m, float *p, size_t count, float **there, rs_error *e)
{
    struct mirror *f = NULL;
    *there = p;
    if (m->memory == NULL || p == NULL) return RS_OK;
    RS_TRY(find(m, p, p, count, &f, e));
    if (!f->good) m->memory->zero(f->there, count * sizeof *p);
    f->good = true;
    *there = f->there;
    return RS_OK;
}

rs_status rs_mirrors_gather(rs_mirrors *m, rs_error *e)
{
    size_t most = 0;
    for (size_t i = 0; i < m->n; i++)
        if (m->list[i].sums != NULL && m->list[i].good && m->list[i].count > most) most = m->list[i].count;
    if (most == 0) return RS_OK;
    float *sum = malloc(most * sizeof *sum);
    if (sum == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for the slopes of the rotations");
    for (size_t i = 0; i < m->n; i++) {
        const struct mirror *f = &m->list[i];
        if (f->sums == NULL || !f->good) continue;
        m->memory->get(sum, f->there, f->count * sizeof *sum);
        rs_kernels_cpu()->add(f->count, sum, f->sums);
    }
    free(sum);
    rs_mirrors_drop(m);
    return RS_OK;
}
