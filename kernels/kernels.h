// SPDX-License-Identifier: Apache-2.0
// The only door to the operations: a table of functions over plain arrays (row-major f32 unless said otherwise). Letters: B rows (tokens), S tokens of one
// sequence, d hidden, f FFN, h head size, n_q and n_kv heads, V vocabulary. Every operation has a plain C reference; fast ones are chosen at start-up.
#ifndef RS_KERNELS_KERNELS_H
#define RS_KERNELS_KERNELS_H

#include "kernels/hadamard.h"
#include "kernels/memory.h"

// What the codes span. ZERO: a range that holds 0; symmetric: its end is the last code. FREE (asymmetric only): the range of the values alone, so that the zero point may lie outside the
// codes; where that leaves no scale, or a zero point beyond 2^24, it is ZERO. HALF (symmetric only): the end lies half a step behind the last code.
typedef enum rs_range { RS_RANGE_ZERO, RS_RANGE_FREE, RS_RANGE_HALF } rs_range;

// How rows are quantised (numerics.md 1, 2): bits 2..8, or 16 = not at all; sym: codes -2^(b-1)..2^(b-1)-1, scale max / (2^(b-1) - 1), of HALF max / (2^(b-1) - 1/2); clip in (0, 1];
// group: values that share a scale, 0 = the whole row.
typedef struct rs_quantizer {
    unsigned bits;
    bool sym;
    float clip;
    size_t group;
    rs_range range;
} rs_quantizer;

// What becomes of a number y that meets a: y + a, y - a, y a, or -a.
typedef enum rs_join { RS_JOIN_PLUS, RS_JOIN_MINUS, RS_JOIN_TIMES, RS_JOIN_NEGATED } rs_join;

struct rs_kv_cache;

enum { RS_GPTQ_LANES = 16 };

