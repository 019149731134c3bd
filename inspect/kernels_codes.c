// SPDX-License-Identifier: Apache-2.0
// Codes of the integer network that differ from the simulated one's, each with the rounding boundary that explains it.
#include <math.h>
#include <stdlib.h>

#include "inspect/kernels_inside.h"

double rs_kernels_largest(size_t n, const float *x)
{
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs((double)x[i]));
    return most;
}

// Distance of x from the nearest n + 1/2.
static double distance(double x)
{
    return fabs(x - floor(x) - 0.5);
}

// A code of value i that differs by `steps`, whose value is `at` in steps of the scale; true if a boundary explains it.
static bool explained(rs_kernels_state *s, const rs_kernels_pair *p, size_t i, double scale, int steps, double at)
{
    const rs_kernels_flip f = {.layer = s->layer, .what = p->what, .token = i / p->n, .column = i % p->n, .at = at, .distance = distance(at), .allowed = p->allowed[i / p->n] / scale};
    if (s->o->flip != NULL) s->o->flip(s->o->context, &f);
    if (f.distance <= f.allowed && abs(steps) <= 1 + floor(2 * f.allowed)) return true;
    rs_kernels_fail(s, "layer %llu, input of %s: token %zu, column %zu: the integer code is %d off, %.3g steps from a rounding boundary, %.3g are allowed", (unsigned long long)s->layer, p->what, f.token,
                    f.column, steps, f.distance, f.allowed);
    return false;
}

// One row of values that share a scale, from value `first` on; false if a code is not explained.
static bool row_codes(rs_kernels_state *s, const rs_kernels_pair *p, const rs_quantizer *q, size_t first, size_t r, const rs_int_rows *a, const rs_int_rows *b, uint64_t *moved)
{
    const double scale = (double)a->scale[r];
    if (a->zero[r] != b->zero[r]) { // it is rounded like a code; what it clamps otherwise is one step off
        float low = 0;
        for (size_t j = first; j < first + a->k; j++) low = p->sim[j] < low ? p->sim[j] : low;
        (*moved)++;
        return explained(s, p, first, scale, b->zero[r] - a->zero[r], (double)q->clip * (double)-low / scale);
    }
    for (size_t j = 0; j < a->k; j++) {
        const int steps = b->codes[r * a->k + j] - a->codes[r * a->k + j];
        if (steps == 0) continue;
        (*moved)++;
        if (!explained(s, p, first + j, scale, steps, (double)p->sim[first + j] / scale)) return false;
    }
    return true;
}

rs_status rs_kernels_codes(rs_kernels_state *s, const rs_kernels_pair *p, rs_quantizer q, size_t row, uint64_t *inputs, uint64_t *moved, rs_error *e)
{
    const size_t all = s->S * p->n, m = all / row;
    rs_int_rows a = {.bits = q.bits, .m = m, .k = row, .ld = row, .codes = malloc(all), .scale = malloc(m * sizeof(float)), .zero = malloc(m * sizeof(int32_t))};
    rs_int_rows b = {.bits = q.bits, .m = m, .k = row, .ld = row, .codes = malloc(all), .scale = malloc(m * sizeof(float)), .zero = malloc(m * sizeof(int32_t))};
    void *parts[] = {a.codes, a.scale, a.zero, b.codes, b.scale, b.zero};
    rs_status status = RS_OK;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i] == NULL) status = rs_fail(e, RS_E_NOMEM, "codes of %zu tokens", s->S);
    q.group = 0;
    if (status == RS_OK && rs_int_quantise(rs_int_reference(), &q, p->sim, row, &a) + rs_int_quantise(rs_int_reference(), &q, p->x, row, &b) != 0)
        status = rs_fail(e, RS_E_VALUE, "layer %llu: NaN or infinity at the input of %s", (unsigned long long)s->layer, p->what);
    for (size_t r = 0; status == RS_OK && r < m; r++) {
        const size_t first = r * row;
        if (rs_kernels_largest(row, p->sim + first) <= 2 * p->allowed[first / p->n]) continue; // nothing but rounding errors
        *inputs += row;
        if (!row_codes(s, p, &q, first, r, &a, &b, moved)) break;
    }
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) free(parts[i]);
    return status;
}
