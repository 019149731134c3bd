// SPDX-License-Identifier: Apache-2.0
// Every operation of every table that this processor can run, against the reference or an independent formula, for one and three threads; see tolerance[] for what may differ.
#include "kernels/kernels.h"

#include <float.h>
#include <math.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels/cpu/ops.h"
#include "kernels/threads.h"
#include "tests/check.h"
#include "tests/noise.h"

// Largest difference from the reference: absolute for gemm (per k, inputs within +-1), relative to 1 and the sum of magnitudes for gram, absolute for attention (values within +-1) and cross_entropy, relative for rmsnorm, silu_gate; 0: the same bits.
static const struct {
    const char *operation;
    double most;
} tolerance[] = {
    {"convert", 0}, {"rope", 0}, {"fake_quant", 0}, {"add", 0}, {"gemm", 1e-7}, {"gram", 1e-6}, {"rmsnorm", 2.5e-7}, {"silu_gate", 6e-7}, {"attention", 2e-6}, {"cross_entropy", 1e-6},
};

static double allowed(const char *operation)
{
    for (size_t i = 0; i < sizeof tolerance / sizeof *tolerance; i++)
        if (strcmp(tolerance[i].operation, operation) == 0)
            return tolerance[i].most;
    return -1;
}

static float as_float(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

// One table with one number of threads.
typedef void each_fn(const rs_kernels *k, const char *label);
static void each(each_fn *test)
{
    static const int threads[] = {1, 3};
    for (size_t i = 0; rs_table_at(i) != NULL; i++)
        for (size_t t = 0; t < 2; t++) {
            char label[64];
            snprintf(label, sizeof label, "%s with %d threads", rs_table_at(i)->name, threads[t]);
            rs_threads_set(threads[t]);
            seed = 1;
            test(rs_table_at(i), label);
        }
    rs_threads_set(1);
}

// ---- conversions

// Nearest bf16 by comparing distances in fp64.
static uint16_t bf16_of(uint32_t u)
{
    const float x = as_float(u);
    const uint32_t low = u >> 16;
    if (x != x)
        return (uint16_t)(low | 0x40);
    if (isinf(x))
        return (uint16_t)low;
    const double at = fabs((double)x), down = fabs((double)as_float(low << 16)), up = (low & 0x7fff) == 0x7f7f ? 0x1p128 : fabs((double)as_float((low + 1) << 16));
    return (uint16_t)(at - down < up - at || (at - down == up - at && low % 2 == 0) ? low : low + 1);
}

#if defined(__x86_64__)
__attribute__((target("f16c"))) static uint16_t f16_of(float x)
{
    return _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT);
}
__attribute__((target("f16c"))) static float f16_value(uint16_t x)
{
    return _cvtsh_ss(x);
}
#endif

static void narrow(const rs_kernels *k, const char *label, size_t n, const uint32_t *u)
{
    uint16_t *f16 = take(n, sizeof *f16), *bf16 = take(n, sizeof *bf16), *plain = take(n, sizeof *plain);
    float *x = take(n, sizeof *x);
    memcpy(x, u, n * sizeof *x);
    k->f32_to_f16(n, x, f16);
    k->f32_to_bf16(n, x, bf16);
    rs_kernels_reference()->f32_to_f16(n, x, plain);
    size_t wrong = 0, first = 0;
    for (size_t i = 0; i < n; i++) {
        uint16_t want = plain[i];
#if defined(__x86_64__)
        want = f16_of(x[i]);
#endif
        if ((f16[i] != want || plain[i] != want || bf16[i] != bf16_of(u[i])) && wrong++ == 0)
            first = i;
    }
    CHECKF(wrong == 0, "%s: %zu of %zu wrong, first %08x: f16 %04x, bf16 %04x not %04x", label, wrong, n, (unsigned)u[first], f16[first], bf16[first], bf16_of(u[first]));
    free(f16);
    free(bf16);
    free(plain);
    free(x);
}

static void conversions(const rs_kernels *k, const char *label)
{
    enum { ALL = 65536 };
    uint16_t *h = take(ALL, sizeof *h), *back = take(ALL, sizeof *back);
    float *f = take(ALL, sizeof *f);
    size_t wrong = 0;
    for (size_t i = 0; i < ALL; i++)
        h[i] = (uint16_t)i;
    k->f16_to_f32(ALL, h, f);
    k->f32_to_f16(ALL, f, back);
    for (size_t i = 0; i < ALL; i++) {
        const unsigned exponent = i >> 10 & 31, fraction = i & 0x3ff;
        const double size = exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, (int)exponent - 25);
        const bool nan = exponent == 31 && fraction != 0;
        const double want = exponent == 31 ? (double)INFINITY : size;
        wrong += nan ? f[i] == f[i] || (back[i] | 0x200) != back[i] || (back[i] & 0xfdff) != (i & 0xfdff) : (double)fabsf(f[i]) != want || !signbit(f[i]) != (i < 0x8000) || back[i] != i;
#if defined(__x86_64__)
        const float hardware = f16_value((uint16_t)i);
        wrong += memcmp(&hardware, &f[i], sizeof hardware) != 0;
#endif
    }
    CHECKF(wrong == 0, "%s: %zu f16 values differ", label, wrong);
    k->bf16_to_f32(ALL, h, f);
    wrong = 0;
    for (size_t i = 0; i < ALL; i++) {
        const float want = as_float((uint32_t)i << 16);
        wrong += memcmp(&f[i], &want, sizeof want) != 0;
    }
    CHECKF(wrong == 0, "%s: %zu bf16 values differ", label, wrong);
    // halves between neighbours of either type, one step below and above them; then a walk over all f32
    uint32_t *u = take(6 * ALL + 7, sizeof *u);
    size_t n = 0;
    for (uint32_t i = 0; i < ALL; i++)
        for (uint32_t step = 0; step < 3; step++) {
            u[n++] = (i << 16) + 0x7fff + step;
            u[n++] = (i & 0x8000) << 16 | ((0x38000000 + ((i & 0x7fff) << 13) + 0xfff + step) & 0x7fffffff);
        }
    narrow(k, label, n, u);
    for (uint32_t start = 0; start < 4; start++) {
        for (size_t i = 0; i < 6 * ALL + 7; i++)
            u[i] = start * 2731u + (uint32_t)i * 10923u;
        narrow(k, label, 6 * ALL + 7, u);
    }
    // below the smallest normal f16: every tie of the subnormal spacing
    n = 0;
    for (uint32_t i = 0; i < 2048; i++)
        for (uint32_t step = 0; step < 3; step++) {
            const float x = (float)i * 0x1p-25f;
            memcpy(&u[n], &x, sizeof x);
            u[n++] += step - 1;
        }
    narrow(k, label, n, u);
    free(h);
    free(back);
    free(f);
    free(u);
}

