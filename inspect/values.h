// SPDX-License-Identifier: Apache-2.0
// Checks of the numbers inside tensors: finite weights, usable scales, true sums of codes, orthonormal rotations.
#ifndef RS_INSPECT_VALUES_H
#define RS_INSPECT_VALUES_H

#include "formats/tensor.h"

// Checks one tensor's verified payload. E_VALUE with the tensor's name and the place; E_NOMEM.
//   raw: no NaN, no infinity; rot.J and headrot.I besides: max|R^T R - I| <= 1e-5
//   int: scales finite, positive and normal; sums equal the codes'; lowrank: max|Q^T Q - I| and max|S^T S - I| <= 1e-5 with S = m + I
RS_MUST_CHECK rs_status rs_values_check(const rs_tensor *t, const uint8_t *payload, rs_error *e);

#endif
