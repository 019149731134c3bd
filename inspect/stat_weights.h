// SPDX-License-Identifier: Apache-2.0
// Statistics of a stored tensor: its values as a matrix, decoded a block of rows at a time.
#ifndef RS_INSPECT_STAT_WEIGHTS_H
#define RS_INSPECT_STAT_WEIGHTS_H

#include "formats/tensor.h"
#include "inspect/stat.h"

// True for tensors that have such statistics: raw or packed, at least 1 dim.
bool rs_stat_measures(const rs_tensor *t);
// Measures t, whose payload is as the container holds it. Rows are outputs, channels the last dim; a matrix of q k v o gate up down is rounded as rs-pack does it unless told otherwise, at 4 and 3
// bits. Free with rs_stat_result_clear. E_LIMIT, E_NOMEM.
RS_MUST_CHECK rs_status rs_stat_weights(const rs_tensor *t, const uint8_t *payload, rs_stat_work *w, rs_stat_result *r, rs_error *e);

#endif
