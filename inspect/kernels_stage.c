// SPDX-License-Identifier: Apache-2.0
// The integer products of a layer, stage by stage, inside the simulated network: how far values behind them are apart, and which codes that changes.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/kernels_inside.h"

enum { Q = 1, K = 2, V = 4, O = 8, GATE = 16, UP = 32, DOWN = 64, OUTPUT = RS_KERNELS_PLACES };

static const struct stage {
    const char *name;
    rs_half halves;
    unsigned products;
    int place[2]; // what is looked at; OUTPUT: the output of the layer; -1: nothing more
} stages[RS_KERNELS_STAGES] = {
    {"k v", RS_HALF_ATTN, Q | K | V, {RS_KERNELS_K, RS_KERNELS_V}},   {"attention", RS_HALF_ATTN, Q, {RS_KERNELS_Q, RS_KERNELS_O}},
    {"gate up", RS_HALF_BOTH, O, {RS_KERNELS_GATE_UP, -1}},           {"down", RS_HALF_FFN, GATE | UP, {RS_KERNELS_DOWN, -1}},
    {"output", RS_HALF_FFN, DOWN, {OUTPUT, -1}},
};

const char *rs_kernels_stage_name(size_t stage)
{
    return stages[stage].name;
}

double rs_kernels_allowed(size_t k)
{
    return 32 * sqrt((double)k) * 0x1p-24;
}

void rs_kernels_tap(void *context, rs_tap tap, size_t rows, size_t cols, const float *x, size_t ld)
{
    static const int place[] = {[RS_TAP_QKV_RAW] = 1 + RS_KERNELS_QKV, [RS_TAP_Q] = 1 + RS_KERNELS_Q, [RS_TAP_K_RAW] = 1 + RS_KERNELS_K, [RS_TAP_V_RAW] = 1 + RS_KERNELS_V, [RS_TAP_O_RAW] = 1 + RS_KERNELS_O,
                                [RS_TAP_GATE_UP_RAW] = 1 + RS_KERNELS_GATE_UP, [RS_TAP_DOWN_RAW] = 1 + RS_KERNELS_DOWN, [RS_TAP_STREAM_FFN] = 1 + RS_KERNELS_FFN};
    rs_kernels_run *r = context;
    const int p = (size_t)tap < sizeof place / sizeof *place ? place[tap] - 1 : -1;
    for (size_t i = 0; p >= 0 && i < rows; i++) memcpy(r->place[p] + i * cols, x + i * ld, cols * sizeof *x);
}

// Largest difference, as a share of what is allowed.
static double difference(size_t S, const rs_kernels_pair *p)
{
    double share = 0;
    for (size_t i = 0; i < S * p->n; i++) {
        const double d = fabs((double)p->x[i] - (double)p->sim[i]);
        if (!isfinite(d)) return INFINITY;
        if (d > 0) share = fmax(share, d / p->allowed[i / p->n]);
    }
    return share;
}

// What products of k columns may change in each row of x [S, n].
static void allow(size_t S, size_t n, size_t k, const float *x, double *allowed)
{
    for (size_t t = 0; t < S; t++) allowed[t] = rs_kernels_allowed(k) * rs_kernels_largest(n, x + t * n);
}

// Largest change of a score of token t with key k of head b, by the change of its queries and by the rounding of both scores.
static double score_change(const rs_decoder_shape *h, size_t t, size_t b, const float *k, const rs_kernels_run *sim, const rs_kernels_run *run)
{
    const size_t group = h->n_q / h->n_kv, nq = h->n_q * h->h;
    double most = 0;
    for (size_t a = b * group; a < (b + 1) * group; a++) {
        const float *q = sim->place[RS_KERNELS_Q] + t * nq + a * h->h, *r = run->place[RS_KERNELS_Q] + t * nq + a * h->h;
        double change = 0, size = 0;
        for (size_t i = 0; i < h->h; i++) {
            change += ((double)r[i] - (double)q[i]) * (double)k[i];
            size += fabs((double)q[i] * (double)k[i]);
        }
        most = fmax(most, (fabs(change) + 2 * sqrt((double)h->h) * 0x1p-24 * size) / sqrt((double)h->h));
    }
    return most;
}

// Attention adds to that: an output moves by at most 2 max|v| times the largest change of a score. k, v: room for [S, n_kv h] each.
static void allow_attention(size_t S, const rs_decoder_shape *h, const rs_decoder_layer *l, const rs_kernels_run *sim, const rs_kernels_run *run, float *k, float *v, double *allowed)
{
    const size_t n = h->n_kv * h->h;
    memcpy(k, sim->place[RS_KERNELS_K], S * n * sizeof *k);
    memcpy(v, sim->place[RS_KERNELS_V], S * n * sizeof *v);
    if (l->kv.bits < 16) (void)(rs_kernels_reference()->fake_quant(&l->kv, S * h->n_kv, h->h, k, h->h) + rs_kernels_reference()->fake_quant(&l->kv, S * h->n_kv, h->h, v, h->h));
    const double most = rs_kernels_largest(S * n, v);
    for (size_t t = 0; t < S; t++) {
        double change = 0;
        for (size_t j = 0; j <= t; j++)
            for (size_t b = 0; b < h->n_kv; b++) change = fmax(change, score_change(h, t, b, k + j * n + b * h->h, sim, run));
        allowed[t] += 2 * change * most;
    }
}

