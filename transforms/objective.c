// SPDX-License-Identifier: Apache-2.0
// Forward through all layers with the stream at each layer's input kept, loss in blocks of rows, backward through the layers in reverse.
#include "transforms/objective.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 128, HEAD_BLOCK = 8192 }; // rows of logits at a time; rows of the LM head decoded at a time

struct rs_objective {
    rs_network *n;
    rs_objective_options o;
    rs_objective_memory needs;
    rs_decoder_shape shape;    // of the network, with r3 and r4
    rs_hadamard *r3, *r4;
    size_t L, V, kept_size;
    const float *head;         // [V, d]
    float *head_copy;          // the same, where the file does not hold it as f32
    float *x;                  // [L + 1, S, d]: the stream at the input of each layer and at the end
    float *kept;               // slots of the last needs.kept layers; the first of them serves all layers before it, too
    float *scratch, *dx, *y;   // y [ROWS, d]
    float *folded;             // memory of `fold`; NULL where weights are not quantised
    rs_decoder_folded fold;    // the weights of layer fold_of as they are rounded under the rotations of this run
    size_t fold_of;            // L: none
    float *logits, *ref_logits, *ref;
    double nll[ROWS], kl[ROWS];
};

// ---- memory

static bool rounds_weights(const rs_objective *o) { return o->o.bits.w.bits != 0 && o->o.bits.w.bits < 16; }

// Of `layers` layers and `heads` matrices of the vocabulary.
static uint64_t weight_bytes(const rs_config *c, uint64_t layers, uint64_t heads)
{
    const uint64_t nq = c->n_q * c->h, nkv = c->n_kv * c->h, layer = c->d * (2 * nq + 2 * nkv + 3 * c->f);
    return (layers * layer + heads * c->V * c->d) * sizeof(float);
}

// What one layer needs, beside the stream at its input: kept values and scratch.
static rs_status plan_memory(rs_objective *o, rs_error *e)
{
    const rs_config *c = rs_network_config(o->n);
    const uint64_t S = o->o.S, d = c->d, stream = S * d * sizeof(float), kept = o->kept_size * sizeof(float), folded = rounds_weights(o) ? rs_decoder_folded_size(&o->shape) * sizeof(float) : 0,
                   scratch = rs_decoder_learn_scratch(&o->shape, S) * sizeof(float) + folded;
    const uint64_t logits = ROWS * (c->V + d) * sizeof(float) * (o->o.kl > 0 ? 2 : 1), fixed = (c->L + 2) * stream + scratch + logits + (o->o.kl > 0 ? stream : 0);
    rs_objective_memory *m = &o->needs;
    // The head, a layer, and the pages of the embedding that a sequence touches: they are given back when they have been used.
    const uint64_t rows = S * (64 << 10), embedding = weight_bytes(c, 0, 1);
    m->weights = weight_bytes(c, 1, 1) + (c->tied ? 0 : rows < embedding ? rows : embedding);
    m->params = o->o.params;
    const uint64_t least = m->weights + m->params + fixed + kept, allowed = o->o.mem != 0 ? o->o.mem : (weight_bytes(c, c->L, c->tied ? 1 : 2) + m->params + kept + scratch) / 2 * 3;
    if (o->o.mem != 0 && o->o.mem < least)
        return rs_fail(e, RS_USAGE, "--mem: %llu MiB are not enough, %llu MiB are the least: weights %llu, rotations and their state %llu, activations %llu", (unsigned long long)(o->o.mem >> 20),
                       (unsigned long long)(least >> 20) + 1, (unsigned long long)(m->weights >> 20), (unsigned long long)(m->params >> 20), (unsigned long long)((fixed + kept) >> 20));
    m->kept = allowed > least ? 1 + (allowed - least) / kept : 1;
    if (m->kept > c->L) m->kept = c->L;
    m->activations = fixed + m->kept * kept;
    m->total = m->weights + m->params + m->activations;
    return RS_OK;
}

static rs_status no_memory(rs_error *e, const char *what) { return rs_fail(e, RS_E_NOMEM, "no memory for %s", what); }

static float *floats(uint64_t n) { return aligned_alloc(64, (n * sizeof(float) + 127) / 64 * 64); }

