// SPDX-License-Identifier: Apache-2.0
// What kernels/cuda/runtime.cu says of machines without a driver, with an old one, without a device, with one that is too old or that no kernel is for, without memory, and of a device that fails
// in mid-run: one line each, and nothing is left behind.
#include "kernels/cuda/runtime.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/check.h"
#include "tests/cuda/cudart/cudart.h"

static const rs_machine good = {.driver = 13000, .runtime = 13000, .devices = 1, .major = 9, .minor = 0, .memory = 64 << 20};

static void refused(rs_machine m, const char *want)
{
    rs_machine_be(&m);
    const size_t before = rs_machine_arrays();
    const char *why = rs_cuda_open();
    CHECKF(why != NULL && strcmp(why, want) == 0, "expected: %s; said: %s", want, why != NULL ? why : "nothing");
    CHECKF(rs_machine_arrays() == before, "%s: %zu arrays are left", want, rs_machine_arrays() - before);
}

static void reasons(void)
{
    rs_machine m = good;
    m.driver = m.devices = 0;
    m.count_error = 35;
    refused(m, "no NVIDIA driver");
    m = good, m.driver = 12040, m.count_error = 35;
    refused(m, "the NVIDIA driver is for CUDA 12.4, the kernels need 13.0");
    m = good, m.devices = 0, m.count_error = 100;
    refused(m, "no device");
    m = good, m.devices = 0;
    refused(m, "no device");
    m = good, m.count_error = 719;
    refused(m, "no device: error 719");
    m = good, m.major = 7;
    refused(m, "architecture 7.0; the kernels need 7.5 or newer");
    m = good, m.major = 12, m.launch = 209;
    refused(m, "architecture 12.0; this build has no kernels for it");
    m.launch = 222;
    refused(m, "architecture 12.0; this build has no kernels for it");
    m = good, m.memory = 0;
    refused(m, "too little memory on the device: error 2");
    m.memory = 1 << 20; // and none for the scratch
    refused(m, "too little memory on the device: error 2");
    m = good, m.launch = 719;
    refused(m, "device 0: error 719");
}

static void failing(void)
{
    const rs_memory *c = &rs_cuda_memory;
    const char *fault;
    char in[8] = "1234567", out[8] = "", more[8] = "";
    rs_machine m = good;
    rs_machine_be(&good);
    const size_t before = rs_machine_arrays();
    if (!CHECK(rs_cuda_open() == NULL)) return;
    CHECKF(strcmp(rs_cuda_device(), "Test Device, architecture 9.0, 7 processors, 1500 MHz, memory 2000 MHz, 64 of 65 MiB free, driver for CUDA 13.0") == 0, "%s", rs_cuda_device());
    CHECK(c->alloc((size_t)65 << 20) == NULL && c->settle(&fault) == 0 && fault == NULL); // no memory is no fault
    CHECK(c->room() == good.memory);
    char *p = c->alloc(sizeof in), *q = c->alloc(sizeof in);
    if (!CHECK(p != NULL && q != NULL)) return;
    c->put(p, in, sizeof in);
    c->move(q, p, sizeof in);
    c->get(out, q, sizeof in);
    CHECK(strcmp(in, out) == 0);
    *rs_cuda_refused() += 3;
    CHECK(c->settle(&fault) == 3 && fault == NULL && c->settle(&fault) == 0 && fault == NULL);
    m.launch = 719; // a launch that fails is told once, by the name of its kernel
    rs_machine_be(&m);
    rs_cuda_launched("rs_k_one");
    rs_cuda_launched("rs_k_two");
    (void)c->settle(&fault);
    CHECKF(fault != NULL && strcmp(fault, "rs_k_one: error 719") == 0, "%s", fault);
    (void)c->settle(&fault);
    CHECK(fault == NULL);
    CHECK(rs_cuda_keep(4, 1, in, sizeof in) != NULL && rs_cuda_keep(4, 1, NULL, sizeof in) == rs_cuda_keep(4, 1, NULL, sizeof in));
    for (size_t i = 0; i < 40; i++) // more than are kept
        CHECK(rs_cuda_keep(100 + i, 1, in, sizeof in) != NULL);
    CHECKF(rs_machine_arrays() - before == 2 + 2 + 16, "%zu arrays", rs_machine_arrays() - before);
    CHECK(rs_cuda_block_memory() == 99 << 10);
    rs_cuda_allow(in, 99 << 10);
    CHECK(c->settle(&fault) == 0 && fault == NULL);
    rs_cuda_allow(in, 100 << 10);
    (void)c->settle(&fault);
    CHECKF(fault != NULL && strcmp(fault, "block memory: error 1") == 0, "%s", fault);
    CHECK(rs_cuda_keep(5, 1, NULL, 1) == NULL);
    rs_cuda_note("cuBLAS", "first"); // failures in words, of which the first is told
    rs_cuda_note("cuBLAS", "second");
    (void)c->settle(&fault);
    CHECKF(fault != NULL && strcmp(fault, "cuBLAS: first") == 0, "%s", fault);
    CHECK(rs_cuda_symbol("no-such-library", "cublasCreate_v2") == NULL);
    CHECK(rs_cuda_scratch(1) != NULL && rs_cuda_scratch(1) == rs_cuda_scratch(rs_cuda_scratch_bytes()) && c->settle(&fault) == 0 && fault == NULL);
    CHECK(rs_cuda_scratch(rs_cuda_scratch_bytes() + 1) == NULL && c->settle(&fault) == 0);
    CHECKF(fault != NULL && strcmp(fault, "scratch: error 2") == 0, "%s", fault);
    m = good, m.lost = 700; // a device that is lost
    rs_machine_be(&m);
    c->get(more, q, sizeof in);
    CHECK(memcmp(more, "\xff\xff\xff\xff\xff\xff\xff\xff", sizeof more) == 0); // nothing that could be taken for a result
    CHECK(c->alloc(1) == NULL && c->room() == 0);
    (void)c->settle(&fault);
    CHECKF(fault != NULL && strcmp(fault, "copy from the device: error 700") == 0, "%s", fault);
    (void)c->settle(&fault);
    CHECK(fault != NULL); // it stays lost
    c->release(p);
    c->release(q);
    CHECK(rs_machine_arrays() - before == 1 + 16 + 1); // and the scratch
}

