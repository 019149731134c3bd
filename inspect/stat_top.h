// SPDX-License-Identifier: Apache-2.0
// The largest magnitudes of many values in a bounded buffer: what exact quantiles near 1 need.
#ifndef RS_INSPECT_STAT_TOP_H
#define RS_INSPECT_STAT_TOP_H

#include "formats/err.h"

typedef struct rs_stat_top {
    uint32_t *v;       // magnitudes by their bits, which order as they do; [cap], the owner frees
    size_t n, cap, keep;
    int32_t least;     // nothing at or below it is among the largest any more; -1: not known yet
} rs_stat_top;

// How many of count values must be kept for the quantiles from q on.
uint64_t rs_stat_top_need(uint64_t count, double q);
// Makes room for keeping the largest keep values and forgets what was there; least: of another buffer of the same values, -1: none. E_NOMEM.
RS_MUST_CHECK rs_status rs_stat_top_start(rs_stat_top *t, uint64_t keep, int32_t least, rs_error *e);
// Adds the finite ones of n values; max: the largest finite magnitude among them.
void rs_stat_top_add(rs_stat_top *t, size_t n, const float *x, float max);
// Adds what another buffer holds.
void rs_stat_top_join(rs_stat_top *t, const rs_stat_top *other);
// Quantile q of the magnitudes of count values of which the largest are here, linear between order statistics as numpy.quantile has it. count > 0, keep as rs_stat_top_need says. Sorts.
double rs_stat_top_quantile(rs_stat_top *t, uint64_t count, double q);

#endif
