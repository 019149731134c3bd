// SPDX-License-Identifier: Apache-2.0
// Gradient of y = silu(gate) up. With s = 1 / (1 + e^-gate): dgate = dy up s (1 + gate (1 - s)), dup = dy gate s.
#include "kernels/cuda/ops.h"

#include "kernels/cuda/gpu.h"

enum { THREADS = 256 };

RS_KERNEL(THREADS, 4) rs_k_silu_gate_grad(size_t n, const float *gate, const float *up, const float *dy, float *dgate, float *dup)
{
    for (size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x; i < n; i += gridDim.x * (size_t)THREADS) {
        const float g = gate[i], u = up[i], d = dy[i], s = 1 / (1 + expf(-g));
        dgate[i] = d * u * (s * (1 + g * (1 - s)));
        dup[i] = d * (g * s);
    }
}

void rs_silu_gate_grad_cuda(size_t n, const float *gate, const float *up, const float *dy, float *dgate, float *dup)
{
    RS_LAUNCH(rs_k_silu_gate_grad, rs_cuda_blocks((n + THREADS - 1) / THREADS), THREADS, 0, n, gate, up, dy, dgate, dup);
}
