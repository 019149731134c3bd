// SPDX-License-Identifier: Apache-2.0
// The operations of kernels.h by name and by processor, for table.c and for tests that compare them. Meaning, shapes and units: kernels/kernels.h.
#ifndef RS_KERNELS_CPU_OPS_H
#define RS_KERNELS_CPU_OPS_H

#include "kernels/kernels.h"
#include "kernels/kv_cache.h"

// The tables that this processor can run: 0 = reference, then from slow to fast; NULL past the last.
const rs_kernels *rs_table_at(size_t i);

// _plain is the reference. _blas needs OpenBLAS only, _avx2 needs AVX2, FMA and F16C, _avx512 needs AVX-512 F, BW, DQ and VL besides.
void rs_convert_f16_to_f32_plain(size_t n, const uint16_t *x, float *y);
void rs_convert_f16_to_f32_avx2(size_t n, const uint16_t *x, float *y);
void rs_convert_bf16_to_f32_plain(size_t n, const uint16_t *x, float *y);
void rs_convert_bf16_to_f32_avx2(size_t n, const uint16_t *x, float *y);
void rs_convert_f32_to_f16_plain(size_t n, const float *x, uint16_t *y);
void rs_convert_f32_to_f16_avx2(size_t n, const float *x, uint16_t *y);
void rs_convert_f32_to_bf16_plain(size_t n, const float *x, uint16_t *y);
void rs_convert_f32_to_bf16_avx2(size_t n, const float *x, uint16_t *y);

void rs_gemm_nt_plain(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy);
void rs_gemm_nn_plain(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy);
void rs_gemm_tn_plain(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy);
void rs_gemm_nt_blas(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy);
void rs_gemm_nn_blas(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy);
void rs_gemm_tn_blas(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy);
void rs_gemm_half_plain(bool bf16, size_t m, size_t n, size_t k, const float *x, size_t ldx, const uint16_t *w, size_t ldw, float beta, float *y, size_t ldy);
void rs_gemm_half_blas(bool bf16, size_t m, size_t n, size_t k, const float *x, size_t ldx, const uint16_t *w, size_t ldw, float beta, float *y, size_t ldy);
void rs_gemm_half_avx2(bool bf16, size_t m, size_t n, size_t k, const float *x, size_t ldx, const uint16_t *w, size_t ldw, float beta, float *y, size_t ldy);
void rs_gram_plain(size_t n, size_t k, const float *x, size_t ldx, float beta, float *y, size_t ldy);
void rs_gram_blas(size_t n, size_t k, const float *x, size_t ldx, float beta, float *y, size_t ldy);

void rs_rmsnorm_plain(size_t B, size_t d, const float *x, const float *gamma, float eps, float *y);
void rs_rmsnorm_avx2(size_t B, size_t d, const float *x, const float *gamma, float eps, float *y);

void rs_rope_plain(size_t B, size_t heads, size_t h, float *x, size_t ld, const float *cos, const float *sin);
void rs_rope_avx2(size_t B, size_t heads, size_t h, float *x, size_t ld, const float *cos, const float *sin);

void rs_gemv_int8_plain(size_t n, size_t k, const float *x, const int8_t *w, const float *scale, float *y);
void rs_gemv_int8_avx2(size_t n, size_t k, const float *x, const int8_t *w, const float *scale, float *y);
void rs_gemv_int8_avx512(size_t n, size_t k, const float *x, const int8_t *w, const float *scale, float *y);
void rs_lowrank_plain(size_t S, size_t d, size_t r, float *x, const float *q, const float *m, float *work);
void rs_lowrank_blas(size_t S, size_t d, size_t r, float *x, const float *q, const float *m, float *work);
void rs_lowrank_avx2(size_t S, size_t d, size_t r, float *x, const float *q, const float *m, float *work);
void rs_gemv_half_plain(bool bf16, size_t n, size_t k, const float *x, const uint16_t *w, size_t ldw, float *y);
void rs_gemv_half_avx2(bool bf16, size_t n, size_t k, const float *x, const uint16_t *w, size_t ldw, float *y);
void rs_attention_cached_plain(const rs_kv_cache *c, size_t S, size_t n_q, const float *q, float *out);
void rs_attention_cached_blas(const rs_kv_cache *c, size_t S, size_t n_q, const float *q, float *out);
void rs_attention_cached_avx2(const rs_kv_cache *c, size_t S, size_t n_q, const float *q, float *out);
void rs_attention_cached_avx512(const rs_kv_cache *c, size_t S, size_t n_q, const float *q, float *out);
void rs_attention_plain(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, float *out);
void rs_attention_blas(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, float *out);
void rs_attention_avx2(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, float *out);
void rs_attention_avx512(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, float *out);

