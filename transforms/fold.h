// SPDX-License-Identifier: Apache-2.0
// Multiplies one weight by everything that is folded into it (norm scale, head rotation, r4, basis) and sends it on as f32, in blocks.
#ifndef RS_TRANSFORMS_FOLD_H
#define RS_TRANSFORMS_FOLD_H

#include "kernels/kernels.h"
#include "transforms/relay.h"
#include "transforms/rotor.h"

// What is folded into a matrix W [rows, cols], in this order; n = 0 leaves a rotor out. All but the last product is fp64 per element (r4 f32, where basis_f32 is set and neither divide nor head is).
typedef struct rs_fold {
    const float *gamma;    // cols values: W diag(gamma); NULL: none
    const float *divide;   // rows values: diag(divide)^-1 W; NULL: none
    rs_rotor head;         // n divides cols (side 0: W <- W blockdiag(P)) or rows (side 1: W <- blockdiag(P)^T W)
    int head_side;
    rs_rotor r4;           // W <- W R4
    rs_rotor basis;        // W <- W R (side 0) or R^T W (side 1); dense or Hadamard: fp64, rounded once at the end
    int basis_side;
    const float *basis_f32;// [n, n], NULL: none. Set, and basis.n with it: the last product is an f32 one by this matrix
} rs_fold;

// Folds a raw matrix of dtype f32, f16 or bf16 into an f32 tensor whose rs_relay_begin has been called. Spread over the thread pool; the result does not depend on it.
// Memory: for side 1 one copy of the matrix (fp64, or f32 with basis_f32), else blocks. E_VALUE (a NaN or infinity in w), E_NOMEM, errors of the relay.
RS_MUST_CHECK rs_status rs_fold_matrix(const rs_fold *f, const rs_kernels *k, rs_dtype dtype, const void *w, uint64_t rows, uint64_t cols, rs_relay *relay, rs_error *e);
// The same for a bias b [n]: its entries are rows, so only what acts on side 1 may be set; sums are fp64 in any case.
RS_MUST_CHECK rs_status rs_fold_vector(const rs_fold *f, const rs_kernels *k, rs_dtype dtype, const void *b, uint64_t n, rs_relay *relay, rs_error *e);
// n values of a raw payload as f32. dtype f32, f16 or bf16 (RS_E_INTERNAL otherwise).
RS_MUST_CHECK rs_status rs_fold_load(const rs_kernels *k, rs_dtype dtype, const void *x, uint64_t n, float *y, rs_error *e);

#endif
