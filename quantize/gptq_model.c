// SPDX-License-Identifier: Apache-2.0
// The walk of GPTQ through a model.
#include "quantize/gptq_model.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/threads.h"
#include "transforms/weights.h"

enum { ROLES = RS_SCHEME_ROLES, INPUTS = 4 }; // matrices of a layer; inputs that they share

// The four inputs of a layer, and who reads them (offsets from role q).
static const struct input {
    rs_tap tap;
    int first, count;
} inputs[INPUTS] = {{RS_TAP_QKV_RAW, 0, 3}, {RS_TAP_O_RAW, 3, 1}, {RS_TAP_GATE_UP_RAW, 4, 2}, {RS_TAP_DOWN_RAW, 6, 1}};

struct rs_gptq_model {
    rs_gptq_model_options asked;
    const rs_gptq_model_options *o; // &asked
    const rs_mapped *m;
    rs_network *n;
    rs_calibration c;
    rs_gptq_store results;
    rs_decoder_layer layer;      // the loaded one, whose weights become the quantised ones
    rs_scheme base, scheme[ROLES];
    const rs_tensor *tensor[ROLES];
    rs_tensor packed[ROLES];     // where the scheme packs
    float *weight[ROLES];        // decoded quantised weights, where the layer lies
    float *here;                 // a matrix in the process, where the layer lies elsewhere
    float *sum[INPUTS];          // Hessians, [n, n]: the upper triangle; where the layer lies; NULL while none is being summed
    float *hessian[INPUTS];      // summed, in the process
    size_t width[INPUTS];
    uint64_t L, halves;          // those that are done
    double output_error;         // of the layer under way
};

// Where the layer lies.
static const rs_memory *memory(const rs_gptq_model *g) { return rs_memory_of(rs_network_kernels(g->n)); }
static bool elsewhere(const rs_gptq_model *g) { return rs_network_kernels(g->n)->memory != NULL; }

void rs_gptq_model_close(rs_gptq_model *g)
{
    if (g == NULL) return;
    rs_calibration_close(&g->c);
    rs_gptq_store_close(&g->results);
    for (int r = 0; r < ROLES; r++)
        if (g->weight[r] != NULL) memory(g)->release(g->weight[r]);
    for (int i = 0; i < INPUTS; i++) {
        if (g->sum[i] != NULL) memory(g)->release(g->sum[i]);
        free(g->hessian[i]);
    }
    rs_network_close(g->n);
    free(g->here);
    free(g);
}

uint64_t rs_gptq_model_done(const rs_gptq_model *g) { return g->halves; }
rs_gptq_store *rs_gptq_model_results(rs_gptq_model *g) { return &g->results; }
rs_calibration *rs_gptq_model_streams(rs_gptq_model *g) { return &g->c; }
const rs_gptq_model_options *rs_gptq_model_asked(const rs_gptq_model *g) { return g->o; }

rs_status rs_gptq_model_matrix(const rs_gptq_model *g, size_t i, const rs_tensor **tensor, rs_tensor *packed, rs_error *e)
{
    rs_tensor known;
    rs_scheme_matrix_at(rs_network_config(g->n), i, &known);
    *tensor = rs_mapped_find(g->m, known.name);
    if (*tensor == NULL) return rs_fail(e, RS_E_TENSOR, "%s: not in the file", known.name);
    rs_scheme s = rs_recipe_scheme(g->o->recipe, &g->base, *tensor);
    if (rs_scheme_packs(&s, *tensor)) {
        if ((*tensor)->enc != RS_ENC_RAW) return rs_fail(e, RS_USAGE, "%s: packed already (%s)", (*tensor)->name, rs_enc_name((*tensor)->enc));
        return rs_quantize_layout(&s, *tensor, packed, e);
    }
    *tensor = NULL;
    return RS_OK;
}

static bool stopped(const rs_gptq_model *g) { return g->o->stop != NULL && g->o->stop(g->o->context); }

// ---- Hessians

// Upper triangle of H += x^T x.
static void sum_up(void *context, rs_tap tap, size_t rows, size_t cols, const float *x, size_t ld)
{
    rs_gptq_model *g = context;
    int i = 0;
    while (i < INPUTS && inputs[i].tap != tap) i++;
    if (i == INPUTS || g->sum[i] == NULL) return;
    rs_network_kernels(g->n)->gram(cols, rows, x, ld, 1, g->sum[i], cols);
}

