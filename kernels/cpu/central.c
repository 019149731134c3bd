// SPDX-License-Identifier: Apache-2.0
// Central moments: one loop body compiled for three instruction sets; each column is summed in the order of its rows, so that all give the same bits.
#include "kernels/central.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define LANES 8 // columns that go through a block together

void rs_central_merge(rs_central *a, const rs_central *b)
{
    if (b->n == 0) return;
    if (a->n == 0) {
        *a = *b;
        return;
    }
    const double n = a->n + b->n, d = b->mean - a->mean, r = d / n, p = a->n * b->n, q = d * r * p; // q = d^2 a.n b.n / n
    const double m4 = q * r * r * (a->n * a->n - p + b->n * b->n) + 6 * r * r * (a->n * a->n * b->m2 + b->n * b->n * a->m2) + 4 * r * (a->n * b->m3 - b->n * a->m3);
    const double m3 = q * r * (a->n - b->n) + 3 * r * (a->n * b->m2 - b->n * a->m2);
    a->m4 += b->m4 + m4;
    a->m3 += b->m3 + m3;
    a->m2 += b->m2 + q;
    a->mean += b->n * r;
    a->n = n;
}

rs_central rs_central_all(size_t count, const rs_central *set)
{
    rs_central c = {0};
    if (count == 1) c = *set;
    if (count < 2) return c;
    const rs_central rest = rs_central_all(count - count / 2, set + count / 2);
    c = rs_central_all(count / 2, set);
    rs_central_merge(&c, &rest);
    return c;
}

double rs_central_kurtosis(const rs_central *c)
{
    return c->m2 > 0 ? c->m4 / c->m2 * (c->n / c->m2) - 3 : 0;
}

double rs_central_rms(const rs_central *c)
{
    return c->n > 0 ? sqrt(c->m2 / c->n + c->mean * c->mean) : 0;
}

// A column of a block, whatever is in it.
static void one_column(size_t rows, const float *x, size_t ld, rs_central *column)
{
    rs_central c = {0};
    double sum = 0;
    for (size_t r = 0; r < rows; r++)
        if (isfinite(x[r * ld])) {
            c.n++;
            sum += (double)x[r * ld];
        }
    c.mean = c.n > 0 ? sum / c.n : 0;
    for (size_t r = 0; r < rows; r++)
        if (isfinite(x[r * ld])) {
            const double d = (double)x[r * ld] - c.mean, q = d * d;
            c.m2 += q;
            c.m3 += q * d;
            c.m4 += q * q;
        }
    rs_central_merge(column, &c);
}

// LANES columns of a block; false where one of them is not finite.
static inline __attribute__((always_inline)) bool lanes(size_t rows, const float *x, size_t ld, rs_central *column)
{
    double mean[LANES] = {0}, m2[LANES] = {0}, m3[LANES] = {0}, m4[LANES] = {0};
    bool finite = true;
    for (size_t r = 0; r < rows; r++)
        for (size_t l = 0; l < LANES; l++) mean[l] += (double)x[r * ld + l];
    for (size_t l = 0; l < LANES; l++) {
        finite = finite && isfinite(mean[l]);
        mean[l] /= (double)rows;
    }
    if (!finite) return false;
    for (size_t r = 0; r < rows; r++)
        for (size_t l = 0; l < LANES; l++) {
            const double d = (double)x[r * ld + l] - mean[l], q = d * d;
            m2[l] += q;
            m3[l] += q * d;
            m4[l] += q * q;
        }
    for (size_t l = 0; l < LANES; l++) rs_central_merge(&column[l], &(rs_central){(double)rows, mean[l], m2[l], m3[l], m4[l]});
    return true;
}

static inline __attribute__((always_inline)) void add_body(size_t rows, size_t columns, const float *x, size_t ld, rs_central *column)
{
    for (size_t r = 0; r < rows; r += RS_CENTRAL_ROWS) {
        const size_t block = rows - r < RS_CENTRAL_ROWS ? rows - r : RS_CENTRAL_ROWS;
        size_t j = 0;
        for (; j + LANES <= columns; j += LANES)
            if (!lanes(block, x + r * ld + j, ld, column + j))
                for (size_t l = 0; l < LANES; l++) one_column(block, x + r * ld + j + l, ld, column + j + l);
        for (; j < columns; j++) one_column(block, x + r * ld + j, ld, column + j);
    }
}

static void add_reference(size_t rows, size_t columns, const float *x, size_t ld, rs_central *column)
{
    add_body(rows, columns, x, ld, column);
}
#if defined(__x86_64__)
__attribute__((target("avx2"))) static void add_avx2(size_t rows, size_t columns, const float *x, size_t ld, rs_central *column)
{
    add_body(rows, columns, x, ld, column);
}
__attribute__((target("avx512f,avx512dq,avx512vl"))) static void add_avx512(size_t rows, size_t columns, const float *x, size_t ld, rs_central *column)
{
    add_body(rows, columns, x, ld, column);
}
#endif

void rs_central_add(const char *table, size_t rows, size_t columns, const float *x, size_t ld, rs_central *column)
{
#if defined(__x86_64__)
    const bool v3 = __builtin_cpu_supports("avx2"), v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (v4 && (table == NULL || strcmp(table, "avx512") == 0)) {
        add_avx512(rows, columns, x, ld, column);
        return;
    }
    if (v3 && (table == NULL || strcmp(table, "avx2") == 0)) {
        add_avx2(rows, columns, x, ld, column);
        return;
    }
#else
    (void)table;
#endif
    add_reference(rows, columns, x, ld, column);
}
