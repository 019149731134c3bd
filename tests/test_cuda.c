// SPDX-License-Identifier: Apache-2.0
// The CUDA kernels on the device that they are linked with (`make check`: one that this processor emulates), against the plain C reference: integers and codes equal, floats equal or within
// a bound; every order of threads, few and many blocks give the same bits; rows beyond 2^31 values; no memory; refused rows are counted.
#include <sys/wait.h>
#include <unistd.h>

#include "kernels/cpu/int_ops.h"
#include "kernels/cuda/blas.h"
#include "kernels/kv_cache.h"
#include "kernels/packed.h"
#include "tests/check.h"
#include "tests/cuda/emulate.h"
#include "tests/noise.h"

static const rs_kernels *cuda;
static const rs_memory *memory;

// On the device: room, a copy of what is here, and back (which releases it).
static void *room(size_t bytes)
{
    void *p = memory->alloc(bytes);
    if (p == NULL)
        exit(1);
    return p;
}
static void *up(const void *from, size_t bytes)
{
    void *p = room(bytes);
    memory->put(p, from, bytes);
    return p;
}
static void down(void *to, void *from, size_t bytes)
{
    memory->get(to, from, bytes);
    memory->release(from);
}

// Nothing failed and `refused` rows were refused.
static void settled(const char *label, size_t refused)
{
    const char *fault;
    const size_t n = memory->settle(&fault);
    CHECKF(fault == NULL, "%s: %s", label, fault);
    CHECKF(n == refused, "%s: %zu rows refused, not %zu", label, n, refused);
}

// Calls test under every order of threads with as many blocks as there are pieces of work, and with few.
typedef void each_fn(const char *label);
static void each(const char *name, each_fn *test)
{
    static const struct {
        int order;
        size_t blocks;
    } all[] = {{0, 0}, {1, 0}, {2, 3}};
    for (size_t i = 0; i < (rs_trial_emulated() ? sizeof all / sizeof *all : 1); i++) {
        char label[64];
        snprintf(label, sizeof label, "%s, order %d, %s blocks", name, all[i].order, all[i].blocks == 0 ? "many" : "few");
        rs_trial_order(all[i].order);
        rs_trial_blocks(all[i].blocks);
        seed = 1;
        test(label);
    }
    rs_trial_order(0);
    rs_trial_blocks(0);
}

// ---- rows

// Largest |a - b| as a share of the largest |b|; a NaN is infinitely far.
static double distance(size_t n, const float *a, const float *b)
{
    double far = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        far = isfinite(a[i]) ? fmax(far, fabs((double)a[i] - (double)b[i])) : (double)INFINITY;
        size = fmax(size, fabs((double)b[i]));
    }
    return far == 0 ? 0 : far / size;
}

static void norms(const char *label)
{
    static const size_t shapes[][2] = {{1, 1}, {3, 7}, {5, 32}, {2, 257}, {7, 576}, {1, 40000}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int scaled = 0; scaled < 2; scaled++) {
            const size_t B = shapes[s][0], d = shapes[s][1], bytes = B * d * sizeof(float);
            float *x = noise(B * d), *gamma = noise(d), *y = take(B * d, sizeof *y), *want = take(B * d, sizeof *want);
            rs_kernels_reference()->rmsnorm(B, d, x, scaled ? gamma : NULL, 1e-5f, want);
            float *dx = up(x, bytes), *dg = up(gamma, d * sizeof(float)), *dy = room(bytes);
            cuda->rmsnorm(B, d, dx, scaled ? dg : NULL, 1e-5f, dy);
            cuda->rmsnorm(B, d, dx, scaled ? dg : NULL, 1e-5f, dx);
            down(y, dy, bytes);
            down(x, dx, bytes);
            memory->release(dg);
            double worst = 0;
            for (size_t i = 0; i < B * d; i++)
                worst = worse(worst, want[i] == 0 ? fabs((double)y[i]) : fabs((double)y[i] / (double)want[i] - 1));
            CHECKF(worst <= 2.5e-7, "%s: %zu x %zu is off by %g", label, B, d, worst);
            CHECKF(memcmp(x, y, bytes) == 0, "%s: %zu x %zu in place differs", label, B, d);
            settled(label, 0);
            free(x), free(gamma), free(y), free(want);
        }
}

static void ropes(const char *label)
{
    static const size_t shapes[][3] = {{1, 1, 2}, {3, 2, 6}, {9, 3, 64}, {10, 9, 80}, {2, 1, 20}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const size_t B = shapes[s][0], heads = shapes[s][1], h = shapes[s][2], ld = heads * h + 4, bytes = B * ld * sizeof(float), angles = B * h / 2 * sizeof(float);
        float *x = noise(B * ld), *cos = noise(B * h / 2), *sin = noise(B * h / 2), *y = take(B * ld, sizeof *y);
        float *dx = up(x, bytes), *dc = up(cos, angles), *ds = up(sin, angles);
        cuda->rope(B, heads, h, dx, ld, dc, ds);
        rs_kernels_reference()->rope(B, heads, h, x, ld, cos, sin);
        down(y, dx, bytes);
        memory->release(dc), memory->release(ds);
        CHECKF(memcmp(x, y, bytes) == 0, "%s: %zu x %zu x %zu differs", label, B, heads, h);
        settled(label, 0);
        free(x), free(y), free(cos), free(sin);
    }
}

static void silus(const char *label)
{
    enum { N = 20003, BYTES = N * sizeof(float) };
    float *g = take(N, sizeof *g), *u = noise(N), *want = take(N, sizeof *want), *y = take(N, sizeof *y);
    for (size_t i = 0; i < N; i++)
        g[i] = -86 + (float)i * (180.0f / N);
    const float edge[] = {0, -0.0f, 1000, -1000, INFINITY};
    memcpy(g, edge, sizeof edge);
    rs_kernels_reference()->silu_gate(N, g, u, want);
    float *dg = up(g, BYTES), *du = up(u, BYTES), *dy = room(BYTES);
    cuda->silu_gate(N, dg, du, dy);
    cuda->silu_gate(N, dg, du, du); // y may be up
    down(y, dy, BYTES);
    double worst = 0;
    for (size_t i = 0; i < N; i++)
        if (fabsf(want[i]) > 1e-37f && isfinite(want[i]))
            worst = worse(worst, fabs((double)y[i] / (double)want[i] - 1));
    CHECKF(worst <= 6e-7, "%s: off by %g", label, worst);
    CHECKF(y[0] == 0 && y[2] == want[2] && y[3] == 0 && y[4] == want[4], "%s: silu of 0, 1000, -1000, infinity: %g %g %g %g", label, (double)y[0], (double)y[2], (double)y[3], (double)y[4]);
    down(g, du, BYTES);
    CHECKF(memcmp(g, y, BYTES) == 0, "%s: in place differs", label);
    float *da = up(u, BYTES), *db = up(y, BYTES);
    cuda->add(N, da, db);
    down(g, db, BYTES);
    size_t wrong = 0;
    for (size_t i = 0; i < N; i++) {
        const float sum = y[i] + u[i];
        wrong += memcmp(&g[i], &sum, sizeof sum) != 0;
    }
    CHECKF(wrong == 0, "%s: add has %zu wrong values", label, wrong);
    memory->release(da), memory->release(dg);
    settled(label, 0);
    free(g), free(u), free(want), free(y);
}

