// SPDX-License-Identifier: Apache-2.0
// One decoder layer forward: norm, quantise, project, rotate, attend, change basis, add, and the same for the gated FFN.
#include "kernels/decoder.h"

#include <stdatomic.h>
#include <string.h>

#include "kernels/threads.h"

// One linear layer that reads an input shared with others: y [S, n] = quantised input times w^T + bias.
struct linear {
    const rs_quantizer *input;
    const float *w, *bias;
    const rs_int_weights *codes; // instead of w, or NULL
    size_t n;
    float *y;
};

// What every step needs; input, copy, work, change, codes are regions of the scratch (sizes in rs_decoder_scratch).
struct run {
    const rs_kernels *k;
    const rs_decoder_shape *shape;
    const rs_int_kernels *by;
    rs_kv_cache *cache; // or NULL
    size_t S, bad;
    float *x, *input, *copy, *work, *change;
    uint8_t *codes;
    rs_tap_fn *tap;
    void *context;
};

static bool same(const rs_quantizer *a, const rs_quantizer *b)
{
    if (a->bits >= 16 || b->bits >= 16)
        return a->bits >= 16 && b->bits >= 16;
    return a->bits == b->bits && a->sym == b->sym && a->clip == b->clip && a->group == b->group && a->range == b->range;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t region(size_t S, size_t columns)
{
    return (S * columns + 15) / 16 * 16;
}

static size_t input_columns(const rs_decoder_shape *s)
{
    return larger(s->d, s->n_q * s->h);
}

static size_t copy_columns(const rs_decoder_shape *s, const rs_decoder_layer *l)
{
    return same(&l->in_q, &l->in_k) && same(&l->in_q, &l->in_v) && same(&l->in_gate, &l->in_up) ? 0 : s->d;
}

static size_t work_columns(const rs_decoder_shape *s)
{
    return larger((s->n_q + 2 * s->n_kv) * s->h, 2 * s->f);
}

static size_t change_columns(const rs_decoder_shape *s, const rs_junction *j)
{
    return j->t != NULL ? s->d : 2 * j->r;
}

static size_t round64(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

// Scales, zero points and codes of S rows of k columns.
static size_t rows_bytes(size_t S, size_t k)
{
    return round64(S * 8) + round64(S * k);
}

// What the same sums in f32 need: codes of the rows as numbers, scales, the sums.
static size_t sums_bytes(size_t S, const rs_int_weights *w)
{
    return round64(S * w->k * sizeof(float)) + round64(w->n * sizeof(float)) + round64(S * w->n * sizeof(float));
}

// Bytes that an integer product needs for its rows and its work; or, with a cache, what is added to it (kv: of every setting).
static size_t codes_bytes(const rs_decoder_shape *s, const rs_decoder_layer *l, size_t S)
{
    const struct {
        const rs_int_weights *w;
        unsigned bits;
    } all[] = {{l->cq, l->in_q.bits}, {l->ck, l->in_k.bits}, {l->cv, l->in_v.bits}, {l->co, l->in_o.bits}, {l->cgate, l->in_gate.bits}, {l->cup, l->in_up.bits}, {l->cdown, l->in_down.bits}};
    const rs_kv_cache cache = {.q = l->kv, .n_kv = s->n_kv, .h = s->h};
    size_t most = l->by != NULL ? rs_kv_cache_work(&cache, S) : 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].w != NULL)
            most = larger(most, rows_bytes(S, all[i].w->k) + (l->by != NULL ? rs_int_gemm_work(l->by, all[i].w, all[i].bits, S) : sums_bytes(S, all[i].w)));
    return most;
}

size_t rs_decoder_scratch(const rs_decoder_shape *s, const rs_decoder_layer *l, size_t S)
{
    // 64 values more, since work is cut into three parts (q k v) that start on multiples of 16, and codes on a multiple of 64 bytes
    return (region(S, input_columns(s)) + region(S, copy_columns(s, l)) + region(S, work_columns(s)) + 64 + region(S, larger(change_columns(s, &l->attn), change_columns(s, &l->ffn)))) *
               sizeof(float) +
           codes_bytes(s, l, S);
}

