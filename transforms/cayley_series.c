// SPDX-License-Identifier: Apache-2.0
// Two arrays for the powers of A, two for the sum, and a row of equal numbers that scales.
#include "transforms/cayley_series.h"

#include <math.h>
#include <stdlib.h>

#define LEFT 0x1p-30 // of |A|_1^(2m)

struct parts {
    float *power, *next, *sum, *was; // [n, n]
    double *rows;                    // [2, n]
    float *row;                      // [n]
};

static size_t region(size_t n) { return (n + 15) / 16 * 16; }

static struct parts cut(size_t n, void *work)
{
    struct parts p = {.rows = work};
    p.row = (float *)(void *)(p.rows + 2 * region(n));
    p.power = p.row + region(n);
    p.next = p.power + region(n * n);
    p.sum = p.next + region(n * n);
    p.was = p.sum + region(n * n);
    return p;
}

size_t rs_cayley_series_work(size_t n) { return 2 * region(n) * sizeof(double) + (region(n) + 4 * region(n * n)) * sizeof(float); }

static void multiply(const rs_kernels *k, size_t n, const float *x, const float *w, float beta, float *y) { k->gemm_nn(n, n, n, x, n, w, n, beta, y, n); }

static void copy(const rs_kernels *k, size_t n, const float *from, float *to) { rs_memory_of(k)->move(to, from, n * n * sizeof *to); }

// Every number of the row that scales; host [n] is work in the process.
static void fill_row(const rs_kernels *k, size_t n, float x, float *host, float *row)
{
    for (size_t i = 0; i < n; i++) host[i] = x;
    rs_memory_of(k)->put(row, host, n * sizeof *row);
}

// W into p.power, and what it is like.
static rs_status tangent(const rs_kernels *k, size_t n, const float *E, struct parts p, double *host, rs_cayley_info *info, rs_error *e)
{
    const char *fault;
    double squares = 0, sizes = 0;
    k->skew(n, E, p.power, p.rows);
    rs_memory_of(k)->get(host, p.rows, 2 * n * sizeof *host);
    (void)rs_memory_of(k)->settle(&fault);
    if (fault != NULL) return rs_fail(e, RS_E_INTERNAL, "the device failed: %s", fault);
    for (size_t i = 0; i < n; i++) {
        sizes += host[i];
        squares += host[n + i];
        if (host[i] > info->norm) info->norm = host[i];
    }
    if (!isfinite(sizes)) return rs_fail(e, RS_E_VALUE, "gradient is not finite");
    info->tangent = sqrt(squares);
    return RS_OK;
}

// R <- R (2 (I + A)^-1 - I), -A in p.power, with |A|_1 = size.
static void retract(const rs_kernels *k, size_t n, float *R, double size, struct parts p)
{
    copy(k, n, R, p.sum);
    multiply(k, n, R, p.power, 1, p.sum);
    for (double left = size * size; left > LEFT; left *= left) {
        multiply(k, n, p.power, p.power, 0, p.next);
        float *power = p.next;
        p.next = p.power;
        p.power = power;
        copy(k, n, p.sum, p.was);
        multiply(k, n, p.was, p.power, 1, p.sum);
    }
    k->each(RS_JOIN_PLUS, n, n, p.sum, n, p.sum, n);
    k->each(RS_JOIN_MINUS, n, n, R, n, p.sum, n);
    copy(k, n, p.sum, R);
}

// R <- R + R (I - R^T R) / 2.
static void tidy_up(const rs_kernels *k, size_t n, float *R, struct parts p, float *host)
{
    k->gemm_tn(n, n, n, R, n, R, n, 0, p.power, n);
    fill_row(k, n, 1, host, p.row);
    k->each(RS_JOIN_MINUS, n, 1, p.row, 0, p.power, n + 1); // the diagonal
    fill_row(k, n, -0.5f, host, p.row);
    k->each(RS_JOIN_TIMES, n, n, p.row, 0, p.power, n);
    copy(k, n, R, p.was);
    multiply(k, n, p.was, p.power, 1, R);
}

rs_status rs_cayley_series(const rs_kernels *k, size_t n, float *R, const float *E, double lr, bool tidy, void *work, rs_cayley_info *info, rs_error *e)
{
    const struct parts p = cut(n, work);
    rs_cayley_info did = {0};
    double *host = malloc((2 * n + 1) * sizeof *host);
    if (host == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for a step of order %zu", n);
    const rs_status s = tangent(k, n, E, p, host, &did, e);
    did.step = fmin(lr, 1 / (did.norm + 1e-8));
    if (s == RS_OK) {
        fill_row(k, n, (float)(-0.5 * did.step), (float *)(void *)host, p.row);
        k->each(RS_JOIN_TIMES, n, n, p.row, 0, p.power, n);
        retract(k, n, R, 0.5 * did.step * did.norm, p);
        if (tidy) tidy_up(k, n, R, p, (float *)(void *)host);
    }
    if (s == RS_OK && info != NULL) *info = did;
    free(host);
    return s;
}
