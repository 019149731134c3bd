// SPDX-License-Identifier: Apache-2.0
// The twin of the emulated device's knobs for a real one, which has none.
#include "kernels/kernels.h"
#include "tests/cuda/emulate.h"

bool rs_trial_emulated(void)
{
    return false;
}

void rs_trial_order(int order)
{
    (void)order;
}

void rs_trial_blocks(size_t most)
{
    (void)most;
}

void rs_trial_block_memory(size_t bytes)
{
    (void)bytes;
}

void rs_trial_scratch(size_t bytes)
{
    (void)bytes;
}

void rs_trial_memory(size_t bytes)
{
    (void)bytes;
}

void rs_trial_blas(enum rs_trial_blas be)
{
    (void)be;
}

size_t rs_trial_blas_calls(void)
{
    return 0;
}

void *rs_trial_wide(size_t bytes)
{
    return rs_kernels_cuda()->memory->alloc(bytes);
}

void rs_trial_wide_release(void *p, size_t bytes)
{
    (void)bytes;
    rs_kernels_cuda()->memory->release(p);
}

size_t rs_trial_taken(void)
{
    return 0;
}
