// SPDX-License-Identifier: Apache-2.0
// Maxima of activations and weights, layer by layer, and the factors made of them.
#include "transforms/smooth.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { INPUTS = 4 };

// The four inputs of a layer: the tap, the pair whose channels it has, the matrices that read it.
static const struct input {
    rs_tap tap;
    rs_smooth_pair pair;
    rs_role first, last;
} inputs[INPUTS] = {
    {RS_TAP_QKV_RAW, RS_SMOOTH_QKV, RS_ROLE_Q, RS_ROLE_V}, {RS_TAP_O_RAW, RS_SMOOTH_O, RS_ROLE_O, RS_ROLE_O},
    {RS_TAP_GATE_UP_RAW, RS_SMOOTH_GATE_UP, RS_ROLE_GATE, RS_ROLE_UP}, {RS_TAP_DOWN_RAW, RS_SMOOTH_DOWN, RS_ROLE_DOWN, RS_ROLE_DOWN},
};

struct rs_smooth {
    uint64_t width[RS_SMOOTH_PAIRS], offset[RS_SMOOTH_PAIRS], per_layer;
    float *factor;        // [L, per_layer]
    float *seen[INPUTS];  // largest magnitudes of this layer's activations,
    float *weight;        // and of the weights of one input
    bool bad;             // something was not finite
    // while it runs
    double per_done;
    void (*progress)(void *context, double layers);
    void *context;
};

void rs_smooth_free(rs_smooth *s)
{
    if (s == NULL) return;
    for (int i = 0; i < INPUTS; i++) free(s->seen[i]);
    free(s->weight);
    free(s->factor);
    free(s);
}

const float *rs_smooth_factors(const rs_smooth *s, uint64_t i, rs_smooth_pair pair)
{
    return s->factor + i * s->per_layer + s->offset[pair];
}

// Per column the largest magnitude, of rows rows and what was there before.
static void maxima(rs_smooth *s, size_t rows, size_t cols, const float *x, size_t ld, float *largest)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < cols; j++) {
            float v = fabsf(x[r * ld + j]);
            s->bad = s->bad || !(v <= FLT_MAX);
            largest[j] = v > largest[j] ? v : largest[j];
        }
}

static void on_tap(void *context, rs_tap tap, size_t rows, size_t cols, const float *x, size_t ld)
{
    for (int i = 0; i < INPUTS; i++)
        if (inputs[i].tap == tap) maxima(context, rows, cols, x, ld, ((rs_smooth *)context)->seen[i]);
}

// Every query head of a group gets the largest value of the group.
static void share_heads(const rs_config *c, float *x)
{
    const size_t h = (size_t)c->h, group = (size_t)(c->n_q / c->n_kv);
    for (size_t g = 0; g < c->n_kv; g++)
        for (size_t j = 0; j < h; j++) {
            float most = 0, *first = x + g * group * h + j;
            for (size_t q = 0; q < group; q++) most = first[q * h] > most ? first[q * h] : most;
            for (size_t q = 0; q < group; q++) first[q * h] = most;
        }
}

static float factor(double x, double w, double alpha)
{
    float s = x > 0 && w > 0 ? (float)(pow(x, alpha) / pow(w, 1 - alpha)) : 1;
    return isnormal(s) ? s : 1;
}

static void make_factors(rs_smooth *s, rs_network *n, const rs_decoder_layer *l, uint64_t layer, double alpha)
{
    const rs_config *c = rs_network_config(n);
    const float *weights[] = {l->wq, l->wk, l->wv, l->wo, l->wgate, l->wup, l->wdown};
    for (int i = 0; i < INPUTS; i++) {
        const struct input *in = &inputs[i];
        const size_t cols = (size_t)s->width[in->pair];
        float *out = s->factor + layer * s->per_layer + s->offset[in->pair];
        memset(s->weight, 0, cols * sizeof *s->weight);
        for (int r = (int)in->first; r <= (int)in->last; r++) maxima(s, (size_t)rs_network_tensor(n, (rs_role)r)->shape[0], cols, weights[r - RS_ROLE_Q], cols, s->weight);
        if (in->pair == RS_SMOOTH_O) {
            share_heads(c, s->seen[i]);
            share_heads(c, s->weight);
        }
        for (size_t j = 0; j < cols; j++) out[j] = factor(s->seen[i][j], s->weight[j], alpha);
        if (in->pair != RS_SMOOTH_O) continue;
        float *v = s->factor + layer * s->per_layer + s->offset[RS_SMOOTH_V];
        for (size_t g = 0; g < c->n_kv; g++) memcpy(v + g * c->h, out + g * (c->n_q / c->n_kv) * c->h, (size_t)c->h * sizeof *v);
    }
}

