// SPDX-License-Identifier: Apache-2.0
// The norm scales of a model, kept from the head of the stream until the weights that read them come by: (2L + 1) d floats.
#ifndef RS_TRANSFORMS_NORMS_H
#define RS_TRANSFORMS_NORMS_H

#include "formats/err.h"

typedef struct rs_norms rs_norms;

// Room for the 2L + 1 norms of d values. Free with rs_norms_free (NULL allowed). E_NOMEM, E_LIMIT.
RS_MUST_CHECK rs_status rs_norms_new(rs_norms **n, uint64_t L, uint64_t d, rs_error *e);
void rs_norms_free(rs_norms *n);
// Keeps norm index (0..2L, numbered as in transforms/plan.h): d values, finite (E_VALUE). name is for messages. E_DUP if it is there already.
RS_MUST_CHECK rs_status rs_norms_put(rs_norms *n, uint64_t index, const float *scale, const char *name, rs_error *e);
// The d values of a norm, owned by n; E_TENSOR if it has not come yet (norms stand before the weights that read them); reader is for messages.
RS_MUST_CHECK rs_status rs_norms_get(const rs_norms *n, uint64_t index, const char *reader, const float **scale, rs_error *e);

#endif
