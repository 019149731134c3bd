// SPDX-License-Identifier: Apache-2.0
// Causal attention. A block of threads takes a strip of keys for up to HEADS queries that share them: scores by warps, weights from their largest, weighted values; a second kernel joins the strips of a query in
// order. So one query with many keys still occupies the device, a packed key is unpacked once for several queries, and the bits of a query depend on its keys alone.
#include "kernels/cuda/ops.h"

#include "kernels/cuda/kv_view.h"
#include "kernels/cuda/reduce.h"

enum { THREADS = 128, STRIP = 128, HEADS = 4 };

// Queries and where their keys and values are; before: tokens before the first query's. parts [queries, strips, h + 2]: weighted values, the largest score and the sum of weights of each strip.
struct attention {
    size_t S, n_q, n_kv, h, before, strips;
    const float *q;
    float *parts, *out;
};

// Keys or values as arrays [tokens, n_kv h], and as a packed cache has them.
struct dense {
    const float *k, *v;
    size_t n_kv, h;
};
RS_DEVICE float at(const struct dense *d, bool values, size_t head, size_t token, unsigned i)
{
    return (values ? d->v : d->k)[(token * d->n_kv + head) * d->h + i];
}
RS_DEVICE float at(const struct rs_kv_view *c, bool values, size_t head, size_t token, unsigned i)
{
    return rs_kv_view_at(c, rs_kv_view_row(c, values, head, token), i);
}

static size_t blocks_of(const struct attention *a)
{
    return a->S * a->n_kv * ((a->n_q / a->n_kv + HEADS - 1) / HEADS);
}

// The strip that starts with token `first` for queries query .. query+count-1 of KV head `head`.
template <class SOURCE> RS_DEVICE void strip(const struct attention *a, const SOURCE *source, size_t head, size_t query, unsigned count, size_t first, unsigned n)
{
    RS_BLOCK_ARRAY(float, score, HEADS * STRIP);
    const unsigned h = (unsigned)a->h;
    const float scale = (float)(1 / sqrt((double)h)), *q = a->q + query * h;
    float top[HEADS], total[HEADS];
    for (unsigned t = threadIdx.x / RS_WARP; t < n; t += THREADS / RS_WARP) {
        float sum[HEADS] = {};
        for (unsigned i = threadIdx.x % RS_WARP; i < h; i += RS_WARP) {
            const float key = at(source, false, head, first + t, i);
#pragma unroll
            for (unsigned g = 0; g < HEADS; g++)
                if (g < count)
                    sum[g] = fmaf(q[g * h + i], key, sum[g]);
        }
#pragma unroll
        for (unsigned g = 0; g < HEADS; g++) {
            for (unsigned d = RS_WARP / 2; d > 0; d /= 2)
                sum[g] += __shfl_xor_sync(~0u, sum[g], d);
            if (threadIdx.x % RS_WARP == 0)
                score[g * STRIP + t] = sum[g];
        }
    }
    __syncthreads();
#pragma unroll
    for (unsigned g = 0; g < HEADS; g++) {
        top[g] = -INFINITY;
        for (unsigned t = 0; t < n; t++)
            top[g] = score[g * STRIP + t] <= top[g] ? top[g] : score[g * STRIP + t]; // a NaN stays, as the largest or as a weight
    }
    __syncthreads();
#pragma unroll
    for (unsigned g = 0; g < HEADS; g++)
        for (unsigned t = threadIdx.x; t < n; t += THREADS)
            score[g * STRIP + t] = expf(scale * (score[g * STRIP + t] - top[g]));
    __syncthreads();
    for (unsigned i = threadIdx.x; i < h; i += THREADS) {
        float sum[HEADS] = {};
        for (unsigned t = 0; t < n; t++) {
            const float value = at(source, true, head, first + t, i);
#pragma unroll
            for (unsigned g = 0; g < HEADS; g++)
                sum[g] = fmaf(score[g * STRIP + t], value, sum[g]);
        }
#pragma unroll
        for (unsigned g = 0; g < HEADS; g++)
            if (g < count)
                a->parts[((query + g) * a->strips + first / STRIP) * (h + 2) + i] = sum[g];
    }
    if (threadIdx.x == 0) {
#pragma unroll
        for (unsigned g = 0; g < HEADS; g++) {
            total[g] = 0;
            for (unsigned t = 0; t < n; t++)
                total[g] += score[g * STRIP + t];
            float *part = a->parts + ((query + g) * a->strips + first / STRIP) * (h + 2) + h;
            if (g < count) {
                part[0] = top[g];
                part[1] = total[g];
            }
        }
    }
}