static void changes(const char *label)
{
    static const size_t shapes[][3] = {{1, 1, 1}, {3, 20, 2}, {5, 576, 32}, {2, 300, 48}, {4, 64, 144}, {2, 70, 300}, {1, 2304, 16}, {2, 33, 255}, {2, 257, 256}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const size_t S = shapes[s][0], d = shapes[s][1], r = shapes[s][2], bytes = S * d * sizeof(float);
        float *x = noise(S * d), *q = noise(d * r), *m = noise(r * r), *work = take(2 * S * r, sizeof *work), *y = take(S * d, sizeof *y);
        for (size_t i = 0; i < d * r; i++)
            q[i] /= sqrtf((float)d);
        for (size_t i = 0; i < r * r; i++)
            m[i] /= sqrtf((float)r);
        float *dx = up(x, bytes), *dq = up(q, d * r * sizeof(float)), *dm = up(m, r * r * sizeof(float)), *dw = room(2 * S * r * sizeof(float));
        cuda->lowrank(S, d, r, dx, dq, dm, dw);
        rs_kernels_reference()->lowrank(S, d, r, x, q, m, work);
        down(y, dx, bytes);
        memory->release(dq), memory->release(dm), memory->release(dw);
        const double far = distance(S * d, y, x);
        CHECKF(far <= 4e-7, "%s: %zu x %zu, rank %zu: off by %g", label, S, d, r, far);
        settled(label, 0);
        free(x), free(q), free(m), free(work), free(y);
    }
}

// Forms: powers of two; Paley bases; several blocks in a row; larger than a block of threads holds, with and without a base.
static void hadamards(const char *label)
{
    static const size_t shapes[][2] = {{1, 1}, {3, 2}, {2, 64}, {3, 12}, {2, 80}, {5, 144}, {2, 576}, {1, 1536}, {2, 2304}, {1, 12288}, {2, 16384}, {1, 24576}, {1, 14336}, {3, 7}, {1, 13568}, {40, 128}, {3, 32768}, {1, 28672}, {9, 1024}, {2, 4096}, {1, 131072}, {2, 8}, {5, 48}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int transpose = 0; transpose < 2; transpose++) {
            rs_trial_block_memory(s % 2 == 0 ? (size_t)64 << 10 : (size_t)48 << 10); // what 14336 values fit into, and what they do not
            const size_t B = shapes[s][0], n = shapes[s][1], ld = n + 3, bytes = B * ld * sizeof(float);
            rs_hadamard *H = rs_hadamard_new(n);
            if (!CHECK(H != NULL))
                continue;
            float *x = noise(B * ld), *y = take(B * ld, sizeof *y), *dx = up(x, bytes);
            cuda->hadamard(H, B, dx, ld, transpose != 0);
            rs_kernels_reference()->hadamard(H, B, x, ld, transpose != 0);
            down(y, dx, bytes);
            CHECKF(memcmp(x, y, bytes) == 0, "%s: %zu x %zu (%zu of %zu x %zu)%s differs", label, B, n, n / H->block, H->k, H->pow2, transpose ? " transposed" : "");
            settled(label, 0);
            rs_hadamard_free(H);
            free(x), free(y);
        }
    rs_trial_block_memory((size_t)64 << 10);
}

// ---- quantisers

static rs_quantizer quantizer(int which, unsigned bits, size_t group)
{
    static const rs_range ranges[] = {RS_RANGE_ZERO, RS_RANGE_FREE, RS_RANGE_ZERO, RS_RANGE_HALF};
    return (rs_quantizer){.bits = bits, .sym = which >= 2, .clip = which % 2 == 0 ? 1.0f : 0.9f, .group = group, .range = ranges[which]};
}

// Rows of several kinds: noise, only positive (a zero point far outside where the range is free), tiny, zeros of both signs, one that overflows, a NaN, an infinity.
static float *kinds(size_t B, size_t n)
{
    float *x = noise(B * n);
    for (size_t b = 0; b < B; b++)
        for (size_t i = 0; i < n; i++) {
            float *v = &x[b * n + i];
            switch (b % 9) {
            case 1: *v = 1000 + *v * 0.01f; break;
            case 2: *v *= 1e-39f; break;
            case 3: *v = i % 2 == 0 ? -0.0f : 0.0f; break;
            case 4: *v *= i == n / 2 ? 1e30f : 1; break;
            case 5: *v = i == 0 ? 3e38f : i == n - 1 ? -3e38f : *v; break;
            case 6: *v = i == n - 1 ? NAN : *v; break;
            case 7: *v = i == n / 3 ? -INFINITY : *v; break;
            case 8: *v = rintf(*v * 8) * 0.5f; break; // ties
            }
        }
    return x;
}

static void quantise(const char *label, rs_quantizer q, size_t B, size_t n)
{
    const size_t bytes = B * n * sizeof(float);
    char what[128];
    snprintf(what, sizeof what, "%s: %u bits, %s, clip %g, range %d, %zu x %zu, groups of %zu", label, q.bits, q.sym ? "symmetric" : "asymmetric", (double)q.clip, (int)q.range, B, n, q.group);
    float *x = kinds(B, n), *fake = take(B * n, sizeof *fake), *y = take(B * n, sizeof *y), *dx = up(x, bytes);
    memcpy(fake, x, bytes);
    const size_t bad = rs_kernels_reference()->fake_quant(&q, B, n, fake, n);
    if (q.group == 0) {
        uint8_t *codes = take(2 * B * n, 1), *dc = room(B * n);
        float *scale = take(2 * B, sizeof *scale), *ds = room(B * sizeof *scale);
        int32_t *zero = take(2 * B, sizeof *zero), *dz = room(B * sizeof *zero);
        const rs_int_rows want = {.bits = q.bits, .m = B, .k = n, .ld = n, .codes = codes, .scale = scale, .zero = zero}, got = {.bits = q.bits, .m = B, .k = n, .ld = n, .codes = dc, .scale = ds, .zero = dz};
        const size_t refused = rs_int_quantise(rs_int_reference(), &q, x, n, &want);
        (void)rs_int_quantise(rs_int_cuda_at(0), &q, dx, n, &got);
        settled(what, refused);
        down(codes + B * n, dc, B * n);
        down(scale + B, ds, B * sizeof *scale);
        down(zero + B, dz, B * sizeof *zero);
        CHECKF(memcmp(codes, codes + B * n, B * n) == 0 && memcmp(scale, scale + B, B * sizeof *scale) == 0 && memcmp(zero, zero + B, B * sizeof *zero) == 0, "%s: codes differ", what);
        free(codes), free(scale), free(zero);
    }
    (void)cuda->fake_quant(&q, B, n, dx, n);
    settled(what, bad);
    down(y, dx, bytes);
    CHECKF(memcmp(y, fake, bytes) == 0, "%s: values differ", what);
    free(x), free(fake), free(y);
}

static void quantisers(const char *label)
{
    for (int which = 0; which < 4; which++)
        for (unsigned bits = 2; bits <= 8; bits += which == 0 ? 1 : 2) {
            quantise(label, quantizer(which, bits, 0), 9, 33);
            quantise(label, quantizer(which, bits, 0), 18, 1);
            quantise(label, quantizer(which, bits, 0), 9, 1100);
            quantise(label, quantizer(which, bits, 16), 9, 48);
            quantise(label, quantizer(which, bits, 65), 9, 1105);
        }
    quantise(label, quantizer(0, 4, 0), 9, 1200); // rows of which each starts on 16 bytes; more than a block holds
    quantise(label, quantizer(1, 4, 0), 9, 12001);
}

