# SPDX-License-Identifier: Apache-2.0
"""XXH3-64 and XXH3-128 (seed 0, default secret) in plain Python, for the second reader and the golden files."""
import struct

M64 = (1 << 64) - 1
P32_1, P32_2, P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
P64_1, P64_2, P64_3, P64_4, P64_5 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63,
                                     0x27D4EB2F165667C5)
MX1, MX2 = 0x165667919E3779F9, 0x9FB21C651E98DF25
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e")


def r32(b, i):
    return int.from_bytes(b[i:i + 4], "little")


def r64(b, i):
    return int.from_bytes(b[i:i + 8], "little")


def s64(i):
    return r64(SECRET, i)


def swap(v, n):
    return int.from_bytes(v.to_bytes(n, "little"), "big")


def rotl(v, n, bits):
    return ((v << n) | (v >> (bits - n))) & ((1 << bits) - 1)


def fold(a, b):
    p = a * b
    return (p & M64) ^ (p >> 64)


def avalanche(h):
    h = (h ^ (h >> 37)) * MX1 & M64
    return h ^ (h >> 32)


def avalanche64(h):
    h = (h ^ (h >> 33)) * P64_2 & M64
    h = (h ^ (h >> 29)) * P64_3 & M64
    return h ^ (h >> 32)


def mix16(b, i, s):
    return fold(r64(b, i) ^ s64(s), r64(b, i + 8) ^ s64(s + 8))


STRIPE_KEYS = [struct.unpack("<8Q", SECRET[8 * n:8 * n + 64]) for n in range(16)]
BLOCK_KEYS = [[STRIPE_KEYS[n][i] for n in range(16)] for i in range(8)]
SCRAMBLE_KEYS = struct.unpack("<8Q", SECRET[128:192])
LAST_KEYS = struct.unpack("<8Q", SECRET[121:185])