// Block b: some heads of a token; strips outermost, so that blocks that run together read the same keys.
template <class SOURCE> RS_DEVICE void strips(const struct attention *a, const SOURCE *source, size_t blocks)
{
    const size_t shared = a->n_q / a->n_kv, parts = (shared + HEADS - 1) / HEADS;
    for (size_t b = blockIdx.x; b < blocks * a->strips; b += gridDim.x) {
        const size_t i = b % blocks, token = i / (a->n_kv * parts), head = i / parts % a->n_kv, part = i % parts * HEADS, first = b / blocks * STRIP, tokens = a->before + token + 1;
        if (first < tokens)
            strip(a, source, head, token * a->n_q + head * shared + part, shared - part < HEADS ? (unsigned)(shared - part) : (unsigned)HEADS, first, tokens - first < STRIP ? (unsigned)(tokens - first) : (unsigned)STRIP);
        __syncthreads();
    }
}

RS_KERNEL(THREADS, 4) rs_k_attention(struct attention a, struct dense source, size_t blocks)
{
    strips(&a, &source, blocks);
}

RS_KERNEL(THREADS, 4) rs_k_attention_cached(struct attention a, struct rs_kv_view source, size_t blocks)
{
    strips(&a, &source, blocks);
}

RS_KERNEL(THREADS, 4) rs_k_attention_join(struct attention a)
{
    const float scale = (float)(1 / sqrt((double)a.h));
    for (size_t query = blockIdx.x; query < a.S * a.n_q; query += gridDim.x) {
        const size_t n = (a.before + query / a.n_q + STRIP) / STRIP;
        const float *parts = a.parts + query * a.strips * (a.h + 2);
        float top = -INFINITY;
        for (size_t s = 0; s < n; s++) {
            const float one = parts[s * (a.h + 2) + a.h];
            top = one <= top ? top : one;
        }
        for (size_t i = threadIdx.x; i < a.h; i += THREADS) {
            float sum = 0, total = 0;
            for (size_t s = 0; s < n; s++) {
                const float *part = parts + s * (a.h + 2), weight = expf(scale * (part[a.h] - top));
                sum = fmaf(weight, part[i], sum);
                total = fmaf(weight, part[a.h + 1], total);
            }
            a.out[query * a.h + i] = sum / total;
        }
    }
}

// Tokens in runs whose parts the scratch holds; launch(a, blocks) queues the first kernel.
template <class F> static void in_runs(struct attention a, F launch)
{
    const size_t S = a.S, before = a.before, all = (before + S + STRIP - 1) / STRIP, each = a.n_q * all * (a.h + 2) * sizeof(float), most = each < rs_cuda_scratch_bytes() ? rs_cuda_scratch_bytes() / each : 1;
    for (size_t first = 0; first < S; first += most) {
        struct attention run = a;
        run.S = S - first < most ? S - first : most;
        run.before = before + first;
        run.strips = (run.before + run.S + STRIP - 1) / STRIP;
        run.q = a.q + first * a.n_q * a.h;
        run.out = a.out + first * a.n_q * a.h;
        run.parts = (float *)rs_cuda_scratch(run.S * a.n_q * run.strips * (a.h + 2) * sizeof(float));
        if (run.parts == NULL)
            return; // told by settle
        launch(run, blocks_of(&run));
        RS_LAUNCH(rs_k_attention_join, rs_cuda_blocks(run.S * run.n_q), THREADS, 0, run);
    }
}

void rs_attention_cuda(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, float *out)
{
    const struct attention a = {S, n_q, n_kv, h, 0, 0, q, NULL, out};
    const struct dense source = {k, v, n_kv, h};
    in_runs(a, [&](struct attention run, size_t blocks) { RS_LAUNCH(rs_k_attention, rs_cuda_blocks(blocks * run.strips), THREADS, 0, run, source, blocks); });
}

// The queries are those of the last S tokens of the cache.
void rs_attention_cached_cuda(const rs_kv_cache *c, size_t S, size_t n_q, const float *q, float *out)
{
    const struct attention a = {S, n_q, c->n_kv, c->h, c->count - S, 0, q, NULL, out};
    const struct rs_kv_view source = rs_kv_view_of(c);
    in_runs(a, [&](struct attention run, size_t blocks) { RS_LAUNCH(rs_k_attention_cached, rs_cuda_blocks(blocks * run.strips), THREADS, 0, run, source, blocks); });
}