// Norm, quantiser and change of basis in one go, the bits of one after the other; what is not there is said and not begun.
static void stream(const char *label, rs_quantizer q, size_t m, size_t k, size_t r, bool scaled, bool can)
{
    const size_t bytes = m * k * sizeof(float), ld = k + 4;
    const rs_int_kernels *by = rs_int_cuda();
    float *x = kinds(m, k), *gamma = noise(k), *jq = noise(k * r + 1), *jm = noise(r * r + 1);
    float *got = take(2 * m * k, sizeof *got), *scale = take(2 * m, sizeof *scale);
    uint8_t *codes = take(2 * m * ld, 1);
    int32_t *zero = take(2 * m, sizeof *zero);
    float *dg = up(gamma, k * sizeof *gamma), *dq = up(jq, (k * r + 1) * sizeof *jq), *dm = up(jm, (r * r + 1) * sizeof *jm), *dw = room((2 * m * r + 1) * sizeof *dw), *dn = room(bytes);
    char what[160];
    snprintf(what, sizeof what, "%s: %zu x %zu, rank %zu, %u bits", label, m, k, r, q.bits);
    size_t refused[2];
    for (int whole = 0; whole < 2; whole++) {
        float *dx = up(x, bytes);
        rs_int_rows rows = {.bits = q.bits, .m = m, .k = k, .ld = ld, .codes = up(memset(codes + (size_t)whole * m * ld, 0, m * ld), m * ld), .scale = room(m * sizeof *scale), .zero = room(m * sizeof *zero)};
        const rs_int_stream s = {.x = dx, .gamma = scaled ? dg : NULL, .eps = 1e-5f, .r = r, .q = dq, .m = dm};
        const char *fault;
        const bool done = whole && rs_int_norm_quantise(by, &q, &s, &rows);
        CHECKF(done == (whole && can), "%s: %s", what, done ? "done" : "not done");
        if (!done) {
            cuda->rmsnorm(m, k, dx, s.gamma, s.eps, dn);
            (void)rs_int_quantise(by, &q, dn, k, &rows);
            cuda->lowrank(m, k, r, dx, dq, dm, dw);
        }
        refused[whole] = memory->settle(&fault);
        CHECKF(fault == NULL, "%s: %s", what, fault);
        down(got + (size_t)whole * m * k, dx, bytes);
        down(codes + (size_t)whole * m * ld, rows.codes, m * ld);
        down(scale + (size_t)whole * m, rows.scale, m * sizeof *scale);
        down(zero + (size_t)whole * m, rows.zero, m * sizeof *zero);
    }
    CHECKF(refused[0] == refused[1] && (m < 9 || refused[0] > 0), "%s: %zu and %zu rows are refused", what, refused[0], refused[1]);
    CHECKF(memcmp(got, got + m * k, bytes) == 0, "%s: another stream", what);
    CHECKF(memcmp(codes, codes + m * ld, m * ld) == 0 && memcmp(scale, scale + m, m * sizeof *scale) == 0 && memcmp(zero, zero + m, m * sizeof *zero) == 0, "%s: other codes", what);
    memory->release(dg), memory->release(dq), memory->release(dm), memory->release(dw), memory->release(dn);
    free(x), free(gamma), free(jq), free(jm), free(got), free(codes), free(scale), free(zero);
}

static void streams(const char *label)
{
    stream(label, quantizer(0, 4, 0), 1, 1, 1, true, true);
    stream(label, quantizer(0, 4, 0), 18, 70, 0, true, true);
    stream(label, quantizer(1, 8, 0), 9, 576, 32, true, true);
    stream(label, quantizer(2, 3, 0), 17, 260, 40, false, true);
    stream(label, quantizer(3, 8, 0), 3, 1300, 256, true, true);
    stream(label, quantizer(0, 4, 0), 2, 300, 257, true, false); // beyond what it is for
    stream(label, quantizer(0, 4, 0), 1, 11777, 2, true, false);
    const rs_quantizer q = quantizer(0, 4, 0);
    CHECK(!rs_int_norm_quantise(rs_int_reference(), &q, NULL, NULL));
}

// What goes over the scratch in several runs, where it holds little: the same bits as in one.
static void little_scratch(void)
{
    enum { S = 11, D = 260, R = 9, NQ = 3, NKV = 1, H = 8, PARTS = (D + 127) / 128 };
    float *x = noise(S * D), *q = noise(D * R), *m = noise(R * R), *qkv = noise(S * (NQ + 2) * H), *got = take(2 * S * (D + NQ * H), sizeof *got);
    float *dq = up(q, D * R * sizeof *q), *dm = up(m, R * R * sizeof *m), *dw = room(2 * S * R * sizeof *dw), *da = up(qkv, S * (NQ + 2) * H * sizeof *qkv), *dy = room(S * NQ * H * sizeof *dy);
    for (int little = 0; little < 2; little++) {
        float *dx = up(x, S * D * sizeof *x), *to = got + (size_t)little * S * (D + NQ * H);
        rs_trial_scratch(little ? 4 * PARTS * R * sizeof(float) : SIZE_MAX); // of four rows
        cuda->lowrank(S, D, R, dx, dq, dm, dw);
        rs_trial_scratch(little ? 3 * NQ * (H + 2) * sizeof(float) : SIZE_MAX); // of three tokens
        cuda->attention(S, NQ, NKV, H, da, da + S * NQ * H, da + S * (NQ + 1) * H, dy);
        down(to, dx, S * D * sizeof *x);
        memory->get(to + S * D, dy, S * NQ * H * sizeof *dy);
    }
    settled("little scratch", 0);
    CHECK(memcmp(got, got + S * (D + NQ * H), S * (D + NQ * H) * sizeof *got) == 0);
    rs_trial_scratch(4 * PARTS * R * sizeof(float));
    stream("little scratch", quantizer(0, 4, 0), S, D, R, true, true);
    if (rs_trial_emulated()) { // none for even one row: three products; and of attention, which cannot do without, it is told
        const char *fault;
        rs_trial_scratch(4);
        float *dx = up(x, S * D * sizeof *x);
        cuda->lowrank(S, D, R, dx, dq, dm, dw);
        down(got + S * (D + NQ * H), dx, S * D * sizeof *x);
        CHECKF(distance(S * D, got + S * (D + NQ * H), got) <= 4e-7, "without scratch the change is off by %g", distance(S * D, got + S * (D + NQ * H), got));
        settled("no scratch", 0);
        cuda->attention(S, NQ, NKV, H, da, da + S * NQ * H, da + S * (NQ + 1) * H, dy);
        (void)memory->settle(&fault);
        CHECKF(fault != NULL && strcmp(fault, "scratch: out of memory") == 0, "attention without scratch: %s", fault != NULL ? fault : "nothing");
    }
    rs_trial_scratch(SIZE_MAX);
    memory->release(dq), memory->release(dm), memory->release(dw), memory->release(da), memory->release(dy);
    free(x), free(q), free(m), free(qkv), free(got);
}

