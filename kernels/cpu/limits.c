// SPDX-License-Identifier: Apache-2.0
// Loops that do one thing only: read memory, or run one instruction on registers in 12 independent chains.
#include "kernels/limits.h"

#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels/threads.h"

enum { PIECES = 16, STEPS = 400000, CHAIN = 12 };

struct memory {
    const uint64_t *p;
    size_t n; // numbers of a piece
    uint64_t sum[PIECES];
};

static void read_piece(void *context, size_t i)
{
    struct memory *m = context;
    const uint64_t *p = m->p + i * m->n;
    uint64_t s[8] = {0};
    for (size_t j = 0; j < m->n; j += 8)
        for (size_t l = 0; l < 8; l++)
            s[l] += p[j + l];
    m->sum[i] = s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7];
}

double rs_limits_read(const void *p, size_t bytes)
{
    static volatile uint64_t sink; // what is read is used
    struct memory m = {.p = p, .n = bytes / (PIECES * 64) * 8};
    rs_threads_for(PIECES, read_piece, &m);
    for (size_t i = 0; i < PIECES; i++)
        sink = sink + m.sum[i];
    return (double)(PIECES * m.n * 8);
}

#if defined(__x86_64__)
#define CHAINS(TARGET, NAME, V, STEP)                                                                                                                       \
    __attribute__((target(TARGET))) static void NAME(void *context, size_t piece)                                                                          \
    {                                                                                                                                                       \
        (void)context, (void)piece;                                                                                                                         \
        V b = {0}, c = b, d = b, e = b, f = b, g = b, h = b, i = b, j = b, l = b, m = b, o = b, p = b;                                                      \
        for (size_t q = 0; q < STEPS; q++)                                                                                                                  \
            __asm__ volatile(STEP("0") STEP("1") STEP("2") STEP("3") STEP("4") STEP("5") STEP("6") STEP("7") STEP("8") STEP("9") STEP("10") STEP("11")      \
                             : "+x"(c), "+x"(d), "+x"(e), "+x"(f), "+x"(g), "+x"(h), "+x"(i), "+x"(j), "+x"(l), "+x"(m), "+x"(o), "+x"(p)                   \
                             : "x"(b));                                                                                                                     \
    }
#define STEP_AVX2(i) "vpmaddubsw %12, %" i ", %" i "\n\t"
#define STEP_AVXVNNI(i) "%{vex%} vpdpbusd %12, %12, %" i "\n\t"
#define STEP_AVX512(i) "vpdpbusd %12, %12, %" i "\n\t"
CHAINS("avx2", chains_avx2, __m256i, STEP_AVX2)
CHAINS("avx2", chains_avxvnni, __m256i, STEP_AVXVNNI)
CHAINS("avx512f", chains_avx512, __m512i, STEP_AVX512)

double rs_limits_products(const rs_int_kernels *by)
{
    static const struct {
        const char *name;
        void (*chains)(void *context, size_t piece);
        int products;
    } all[] = {{"avx2", chains_avx2, 32}, {"avxvnni", chains_avxvnni, 32}, {"avx512vnni", chains_avx512, 64}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(rs_int_name(by), all[i].name) == 0) {
            rs_threads_for(PIECES, all[i].chains, NULL);
            return (double)PIECES * STEPS * CHAIN * all[i].products;
        }
    return 0;
}
#else
double rs_limits_products(const rs_int_kernels *by)
{
    (void)by;
    return 0;
}
#endif