static rs_status load_head(rs_objective *o, rs_error *e)
{
    o->head = rs_network_head_direct(o->n);
    if (o->head != NULL) return RS_OK;
    const size_t d = o->shape.d;
    o->head_copy = floats(o->V * d);
    if (o->head_copy == NULL) return no_memory(e, "the LM head");
    for (size_t v = 0; v < o->V; v += HEAD_BLOCK) RS_TRY(rs_network_head_rows(o->n, v, o->V - v < HEAD_BLOCK ? o->V - v : HEAD_BLOCK, o->head_copy + v * d, e));
    o->head = o->head_copy;
    return RS_OK;
}

static rs_status open_objective(rs_objective *o, rs_error *e)
{
    const rs_config *c = rs_network_config(o->n);
    const rs_plan *plan = &rs_network_head(o->n)->plan;
    const size_t S = o->o.S;
    if (plan->r3.on || plan->r4.on || plan->resid != RS_RESID_NONE) return rs_fail(e, RS_USAGE, "the model is rotated already: learn from the model as it was imported");
    if (c->L == 0) return rs_fail(e, RS_USAGE, "the model has no layers");
    o->o.bits.w.sym = true;
    o->L = (size_t)c->L;
    o->V = (size_t)c->V;
    o->shape = *rs_network_shape(o->n);
    o->r3 = rs_hadamard_new(c->h);
    o->r4 = rs_hadamard_new(c->f);
    if (o->r3 == NULL || o->r4 == NULL) return no_memory(e, "Hadamard matrices");
    o->shape.r3 = o->r3;
    o->shape.r4 = o->r4;
    o->kept_size = rs_decoder_learn_kept(&o->shape, S);
    RS_TRY(plan_memory(o, e));
    const size_t d = o->shape.d;
    o->x = floats((o->L + 1) * S * d);
    o->kept = floats(o->needs.kept * o->kept_size);
    o->scratch = floats(rs_decoder_learn_scratch(&o->shape, S));
    o->dx = floats(S * d);
    o->y = floats(2 * ROWS * d);
    o->logits = floats(ROWS * o->V);
    if (rounds_weights(o)) o->folded = floats(rs_decoder_folded_size(&o->shape));
    if (o->o.kl > 0) {
        o->ref_logits = floats(ROWS * o->V);
        o->ref = floats(S * d);
    }
    if (o->x == NULL || o->kept == NULL || o->scratch == NULL || o->dx == NULL || o->y == NULL || o->logits == NULL || (rounds_weights(o) && o->folded == NULL) || (o->o.kl > 0 && (o->ref == NULL || o->ref_logits == NULL)))
        return no_memory(e, "activations");
    return load_head(o, e);
}

rs_status rs_objective_new(rs_objective **out, rs_network *n, const rs_objective_options *options, rs_error *e)
{
    rs_objective *o = calloc(1, sizeof *o);
    *out = o;
    if (o == NULL) return no_memory(e, "an objective");
    o->n = n;
    o->o = *options;
    rs_status s = open_objective(o, e);
    if (s != RS_OK) {
        rs_objective_free(o);
        *out = NULL;
    }
    return s;
}

void rs_objective_free(rs_objective *o)
{
    if (o == NULL) return;
    rs_hadamard_free(o->r3);
    rs_hadamard_free(o->r4);
    free(o->head_copy);
    free(o->x);
    free(o->kept);
    free(o->scratch);
    free(o->folded);
    free(o->dx);
    free(o->y);
    free(o->logits);
    free(o->ref_logits);
    free(o->ref);
    free(o);
}

const rs_objective_memory *rs_objective_needs(const rs_objective *o) { return &o->needs; }

