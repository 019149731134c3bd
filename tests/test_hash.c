// SPDX-License-Identifier: Apache-2.0
// XXH3 against published values, streams against one call, and a payload in uneven pieces against its chunks hashed one by one.
#include "formats/hash.h"

#include "formats/endian.h"
#include "formats/payload.h"
#include "tests/check.h"

static void values(void)
{
    static const uint8_t empty[16] = {0x99, 0xaa, 0x06, 0xd3, 0x01, 0x47, 0x98, 0xd8, 0x60, 0x01, 0xc3, 0x24, 0x46, 0x8d, 0x49, 0x7f};
    uint8_t d[16];
    CHECK(rs_hash_64(NULL, 0) == UINT64_C(0x2d06800538d394c2) && rs_hash_32(NULL, 0) == 0x38d394c2u);
    CHECK(rs_hash_64("\x01", 1) == UINT64_C(0xe12ef9d2eb86ceeb)); // ksum of the Sylvester matrix of order 1, FORMAT.md 8.5
    rs_hash_128(NULL, 0, d);
    CHECK(memcmp(d, empty, 16) == 0);
}

static void streams(const uint8_t *p, size_t n)
{
    uint8_t once[16], pieces[16];
    rs_hash *h = rs_hash_new();
    for (size_t len = 0; len < n; len = len * 3 + 1) {
        rs_hash_start_64(h);
        for (size_t at = 0, k; at < len; at += k) k = len - at < 777 ? len - at : 777, rs_hash_add_64(h, p + at, k);
        CHECK(rs_hash_get_64(h) == rs_hash_64(p, len));
        rs_hash_start_128(h);
        for (size_t at = 0, k; at < len; at += k) k = len - at < 1001 ? len - at : 1001, rs_hash_add_128(h, p + at, k);
        rs_hash_get_128(h, pieces);
        rs_hash_128(p, len, once);
        CHECK(memcmp(once, pieces, 16) == 0);
    }
    rs_hash_free(h);
}

static void chunks(uint8_t *p, size_t n)
{
    rs_payload pay;
    rs_error e = {0};
    uint8_t once[16], all[16];
    const rs_part parts[2] = {{.len = 100}, {.off = 128, .len = n - 128}};
    CHECK(rs_payload_init(&pay, &e) == RS_OK);
    for (int dirty = 0; dirty < 2; dirty++) {
        memset(p + 100, 0, 28);
        p[113] = (uint8_t)dirty;
        rs_hash_start_128(pay.stream);
        CHECK(rs_payload_start(&pay, n, true, &e) == RS_OK);
        rs_payload_watch(&pay, parts, 2);
        for (size_t at = 0, k, step = 1; at < n; at += k, step = step * 5 % 1000003) k = n - at < step ? n - at : step, rs_payload_add(&pay, p + at, k);
        CHECK(pay.at == n && pay.n_sums == 3 && pay.bad_at == (dirty ? 113 : UINT64_MAX));
        for (size_t i = 0; i < 3; i++) CHECK(rs_get_u64(pay.sums + 8 * i) == rs_hash_64(p + i * RS_CHUNK, i < 2 ? RS_CHUNK : n - 2 * RS_CHUNK));
        rs_hash_get_128(pay.stream, all);
        rs_hash_128(p, n, once);
        CHECK(memcmp(once, all, 16) == 0);
    }
    CHECK(rs_payload_start(&pay, 5, false, &e) == RS_OK);
    rs_payload_add(&pay, p, 5);
    CHECK(pay.n_sums == 0 && rs_payload_sum(&pay) == rs_hash_64(p, 5));
    rs_payload_free(&pay);
}

int main(void)
{
    size_t n = 2 * (size_t)RS_CHUNK + 12345;
    uint8_t *p = malloc(n);
    for (size_t i = 0; i < n; i++) p[i] = (uint8_t)(i * 2654435761u >> 11);
    values();
    streams(p, 300000);
    chunks(p, n);
    free(p);
    return check_report();
}
