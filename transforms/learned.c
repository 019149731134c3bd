// SPDX-License-Identifier: Apache-2.0
// Parameters of a rotation set in one list of arrays; matrices take their steps side by side, junctions one after the other.
#include "transforms/learned.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/threads.h"
#include "transforms/adam.h"
#include "transforms/angles.h"
#include "transforms/cayley_series.h"
#include "transforms/chain.h"
#include "transforms/cut.h"
#include "transforms/dense.h"

#define TIDY 8 // steps between two repairs of rounding drift
#define BETA1 0.9
#define BETA2 0.95
#define EPS 1e-8

// Arrays of parameters, then the best copy of each, then moments.
enum { R, P, U, V, PARAMETERS, R_M = PARAMETERS, R_V, P_M, P_V, U_M, U_V, V_M, V_V, ARRAYS };
static const char *const array_names[ARRAYS] = {"bases", "heads", "u", "v", "bases.m", "bases.v", "heads.m", "heads.v", "u.m", "u.v", "v.m", "v.v"};
static const char *const best_names[PARAMETERS] = {"best.bases", "best.heads", "best.u", "best.v"};

struct rs_learned {
    rs_learned_shape shape;
    size_t d, h, L, bases, dense, junctions, r2; // bases 2L; dense: matrices among the parameters; junctions 2L - 1 of CHAIN, else 0
    size_t n[ARRAYS];
    float *a[ARRAYS], *best[PARAMETERS];
    float *live;              // CHAIN: bases 1..2L-1, made from the parameters
    float *saved;             // CHAIN: what the forward of each junction keeps
    float *slopes, *head_slopes, *du, *dv;
    const float **basis, **head;
    float **slope, **head_slope;
    rs_objective_view view;
    uint64_t steps;
    uint64_t version;         // of the matrices, from 1
    char *work;               // one part for each thread
    size_t work_size;
    int threads;
    const rs_memory *there;   // where the steps are taken, beside the process,
    void *work_there;         // and work there
};

// ---- memory

static void sizes(const rs_learned_shape *s, size_t n[ARRAYS])
{
    const size_t d = s->d, h = s->h, bases = 2 * s->L, dense = s->mode == RS_LEARN_DENSE ? bases : 1, junctions = s->mode == RS_LEARN_CHAIN ? bases - 1 : 0;
    n[R] = dense * d * d;
    n[P] = s->L * h * h;
    n[U] = n[V] = junctions * d * (s->rank / 2);
    n[R_M] = n[R_V] = s->adam ? n[R] : 0;
    n[P_M] = n[P_V] = s->adam ? n[P] : 0;
    n[U_M] = n[U_V] = n[V_M] = n[V_V] = n[U];
}

static size_t slopes_of(const rs_learned_shape *s) { return s->mode == RS_LEARN_GLOBAL ? 1 : 2 * s->L; }
static size_t work_of(const rs_learned_shape *s) { return (rs_cayley_work(s->d > s->h ? s->d : s->h) + 63) / 64 * 64; }

uint64_t rs_learned_bytes(const rs_learned_shape *s, int threads)
{
    size_t n[ARRAYS], total = 0;
    sizes(s, n);
    for (int i = 0; i < ARRAYS; i++) total += i < PARAMETERS ? 2 * n[i] : n[i];
    total += slopes_of(s) * s->d * s->d + n[P] + n[U] + n[V];
    if (s->mode == RS_LEARN_CHAIN) total += (2 * s->L - 1) * (s->d * s->d + rs_chain_saved(s->d, s->rank / 2));
    return total * sizeof(float) + (uint64_t)threads * work_of(s);
}

static bool steps_there(const rs_learned_shape *s) { return !s->adam && s->mode != RS_LEARN_CHAIN; }

bool rs_learned_steps_there(const rs_learned *s) { return steps_there(&s->shape); }

static size_t work_there_of(const rs_learned_shape *s) { return rs_cayley_series_work(s->d > s->h ? s->d : s->h); }