double rs_objective_flops(const rs_objective *o, bool derivatives)
{
    const double S = (double)o->o.S, d = (double)o->shape.d, f = (double)o->shape.f, h = (double)o->shape.h, nq = (double)o->shape.n_q * h, nkv = (double)o->shape.n_kv * h;
    const double weights = d * (2 * nq + 2 * nkv + 3 * f), rotations = 2 * 2 * d * d, heads = h * (nq + nkv), attention = S * nq / 2;
    const double layer = weights + rotations + heads + 2 * attention, head = d * (double)o->V;
    const double fold = rounds_weights(o) ? weights * d / S : 0; // one product of each weight by a rotation; its part of a slope costs as much again, and the derivative by it as much as by an activation
    const double back = (rounds_weights(o) ? weights + fold : 0) + weights + rotations + 2 * heads + 6 * attention; // scores are computed again, once for the queries and once for the keys
    const double teacher = o->o.kl > 0 ? (double)o->L * (weights + 2 * attention) + head : 0;
    return 2 * S * ((double)o->L * (layer + fold + (derivatives ? back : 0)) + head * (derivatives ? 2 : 1) + teacher);
}

// ---- forward and backward

static float *slot(const rs_objective *o, size_t i)
{
    const size_t first = o->L - o->needs.kept;
    return o->kept + (i >= first ? i - first : 0) * o->kept_size;
}

// The weights of layer i, folded and rounded; those of the layer before this call, if that was the same.
static rs_status fold(rs_objective *o, size_t i, rs_decoder_learn *l, rs_error *e)
{
    const size_t bad = o->fold_of == i ? 0 : rs_decoder_fold(&o->fold, l->k, &o->shape, l->layer, &l->bases, &o->o.bits.w, o->folded);
    if (bad > 0) return rs_fail(e, RS_E_VALUE, "layer %zu: %zu rows of weights hold NaN or infinity", i, bad);
    o->fold_of = i;
    l->folded = &o->fold;
    return RS_OK;
}

static rs_status layer(rs_objective *o, size_t i, const rs_objective_view *view, rs_decoder_learn *l, rs_error *e)
{
    if (o->o.stop != NULL && o->o.stop(o->o.context)) return RS_NO;
    const rs_decoder_layer *weights;
    RS_TRY(rs_network_load(o->n, i, &weights, e));
    *l = (rs_decoder_learn){.k = rs_network_kernels(o->n), .shape = &o->shape, .layer = weights, .bits = o->o.bits, .S = o->o.S};
    if (view == NULL) l->bits.a.bits = l->bits.kv.bits = 16;
    else {
        l->bases = (rs_decoder_bases){view->basis[2 * i], view->basis[2 * i + 1], view->head[i], view->basis[i + 1 < o->L ? 2 * i + 2 : 2 * i + 1]};
        if (o->folded != NULL) RS_TRY(fold(o, i, l, e));
    }
    return rs_network_rope(o->n, o->o.S, &l->cos, &l->sin, e);
}

static rs_status forward_layer(rs_objective *o, size_t i, const rs_objective_view *view, float *x, rs_error *e)
{
    rs_decoder_learn l;
    RS_TRY(layer(o, i, view, &l, e));
    const size_t bad = rs_decoder_learn_forward(&l, x, slot(o, i), o->scratch);
    return bad == 0 ? RS_OK : rs_fail(e, RS_E_VALUE, "layer %zu: %zu rows of activations hold NaN or infinity", i, bad);
}

// The full-precision stream behind the last layer, into ref.
static rs_status teach(rs_objective *o, const int32_t *ids, rs_error *e)
{
    RS_TRY(rs_network_embed(o->n, o->o.S, ids, o->ref, e));
    for (size_t i = 0; i < o->L; i++) RS_TRY(forward_layer(o, i, NULL, o->ref, e));
    return RS_OK;
}

static rs_status forward(rs_objective *o, const int32_t *ids, const rs_objective_view *view, rs_error *e)
{
    const size_t n = o->o.S * o->shape.d;
    RS_TRY(rs_network_embed(o->n, o->o.S, ids, o->x, e));
    for (size_t i = 0; i < o->L; i++) {
        memcpy(o->x + (i + 1) * n, o->x + i * n, n * sizeof(float));
        RS_TRY(forward_layer(o, i, view, o->x + (i + 1) * n, e));
    }
    return RS_OK;
}

static void logits(const rs_objective *o, size_t rows, const float *x, float *y, float *out)
{
    const rs_kernels *k = rs_network_kernels(o->n);
    const size_t d = o->shape.d;
    k->rmsnorm(rows, d, x, rs_network_final_norm(o->n), o->shape.eps, y);
    k->gemm_nt(rows, o->V, d, y, d, o->head, d, 0, out, o->V);
}

