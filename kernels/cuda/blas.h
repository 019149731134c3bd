// SPDX-License-Identifier: Apache-2.0
// Dense products by cuBLAS, where the library is on this machine. It is looked for when the first product is asked for; gemm.cu computes by its own tiles where it is not there.
#ifndef RS_KERNELS_CUDA_BLAS_H
#define RS_KERNELS_CUDA_BLAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// What computes dense products, for the line of the device: "cuBLAS 13.1.0", "own products (no libcublas)".
const char *rs_blas_name(void);
// Whether cuBLAS is used where it is there (at first it is); measurements and tests turn it off and on.
void rs_blas_use(bool use);

// Each returns false, and has done nothing, where cuBLAS is not used; what fails in it is told by settle. No size is 0.
// y[m,n] = x w + beta y with x [m,k], where turned stored as [k,m], and w [k,n], where turned stored as [n,k].
bool rs_blas_gemm(bool turned_x, bool turned_w, size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy);
// The upper triangle of y[n,n] = x[k,n]^T x + beta y.
bool rs_blas_gram(size_t n, size_t k, const float *x, size_t ldx, float beta, float *y, size_t ldy);
// y[m,n] = x w^T + beta y with x [m,k] and w [n,k] of bf16; sums in f32.
bool rs_blas_gemm_bf16(size_t m, size_t n, size_t k, const uint16_t *x, size_t ldx, const uint16_t *w, size_t ldw, float beta, float *y, size_t ldy);
// Whether the next product will be computed by it.
bool rs_blas_used(void);

#ifdef __cplusplus
}
#endif

#endif
