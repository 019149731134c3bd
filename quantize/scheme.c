// SPDX-License-Identifier: Apache-2.0
// Which tensors are packed and how.
#include "quantize/scheme.h"

rs_scheme rs_scheme_default(void)
{
    return (rs_scheme){.w_bits = 4, .group = 0, .scale_dtype = RS_F32, .clip_steps = 80, .rest_keep = false, .rest = RS_F16};
}

bool rs_scheme_packs(const rs_scheme *s, const rs_tensor *t)
{
    return s->w_bits < 16 && t->n_dims == 2 && t->role >= RS_ROLE_Q && t->role <= RS_ROLE_DOWN;
}

bool rs_scheme_rounds(const rs_scheme *s, const rs_tensor *t)
{
    return !s->rest_keep && s->w_bits < 16 && (t->role == RS_ROLE_EMBED || t->role == RS_ROLE_HEAD) && t->enc == RS_ENC_RAW && t->dtype != s->rest;
}
