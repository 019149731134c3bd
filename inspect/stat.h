// SPDX-License-Identifier: Apache-2.0
// Statistics of a matrix of values [rows, channels] that comes in blocks of rows: by channel, and of all of it (formats/FORMAT.md 14 defines every number).
#ifndef RS_INSPECT_STAT_H
#define RS_INSPECT_STAT_H

#include "formats/err.h"
#include "kernels/kernels.h"

enum { RS_STAT_BINS = 64, RS_STAT_SETTINGS = 3, RS_STAT_WIDTHS = 2 }; // bins; quantisers that one input may have; widths that are tried: 4 bits and 3

typedef struct rs_stat rs_stat;
typedef struct rs_stat_work rs_stat_work;

// What will come.
typedef struct rs_stat_options {
    uint64_t rows, channels;
    bool tokens;               // rows are tokens: count massive ones
    size_t settings, span;     // quantisers to try at 4 and 3 bits (0: none), and the length of the vectors that they see; it divides channels
    rs_quantizer quantizer[RS_STAT_SETTINGS];
} rs_stat_options;

// What came of it. A number that is not defined is NaN.
typedef struct rs_stat_result {
    uint64_t channels;
    float *absmax, *rms_of, *kurt_of; // [channels], malloc; the owner frees by rs_stat_result_clear
    uint64_t hist[RS_STAT_BINS];
    double max, rms, kurt, p999, p9999, incoherence, zeros;
    double square;             // sum of the squares
    double sqnr[RS_STAT_SETTINGS][RS_STAT_WIDTHS]; // dB, at 4 bits and at 3
    bool tokens;
    uint64_t rows, massive, bad;
} rs_stat_result;

// Scratch that all statistics share, one after the other, for the threads of the pool as it is now. E_NOMEM. Free with rs_stat_work_free (NULL allowed).
RS_MUST_CHECK rs_status rs_stat_work_new(rs_stat_work **w, rs_error *e);
void rs_stat_work_free(rs_stat_work *w);

// E_LIMIT, E_NOMEM. Free with rs_stat_free (NULL allowed).
RS_MUST_CHECK rs_status rs_stat_new(rs_stat **s, const rs_stat_options *o, rs_error *e);
void rs_stat_free(rs_stat *s);
// Adds rows of x [rows, channels], leading dimension ld. The result does not depend on the number of threads; it depends on how the rows are cut into calls, to rounding. E_NOMEM.
RS_MUST_CHECK rs_status rs_stat_add(rs_stat *s, rs_stat_work *w, size_t rows, const float *x, size_t ld, rs_error *e);
// After the last rows; s is good for nothing but rs_stat_free then. E_NOMEM.
RS_MUST_CHECK rs_status rs_stat_finish(rs_stat *s, rs_stat_result *r, rs_error *e);
void rs_stat_result_clear(rs_stat_result *r);
// 10 log10(signal / error); NaN where it is infinite or not defined.
double rs_stat_decibel(double signal, double error);

#endif