// A row has the same bits whether it is alone or among others.
static void rows_alone(void)
{
    enum { M = 19, D = 300, R = 7 };
    float *x = noise(M * D), *q = noise(D * R), *m = noise(R * R), one[D], *all = take(M * D, sizeof *all);
    float *dx = up(x, M * D * sizeof *x), *dq = up(q, D * R * sizeof *q), *dm = up(m, R * R * sizeof *m), *dw = room(2 * M * R * sizeof *dw);
    cuda->lowrank(M, D, R, dx, dq, dm, dw);
    down(all, dx, M * D * sizeof *x);
    for (size_t i = 0; i < M; i += 6) {
        float *d1 = up(x + i * D, sizeof one);
        cuda->lowrank(1, D, R, d1, dq, dm, dw);
        down(one, d1, sizeof one);
        CHECKF(memcmp(one, all + i * D, sizeof one) == 0, "row %zu alone changes otherwise", i);
    }
    memory->release(dq), memory->release(dm), memory->release(dw);
    settled("rows alone", 0);
    free(x), free(q), free(m), free(all);
}

// ---- integer products

static void product(const char *label, const rs_int_kernels *by, unsigned w_bits, unsigned a_bits, size_t m, size_t n, size_t k, size_t group, bool half)
{
    const size_t spans = group != 0 ? k / group : 1, span = k / spans, row = rs_packed_row_bytes((int)w_bits, k), ld = k % 64 == 0 ? k + 16 : k + 1, ldy = n + 2, sums_bytes = m * spans * n * sizeof(int32_t), y_bytes = m * ldy * sizeof(float);
    int8_t *c = take(n * k, 1);
    uint8_t *packed = take(n * row, 1), *a = take(m * ld, 1);
    float *scales = take(n * spans, sizeof *scales), *a_scale = take(m, sizeof *a_scale), *y = take(4 * m * ldy, sizeof *y);
    uint16_t *scales_16 = take(n * spans, sizeof *scales_16);
    int32_t *zero = take(m, sizeof *zero), *of_codes = take(n * spans, sizeof *of_codes), *sums = take(2 * m * spans * n, sizeof *sums);
    const int most = (1 << (w_bits - 1)) - 1;
    memset(of_codes, 0, n * spans * sizeof *of_codes);
    for (size_t i = 0; i < n * k; i++) {
        c[i] = (int8_t)(i / k == 1 ? -most - 1 : i / k == 2 ? most : (int)lrintf(uniform() * (float)most));
        of_codes[i / k * spans + i % k / span] += c[i];
    }
    for (size_t o = 0; o < n; o++)
        rs_packed_pack((int)w_bits, k, c + o * k, packed + o * row);
    for (size_t i = 0; i < m * ld; i++)
        a[i] = (uint8_t)(i / ld == 1 ? (1 << a_bits) - 1 : lrintf((uniform() + 1) * 0.5f * (float)((1 << a_bits) - 1)));
    for (size_t i = 0; i < n * spans; i++)
        scales[i] = 0.001f + fabsf(uniform());
    rs_kernels_reference()->f32_to_f16(n * spans, scales, scales_16);
    if (half) { // subnormal and large ones, too
        scales_16[0] = 3;
        scales_16[n * spans - 1] = 0x7bff;
    }
    for (size_t i = 0; i < m; i++) {
        a_scale[i] = 0.01f + fabsf(uniform());
        zero[i] = (int32_t)(i * 5 % (1u << a_bits));
    }
    for (size_t i = 0; i < 4 * m * ldy; i++)
        y[i] = 0.5f;
    const rs_int_weights w = {.bits = w_bits, .n = n, .k = k, .group = group, .codes = packed, .scales = half ? NULL : scales, .scales_16 = half ? scales_16 : NULL, .sums = of_codes};
    const rs_int_rows rows = {.bits = a_bits, .m = m, .k = k, .ld = ld, .codes = a, .scale = a_scale, .zero = zero};
    rs_int_weights dw = w;
    rs_int_rows drows = rows;
    dw.codes = up(packed, n * row);
    dw.scales = half ? NULL : up(scales, n * spans * sizeof *scales);
    dw.scales_16 = half ? up(scales_16, n * spans * sizeof *scales_16) : NULL;
    dw.sums = up(of_codes, n * spans * sizeof *of_codes);
    drows.codes = up(a, m * ld - (ld - k)); // the last row ends with its codes
    drows.scale = up(a_scale, m * sizeof *a_scale);
    drows.zero = up(zero, m * sizeof *zero);
    int32_t *ds = room(sums_bytes);
    float *dy = up(y, y_bytes), *dz = up(y, y_bytes);
    void *work = take(rs_int_gemm_work(rs_int_reference(), &w, a_bits, m), 1);
    CHECK(rs_int_gemm_work(by, &dw, a_bits, m) == 1);
    rs_int_gemm_sums(rs_int_reference(), &w, &rows, sums, work);
    rs_int_gemm(rs_int_reference(), 2, (const rs_int_product[]){{&w, y, ldy, false}, {&w, y + m * ldy, ldy, true}}, &rows, work);
    rs_int_gemm_sums(by, &dw, &drows, ds, NULL);
    rs_int_gemm(by, 2, (const rs_int_product[]){{&dw, dy, ldy, false}, {&dw, dz, ldy, true}}, &drows, NULL);
    down(sums + m * spans * n, ds, sums_bytes);
    down(y + 2 * m * ldy, dy, y_bytes);
    down(y + 3 * m * ldy, dz, y_bytes);
    char what[160];
    snprintf(what, sizeof what, "%s: %s, W%uA%u, %zu x %zu x %zu, groups of %zu%s", label, rs_int_name(by), w_bits, a_bits, m, n, k, group, half ? ", f16 scales" : "");
    CHECKF(memcmp(sums, sums + m * spans * n, sums_bytes) == 0, "%s: sums differ", what);
    CHECKF(memcmp(y, y + 2 * m * ldy, 2 * y_bytes) == 0, "%s: results differ", what);
    settled(what, 0);
    void *const device[] = {(void *)(uintptr_t)dw.codes, (void *)(uintptr_t)dw.scales, (void *)(uintptr_t)dw.scales_16, (void *)(uintptr_t)dw.sums, drows.codes, drows.scale, drows.zero};
    for (size_t i = 0; i < sizeof device / sizeof *device; i++)
        memory->release(device[i]);
    free(c), free(packed), free(a), free(scales), free(a_scale), free(y), free(scales_16), free(zero), free(of_codes), free(sums), free(work);
}

static void products(const char *label)
{
    static const size_t shapes[][3] = {{1, 1, 1}, {1, 5, 7}, {3, 65, 33}, {5, 17, 130}, {67, 9, 64}, {2, 70, 517}};
    static const size_t plain[][3] = {{1, 33, 128}, {9, 8, 1152}, {16, 70, 384}, {17, 130, 256}, {140, 129, 128}, {3, 9, 576}, {20, 5, 64}}; // weights of the common form
    for (size_t s = 0; s < sizeof plain / sizeof *plain; s++)
        for (unsigned w = 4; w <= 8; w += 4)
            product(label, rs_int_cuda(), w, s % 2 == 0 ? 8 : 4, plain[s][0], plain[s][1], plain[s][2], 0, s % 2 == 1);
    for (int few = 0; few < 2; few++) // by the one that takes either
        product(label, rs_int_cuda(), 4, 4, few ? 8 : 9, 70, 130, 0, false);
    for (size_t v = 0; rs_int_cuda_at(v) != NULL; v++) {
        const rs_int_kernels *by = rs_int_cuda_at(v);
        for (unsigned w = 2; w <= 8; w++)
            for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
                product(label, by, w, w % 2 == 0 ? 8 : 4, shapes[s][0], shapes[s][1], shapes[s][2], 0, s % 2 == 1);
        for (unsigned a = 2; a <= 8; a++)
            product(label, by, 4, a, 2, 6, 96, 32, a % 2 == 0);
        product(label, by, 3, 4, 3, 5, 55, 11, false); // spans that start within a byte
        product(label, by, 8, 8, 66, 68, 140, 70, true);
    }
}

