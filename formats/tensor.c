// SPDX-License-Identifier: Apache-2.0
// Layout of a tensor's payload, derived from its type, encoding, group and shape, and the checks of what a stream claims against it.
#include "formats/tensor.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MAX_SPAN (UINT64_C(1) << 24) // codes that one entry of sums adds up

static const char *const role_names[RS_ROLE_COUNT] = {
    "embed", "q", "k", "v", "o", "gate", "up", "down", "norm", "head", "router", "bias", "resid", "rot", "trans", "headrot", "other",
};
static const char *const enc_names[RS_ENC_COUNT] = {"raw", "int2", "int3", "int4", "int5", "int6", "int7", "int8", "lowrank"};

const char *rs_role_name(rs_role role)
{
    return (unsigned)role < RS_ROLE_COUNT ? role_names[role] : NULL;
}

bool rs_role_find(const char *name, rs_role *role)
{
    for (unsigned i = 0; name != NULL && i < RS_ROLE_COUNT; i++)
        if (strcmp(name, role_names[i]) == 0) {
            *role = (rs_role)i;
            return true;
        }
    return false;
}

const char *rs_enc_name(rs_enc enc)
{
    return (unsigned)enc < RS_ENC_COUNT ? enc_names[enc] : NULL;
}

bool rs_enc_find(const char *name, rs_enc *enc)
{
    for (unsigned i = 0; name != NULL && i < RS_ENC_COUNT; i++)
        if (strcmp(name, enc_names[i]) == 0) {
            *enc = (rs_enc)i;
            return true;
        }
    return false;
}

int rs_enc_bits(rs_enc enc)
{
    return enc >= RS_ENC_INT2 && enc <= RS_ENC_INT8 ? (int)(enc - RS_ENC_INT2) + 2 : 0;
}

bool rs_enc_of_bits(int bits, rs_enc *enc)
{
    if (bits < 2 || bits > 8) return false;
    *enc = (rs_enc)((int)RS_ENC_INT2 + bits - 2);
    return true;
}

// Product of dims; a zero dim makes it 0 whatever the others are.
static bool product(int n_dims, const uint64_t *shape, uint64_t *out)
{
    uint64_t n = 1;
    for (int i = 0; i < n_dims; i++) {
        if (shape[i] > RS_MAX_DIM) return false;
        if (shape[i] == 0) n = 0;
    }
    for (int i = 0; i < n_dims && n != 0; i++)
        if (!rs_mul_ok(n, shape[i], &n) || n > RS_MAX_ELEMENTS) return false;
    *out = n;
    return true;
}

bool rs_tensor_elements(const rs_tensor *t, uint64_t *n)
{
    return t->n_dims >= 0 && t->n_dims <= RS_MAX_DIMS && product(t->n_dims, t->shape, n);
}

// Appends the part [shape] of count items of size bytes each at the next multiple of 64.
static rs_status add_part(rs_tensor *t, const char *key, rs_dtype dtype, int n_dims, const uint64_t *shape, uint64_t count, uint64_t size, rs_error *e)
{
    rs_part *p = &t->parts[t->n_parts];
    memset(p, 0, sizeof *p);
    snprintf(p->key, sizeof p->key, "%s", key);
    p->dtype = dtype;
    p->n_dims = n_dims;
    for (int i = 0; i < n_dims; i++) p->shape[i] = shape[i];
    p->off = (t->payload_len + 63) & ~UINT64_C(63);
    uint64_t end;
    if (!rs_mul_ok(count, size, &p->len) || !rs_add_ok(p->off, p->len, &end) || end > RS_MAX_PAYLOAD)
        return rs_fail(e, RS_E_LIMIT, "part %s: payload above %" PRIu64 " bytes", key, RS_MAX_PAYLOAD);
    t->payload_len = end;
    t->n_parts++;
    return RS_OK;
}

static rs_status layout_int(rs_tensor *t, rs_dtype scale_dtype, rs_error *e)
{
    if (t->n_dims != 2) return rs_fail(e, RS_E_TENSOR, "%s needs 2 dims, not %d", rs_enc_name(t->enc), t->n_dims);
    if (scale_dtype != RS_F32 && scale_dtype != RS_F16) return rs_fail(e, RS_E_TENSOR, "scales are neither f32 nor f16");
    uint64_t rows = t->shape[0], cols = t->shape[1], groups = 1, row_bytes, spans, span = t->group != 0 ? t->group : cols;
    if (span > MAX_SPAN) return rs_fail(e, RS_E_TENSOR, "%" PRIu64 " columns per scale, at most %" PRIu64, span, MAX_SPAN);
    if (t->group != 0) {
        if (cols % t->group != 0) return rs_fail(e, RS_E_TENSOR, "group %" PRIu64 " does not divide %" PRIu64 " columns", t->group, cols);
        groups = cols / t->group;
    }
    if (!rs_mul_ok(cols, (uint64_t)rs_enc_bits(t->enc), &row_bytes)) return rs_fail(e, RS_E_LIMIT, "row of %" PRIu64 " columns", cols);
    row_bytes = row_bytes / 8 + (row_bytes % 8 != 0);
    if (!rs_mul_ok(rows, groups, &spans)) return rs_fail(e, RS_E_LIMIT, "%" PRIu64 " rows of %" PRIu64 " groups", rows, groups);
    uint64_t shape[2] = {rows, groups};
    RS_TRY(add_part(t, "codes", RS_U8, 2, t->shape, rows, row_bytes, e));
    RS_TRY(add_part(t, "scales", scale_dtype, 2, shape, spans, rs_dtype_size(scale_dtype), e));
    return add_part(t, "sums", RS_I32, 2, shape, spans, 4, e);
}

