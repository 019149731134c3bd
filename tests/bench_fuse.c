// SPDX-License-Identifier: Apache-2.0
// Rate of rs-fuse -R (all of the program: starting, checking the rotations, reading, hashing, products, writing to /dev/null) against that of the same products alone,
// by the same OpenBLAS in the same run on the same number of threads: bench_fuse MODEL.rsq ROT.rsq [ROUNDS]; rs-fuse is taken from PATH. They take turns, medians are compared.
#include "formats/config.h"
#include "formats/mapped.h"
#include "kernels/kernels.h"
#include "kernels/threads.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

enum { MOST = 101 };

typedef struct took {
    double wall, cpu; // seconds
} took;

static took now(void)
{
    struct timespec t;
    struct rusage own, children;
    took x = {0};
    clock_gettime(CLOCK_MONOTONIC, &t);
    getrusage(RUSAGE_SELF, &own);
    getrusage(RUSAGE_CHILDREN, &children);
    x.wall = (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
    const struct timeval part[4] = {own.ru_utime, own.ru_stime, children.ru_utime, children.ru_stime};
    for (int i = 0; i < 4; i++) x.cpu += (double)part[i].tv_sec + (double)part[i].tv_usec * 1e-6;
    return x;
}

static took since(took start)
{
    took x = now();
    return (took){x.wall - start.wall, x.cpu - start.cpu};
}

static int by_size(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static double median(int n, const double *x)
{
    double sorted[MOST];
    for (int i = 0; i < n; i++) sorted[i] = x[i];
    qsort(sorted, (size_t)n, sizeof *sorted, by_size);
    return (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
}

// The products of one model: x [rows, d] times r [d, d], or the transpose of r times x [d, cols].
struct products {
    bool pool; // cut by the pool of the tools; else by OpenBLAS over its own threads
    size_t d;
    const float *x, *r;
    float *y;
};

static void rows(const struct products *p, size_t n)
{
    if (p->pool) rs_kernels_cpu()->gemm_nn(n, p->d, p->d, p->x, p->d, p->r, p->d, 0, p->y, p->d);
    else cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, (int)p->d, (int)p->d, 1, p->x, (int)p->d, p->r, (int)p->d, 0, p->y, (int)p->d);
}

static void columns(const struct products *p, size_t n)
{
    if (p->pool) rs_kernels_cpu()->gemm_tn(p->d, n, p->d, p->r, p->d, p->x, n, 0, p->y, n);
    else cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)p->d, (int)n, (int)p->d, 1, p->r, (int)p->d, p->x, (int)n, 0, p->y, (int)n);
}

static took sgemm(const struct products *p, int threads, const rs_config *c)
{
    openblas_set_num_threads(p->pool ? 1 : threads);
    took start = now();
    rows(p, c->V);
    rows(p, c->V);
    for (uint64_t i = 0; i < c->L; i++) {
        columns(p, c->d);
        columns(p, c->d);
        rows(p, c->n_q * c->h);
        rows(p, c->n_kv * c->h);
        rows(p, c->n_kv * c->h);
        columns(p, c->n_q * c->h);
        rows(p, c->f);
        rows(p, c->f);
        columns(p, c->f);
    }
    took t = since(start);
    openblas_set_num_threads(1);
    return t;
}

int main(int argc, char **argv)
{
    rs_mapped *m = NULL;
    rs_error e = {0};
    rs_config c;
    size_t len = 0;
    char command[8192];
    int rounds = argc == 4 ? atoi(argv[3]) : 9, threads = rs_threads_available();
    if (argc < 3 || argc > 4 || rounds < 1 || rounds > MOST) return 2;
    rs_status s = rs_mapped_open(&m, argv[1], &e);
    const uint8_t *json = s == RS_OK ? rs_mapped_file(m, "config.json", &len) : NULL;
    if (json == NULL || rs_config_parse(&c, json, len, &e) != RS_OK) return 2;
    rs_mapped_close(m);
    rs_threads_set(threads);
    const double d = (double)c.d, q = (double)(c.n_q * c.h), kv = (double)(c.n_kv * c.h), f = (double)c.f;
    const double flops = 2 * d * d * (2 * (double)c.V + (double)c.L * (2 * q + 2 * kv + 3 * f)) + 2 * (double)(2 * c.L) * d * d * d; // weights, and the dense junctions
    const size_t most = c.V > c.f ? c.V : c.f, n = (most > c.n_q * c.h ? most : c.n_q * c.h) * c.d, nn = c.d * c.d;
    float *x = malloc(n * sizeof *x), *r = malloc(nn * sizeof *r), *y = malloc(n * sizeof *y);
    if (x == NULL || r == NULL || y == NULL) return 32;
    for (size_t i = 0; i < n; i++) x[i] = (float)(i % 97) - 48;
    for (size_t i = 0; i < nn; i++) r[i] = (float)(i % 89) - 44;
    snprintf(command, sizeof command, "rs-fuse -q -j %d -R '%s' '%s' -o /dev/null", threads, argv[2], argv[1]);
    // Rates in GFLOP/s and in GFLOP per second of processor: OpenBLAS over its own threads, over the pool, rs-fuse.
    double wall[3][MOST], cpu[3][MOST];
    for (int i = -1; i < rounds; i++) // the first round warms up
        for (int k = 0; k < 3; k++) {
            took t = now();
            if (k < 2) t = sgemm(&(struct products){k == 1, c.d, x, r, y}, threads, &c);
            else if (system(command) == 0) t = since(t);
            else return 1;
            if (i < 0) continue;
            wall[k][i] = flops * 1e-9 / t.wall;
            cpu[k][i] = flops * 1e-9 / t.cpu;
        }
    free(x);
    free(r);
    free(y);
    double w[3], p[3];
    for (int k = 0; k < 3; k++) {
        w[k] = median(rounds, wall[k]);
        p[k] = median(rounds, cpu[k]);
    }
    const double fastest = w[0] > w[1] ? w[0] : w[1], cheapest = p[0] > p[1] ? p[0] : p[1];
    printf("rs-fuse -R: %.1f GFLOP, %.1f GFLOP/s; the products alone: %.1f GFLOP/s by OpenBLAS's threads, %.1f by the pool; medians of %d turns on %d threads; ratio %.2f (wanted >= 0.8)\n",
           flops * 1e-9, w[2], w[0], w[1], rounds, threads, w[2] / fastest);
    printf("  per second of processor, which a loaded machine disturbs less: %.1f; products %.1f, %.1f; ratio %.2f\n", p[2], p[0], p[1], p[2] / cheapest);
    return 0;
}
