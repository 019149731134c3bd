// SPDX-License-Identifier: Apache-2.0
// XXH3 in the forms the container uses: 64 bits of a buffer, 128 bits in canonical order, and both over a stream; the only door to libxxhash.
#ifndef RS_FORMATS_HASH_H
#define RS_FORMATS_HASH_H

#include "formats/err.h"

// XXH3-64 of n bytes (data may be NULL when n is 0); its low 32 bits.
uint64_t rs_hash_64(const void *data, size_t n);
uint32_t rs_hash_32(const void *data, size_t n);
// XXH3-128 of n bytes in xxHash's canonical (big-endian) order.
void rs_hash_128(const void *data, size_t n, uint8_t out[16]);

// A running hash. NULL without memory; free with rs_hash_free (NULL allowed).
typedef struct rs_hash rs_hash;
rs_hash *rs_hash_new(void);
void rs_hash_free(rs_hash *h);
// Starts again, for 64 or for 128 bits; one state serves one width at a time.
void rs_hash_start_64(rs_hash *h);
void rs_hash_start_128(rs_hash *h);
void rs_hash_add_64(rs_hash *h, const void *data, size_t n);
void rs_hash_add_128(rs_hash *h, const void *data, size_t n);
// The hash of what was added so far; more may be added afterwards.
uint64_t rs_hash_get_64(const rs_hash *h);
void rs_hash_get_128(const rs_hash *h, uint8_t out[16]);

#endif
