// SPDX-License-Identifier: Apache-2.0
// x <- x H on f32 rows: fast Walsh-Hadamard steps on the power-of-two part, +-1 sums for the base.
#include <string.h>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/pieces.h"
#include "kernels/cpu/vec.h"
#include "kernels/threads.h"

enum { MAX_K = 4096, LANES = 16 }; // MAX_K: the largest base that rs_hadamard_new_form builds

static void sylvester(size_t n, float *x)
{
    for (size_t half = 1; half < n; half *= 2)
        for (size_t i = 0; i < n; i += 2 * half)
            for (size_t j = i; j < i + half; j++) {
                const float a = x[j], b = x[j + half];
                x[j] = a + b;
                x[j + half] = a - b;
            }
}

// y [k, pow2]: every column times the base and the scale, LANES columns at a time.
static void base(const rs_hadamard *H, float *y, bool transpose)
{
    const size_t k = H->k;
    const float scale = (float)H->scale;
    float in[MAX_K][LANES];
    for (size_t c = 0; c < H->pow2; c += LANES) {
        const size_t width = H->pow2 - c < LANES ? H->pow2 - c : LANES;
        for (size_t i = 0; i < k; i++)
            for (size_t l = 0; l < width; l++)
                in[i][l] = y[i * H->pow2 + c + l];
        for (size_t j = 0; j < k; j++) {
            float sum[LANES] = {0};
            for (size_t i = 0; i < k; i++) {
                const bool plus = H->signs[transpose ? j * k + i : i * k + j] > 0;
                for (size_t l = 0; l < width; l++)
                    sum[l] += plus ? in[i][l] : -in[i][l];
            }
            for (size_t l = 0; l < width; l++)
                y[j * H->pow2 + c + l] = sum[l] * scale;
        }
    }
}

void rs_hadamard_rows_plain(const rs_hadamard *H, size_t B, float *x, size_t ld, bool transpose)
{
    for (size_t b = 0; b < B; b++)
        for (float *y = x + b * ld, *end = y + H->n; y < end; y += H->block) {
            for (size_t i = 0; i < H->k; i++)
                sylvester(H->pow2, y + i * H->pow2);
            base(H, y, transpose);
        }
}

#if defined(__x86_64__)

struct rows {
    const rs_hadamard *H;
    size_t B, ld, rows;
    bool transpose;
    float *x;
};

