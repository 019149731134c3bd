// SPDX-License-Identifier: Apache-2.0
// The steps of GPTQ inside one block of columns, rows side by side in the lanes of vectors: the same operations in the same order for each row, so the same bits.
#include <math.h>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/vec.h"

enum { LANES = RS_GPTQ_LANES };

static void lanes(size_t n, const float *U, size_t ldu, const float *s, size_t lds, float top, float *w, float *e, size_t ld)
{
    for (size_t i = 0; i < n; i++, U += ldu, s += lds)
        for (size_t r = 0; r < LANES; r++) {
            const float x = w[i * ld + r], q = rintf(x / s[r]);
            const float c = q > -top - 1 ? q < top ? q : top : -top - 1; // never a NaN
            const float err = (x - c * s[r]) / U[i];
            for (size_t j = i + 1; j < n; j++)
                w[j * ld + r] -= err * U[j];
            w[i * ld + r] = c;
            e[i * ld + r] = -err;
        }
}

void rs_gptq_block_plain(size_t n, size_t rows, const float *U, size_t ldu, const float *s, size_t lds, float top, float *w, float *e, size_t ld)
{
    for (size_t r = 0; r < rows; r += LANES)
        lanes(n, U, ldu, s + r, lds, top, w + r, e + r, ld);
}

#if defined(__x86_64__)

#define GPTQ_BLOCK(V, WIDTH, TARGET)                                                                                                                \
    static TARGET void lanes_##V(size_t n, const float *U, size_t ldu, const float *s, size_t lds, float top, float *w, float *e, size_t ld)        \
    {                                                                                                                                               \
        const V low = V##_set(-top - 1), high = V##_set(top), turn = V##_set(-1);                                                                   \
        for (size_t i = 0; i < n; i++, U += ldu, s += lds)                                                                                          \
            for (size_t r = 0; r < LANES; r += WIDTH) {                                                                                             \
                float *at = w + i * ld + r;                                                                                                         \
                const V x = V##_load(at), scale = V##_load(s + r);                                                                                  \
                const V c = V##_min(V##_max(V##_round(V##_div(x, scale)), low), high);                                                              \
                const V err = V##_div(V##_sub(x, V##_mul(c, scale)), V##_set(U[i]));                                                                \
                V##_store(at, c);                                                                                                                   \
                V##_store(e + i * ld + r, V##_mul(err, turn));                                                                                      \
                for (size_t j = i + 1; j < n; j++)                                                                                                  \
                    V##_store(w + j * ld + r, V##_sub(V##_load(w + j * ld + r), V##_mul(err, V##_set(U[j]))));                                      \
            }                                                                                                                                       \
    }                                                                                                                                               \
    void rs_gptq_block_##V(size_t n, size_t rows, const float *U, size_t ldu, const float *s, size_t lds, float top, float *w, float *e, size_t ld) \
    {                                                                                                                                               \
        for (size_t r = 0; r < rows; r += LANES)                                                                                                    \
            lanes_##V(n, U, ldu, s + r, lds, top, w + r, e + r, ld);                                                                                \
    }
GPTQ_BLOCK(v8, 8, RS_AVX2)
GPTQ_BLOCK(v16, 16, RS_AVX512)

#endif
