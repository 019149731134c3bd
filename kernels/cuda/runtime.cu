// SPDX-License-Identifier: Apache-2.0
// The CUDA runtime, behind runtime.h: the first device it names, its default stream and one for copies beside it, one thread at a time.
#include "kernels/cuda/runtime.h"

#include <cuda_runtime.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "kernels/cuda/gpu.h"

extern "C" {
#include "kernels/threads.h"
}

enum { KEPT = 16, LEAST = 75, STAGES = 4, STAGE = 16 << 20, SLICE = 512 << 10, SCRATCH = 32 << 20 }; // LEAST: architecture 7.5; bytes of a page-locked buffer, and of it that one thread fills at a time

static char why_not[160], device_line[384], fault_line[256], told[256];
static unsigned long long *refused;
static int block_memory = 48 << 10;
static void *scratch;
static struct {
    size_t key, other;
    void *p;
} kept[KEPT];
static int n_kept;
static cudaStream_t copies;
static cudaEvent_t sent;
static struct {
    char *bytes; // page-locked
    cudaEvent_t free;
} stage[STAGES];
static int stages = -1, next_stage; // -1: not asked for yet; 0: there are none

// The first thing that failed is kept until settle tells it.
void rs_cuda_note(const char *what, const char *failure)
{
    if (fault_line[0] == 0)
        snprintf(fault_line, sizeof fault_line, "%s: %s", what, failure);
}

static void note(const char *what, cudaError_t error)
{
    if (error != cudaSuccess)
        rs_cuda_note(what, cudaGetErrorString(error));
}

static const char *refuse(const char *what, cudaError_t error)
{
    (void)cudaFree(refused);
    (void)cudaFree(scratch);
    refused = NULL;
    scratch = NULL;
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
    if (error == cudaSuccess)
        error = cudaMalloc(&scratch, SCRATCH);
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
    (void)cudaDeviceGetAttribute(&block_memory, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0);
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
    if (p != NULL)
        note("kernels", cudaDeviceSynchronize());
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
    note("copy on the device", cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, 0));
}

static void zero(void *to, size_t bytes)
{
    note("zeros on the device", cudaMemsetAsync(to, 0, bytes, 0));
}

// The second stream and its buffers. What cannot be had is done without.
static int open_stages(void)
{
    if (cudaStreamCreateWithFlags(&copies, cudaStreamNonBlocking) != cudaSuccess || cudaEventCreateWithFlags(&sent, cudaEventDisableTiming) != cudaSuccess) {
        (void)cudaGetLastError();
        return 0;
    }
    int n = 0;
    while (n < STAGES && cudaHostAlloc((void **)&stage[n].bytes, STAGE, cudaHostAllocDefault) == cudaSuccess && cudaEventCreateWithFlags(&stage[n].free, cudaEventDisableTiming) == cudaSuccess)
        n++;
    (void)cudaGetLastError();
    return n;
}

struct filling {
    char *to;
    const char *from;
    size_t bytes;
};

static void fill_slice(void *context, size_t i)
{
    const struct filling *f = (const struct filling *)context;
    const size_t at = i * SLICE, left = f->bytes - at;
    memcpy(f->to + at, f->from + at, left < SLICE ? left : (size_t)SLICE);
}

static void send(void *to, const void *from, size_t bytes)
{
    if (stages < 0)
        stages = open_stages();
    if (stages == 0) {
        put(to, from, bytes);
        return;
    }
    for (size_t at = 0; at < bytes; at += STAGE) {
        const int i = next_stage;
        struct filling f = {stage[i].bytes, (const char *)from + at, bytes - at < STAGE ? bytes - at : (size_t)STAGE};
        note("copy to the device", cudaEventSynchronize(stage[i].free)); // of what the buffer held before
        rs_threads_for((f.bytes + SLICE - 1) / SLICE, fill_slice, &f);
        note("copy to the device", cudaMemcpyAsync((char *)to + at, f.to, f.bytes, cudaMemcpyHostToDevice, copies));
        note("copy to the device", cudaEventRecord(stage[i].free, copies));
        next_stage = (i + 1) % stages;
    }
}

static void meet(void)
{
    if (stages <= 0)
        return;
    note("copy to the device", cudaEventRecord(sent, copies));
    note("copy to the device", cudaStreamWaitEvent(0, sent, 0));
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

static size_t room(void)
{
    size_t free_bytes = 0, all = 0;
    const cudaError_t error = cudaMemGetInfo(&free_bytes, &all);
    note("memory of the device", error);
    return error == cudaSuccess ? free_bytes : 0;
}

const rs_memory rs_cuda_memory = {take, release, put, get, move, zero, send, meet, settle, room};

unsigned rs_cuda_blocks(size_t pieces)
{
    const size_t most = 1u << 24;
    return (unsigned)(pieces == 0 ? 1 : pieces < most ? pieces : most);
}

size_t rs_cuda_block_memory(void)
{
    return (size_t)block_memory;
}

void rs_cuda_allow(const void *kernel, size_t bytes)
{
    if (bytes > 48 << 10)
        note("block memory", cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes));
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
    if (from == NULL)
        return NULL;
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

void *rs_cuda_symbol(const char *library, const char *name)
{
    int runtime = 0;
    (void)cudaRuntimeGetVersion(&runtime);
    const int majors[] = {runtime / 1000, 13, 12}; // of the kernels first
    for (size_t i = 0; i < sizeof majors / sizeof *majors; i++) {
        char file[64];
        snprintf(file, sizeof file, "lib%s.so.%d", library, majors[i]);
        void *p = dlopen(file, RTLD_LAZY | RTLD_LOCAL); // never closed
        if (p != NULL)
            return dlsym(p, name);
    }
    return NULL;
}

void *rs_cuda_scratch(size_t bytes)
{
    if (bytes <= SCRATCH)
        return scratch;
    note("scratch", cudaErrorMemoryAllocation);
    return NULL;
}

size_t rs_cuda_scratch_bytes(void)
{
    return SCRATCH;
}
