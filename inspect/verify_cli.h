// SPDX-License-Identifier: Apache-2.0
// The command line of rs-verify.
#ifndef RS_INSPECT_VERIFY_CLI_H
#define RS_INSPECT_VERIFY_CLI_H

#include "formats/cli.h"
#include "transforms/device.h"

// What was asked for; texts are those of argv.
typedef struct rs_verify_cli {
    rs_cli cli;
    const char *file, *against, *text; // file "-": standard input; the others NULL: not given
    bool quick, format, values, reference, kernels;
    double tol;
    int64_t ctx, windows, repeat;
    const rs_kernels *k;               // of --device
} rs_verify_cli;

// Walks argv; --help and --version end the process (rs_cli_parse). RS_USAGE.
RS_MUST_CHECK rs_status rs_verify_cli_parse(rs_verify_cli *c, int argc, char **argv, rs_error *e);
// Name of the file for messages.
const char *rs_verify_cli_name(const rs_verify_cli *c);

#endif
