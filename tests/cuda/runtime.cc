// SPDX-License-Identifier: Apache-2.0
// The twin of kernels/cuda/runtime.cu: memory of the process as that of the device, filled with a pattern, each array with its own ends.
#include "kernels/cuda/runtime.h"

#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernels/cuda/gpu.h"
#include "tests/cuda/emulate.h"

static size_t most_blocks, room = SIZE_MAX, taken, settles = SIZE_MAX;
static unsigned long long refused;
enum { SCRATCH = 32 << 20 };
static size_t scratch_bytes = SCRATCH;
static void *scratch;
static const char *failed;
static char failure[128];

enum { KEPT = 16 };
static struct {
    size_t key, other;
    void *p;
} kept[KEPT];

extern "C" void rs_trial_blocks(size_t most)
{
    most_blocks = most;
}

extern "C" void rs_trial_memory(size_t bytes)
{
    room = bytes;
}

extern "C" void *rs_trial_wide(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p != MAP_FAILED ? p : NULL;
}

extern "C" void rs_trial_wide_release(void *p, size_t bytes)
{
    munmap(p, bytes);
}

// For tools linked with this device: RS_TRIAL_MEMORY bytes of memory beside the scratch, and a device that is lost behind RS_TRIAL_SETTLES waits.
static size_t from_environment(const char *name)
{
    const char *value = getenv(name);
    return value != NULL ? (size_t)strtoull(value, NULL, 10) : SIZE_MAX;
}

extern "C" const char *rs_cuda_open(void)
{
    scratch = malloc(SCRATCH);
    room = from_environment("RS_TRIAL_MEMORY");
    settles = from_environment("RS_TRIAL_SETTLES");
    return NULL;
}

extern "C" const char *rs_cuda_device(void)
{
    return "emulated by this processor";
}

static void *take(size_t bytes)
{
    if (bytes > room) return NULL;
    void *p = malloc(bytes + (bytes == 0));
    if (p == NULL) return NULL;
    memset(p, 0xff, bytes);
    taken += malloc_usable_size(p);
    room -= room == SIZE_MAX ? 0 : malloc_usable_size(p) < room ? malloc_usable_size(p) : room;
    return p;
}

static size_t left(void)
{
    return room;
}

extern "C" size_t rs_trial_taken(void)
{
    return taken;
}

static void put(void *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
}

static void zero(void *to, size_t bytes)
{
    memset(to, 0, bytes);
}

// What was sent is there when it is waited for, and not before.
enum { SENT = 256 };
static struct {
    void *to, *bytes;
    size_t n;
} sent[SENT];
static int n_sent;

static void meet(void)
{
    for (int i = 0; i < n_sent; i++) {
        memcpy(sent[i].to, sent[i].bytes, sent[i].n);
        free(sent[i].bytes);
    }
    n_sent = 0;
}

static void release(void *p)
{
    if (p == NULL) return;
    meet();
    taken -= malloc_usable_size(p);
    room += room == SIZE_MAX ? 0 : malloc_usable_size(p);
    free(p);
}

static void send(void *to, const void *from, size_t bytes)
{
    void *own = n_sent < SENT ? malloc(bytes + (bytes == 0)) : NULL;
    if (own == NULL) { // the earlier ones are there early, as they may be
        meet();
        memcpy(to, from, bytes);
        return;
    }
    memcpy(own, from, bytes);
    memset(to, 0xff, bytes);
    sent[n_sent].to = to;
    sent[n_sent].bytes = own;
    sent[n_sent++].n = bytes;
}

static size_t settle(const char **fault)
{
    meet();
    if (settles == 0 && failed == NULL) failed = "kernels: the device is lost";
    settles -= settles > 0 && settles < SIZE_MAX;
    const size_t n = (size_t)refused;
    *fault = failed;
    failed = NULL;
    refused = 0;
    return n;
}

extern "C" const rs_memory rs_cuda_memory = {take, release, put, put, put, zero, send, meet, settle, left};

extern "C" void rs_cuda_note(const char *what, const char *text)
{
    if (failed != NULL) return;
    snprintf(failure, sizeof failure, "%s: %s", what, text);
    failed = failure;
}

extern "C" void rs_trial_scratch(size_t bytes)
{
    scratch_bytes = bytes < SCRATCH ? bytes : (size_t)SCRATCH;
}

extern "C" size_t rs_cuda_scratch_bytes(void)
{
    return scratch_bytes;
}

extern "C" void *rs_cuda_scratch(size_t bytes)
{
    if (scratch == NULL || bytes > scratch_bytes) {
        rs_cuda_note("scratch", "out of memory");
        return NULL;
    }
    memset(scratch, 0xff, bytes);
    return scratch;
}

extern "C" unsigned rs_cuda_blocks(size_t pieces)
{
    const size_t most = most_blocks != 0 ? most_blocks : 65536;
    return (unsigned)(pieces == 0 ? 1 : pieces < most ? pieces : most);
}

static size_t block_memory = 64 << 10; // of architecture 7.5, the least

extern "C" void rs_trial_block_memory(size_t bytes)
{
    block_memory = bytes;
}

extern "C" size_t rs_cuda_block_memory(void)
{
    return block_memory;
}

extern "C" void rs_cuda_allow(const void *kernel, size_t bytes)
{
    if (bytes <= block_memory)
        rs_emu_allow(kernel, bytes);
    else
        rs_cuda_note("block memory", "invalid argument");
}

extern "C" unsigned long long *rs_cuda_refused(void)
{
    return &refused;
}

static void drop(void)
{
    for (int i = 0; i < KEPT; i++) free(kept[i].p);
}

extern "C" const void *rs_cuda_keep(size_t key, size_t other, const void *from, size_t bytes)
{
    static int used;
    for (int i = 0; i < used; i++)
        if (kept[i].key == key && kept[i].other == other) return kept[i].p;
    if (from == NULL) return NULL;
    if (used == 0) atexit(drop);
    if (used == KEPT) {
        taken += malloc_usable_size(kept[--used].p);
        release(kept[used].p);
    }
    void *p = take(bytes);
    if (p == NULL) {
        rs_cuda_note("signs of a Hadamard matrix", "out of memory");
        return NULL;
    }
    taken -= malloc_usable_size(p); // it is not the caller's to release
    memcpy(p, from, bytes);
    kept[used].key = key;
    kept[used].other = other;
    kept[used++].p = p;
    return p;
}
