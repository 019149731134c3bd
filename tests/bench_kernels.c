// SPDX-License-Identifier: Apache-2.0
// Rates of every operation, reference and fastest table, beside the copy bandwidth and the sgemm rate of the same run. Arguments: [threads [sequence length]].
#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/cpu/ops.h"
#include "kernels/decoder.h"
#include "kernels/threads.h"

enum { D = 576, F = 1536, H = 64, NQ = 9, NKV = 3, V = 49152 }; // SmolLM2-135M

static size_t S = 1024;
static float *x, *y, *w, *z;
static uint16_t *half;
static double *nll;
static int32_t *target;
static rs_hadamard *r3, *r4;
static const rs_kernels *k;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// Best seconds per call: at least three calls and 0.3 s (one call where a call takes longer than a second).
static double best(void (*call)(void))
{
    double least = 1e9, start = now();
    for (int i = 0; (i < 3 || now() - start < 0.3) && (i == 0 || least < 1); i++) {
        const double t = now();
        call();
        least = fmin(least, now() - t);
    }
    return least;
}

static void fill(float *p, size_t n, float size)
{
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        p[i] = size * ((float)(state >> 8) * 0x1p-23f - 1);
    }
}

static void copy(void) { memcpy(y, x, 4u << 24); }
static void nt_ffn(void) { k->gemm_nt(S, F, D, x, D, w, D, 0, y, F); }
static void nt_down(void) { k->gemm_nt(S, D, F, x, F, w, F, 1, y, D); }
static void nt_kv(void) { k->gemm_nt(S, 192, D, x, D, w, D, 0, y, 192); }
static void nt_one(void) { k->gemm_nt(1, F, D, x, D, w, D, 0, y, F); }
static void nt_head(void) { k->gemm_nt(64, V, D, x, D, w, D, 0, y, V); }
static void nn_low(void) { k->gemm_nn(S, 32, D, x, D, w, 32, 0, y, 32); }
static void hessian(void) { k->gram(D, S, x, D, 1, y, D); }
static void norm(void) { k->rmsnorm(S, D, x, w, 1e-5f, y); }
static void rope(void) { k->rope(S, NQ, H, x, NQ * H, w, w); }
static void attend(void) { k->attention(S, NQ, NKV, H, x, x + S * NQ * H, z, y); }
static void silu(void) { k->silu_gate(S * F, x, w, y); }
static void walsh3(void) { k->hadamard(r3, S * NQ, x, H, false); }
static void walsh4(void) { k->hadamard(r4, S, x, F, false); }
static void quant(void) { (void)!k->fake_quant(&(rs_quantizer){.bits = 4, .clip = 1}, S, F, y, F); }
static void quant_kv(void) { (void)!k->fake_quant(&(rs_quantizer){.bits = 4, .clip = 1}, S * NKV, H, y, H); }
static void entropy(void) { k->cross_entropy(64, V, x, V, target, nll, NULL); }
static void add(void) { k->add(S * F, x, y); }
static void to_f16(void) { k->f32_to_f16(1 << 22, x, half); }
static void from_f16(void) { k->f16_to_f32(1 << 22, half, y); }
static void to_bf16(void) { k->f32_to_bf16(1 << 22, x, half); }
static void from_bf16(void) { k->bf16_to_f32(1 << 22, half, y); }

// amount: floating point operations (gemm, attention) or bytes moved, for a sequence of S.
static void line(const char *name, void (*call)(void), double amount, const char *unit)
{
    fill(x, 1 << 24, 1);
    fill(w, 1 << 25, 1);
    fill(z, 1 << 20, 1);
    fill(y, 1 << 24, 1);
    k = rs_kernels_cpu();
    const double fast = best(call);
    k = rs_kernels_reference();
    const double plain = best(call);
    printf("%-22s %9.2f %9.2f %s  %9.3f ms  x %.1f\n", name, 1e-9 * amount / fast, 1e-9 * amount / plain, unit, 1e3 * fast, plain / fast);
}

