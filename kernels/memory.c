// SPDX-License-Identifier: Apache-2.0
// The memory of the process in the terms of that of a device.
#include "kernels/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void *take(size_t bytes)
{
    return bytes < SIZE_MAX - 256 ? aligned_alloc(256, bytes / 256 * 256 + 256) : NULL;
}

static void copy(void *to, const void *from, size_t bytes)
{
    if (bytes > 0)
        memcpy(to, from, bytes);
}

static void zero(void *to, size_t bytes)
{
    if (bytes > 0)
        memset(to, 0, bytes);
}

static void meet(void)
{
}

static size_t settle(const char **fault)
{
    *fault = NULL;
    return 0;
}

static size_t room(void)
{
    return SIZE_MAX;
}

const rs_memory rs_memory_process = {.alloc = take, .release = free, .put = copy, .get = copy, .move = copy, .zero = zero, .send = copy, .meet = meet, .settle = settle, .room = room};
