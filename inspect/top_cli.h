// SPDX-License-Identifier: Apache-2.0
// Command line of rs-top.
#ifndef RS_INSPECT_TOP_CLI_H
#define RS_INSPECT_TOP_CLI_H

#include "formats/cli.h"
#include "inspect/threshold.h"
#include "inspect/view.h"

typedef enum rs_top_format { RS_TOP_TEXT, RS_TOP_CSV, RS_TOP_JSON, RS_TOP_SVG, RS_TOP_HTML, RS_TOP_FORMATS } rs_top_format;

typedef struct rs_top_cli {
    rs_cli cli;
    const char *file[2];
    const char *saved;         // an export that is opened again, in place of files
    bool batch, ascii, plain, no_mouse;
    int64_t screen;            // 0: not given
    const char *tensor;        // pattern
    int64_t rank, junction;    // -1: not given
    int64_t steps[2];          // -1: not given
    bool has_sort, inverted, has_measure, has_check;
    rs_sort sort;
    rs_measure measure;
    int cols, rows;            // 0: not given
    rs_top_format format;
    bool has_format;
    rs_thresholds check;
    int colour;                // 1 always, 0 where it fits, -1 never
} rs_top_cli;

// RS_USAGE.
RS_MUST_CHECK rs_status rs_top_cli_parse(rs_top_cli *c, int argc, char **argv, rs_error *e);
// Sets what the options say about the view. RS_USAGE: no such measure, junction or tensor in the file.
RS_MUST_CHECK rs_status rs_top_cli_apply(const rs_top_cli *c, rs_view *v, rs_error *e);
// Format by name, false for an unknown one; and back.
bool rs_top_format_find(const char *name, rs_top_format *f);
const char *rs_top_format_name(rs_top_format f);

#endif
