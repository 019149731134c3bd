// SPDX-License-Identifier: Apache-2.0
// Perplexity and KL against a naive computation from logits; windows, the dropped tail, BOS; the same result for any memory and any number of threads.
#include "inspect/eval.h"

#include <math.h>

#include "tests/stages.h"

enum { CTX = 16, COUNT = 5 * CTX + 7 };
static char model[128], other[128], packed[128];
static int32_t ids[COUNT];

static void count_progress(void *context, double done)
{
    double *last = context;
    CHECKF(done >= *last && done <= 5 * CTX + 1e-9, "progress goes from %g to %g", *last, done);
    *last = done;
}

// Runs rs_eval_perplexity over files; ref NULL: none.
static rs_status eval(const char *path, const char *ref, const rs_eval_options *o, size_t count, rs_eval_result *r, rs_error *e)
{
    rs_mapped *m = NULL, *ref_m = NULL;
    rs_network *n = NULL, *ref_n = NULL;
    *e = (rs_error){0};
    rs_status st = stages_network(path, NULL, &m, &n, e);
    if (st == RS_OK && ref != NULL) st = stages_network(ref, NULL, &ref_m, &ref_n, e);
    if (st == RS_OK) st = rs_eval_perplexity(n, ref_n, ids, count, o, r, e);
    rs_network_close(n);
    rs_network_close(ref_n);
    rs_mapped_close(m);
    rs_mapped_close(ref_m);
    return st;
}

static double log_sum(size_t V, const float *x)
{
    double most = x[0], sum = 0;
    for (size_t v = 0; v < V; v++) most = x[v] > most ? x[v] : most;
    for (size_t v = 0; v < V; v++) sum += exp((double)x[v] - most);
    return most + log(sum);
}

static size_t largest(size_t V, const float *x)
{
    size_t at = 0;
    for (size_t v = 1; v < V; v++) at = x[v] > x[at] ? v : at;
    return at;
}

// The same from logits of whole windows by the plain forward, in fp64.
static rs_eval_result naive(const tiny_spec *s, const char *path, const char *ref, size_t windows, bool bos)
{
    rs_eval_result r = {.windows = windows};
    double sum_sq = 0, n = 0;
    size_t fresh = CTX - (bos ? 1 : 0), V = s->V;
    for (size_t w = 0; w < windows; w++) {
        int32_t window[CTX];
        window[0] = 1;
        memcpy(window + (bos ? 1 : 0), ids + w * fresh, fresh * sizeof *ids);
        float *x = tiny_logits(path, CTX, window), *y = ref != NULL ? tiny_logits(ref, CTX, window) : NULL;
        for (size_t i = 0; i + 1 < CTX; i++, n++) {
            const float *a = x + i * V, *b = y + i * V;
            double nll = log_sum(V, a) - (double)a[window[i + 1]], kl = 0;
            r.nll += nll;
            sum_sq += nll * nll;
            if (y == NULL) continue;
            r.ref_nll += log_sum(V, b) - (double)b[window[i + 1]];
            for (size_t v = 0; v < V; v++) kl += exp((double)b[v] - log_sum(V, b)) * ((double)b[v] - log_sum(V, b) - ((double)a[v] - log_sum(V, a)));
            r.kl += kl;
            r.kl_max = fmax(r.kl_max, kl);
            r.top1 += largest(V, a) == largest(V, b);
        }
        free(x);
        free(y);
    }
    r.predictions = (size_t)n;
    r.nll /= n;
    r.nll_stderr = sqrt((sum_sq / n - r.nll * r.nll) / (n - 1));
    r.ref_nll /= n;
    r.kl /= n;
    r.top1 /= n;
    r.perplexity = exp(r.nll);
    return r;
}

static void near(const char *what, double got, double want, double tol)
{
    CHECKF(fabs(got - want) <= tol * (1 + fabs(want)), "%s is %.9g, expected %.9g", what, got, want);
}

static void same(const rs_eval_result *a, const rs_eval_result *b, const char *what)
{
    CHECKF(a->nll == b->nll && a->nll_stderr == b->nll_stderr && a->ref_nll == b->ref_nll && a->kl == b->kl && a->kl_max == b->kl_max && a->top1 == b->top1 && a->predictions == b->predictions,
           "%s: nll %.17g and %.17g, KL %.17g and %.17g", what, a->nll, b->nll, a->kl, b->kl);
}

