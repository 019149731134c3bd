// SPDX-License-Identifier: Apache-2.0
// Angles by the symmetric part of T - I, whose eigenvalues are cos(angle) - 1: small angles keep their digits.
#include "transforms/angles.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "formats/part.h"
#include "transforms/dense.h"

// sin^2(angle / 2) = (1 - cos) / 2
double rs_angles_from(double value)
{
    const double half = sqrt(value < 0 ? -value / 2 : 0);
    return 2 * asin(half < 1 ? half : 1);
}

rs_status rs_angles_of(uint64_t n, double *T, double *theta, rs_error *e)
{
    void *work = malloc(rs_dense_symmetric_work(n) + 1);
    if (work == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for the angles of a matrix of order %llu", (unsigned long long)n);
    for (uint64_t i = 0; i < n; i++) {
        T[i * n + i] -= 1;
        for (uint64_t j = i + 1; j < n; j++) T[i * n + j] = T[j * n + i] = 0.5 * (T[i * n + j] + T[j * n + i]);
    }
    rs_status st = rs_dense_eigenvalues(n, T, theta, work, e); // ascending: the largest angle first
    free(work);
    for (uint64_t i = 0; st == RS_OK && i < n; i++) theta[i] = rs_angles_from(theta[i]);
    return st;
}

rs_status rs_angles_between(uint64_t n, const double *A, const double *B, float *theta, double *error, rs_error *e)
{
    double *T = malloc((n * n + n) * sizeof *T), *wide = T + n * n;
    if (T == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for a junction of order %llu", (unsigned long long)n);
    rs_dense_tn(n, n, n, A, n, B, n, 0, T, n);
    if (error != NULL) *error = rs_dense_error(n, n, T);
    rs_status st = rs_dense_orthonormalise(n, n, T, e);
    if (st == RS_OK) st = rs_angles_of(n, T, wide, e);
    for (uint64_t i = 0; st == RS_OK && i < n; i++) theta[i] = (float)wide[i];
    free(T);
    return st;
}

rs_status rs_angles_write(rs_writer *w, unsigned step, uint64_t j, uint64_t d, const float *theta, const rs_value *values, rs_error *e)
{
    rs_stat_head head = {.of = "angles", .step = step, .values = values};
    snprintf(head.name, sizeof head.name, "junction.%llu", (unsigned long long)j);
    if (theta != NULL && !rs_part_add(&head, "theta", RS_F32, 1, &d)) return rs_fail(e, RS_E_LIMIT, "%s: %llu angles", head.name, (unsigned long long)d);
    return rs_writer_stat(w, &head, theta, e);
}
