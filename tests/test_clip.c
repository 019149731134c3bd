// SPDX-License-Identifier: Apache-2.0
// The clip grid: its power function against pow, equal bits on every instruction set, the choice against a plain fp64 search, and the corner cases of numerics.md 1.
#include <math.h>

#include "kernels/clip.h"
#include "kernels/kernels.h"
#include "tests/check.h"

static uint64_t state = 1;
static float uniform(void) // in -1 .. 1
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(state >> 11) / 4503599627370496.0 - 1.0);
}
static float heavy(void) // a few large values among small ones, as in weights
{
    float u = uniform();
    return u * u * u * (1 + 3 * fabsf(uniform()));
}

static double exact_error(int bits, size_t n, const float *w, float s)
{
    const double hi = (1 << (bits - 1)) - 1, lo = -hi - 1;
    double sum = 0;
    for (size_t j = 0; j < n; j++) {
        double c = (double)rintf(w[j] / s);
        c = c < lo ? lo : c > hi ? hi : c;
        sum += pow(fabs(c * (double)s - (double)w[j]), 2.4);
    }
    return sum;
}

static void errors(void)
{
    static const size_t lengths[] = {1, 2, 15, 16, 17, 64, 100, 576, 1536, 4095};
    static float w[4096];
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
        for (int bits = 2; bits <= 8; bits++) {
            for (size_t j = 0; j < lengths[l]; j++) w[j] = heavy();
            float s = 0.013f * (float)bits;
            double want = exact_error(bits, lengths[l], w, s), got = rs_clip_error("reference", bits, lengths[l], w, s);
            // w / s is rounded to fp32, 2^(bits-25) at most, before the code is subtracted: that much, to first order, beside the power's own error
            double rounding = (double)lengths[l] * 2.4 * ldexp(1, bits - 25) * pow((double)s, 2.4);
            CHECKF(fabs(got - want) <= 4e-6 * want + rounding, "error of %zu values at %d bits: %.9g, exact %.9g", lengths[l], bits, got, want);
            CHECKF(got == rs_clip_error("avx2", bits, lengths[l], w, s) && got == rs_clip_error("avx512", bits, lengths[l], w, s) && got == rs_clip_error(NULL, bits, lengths[l], w, s),
                   "%zu values at %d bits: instruction sets differ", lengths[l], bits);
        }
}

static void choice(void)
{
    static float w[576];
    int8_t codes[576];
    for (int bits = 2; bits <= 8; bits++)
        for (int half = 0; half < 2; half++) {
            for (size_t j = 0; j < 576; j++) w[j] = heavy();
            float max = 0;
            for (size_t j = 0; j < 576; j++) max = fabsf(w[j]) > max ? fabsf(w[j]) : max;
            double best = INFINITY;
            for (int i = 0; i < 80; i++) {
                float s = (float)(1 - i / 100.0) * max / (float)((1 << (bits - 1)) - 1);
                uint16_t h;
                if (half) {
                    rs_kernels_reference()->f32_to_f16(1, &s, &h);
                    rs_kernels_reference()->f16_to_f32(1, &h, &s);
                }
                double e = exact_error(bits, 576, w, s);
                best = e < best ? e : best;
            }
            rs_clip clip = {.bits = bits, .steps = 80, .scale_f16 = half};
            double err;
            float s = rs_clip_span(&clip, 576, w, codes, &err);
            double reached = exact_error(bits, 576, w, s);
            CHECKF(reached <= best * (1 + 1e-5), "%d bits%s: error %.9g, best of the grid %.9g", bits, half ? " f16" : "", reached, best);
            CHECKF(fabs(err - reached) <= 4e-6 * reached + 576 * 2.4 * ldexp(1, bits - 25) * pow((double)s, 2.4), "%d bits: reported error", bits);
            for (size_t j = 0; j < 576; j++) {
                double c = (double)rintf(w[j] / s), hi = (1 << (bits - 1)) - 1;
                c = c > hi ? hi : c < -hi - 1 ? -hi - 1 : c;
                if (!CHECKF(c == codes[j], "%d bits: code %zu", bits, j)) break;
            }
        }
}

static void corners(void)
{
    int8_t codes[4] = {9, 9, 9, 9};
    float zeros[4] = {0, -0.0f, 0, 0}, tiny[4] = {0x1p-130f, 0, 0, 0}, w[4] = {7, -8, 3.5f, 0.5f};
    rs_clip clip = {.bits = 4, .steps = 80};
    CHECK(rs_clip_span(&clip, 4, zeros, codes, NULL) == 1 && codes[0] == 0 && codes[3] == 0);
    codes[0] = 9;
    CHECK(rs_clip_span(&clip, 4, tiny, codes, NULL) == 1 && codes[0] == 0);
    clip.scale_f16 = true; // a scale of 1e-6 is subnormal in f16 but not in f32
    float small[2] = {7e-6f, 0};
    CHECK(rs_clip_span(&clip, 2, small, codes, NULL) == 1 && codes[0] == 0);
    clip = (rs_clip){.bits = 4, .steps = 1};
    CHECK(rs_clip_span(&clip, 4, w, codes, NULL) == 8.0f / 7 && codes[0] == 6 && codes[1] == -7); // max / 7, no search
    rs_clip_codes(4, 4, w, 1, codes);
    CHECK(codes[0] == 7 && codes[1] == -8 && codes[2] == 4 && codes[3] == 0); // ties to even
}

int main(void)
{
    errors();
    choice();
    corners();
    return check_report();
}
