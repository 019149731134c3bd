// SPDX-License-Identifier: Apache-2.0
// The tables of CPU kernels and the choice between them at start-up.
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <pthread.h>

#include "kernels/cpu/ops.h"

static const rs_kernels reference = {
    .name = "reference",
    .f16_to_f32 = rs_convert_f16_to_f32_plain,
    .bf16_to_f32 = rs_convert_bf16_to_f32_plain,
    .f32_to_f16 = rs_convert_f32_to_f16_plain,
    .f32_to_bf16 = rs_convert_f32_to_bf16_plain,
    .gemm_nt = rs_gemm_nt_plain,
    .gemm_nn = rs_gemm_nn_plain,
    .gemm_tn = rs_gemm_tn_plain,
    .gemm_half = rs_gemm_half_plain,
    .gram = rs_gram_plain,
    .rmsnorm = rs_rmsnorm_plain,
    .rope = rs_rope_plain,
    .attention = rs_attention_plain,
    .attention_cached = rs_attention_cached_plain,
    .gemv_half = rs_gemv_half_plain,
    .gemv_int8 = rs_gemv_int8_plain,
    .lowrank = rs_lowrank_plain,
    .silu_gate = rs_silu_gate_plain,
    .hadamard = rs_hadamard_rows_plain,
    .fake_quant = rs_fake_quant_plain,
    .cross_entropy = rs_cross_entropy_plain,
    .add = rs_add_plain,
    .each = rs_each_plain,
    .skew = rs_skew_plain,
    .not_finite = rs_not_finite_plain,
    .gptq_block = rs_gptq_block_plain,
    .rmsnorm_grad = rs_rmsnorm_grad_plain,
    .silu_gate_grad = rs_silu_gate_grad_plain,
    .attention_grad = rs_attention_grad_plain,
    .loss_grad = rs_loss_grad_plain,
};

static rs_kernels tables[4];
static size_t count;

#if defined(__x86_64__)
// clang 14 knows no name for it in __builtin_cpu_supports.
static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

static void choose(void)
{
    rs_kernels *t = tables;
    *t++ = reference;
    *t = reference;
    t->name = "openblas";
    t->gemm_nt = rs_gemm_nt_blas;
    t->gemm_nn = rs_gemm_nn_blas;
    t->gemm_tn = rs_gemm_tn_blas;
    t->gemm_half = rs_gemm_half_blas;
    t->gram = rs_gram_blas;
    t->lowrank = rs_lowrank_blas;
    t->attention = rs_attention_blas;
    t->attention_cached = rs_attention_cached_blas;
    t->attention_grad = rs_attention_grad_blas;
    t->rmsnorm_grad = rs_rmsnorm_grad_threaded;
    t++;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c()) {
        *t = t[-1];
        t->name = "avx2";
        t->f16_to_f32 = rs_convert_f16_to_f32_avx2;
        t->bf16_to_f32 = rs_convert_bf16_to_f32_avx2;
        t->f32_to_f16 = rs_convert_f32_to_f16_avx2;
        t->f32_to_bf16 = rs_convert_f32_to_bf16_avx2;
        t->rmsnorm = rs_rmsnorm_avx2;
        t->rope = rs_rope_avx2;
        t->attention = rs_attention_avx2;
        t->attention_cached = rs_attention_cached_avx2;
        t->gemm_half = rs_gemm_half_avx2;
        t->gemv_half = rs_gemv_half_avx2;
        t->gemv_int8 = rs_gemv_int8_avx2;
        t->lowrank = rs_lowrank_avx2;
        t->silu_gate = rs_silu_gate_avx2;
        t->hadamard = rs_hadamard_rows_avx2;
        t->fake_quant = rs_fake_quant_avx2;
        t->cross_entropy = rs_cross_entropy_avx2;
        t->add = rs_add_avx2;
        t->gptq_block = rs_gptq_block_v8;
        t->silu_gate_grad = rs_silu_gate_grad_avx2;
        t->attention_grad = rs_attention_grad_avx2;
        t->loss_grad = rs_loss_grad_avx2;
        t++;
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
            *t = t[-1];
            t->name = "avx512";
            t->attention = rs_attention_avx512;
            t->attention_cached = rs_attention_cached_avx512;
            t->gemv_int8 = rs_gemv_int8_avx512;
            t->gptq_block = rs_gptq_block_v16;
            t->silu_gate = rs_silu_gate_avx512;
            t->hadamard = rs_hadamard_rows_avx512;
            t->cross_entropy = rs_cross_entropy_avx512;
            t->silu_gate_grad = rs_silu_gate_grad_avx512;
            t->attention_grad = rs_attention_grad_avx512;
            t->loss_grad = rs_loss_grad_avx512;
            t++;
        }
    }
#endif
    count = (size_t)(t - tables);
}

const rs_kernels *rs_table_at(size_t i)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, choose);
    return i < count ? &tables[i] : NULL;
}

const rs_kernels *rs_kernels_reference(void)
{
    return &reference;
}

const rs_kernels *rs_kernels_cpu(void)
{
    rs_table_at(0);
    return &tables[count - 1];
}