uint64_t rs_learned_mirrors(const rs_learned_shape *s)
{
    return (steps_there(s) ? work_there_of(s) : 0) + (((s->mode == RS_LEARN_GLOBAL ? 1 : 2 * s->L) + slopes_of(s)) * s->d * s->d + 2 * s->L * s->h * s->h) * sizeof(float);
}

static rs_status no_memory(rs_error *e) { return rs_fail(e, RS_E_NOMEM, "no memory for the rotations that are learned"); }

static float *zeros(size_t n) { return calloc(n + 1, sizeof(float)); }

static rs_status allocate(rs_learned *s, rs_error *e)
{
    bool ok = true;
    sizes(&s->shape, s->n);
    for (int i = 0; i < ARRAYS; i++) ok = (s->a[i] = zeros(s->n[i])) != NULL && ok;
    for (int i = 0; i < PARAMETERS; i++) ok = (s->best[i] = zeros(s->n[i])) != NULL && ok;
    s->live = zeros(s->junctions * s->d * s->d);
    s->saved = zeros(s->junctions * rs_chain_saved(s->d, s->r2));
    s->slopes = zeros(slopes_of(&s->shape) * s->d * s->d);
    s->head_slopes = zeros(s->n[P]);
    s->du = zeros(s->n[U]);
    s->dv = zeros(s->n[V]);
    s->basis = malloc(s->bases * sizeof *s->basis);
    s->slope = malloc(s->bases * sizeof *s->slope);
    s->head = malloc(s->L * sizeof *s->head);
    s->head_slope = malloc(s->L * sizeof *s->head_slope);
    s->work_size = work_of(&s->shape);
    s->work = malloc((size_t)s->threads * s->work_size);
    ok = ok && s->live != NULL && s->saved != NULL && s->slopes != NULL && s->head_slopes != NULL && s->du != NULL && s->dv != NULL;
    return ok && s->basis != NULL && s->slope != NULL && s->head != NULL && s->head_slope != NULL && s->work != NULL ? RS_OK : no_memory(e);
}

rs_status rs_learned_new(rs_learned **out, const rs_learned_shape *shape, rs_error *e)
{
    *out = NULL;
    if (shape->L < 1 || shape->L > 65536 || shape->d < 1 || shape->d > (1u << 16) || shape->h < 1 || shape->h > shape->d) return rs_fail(e, RS_E_LIMIT, "rotations of %llu layers of width %llu", (unsigned long long)shape->L, (unsigned long long)shape->d);
    if (shape->mode == RS_LEARN_CHAIN && (shape->rank % 2 != 0 || shape->rank < 2 || shape->rank > shape->d)) return rs_fail(e, RS_USAGE, "a chain needs an even rank in 2..%llu", (unsigned long long)shape->d);
    rs_learned *s = calloc(1, sizeof *s);
    if (s == NULL) return no_memory(e);
    *s = (rs_learned){.shape = *shape, .d = shape->d, .h = shape->h, .L = shape->L, .bases = 2 * shape->L, .threads = rs_threads_get()};
    if (shape->mode == RS_LEARN_CHAIN) {
        s->junctions = s->bases - 1;
        s->r2 = shape->rank / 2;
    } else s->shape.rank = 0;
    s->dense = shape->mode == RS_LEARN_DENSE ? s->bases : 1;
    rs_status status = allocate(s, e);
    if (status != RS_OK) {
        rs_learned_free(s);
        return status;
    }
    const size_t dd = s->d * s->d, hh = s->h * s->h;
    for (size_t j = 0; j < s->bases; j++) {
        s->basis[j] = s->junctions > 0 && j > 0 ? s->live + (j - 1) * dd : s->a[R] + (s->dense > 1 ? j : 0) * dd;
        s->slope[j] = s->slopes + (shape->mode == RS_LEARN_GLOBAL ? 0 : j) * dd;
    }
    for (size_t i = 0; i < s->L; i++) {
        s->head[i] = s->a[P] + i * hh;
        s->head_slope[i] = s->head_slopes + i * hh;
    }
    *out = s;
    return RS_OK;
}

