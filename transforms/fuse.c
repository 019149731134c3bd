// SPDX-License-Identifier: Apache-2.0
// The filter behind rs-fuse: norms first, then each weight meets the bases that transforms/plan.h names, junctions go before their layer.
#include "transforms/fuse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transforms/bases.h"
#include "transforms/fold.h"
#include "transforms/norms.h"
#include "transforms/plan.h"
#include "transforms/prelude.h"

struct rs_fuse {
    rs_stage *s;
    rs_fuse_options o;
    const rs_kernels *k;
    rs_prelude *prelude;      // frames before the tensors, with the configuration
    const rs_config *c;
    rs_rotation *rotation;    // NULL: norm scales only
    rs_bases *bases;
    rs_hadamard *r4;
    rs_head head;
    rs_norms *norms;
    rs_relay *relay;
    uint64_t layers_begun;    // layers whose junctions are out
    float *scaled;            // [d, d]: diag(norm scale) R of the basis and norm below; NULL before the first
    int64_t scaled_basis, scaled_norm;
};

const rs_head *rs_fuse_head(const rs_fuse *f) { return &f->head; }

double rs_fuse_total(const rs_fuse *f) { return (double)f->c->L * 9 + 3; }

void rs_fuse_close(rs_fuse *f)
{
    if (f == NULL) return;
    rs_relay_close(f->relay);
    rs_norms_free(f->norms);
    free(f->scaled);
    rs_hadamard_free(f->r4);
    rs_bases_free(f->bases);
    rs_rotation_free(f->rotation);
    rs_prelude_free(f->prelude);
    free(f->head.plan.except);
    free(f);
}

// ---- what is to happen

static rs_status check_rotation(const rs_fuse *f, rs_error *e)
{
    const rs_rotation *r = f->rotation;
    unsigned long long L = rs_rotation_layers(r), d = rs_rotation_d(r), h = rs_rotation_h(r);
    if (L == f->c->L && d == f->c->d && (h == 0 || h == f->c->h)) return RS_OK;
    return rs_fail(e, RS_E_TENSOR, "rotations for %llu layers of width %llu, head size %llu; the model has %llu of width %llu, head size %llu", L, d, h, (unsigned long long)f->c->L,
                   (unsigned long long)f->c->d, (unsigned long long)f->c->h);
}

static rs_status plan_online(rs_fuse *f, rs_error *e)
{
    rs_hadamard *r3 = rs_hadamard_new(f->c->h);
    f->r4 = rs_hadamard_new(f->c->f);
    if (r3 != NULL) f->head.plan.r3 = rs_plan_online(r3);
    if (f->r4 != NULL) f->head.plan.r4 = rs_plan_online(f->r4);
    bool ok = r3 != NULL && f->r4 != NULL;
    rs_hadamard_free(r3);
    return ok ? RS_OK : rs_fail(e, RS_E_NOMEM, "no memory for the Hadamard matrices of r3 and r4");
}

