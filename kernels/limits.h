// SPDX-License-Identifier: Apache-2.0
// What this machine can do at most, measured: the yardsticks for rates of the kernels.
#ifndef RS_KERNELS_LIMITS_H
#define RS_KERNELS_LIMITS_H

#include "kernels/int_gemm.h"

// Both are loops that do one thing only; the caller takes the time and divides.

// All threads of the pool together read from bytes at p (64-aligned, at least 1 MiB; larger than the caches for the rate of the memory) once. Returns the bytes read.
double rs_limits_read(const void *p, size_t bytes);
// All threads of the pool do nothing but the instruction that multiplies in `by`, on registers; about 10 ms. Returns the products of codes computed, 0 where it has no such instruction.
double rs_limits_products(const rs_int_kernels *by);

#endif
