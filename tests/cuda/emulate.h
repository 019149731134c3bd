// SPDX-License-Identifier: Apache-2.0
// What a test may turn about the device it runs on: of the emulated one, and (device.c) of a real one, which has one order and no such knobs.
#ifndef RS_TESTS_CUDA_EMULATE_H
#define RS_TESTS_CUDA_EMULATE_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// Whether this is the emulated device.
bool rs_trial_emulated(void);
// In which order the threads of a block run between two barriers, and what their memory holds before it is written: 0 forward, 1 backward, 2 mixed.
void rs_trial_order(int order);
// Most blocks of a launch; 0: no limit.
void rs_trial_blocks(size_t most);
// Bytes of block memory that a kernel may be allowed.
void rs_trial_block_memory(size_t bytes);
// Bytes of scratch that operations share; SIZE_MAX: as on a device.
void rs_trial_scratch(size_t bytes);
// Bytes that alloc still gives; SIZE_MAX: all there are.
void rs_trial_memory(size_t bytes);
// Bytes that are taken and not released; 0 on a real device.
size_t rs_trial_taken(void);

// What cuBLAS is on the device from now on; before it is first used: RS_BLAS_GONE, RS_BLAS_OLD (functions are missing), RS_BLAS_REFUSES (it cannot start); and at any time RS_BLAS_GOOD, RS_BLAS_FAILS.
enum rs_trial_blas { RS_BLAS_GOOD, RS_BLAS_GONE, RS_BLAS_OLD, RS_BLAS_REFUSES, RS_BLAS_FAILS };
void rs_trial_blas(enum rs_trial_blas be);
// Products it has computed.
size_t rs_trial_blas_calls(void);

// Memory of the device that need not be there until it is touched, if possible; NULL: no.
void *rs_trial_wide(size_t bytes);
void rs_trial_wide_release(void *p, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
