// SPDX-License-Identifier: Apache-2.0
// The command line of rs-learn.
#ifndef RS_TRANSFORMS_LEARN_CLI_H
#define RS_TRANSFORMS_LEARN_CLI_H

#include "formats/cli.h"
#include "transforms/learn.h"

// What was asked for; texts are those of argv.
typedef struct rs_learn_cli {
    rs_cli cli;
    const char *model, *text;
    const char *start;            // rotation set to start at; NULL: seeded
    const char *log, *checkpoint; // NULL: not given
    const char *device;           // NULL: not given
    bool search;                  // look at `seeds` seeded sets, learn.mode is GLOBAL
    bool unsign;                  // the seeded start without its signs
    bool resume, dry_run;
    uint64_t seeds, save_every;
    rs_learn_options learn;
} rs_learn_cli;

// Walks argv; --help and --version end the process (rs_cli_parse). RS_USAGE.
RS_MUST_CHECK rs_status rs_learn_cli_parse(rs_learn_cli *c, int argc, char **argv, rs_error *e);

#endif
