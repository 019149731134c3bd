// SPDX-License-Identifier: Apache-2.0
// Second moments of the stream: one layer in memory at a time, its two bases summed over all windows, then spooled.
#include "transforms/moments.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transforms/calibration.h"

struct rs_moments {
    uint64_t L, d;
    size_t windows;
    FILE *spool; // C_0 .. C_2L, fp64
    double *C;   // one of them
};

// What the taps of a layer fill.
struct sums {
    const rs_moments_options *o;
    const rs_kernels *k;
    size_t d;
    float eps;
    float *normed; // [ctx, d]
    float *product;
    double *sum[2]; // before attention, before the FFN
};

uint64_t rs_moments_layers(const rs_moments *m) { return m->L; }
uint64_t rs_moments_width(const rs_moments *m) { return m->d; }
size_t rs_moments_windows(const rs_moments *m) { return m->windows; }

void rs_moments_free(rs_moments *m)
{
    if (m == NULL) return;
    if (m->spool != NULL) fclose(m->spool);
    free(m->C);
    free(m);
}

static void add(struct sums *s, double *sum, const float *x)
{
    size_t rows = s->o->ctx - s->o->skip, d = s->d;
    x += s->o->skip * d;
    if (!s->o->raw) {
        s->k->rmsnorm(rows, d, x, NULL, s->eps, s->normed);
        x = s->normed;
    }
    s->k->gemm_tn(d, d, rows, x, d, x, d, 0, s->product, d);
    for (size_t i = 0; i < d * d; i++) sum[i] += s->product[i];
}

static void tap(void *context, rs_tap t, size_t rows, size_t cols, const float *x, size_t ld)
{
    struct sums *s = context;
    (void)rows, (void)cols, (void)ld;
    if (t == RS_TAP_STREAM_ATTN || t == RS_TAP_STREAM_FFN) add(s, s->sum[t == RS_TAP_STREAM_FFN], x);
}

// The mean, exactly symmetric, into the spool; the sum starts anew.
static rs_status put(rs_moments *m, const rs_moments_options *o, double *sum, uint64_t j, rs_error *e)
{
    size_t d = (size_t)m->d;
    double tokens = (double)m->windows * (double)(o->ctx - o->skip);
    for (size_t a = 0; a < d; a++)
        for (size_t b = 0; b <= a; b++) {
            double x = (sum[a * d + b] + sum[b * d + a]) / (2 * tokens);
            if (!isfinite(x)) return rs_fail(e, RS_E_VALUE, "the calibration activations at basis %llu are not finite", (unsigned long long)j);
            sum[a * d + b] = sum[b * d + a] = x;
        }
    if (fwrite(sum, sizeof *sum, d * d, m->spool) != d * d) return rs_fail(e, RS_E_WRITE, "the temporary file of the moments cannot be written");
    memset(sum, 0, d * d * sizeof *sum);
    return RS_OK;
}

// Two halves of a layer for each window, as tokens times layers.
static void tell(void *context, double passed)
{
    const rs_moments_options *o = context;
    if (o->progress != NULL) o->progress(o->context, passed / 2 * (double)o->ctx);
}

static rs_status collect(rs_moments *m, rs_calibration *c, struct sums *s, rs_error *e)
{
    const rs_moments_options *o = s->o;
    c->progress = tell;
    c->context = (void *)(uintptr_t)o;
    for (uint64_t i = 0; i < m->L; i++) {
        rs_decoder_layer layer;
        RS_TRY(rs_calibration_load(c, i, &layer, e));
        RS_TRY(rs_calibration_pass(c, &layer, RS_HALF_BOTH, true, tap, s, e));
        for (int k = 0; k < 2; k++) RS_TRY(put(m, o, s->sum[k], 2 * i + (uint64_t)k, e));
    }
    for (size_t w = 0; w < m->windows; w++) add(s, s->sum[0], c->x + w * o->ctx * s->d);
    return put(m, o, s->sum[0], 2 * m->L, e);
}

rs_status rs_moments_new(rs_moments **out, rs_network *n, const int32_t *ids, size_t count, const rs_moments_options *o, rs_error *e)
{
    const rs_config *c = rs_network_config(n);
    const size_t d = (size_t)c->d;
    *out = NULL;
    if (o->ctx == 0 || o->skip >= o->ctx) return rs_fail(e, RS_USAGE, "%zu tokens of each window of %zu left out: none are left", o->skip, o->ctx);
    size_t windows = count / o->ctx < o->samples ? count / o->ctx : o->samples;
    if (windows == 0) return rs_fail(e, RS_USAGE, "the text has %zu tokens, fewer than one window of %zu", count, o->ctx);
    rs_moments *m = calloc(1, sizeof *m);
    if (m == NULL) return rs_fail(e, RS_E_NOMEM, "second moments");
    *m = (rs_moments){.L = c->L, .d = c->d, .windows = windows, .spool = tmpfile(), .C = calloc(d * d, sizeof(double))};
    struct sums s = {.o = o, .k = rs_network_kernels(n), .d = d, .eps = (float)c->norm_eps, .normed = malloc(o->ctx * d * sizeof(float)), .product = malloc(d * d * sizeof(float)),
                     .sum = {m->C, calloc(d * d, sizeof(double))}};
    rs_calibration walk = {0};
    rs_status status = RS_OK;
    if (m->spool == NULL) status = rs_fail(e, RS_E_WRITE, "no temporary file for the moments");
    else if (m->C == NULL || s.sum[1] == NULL || s.normed == NULL || s.product == NULL) status = rs_fail(e, RS_E_NOMEM, "%zu windows of %zu tokens", windows, o->ctx);
    if (status == RS_OK) status = rs_calibration_open(&walk, n, &(rs_calibration_text){.ids = ids, .count = count, .samples = windows, .ctx = o->ctx}, e);
    if (status == RS_OK) status = collect(m, &walk, &s, e);
    rs_calibration_close(&walk);
    free(s.normed);
    free(s.product);
    free(s.sum[1]);
    if (status != RS_OK) rs_moments_free(m);
    else *out = m;
    return status;
}

rs_status rs_moments_at(rs_moments *m, uint64_t j, const double **C, rs_error *e)
{
    size_t n = (size_t)(m->d * m->d);
    *C = m->C;
    if (j > 2 * m->L) return rs_fail(e, RS_E_INTERNAL, "moments of basis %llu of %llu layers", (unsigned long long)j, (unsigned long long)m->L);
    if (fseeko(m->spool, (off_t)(j * n * sizeof(double)), SEEK_SET) == 0 && fread(m->C, sizeof(double), n, m->spool) == n) return RS_OK;
    return rs_fail(e, RS_E_READ, "the temporary file of the moments cannot be read");
}