// Only where GPTQ asks for it.
static rs_status begin_sum(rs_gptq_model *g, int i, rs_error *e)
{
    bool wanted = false;
    for (int r = inputs[i].first; r < inputs[i].first + inputs[i].count; r++) wanted = wanted || (g->scheme[r].gptq && rs_scheme_packs(&g->scheme[r], g->tensor[r]));
    if (!wanted) return RS_OK;
    const size_t bytes = g->width[i] * g->width[i] * sizeof(float);
    if (g->sum[i] == NULL) {
        const rs_status st = rs_network_alloc(g->n, bytes, (void **)&g->sum[i], e);
        if (st != RS_OK) return rs_error_prefix(e, st, "Hessian of order %zu", g->width[i]);
    }
    memory(g)->zero(g->sum[i], bytes);
    return RS_OK;
}

// What has been summed for input i comes into the process, if anything has.
static rs_status end_sum(rs_gptq_model *g, int i, rs_error *e)
{
    const size_t bytes = g->width[i] * g->width[i] * sizeof(float);
    float *sum = g->sum[i], *here = sum;
    if (sum == NULL) return RS_OK;
    if (elsewhere(g)) {
        here = malloc(bytes);
        if (here == NULL) return rs_fail(e, RS_E_NOMEM, "Hessian of order %zu", g->width[i]);
        memory(g)->get(here, sum, bytes);
        memory(g)->release(sum);
    }
    g->sum[i] = NULL;
    free(g->hessian[i]);
    g->hessian[i] = here;
    return RS_OK;
}

// ---- one layer

static const float **weight_of(rs_decoder_layer *l, int r)
{
    const float **all[ROLES] = {&l->wq, &l->wk, &l->wv, &l->wo, &l->wgate, &l->wup, &l->wdown};
    return all[r];
}

static rs_status load(rs_gptq_model *g, uint64_t i, rs_error *e)
{
    RS_TRY(rs_calibration_load(&g->c, i, &g->layer, e));
    for (int r = 0; r < ROLES; r++) {
        const rs_tensor *t = g->tensor[r] = rs_network_tensor(g->n, (rs_role)(RS_ROLE_Q + r)), *packs;
        g->scheme[r] = rs_recipe_scheme(g->o->recipe, &g->base, t);
        RS_TRY(rs_gptq_model_matrix(g, (size_t)i * ROLES + (size_t)r, &packs, &g->packed[r], e));
        if (packs == NULL || g->weight[r] != NULL) continue;
        const rs_status st = rs_network_alloc(g->n, (size_t)(t->shape[0] * t->shape[1]) * sizeof(float), (void **)&g->weight[r], e);
        if (st != RS_OK) return rs_error_prefix(e, st, "%s: quantised weights", t->name);
    }
    return RS_OK;
}

static rs_status quantise_matrix(rs_gptq_model *g, uint64_t layer, int r, const rs_gptq_factor *f, rs_error *e)
{
    const rs_scheme *s = &g->scheme[r];
    if (!rs_scheme_packs(s, g->tensor[r])) return RS_OK;
    if (stopped(g)) return RS_NO;
    const rs_tensor *packed = &g->packed[r];
    const size_t bytes = (size_t)(packed->shape[0] * packed->shape[1]) * sizeof(float);
    const float *w = *weight_of(&g->layer, r);
    float *back = g->weight[r];
    if (elsewhere(g)) {
        memory(g)->get(g->here, w, bytes);
        w = back = g->here;
    }
    rs_gptq_report report = {.gptq = s->gptq, .damp = f->damp, .raised = f->raised};
    double loss = 0;
    uint8_t *payload = malloc((size_t)packed->payload_len + 1);
    rs_status st = payload == NULL ? rs_fail(e, RS_E_NOMEM, "%s: packed payload", packed->name) : RS_OK;
    if (st == RS_OK && s->gptq) st = rs_gptq_pack(s, packed, &g->o->gptq, f, w, payload, &report.cost, &loss, e);
    if (st == RS_OK && !s->gptq) st = rs_rtn_pack(s, packed, w, payload, &report.cost, e);
    if (st == RS_OK) st = rs_weights_rows(packed, payload, 0, packed->shape[0], back, e);
    if (st == RS_OK && elsewhere(g)) memory(g)->put(g->weight[r], back, bytes);
    report.output_error = loss / ((double)packed->shape[0] * (double)g->c.samples * (double)g->c.ctx);
    if (st == RS_OK) st = rs_gptq_store_put(&g->results, (size_t)layer * ROLES + (size_t)r, g->tensor[r], &report, payload, packed->payload_len, e);
    else free(payload);
    if (st != RS_OK) return st;
    *weight_of(&g->layer, r) = g->weight[r];
    g->output_error += report.output_error;
    if (g->o->tensor != NULL) g->o->tensor(g->o->context, packed, &report);
    return RS_OK;
}

