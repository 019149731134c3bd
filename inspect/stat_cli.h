// SPDX-License-Identifier: Apache-2.0
// The command line of rs-stat.
#ifndef RS_INSPECT_STAT_CLI_H
#define RS_INSPECT_STAT_CLI_H

#include "formats/cli.h"
#include "transforms/device.h"

// What was asked for; texts are those of argv, NULL where not given.
typedef struct rs_stat_cli {
    rs_cli cli;
    const char *input, *text;
    int64_t samples, ctx, skip;
    bool csv;
    const rs_kernels *k; // of --device
} rs_stat_cli;

// Walks argv; --help and --version end the process (rs_cli_parse). RS_USAGE.
RS_MUST_CHECK rs_status rs_stat_cli_parse(rs_stat_cli *c, int argc, char **argv, rs_error *e);

#endif
