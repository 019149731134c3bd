// SPDX-License-Identifier: Apache-2.0
// Angles of the rotary position embedding: inverse frequencies, their scalings, and the tables of cosines and sines.
#include <math.h>

#include "kernels/kernels.h"

void rs_rope_tables(size_t S, size_t first, size_t h, const double *inv_freq, float *cos_, float *sin_)
{
    for (size_t s = 0; s < S; s++)
        for (size_t i = 0; i < h / 2; i++) {
            const double angle = (double)(first + s) * inv_freq[i];
            cos_[s * (h / 2) + i] = (float)cos(angle);
            sin_[s * (h / 2) + i] = (float)sin(angle);
        }
}

void rs_rope_frequencies(size_t h, double theta, double *inv_freq)
{
    for (size_t i = 0; i < h / 2; i++)
        inv_freq[i] = pow(theta, -2.0 * (double)i / (double)h);
}

// Wavelengths above original_context / low are stretched by factor, those below original_context / high stay, between them both are blended linearly.
void rs_rope_scale_llama3(size_t h, double factor, double low, double high, double original_context, double *inv_freq)
{
    for (size_t i = 0; i < h / 2; i++) {
        const double turns = original_context * inv_freq[i] / (2 * M_PI), blend = (turns - low) / (high - low);
        const double keep = turns > high ? 1 : turns < low ? 0 : blend;
        inv_freq[i] *= keep + (1 - keep) / factor;
    }
}

void rs_rope_scale_linear(size_t h, double factor, double *inv_freq)
{
    for (size_t i = 0; i < h / 2; i++)
        inv_freq[i] /= factor;
}