// Walsh-Hadamard steps on one run of H->pow2 >= WIDTH values, two steps per pass where possible; then the base on strips of 2 WIDTH columns, four outputs at a time.
#define ROWS(V, WIDTH, TARGET)                                                                        \
    static TARGET void V##_sylvester(size_t n, float *x)                                              \
    {                                                                                                 \
        for (size_t i = 0; i < n; i += WIDTH)                                                         \
            V##_store(x + i, V##_walsh(V##_load(x + i)));                                             \
        size_t half = WIDTH;                                                                          \
        for (; half * 2 < n; half *= 4)                                                               \
            for (size_t i = 0; i < n; i += 4 * half)                                                  \
                for (float *a = x + i; a < x + i + half; a += WIDTH) {                                \
                    const V p = V##_load(a), q = V##_load(a + half), r = V##_load(a + 2 * half), s = V##_load(a + 3 * half); \
                    const V pq = V##_add(p, q), p_q = V##_sub(p, q), rs = V##_add(r, s), r_s = V##_sub(r, s); \
                    V##_store(a, V##_add(pq, rs));                                                    \
                    V##_store(a + half, V##_add(p_q, r_s));                                           \
                    V##_store(a + 2 * half, V##_sub(pq, rs));                                         \
                    V##_store(a + 3 * half, V##_sub(p_q, r_s));                                       \
                }                                                                                     \
        for (; half < n; half *= 2)                                                                   \
            for (float *a = x; a < x + half; a += WIDTH) {                                            \
                const V p = V##_load(a), q = V##_load(a + half);                                      \
                V##_store(a, V##_add(p, q));                                                          \
                V##_store(a + half, V##_sub(p, q));                                                   \
            }                                                                                         \
    }                                                                                                 \
    static TARGET void V##_base(const rs_hadamard *H, float *y, bool transpose)                       \
    {                                                                                                 \
        const size_t k = H->k, P = H->pow2, step = transpose ? k : 1, stride = transpose ? 1 : k;     \
        const V scale = V##_set((float)H->scale);                                                     \
        float in[MAX_K][2 * WIDTH];                                                                   \
        for (size_t c = 0; c < P; c += 2 * WIDTH) {                                                   \
            const size_t width = rs_pieces_min(P - c, 2 * WIDTH);                                     \
            for (size_t i = 0; i < k; i++) {                                                          \
                if (width < 2 * WIDTH)                                                                \
                    memset(in[i], 0, sizeof in[i]);                                                   \
                memcpy(in[i], y + i * P + c, width * sizeof(float));                                  \
            }                                                                                         \
            for (size_t j = 0; j < k; j += 4) {                                                       \
                const float *s = H->columns + j * stride;                                             \
                V sum[4][2];                                                                          \
                for (int l = 0; l < 4; l++)                                                           \
                    sum[l][0] = sum[l][1] = V##_set(0);                                               \
                for (size_t i = 0; i < k; i++) {                                                      \
                    const V a = V##_load(in[i]), b = V##_load(in[i] + WIDTH);                         \
                    for (size_t l = 0; l < 4; l++) {                                                  \
                        const V sign = V##_set(s[i * step + l * stride]);                             \
                        sum[l][0] = V##_fma(sign, a, sum[l][0]);                                      \
                        sum[l][1] = V##_fma(sign, b, sum[l][1]);                                      \
                    }                                                                                 \
                }                                                                                     \
                for (size_t l = 0; l < 4; l++) {                                                      \
                    float out[2 * WIDTH];                                                             \
                    V##_store(out, V##_mul(sum[l][0], scale));                                        \
                    V##_store(out + WIDTH, V##_mul(sum[l][1], scale));                                \
                    memcpy(y + (j + l) * P + c, out, width * sizeof(float));                          \
                }                                                                                     \
            }                                                                                         \
        }                                                                                             \
    }                                                                                                 \
    static TARGET void V##_scale(size_t n, float *x, float scale)                                     \
    {                                                                                                 \
        for (size_t i = 0; i < n; i += WIDTH)                                                         \
            V##_store(x + i, V##_mul(V##_load(x + i), V##_set(scale)));                               \
    }                                                                                                 \
    static void V##_piece(void *context, size_t piece)                                                \
    {                                                                                                 \
        const struct rows *r = context;                                                               \
        const rs_hadamard *H = r->H;                                                                  \
        const size_t end = rs_pieces_min(r->B, (piece + 1) * r->rows);                                \
        for (size_t b = piece * r->rows; b < end; b++)                                                \
            for (float *y = r->x + b * r->ld, *stop = y + H->n; y < stop; y += H->block) {            \
                for (size_t i = 0; i < H->k; i++)                                                     \
                    (H->pow2 < WIDTH ? sylvester : V##_sylvester)(H->pow2, y + i * H->pow2);          \
                if (H->k > 1)                                                                         \
                    V##_base(H, y, r->transpose);                                                     \
                else if (H->pow2 >= WIDTH)                                                            \
                    V##_scale(H->pow2, y, (float)H->scale);                                           \
                else                                                                                  \
                    base(H, y, false);                                                                \
            }                                                                                         \
    }
ROWS(v8, 8, RS_AVX2)
ROWS(v16, 16, RS_AVX512)

void rs_hadamard_rows_avx2(const rs_hadamard *H, size_t B, float *x, size_t ld, bool transpose)
{
    struct rows r = {H, B, ld, rs_pieces_rows(H->n), transpose, x};
    rs_threads_for(rs_pieces_count(B, r.rows), v8_piece, &r);
}

// Below 32 columns of the base half of the wide vectors would stay empty.
void rs_hadamard_rows_avx512(const rs_hadamard *H, size_t B, float *x, size_t ld, bool transpose)
{
    struct rows r = {H, B, ld, rs_pieces_rows(H->n), transpose, x};
    rs_threads_for(rs_pieces_count(B, r.rows), H->k > 1 && H->pow2 < 32 ? v8_piece : v16_piece, &r);
}

#endif
