// SPDX-License-Identifier: Apache-2.0
// The filter behind rs-residual: first pass over the rotations cuts, second pass re-bases the weights of each layer by M_j = R_j^T R^_j.
#include "transforms/residual.h"

#include "formats/frames.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transforms/angles.h"
#include "transforms/budget.h"
#include "transforms/cut.h"
#include "transforms/dense.h"
#include "transforms/fold.h"
#include "transforms/junction.h"
#include "transforms/plan.h"
#include "transforms/prelude.h"
#include "transforms/rotation.h"
#include "transforms/rotation_write.h"

#define SLOTS 4 // M_j of three neighbours and of the head

struct rs_residual {
    rs_stage *s;
    rs_residual_options o;
    rs_head head;
    rs_prelude *prelude;    // weights
    const rs_config *c;
    rs_rotation *rotation;  // NULL: nothing to cut
    rs_relay *relay;
    uint64_t L, d;
    uint64_t *rank;         // [2L] of a budget, NULL: by the rule
    rs_lowrank_loss *loss;  // [2L]
    size_t n_loss;
    float *theta;           // [2L, d]: the angles of what was cut, where
    bool *turns;            // [2L] says that they are known
    bool *told;             // [2L]: the set says so itself
    FILE *spool;            // q and m of each junction with a rank, f32
    float *q, *m;           // of one junction, [d, cap] and [cap, cap]
    uint64_t cap;
    // Second pass.
    double *basis, *product;// R^_j; M_j in fp64
    uint64_t at;            // j
    float *M[SLOTS];
};

const rs_head *rs_residual_head(const rs_residual *r) { return &r->head; }
double rs_residual_total(const rs_residual *r) { return r->head.kind == RS_KIND_ROTATIONS ? 3.0 * (double)r->L + 1 : 11.0 * (double)r->L + 3; }

const rs_lowrank_loss *rs_residual_losses(const rs_residual *r, size_t *n, uint64_t *d)
{
    *n = r->n_loss;
    *d = r->d;
    return r->loss;
}

void rs_residual_close(rs_residual *r)
{
    if (r == NULL) return;
    rs_relay_close(r->relay);
    rs_rotation_free(r->rotation);
    rs_prelude_free(r->prelude);
    if (r->spool != NULL) fclose(r->spool);
    free(r->head.plan.except);
    free(r->rank);
    free(r->loss);
    free(r->theta);
    free(r->turns);
    free(r->told);
    free(r->q);
    free(r->m);
    free(r->basis);
    free(r->product);
    for (int i = 0; i < SLOTS; i++) free(r->M[i]);
    free(r);
}

static rs_status no_memory(const rs_residual *r, rs_error *e)
{
    return rs_fail(e, RS_E_NOMEM, "no memory for bases of order %llu", (unsigned long long)r->d);
}

// ---- first pass: cut

// The walk over junctions as the options want it.
static rs_status new_cut(rs_residual *r, rs_cut **c, rs_error *e)
{
    RS_TRY(rs_cut_new(c, r->L, r->d, &r->o.rule, r->o.paper, e));
    if (r->rank != NULL) rs_cut_ranks(*c, r->rank);
    return r->o.moments != NULL ? rs_cut_weigh(*c, r->o.moments, e) : RS_OK;
}

// ---- what is kept about each junction

static rs_status keep_angles(rs_residual *r, const rs_cut *c, size_t j, rs_error *e)
{
    const uint64_t n = 2 * r->L;
    if (r->theta == NULL) {
        r->theta = malloc((n * r->d + 1) * sizeof *r->theta);
        r->turns = calloc(n + 1, sizeof *r->turns);
        if (r->theta == NULL || r->turns == NULL) return no_memory(r, e);
    }
    r->turns[j] = rs_cut_angles(c, r->theta + j * r->d);
    return RS_OK;
}

