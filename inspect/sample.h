// SPDX-License-Identifier: Apache-2.0
// The next token of a text out of its logits: the likeliest, or drawn at a temperature from the smallest set that holds a share of the probability.
#ifndef RS_INSPECT_SAMPLE_H
#define RS_INSPECT_SAMPLE_H

#include "formats/err.h"

typedef struct rs_sampler rs_sampler;

typedef struct rs_sampler_options {
    double temperature; // 0: the largest logit, the lowest id among equals; else probabilities are softmax(logits / temperature)
    double top_p;       // in (0, 1]: only the likeliest tokens that together have at least this probability (Holtzman et al., arXiv 1904.09751); 1: all
    uint64_t seed;      // draw i of a sampler is the same on every machine whose logits are
} rs_sampler_options;

// For a vocabulary of V. RS_USAGE for a temperature below 0 or not finite, a top_p outside (0, 1]; E_NOMEM. Free with rs_sampler_free (NULL allowed).
RS_MUST_CHECK rs_status rs_sampler_new(rs_sampler **s, size_t V, const rs_sampler_options *o, rs_error *e);
void rs_sampler_free(rs_sampler *s);
// The next token from logits [V]. E_VALUE where one of them is NaN or all are -infinity, or one is +infinity.
RS_MUST_CHECK rs_status rs_sampler_next(rs_sampler *s, const float *logits, int32_t *id, rs_error *e);

#endif