static rs_status layout_lowrank(rs_tensor *t, uint64_t rank, rs_error *e)
{
    if (t->n_dims != 2 || t->shape[0] != t->shape[1]) return rs_fail(e, RS_E_TENSOR, "lowrank needs a square shape");
    uint64_t d = t->shape[0], dr, rr;
    if (t->dtype != RS_F32) return rs_fail(e, RS_E_TENSOR, "lowrank is of type f32");
    if (rank < 2 || rank > d || rank % 2 != 0) return rs_fail(e, RS_E_TENSOR, "rank %" PRIu64 " is not even in 2..%" PRIu64, rank, d);
    if (!rs_mul_ok(d, rank, &dr) || !rs_mul_ok(rank, rank, &rr)) return rs_fail(e, RS_E_LIMIT, "rank %" PRIu64 " of %" PRIu64, rank, d);
    RS_TRY(add_part(t, "q", RS_F32, 2, (uint64_t[]){d, rank}, dr, 4, e));
    return add_part(t, "m", RS_F32, 2, (uint64_t[]){rank, rank}, rr, 4, e);
}

rs_status rs_tensor_layout(rs_tensor *t, rs_dtype scale_dtype, uint64_t rank, rs_error *e)
{
    uint64_t n;
    t->n_parts = 0;
    t->payload_len = 0;
    if (t->n_dims < 0 || t->n_dims > RS_MAX_DIMS) return rs_fail(e, RS_E_LIMIT, "%d dims, at most %d", t->n_dims, RS_MAX_DIMS);
    if (!rs_tensor_elements(t, &n)) return rs_fail(e, RS_E_LIMIT, "a dim above 2^40 or more than 2^48 elements");
    if (t->dtype != RS_F32 && t->dtype != RS_F16 && t->dtype != RS_BF16) return rs_fail(e, RS_E_TENSOR, "type before encoding is not f32, f16 or bf16");
    if (rs_enc_bits(t->enc) > 0) return layout_int(t, scale_dtype, e);
    if (t->group != 0) return rs_fail(e, RS_E_TENSOR, "group %" PRIu64 " without integer codes", t->group);
    if (t->enc == RS_ENC_LOWRANK) return layout_lowrank(t, rank, e);
    if (t->enc != RS_ENC_RAW) return rs_fail(e, RS_E_TENSOR, "unknown encoding");
    return add_part(t, "data", t->dtype, t->n_dims, t->shape, n, rs_dtype_size(t->dtype), e);
}

static rs_status check_name(const rs_tensor *t, rs_error *e)
{
    size_t n = strlen(t->name);
    if (n == 0) return rs_fail(e, RS_E_META, "empty tensor name");
    for (size_t i = 0; i < n; i++)
        if (t->name[i] < '!' || t->name[i] > '~' || t->name[i] == '"' || t->name[i] == '\\') return rs_fail(e, RS_E_META, "tensor name: byte %02x", (unsigned char)t->name[i]);
    return RS_OK;
}

// A folded transform of size n must be the size of the side it stands on; a head rotation or a blockwise one divides it.
static rs_status check_xf(const rs_tensor *t, rs_error *e)
{
    for (int i = 0; i < t->n_xf; i++) {
        const rs_xf *x = &t->xf[i];
        if (t->n_dims == 0) return rs_fail(e, RS_E_TENSOR, "xf %s on a scalar", x->id);
        uint64_t dim = t->shape[x->side == 1 ? 0 : t->n_dims - 1];
        bool divides = strncmp(x->id, "headrot.", 8) == 0 && x->n != 0 && dim % x->n == 0;
        if (x->n != dim && !divides) return rs_fail(e, RS_E_TENSOR, "xf %s has n %" PRIu64 ", the %s has %" PRIu64, x->id, x->n, x->side == 1 ? "output" : "input", dim);
        for (int k = 0; k < i; k++)
            if (strcmp(t->xf[k].id, x->id) == 0) return rs_fail(e, RS_E_TENSOR, "xf %s is folded in twice", x->id);
    }
    return RS_OK;
}

