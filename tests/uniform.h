// SPDX-License-Identifier: Apache-2.0
// Numbers for unit programs, the same in every run.
#ifndef RS_TESTS_UNIFORM_H
#define RS_TESTS_UNIFORM_H

#include <stdint.h>

static uint32_t seed = 1;
static float uniform(void) // -1 .. 1
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) * 0x1p-23f - 1;
}

#endif
