// SPDX-License-Identifier: Apache-2.0
// GPTQ (arXiv 2210.17323) of one matrix: columns are rounded one after the other, and what each rounding did to the output is made up for in the columns behind it.
#ifndef RS_QUANTIZE_GPTQ_H
#define RS_QUANTIZE_GPTQ_H

#include "kernels/kernels.h"
#include "quantize/rtn.h"

typedef struct rs_gptq_options {
    double damp;    // of the mean of diag H, added to the diagonal; above 0
    size_t block;   // columns that are finished before the rest hears of them
    bool act_order; // columns by falling diag H
} rs_gptq_options;

// 0.01, 128, in order.
rs_gptq_options rs_gptq_default(void);

// What a Hessian is to the loop over the columns; all matrices that read the same input share it.
typedef struct rs_gptq_factor {
    size_t n;
    float *U;          // [n, n], upper triangular: U^T U = (H + damp mean(diag H) I)^-1, rows and columns in the order of the steps
    uint32_t *order;   // [n]: the column that step i rounds
    bool *dead;        // [n]: columns with H_jj = 0, which are rounded to 0
    double damp;       // the one that was used,
    unsigned raised;   // after so many times ten
    const rs_kernels *k; // what matrices are quantised by, NULL: the best of this processor,
    float *U_there;    // and U in its memory, where it has one of its own
} rs_gptq_factor;

// Factors H [n, n] = sum of x x^T (the upper triangle is read) in fp64. H_jj = 0 becomes 1. Where the factorisation fails, damp is multiplied by 10, at most three times.
// E_VALUE: it fails still, or H is not finite; E_NOMEM. f is to be freed in any case.
RS_MUST_CHECK rs_status rs_gptq_factorise(rs_gptq_factor *f, const rs_gptq_options *o, size_t n, const float *H, rs_error *e);
// From now on matrices are quantised on it by k, whose memory gets a copy of U; once. E_NOMEM.
RS_MUST_CHECK rs_status rs_gptq_factor_by(rs_gptq_factor *f, const rs_kernels *k, rs_error *e);
void rs_gptq_factor_free(rs_gptq_factor *f);

// Quantises w [rows, f->n] into payload as rs_rtn_pack does, which describes packed and cost. The scale of a row (or group) is that of rs_rtn_pack on the columns as they are
// when the loop reaches the first of them; by the peers of the scheme (numerics.md 4) that of a row on the columns as they came, dead ones too, and that of a group on the columns as they
// were when the block began (SpinQuant, QuaRot) or came (compressed-tensors). *loss (NULL allowed): the sum over rows of E H E^T, E what rounding changed, H with its damp (dead columns left out).
// Rows are spread over the pool, or done at once by a table with a memory of its own; the result does not depend on the number of threads, but on the dense products of the table (on nothing else where
// a block has all columns). E_VALUE (names the row; or errors that grew beyond f32), E_NOMEM, E_INTERNAL (a device that failed).
RS_MUST_CHECK rs_status rs_gptq_pack(const rs_scheme *s, const rs_tensor *packed, const rs_gptq_options *o, const rs_gptq_factor *f, const float *w, uint8_t *payload, rs_pack_error *cost,
                                     double *loss, rs_error *e);

#endif
