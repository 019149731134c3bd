// SPDX-License-Identifier: Apache-2.0
// The set of names of a stream (as 64-bit hashes, so that memory is a few bytes per frame) and the rules between HEAD, tensors and statistics.
#include "formats/census.h"

#include "formats/frames.h"
#include "formats/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rs_census {
    const rs_head *head;
    uint64_t *slot; // open addressing, 0 = free
    size_t cap, used;
    uint32_t n_tensors;
    uint64_t d, h; // width of rotations and junctions, of head rotations; 0 until the first one
};

rs_census *rs_census_new(const rs_head *head)
{
    rs_census *c = calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    c->head = head;
    c->cap = 64;
    c->slot = calloc(c->cap, sizeof *c->slot);
    if (c->slot != NULL) return c;
    free(c);
    return NULL;
}

void rs_census_free(rs_census *c)
{
    if (c == NULL) return;
    free(c->slot);
    free(c);
}

uint32_t rs_census_tensors(const rs_census *c)
{
    return c->n_tensors;
}

// Hash of a name within its space: 't' tensors, 'f' files, 's' statistics. Two names of the same hash would count as the same (2^-64 per pair).
static uint64_t name_key(char space, const char *name)
{
    char text[RS_MAX_NAME + 64];
    int n = snprintf(text, sizeof text, "%c%s", space, name);
    uint64_t key = rs_hash_64(text, (size_t)n);
    return key != 0 ? key : 1;
}

static uint64_t *find(const rs_census *c, uint64_t key)
{
    size_t i = (size_t)key & (c->cap - 1);
    while (c->slot[i] != 0 && c->slot[i] != key) i = (i + 1) & (c->cap - 1);
    return &c->slot[i];
}

static bool has(const rs_census *c, char space, const char *name)
{
    return *find(c, name_key(space, name)) != 0;
}

static rs_status add(rs_census *c, uint64_t key, const char *name, rs_error *e)
{
    uint64_t *slot = find(c, key);
    if (*slot != 0) return rs_fail(e, RS_E_DUP, "name %s is given twice", name);
    *slot = key;
    if (++c->used * 2 <= c->cap) return RS_OK;
    rs_census grown = *c;
    grown.cap = c->cap * 2;
    grown.slot = calloc(grown.cap, sizeof *grown.slot);
    if (grown.slot == NULL) return rs_fail(e, RS_E_NOMEM, "%zu names", c->used);
    for (size_t i = 0; i < c->cap; i++)
        if (c->slot[i] != 0) *find(&grown, c->slot[i]) = c->slot[i];
    free(c->slot);
    *c = grown;
    return RS_OK;
}

rs_status rs_census_file(rs_census *c, const char *name, rs_error *e)
{
    return add(c, name_key('f', name), name, e);
}

// ---- tensors

// Roles with an index: prefix of the name, end of the index, kind of file.
static const struct {
    rs_role role;
    const char *prefix;
    rs_kind kind;
} indexed[] = {
    {RS_ROLE_RESID, "resid.", RS_KIND_WEIGHTS},
    {RS_ROLE_ROT, "rot.", RS_KIND_ROTATIONS},
    {RS_ROLE_TRANS, "trans.", RS_KIND_ROTATIONS},
    {RS_ROLE_HEADROT, "headrot.", RS_KIND_ROTATIONS},
};

// One past the largest index of a role.
static uint64_t index_end(const rs_census *c, rs_role role)
{
    uint64_t L = c->head->layers;
    return role == RS_ROLE_ROT ? 2 * L + 1 : role == RS_ROLE_TRANS || role == RS_ROLE_RESID ? 2 * L : L;
}

