// SPDX-License-Identifier: Apache-2.0
// Verification of a computation against its original: both networks run layer by layer on the same tokens.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/verify.h"
#include "transforms/weights.h"

#define LOGIT_ROWS 64

// What the taps of one network's layer leave behind.
typedef struct capture {
    const rs_network *n;
    float *k, *ffn; // [S, n_kv h], [S, f]
} capture;

typedef struct pair {
    const rs_against_options *o;
    rs_network *n[2];     // the network and its original
    float *x[2];          // hidden states of all windows, where the networks compute
    capture c[2];
    float *logits[2], *got[2]; // there, and in the process (the same, where that is there)
    double *nll, *kl;
    uint8_t *top;
} pair;

static void tap(void *context, rs_tap t, size_t rows, size_t cols, const float *x, size_t ld)
{
    capture *c = context;
    float *dst = t == RS_TAP_K_RAW ? c->k : t == RS_TAP_DOWN_RAW ? c->ffn : NULL;
    if (dst == NULL) return;
    const rs_decoder_shape *shape = rs_network_shape(c->n);
    const rs_kernels *own = rs_network_kernels(c->n), *k = own->memory == NULL ? own : rs_kernels_cpu();
    for (size_t r = 0; r < rows; r++) rs_memory_of(own)->get(dst + r * cols, x + r * ld, cols * sizeof *x);
    if (t == RS_TAP_K_RAW && shape->r3 != NULL) k->hadamard(shape->r3, rows * (cols / shape->h), dst, shape->h, true);
    if (t == RS_TAP_DOWN_RAW && shape->r4 != NULL) k->hadamard(shape->r4, rows, dst, cols, true);
}

static bool smoothed(const rs_network *n) { return rs_tensor_has_xf(rs_network_tensor(n, RS_ROLE_DOWN), "smooth"); }

// Smoothing divides each channel by a factor that the file does not tell: x [S, n] is compared up to the one that brings a channel nearest to want.
static void rescale(size_t S, size_t n, float *x, const float *want)
{
    for (size_t j = 0; j < n; j++) {
        double product = 0, square = 0;
        for (size_t s = 0; s < S; s++) {
            product += (double)x[s * n + j] * (double)want[s * n + j];
            square += (double)x[s * n + j] * (double)x[s * n + j];
        }
        for (size_t s = 0; s < S && square > 0; s++) x[s * n + j] = (float)((double)x[s * n + j] * product / square);
    }
}

static rs_status layers(pair *p, size_t windows, rs_against_result *r, rs_error *e)
{
    const size_t S = p->o->ctx;
    const uint64_t L = rs_network_config(p->n[0])->L;
    const rs_decoder_shape *shape = rs_network_shape(p->n[0]);
    for (uint64_t i = 0; i < L; i++) {
        rs_against_layer l = {.layer = i};
        for (int j = 0; j < 2; j++) {
            const rs_decoder_layer *unused;
            RS_TRY(rs_network_load(p->n[j], i, &unused, e));
        }
        for (size_t w = 0; w < windows; w++) {
            for (int j = 0; j < 2; j++) {
                RS_TRY(rs_network_forward(p->n[j], S, p->x[j] + w * S * shape->d, tap, &p->c[j], e));
                RS_TRY(rs_network_settle(p->n[j], e));
            }
            rs_measure_add(&l.k, S * shape->n_kv * shape->h, p->c[0].k, p->c[1].k);
            if (smoothed(p->n[0]) || smoothed(p->n[1])) rescale(S, shape->f, p->c[0].ffn, p->c[1].ffn);
            rs_measure_add(&l.ffn, S * shape->f, p->c[0].ffn, p->c[1].ffn);
        }
        bool bad = !(rs_measure_relative(&l.k) <= p->o->tol && rs_measure_relative(&l.ffn) <= p->o->tol);
        if (bad && r->first_layer < 0) r->first_layer = (int64_t)i;
        if (p->o->layer != NULL) p->o->layer(p->o->context, &l);
    }
    return RS_OK;
}

static rs_status outputs(pair *p, size_t windows, const int32_t *ids, rs_against_result *r, rs_error *e)
{
    const size_t S = p->o->ctx, d = rs_network_shape(p->n[0])->d, V = (size_t)rs_network_config(p->n[0])->V;
    double sums[2] = {0}, kl = 0;
    size_t same = 0;
    for (size_t at = 0; at < windows * S; at += LOGIT_ROWS) {
        size_t m = windows * S - at < LOGIT_ROWS ? windows * S - at : LOGIT_ROWS;
        for (int j = 0; j < 2; j++) {
            RS_TRY(rs_network_logits(p->n[j], m, p->x[j] + at * d, p->logits[j], e));
            RS_TRY(rs_network_losses(p->n[j], m, p->logits[j], ids + at + 1, p->nll, e));
            if (p->got[j] != p->logits[j]) rs_network_kernels(p->n[j])->memory->get(p->got[j], p->logits[j], m * V * sizeof(float));
            for (size_t i = 0; i < m; i++) sums[j] += (at + i + 1) % S != 0 ? p->nll[i] : 0;
        }
        rs_measure_add(&r->logits, m * V, p->got[0], p->got[1]);
        rs_measure_kl(m, V, p->got[0], p->got[1], p->kl, p->top);
        for (size_t i = 0; i < m; i++) {
            kl += p->kl[i];
            r->kl_max = p->kl[i] > r->kl_max || p->kl[i] != p->kl[i] ? p->kl[i] : r->kl_max;
            same += p->top[i];
        }
    }
    const double n = (double)(windows * S);
    r->tokens = windows * S;
    r->nll = sums[0] / (n - (double)windows);
    r->ref_nll = sums[1] / (n - (double)windows);
    r->kl = kl / n;
    r->top1 = (double)same / n;
    return RS_OK;
}