// ---- products

static void product(const rs_kernels *k, const char *label, int kind, size_t m, size_t n, size_t l, float beta)
{
    const rs_kernels *ref = rs_kernels_reference();
    const size_t ldx = (kind == 2 ? m : l) + 3, ldw = (kind == 0 ? l : n) + 2, ldy = n + 5;
    float *x = noise(((kind == 2 ? l : m) + 1) * ldx), *w = noise(((kind == 0 ? n : l) + 1) * ldw), *y = noise(m * ldy), *z = take(m * ldy, sizeof *z);
    if (beta == 0)
        for (size_t i = 0; i < m * ldy; i++)
            y[i] = i % ldy < n ? NAN : 7;
    memcpy(z, y, m * ldy * sizeof *z);
    (kind == 0 ? k->gemm_nt : kind == 1 ? k->gemm_nn : k->gemm_tn)(m, n, l, x, ldx, w, ldw, beta, y, ldy);
    (kind == 0 ? ref->gemm_nt : kind == 1 ? ref->gemm_nn : ref->gemm_tn)(m, n, l, x, ldx, w, ldw, beta, z, ldy);
    double worst = 0;
    for (size_t i = 0; i < m * ldy; i++)
        if (i % ldy >= n ? y[i] != z[i] : !(fabs((double)y[i] - (double)z[i]) <= worst))
            worst = i % ldy < n ? fabs((double)y[i] - (double)z[i]) : (double)INFINITY;
    CHECKF(worst <= allowed("gemm") * (double)l + 1e-6, "%s: gemm %d of %zu %zu %zu, beta %g: off by %g", label, kind, m, n, l, (double)beta, worst);
    free(x);
    free(w);
    free(y);
    free(z);
}

// With 16-bit weights, against the same product in f32 by the reference.
static void product_half(const rs_kernels *k, const char *label, bool bf16, size_t m, size_t n, size_t l, float beta)
{
    const rs_kernels *ref = rs_kernels_reference();
    const size_t ldx = l + 3, ldw = l + 2, ldy = n + 5;
    float *x = noise((m + 1) * ldx), *w = noise(n * ldw), *y = noise(m * ldy), *z = take(m * ldy, sizeof *z);
    uint16_t *half = take(n * ldw, sizeof *half);
    (bf16 ? ref->f32_to_bf16 : ref->f32_to_f16)(n * ldw, w, half);
    (bf16 ? ref->bf16_to_f32 : ref->f16_to_f32)(n * ldw, half, w);
    for (size_t i = 0; beta == 0 && i < m * ldy; i++)
        y[i] = i % ldy < n ? NAN : 7;
    memcpy(z, y, m * ldy * sizeof *z);
    k->gemm_half(bf16, m, n, l, x, ldx, half, ldw, beta, y, ldy);
    ref->gemm_nt(m, n, l, x, ldx, w, ldw, beta, z, ldy);
    double worst = 0;
    for (size_t i = 0; i < m * ldy; i++)
        if (i % ldy >= n ? y[i] != z[i] : !(fabs((double)y[i] - (double)z[i]) <= worst))
            worst = i % ldy < n ? fabs((double)y[i] - (double)z[i]) : (double)INFINITY;
    CHECKF(worst <= allowed("gemm") * (double)l + 1e-6, "%s: gemm_half of %s, %zu %zu %zu, beta %g: off by %g", label, bf16 ? "bf16" : "f16", m, n, l, (double)beta, worst);
    free(x);
    free(w);
    free(y);
    free(z);
    free(half);
}

// The triangle, and what lies below it and beside it as it was.
static void gram(const rs_kernels *k, const char *label, size_t n, size_t l, float beta)
{
    const size_t ldx = n + 3, ldy = n + 5;
    float *x = noise((l + 1) * ldx), *y = noise(n * ldy), *z = take(n * ldy, sizeof *z);
    for (size_t i = 0; beta == 0 && i < n * ldy; i++)
        if (i % ldy >= i / ldy && i % ldy < n) y[i] = NAN;
    memcpy(z, y, n * ldy * sizeof *z);
    k->gram(n, l, x, ldx, beta, y, ldy);
    rs_kernels_reference()->gram(n, l, x, ldx, beta, z, ldy);
    double worst = 0;
    for (size_t i = 0; i < n * ldy; i++) {
        const bool made = i % ldy >= i / ldy && i % ldy < n;
        double size = 1;
        for (size_t t = 0; made && t < l; t++) size += fabs((double)x[t * ldx + i / ldy] * (double)x[t * ldx + i % ldy]);
        const double off = made ? fabs((double)y[i] - (double)z[i]) / size : y[i] != z[i] ? (double)INFINITY : 0;
        if (!(off <= worst)) worst = off;
    }
    CHECKF(worst <= allowed("gram"), "%s: gram of %zu x %zu, beta %g: off by %g", label, l, n, (double)beta, worst);
    free(x);
    free(y);
    free(z);
}

