// SPDX-License-Identifier: Apache-2.0
// Adam (Kingma, Ba, 2014) for plain arrays of parameters.
#ifndef RS_TRANSFORMS_ADAM_H
#define RS_TRANSFORMS_ADAM_H

#include "formats/err.h"

// One step on p [n] with gradient g [n]; moments m, v [n] are the caller's, zeros before the first step; t counts from 1 (bias correction). g' = g + weight_decay p, as in the original form;
// p <- p - lr m^ / (sqrt(v^) + eps). E_VALUE, "gradient is not finite": nothing is changed.
RS_MUST_CHECK rs_status rs_adam_step(size_t n, float *p, const float *g, float *m, float *v, uint64_t t, double lr, double beta1, double beta2, double eps, double weight_decay, rs_error *e);

#endif