static void against_naive(const tiny_spec *s)
{
    for (int k = 0; k < 6; k++) {
        rs_eval_result r;
        rs_error e;
        double done = 0;
        bool bos = k % 2 == 1;
        rs_eval_options o = {.ctx = CTX, .windows = k < 2 ? 0 : (size_t)k, .bos = bos, .bos_id = 1, .progress = count_progress, .context = &done};
        const char *ref = k == 0 ? NULL : other;
        size_t windows = k < 2 ? 5 : (size_t)k; // five whole ones in COUNT tokens, with and without BOS
        if (!CHECKF(eval(model, ref, &o, COUNT, &r, &e) == RS_OK, "%s", e.text)) continue;
        rs_eval_result want = naive(s, model, ref, windows, bos);
        CHECK(r.windows == windows && r.tokens == windows * CTX && r.predictions == want.predictions && r.seconds > 0 && done > 0);
        near("nll", r.nll, want.nll, 1e-5);
        near("standard error", r.nll_stderr, want.nll_stderr, 1e-5);
        near("perplexity", r.perplexity, exp(r.nll), 1e-12);
        if (ref == NULL) continue;
        near("nll of the reference", r.ref_nll, want.ref_nll, 1e-5);
        near("its perplexity", r.ref_perplexity, exp(r.ref_nll), 1e-12);
        near("KL", r.kl, want.kl, 1e-4);
        near("largest KL", r.kl_max, want.kl_max, 1e-4);
        near("top-1", r.top1, want.top1, 1e-9);
        CHECK(r.kl > 1e-3 && r.top1 < 1);
    }
}

// Tokens after the last whole window do not count; a window of two tokens is one prediction.
static void windows_and_tail(void)
{
    rs_eval_result r, t;
    rs_error e;
    rs_eval_options o = {.ctx = CTX};
    CHECK(eval(model, NULL, &o, COUNT, &r, &e) == RS_OK && eval(model, NULL, &o, 5 * CTX, &t, &e) == RS_OK);
    same(&r, &t, "tail");
    o.windows = 1000;
    CHECK(eval(model, NULL, &o, COUNT, &t, &e) == RS_OK && t.windows == 5);
    same(&r, &t, "more windows than there are");
    CHECK(eval(model, NULL, &o, CTX, &t, &e) == RS_OK && t.windows == 1 && t.predictions == CTX - 1);
    CHECK(eval(model, NULL, &o, CTX - 1, &t, &e) == RS_USAGE && eval(model, NULL, &o, 0, &t, &e) == RS_USAGE);
    o.bos = true;
    CHECK(eval(model, NULL, &o, CTX - 1, &t, &e) == RS_OK && t.windows == 1 && t.tokens == CTX);
    o.bos = false;
    o.ctx = 2;
    CHECK(eval(model, NULL, &o, 3, &t, &e) == RS_OK && t.windows == 1 && t.predictions == 1 && t.nll_stderr == 0);
    o.ctx = 1;
    CHECK(eval(model, NULL, &o, COUNT, &t, &e) == RS_USAGE);
}

static void memory_and_threads(void)
{
    static const uint64_t mem[] = {1, 20000, 60000, 0};
    static const int threads[] = {1, 2, 8};
    const char *const path[] = {model, packed};
    for (int p = 0; p < 2; p++) {
        rs_eval_result first = {0}, r;
        rs_error e;
        for (size_t i = 0; i < 4; i++)
            for (size_t k = 0; k < 3; k++) {
                char what[64];
                rs_eval_options o = {.ctx = CTX, .mem = mem[i]};
                rs_threads_set(threads[k]);
                snprintf(what, sizeof what, "%s, mem %d, %d threads", p == 0 ? "raw" : "packed", (int)mem[i], threads[k]);
                if (!CHECKF(eval(path[p], other, &o, COUNT, &r, &e) == RS_OK, "%s: %s", what, e.text)) continue;
                if (i == 0 && k == 0) first = r;
                same(&first, &r, what);
            }
    }
    rs_threads_set(2);
}

static void against_itself(void)
{
    rs_eval_result r;
    rs_error e;
    const char *const path[] = {model, packed};
    for (int p = 0; p < 2; p++)
        CHECKF(eval(path[p], path[p], &(rs_eval_options){.ctx = CTX}, COUNT, &r, &e) == RS_OK && r.kl == 0 && r.kl_max == 0 && r.top1 == 1 && r.nll == r.ref_nll, "KL %g, largest %g, top-1 %g", r.kl, r.kl_max, r.top1);
}

static void refusals(const tiny_spec *s)
{
    rs_eval_result r;
    rs_error e;
    rs_eval_options o = {.ctx = CTX};
    tiny_spec larger = *s;
    larger.V++;
    if (CHECK(tiny_model(packed, &larger))) CHECK(eval(model, packed, &o, COUNT, &r, &e) == RS_USAGE && strstr(e.text, "vocabularies") != NULL);
    ids[3] = (int32_t)s->V;
    CHECK(eval(model, NULL, &o, COUNT, &r, &e) == RS_E_VALUE);
}

int main(void)
{
    tiny_spec s = tiny_default(), t = s;
    rs_error e = {0};
    rs_pack_options o = stages_pack_default();
    t.seed = 2;
    o.a.bits = o.kv.bits = 4;
    tiny_path(model, sizeof model, "model.rsq");
    tiny_path(other, sizeof other, "other.rsq");
    tiny_path(packed, sizeof packed, "packed.rsq");
    tiny_ids(&s, COUNT, ids);
    rs_threads_set(2);
    if (CHECK(tiny_model(model, &s) && tiny_model(other, &t)) && CHECKF(stages_pack(model, packed, &o, &e) == RS_OK, "%s", e.text)) {
        against_naive(&s);
        windows_and_tail();
        memory_and_threads();
        against_itself();
        refusals(&s);
    }
    return check_report();
}