// ---- dense products

static void gemm(const char *label, int kind, size_t m, size_t n, size_t k, float beta)
{
    typedef void gemm_fn(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy);
    const rs_kernels *plain = rs_kernels_reference();
    gemm_fn *const by[] = {cuda->gemm_nt, cuda->gemm_nn, cuda->gemm_tn}, *const reference[] = {plain->gemm_nt, plain->gemm_nn, plain->gemm_tn};
    const size_t ldx = (kind == 2 ? m : k) + 3, ldw = (kind == 0 ? k : n) + 1, ldy = n + 2, x_size = (kind == 2 ? k : m) * ldx, w_size = (kind == 0 ? n : k) * ldw;
    float *x = noise(x_size), *w = noise(w_size), *y = noise(m * ldy), *got = take(m * ldy, sizeof *got);
    float *dx = up(x, (x_size - 3) * sizeof *x), *dw = up(w, (w_size - 1) * sizeof *w), *dy = up(y, m * ldy * sizeof *y); // no value behind the last row
    by[kind](m, n, k, dx, ldx, dw, ldw, beta, dy, ldy);
    reference[kind](m, n, k, x, ldx, w, ldw, beta, y, ldy);
    down(got, dy, m * ldy * sizeof *got);
    memory->release(dx), memory->release(dw);
    double worst = 0;
    for (size_t i = 0; i < m * ldy; i++)
        worst = worse(worst, fabs((double)got[i] - (double)y[i]));
    CHECKF(worst <= 1e-7 * (double)k, "%s: %s, %zu x %zu x %zu, beta %g is off by %g", label, kind == 0 ? "nt" : kind == 1 ? "nn" : "tn", m, n, k, (double)beta, worst);
    settled(label, 0);
    free(x), free(w), free(y), free(got);
}

// Upper triangle; what lies below is not touched.
static void gram(const char *label, size_t n, size_t k, float beta)
{
    const size_t ldx = n + 2, ldy = n + 1, bytes = n * ldy * sizeof(float);
    float *x = noise(k * ldx), *y = noise(n * ldy), *got = take(n * ldy, sizeof *got), *dx = up(x, k * ldx * sizeof *x), *dy = up(y, bytes);
    cuda->gram(n, k, dx, ldx, beta, dy, ldy);
    rs_kernels_reference()->gram(n, k, x, ldx, beta, y, ldy);
    down(got, dy, bytes);
    memory->release(dx);
    double worst = 0; // as a share of 1 and the sum of magnitudes
    for (size_t i = 0; i < n * ldy; i++) {
        double size = 1;
        for (size_t l = 0; i % ldy < n && l < k; l++)
            size += fabs((double)x[l * ldx + i / ldy] * (double)x[l * ldx + i % ldy]);
        worst = worse(worst, i % ldy < i / ldy || i % ldy == n ? (memcmp(&got[i], &y[i], sizeof *y) != 0 ? (double)INFINITY : 0) : fabs((double)got[i] - (double)y[i]) / size);
    }
    CHECKF(worst <= 1e-6, "%s: gram of %zu x %zu is off by %g", label, k, n, worst);
    free(x), free(y), free(got);
}

// y[m,n] = x w^T with w of 16 bits, against fp64 sums; bound as a share of the sum of magnitudes.
static void gemm_half(const char *label, bool bf16, size_t m, size_t n, size_t k, float beta)
{
    const size_t ldx = k + 3, ldw = k + 1, ldy = n + 2;
    const rs_kernels *plain = rs_kernels_reference();
    float *x = noise(m * ldx), *w = noise(n * ldw), *y = noise(m * ldy), *got = take(m * ldy, sizeof *got);
    uint16_t *half = take(n * ldw, sizeof *half);
    for (size_t i = 0; i < m * ldx; i++) // of many sizes; halves of the middle of bf16 and all 24 bits
        x[i] *= exp2f((float)(i % 7) * 5 - 15);
    (bf16 ? plain->f32_to_bf16 : plain->f32_to_f16)(n * ldw, w, half);
    (bf16 ? plain->bf16_to_f32 : plain->f16_to_f32)(n * ldw, half, w);
    float *dx = up(x, (m * ldx - 3) * sizeof *x), *dy = up(y, m * ldy * sizeof *y);
    uint16_t *dw = up(half, (n * ldw - 1) * sizeof *half);
    if (beta == 0)
        memory->put(dy, memset(got, 0xff, m * ldy * sizeof *got), m * ldy * sizeof *got);
    cuda->gemm_half(bf16, m, n, k, dx, ldx, dw, ldw, beta, dy, ldy);
    down(got, dy, m * ldy * sizeof *got);
    memory->release(dx), memory->release(dw);
    double worst = 0;
    for (size_t i = 0; i < m * ldy; i++) {
        double sum = i % ldy < n ? (double)beta * (double)y[i] : 0, size = fabs(sum);
        for (size_t l = 0; i % ldy < n && l < k; l++) {
            const double one = (double)x[i / ldy * ldx + l] * (double)w[i % ldy * ldw + l];
            sum += one;
            size += fabs(one);
        }
        if (i % ldy >= n)
            CHECKF(beta == 0 || memcmp(&got[i], &y[i], sizeof *y) == 0, "%s: gemm_half of %zu x %zu x %zu writes behind its rows", label, m, n, k);
        else
            worst = worse(worst, fabs((double)got[i] - sum) / size);
    }
    CHECKF(worst <= 5e-7, "%s: gemm_half of %s, %zu x %zu x %zu, beta %g is off by %g", label, bf16 ? "bf16" : "f16", m, n, k, (double)beta, worst);
    settled(label, 0);
    free(x), free(w), free(y), free(got), free(half);
}

// What is not finite, the largest and the smallest numbers in x.
static void gemm_half_edges(const char *label)
{
    const float x[8] = {INFINITY, -INFINITY, NAN, 3.4e38f, -3.4028234e38f, 1e-30f, 1.00000012f, 0};
    const uint16_t w[2] = {0x3f80, 0xbf80}; // 1, -1
    float got[16], *dx = up(x, sizeof x), *dy = room(sizeof got);
    uint16_t *dw = up(w, sizeof w);
    cuda->gemm_half(true, 8, 2, 1, dx, 1, dw, 1, 0, dy, 2);
    down(got, dy, sizeof got);
    memory->release(dx), memory->release(dw);
    for (size_t i = 0; i < 8; i++)
        CHECKF(isnan(x[i]) ? isnan(got[2 * i]) && isnan(got[2 * i + 1]) : got[2 * i] == x[i] && got[2 * i + 1] == -x[i], "%s: %g times 1 and -1 is %g and %g", label, (double)x[i], (double)got[2 * i], (double)got[2 * i + 1]);
    settled(label, 0);
}