// Seconds of processor time of all threads: does not count what other programs take from us.
static double processor(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// Rates of a product of 1024 x 1024 x 1024, per second and per second of processor time.
static void sgemm_rate(double *wall, double *cpu)
{
    const double flop = 2.0 * 1024 * 1024 * 1024;
    *wall = *cpu = 0;
    k = rs_kernels_cpu();
    for (int i = 0; i < 8; i++) {
        const double t = now(), p = processor();
        k->gemm_nt(1024, 1024, 1024, x, 1024, w, 1024, 0, y, 1024);
        *cpu = fmax(*cpu, flop / (processor() - p));
        *wall = fmax(*wall, flop / (now() - t));
    }
}

// The whole forward pass of 30 layers and the head, a window of S tokens, and its share of the sgemm rate measured just before and after.
static void forward(bool quantised)
{
    double wall[2], cpu[2];
    sgemm_rate(&wall[0], &cpu[0]);
    const rs_quantizer a = {.bits = quantised ? 4 : 16, .clip = 1};
    const float *at = w;
    rs_decoder_layer l = {.in_q = a, .in_k = a, .in_v = a, .in_o = a, .in_gate = a, .in_up = a, .in_down = a, .kv = a};
    const struct {
        const float **w;
        size_t n;
    } take[] = {{&l.wq, D * D}, {&l.wk, D * NKV * H}, {&l.wv, D * NKV * H}, {&l.wo, D * D}, {&l.wgate, D * F}, {&l.wup, D * F}, {&l.wdown, D * F}, {&l.attn.q, D * 32}, {&l.attn.m, 32 * 32}};
    for (size_t i = 0; i < sizeof take / sizeof *take; i++) {
        *take[i].w = at;
        at += take[i].n;
    }
    l.attn.r = l.ffn.r = quantised ? 32 : 0;
    l.ffn.q = l.attn.q;
    l.ffn.m = l.attn.m;
    const rs_decoder_shape shape = {.d = D, .f = F, .h = H, .n_q = NQ, .n_kv = NKV, .eps = 1e-5f, .r3 = quantised ? r3 : NULL, .r4 = quantised ? r4 : NULL};
    double *freq = malloc(H / 2 * sizeof *freq);
    float *cos = malloc(S * H / 2 * sizeof *cos), *sin = malloc(S * H / 2 * sizeof *sin), *logits = malloc(256 * V * sizeof *logits);
    void *scratch = aligned_alloc(64, rs_decoder_scratch(&shape, &l, S));
    if (freq == NULL || cos == NULL || sin == NULL || logits == NULL || scratch == NULL)
        exit(1);
    rs_rope_frequencies(H, 1e4, freq);
    rs_rope_tables(S, 0, H, freq, cos, sin);
    fill(w, 1 << 25, 0.02f);
    fill(x, S * D, 1);
    k = rs_kernels_cpu();
    double t[3] = {now()}, p = processor();
    for (int i = 0; i < 30; i++)
        (void)!rs_decoder_forward(k, &shape, &l, S, cos, sin, x, scratch, NULL, NULL);
    t[1] = now();
    k->rmsnorm(S, D, x, NULL, 1e-5f, y);
    for (size_t s = 0; s < S; s += 256) {
        const size_t n = S - s < 256 ? S - s : 256;
        k->gemm_nt(n, V, D, y + s * D, D, w, D, 0, logits, V);
        k->cross_entropy(n, V, logits, V, target, nll, NULL);
    }
    t[2] = now();
    p = processor() - p;
    sgemm_rate(&wall[1], &cpu[1]);
    const double layer = 2.0 * S * (2.0 * D * D + 2.0 * D * NKV * H + 3.0 * D * F) + 2.0 * S * S * D, head = 2.0 * S * D * V;
    const double flop = 30 * layer + head;
    printf("forward %s: %.0f tokens/s, layers %.3f s, head %.3f s; %.1f GFLOP/s, %.0f %% of sgemm; per second of processor time %.1f, %.0f %%\n", quantised ? "quantised, r 32" : "plain", S / (t[2] - t[0]),
           t[1] - t[0], t[2] - t[1], 1e-9 * flop / (t[2] - t[0]), 100 * flop / (t[2] - t[0]) / fmax(wall[0], wall[1]), 1e-9 * flop / p, 100 * flop / p / fmax(cpu[0], cpu[1]));
    free(freq);
    free(cos);
    free(sin);
    free(logits);
    free(scratch);
}

int main(int argc, char **argv)
{
    rs_threads_set(argc > 1 ? atoi(argv[1]) : rs_threads_available());
    S = argc > 2 ? (size_t)atoi(argv[2]) : S;
    x = malloc(4u << 24);
    y = malloc(4u << 24);
    z = malloc(4u << 20);
    w = malloc(4u << 25);
    half = malloc(2u << 22);
    nll = malloc(256 * sizeof *nll);
    target = calloc(256, sizeof *target);
    r3 = rs_hadamard_new(H);
    r4 = rs_hadamard_new(F);
    if (S < 1 || S > 4096 || x == NULL || y == NULL || w == NULL || z == NULL || half == NULL || nll == NULL || target == NULL || r3 == NULL || r4 == NULL)
        return 1;
    fill(x, 1 << 24, 1);
    fill(w, 1 << 25, 1);
    fill(y, 1 << 24, 1);
    memset(half, 0, 2u << 22);
    printf("%s, %d threads, OpenBLAS %s, S = %zu\n", rs_kernels_cpu()->name, rs_threads_get(), openblas_get_corename(), S);
    double wall, cpu;
    sgemm_rate(&wall, &cpu);
    printf("copy %.1f GB/s (read and written); sgemm 1024 %.1f GFLOP/s, %.1f per second of processor time; attention counts as its causal half\n", 2e-9 * (4u << 24) / best(copy), 1e-9 * wall, 1e-9 * cpu);
    forward(false);
    forward(true);
    printf("%-22s %9s %9s\n", "", "fast", "plain");
    const double s = (double)S;
    line("gemm_nt ffn", nt_ffn, 2 * s * F * D, "GFLOP/s");
    line("gemm_nt down", nt_down, 2 * s * F * D, "GFLOP/s");
    line("gemm_nt kv", nt_kv, 2 * s * 192 * D, "GFLOP/s");
    line("gemm_nt 64 x V", nt_head, 2.0 * 64 * D * V, "GFLOP/s");
    line("gemm_nt 1 x ffn", nt_one, 2.0 * F * D, "GFLOP/s");
    line("gemm_nn r 32", nn_low, 2 * s * 32 * D, "GFLOP/s");
    line("gram", hessian, s * D * (D + 1), "GFLOP/s");
    line("attention", attend, 2 * s * s * NQ * H, "GFLOP/s");
    line("rmsnorm", norm, 8 * s * D, "GB/s");
    line("rope", rope, 8 * s * NQ * H, "GB/s");
    line("silu_gate", silu, 12 * s * F, "GB/s");
    line("hadamard r3", walsh3, 8 * s * NQ * H, "GB/s");
    line("hadamard r4", walsh4, 8 * s * F, "GB/s");
    line("fake_quant f", quant, 8 * s * F, "GB/s");
    line("fake_quant kv", quant_kv, 8 * s * NKV * H, "GB/s");
    line("cross_entropy", entropy, 4.0 * 64 * V, "GB/s");
    line("add", add, 12 * s * F, "GB/s");
    line("f32_to_f16", to_f16, 6.0 * (1 << 22), "GB/s");
    line("f16_to_f32", from_f16, 6.0 * (1 << 22), "GB/s");
    line("f32_to_bf16", to_bf16, 6.0 * (1 << 22), "GB/s");
    line("bf16_to_f32", from_bf16, 6.0 * (1 << 22), "GB/s");
    rs_hadamard_free(r3);
    rs_hadamard_free(r4);
    free(x);
    free(y);
    free(z);
    free(w);
    free(half);
    free(nll);
    free(target);
    return 0;
}
