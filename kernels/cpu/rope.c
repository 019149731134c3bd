// SPDX-License-Identifier: Apache-2.0
// Rotary position embedding in half-split order.
#include "kernels/cpu/ops.h"
#include "kernels/cpu/pieces.h"
#include "kernels/cpu/vec.h"
#include "kernels/threads.h"

void rs_rope_plain(size_t B, size_t heads, size_t h, float *x, size_t ld, const float *cos, const float *sin)
{
    const size_t half = h / 2;
    for (size_t b = 0; b < B; b++, cos += half, sin += half)
        for (size_t head = 0; head < heads; head++) {
            float *lo = x + b * ld + head * h, *hi = lo + half;
            for (size_t i = 0; i < half; i++) {
                const float a = lo[i], c = hi[i];
                lo[i] = a * cos[i] - c * sin[i];
                hi[i] = c * cos[i] + a * sin[i];
            }
        }
}

#if defined(__x86_64__)

struct rope {
    size_t B, heads, h, ld, rows;
    float *x;
    const float *cos, *sin;
};

// The same products and sums as the reference, so the same bits.
static RS_AVX2 void rope_piece(void *context, size_t piece)
{
    const struct rope *r = context;
    const size_t half = r->h / 2, end = rs_pieces_min(r->B, (piece + 1) * r->rows);
    for (size_t b = piece * r->rows; b < end; b++)
        for (size_t head = 0; head < r->heads; head++) {
            const float *cos = r->cos + b * half, *sin = r->sin + b * half;
            float *lo = r->x + b * r->ld + head * r->h, *hi = lo + half;
            size_t i = 0;
            for (; i + 8 <= half; i += 8) {
                const v8 a = v8_load(lo + i), c = v8_load(hi + i), co = v8_load(cos + i), si = v8_load(sin + i);
                v8_store(lo + i, v8_sub(v8_mul(a, co), v8_mul(c, si)));
                v8_store(hi + i, v8_add(v8_mul(c, co), v8_mul(a, si)));
            }
            for (; i < half; i++) {
                const float a = lo[i], c = hi[i];
                lo[i] = a * cos[i] - c * sin[i];
                hi[i] = c * cos[i] + a * sin[i];
            }
        }
}

void rs_rope_avx2(size_t B, size_t heads, size_t h, float *x, size_t ld, const float *cos, const float *sin)
{
    struct rope r = {B, heads, h, ld, rs_pieces_rows(heads * h), x, cos, sin};
    rs_threads_for(rs_pieces_count(B, r.rows), rope_piece, &r);
}

#endif
