// SPDX-License-Identifier: Apache-2.0
// Negative log-likelihood of target tokens and the likeliest token of each row.
#include <math.h>

#include "kernels/cpu/ops.h"

void rs_cross_entropy_plain(size_t B, size_t V, const float *logits, size_t ld, const int32_t *target, double *nll, int32_t *top)
{
    for (size_t b = 0; b < B; b++, logits += ld) {
        size_t best = 0;
        double sum = 0;
        for (size_t i = 1; i < V; i++)
            if (logits[i] > logits[best])
                best = i;
        for (size_t i = 0; i < V; i++)
            sum += exp((double)logits[i] - (double)logits[best]);
        nll[b] = log(sum) + (double)logits[best] - (double)logits[target[b]];
        if (top != NULL)
            top[b] = (int32_t)best;
    }
}
