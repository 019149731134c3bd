// SPDX-License-Identifier: Apache-2.0
// Keys and values of the tokens that one layer has seen, packed as they are quantised (numerics.md 1): per token and KV head (or group within it) a scale and a zero point, codes dense.
// Bits 16 means f16: what a plan calls unquantised is then rounded once.
#ifndef RS_KERNELS_KV_CACHE_H
#define RS_KERNELS_KV_CACHE_H

#include "kernels/int_gemm.h"

enum { RS_KV_BLOCK = 1 << 14 }; // values that are unpacked at a time

typedef struct rs_kv_cache {
    rs_quantizer q;                    // of K: bits 2..8 or 16; group 0 or a divisor of h
    size_t n_kv, h, capacity, count;   // in tokens
    uint8_t *memory;                   // rs_kv_cache_bytes, 64-aligned, the caller's; in the memory of what appends to it and reads it (memory.h)
    rs_range v_range;                  // of V, the rest is as for K
} rs_kv_cache;

// Bytes of c->memory; 0 where a size is 0, h is above RS_KV_BLOCK, bits or group are not possible or the size overflows.
size_t rs_kv_cache_bytes(const rs_kv_cache *c);
// Bytes of scratch for rs_kv_cache_append of S tokens.
size_t rs_kv_cache_work(const rs_kv_cache *c, size_t S);
// Adds k and v [S, n_kv h] behind the tokens that are there, S at most capacity - count; work is not used where `by` has a memory of its own. Returns the number of vectors that fake_quant refuses (they read as 0).
size_t rs_kv_cache_append(rs_kv_cache *c, const rs_int_kernels *by, size_t S, const float *k, const float *v, void *work);

// Keys (or values) of one KV head, tokens first .. first+count-1, into out [count, h]: what fake_quant makes of them, bit for bit (of f16: the rounded numbers).
typedef void rs_kv_read(const rs_kv_cache *c, bool values, size_t head, size_t first, size_t count, float *out);
rs_kv_read rs_kv_read_plain, rs_kv_read_avx2;

#endif
