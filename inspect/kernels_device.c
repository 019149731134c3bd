// SPDX-License-Identifier: Apache-2.0
// The operations of a device on what one layer of the model really reads, against the plain C reference.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/kernels_inside.h"

enum { NORM, JUNCTION, ROPE, HADAMARD, FAKE_QUANT, SILU, ADD, ATTENTION, INPUTS = 4 };

static const char *const names[RS_KERNELS_OPERATIONS] = {"rmsnorm", "lowrank", "rope", "hadamard", "fake_quant", "silu_gate", "add", "attention", "fused"};

const char *rs_kernels_operation_name(size_t operation)
{
    return names[operation];
}

size_t rs_kernels_repeat(const rs_kernels_state *s)
{
    return s->o->repeat > 0 ? s->o->repeat : 1;
}

// One call: in[0] [B, n] (NULL: room of zeros) becomes the result, the others are read (or are room).
typedef struct call {
    size_t operation, B, n;
    const char *where;
    const float *in[INPUTS];
    size_t count[INPUTS]; // of numbers; 0: not there
    const rs_quantizer *q;
    const rs_hadamard *H;
    size_t heads, n_kv, h, r;
    float eps;
    const double *most; // [B] of attention: allowed
} call;

static size_t run(const rs_kernels *k, const call *c, float *const x[INPUTS])
{
    switch (c->operation) {
    case NORM: k->rmsnorm(c->B, c->n, x[0], x[1], c->eps, x[0]); return 0;
    case JUNCTION: k->lowrank(c->B, c->n, c->r, x[0], x[1], x[2], x[3]); return 0;
    case ROPE: k->rope(c->B, c->heads, c->h, x[0], c->n, x[1], x[2]); return 0;
    case HADAMARD: k->hadamard(c->H, c->B, x[0], c->n, false); return 0;
    case FAKE_QUANT: return k->fake_quant(c->q, c->B, c->n, x[0], c->n);
    case ATTENTION: k->attention(c->B, c->heads, c->n_kv, c->h, x[1], x[2], x[3], x[0]); return 0;
    case SILU: k->silu_gate(c->B * c->n, x[0], x[1], x[0]); return 0;
    default: k->add(c->B * c->n, x[1], x[0]); return 0;
    }
}

// How far number i of the result may be from the reference's; 0: the same bits.
static double allowed(const call *c, const float *want, size_t i)
{
    const double u = 0x1p-24;
    switch (c->operation) {
    case NORM: return 6 * u * fabs((double)want[i]);
    case SILU: return 12 * u * fabs((double)want[i]) + 0x1p-120;
    case ATTENTION: return c->most[i / c->n];
    case JUNCTION: return rs_kernels_allowed(c->n) * rs_kernels_largest(c->n, want + i / c->n * c->n);
    default: return 0;
    }
}

static void compare(rs_kernels_state *s, const call *c, const float *want, const float *got)
{
    rs_kernels_operation *o = &s->r->operation[c->operation];
    o->runs++;
    o->numbers += c->count[0];
    for (size_t i = 0; i < c->count[0]; i++) {
        if (memcmp(&want[i], &got[i], sizeof *got) == 0) continue;
        const double most = allowed(c, want, i), share = most > 0 ? fabs((double)got[i] - (double)want[i]) / most : INFINITY;
        o->share = share > o->share || share != share ? share : o->share;
        if (share <= 1) continue;
        rs_kernels_fail(s, "layer %llu, %s of %s on %s: token %zu, column %zu: %.9g, the reference has %.9g", (unsigned long long)s->layer, names[c->operation], c->where, s->o->device->name, i / c->n, i % c->n,
                        (double)got[i], (double)want[i]);
        return;
    }
}

// What is on the device and here for one call.
typedef struct arrays {
    float *there[INPUTS], *here[INPUTS], *got, *again;
} arrays;

static bool fill(const rs_memory *m, const call *c, arrays *a)
{
    bool ok = (a->got = malloc(c->count[0] * sizeof(float))) != NULL;
    ok = (a->again = malloc(c->count[0] * sizeof(float))) != NULL && ok;
    for (size_t i = 0; i < INPUTS; i++) {
        const size_t bytes = c->count[i] * sizeof(float);
        if (bytes == 0) continue;
        ok = (a->here[i] = calloc(c->count[i], sizeof(float))) != NULL && (a->there[i] = m->alloc(bytes)) != NULL && ok;
        if (!ok) return false;
        if (c->in[i] != NULL) memcpy(a->here[i], c->in[i], bytes);
        m->put(a->there[i], a->here[i], bytes);
    }
    return ok;
}

