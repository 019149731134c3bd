// SPDX-License-Identifier: Apache-2.0
// Forward through all layers with the stream at each layer's input kept, loss in blocks of rows, backward through the layers in reverse.
#include <math.h>
#include <stdlib.h>

#include "transforms/objective_inside.h"

static rs_status no_memory(rs_error *e, const char *what) { return rs_fail(e, RS_E_NOMEM, "no memory for %s", what); }

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
    return rs_objective_allocate(o, e);
}

rs_status rs_objective_new(rs_objective **out, rs_network *n, const rs_objective_options *options, rs_error *e)
{
    rs_objective *o = calloc(1, sizeof *o);
    *out = o;
    if (o == NULL) return no_memory(e, "an objective");
    o->n = n;
    o->k = rs_network_kernels(n);
    o->memory = rs_memory_of(o->k);
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
    rs_objective_release(o);
    free(o);
}

rs_mirrors *rs_objective_mirrors(rs_objective *o) { return o->mirrors; }

const rs_objective_memory *rs_objective_needs(const rs_objective *o) { return &o->needs; }

double rs_objective_flops(const rs_objective *o, bool derivatives)
{
    const double S = (double)o->o.S, d = (double)o->shape.d, f = (double)o->shape.f, h = (double)o->shape.h, nq = (double)o->shape.n_q * h, nkv = (double)o->shape.n_kv * h;
    const double weights = d * (2 * nq + 2 * nkv + 3 * f), rotations = 2 * 2 * d * d, heads = h * (nq + nkv), attention = S * nq / 2;
    const double layer = weights + rotations + heads + 2 * attention, head = d * (double)o->V;
    const double fold = rs_objective_rounds(o) ? weights * d / S : 0; // one product of each weight by a rotation; its part of a slope costs as much again, and the derivative by it as much as by an activation
    const double back = (rs_objective_rounds(o) ? weights + fold : 0) + weights + rotations + 2 * heads + 6 * attention; // scores are computed again, once for the queries and once for the keys
    const double teacher = o->o.kl > 0 ? (double)o->L * (weights + 2 * attention) + head : 0;
    return 2 * S * ((double)o->L * (layer + fold + (derivatives ? back : 0)) + head * (derivatives ? 2 : 1) + teacher);
}

// ---- forward and backward

static float *slot(const rs_objective *o, size_t i)
{
    const size_t first = o->L - o->needs.kept;
    return o->kept + (i >= first ? i - first : 0) * o->kept_size;
}

static void copy(const rs_objective *o, const float *from, float *to) { o->memory->move(to, from, o->o.S * o->shape.d * sizeof *to); }

// The weights of layer i, folded and rounded; those of the layer before this call, if that was the same.
static rs_status fold(rs_objective *o, size_t i, rs_decoder_learn *l, rs_error *e)
{
    const size_t bad = o->fold_of == i ? 0 : rs_decoder_fold(&o->fold, l->k, &o->shape, l->layer, &l->bases, &o->o.bits.w, o->folded);
    if (bad > 0) return rs_fail(e, RS_E_VALUE, "layer %zu: %zu rows of weights hold NaN or infinity", i, bad);
    o->fold_of = i;
    l->folded = &o->fold;
    return RS_OK;
}

// The place in a view of the basis behind layer i: the one before the next layer, or the last one, which the head reads.
static size_t next(const rs_objective *o, size_t i) { return i + 1 < o->L ? 2 * i + 2 : 2 * i + 1; }

// The rotations of layer i where the operations can reach them.
static rs_status bases(rs_objective *o, size_t i, const rs_objective_view *view, rs_decoder_bases *b, rs_error *e)
{
    const size_t d = o->shape.d, h = o->shape.h;
    RS_TRY(rs_mirrors_matrix(o->mirrors, view->basis[2 * i], d * d, &b->attn, e));
    RS_TRY(rs_mirrors_matrix(o->mirrors, view->basis[2 * i + 1], d * d, &b->ffn, e));
    RS_TRY(rs_mirrors_matrix(o->mirrors, view->head[i], h * h, &b->head, e));
    return rs_mirrors_matrix(o->mirrors, view->basis[next(o, i)], d * d, &b->next, e);
}