typedef struct rs_kernels {
    const char *name; // "reference", "openblas", "avx2", "avx512", "cuda"
    const rs_memory *memory; // where its arrays lie (memory.h); NULL: in the process

    // Conversions of n values; to f16 and bf16 round to nearest even, NaN stays NaN, f16 overflow becomes infinity.
    void (*f16_to_f32)(size_t n, const uint16_t *x, float *y);
    void (*bf16_to_f32)(size_t n, const uint16_t *x, float *y);
    void (*f32_to_f16)(size_t n, const float *x, uint16_t *y);
    void (*f32_to_bf16)(size_t n, const float *x, uint16_t *y);

    // y[m,n] = x[m,k] w[n,k]^T + beta y (linear layer: w is [out, in]); y = x[m,k] w[k,n] + beta y; y[m,n] = x[k,m]^T w[k,n] + beta y.
    // ld*: leading dimensions in elements. beta is 0 (y may be uninitialised) or 1. Threaded over fixed pieces.
    void (*gemm_nt)(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy);
    void (*gemm_nn)(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy);
    void (*gemm_tn)(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy);
    // y[m,n] = x[m,k] w[n,k]^T + beta y, w of f16 or bf16, with the accuracy of gemm_nt. What an infinity in x or w gives may be a NaN.
    void (*gemm_half)(bool bf16, size_t m, size_t n, size_t k, const float *x, size_t ldx, const uint16_t *w, size_t ldw, float beta, float *y, size_t ldy);
    // Upper triangle, with the diagonal, of y[n,n] = x[k,n]^T x + beta y; what lies below it is not touched. beta as above.
    void (*gram)(size_t n, size_t k, const float *x, size_t ldx, float beta, float *y, size_t ldy);

    // y[B,d] = x / sqrt(mean(x^2) + eps) * gamma; gamma [d] or NULL (ones). y may be x.
    void (*rmsnorm)(size_t B, size_t d, const float *x, const float *gamma, float eps, float *y);
    // Rotates pairs (x_i, x_{i+h/2}) of each head in place (half-split order): x [B, heads * h], leading dimension ld; cos, sin [B, h/2], row b for token b.
    void (*rope)(size_t B, size_t heads, size_t h, float *x, size_t ld, const float *cos, const float *sin);
    // Causal attention of one sequence: q [S, n_q * h], k and v [S, n_kv * h], out [S, n_q * h]; scale 1/sqrt(h); query head i uses KV head i / (n_q / n_kv).
    // A NaN in k or v reaches every query after it, and may reach some before it.
    void (*attention)(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, float *out);
    // The same for S queries whose own keys and values are the last in a cache (kv_cache.h), out [S, n_q * h].
    void (*attention_cached)(const struct rs_kv_cache *c, size_t S, size_t n_q, const float *q, float *out);
    // y[n] = w[n, k] x, w of f16 or bf16 with leading dimension ldw.
    void (*gemv_half)(bool bf16, size_t n, size_t k, const float *x, const uint16_t *w, size_t ldw, float *y);
    // y[o] = scale[o] (w[o] x), w [n, k] codes.
    void (*gemv_int8)(size_t n, size_t k, const float *x, const int8_t *w, const float *scale, float *y);
    // x [S, d] <- x + ((x q) m) q^T with q [d, r], m [r, r] (method.md 3); work: 2 S r floats.
    void (*lowrank)(size_t S, size_t d, size_t r, float *x, const float *q, const float *m, float *work);
    // y = silu(gate) * up, n values; y may be gate or up.
    void (*silu_gate)(size_t n, const float *gate, const float *up, float *y);
    // x <- x H (transpose: x H^T) in place on B rows of H->n values, leading dimension ld.
    void (*hadamard)(const rs_hadamard *H, size_t B, float *x, size_t ld, bool transpose);
    // Replaces each value by its quantised one, in place, on B rows of n values, leading dimension ld. Returns the number of rows that hold a NaN or infinity, or whose
    // range overflows (such rows are left as they are): more than 0 is an E_VALUE for the caller. q->group must be 0 or divide n. A scale below FLT_MIN counts as 1, which gives zeros.
    size_t (*fake_quant)(const rs_quantizer *q, size_t B, size_t n, float *x, size_t ld);
    // nll[b] = logsumexp(logits[b]) - logits[b][target[b]], in fp64 sums; top[b] (NULL allowed) the index of the largest logit (lowest index wins).
    void (*cross_entropy)(size_t B, size_t V, const float *logits, size_t ld, const int32_t *target, double *nll, int32_t *top);
    // y += x, n values.
    void (*add)(size_t n, const float *x, float *y);
    // Each number of y [B, n] meets that of a [B, n], leading dimensions lda and ldy; lda 0: one row a [n] for all.
    void (*each)(rs_join how, size_t B, size_t n, const float *a, size_t lda, float *y, size_t ldy);
    // w = (x - x^T) / 2 for x [n, n]; sums [2, n]: of each row of w the sum of magnitudes, and of squares.
    void (*skew)(size_t n, const float *x, float *w, double *sums);
    // Returns the number of rows of x [B, n], leading dimension ld, that hold a NaN or infinity.
    size_t (*not_finite)(size_t B, size_t n, const float *x, size_t ld);
    // GPTQ inside a block of n columns (arXiv 2210.17323, algorithm 1) for `rows` rows, a multiple of RS_GPTQ_LANES, column i of row r at w[i * ld + r]; for i = 0, 1, ...: code
    // c_i = clamp(rint(w_i / s_i), -top - 1, top), e_i = (w_i - c_i s_i) / U_ii, and w_j -= e_i U_ij for the columns j behind it. U [n, n] is an upper triangle, the scale of column i of row r is
    // s[i * lds + r] (lds 0: one for the whole row); w ends as codes, e (laid out like w) gets -e_i, which a product with U adds to columns further on. Not threaded.
    void (*gptq_block)(size_t n, size_t rows, const float *U, size_t ldu, const float *s, size_t lds, float top, float *w, float *e, size_t ld);

    // Gradients, for learning: dy is the derivative of the loss by an output, dx by an input.
    // dx += of rmsnorm at x [B,d]; gamma as there.
    void (*rmsnorm_grad)(size_t B, size_t d, const float *x, const float *gamma, float eps, const float *dy, float *dx);
    // dgate and dup of silu_gate, n values; dgate may be gate, dup may be up.
    void (*silu_gate_grad)(size_t n, const float *gate, const float *up, const float *dy, float *dgate, float *dup);
    // dq [S, n_q * h], dk and dv [S, n_kv * h] (overwritten) of attention, from its inputs, its output out and dout [S, n_q * h]; the scores are computed again in blocks.
    // work: 2 * S * n_q floats.
    void (*attention_grad)(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, const float *out, const float *dout, float *dq, float *dk, float *dv,
                           float *work);
    // Per row b of B: nll[b] as in cross_entropy and, with reference logits ref [B, V] (leading dimension ld_ref; NULL: none, w_kl and kl unused), kl[b] = KL(softmax(ref) || softmax(logits))
    // in nats; then logits become the derivative of w_ce nll + w_kl kl by them.
    void (*loss_grad)(size_t B, size_t V, float *logits, size_t ld, const int32_t *target, const float *ref, size_t ld_ref, double w_ce, double w_kl, double *nll, double *kl);
} rs_kernels;

// Where the arrays of a table lie. Never NULL.
static inline const rs_memory *rs_memory_of(const rs_kernels *k)
{
    return k->memory != NULL ? k->memory : &rs_memory_process;
}

// The plain C table (always there), and the fastest for this processor. Never NULL.
const rs_kernels *rs_kernels_reference(void);
const rs_kernels *rs_kernels_cpu(void);
// The CUDA table, or NULL where there is none; and why, in one line (never NULL): built without nvcc, no driver, no device, an architecture without kernels. One thread at a time may use it.
const rs_kernels *rs_kernels_cuda(void);
const char *rs_kernels_cuda_reason(void);
// The device in one line, or NULL.
const char *rs_kernels_cuda_device(void);

// Tables for rope: cos, sin [S, h/2] for positions first .. first+S-1 from inverse frequencies inv_freq[h/2] (fp64 angles).
void rs_rope_tables(size_t S, size_t first, size_t h, const double *inv_freq, float *cos, float *sin);
// inv_freq[i] = theta^(-2i/h); then llama3 scaling (factor, low, high, original context) or linear scaling (factor).
void rs_rope_frequencies(size_t h, double theta, double *inv_freq);
void rs_rope_scale_llama3(size_t h, double factor, double low, double high, double original_context, double *inv_freq);
void rs_rope_scale_linear(size_t h, double factor, double *inv_freq);

#endif