// Copies beside the work: more than the page-locked buffers hold, in the order they were sent, and none before it is waited for; without such buffers the same bytes.
static void sending(bool pinned)
{
    enum { BYTES = 150 << 20 };
    const rs_memory *c = &rs_cuda_memory;
    const char *fault;
    rs_machine m = good;
    m.memory = (size_t)BYTES;
    m.pinned = pinned;
    rs_machine_be(&m);
    unsigned char *from = malloc(BYTES), *to = c->alloc(BYTES);
    if (!CHECK(from != NULL && to != NULL)) return;
    for (size_t i = 0; i < BYTES; i++) from[i] = (unsigned char)(i * 7 ^ i >> 13 ^ i >> 24);
    (void)c->settle(&fault); // what went before
    c->zero(to, BYTES);
    c->send(to, from, 1000);
    CHECK(pinned == (to[5] == 0 && to[5] != from[5]));
    c->meet();
    CHECK(memcmp(to, from, 1000) == 0 && to[1000] == 0);
    c->send(to, from, BYTES);
    CHECK(pinned == (to[BYTES - 1] == 0));
    c->meet();
    CHECK(memcmp(to, from, BYTES) == 0);
    c->send(to, from + 1, 3);
    CHECK(c->settle(&fault) == 0 && fault == NULL && memcmp(to, from + 1, 3) == 0);
    c->send(to, from, 0);
    m.lost = 700;
    rs_machine_be(&m);
    c->send(to, from, 10);
    c->meet();
    (void)c->settle(&fault);
    CHECKF(fault != NULL && strcmp(fault, "copy to the device: error 700") == 0, "%s", fault);
    free(from);
    rs_machine_be(&good);
    c->release(to);
}

static void blocks(void)
{
    CHECK(rs_cuda_blocks(0) == 1 && rs_cuda_blocks(5) == 5 && rs_cuda_blocks(SIZE_MAX) > 1000 && rs_cuda_blocks(SIZE_MAX) <= INT32_MAX);
}

int main(void)
{
    reasons();
    failing();
    blocks();
    fflush(stdout);
    const pid_t child = fork(); // what there is of page-locked memory is asked once
    if (child == 0) {
        sending(false);
        fflush(stdout);
        _exit(check_failed != 0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    sending(true);
    return check_report();
}
