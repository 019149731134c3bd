// SPDX-License-Identifier: Apache-2.0
// Logits of the integer network against those of the simulated one, and the two yardsticks beside them; and against those of sums of codes in f32.
#include <stdlib.h>
#include <string.h>

#include "inspect/kernels_inside.h"

enum { ROWS = 16, OTHERS = 5, SUMS = 2 }; // the last one only where there is a device

// Logits of x [rows, d], both here, wherever the network is.
static rs_status logits(rs_network *n, size_t rows, const float *x, float *out, rs_error *e)
{
    const rs_memory *m = rs_network_kernels(n)->memory;
    const size_t in_bytes = rows * rs_network_shape(n)->d * sizeof *x, out_bytes = rows * (size_t)rs_network_config(n)->V * sizeof *out;
    float *in = NULL, *there = NULL;
    if (m == NULL) return rs_network_logits(n, rows, x, out, e);
    rs_status s = rs_network_alloc(n, in_bytes, (void **)&in, e);
    if (s == RS_OK) s = rs_network_alloc(n, out_bytes, (void **)&there, e);
    if (s == RS_OK) m->put(in, x, in_bytes);
    if (s == RS_OK) s = rs_network_logits(n, rows, in, there, e);
    if (s == RS_OK) m->get(out, there, out_bytes);
    m->release(in);
    m->release(there);
    return s == RS_OK ? rs_network_settle(n, e) : s;
}

static rs_status compare(rs_kernels_state *s, rs_network *const n[6], float *const x[6], float *want, float *got, float *integers, double *kl, uint8_t *top, rs_error *e)
{
    rs_kernels_logits *to[OTHERS] = {&s->r->integer, &s->r->plain, &s->r->of_sums, &s->r->nudged, &s->r->on_device};
    const int others = s->o->device != NULL ? OTHERS : OTHERS - 1;
    const size_t d = rs_network_shape(n[0])->d, V = (size_t)rs_network_config(n[0])->V;
    for (size_t at = 0; at < s->S; at += ROWS) {
        const size_t m = s->S - at < ROWS ? s->S - at : ROWS;
        RS_TRY(logits(n[0], m, x[0] + at * d, want, e));
        for (int j = 0; j < others; j++) {
            RS_TRY(logits(n[j + 1], m, x[j + 1] + at * d, got, e));
            if (j == 0) memcpy(integers, got, m * V * sizeof *got);
            for (size_t i = 0; j == SUMS && i < m * V; i++) s->r->unequal += memcmp(&got[i], &integers[i], sizeof *got) != 0;
            rs_measure_add(&to[j]->difference, m * V, got, want);
            rs_measure_kl(m, V, got, want, kl, top);
            for (size_t i = 0; i < m; i++) {
                to[j]->kl += kl[i];
                to[j]->kl_max = kl[i] > to[j]->kl_max || kl[i] != kl[i] ? kl[i] : to[j]->kl_max;
                to[j]->top1 += top[i];
            }
        }
    }
    for (int j = 0; j < others; j++) {
        to[j]->kl /= (double)s->S;
        to[j]->top1 /= (double)s->S;
    }
    return RS_OK;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

rs_status rs_kernels_logits_compare(rs_kernels_state *s, rs_network *const n[6], float *const x[6], rs_error *e)
{
    const size_t V = (size_t)rs_network_config(n[0])->V;
    rs_kernels_result *r = s->r;
    float *want = malloc(ROWS * V * sizeof *want), *got = malloc(ROWS * V * sizeof *got), *integers = malloc(ROWS * V * sizeof *integers);
    double kl[ROWS];
    uint8_t top[ROWS];
    rs_status status = want == NULL || got == NULL || integers == NULL ? rs_fail(e, RS_E_NOMEM, "logits") : compare(s, n, x, want, got, integers, kl, top, e);
    free(want);
    free(got);
    free(integers);
    if (status != RS_OK) return status;
    const double rel = rs_measure_relative(&r->integer.difference);
    r->kl_bound = 4 * larger(r->plain.kl, r->nudged.kl);
    r->logits_bound = 4 * larger(rs_measure_relative(&r->plain.difference), rs_measure_relative(&r->nudged.difference));
    if (!(r->integer.kl <= r->kl_bound)) rs_kernels_fail(s, "logits: the integer network's KL from the simulated one is %.3g, the bound %.3g", r->integer.kl, r->kl_bound);
    if (!(rel <= r->logits_bound)) rs_kernels_fail(s, "logits: the integer network is %.3g from the simulated one, the bound %.3g", rel, r->logits_bound);
    if (s->o->device == NULL) return RS_OK;
    const double device_rel = rs_measure_relative(&r->on_device.difference);
    if (!(r->on_device.kl <= r->kl_bound)) rs_kernels_fail(s, "logits: the device's KL from the simulated network is %.3g, the bound %.3g", r->on_device.kl, r->kl_bound);
    if (!(device_rel <= r->logits_bound)) rs_kernels_fail(s, "logits: the device is %.3g from the simulated network, the bound %.3g", device_rel, r->logits_bound);
    return RS_OK;
}
