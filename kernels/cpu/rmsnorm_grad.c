// SPDX-License-Identifier: Apache-2.0
// Gradient of RMSNorm. With f = 1 / sqrt(mean(x^2) + eps) and g = dy gamma: dx = f (g - x f^2 mean(x g)).
#include <math.h>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/pieces.h"
#include "kernels/threads.h"

static void row(size_t d, const float *x, const float *gamma, float eps, const float *dy, float *dx)
{
    double squares = 0, dot = 0;
    for (size_t i = 0; i < d; i++) {
        squares += (double)x[i] * (double)x[i];
        dot += (double)x[i] * (double)dy[i] * (gamma != NULL ? (double)gamma[i] : 1);
    }
    const double factor = 1 / sqrt(squares / (double)d + (double)eps), pull = dot / (double)d * factor * factor * factor;
    for (size_t i = 0; i < d; i++)
        dx[i] += (float)(factor * (double)dy[i] * (gamma != NULL ? (double)gamma[i] : 1) - pull * (double)x[i]);
}

void rs_rmsnorm_grad_plain(size_t B, size_t d, const float *x, const float *gamma, float eps, const float *dy, float *dx)
{
    for (size_t b = 0; b < B; b++)
        row(d, x + b * d, gamma, eps, dy + b * d, dx + b * d);
}

struct norm {
    size_t B, d, rows;
    const float *x, *gamma, *dy;
    float eps, *dx;
};

static void piece(void *context, size_t i)
{
    const struct norm *n = context;
    const size_t end = rs_pieces_min(n->B, (i + 1) * n->rows), d = n->d;
    for (size_t b = i * n->rows; b < end; b++)
        row(d, n->x + b * d, n->gamma, n->eps, n->dy + b * d, n->dx + b * d);
}

void rs_rmsnorm_grad_threaded(size_t B, size_t d, const float *x, const float *gamma, float eps, const float *dy, float *dx)
{
    struct norm n = {B, d, rs_pieces_rows(d), x, gamma, dy, eps, dx};
    rs_threads_for(rs_pieces_count(B, n.rows), piece, &n);
}
