// SPDX-License-Identifier: Apache-2.0
// The command line of rs-pack.
#ifndef RS_QUANTIZE_PACK_CLI_H
#define RS_QUANTIZE_PACK_CLI_H

#include "formats/cli.h"
#include "quantize/gptq_model.h"
#include "quantize/pack.h"

// What was asked for; texts are those of argv.
typedef struct rs_pack_cli {
    rs_cli cli;
    const char *input, *text, *recipe; // NULL: not given
    bool dry_run;
    rs_pack_options pack;              // scheme.gptq: --gptq
    int64_t samples, ctx, skip;
    const char *checkpoint;            // NULL: not given
    bool resume;
    rs_gptq_model_options by;
} rs_pack_cli;

// Walks argv; --help and --version end the process (rs_cli_parse). RS_USAGE.
RS_MUST_CHECK rs_status rs_pack_cli_parse(rs_pack_cli *c, int argc, char **argv, rs_error *e);

#endif
