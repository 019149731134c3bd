// SPDX-License-Identifier: Apache-2.0
// Rates of the CUDA kernels at the sizes of a model with d 4096 and f 14336, each beside the limit that is measured in the same run: the copy of the device, cuBLASLt's integer product, the same layer without
// junctions. Medians of rounds. --quick: tiny sizes and one round, to see that it runs.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/cuda/blas.h"
#include "kernels/decoder.h"
#include "tests/cuda/lt.h"

enum { RANK = 32, HEADS = 32, KV_HEADS = 8, MOST = 9 };

static size_t D = 4096, F = 14336, H = 128, ROWS = 8192, N = 4096, TOKENS = 16, PAST = 1024, ROUNDS = MOST;
static double ROUND = 0.02; // seconds
static const rs_kernels *k;
static const rs_memory *memory;
static float *x, *y, *small;
static rs_hadamard *rotation;
static rs_int_weights w;
static rs_int_rows rows;
static const rs_int_kernels *by;
static rs_lt lt;
static int32_t *sums;
static uint8_t *codes_of_w;
static const rs_quantizer q4 = {.bits = 4, .clip = 1};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *rooms[64]; // all that is released at the end
static size_t n_rooms;

static void *room(size_t bytes)
{
    void *p = n_rooms < sizeof rooms / sizeof *rooms ? memory->alloc(bytes) : NULL;
    if (p == NULL) {
        fprintf(stderr, "bench_cuda: no %zu bytes on the device\n", bytes);
        exit(1);
    }
    return rooms[n_rooms++] = p;
}

static void wait_for_all(void)
{
    const char *fault;
    (void)memory->settle(&fault);
    if (fault == NULL) return;
    fprintf(stderr, "bench_cuda: %s\n", fault);
    exit(1);
}

static int by_size(const void *a, const void *b)
{
    const double u = *(const double *)a, v = *(const double *)b;
    return (u > v) - (u < v);
}

static double median(size_t n, double *t)
{
    qsort(t, n, sizeof *t, by_size);
    return t[n / 2];
}

typedef void call_fn(void);

static double round_of(call_fn *call, size_t n)
{
    const double start = now();
    for (size_t i = 0; i < n; i++) call();
    wait_for_all();
    return (now() - start) / (double)n;
}

// Calls that fill a round.
static size_t calls_of(call_fn *call)
{
    call();
    wait_for_all();
    const double once = round_of(call, ROUNDS > 1 ? 3 : 1);
    return once < ROUND ? (size_t)(ROUND / once) + 1 : 1;
}

// Seconds of a call.
static double seconds(call_fn *call)
{
    double t[MOST];
    const size_t n = ROUNDS > 1 ? calls_of(call) : 1;
    for (size_t i = 0; i < ROUNDS; i++) t[i] = round_of(call, n);
    return median(ROUNDS, t);
}

// A line of the table: share is what of the limit is reached, wanted at least (or, above: at most) so much; 0: nothing is.
static void line(const char *what, double t, const char *rate, double share, const char *of, double wanted, bool above)
{
    char share_text[64] = "", wanted_text[32] = "";
    if (share > 0) snprintf(share_text, sizeof share_text, "%.1f %% of %s", 100 * share, of);
    if (wanted > 0) snprintf(wanted_text, sizeof wanted_text, "%s %g %%: %s", above ? "<=" : ">=", 100 * wanted, (above ? share <= wanted : share >= wanted) ? "met" : "NOT MET");
    printf("%-44s %10.1f us  %-20s %-26s %s\n", what, 1e6 * t, rate, share_text, wanted_text);
}

static double copied; // bytes a second, read and written

static void bytes_line(const char *what, call_fn *call, double bytes, double wanted)
{
    char rate[32];
    const double t = seconds(call);
    if (copied == 0) copied = bytes / t;
    snprintf(rate, sizeof rate, "%.1f GB/s", bytes / t * 1e-9);
    line(what, t, rate, bytes / t / copied, "the copy", wanted, false);
}

static double products_line(const char *what, call_fn *call, double products, double limit, const char *of, double wanted)
{
    char rate[32];
    const double t = seconds(call);
    snprintf(rate, sizeof rate, "%.2f T products/s", products / t * 1e-12);
    line(what, t, rate, limit > 0 ? products / t / limit : 0, of, wanted, false);
    return products / t;
}