void rs_learned_free(rs_learned *s)
{
    if (s == NULL) return;
    for (int i = 0; i < ARRAYS; i++) free(s->a[i]);
    for (int i = 0; i < PARAMETERS; i++) free(s->best[i]);
    free(s->live);
    free(s->saved);
    free(s->slopes);
    free(s->head_slopes);
    free(s->du);
    free(s->dv);
    free(s->basis);
    free(s->slope);
    free(s->head);
    free(s->head_slope);
    free(s->work);
    if (s->work_there != NULL) s->there->release(s->work_there);
    free(s);
}

// ---- where it starts

static void narrow(size_t n, const double *x, float *y)
{
    for (size_t i = 0; i < n; i++) y[i] = (float)x[i];
}

static rs_status start_bases(rs_learned *s, rs_rotation *from, bool unsign, rs_error *e)
{
    const size_t d = s->d;
    const int8_t *signs;
    for (size_t j = 0; j < s->dense; j++) {
        const double *basis;
        RS_TRY(rs_rotation_basis(from, j, &basis, e));
        float *to = s->a[R] + j * d * d;
        narrow(d * d, basis, to);
        if (!unsign || rs_rotation_hadamard(from, &signs) == NULL) continue;
        for (size_t i = 0; i < d * d; i++) to[i] *= signs[i / d];
    }
    return RS_OK;
}

static rs_status start_junctions(rs_learned *s, rs_rotation *from, uint64_t seed, rs_error *e)
{
    for (size_t j = 0; j < s->junctions; j++) {
        uint64_t rank = 0;
        const float *q = NULL, *m = NULL;
        const size_t at = j * s->d * s->r2;
        if (!rs_rotation_is_global(from)) RS_TRY(rs_rotation_junction(from, j, &rank, &q, &m, e));
        rs_status status = rs_chain_from_qs(s->d, rank, q, m, s->r2, seed, j, s->a[U] + at, s->a[V] + at, e);
        if (status != RS_OK) return rs_error_prefix(e, status, "junction %zu", j);
    }
    return RS_OK;
}

rs_status rs_learned_start(rs_learned *s, rs_rotation *from, bool unsign, uint64_t seed, rs_error *e)
{
    if (rs_rotation_layers(from) != s->L || rs_rotation_d(from) != s->d || (rs_rotation_h(from) != 0 && rs_rotation_h(from) != s->h))
        return rs_fail(e, RS_USAGE, "a start for %llu layers of width %llu, head size %llu; the model has %zu of width %zu, head size %zu", (unsigned long long)rs_rotation_layers(from),
                       (unsigned long long)rs_rotation_d(from), (unsigned long long)rs_rotation_h(from), s->L, s->d, s->h);
    if (s->shape.mode == RS_LEARN_GLOBAL && !rs_rotation_is_global(from)) return rs_fail(e, RS_USAGE, "one rotation for all layers cannot start at a layer-wise set");
    if (s->shape.mode == RS_LEARN_CHAIN && !rs_rotation_is_global(from) && !rs_rotation_is_chain(from)) return rs_fail(e, RS_USAGE, "a chain cannot start at dense junctions: cut them with rs-residual first");
    RS_TRY(start_bases(s, from, unsign, e));
    for (size_t i = 0; i < s->L; i++) {
        const double *head;
        float *to = s->a[P] + i * s->h * s->h;
        RS_TRY(rs_rotation_head(from, i, &head, e));
        if (head != NULL) narrow(s->h * s->h, head, to);
        else for (size_t k = 0; k < s->h; k++) to[k * (s->h + 1)] = 1;
    }
    RS_TRY(start_junctions(s, from, seed, e));
    rs_learned_keep(s);
    return rs_learned_refresh(s, e);
}

// ---- the bases

rs_status rs_learned_refresh(rs_learned *s, rs_error *e)
{
    const rs_kernels *k = rs_kernels_cpu();
    s->version++;
    for (size_t j = 0; j < s->junctions; j++) {
        const size_t at = j * s->d * s->r2;
        rs_status status = rs_chain_forward(k, s->d, s->r2, s->a[U] + at, s->a[V] + at, s->basis[j], s->live + j * s->d * s->d, s->saved + j * rs_chain_saved(s->d, s->r2), e);
        if (status != RS_OK) return rs_error_prefix(e, status, "junction %zu", j);
    }
    return RS_OK;
}

