// SPDX-License-Identifier: Apache-2.0
// Rates of the CUDA kernels at the sizes of a model with d 4096 and f 14336, beside the copy bandwidth of the same device and run. Argument "small": tiny sizes, to see that it runs.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/kv_cache.h"

enum { RANK = 32, HEADS = 32, KV_HEADS = 8, H = 128 };

static size_t D = 4096, F = 14336, S = 4096, TOKENS = 16, PAST = 4096;
static const rs_kernels *k;
static const rs_memory *memory;
static float *x, *y, *small;
static rs_hadamard *of_d, *of_f;
static rs_int_weights w;
static rs_int_rows rows;
static const rs_int_kernels *by;
static rs_kv_cache cache;
static size_t m;
static const rs_quantizer q4 = {.bits = 4, .clip = 1}, q8 = {.bits = 8, .clip = 1};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *room(size_t bytes)
{
    void *p = memory->alloc(bytes);
    if (p == NULL) {
        fprintf(stderr, "bench_cuda: no %zu bytes on the device\n", bytes);
        exit(1);
    }
    return p;
}

static void wait_for_all(void)
{
    const char *fault;
    (void)memory->settle(&fault);
    if (fault == NULL) return;
    fprintf(stderr, "bench_cuda: %s\n", fault);
    exit(1);
}

// Seconds of a call among as many as fill a quarter of a second.
static double seconds(void (*call)(void))
{
    call();
    wait_for_all();
    for (size_t n = 1;; n *= 4) {
        const double start = now();
        for (size_t i = 0; i < n; i++) call();
        wait_for_all();
        const double took = now() - start;
        if (took > 0.25 || n > 100000) return took / (double)n;
    }
}

static double copied; // bytes a second, read and written

static void bytes_row(const char *what, void (*call)(void), double bytes)
{
    const double t = seconds(call);
    printf("%-44s %10.1f us %8.1f GB/s %6.1f %% of the copy\n", what, 1e6 * t, bytes / t * 1e-9, copied > 0 ? 100 * bytes / t / copied : 100);
    if (copied == 0) copied = bytes / t;
}

static void products_row(const char *what, void (*call)(void), double products)
{
    const double t = seconds(call);
    printf("%-44s %10.1f us %8.2f T products/s\n", what, 1e6 * t, products / t * 1e-12);
}

static void copy(void) { memory->move(y, x, S * D * sizeof *x); }
static void add(void) { k->add(S * D, x, y); }
static void norm(void) { k->rmsnorm(S, D, x, small, 1e-5f, y); }
static void fake(void) { (void)k->fake_quant(&q4, S, D, y, D); }
static void codes(void) { (void)rs_int_quantise(rs_int_cuda_at(0), &q4, x, D, &(rs_int_rows){.bits = 4, .m = S, .k = D, .ld = D, .codes = rows.codes, .scale = rows.scale, .zero = rows.zero}); }
static void rotate_d(void) { k->hadamard(of_d, S, y, D, false); }
static void rotate_f(void) { k->hadamard(of_f, S * D / F, y, F, false); }
static void gate(void) { k->silu_gate(S * D, x, y, y); }
static void junction(void) { k->lowrank(TOKENS, D, RANK, y, x, small, small + 4 * D + RANK * RANK); }
static void integers(void) { rs_int_gemm(by, 1, &(rs_int_product){.w = &w, .y = y, .ldy = w.n}, &(rs_int_rows){.bits = 8, .m = m, .k = D, .ld = D, .codes = rows.codes, .scale = rows.scale, .zero = rows.zero}, NULL); }
static void dense(void) { k->gemm_nt(S, S, D, x, D, x, D, 0, y, S); }
static void attend(void) { k->attention_cached(&cache, 1, HEADS, x, y); }

static void fill(void)
{
    float *noise = malloc(S * D * sizeof *noise);
    uint32_t state = 1;
    if (noise == NULL) exit(1);
    for (size_t i = 0; i < S * D; i++) {
        state = state * 1664525u + 1013904223u;
        noise[i] = (float)(state >> 8) * 0x1p-23f - 1;
    }
    memory->put(x, noise, S * D * sizeof *x);
    memory->put(y, noise, S * D * sizeof *x);
    memory->put(small, noise, 4 * D * sizeof *x);
    free(noise);
}

int main(int argc, char **argv)
{
    k = rs_kernels_cuda();
    if (k == NULL) {
        printf("SKIP bench_cuda: %s\n", rs_kernels_cuda_reason());
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "small") == 0) D = S = 128, F = 256, TOKENS = 2, PAST = 8;
    memory = k->memory;
    x = room(S * D * sizeof *x), y = room(S * D * sizeof *y), small = room((5 * D + RANK * RANK + 2 * TOKENS * RANK) * sizeof *small);
    of_d = rs_hadamard_new(D), of_f = rs_hadamard_new(F);
    if (of_d == NULL || of_f == NULL) exit(1);
    fill();
    rows = (rs_int_rows){.codes = room(S * D), .scale = room(S * sizeof(float)), .zero = room(S * sizeof(int32_t))};
    w = (rs_int_weights){.bits = 4, .n = S, .k = D, .codes = room(S * D / 2), .scales = room(S * sizeof(float)), .sums = room(S * sizeof(int32_t))};
    printf("%s\n", rs_kernels_cuda_device());
    const double all = (double)(S * D) * sizeof *x;
    bytes_row("copy", copy, 2 * all);
    bytes_row("add", add, 3 * all);
    bytes_row("rmsnorm", norm, 2 * all);
    bytes_row("silu_gate", gate, 3 * all);
    bytes_row("fake_quant, 4 bits", fake, 2 * all);
    bytes_row("quantise to codes, 4 bits", codes, 1.25 * all);
    bytes_row("hadamard, rows of d", rotate_d, 2 * all);
    bytes_row("hadamard, rows of f", rotate_f, 2 * (double)(S * D / F * F) * sizeof *x);
    bytes_row("lowrank, rank 32, few rows", junction, 2 * (double)(D * RANK) * sizeof *x);
    (void)rs_int_quantise(rs_int_cuda_at(0), &q8, x, D, &(rs_int_rows){.bits = 8, .m = S, .k = D, .ld = D, .codes = rows.codes, .scale = rows.scale, .zero = rows.zero});
    for (size_t v = 0; (by = rs_int_cuda_at(v)) != NULL; v++) {
        char what[64];
        snprintf(what, sizeof what, "W4A8, %zu rows, %s", m = S, rs_int_name(by));
        products_row(what, integers, (double)S * (double)S * (double)D);
        snprintf(what, sizeof what, "W4A8, one row, %s", rs_int_name(by));
        m = 1;
        bytes_row(what, integers, (double)(S * D) / 2);
    }
    products_row("dense f32 (no cuBLAS)", dense, (double)S * (double)S * (double)D);
    cache = (rs_kv_cache){.q = q4, .n_kv = KV_HEADS, .h = H, .capacity = PAST};
    cache.memory = room(rs_kv_cache_bytes(&cache));
    while (cache.count < PAST) {
        const size_t n = S * D / (KV_HEADS * H) < PAST - cache.count ? S * D / (KV_HEADS * H) : PAST - cache.count;
        (void)rs_kv_cache_append(&cache, rs_int_cuda_at(0), n, x, y, NULL);
    }
    bytes_row("attention of one token, 4-bit cache", attend, (double)PAST * KV_HEADS * H);
    wait_for_all();
    return 0;
}
