// SPDX-License-Identifier: Apache-2.0
// The CUDA kernels of learning and of GPTQ on the emulated device, against the plain C reference, under several orders of threads. Every operation of the table is there.
#include "kernels/kernels.h"
#include "tests/check.h"
#include "tests/cuda/emulate.h"
#include "tests/uniform.h"

static const rs_kernels *cuda;

static void *take(size_t n, size_t size)
{
    void *p = malloc(n * size + 1);
    if (p == NULL) exit(1);
    return p;
}

static float *noise(size_t n, float size)
{
    float *p = take(n, sizeof *p);
    for (size_t i = 0; i < n; i++) p[i] = size * uniform();
    return p;
}

static float *up(const float *x, size_t n)
{
    float *p = cuda->memory->alloc(n * sizeof *p);
    if (p == NULL) exit(1);
    cuda->memory->put(p, x, n * sizeof *p);
    return p;
}

// Takes back and frees n numbers; their largest distance from want as a share of the largest number.
static double apart(float *there, const float *want, size_t n)
{
    float *got = take(n, sizeof *got);
    double far = 0, size = 0;
    cuda->memory->get(got, there, n * sizeof *got);
    cuda->memory->release(there);
    for (size_t i = 0; i < n; i++) {
        far = isfinite(got[i]) ? fmax(far, fabs((double)got[i] - (double)want[i])) : (double)INFINITY;
        size = fmax(size, fabs((double)want[i]));
    }
    free(got);
    return far == 0 ? 0 : far / size;
}

// The same; how many differ in a bit.
static double apart_bits(float *there, const float *want, size_t n)
{
    float *got = take(n, sizeof *got);
    double differ = 0;
    cuda->memory->get(got, there, n * sizeof *got);
    cuda->memory->release(there);
    for (size_t i = 0; i < n; i++) differ += memcmp(&got[i], &want[i], sizeof *got) != 0;
    free(got);
    return differ;
}

static void settled(const char *label)
{
    const char *fault = NULL;
    CHECKF(cuda->memory->settle(&fault) == 0 && fault == NULL, "%s: %s", label, fault != NULL ? fault : "rows refused");
}

static void norms(const char *label)
{
    static const size_t shapes[][2] = {{1, 1}, {3, 33}, {2, 576}};
    for (size_t s = 0; s < 3; s++)
        for (int scaled = 0; scaled < 2; scaled++) {
            const size_t B = shapes[s][0], d = shapes[s][1], n = B * d;
            float *x = noise(n, 1), *gamma = noise(d, 1), *dy = noise(n, 1), *dx = noise(n, 1), *hx = up(x, n), *hg = up(gamma, d), *hy = up(dy, n), *hd = up(dx, n);
            cuda->rmsnorm_grad(B, d, hx, scaled ? hg : NULL, 1e-5f, hy, hd);
            rs_kernels_reference()->rmsnorm_grad(B, d, x, scaled ? gamma : NULL, 1e-5f, dy, dx);
            const double far = apart(hd, dx, n);
            CHECKF(far <= 2e-7, "%s: rmsnorm_grad %zu x %zu is off by %g", label, B, d, far);
            cuda->memory->release(hx), cuda->memory->release(hg), cuda->memory->release(hy);
            free(x), free(gamma), free(dy), free(dx);
        }
}

// The same bits as the reference; rows that are not finite are counted until settle.
static void joins(const char *label)
{
    static const size_t shapes[][2] = {{1, 1}, {3, 33}, {70, 576}, {2, 300}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int how = 0; how < 4; how++)
            for (size_t gap = 0; gap < 3; gap++) {
                const size_t B = shapes[s][0], n = shapes[s][1], lda = gap == 0 ? 0 : n + gap - 1, ldy = n + gap, in_a = lda == 0 ? n : (B - 1) * lda + n, in_y = (B - 1) * ldy + n;
                float *a = noise(in_a, 1), *y = noise(in_y, 1), *ha = up(a, in_a), *hy = up(y, in_y);
                cuda->each((rs_join)how, B, n, ha, lda, hy, ldy);
                rs_kernels_reference()->each((rs_join)how, B, n, a, lda, y, ldy);
                const double differ = apart_bits(hy, y, in_y);
                CHECKF(differ == 0, "%s: each %d of %zu x %zu, rows %zu and %zu apart: %g values differ", label, how, B, n, lda, ldy, differ);
                cuda->memory->release(ha);
                free(a), free(y);
            }
    for (size_t n = 1; n < 700; n = 3 * n + 1) {
        float *x = noise(n * n, 1), *w = take(n * n, sizeof *w), *hx = up(x, n * n), *hw = up(x, n * n);
        double *sums = take(4 * n, sizeof *sums), *hs = cuda->memory->alloc(2 * n * sizeof *sums), off = 0;
        if (hs == NULL) exit(1);
        cuda->skew(n, hx, hw, hs);
        rs_kernels_reference()->skew(n, x, w, sums);
        cuda->memory->get(sums + 2 * n, hs, 2 * n * sizeof *sums);
        for (size_t i = 0; i < 2 * n; i++) off = fmax(off, isfinite(sums[2 * n + i]) ? fabs(sums[2 * n + i] - sums[i]) : (double)INFINITY);
        const double differ = apart_bits(hw, w, n * n);
        CHECKF(differ == 0 && off <= 1e-12, "%s: skew of %zu: %g values differ, sums are off by %g", label, n, differ, off);
        cuda->memory->release(hx), cuda->memory->release(hs);
        free(x), free(w), free(sums);
    }
    enum { B = 6, N = 300, LD = 302 };
    float *x = noise(B * LD, 1);
    x[N] = NAN, x[2 * LD] = NAN, x[3 * LD + N - 1] = INFINITY, x[3 * LD] = -INFINITY, x[5 * LD + 7] = -INFINITY, x[0] = 3e38f, x[1] = 3e38f;
    float *there = up(x, B * LD);
    const char *fault;
    const size_t waiting = cuda->memory->settle(&fault), at_once = cuda->not_finite(B, N, there, LD), counted = cuda->memory->settle(&fault);
    CHECKF(waiting == 0 && at_once == 0 && counted == 3 && fault == NULL, "%s: %zu rows are not finite", label, counted);
    cuda->memory->release(there);
    free(x);
}