static void tap(const struct run *r, rs_tap which, size_t cols, const float *x)
{
    if (r->tap != NULL)
        r->tap(r->context, which, r->S, cols, x, cols);
}

static void add_bias(const struct run *r, size_t n, const float *bias, float *y)
{
    if (bias != NULL)
        r->k->each(RS_JOIN_PLUS, r->S, n, bias, 0, y, n);
}

static rs_int_rows rows_of(const struct run *r, const rs_quantizer *q, size_t n)
{
    return (rs_int_rows){.bits = q->bits, .m = r->S, .k = n, .ld = n, .scale = (float *)(void *)r->codes, .zero = (int32_t *)(void *)(r->codes + r->S * 4), .codes = r->codes + round64(r->S * 8)};
}

// Those of count linear layers that have codes and the quantiser of the first, over r->input [S, n].
static void multiply_codes(struct run *r, size_t n, size_t count, const struct linear *l, bool add, bool *done)
{
    rs_int_product products[3];
    size_t m = 0;
    const rs_int_rows rows = rows_of(r, l->input, n);
    r->bad += rs_int_quantise(r->by, l->input, r->input, n, &rows);
    for (size_t i = 0; i < count; i++)
        if (!done[i] && l[i].codes != NULL && same(l[i].input, l->input)) {
            products[m++] = (rs_int_product){.w = l[i].codes, .y = l[i].y, .ldy = l[i].n, .add = add};
            done[i] = true;
        }
    rs_int_gemm(r->by, m, products, &rows, r->codes + rows_bytes(r->S, n));
    for (size_t i = 0; i < count; i++)
        if (l[i].codes != NULL && same(l[i].input, l->input))
            add_bias(r, l[i].n, l[i].bias, l[i].y);
}

// Rows of sums to results, as integer products do it (int_gemm.h).
struct sums {
    const rs_int_rows *rows;
    const float *scale, *sum;
    float *numbers, *y;
    size_t n;
    bool add;
};

static void number_row(void *context, size_t s)
{
    const struct sums *p = context;
    const uint8_t *codes = p->rows->codes + s * p->rows->ld;
    for (size_t j = 0; j < p->rows->k; j++)
        p->numbers[s * p->rows->k + j] = (float)(codes[j] - p->rows->zero[s]);
}

static void scale_row(void *context, size_t s)
{
    const struct sums *p = context;
    const float *sum = p->sum + s * p->n, scale = p->rows->scale[s];
    float *y = p->y + s * p->n;
    for (size_t o = 0; o < p->n; o++) {
        const float acc = 0 + sum[o] * p->scale[o];
        y[o] = p->add ? y[o] + acc * scale : acc * scale;
    }
}

// The linear layers of count that have codes and the quantiser of the first, in f32.
static void simulate_codes(struct run *r, size_t n, rs_tap quantised, size_t count, const struct linear *l, bool add, bool *done)
{
    const rs_int_rows rows = rows_of(r, l->input, n);
    struct sums p = {.rows = &rows, .numbers = (float *)(void *)(r->codes + rows_bytes(r->S, n)), .add = add};
    if (r->tap != NULL) {
        memcpy(p.numbers, r->input, r->S * n * sizeof(float));
        (void)r->k->fake_quant(l->input, r->S, n, p.numbers, n);
        tap(r, quantised, n, p.numbers);
    }
    r->bad += rs_int_quantise(r->k == rs_kernels_reference() ? rs_int_reference() : rs_int_cpu(), l->input, r->input, n, &rows);
    rs_threads_for(r->S, number_row, &p);
    for (size_t i = 0; i < count; i++) {
        const rs_int_weights *w = l[i].codes;
        if (done[i] || w == NULL || !same(l[i].input, l->input))
            continue;
        float *scale = (float *)(void *)((uint8_t *)p.numbers + round64(r->S * n * sizeof(float))), *sum = (float *)(void *)((uint8_t *)scale + round64(w->n * sizeof(float)));
        if (w->scales == NULL)
            r->k->f16_to_f32(w->n, w->scales_16, scale);
        p.scale = w->scales != NULL ? w->scales : scale;
        p.sum = sum;
        p.n = l[i].n;
        p.y = l[i].y;
        r->k->gemm_nt(r->S, p.n, n, p.numbers, n, l[i].w, n, 0, sum, p.n);
        rs_threads_for(r->S, scale_row, &p);
        add_bias(r, p.n, l[i].bias, p.y);
        done[i] = true;
    }
}

