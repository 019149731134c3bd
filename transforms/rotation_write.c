// SPDX-License-Identifier: Apache-2.0
// The tensors of a rotations file, one call each.
#include "transforms/rotation_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

rs_head rs_rotation_write_head(const char *arch, const char *model, uint64_t L, const uint8_t base[16])
{
    rs_head head = {.align = 64, .kind = RS_KIND_ROTATIONS, .layers = L, .has_base = base != NULL, .plan = rs_plan_none()};
    snprintf(head.arch, sizeof head.arch, "%s", arch);
    snprintf(head.model, sizeof head.model, "%s", model);
    if (base != NULL) memcpy(head.base, base, sizeof head.base);
    return head;
}

static rs_tensor described(rs_role role, uint64_t j, uint64_t n, rs_enc enc)
{
    rs_tensor t = {.role = role, .layer = (int64_t)j, .expert = -1, .dtype = RS_F32, .enc = enc, .n_dims = 2, .shape = {n, n}};
    snprintf(t.name, sizeof t.name, "%s.%llu", rs_role_name(role), (unsigned long long)j);
    return t;
}

static rs_status write_square(rs_writer *w, rs_role role, uint64_t j, uint64_t n, const double *a, rs_error *e)
{
    rs_tensor t = described(role, j, n, RS_ENC_RAW);
    RS_TRY(rs_tensor_layout(&t, RS_F32, 0, e));
    float *y = malloc(t.payload_len + 1);
    if (y == NULL) return rs_fail(e, RS_E_NOMEM, "tensor %s: no memory", t.name);
    for (uint64_t i = 0; i < n * n; i++) y[i] = (float)a[i];
    rs_status status = rs_writer_tensor(w, &t, y, e);
    free(y);
    return status;
}

rs_status rs_rotation_write_basis(rs_writer *w, uint64_t j, uint64_t d, const double *R, rs_error *e) { return write_square(w, RS_ROLE_ROT, j, d, R, e); }

rs_status rs_rotation_write_headrot(rs_writer *w, uint64_t i, uint64_t h, const double *P, rs_error *e) { return write_square(w, RS_ROLE_HEADROT, i, h, P, e); }

rs_status rs_rotation_write_junction(rs_writer *w, uint64_t j, uint64_t d, uint64_t rank, const float *q, const float *m, rs_error *e)
{
    rs_tensor t = described(RS_ROLE_TRANS, j, d, RS_ENC_LOWRANK);
    RS_TRY(rs_tensor_layout(&t, RS_F32, rank == 0 ? 2 : rank, e));
    const rs_part *pq = rs_tensor_part(&t, "q"), *pm = rs_tensor_part(&t, "m");
    char *payload = calloc(1, t.payload_len + 1);
    if (payload == NULL) return rs_fail(e, RS_E_NOMEM, "tensor %s: no memory", t.name);
    float one = 1;
    if (rank == 0) {
        memcpy(payload + pq->off, &one, sizeof one);
        memcpy(payload + pq->off + 3 * sizeof one, &one, sizeof one);
    } else {
        memcpy(payload + pq->off, q, pq->len);
        memcpy(payload + pm->off, m, pm->len);
    }
    rs_status status = rs_writer_tensor(w, &t, payload, e);
    free(payload);
    return status;
}
