// SPDX-License-Identifier: Apache-2.0
// Perplexity of a network on token ids, and its distance from another network on the same tokens.
#ifndef RS_INSPECT_EVAL_H
#define RS_INSPECT_EVAL_H

#include "transforms/network.h"

typedef struct rs_eval_options {
    size_t ctx;        // tokens in a window, >= 2
    size_t windows;    // how many windows; 0 = all whole ones in the text
    bool bos;          // each window starts with bos_id, then ctx - 1 tokens of the text
    int32_t bos_id;
    uint64_t mem;      // bytes for hidden states and logits, 0 = 256 MiB; windows are taken in batches that fit, at least one at a time
    void (*progress)(void *context, double tokens_done); // NULL allowed
    void *context;
} rs_eval_options;

typedef struct rs_eval_result {
    size_t windows, tokens, predictions; // tokens = windows * ctx, predictions = windows * (ctx - 1)
    double nll, nll_stderr, perplexity;  // mean negative log-likelihood in nats, its standard error, exp of the mean
    double seconds;                      // of computing, both networks
    // with a reference network only:
    double ref_nll, ref_perplexity;
    double kl, kl_max;                   // mean and largest KL(reference || network) in nats
    double top1;                         // share of predictions whose largest logit is the same token
} rs_eval_result;

// Non-overlapping windows from the start of ids, the tail dropped, S - 1 predictions a window (numerics.md 1). ref NULL: no comparison.
// RS_USAGE when the text is shorter than one window or the vocabularies differ; E_VALUE, E_NOMEM.
RS_MUST_CHECK rs_status rs_eval_perplexity(rs_network *n, rs_network *ref, const int32_t *ids, size_t count, const rs_eval_options *o, rs_eval_result *r, rs_error *e);

#endif
