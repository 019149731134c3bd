// SPDX-License-Identifier: Apache-2.0
// The walk of GPTQ through a model.
#include "quantize/gptq_model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/spool.h"
#include "transforms/weights.h"

enum { ROLES = RS_SCHEME_ROLES, INPUTS = 4, COLUMNS = 256 }; // matrices of a layer; inputs that they share; columns of a Hessian that are summed at a time

// The four inputs of a layer, and who reads them (offsets from role q).
static const struct input {
    rs_tap tap;
    int first, count;
} inputs[INPUTS] = {{RS_TAP_QKV_RAW, 0, 3}, {RS_TAP_O_RAW, 3, 1}, {RS_TAP_GATE_UP_RAW, 4, 2}, {RS_TAP_DOWN_RAW, 6, 1}};

struct rs_gptq_model {
    const rs_gptq_model_options *o; // while it runs
    rs_calibration c;
    rs_decoder_layer layer;      // the loaded one, whose weights become the quantised ones
    rs_scheme base, scheme[ROLES];
    const rs_tensor *tensor[ROLES];
    rs_tensor packed[ROLES];     // where the scheme packs
    float *weight[ROLES];        // decoded quantised weights
    float *hessian[INPUTS];      // [n, n]: the upper triangle, in blocks; NULL while it is not being summed
    size_t width[INPUTS];
    uint64_t L;
    int fd;                      // payloads, one behind the other
    uint64_t end;
    struct {
        const rs_tensor *tensor;
        uint64_t off, len;
    } *place;                    // [L, ROLES]
    unsigned raised;
    double damp;
};

void rs_gptq_model_close(rs_gptq_model *g)
{
    if (g == NULL) return;
    rs_calibration_close(&g->c);
    for (int r = 0; r < ROLES; r++) free(g->weight[r]);
    for (int i = 0; i < INPUTS; i++) free(g->hessian[i]);
    if (g->fd >= 0) close(g->fd);
    free(g->place);
    free(g);
}

unsigned rs_gptq_model_raised(const rs_gptq_model *g, double *damp)
{
    *damp = g->damp;
    return g->raised;
}

// ---- payloads

static rs_status save(rs_gptq_model *g, uint64_t layer, int r, const uint8_t *payload, rs_error *e)
{
    uint64_t len = g->packed[r].payload_len;
    for (uint64_t done = 0; done < len;) {
        ssize_t k = pwrite(g->fd, payload + done, (size_t)(len - done), (off_t)(g->end + done));
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return rs_fail(e, RS_E_WRITE, "temporary file of quantised weights: %s", strerror(errno));
        done += (uint64_t)k;
    }
    g->place[layer * ROLES + (uint64_t)r].tensor = g->tensor[r];
    g->place[layer * ROLES + (uint64_t)r].off = g->end;
    g->place[layer * ROLES + (uint64_t)r].len = len;
    g->end += len;
    return RS_OK;
}

rs_status rs_gptq_model_payload(void *context, const rs_tensor *packed, uint8_t *payload, rs_error *e)
{
    const rs_gptq_model *g = context;
    bool known = packed->role >= RS_ROLE_Q && packed->role <= RS_ROLE_DOWN && packed->layer >= 0 && (uint64_t)packed->layer < g->L;
    uint64_t at = known ? (uint64_t)packed->layer * ROLES + (uint64_t)(packed->role - RS_ROLE_Q) : 0;
    if (!known || g->place[at].tensor == NULL || strcmp(g->place[at].tensor->name, packed->name) != 0 || g->place[at].len != packed->payload_len)
        return rs_fail(e, RS_E_TENSOR, "%s: not one of the matrices that the network reads", packed->name);
    for (uint64_t done = 0; done < packed->payload_len;) {
        ssize_t k = pread(g->fd, payload + done, (size_t)(packed->payload_len - done), (off_t)(g->place[at].off + done));
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return rs_fail(e, RS_E_READ, "temporary file of quantised weights: %s", k < 0 ? strerror(errno) : "cut");
        done += (uint64_t)k;
    }
    return RS_OK;
}

// ---- Hessians