// Runs count linear layers over r->input [S, n]; where their quantisers differ, the input is quantised once for each setting, and the tap sees each.
static void project(struct run *r, size_t n, rs_tap raw, size_t count, const struct linear *l, float beta)
{
    bool done[3] = {false};
    tap(r, raw, n, r->input);
    for (size_t i = 0; i < count; i++)
        if (!done[i] && l[i].codes != NULL && r->by == NULL)
            simulate_codes(r, n, raw + 1, count - i, l + i, beta != 0, done + i);
        else if (!done[i] && l[i].codes != NULL)
            multiply_codes(r, n, count - i, l + i, beta != 0, done + i);
    for (size_t i = 0; i < count; i++) {
        if (done[i])
            continue;
        bool last = true;
        for (size_t j = i + 1; j < count; j++)
            last = last && (done[j] || same(l[i].input, l[j].input));
        float *in = last ? r->input : r->copy;
        if (!last)
            rs_memory_of(r->k)->move(in, r->input, r->S * n * sizeof *in);
        if (l[i].input->bits < 16)
            r->bad += r->k->fake_quant(l[i].input, r->S, n, in, n);
        tap(r, raw + 1, n, in);
        for (size_t j = i; j < count; j++)
            if (!done[j] && same(l[i].input, l[j].input)) {
                done[j] = true;
                if (l[j].w == NULL)
                    continue;
                r->k->gemm_nt(r->S, l[j].n, n, in, n, l[j].w, n, beta, l[j].y, l[j].n);
                add_bias(r, l[j].n, l[j].bias, l[j].y);
            }
    }
}

// Rows first .. first+rows-1 of the stream change their basis.
static void junction(const struct run *r, const rs_junction *j, size_t first, size_t rows)
{
    const size_t d = r->shape->d;
    float *x = r->x + first * d;
    if (j->t != NULL) {
        float *y = r->change + first * d;
        r->k->gemm_nn(rows, d, d, x, d, j->t, d, 0, y, d);
        rs_memory_of(r->k)->move(x, y, rows * d * sizeof(float));
    } else if (j->r > 0) {
        r->k->lowrank(rows, d, j->r, x, j->q, j->m, r->change + first * 2 * j->r);
    }
}

// One pass over blocks of rows, each of which stays in the caches from the first step to the last: what makes an input, then its codes.
struct pass {
    struct run *r;
    size_t n, step;           // columns of the input; rows of a block
    float *in;                // [S, n]; from it, where norm_of and up are NULL
    const float *norm_of, *norm; // or from a row of the stream, which then passes a junction
    const rs_junction *change;
    const float *up;          // or from itself as gate, and this
    const rs_quantizer *q;
    rs_int_rows rows;
    atomic_size_t bad;
};

enum { PASS = 24 }; // rows of a block; a device takes all at once

static void pass_block(void *context, size_t block)
{
    struct pass *p = context;
    const struct run *r = p->r;
    const size_t first = block * p->step, m = r->S - first < p->step ? r->S - first : p->step, n = p->n;
    float *in = p->in + first * n;
    const rs_int_rows rows = {.bits = p->rows.bits, .m = m, .k = n, .ld = n, .codes = p->rows.codes + first * n, .scale = p->rows.scale + first, .zero = p->rows.zero + first};
    if (p->norm_of != NULL) {
        const rs_int_stream stream = {.x = r->x + first * n, .gamma = p->norm, .eps = r->shape->eps, .r = p->change->r, .q = p->change->q, .m = p->change->m};
        if (p->change->t == NULL && rs_int_norm_quantise(r->by, p->q, &stream, &rows))
            return;
        r->k->rmsnorm(m, n, p->norm_of + first * n, p->norm, r->shape->eps, in);
        if (p->change->t == NULL)
            junction(r, p->change, first, m);
    }
    if (p->up != NULL) {
        r->k->silu_gate(m * n, in, p->up + first * n, in);
        if (r->shape->r4 != NULL)
            r->k->hadamard(r->shape->r4, m, in, n, false);
    }
    const size_t bad = rs_int_quantise(r->by, p->q, in, n, &rows);
    if (bad > 0)
        atomic_fetch_add(&p->bad, bad);
}

