// SPDX-License-Identifier: Apache-2.0
// y = silu(gate) * up with silu(g) = g / (1 + e^-g).
#include "kernels/cuda/ops.h"

#include "kernels/cuda/gpu.h"

enum { THREADS = 256 };

RS_KERNEL(THREADS, 4) rs_k_silu_gate(size_t n, const float *gate, const float *up, float *y)
{
    for (size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x; i < n; i += gridDim.x * (size_t)THREADS)
        y[i] = gate[i] / (1 + expf(-gate[i])) * up[i];
}

void rs_silu_gate_cuda(size_t n, const float *gate, const float *up, float *y)
{
    RS_LAUNCH(rs_k_silu_gate, rs_cuda_blocks((n + THREADS - 1) / THREADS), THREADS, 0, n, gate, up, y);
}
