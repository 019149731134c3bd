// SPDX-License-Identifier: Apache-2.0
// Integer products against sgemm of the same sizes, against a loop of the same instruction on registers, and one token against the read bandwidth. Rounds alternate between all of
// them; each rate is the median of its rounds, per second of processor time (what other programs take does not count). Arguments: [threads [n [k [rounds]]]].
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/limits.h"
#include "kernels/threads.h"

enum { M = 512, ROUNDS = 64, WIDER = 8 };

static size_t n = 4096, k = 4096;
static float *x, *w, *y;
static uint8_t *dense, *work;
static float *scales;
static int32_t *of_codes;
static rs_int_weights w44, w88, w44g, wide;
static rs_int_rows a4, a8, one4;
static size_t read_bytes;

static double processor(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *take(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (p == NULL)
        exit(1);
    memset(p, 1, bytes);
    return p;
}

// ---- what is measured

static void sgemm(void) { rs_kernels_cpu()->gemm_nt(M, n, k, x, k, w, k, 0, y, n); }
static void sgemv(void) { rs_kernels_cpu()->gemm_nt(1, n, k, x, k, w, k, 0, y, n); }
static void quantise(void) { (void)!rs_int_quantise(rs_int_cpu(), &(rs_quantizer){.bits = 4, .clip = 1}, x, k, &a4); }
static void gemm44(void) { rs_int_gemm(rs_int_cpu(), 1, &(rs_int_product){&w44, y, n, false}, &a4, work); }
static void gemm44g(void) { rs_int_gemm(rs_int_cpu(), 1, &(rs_int_product){&w44g, y, n, false}, &a4, work); }
static void gemm48(void) { rs_int_gemm(rs_int_cpu(), 1, &(rs_int_product){&w44, y, n, false}, &a8, work); }
static void gemm84(void) { rs_int_gemm(rs_int_cpu(), 1, &(rs_int_product){&w88, y, n, false}, &a4, work); }
static void gemm88(void) { rs_int_gemm(rs_int_cpu(), 1, &(rs_int_product){&w88, y, n, false}, &a8, work); }
static void gemv(void) { rs_int_gemm(rs_int_cpu(), 1, &(rs_int_product){&w44, y, n, false}, &one4, work); }
static void gemv_wide(void) { rs_int_gemm(rs_int_cpu(), 1, &(rs_int_product){&wide, y, wide.n, false}, &one4, work); }

static double peak_products;
static void peak(void) { peak_products = rs_limits_products(rs_int_cpu()); }
static void read_dense(void) { (void)rs_limits_read(dense, read_bytes); }

static int ascending(const void *p, const void *q)
{
    const double d = *(const double *)p - *(const double *)q;
    return (d > 0) - (d < 0);
}

static rs_int_weights weights(unsigned bits, size_t outputs, size_t group)
{
    return (rs_int_weights){.bits = bits, .n = outputs, .k = k, .group = group, .codes = dense, .scales = scales, .sums = of_codes};
}

static rs_int_rows rows(unsigned bits, size_t m)
{
    rs_int_rows a = {.bits = bits, .m = m, .k = k, .ld = k, .codes = take(m * k), .scale = take(m * sizeof(float)), .zero = take(m * sizeof(int32_t))};
    (void)!rs_int_quantise(rs_int_cpu(), &(rs_quantizer){.bits = bits, .clip = 1}, x, k, &a);
    return a;
}

int main(int argc, char **argv)
{
    rs_threads_set(argc > 1 ? atoi(argv[1]) : rs_threads_available());
    n = argc > 2 ? (size_t)atoi(argv[2]) : n;
    k = argc > 3 ? (size_t)atoi(argv[3]) : k;
    const size_t rounds = argc > 4 ? (size_t)atoi(argv[4]) : 7;
    if (n < 64 || k < 128 || k % 128 != 0 || rounds < 1 || rounds > ROUNDS || rs_int_cpu() == rs_int_reference()) {
        printf("SKIP: no fast variant, or sizes that this bench does not take\n");
        return 0;
    }
    x = take(M * k * sizeof *x);
    w = take(n * k * sizeof *w);
    y = take(M * n * sizeof *y); // also WIDER * n
    dense = take(n * k * WIDER / 2);
    scales = take(n * WIDER * (k / 128) * sizeof *scales);
    of_codes = take(n * WIDER * (k / 128) * sizeof *of_codes); // some numbers: time does not depend on them
    uint32_t state = 1;
    for (size_t i = 0; i < n * k; i++) {
        state = state * 1664525u + 1013904223u;
        dense[i] = (uint8_t)(state >> 24);
        w[i] = (float)(state >> 8) * 0x1p-23f - 1;
        if (i < M * k)
            x[i] = w[i];
    }
    w44 = weights(4, n, 0);
    w44g = weights(4, n, 128);
    w88 = weights(8, n, 0);
    wide = weights(4, n * WIDER, 0); // larger than the caches
    a4 = rows(4, M);
    a8 = rows(8, M);
    one4 = rows(4, 1);
    work = take(rs_int_gemm_work(rs_int_cpu(), &w88, 8, M));
    const size_t packed = n * k / 2, most = WIDER * packed;
    const double products = (double)M * (double)n * (double)k;
    struct {
        const char *name;
        void (*call)(void);
        int repeat;
        double amount, t[ROUNDS];
    } all[] = {{"peak", peak, 1, 0, {0}}, {"sgemm", sgemm, 1, products, {0}}, {"W4A4", gemm44, 1, products, {0}}, {"W4A4, groups of 128", gemm44g, 1, products, {0}},
               {"W4A8", gemm48, 1, products, {0}}, {"W8A4", gemm84, 1, products, {0}}, {"W8A8", gemm88, 1, products, {0}},
               {"quantise to 4 bits", quantise, 1, (double)M * (double)k * 5, {0}}, {"read, in cache", read_dense, 8, (double)packed, {0}}, {"W4A4 one token, in cache", gemv, 8, (double)packed, {0}},
               {"read", read_dense, 1, (double)most, {0}}, {"W4A4 one token", gemv_wide, 1, (double)most, {0}}, {"sgemv", sgemv, 1, (double)n * (double)k * 4, {0}}};
    enum { ALL = sizeof all / sizeof *all, PRODUCTS = 7 };
    printf("%s, %s, %d threads; %d x %zu x %zu; median (best) of %zu rounds, per second of processor time\n", rs_int_name(rs_int_cpu()), rs_int_instruction(rs_int_cpu()), rs_threads_get(), M, n,
           k, rounds);
    for (size_t round = 0; round < rounds; round++)
        for (size_t i = 0; i < ALL; i++) {
            read_bytes = (all[i].amount == (double)most ? most : packed) / 1024 * 1024;
            const double start = processor();
            for (int j = 0; j < all[i].repeat; j++)
                all[i].call();
            all[i].t[round] = (processor() - start) / all[i].repeat;
        }
    double rate[ALL], best[ALL];
    for (size_t i = 0; i < ALL; i++) {
        qsort(all[i].t, rounds, sizeof *all[i].t, ascending);
        const double amount = all[i].call == peak ? peak_products : all[i].amount;
        rate[i] = 1e-9 * amount / all[i].t[rounds / 2];
        best[i] = 1e-9 * amount / all[i].t[0];
    }
    for (size_t i = 0; i < ALL; i++) {
        printf("%-26s %7.1f (%7.1f) ", all[i].name, rate[i], best[i]);
        if (i < PRODUCTS)
            printf("G products/s  %.2f (%.2f) of sgemm, %.0f (%.0f) %% of peak\n", rate[i] / rate[1], best[i] / best[1], 100 * rate[i] / rate[0], 100 * best[i] / best[0]);
        else
            printf("GB/s\n");
    }
    printf("one token reads weights at %.0f (%.0f) %% of the read bandwidth, %.0f (%.0f) %% in cache\n", 100 * rate[11] / rate[10], 100 * best[11] / best[10], 100 * rate[9] / rate[8],
           100 * best[9] / best[8]);
    return 0;
}
