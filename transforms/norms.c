// SPDX-License-Identifier: Apache-2.0
// Keeps norm scales by their number until the weights behind them have been multiplied.
#include "transforms/norms.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct rs_norms {
    uint64_t L, d;
    bool *there;   // [2L + 1]
    float *scale;  // [2L + 1, d]
};

rs_status rs_norms_new(rs_norms **n, uint64_t L, uint64_t d, rs_error *e)
{
    uint64_t count, total, bytes;
    *n = NULL;
    if (!rs_mul_ok(L, 2, &count) || !rs_add_ok(count, 1, &count) || !rs_mul_ok(count, d, &total) || !rs_mul_ok(total, sizeof(float), &bytes))
        return rs_fail(e, RS_E_LIMIT, "norms: %llu layers of width %llu are too many", (unsigned long long)L, (unsigned long long)d);
    rs_norms *made = calloc(1, sizeof *made);
    if (made != NULL) {
        *made = (rs_norms){.L = L, .d = d, .there = calloc(count, sizeof(bool)), .scale = malloc(bytes)};
        if (made->there != NULL && made->scale != NULL) {
            *n = made;
            return RS_OK;
        }
    }
    rs_norms_free(made);
    return rs_fail(e, RS_E_NOMEM, "norms: no memory for %llu bytes", (unsigned long long)bytes);
}

void rs_norms_free(rs_norms *n)
{
    if (n == NULL) return;
    free(n->there);
    free(n->scale);
    free(n);
}

rs_status rs_norms_put(rs_norms *n, uint64_t index, const float *scale, const char *name, rs_error *e)
{
    if (index > 2 * n->L) return rs_fail(e, RS_E_INTERNAL, "tensor %s: norm %llu of %llu layers", name, (unsigned long long)index, (unsigned long long)n->L);
    if (n->there[index]) return rs_fail(e, RS_E_DUP, "tensor %s: the same norm twice", name);
    for (uint64_t i = 0; i < n->d; i++)
        if (!isfinite(scale[i])) return rs_fail(e, RS_E_VALUE, "tensor %s: value %llu is not finite", name, (unsigned long long)i);
    memcpy(n->scale + index * n->d, scale, n->d * sizeof(float));
    n->there[index] = true;
    return RS_OK;
}

rs_status rs_norms_get(const rs_norms *n, uint64_t index, const char *reader, const float **scale, rs_error *e)
{
    if (index > 2 * n->L || !n->there[index]) return rs_fail(e, RS_E_TENSOR, "tensor %s: it stands before the norm whose scale it reads", reader);
    *scale = n->scale + index * n->d;
    return RS_OK;
}
