// SPDX-License-Identifier: Apache-2.0
// Runs one decoder layer from numbers on standard input and writes the stream to standard output; the other side is decoder.py.
#include <stdio.h>
#include <stdlib.h>

#include "kernels/decoder.h"
#include "kernels/threads.h"

static void get(void *p, size_t bytes)
{
    if (fread(p, 1, bytes, stdin) != bytes)
        exit(1);
}

static float *floats(size_t n)
{
    float *p = malloc(n * sizeof *p + 1);
    if (p == NULL)
        exit(1);
    get(p, n * sizeof *p);
    return p;
}

int main(void)
{
    enum { S, D, F, H, NQ, NKV, R3, R4, RANK, DENSE, BIAS, NORM, BITS, SYM, GROUP, KV, THREADS, COUNT };
    uint64_t n[COUNT];
    double theta;
    float eps, clip;
    get(n, sizeof n);
    get(&theta, sizeof theta);
    get(&eps, sizeof eps);
    get(&clip, sizeof clip);
    const size_t nq = n[NQ] * n[H], nkv = n[NKV] * n[H];
    const rs_quantizer in = {.bits = (unsigned)n[BITS], .sym = n[SYM], .clip = clip, .group = n[GROUP]}, kv = {.bits = (unsigned)n[KV], .clip = 1};
    rs_decoder_layer l = {.in_q = in, .in_k = in, .in_v = in, .in_o = in, .in_gate = in, .in_up = in, .in_down = in, .kv = kv};
    rs_decoder_shape shape = {.d = n[D], .f = n[F], .h = n[H], .n_q = n[NQ], .n_kv = n[NKV], .eps = eps, .r3 = n[R3] ? rs_hadamard_new(n[H]) : NULL, .r4 = n[R4] ? rs_hadamard_new(n[F]) : NULL};
    l.wq = floats(nq * n[D]), l.wk = floats(nkv * n[D]), l.wv = floats(nkv * n[D]), l.wo = floats(n[D] * nq);
    l.wgate = floats(n[F] * n[D]), l.wup = floats(n[F] * n[D]), l.wdown = floats(n[D] * n[F]);
    if (n[BIAS]) {
        l.bq = floats(nq), l.bk = floats(nkv), l.bv = floats(nkv), l.bo = floats(n[D]);
        l.bgate = floats(n[F]), l.bup = floats(n[F]), l.bdown = floats(n[D]);
    }
    if (n[NORM])
        l.norm_attn = floats(n[D]), l.norm_ffn = floats(n[D]);
    if (n[RANK] > 0) {
        l.attn.r = l.ffn.r = n[RANK];
        l.attn.q = floats(n[D] * n[RANK]), l.attn.m = floats(n[RANK] * n[RANK]);
        l.ffn.q = floats(n[D] * n[RANK]), l.ffn.m = floats(n[RANK] * n[RANK]);
    }
    if (n[DENSE])
        l.attn.t = floats(n[D] * n[D]), l.ffn.t = floats(n[D] * n[D]);
    float *x = floats(n[S] * n[D]), *cos = malloc(n[S] * n[H] * sizeof *cos), *sin = malloc(n[S] * n[H] * sizeof *sin);
    double *freq = malloc(n[H] * sizeof *freq);
    void *scratch = aligned_alloc(64, (rs_decoder_scratch(&shape, &l, n[S]) + 63) / 64 * 64);
    if (cos == NULL || sin == NULL || freq == NULL || scratch == NULL)
        return 1;
    rs_threads_set((int)n[THREADS]);
    rs_rope_frequencies(n[H], theta, freq);
    rs_rope_tables(n[S], 0, n[H], freq, cos, sin);
    if (rs_decoder_forward(rs_kernels_cpu(), &shape, &l, n[S], cos, sin, x, scratch, NULL, NULL) != 0)
        return 2;
    const size_t written = fwrite(x, sizeof *x, n[S] * n[D], stdout);
    const float *given[] = {l.wq, l.wk, l.wv, l.wo, l.wgate, l.wup, l.wdown, l.bq, l.bk, l.bv, l.bo, l.bgate, l.bup, l.bdown, l.norm_attn, l.norm_ffn, l.attn.q, l.attn.m, l.ffn.q, l.ffn.m, l.attn.t, l.ffn.t, x, cos, sin};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        free((void *)(uintptr_t)given[i]);
    free(freq);
    free(scratch);
    rs_hadamard_free((rs_hadamard *)(uintptr_t)shape.r3);
    rs_hadamard_free((rs_hadamard *)(uintptr_t)shape.r4);
    return written != n[S] * n[D] || fclose(stdout) != 0;
}
