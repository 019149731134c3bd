// SPDX-License-Identifier: Apache-2.0
// The CUDA runtime of the described machine.
#include "tests/cuda/cudart/cudart.h"

#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rs_machine now;
static size_t arrays;
static bool told;

// What was queued in the one stream beside the default one, which is done at once: copies wait here until somebody waits for them.
enum { MOST = 64 };
static struct {
    void *to;
    const void *from;
    size_t bytes;
} queue[MOST];
static size_t queued, done; // since the start; the queue is a ring

struct rs_machine_stream {
    int unused;
};
struct rs_machine_event {
    size_t behind; // so many copies
};

static void wait_for(size_t copies)
{
    for (; done < copies && done < queued; done++)
        if (now.lost == 0) memcpy(queue[done % MOST].to, queue[done % MOST].from, queue[done % MOST].bytes);
}

extern "C" void rs_machine_be(const rs_machine *m)
{
    now = *m;
    told = false;
}

extern "C" size_t rs_machine_arrays(void)
{
    return arrays;
}

static cudaError_t state(void)
{
    return (cudaError_t)now.lost;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = now.driver;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = now.runtime;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = now.devices;
    return (cudaError_t)now.count_error;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int)
{
    snprintf(p->name, sizeof p->name, "Test Device");
    p->major = now.major;
    p->minor = now.minor;
    p->multiProcessorCount = 7;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int)
{
    *value = attribute == cudaDevAttrClockRate ? 1500000 : attribute == cudaDevAttrMaxSharedMemoryPerBlockOptin ? 99 << 10 : 2000000;
    return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void *, cudaFuncAttribute, int value)
{
    return value <= 99 << 10 ? state() : cudaErrorInvalidValue;
}

cudaError_t cudaSetDevice(int)
{
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *all)
{
    *free_bytes = now.memory;
    *all = now.memory + (1 << 20);
    return state();
}

cudaError_t cudaMalloc(void **p, size_t bytes)
{
    if (now.lost != 0) return state();
    if (bytes > now.memory || (*p = malloc(bytes)) == NULL) return cudaErrorMemoryAllocation;
    arrays++;
    return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    arrays -= p != NULL;
    free(p);
    return state();
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind)
{
    if (now.lost == 0) memcpy(to, from, bytes);
    return state();
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream)
{
    if (stream == NULL) return cudaMemcpy(to, from, bytes, kind);
    wait_for(queued >= MOST ? queued - MOST + 1 : 0);
    queue[queued % MOST].to = to;
    queue[queued % MOST].from = from;
    queue[queued++ % MOST].bytes = bytes;
    return state();
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t)
{
    return cudaMemset(p, value, bytes);
}

cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned)
{
    *p = now.pinned ? malloc(bytes) : NULL;
    return *p != NULL ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    static struct rs_machine_stream one;
    *stream = &one;
    return flags == cudaStreamNonBlocking ? cudaSuccess : cudaErrorLaunchFailure;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t event, unsigned)
{
    wait_for(event->behind);
    return state();
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned)
{
    *event = (cudaEvent_t)calloc(1, sizeof **event);
    return *event != NULL ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t)
{
    event->behind = queued;
    return state();
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    wait_for(event->behind);
    return state();
}

cudaError_t cudaMemset(void *p, int value, size_t bytes)
{
    if (now.lost == 0) memset(p, value, bytes);
    return state();
}

cudaError_t cudaDeviceSynchronize(void)
{
    wait_for(queued);
    return state();
}

cudaError_t cudaGetLastError(void)
{
    const cudaError_t error = told ? cudaSuccess : (cudaError_t)now.launch;
    told = true;
    return error;
}

const char *cudaGetErrorString(cudaError_t error)
{
    static char text[32];
    snprintf(text, sizeof text, "error %d", (int)error);
    return text;
}
