// SPDX-License-Identifier: Apache-2.0
// A machine as the CUDA runtime would show it.
#ifndef RS_TESTS_CUDA_CUDART_H
#define RS_TESTS_CUDA_CUDART_H

#include <stdbool.h>
#include <stddef.h>

typedef struct rs_machine {
    int driver, runtime;        // versions, 13000 for 13.0; driver 0: none
    int devices, major, minor;
    size_t memory;              // bytes that one allocation may have
    int count_error, launch;    // of counting devices, and of a launch, which is told once; 0: none
    bool pinned;                // there is page-locked memory
    int lost;                   // an error that everything ends with, once a kernel has run
} rs_machine;

#ifdef __cplusplus
extern "C" {
#endif

// What the runtime shows from now on.
void rs_machine_be(const rs_machine *m);
// Arrays that are not freed.
size_t rs_machine_arrays(void);

#ifdef __cplusplus
}
#endif

#endif
