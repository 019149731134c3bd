// SPDX-License-Identifier: Apache-2.0
// x <- x H on f32 rows: fast Walsh-Hadamard steps on the power-of-two part, +-1 sums for the base.
#include "kernels/cpu/ops.h"
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