// The same bits as the reference, which is checked by hand; a NaN becomes the lowest code. Rows beside those asked for, and columns behind, stay.
static void gptq_block(const rs_kernels *k, const char *label)
{
    enum { MOST = 131, WIDE = 3 * RS_GPTQ_LANES + 5, ALL = MOST * WIDE };
    float *U = noise(MOST * MOST), *s = noise(ALL), *w = noise(ALL), *v = take(ALL, sizeof *v), *u = take(ALL, sizeof *u), *e = noise(ALL), *f = take(ALL, sizeof *f);
    for (size_t i = 0; i < MOST; i++) U[i * MOST + i] = 1 + fabsf(U[i * MOST + i]);
    for (size_t r = 0; r < ALL; r++) s[r] = 0.01f + 0.3f * fabsf(s[r]);
    memcpy(f, e, ALL * sizeof *f);
    for (size_t n = 0; n <= MOST; n = n < 3 ? n + 1 : n * 2 - 1)
        for (size_t rows = 0; rows < WIDE; rows += RS_GPTQ_LANES)
            for (size_t lds = 0; lds <= WIDE; lds += WIDE) {
                memcpy(v, w, ALL * sizeof *v);
                memcpy(u, w, ALL * sizeof *u);
                if (n > 2) v[WIDE + 1] = u[WIDE + 1] = NAN;
                k->gptq_block(n, rows, U, MOST, s, lds, 7, v, e, WIDE);
                rs_kernels_reference()->gptq_block(n, rows, U, MOST, s, lds, 7, u, f, WIDE);
                bool same = memcmp(v, u, ALL * sizeof *v) == 0, kept = true;
                for (size_t i = 0; i < ALL; i++) {
                    same = same && (memcmp(&e[i], &f[i], sizeof *e) == 0 || (isnan(e[i]) && isnan(f[i])));
                    kept = kept && ((i < n * WIDE && i % WIDE < rows) || u[i] == w[i] || isnan(u[i]));
                }
                CHECKF(same && kept, "%s: gptq_block of %zu columns, %zu rows%s", label, n, rows, lds != 0 ? ", scales of columns" : "");
            }
    const float triangle[4] = {2, 3, 0, 4};
    for (size_t r = 0; r < WIDE; r++) w[r] = 1.25f, w[WIDE + r] = 5, s[r] = 0.5f, s[WIDE + r] = 1;
    memcpy(v, w, 2 * WIDE * sizeof *v);
    const size_t at = WIDE + RS_GPTQ_LANES + 3;
    k->gptq_block(2, 2 * RS_GPTQ_LANES, triangle, 2, s, 0, 7, w, e, WIDE); // 1.25 / 0.5 to 2, 0.25 / 2; 5 - 0.375 = 4.625, to 9, at most 7; 1.125 / 4
    CHECKF(w[0] == 2 && e[0] == -0.125f && w[at] == 7 && e[at] == -0.28125f, "%s: gptq_block by hand: %g %g %g %g", label, (double)w[0], (double)e[0], (double)w[at], (double)e[at]);
    k->gptq_block(2, 2 * RS_GPTQ_LANES, triangle, 2, s, WIDE, 7, v, e, WIDE); // 4.625 to 5, -0.375 / 4
    CHECKF(v[0] == 2 && e[0] == -0.125f && v[at] == 5 && e[at] == 0.09375f, "%s: gptq_block by hand, scales of columns: %g %g %g %g", label, (double)v[0], (double)e[0], (double)v[at], (double)e[at]);
    free(U);
    free(s);
    free(w);
    free(v);
    free(u);
    free(e);
    free(f);
}

static void products(const rs_kernels *k, const char *label)
{
    static const size_t triangles[][2] = {{1, 1}, {1, 0}, {5, 0}, {3, 7}, {64, 33}, {257, 19}, {576, 15}, {700, 9}, {130, 577}};
    for (size_t i = 0; i < sizeof triangles / sizeof *triangles; i++)
        for (int beta = 0; beta < 2; beta++)
            gram(k, label, triangles[i][0], triangles[i][1], (float)beta);
    gptq_block(k, label);
    static const size_t shapes[][3] = {{1, 1, 1}, {1, 1, 0}, {3, 5, 0}, {1, 77, 33}, {2, 3, 5}, {5, 300, 7}, {17, 33, 65}, {64, 64, 64}, {129, 257, 31}, {130, 40, 577}, {1, 1537, 576}, {300, 600, 19}, {257, 1, 100}, {513, 32, 192}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int kind = 0; kind < 3; kind++)
            for (int beta = 0; beta < 2; beta++)
                product(k, label, kind, shapes[i][0], shapes[i][1], shapes[i][2], (float)beta);
    static const size_t halves[][3] = {{1, 1, 1}, {2, 3, 0}, {0, 3, 2}, {5, 64, 512}, {7, 130, 1030}, {33, 65, 100}};
    for (size_t i = 0; i < sizeof halves / sizeof *halves; i++)
        for (int which = 0; which < 4; which++)
            product_half(k, label, which % 2 != 0, halves[i][0], halves[i][1], halves[i][2], (float)(which / 2));
    // the naive sum, once, so that the reference itself is checked: x is [l, m], w is [l, n]
    const float x[6] = {1, 2, 3, 4, 5, 6}, w[9] = {1, -1, 2, 0, 3, 1, 2, 2, -3};
    float y[6];
    k->gemm_tn(2, 3, 3, x, 2, w, 3, 0, y, 3);
    CHECKF(memcmp(y, (float[]){11, 18, -10, 14, 22, -10}, sizeof y) == 0, "%s: gemm_tn by hand", label);
    float triangle[4] = {9, 9, 7, 9};
    k->gram(2, 3, x, 2, 0, triangle, 2);
    CHECKF(memcmp(triangle, (float[]){35, 44, 7, 56}, sizeof triangle) == 0, "%s: gram by hand", label);
    k->gemm_nn(2, 3, 3, x, 3, w, 3, 0, y, 3);
    CHECKF(memcmp(y, (float[]){7, 11, -5, 16, 23, -5}, sizeof y) == 0, "%s: gemm_nn by hand", label);
    k->gemm_nt(2, 3, 3, x, 3, w, 3, 0, y, 3);
    CHECKF(memcmp(y, (float[]){5, 9, -3, 11, 21, 0}, sizeof y) == 0, "%s: gemm_nt by hand", label);
}

