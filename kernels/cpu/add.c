// SPDX-License-Identifier: Apache-2.0
// y += x.
#include "kernels/cpu/ops.h"
#include "kernels/cpu/pieces.h"
#include "kernels/cpu/vec.h"
#include "kernels/threads.h"

void rs_add_plain(size_t n, const float *x, float *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

#if defined(__x86_64__)

struct add {
    size_t n;
    const float *x;
    float *y;
};

static RS_AVX2 void add_piece(void *context, size_t piece)
{
    const struct add *a = context;
    const size_t end = rs_pieces_min(a->n, (piece + 1) * RS_PIECE);
    size_t i = piece * RS_PIECE;
    for (; i + 8 <= end; i += 8)
        v8_store(a->y + i, v8_add(v8_load(a->y + i), v8_load(a->x + i)));
    for (; i < end; i++)
        a->y[i] += a->x[i];
}

void rs_add_avx2(size_t n, const float *x, float *y)
{
    rs_threads_for(rs_pieces_count(n, RS_PIECE), add_piece, &(struct add){n, x, y});
}

#endif
