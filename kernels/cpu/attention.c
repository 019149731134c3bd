// SPDX-License-Identifier: Apache-2.0
// Causal attention of one sequence, never holding more than a strip of the score matrix.
#include <math.h>

#include "kernels/cpu/ops.h"
#include "kernels/threads.h"

// Reference: for each query a running maximum m, the sum of e^(score - m) and the weighted values, in fp64.
void rs_attention_plain(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, float *out)
{
    enum { PART = 64 }; // columns of the output computed together; scores are computed again for each part
    const double scale = 1 / sqrt((double)h);
    for (size_t s = 0; s < S; s++)
        for (size_t head = 0; head < n_q; head++)
            for (size_t part = 0; part < h; part += PART) {
                const float *qs = q + (s * n_q + head) * h;
                const size_t first = head / (n_q / n_kv) * h, width = h - part < PART ? h - part : PART;
                double max = -HUGE_VAL, total = 0, sum[PART] = {0};
                for (size_t t = 0; t <= s; t++) {
                    const float *kt = k + t * n_kv * h + first, *vt = v + t * n_kv * h + first + part;
                    double score = 0;
                    for (size_t i = 0; i < h; i++)
                        score += (double)qs[i] * (double)kt[i];
                    score *= scale;
                    if (!(score <= max)) {
                        const double shrink = exp(max - score);
                        total *= shrink;
                        for (size_t i = 0; i < width; i++)
                            sum[i] *= shrink;
                        max = score;
                    }
                    const double weight = exp(score - max);
                    total += weight;
                    for (size_t i = 0; i < width; i++)
                        sum[i] += weight * (double)vt[i];
                }
                for (size_t i = 0; i < width; i++)
                    out[(s * n_q + head) * h + part + i] = (float)(sum[i] / total);
            }
}
