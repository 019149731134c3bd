// SPDX-License-Identifier: Apache-2.0
// The twin of the CUDA kernels for builds without nvcc: no tables, and the reason.
#include "kernels/int_gemm.h"

const rs_kernels *rs_kernels_cuda(void)
{
    return NULL;
}

const char *rs_kernels_cuda_reason(void)
{
    return "built without CUDA kernels";
}

const char *rs_kernels_cuda_device(void)
{
    return NULL;
}

const rs_int_kernels *rs_int_cuda_at(size_t i)
{
    (void)i;
    return NULL;
}

const rs_int_kernels *rs_int_cuda(void)
{
    return NULL;
}