static rs_status check_part(const rs_tensor *t, const rs_part *p, const rs_part *want, uint64_t end, rs_error *e)
{
    if (strcmp(p->key, want->key) != 0) return rs_fail(e, RS_E_TENSOR, "part %s stands where %s belongs", p->key, want->key);
    if (p->dtype != want->dtype) return rs_fail(e, RS_E_TENSOR, "part %s is %s, not %s", p->key, rs_dtype_name(p->dtype), rs_dtype_name(want->dtype));
    if (p->n_dims != want->n_dims || memcmp(p->shape, want->shape, sizeof *p->shape * (size_t)want->n_dims) != 0)
        return rs_fail(e, RS_E_TENSOR, "part %s: its shape is not the one derived from the tensor's", p->key);
    uint64_t part_end;
    if (!rs_add_ok(p->off, p->len, &part_end) || part_end > t->payload_len) return rs_fail(e, RS_E_TENSOR, "part %s lies outside the payload", p->key);
    if (p->off < end) return rs_fail(e, RS_E_TENSOR, "part %s overlaps the one before", p->key);
    if (p->off != want->off) return rs_fail(e, RS_E_TENSOR, "part %s at %" PRIu64 ", not %" PRIu64, p->key, p->off, want->off);
    if (p->len != want->len) return rs_fail(e, RS_E_TENSOR, "part %s has %" PRIu64 " bytes, not %" PRIu64, p->key, p->len, want->len);
    return RS_OK;
}

rs_status rs_tensor_check(const rs_tensor *t, rs_error *e)
{
    RS_TRY(check_name(t, e));
    if (rs_role_name(t->role) == NULL || t->layer < -1 || t->expert < -1) return rs_fail(e, RS_E_META, "role, layer or expert out of range");
    if (t->n_parts < 0 || t->n_parts > RS_MAX_PARTS || t->n_xf < 0 || t->n_xf > RS_MAX_XF) return rs_fail(e, RS_E_LIMIT, "too many parts or transforms");
    const rs_part *scales = rs_tensor_part(t, "scales"), *q = rs_tensor_part(t, "q"), *m = rs_tensor_part(t, "m");
    uint64_t rank = 0;
    if (t->enc == RS_ENC_LOWRANK) {
        if (q == NULL || m == NULL || q->n_dims != 2 || m->n_dims != 2) return rs_fail(e, RS_E_TENSOR, "lowrank needs parts q [d, r] and m [r, r]");
        rank = q->shape[1];
        if (m->shape[0] != rank || m->shape[1] != rank) return rs_fail(e, RS_E_TENSOR, "q has rank %" PRIu64 ", m has %" PRIu64, rank, m->shape[0]);
    }
    rs_tensor want = *t;
    RS_TRY(rs_tensor_layout(&want, scales != NULL ? scales->dtype : RS_F32, rank, e));
    if (t->n_parts != want.n_parts) return rs_fail(e, RS_E_TENSOR, "%d parts, %s has %d", t->n_parts, rs_enc_name(t->enc), want.n_parts);
    uint64_t end = 0;
    for (int i = 0; i < t->n_parts; i++) {
        RS_TRY(check_part(t, &t->parts[i], &want.parts[i], end, e));
        end = want.parts[i].off + want.parts[i].len;
    }
    if (t->payload_len != want.payload_len) return rs_fail(e, RS_E_TENSOR, "payload of %" PRIu64 " bytes, %" PRIu64 " derived", t->payload_len, want.payload_len);
    return check_xf(t, e);
}

const rs_part *rs_tensor_part(const rs_tensor *t, const char *key)
{
    for (int i = 0; i < t->n_parts; i++)
        if (strcmp(t->parts[i].key, key) == 0) return &t->parts[i];
    return NULL;
}

bool rs_tensor_has_xf(const rs_tensor *t, const char *id)
{
    for (int i = 0; i < t->n_xf; i++)
        if (strcmp(t->xf[i].id, id) == 0) return true;
    return false;
}

rs_status rs_tensor_add_xf(rs_tensor *t, const char *id, uint64_t n, int side, rs_error *e)
{
    if (rs_tensor_has_xf(t, id)) return rs_fail(e, RS_E_TENSOR, "%s: %s is folded in already", t->name, id);
    if (t->n_xf >= RS_MAX_XF) return rs_fail(e, RS_E_TENSOR, "%s: more than %d transforms", t->name, RS_MAX_XF);
    rs_xf *x = &t->xf[t->n_xf++];
    snprintf(x->id, sizeof x->id, "%s", id);
    x->n = n;
    x->side = side;
    return RS_OK;
}
