// SPDX-License-Identifier: Apache-2.0
// What residual junctions cost one layer of a large model (d = 4096, FFN 14336, 32 heads of 128, 8 KV heads) at W4A4KV4 with online R3 and R4: the same layer at rank 32 and at rank 0 in turn,
// a prompt of 512 tokens, and tokens one by one behind it. Arguments: [threads [rank [rounds]]].
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/decoder.h"
#include "kernels/threads.h"

enum { D = 4096, F = 14336, H = 128, N_Q = 32, N_KV = 8, PROMPT = 512, TOKENS = 64, ROUNDS = 64 };

static uint32_t state = 1;
static uint32_t random_bits(void)
{
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

static void *take(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (p == NULL)
        exit(1);
    return p;
}

static float *noise(size_t n, float size)
{
    float *x = take(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = size * ((float)random_bits() * 0x1p-23f - 1);
    return x;
}

// Random codes of 4 bits with their sums.
static const rs_int_weights *matrix(size_t n, size_t k)
{
    rs_int_weights *w = take(sizeof *w);
    uint8_t *codes = take(n * k / 2);
    int32_t *sums = take(n * sizeof *sums);
    float *scales = take(n * sizeof *scales);
    for (size_t i = 0; i < n * k / 2; i++)
        codes[i] = (uint8_t)random_bits();
    *w = (rs_int_weights){.bits = 4, .n = n, .k = k, .codes = codes, .scales = scales, .sums = sums};
    for (size_t o = 0; o < n; o++) {
        scales[o] = 0.02f / sqrtf((float)k);
        sums[o] = 0;
        for (size_t j = 0; j < k; j++)
            sums[o] += rs_int_weights_code(w, o, j);
    }
    return w;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *p, const void *q)
{
    const double d = *(const double *)p - *(const double *)q;
    return (d > 0) - (d < 0);
}

static double median(size_t n, double *x)
{
    qsort(x, n, sizeof *x, ascending);
    return (x[(n - 1) / 2] + x[n / 2]) / 2;
}

static rs_hadamard *online(size_t n)
{
    rs_hadamard *h = rs_hadamard_new(n);
    if (h == NULL)
        exit(1);
    return h;
}

int main(int argc, char **argv)
{
    rs_threads_set(argc > 1 ? atoi(argv[1]) : rs_threads_available());
    const size_t rank = argc > 2 ? (size_t)atoi(argv[2]) : 32, rounds = argc > 3 && atoi(argv[3]) > 0 && atoi(argv[3]) <= ROUNDS ? (size_t)atoi(argv[3]) : 7;
    const rs_decoder_shape shape = {.d = D, .f = F, .h = H, .n_q = N_Q, .n_kv = N_KV, .eps = 1e-5f, .r3 = online(H), .r4 = online(F)};
    const rs_quantizer q = {.bits = 4, .clip = 1};
    rs_decoder_layer layer[2];
    layer[1] = (rs_decoder_layer){.by = rs_int_cpu(), .in_q = q, .in_k = q, .in_v = q, .in_o = q, .in_gate = q, .in_up = q, .in_down = q, .kv = q, .cq = matrix(N_Q * H, D), .ck = matrix(N_KV * H, D),
                                  .cv = matrix(N_KV * H, D), .co = matrix(D, N_Q * H), .cgate = matrix(F, D), .cup = matrix(F, D), .cdown = matrix(D, F)};
    layer[0] = layer[1];
    layer[0].attn = (rs_junction){.r = rank, .q = noise(D * rank, 0.03f), .m = noise(rank * rank, 0.1f)};
    layer[0].ffn = (rs_junction){.r = rank, .q = noise(D * rank, 0.03f), .m = noise(rank * rank, 0.1f)};
    double inv_freq[H / 2];
    float *cos = take((PROMPT + TOKENS) * H / 2 * sizeof *cos), *sin = take((PROMPT + TOKENS) * H / 2 * sizeof *sin);
    rs_rope_frequencies(H, 10000, inv_freq);
    rs_rope_tables(PROMPT + TOKENS, 0, H, inv_freq, cos, sin);
    rs_kv_cache cache[2];
    for (int w = 0; w < 2; w++) {
        cache[w] = (rs_kv_cache){.q = q, .n_kv = N_KV, .h = H, .capacity = PROMPT + TOKENS};
        cache[w].memory = take(rs_kv_cache_bytes(&cache[w]));
    }
    float *x = noise((PROMPT + TOKENS) * D, 1), *y = take(PROMPT * D * sizeof *y);
    void *scratch = take(rs_decoder_scratch(&shape, &layer[0], PROMPT));
    const rs_kernels *k = rs_kernels_cpu();
    double prompt[2][ROUNDS], tokens[2][ROUNDS], prompt_cost[ROUNDS], token_cost[ROUNDS];
    for (size_t round = 0; round < rounds; round++) {
        for (size_t turn = 0; turn < 2; turn++) {
            const size_t w = (turn + round) % 2;
            memcpy(y, x, PROMPT * D * sizeof *y);
            cache[w].count = 0;
            const double start = now();
            rs_decoder_cached(k, &shape, &layer[w], &cache[w], PROMPT, cos, sin, y, scratch);
            prompt[w][round] = now() - start;
            tokens[w][round] = 0;
        }
        for (size_t i = 0; i < TOKENS; i++)
            for (size_t turn = 0; turn < 2; turn++) {
                const size_t w = (turn + i) % 2;
                memcpy(y, x + (PROMPT + i) * D, D * sizeof *y);
                const double start = now();
                rs_decoder_cached(k, &shape, &layer[w], &cache[w], 1, cos + (PROMPT + i) * H / 2, sin + (PROMPT + i) * H / 2, y, scratch);
                tokens[w][round] += (now() - start) / TOKENS;
            }
        prompt_cost[round] = prompt[0][round] / prompt[1][round] - 1;
        token_cost[round] = tokens[0][round] / tokens[1][round] - 1;
    }
    printf("%s, %d threads, one layer of d = %d at W4A4KV4, rank %zu against rank 0, medians of %zu rounds\n", rs_int_name(rs_int_cpu()), rs_threads_get(), D, rank, rounds);
    for (int one = 0; one < 2; one++) {
        double *with = one ? tokens[0] : prompt[0], *without = one ? tokens[1] : prompt[1];
        const double a = median(rounds, with), b = median(rounds, without); // sorted now
        printf("%-22s %8.3f ms against %8.3f ms; median of the pairs %+.2f %%, best against best %+.2f %%\n", one ? "one token behind them" : "512 tokens at once", 1e3 * a, 1e3 * b,
               100 * median(rounds, one ? token_cost : prompt_cost), 100 * (with[0] / without[0] - 1));
    }
    return 0;
}
