// SPDX-License-Identifier: Apache-2.0
// A whole RSQ file at random: verified once from front to back, then mapped; tensors by name or by role and layer.
#ifndef RS_FORMATS_MAPPED_H
#define RS_FORMATS_MAPPED_H

#include "formats/reader.h"

typedef struct rs_mapped rs_mapped;

// Opens path ("-": standard input, spooled to an unlinked temporary file first), verifies every hash, maps it. Any class of error. Free with rs_mapped_close.
RS_MUST_CHECK rs_status rs_mapped_open(rs_mapped **m, const char *path, rs_error *e);
const rs_head *rs_mapped_head(const rs_mapped *m);
const rs_prov *rs_mapped_prov(const rs_mapped *m, size_t *n);
const rs_input_sum *rs_mapped_inputs(const rs_mapped *m, unsigned step, size_t *n);
// Digest of the stream, digest over its tensors, size (each may be NULL).
void rs_mapped_digest(const rs_mapped *m, uint8_t digest[16], uint8_t tensors[16], uint64_t *size);
// For rs_out_open's refusal: the open input stream.
rs_in *rs_mapped_in(const rs_mapped *m);
// Descriptor of the file that is mapped, the input itself or its copy; owned by m. For opening it once more by /proc/self/fd.
int rs_mapped_fd(const rs_mapped *m);
// Number of tensors; the i-th in stream order.
size_t rs_mapped_count(const rs_mapped *m);
const rs_tensor *rs_mapped_tensor(const rs_mapped *m, size_t i);
// Tensor by name; by role and layer (for norms use names). NULL if there is none.
const rs_tensor *rs_mapped_find(const rs_mapped *m, const char *name);
const rs_tensor *rs_mapped_find_role(const rs_mapped *m, rs_role role, int64_t layer);
// Payload of a tensor that one of the calls above returned; valid until close, aligned as HEAD says.
const uint8_t *rs_mapped_payload(const rs_mapped *m, const rs_tensor *t);
// Tells the kernel that the payload is not needed for now, so that resident memory does not grow with the file.
void rs_mapped_release(const rs_mapped *m, const rs_tensor *t);
// Bytes of a carried file, NULL if absent.
const uint8_t *rs_mapped_file(const rs_mapped *m, const char *name, size_t *len);
// Number of statistics frames; the i-th with its payload.
size_t rs_mapped_stats(const rs_mapped *m);
const rs_stat_head *rs_mapped_stat(const rs_mapped *m, size_t i, const uint8_t **payload);
// A file that is cut while it is mapped would end the process by SIGBUS. After this call (once, by tools) the bytes that are gone read as zeros instead, and
// rs_mapped_check says so.
void rs_mapped_guard(void);
// E_READ if bytes of the mapping were gone when they were read: whatever was computed from it is worthless. To be asked before results are given out.
RS_MUST_CHECK rs_status rs_mapped_check(const rs_mapped *m, rs_error *e);
// NULL allowed.
void rs_mapped_close(rs_mapped *m);

#endif