// A tensor of section 13: name, layer, kind of file, encoding and shape belong together.
static rs_status check_rotation(rs_census *c, const rs_tensor *t, const char *prefix, rs_kind kind, rs_error *e)
{
    int64_t index;
    if (c->head->kind != kind) return rs_fail(e, RS_E_TENSOR, "role %s does not belong to this kind of stream", rs_role_name(t->role));
    if (!rs_frames_index(t->name, prefix, &index) || index != t->layer || (uint64_t)index >= index_end(c, t->role))
        return rs_fail(e, RS_E_TENSOR, "role %s, layer %" PRId64 ": the name must be %s and the layer, below %" PRIu64, rs_role_name(t->role), t->layer, prefix, index_end(c, t->role));
    const rs_plan *plan = &c->head->plan;
    rs_enc enc = t->role == RS_ROLE_TRANS || (t->role == RS_ROLE_RESID && plan->resid == RS_RESID_LOWRANK) ? RS_ENC_LOWRANK : RS_ENC_RAW;
    if (t->enc != enc) return rs_fail(e, RS_E_TENSOR, "encoding %s, not %s", rs_enc_name(t->enc), rs_enc_name(enc));
    if (t->n_dims != 2 || t->shape[0] != t->shape[1] || t->shape[0] == 0) return rs_fail(e, RS_E_TENSOR, "shape is not square");
    uint64_t *size = t->role == RS_ROLE_HEADROT ? &c->h : &c->d;
    if (*size == 0) *size = t->shape[0];
    if (*size != t->shape[0]) return rs_fail(e, RS_E_TENSOR, "size %" PRIu64 ", others have %" PRIu64, t->shape[0], *size);
    if (t->role != RS_ROLE_RESID) return RS_OK;
    uint64_t rank = rs_plan_rank(plan, (uint64_t)index);
    if (rank == 0) return rs_fail(e, RS_E_TENSOR, "the plan has no change of basis at junction %" PRId64, index);
    uint64_t columns = enc == RS_ENC_LOWRANK ? t->parts[0].shape[1] : RS_RANK_FULL;
    return columns == rank ? RS_OK : rs_fail(e, RS_E_TENSOR, "rank %" PRIu64 ", the plan has %" PRIu64, columns, rank);
}

static rs_status check_place(rs_census *c, const rs_tensor *t, rs_error *e)
{
    uint64_t L = c->head->layers;
    if (t->layer >= 0 && (uint64_t)t->layer > 2 * L) return rs_fail(e, RS_E_META, "layer %" PRId64 " of %" PRIu64, t->layer, L);
    for (size_t i = 0; i < sizeof indexed / sizeof *indexed; i++)
        if (indexed[i].role == t->role) return check_rotation(c, t, indexed[i].prefix, indexed[i].kind, e);
    if (c->head->kind == RS_KIND_ROTATIONS) return rs_fail(e, RS_E_TENSOR, "role %s does not belong to rotations", rs_role_name(t->role));
    for (size_t i = 0; i < sizeof indexed / sizeof *indexed; i++) {
        int64_t index;
        if (rs_frames_index(t->name, indexed[i].prefix, &index)) return rs_fail(e, RS_E_TENSOR, "a name of this form belongs to role %s", rs_role_name(indexed[i].role));
    }
    if (t->layer >= 0 && (uint64_t)t->layer >= L) return rs_fail(e, RS_E_TENSOR, "layer %" PRId64 " of %" PRIu64, t->layer, L);
    return RS_OK;
}