static void copy(void) { memory->move(y, x, ROWS * D * sizeof *x); }
static void add(void) { k->add(ROWS * D, x, y); }
static void norm(void) { k->rmsnorm(ROWS, D, x, small, 1e-5f, y); }
static void fake(void) { (void)k->fake_quant(&q4, ROWS, D, y, D); }
static void codes(void) { (void)rs_int_quantise(rs_int_cuda(), &q4, x, D, &(rs_int_rows){.bits = 4, .m = ROWS, .k = D, .ld = D, .codes = rows.codes, .scale = rows.scale, .zero = rows.zero}); }
static void stream_codes(void)
{
    const rs_int_rows r = {.bits = 4, .m = ROWS, .k = D, .ld = D, .codes = rows.codes, .scale = rows.scale, .zero = rows.zero};
    (void)rs_int_norm_quantise(rs_int_cuda(), &q4, &(rs_int_stream){.x = x, .gamma = small, .eps = 1e-5f}, &r);
}
static void rotate(void) { k->hadamard(rotation, ROWS * D / rotation->n, y, rotation->n, false); }
static void gate(void) { k->silu_gate(ROWS * D, x, y, y); }
static void integers(void) { rs_int_gemm(by, 1, &(rs_int_product){.w = &w, .y = y, .ldy = w.n}, &rows, NULL); }
static void dense(void) { k->gemm_nt(N, N, D, x, D, x, D, 0, y, N); }
static void half(void) { k->gemm_half(true, N, N, D, x, D, (const uint16_t *)(const void *)codes_of_w, D, 0, y, N); }
static void limit(void)
{
    if (rs_lt_multiply(&lt, rows.codes, codes_of_w, sums) == 0) return;
    fprintf(stderr, "bench_cuda: cuBLASLt refuses the product\n");
    exit(1);
}

static void rotations(void)
{
    const size_t sizes[] = {H, D, 11008, F, 28672};
    for (size_t i = 0; i < (ROUNDS > 1 ? 5u : 2u); i++) {
        char what[64];
        rotation = rs_hadamard_new(sizes[i]);
        if (rotation == NULL) exit(1);
        snprintf(what, sizeof what, "hadamard, rows of %zu (%zu x %zu)", sizes[i], rotation->k, rotation->pow2);
        bytes_line(what, rotate, 2 * (double)(ROWS * D / sizes[i] * sizes[i]) * sizeof *x, 0.8);
        rs_hadamard_free(rotation);
    }
}

// Whether our sums are those of cuBLASLt.
static void compare(void)
{
    int32_t *ours = malloc(N * N * sizeof *ours), *theirs = malloc(N * N * sizeof *theirs), *there = memory->alloc(N * N * sizeof *there);
    if (ours == NULL || theirs == NULL || there == NULL) exit(1);
    rs_int_gemm_sums(rs_int_cuda(), &w, &rows, there, NULL);
    memory->get(ours, there, N * N * sizeof *ours);
    memory->get(theirs, sums, N * N * sizeof *theirs);
    wait_for_all();
    if (memcmp(ours, theirs, N * N * sizeof *ours) != 0) {
        fprintf(stderr, "bench_cuda: cuBLASLt has other sums\n");
        exit(1);
    }
    memory->release(there);
    free(ours), free(theirs);
}

