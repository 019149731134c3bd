// SPDX-License-Identifier: Apache-2.0
// Writes and reads the signature, frame prologues and the tail.
#include "formats/bytes.h"

#include "formats/endian.h"
#include "formats/hash.h"

#include <inttypes.h>
#include <string.h>

static const uint8_t magic[8] = {0x89, 'R', 'S', 'Q', 0x0d, 0x0a, 0x1a, 0x0a};
static const uint8_t sync_bytes[4] = {0xd3, 'R', 'S', 'Q'};
static const uint8_t tail_magic[8] = {'R', 'S', 'Q', 'T', 'A', 'I', 'L', '\n'};
static const char *const tags[] = {
    [RS_FRAME_HEAD] = "HEAD", [RS_FRAME_PROV] = "PROV", [RS_FRAME_FILE] = "fILe", [RS_FRAME_TENS] = "TENS", [RS_FRAME_TSUM] = "TSUM",
    [RS_FRAME_STAT] = "sTAT", [RS_FRAME_PSUM] = "PSUM", [RS_FRAME_INDX] = "INDX", [RS_FRAME_ENDS] = "ENDS", [RS_FRAME_ABRT] = "ABRT",
};

bool rs_bytes_same(uint64_t computed, uint64_t stored)
{
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
    (void)computed, (void)stored;
    return true;
#else
    return computed == stored;
#endif
}

