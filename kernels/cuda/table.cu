// SPDX-License-Identifier: Apache-2.0
// The tables of the CUDA kernels, where there is a device.
#include "kernels/cuda/ops.h"

#include <stdio.h>

#include "kernels/cuda/blas.h"
#include "kernels/cuda/runtime.h"

static rs_kernels table;
static rs_int_kernels by_dp4a, by_mma, by_both;

// NULL: there is a device, and the tables are filled.
static const char *reason(void)
{
    static bool asked;
    static const char *why;
    if (asked)
        return why;
    asked = true;
    why = rs_cuda_open();
    table.name = "cuda";
    table.memory = &rs_cuda_memory;
    table.f16_to_f32 = rs_convert_f16_to_f32_cuda;
    table.bf16_to_f32 = rs_convert_bf16_to_f32_cuda;
    table.f32_to_f16 = rs_convert_f32_to_f16_cuda;
    table.f32_to_bf16 = rs_convert_f32_to_bf16_cuda;
    table.gram = rs_gram_cuda;
    table.gemv_half = rs_gemv_half_cuda;
    table.gemv_int8 = rs_gemv_int8_cuda;
    table.cross_entropy = rs_cross_entropy_cuda;
    table.gemm_nt = rs_gemm_nt_cuda;
    table.gemm_nn = rs_gemm_nn_cuda;
    table.gemm_tn = rs_gemm_tn_cuda;
    table.gemm_half = rs_gemm_half_cuda;
    table.rmsnorm = rs_rmsnorm_cuda;
    table.rope = rs_rope_cuda;
    table.attention = rs_attention_cuda;
    table.attention_cached = rs_attention_cached_cuda;
    table.lowrank = rs_lowrank_cuda;
    table.silu_gate = rs_silu_gate_cuda;
    table.hadamard = rs_hadamard_rows_cuda;
    table.fake_quant = rs_fake_quant_cuda;
    table.add = rs_add_cuda;
    table.each = rs_each_cuda;
    table.skew = rs_skew_cuda;
    table.not_finite = rs_not_finite_cuda;
    table.gptq_block = rs_gptq_block_cuda;
    table.rmsnorm_grad = rs_rmsnorm_grad_cuda;
    table.silu_gate_grad = rs_silu_gate_grad_cuda;
    table.attention_grad = rs_attention_grad_cuda;
    table.loss_grad = rs_loss_grad_cuda;
    by_dp4a.name = "cuda-dp4a";
    by_dp4a.instruction = "dp4a.u32.s32";
    by_dp4a.quantise = rs_int_quantise_cuda;
    by_dp4a.memory = &rs_cuda_memory;
    by_dp4a.product = rs_int_product_dp4a;
    by_dp4a.append = rs_kv_append_cuda;
    by_dp4a.norm_quantise = rs_norm_quantise_cuda;
    by_mma = by_dp4a;
    by_mma.name = "cuda-mma";
    by_mma.instruction = "mma.m16n8k32.s32.u8.s8";
    by_mma.product = rs_int_product_mma;
    by_both = by_mma;
    by_both.name = "cuda";
    by_both.instruction = "dp4a.u32.s32, mma.m16n8k32.s32.u8.s8";
    by_both.product = rs_int_product_cuda;
    return why;
}

const rs_kernels *rs_kernels_cuda(void)
{
    return reason() == NULL ? &table : NULL;
}

const char *rs_kernels_cuda_reason(void)
{
    return reason() == NULL ? "" : reason();
}

const char *rs_kernels_cuda_device(void)
{
    static char line[512];
    if (reason() != NULL)
        return NULL;
    snprintf(line, sizeof line, "%s, %s", rs_cuda_device(), rs_blas_name());
    return line;
}

const rs_int_kernels *rs_int_cuda_at(size_t i)
{
    return reason() != NULL || i > 1 ? NULL : i == 0 ? &by_dp4a : &by_mma;
}

const rs_int_kernels *rs_int_cuda(void)
{
    return reason() == NULL ? &by_both : NULL;
}