// No rows, no results; no terms, where results are zeros or stay.
static void nothing(const char *label)
{
    const float y[4] = {1, 2, 3, 4};
    float got[4], *dy = up(y, sizeof y);
    cuda->gemm_nt(0, 2, 2, dy, 2, dy, 2, 0, dy, 2);
    cuda->gemm_nn(2, 0, 2, dy, 2, dy, 2, 0, dy, 2);
    cuda->gemm_tn(2, 2, 0, dy, 2, dy, 2, 1, dy, 2);
    cuda->gemm_half(true, 0, 2, 2, dy, 2, (const uint16_t *)dy, 2, 0, dy, 2);
    cuda->gemm_half(false, 2, 2, 0, dy, 2, (const uint16_t *)dy, 2, 1, dy, 2);
    cuda->gram(0, 2, dy, 2, 0, dy, 2);
    memory->get(got, dy, sizeof got);
    CHECKF(memcmp(got, y, sizeof y) == 0, "%s: products of nothing change %g %g %g %g", label, (double)got[0], (double)got[1], (double)got[2], (double)got[3]);
    cuda->gemm_half(true, 1, 1, 0, dy, 1, (const uint16_t *)dy, 1, 0, dy, 2);
    cuda->gram(1, 0, dy, 1, 0, dy + 3, 2);
    cuda->gemm_nn(1, 2, 0, dy, 1, dy, 2, 0, dy + 1, 2);
    down(got, dy, sizeof got);
    CHECKF(got[0] == 0 && got[1] == 0 && got[2] == 0 && got[3] == 0, "%s: sums of nothing: %g %g %g %g", label, (double)got[0], (double)got[1], (double)got[2], (double)got[3]);
    settled(label, 0);
}

static void gemms(const char *label)
{
    for (int bf16 = 0; bf16 < 2; bf16++) {
        gemm_half(label, bf16 != 0, 1, 1, 1, 0);
        gemm_half(label, bf16 != 0, 3, 70, 17, 1);
        gemm_half(label, bf16 != 0, 66, 65, 130, 0);
    }
    gemm_half_edges(label);
    nothing(label);
    gram(label, 5, 20, 0);
    gram(label, 70, 33, 1);
    static const size_t shapes[][3] = {{1, 1, 1}, {3, 70, 17}, {65, 5, 33}, {64, 64, 16}, {130, 67, 40}, {1, 40, 300}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int kind = 0; kind < 3; kind++)
            gemm(label, kind, shapes[s][0], shapes[s][1], shapes[s][2], (float)(s % 2));
}

// cuBLAS, where it is there: the same table of products; then one that fails.
static void by_cublas(const char *label)
{
    const size_t before = rs_trial_blas_calls();
    rs_blas_use(true);
    gemms(label);
    if (rs_trial_emulated()) {
        float *y = room(4 * sizeof *y);
        CHECKF(rs_trial_blas_calls() > before + 30, "%s: it computed %zu products", label, rs_trial_blas_calls() - before);
        rs_trial_blas(RS_BLAS_FAILS);
        cuda->gemm_nt(2, 2, 1, y, 1, y, 1, 0, y, 2);
        rs_trial_blas(RS_BLAS_GOOD);
        cuda->gemm_nt(2, 2, 1, y, 1, y, 1, 0, y, 2);
        const char *fault;
        (void)memory->settle(&fault);
        CHECKF(fault != NULL && strcmp(fault, "cuBLAS: the function failed to launch on the GPU") == 0, "%s: a failure of cuBLAS: %s", label, fault != NULL ? fault : "none");
        memory->release(y);
    }
    rs_blas_use(false);
}

// gemm_half goes over the scratch in several parts where that holds little.
static void halves_in_parts(void)
{
    rs_blas_use(true);
    rs_trial_scratch(4000 * sizeof(uint16_t)); // of two rows of x, of three of w
    gemm_half("in parts", true, 9, 5, 600, 0);
    gemm_half("in parts", false, 2, 11, 600, 1);
    rs_trial_scratch(SIZE_MAX);
    rs_blas_use(false);
}

// Machines without the library, with one that lacks functions, with one that does not start: own products, and the line of the device says why.
static void without_cublas(enum rs_trial_blas be, const char *why)
{
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        rs_trial_blas(be);
        rs_blas_use(true);
        CHECKF(strstr(rs_kernels_cuda_device(), why) != NULL, "the device is %s", rs_kernels_cuda_device());
        gemm("without cuBLAS", 0, 3, 5, 7, 0);
        CHECK(rs_trial_blas_calls() == 0);
        fflush(stdout);
        _exit(check_failed != 0);
    }
    int status = -1;
    CHECKF(waitpid(child, &status, 0) == child && status == 0, "%s", why);
}

// ---- 16-bit floats, one row times a matrix

static void conversions(const char *label)
{
    enum { N = 1 << 16 };
    const rs_kernels *plain = rs_kernels_reference();
    uint16_t *half = take(N, sizeof *half), *got = take(N, sizeof *got), *want = take(N, sizeof *want);
    float *x = take(N, sizeof *x), *y = take(N, sizeof *y);
    for (size_t i = 0; i < N; i++)
        half[i] = (uint16_t)i;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        void *dh = up(half, N * sizeof *half), *dx = room(N * sizeof *x);
        (bf16 ? cuda->bf16_to_f32 : cuda->f16_to_f32)(N, dh, dx);
        (bf16 ? plain->bf16_to_f32 : plain->f16_to_f32)(N, half, x);
        down(y, dx, N * sizeof *y);
        CHECKF(memcmp(x, y, N * sizeof *x) == 0, "%s: %s to f32 differs", label, bf16 ? "bf16" : "f16");
        for (size_t i = 0; i < N; i++) { // on, below and above the middle of two halves, of every exponent
            const uint32_t u = (uint32_t)i << 16 | (uint32_t)(i * 2654435761u >> 16 & 0x7000) | (i % 3 == 0 ? 0x1000u : i % 3 == 1 ? 0xfffu : 0x8000u);
            memcpy(&x[i], &u, sizeof u);
        }
        dx = up(x, N * sizeof *x);
        (bf16 ? cuda->f32_to_bf16 : cuda->f32_to_f16)(N, dx, dh);
        (bf16 ? plain->f32_to_bf16 : plain->f32_to_f16)(N, x, want);
        down(got, dh, N * sizeof *got);
        memory->release(dx);
        CHECKF(memcmp(got, want, N * sizeof *got) == 0, "%s: f32 to %s differs", label, bf16 ? "bf16" : "f16");
    }
    settled(label, 0);
    free(half), free(got), free(want), free(x), free(y);
}

static void one_row(const char *label, size_t n, size_t k)
{
    const size_t ldw = k % 8 == 0 ? k + 8 : k + 1;
    float *x = noise(k), *w = noise(n * ldw), *scale = noise(n), *y = take(n, sizeof *y), *want = take(n, sizeof *want);
    uint16_t *half = take(n * ldw, sizeof *half);
    int8_t *codes = take(n * k, 1);
    for (size_t i = 0; i < n * k; i++)
        codes[i] = (int8_t)(i * 37 % 256 - 128);
    float *dx = up(x, k * sizeof *x), *ds = up(scale, n * sizeof *scale), *dy = room(n * sizeof *y);
    void *dc = up(codes, n * k);
    for (int kind = 0; kind < 3; kind++) { // f16, bf16, codes
        const rs_kernels *plain = rs_kernels_reference();
        if (kind < 2) {
            (kind == 1 ? plain->f32_to_bf16 : plain->f32_to_f16)(n * ldw, w, half);
            void *dh = up(half, (n * ldw - (ldw - k)) * sizeof *half);
            cuda->gemv_half(kind == 1, n, k, dx, dh, ldw, dy);
            plain->gemv_half(kind == 1, n, k, x, half, ldw, want);
            memory->release(dh);
        } else {
            cuda->gemv_int8(n, k, dx, dc, ds, dy);
            plain->gemv_int8(n, k, x, codes, scale, want);
        }
        memory->get(y, dy, n * sizeof *y);
        for (size_t o = 0; o < n; o++) {
            double size = 0;
            for (size_t j = 0; j < k; j++)
                size += fabs((double)x[j] * (kind < 2 ? (double)w[o * ldw + j] : (double)codes[o * k + j] * (double)scale[o]));
            CHECKF(fabs((double)y[o] - (double)want[o]) <= 4e-7 * size, "%s: row times matrix %d, %zu x %zu, output %zu: %g, not %g", label, kind, n, k, o, (double)y[o], (double)want[o]);
        }
    }
    memory->release(dx), memory->release(ds), memory->release(dy), memory->release(dc);
    settled(label, 0);
    free(x), free(w), free(scale), free(y), free(want), free(half), free(codes);
}

