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
    *value = attribute == cudaDevAttrClockRate ? 1500000 : 2000000;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int)
{
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *all)
{
    *free_bytes = now.memory;
    *all = now.memory + (1 << 20);
    return cudaSuccess;
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

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    return cudaMemcpy(to, from, bytes, kind);
}

cudaError_t cudaMemset(void *p, int value, size_t bytes)
{
    if (now.lost == 0) memset(p, value, bytes);
    return state();
}

cudaError_t cudaDeviceSynchronize(void)
{
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
