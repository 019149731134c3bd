// SPDX-License-Identifier: Apache-2.0
// The Cayley step of transforms/cayley.h by products and sums alone, as operations of any table of kernels, so that it can be taken on a device.
//
// With A = a/2 W and |A|_1 <= 1/2 (which the step size sees to) R (I + A)^-1 = R (I - A) (I + A^2) (I + A^4) (I + A^8) ..., a finite product of the Neumann series: each factor doubles the powers of A that
// are summed, and what is left out behind A^(2m-1) is at most 2 |A|_1^(2m). It ends where that is below 2^-29, after four squarings at the most: nine products of order n, where one LU takes the cost of two.
#ifndef RS_TRANSFORMS_CAYLEY_SERIES_H
#define RS_TRANSFORMS_CAYLEY_SERIES_H

#include "transforms/cayley.h"

// Bytes of work for order n.
size_t rs_cayley_series_work(size_t n);
// rs_cayley_step; tidy: and then rs_cayley_tidy. R, E and work lie where the arrays of k do; waits. info may be NULL. E_VALUE as there, E_INTERNAL: the device failed, E_NOMEM.
RS_MUST_CHECK rs_status rs_cayley_series(const rs_kernels *k, size_t n, float *R, const float *E, double lr, bool tidy, void *work, rs_cayley_info *info, rs_error *e);

#endif
