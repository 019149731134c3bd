// SPDX-License-Identifier: Apache-2.0
// The operations of kernels.h and int_gemm.h on the device, for table.cu. Meaning and shapes: there; all arrays lie in the memory of the device.
#ifndef RS_KERNELS_CUDA_OPS_H
#define RS_KERNELS_CUDA_OPS_H

extern "C" {
#include "kernels/cpu/int_ops.h"
#include "kernels/kv_cache.h"

void rs_convert_f16_to_f32_cuda(size_t n, const uint16_t *x, float *y);
void rs_convert_bf16_to_f32_cuda(size_t n, const uint16_t *x, float *y);
void rs_convert_f32_to_f16_cuda(size_t n, const float *x, uint16_t *y);
void rs_convert_f32_to_bf16_cuda(size_t n, const float *x, uint16_t *y);
void rs_gram_cuda(size_t n, size_t k, const float *x, size_t ldx, float beta, float *y, size_t ldy);
void rs_gemv_half_cuda(bool bf16, size_t n, size_t k, const float *x, const uint16_t *w, size_t ldw, float *y);
void rs_gemv_int8_cuda(size_t n, size_t k, const float *x, const int8_t *w, const float *scale, float *y);
void rs_cross_entropy_cuda(size_t B, size_t V, const float *logits, size_t ld, const int32_t *target, double *nll, int32_t *top);
void rs_gemm_nt_cuda(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy);
void rs_gemm_nn_cuda(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy);
void rs_gemm_tn_cuda(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy);
void rs_gemm_half_cuda(bool bf16, size_t m, size_t n, size_t k, const float *x, size_t ldx, const uint16_t *w, size_t ldw, float beta, float *y, size_t ldy);
void rs_rmsnorm_cuda(size_t B, size_t d, const float *x, const float *gamma, float eps, float *y);
void rs_rope_cuda(size_t B, size_t heads, size_t h, float *x, size_t ld, const float *cos, const float *sin);
void rs_lowrank_cuda(size_t S, size_t d, size_t r, float *x, const float *q, const float *m, float *work);
void rs_silu_gate_cuda(size_t n, const float *gate, const float *up, float *y);
void rs_hadamard_rows_cuda(const rs_hadamard *H, size_t B, float *x, size_t ld, bool transpose);
size_t rs_fake_quant_cuda(const rs_quantizer *q, size_t B, size_t n, float *x, size_t ld);
void rs_add_cuda(size_t n, const float *x, float *y);
void rs_each_cuda(rs_join how, size_t B, size_t n, const float *a, size_t lda, float *y, size_t ldy);
void rs_skew_cuda(size_t n, const float *x, float *w, double *sums);
size_t rs_not_finite_cuda(size_t B, size_t n, const float *x, size_t ld);
void rs_attention_cuda(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, float *out);
void rs_attention_cached_cuda(const rs_kv_cache *c, size_t S, size_t n_q, const float *q, float *out);
void rs_gptq_block_cuda(size_t n, size_t rows, const float *U, size_t ldu, const float *s, size_t lds, float top, float *w, float *e, size_t ld);
void rs_rmsnorm_grad_cuda(size_t B, size_t d, const float *x, const float *gamma, float eps, const float *dy, float *dx);
void rs_silu_gate_grad_cuda(size_t n, const float *gate, const float *up, const float *dy, float *dgate, float *dup);
void rs_attention_grad_cuda(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, const float *out, const float *dout, float *dq, float *dk, float *dv, float *work);
void rs_loss_grad_cuda(size_t B, size_t V, float *logits, size_t ld, const int32_t *target, const float *ref, size_t ld_ref, double w_ce, double w_kl, double *nll, double *kl);
// Adds keys (or values) x [S, n_kv h] behind the tokens of a cache, which has room for them; its count stays.
void rs_kv_append_cuda(const rs_kv_cache *c, bool values, size_t S, const float *x);

bool rs_norm_quantise_cuda(const rs_quantizer *q, const rs_int_stream *s, const rs_int_rows *rows);
size_t rs_int_quantise_cuda(const rs_quantizer *q, size_t B, size_t n, const float *x, size_t ldx, uint8_t *codes, size_t ld, float *scale, int32_t *zero);
// One product, or (sums not NULL) its sums: by dot products of four codes, a warp for each output; by tensor cores, in tiles; by the one for few rows and the other for many.
void rs_int_product_dp4a(const rs_int_weights *w, const rs_int_rows *a, int32_t *sums, float *y, size_t ldy, bool add);
void rs_int_product_mma(const rs_int_weights *w, const rs_int_rows *a, int32_t *sums, float *y, size_t ldy, bool add);
void rs_int_product_cuda(const rs_int_weights *w, const rs_int_rows *a, int32_t *sums, float *y, size_t ldy, bool add);
}

#endif