const rs_objective_view *rs_learned_view(rs_learned *s, bool slopes, double scale)
{
    s->view = (rs_objective_view){.basis = s->basis, .head = s->head, .slope = slopes ? s->slope : NULL, .head_slope = s->head_slope, .scale = scale, .version = s->version};
    return &s->view;
}

void rs_learned_clear(rs_learned *s)
{
    memset(s->slopes, 0, slopes_of(&s->shape) * s->d * s->d * sizeof *s->slopes);
    memset(s->head_slopes, 0, s->n[P] * sizeof *s->head_slopes);
}

void rs_learned_keep(rs_learned *s)
{
    for (int i = 0; i < PARAMETERS; i++) memcpy(s->best[i], s->a[i], s->n[i] * sizeof(float));
}

void rs_learned_recall(rs_learned *s)
{
    s->version++;
    for (int i = 0; i < PARAMETERS; i++) memcpy(s->a[i], s->best[i], s->n[i] * sizeof(float));
}

void rs_learned_swap(rs_learned *s)
{
    s->version++;
    for (int i = 0; i < PARAMETERS; i++)
        for (size_t k = 0; k < s->n[i]; k++) {
            const float x = s->a[i][k];
            s->a[i][k] = s->best[i][k];
            s->best[i][k] = x;
        }
}

// ---- a step

struct turn {
    rs_learned *s;
    const rs_learned_rates *rates;
    rs_status *status; // of each matrix: bases, then head rotations
    rs_error *error;   // of each thread
    rs_cayley_info *info;
};

// Matrix i and its slope: the bases first, then the head rotations.
struct matrix {
    bool head;
    size_t n, at;
    double rate;
    float *r, *slope;
};

static struct matrix matrix(rs_learned *s, size_t i, const rs_learned_rates *rates)
{
    const bool head = i >= s->dense;
    const size_t n = head ? s->h : s->d, at = (head ? i - s->dense : i) * n * n;
    return (struct matrix){head, n, at, head ? rates->heads : rates->bases, s->a[head ? P : R] + at, (head ? s->head_slopes : s->slopes) + at};
}

static rs_status name_matrix(const rs_learned *s, size_t i, rs_status status, rs_error *e)
{
    return i >= s->dense ? rs_error_prefix(e, status, "head rotation of layer %zu", i - s->dense) : rs_error_prefix(e, status, "basis %zu", i);
}

static rs_status turn_matrix(struct turn *t, size_t i, void *work, rs_error *e)
{
    rs_learned *s = t->s;
    const rs_kernels *k = rs_kernels_cpu();
    const struct matrix x = matrix(s, i, t->rates);
    const size_t n = x.n;
    float *r = x.r;
    rs_status status = s->shape.adam ? rs_cayley_adam_step(n, r, x.slope, s->a[x.head ? P_M : R_M] + x.at, s->a[x.head ? P_V : R_V] + x.at, s->steps, x.rate, BETA1, BETA2, EPS, work, &t->info[i], e)
                                     : rs_cayley_step(n, r, x.slope, x.rate, work, &t->info[i], e);
    if (status != RS_OK) return name_matrix(s, i, status, e);
    if (s->steps % TIDY == 0) (void)rs_cayley_tidy(k, n, r, work);
    return RS_OK;
}

static void turn_piece(void *context, size_t thread)
{
    struct turn *t = context;
    rs_learned *s = t->s;
    for (size_t i = thread; i < s->dense + s->L; i += (size_t)s->threads) t->status[i] = turn_matrix(t, i, s->work + thread * s->work_size, &t->error[thread]);
}

static void moved(rs_learned_move *move, double w)
{
    move->largest = w > move->largest ? w : move->largest;
    move->squares += w * w;
}

