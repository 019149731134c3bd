// SPDX-License-Identifier: Apache-2.0
// Gradient of y = silu(gate) up. With s = 1 / (1 + e^-gate): dgate = dy up s (1 + gate (1 - s)), dup = dy gate s.
#include <math.h>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/pieces.h"
#include "kernels/cpu/vec.h"
#include "kernels/threads.h"

void rs_silu_gate_grad_plain(size_t n, const float *gate, const float *up, const float *dy, float *dgate, float *dup)
{
    for (size_t i = 0; i < n; i++) {
        const float g = gate[i], u = up[i], s = 1 / (1 + expf(-g));
        dgate[i] = dy[i] * u * (s * (1 + g * (1 - s)));
        dup[i] = dy[i] * (g * s);
    }
}

#if defined(__x86_64__)

struct silu {
    size_t n;
    const float *gate, *up, *dy;
    float *dgate, *dup;
};

#define SILU_GRAD(V, WIDTH, TARGET)                                                                                    \
    static TARGET void V##_piece(void *context, size_t piece)                                                          \
    {                                                                                                                  \
        const struct silu *p = context;                                                                                \
        const size_t end = rs_pieces_min(p->n, (piece + 1) * RS_PIECE);                                                \
        const V one = V##_set(1);                                                                                      \
        for (size_t i = piece * RS_PIECE; i < end; i += WIDTH) {                                                       \
            const size_t n = end - i;                                                                                  \
            const bool part = n < WIDTH;                                                                               \
            const V g = part ? V##_load_part(p->gate + i, n) : V##_load(p->gate + i), u = part ? V##_load_part(p->up + i, n) : V##_load(p->up + i); \
            const V d = part ? V##_load_part(p->dy + i, n) : V##_load(p->dy + i);                                      \
            const V s = V##_div(one, V##_add(one, V##_exp(V##_sub(V##_set(0), g))));                                   \
            const V dg = V##_mul(V##_mul(d, u), V##_mul(s, V##_fma(g, V##_sub(one, s), one))), du = V##_mul(d, V##_mul(g, s)); \
            if (part) {                                                                                                \
                V##_store_part(p->dgate + i, dg, n);                                                                   \
                V##_store_part(p->dup + i, du, n);                                                                     \
            } else {                                                                                                   \
                V##_store(p->dgate + i, dg);                                                                           \
                V##_store(p->dup + i, du);                                                                             \
            }                                                                                                          \
        }                                                                                                              \
    }
SILU_GRAD(v8, 8, RS_AVX2)
SILU_GRAD(v16, 16, RS_AVX512)

void rs_silu_gate_grad_avx2(size_t n, const float *gate, const float *up, const float *dy, float *dgate, float *dup)
{
    rs_threads_for(rs_pieces_count(n, RS_PIECE), v8_piece, &(struct silu){n, gate, up, dy, dgate, dup});
}

void rs_silu_gate_grad_avx512(size_t n, const float *gate, const float *up, const float *dy, float *dgate, float *dup)
{
    rs_threads_for(rs_pieces_count(n, RS_PIECE), v16_piece, &(struct silu){n, gate, up, dy, dgate, dup});
}

#endif
