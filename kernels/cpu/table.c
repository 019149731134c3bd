// SPDX-License-Identifier: Apache-2.0
// The tables of CPU kernels and the choice between them at start-up.
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
    .rmsnorm = rs_rmsnorm_plain,
    .rope = rs_rope_plain,
    .attention = rs_attention_plain,
    .silu_gate = rs_silu_gate_plain,
    .hadamard = rs_hadamard_rows_plain,
    .fake_quant = rs_fake_quant_plain,
    .cross_entropy = rs_cross_entropy_plain,
    .add = rs_add_plain,
};

const rs_kernels *rs_table_at(size_t i)
{
    return i == 0 ? &reference : NULL;
}

const rs_kernels *rs_kernels_reference(void)
{
    return &reference;
}

const rs_kernels *rs_kernels_cpu(void)
{
    const rs_kernels *best = &reference;
    for (size_t i = 1; rs_table_at(i) != NULL; i++)
        best = rs_table_at(i);
    return best;
}