// The factor of what has been summed for input i, if anything has. Uses no device.
static rs_status factorise(rs_gptq_model *g, int i, rs_gptq_factor *f, rs_error *e)
{
    rs_status st = g->hessian[i] != NULL ? rs_gptq_factorise(f, &g->o->gptq, g->width[i], g->hessian[i], e) : RS_OK;
    free(g->hessian[i]);
    g->hessian[i] = NULL;
    return st == RS_E_VALUE ? rs_error_prefix(e, st, "input of %s", g->tensor[inputs[i].first]->name) : st;
}

// The matrices that read input i.
static rs_status quantise_readers(rs_gptq_model *g, uint64_t layer, int i, rs_gptq_factor *f, rs_error *e)
{
    if (f->U != NULL) RS_TRY(rs_gptq_factor_by(f, rs_network_kernels(g->n), e));
    for (int r = inputs[i].first; r < inputs[i].first + inputs[i].count; r++) RS_TRY(quantise_matrix(g, layer, r, f, e));
    return RS_OK;
}

static rs_status quantise(rs_gptq_model *g, uint64_t layer, int i, rs_error *e)
{
    rs_gptq_factor f = {0};
    rs_status st = end_sum(g, i, e);
    if (st == RS_OK) st = factorise(g, i, &f, e);
    if (st == RS_OK) st = quantise_readers(g, layer, i, &f, e);
    rs_gptq_factor_free(&f);
    return st;
}

// The largest Hessian of a layer is factored, which takes one thread, while the matrices before it are quantised.
struct aside {
    rs_gptq_model *g;
    rs_gptq_factor f;
    rs_status st;
    rs_error e;
};

static void *factorise_last(void *context)
{
    struct aside *a = context;
    a->st = factorise(a->g, INPUTS - 1, &a->f, &a->e);
    return NULL;
}

static rs_status quantise_all(rs_gptq_model *g, uint64_t layer, rs_error *e)
{
    struct aside last = {.g = g};
    pthread_t thread;
    rs_status st = end_sum(g, INPUTS - 1, e);
    const bool beside = st == RS_OK && rs_threads_get() > 1 && pthread_create(&thread, NULL, factorise_last, &last) == 0;
    for (int i = 0; st == RS_OK && i < INPUTS - 1; i++) st = quantise(g, layer, i, e);
    if (beside) pthread_join(thread, NULL);
    else if (st == RS_OK) factorise_last(&last);
    if (st == RS_OK && last.st != RS_OK) {
        *e = last.e;
        st = last.st;
    }
    if (st == RS_OK) st = quantise_readers(g, layer, INPUTS - 1, &last.f, e);
    rs_gptq_factor_free(&last.f);
    return st;
}

// Sums what the taps of halves see; the product behind the last of them is left out.
static rs_status listen(rs_gptq_model *g, rs_half halves, rs_error *e)
{
    rs_decoder_layer layer = g->layer;
    if (halves & RS_HALF_FFN) layer.wdown = NULL;
    else layer.wo = NULL;
    return rs_calibration_pass(&g->c, &layer, halves, false, sum_up, g, e);
}

static rs_status both_halves(rs_gptq_model *g, uint64_t layer, rs_error *e)
{
    for (int i = 0; i < INPUTS; i++) RS_TRY(begin_sum(g, i, e));
    RS_TRY(listen(g, RS_HALF_BOTH, e));
    RS_TRY(quantise_all(g, layer, e));
    return layer + 1 == g->L ? RS_OK : rs_calibration_pass(&g->c, &g->layer, RS_HALF_BOTH, true, NULL, NULL, e);
}

