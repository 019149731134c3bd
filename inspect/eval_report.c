// SPDX-License-Identifier: Apache-2.0
// Results of rs-eval as JSON.
#include "inspect/eval_report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/json.h"
#include "formats/utf8.h"

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null(); // JSON has no NaN
}

static char *text_of(json_t *o)
{
    char *text = o != NULL ? json_dumps(o, JSON_REAL_PRECISION(9)) : NULL;
    json_decref(o);
    return text;
}

char *rs_eval_report_json(const rs_eval_result *r, size_t ctx, bool against, const char *kernels)
{
    json_t *o = json_pack("{s:I,s:I,s:I,s:I,s:o,s:o,s:o,s:o,s:o,s:s}", "windows", (json_int_t)r->windows, "ctx", (json_int_t)ctx, "tokens", (json_int_t)r->tokens, "predictions",
                          (json_int_t)r->predictions, "nll", number(r->nll), "nll_stderr", number(r->nll_stderr), "perplexity", number(r->perplexity), "seconds", number(r->seconds), "tokens_per_s",
                          number((double)r->tokens / r->seconds), "kernels", kernels);
    if (against && o != NULL) {
        json_t *a = json_pack("{s:o,s:o,s:o,s:o,s:o}", "nll", number(r->ref_nll), "perplexity", number(r->ref_perplexity), "kl", number(r->kl), "kl_max", number(r->kl_max), "top1", number(r->top1));
        if (json_object_set_new(o, "against", a) != 0) {
            json_decref(o);
            return NULL;
        }
    }
    return text_of(o);
}

char *rs_prompt_report_json(const rs_prompt_result *r, const char *text, size_t len)
{
    char *valid = malloc(len + 1);
    if (valid == NULL) return NULL;
    if (len > 0) memcpy(valid, text, len);
    for (size_t bad; len > 0 && (bad = rs_utf8_valid(valid, len)) < len;) valid[bad] = '?';
    json_t *o = json_pack("{s:s%,s:I,s:I,s:b,s:o,s:o,s:I}", "text", valid, len, "prompt_tokens", (json_int_t)r->prompt_tokens, "tokens", (json_int_t)r->tokens, "stopped", (int)r->stopped,
                          "prefill_tokens_per_s", number((double)r->prompt_tokens / r->prefill), "decode_tokens_per_s", number(r->tokens > 1 ? (double)(r->tokens - 1) / r->decode : NAN),
                          "kv_cache_bytes", (json_int_t)r->cache_bytes);
    free(valid);
    return text_of(o);
}

char *rs_bench_report_json(const rs_bench_result *r, const rs_bench_options *b, const char *kernels, int threads)
{
    json_t *o = json_pack("{s:I,s:I,s:I,s:o,s:o,s:b,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:I,s:s,s:i}", "prefill", (json_int_t)b->prefill, "tokens", (json_int_t)b->tokens, "rounds",
                          (json_int_t)b->rounds, "prefill_tokens_per_s", number(r->prefill), "decode_tokens_per_s", number(r->decode), "junctions", (int)r->junctions, "prefill_junction_cost",
                          number(r->prefill_cost), "decode_junction_cost", number(r->decode_cost), "bytes_per_token", number(r->bytes), "products_per_token", number(r->products), "read_rate",
                          number(r->read_rate), "products_rate", number(r->products_rate), "read_share", number(r->read_share), "products_share", number(r->products_share), "kv_cache_bytes",
                          (json_int_t)r->cache_bytes, "kernels", kernels, "threads", threads);
    return text_of(o);
}
