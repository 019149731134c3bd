// SPDX-License-Identifier: Apache-2.0
// Rows of a stored tensor as f32, whatever its encoding: raw f32, f16, bf16, or packed codes with scales.
#ifndef RS_TRANSFORMS_WEIGHTS_H
#define RS_TRANSFORMS_WEIGHTS_H

#include "formats/tensor.h"
#include "kernels/int_gemm.h"

// Rows first .. first+n-1 of a matrix [rows, cols] (a vector counts as one row) into out [n, cols]; payload as the container holds it, spread over the thread pool.
// E_TENSOR for an encoding that is no matrix of numbers (lowrank) or rows beyond the end.
RS_MUST_CHECK rs_status rs_weights_rows(const rs_tensor *t, const uint8_t *payload, uint64_t first, uint64_t n, float *out, rs_error *e);
// All codes of a packed matrix as numbers, out [rows, cols]. E_NOMEM.
RS_MUST_CHECK rs_status rs_weights_numbers(const rs_tensor *t, const rs_int_weights *w, float *out, rs_error *e);
// The payload itself as f32 when it is raw f32 and aligned to 4 bytes, else NULL: no copy is needed then.
const float *rs_weights_direct(const rs_tensor *t, const uint8_t *payload);
// What integer products need of a packed matrix, as it lies; false where it is not packed.
bool rs_weights_codes(const rs_tensor *t, const uint8_t *payload, rs_int_weights *w);
// Rows and columns of a tensor seen as a matrix; a vector or scalar has one row.
void rs_weights_shape(const rs_tensor *t, uint64_t *rows, uint64_t *cols);

#endif