// One half: the input of its first matrices, which the norm alone makes; the input of the last one, behind the quantised first; the way on behind all.
static rs_status half(rs_gptq_model *g, uint64_t layer, rs_half which, rs_error *e)
{
    const int i = which == RS_HALF_ATTN ? 0 : 2;
    RS_TRY(begin_sum(g, i, e));
    if (g->sum[i] != NULL) RS_TRY(rs_calibration_norm(&g->c, i == 0 ? g->layer.norm_attn : g->layer.norm_ffn, inputs[i].tap, sum_up, g, e));
    RS_TRY(quantise(g, layer, i, e));
    RS_TRY(begin_sum(g, i + 1, e));
    RS_TRY(listen(g, which, e));
    RS_TRY(quantise(g, layer, i + 1, e));
    return which == RS_HALF_FFN && layer + 1 == g->L ? RS_OK : rs_calibration_pass(&g->c, &g->layer, which, true, NULL, NULL, e);
}

static void on_passed(void *context, double passed)
{
    const rs_gptq_model *g = context;
    if (g->o->progress != NULL) g->o->progress(g->o->context, passed / (4.0 * (double)g->c.samples)); // both halves, twice
}

static bool on_stop(void *context) { return stopped(context); }

// ---- layers in order

// The next half, or with one_pass the next layer. What is dropped on the way leaves streams and earlier results as they were.
static rs_status next(rs_gptq_model *g, rs_error *e)
{
    const uint64_t i = g->halves / 2;
    const bool first = g->halves % 2 == 0;
    g->c.passed = g->halves * 2 * g->c.samples;
    RS_TRY(load(g, i, e));
    if (first) g->output_error = 0;
    if (g->o->one_pass) RS_TRY(both_halves(g, i, e));
    else RS_TRY(half(g, i, first ? RS_HALF_ATTN : RS_HALF_FFN, e));
    RS_TRY(rs_mapped_check(g->m, e)); // before anything is made of it
    g->halves += g->o->one_pass ? 2 : 1;
    if (g->halves % 2 != 0) return RS_OK;
    if (g->o->layer != NULL) g->o->layer(g->o->context, i, g->output_error);
    return g->o->save != NULL && g->o->save_every > 0 && (i + 1) % g->o->save_every == 0 ? g->o->save(g->o->context, e) : RS_OK;
}

// Its number among the results.
static rs_status find(const rs_gptq_model *g, const rs_tensor *packed, size_t *at, rs_error *e)
{
    const bool known = packed->role >= RS_ROLE_Q && packed->role <= RS_ROLE_DOWN && packed->layer >= 0 && (uint64_t)packed->layer < g->L;
    rs_tensor own = {.name = ""};
    *at = known ? (size_t)packed->layer * ROLES + (size_t)(packed->role - RS_ROLE_Q) : 0;
    if (known) rs_scheme_matrix_at(rs_network_config(g->n), *at, &own);
    return strcmp(own.name, packed->name) == 0 ? RS_OK : rs_fail(e, RS_E_TENSOR, "%s: not one of the matrices that the network reads", packed->name);
}

rs_status rs_gptq_model_payload(void *context, const rs_tensor *packed, uint8_t *payload, rs_error *e)
{
    rs_gptq_model *g = context;
    size_t at;
    RS_TRY(find(g, packed, &at, e));
    while (g->halves / 2 <= (uint64_t)packed->layer && !stopped(g)) {
        rs_error cut = {0};
        rs_status st = next(g, e);
        if (st == RS_E_VALUE && rs_mapped_check(g->m, &cut) != RS_OK) { // what went wrong before that went wrong because of it
            *e = cut;
            st = cut.status;
        }
        RS_TRY(st);
    }
    return stopped(g) ? RS_NO : rs_gptq_store_take(&g->results, at, payload, packed->payload_len, e);
}

rs_status rs_gptq_model_values(void *context, const rs_tensor *packed, rs_arena *a, rs_value **values, rs_error *e)
{
    const rs_gptq_model *g = context;
    size_t at;
    *values = NULL;
    RS_TRY(find(g, packed, &at, e));
    const rs_gptq_report *r = &g->results.result[at].report;
    if (!r->gptq) return RS_OK;
    rs_value *map = rs_value_map(a);
    bool good = rs_map_put(a, map, "damp", rs_value_f64(a, r->damp));
    good = rs_map_put(a, map, "damp_raised", rs_value_uint(a, r->raised)) && good;
    good = rs_map_put(a, map, "output_error", rs_value_f64(a, r->output_error)) && good;
    good = rs_map_put(a, map, "tokens", rs_value_uint(a, (uint64_t)g->c.samples * g->c.ctx)) && good;
    *values = map;
    return good ? RS_OK : rs_fail(e, RS_E_NOMEM, "%s: what became of it", packed->name);
}