static void products(void)
{
    const double all = (double)N * (double)N * (double)D;
    double most = 0;
    rows.bits = 7, rows.m = N, rows.k = rows.ld = D; // 7: codes that are bytes with a sign, too
    const rs_quantizer q7 = {.bits = 7, .clip = 1};
    (void)rs_int_quantise(rs_int_cuda(), &q7, x, D, &rows);
    w = (rs_int_weights){.bits = 8, .n = N, .k = D, .codes = codes_of_w, .scales = small, .sums = room(N * sizeof(int32_t))};
    memory->zero((void *)(uintptr_t)w.sums, N * sizeof(int32_t));
    if (rs_lt_open(&lt, N, N, D)) {
        sums = room(N * N * sizeof *sums);
        most = products_line("int8, cuBLASLt", limit, all, 0, "", 0);
        compare();
    } else
        printf("%-44s SKIP: no libcublasLt\n", "int8, cuBLASLt");
    const struct {
        unsigned bits;
        size_t m;
    } kinds[] = {{4, N}, {8, N}, {4, 1}, {4, TOKENS}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (int which = 0; which < 3; which++) {
            char what[64];
            by = which == 2 ? rs_int_cuda() : rs_int_cuda_at((size_t)which);
            rows.m = kinds[i].m;
            w.bits = kinds[i].bits;
            snprintf(what, sizeof what, "W%u, %zu x %zu x %zu, %s", w.bits, rows.m, N, D, rs_int_name(by));
            if (rows.m == N)
                products_line(what, integers, all, most, "cuBLASLt", which == 2 && most > 0 ? 0.7 : 0);
            else
                bytes_line(what, integers, (double)(N * D / 8 * w.bits), 0);
        }
    rs_blas_use(false);
    products_line("dense f32, own tiles", dense, all, 0, "", 0);
    rs_blas_use(true);
    if (rs_blas_used()) {
        products_line("dense f32, cuBLAS", dense, all, 0, "", 0);
        products_line("f32 times bf16, cuBLAS", half, all, 0, "", 0);
    }
}

// ---- one layer, TOKENS tokens behind PAST

static rs_decoder_layer layer;
static rs_decoder_shape shape;
static rs_kv_cache cache;
static float *stream, *cos_of, *sin_of;
static void *scratch;

static void decode(void)
{
    cache.count = PAST;
    (void)rs_decoder_cached(k, &shape, &layer, &cache, TOKENS, cos_of, sin_of, stream, scratch);
}

static const rs_int_weights *matrix(rs_int_weights *of, size_t n, size_t columns)
{
    *of = (rs_int_weights){.bits = 4, .n = n, .k = columns, .codes = room(n * columns / 2), .scales = room(n * sizeof(float)), .sums = room(n * sizeof(int32_t))};
    memory->zero((void *)(uintptr_t)of->sums, n * sizeof(int32_t));
    for (size_t at = 0; at < n * columns / 2; at += N * D) memory->move((char *)(uintptr_t)of->codes + at, codes_of_w, n * columns / 2 - at < N * D ? n * columns / 2 - at : N * D);
    float *scales = malloc(n * sizeof *scales);
    if (scales == NULL) exit(1);
    for (size_t i = 0; i < n; i++) scales[i] = 1e-3f;
    memory->put((void *)(uintptr_t)of->scales, scales, n * sizeof *scales);
    free(scales);
    return of;
}

static void one_layer(void)
{
    rs_int_weights all[7];
    layer = (rs_decoder_layer){.norm_attn = small, .norm_ffn = small, .in_q = q4, .in_k = q4, .in_v = q4, .in_o = q4, .in_gate = q4, .in_up = q4, .in_down = q4, .kv = q4, .by = rs_int_cuda()};
    const size_t q = HEADS * H, kv = KV_HEADS * H;
    layer.cq = matrix(&all[0], q, D), layer.ck = matrix(&all[1], kv, D), layer.cv = matrix(&all[2], kv, D), layer.co = matrix(&all[3], D, q);
    layer.cgate = matrix(&all[4], F, D), layer.cup = matrix(&all[5], F, D), layer.cdown = matrix(&all[6], D, F);
    rs_hadamard *r3 = rs_hadamard_new(H), *r4 = rs_hadamard_new(F);
    shape = (rs_decoder_shape){.d = D, .f = F, .h = H, .n_q = HEADS, .n_kv = KV_HEADS, .eps = 1e-5f, .r3 = r3, .r4 = r4};
    cache = (rs_kv_cache){.q = q4, .n_kv = KV_HEADS, .h = H, .capacity = PAST + TOKENS};
    cache.memory = room(rs_kv_cache_bytes(&cache));
    while (cache.count < PAST) {
        const size_t n = ROWS * D / kv < PAST - cache.count ? ROWS * D / kv : PAST - cache.count;
        (void)rs_kv_cache_append(&cache, rs_int_cuda(), n, x, x, NULL);
    }
    const rs_junction change = {.r = RANK, .q = y, .m = y + D * RANK}, no_change = {.r = 0};
    float *noise = malloc((D + RANK) * RANK * sizeof *noise);
    if (r3 == NULL || r4 == NULL || noise == NULL) exit(1);
    for (size_t i = 0; i < (D + RANK) * RANK; i++) noise[i] = 0.01f * (float)(i * 7 % 19) - 0.09f;
    memory->put(y, noise, (D + RANK) * RANK * sizeof *noise);
    free(noise);
    layer.attn = layer.ffn = change;
    stream = room(TOKENS * D * sizeof *stream), cos_of = small, sin_of = small, scratch = room(rs_decoder_scratch(&shape, &layer, TOKENS));
    double t[2][MOST], share[MOST];
    const size_t n = ROUNDS > 1 ? calls_of(decode) : 1;
    for (size_t i = 0; i < ROUNDS; i++) // by turns, so that clocks change for both
        for (int with = 0; with < 2; with++) {
            layer.attn = layer.ffn = with ? change : no_change;
            memory->move(stream, x, TOKENS * D * sizeof *stream);
            t[with][i] = round_of(decode, n);
        }
    for (size_t i = 0; i < ROUNDS; i++) share[i] = t[1][i] / t[0][i] - 1;
    char rate[32];
    const double codes_bytes = (double)(D * q + 2 * D * kv + q * D + 3 * D * F) / 2, once = median(ROUNDS, t[0]);
    snprintf(rate, sizeof rate, "%.1f GB/s", codes_bytes / once * 1e-9);
    char what[64];
    snprintf(what, sizeof what, "a layer, %zu tokens behind %zu, W4A4KV4", TOKENS, PAST);
    line(what, once, rate, codes_bytes / once / copied, "the copy", 0, false);
    snprintf(what, sizeof what, "the same with junctions of rank %d", RANK);
    const double more = median(ROUNDS, share);
    snprintf(rate, sizeof rate, "%+.2f %%", 100 * more);
    line(what, median(ROUNDS, t[1]), rate, more > 0 ? more : 1e-9, "the layer", 0.02, true);
    rs_hadamard_free(r3), rs_hadamard_free(r4);
}

static void fill(void)
{
    const size_t n = ROWS * D;
    float *noise = malloc(n * sizeof *noise);
    uint8_t *bytes = malloc(2 * N * D);
    uint32_t state = 1;
    if (noise == NULL || bytes == NULL) exit(1);
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        noise[i] = (float)(state >> 8) * 0x1p-23f - 1;
    }
    for (size_t i = 0; i < 2 * N * D; i++) {
        state = state * 1664525u + 1013904223u;
        bytes[i] = i % 2 == 0 ? (uint8_t)(state >> 24) : (uint8_t)(state >> 24 & 0xbf); // as bf16 below 2
    }
    memory->put(x, noise, n * sizeof *x);
    memory->put(y, noise, n * sizeof *x);
    memory->put(small, noise, 2 * D * sizeof *x);
    memory->put(codes_of_w, bytes, 2 * N * D);
    free(noise), free(bytes);
}