// A matrix (or the cache) that reads a place.
typedef struct reader {
    const char *what;
    const rs_quantizer *q;
    size_t row; // of values that share a scale, unless q has groups
    uint64_t *inputs, *moved;
} reader;

// What looks at a place is passed together.
typedef struct view {
    rs_kernels_state *s;
    const rs_decoder_shape *shape;
    const rs_decoder_layer *l;
    const rs_kernels_run *sim, *run;
    double *allowed; // [S]
    float *k, *v;    // room for [S, n_kv h] each
} view;

static rs_status look(const view *c, const struct stage *stage, int place, rs_error *e)
{
    const rs_decoder_shape *h = c->shape;
    rs_kernels_result *r = c->s->r;
    rs_kernels_role *o = &r->role[3], *gate = &r->role[4], *up = &r->role[5], *down = &r->role[6];
    const size_t n = place == OUTPUT ? h->d : c->sim->columns[place], k = stage->products & O ? h->n_q * h->h : stage->products & DOWN ? h->f : h->d, at = (size_t)(stage - stages);
    const reader all[RS_KERNELS_PLACES][2] = {
        [RS_KERNELS_K] = {{"k", &c->l->kv, h->h, &r->kv_inputs, &r->kv_moved}},
        [RS_KERNELS_V] = {{"v", &c->l->kv, h->h, &r->kv_inputs, &r->kv_moved}},
        [RS_KERNELS_O] = {{"o", &c->l->in_o, n, &o->inputs, &o->moved}},
        [RS_KERNELS_GATE_UP] = {{"gate", &c->l->in_gate, n, &gate->inputs, &gate->moved}, {"up", &c->l->in_up, n, &up->inputs, &up->moved}},
        [RS_KERNELS_DOWN] = {{"down", &c->l->in_down, n, &down->inputs, &down->moved}},
    };
    rs_kernels_pair p = {.what = stage->name, .n = n, .sim = place == OUTPUT ? c->sim->x : c->sim->place[place], .x = place == OUTPUT ? c->run->x : c->run->place[place], .allowed = c->allowed};
    allow(c->s->S, n, k, p.sim, c->allowed);
    if (place == RS_KERNELS_O) allow_attention(c->s->S, h, c->l, c->sim, c->run, c->k, c->v, c->allowed);
    const double share = difference(c->s->S, &p);
    r->stage[at] = fmax(r->stage[at], share);
    if (share > 1) {
        rs_kernels_fail(c->s, "layer %llu, %s: with integer products values differ by %.3g of what is allowed", (unsigned long long)c->s->layer, stage->name, share);
        return RS_OK;
    }
    for (int i = 0; place != OUTPUT && i < 2; i++) {
        const reader *to = &all[place][i];
        if (to->q == NULL || to->q->bits >= 16) continue;
        p.what = to->what;
        RS_TRY(rs_kernels_codes(c->s, &p, *to->q, to->q->group != 0 ? to->q->group : to->row, to->inputs, to->moved, e));
    }
    return RS_OK;
}

static rs_status run_stage(const view *c, rs_network *n, const struct stage *stage, const rs_decoder_layer *integer, rs_kernels_run *run, const float *x, rs_error *e)
{
    const unsigned p = stage->products;
    rs_decoder_layer mixed = *c->l;
    mixed.by = integer->by;
    mixed.cq = p & Q ? integer->cq : NULL;
    mixed.ck = p & K ? integer->ck : NULL;
    mixed.cv = p & V ? integer->cv : NULL;
    mixed.co = p & O ? integer->co : NULL;
    mixed.cgate = p & GATE ? integer->cgate : NULL;
    mixed.cup = p & UP ? integer->cup : NULL;
    mixed.cdown = p & DOWN ? integer->cdown : NULL;
    memcpy(run->x, stage->halves == RS_HALF_FFN ? c->sim->place[RS_KERNELS_FFN] : x, c->s->S * c->shape->d * sizeof *x);
    RS_TRY(rs_network_run(n, &mixed, stage->halves, c->s->S, run->x, rs_kernels_tap, run, e));
    for (int i = 0; i < 2 && stage->place[i] >= 0; i++) RS_TRY(look(c, stage, stage->place[i], e));
    return RS_OK;
}

rs_status rs_kernels_stages(rs_kernels_state *s, rs_network *n, const rs_decoder_layer *simulated, const rs_decoder_layer *integer, const rs_kernels_run *sim, rs_kernels_run *run, const float *x,
                            rs_error *e)
{
    const rs_decoder_shape *h = rs_network_shape(n);
    const size_t kv = s->S * h->n_kv * h->h;
    view c = {.s = s, .shape = h, .l = simulated, .sim = sim, .run = run, .allowed = malloc(s->S * sizeof(double)), .k = malloc(2 * kv * sizeof(float))};
    rs_status status = c.allowed == NULL || c.k == NULL ? rs_fail(e, RS_E_NOMEM, "differences of %zu tokens", s->S) : RS_OK;
    c.v = c.k != NULL ? c.k + kv : NULL;
    for (size_t i = 0; status == RS_OK && i < RS_KERNELS_STAGES; i++) status = run_stage(&c, n, &stages[i], integer, run, x, e);
    free(c.allowed);
    free(c.k);
    return status;
}