// ---- norm, rope, silu, add

// Low-rank change of basis against fp64; nothing is written behind x.
static void change(const rs_kernels *k, const char *label, size_t S, size_t d, size_t r)
{
    float *x = noise(S * d + 1), *q = noise(d * r), *m = noise(r * r), *work = take(2 * S * r + 1, sizeof *work);
    double *want = take(S * d, sizeof *want), *y = take(2 * r, sizeof *y), size = 0, far = 0;
    for (size_t i = 0; i < d * r; i++)
        q[i] /= sqrtf((float)d);
    for (size_t i = 0; i < r * r; i++)
        m[i] /= sqrtf((float)r);
    x[S * d] = work[2 * S * r] = 7;
    for (size_t s = 0; s < S; s++) {
        memset(y, 0, 2 * r * sizeof *y);
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j < r; j++)
                y[j] += (double)x[s * d + i] * (double)q[i * r + j];
        for (size_t i = 0; i < r; i++)
            for (size_t j = 0; j < r; j++)
                y[r + j] += y[i] * (double)m[i * r + j];
        for (size_t i = 0; i < d; i++) {
            want[s * d + i] = (double)x[s * d + i];
            for (size_t j = 0; j < r; j++)
                want[s * d + i] += y[r + j] * (double)q[i * r + j];
            size = fmax(size, fabs(want[s * d + i]));
        }
    }
    k->lowrank(S, d, r, x, q, m, work);
    for (size_t i = 0; i < S * d; i++)
        far = isfinite(x[i]) ? fmax(far, fabs((double)x[i] - want[i])) : (double)INFINITY;
    CHECKF(far <= 4e-7 * size && x[S * d] == 7 && work[2 * S * r] == 7, "%s: change of basis, %zu x %zu, rank %zu: off by %g of %g", label, S, d, r, far, size);
    free(x), free(q), free(m), free(work), free(want), free(y);
}

// A row times 8-bit codes, against fp64.
static void coded_rows(const rs_kernels *k, const char *label)
{
    for (size_t n = 1; n < 80; n += 13)
        for (size_t w = 1; w < 700; w = w * 3 + 1) {
            float *x = noise(w), *scale = noise(n), *y = take(n + 1, sizeof *y);
            int8_t *codes = take(n * w, 1);
            for (size_t i = 0; i < n * w; i++)
                codes[i] = (int8_t)(i * 37 % 256 - 128);
            y[n] = 7;
            k->gemv_int8(n, w, x, codes, scale, y);
            for (size_t o = 0; o < n; o++) {
                double want = 0, size = 0;
                for (size_t j = 0; j < w; j++) {
                    want += (double)x[j] * (double)codes[o * w + j];
                    size += fabs((double)x[j] * (double)codes[o * w + j]);
                }
                CHECKF(fabs((double)y[o] - want * (double)scale[o]) <= 2e-7 * sqrt((double)w) * size * fabs((double)scale[o]), "%s: row times codes, %zu x %zu, output %zu is %g", label, n, w, o,
                       (double)y[o]);
            }
            CHECKF(y[n] == 7, "%s: row times codes, %zu x %zu: wrote beyond", label, n, w);
            free(x), free(scale), free(y), free(codes);
        }
}

static void changes(const rs_kernels *k, const char *label)
{
    static const size_t ranks[] = {2, 8, 16, 32, 48, 128, 144}, rows[] = {1, 2, 5, 6, 24, 31}, widths[] = {16, 20, 144, 576, 2304};
    for (size_t a = 0; a < sizeof ranks / sizeof *ranks; a++)
        for (size_t b = 0; b < sizeof rows / sizeof *rows; b++)
            for (size_t c = 0; c < sizeof widths / sizeof *widths; c++)
                if (rows[b] < 10 || ranks[a] < 40 || widths[c] < 600)
                    change(k, label, rows[b], widths[c], ranks[a]);
}

static void norms(const rs_kernels *k, const char *label)
{
    static const size_t shapes[][2] = {{1, 1}, {3, 7}, {5, 8}, {2, 33}, {70, 576}, {1, 40000}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int scaled = 0; scaled < 2; scaled++) {
            const size_t B = shapes[s][0], d = shapes[s][1];
            float *x = noise(B * d), *gamma = noise(d), *y = take(B * d, sizeof *y);
            k->rmsnorm(B, d, x, scaled ? gamma : NULL, 1e-5f, y);
            double worst = 0;
            for (size_t b = 0; b < B; b++) {
                double sum = 0;
                for (size_t i = 0; i < d; i++)
                    sum += (double)x[b * d + i] * (double)x[b * d + i];
                for (size_t i = 0; i < d; i++) {
                    const double want = (double)x[b * d + i] / sqrt(sum / (double)d + (double)1e-5f) * (scaled ? (double)gamma[i] : 1);
                    worst = worse(worst, want == 0 ? fabs((double)y[b * d + i]) : fabs((double)y[b * d + i] / want - 1));
                }
            }
            CHECKF(worst <= allowed("rmsnorm"), "%s: rmsnorm %zu x %zu is off by %g", label, B, d, worst);
            k->rmsnorm(B, d, x, scaled ? gamma : NULL, 1e-5f, x);
            CHECKF(memcmp(x, y, B * d * sizeof *x) == 0, "%s: rmsnorm in place", label);
            free(x);
            free(gamma);
            free(y);
        }
}

