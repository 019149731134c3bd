// SPDX-License-Identifier: Apache-2.0
// Writing the packed KV cache: a warp for the vector of one token and KV head, which quantises its groups to codes in block memory and packs them.
#include "kernels/cuda/ops.h"

#include "kernels/cuda/grid.h"
#include "kernels/cuda/kv_view.h"

RS_KERNEL(RS_WARP, 8) rs_k_kv_append(struct rs_kv_view c, rs_quantizer q, bool values, size_t S, const float *x, unsigned long long *refused)
{
    RS_BLOCK_MEMORY(uint8_t, codes);
    for (size_t i = blockIdx.x; i < S * c.n_kv; i += gridDim.x) {
        const float *from = x + i * c.h;
        const size_t row = rs_kv_view_row(&c, values, i % c.n_kv, c.count + i / c.n_kv);
        uint8_t *to = c.codes + row * c.row;
        if (c.bits == 16) {
            for (size_t j = threadIdx.x; j < c.h; j += RS_WARP) {
                const unsigned half = rs_half_of(from[j]);
                to[2 * j] = (uint8_t)half;
                to[2 * j + 1] = (uint8_t)(half >> 8);
            }
            continue;
        }
        for (size_t g = 0; g < c.groups; g++) {
            const float *span = from + g * c.group;
            const struct rs_cuda_range r = rs_range_warp(rs_grid_free(q) ? span[0] : 0, c.group, span, threadIdx.x, RS_WARP);
            const bool good = rs_range_usable(r);
            const struct rs_cuda_grid grid = rs_grid_of(q, r.lo, r.hi);
            for (size_t j = threadIdx.x; j < c.group; j += RS_WARP)
                codes[g * c.group + j] = good ? (uint8_t)(rs_grid_code(span[j], grid) - grid.first) : 0;
            if (threadIdx.x != 0)
                continue;
            c.scales[row * c.groups + g] = good ? grid.scale : 1;
            c.zeros[row * c.groups + g] = good ? (int32_t)(grid.zero - grid.first) : 0;
            if (!good)
                atomicAdd(refused, 1ull);
        }
        __syncthreads();
        for (unsigned b = threadIdx.x; b < c.row; b += RS_WARP) { // byte b holds bits 8b .. 8b+7 of the row
            unsigned byte = 0;
            for (unsigned j = 8 * b / c.bits; j < c.h && j * c.bits < 8 * b + 8; j++)
                byte |= j * c.bits >= 8 * b ? (unsigned)codes[j] << (j * c.bits - 8 * b) : (unsigned)codes[j] >> (8 * b - j * c.bits);
            to[b] = (uint8_t)byte;
        }
        __syncthreads();
    }
}

void rs_kv_append_cuda(const rs_kv_cache *c, bool values, size_t S, const float *x)
{
    rs_quantizer q = c->q;
    q.group = 0;
    q.range = values ? c->v_range : c->q.range;
    RS_LAUNCH(rs_k_kv_append, rs_cuda_blocks(S * c->n_kv), RS_WARP, c->h, rs_kv_view_of(c), q, values, S, x, rs_cuda_refused());
}
