// SPDX-License-Identifier: Apache-2.0
// Memory of one case of a unit program, and noise in it.
#ifndef RS_TESTS_TAKEN_H
#define RS_TESTS_TAKEN_H

#include <stdlib.h>

#include "tests/uniform.h"

// Everything taken here is given back at the end of a case.
static void *taken[512];
static size_t takes;
static void *take(size_t bytes)
{
    void *p = takes < sizeof taken / sizeof *taken ? aligned_alloc(64, (bytes + 64) / 64 * 64) : NULL;
    if (p == NULL)
        exit(1);
    return taken[takes++] = p;
}
static void give_back(void)
{
    while (takes > 0)
        free(taken[--takes]);
}
static float *noise(size_t n, float size)
{
    float *p = take(n * sizeof *p);
    for (size_t i = 0; i < n; i++)
        p[i] = size * uniform();
    return p;
}

#endif