// Loss of all predictions; where derivatives are wanted, dx becomes that by the stream behind the last layer.
static void losses(rs_objective *o, const int32_t *ids, bool derivatives, double scale, rs_objective_loss *loss)
{
    const rs_kernels *k = rs_network_kernels(o->n);
    const size_t S = o->o.S, d = o->shape.d, n = S - 1;
    const float *x = o->x + o->L * S * d;
    const double weight = scale / (double)n;
    *loss = (rs_objective_loss){0};
    if (derivatives) memset(o->dx, 0, S * d * sizeof *o->dx);
    for (size_t at = 0; at < n; at += ROWS) {
        const size_t rows = n - at < ROWS ? n - at : ROWS;
        logits(o, rows, x + at * d, o->y, o->logits);
        if (o->ref != NULL) logits(o, rows, o->ref + at * d, o->y + ROWS * d, o->ref_logits);
        if (derivatives || o->ref != NULL) k->loss_grad(rows, o->V, o->logits, o->V, ids + at + 1, o->ref_logits, o->V, o->o.ce * weight, o->o.kl * weight, o->nll, o->kl);
        else k->cross_entropy(rows, o->V, o->logits, o->V, ids + at + 1, o->nll, NULL);
        for (size_t i = 0; i < rows; i++) {
            loss->nll += o->nll[i] / (double)n;
            if (o->ref != NULL) loss->kl += o->kl[i] / (double)n;
        }
        if (!derivatives) continue;
        k->gemm_nn(rows, d, o->V, o->logits, o->V, o->head, d, 0, o->y, d);
        k->rmsnorm_grad(rows, d, x + at * d, rs_network_final_norm(o->n), o->shape.eps, o->y, o->dx + at * d);
    }
    loss->total = o->o.ce * loss->nll + o->o.kl * loss->kl;
}

static bool all_finite(size_t n, const float *x)
{
    float sum = 0; // NaN and infinity times 0 are NaN, and stay
    for (size_t i = 0; i < n; i++) sum += 0 * x[i];
    return sum == 0;
}

static rs_status backward(rs_objective *o, const rs_objective_view *view, rs_error *e)
{
    const size_t n = o->o.S * o->shape.d;
    for (size_t i = o->L; i-- > 0;) {
        rs_decoder_learn l;
        if (i < o->L - o->needs.kept) {
            // The stream behind this layer is not needed any more: it is computed again in its place.
            float *again = o->x + (i + 1) * n;
            memcpy(again, o->x + i * n, n * sizeof(float));
            RS_TRY(forward_layer(o, i, view, again, e));
        }
        RS_TRY(layer(o, i, view, &l, e));
        rs_decoder_learn_backward(&l, o->x + i * n, slot(o, i), o->dx, (rs_decoder_slopes){view->slope[2 * i], view->slope[2 * i + 1], view->head_slope[i], view->slope[i + 1 < o->L ? 2 * i + 2 : 2 * i + 1]}, o->scratch);
        if (!all_finite(n, o->dx)) return rs_fail(e, RS_E_VALUE, "layer %zu: the gradient holds NaN or infinity", i);
    }
    return RS_OK;
}

rs_status rs_objective_run(rs_objective *o, const int32_t *ids, const rs_objective_view *view, rs_objective_loss *loss, rs_error *e)
{
    const bool derivatives = view->slope != NULL;
    o->fold_of = o->L; // rotations may have moved
    for (size_t s = 0; s < o->o.S; s++)
        if (ids[s] < 0 || (size_t)ids[s] >= o->V) return rs_fail(e, RS_E_VALUE, "token %zu: id %d is outside the vocabulary of %zu", s, ids[s], o->V);
    if (o->ref != NULL) RS_TRY(teach(o, ids, e));
    RS_TRY(forward(o, ids, view, e));
    losses(o, ids, derivatives, view->scale, loss);
    if (!isfinite(loss->total)) return rs_fail(e, RS_E_VALUE, "behind layer %zu: the loss is not a number", o->L - 1);
    return derivatives ? backward(o, view, e) : RS_OK;
}