// Upper triangle of H += x^T x, a strip of its rows at a time.
static void sum_up(void *context, rs_tap tap, size_t rows, size_t cols, const float *x, size_t ld)
{
    rs_gptq_model *g = context;
    int i = 0;
    while (i < INPUTS && inputs[i].tap != tap) i++;
    if (i == INPUTS || g->hessian[i] == NULL) return;
    for (size_t j = 0; j < cols; j += COLUMNS)
        rs_network_kernels(g->c.n)->gemm_tn(cols - j < COLUMNS ? cols - j : COLUMNS, cols - j, rows, x + j, ld, x + j, ld, 1, g->hessian[i] + j * cols + j, cols);
}

// Only where GPTQ asks for it.
static rs_status begin_sum(rs_gptq_model *g, int i, rs_error *e)
{
    bool wanted = false;
    for (int r = inputs[i].first; r < inputs[i].first + inputs[i].count; r++) wanted = wanted || (g->scheme[r].gptq && rs_scheme_packs(&g->scheme[r], g->tensor[r]));
    if (!wanted) return RS_OK;
    g->hessian[i] = calloc(g->width[i] * g->width[i], sizeof(float));
    return g->hessian[i] == NULL ? rs_fail(e, RS_E_NOMEM, "Hessian of order %zu", g->width[i]) : RS_OK;
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
        g->tensor[r] = rs_network_tensor(g->c.n, (rs_role)(RS_ROLE_Q + r));
        g->scheme[r] = rs_recipe_scheme(g->o->recipe, &g->base, g->tensor[r]);
        if (!rs_scheme_packs(&g->scheme[r], g->tensor[r])) continue;
        if (g->tensor[r]->enc != RS_ENC_RAW) return rs_fail(e, RS_USAGE, "%s: packed already (%s)", g->tensor[r]->name, rs_enc_name(g->tensor[r]->enc));
        RS_TRY(rs_quantize_layout(&g->scheme[r], g->tensor[r], &g->packed[r], e));
        size_t size = ((size_t)(g->packed[r].shape[0] * g->packed[r].shape[1]) * sizeof(float) + 63) / 64 * 64;
        if (g->weight[r] == NULL && (g->weight[r] = aligned_alloc(64, size)) == NULL) return rs_fail(e, RS_E_NOMEM, "%s: quantised weights", g->tensor[r]->name);
    }
    return RS_OK;
}

static rs_status quantise_matrix(rs_gptq_model *g, uint64_t layer, int r, const rs_gptq_factor *f, rs_error *e)
{
    const rs_scheme *s = &g->scheme[r];
    if (!rs_scheme_packs(s, g->tensor[r])) return RS_OK;
    const rs_tensor *packed = &g->packed[r];
    const float *w = *weight_of(&g->layer, r);
    rs_gptq_report report = {.gptq = s->gptq, .damp = f->damp, .raised = f->raised};
    double loss = 0;
    uint8_t *payload = malloc((size_t)packed->payload_len + 1);
    rs_status st = payload == NULL ? rs_fail(e, RS_E_NOMEM, "%s: packed payload", packed->name) : RS_OK;
    if (st == RS_OK && s->gptq) st = rs_gptq_pack(s, packed, &g->o->gptq, f, w, payload, &report.cost, &loss, e);
    if (st == RS_OK && !s->gptq) st = rs_rtn_pack(s, packed, w, payload, &report.cost, e);
    if (st == RS_OK) st = save(g, layer, r, payload, e);
    if (st == RS_OK) st = rs_weights_rows(packed, payload, 0, packed->shape[0], g->weight[r], e);
    if (st == RS_OK) *weight_of(&g->layer, r) = g->weight[r];
    free(payload);
    report.output_error = loss / ((double)packed->shape[0] * (double)g->c.samples * (double)g->c.ctx);
    if (st == RS_OK && g->o->tensor != NULL) g->o->tensor(g->o->context, packed, &report);
    return st;
}

// The matrices that read input i, by the Hessian that has been summed for it if there is one.
static rs_status quantise(rs_gptq_model *g, uint64_t layer, int i, rs_error *e)
{
    rs_gptq_factor f = {0};
    rs_status st = g->hessian[i] != NULL ? rs_gptq_factorise(&f, &g->o->gptq, g->width[i], g->hessian[i], e) : RS_OK;
    free(g->hessian[i]);
    g->hessian[i] = NULL;
    if (st == RS_E_VALUE) st = rs_error_prefix(e, st, "input of %s", g->tensor[inputs[i].first]->name);
    if (st == RS_OK && f.raised > 0) g->raised++;
    if (st == RS_OK && f.damp > g->damp) g->damp = f.damp;
    for (int r = inputs[i].first; st == RS_OK && r < inputs[i].first + inputs[i].count; r++) st = quantise_matrix(g, layer, r, &f, e);
    rs_gptq_factor_free(&f);
    return st;
}