static rs_status check_xf(const rs_census *c, const rs_tensor *t, rs_error *e)
{
    uint64_t L = c->head->layers;
    const rs_xf *r4 = NULL;
    const bool linear = (t->role >= RS_ROLE_Q && t->role <= RS_ROLE_DOWN) || t->role == RS_ROLE_HEAD;
    if (linear && t->n_dims >= 1) {
        const rs_act act = rs_plan_act(&c->head->plan, t->layer, t->role);
        const uint64_t width = t->shape[t->n_dims - 1];
        if (act.bits < 16 && act.group != 0 && width % act.group != 0) return rs_fail(e, RS_E_TENSOR, "activations in groups of %" PRIu64 " do not fit %" PRIu64 " inputs", act.group, width);
    }
    for (int i = 0; i < t->n_xf; i++) {
        const rs_xf *x = &t->xf[i];
        int64_t index;
        if (!rs_frames_xf(x->id, &index)) return rs_fail(e, RS_E_VERSION, "transform \"%s\" is unknown", x->id);
        uint64_t end = strncmp(x->id, "headrot.", 8) == 0 ? L : 2 * L + 1;
        if (index >= 0 && (uint64_t)index >= end) return rs_fail(e, RS_E_TENSOR, "xf %s: index above %" PRIu64 " layers", x->id, L);
        if (strcmp(x->id, "r4") == 0) r4 = x;
    }
    const rs_online *plan = &c->head->plan.r4;
    bool down = t->role == RS_ROLE_DOWN && t->n_dims >= 2;
    if (!down || !plan->on) return r4 == NULL ? RS_OK : rs_fail(e, RS_E_TENSOR, down ? "xf has r4, the plan has not" : "xf r4 belongs to the weight of down");
    if (t->shape[t->n_dims - 1] != plan->n) return rs_fail(e, RS_E_TENSOR, "input width %" PRIu64 ", r4 of the plan has n %" PRIu64, t->shape[t->n_dims - 1], plan->n);
    return r4 != NULL && r4->side == 0 ? RS_OK : rs_fail(e, RS_E_TENSOR, "the plan has r4, xf lacks it on the input");
}

rs_status rs_census_tensor(rs_census *c, const rs_tensor *t, rs_error *e)
{
    if (c->n_tensors >= RS_MAX_TENSORS) return rs_fail(e, RS_E_LIMIT, "more than %u tensors", RS_MAX_TENSORS);
    uint64_t key = name_key('t', t->name);
    if (*find(c, key) != 0) return rs_fail(e, RS_E_DUP, "name %s is given twice", t->name);
    RS_TRY(rs_tensor_check(t, e));
    RS_TRY(check_place(c, t, e));
    RS_TRY(check_xf(c, t, e));
    c->n_tensors++;
    return add(c, key, t->name, e);
}

static bool has_index(const rs_census *c, const char *prefix, uint64_t index)
{
    char name[32];
    snprintf(name, sizeof name, "%s%" PRIu64, prefix, index);
    return has(c, 't', name);
}

static rs_status complete_rotations(const rs_census *c, rs_error *e)
{
    uint64_t L = c->head->layers, links = 0, heads = 0;
    if (!has(c, 't', "rot.0")) return rs_fail(e, RS_E_TENSOR, "rotations without rot.0");
    for (uint64_t j = 0; j < 2 * L; j++) {
        bool trans = has_index(c, "trans.", j), dense = has_index(c, "rot.", j + 1);
        if (trans && dense) return rs_fail(e, RS_E_TENSOR, "junction %" PRIu64 " has both trans.%" PRIu64 " and rot.%" PRIu64, j, j, j + 1);
        links += trans || dense;
    }
    for (uint64_t j = 0; j < 2 * L && links > 0; j++)
        if (!has_index(c, "trans.", j) && !has_index(c, "rot.", j + 1)) return rs_fail(e, RS_E_TENSOR, "junction %" PRIu64 " has neither trans.%" PRIu64 " nor rot.%" PRIu64, j, j, j + 1);
    for (uint64_t i = 0; i < L; i++) heads += has_index(c, "headrot.", i);
    if (heads != 0 && heads != L) return rs_fail(e, RS_E_TENSOR, "headrot for %" PRIu64 " of %" PRIu64 " layers", heads, L);
    return RS_OK;
}

rs_status rs_census_complete(const rs_census *c, rs_error *e)
{
    if (c->head->kind == RS_KIND_ROTATIONS) return complete_rotations(c, e);
    for (uint64_t j = 0; c->head->plan.resid != RS_RESID_NONE && j < 2 * c->head->layers; j++)
        if (rs_plan_rank(&c->head->plan, j) > 0 && !has_index(c, "resid.", j)) return rs_fail(e, RS_E_TENSOR, "the plan has a junction %" PRIu64 ", but there is no resid.%" PRIu64, j, j);
    return RS_OK;
}

