// SPDX-License-Identifier: Apache-2.0
// One decoder layer of a Llama forward, over plain arrays, with the online parts that a plan may ask for (method.md 2, 4; numerics.md 1).
#ifndef RS_KERNELS_DECODER_H
#define RS_KERNELS_DECODER_H

#include "kernels/kv_cache.h"

// Change of basis of the stream at a junction: none (all NULL); low rank x + ((x q) m) q^T with q [d, r], m [r, r]; or dense x t with t [d, d].
typedef struct rs_junction {
    size_t r;
    const float *q, *m;
    const float *t;
} rs_junction;

// Weights of one layer, f32, [out, in]; biases NULL where absent; norms NULL = ones. Without codes, wo or wdown NULL: what it reads is made for the taps, and nothing is added to the stream.
typedef struct rs_decoder_layer {
    const float *norm_attn, *norm_ffn;
    const float *wq, *wk, *wv, *wo, *wgate, *wup, *wdown;
    const float *bq, *bk, *bv, *bo, *bgate, *bup, *bdown;
    // Codes instead of a weight, where not NULL: the input is then quantised to codes (no groups, bits below 16) and multiplied as integers by `by`; taps see it only before. Without `by` the
    // weight beside them holds the codes as numbers (a scale for each row, no groups), and the same sums are made in f32: exactly, as long as they stay below 2^24.
    const rs_int_weights *cq, *ck, *cv, *co, *cgate, *cup, *cdown;
    const rs_int_kernels *by;                           // also writes the cache; not NULL where there is a cache
    rs_junction attn, ffn;                              // at the residual additions after attention and after the FFN
    rs_quantizer in_q, in_k, in_v, in_o, in_gate, in_up, in_down; // inputs of the linear layers; where those that share an input differ, it is quantised once for each setting
    rs_quantizer kv;                                    // K after RoPE and r3, V after its projection; per token and KV head (group: within the head)
    rs_range v_range;                                   // that of V; kv has that of K
} rs_decoder_layer;

typedef struct rs_decoder_shape {
    size_t d, f, h, n_q, n_kv;
    float eps;
    const rs_hadamard *r3, *r4; // online rotations, NULL = none; r3->n == h, r4->n == f
} rs_decoder_shape;

// Where a tap sees data: what the matrix multiplication reads, after online transforms and before (RAW) or after quantising; Q: queries after RoPE and r3, as attention reads them.
typedef enum rs_tap { RS_TAP_QKV_RAW, RS_TAP_QKV, RS_TAP_Q, RS_TAP_K_RAW, RS_TAP_V_RAW, RS_TAP_O_RAW, RS_TAP_O, RS_TAP_GATE_UP_RAW, RS_TAP_GATE_UP, RS_TAP_DOWN_RAW, RS_TAP_DOWN, RS_TAP_STREAM_ATTN, RS_TAP_STREAM_FFN } rs_tap;
typedef void rs_tap_fn(void *context, rs_tap tap, size_t rows, size_t cols, const float *x, size_t ld);

// The halves of a layer; between them the stream has passed the residual addition after attention.
typedef enum rs_half { RS_HALF_ATTN = 1, RS_HALF_FFN = 2, RS_HALF_BOTH = 3 } rs_half;

// Bytes of scratch that rs_decoder_forward needs for a sequence of S tokens.
size_t rs_decoder_scratch(const rs_decoder_shape *shape, const rs_decoder_layer *layer, size_t S);
// With a table that has a memory of its own (memory.h) all arrays lie there: weights, tables, x, scratch, cache, and what a tap sees; `by` is of the same device, no weight has codes without `by`, and the rows
// refused are counted there.
// x [S, d] in place through one layer; cos, sin [S, h/2] for its positions; tap may be NULL; scratch of rs_decoder_scratch bytes, 64-aligned.
// Returns the number of rows with NaN or infinity met by a quantiser (0 = fine).
size_t rs_decoder_forward(const rs_kernels *k, const rs_decoder_shape *shape, const rs_decoder_layer *layer, size_t S, const float *cos, const float *sin, float *x, void *scratch,
                          rs_tap_fn *tap, void *context);
// The same through the given halves only.
size_t rs_decoder_halves(const rs_kernels *k, const rs_decoder_shape *shape, const rs_decoder_layer *layer, rs_half halves, size_t S, const float *cos, const float *sin, float *x, void *scratch,
                         rs_tap_fn *tap, void *context);

// The same for S tokens that follow those in cache, which are added to it (at most capacity - count): K and V are what the cache holds, cos and sin those of the tokens' positions.
size_t rs_decoder_cached(const rs_kernels *k, const rs_decoder_shape *shape, const rs_decoder_layer *layer, rs_kv_cache *cache, size_t S, const float *cos, const float *sin, float *x,
                         void *scratch);

#endif