static rs_status slopes(rs_objective *o, size_t i, const rs_objective_view *view, rs_decoder_slopes *s, rs_error *e)
{
    const size_t d = o->shape.d, h = o->shape.h;
    RS_TRY(rs_mirrors_sum(o->mirrors, view->slope[2 * i], d * d, &s->attn, e));
    RS_TRY(rs_mirrors_sum(o->mirrors, view->slope[2 * i + 1], d * d, &s->ffn, e));
    RS_TRY(rs_mirrors_sum(o->mirrors, view->head_slope[i], h * h, &s->head, e));
    return rs_mirrors_sum(o->mirrors, view->slope[next(o, i)], d * d, &s->next, e);
}

// Layer i, ready to run. What is sent for it goes beside what is queued.
static rs_status layer(rs_objective *o, size_t i, const rs_objective_view *view, rs_decoder_learn *l, rs_error *e)
{
    if (o->o.stop != NULL && o->o.stop(o->o.context)) return RS_NO;
    *l = (rs_decoder_learn){.k = o->k, .shape = &o->shape, .bits = o->o.bits, .S = o->o.S};
    if (view == NULL) l->bits.a.bits = l->bits.kv.bits = 16;
    else RS_TRY(bases(o, i, view, &l->bases, e));
    RS_TRY(rs_network_load(o->n, i, &l->layer, e));
    rs_mirrors_meet(o->mirrors);
    rs_network_queued(o->n);
    if (view != NULL && o->folded != NULL) RS_TRY(fold(o, i, l, e));
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
        copy(o, o->x + i * n, o->x + (i + 1) * n);
        RS_TRY(forward_layer(o, i, view, o->x + (i + 1) * n, e));
    }
    return RS_OK;
}

static void logits(const rs_objective *o, size_t rows, const float *x, float *y, float *out)
{
    const size_t d = o->shape.d;
    o->k->rmsnorm(rows, d, x, rs_network_final_norm(o->n), o->shape.eps, y);
    o->k->gemm_nt(rows, o->V, d, y, d, o->head, d, 0, out, o->V);
}

// The means over what was written for each prediction.
static rs_status mean_losses(rs_objective *o, rs_objective_loss *loss, rs_error *e)
{
    const size_t n = o->o.S - 1, bytes = 2 * o->o.S * sizeof *o->losses;
    double *got = o->k->memory != NULL ? malloc(bytes) : o->losses;
    if (got == NULL) return no_memory(e, "losses");
    if (got != o->losses) o->memory->get(got, o->losses, bytes);
    *loss = (rs_objective_loss){0};
    for (size_t i = 0; i < n; i++) {
        loss->nll += got[i] / (double)n;
        if (o->ref != NULL) loss->kl += got[o->o.S + i] / (double)n;
    }
    loss->total = o->o.ce * loss->nll + o->o.kl * loss->kl;
    if (got != o->losses) free(got);
    RS_TRY(rs_network_settle(o->n, e));
    return isfinite(loss->total) ? RS_OK : rs_fail(e, RS_E_VALUE, "behind layer %zu: the loss is not a number", o->L - 1);
}

// Loss of all predictions; where derivatives are wanted, dx becomes that by the stream behind the last layer.
static rs_status losses(rs_objective *o, const int32_t *ids, bool derivatives, double scale, rs_objective_loss *loss, rs_error *e)
{
    const rs_kernels *k = o->k;
    const size_t S = o->o.S, d = o->shape.d, n = S - 1;
    const float *x = o->x + o->L * S * d;
    const double weight = scale / (double)n;
    if (o->ids != NULL) {
        o->memory->put(o->ids, ids, S * sizeof *ids);
        ids = o->ids;
    }
    if (derivatives) o->memory->zero(o->dx, S * d * sizeof *o->dx);
    for (size_t at = 0; at < n; at += RS_OBJECTIVE_ROWS) {
        const size_t rows = n - at < RS_OBJECTIVE_ROWS ? n - at : RS_OBJECTIVE_ROWS;
        double *nll = o->losses + at, *kl = nll + S;
        logits(o, rows, x + at * d, o->y, o->logits);
        if (o->ref != NULL) logits(o, rows, o->ref + at * d, o->y + RS_OBJECTIVE_ROWS * d, o->ref_logits);
        if (derivatives || o->ref != NULL) k->loss_grad(rows, o->V, o->logits, o->V, ids + at + 1, o->ref_logits, o->V, o->o.ce * weight, o->o.kl * weight, nll, kl);
        else k->cross_entropy(rows, o->V, o->logits, o->V, ids + at + 1, nll, NULL);
        if (!derivatives) continue;
        k->gemm_nn(rows, d, o->V, o->logits, o->V, o->head, d, 0, o->y, d);
        k->rmsnorm_grad(rows, d, x + at * d, rs_network_final_norm(o->n), o->shape.eps, o->y, o->dx + at * d);
    }
    return mean_losses(o, loss, e);
}

