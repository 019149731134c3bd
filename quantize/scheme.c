// SPDX-License-Identifier: Apache-2.0
// Which tensors are packed and how.
#include "quantize/scheme.h"

#include <string.h>

#include "formats/model.h"

rs_scheme rs_scheme_default(void)
{
    return (rs_scheme){.w_bits = 4, .group = 0, .scale_dtype = RS_F32, .clip_steps = 80, .rest_keep = false, .rest = RS_F16};
}

bool rs_scheme_matrix(const rs_tensor *t)
{
    return t->n_dims == 2 && t->role >= RS_ROLE_Q && t->role <= RS_ROLE_DOWN;
}

void rs_scheme_matrix_at(const rs_config *c, uint64_t i, rs_tensor *t)
{
    rs_config plain = *c; // without biases the matrices stand together, behind the norms and the embedding
    rs_model_tensor m;
    plain.attention_bias = plain.mlp_bias = false;
    rs_model_at(&plain, 2 * c->L + 2 + i, &m);
    *t = (rs_tensor){.role = m.role, .layer = m.layer, .expert = -1, .dtype = RS_F32, .enc = RS_ENC_RAW, .n_dims = 2, .shape = {m.shape[0], m.shape[1]}};
    memcpy(t->name, m.name, sizeof m.name);
}

bool rs_scheme_packs(const rs_scheme *s, const rs_tensor *t)
{
    return s->w_bits < 16 && rs_scheme_matrix(t);
}

bool rs_scheme_rounds(const rs_scheme *s, const rs_tensor *t)
{
    const bool ones = t->role == RS_ROLE_NORM && rs_tensor_has_xf(t, "gamma"); // FORMAT.md 20.2
    return !s->rest_keep && s->w_bits < 16 && (t->role == RS_ROLE_EMBED || t->role == RS_ROLE_HEAD || ones) && t->enc == RS_ENC_RAW && t->dtype != s->rest;
}