static rs_status turn_all(rs_learned *s, const rs_learned_rates *rates, rs_learned_move *move, rs_error *e)
{
    const size_t n = s->dense + s->L, threads = (size_t)s->threads;
    struct turn t = {s, rates, calloc(n, sizeof *t.status), calloc(threads, sizeof *t.error), calloc(n, sizeof *t.info)};
    rs_status status = t.status == NULL || t.error == NULL || t.info == NULL ? no_memory(e) : RS_OK;
    if (status == RS_OK) rs_threads_for(threads, turn_piece, &t);
    for (size_t i = 0; status == RS_OK && i < n; i++) {
        if (t.status[i] != RS_OK) status = rs_fail(e, t.status[i], "%s", t.error[i % threads].text);
        moved(move, t.info[i].tangent);
    }
    free(t.status);
    free(t.error);
    free(t.info);
    return status;
}

// Slopes to skew matrices W, so that what junctions pass down adds up.
static void skew_piece(void *context, size_t j)
{
    rs_learned *s = context;
    float *w = s->slopes + j * s->d * s->d;
    for (size_t a = 0; a < s->d; a++)
        for (size_t b = 0; b <= a; b++) {
            const float x = 0.5f * w[a * s->d + b] - 0.5f * w[b * s->d + a];
            w[a * s->d + b] = x;
            w[b * s->d + a] = -x;
        }
}

static rs_status step_junctions(rs_learned *s, double rate, rs_error *e)
{
    const rs_kernels *k = rs_kernels_cpu();
    const size_t dd = s->d * s->d;
    if (s->junctions == 0) return RS_OK;
    rs_threads_for(s->bases, skew_piece, s);
    for (size_t j = s->junctions; j-- > 0;) {
        const size_t at = j * s->d * s->r2;
        rs_status status = rs_chain_slopes(k, s->d, s->r2, s->saved + j * rs_chain_saved(s->d, s->r2), s->slopes + (j + 1) * dd, s->du + at, s->dv + at, s->slopes + j * dd, e);
        if (status != RS_OK) return rs_error_prefix(e, status, "basis %zu", j + 1);
    }
    RS_TRY(rs_adam_step(s->n[U], s->a[U], s->du, s->a[U_M], s->a[U_V], s->steps, rate, BETA1, BETA2, EPS, 0, e));
    return rs_adam_step(s->n[V], s->a[V], s->dv, s->a[V_M], s->a[V_V], s->steps, rate, BETA1, BETA2, EPS, 0, e);
}

rs_status rs_learned_step(rs_learned *s, const rs_learned_rates *rates, rs_learned_move *move, rs_error *e)
{
    *move = (rs_learned_move){0};
    s->steps++;
    RS_TRY(step_junctions(s, rates->chain, e));
    RS_TRY(turn_all(s, rates, move, e));
    return rs_learned_refresh(s, e);
}

static rs_status turn_there(rs_learned *s, size_t i, const rs_kernels *k, rs_mirrors *m, const rs_learned_rates *rates, rs_learned_move *move, rs_error *e)
{
    const struct matrix x = matrix(s, i, rates);
    const size_t count = x.n * x.n;
    rs_cayley_info info = {0};
    float *r, *slope;
    RS_TRY(rs_mirrors_change(m, x.r, count, &r, e));
    RS_TRY(rs_mirrors_sum(m, x.slope, count, &slope, e));
    rs_mirrors_meet(m);
    rs_status status = rs_cayley_series(k, x.n, r, slope, x.rate, s->steps % TIDY == 0, s->work_there, &info, e);
    if (status == RS_E_INTERNAL) return status;
    if (status != RS_OK) return name_matrix(s, i, status, e);
    moved(move, info.tangent);
    return RS_OK;
}

rs_status rs_learned_step_there(rs_learned *s, const rs_kernels *k, rs_mirrors *m, const rs_learned_rates *rates, rs_learned_move *move, rs_error *e)
{
    *move = (rs_learned_move){0};
    s->steps++;
    s->there = rs_memory_of(k);
    if (s->work_there == NULL) s->work_there = s->there->alloc(work_there_of(&s->shape));
    if (s->work_there == NULL) return no_memory(e);
    for (size_t i = 0; i < s->dense + s->L; i++) RS_TRY(turn_there(s, i, k, m, rates, move, e));
    rs_mirrors_drop(m);
    return RS_OK;
}

