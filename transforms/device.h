// SPDX-License-Identifier: Apache-2.0
// The device that a user names, as tables of operations.
#ifndef RS_TRANSFORMS_DEVICE_H
#define RS_TRANSFORMS_DEVICE_H

#include "formats/err.h"
#include "kernels/int_gemm.h"

// "cpu" (or NULL): the fastest kernels of this processor; "cuda": those of the GPU. k, by: NULL allowed. RS_USAGE for another name, or with the reason where there is no GPU.
RS_MUST_CHECK rs_status rs_device_find(const char *name, const rs_kernels **k, const rs_int_kernels **by, rs_error *e);
// The integer products that work where the arrays of k lie: the fastest ones, or for the reference table the reference.
const rs_int_kernels *rs_device_products(const rs_kernels *k);

// Name and architecture of the device of k, and what computes its dense products, in text, which is "" for a processor's: what it computes depends on these.
void rs_device_model(const rs_kernels *k, char *text, size_t size);

#endif
