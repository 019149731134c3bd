// SPDX-License-Identifier: Apache-2.0
// Rate of rs-fuse -R (all of the program: reading, hashing, products, writing to /dev/null) against the sgemm rate of the same OpenBLAS in the same run:
// bench_fuse MODEL.rsq ROT.rsq; rs-fuse is taken from PATH.
#include "formats/config.h"
#include "formats/mapped.h"
#include "kernels/kernels.h"
#include "kernels/threads.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// Best GFLOP/s of [rows, d] x [d, d] on all threads.
static double sgemm_rate(size_t rows, size_t d)
{
    float *x = malloc(rows * d * 4), *r = malloc(d * d * 4), *y = malloc(rows * d * 4);
    double best = 0;
    for (size_t i = 0; i < rows * d; i++) x[i] = (float)(i % 97) - 48;
    for (size_t i = 0; i < d * d; i++) r[i] = (float)(i % 89) - 44;
    for (int i = 0; i < 8; i++) {
        double t = now();
        rs_kernels_cpu()->gemm_nn(rows, d, d, x, d, r, d, 0, y, d);
        t = 2.0 * (double)rows * (double)d * (double)d / (now() - t) * 1e-9;
        best = t > best ? t : best;
    }
    free(x);
    free(r);
    free(y);
    return best;
}

int main(int argc, char **argv)
{
    rs_mapped *m = NULL;
    rs_error e = {0};
    rs_config c;
    size_t len = 0;
    char command[8192];
    if (argc != 3) return 2;
    rs_status s = rs_mapped_open(&m, argv[1], &e);
    const uint8_t *json = s == RS_OK ? rs_mapped_file(m, "config.json", &len) : NULL;
    if (json == NULL || rs_config_parse(&c, json, len, &e) != RS_OK) return 2;
    rs_mapped_close(m);
    rs_threads_set(rs_threads_available());
    const double d = (double)c.d, q = (double)(c.n_q * c.h), kv = (double)(c.n_kv * c.h), f = (double)c.f;
    const double flops = 2 * d * d * (2 * (double)c.V + (double)c.L * (2 * q + 2 * kv + 3 * f)) + 2 * (double)(2 * c.L) * d * d * d; // weights, and the dense junctions
    double sgemm = sgemm_rate(8192, (size_t)c.d), best = 1e9;
    snprintf(command, sizeof command, "rs-fuse -q -R '%s' '%s' -o /dev/null", argv[2], argv[1]);
    for (int i = 0; i < 3; i++) {
        double t = now();
        if (system(command) != 0) return 1;
        t = now() - t;
        best = t < best ? t : best;
    }
    double again = sgemm_rate(8192, (size_t)c.d);
    sgemm = again > sgemm ? again : sgemm;
    printf("rs-fuse -R: %.1f GFLOP in %.2f s = %.1f GFLOP/s; sgemm %.1f GFLOP/s; ratio %.2f (wanted >= 0.8)\n", flops * 1e-9, best, flops * 1e-9 / best, sgemm, flops * 1e-9 / best / sgemm);
    return 0;
}