rs_status rs_gptq_model_skip(rs_gptq_model *g, uint64_t halves, rs_error *e)
{
    if (halves > 2 * g->L || (g->o->one_pass && halves % 2 != 0)) return rs_fail(e, RS_E_VALUE, "%llu halves of %llu layers", (unsigned long long)halves, (unsigned long long)g->L);
    g->halves = halves;
    return RS_OK;
}

// Bytes that the work on a layer takes where it lies elsewhere: two layers and one of quantised weights, Hessians, a factor, three copies of a matrix, arrays of a sequence.
static size_t work(const rs_gptq_model *g, size_t largest, size_t ctx)
{
    const rs_decoder_shape *s = rs_network_shape(g->n);
    const rs_decoder_layer plain = {0};
    size_t numbers = 3 * s->d * (2 * (s->n_q + s->n_kv) * s->h + 3 * s->f) + 3 * largest, most = 0;
    for (int i = 0; i < INPUTS; i++) {
        numbers += g->width[i] * g->width[i];
        if (g->width[i] > most) most = g->width[i];
    }
    return (numbers + most * most) * sizeof(float) + rs_decoder_scratch(s, &plain, ctx);
}

// Streams leave room for the work: on a device they lie where that is not, or in a file.
static rs_status open_streams(rs_gptq_model *g, const rs_calibration_text *text, size_t largest, rs_error *e)
{
    rs_calibration_text own = *text;
    void *room = NULL;
    if (elsewhere(g) && rs_network_alloc(g->n, work(g, largest, text->ctx), &room, NULL) != RS_OK && own.mem == 0) own.mem = (uint64_t)text->ctx * rs_network_shape(g->n)->d * sizeof(float); // of one sequence
    const rs_status st = rs_calibration_open(&g->c, g->n, &own, e);
    memory(g)->release(room);
    return st;
}

// What is refused is said before the long work.
static rs_status prepare(rs_gptq_model *g, const rs_calibration_text *text, rs_error *e)
{
    RS_TRY(rs_network_open(&g->n, g->m, g->o->k, e));
    const rs_config *c = rs_network_config(g->n);
    g->L = c->L;
    g->width[0] = g->width[2] = (size_t)c->d;
    g->width[1] = (size_t)(c->n_q * c->h);
    g->width[3] = (size_t)c->f;
    size_t largest = 0;
    for (size_t i = 0; i < (size_t)g->L * ROLES; i++) {
        const rs_tensor *t;
        rs_tensor packed;
        RS_TRY(rs_gptq_model_matrix(g, i, &t, &packed, e));
        if (t != NULL && t->shape[0] * t->shape[1] > largest) largest = (size_t)(t->shape[0] * t->shape[1]);
    }
    if (elsewhere(g) && (g->here = malloc(largest * sizeof *g->here + 1)) == NULL) return rs_fail(e, RS_E_NOMEM, "the largest matrix of a layer");
    RS_TRY(rs_gptq_store_open(&g->results, (size_t)g->L * ROLES, g->o->keep, e));
    RS_TRY(open_streams(g, text, largest, e));
    g->c.progress = on_passed;
    g->c.stop = on_stop;
    g->c.context = g;
    return RS_OK;
}

rs_status rs_gptq_model_open(rs_gptq_model **out, const rs_mapped *m, const rs_calibration_text *text, const rs_gptq_model_options *o, rs_error *e)
{
    rs_gptq_model *g = calloc(1, sizeof *g);
    *out = g;
    if (g == NULL) return rs_fail(e, RS_E_NOMEM, "GPTQ");
    g->asked = *o;
    g->o = &g->asked;
    g->m = m;
    g->base = o->scheme;
    g->base.gptq = true;
    rs_status st = prepare(g, text, e);
    if (st != RS_OK) {
        rs_gptq_model_close(g);
        *out = NULL;
    }
    return st;
}
