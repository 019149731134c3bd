// SPDX-License-Identifier: Apache-2.0
// Perplexity: batches of windows go through the network layer by layer, so that only one layer is decoded at a time.
#include "inspect/eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "inspect/measure.h"

#define DEFAULT_MEM (UINT64_C(256) << 20)
enum { ROWS = 128 }; // rows of logits at a time, whatever the memory: products of other sizes may round differently

typedef struct batch {
    const rs_eval_options *o;
    size_t V;
    size_t rows;          // rows of logits at a time: ROWS, or all of a short window
    rs_network *n[2];     // the network and the reference, or NULL
    float *x[2];          // their hidden states [windows in the batch * ctx, d]
    float *logits[2];     // [rows, V]
    float *got[2];        // the same in the process, where they lie elsewhere
    int32_t *ids;         // [ctx] of one window
    double *nll, *kl;     // [rows]
    uint8_t *top;         // [rows]
    double sum, sum_sq, ref_sum, kl_sum, kl_max;
    size_t same;
} batch;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// Ids of window w: BOS first if asked for.
static void window_ids(const rs_eval_options *o, const int32_t *ids, size_t w, int32_t *out)
{
    size_t fresh = o->ctx - (o->bos ? 1 : 0);
    if (o->bos) out[0] = o->bos_id;
    memcpy(out + (o->bos ? 1 : 0), ids + w * fresh, fresh * sizeof *ids);
}

// Hidden states of windows first .. first+count-1 after the last layer.
static rs_status hidden(rs_network *n, batch *b, const int32_t *ids, size_t first, size_t count, float *x, double share, double base, rs_error *e)
{
    const size_t ctx = b->o->ctx, d = rs_network_shape(n)->d, L = (size_t)rs_network_config(n)->L;
    for (size_t w = 0; w < count; w++) {
        window_ids(b->o, ids, first + w, b->ids);
        RS_TRY(rs_network_embed(n, ctx, b->ids, x + w * ctx * d, e));
    }
    for (size_t i = 0; i < L; i++) {
        const rs_decoder_layer *layer;
        RS_TRY(rs_network_load(n, i, &layer, e));
        for (size_t w = 0; w < count; w++) {
            RS_TRY(rs_network_forward(n, ctx, x + w * ctx * d, NULL, NULL, e));
            if (b->o->progress != NULL)
                b->o->progress(b->o->context, (double)(first * ctx) + (double)(count * ctx) * (base + share * (double)(i * count + w + 1) / (double)(L * count)));
        }
    }
    return rs_network_settle(n, e);
}

// Logits [rows, V] of network i of the pair, in the process.
static const float *in_process(const batch *b, int i, size_t rows)
{
    if (b->got[i] == NULL) return b->logits[i];
    rs_memory_of(rs_network_kernels(b->n[i]))->get(b->got[i], b->logits[i], rows * b->V * sizeof(float));
    return b->got[i];
}

// Scores one window from its hidden states.
static rs_status score(batch *b, const int32_t *ids, size_t w, size_t slot, rs_error *e)
{
    const size_t ctx = b->o->ctx, V = b->V;
    window_ids(b->o, ids, w, b->ids);
    for (size_t at = 0; at < ctx - 1; at += b->rows) {
        size_t m = ctx - 1 - at < b->rows ? ctx - 1 - at : b->rows;
        for (int i = 1; i >= 0; i--) { // the reference first: what is summed of it is there before the other
            if (b->n[i] == NULL) continue;
            size_t d = rs_network_shape(b->n[i])->d;
            RS_TRY(rs_network_logits(b->n[i], m, b->x[i] + (slot * ctx + at) * d, b->logits[i], e));
            RS_TRY(rs_network_losses(b->n[i], m, b->logits[i], b->ids + at + 1, b->nll, e));
            for (size_t r = 0; i == 1 && r < m; r++) b->ref_sum += b->nll[r];
        }
        for (size_t i = 0; i < m; i++) {
            b->sum += b->nll[i];
            b->sum_sq += b->nll[i] * b->nll[i];
        }
        if (b->n[1] == NULL) continue;
        rs_measure_kl(m, V, in_process(b, 0, m), in_process(b, 1, m), b->kl, b->top);
        for (size_t i = 0; i < m; i++) {
            b->kl_sum += b->kl[i];
            b->kl_max = b->kl[i] > b->kl_max || b->kl[i] != b->kl[i] ? b->kl[i] : b->kl_max;
            b->same += b->top[i];
        }
    }
    return RS_OK;
}