static void rows(const char *label)
{
    one_row(label, 1, 1);
    one_row(label, 19, 70);
    one_row(label, 8, 321);
    one_row(label, 9, 1352); // several numbers at a time
    one_row(label, 3, 12);
}

static void entropies(const char *label)
{
    static const size_t sizes[] = {1, 2, 31, 300, 5000};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        enum { B = 5 };
        const size_t V = sizes[s], ld = V + 3;
        float *x = noise(B * ld);
        int32_t target[B], top[B], want_top[B];
        double nll[B], want[B];
        for (size_t i = 0; i < B * ld; i++)
            x[i] *= 12;
        for (size_t b = 0; b < B; b++) {
            target[b] = (int32_t)(b * 7919 % V);
            x[b * ld + V / 2] = x[b * ld + V - 1] = 12.5f; // a tie for the first place
            x[b * ld + V] = 99;                            // beyond the row
        }
        if (V > 2)
            x[3 * ld + V / 3] = NAN;
        rs_kernels_reference()->cross_entropy(B, V, x, ld, target, want, want_top);
        float *dx = up(x, B * ld * sizeof *x);
        int32_t *dt = up(target, sizeof target), *di = room(sizeof top);
        double *dn = room(sizeof nll);
        cuda->cross_entropy(B, V, dx, ld, dt, dn, NULL);
        cuda->cross_entropy(B, V, dx, ld, dt, dn, di);
        down(nll, dn, sizeof nll);
        down(top, di, sizeof top);
        memory->release(dx), memory->release(dt);
        for (size_t b = 0; b < B; b++)
            CHECKF(V > 2 && b == 3 ? nll[b] != nll[b] : fabs(nll[b] - want[b]) <= 1e-6 && top[b] == want_top[b] && top[b] == (int32_t)(V / 2), "%s: cross entropy over %zu, row %zu: %g, not %g; top %d", label, V, b,
                   nll[b], want[b], (int)top[b]);
        settled(label, 0);
        free(x);
    }
}

// ---- attention

// The KV cache is filled in two steps; a vector is refused. What the reference packs is packed, and attention from it is near the reference's.
static void cached(const char *label, rs_quantizer q, rs_range v_range, size_t n_q, size_t n_kv, size_t h, size_t S)
{
    const size_t n = S * n_kv * h, nq = S * n_q * h, half = S / 2;
    rs_kv_cache c = {.q = q, .v_range = v_range, .n_kv = n_kv, .h = h, .capacity = S + 2}, there = c;
    const size_t bytes = rs_kv_cache_bytes(&c);
    float *k = noise(n), *v = noise(n), *x = noise(nq), *want = take(nq, sizeof *want), *got = take(nq, sizeof *got);
    uint8_t *work = take(rs_kv_cache_work(&c, S) + 64, 1), *back = take(bytes, 1);
    char what[160];
    snprintf(what, sizeof what, "%s: cache of %u bits%s, ranges %d %d, groups of %zu, %zu/%zu heads of %zu, %zu tokens", label, q.bits, q.sym ? " symmetric" : "", (int)q.range, (int)v_range, q.group, n_q, n_kv, h, S);
    v[n / 2] = q.bits < 16 ? INFINITY : 70000.0f;
    c.memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (c.memory == NULL)
        exit(1);
    memset(c.memory, 0xff, bytes);
    size_t bad = rs_kv_cache_append(&c, rs_int_reference(), half, k, v, work);
    bad += rs_kv_cache_append(&c, rs_int_reference(), S - half, k + half * n_kv * h, v + half * n_kv * h, work);
    float *dk = up(k, n * sizeof *k), *dv = up(v, n * sizeof *v), *dx = up(x, nq * sizeof *x), *dy = room(nq * sizeof *x);
    memset(back, 0xff, bytes);
    there.memory = up(back, bytes);
    CHECK(rs_kv_cache_append(&there, rs_int_cuda_at(0), half, dk, dv, NULL) == 0);
    CHECK(rs_kv_cache_append(&there, rs_int_cuda_at(0), S - half, dk + half * n_kv * h, dv + half * n_kv * h, NULL) == 0 && there.count == S);
    settled(what, bad);
    memory->get(back, there.memory, bytes);
    CHECKF(bad == (q.bits < 16) && memcmp(back, c.memory, bytes) == 0, "%s: other bytes", what);
    if (q.bits < 16) {
        rs_kernels_reference()->attention_cached(&c, S, n_q, x, want);
        cuda->attention_cached(&there, S, n_q, dx, dy);
        memory->get(got, dy, nq * sizeof *got);
        CHECKF(distance(nq, got, want) <= 2e-6, "%s: attention is off by %g", what, distance(nq, got, want));
        rs_kernels_reference()->attention_cached(&c, 1, n_q, x, want);
        cuda->attention_cached(&there, 1, n_q, dx, dy);
        memory->get(got, dy, n_q * h * sizeof *got);
        CHECKF(distance(n_q * h, got, want) <= 2e-6, "%s: attention of one is off by %g", what, distance(n_q * h, got, want));
    }
    v[n / 2] = 0.5f;
    memory->put(dv, v, n * sizeof *v);
    rs_kernels_reference()->attention(S, n_q, n_kv, h, x, k, v, want);
    cuda->attention(S, n_q, n_kv, h, dx, dk, dv, dy);
    memory->get(got, dy, nq * sizeof *got);
    CHECKF(distance(nq, got, want) <= 2e-6, "%s: attention of arrays is off by %g", what, distance(nq, got, want));
    settled(what, 0);
    memory->release(dk), memory->release(dv), memory->release(dx), memory->release(dy), memory->release(there.memory);
    free(k), free(v), free(x), free(want), free(got), free(work), free(back), free(c.memory);
}

static void attentions(const char *label)
{
    for (unsigned bits = 2; bits <= 8; bits++)
        cached(label, quantizer((int)bits % 4, bits, 0), RS_RANGE_ZERO, 4, 2, bits == 4 ? 64 : 20, 5);
    cached(label, quantizer(0, 3, 4), RS_RANGE_FREE, 3, 1, 12, 3);
    cached(label, quantizer(0, 16, 0), RS_RANGE_ZERO, 2, 1, 18, 4);
    cached(label, quantizer(1, 4, 0), RS_RANGE_ZERO, 2, 2, 7, 70);
    cached(label, quantizer(0, 4, 0), RS_RANGE_ZERO, 5, 1, 12, 131); // more than a strip; five queries share a key
}