static rs_status refuse(const rs_network *n, rs_error *e)
{
    for (int r = RS_ROLE_Q; r <= RS_ROLE_DOWN; r++) {
        const rs_tensor *t = rs_network_tensor(n, (rs_role)r);
        if (t->enc != RS_ENC_RAW) return rs_fail(e, RS_USAGE, "tensor %s: packed as %s; smooth before packing", t->name, rs_enc_name(t->enc));
        if (t->n_xf > 0) return rs_fail(e, RS_USAGE, "tensor %s: %s is folded in already", t->name, t->xf[0].id);
    }
    return RS_OK;
}

static rs_status measure(rs_smooth *s, rs_calibration *c, double alpha, rs_error *e)
{
    for (uint64_t i = 0; i < rs_network_config(c->n)->L; i++) {
        rs_decoder_layer layer;
        RS_TRY(rs_calibration_load(c, i, &layer, e));
        RS_TRY(refuse(c->n, e));
        for (int k = 0; k < INPUTS; k++) memset(s->seen[k], 0, (size_t)s->width[inputs[k].pair] * sizeof(float));
        RS_TRY(rs_calibration_pass(c, &layer, RS_HALF_BOTH, true, on_tap, s, e));
        make_factors(s, c->n, &layer, i, alpha);
        if (s->bad) return rs_fail(e, RS_E_VALUE, "layer %llu: weights or activations are not finite", (unsigned long long)i);
    }
    return RS_OK;
}

static void on_passed(void *context, double passed)
{
    const rs_smooth *s = context;
    if (s->progress != NULL) s->progress(s->context, passed * s->per_done);
}

static rs_status allocate(rs_smooth *s, const rs_config *c, rs_error *e)
{
    const uint64_t width[RS_SMOOTH_PAIRS] = {[RS_SMOOTH_QKV] = c->d, [RS_SMOOTH_V] = c->n_kv * c->h, [RS_SMOOTH_O] = c->n_q * c->h, [RS_SMOOTH_GATE_UP] = c->d, [RS_SMOOTH_DOWN] = c->f};
    uint64_t widest = 0, total;
    for (int p = 0; p < RS_SMOOTH_PAIRS; p++) {
        s->width[p] = width[p];
        s->offset[p] = s->per_layer;
        s->per_layer += width[p];
        widest = width[p] > widest ? width[p] : widest;
    }
    if (!rs_mul_ok(c->L, s->per_layer, &total) || !rs_mul_ok(total, sizeof(float), &total)) return rs_fail(e, RS_E_LIMIT, "factors of %llu layers", (unsigned long long)c->L);
    s->factor = malloc(total + 1);
    s->weight = malloc(widest * sizeof(float));
    bool ok = s->factor != NULL && s->weight != NULL;
    for (int i = 0; i < INPUTS; i++) ok = (s->seen[i] = malloc(width[inputs[i].pair] * sizeof(float))) != NULL && ok;
    return ok ? RS_OK : rs_fail(e, RS_E_NOMEM, "factors of %llu layers", (unsigned long long)c->L);
}

rs_status rs_smooth_measure(rs_smooth **out, rs_network *n, const rs_calibration_text *text, double alpha, void (*progress)(void *context, double layers), void *context, rs_error *e)
{
    rs_calibration c = {0};
    rs_smooth *s = calloc(1, sizeof *s);
    *out = s;
    if (s == NULL) return rs_fail(e, RS_E_NOMEM, "factors");
    s->progress = progress;
    s->context = context;
    s->per_done = 1 / (2.0 * (double)text->samples);
    rs_status st = allocate(s, rs_network_config(n), e);
    if (st == RS_OK) st = rs_calibration_open(&c, n, text, e);
    c.progress = on_passed;
    c.context = s;
    if (st == RS_OK) st = measure(s, &c, alpha, e);
    rs_calibration_close(&c);
    if (st != RS_OK) {
        rs_smooth_free(s);
        *out = NULL;
    }
    return st;
}
