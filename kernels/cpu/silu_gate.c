// SPDX-License-Identifier: Apache-2.0
// y = silu(gate) * up with silu(g) = g / (1 + e^-g).
#include <math.h>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/pieces.h"
#include "kernels/cpu/vec.h"
#include "kernels/threads.h"

void rs_silu_gate_plain(size_t n, const float *gate, const float *up, float *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = gate[i] / (1 + expf(-gate[i])) * up[i];
}

#if defined(__x86_64__)

struct silu {
    size_t n;
    const float *gate, *up;
    float *y;
};

#define SILU(V, WIDTH, TARGET)                                                                        \
    static inline __attribute__((always_inline)) TARGET V V##_silu(V gate, V up)                      \
    {                                                                                                 \
        const V e = V##_exp(V##_sub(V##_set(0), gate));                                               \
        return V##_mul(V##_div(gate, V##_add(V##_set(1), e)), up);                                    \
    }                                                                                                 \
    static TARGET void V##_piece(void *context, size_t piece)                                         \
    {                                                                                                 \
        const struct silu *s = context;                                                               \
        const size_t end = rs_pieces_min(s->n, (piece + 1) * RS_PIECE);                               \
        size_t i = piece * RS_PIECE;                                                                  \
        for (; i + WIDTH <= end; i += WIDTH)                                                          \
            V##_store(s->y + i, V##_silu(V##_load(s->gate + i), V##_load(s->up + i)));                \
        if (i < end)                                                                                  \
            V##_store_part(s->y + i, V##_silu(V##_load_part(s->gate + i, end - i), V##_load_part(s->up + i, end - i)), end - i); \
    }
SILU(v8, 8, RS_AVX2)
SILU(v16, 16, RS_AVX512)

void rs_silu_gate_avx2(size_t n, const float *gate, const float *up, float *y)
{
    rs_threads_for(rs_pieces_count(n, RS_PIECE), v8_piece, &(struct silu){n, gate, up, y});
}

void rs_silu_gate_avx512(size_t n, const float *gate, const float *up, float *y)
{
    rs_threads_for(rs_pieces_count(n, RS_PIECE), v16_piece, &(struct silu){n, gate, up, y});
}

#endif