static void gates(const char *label)
{
    enum { N = 3001 };
    float *gate = noise(N, 30), *u = noise(N, 1), *dy = noise(N, 1), *dg = take(N, sizeof *dg), *du = take(N, sizeof *du), *hg = up(gate, N), *hu = up(u, N), *hy = up(dy, N);
    rs_kernels_reference()->silu_gate_grad(N, gate, u, dy, dg, du);
    cuda->silu_gate_grad(N, hg, hu, hy, hg, hu); // in place
    const double far[2] = {apart(hg, dg, N), apart(hu, du, N)};
    CHECKF(far[0] <= 4e-7 && far[1] <= 4e-7, "%s: silu_gate_grad is off by %g, %g", label, far[0], far[1]);
    cuda->memory->release(hy);
    free(gate), free(u), free(dy), free(dg), free(du);
}

static void attention(const char *label, size_t S, size_t n_q, size_t n_kv, size_t h)
{
    const size_t nq = S * n_q * h, nk = S * n_kv * h;
    float *q = noise(nq, 2), *k = noise(nk, 2), *v = noise(nk, 1), *dout = noise(nq, 1), *out = take(nq, sizeof *out), *work = take(2 * S * n_q, sizeof *work);
    float *dq = take(nq, sizeof *dq), *dk = take(nk, sizeof *dk), *dv = take(nk, sizeof *dv);
    const rs_kernels *plain = rs_kernels_reference();
    plain->attention(S, n_q, n_kv, h, q, k, v, out);
    float *there[] = {up(q, nq), up(k, nk), up(v, nk), up(out, nq), up(dout, nq), up(work, 2 * S * n_q)}, *hq = up(dq, nq), *hk = up(dk, nk), *hv = up(dv, nk);
    cuda->attention_grad(S, n_q, n_kv, h, there[0], there[1], there[2], there[3], there[4], hq, hk, hv, there[5]);
    plain->attention_grad(S, n_q, n_kv, h, q, k, v, out, dout, dq, dk, dv, work);
    const double far[3] = {apart(hq, dq, nq), apart(hk, dk, nk), apart(hv, dv, nk)};
    CHECKF(far[0] <= 4e-6 && far[1] <= 4e-6 && far[2] <= 4e-6, "%s: attention_grad, %zu tokens, %zu/%zu heads of %zu: off by %g, %g, %g", label, S, n_q, n_kv, h, far[0], far[1], far[2]);
    for (size_t i = 0; i < sizeof there / sizeof *there; i++) cuda->memory->release(there[i]);
    free(q), free(k), free(v), free(dout), free(out), free(work), free(dq), free(dk), free(dv);
}

