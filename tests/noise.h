// SPDX-License-Identifier: Apache-2.0
// Arrays of unit programs that free them themselves, and noise in them.
#ifndef RS_TESTS_NOISE_H
#define RS_TESTS_NOISE_H

#include <stdlib.h>

#include "tests/uniform.h"

static void *take(size_t n, size_t size)
{
    void *p = malloc(n * size + 1);
    if (p == NULL)
        exit(1);
    return p;
}

static float *noise(size_t n) // -1 .. 1
{
    float *p = take(n, sizeof *p);
    for (size_t i = 0; i < n; i++)
        p[i] = uniform();
    return p;
}

#endif