static rs_status on_device(rs_kernels_state *s, const call *c, arrays *a, size_t refused, rs_error *e)
{
    const rs_memory *m = s->o->device->memory;
    const size_t bytes = c->count[0] * sizeof(float);
    for (size_t turn = 0; turn < rs_kernels_repeat(s); turn++) {
        const char *fault;
        if (c->in[0] == NULL) memset(a->again, 0, bytes);
        m->put(a->there[0], c->in[0] != NULL ? c->in[0] : a->again, bytes);
        (void)run(s->o->device, c, a->there);
        m->get(turn == 0 ? a->got : a->again, a->there[0], bytes);
        const size_t bad = m->settle(&fault);
        if (fault != NULL) return rs_fail(e, RS_E_INTERNAL, "%s of %s: the device failed: %s", names[c->operation], c->where, fault);
        if (bad != refused) rs_kernels_fail(s, "layer %llu, %s of %s on %s: refuses %zu rows, the reference %zu", (unsigned long long)s->layer, names[c->operation], c->where, s->o->device->name, bad, refused);
        if (turn > 0 && memcmp(a->got, a->again, bytes) != 0)
            rs_kernels_fail(s, "layer %llu, %s of %s on %s: run %zu gives other bits", (unsigned long long)s->layer, names[c->operation], c->where, s->o->device->name, turn + 1);
    }
    return RS_OK;
}

static rs_status check(rs_kernels_state *s, const call *c, rs_error *e)
{
    arrays a = {0};
    rs_status status = fill(s->o->device->memory, c, &a) ? RS_OK : rs_fail(e, RS_E_NOMEM, "%s of %s on the device", names[c->operation], c->where);
    if (status == RS_OK) status = on_device(s, c, &a, run(rs_kernels_reference(), c, a.here), e);
    if (status == RS_OK) compare(s, c, a.here[0], a.got);
    for (size_t i = 0; i < INPUTS; i++) {
        free(a.here[i]);
        s->o->device->memory->release(a.there[i]);
    }
    free(a.got);
    free(a.again);
    return status;
}

// A quantiser on rows of n values of x, count in all.
static rs_status quantiser(rs_kernels_state *s, const char *where, const rs_quantizer *q, const float *x, size_t count, size_t n, rs_error *e)
{
    if (q->bits >= 16) return RS_OK;
    return check(s, &(call){.operation = FAKE_QUANT, .where = where, .B = count / n, .n = n, .in = {x}, .count = {count}, .q = q}, e);
}

static rs_status rotation(rs_kernels_state *s, const char *where, const rs_hadamard *H, const float *x, size_t count, rs_error *e)
{
    if (H == NULL) return RS_OK;
    return check(s, &(call){.operation = HADAMARD, .where = where, .B = count / H->n, .n = H->n, .in = {x}, .count = {count}, .H = H}, e);
}

static rs_status junction(rs_kernels_state *s, const char *where, const rs_junction *j, size_t d, const float *x, rs_error *e)
{
    if (j->r == 0 || j->q == NULL) return RS_OK;
    return check(s, &(call){.operation = JUNCTION, .where = where, .B = s->S, .n = d, .in = {x, j->q, j->m}, .count = {s->S * d, d * j->r, j->r * j->r, 2 * s->S * j->r}, .r = j->r}, e);
}

// Queries at positions 0 .. S-1.
static rs_status rope(rs_kernels_state *s, rs_network *n, const float *q, rs_error *e)
{
    const rs_decoder_shape *h = rs_network_shape(n);
    const size_t angles = s->S * (h->h / 2), nq = h->n_q * h->h;
    const float *cos, *sin;
    RS_TRY(rs_network_rope(n, s->S, &cos, &sin, e));
    return check(s, &(call){.operation = ROPE, .where = "q", .B = s->S, .n = nq, .in = {q, cos, sin}, .count = {s->S * nq, angles, angles}, .heads = h->n_q, .h = h->h}, e);
}

// How far attention of each token may be off: 2 max|v| c for scores that are off by c, and max|v| for weights and their sums.
static void attention_allowed(size_t S, const rs_decoder_shape *h, const float *q, const float *k, double largest, double *most)
{
    const double u = 0x1p-24, root = sqrt((double)h->h);
    const size_t shared = h->n_q / h->n_kv;
    for (size_t t = 0; t < S; t++) {
        double size = 0;
        for (size_t a = 0; a < h->n_q; a++)
            for (size_t j = 0; j <= t; j++) {
                const float *x = q + (t * h->n_q + a) * h->h, *y = k + (j * h->n_kv + a / shared) * h->h;
                double sum = 0;
                for (size_t i = 0; i < h->h; i++) sum += fabs((double)x[i] * (double)y[i]);
                size = fmax(size, sum);
            }
        most[t] = largest * (2 * (2 * root * u * size / root) + rs_kernels_allowed(t + 1) + 12 * u);
    }
}

