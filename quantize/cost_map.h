// SPDX-License-Identifier: Apache-2.0
// Where in a packed matrix rounding cost what: sums of squares over cells of rows and groups of columns, and the statistics frame that keeps them (FORMAT.md 14, 20.9).
#ifndef RS_QUANTIZE_COST_MAP_H
#define RS_QUANTIZE_COST_MAP_H

#include "formats/stage.h"

#define RS_COST_CELLS 4096 // of one matrix at most,
#define RS_COST_SHARE 4096  // and this share of its bytes (at least RS_COST_LEAST), unless it has more groups of columns
#define RS_COST_LEAST 4

// Cells [rows, groups]: cell (i, g) holds rows i each .. of the matrix and columns g group .. of it. Sums are made in fp64.
typedef struct rs_cost_map {
    uint64_t each;       // rows of a cell: the least power of two that leaves at most RS_COST_CELLS cells, where there are rows enough
    uint64_t rows, groups;
    float *sig, *err;    // sums of squares of the weights, and of what rounding changed
    uint32_t *clip;      // codes at the ends of the range
    double signal, error;// over all
    uint64_t clipped, weights;
    float scale_min, scale_max;
    double worst;        // least signal-to-noise ratio of one span (a row of one group), dB; infinite: none
    uint64_t worst_span; // row times groups + group
} rs_cost_map;

// Compares w [rows, cols] with payload, which packed describes; rows are spread over the pool, the result does not depend on it. Release with rs_cost_map_free, also after an error. E_TENSOR (not
// packed), E_NOMEM.
RS_MUST_CHECK rs_status rs_cost_map_make(rs_cost_map *c, const rs_tensor *packed, const uint8_t *payload, const float *w, rs_error *e);
void rs_cost_map_free(rs_cost_map *c);
// Writes the sTAT of kind `error` of tensor name: the map, and values (made in a; NULL: a new map) with what it says in short. E_NOMEM, errors of the writer.
RS_MUST_CHECK rs_status rs_cost_map_write(const rs_cost_map *c, rs_writer *w, unsigned step, const char *name, rs_arena *a, rs_value *values, rs_error *e);

#endif
