// SPDX-License-Identifier: Apache-2.0
// What the kernels of integer products share: what becomes of sums; and of the common form of weights, its codes as bytes.
#ifndef RS_KERNELS_CUDA_INT_SUMS_H
#define RS_KERNELS_CUDA_INT_SUMS_H

#include "kernels/cuda/half.h"
#include "kernels/cuda/reduce.h"

extern "C" {
#include "kernels/cpu/int_ops.h"
}

RS_DEVICE float rs_int_scale(const rs_int_weights *w, size_t i)
{
    if (w->scales != NULL)
        return w->scales[i];
    return rs_half_to_float(w->scales_16[i]);
}

// What becomes of the sums of one row and one output: to `sums`, or to the result.
struct rs_int_target {
    int32_t *sums;
    float *y;
    size_t ldy;
    bool add;
};

// acc += the term of span g.
RS_DEVICE float rs_int_term(const rs_int_weights *w, const rs_int_rows *a, size_t r, size_t o, size_t g, size_t spans, int sum)
{
    return (float)(sum - a->zero[r] * w->sums[o * spans + g]) * rs_int_scale(w, o * spans + g);
}

RS_DEVICE void rs_int_store(struct rs_int_target to, const rs_int_rows *a, size_t r, size_t o, float acc)
{
    float *y = to.y + r * to.ldy + o;
    *y = to.add ? *y + acc * a->scale[r] : acc * a->scale[r];
}

// The common form: one scale a row, 4 or 8 bits, k a multiple of 64 and at most 2^16, rows that start on 16 bytes.
static inline bool rs_int_plain(const rs_int_weights *w, const rs_int_rows *a)
{
    return (w->group == 0 || w->group == w->k) && (w->bits == 4 || w->bits == 8) && w->k % 64 == 0 && w->k <= 65536 && (uintptr_t)w->codes % 16 == 0 && (uintptr_t)a->codes % 16 == 0 && a->ld % 16 == 0;
}

// Products of that form with up to 16 rows, and with many. False: it is another form, or more rows.
bool rs_int_few(const rs_int_weights *w, const rs_int_rows *a, struct rs_int_target to);
bool rs_int_tiles(const rs_int_weights *w, const rs_int_rows *a, struct rs_int_target to);

// Eight codes of activations in the two words that go with eight codes of weights: of 4 bits, those that lie in the low and those that lie in the high halves of bytes. The order of a sum is free.
template <unsigned BITS> RS_DEVICE void rs_int_split(unsigned low, unsigned high, unsigned *first, unsigned *second)
{
    *first = BITS == 4 ? __byte_perm(low, high, 0x6420) : low;
    *second = BITS == 4 ? __byte_perm(low, high, 0x7531) : high;
}

// Eight codes of 4 bits as 16 times their values in signed bytes; the sums of these are shifted back by rs_int_sum.
RS_DEVICE void rs_int_nibbles(unsigned word, unsigned b[2])
{
    b[0] = word << 4 & 0xf0f0f0f0;
    b[1] = word & 0xf0f0f0f0;
}

template <unsigned BITS> RS_DEVICE int rs_int_sum(int sum)
{
    return BITS == 4 ? sum >> 4 : sum;
}

// The sum of row r and output o, where it goes.
RS_DEVICE void rs_int_finish(const rs_int_weights *w, const rs_int_rows *a, struct rs_int_target to, size_t r, size_t o, int sum)
{
    if (to.sums != NULL)
        to.sums[r * w->n + o] = sum;
    else
        rs_int_store(to, a, r, o, 0 + rs_int_term(w, a, r, o, 0, 1, sum));
}

#endif