static rs_status attention(rs_kernels_state *s, const rs_decoder_shape *h, const rs_kernels_run *sim, rs_error *e)
{
    const size_t S = s->S, nq = h->n_q * h->h, nkv = h->n_kv * h->h;
    const float *q = sim->place[RS_KERNELS_Q], *k = sim->place[RS_KERNELS_K], *v = sim->place[RS_KERNELS_V];
    double *most = malloc(S * sizeof *most);
    if (most == NULL) return rs_fail(e, RS_E_NOMEM, "attention of %zu tokens", S);
    attention_allowed(S, h, q, k, rs_kernels_largest(S * nkv, v), most);
    const rs_status status = check(s, &(call){.operation = ATTENTION, .where = "q, k and v", .B = S, .n = nq, .in = {NULL, q, k, v}, .count = {S * nq, S * nq, S * nkv, S * nkv}, .heads = h->n_q, .n_kv = h->n_kv, .h = h->h, .most = most}, e);
    free(most);
    return status;
}

rs_status rs_kernels_device(rs_kernels_state *s, rs_network *n, const rs_decoder_layer *l, const rs_kernels_run *sim, const float *x, rs_error *e)
{
    const rs_decoder_shape *h = rs_network_shape(n);
    const size_t S = s->S, d = h->d, nq = h->n_q * h->h, nkv = h->n_kv * h->h, f = h->f;
    const float *ffn = sim->place[RS_KERNELS_FFN];
    rs_quantizer values = l->kv;
    if (s->o->device == NULL) return RS_OK;
    values.range = l->v_range;
    RS_TRY(check(s, &(call){.operation = NORM, .where = "attention", .B = S, .n = d, .in = {x, l->norm_attn}, .count = {S * d, l->norm_attn != NULL ? d : 0}, .eps = h->eps}, e));
    RS_TRY(check(s, &(call){.operation = NORM, .where = "FFN", .B = S, .n = d, .in = {ffn, l->norm_ffn}, .count = {S * d, l->norm_ffn != NULL ? d : 0}, .eps = h->eps}, e));
    RS_TRY(junction(s, "attention", &l->attn, d, x, e));
    RS_TRY(junction(s, "FFN", &l->ffn, d, ffn, e));
    RS_TRY(rs_kernels_fused(s, "attention", h, &l->in_q, l->norm_attn, &l->attn, x, e));
    RS_TRY(rs_kernels_fused(s, "FFN", h, &l->in_gate, l->norm_ffn, &l->ffn, ffn, e));
    RS_TRY(rope(s, n, sim->place[RS_KERNELS_Q], e));
    RS_TRY(attention(s, h, sim, e));
    RS_TRY(rotation(s, "q", h->r3, sim->place[RS_KERNELS_Q], S * nq, e));
    RS_TRY(rotation(s, "input of down", h->r4, sim->place[RS_KERNELS_DOWN], S * f, e));
    RS_TRY(quantiser(s, "input of q k v", &l->in_q, sim->place[RS_KERNELS_QKV], S * d, d, e));
    RS_TRY(quantiser(s, "k", &l->kv, sim->place[RS_KERNELS_K], S * nkv, h->h, e));
    RS_TRY(quantiser(s, "v", &values, sim->place[RS_KERNELS_V], S * nkv, h->h, e));
    RS_TRY(quantiser(s, "input of o", &l->in_o, sim->place[RS_KERNELS_O], S * nq, nq, e));
    RS_TRY(quantiser(s, "input of gate and up", &l->in_gate, sim->place[RS_KERNELS_GATE_UP], S * d, d, e));
    RS_TRY(quantiser(s, "input of down", &l->in_down, sim->place[RS_KERNELS_DOWN], S * f, f, e));
    RS_TRY(check(s, &(call){.operation = SILU, .where = "input of down", .B = S, .n = f, .in = {sim->place[RS_KERNELS_DOWN], sim->place[RS_KERNELS_DOWN]}, .count = {S * f, S * f}}, e));
    return check(s, &(call){.operation = ADD, .where = "the stream", .B = S, .n = d, .in = {ffn, x}, .count = {S * d, S * d}}, e);
}
