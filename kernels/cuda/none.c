// SPDX-License-Identifier: Apache-2.0
// The twin of the CUDA kernels for builds without nvcc: no table, and the reason.
#include "kernels/kernels.h"

const rs_kernels *rs_kernels_cuda(void)
{
    return NULL;
}

const char *rs_kernels_cuda_reason(void)
{
    return "built without CUDA kernels";
}