// ---- statistics

static const struct {
    const char *of, *key;
    rs_dtype dtype;
} stat_parts[] = {
    {"channel", "absmax", RS_F32}, {"channel", "rms", RS_F32}, {"channel", "kurt", RS_F32}, {"channel", "hist", RS_U64},
    {"error", "sig", RS_F32},      {"error", "err", RS_F32},   {"error", "clip", RS_U32},   {"angles", "theta", RS_F32},
};

static rs_status check_stat_part(const rs_part *p, const char *of, size_t *at, uint64_t *end, rs_error *e)
{
    size_t n = sizeof stat_parts / sizeof *stat_parts;
    while (*at < n && (strcmp(stat_parts[*at].of, of) != 0 || strcmp(stat_parts[*at].key, p->key) != 0)) ++*at;
    if (*at == n || stat_parts[*at].dtype != p->dtype) return rs_fail(e, RS_E_TENSOR, "part %s of type %s has no place here", p->key, rs_dtype_name(p->dtype));
    ++*at;
    bool hist = strcmp(p->key, "hist") == 0;
    if (p->n_dims < 1 || p->n_dims > 2 || (hist && (p->n_dims != 1 || p->shape[0] != 64))) return rs_fail(e, RS_E_TENSOR, "part %s: wrong shape", p->key);
    uint64_t count = p->shape[0], len, off = (*end + 63) & ~UINT64_C(63);
    if ((p->n_dims == 2 && !rs_mul_ok(count, p->shape[1], &count)) || !rs_mul_ok(count, rs_dtype_size(p->dtype), &len) || len > RS_MAX_PAYLOAD) return rs_fail(e, RS_E_LIMIT, "part %s is too large", p->key);
    if (p->off != off || p->len != len) return rs_fail(e, RS_E_TENSOR, "part %s: %" PRIu64 " bytes at %" PRIu64 ", derived %" PRIu64 " at %" PRIu64, p->key, p->len, p->off, len, off);
    *end = off + len;
    return RS_OK;
}

rs_status rs_census_stat(rs_census *c, const rs_stat_head *s, unsigned n_prov, rs_error *e)
{
    bool channel = strcmp(s->of, "error") != 0 && strcmp(s->of, "angles") != 0;
    const char *basis = strcmp(s->of, "stream") == 0 ? "basis." : strcmp(s->of, "angles") == 0 ? "junction." : NULL;
    int64_t index;
    char text[RS_MAX_NAME + 32];
    snprintf(text, sizeof text, "%s %u %s", s->of, s->step, s->name);
    uint64_t key = name_key('s', text), end = 0;
    if (*find(c, key) != 0) return rs_fail(e, RS_E_DUP, "statistics %s of step %u are given twice", s->of, s->step);
    if (s->step >= n_prov) return rs_fail(e, RS_E_PROV, "step %u, the chain has %u", s->step, n_prov);
    if (basis == NULL && !has(c, 't', s->name)) return rs_fail(e, RS_E_TENSOR, "no tensor of this name stands before");
    if (basis != NULL && (!rs_frames_index(s->name, basis, &index) || (uint64_t)index >= 2 * c->head->layers + (basis[0] == 'b')))
        return rs_fail(e, RS_E_TENSOR, "the name of statistics of %s is %s and an index of the model", s->of, basis);
    size_t at = 0;
    for (int i = 0; i < s->n_parts; i++) RS_TRY(check_stat_part(&s->parts[i], channel ? "channel" : s->of, &at, &end, e));
    if (s->payload_len != end) return rs_fail(e, RS_E_TENSOR, "payload of %" PRIu64 " bytes, %" PRIu64 " derived", s->payload_len, end);
    return add(c, key, s->name, e);
}
