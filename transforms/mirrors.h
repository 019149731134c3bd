// SPDX-License-Identifier: Apache-2.0
// Matrices of the process where a table of operations can reach them: on a device copies that are sent once for each change, and sums that are collected there. Where the table works in the process these are
// the matrices themselves, and nothing is copied.
#ifndef RS_TRANSFORMS_MIRRORS_H
#define RS_TRANSFORMS_MIRRORS_H

#include <stdint.h>

#include "formats/err.h"
#include "kernels/kernels.h"

typedef struct rs_mirrors rs_mirrors;

// For arrays of k. E_NOMEM.
RS_MUST_CHECK rs_status rs_mirrors_new(rs_mirrors **m, const rs_kernels *k, rs_error *e);
void rs_mirrors_free(rs_mirrors *m); // NULL allowed
// The matrices may have changed: each is sent again when it is asked for. Nothing that reads them may be in the queue.
void rs_mirrors_moved(rs_mirrors *m);
// Where matrix p [count] lies; what is sent there is waited for by rs_mirrors_meet, once for many. E_NOMEM. p NULL: NULL.
RS_MUST_CHECK rs_status rs_mirrors_matrix(rs_mirrors *m, const float *p, size_t count, const float **there, rs_error *e);
// The same, for a caller that changes it there: rs_mirrors_fetch brings it back, before anybody looks at it or changes it here.
RS_MUST_CHECK rs_status rs_mirrors_change(rs_mirrors *m, float *p, size_t count, float **there, rs_error *e);
// Waits; after a fault of the device what it brought is worthless.
void rs_mirrors_fetch(rs_mirrors *m);
void rs_mirrors_meet(rs_mirrors *m);
// Where to add up what belongs to matrix p [count]: zero there after rs_mirrors_gather or _drop. E_NOMEM. p NULL: NULL.
RS_MUST_CHECK rs_status rs_mirrors_sum(rs_mirrors *m, float *p, size_t count, float **there, rs_error *e);
// Adds the sums to their matrices; waits. After a fault of the device (rs_memory.settle) these are worthless. E_NOMEM.
RS_MUST_CHECK rs_status rs_mirrors_gather(rs_mirrors *m, rs_error *e);
// Forgets the sums.
void rs_mirrors_drop(rs_mirrors *m);

#endif
