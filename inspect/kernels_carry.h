// SPDX-License-Identifier: Apache-2.0
// One packed matrix and its rows where a variant wants them: arrays of the process as they are, or copies of them on a device, what comes back included.
#ifndef RS_INSPECT_KERNELS_CARRY_H
#define RS_INSPECT_KERNELS_CARRY_H

#include "formats/err.h"
#include "kernels/int_gemm.h"

typedef struct rs_carrier {
    const rs_int_kernels *by;
    const rs_memory *memory;   // NULL: everything stays where it is
    const rs_int_weights *own; // in the process
    rs_int_weights w;          // there
    rs_int_rows rows;
    float *x, *y;
    int32_t *sums;
    void *work, *again;        // again: room in the process for a second run
    size_t repeat;
    uint64_t differ;           // results that were not the same when they were computed once more
    char fault[200];
} rs_carrier;

// Room for m rows of a_bits, and the weights; repeat: how often each call computes on a device, at least 1. E_NOMEM. Closed in any case by rs_carrier_close.
RS_MUST_CHECK rs_status rs_carrier_open(rs_carrier *c, const rs_int_kernels *by, const rs_int_weights *w, unsigned a_bits, size_t m, size_t repeat, rs_error *e);
// As rs_int_quantise, of x [rows->m, rows->k] into arrays of the process (rows->ld == rows->k).
size_t rs_carrier_quantise(rs_carrier *c, const rs_quantizer *q, const float *x, const rs_int_rows *rows);
// As rs_int_gemm_sums.
void rs_carrier_sums(rs_carrier *c, const rs_int_rows *rows, int32_t *sums);
// As rs_int_gemm of one product, y [rows->m, n].
void rs_carrier_product(rs_carrier *c, const rs_int_rows *rows, float *y, bool add);
// What failed on the device: E_INTERNAL.
RS_MUST_CHECK rs_status rs_carrier_fault(rs_carrier *c, rs_error *e);
void rs_carrier_close(rs_carrier *c);

#endif
