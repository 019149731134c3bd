// SPDX-License-Identifier: Apache-2.0
// How element-wise operations are cut into pieces for the pool: bounds depend on the sizes alone.
#ifndef RS_KERNELS_CPU_PIECES_H
#define RS_KERNELS_CPU_PIECES_H

#include <stddef.h>

// Values of one piece: enough to hide the cost of handing it out, few enough to stay in the second-level cache.
enum { RS_PIECE = 1 << 15 };

static inline size_t rs_pieces_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t rs_pieces_count(size_t n, size_t piece)
{
    return n / piece + (n % piece != 0);
}

// Rows of n values that make one piece, at least 1.
static inline size_t rs_pieces_rows(size_t n)
{
    return n >= RS_PIECE || n == 0 ? 1 : RS_PIECE / n;
}

#endif
