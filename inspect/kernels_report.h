// SPDX-License-Identifier: Apache-2.0
// What a check of the integer kernels found, as a table and as JSON.
#ifndef RS_INSPECT_KERNELS_REPORT_H
#define RS_INSPECT_KERNELS_REPORT_H

#include "formats/json.h"
#include "inspect/kernels_check.h"

// Lines with a newline each; malloc'ed text, the caller frees; NULL without memory.
char *rs_kernels_report_table(const rs_kernels_result *r);
// A code at a boundary as a line (into text, which is returned) and as a new object.
const char *rs_kernels_report_line(const rs_kernels_flip *f, char *text, size_t cap);
json_t *rs_kernels_report_flip(const rs_kernels_flip *f);
// The same figures into the object j.
void rs_kernels_report_json(json_t *j, const rs_kernels_result *r);

#endif