static rs_status one_pass(rs_gptq_model *g, uint64_t layer, rs_error *e)
{
    for (int i = 0; i < INPUTS; i++) RS_TRY(begin_sum(g, i, e));
    RS_TRY(rs_calibration_pass(&g->c, &g->layer, RS_HALF_BOTH, false, sum_up, g, e));
    for (int i = 0; i < INPUTS; i++) RS_TRY(quantise(g, layer, i, e));
    return layer + 1 == g->L ? RS_OK : rs_calibration_pass(&g->c, &g->layer, RS_HALF_BOTH, true, NULL, NULL, e);
}

// One half: the input of its first matrices, which the norm alone makes; the input of the last one, behind the quantised first; the way on behind all.
static rs_status half(rs_gptq_model *g, uint64_t layer, rs_half which, rs_error *e)
{
    const int i = which == RS_HALF_ATTN ? 0 : 2;
    RS_TRY(begin_sum(g, i, e));
    rs_calibration_norm(&g->c, i == 0 ? g->layer.norm_attn : g->layer.norm_ffn, inputs[i].tap, sum_up, g);
    RS_TRY(quantise(g, layer, i, e));
    RS_TRY(begin_sum(g, i + 1, e));
    RS_TRY(rs_calibration_pass(&g->c, &g->layer, which, false, sum_up, g, e));
    RS_TRY(quantise(g, layer, i + 1, e));
    return which == RS_HALF_FFN && layer + 1 == g->L ? RS_OK : rs_calibration_pass(&g->c, &g->layer, which, true, NULL, NULL, e);
}

static void on_passed(void *context, double passed)
{
    const rs_gptq_model *g = context;
    if (g->o->progress != NULL) g->o->progress(g->o->context, passed / (4.0 * (double)g->c.samples)); // both halves, twice
}

static rs_status run(rs_gptq_model *g, rs_network *n, const rs_calibration_text *text, rs_error *e)
{
    const rs_config *c = rs_network_config(n);
    g->L = c->L;
    g->width[0] = g->width[2] = (size_t)c->d;
    g->width[1] = (size_t)(c->n_q * c->h);
    g->width[3] = (size_t)c->f;
    g->place = calloc((size_t)c->L * ROLES + 1, sizeof *g->place);
    if (g->place == NULL) return rs_fail(e, RS_E_NOMEM, "places of quantised weights");
    RS_TRY(rs_spool_file(&g->fd, e));
    g->c.n = n;
    if (c->L > 0) RS_TRY(load(g, 0, e)); // what it refuses is said before the long work
    RS_TRY(rs_calibration_open(&g->c, n, text, e));
    g->c.progress = on_passed;
    g->c.context = g;
    for (uint64_t i = 0; i < c->L; i++) {
        RS_TRY(load(g, i, e));
        if (g->o->one_pass) RS_TRY(one_pass(g, i, e));
        else {
            RS_TRY(half(g, i, RS_HALF_ATTN, e));
            RS_TRY(half(g, i, RS_HALF_FFN, e));
        }
    }
    return RS_OK;
}

rs_status rs_gptq_model_run(rs_gptq_model **out, const rs_mapped *m, const rs_calibration_text *text, const rs_gptq_model_options *o, rs_error *e)
{
    rs_network *n = NULL;
    rs_gptq_model *g = calloc(1, sizeof *g);
    *out = g;
    if (g == NULL) return rs_fail(e, RS_E_NOMEM, "GPTQ");
    g->fd = -1;
    g->o = o;
    g->base = o->scheme;
    g->base.gptq = true;
    rs_status st = rs_network_open(&n, m, NULL, e);
    if (st == RS_OK) st = run(g, n, text, e);
    rs_calibration_close(&g->c);
    rs_network_close(n);
    for (int r = 0; r < ROLES; r++) {
        free(g->weight[r]);
        g->weight[r] = NULL;
    }
    if (st != RS_OK) {
        rs_gptq_model_close(g);
        *out = NULL;
    }
    return st;
}
