// SPDX-License-Identifier: Apache-2.0
// Verdicts about a stream as JSON.
#ifndef RS_INSPECT_VERIFY_REPORT_H
#define RS_INSPECT_VERIFY_REPORT_H

#include "formats/json.h"
#include "inspect/verify.h"

// A new object: file, ok, code and, of a fault, class and text. The caller's reference.
json_t *rs_verify_report_verdict(const char *file, rs_status s, const rs_error *e);
// What the stream holds, into the object j.
void rs_verify_report_stream(json_t *j, const rs_verified *v);
// One layer of a comparison, to be appended to a list; and its result with that list (borrowed), into the object j.
json_t *rs_verify_report_layer(const rs_against_layer *l);
void rs_verify_report_against(json_t *j, const char *against, double tol, json_t *layers, const rs_against_result *r);
// Hexadecimal digits of a digest; returns text.
const char *rs_verify_report_hex(const uint8_t digest[16], char text[33]);

#endif
