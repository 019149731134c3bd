// SPDX-License-Identifier: Apache-2.0
// The CUDA runtime, behind runtime.h: the first device it names, its default stream, one thread at a time.
#include "kernels/cuda/runtime.h"

#include <cuda_runtime.h>
#include <stdio.h>
#include <string.h>

#include "kernels/cuda/gpu.h"

enum { KEPT = 16, LEAST = 75 }; // LEAST: architecture 7.5

static char why_not[160], device_line[384], fault_line[256], told[256];
static unsigned long long *refused;
static struct {
    size_t key, other;
    void *p;
} kept[KEPT];
static int n_kept;

// The first thing that failed is kept until settle tells it.
static void note(const char *what, cudaError_t error)
{
    if (error != cudaSuccess && fault_line[0] == 0)
        snprintf(fault_line, sizeof fault_line, "%s: %s", what, cudaGetErrorString(error));
}

static const char *refuse(const char *what, cudaError_t error)
{
    (void)cudaFree(refused);
    refused = NULL;
    snprintf(why_not, sizeof why_not, "%s%s%s", what, error != cudaSuccess ? ": " : "", error != cudaSuccess ? cudaGetErrorString(error) : "");
    (void)cudaGetLastError();
    return why_not;
}

// A kernel of each object is in it for every architecture: if this one loads, all do.
RS_KERNEL(1, 1) rs_k_probe(unsigned long long *counter)
{
    *counter = 0;
}

static void describe(int device, const struct cudaDeviceProp *p)
{
    int khz = 0, memory_khz = 0, driver = 0;
    size_t free_bytes = 0, all = 0;
    (void)cudaDeviceGetAttribute(&khz, cudaDevAttrClockRate, device);
    (void)cudaDeviceGetAttribute(&memory_khz, cudaDevAttrMemoryClockRate, device);
    (void)cudaDriverGetVersion(&driver);
    (void)cudaMemGetInfo(&free_bytes, &all);
    snprintf(device_line, sizeof device_line, "%.200s, architecture %d.%d, %d processors, %d MHz, memory %d MHz, %zu of %zu MiB free, driver for CUDA %d.%d", p->name, p->major, p->minor, p->multiProcessorCount,
             khz / 1000, memory_khz / 1000, free_bytes >> 20, all >> 20, driver / 1000, driver % 1000 / 10);
}

const char *rs_cuda_open(void)
{
    int driver = 0, runtime = 0, count = 0;
    cudaError_t error = cudaDriverGetVersion(&driver);
    if (error != cudaSuccess || driver == 0)
        return refuse("no NVIDIA driver", cudaSuccess);
    (void)cudaRuntimeGetVersion(&runtime);
    error = cudaGetDeviceCount(&count);
    if (error == cudaErrorInsufficientDriver) {
        snprintf(why_not, sizeof why_not, "the NVIDIA driver is for CUDA %d.%d, the kernels need %d.%d", driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
        return why_not;
    }
    if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0))
        return refuse("no device", cudaSuccess);
    if (error != cudaSuccess)
        return refuse("no device", error);
    struct cudaDeviceProp p;
    error = cudaGetDeviceProperties(&p, 0);
    if (error != cudaSuccess)
        return refuse("device 0", error);
    if (p.major * 10 + p.minor < LEAST) {
        snprintf(why_not, sizeof why_not, "architecture %d.%d; the kernels need 7.5 or newer", p.major, p.minor);
        return why_not;
    }
    error = cudaSetDevice(0);
    if (error == cudaSuccess)
        error = cudaMalloc((void **)&refused, sizeof *refused);
    if (error != cudaSuccess)
        return refuse(error == cudaErrorMemoryAllocation ? "too little memory on the device" : "device 0", error);
    unsigned long long *const counter = refused;
    RS_QUEUE(rs_k_probe, 1, 1, 0, counter);
    error = cudaGetLastError();
    if (error == cudaSuccess)
        error = cudaDeviceSynchronize();
    if (error == cudaErrorNoKernelImageForDevice || error == cudaErrorUnsupportedPtxVersion || error == cudaErrorInvalidDeviceFunction) {
        char text[80];
        snprintf(text, sizeof text, "architecture %d.%d; this build has no kernels for it", p.major, p.minor);
        return refuse(text, cudaSuccess);
    }
    if (error != cudaSuccess)
        return refuse("device 0", error);
    describe(0, &p);
    return NULL;
}

const char *rs_cuda_device(void)
{
    return device_line;
}

static void *take(size_t bytes)
{
    void *p = NULL;
    const cudaError_t error = cudaMalloc(&p, bytes + (bytes == 0));
    if (error == cudaSuccess)
        return p;
    (void)cudaGetLastError();
    if (error != cudaErrorMemoryAllocation)
        note("memory of the device", error);
    return NULL;
}

static void release(void *p)
{
    note("memory of the device", cudaFree(p));
}

static void put(void *to, const void *from, size_t bytes)
{
    note("copy to the device", cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice));
}

static void get(void *to, const void *from, size_t bytes)
{
    const cudaError_t error = cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost);
    note("copy from the device", error);
    if (error != cudaSuccess)
        memset(to, 0xff, bytes); // never what was there before
}

static void move(void *to, const void *from, size_t bytes)
{
    note("copy on the device", cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice));
}

static size_t settle(const char **fault)
{
    unsigned long long n = 0;
    note("kernels", cudaDeviceSynchronize());
    note("kernels", cudaMemcpy(&n, refused, sizeof n, cudaMemcpyDeviceToHost));
    note("kernels", cudaMemset(refused, 0, sizeof n));
    (void)cudaGetLastError();
    memcpy(told, fault_line, sizeof told);
    fault_line[0] = 0;
    *fault = told[0] != 0 ? told : NULL;
    return (size_t)n;
}

const rs_memory rs_cuda_memory = {take, release, put, get, move, settle};

unsigned rs_cuda_blocks(size_t pieces)
{
    const size_t most = 1u << 24;
    return (unsigned)(pieces == 0 ? 1 : pieces < most ? pieces : most);
}

unsigned long long *rs_cuda_refused(void)
{
    return refused;
}

const void *rs_cuda_keep(size_t key, size_t other, const void *from, size_t bytes)
{
    for (int i = 0; i < n_kept; i++)
        if (kept[i].key == key && kept[i].other == other)
            return kept[i].p;
    if (n_kept == KEPT)
        release(kept[--n_kept].p); // waits for the kernels that read it
    void *p = take(bytes);
    if (p == NULL) {
        note("signs of a Hadamard matrix", cudaErrorMemoryAllocation);
        return NULL;
    }
    put(p, from, bytes);
    kept[n_kept].key = key;
    kept[n_kept].other = other;
    kept[n_kept++].p = p;
    return p;
}

void rs_cuda_launched(const char *kernel)
{
    note(kernel, cudaGetLastError());
}