// Number by number as it is said, with one row for all and with a row for each, wider apart than they are long; what lies between rows of y stays.
static void joins(const rs_kernels *k, const char *label)
{
    static const size_t shapes[][2] = {{1, 1}, {1, 0}, {3, 7}, {70, 576}, {2, 40000}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int how = 0; how < 4; how++)
            for (size_t gap = 0; gap < 3; gap++) {
                const size_t B = shapes[s][0], n = shapes[s][1], lda = gap == 0 ? 0 : n + gap - 1, ldy = n + gap;
                float *a = noise(B * (n + 2)), *y = noise(B * ldy), *z = take(B * ldy, sizeof *z);
                memcpy(z, y, B * ldy * sizeof *z);
                k->each((rs_join)how, B, n, a, lda, y, ldy);
                size_t wrong = 0;
                for (size_t i = 0; i < B * ldy; i++) {
                    const bool in = i % ldy < n;
                    const float x = in ? a[i / ldy * lda + i % ldy] : 0, want = !in ? z[i] : how == RS_JOIN_PLUS ? z[i] + x : how == RS_JOIN_MINUS ? z[i] - x : how == RS_JOIN_TIMES ? z[i] * x : -x;
                    wrong += memcmp(&want, &y[i], sizeof want) != 0;
                }
                CHECKF(wrong == 0, "%s: each %d of %zu x %zu, rows %zu and %zu apart: %zu differ", label, how, B, n, lda, ldy, wrong);
                free(a);
                free(y);
                free(z);
            }
    for (size_t n = 1; n < 700; n = 3 * n + 1) { // 1, 4, 13, ..
        float *x = noise(n * n), *w = take(n * n, sizeof *w);
        double *sums = take(2 * n, sizeof *sums), off = 0;
        k->skew(n, x, w, sums);
        size_t wrong = 0;
        for (size_t i = 0; i < n; i++) {
            double size = 0, squares = 0;
            for (size_t j = 0; j < n; j++) {
                const float want = (x[i * n + j] - x[j * n + i]) / 2;
                wrong += fabsf(w[i * n + j] - want) > 1e-7f || w[i * n + j] != -w[j * n + i];
                size += fabs((double)w[i * n + j]);
                squares += (double)w[i * n + j] * (double)w[i * n + j];
            }
            off = worse(off, worse(fabs(sums[i] - size), fabs(sums[n + i] - squares)));
        }
        CHECKF(wrong == 0 && off <= 1e-12, "%s: skew of %zu: %zu differ, sums are off by %g", label, n, wrong, off);
        free(x);
        free(w);
        free(sums);
    }
    enum { B = 6, N = 33, LD = 35 };
    float *x = noise(B * LD);
    x[N] = NAN, x[LD + N + 1] = INFINITY; // behind a row
    CHECKF(k->not_finite(B, N, x, LD) == 0 && k->not_finite(0, N, x, LD) == 0, "%s: numbers are taken for none", label);
    x[0] = FLT_MAX, x[1] = -FLT_MAX, x[2] = FLT_MAX;
    CHECKF(k->not_finite(B, N, x, LD) == 0, "%s: large numbers are taken for none", label);
    x[2 * LD] = NAN, x[3 * LD + N - 1] = INFINITY, x[3 * LD] = -INFINITY, x[5 * LD + 7] = -INFINITY;
    CHECKF(k->not_finite(B, N, x, LD) == 3 && k->not_finite(3, N, x, LD) == 1, "%s: %zu rows are not finite", label, k->not_finite(B, N, x, LD));
    free(x);
}

static void ropes(const rs_kernels *k, const char *label)
{
    static const size_t shapes[][3] = {{1, 1, 2}, {3, 2, 6}, {9, 3, 64}, {70, 9, 80}, {2, 1, 20}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const size_t B = shapes[s][0], heads = shapes[s][1], h = shapes[s][2], ld = heads * h + 4;
        float *x = noise(B * ld), *z = take(B * ld, sizeof *z), *cos = noise(B * h / 2), *sin = noise(B * h / 2);
        memcpy(z, x, B * ld * sizeof *z);
        k->rope(B, heads, h, x, ld, cos, sin);
        size_t wrong = 0;
        for (size_t b = 0; b < B; b++)
            for (size_t i = 0; i < ld; i++) {
                const size_t at = b * ld + i, in = i % h, pair = in < h / 2 ? at + h / 2 : at - h / 2, angle = b * (h / 2) + in % (h / 2);
                const float one = z[at] * cos[angle];
                const float two = i < heads * h ? z[pair] * sin[angle] : 0;
                wrong += i < heads * h ? x[at] != (in < h / 2 ? one - two : one + two) : x[at] != z[at];
            }
        CHECKF(wrong == 0, "%s: rope %zu x %zu x %zu has %zu wrong values", label, B, heads, h, wrong);
        free(x);
        free(z);
        free(cos);
        free(sin);
    }
}

