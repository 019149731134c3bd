// SPDX-License-Identifier: Apache-2.0
// The variants of the integer products, and the choice between them at start-up.
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <pthread.h>

#include "kernels/cpu/int_ops.h"

static const rs_int_kernels reference = {.name = "reference", .instruction = "none", .quantise = rs_int_quantise_plain};
static const rs_int_kernels *variants[4] = {&reference};
static size_t count = 1;

#if defined(__x86_64__)
// Neither compiler's __builtin_cpu_supports knows a name for these in all versions that we build with; AVX2 has been seen, so the system keeps the registers.
static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
static bool has_avxvnni(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}
#endif

static void choose(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !has_f16c())
        return;
    variants[count++] = &rs_int_avx2;
    if (has_avxvnni())
        variants[count++] = &rs_int_avxvnni;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni"))
        variants[count++] = &rs_int_avx512vnni;
#endif
}

const rs_int_kernels *rs_int_at(size_t i)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, choose);
    return i < count ? variants[i] : NULL;
}

const rs_int_kernels *rs_int_reference(void)
{
    return &reference;
}

const rs_int_kernels *rs_int_cpu(void)
{
    rs_int_at(0);
    return variants[count - 1];
}

const char *rs_int_name(const rs_int_kernels *by)
{
    return by->name;
}

const char *rs_int_instruction(const rs_int_kernels *by)
{
    return by->instruction;
}

const rs_memory *rs_int_memory(const rs_int_kernels *by)
{
    return by->memory;
}
