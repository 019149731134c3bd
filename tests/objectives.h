// SPDX-License-Identifier: Apache-2.0
// A network over a tiny model, its rotations, and where slopes go: what the tests of the objective share.
#ifndef RS_TESTS_OBJECTIVES_H
#define RS_TESTS_OBJECTIVES_H

#include <math.h>

#include "tests/check.h"
#include "tests/stages.h"
#include "transforms/objective.h"

struct setup {
    tiny_spec s;
    rs_mapped *m;
    rs_network *n;
    float *values, *slopes; // bases [2L, d, d], then head rotations [L, h, h]
    size_t count;           // of each
    const float **basis, **head;
    float **slope, **head_slope;
    int32_t *ids;
};

__attribute__((unused)) static float *floats(size_t n)
{
    float *p = calloc(n + 1, sizeof *p);
    if (p == NULL) exit(1);
    return p;
}

__attribute__((unused)) static void *pointers(size_t n)
{
    void *p = calloc(n, sizeof(void *));
    if (p == NULL) exit(1);
    return p;
}

__attribute__((unused)) static bool open_setup(struct setup *t, const tiny_spec *s, const char *path, const rs_kernels *k)
{
    rs_error e = {0};
    const size_t L = s->L, d = s->d, h = s->h, widest = d > h ? d : h;
    *t = (struct setup){.s = *s, .count = 2 * L * d * d + L * h * h};
    if (!CHECKF(stages_network(path, k, &t->m, &t->n, &e) == RS_OK, "%s", e.text)) return false;
    double *wide = malloc(widest * widest * sizeof *wide);
    t->values = floats(t->count);
    t->slopes = floats(t->count);
    t->basis = pointers(2 * L);
    t->head = pointers(L);
    t->slope = pointers(2 * L);
    t->head_slope = pointers(L);
    t->ids = malloc(256 * sizeof *t->ids);
    if (wide == NULL || t->ids == NULL) exit(1);
    for (size_t j = 0; j < 3 * L; j++) {
        const size_t n = j < 2 * L ? d : h, at = j < 2 * L ? j * d * d : 2 * L * d * d + (j - 2 * L) * h * h;
        tiny_rotation(n, j + 1, wide);
        for (size_t i = 0; i < n * n; i++) t->values[at + i] = (float)wide[i];
        *(j < 2 * L ? &t->basis[j] : &t->head[j - 2 * L]) = t->values + at;
        *(j < 2 * L ? &t->slope[j] : &t->head_slope[j - 2 * L]) = t->slopes + at;
    }
    free(wide);
    tiny_ids(s, 256, t->ids);
    return true;
}

__attribute__((unused)) static void close_setup(struct setup *t)
{
    rs_network_close(t->n);
    rs_mapped_close(t->m);
    free(t->values);
    free(t->slopes);
    free(t->basis);
    free(t->head);
    free(t->slope);
    free(t->head_slope);
    free(t->ids);
}

__attribute__((unused)) static rs_objective_options options(size_t S, unsigned bits, double ce, double kl)
{
    return (rs_objective_options){.S = S, .bits = {.a = {.bits = bits, .clip = 1}, .kv = {.bits = bits, .clip = 1}}, .ce = ce, .kl = kl};
}

__attribute__((unused)) static rs_objective_view view_of(const struct setup *t, bool derivatives, double scale)
{
    return (rs_objective_view){t->basis, t->head, derivatives ? t->slope : NULL, derivatives ? t->head_slope : NULL, scale, 0};
}

// A run with slopes from zero; they are in t->slopes.
__attribute__((unused)) static bool run(struct setup *t, rs_objective *o, double scale, rs_objective_loss *loss)
{
    rs_error e = {0};
    const rs_objective_view view = view_of(t, true, scale);
    memset(t->slopes, 0, t->count * sizeof *t->slopes);
    return CHECKF(rs_objective_run(o, t->ids, &view, loss, &e) == RS_OK && rs_objective_gather(o, &e) == RS_OK, "%s", e.text);
}

// The same with an objective of its own. False: that failed.
__attribute__((unused)) static bool run_once(struct setup *t, const rs_objective_options *with, double scale, rs_objective_loss *loss)
{
    rs_error e = {0};
    rs_objective *o = NULL;
    const bool ok = CHECKF(rs_objective_new(&o, t->n, with, &e) == RS_OK, "%s", e.text) && run(t, o, scale, loss);
    rs_objective_free(o);
    return ok;
}

__attribute__((unused)) static bool zeros(size_t n, const float *x)
{
    size_t wrong = 0;
    for (size_t i = 0; i < n; i++) wrong += x[i] != 0;
    return wrong == 0;
}

// |x - y| / |y|
__attribute__((unused)) static double distance(size_t n, const float *x, const float *y)
{
    double off = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        off += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
        size += (double)y[i] * y[i];
    }
    return sqrt(off / size);
}

#endif
