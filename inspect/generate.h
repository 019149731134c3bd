// SPDX-License-Identifier: Apache-2.0
// Text token by token: all layers over a packed KV cache, weights where the file holds them.
#ifndef RS_INSPECT_GENERATE_H
#define RS_INSPECT_GENERATE_H

#include "transforms/network.h"

typedef struct rs_generator rs_generator;

// Over n (borrowed; from now on it multiplies codes as integers), for at most capacity tokens in all. by: the integer kernels (NULL: the best where n computes).
// RS_USAGE (no cache of that size), E_NOMEM. Free with rs_generator_close (NULL allowed).
RS_MUST_CHECK rs_status rs_generator_open(rs_generator **g, rs_network *n, const rs_int_kernels *by, size_t capacity, rs_error *e);
void rs_generator_close(rs_generator *g);
// Tokens so far; bytes of all caches.
size_t rs_generator_count(const rs_generator *g);
size_t rs_generator_cache_bytes(const rs_generator *g);
// Forgets all tokens.
void rs_generator_reset(rs_generator *g);
// Takes count >= 1 tokens in; *logits [V] (owned by g, until the next call) are those of the token that follows. Long prompts go through in chunks, so that only the cache grows with them.
// RS_USAGE when they do not fit, E_VALUE, E_NOMEM, E_TENSOR.
RS_MUST_CHECK rs_status rs_generator_feed(rs_generator *g, const int32_t *ids, size_t count, const float **logits, rs_error *e);

#endif
