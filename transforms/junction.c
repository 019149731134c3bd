// SPDX-License-Identifier: Apache-2.0
// Junctions and bases on their way into a stream, and the ranks that the plan states for them.
#include "transforms/junction.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rs_status describe(rs_tensor *t, rs_role role, uint64_t j, uint64_t n, rs_enc enc, uint64_t rank, rs_error *e)
{
    *t = (rs_tensor){.role = role, .layer = (int64_t)j, .expert = -1, .dtype = RS_F32, .enc = enc, .n_dims = 2, .shape = {n, n}};
    snprintf(t->name, sizeof t->name, "%s.%llu", rs_role_name(role), (unsigned long long)j);
    return rs_tensor_layout(t, RS_F32, rank, e);
}

rs_status rs_junction_lowrank(rs_relay *relay, rs_role role, uint64_t j, uint64_t d, uint64_t rank, const float *q, const float *m, rs_error *e)
{
    rs_tensor t;
    void *block;
    RS_TRY(describe(&t, role, j, d, RS_ENC_LOWRANK, rank, e));
    RS_TRY(rs_relay_block(relay, t.payload_len, &block, e));
    memset(block, 0, t.payload_len);
    const rs_part *pq = rs_tensor_part(&t, "q"), *pm = rs_tensor_part(&t, "m");
    memcpy((char *)block + pq->off, q, pq->len);
    memcpy((char *)block + pm->off, m, pm->len);
    RS_TRY(rs_relay_begin(relay, &t, e));
    RS_TRY(rs_relay_post(relay, t.payload_len, e));
    return rs_relay_end(relay, e);
}

rs_status rs_junction_dense(rs_relay *relay, rs_role role, uint64_t j, uint64_t n, const float *T, rs_error *e)
{
    rs_tensor t;
    void *block;
    RS_TRY(describe(&t, role, j, n, RS_ENC_RAW, 0, e));
    RS_TRY(rs_relay_block(relay, t.payload_len, &block, e));
    memcpy(block, T, t.payload_len);
    RS_TRY(rs_relay_begin(relay, &t, e));
    RS_TRY(rs_relay_post(relay, t.payload_len, e));
    return rs_relay_end(relay, e);
}

// Ascending by (layer, role), as the container wants exceptions.
static int by_place(const void *x, const void *y)
{
    const rs_except *a = x, *b = y;
    if (a->layer != b->layer) return a->layer < b->layer ? -1 : 1;
    return (a->role > b->role) - (a->role < b->role);
}

rs_status rs_junction_plan(rs_plan *plan, uint64_t n, const uint64_t *rank, rs_error *e)
{
    uint64_t best = 0, most = 0, differ = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t count = 0;
        for (uint64_t j = 0; j < n; j++) count += rank[j] == rank[i];
        if (count > most && rank[i] > 0) best = rank[i], most = count;
    }
    if (best == 0) {
        plan->resid = RS_RESID_NONE;
        plan->rank = 0;
        return RS_OK;
    }
    for (uint64_t i = 0; i < n; i++) differ += rank[i] != best;
    size_t kept = 0;
    rs_except *list = malloc((plan->n_except + differ + 1) * sizeof *list);
    if (list == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for the plan");
    for (size_t i = 0; i < plan->n_except; i++)
        if (plan->except[i].role != RS_ROLE_RESID) list[kept++] = plan->except[i];
    for (uint64_t j = 0; j < n; j++)
        if (rank[j] != best) list[kept++] = (rs_except){.layer = (int64_t)j, .role = RS_ROLE_RESID, .act = plan->a, .rank = rank[j]};
    if (kept > RS_MAX_ARRAY) {
        free(list);
        return rs_fail(e, RS_USAGE, "%zu junctions have ranks of their own; a plan has room for %u exceptions", kept, RS_MAX_ARRAY);
    }
    qsort(list, kept, sizeof *list, by_place);
    free(plan->except);
    plan->except = list;
    plan->n_except = kept;
    plan->resid = RS_RESID_LOWRANK;
    plan->rank = best;
    return RS_OK;
}