// A NaN in a key reaches its query and those after it.
static void not_a_number(void)
{
    float k[12] = {1, 2, 3, 4, NAN, 6, 7, 8, 9, 10, 11, 12}, out[12], *dk = up(k, sizeof k), *dy = room(sizeof out);
    cuda->attention(3, 1, 1, 4, dk, dk, dk, dy);
    down(out, dy, sizeof out);
    memory->release(dk);
    CHECK(out[0] == 1 && out[3] == 4);
    for (int i = 4; i < 12; i++)
        CHECK(isnan(out[i]));
    settled("a NaN", 0);
}

// ---- offsets beyond 2^31 values: two rows far apart in memory that is hardly touched

static void far_apart(void)
{
    enum { N = 40 };
    const size_t ld = ((size_t)1 << 31) + 8, bytes = (ld + 2 * N) * sizeof(float);
    if (sizeof(void *) < 8) {
        SKIP("addresses have 32 bits");
        return;
    }
    float *x = noise(4 * N), *y = take(4 * N, sizeof *y), *wide = rs_trial_wide(bytes), cos[N], sin[N];
    if (wide == NULL) {
        SKIP("no room for 8 GiB of addresses");
        free(x), free(y);
        return;
    }
    const rs_quantizer q = quantizer(0, 4, 0);
    rs_hadamard *H = rs_hadamard_new(N);
    for (int i = 0; i < N; i++) {
        cos[i] = 0.5f;
        sin[i] = 0.25f;
    }
    float *dc = up(cos, sizeof cos), *ds = up(sin, sizeof sin);
    memory->put(wide, x, N * sizeof *x);
    memory->put(wide + ld, x + N, N * sizeof *x);
    cuda->rope(2, 1, N, wide, ld, dc, ds);
    cuda->hadamard(H, 2, wide, ld, false);
    (void)cuda->fake_quant(&q, 2, N, wide, ld);
    rs_kernels_reference()->rope(2, 1, N, x, N, cos, sin);
    rs_kernels_reference()->hadamard(H, 2, x, N, false);
    (void)!rs_kernels_reference()->fake_quant(&q, 2, N, x, N);
    memory->get(y, wide, N * sizeof *y);
    memory->get(y + N, wide + ld, N * sizeof *y);
    CHECK(memcmp(x, y, 2 * N * sizeof *x) == 0);
    settled("far apart", 0);
    memory->release(dc), memory->release(ds);
    // two rows of codes, and results behind them in the same memory
    const size_t ldy = ld / 2;
    uint8_t a[2][8] = {{1, 2, 3, 4, 5, 6, 7, 8}, {8, 7, 6, 5, 4, 3, 2, 1}}, c[8] = {1, 1, 1, 1, 255, 1, 1, 1}, *far = (uint8_t *)wide;
    const float scale[2] = {1, 0.5f};
    const int32_t none[2] = {0, 0};
    rs_int_weights w = {.bits = 8, .n = 1, .k = 8, .codes = up(c, sizeof c), .scales = up(scale, sizeof *scale), .sums = up(none, sizeof *none)};
    rs_int_rows rows = {.bits = 4, .m = 2, .k = 8, .ld = ld, .codes = far, .scale = up(scale, sizeof scale), .zero = up(none, sizeof none)};
    for (size_t v = 0; rs_int_cuda_at(v) != NULL; v++) {
        float results[2];
        memory->put(far, a[0], 8);
        memory->put(far + ld, a[1], 8);
        rs_int_gemm(rs_int_cuda_at(v), 1, &(rs_int_product){.w = &w, .y = wide + ldy + 64, .ldy = ldy}, &rows, NULL);
        memory->get(results, wide + ldy + 64, sizeof *results);
        memory->get(results + 1, wide + 2 * ldy + 64, sizeof *results);
        CHECKF(results[0] == 26 && results[1] == 14, "%s: %g, %g", rs_int_name(rs_int_cuda_at(v)), (double)results[0], (double)results[1]);
    }
    settled("far apart", 0);
    void *const all[] = {(void *)(uintptr_t)w.codes, (void *)(uintptr_t)w.scales, (void *)(uintptr_t)w.sums, rows.scale, rows.zero};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        memory->release(all[i]);
    rs_trial_wide_release(wide, bytes);
    rs_hadamard_free(H);
    free(x), free(y);
}

// ---- no memory

static void nothing_left(void)
{
    if (!rs_trial_emulated())
        return;
    rs_trial_memory(0);
    CHECK(memory->alloc(1) == NULL);
    float one[52] = {1};
    const char *fault;
    rs_hadamard *H = rs_hadamard_new(52); // a base whose signs are not there yet
    cuda->hadamard(H, 1, one, 52, false);
    (void)memory->settle(&fault);
    CHECK(fault != NULL && strstr(fault, "out of memory") != NULL);
    (void)memory->settle(&fault);
    CHECK(fault == NULL && one[0] == 1);
    rs_trial_memory(SIZE_MAX);
    cuda->hadamard(H, 1, one, 52, false);
    settled("memory again", 0);
    CHECK(one[0] == (float)H->scale);
    rs_hadamard_free(H);
}

// --reason: why there is no device, or nothing; --device: which; --short: without what is large.
int main(int argc, char **argv)
{
    const bool brief = argc > 1 && strcmp(argv[1], "--short") == 0;
    cuda = rs_kernels_cuda();
    if (argc > 1 && !brief) {
        const char *text = strcmp(argv[1], "--device") == 0 ? rs_kernels_cuda_device() : rs_kernels_cuda_reason();
        if (text != NULL && *text != 0)
            puts(text);
        return 0;
    }
    if (cuda == NULL) {
        printf("SKIP every kernel: %s\n", rs_kernels_cuda_reason());
        check_skipped++;
        return check_report();
    }
    memory = cuda->memory;
    CHECK(rs_int_memory(rs_int_cuda_at(0)) == memory && rs_int_memory(rs_int_reference()) == NULL && rs_kernels_reference()->memory == NULL && rs_int_cuda_at(2) == NULL);
    CHECK(strcmp(rs_int_name(rs_int_cuda()), "cuda") == 0 && rs_int_memory(rs_int_cuda()) == memory);
    if (rs_trial_emulated()) { // before anything asks for it here
        without_cublas(RS_BLAS_GONE, ", own products (no libcublas)");
        without_cublas(RS_BLAS_OLD, ", own products (libcublas is too old)");
        without_cublas(RS_BLAS_REFUSES, ", own products (the library was not initialized)");
    }
    CHECK(rs_kernels_cuda_device() != NULL);
    CHECK(!rs_trial_emulated() || strstr(rs_kernels_cuda_device(), ", cuBLAS 13.1.0") != NULL);
    rs_blas_use(false);
    each("rmsnorm", norms);
    each("rope", ropes);
    each("silu_gate and add", silus);
    each("lowrank", changes);
    each("hadamard", hadamards);
    each("quantise", quantisers);
    each("norm, quantise, change", streams);
    rows_alone();
    little_scratch();
    each("product", products);
    each("gemm", gemms);
    each("gemm by cuBLAS", by_cublas);
    halves_in_parts();
    each("conversion", conversions);
    each("row times matrix", rows);
    each("cross entropy", entropies);
    each("attention", attentions);
    not_a_number();
    if (!brief)
        far_apart();
    nothing_left();
    return check_report();
}