static rs_status run(batch *b, const int32_t *ids, size_t windows, size_t per_batch, rs_error *e)
{
    const double half = b->n[1] != NULL ? 0.5 : 1;
    for (size_t first = 0; first < windows; first += per_batch) {
        size_t count = windows - first < per_batch ? windows - first : per_batch;
        for (int i = 0; i < 2 && b->n[i] != NULL; i++) RS_TRY(hidden(b->n[i], b, ids, first, count, b->x[i], half * 0.85, i * half * 0.85, e));
        for (size_t w = 0; w < count; w++) {
            RS_TRY(score(b, ids, first + w, w, e));
            if (b->o->progress != NULL) b->o->progress(b->o->context, (double)(b->o->ctx) * ((double)first + (double)count * (0.85 + 0.15 * (double)(w + 1) / (double)count)));
        }
    }
    return RS_OK;
}

static rs_status allocate(batch *b, size_t windows, rs_error *e)
{
    const size_t ctx = b->o->ctx, bytes = b->rows * b->V * sizeof(float);
    b->ids = malloc(ctx * sizeof *b->ids);
    b->nll = malloc(b->rows * sizeof *b->nll);
    b->kl = malloc(b->rows * sizeof *b->kl);
    b->top = malloc(b->rows);
    bool ok = b->ids != NULL && b->nll != NULL && b->kl != NULL && b->top != NULL;
    for (int i = 0; ok && i < 2 && b->n[i] != NULL; i++) {
        RS_TRY(rs_network_alloc(b->n[i], windows * ctx * rs_network_shape(b->n[i])->d * sizeof(float), (void **)&b->x[i], e));
        RS_TRY(rs_network_alloc(b->n[i], bytes, (void **)&b->logits[i], e));
        if (b->n[1] == NULL || rs_network_kernels(b->n[i])->memory == NULL) continue;
        b->got[i] = malloc(bytes);
        ok = b->got[i] != NULL;
    }
    return ok ? RS_OK : rs_fail(e, RS_E_NOMEM, "hidden states of %zu windows of %zu tokens", windows, ctx);
}

static void release(batch *b)
{
    for (int i = 0; i < 2 && b->n[i] != NULL; i++) {
        const rs_memory *m = rs_memory_of(rs_network_kernels(b->n[i]));
        m->release(b->x[i]);
        m->release(b->logits[i]);
        free(b->got[i]);
    }
    free(b->ids);
    free(b->nll);
    free(b->kl);
    free(b->top);
}

rs_status rs_eval_perplexity(rs_network *n, rs_network *ref, const int32_t *ids, size_t count, const rs_eval_options *o, rs_eval_result *r, rs_error *e)
{
    const size_t V = (size_t)rs_network_config(n)->V, d = rs_network_shape(n)->d, ref_d = ref != NULL ? rs_network_shape(ref)->d : 0;
    memset(r, 0, sizeof *r);
    if (o->ctx < 2) return rs_fail(e, RS_USAGE, "a window needs at least 2 tokens");
    if (ref != NULL && rs_network_config(ref)->V != V) return rs_fail(e, RS_USAGE, "vocabularies differ: %zu and %llu", V, (unsigned long long)rs_network_config(ref)->V);
    size_t whole = count / (o->ctx - (o->bos ? 1 : 0)), windows = o->windows != 0 && o->windows < whole ? o->windows : whole;
    if (windows == 0) return rs_fail(e, RS_USAGE, "the text has %zu tokens, fewer than one window of %zu", count, o->ctx);
    uint64_t mem = o->mem != 0 ? o->mem : DEFAULT_MEM;
    size_t per_window = o->ctx * (d + ref_d) * sizeof(float), per_batch = (size_t)(mem / 2 / per_window);
    per_batch = per_batch < 1 ? 1 : per_batch > windows ? windows : per_batch;
    batch b = {.o = o, .V = V, .n = {n, ref}, .rows = ROWS > o->ctx - 1 ? o->ctx - 1 : ROWS};
    rs_status s = allocate(&b, per_batch, e);
    double start = now();
    if (s == RS_OK) s = run(&b, ids, windows, per_batch, e);
    if (s == RS_OK) {
        double p = (double)(windows * (o->ctx - 1)), mean = b.sum / p;
        *r = (rs_eval_result){.windows = windows, .tokens = windows * o->ctx, .predictions = windows * (o->ctx - 1), .nll = mean, .perplexity = exp(mean), .seconds = now() - start,
                              .ref_nll = b.ref_sum / p, .ref_perplexity = exp(b.ref_sum / p), .kl = b.kl_sum / p, .kl_max = b.kl_max, .top1 = (double)b.same / p};
        r->nll_stderr = p > 1 ? sqrt((b.sum_sq / p - mean * mean > 0 ? b.sum_sq / p - mean * mean : 0) / (p - 1)) : 0;
    }
    release(&b);
    return s;
}