def long_lanes(b):
    """The eight accumulators after all stripes of an input above 240 bytes."""
    acc = [P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1]
    n = len(b)
    blocks = (n - 1) // 1024
    for k in range(blocks):
        w = struct.unpack_from("<128Q", b, 1024 * k)
        for i in range(8):
            own, total = w[i::8], acc[i] + sum(w[i ^ 1::8])
            for d, key in zip(own, BLOCK_KEYS[i]):
                d ^= key
                total += (d & 0xFFFFFFFF) * (d >> 32)
            total &= M64
            acc[i] = ((total ^ (total >> 47)) ^ SCRAMBLE_KEYS[i]) * P32_1 & M64
    stripes = [(1024 * blocks + 64 * s, STRIPE_KEYS[s]) for s in range((n - 1 - 1024 * blocks) // 64)] + [(n - 64, LAST_KEYS)]
    for off, keys in stripes:
        w = struct.unpack_from("<8Q", b, off)
        for i in range(8):
            d = w[i] ^ keys[i]
            acc[i] = (acc[i] + w[i ^ 1] + (d & 0xFFFFFFFF) * (d >> 32)) & M64
    return acc


def merge(acc, s, start):
    for i in range(4):
        start += fold(acc[2 * i] ^ s64(s + 16 * i), acc[2 * i + 1] ^ s64(s + 16 * i + 8))
    return avalanche(start & M64)


def xxh3_64(b):
    n = len(b)
    if n == 0:
        return avalanche64(s64(56) ^ s64(64))
    if n <= 3:
        return avalanche64((b[0] << 16 | b[n >> 1] << 24 | b[n - 1] | n << 8) ^ (r32(SECRET, 0) ^ r32(SECRET, 4)))
    if n <= 8:
        h = (r32(b, n - 4) + (r32(b, 0) << 32)) ^ (s64(8) ^ s64(16))
        h = (h ^ rotl(h, 49, 64) ^ rotl(h, 24, 64)) * MX2 & M64
        h = (h ^ ((h >> 35) + n)) * MX2 & M64
        return h ^ (h >> 28)
    if n <= 16:
        lo, hi = r64(b, 0) ^ s64(24) ^ s64(32), r64(b, n - 8) ^ s64(40) ^ s64(48)
        return avalanche((n + swap(lo, 8) + hi + fold(lo, hi)) & M64)
    if n <= 128:
        acc = n * P64_1
        for i in range((n - 1) // 32 + 1):
            acc += mix16(b, 16 * i, 32 * i) + mix16(b, n - 16 * (i + 1), 32 * i + 16)
        return avalanche(acc & M64)
    if n <= 240:
        acc = avalanche((n * P64_1 + sum(mix16(b, 16 * i, 16 * i) for i in range(8))) & M64)
        acc += sum(mix16(b, 16 * i, 16 * (i - 8) + 3) for i in range(8, n // 16)) + mix16(b, n - 16, 119)
        return avalanche(acc & M64)
    return merge(long_lanes(b), 11, n * P64_1 & M64)


def mix32(lo, hi, b, i, j, s):
    lo = (lo + mix16(b, i, s)) & M64
    lo ^= (r64(b, j) + r64(b, j + 8)) & M64
    hi = (hi + mix16(b, j, s + 16)) & M64
    hi ^= (r64(b, i) + r64(b, i + 8)) & M64
    return lo, hi


def halves_128(b):
    n = len(b)
    if n == 0:
        return avalanche64(s64(64) ^ s64(72)), avalanche64(s64(80) ^ s64(88))
    if n <= 3:
        lo = b[0] << 16 | b[n >> 1] << 24 | b[n - 1] | n << 8
        hi = rotl(swap(lo, 4), 13, 32)
        return avalanche64(lo ^ r32(SECRET, 0) ^ r32(SECRET, 4)), avalanche64(hi ^ r32(SECRET, 8) ^ r32(SECRET, 12))
    if n <= 8:
        m = ((r32(b, 0) + (r32(b, n - 4) << 32)) ^ s64(16) ^ s64(24)) * (P64_1 + (n << 2) & M64)
        lo, hi = m & M64, m >> 64
        hi = (hi + (lo << 1)) & M64
        lo ^= hi >> 3
        lo = (lo ^ (lo >> 35)) * MX2 & M64
        return lo ^ (lo >> 28), avalanche(hi)
    if n <= 16:
        in_hi = r64(b, n - 8)
        m = (r64(b, 0) ^ in_hi ^ s64(32) ^ s64(40)) * P64_1
        lo, hi = ((m & M64) + ((n - 1) << 54)) & M64, m >> 64
        in_hi ^= s64(48) ^ s64(56)
        hi = (hi + in_hi + (in_hi & 0xFFFFFFFF) * (P32_2 - 1)) & M64
        lo ^= swap(hi, 8)
        m = lo * P64_2
        return avalanche(m & M64), avalanche(((m >> 64) + hi * P64_2) & M64)
    if n <= 240:
        lo, hi = n * P64_1 & M64, 0
        if n <= 128:
            for i in range((n - 1) // 32, -1, -1):
                lo, hi = mix32(lo, hi, b, 16 * i, n - 16 * (i + 1), 32 * i)
        else:
            for i in range(4):
                lo, hi = mix32(lo, hi, b, 32 * i, 32 * i + 16, 32 * i)
            lo, hi = avalanche(lo), avalanche(hi)
            for i in range(4, n // 32):
                lo, hi = mix32(lo, hi, b, 32 * i, 32 * i + 16, 3 + 32 * (i - 4))
            lo, hi = mix32(lo, hi, b, n - 16, n - 32, 103)
        high = (lo * P64_1 + hi * P64_4 + n * P64_2) & M64
        return avalanche((lo + hi) & M64), -avalanche(high) & M64
    acc = long_lanes(b)
    return merge(acc, 11, n * P64_1 & M64), merge(acc, 117, ~(n * P64_2) & M64)


def xxh3_128(b):
    """16 bytes in canonical (big-endian) order."""
    lo, hi = halves_128(b)
    return hi.to_bytes(8, "big") + lo.to_bytes(8, "big")


def check(b):
    return xxh3_64(b) & 0xFFFFFFFF
