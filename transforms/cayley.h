// SPDX-License-Identifier: Apache-2.0
// Descent on orthogonal matrices: a step by the exact Cayley retraction, plain or with Adam's moments, and the repair of rounding drift (method.md 5).
// All of it may run inside bodies of rs_threads_for, one matrix and one work array in each; results do not depend on the number of threads.
#ifndef RS_TRANSFORMS_CAYLEY_H
#define RS_TRANSFORMS_CAYLEY_H

#include "formats/err.h"
#include "kernels/kernels.h"

// What a step did: R <- R (I + a/2 D)^-1 (I - a/2 D) with D skew.
typedef struct rs_cayley_info {
    double step;    // a
    double norm;    // |D|_1, the largest column sum of |D|
    double tangent; // |W|_F of the tangent gradient W; where D = W and a is small, the loss falls by a |W|_F^2
} rs_cayley_info;

// Bytes of work for order n: 2 n^2 floats and n ints.
size_t rs_cayley_work(size_t n);
// One step of Cayley SGD on an orthogonal R [n, n], in place. E [n, n] has the tangent gradient as its skew part: W = (E - E^T) / 2, which is (R^T G - G^T R) / 2 for the Euclidean gradient G of the
// loss at R (E = R^T G serves, and so does what kernels/decoder_grad.h gathers). D = W, a = min(lr, 1 / (|W|_1 + 1e-8)). About 2.7 n^3 operations.
// info may be NULL. E_VALUE, "gradient is not finite": R is left as it was.
RS_MUST_CHECK rs_status rs_cayley_step(size_t n, float *R, const float *E, double lr, void *work, rs_cayley_info *info, rs_error *e);
// The same with Adam's moments of W, kept elementwise at the current R and not transported: m, v [n, n] are the caller's, zeros before the first step; t counts from 1. D = m^ / (sqrt(v^) + eps) with
// bias correction, skew again by construction; a = lr. E_VALUE as above; R, m and v are left as they were.
RS_MUST_CHECK rs_status rs_cayley_adam_step(size_t n, float *R, const float *E, float *m, float *v, uint64_t t, double lr, double beta1, double beta2, double eps,
                                            void *work, rs_cayley_info *info, rs_error *e);
// One Newton-Schulz round in f32, R <- R (3 I - R^T R) / 2: enough every few steps. Returns max |R^T R - I| before it, as f32 sees it. About 4 n^3 operations.
double rs_cayley_tidy(const rs_kernels *k, size_t n, float *R, void *work);
// R becomes its polar factor in fp64, rounded to f32; *error = max |R^T R - I| of the result, in fp64. E_VALUE (far from orthogonal), E_NOMEM (2 to 3 n^2 doubles).
RS_MUST_CHECK rs_status rs_cayley_polish(size_t n, float *R, double *error, rs_error *e);

#endif