// Whether all of count linear layers have codes and read the same ones, and nobody looks on.
static bool in_one_pass(const struct run *r, size_t count, const struct linear *l)
{
    for (size_t i = 0; i < count; i++)
        if (l[i].codes == NULL || !same(l[i].input, l->input))
            return false;
    return r->tap == NULL && r->by != NULL;
}

// The pass, and the products of its codes.
static void run_pass(struct run *r, struct pass p, size_t count, const struct linear *l, bool add)
{
    rs_int_product products[3];
    p.r = r;
    p.q = l->input;
    p.rows = rows_of(r, l->input, p.n);
    p.step = r->k->memory != NULL ? r->S : PASS;
    rs_threads_for((r->S + p.step - 1) / p.step, pass_block, &p);
    if (p.norm_of != NULL && p.change->t != NULL)
        junction(r, p.change, 0, r->S); // a dense one would be read again for each block
    r->bad += atomic_load(&p.bad);
    for (size_t i = 0; i < count; i++)
        products[i] = (rs_int_product){.w = l[i].codes, .y = l[i].y, .ldy = l[i].n, .add = add};
    rs_int_gemm(r->by, count, products, &p.rows, r->codes + rows_bytes(r->S, p.n));
    for (size_t i = 0; i < count; i++)
        add_bias(r, l[i].n, l[i].bias, l[i].y);
}

static void attention_half(struct run *r, const rs_decoder_layer *l, const float *cos, const float *sin)
{
    const rs_decoder_shape *s = r->shape;
    const size_t S = r->S, nq = s->n_q * s->h, nkv = s->n_kv * s->h;
    float *q = r->work, *k = q + region(S, nq), *v = k + region(S, nkv);
    const struct linear qkv[] = {{&l->in_q, l->wq, l->bq, l->cq, nq, q}, {&l->in_k, l->wk, l->bk, l->ck, nkv, k}, {&l->in_v, l->wv, l->bv, l->cv, nkv, v}};
    const struct linear o = {&l->in_o, l->wo, l->bo, l->co, s->d, r->x};
    const bool changed = in_one_pass(r, 3, qkv);
    rs_quantizer values = l->kv;
    values.range = l->v_range;
    tap(r, RS_TAP_STREAM_ATTN, s->d, r->x);
    if (changed) {
        run_pass(r, (struct pass){.n = s->d, .in = r->input, .norm_of = r->x, .norm = l->norm_attn, .change = &l->attn}, 3, qkv, false);
    } else {
        r->k->rmsnorm(S, s->d, r->x, l->norm_attn, s->eps, r->input);
        project(r, s->d, RS_TAP_QKV_RAW, 3, qkv, 0);
    }
    r->k->rope(S, s->n_q, s->h, q, nq, cos, sin);
    r->k->rope(S, s->n_kv, s->h, k, nkv, cos, sin);
    if (s->r3 != NULL) {
        r->k->hadamard(s->r3, S * s->n_q, q, s->h, false);
        r->k->hadamard(s->r3, S * s->n_kv, k, s->h, false);
    }
    tap(r, RS_TAP_Q, nq, q);
    tap(r, RS_TAP_K_RAW, nkv, k);
    tap(r, RS_TAP_V_RAW, nkv, v);
    if (r->cache != NULL) {
        r->bad += rs_kv_cache_append(r->cache, r->by, S, k, v, r->codes);
        r->k->attention_cached(r->cache, S, s->n_q, q, r->input);
    } else if (l->kv.bits < 16) {
        r->bad += r->k->fake_quant(&l->kv, S * s->n_kv, s->h, k, s->h);
        r->bad += r->k->fake_quant(&values, S * s->n_kv, s->h, v, s->h);
    }
    if (r->cache == NULL)
        r->k->attention(S, s->n_q, s->n_kv, s->h, q, k, v, r->input);
    if (!changed)
        junction(r, &l->attn, 0, S);
    if (in_one_pass(r, 1, &o))
        run_pass(r, (struct pass){.n = nq, .in = r->input}, 1, &o, true);
    else
        project(r, nq, RS_TAP_O_RAW, 1, &o, 1);
}

