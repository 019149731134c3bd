// SPDX-License-Identifier: Apache-2.0
// Softmax in fp64; for top_p only what can be in the set is sorted.
#include "inspect/sample.h"

#include <math.h>
#include <stdlib.h>

#include "transforms/random.h"

struct candidate {
    double p; // not normalised: e^((logit - largest) / temperature)
    int32_t id;
};

struct rs_sampler {
    rs_sampler_options o;
    size_t V;
    uint64_t draws;
    struct candidate *c; // [V]
};

rs_status rs_sampler_new(rs_sampler **out, size_t V, const rs_sampler_options *o, rs_error *e)
{
    *out = NULL;
    if (!(o->temperature >= 0) || isinf(o->temperature)) return rs_fail(e, RS_USAGE, "a temperature of %g", o->temperature);
    if (!(o->top_p > 0 && o->top_p <= 1)) return rs_fail(e, RS_USAGE, "top-p of %g is outside (0, 1]", o->top_p);
    rs_sampler *s = calloc(1, sizeof *s);
    if (s != NULL) s->c = calloc(V + 1, sizeof *s->c);
    if (s == NULL || s->c == NULL) {
        free(s);
        return rs_fail(e, RS_E_NOMEM, "no memory to choose among %zu tokens", V);
    }
    s->o = *o;
    s->V = V;
    *out = s;
    return RS_OK;
}

void rs_sampler_free(rs_sampler *s)
{
    if (s == NULL) return;
    free(s->c);
    free(s);
}

static int likelier(const void *x, const void *y)
{
    const struct candidate *a = x, *b = y;
    if (a->p != b->p) return a->p < b->p ? 1 : -1;
    return (a->id > b->id) - (a->id < b->id);
}

// The first of n candidates whose running sum exceeds share of all; the last one with any probability where rounding leaves none.
static int32_t draw(const struct candidate *c, size_t n, double total, double share)
{
    double sum = 0;
    size_t last = 0;
    for (size_t i = 0; i < n; i++) {
        sum += c[i].p;
        if (c[i].p > 0) last = i;
        if (sum > share * total) return c[i].id;
    }
    return c[last].id;
}

rs_status rs_sampler_next(rs_sampler *s, const float *logits, int32_t *id, rs_error *e)
{
    size_t best = 0, n = 0;
    for (size_t i = 0; i < s->V; i++) {
        if (isnan(logits[i]) || logits[i] == INFINITY) return rs_fail(e, RS_E_VALUE, "the logit of token %zu is not a number", i);
        if (logits[i] > logits[best]) best = i;
    }
    if (s->V == 0 || logits[best] == -INFINITY) return rs_fail(e, RS_E_VALUE, "no token has a probability");
    *id = (int32_t)best;
    if (s->o.temperature == 0) return RS_OK;
    double total = 0, kept = 0;
    for (size_t i = 0; i < s->V; i++) {
        s->c[i] = (struct candidate){exp(((double)logits[i] - (double)logits[best]) / s->o.temperature), (int32_t)i};
        total += s->c[i].p;
    }
    const double share = rs_random_uniform(s->o.seed, 0, s->draws++);
    if (s->o.top_p == 1) {
        *id = draw(s->c, s->V, total, share);
        return RS_OK;
    }
    // All those below (1 - top_p) / V of the total have less than 1 - top_p together: the set is among the others.
    for (size_t i = 0; i < s->V; i++)
        if (s->c[i].p >= (1 - s->o.top_p) / (double)s->V * total) s->c[n++] = s->c[i];
    qsort(s->c, n, sizeof *s->c, likelier);
    size_t size = 0;
    while (size < n && kept < s->o.top_p * total) kept += s->c[size++].p;
    *id = draw(s->c, size, kept, share);
    return RS_OK;
}
