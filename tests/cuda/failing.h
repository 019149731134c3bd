// SPDX-License-Identifier: Apache-2.0
// A wait (rs_memory.settle) of a device that is lost in mid-run.
#ifndef RS_TESTS_CUDA_FAILING_H
#define RS_TESTS_CUDA_FAILING_H

#include "kernels/kernels.h"

static size_t left; // waits before it fails

static size_t failing_settle(const char **fault)
{
    const size_t n = rs_kernels_cuda()->memory->settle(fault);
    if (left == 0) *fault = "rs_k_test: unspecified launch failure";
    else left--;
    return n;
}

#endif
