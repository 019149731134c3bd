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
    {"k v", RS_HALF_ATTN, Q | K | V, {RS_KERNELS_K, RS_KERNELS_V}},   {"attention", RS_HALF_ATTN, Q, {RS_KERNELS_O, -1}},
    {"gate up", RS_HALF_BOTH, O, {RS_KERNELS_GATE_UP, -1}},           {"down", RS_HALF_FFN, GATE | UP, {RS_KERNELS_DOWN, -1}},
    {"output", RS_HALF_FFN, DOWN, {OUTPUT, -1}},
};

const char *rs_kernels_stage_name(size_t stage)
{
    return stages[stage].name;
}

double rs_kernels_allowed(size_t k)
{
    return 8 * sqrt((double)k) * 0x1p-24;
}

void rs_kernels_tap(void *context, rs_tap tap, size_t rows, size_t cols, const float *x, size_t ld)
{
    static const int place[] = {[RS_TAP_QKV_RAW] = 1 + RS_KERNELS_QKV, [RS_TAP_K_RAW] = 1 + RS_KERNELS_K, [RS_TAP_V_RAW] = 1 + RS_KERNELS_V, [RS_TAP_O_RAW] = 1 + RS_KERNELS_O,
                                [RS_TAP_GATE_UP_RAW] = 1 + RS_KERNELS_GATE_UP, [RS_TAP_DOWN_RAW] = 1 + RS_KERNELS_DOWN, [RS_TAP_STREAM_FFN] = 1 + RS_KERNELS_FFN};
    rs_kernels_run *r = context;
    const int p = (size_t)tap < sizeof place / sizeof *place ? place[tap] - 1 : -1;
    for (size_t i = 0; p >= 0 && i < rows; i++) memcpy(r->place[p] + i * cols, x + i * ld, cols * sizeof *x);
}

static double largest(size_t n, const float *x)
{
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs((double)x[i]));
    return most;
}

// Values of one place in both networks, [S, n], and how many columns the products before it have.
typedef struct pair {
    rs_kernels_state *s;
    const char *what; // that reads them
    size_t n, k;
    const float *sim, *x;
} pair;

// Largest difference, as a share of what is allowed.
static double difference(const pair *p, bool *finite)
{
    double share = 0;
    for (size_t t = 0; t < p->s->S; t++) {
        const double allowed = rs_kernels_allowed(p->k) * largest(p->n, p->sim + t * p->n);
        for (size_t j = t * p->n; j < (t + 1) * p->n; j++) {
            const double d = fabs((double)p->x[j] - (double)p->sim[j]);
            if (d > 0) share = fmax(share, d / allowed);
            *finite = *finite && isfinite(d);
        }
    }
    return share;
}

// Distance of x from the nearest n + 1/2.
static double distance(double x)
{
    return fabs(x - floor(x) - 0.5);
}

// One code that differs; true if a boundary explains it.
static bool explained(const pair *p, size_t i, double scale, int steps, double at)
{
    const size_t t = i / p->n;
    const rs_kernels_flip f = {.layer = p->s->layer, .what = p->what, .token = t, .column = i % p->n, .at = at, .distance = distance(at),
                               .allowed = rs_kernels_allowed(p->k) * largest(p->n, p->sim + t * p->n) / scale};
    if (p->s->o->flip != NULL) p->s->o->flip(p->s->o->context, &f);
    if (abs(steps) == 1 && f.distance <= f.allowed) return true;
    rs_kernels_fail(p->s, "layer %llu, input of %s: token %zu, column %zu: the integer code is %d off, %.3g steps from a rounding boundary, %.3g are allowed", (unsigned long long)p->s->layer, p->what, t,
                    f.column, steps, f.distance, f.allowed);
    return false;
}

// Codes of both, in rows of `row` values that share a scale.
static rs_status codes(const pair *p, rs_quantizer q, size_t row, uint64_t *inputs, uint64_t *moved, rs_error *e)
{
    const size_t all = p->s->S * p->n, m = all / row;
    rs_int_rows a = {.bits = q.bits, .m = m, .k = row, .ld = row, .codes = malloc(all), .scale = malloc(m * sizeof(float)), .zero = malloc(m * sizeof(int32_t))};
    rs_int_rows b = {.bits = q.bits, .m = m, .k = row, .ld = row, .codes = malloc(all), .scale = malloc(m * sizeof(float)), .zero = malloc(m * sizeof(int32_t))};
    void *parts[] = {a.codes, a.scale, a.zero, b.codes, b.scale, b.zero};
    rs_status status = RS_OK;
    for (size_t i = 0; i < 6; i++)
        if (parts[i] == NULL) status = rs_fail(e, RS_E_NOMEM, "codes of %zu tokens", p->s->S);
    q.group = 0;
    bool good = status == RS_OK;
    if (good && rs_int_quantise(rs_int_reference(), &q, p->sim, row, &a) + rs_int_quantise(rs_int_reference(), &q, p->x, row, &b) != 0)
        status = rs_fail(e, RS_E_VALUE, "layer %llu: NaN or infinity at the input of %s", (unsigned long long)p->s->layer, p->what);
    good = status == RS_OK;
    *inputs += good ? all : 0;
    for (size_t r = 0; good && r < m; r++) {
        const double scale = (double)a.scale[r];
        float low = 0;
        for (size_t j = r * row; j < (r + 1) * row; j++) low = p->sim[j] < low ? p->sim[j] : low;
        if (a.zero[r] != b.zero[r]) { // the zero point is rounded too; what it clamps differently is one step off
            (*moved)++;
            good = explained(p, r * row, scale, b.zero[r] - a.zero[r], (double)q.clip * (double)-low / scale);
            continue;
        }
        for (size_t j = r * row; good && j < (r + 1) * row; j++) {
            if (a.codes[j] == b.codes[j]) continue;
            (*moved)++;
            good = explained(p, j, scale, b.codes[j] - a.codes[j], (double)p->sim[j] / scale);
        }
    }
    for (size_t i = 0; i < 6; i++) free(parts[i]);
    return status;
}

