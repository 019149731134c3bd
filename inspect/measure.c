// SPDX-License-Identifier: Apache-2.0
// Error measures.
#include "inspect/measure.h"

#include <math.h>

#include "kernels/threads.h"

void rs_measure_add(rs_difference *d, size_t n, const float *a, const float *b)
{
    double max_abs = d->max_abs, max_ref = d->max_ref, sum = 0, ref = 0;
    uint64_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        double x = (double)a[i], y = (double)b[i], diff = fabs(x - y), mag = fabs(y);
        if (!isfinite(diff)) {
            bad++;
            continue;
        }
        max_abs = diff > max_abs ? diff : max_abs;
        max_ref = mag > max_ref ? mag : max_ref;
        sum += diff * diff;
        ref += y * y;
    }
    d->max_abs = max_abs;
    d->max_ref = max_ref;
    d->sum_sq += sum;
    d->sum_ref_sq += ref;
    d->n += n;
    d->bad += bad;
}

double rs_measure_relative(const rs_difference *d)
{
    if (d->bad != 0) return INFINITY;
    if (d->max_abs == 0) return 0;
    return d->max_ref > 0 ? d->max_abs / d->max_ref : INFINITY;
}

double rs_measure_snr(const rs_difference *d)
{
    return d->sum_sq > 0 ? 10 * log10(d->sum_ref_sq / d->sum_sq) : INFINITY;
}

typedef struct kl_job {
    size_t V;
    const float *logits, *ref;
    double *kl;
    uint8_t *top;
} kl_job;

static size_t largest(size_t V, const float *x)
{
    size_t best = 0;
    for (size_t v = 1; v < V; v++)
        if (x[v] > x[best]) best = v;
    return best;
}

static void kl_row(void *context, size_t b)
{
    const kl_job *job = context;
    const float *x = job->logits + b * job->V, *r = job->ref + b * job->V;
    size_t tx = largest(job->V, x), tr = largest(job->V, r);
    double zx = 0, zr = 0, cross = 0;
    for (size_t v = 0; v < job->V; v++) {
        float ex = expf(x[v] - x[tx]), er = expf(r[v] - r[tr]);
        zx += (double)ex;
        zr += (double)er;
        cross += (double)er * ((double)(r[v] - r[tr]) - (double)(x[v] - x[tx]));
    }
    double kl = cross / zr - log(zr) + log(zx);
    job->kl[b] = kl > 0 ? kl : kl == kl ? 0 : kl;
    job->top[b] = tx == tr;
}

void rs_measure_kl(size_t B, size_t V, const float *logits, const float *ref, double *kl, uint8_t *top)
{
    kl_job job = {V, logits, ref, kl, top};
    rs_threads_for(B, kl_row, &job);
}
