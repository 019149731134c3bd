// SPDX-License-Identifier: Apache-2.0
// All that the CUDA back end asks of the CUDA runtime beside launching: the device, its memory, its order, its errors. runtime.cu does it; the tests have a twin that needs no device.
#ifndef RS_KERNELS_CUDA_RUNTIME_H
#define RS_KERNELS_CUDA_RUNTIME_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "kernels/memory.h"

// Takes the device, once. NULL: it is there; otherwise why not, in one line.
const char *rs_cuda_open(void);
// Name, architecture, processors and clock in one line.
const char *rs_cuda_device(void);
extern const rs_memory rs_cuda_memory;
// How many blocks to launch for so many pieces of work (at least 1): a kernel's blocks go over the pieces in strides.
unsigned rs_cuda_blocks(size_t pieces);
// A number in device memory that counts refused rows.
unsigned long long *rs_cuda_refused(void);
// Bytes of block memory that a kernel may have, at least 48 KiB; more than that only where it has been allowed.
size_t rs_cuda_block_memory(void);
void rs_cuda_allow(const void *kernel, size_t bytes);
// Bytes of the process on the device under the key of two numbers, put there once; NULL where there is no memory. from NULL: only what is there, otherwise NULL.
const void *rs_cuda_keep(size_t key, size_t other, const void *from, size_t bytes);
// Notes whether the launch of that kernel failed; and a failure in words, of which settle tells the first.
void rs_cuda_launched(const char *kernel);
void rs_cuda_note(const char *what, const char *failure);
// A function of a library that comes with CUDA ("cublas"), which is opened at run time; NULL: not on this machine.
void *rs_cuda_symbol(const char *library, const char *name);
// Device memory for what an operation hands from one of its kernels to the next, the same for all operations; bytes: at most rs_cuda_scratch_bytes. NULL, which is noted, where there is none.
void *rs_cuda_scratch(size_t bytes);
size_t rs_cuda_scratch_bytes(void);

#ifdef __cplusplus
}
#endif

#endif