// A matrix (or the cache) that reads a place.
typedef struct reader {
    const char *what;
    const rs_quantizer *q;
    size_t row; // of values that share a scale, unless q has groups
    uint64_t *inputs, *moved;
} reader;

static rs_status look(rs_kernels_state *s, int place, const struct stage *stage, const rs_decoder_shape *shape, const rs_decoder_layer *l, const rs_kernels_run *sim, const rs_kernels_run *run, rs_error *e)
{
    rs_kernels_result *r = s->r;
    rs_kernels_role *o = &r->role[3], *gate = &r->role[4], *up = &r->role[5], *down = &r->role[6];
    const size_t n = place == OUTPUT ? shape->d : sim->columns[place];
    const reader all[RS_KERNELS_PLACES][2] = {
        [RS_KERNELS_K] = {{"k", &l->kv, shape->h, &r->kv_inputs, &r->kv_moved}},
        [RS_KERNELS_V] = {{"v", &l->kv, shape->h, &r->kv_inputs, &r->kv_moved}},
        [RS_KERNELS_O] = {{"o", &l->in_o, n, &o->inputs, &o->moved}},
        [RS_KERNELS_GATE_UP] = {{"gate", &l->in_gate, n, &gate->inputs, &gate->moved}, {"up", &l->in_up, n, &up->inputs, &up->moved}},
        [RS_KERNELS_DOWN] = {{"down", &l->in_down, n, &down->inputs, &down->moved}},
    };
    const size_t k = stage->products & O ? shape->n_q * shape->h : stage->products & DOWN ? shape->f : shape->d, at = (size_t)(stage - stages);
    pair p = {.s = s, .what = stage->name, .n = n, .k = k, .sim = place == OUTPUT ? sim->x : sim->place[place], .x = place == OUTPUT ? run->x : run->place[place]};
    bool finite = true;
    const double share = difference(&p, &finite);
    r->stage[at] = fmax(r->stage[at], finite ? share : INFINITY);
    if (!finite || share > 1) {
        rs_kernels_fail(s, "layer %llu, %s: with integer products values differ by %.3g of what is allowed", (unsigned long long)s->layer, stage->name, finite ? share : INFINITY);
        return RS_OK;
    }
    for (int i = 0; place != OUTPUT && i < 2; i++) {
        const reader *c = &all[place][i];
        if (c->q == NULL || c->q->bits >= 16) continue;
        p.what = c->what;
        RS_TRY(codes(&p, *c->q, c->q->group != 0 ? c->q->group : c->row, c->inputs, c->moved, e));
    }
    return RS_OK;
}

rs_status rs_kernels_stages(rs_kernels_state *s, rs_network *n, const rs_decoder_layer *simulated, const rs_decoder_layer *integer, const rs_kernels_run *sim, rs_kernels_run *run, const float *x,
                            rs_error *e)
{
    const rs_decoder_shape *shape = rs_network_shape(n);
    const rs_decoder_layer *from = integer;
    for (const struct stage *stage = stages; stage < stages + RS_KERNELS_STAGES; stage++) {
        const unsigned p = stage->products;
        rs_decoder_layer mixed = *simulated;
        mixed.by = from->by;
        mixed.cq = p & Q ? from->cq : NULL;
        mixed.ck = p & K ? from->ck : NULL;
        mixed.cv = p & V ? from->cv : NULL;
        mixed.co = p & O ? from->co : NULL;
        mixed.cgate = p & GATE ? from->cgate : NULL;
        mixed.cup = p & UP ? from->cup : NULL;
        mixed.cdown = p & DOWN ? from->cdown : NULL;
        memcpy(run->x, stage->halves == RS_HALF_FFN ? sim->place[RS_KERNELS_FFN] : x, s->S * shape->d * sizeof *x);
        RS_TRY(rs_network_run(n, &mixed, stage->halves, s->S, run->x, rs_kernels_tap, run, e));
        for (int i = 0; i < 2 && stage->place[i] >= 0; i++) RS_TRY(look(s, stage->place[i], stage, shape, simulated, sim, run, e));
    }
    return RS_OK;
}
