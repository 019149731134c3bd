// SPDX-License-Identifier: Apache-2.0
// Adam in fp64 scalars over f32 arrays, in fixed pieces.
#include "transforms/adam.h"

#include <math.h>

#include "kernels/threads.h"
#include "transforms/dense.h"

enum { PIECE = 1 << 15 };

struct step {
    size_t n;
    float *p, *m, *v;
    const float *g;
    double rate, scale2, beta1, beta2, eps, weight_decay; // rate = lr / (1 - beta1^t), scale2 = 1 / (1 - beta2^t)
};

static void piece(void *context, size_t index)
{
    const struct step *s = context;
    size_t end = (index + 1) * PIECE < s->n ? (index + 1) * PIECE : s->n;
    for (size_t i = index * PIECE; i < end; i++) {
        double x = s->g[i] + s->weight_decay * s->p[i];
        s->m[i] = (float)(s->beta1 * s->m[i] + (1 - s->beta1) * x);
        s->v[i] = (float)(s->beta2 * s->v[i] + (1 - s->beta2) * x * x);
        s->p[i] = (float)(s->p[i] - s->rate * s->m[i] / (sqrt(s->scale2 * s->v[i]) + s->eps));
    }
}

rs_status rs_adam_step(size_t n, float *p, const float *g, float *m, float *v, uint64_t t, double lr, double beta1, double beta2, double eps, double weight_decay, rs_error *e)
{
    if (!rs_dense_finite(n, g)) return rs_fail(e, RS_E_VALUE, "gradient is not finite");
    struct step s = {n, p, m, v, g, lr / (1 - pow(beta1, (double)t)), 1 / (1 - pow(beta2, (double)t)), beta1, beta2, eps, weight_decay};
    rs_threads_for((n + PIECE - 1) / PIECE, piece, &s);
    return RS_OK;
}
