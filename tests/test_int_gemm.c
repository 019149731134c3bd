// SPDX-License-Identifier: Apache-2.0
// Integer products: every variant that this processor can run, with one and three threads, gives the sums that the dense codes give, and the f32 result of the reference bit for bit;
// quantised rows are what fake_quant stands for; sizes are refused where sums or bytes could overflow.
#include "kernels/int_gemm.h"

#include "kernels/cpu/int_ops.h"
#include "kernels/packed.h"
#include "kernels/threads.h"
#include "tests/check.h"

static uint32_t seed = 1;
static uint32_t next(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}

static void *take(size_t n, size_t size)
{
    void *p = calloc(n + 1, size);
    if (p == NULL)
        exit(1);
    return p;
}

enum fill { NOISE, LOW, HIGH }; // codes: any, least weights x most activations, most x most

// One product: dense codes, its packed rows and scales, activations with a leading dimension of their own, and the sums from the definition.
struct sample {
    unsigned w_bits, a_bits;
    size_t m, n, k, group, spans, ld;
    int8_t *codes;
    uint8_t *rows, *a;
    float *w_scale, *a_scale;
    int32_t *zero, *sums, *of_codes;
};

static struct sample sample(unsigned w_bits, unsigned a_bits, size_t m, size_t n, size_t k, size_t group, enum fill fill)
{
    struct sample s = {.w_bits = w_bits, .a_bits = a_bits, .m = m, .n = n, .k = k, .group = group, .spans = group != 0 ? k / group : 1, .ld = k + 3};
    const size_t row = rs_packed_row_bytes((int)w_bits, k), span = group != 0 ? group : k;
    const int least = -(1 << (w_bits - 1)), most = (1 << a_bits) - 1;
    s.codes = take(n * k, 1);
    s.rows = take(n * row, 1);
    s.a = take(m * s.ld, 1);
    s.w_scale = take(n * s.spans, sizeof(float));
    s.a_scale = take(m, sizeof(float));
    s.zero = take(m, sizeof(int32_t));
    s.sums = take(m * s.spans * n, sizeof(int32_t));
    s.of_codes = take(n * s.spans, sizeof(int32_t));
    for (size_t i = 0; i < n * k; i++)
        s.codes[i] = (int8_t)(fill == NOISE ? least + (int)(next() % (1u << w_bits)) : fill == LOW ? least : -least - 1);
    for (size_t i = 0; i < m * s.ld; i++)
        s.a[i] = (uint8_t)(fill == NOISE && i % s.ld < k ? (int)(next() % (1u << a_bits)) : most);
    for (size_t o = 0; o < n; o++)
        rs_packed_pack((int)w_bits, k, s.codes + o * k, s.rows + o * row);
    for (size_t i = 0; i < n * k; i++)
        s.of_codes[i / k * s.spans + i % k / span] += s.codes[i];
    for (size_t i = 0; i < n * s.spans; i++)
        s.w_scale[i] = (float)(1 + next() % 1000) * 0x1p-10f;
    for (size_t r = 0; r < m; r++) {
        s.a_scale[r] = (float)(1 + next() % 1000) * 0.01f;
        s.zero[r] = (int32_t)(next() % (1u << a_bits));
    }
    for (size_t r = 0; r < m; r++)
        for (size_t g = 0; g < s.spans; g++)
            for (size_t o = 0; o < n; o++) {
                int64_t sum = 0;
                for (size_t j = g * span; j < (g + 1) * span; j++)
                    sum += s.a[r * s.ld + j] * s.codes[o * k + j];
                s.sums[(r * s.spans + g) * n + o] = (int32_t)sum;
            }
    return s;
}