static void silus(const rs_kernels *k, const char *label)
{
    enum { N = 200003 };
    float *g = take(N, sizeof *g), *up = noise(N), *y = take(N, sizeof *y);
    for (size_t i = 0; i < N; i++)
        g[i] = -86 + (float)i * (180.0f / N);
    k->silu_gate(N, g, up, y);
    double worst = 0;
    for (size_t i = 0; i < N; i++) {
        const double want = (double)g[i] / (1 + exp(-(double)g[i])) * (double)up[i];
        if (fabs(want) > (double)FLT_MIN)
            worst = worse(worst, fabs((double)y[i] / want - 1));
    }
    CHECKF(worst <= allowed("silu_gate"), "%s: silu_gate is off by %g", label, worst);
    const float edge[9] = {0, -0.0f, 1000, -1000, FLT_MAX, -FLT_MAX, INFINITY, NAN, -95}, one[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    float out[9], want[9];
    k->silu_gate(9, edge, one, out);
    rs_kernels_reference()->silu_gate(9, edge, one, want);
    for (size_t i = 0; i < 9; i++)
        CHECKF(i == 7 ? out[i] != out[i] : fabsf(out[i] - want[i]) <= 1e-36f || out[i] == want[i], "%s: silu of %g is %g", label, (double)edge[i], (double)out[i]);
    CHECK(want[0] == 0 && want[2] == 1000 && want[3] == 0 && isinf(want[6]));
    k->silu_gate(N, g, up, up); // y may be up
    CHECKF(memcmp(up, y, N * sizeof *y) == 0, "%s: silu_gate in place", label);
    memcpy(g, y, N * sizeof *g);
    k->add(N, up, g);
    size_t wrong = 0;
    for (size_t i = 0; i < N; i++)
        wrong += g[i] != y[i] + up[i];
    CHECKF(wrong == 0, "%s: add has %zu wrong values", label, wrong);
    free(g);
    free(up);
    free(y);
}

// ---- attention, against the definition with all scores at once in fp64

static void attend(const rs_kernels *k, const char *label, size_t S, size_t n_q, size_t n_kv, size_t h, float size)
{
    float *q = noise(S * n_q * h), *key = noise(S * n_kv * h), *v = noise(S * n_kv * h), *out = take(S * n_q * h, sizeof *out);
    for (size_t i = 0; i < S * n_q * h; i++)
        q[i] *= size;
    k->attention(S, n_q, n_kv, h, q, key, v, out);
    double worst = 0, *p = take(S, sizeof *p);
    for (size_t head = 0; head < n_q; head++)
        for (size_t s = 0; s < S; s += S > 300 ? 37 : 1) {
            const size_t shared = head / (n_q / n_kv);
            double max = (double)-INFINITY, sum = 0;
            for (size_t t = 0; t <= s; t++) {
                p[t] = 0;
                for (size_t i = 0; i < h; i++)
                    p[t] += (double)q[(s * n_q + head) * h + i] * (double)key[(t * n_kv + shared) * h + i] / sqrt((double)h);
                max = fmax(max, p[t]);
            }
            for (size_t t = 0; t <= s; t++)
                sum += p[t] = exp(p[t] - max);
            for (size_t i = 0; i < h; i++) {
                double want = 0;
                for (size_t t = 0; t <= s; t++)
                    want += p[t] / sum * (double)v[(t * n_kv + shared) * h + i];
                const double far = fabs(want - (double)out[(s * n_q + head) * h + i]);
                worst = far <= worst ? worst : far;
            }
        }
    CHECKF(worst <= allowed("attention") * fmax(1, (double)size), "%s: attention S %zu, %zu/%zu heads of %zu: off by %g", label, S, n_q, n_kv, h, worst);
    free(q);
    free(key);
    free(v);
    free(out);
    free(p);
}

static void attentions(const rs_kernels *k, const char *label)
{
    static const size_t shapes[][4] = {{1, 1, 1, 1}, {2, 2, 1, 3}, {63, 3, 3, 8}, {64, 4, 2, 16}, {65, 6, 2, 80}, {257, 2, 1, 64}, {130, 1, 1, 300}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        attend(k, label, shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3], 1);
    attend(k, label, 600, 2, 1, 32, 30); // sharp: the maximum moves from block to block
    float q[8] = {1, 2, NAN, 4, 5, 6, 7, 8}, out[8];
    k->attention(4, 1, 1, 2, q, q, q, out);
    CHECKF(isnan(out[2]) && isnan(out[4]) && isnan(out[6]), "%s: attention must keep a NaN", label);
}

// ---- fake quantisation, against the formula value by value

static float quantised(float x, float lo, float hi, const rs_quantizer *q)
{
    const float top = (float)((1 << q->bits) - 1), Q = (float)((1 << (q->bits - 1)) - 1), end = q->range == RS_RANGE_HALF ? Q + 0.5f : Q;
    float s, c, z;
    if (q->sym) {
        s = q->clip * fmaxf(-lo, hi) / end;
        if (s < FLT_MIN)
            return 0;
        c = fminf(fmaxf(rintf(x / s), -Q - 1), Q);
        return s * c;
    }
    const float low = q->clip * lo, high = q->clip * hi;
    s = (high - low) / top;
    if (s < FLT_MIN)
        return 0;
    z = rintf(-low / s);
    if (fabsf(z) > 0x1p24f)
        return NAN;
    c = fminf(fmaxf(rintf(x / s) + z, 0), top);
    return s * (c - z);
}

static void quantise(const rs_kernels *k, const char *label, rs_quantizer q, size_t B, size_t n, int kind)
{
    const size_t ld = n + 3, group = q.group ? q.group : n;
    float *x = noise(B * ld), *z = take(B * ld, sizeof *z);
    for (size_t b = 0; b < B; b++)
        for (size_t i = 0; i < n; i++) {
            float *v = &x[b * ld + i];
            if (kind == 1) // halves of the step, both ends of the range present: ties everywhere
                *v = (float)((int)(b * 7 + i * 5) % 31) / 2 - 7;
            else if (kind == 2)
                *v = b % 3 == 0 ? 0 : b % 3 == 1 ? *v * 1e-40f : *v * 1e-37f;
            else if (kind == 3)
                *v = b % 2 ? fabsf(*v) + 3 : -fabsf(*v) - 3;
            else if (kind == 4)
                *v *= 1e38f;
            else if (kind == 5) // far from 0, in few steps or in none
                *v = b % 3 == 0 ? -1000 - *v : b % 3 == 1 ? 1000 + floorf(*v * 4) / 8192 : 3.7f;
        }
    memcpy(z, x, B * ld * sizeof *z);
    const size_t bad = k->fake_quant(&q, B, n, x, ld);
    size_t wrong = 0;
    float lo = 0, hi = 0;
    for (size_t b = 0; b < B; b++)
        for (size_t i = 0; i < ld; i++) {
            float want = z[b * ld + i];
            if (i < n && i % group == 0) {
                lo = hi = z[b * ld + i];
                for (size_t j = i; j < i + group; j++) {
                    lo = fminf(lo, z[b * ld + j]);
                    hi = fmaxf(hi, z[b * ld + j]);
                }
                const float s = (q.clip * hi - q.clip * lo) / (float)((1 << q.bits) - 1);
                if (q.range != RS_RANGE_FREE || s < FLT_MIN || fabsf(rintf(-q.clip * lo / s)) > 0x1p24f) {
                    lo = fminf(lo, 0);
                    hi = fmaxf(hi, 0);
                }
            }
            if (i < n && q.bits < 16)
                want = quantised(want, lo, hi, &q);
            wrong += x[b * ld + i] != want;
        }
    CHECKF(bad == 0 && wrong == 0, "%s: fake_quant %u bits%s, range %d, clip %g, group %zu, %zu x %zu, kind %d: %zu wrong, %zu bad rows", label, q.bits, q.sym ? " sym" : "", (int)q.range, (double)q.clip, q.group, B, n,
           kind, wrong, bad);
    // the same bits as the reference, zeros and their signs included
    rs_kernels_reference()->fake_quant(&q, B, n, z, ld);
    CHECKF(memcmp(x, z, B * ld * sizeof *x) == 0, "%s: fake_quant differs from the reference, kind %d, n %zu", label, kind, n);
    free(x);
    free(z);
}

static void quantisers(const rs_kernels *k, const char *label)
{
    static const unsigned bits[] = {2, 3, 4, 8, 16};
    static const size_t shapes[][3] = {{1, 1, 0}, {3, 7, 0}, {5, 64, 16}, {4, 96, 12}, {22, 1536, 0}, {9, 1000, 0}, {2, 40, 1}};
    for (size_t b = 0; b < 5; b++)
        for (int sym = 0; sym < 2; sym++)
            for (int clip = 0; clip < 2; clip++)
                for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
                    for (int kind = 0; kind < 6; kind++)
                        for (int other = 0; other < 2; other++)
                            quantise(k, label,
                                     (rs_quantizer){.bits = bits[b], .sym = sym, .clip = clip ? 0.9f : 1, .group = shapes[s][2], .range = other == 0 ? RS_RANGE_ZERO : sym ? RS_RANGE_HALF : RS_RANGE_FREE},
                                     shapes[s][0], shapes[s][1], kind);
    // by hand: 0 .. 15 has step 1, ties go to even; NaN, infinity and a range that overflows are counted and left alone
    float x[3][16] = {{0, 15, 0.5f, 1.5f, 2.5f, 3.49f, 14.5f, 13.5f, 7}, {1, NAN, 3}, {-3e38f, 3e38f, 1}};
    float keep[3][16];
    memcpy(keep, x, sizeof keep);
    const rs_quantizer four = {.bits = 4, .clip = 1};
    CHECKF(k->fake_quant(&four, 3, 16, x[0], 16) == 2, "%s: bad rows", label);
    CHECKF(memcmp(x[0], (float[16]){0, 15, 0, 2, 2, 3, 14, 14, 7}, sizeof x[0]) == 0, "%s: ties", label);
    CHECKF(memcmp(x[1], keep[1], sizeof x[1]) == 0 && memcmp(x[2], keep[2], sizeof x[2]) == 0, "%s: bad rows stay", label);
    // a range that leaves 0 out: 100 .. 115, zero point -100; one value has no range of its own, so 0 joins it; the largest magnitude at 7.5 steps
    float y[3][8] = {{100, 115, 100.5f, 101.5f, 107.49f, 114.6f, 111, 103}, {3.75f, 3.75f, 3.75f, 3.75f, 3.75f, 3.75f, 3.75f, 3.75f}, {7.5f, -7.5f, 1, -1, 0.5f, 1.5f, 6.4f, -6.6f}};
    const rs_quantizer free_range = {.bits = 4, .clip = 1, .range = RS_RANGE_FREE}, half_step = {.bits = 4, .sym = true, .clip = 1, .range = RS_RANGE_HALF};
    CHECK(k->fake_quant(&free_range, 2, 8, y[0], 8) == 0 && k->fake_quant(&half_step, 1, 8, y[2], 8) == 0);
    CHECKF(memcmp(y[0], (float[8]){100, 115, 100, 102, 107, 115, 111, 103}, sizeof y[0]) == 0, "%s: a range without 0", label);
    CHECKF(y[1][0] == 3.75f && y[1][7] == 3.75f, "%s: a range of one value", label);
    CHECKF(memcmp(y[2], (float[8]){7, -8, 1, -1, 0, 2, 6, -7}, sizeof y[2]) == 0, "%s: half a step", label);
    x[1][1] = -INFINITY;
    CHECKF(k->fake_quant(&four, 1, 16, x[1], 16) == 1, "%s: infinity", label);
}

// ---- cross-entropy

static void entropies(const rs_kernels *k, const char *label)
{
    static const size_t widths[] = {1, 2, 7, 16, 33, 1000, 50257};
    for (size_t s = 0; s < sizeof widths / sizeof *widths; s++) {
        enum { B = 5 };
        const size_t V = widths[s], ld = V + 3;
        float *x = noise(B * ld);
        int32_t target[B], top[B];
        double nll[B], worst = 0;
        for (size_t i = 0; i < B * ld; i++)
            x[i] *= 12;
        for (size_t b = 0; b < B; b++) {
            target[b] = (int32_t)((b * 7919) % V);
            x[b * ld + V / 2] = x[b * ld + V - 1] = 12.5f; // a tie for the first place
            x[b * ld + V] = 99;                            // beyond the row
        }
        k->cross_entropy(B, V, x, ld, target, nll, top);
        for (size_t b = 0; b < B; b++) {
            double sum = 0;
            for (size_t i = 0; i < V; i++)
                sum += exp((double)x[b * ld + i] - 12.5);
            worst = worse(worst, fabs(log(sum) + 12.5 - (double)x[b * ld + (size_t)target[b]] - nll[b]));
            CHECKF(top[b] == (int32_t)(V / 2), "%s: top of %zu is %d", label, V, (int)top[b]);
        }
        CHECKF(worst <= allowed("cross_entropy"), "%s: cross_entropy over %zu is off by %g", label, V, worst);
        x[V / 3] = NAN;
        k->cross_entropy(1, V, x, ld, target, nll, NULL);
        CHECKF(nll[0] != nll[0], "%s: cross_entropy hides a NaN, V %zu", label, V);
        free(x);
    }
}

// ---- the same bits for any number of threads

static void threads_agree(void)
{
    enum { S = 300, N = S * 576 };
    const rs_kernels *k = rs_kernels_cpu();
    float *x = noise(N), *w = noise(576 * 576), *one = take(4 * N, sizeof *one), *many = take(4 * N, sizeof *many);
    rs_hadamard *H = rs_hadamard_new(576);
    for (int threads = 1; threads <= 5; threads += 2) {
        float *y = threads == 1 ? one : many;
        rs_threads_set(threads);
        memcpy(y, x, N * sizeof *y);
        (void)!k->fake_quant(&(rs_quantizer){.bits = 4, .clip = 1}, S, 576, y, 576);
        k->hadamard(H, S, y, 576, false);
        k->gemm_nt(S, 576, 576, y, 576, w, 576, 0, y + N, 576);
        k->attention(S, 9, 3, 64, y, y + N, x, y + 2 * N);
        k->rmsnorm(S, 576, y + 2 * N, x, 1e-5f, y + 3 * N);
        k->silu_gate(N, y + 3 * N, y, y + 3 * N);
        if (threads > 1)
            CHECKF(memcmp(one, many, 4 * N * sizeof *one) == 0, "results with %d threads differ", threads);
    }
    rs_threads_set(1);
    rs_hadamard_free(H);
    free(x);
    free(w);
    free(one);
    free(many);
}

static void frequencies(void)
{
    double f[32], g[32];
    rs_rope_frequencies(64, 10000, f);
    CHECK(f[0] == 1 && fabs(f[16] - 0.01) < 1e-15 && fabs(f[31] * pow(10000, 31.0 / 32) - 1) < 1e-14);
    memcpy(g, f, sizeof g);
    rs_rope_scale_linear(64, 4, g);
    CHECK(g[0] == 0.25 && g[16] == f[16] / 4);
    // Llama 3.1: factor 8, low 1, high 4, original context 8192; above 8192 / 2 pi / f turns the wavelength keeps, under 1 turn it is 8 times longer
    rs_rope_frequencies(64, 500000, f);
    memcpy(g, f, sizeof g);
    rs_rope_scale_llama3(64, 8, 1, 4, 8192, g);
    size_t kept = 0, stretched = 0, between = 0;
    for (size_t i = 0; i < 32; i++) {
        const double wavelength = 2 * acos(-1) / f[i], ratio = g[i] / f[i];
        if (wavelength < 8192.0 / 4)
            kept += ratio == 1;
        else if (wavelength > 8192.0)
            stretched += ratio == 1.0 / 8;
        else {
            const double smooth = (8192 / wavelength - 1) / 3;
            between += fabs(ratio - ((1 - smooth) / 8 + smooth)) < 1e-14;
        }
    }
    CHECKF(kept + stretched + between == 32 && kept > 0 && stretched > 0 && between > 0, "llama3 scaling: %zu kept, %zu between, %zu stretched", kept, between, stretched);
    float c[64], s[64];
    rs_rope_tables(2, 1000, 64, f, c, s);
    CHECK(c[32] == (float)cos(1001 * f[0]) && s[32 + 31] == (float)sin(1001 * f[31]) && c[0] == (float)cos(1000.0));
}

int main(void)
{
    CHECK(rs_kernels_reference() != NULL && rs_kernels_cpu() != NULL && strcmp(rs_kernels_reference()->name, "reference") == 0);
    CHECK(rs_kernels_cuda_reason() != NULL);
    each(conversions);
    each(products);
    each(changes);
    each(coded_rows);
    each(norms);
    each(joins);
    each(ropes);
    each(silus);
    each(attentions);
    each(quantisers);
    each(entropies);
    threads_agree();
    frequencies();
    return check_report();
}