static void ffn_half(struct run *r, const rs_decoder_layer *l)
{
    const rs_decoder_shape *s = r->shape;
    const size_t S = r->S;
    float *gate = r->work, *up = gate + region(S, s->f);
    const struct linear both[] = {{&l->in_gate, l->wgate, l->bgate, l->cgate, s->f, gate}, {&l->in_up, l->wup, l->bup, l->cup, s->f, up}};
    const struct linear down = {&l->in_down, l->wdown, l->bdown, l->cdown, s->d, r->x};
    const bool changed = in_one_pass(r, 2, both);
    tap(r, RS_TAP_STREAM_FFN, s->d, r->x);
    if (changed) {
        run_pass(r, (struct pass){.n = s->d, .in = r->input, .norm_of = r->x, .norm = l->norm_ffn, .change = &l->ffn}, 2, both, false);
    } else {
        r->k->rmsnorm(S, s->d, r->x, l->norm_ffn, s->eps, r->input);
        project(r, s->d, RS_TAP_GATE_UP_RAW, 2, both, 0);
        junction(r, &l->ffn, 0, S);
    }
    if (in_one_pass(r, 1, &down)) {
        run_pass(r, (struct pass){.n = s->f, .in = gate, .up = up}, 1, &down, true);
        return;
    }
    r->k->silu_gate(S * s->f, gate, up, gate);
    if (s->r4 != NULL)
        r->k->hadamard(s->r4, S, gate, s->f, false);
    struct run of_gate = *r; // the same, reading gate
    of_gate.input = gate;
    project(&of_gate, s->f, RS_TAP_DOWN_RAW, 1, &down, 1);
    r->bad = of_gate.bad;
}

size_t rs_decoder_forward(const rs_kernels *k, const rs_decoder_shape *shape, const rs_decoder_layer *layer, size_t S, const float *cos, const float *sin, float *x, void *scratch,
                          rs_tap_fn *tap_fn, void *context)
{
    return rs_decoder_halves(k, shape, layer, RS_HALF_BOTH, S, cos, sin, x, scratch, tap_fn, context);
}

static size_t run(struct run r, const rs_decoder_layer *layer, rs_half halves, const float *cos, const float *sin, void *scratch)
{
    if (r.S == 0)
        return 0;
    r.by = layer->by;
    r.input = scratch;
    r.copy = r.input + region(r.S, input_columns(r.shape));
    r.work = r.copy + region(r.S, copy_columns(r.shape, layer));
    r.change = r.work + region(r.S, work_columns(r.shape)) + 48;
    const size_t change = region(r.S, larger(change_columns(r.shape, &layer->attn), change_columns(r.shape, &layer->ffn)));
    r.codes = (uint8_t *)scratch + round64(((size_t)(r.change - r.input) + change) * sizeof(float));
    if (halves & RS_HALF_ATTN) attention_half(&r, layer, cos, sin);
    if (halves & RS_HALF_FFN) ffn_half(&r, layer);
    return r.bad;
}

size_t rs_decoder_halves(const rs_kernels *k, const rs_decoder_shape *shape, const rs_decoder_layer *layer, rs_half halves, size_t S, const float *cos, const float *sin, float *x, void *scratch,
                         rs_tap_fn *tap_fn, void *context)
{
    return run((struct run){.k = k, .shape = shape, .S = S, .x = x, .tap = tap_fn, .context = context}, layer, halves, cos, sin, scratch);
}

size_t rs_decoder_cached(const rs_kernels *k, const rs_decoder_shape *shape, const rs_decoder_layer *layer, rs_kv_cache *cache, size_t S, const float *cos, const float *sin, float *x,
                         void *scratch)
{
    return run((struct run){.k = k, .shape = shape, .cache = cache, .S = S, .x = x}, layer, RS_HALF_BOTH, cos, sin, scratch);
}
