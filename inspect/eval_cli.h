// SPDX-License-Identifier: Apache-2.0
// The command line of rs-eval.
#ifndef RS_INSPECT_EVAL_CLI_H
#define RS_INSPECT_EVAL_CLI_H

#include "formats/cli.h"
#include "inspect/sample.h"
#include "transforms/device.h"

// What was asked for, one of --text, --tasks, --prompt, --prompt-file and --bench; texts are those of argv, NULL where not given.
typedef struct rs_eval_cli {
    rs_cli cli;
    const char *model, *text, *against, *tasks, *delimiter, *scores, *prompt, *prompt_file, *system;
    int64_t ctx, windows, limit, tokens, prefill, rounds; // windows, limit: 0 = all
    rs_sampler_options sampling;
    const rs_kernels *k;       // of --device or --reference
    const rs_int_kernels *by;
    bool bench, chat, bos, reference, integer, ignore_eos;
} rs_eval_cli;

// Walks argv; --help and --version end the process (rs_cli_parse). RS_USAGE.
RS_MUST_CHECK rs_status rs_eval_cli_parse(rs_eval_cli *c, int argc, char **argv, rs_error *e);

#endif