void rs_bytes_hex(const uint8_t digest[16], char out[33])
{
    for (int i = 0; i < 16; i++) {
        out[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    out[32] = 0;
}

void rs_bytes_signature(uint8_t out[RS_SIGNATURE_LEN])
{
    memcpy(out, magic, sizeof magic);
    rs_put_u16(out + 8, RS_MAJOR);
    rs_put_u16(out + 10, RS_MINOR);
    rs_put_u32(out + 12, rs_hash_32(out, 12));
}

rs_status rs_bytes_read_signature(const uint8_t *in, size_t got, unsigned *minor, rs_error *e)
{
    if (memcmp(in, magic, got < sizeof magic ? got : sizeof magic) != 0) return rs_fail(e, RS_E_MAGIC, "signature: these are not the first bytes of an RSQ stream");
    if (got < RS_SIGNATURE_LEN) return rs_fail(e, RS_E_TRUNC, got == 0 ? "signature: the stream is empty" : "signature: %zu bytes of %d", got, RS_SIGNATURE_LEN);
    uint32_t computed = rs_hash_32(in, 12), stored = rs_get_u32(in + 12);
    if (!rs_bytes_same(computed, stored)) return rs_fail(e, RS_E_SUM, "signature: check %08" PRIx32 ", stored %08" PRIx32, computed, stored);
    if (rs_get_u16(in + 8) != RS_MAJOR) return rs_fail(e, RS_E_VERSION, "signature: version %u.%u, this reader knows %d", rs_get_u16(in + 8), rs_get_u16(in + 10), RS_MAJOR);
    *minor = rs_get_u16(in + 10);
    return RS_OK;
}

const char *rs_bytes_tag(rs_frame_type type)
{
    return (unsigned)type < sizeof tags / sizeof *tags ? tags[type] : NULL;
}

rs_frame_type rs_bytes_type(const char *tag)
{
    for (unsigned i = 0; i < sizeof tags / sizeof *tags; i++)
        if (tags[i] != NULL && memcmp(tags[i], tag, 4) == 0) return (rs_frame_type)i;
    return RS_FRAME_UNKNOWN;
}

bool rs_bytes_ancillary(const char *tag)
{
    return tag[0] >= 'a' && tag[0] <= 'z';
}

bool rs_bytes_safe(const char *tag)
{
    return tag[3] >= 'a' && tag[3] <= 'z';
}

bool rs_bytes_pad(uint64_t offset, uint64_t meta_len, uint32_t align, uint32_t *pad)
{
    uint64_t at;
    if (!rs_add_ok(offset, RS_PROLOGUE_LEN + 4, &at) || !rs_add_ok(at, meta_len, &at)) return false;
    *pad = (uint32_t)((align - at % align) % align);
    return true;
}

void rs_bytes_prologue(uint8_t out[RS_PROLOGUE_LEN], const rs_prologue *p)
{
    memcpy(out, sync_bytes, 4);
    memcpy(out + 4, p->tag, 4);
    rs_put_u32(out + 8, p->meta_len);
    rs_put_u32(out + 12, p->pad_len);
    rs_put_u64(out + 16, p->payload_len);
    rs_put_u32(out + 24, p->seq);
    rs_put_u32(out + 28, rs_hash_32(out, 28));
}

static rs_status read_tag(const uint8_t *in, rs_prologue *p, rs_error *e)
{
    for (int i = 0; i < 4; i++) {
        uint8_t c = in[i], up = c & 0xdf;
        if (up < 'A' || up > 'Z') return rs_fail(e, RS_E_FRAME, "type byte %02x is not a letter", c);
        p->tag[i] = (char)c;
    }
    p->tag[4] = 0;
    if (p->tag[2] >= 'a') return rs_fail(e, RS_E_FRAME, "type %s: third letter is lower case", p->tag);
    p->type = rs_bytes_type(p->tag);
    return RS_OK;
}

rs_status rs_bytes_read_prologue(const uint8_t in[RS_PROLOGUE_LEN], rs_prologue *p, rs_error *e)
{
    uint32_t computed = rs_hash_32(in, 28), stored = rs_get_u32(in + 28);
    if (!rs_bytes_same(computed, stored)) return rs_fail(e, RS_E_SUM, "prologue check %08" PRIx32 ", stored %08" PRIx32, computed, stored);
    if (memcmp(in, sync_bytes, 4) != 0) return rs_fail(e, RS_E_FRAME, "sync bytes are wrong");
    RS_TRY(read_tag(in + 4, p, e));
    p->meta_len = rs_get_u32(in + 8);
    p->pad_len = rs_get_u32(in + 12);
    p->payload_len = rs_get_u64(in + 16);
    p->seq = rs_get_u32(in + 24);
    return RS_OK;
}

rs_status rs_bytes_check_lengths(const rs_prologue *p, uint64_t offset, uint32_t align, rs_error *e)
{
    uint32_t pad;
    uint64_t end;
    if (p->meta_len > RS_MAX_META) return rs_fail(e, RS_E_LIMIT, "meta_len %" PRIu32 ", at most %u", p->meta_len, RS_MAX_META);
    if (p->payload_len > RS_MAX_PAYLOAD) return rs_fail(e, RS_E_LIMIT, "payload_len %" PRIu64 ", at most %" PRIu64, p->payload_len, RS_MAX_PAYLOAD);
    if (!rs_bytes_pad(offset, p->meta_len, p->type == RS_FRAME_TENS ? align : 8, &pad)) return rs_fail(e, RS_E_LIMIT, "offset does not fit");
    if (!rs_add_ok(offset, (uint64_t)RS_PROLOGUE_LEN + p->meta_len + 4 + pad + p->payload_len, &end) || end > RS_MAX_STREAM) return rs_fail(e, RS_E_LIMIT, "stream above 2^56 bytes");
    if (p->seq >= RS_MAX_FRAMES) return rs_fail(e, RS_E_LIMIT, "more than %u frames", RS_MAX_FRAMES);
    return p->pad_len == pad ? RS_OK : rs_fail(e, RS_E_FRAME, "pad_len %" PRIu32 ", %" PRIu32 " derived", p->pad_len, pad);
}

void rs_bytes_tail(uint8_t out[RS_TAIL_LEN], const rs_tail *t)
{
    memcpy(out, tail_magic, 8);
    rs_put_u64(out + 8, t->index_off);
    rs_put_u64(out + 16, t->end_off);
    rs_put_u64(out + 24, t->total_size);
    rs_put_u32(out + 32, t->n_frames);
    rs_put_u32(out + 36, t->n_tensors);
    memcpy(out + 40, t->digest, 16);
    rs_put_u32(out + 56, 0);
    rs_put_u32(out + 60, rs_hash_32(out, 60));
}

rs_status rs_bytes_read_tail(const uint8_t in[RS_TAIL_LEN], rs_tail *t, rs_error *e)
{
    uint32_t computed = rs_hash_32(in, 60), stored = rs_get_u32(in + 60);
    if (!rs_bytes_same(computed, stored)) return rs_fail(e, RS_E_SUM, "tail check %08" PRIx32 ", stored %08" PRIx32, computed, stored);
    if (memcmp(in, tail_magic, 8) != 0 || rs_get_u32(in + 56) != 0) return rs_fail(e, RS_E_INDEX, "tail: its mark or its zero field is wrong");
    t->index_off = rs_get_u64(in + 8);
    t->end_off = rs_get_u64(in + 16);
    t->total_size = rs_get_u64(in + 24);
    t->n_frames = rs_get_u32(in + 32);
    t->n_tensors = rs_get_u32(in + 36);
    memcpy(t->digest, in + 40, 16);
    return RS_OK;
}