// Behind everything else: the junctions that arrived, by their angles, and what the cut kept of them.
static rs_status write_angles(const rs_residual *r, rs_error *e)
{
    rs_status status = RS_OK;
    for (size_t j = 0; status == RS_OK && j < r->n_loss; j++) {
        const rs_lowrank_loss *l = &r->loss[j];
        if (r->told != NULL && r->told[j]) continue;
        rs_arena *a = rs_arena_new();
        rs_value *values = rs_value_map(a);
        bool good = rs_map_put(a, values, "error", rs_value_f64(a, l->error));
        good = rs_map_put(a, values, "kept", rs_value_f64(a, l->kept)) && good;
        good = rs_map_put(a, values, "rank", rs_value_uint(a, l->rank)) && good;
        status = good ? rs_angles_write(r->s->writer, rs_stage_step(r->s) - 1, j, r->d, r->turns[j] ? r->theta + j * r->d : NULL, values, e) : no_memory(r, e);
        rs_arena_free(a);
    }
    return status;
}

static rs_status spend(rs_residual *r, rs_rotation *set, rs_error *e)
{
    if (!r->o.budgeted) return RS_OK;
    r->rank = malloc((2 * r->L + 1) * sizeof *r->rank);
    if (r->rank == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for the ranks");
    return rs_budget_ranks(set, r->o.moments, r->o.paper, r->o.budget, r->rank, e);
}

static rs_status spool_write(rs_residual *r, uint64_t rank, const float *q, const float *m, rs_error *e)
{
    if (rank == 0) return RS_OK;
    if (fwrite(q, sizeof *q, r->d * rank, r->spool) == r->d * rank && fwrite(m, sizeof *m, rank * rank, r->spool) == rank * rank) return RS_OK;
    return rs_fail(e, RS_E_WRITE, "the temporary file of the junctions cannot be written");
}

static rs_status spool_read(rs_residual *r, uint64_t rank, rs_error *e)
{
    if (rank > r->cap) {
        free(r->q);
        free(r->m);
        r->q = malloc(r->d * rank * sizeof *r->q);
        r->m = malloc(rank * rank * sizeof *r->m);
        r->cap = r->q != NULL && r->m != NULL ? rank : 0;
        if (r->cap == 0) return no_memory(r, e);
    }
    if (fread(r->q, sizeof *r->q, r->d * rank, r->spool) == r->d * rank && fread(r->m, sizeof *r->m, rank * rank, r->spool) == rank * rank) return RS_OK;
    return rs_fail(e, RS_E_READ, "the temporary file of the junctions cannot be read");
}

// M_j = R_j^T R^_j in fp64, kept as f32. In the head's slot for j = 2L.
static rs_status rebase_matrix(rs_residual *r, uint64_t j, const double *basis, rs_error *e)
{
    uint64_t n = r->d * r->d;
    float **M = &r->M[j == 2 * r->L ? SLOTS - 1 : j % (SLOTS - 1)];
    const double *R;
    if (r->product == NULL) r->product = malloc(n * sizeof(double));
    if (*M == NULL) *M = malloc(n * sizeof(float));
    if (r->product == NULL || *M == NULL) return no_memory(r, e);
    RS_TRY(rs_rotation_basis(r->rotation, j, &R, e));
    rs_dense_tn(r->d, r->d, r->d, R, r->d, basis, r->d, 0, r->product, r->d);
    for (uint64_t i = 0; i < n; i++) (*M)[i] = (float)r->product[i];
    return RS_OK;
}

static rs_status cut_all(rs_residual *r, rs_cut *c, rs_error *e)
{
    const double *R;
    RS_TRY(rs_rotation_basis(r->rotation, 0, &R, e));
    RS_TRY(rs_cut_start(c, R, e));
    for (uint64_t j = 0; j < 2 * r->L; j++) {
        const float *q, *m;
        RS_TRY(rs_rotation_basis(r->rotation, j + 1, &R, e));
        RS_TRY(rs_cut_next(c, R, &q, &m, &r->loss[j], e));
        RS_TRY(keep_angles(r, c, j, e));
        RS_TRY(spool_write(r, r->loss[j].rank, q, m, e));
        r->n_loss = j + 1;
    }
    if (fflush(r->spool) != 0 || fseek(r->spool, 0, SEEK_SET) != 0) return rs_fail(e, RS_E_WRITE, "the temporary file of the junctions cannot be written");
    return r->o.paper ? RS_OK : rebase_matrix(r, 2 * r->L, rs_cut_basis(c), e);
}

static rs_status first_pass(rs_residual *r, rs_error *e)
{
    rs_cut *c = NULL;
    uint64_t *rank = malloc((2 * r->L + 1) * sizeof *rank);
    r->spool = tmpfile();
    r->basis = malloc(r->d * r->d * sizeof(double));
    if (rank == NULL || r->basis == NULL) {
        free(rank);
        return no_memory(r, e);
    }
    rs_status status = r->spool == NULL ? rs_fail(e, RS_E_WRITE, "no temporary file for the junctions") : spend(r, r->rotation, e);
    if (status == RS_OK) status = new_cut(r, &c, e);
    if (status == RS_OK) status = cut_all(r, c, e);
    rs_cut_free(c);
    for (uint64_t j = 0; j < 2 * r->L; j++) rank[j] = r->loss[j].rank;
    if (status == RS_OK) status = rs_junction_plan(&r->head.plan, 2 * r->L, rank, e);
    free(rank);
    const double *R;
    if (status != RS_OK) return status;
    RS_TRY(rs_rotation_basis(r->rotation, 0, &R, e));
    memcpy(r->basis, R, r->d * r->d * sizeof(double));
    return rs_dense_orthonormalise(r->d, r->d, r->basis, e);
}

// ---- what is to happen

static rs_status decide_weights(rs_residual *r, rs_error *e)
{
    const rs_plan *p = &r->head.plan;
    if (p->n_except > 0) {
        rs_except *list = malloc(p->n_except * sizeof *list);
        if (list == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for the plan");
        memcpy(list, p->except, p->n_except * sizeof *list);
        r->head.plan.except = list;
    } else r->head.plan.except = NULL;
    if (p->resid == RS_RESID_LOWRANK) return rs_fail(e, RS_USAGE, "the junctions of the input are low-rank already");
    if (p->resid == RS_RESID_DENSE && r->o.rotations == NULL) return rs_fail(e, RS_USAGE, "the input has junctions: name the rotations that it was fused with (-R)");
    RS_TRY(rs_prelude_read(&r->prelude, r->s->reader, e));
    r->c = rs_prelude_config(r->prelude);
    r->L = r->c->L;
    r->d = r->c->d;
    if (r->o.rotations == NULL) return RS_OK;
    rs_status status = rs_rotation_from_file(&r->rotation, r->o.rotations, e);
    if (status != RS_OK) return rs_error_prefix(e, status, "rotations file");
    if (rs_rotation_layers(r->rotation) != r->L || rs_rotation_d(r->rotation) != r->d)
        return rs_fail(e, RS_E_TENSOR, "rotations for %llu layers of width %llu; the model has %llu of width %llu", (unsigned long long)rs_rotation_layers(r->rotation),
                       (unsigned long long)rs_rotation_d(r->rotation), (unsigned long long)r->L, (unsigned long long)r->d);
    if (p->resid == RS_RESID_NONE || rs_rotation_is_global(r->rotation)) {
        rs_rotation_free(r->rotation);
        r->rotation = NULL;
        return RS_OK;
    }
    r->loss = calloc(2 * r->L + 1, sizeof *r->loss);
    return r->loss == NULL ? no_memory(r, e) : first_pass(r, e);
}

static rs_status decide(rs_residual *r, rs_error *e)
{
    r->head = *rs_reader_head(r->s->reader);
    r->L = r->head.layers;
    if (r->head.kind == RS_KIND_WEIGHTS) return decide_weights(r, e);
    r->head.plan.except = NULL;
    if (r->o.rotations != NULL) return rs_fail(e, RS_USAGE, "the input holds rotations itself: no -R");
    if (r->o.moments != NULL) return rs_fail(e, RS_USAGE, "the input holds rotations: activations need the weights of a model");
    r->loss = calloc(2 * r->L + 1, sizeof *r->loss);
    r->told = calloc(2 * r->L + 1, sizeof *r->told);
    if (r->loss == NULL || r->told == NULL) return no_memory(r, e);
    if (!r->o.budgeted) return RS_OK;
    rs_rotation *set;
    RS_TRY(rs_rotation_from_file(&set, r->o.input, e));
    // Without junctions nothing is cut; a chain is refused where it comes.
    rs_status status = rs_rotation_is_global(set) || rs_rotation_is_chain(set) ? RS_OK : spend(r, set, e);
    rs_rotation_free(set);
    return status;
}

rs_status rs_residual_open(rs_residual **out, rs_stage *s, const rs_residual_options *o, rs_error *e)
{
    rs_residual *r = calloc(1, sizeof *r);
    *out = r;
    if (r == NULL) return rs_fail(e, RS_E_NOMEM, "no memory to cut junctions");
    r->s = s;
    r->o = *o;
    if (o->budgeted) {
        r->o.budgeted = o->budget > 0;
        r->o.rule = (rs_lowrank_rule){.rank = o->budget};
    }
    rs_status status = decide(r, e);
    if (status != RS_OK) {
        // Until decide_weights has copied it, the list of exceptions is the reader's.
        if (r->head.plan.except == rs_reader_head(s->reader)->plan.except) r->head.plan.except = NULL;
        rs_residual_close(r);
        *out = NULL;
    }
    return status;
}

// ---- second pass: weights

// Writes the junctions of the next layer and walks over them, so that M_2i, M_2i+1, M_2i+2 are there.
static rs_status begin_layer(rs_residual *r, int64_t layer, rs_error *e)
{
    if (layer < 0 || 2 * (uint64_t)layer < r->at) return RS_OK;
    if (2 * (uint64_t)layer != r->at) return rs_fail(e, RS_E_TENSOR, "layer %lld comes where layer %llu is due", (long long)layer, (unsigned long long)(r->at / 2));
    for (int k = 0; k < 2; k++) {
        uint64_t rank = r->loss[r->at].rank;
        if (rank > 0) {
            RS_TRY(spool_read(r, rank, e));
            RS_TRY(rs_junction_lowrank(r->relay, RS_ROLE_RESID, r->at, r->d, rank, r->q, r->m, e));
        }
        if (!r->o.paper) RS_TRY(rs_lowrank_step(r->d, rank, r->q, r->m, r->basis, e));
        r->at++;
        if (!r->o.paper) RS_TRY(rebase_matrix(r, r->at, r->basis, e));
    }
    return RS_OK;
}

static rs_status rebase(rs_residual *r, const rs_relay_item *it, const rs_place *p, rs_error *e)
{
    rs_tensor t = *it->tensor;
    int64_t j = p->in >= 0 ? p->in : p->out;
    char id[40];
    if (t.enc != RS_ENC_RAW) return rs_fail(e, RS_USAGE, "tensor %s: packed as %s; cut junctions before packing", t.name, rs_enc_name(t.enc));
    snprintf(id, sizeof id, "rot.%lld", (long long)j);
    if (!rs_tensor_has_xf(&t, id)) return rs_fail(e, RS_E_TENSOR, "tensor %s: %s is not folded in", t.name, id);
    snprintf(id, sizeof id, "rebase.%lld", (long long)j);
    if (rs_tensor_has_xf(&t, id)) return rs_fail(e, RS_USAGE, "tensor %s: %s is folded in already", t.name, id);
    rs_dtype from = t.dtype;
    int side = p->out >= 0;
    rs_fold fold = {.basis = {.n = r->d}, .basis_side = side, .basis_f32 = r->M[(uint64_t)j == 2 * r->L ? SLOTS - 1 : (uint64_t)j % (SLOTS - 1)]};
    RS_TRY(rs_tensor_add_xf(&t, id, r->d, side, e));
    t.dtype = RS_F32;
    RS_TRY(rs_tensor_layout(&t, RS_F32, 0, e));
    RS_TRY(rs_relay_begin(r->relay, &t, e));
    const rs_kernels *k = rs_kernels_cpu();
    rs_status status = p->bias ? rs_fold_vector(&fold, k, from, it->payload, t.shape[0], r->relay, e) : rs_fold_matrix(&fold, k, from, it->payload, t.shape[0], t.shape[1], r->relay, e);
    if (status == RS_E_VALUE) return rs_error_prefix(e, status, "tensor %s", t.name);
    RS_TRY(status);
    return rs_relay_end(r->relay, e);
}

static rs_status weight(rs_residual *r, const rs_relay_item *it, rs_error *e)
{
    const rs_tensor *t = it->tensor;
    rs_place p;
    switch (t->role) {
    case RS_ROLE_RESID: return RS_OK; // a new one stands in its place
    case RS_ROLE_NORM:
    case RS_ROLE_ROUTER:
    case RS_ROLE_OTHER: return rs_relay_copy(r->relay, e);
    default: break;
    }
    RS_TRY(rs_plan_shape(t, r->c, e));
    RS_TRY(rs_plan_place(t, r->L, &p, e));
    if (t->role != RS_ROLE_EMBED && t->role != RS_ROLE_HEAD) RS_TRY(begin_layer(r, t->layer, e));
    // Basis 0 is where the chain starts: nothing changes there.
    if (r->o.paper || (p.in <= 0 && p.out <= 0)) return rs_relay_copy(r->relay, e);
    return rebase(r, it, &p, e);
}

static rs_status check_provenance(const rs_residual *r, rs_error *e)
{
    if (r->o.rotations == NULL) return RS_OK;
    uint8_t digest[16], tensors[16];
    uint64_t size;
    size_t n, n_in;
    rs_mapped_digest(r->o.rotations, digest, tensors, &size);
    const rs_prov *prov = rs_reader_prov(r->s->reader, &n);
    for (size_t i = 0; i < n; i++) {
        const rs_input_sum *in = rs_reader_inputs(r->s->reader, prov[i].step, &n_in);
        for (size_t k = 0; in != NULL && strcmp(prov[i].tool, "rs-fuse") == 0 && k < n_in; k++)
            if (memcmp(in[k].digest, digest, sizeof digest) == 0) return RS_OK;
    }
    return rs_fail(e, RS_E_PROV, "no rs-fuse in the provenance of the input names these rotations");
}

static rs_status run_weights(rs_residual *r, void (*tick)(void *context, double done), void *context, rs_error *e)
{
    if (r->o.rotations != NULL) {
        rs_input_sum sum = {.fmt = "rsq"};
        rs_mapped_digest(r->o.rotations, sum.digest, NULL, &sum.size);
        RS_TRY(rs_stage_add_input(r->s, &sum, e));
    }
    if (r->o.text != NULL) RS_TRY(rs_stage_add_input(r->s, r->o.text, e));
    RS_TRY(rs_prelude_write(r->prelude, r->s->writer, false, e));
    RS_TRY(rs_relay_open(&r->relay, r->s, e));
    const rs_relay_item *it;
    for (double done = 0;;) {
        RS_TRY(rs_relay_next(r->relay, &it, e));
        if (it->type == RS_FRAME_END) break;
        if (it->type == RS_FRAME_TENS && r->rotation != NULL) RS_TRY(weight(r, it, e));
        else RS_TRY(rs_relay_copy(r->relay, e));
        if (tick != NULL && it->type == RS_FRAME_TENS) tick(context, ++done);
    }
    RS_TRY(rs_relay_finish(r->relay, e));
    RS_TRY(check_provenance(r, e));
    return write_angles(r, e);
}

// ---- a set of rotations

// One basis of the set: rot.0 passes and starts the walk, rot.(j+1) becomes trans.j (left out when every junction has rank 0: rot.0 then serves for all).
static rs_status cut_basis(rs_residual *r, const rs_frame *f, rs_cut **c, float **raw, rs_error *e)
{
    const rs_tensor *t = f->tensor;
    uint64_t j = (uint64_t)t->layer, n = t->shape[0] * t->shape[0];
    if (t->dtype != RS_F32 || (*c != NULL && (t->shape[0] != r->d || j != r->n_loss + 1)) || (*c == NULL && j != 0))
        return rs_fail(e, RS_E_TENSOR, "tensor %s: bases come as f32, of one order, from rot.0 upwards", t->name);
    if (*c == NULL) {
        r->d = t->shape[0];
        RS_TRY(new_cut(r, c, e));
        *raw = malloc(n * sizeof **raw);
        r->product = malloc(n * sizeof *r->product);
    }
    if (*raw == NULL || r->product == NULL) return no_memory(r, e);
    RS_TRY(rs_reader_read_all(r->s->reader, *raw, e));
    for (uint64_t i = 0; i < n; i++) r->product[i] = (*raw)[i];
    if (j == 0) {
        RS_TRY(rs_cut_start(*c, r->product, e));
        return rs_writer_tensor(r->s->writer, t, *raw, e);
    }
    const float *q, *m;
    rs_lowrank_loss *loss = &r->loss[r->n_loss++];
    RS_TRY(rs_cut_next(*c, r->product, &q, &m, loss, e));
    RS_TRY(keep_angles(r, *c, j - 1, e));
    if (r->o.rule.rank == 0 && !(r->o.rule.energy > 0)) return RS_OK;
    return rs_rotation_write_junction(r->s->writer, j - 1, r->d, loss->rank, q, m, e);
}

// Statistics of a basis that is not in the output any more.
static bool about_cut_basis(const rs_frame *f)
{
    int64_t j;
    return f->type == RS_FRAME_STAT && rs_frames_index(f->stat->name, "rot.", &j) && j > 0;
}

// A set that says itself how its junctions turn keeps its word.
static void note_angles(rs_residual *r, const rs_frame *f)
{
    int64_t j;
    if (f->type == RS_FRAME_STAT && strcmp(f->stat->of, "angles") == 0 && f->stat->step + 1 == rs_stage_step(r->s) && rs_frames_index(f->stat->name, "junction.", &j) && (uint64_t)j < 2 * r->L)
        r->told[j] = true;
}

static rs_status run_rotations(rs_residual *r, rs_cut **c, float **raw, void (*tick)(void *context, double done), void *context, rs_error *e)
{
    for (double done = 0;;) {
        rs_frame f;
        RS_TRY(rs_reader_next(r->s->reader, &f, e));
        if (f.type == RS_FRAME_END) return write_angles(r, e);
        note_angles(r, &f);
        if (f.type == RS_FRAME_TENS && f.tensor->role == RS_ROLE_TRANS) return rs_fail(e, RS_USAGE, "tensor %s: a junction of the input is low-rank already", f.tensor->name);
        if (f.type == RS_FRAME_TENS && f.tensor->role == RS_ROLE_ROT) RS_TRY(cut_basis(r, &f, c, raw, e));
        else if (!about_cut_basis(&f)) RS_TRY(rs_stage_copy(r->s, &f, e));
        if (tick != NULL && f.type == RS_FRAME_TENS) tick(context, ++done);
    }
}

rs_status rs_residual_run(rs_residual *r, void (*tick)(void *context, double done), void *context, rs_error *e)
{
    if (r->head.kind == RS_KIND_WEIGHTS) return run_weights(r, tick, context, e);
    rs_cut *c = NULL;
    float *raw = NULL;
    rs_status status = run_rotations(r, &c, &raw, tick, context, e);
    rs_cut_free(c);
    free(raw);
    return status;
}
