// SPDX-License-Identifier: Apache-2.0
// How the scales of a matrix are searched for: what the scheme says, and where a search that has patience ends.
#ifndef RS_QUANTIZE_SCALES_H
#define RS_QUANTIZE_SCALES_H

#include "kernels/clip.h"
#include "quantize/scheme.h"

// The search for the spans of w [rows, cols], each of group columns (cols: one per row). With patience (compat.h) its steps end where no span gained for so long; whole rows are looked at by
// the pool, and the result does not depend on it.
rs_clip rs_scales_clip(const rs_scheme *s, const float *w, size_t rows, size_t cols, size_t group);

#endif