void rs_silu_gate_plain(size_t n, const float *gate, const float *up, float *y);
void rs_silu_gate_avx2(size_t n, const float *gate, const float *up, float *y);
void rs_silu_gate_avx512(size_t n, const float *gate, const float *up, float *y);

void rs_hadamard_rows_plain(const rs_hadamard *H, size_t B, float *x, size_t ld, bool transpose);
void rs_hadamard_rows_avx2(const rs_hadamard *H, size_t B, float *x, size_t ld, bool transpose);
void rs_hadamard_rows_avx512(const rs_hadamard *H, size_t B, float *x, size_t ld, bool transpose);

size_t rs_fake_quant_plain(const rs_quantizer *q, size_t B, size_t n, float *x, size_t ld);
size_t rs_fake_quant_avx2(const rs_quantizer *q, size_t B, size_t n, float *x, size_t ld);

void rs_cross_entropy_plain(size_t B, size_t V, const float *logits, size_t ld, const int32_t *target, double *nll, int32_t *top);
void rs_cross_entropy_avx2(size_t B, size_t V, const float *logits, size_t ld, const int32_t *target, double *nll, int32_t *top);
void rs_cross_entropy_avx512(size_t B, size_t V, const float *logits, size_t ld, const int32_t *target, double *nll, int32_t *top);

void rs_add_plain(size_t n, const float *x, float *y);
void rs_add_avx2(size_t n, const float *x, float *y);
void rs_each_plain(rs_join how, size_t B, size_t n, const float *a, size_t lda, float *y, size_t ldy);
void rs_skew_plain(size_t n, const float *x, float *w, double *sums);
size_t rs_not_finite_plain(size_t B, size_t n, const float *x, size_t ld);
void rs_gptq_block_plain(size_t n, size_t rows, const float *U, size_t ldu, const float *s, size_t lds, float top, float *w, float *e, size_t ld);
void rs_gptq_block_v8(size_t n, size_t rows, const float *U, size_t ldu, const float *s, size_t lds, float top, float *w, float *e, size_t ld);
void rs_gptq_block_v16(size_t n, size_t rows, const float *U, size_t ldu, const float *s, size_t lds, float top, float *w, float *e, size_t ld);

void rs_rmsnorm_grad_plain(size_t B, size_t d, const float *x, const float *gamma, float eps, const float *dy, float *dx);
void rs_rmsnorm_grad_threaded(size_t B, size_t d, const float *x, const float *gamma, float eps, const float *dy, float *dx);
void rs_silu_gate_grad_plain(size_t n, const float *gate, const float *up, const float *dy, float *dgate, float *dup);
void rs_silu_gate_grad_avx2(size_t n, const float *gate, const float *up, const float *dy, float *dgate, float *dup);
void rs_silu_gate_grad_avx512(size_t n, const float *gate, const float *up, const float *dy, float *dgate, float *dup);

void rs_attention_grad_plain(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, const float *out, const float *dout, float *dq, float *dk, float *dv, float *work);
void rs_attention_grad_blas(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, const float *out, const float *dout, float *dq, float *dk, float *dv, float *work);
void rs_attention_grad_avx2(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, const float *out, const float *dout, float *dq, float *dk, float *dv, float *work);
void rs_attention_grad_avx512(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, const float *out, const float *dout, float *dq, float *dk, float *dv, float *work);

void rs_loss_grad_plain(size_t B, size_t V, float *logits, size_t ld, const int32_t *target, const float *ref, size_t ld_ref, double w_ce, double w_kl, double *nll, double *kl);
void rs_loss_grad_avx2(size_t B, size_t V, float *logits, size_t ld, const int32_t *target, const float *ref, size_t ld_ref, double w_ce, double w_kl, double *nll, double *kl);
void rs_loss_grad_avx512(size_t B, size_t V, float *logits, size_t ld, const int32_t *target, const float *ref, size_t ld_ref, double w_ce, double w_kl, double *nll, double *kl);

#endif