// ---- onto a chain

static rs_status project(rs_learned *s, rs_cut *c, double *wide, rs_error *e)
{
    const size_t n = s->d * s->d;
    for (size_t j = 0; j < s->dense; j++) {
        float *r = s->a[R] + j * n;
        const float *q, *m;
        rs_lowrank_loss loss;
        for (size_t i = 0; i < n; i++) wide[i] = r[i];
        RS_TRY(rs_dense_orthonormalise(s->d, s->d, wide, e));
        rs_status status = j == 0 ? rs_cut_start(c, wide, e) : rs_cut_next(c, wide, &q, &m, &loss, e);
        if (status != RS_OK) return rs_error_prefix(e, status, "basis %zu", j);
        narrow(n, rs_cut_basis(c), r);
    }
    return RS_OK;
}

rs_status rs_learned_project(rs_learned *s, uint64_t rank, rs_error *e)
{
    if (s->shape.mode != RS_LEARN_DENSE) return RS_OK;
    s->version++;
    rs_cut *c = NULL;
    double *wide = malloc(s->d * s->d * sizeof *wide);
    rs_status status = wide == NULL ? no_memory(e) : rs_cut_new(&c, s->L, s->d, &(rs_lowrank_rule){.rank = rank}, false, e);
    if (status == RS_OK) status = project(s, c, wide, e);
    rs_cut_free(c);
    free(wide);
    return status;
}

// ---- files

// How far a stored matrix is from orthogonal, as a statistics frame behind it.
static rs_status write_error(rs_writer *w, rs_role role, uint64_t j, double error, rs_error *e)
{
    rs_arena *a = rs_arena_new();
    rs_value *values = rs_value_map(a);
    rs_stat_head head = {.of = "weight", .step = rs_writer_steps(w) - 1, .values = values};
    snprintf(head.name, sizeof head.name, "%s.%llu", rs_role_name(role), (unsigned long long)j);
    rs_status status = rs_map_put(a, values, "orthogonality", rs_value_f64(a, error)) ? rs_writer_stat(w, &head, NULL, e) : no_memory(e);
    rs_arena_free(a);
    return status;
}

// One matrix of order n, orthonormalised; f64 holds what was stored afterwards.
static rs_status write_matrix(rs_writer *w, rs_role role, uint64_t j, size_t n, const float *from, float *f32, double *f64, double *error, rs_error *e)
{
    double off;
    memcpy(f32, from, n * n * sizeof *f32);
    rs_status status = rs_cayley_polish(n, f32, &off, e);
    if (status != RS_OK) return rs_error_prefix(e, status, "%s.%llu", rs_role_name(role), (unsigned long long)j);
    *error = off > *error ? off : *error;
    for (size_t i = 0; i < n * n; i++) f64[i] = f32[i];
    RS_TRY(role == RS_ROLE_ROT ? rs_rotation_write_basis(w, j, n, f64, e) : rs_rotation_write_headrot(w, j, n, f64, e));
    return write_error(w, role, j, off, e);
}

// The frame of junction j, between the bases that before and now [d, d] hold; the last one leads from a basis to itself.
static rs_status write_angles(const rs_learned *s, rs_writer *w, size_t j, const double *before, const double *now, rs_error *e)
{
    float *theta = calloc(s->d + 1, sizeof *theta);
    double error = 0;
    rs_arena *a = rs_arena_new();
    rs_value *values = rs_value_map(a);
    rs_status status = theta == NULL ? no_memory(e) : before != now ? rs_angles_between(s->d, before, now, theta, &error, e) : RS_OK;
    if (status == RS_OK && before != now && !rs_map_put(a, values, "orthogonality", rs_value_f64(a, error))) status = no_memory(e);
    if (status == RS_OK) status = rs_angles_write(w, rs_writer_steps(w) - 1, j, s->d, theta, values, e);
    rs_arena_free(a);
    free(theta);
    return status;
}