static void loss(const char *label, size_t V, double w_ce, double w_kl, bool with_ref)
{
    enum { B = 3 };
    const size_t ld = V + 2;
    float *x = noise(B * ld, 9), *ref = noise(B * ld, 9);
    for (size_t i = 0; i < B * ld; i++) x[i] *= i % ld < V; // beyond a row there are zeros, which stay
    float *hx = up(x, B * ld), *hr = up(ref, B * ld);
    const int32_t target[B] = {0, (int32_t)(V - 1), (int32_t)(V / 2)};
    double nll[B], kl[B] = {7, 7, 7}, got[2 * B] = {0, 0, 0, 7, 7, 7};
    void *ht = cuda->memory->alloc(sizeof target);
    double *hn = cuda->memory->alloc(sizeof got);
    if (ht == NULL || hn == NULL) exit(1);
    cuda->memory->put(ht, target, sizeof target);
    cuda->memory->put(hn, got, sizeof got);
    cuda->loss_grad(B, V, hx, ld, ht, with_ref ? hr : NULL, ld, w_ce, w_kl, hn, hn + B);
    rs_kernels_reference()->loss_grad(B, V, x, ld, target, with_ref ? ref : NULL, ld, w_ce, w_kl, nll, kl);
    const double far = apart(hx, x, B * ld);
    cuda->memory->get(got, hn, sizeof got);
    CHECKF(far <= 1e-7, "%s: loss_grad over %zu is off by %g", label, V, far);
    for (size_t b = 0; b < B; b++)
        CHECKF(fabs(got[b] - nll[b]) <= 1e-12 * (1 + nll[b]) && fabs(got[B + b] - kl[b]) <= 1e-12 * (1 + kl[b]), "%s: loss over %zu, row %zu: %g %g, not %g %g", label, V, b, got[b], got[B + b], nll[b], kl[b]);
    cuda->memory->release(hr), cuda->memory->release(ht), cuda->memory->release(hn);
    free(x), free(ref);
}

// rows: a multiple of RS_GPTQ_LANES; there are more beside them, which stay.
static void gptq(const char *label, size_t n, size_t rows, bool columns)
{
    const size_t ldu = n + 1, ld = rows + 5, all = n * ld, lds = columns ? ld : 0;
    float *U = noise(n * ldu, 0.3f), *w = noise(all, 2), *e = noise(all, 1), *s = take(all, sizeof *s);
    for (size_t i = 0; i < n; i++) U[i * ldu + i] = 1 + 0.1f * (float)(i % 3);
    for (size_t r = 0; r < all; r++) s[r] = 0.05f + 0.01f * (float)(r % 19);
    w[3] = NAN;
    float *hU = up(U, n * ldu), *hw = up(w, all), *he = up(e, all), *hs = up(s, all), *got = take(2 * all, sizeof *got);
    cuda->gptq_block(n, rows, hU, ldu, hs, lds, 7, hw, he, ld);
    rs_kernels_reference()->gptq_block(n, rows, U, ldu, s, lds, 7, w, e, ld);
    cuda->memory->get(got, hw, all * sizeof *got);
    cuda->memory->get(got + all, he, all * sizeof *got);
    size_t wrong = 0;
    for (size_t i = 0; i < all; i++) wrong += memcmp(&got[i], &w[i], sizeof *w) != 0 || (memcmp(&got[all + i], &e[i], sizeof *e) != 0 && !(isnan(e[i]) && isnan(got[all + i])));
    CHECKF(wrong == 0, "%s: gptq_block of %zu columns, %zu rows: %zu values differ", label, n, rows, wrong);
    cuda->memory->release(hU), cuda->memory->release(hw), cuda->memory->release(he), cuda->memory->release(hs);
    free(U), free(w), free(e), free(s), free(got);
}

int main(void)
{
    cuda = rs_kernels_cuda();
    if (!CHECK(cuda != NULL)) return check_report();
    CHECK(cuda->f16_to_f32 && cuda->bf16_to_f32 && cuda->f32_to_f16 && cuda->f32_to_bf16 && cuda->gemm_nt && cuda->gemm_nn && cuda->gemm_tn && cuda->gram && cuda->rmsnorm && cuda->rope && cuda->attention &&
          cuda->attention_cached && cuda->gemv_half && cuda->gemv_int8 && cuda->lowrank && cuda->silu_gate && cuda->hadamard && cuda->fake_quant && cuda->cross_entropy && cuda->add && cuda->each && cuda->skew && cuda->not_finite && cuda->gptq_block &&
          cuda->rmsnorm_grad && cuda->silu_gate_grad && cuda->attention_grad && cuda->loss_grad);
    for (int order = 0; order < 3; order++) {
        char label[32];
        snprintf(label, sizeof label, "order %d", order);
        rs_trial_order(order);
        rs_trial_blocks(order == 2 ? 3 : 0);
        seed = 1;
        norms(label);
        joins(label);
        gates(label);
        attention(label, 1, 1, 1, 4);
        attention(label, 9, 4, 2, 20);
        attention(label, 70, 2, 1, 8); // more than a strip of keys and of queries
        loss(label, 1, 1, 0, false);
        loss(label, 300, 0.5, 0, false);
        loss(label, 777, 0.3, 0.7, true);
        gptq(label, 1, RS_GPTQ_LANES, false);
        gptq(label, 37, RS_GPTQ_LANES, false);
        gptq(label, 37, 5 * RS_GPTQ_LANES, true); // more pieces than blocks
        gptq(label, 128, 3 * RS_GPTQ_LANES, false);
        settled(label);
    }
    return check_report();
}