static void drop(struct sample *s)
{
    void *all[] = {s->codes, s->rows, s->a, s->w_scale, s->a_scale, s->zero, s->sums, s->of_codes};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

// The result by the formula of the header.
static float result(const struct sample *s, size_t r, size_t o)
{
    float acc = 0;
    for (size_t g = 0; g < s->spans; g++)
        acc += (float)(s->sums[(r * s->spans + g) * s->n + o] - s->zero[r] * s->of_codes[o * s->spans + g]) * s->w_scale[o * s->spans + g];
    return acc * s->a_scale[r];
}

static void compare(const struct sample *s, const rs_int_kernels *by, bool add)
{
    uint16_t *scales_16 = take(s->n * s->spans, sizeof *scales_16);
    rs_kernels_reference()->f32_to_f16(s->n * s->spans, s->w_scale, scales_16); // exact, since sample() took such
    const rs_int_weights w = {.bits = s->w_bits, .n = s->n, .k = s->k, .group = s->group, .codes = s->rows, .scales = add ? NULL : s->w_scale, .scales_16 = scales_16, .sums = s->of_codes};
    const rs_int_rows a = {.bits = s->a_bits, .m = s->m, .k = s->k, .ld = s->ld, .codes = s->a, .scale = s->a_scale, .zero = s->zero};
    const size_t work = rs_int_gemm_work(by, &w, s->a_bits, s->m), total = s->m * s->spans * s->n, ldy = s->n + 1;
    char label[128];
    snprintf(label, sizeof label, "%s, %d threads, W%uA%u, %zu x %zu x %zu, groups of %zu", by->name, rs_threads_get(), s->w_bits, s->a_bits, s->m, s->n, s->k, s->group);
    if (!CHECKF(work != 0, "%s: refused", label))
        return;
    uint8_t *scratch = take(work, 1);
    int32_t *sums = take(total, sizeof *sums);
    float *y = take(2 * s->m * ldy, sizeof *y), *z = y + s->m * ldy;
    size_t wrong = 0;
    memset(scratch, 0xa5, work);
    memset(sums, 0xa5, total * sizeof *sums);
    scratch[work] = 77;
    for (size_t i = 0; i < s->n * s->k; i++)
        wrong += rs_int_weights_code(&w, i / s->k, i % s->k) != s->codes[i];
    CHECKF(wrong == 0, "%s: %zu codes differ", label, wrong);
    rs_int_gemm_sums(by, &w, &a, sums, scratch);
    CHECKF(memcmp(sums, s->sums, total * sizeof *sums) == 0 && sums[total] == 0, "%s: sums differ", label);
    for (size_t i = 0; i < 2 * s->m * ldy; i++)
        y[i] = 123;
    rs_int_gemm(by, 2, (const rs_int_product[]){{&w, y, ldy, add}, {&w, z, ldy, !add}}, &a, scratch);
    wrong = 0;
    for (size_t i = 0; i < 2 * s->m * ldy; i++) {
        const size_t r = i / ldy % s->m;
        const float x = i % ldy < s->n ? result(s, r, i % ldy) : 0, want = i % ldy == s->n ? 123 : add == (i < s->m * ldy) ? 123 + x : x;
        wrong += memcmp(&y[i], &want, sizeof want) != 0;
    }
    CHECKF(wrong == 0, "%s: %zu results differ", label, wrong);
    CHECKF(scratch[work] == 77, "%s: wrote beyond its memory", label);
    free(scales_16);
    free(scratch);
    free(sums);
    free(y);
}

static void every_variant(unsigned w_bits, unsigned a_bits, size_t m, size_t n, size_t k, size_t group, enum fill fill)
{
    struct sample s = sample(w_bits, a_bits, m, n, k, group, fill);
    for (size_t i = 0; rs_int_at(i) != NULL; i++)
        compare(&s, rs_int_at(i), (m + k) % 2 != 0);
    drop(&s);
}

static void products(void)
{
    static const size_t shapes[][3] = {{1, 1, 1}, {1, 33, 7}, {2, 16, 64}, {5, 17, 33}, {7, 40, 130}, {13, 31, 1027}, {1, 100, 1100}, {50, 3, 19}};
    for (unsigned w = 2; w <= 8; w++)
        for (unsigned a = 2; a <= 8; a++) {
            for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
                every_variant(w, a, shapes[i][0], shapes[i][1], shapes[i][2], 0, NOISE);
            for (int fill = LOW; fill <= HIGH; fill++) {
                every_variant(w, a, 1, 17, 2053, 0, fill);
                every_variant(w, a, 7, 17, 1101, 0, fill);
            }
            every_variant(w, a, 7, 18, 96, 32, NOISE);
            every_variant(w, a, 1, 18, 96, 32, NOISE);
            every_variant(w, a, 3, 35, 35, 7, NOISE); // groups that are no multiple of a quad
        }
    every_variant(4, 4, 131, 290, 260, 0, NOISE); // several strips and pieces
    every_variant(8, 8, 131, 290, 260, 52, NOISE);
    every_variant(4, 8, 200, 40, 64, 64, NOISE);
    every_variant(4, 4, 1, 1500, 600, 0, NOISE);
    every_variant(4, 4, 40, 21, 5000, 0, HIGH);   // several chunks of columns, and bursts
    every_variant(3, 4, 1, 21, 4200, 600, NOISE);
    every_variant(8, 8, 2, 20, 65792, 0, LOW); // the longest sums: 255 * 128 * 65792 is just below 2^31
}

// ---- quantised rows

static void rows_of(const rs_int_kernels *by, unsigned bits, bool sym, float clip, rs_range range, size_t m, size_t k)
{
    const rs_quantizer q = {.bits = bits, .sym = sym, .clip = clip, .range = range};
    const size_t ldx = k + 2, ld = k + 1;
    float *x = take(m * ldx, sizeof *x), *values = take(m * ldx, sizeof *values);
    rs_int_rows a = {.bits = bits, .m = m, .k = k, .ld = ld, .codes = take(m * ld, 1), .scale = take(m, sizeof(float)), .zero = take(m, sizeof(int32_t))};
    memset(a.codes, 200, m * ld);
    for (size_t r = 0; r < m; r++) // signs mixed, all positive, all negative, zeros, far too small; then two bad rows
        for (size_t j = 0; j < ldx; j++) {
            const float u = (float)next() * 0x1p-23f - 1, size = ldexpf(1, (int)(r * 5 % 40) - 20);
            x[r * ldx + j] = r % 8 == 1 ? size * fabsf(u) : r % 8 == 2 ? -size * fabsf(u) : r % 8 == 3 ? 0 : r % 8 == 4 ? 1e-40f * u : size * u;
        }
    for (size_t r = 0; r < m && k > 1; r++)
        if (r % 8 == 5 || r % 8 == 6) {
            x[r * ldx] = r % 8 == 5 ? NAN : 3e38f;
            x[r * ldx + k - 1] = -3e38f;
        }
    memcpy(values, x, m * ldx * sizeof *x);
    const size_t want = rs_kernels_reference()->fake_quant(&q, m, k, values, ldx), bad = rs_int_quantise(by, &q, x, ldx, &a);
    size_t wrong = bad != want;
    for (size_t r = 0; r < m; r++) {
        const bool refused = k > 1 && (r % 8 == 5 || r % 8 == 6);
        wrong += a.codes[r * ld + k] != 200 || (refused && (a.scale[r] != 1 || a.zero[r] != 0)) || (range != RS_RANGE_FREE && (a.zero[r] < 0 || a.zero[r] >= 1 << bits));
        for (size_t j = 0; j < k; j++) {
            const float value = a.scale[r] * (float)(a.codes[r * ld + j] - a.zero[r]);
            wrong += a.codes[r * ld + j] >= 1u << bits || (refused ? a.codes[r * ld + j] != 0 : memcmp(&value, &values[r * ldx + j], sizeof value) != 0);
        }
    }
    CHECKF(wrong == 0, "%s: %u bits%s, range %d, clip %g, %zu rows of %zu: %zu wrong", by->name, bits, sym ? " symmetric" : "", (int)range, (double)clip, m, k, wrong);
    free(x);
    free(values);
    free(a.codes);
    free(a.scale);
    free(a.zero);
}

static void quantised(void)
{
    for (size_t i = 0; rs_int_at(i) != NULL; i++)
        for (unsigned bits = 2; bits <= 8; bits++)
            for (int kind = 0; kind < 8; kind++) {
                const bool sym = kind % 2;
                const float clip = kind / 2 % 2 ? 0.9f : 1;
                const rs_range range = kind < 4 ? RS_RANGE_ZERO : sym ? RS_RANGE_HALF : RS_RANGE_FREE;
                rows_of(rs_int_at(i), bits, sym, clip, range, 17, 1);
                rows_of(rs_int_at(i), bits, sym, clip, range, 9, 37);
                rows_of(rs_int_at(i), bits, sym, clip, range, 70, 1000);
            }
}

// ---- what is refused

static size_t work_of(const rs_int_kernels *by, unsigned bits, size_t n, size_t k, size_t group, unsigned a_bits, size_t m)
{
    return rs_int_gemm_work(by, &(rs_int_weights){.bits = bits, .n = n, .k = k, .group = group}, a_bits, m);
}

static void refusals(void)
{
    for (size_t i = 0; rs_int_at(i) != NULL; i++) {
        const rs_int_kernels *by = rs_int_at(i);
        const struct {
            unsigned bits;
            size_t n, k, group;
        } bad[] = {{1, 4, 4, 0}, {9, 4, 4, 0}, {4, 0, 4, 0}, {4, 4, 0, 0}, {4, 4, 10, 3}, {4, 4, 10, 11}, {4, SIZE_MAX, 64, 0}, {8, SIZE_MAX / 4, 64, 32}, {4, 1, (1 << 24) + 1, 0}};
        for (size_t j = 0; j < sizeof bad / sizeof *bad; j++)
            CHECKF(work_of(by, bad[j].bits, bad[j].n, bad[j].k, bad[j].group, 4, 1) == 0, "%s: weights %zu are not refused", by->name, j);
        CHECKF(work_of(by, 8, 1, 65793, 0, 8, 1) != 0 && work_of(by, 8, 1, 65794, 0, 8, 1) == 0, "%s: length of sums", by->name);
        CHECKF(work_of(by, 4, 8, 64, 0, 1, 1) == 0 && work_of(by, 4, 8, 64, 0, 9, 1) == 0, "%s: bits of activations", by->name);
        CHECKF(work_of(by, 4, 8, 64, 0, 4, SIZE_MAX / 8) == 0, "%s: too many rows", by->name);
    }
}

int main(void)
{
    for (int threads = 1; threads <= 3; threads += 2) {
        rs_threads_set(threads);
        products();
        quantised();
    }
    refusals();
    CHECK(rs_int_at(0) == rs_int_reference() && rs_int_cpu() != NULL);
    return check_report();
}
