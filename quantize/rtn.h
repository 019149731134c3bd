// SPDX-License-Identifier: Apache-2.0
// Round to nearest: a matrix to codes and scales, each row (or group) on its own, and the packed payload made of them.
#ifndef RS_QUANTIZE_RTN_H
#define RS_QUANTIZE_RTN_H

#include "quantize/rows.h"
#include "quantize/scheme.h"

// Quantises w [rows, cols] by the scheme into payload, whose layout packed (from rs_quantize_layout) describes: codes, scales, sums of codes (numerics.md 1, method.md 7).
// Rows are spread over the thread pool; the result does not depend on it. E_VALUE for NaN or infinity (names the row), E_NOMEM. cost may be NULL.
RS_MUST_CHECK rs_status rs_rtn_pack(const rs_scheme *s, const rs_tensor *packed, const float *w, uint8_t *payload, rs_pack_error *cost, rs_error *e);
// The packed form of tensor t: encoding, group, parts. RS_USAGE if the group does not divide the row.
RS_MUST_CHECK rs_status rs_quantize_layout(const rs_scheme *s, const rs_tensor *t, rs_tensor *packed, rs_error *e);

#endif