int main(int argc, char **argv)
{
    k = rs_kernels_cuda();
    if (k == NULL) {
        printf("SKIP bench_cuda: %s\n", rs_kernels_cuda_reason());
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "--quick") == 0) D = N = 128, F = 256, H = 4, ROWS = 160, TOKENS = 2, PAST = 8, ROUNDS = 1;
    memory = k->memory;
    x = room(ROWS * D * sizeof *x), y = room(ROWS * D * sizeof *y), small = room(2 * D * sizeof *small), codes_of_w = room(2 * N * D);
    fill();
    rows = (rs_int_rows){.codes = room(ROWS * D), .scale = room(ROWS * sizeof(float)), .zero = room(ROWS * sizeof(int32_t))};
    printf("%s\n", rs_kernels_cuda_device());
    const double all = (double)(ROWS * D) * sizeof *x;
    bytes_line("copy", copy, 2 * all, 0);
    bytes_line("add", add, 3 * all, 0);
    bytes_line("rmsnorm", norm, 2 * all, 0);
    bytes_line("silu_gate", gate, 3 * all, 0);
    bytes_line("fake_quant, 4 bits", fake, 2 * all, 0);
    bytes_line("quantise to codes, 4 bits", codes, 1.25 * all, 0.8);
    bytes_line("norm and quantise to codes", stream_codes, 1.25 * all, 0.8);
    rotations();
    products();
    one_layer();
    wait_for_all();
    while (n_rooms > 0) memory->release(rooms[--n_rooms]);
    memory->release(lt.work);
    return 0;
}