// Resid and rank of the plan: what the set's junctions are. Old exceptions stay (none of role resid is among them: there were no junctions).
static rs_status plan_junctions(rs_fuse *f, rs_error *e)
{
    if (rs_rotation_is_global(f->rotation)) return RS_OK;
    f->head.plan.resid = RS_RESID_DENSE;
    if (!rs_rotation_is_chain(f->rotation)) return RS_OK;
    uint64_t *rank = malloc((2 * f->c->L + 1) * sizeof *rank);
    if (rank == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for the ranks of the junctions");
    rs_status status = RS_OK;
    for (uint64_t j = 0; status == RS_OK && j < 2 * f->c->L; j++) status = rs_bases_rank(f->bases, j, &rank[j], e);
    if (status == RS_OK) status = rs_junction_plan(&f->head.plan, 2 * f->c->L, rank, e);
    free(rank);
    return status;
}

static rs_status decide(rs_fuse *f, rs_error *e)
{
    const rs_head *in = rs_reader_head(f->s->reader);
    if (in->kind != RS_KIND_WEIGHTS) return rs_fail(e, RS_USAGE, "the input holds rotations, not weights");
    const rs_plan *p = &in->plan;
    if (p->resid != RS_RESID_NONE || p->r3.on || p->r4.on) return rs_fail(e, RS_USAGE, "the input is fused already: its plan has online rotations or junctions");
    RS_TRY(rs_prelude_read(&f->prelude, f->s->reader, e));
    f->c = rs_prelude_config(f->prelude);
    f->head = *in;
    f->head.plan.except = NULL;
    if (p->n_except > 0) {
        f->head.plan.except = malloc(p->n_except * sizeof *p->except);
        if (f->head.plan.except == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for the plan");
        memcpy(f->head.plan.except, p->except, p->n_except * sizeof *p->except);
    }
    RS_TRY(rs_norms_new(&f->norms, f->c->L, f->c->d, e));
    if (!f->o.rotate) return RS_OK;
    if (f->o.rotations != NULL) {
        rs_status status = rs_rotation_from_file(&f->rotation, f->o.rotations, e);
        if (status != RS_OK) return rs_error_prefix(e, status, "rotations file");
    } else RS_TRY(rs_rotation_seeded(&f->rotation, f->c->L, f->c->d, f->c->h, f->o.seed, e));
    RS_TRY(check_rotation(f, e));
    RS_TRY(rs_bases_new(&f->bases, f->rotation, f->o.precise, e));
    if (f->o.online) RS_TRY(plan_online(f, e));
    return plan_junctions(f, e);
}

rs_status rs_fuse_open(rs_fuse **out, rs_stage *s, const rs_fuse_options *o, rs_error *e)
{
    rs_fuse *f = calloc(1, sizeof *f);
    *out = f;
    if (f == NULL) return rs_fail(e, RS_E_NOMEM, "no memory to fuse");
    f->s = s;
    f->o = *o;
    f->k = rs_kernels_cpu();
    rs_status status = decide(f, e);
    if (status != RS_OK) {
        rs_fuse_close(f);
        *out = NULL;
    }
    return status;
}

// ---- tensors

rs_status rs_fuse_accepts(const rs_tensor *t, rs_error *e)
{
    for (int i = 0; i < t->n_xf; i++)
        if (strcmp(t->xf[i].id, "smooth") != 0) return rs_fail(e, RS_USAGE, "tensor %s: %s is folded in already", t->name, t->xf[i].id);
    if (t->enc != RS_ENC_RAW) return rs_fail(e, RS_USAGE, "tensor %s: packed as %s; fuse before packing", t->name, rs_enc_name(t->enc));
    return RS_OK;
}

// Nothing but smoothing: norm scales stay where they are, and a tied head stays tied.
static bool smooth_only(const rs_fuse *f) { return f->o.smooth != NULL && !f->o.rotate; }

static rs_status norm(rs_fuse *f, const rs_relay_item *it, rs_error *e)
{
    rs_tensor t = *it->tensor;
    uint64_t index, d = f->c->d;
    void *block;
    RS_TRY(rs_plan_norm(&t, f->c->L, &index, e));
    RS_TRY(rs_relay_block(f->relay, d * sizeof(float), &block, e));
    float *y = block;
    RS_TRY(rs_fold_load(f->k, t.dtype, it->payload, d, y, e));
    RS_TRY(rs_norms_put(f->norms, index, y, t.name, e));
    const float *by = smooth_only(f) && index < 2 * f->c->L ? rs_smooth_factors(f->o.smooth, index / 2, index % 2 == 0 ? RS_SMOOTH_QKV : RS_SMOOTH_GATE_UP) : NULL;
    for (uint64_t i = 0; i < d; i++) {
        if (!smooth_only(f)) y[i] = 1;
        else if (by != NULL) y[i] /= by[i];
    }
    t.dtype = RS_F32;
    RS_TRY(rs_tensor_layout(&t, RS_F32, 0, e));
    if (!smooth_only(f)) RS_TRY(rs_tensor_add_xf(&t, "gamma", d, 0, e));
    else if (by != NULL) RS_TRY(rs_tensor_add_xf(&t, "smooth", d, 0, e));
    RS_TRY(rs_relay_begin(f->relay, &t, e));
    RS_TRY(rs_relay_post(f->relay, d * sizeof(float), e));
    return rs_relay_end(f->relay, e);
}

static rs_status mark(rs_tensor *t, uint64_t n, int side, rs_error *e, const char *kind, int64_t index)
{
    char id[40];
    if (index < 0) snprintf(id, sizeof id, "%s", kind);
    else snprintf(id, sizeof id, "%s.%lld", kind, (long long)index);
    return rs_tensor_add_xf(t, id, n, side, e);
}

// The factors that meet a tensor: of the norm in front of it, of the rows of v and up, of the columns of o and down. xf names smoothing once, by the input where both sides have it.
static rs_status gather_smooth(rs_fuse *f, const rs_place *p, rs_tensor *t, rs_fold *fold, rs_error *e)
{
    uint64_t i = t->layer < 0 ? 0 : (uint64_t)t->layer;
    bool rows = p->role == RS_ROLE_V || p->role == RS_ROLE_UP, columns = !p->bias && (p->role == RS_ROLE_O || p->role == RS_ROLE_DOWN);
    if (smooth_only(f) && p->norm >= 0 && (uint64_t)p->norm < 2 * f->c->L) fold->gamma = rs_smooth_factors(f->o.smooth, i, p->norm % 2 == 0 ? RS_SMOOTH_QKV : RS_SMOOTH_GATE_UP);
    if (columns) fold->gamma = rs_smooth_factors(f->o.smooth, i, p->role == RS_ROLE_O ? RS_SMOOTH_O : RS_SMOOTH_DOWN);
    if (rows) fold->divide = rs_smooth_factors(f->o.smooth, i, p->role == RS_ROLE_V ? RS_SMOOTH_V : RS_SMOOTH_DOWN);
    if (columns || (smooth_only(f) && fold->gamma != NULL)) return mark(t, t->shape[1], 0, e, "smooth", -1);
    return rows ? mark(t, t->shape[0], 1, e, "smooth", -1) : RS_OK;
}

// W diag(gamma) R = W (diag(gamma) R): where R is an f32 matrix, the weights that read behind one norm share the product of the two, and are multiplied as they lie in the input.
static rs_status scale_basis(rs_fuse *f, int64_t basis, int64_t norm, rs_fold *fold, rs_error *e)
{
    const uint64_t d = f->c->d;
    if (f->scaled == NULL) {
        f->scaled = malloc(d * d * sizeof *f->scaled);
        if (f->scaled == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for a basis");
        f->scaled_basis = -1;
    }
    if (f->scaled_basis != basis || f->scaled_norm != norm)
        for (uint64_t i = 0; i < d; i++)
            for (uint64_t j = 0; j < d; j++) f->scaled[i * d + j] = fold->gamma[i] * fold->basis_f32[i * d + j];
    f->scaled_basis = basis;
    f->scaled_norm = norm;
    fold->basis_f32 = f->scaled;
    fold->gamma = NULL;
    return RS_OK;
}

// Gathers what is folded into a tensor at this place, and writes it down in t's xf.
static rs_status gather(rs_fuse *f, const rs_place *p, rs_tensor *t, rs_fold *fold, rs_error *e)
{
    *fold = (rs_fold){.basis_side = p->out >= 0};
    if (f->o.smooth != NULL) RS_TRY(gather_smooth(f, p, t, fold, e));
    if (smooth_only(f)) return RS_OK;
    if (p->norm >= 0) {
        RS_TRY(rs_norms_get(f->norms, (uint64_t)p->norm, t->name, &fold->gamma, e));
        RS_TRY(mark(t, f->c->d, 0, e, "gamma", -1));
    }
    if (f->rotation == NULL) return RS_OK;
    if (p->head >= 0 && rs_rotation_h(f->rotation) > 0) {
        fold->head_side = p->head_side;
        RS_TRY(rs_bases_head(f->bases, (uint64_t)p->head, &fold->head, e));
        RS_TRY(mark(t, f->c->h, p->head_side, e, "headrot", p->head));
    }
    if (p->r4 && f->r4 != NULL) {
        fold->r4 = (rs_rotor){.n = f->r4->n, .H = f->r4};
        RS_TRY(mark(t, f->c->f, 0, e, "r4", -1));
    }
    int64_t basis = p->in >= 0 ? p->in : p->out;
    if (basis < 0) return RS_OK;
    RS_TRY(rs_bases_get(f->bases, (uint64_t)basis, &fold->basis, &fold->basis_f32, e));
    if (fold->basis_f32 != NULL && fold->basis_side == 0 && p->norm >= 0 && !p->bias) RS_TRY(scale_basis(f, basis, p->norm, fold, e));
    return mark(t, f->c->d, fold->basis_side, e, "rot", rs_rotation_is_global(f->rotation) ? 0 : basis);
}

// One weight or bias out of the payload of it, described by t (which may be the head made of the embedding).
static rs_status weight(rs_fuse *f, const rs_relay_item *it, rs_tensor *t, rs_error *e)
{
    rs_place p;
    rs_fold fold;
    rs_dtype from = t->dtype;
    RS_TRY(rs_plan_place(t, f->c->L, &p, e));
    RS_TRY(gather(f, &p, t, &fold, e));
    t->dtype = RS_F32;
    RS_TRY(rs_tensor_layout(t, RS_F32, 0, e));
    RS_TRY(rs_relay_begin(f->relay, t, e));
    rs_status status = p.bias ? rs_fold_vector(&fold, f->k, from, it->payload, t->shape[0], f->relay, e) : rs_fold_matrix(&fold, f->k, from, it->payload, t->shape[0], t->shape[1], f->relay, e);
    if (status == RS_E_VALUE) return rs_error_prefix(e, status, "tensor %s", t->name);
    RS_TRY(status);
    return rs_relay_end(f->relay, e);
}

static rs_status junctions(rs_fuse *f, int64_t layer, rs_error *e)
{
    if (layer < 0 || (uint64_t)layer < f->layers_begun || f->head.plan.resid == RS_RESID_NONE) return RS_OK;
    if ((uint64_t)layer != f->layers_begun)
        return rs_fail(e, RS_E_TENSOR, "layer %lld comes where layer %llu is due", (long long)layer, (unsigned long long)f->layers_begun);
    for (uint64_t j = 2 * f->layers_begun; j < 2 * f->layers_begun + 2; j++) RS_TRY(rs_bases_write_junction(f->bases, j, &f->head.plan, f->relay, e));
    f->layers_begun++;
    return RS_OK;
}

static rs_status tensor(rs_fuse *f, const rs_relay_item *it, rs_error *e)
{
    rs_tensor t = *it->tensor;
    switch (t.role) {
    case RS_ROLE_ROUTER:
    case RS_ROLE_OTHER: return rs_relay_copy(f->relay, e);
    case RS_ROLE_RESID:
    case RS_ROLE_ROT:
    case RS_ROLE_TRANS:
    case RS_ROLE_HEADROT: return rs_fail(e, RS_USAGE, "tensor %s: the input is fused already", t.name);
    default: break;
    }
    RS_TRY(rs_fuse_accepts(&t, e));
    if (f->o.smooth != NULL && rs_tensor_has_xf(&t, "smooth")) return rs_fail(e, RS_USAGE, "tensor %s: smooth is folded in already", t.name);
    RS_TRY(rs_plan_shape(&t, f->c, e));
    if (t.role == RS_ROLE_NORM) return norm(f, it, e);
    if (t.role == RS_ROLE_HEAD && f->c->tied) return rs_fail(e, RS_E_TENSOR, "tensor %s: config.json says that the head shares the embedding", t.name);
    if (t.role != RS_ROLE_EMBED && t.role != RS_ROLE_HEAD) RS_TRY(junctions(f, t.layer, e));
    bool tied = t.role == RS_ROLE_EMBED && f->c->tied && !smooth_only(f);
    if (smooth_only(f) && (t.role == RS_ROLE_EMBED || t.role == RS_ROLE_HEAD)) return rs_relay_copy(f->relay, e);
    RS_TRY(weight(f, it, &t, e));
    if (!tied) return RS_OK;
    // The head is made here, while the embedding is in memory, and stands behind it.
    t = *it->tensor;
    t.role = RS_ROLE_HEAD;
    strcpy(t.name, "lm_head.weight");
    return weight(f, it, &t, e);
}

static rs_status check_base(const rs_fuse *f, rs_error *e)
{
    if (f->o.rotations == NULL || !rs_mapped_head(f->o.rotations)->has_base) return RS_OK;
    uint8_t digest[16], tensors[16];
    uint64_t size;
    rs_reader_digest(f->s->reader, digest, tensors, &size);
    if (memcmp(tensors, rs_mapped_head(f->o.rotations)->base, 16) == 0) return RS_OK;
    return rs_fail(e, RS_E_PROV, "the rotations were learned from another model (the tensor digests differ)");
}

rs_status rs_fuse_run(rs_fuse *f, void (*tick)(void *context, double done), void *context, rs_error *e)
{
    if (f->rotation != NULL && f->o.rotations != NULL) {
        rs_input_sum sum = {.fmt = "rsq"};
        rs_mapped_digest(f->o.rotations, sum.digest, NULL, &sum.size);
        RS_TRY(rs_stage_add_input(f->s, &sum, e));
    }
    RS_TRY(rs_prelude_write(f->prelude, f->s->writer, !smooth_only(f), e));
    RS_TRY(rs_relay_open(&f->relay, f->s, e));
    const rs_relay_item *it;
    for (double done = 0;;) {
        RS_TRY(rs_relay_next(f->relay, &it, e));
        if (it->type == RS_FRAME_END) break;
        if (it->type != RS_FRAME_TENS) {
            RS_TRY(rs_relay_copy(f->relay, e));
            continue;
        }
        RS_TRY(tensor(f, it, e));
        if (tick != NULL) tick(context, ++done);
    }
    RS_TRY(rs_relay_finish(f->relay, e));
    return check_base(f, e);
}
