// SPDX-License-Identifier: Apache-2.0
// XXH3 through libxxhash; on x86-64 through its run-time dispatch, which takes the widest vectors of the processor.
#include "formats/hash.h"

#include <stdlib.h>
#include <xxhash.h>
#if defined(__x86_64__)
#include <xxh_x86dispatch.h>
#endif

uint64_t rs_hash_64(const void *data, size_t n)
{
    return XXH3_64bits(n > 0 ? data : "", n);
}

uint32_t rs_hash_32(const void *data, size_t n)
{
    return (uint32_t)rs_hash_64(data, n);
}

static void canonical(uint8_t out[16], XXH128_hash_t h)
{
    XXH128_canonical_t c;
    XXH128_canonicalFromHash(&c, h);
    for (int i = 0; i < 16; i++) out[i] = c.digest[i];
}

void rs_hash_128(const void *data, size_t n, uint8_t out[16])
{
    canonical(out, XXH3_128bits(n > 0 ? data : "", n));
}

rs_hash *rs_hash_new(void)
{
    return (rs_hash *)XXH3_createState();
}

void rs_hash_free(rs_hash *h)
{
    if (h != NULL) XXH3_freeState((XXH3_state_t *)h);
}

void rs_hash_start_64(rs_hash *h)
{
    XXH3_64bits_reset((XXH3_state_t *)h);
}

void rs_hash_start_128(rs_hash *h)
{
    XXH3_128bits_reset((XXH3_state_t *)h);
}

void rs_hash_add_64(rs_hash *h, const void *data, size_t n)
{
    if (n > 0) XXH3_64bits_update((XXH3_state_t *)h, data, n);
}

void rs_hash_add_128(rs_hash *h, const void *data, size_t n)
{
    if (n > 0) XXH3_128bits_update((XXH3_state_t *)h, data, n);
}

uint64_t rs_hash_get_64(const rs_hash *h)
{
    return XXH3_64bits_digest((const XXH3_state_t *)h);
}

void rs_hash_get_128(const rs_hash *h, uint8_t out[16])
{
    canonical(out, XXH3_128bits_digest((const XXH3_state_t *)h));
}
