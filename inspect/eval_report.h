// SPDX-License-Identifier: Apache-2.0
// Results of rs-eval as JSON. What is not a number is null.
#ifndef RS_INSPECT_EVAL_REPORT_H
#define RS_INSPECT_EVAL_REPORT_H

#include "inspect/bench.h"
#include "inspect/eval.h"
#include "inspect/prompt.h"

// Each a line of JSON without its end (malloc), NULL when memory is short. against: also the figures of the comparison. text [len]: what was generated; bytes that are no UTF-8 become '?'.
char *rs_eval_report_json(const rs_eval_result *r, size_t ctx, bool against, const char *kernels);
char *rs_prompt_report_json(const rs_prompt_result *r, const char *text, size_t len);
char *rs_bench_report_json(const rs_bench_result *r, const rs_bench_options *o, const char *kernels, int threads);

#endif