static bool same_sizes(const rs_config *a, const rs_config *b)
{
    return a->L == b->L && a->d == b->d && a->f == b->f && a->h == b->h && a->n_q == b->n_q && a->n_kv == b->n_kv && a->V == b->V;
}

static rs_status allocate(pair *p, size_t windows, rs_error *e)
{
    const size_t S = p->o->ctx;
    const rs_decoder_shape *shape = rs_network_shape(p->n[0]);
    const size_t V = (size_t)rs_network_config(p->n[0])->V;
    bool ok = true;
    for (int j = 0; j < 2; j++) {
        p->c[j] = (capture){.n = p->n[j], .k = malloc(S * shape->n_kv * shape->h * sizeof(float)), .ffn = malloc(S * shape->f * sizeof(float))};
        RS_TRY(rs_network_alloc(p->n[j], windows * S * shape->d * sizeof(float), (void **)&p->x[j], e));
        RS_TRY(rs_network_alloc(p->n[j], LOGIT_ROWS * V * sizeof(float), (void **)&p->logits[j], e));
        p->got[j] = rs_network_kernels(p->n[j])->memory == NULL ? p->logits[j] : malloc(LOGIT_ROWS * V * sizeof(float));
        ok = ok && p->c[j].k != NULL && p->c[j].ffn != NULL && p->got[j] != NULL;
    }
    p->nll = malloc(LOGIT_ROWS * sizeof *p->nll);
    p->kl = malloc(LOGIT_ROWS * sizeof *p->kl);
    p->top = malloc(LOGIT_ROWS);
    return ok && p->nll != NULL && p->kl != NULL && p->top != NULL ? RS_OK : rs_fail(e, RS_E_NOMEM, "hidden states of %zu windows of %zu tokens", windows, S);
}

rs_status rs_verify_against(rs_network *n, rs_network *ref, const int32_t *ids, size_t count, const rs_against_options *o, rs_against_result *r, rs_error *e)
{
    memset(r, 0, sizeof *r);
    r->first_layer = -1;
    if (!same_sizes(rs_network_config(n), rs_network_config(ref))) return rs_fail(e, RS_USAGE, "the two models differ in size, so they cannot be compared");
    // one id more than the windows: the target of the last prediction, which is not counted
    size_t windows = o->ctx >= 2 && count > 0 ? (count - 1) / o->ctx : 0;
    windows = windows < o->windows ? windows : o->windows;
    if (windows == 0) return rs_fail(e, RS_USAGE, "the text has %zu tokens, fewer than one window of %zu and one more", count, o->ctx);
    pair p = {.o = o, .n = {n, ref}};
    rs_status s = allocate(&p, windows, e);
    for (int j = 0; s == RS_OK && j < 2; j++) s = rs_network_embed(p.n[j], windows * o->ctx, ids, p.x[j], e);
    if (s == RS_OK) s = layers(&p, windows, r, e);
    if (s == RS_OK) s = outputs(&p, windows, ids, r, e);
    r->pass = s == RS_OK && r->first_layer < 0 && rs_measure_relative(&r->logits) <= o->tol;
    for (int j = 0; j < 2; j++) {
        const rs_memory *memory = rs_memory_of(rs_network_kernels(p.n[j]));
        if (p.got[j] != p.logits[j]) free(p.got[j]);
        memory->release(p.x[j]);
        memory->release(p.logits[j]);
        free(p.c[j].k);
        free(p.c[j].ffn);
    }
    free(p.nll);
    free(p.kl);
    free(p.top);
    return s;
}

static bool rotated(const rs_tensor *t)
{
    for (int i = 0; i < t->n_xf; i++)
        if (strncmp(t->xf[i].id, "rot.", 4) == 0) return true;
    return false;
}

rs_status rs_verify_moved(const rs_mapped *m, const rs_mapped *ref, const char **name, rs_error *e)
{
    *name = NULL;
    for (size_t i = 0; i < rs_mapped_count(m) && *name == NULL; i++) {
        const rs_tensor *t = rs_mapped_tensor(m, i), *u = rs_mapped_find(ref, t->name);
        uint64_t rows, cols, ref_rows, ref_cols;
        if (u == NULL || !rotated(t) || rotated(u)) continue;
        rs_weights_shape(t, &rows, &cols);
        rs_weights_shape(u, &ref_rows, &ref_cols);
        if (rows != ref_rows || cols != ref_cols || rows == 0 || cols == 0) continue;
        float *a = malloc((size_t)cols * 2 * sizeof *a), *b = a != NULL ? a + cols : NULL;
        if (a == NULL) return rs_fail(e, RS_E_NOMEM, "%s: row buffer", t->name);
        rs_status s = RS_OK;
        bool differs = false;
        for (uint64_t r = 0; s == RS_OK && !differs && r < rows; r++) {
            s = rs_weights_rows(t, rs_mapped_payload(m, t), r, 1, a, e);
            if (s == RS_OK) s = rs_weights_rows(u, rs_mapped_payload(ref, u), r, 1, b, e);
            differs = s == RS_OK && memcmp(a, b, (size_t)cols * sizeof *a) != 0;
        }
        free(a);
        RS_TRY(s);
        if (!differs) *name = t->name;
    }
    return RS_OK;
}