// That of a junction of rank r, which turns nothing outside its subspace: the angles are those of S = m + I.
static rs_status write_chain_angles(const rs_learned *s, rs_writer *w, size_t j, size_t r, const float *m, rs_error *e)
{
    float *theta = calloc(s->d + 1, sizeof *theta);
    double *S = malloc((r * r + r + 1) * sizeof *S), *wide = S + r * r;
    rs_status status = theta == NULL || S == NULL ? no_memory(e) : RS_OK;
    for (size_t i = 0; status == RS_OK && i < r * r; i++) S[i] = (double)m[i] + (i % (r + 1) == 0 ? 1 : 0);
    if (status == RS_OK && r > 0) status = rs_dense_orthonormalise(r, r, S, e);
    if (status == RS_OK) status = rs_angles_of(r, S, wide, e);
    for (size_t i = 0; status == RS_OK && i < r; i++) theta[i] = (float)wide[i];
    if (status == RS_OK) status = rs_angles_write(w, rs_writer_steps(w) - 1, j, s->d, theta, NULL, e);
    free(theta);
    free(S);
    return status;
}

static rs_status write_junction(rs_learned *s, rs_writer *w, size_t j, size_t r, const float *q, const float *m, bool angles, rs_error *e)
{
    RS_TRY(rs_rotation_write_junction(w, j, s->d, r, q, m, e));
    return angles ? write_chain_angles(s, w, j, r, m, e) : RS_OK;
}

// f64 has room for two matrices.
static rs_status write_set(rs_learned *s, rs_writer *w, bool angles, float *f32, double *f64, double *error, rs_error *e)
{
    const size_t r = 2 * s->r2, n = s->d * s->d;
    double *now = f64;
    for (size_t i = 0; i < s->L; i++) RS_TRY(write_matrix(w, RS_ROLE_HEADROT, i, s->h, s->head[i], f32, f64, error, e));
    for (size_t j = 0; j < s->dense; j++) {
        now = f64 + j % 2 * n;
        RS_TRY(write_matrix(w, RS_ROLE_ROT, j, s->d, s->a[R] + j * n, f32, now, error, e));
        if (angles && j > 0) RS_TRY(write_angles(s, w, j - 1, f64 + (j - 1) % 2 * n, now, e));
    }
    if (s->shape.mode == RS_LEARN_DENSE) {
        RS_TRY(rs_rotation_write_basis(w, s->bases, s->d, now, e)); // the last one again, before the head
        return angles ? write_angles(s, w, s->bases - 1, now, now, e) : RS_OK;
    }
    for (size_t j = 0; j < s->junctions; j++) {
        const size_t at = j * s->d * s->r2;
        RS_TRY(rs_chain_qs(s->d, s->r2, s->a[U] + at, s->a[V] + at, f32, f32 + s->d * r, e));
        RS_TRY(write_junction(s, w, j, r, f32, f32 + s->d * r, angles, e));
    }
    return s->junctions > 0 ? write_junction(s, w, s->junctions, 0, NULL, NULL, angles, e) : RS_OK;
}

rs_status rs_learned_write(rs_learned *s, rs_writer *w, bool angles, double *error, rs_error *e)
{
    const size_t n = s->d * s->d, r = 2 * s->r2, room = n > r * (s->d + r) ? n : r * (s->d + r);
    float *f32 = malloc(room * sizeof *f32);
    double *f64 = malloc(2 * n * sizeof *f64);
    *error = 0;
    rs_status status = f32 == NULL || f64 == NULL ? no_memory(e) : write_set(s, w, angles, f32, f64, error, e);
    free(f32);
    free(f64);
    return status;
}

bool rs_learned_array(rs_learned *s, size_t i, const char **name, float **data, size_t *n)
{
    if (i >= ARRAYS + PARAMETERS) return false;
    const size_t k = i < ARRAYS ? i : i - ARRAYS;
    *name = i < ARRAYS ? array_names[k] : best_names[k];
    *data = i < ARRAYS ? s->a[k] : s->best[k];
    *n = s->n[k];
    return true;
}

uint64_t *rs_learned_count(rs_learned *s) { return &s->steps; }