static rs_status not_finite(size_t i, rs_error *e) { return rs_fail(e, RS_E_VALUE, "layer %zu: the gradient holds NaN or infinity", i); }

// What went wrong on the way back, told when the layer in front of layer i was to be loaded, or behind layer 0. Of rows a device tells later, and the forward pass has told already of all that was wrong with activations.
static rs_status gone_wrong(const rs_objective *o, size_t i, rs_status s, const rs_error *why, rs_error *e)
{
    if (s == RS_E_VALUE && o->k->memory != NULL && o->needs.layers < o->L) return not_finite(i, e);
    if (s == RS_E_VALUE && o->k->memory != NULL) return rs_fail(e, s, "layers %zu to 0: the gradient holds NaN or infinity", o->L - 1); // none was waited for
    return s == RS_NO ? s : rs_fail(e, s, "%s", why->text);
}

static rs_status backward_layer(rs_objective *o, size_t i, const rs_objective_view *view, rs_error *e)
{
    const size_t n = o->o.S * o->shape.d;
    rs_decoder_learn l;
    rs_decoder_slopes s;
    if (i < o->L - o->needs.kept) {
        // The stream behind this layer is not needed any more: it is computed again in its place.
        float *again = o->x + (i + 1) * n;
        copy(o, o->x + i * n, again);
        RS_TRY(forward_layer(o, i, view, again, e));
    }
    RS_TRY(layer(o, i, view, &l, e));
    RS_TRY(slopes(o, i, view, &s, e));
    rs_decoder_learn_backward(&l, o->x + i * n, slot(o, i), o->dx, s, o->scratch);
    return o->k->not_finite(o->o.S, o->shape.d, o->dx, o->shape.d) == 0 ? RS_OK : not_finite(i, e);
}

static rs_status backward(rs_objective *o, const rs_objective_view *view, rs_error *e)
{
    for (size_t i = o->L; i-- > 0;) {
        rs_error why = {0};
        const rs_status s = backward_layer(o, i, view, &why);
        if (s != RS_OK) return gone_wrong(o, i + 1, s, &why, e);
    }
    rs_error why = {0};
    const rs_status s = rs_network_settle(o->n, &why);
    return s == RS_OK ? RS_OK : gone_wrong(o, 0, s, &why, e);
}

static rs_status run(rs_objective *o, const int32_t *ids, const rs_objective_view *view, rs_objective_loss *loss, rs_error *e)
{
    const bool derivatives = view->slope != NULL;
    for (size_t s = 0; s < o->o.S; s++)
        if (ids[s] < 0 || (size_t)ids[s] >= o->V) return rs_fail(e, RS_E_VALUE, "token %zu: id %d is outside the vocabulary of %zu", s, ids[s], o->V);
    if (o->ref != NULL) RS_TRY(teach(o, ids, e));
    RS_TRY(forward(o, ids, view, e));
    RS_TRY(losses(o, ids, derivatives, view->scale, loss, e));
    return derivatives ? backward(o, view, e) : RS_OK;
}

rs_status rs_objective_run(rs_objective *o, const int32_t *ids, const rs_objective_view *view, rs_objective_loss *loss, rs_error *e)
{
    o->fold_of = o->L; // rotations may have moved
    if (view->version == 0 || view->version != o->version) rs_mirrors_moved(o->mirrors);
    o->version = view->version;
    const rs_status s = run(o, ids, view, loss, e);
    if (s == RS_OK) return s;
    const rs_status rest = rs_network_settle(o->n, NULL); // so that what is still queued is not taken for a fault of the next run
    (void)rest;
    rs_mirrors_drop(o->mirrors);
    return s;
}

rs_status rs_objective_gather(rs_objective *o, rs_error *e)
{
    RS_TRY(rs_mirrors_gather(o->mirrors, e));
    return rs_network_settle(o->n, e);
}

rs_status rs_objective_fetch(rs_objective *o, rs_error *e)
{
    rs_mirrors_fetch(o->mirrors);
    return rs_network_settle(o->n, e);
}
