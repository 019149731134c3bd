// SPDX-License-Identifier: Apache-2.0
// A packed payload that is filled row by row from several threads: codes, scales, sums of codes, and what the rounding cost.
#ifndef RS_QUANTIZE_ROWS_H
#define RS_QUANTIZE_ROWS_H

#include "formats/tensor.h"

#define RS_ROWS_PIECE 8 // rows that one thread does at a time

// What packing cost: sums of squares of the weights and of their errors, codes at either end of the grid.
typedef struct rs_pack_error {
    double signal, error;
    uint64_t clipped, weights;
} rs_pack_error;

typedef struct rs_rows {
    const char *name;
    int bits;
    bool scale_f16;
    size_t rows, cols, group, groups, pieces; // group: columns per scale, cols where there is one scale per row
    uint8_t *codes, *scales;
    int32_t *sums;
    rs_pack_error *cost;                      // [pieces]
    int64_t bad_row;                          // the first row with NaN or infinity, -1: none
    bool no_memory;
} rs_rows;

// Over the payload (borrowed, zeroed here) of a tensor whose packed layout is derived. RS_E_INTERNAL for another layout, E_NOMEM. After RS_OK rs_rows_close is due.
RS_MUST_CHECK rs_status rs_rows_open(rs_rows *r, const rs_tensor *packed, uint8_t *payload, rs_error *e);
// False, and the row is noted, when w [cols] holds NaN or infinity.
bool rs_rows_check(rs_rows *r, size_t row, const float *w);
void rs_rows_no_memory(rs_rows *r);
// Writes codes [cols] and scales [groups] of a row and adds what they cost against w [cols] to the sums of its piece, row / RS_ROWS_PIECE.
void rs_rows_put(rs_rows *r, size_t row, const float *w, const int8_t *codes, const float *scales);
// Adds the costs up (cost may be NULL), frees, and says what was noted: E_VALUE (names the row), E_NOMEM.
RS_MUST_CHECK rs_status rs_rows_close(rs_rows *r, rs_pack_error *cost, rs_error *e);

#endif
