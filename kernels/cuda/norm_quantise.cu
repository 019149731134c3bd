// SPDX-License-Identifier: Apache-2.0
// A stream on its way into integer products: the codes of its norm, a row held by a block of threads from the one read on; and beside that, by other blocks of the same launch, the first half of the
// low-rank change of basis that the stream then makes. The same bits as the kernels one by one.
#include "kernels/cuda/lowrank.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/rows.h"

enum { THREADS = RS_LOWRANK_THREADS };

struct norm {
    rs_quantizer q;
    const float *gamma;
    float eps;
    uint8_t *codes;
    size_t ld;
    float *scale;
    int32_t *zero;
    unsigned long long *refused;
};

RS_DEVICE void norm_row(const struct norm *p, size_t d, const float *x, size_t b, float *y)
{
    rs_row_load(y, x, d);
    __syncthreads();
    const float factor = rs_row_norm(y, d, p->eps);
    for (size_t i = threadIdx.x; i < d; i += THREADS)
        y[i] = p->gamma != NULL ? y[i] * factor * p->gamma[i] : y[i] * factor;
    __syncthreads();
    rs_row_quantise(p->q, y, d, p->codes + b * p->ld, p->scale + b, p->zero + b, p->refused);
}

RS_KERNEL(THREADS, 3) rs_k_norm_quantise(struct norm p, struct rs_lowrank_job j, size_t blocks, size_t chunks)
{
    RS_BLOCK_MEMORY(float, memory);
    for (size_t b = blockIdx.x; b < j.S + blocks; b += gridDim.x) {
        if (b < j.S)
            norm_row(&p, j.d, j.x + b * j.d, b, memory);
        else
            rs_lowrank_start(&j, chunks, b - j.S, memory);
        __syncthreads();
    }
}

bool rs_norm_quantise_cuda(const rs_quantizer *q, const rs_int_stream *s, const rs_int_rows *rows)
{
    const size_t d = rows->k, r = s->r, most = r > 0 ? rs_lowrank_rows(d, r) : rows->m;
    if (d > RS_ROW_HELD || r > RS_LOWRANK_MOST || most == 0)
        return false;
    const size_t floats = r > 0 && d < RS_LOWRANK_MEMORY ? (size_t)RS_LOWRANK_MEMORY : d;
    for (size_t first = 0; first < rows->m; first += most) {
        struct rs_lowrank_job j = {rows->m - first < most ? rows->m - first : most, d, r, s->x + first * d, s->q, s->m, NULL};
        const struct norm p = {*q, s->gamma, s->eps, rows->codes + first * rows->ld, rows->ld, rows->scale + first, rows->zero + first, rs_cuda_refused()};
        const size_t chunks = rs_lowrank_chunks(d), blocks = r > 0 ? rs_lowrank_blocks(&j) : 0;
        if (r > 0 && (j.parts = (float *)rs_cuda_scratch(chunks * j.S * r * sizeof(float))) == NULL)
            return true; // told by settle
        RS_LAUNCH(rs_k_norm_quantise, rs_cuda_blocks(j.S + blocks), THREADS, floats * sizeof(float), p, j, blocks, chunks);
        if (r > 0)
            rs_lowrank_finish(&j);
    }
    return true;
}
