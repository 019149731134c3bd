// SPDX-License-Identifier: Apache-2.0
// Options that mean the same in every tool, size parsing, the progress line, and the checked exit.
#ifndef RS_FORMATS_CLI_H
#define RS_FORMATS_CLI_H

#include "formats/err.h"

#define RS_VERSION "0.1.0"

typedef struct rs_cli {
    const char *tool;       // "rs-fuse"
    const char *output;     // -o, --output; NULL = standard output
    int threads;            // -j, --threads; default: all processors this process may use
    int verbose;            // -v, may be repeated
    bool quiet;             // -q
    bool json;              // --json
    uint64_t mem;           // --mem, bytes; 0 = not given
    const char *device;     // --device, default "cpu"
} rs_cli;

// One option of a tool of its own; those of rs_cli are known without being listed.
typedef struct rs_option {
    const char *name;  // long name without "--"
    char letter;       // 0: none
    bool has_value;
    int id;            // >= 1, handed to the callback
} rs_option;

// Walks argv: shared options that usage names (as --name; --help and --version always) go into cli, the others are unknown; own options (options[0..n)) go to callback
// with value (NULL without), operands too (id 0). "--help" prints usage on standard output and exits 0, "--version" likewise: the only function beside rs_cli_exit that
// ends the process. The callback returns RS_OK or an error (rs_fail RS_USAGE ...).
typedef rs_status rs_cli_callback(void *context, int id, const char *value, rs_error *e);
RS_MUST_CHECK rs_status rs_cli_parse(rs_cli *cli, const char *tool, const char *usage, const rs_option *options, size_t n, int argc, char **argv, rs_cli_callback *callback, void *context, rs_error *e);
// Opens descriptors 0 to 2 on /dev/null where closed, installs the signal guard of formats/io, sets the C locale; the first call of every main.
void rs_cli_start(void);

// "64M", "1.5GiB", "4096": bytes (K M G T are powers of 1024). RS_USAGE.
RS_MUST_CHECK rs_status rs_cli_size(const char *text, uint64_t *bytes, rs_error *e);
// Whole decimal numbers in lo..hi; finite real in lo..hi. RS_USAGE naming what.
RS_MUST_CHECK rs_status rs_cli_int(const char *what, const char *text, int64_t lo, int64_t hi, int64_t *out, rs_error *e);
RS_MUST_CHECK rs_status rs_cli_real(const char *what, const char *text, double lo, double hi, double *out, rs_error *e);

// Progress "tool: what 42 % 1.2 unit/s ETA 0:12" on standard error when it is a terminal and not quiet; draws at most ten times a second.
typedef struct rs_progress {
    const rs_cli *cli;
    const char *what, *unit;
    double total, from, shown_at, started; // from: what was done before the start, not part of the rate
    bool on;
} rs_progress;
void rs_progress_start(rs_progress *p, const rs_cli *cli, const char *what, const char *unit, double total);
void rs_progress_at(rs_progress *p, double done);
void rs_progress_end(rs_progress *p);

// RS_USAGE if more than one of n input paths (NULL entries are skipped) is "-": standard input can be read once.
RS_MUST_CHECK rs_status rs_cli_one_stdin(size_t n, const char *const *paths, rs_error *e);
// Name of the output for messages: --output, or "standard output". Never NULL.
const char *rs_cli_output(const rs_cli *cli);
// Prints "tool: file: CLASS: text" for a failure (nothing for RS_OK and RS_NO), checks fclose(stdout), returns the exit code. file NULL: left out; "-": standard input.
int rs_cli_exit(const rs_cli *cli, rs_status status, const char *file, const rs_error *e);
// Reads a whole file ("-": standard input) into *bytes (malloc, ends with a NUL that *len does not count), at most limit bytes. E_READ, E_LIMIT, E_NOMEM.
RS_MUST_CHECK rs_status rs_cli_slurp(const char *path, uint64_t limit, char **bytes, size_t *len, rs_error *e);

#endif
