// SPDX-License-Identifier: Apache-2.0
// What the frames of one stream must agree on: names given once, tensors that fit HEAD and its plan, statistics of things that exist. Reader and writer keep one each.
#ifndef RS_FORMATS_CENSUS_H
#define RS_FORMATS_CENSUS_H

#include "formats/container.h"

typedef struct rs_census rs_census;

// head is borrowed and must outlive the census. NULL without memory; free with rs_census_free (NULL allowed).
rs_census *rs_census_new(const rs_head *head);
void rs_census_free(rs_census *c);
// Judges and records a carried file by its name. E_DUP, E_NOMEM.
RS_MUST_CHECK rs_status rs_census_file(rs_census *c, const char *name, rs_error *e);
// Judges and records a tensor: its own layout (rs_tensor_check), its place in the model, what HEAD says. E_META, E_TENSOR, E_DUP, E_LIMIT, E_NOMEM.
RS_MUST_CHECK rs_status rs_census_tensor(rs_census *c, const rs_tensor *t, rs_error *e);
// Judges and records a statistics frame; n_prov is the length of the chain. E_PROV, E_TENSOR, E_DUP, E_NOMEM.
RS_MUST_CHECK rs_status rs_census_stat(rs_census *c, const rs_stat_head *s, unsigned n_prov, rs_error *e);
// Judges that all tensors that HEAD promises have come. E_TENSOR.
RS_MUST_CHECK rs_status rs_census_complete(const rs_census *c, rs_error *e);
// Number of tensors so far.
uint32_t rs_census_tensors(const rs_census *c);

#endif
