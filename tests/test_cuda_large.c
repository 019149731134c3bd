// SPDX-License-Identifier: Apache-2.0
// Operations on more than 2^32 numbers, or 2^31 where the device has less memory: results at both ends and where 32 bits end, against the plain C reference. On the emulated device the same with some
// thousands of numbers, which shows that the test is right.
#include "kernels/cuda/blas.h"
#include "kernels/int_gemm.h"
#include "tests/check.h"
#include "tests/cuda/emulate.h"
#include "tests/noise.h"

enum { PERIOD = 8191, LOOK = 1024 }; // numbers repeat after so many, a prime; results that are looked at in one place

static const rs_kernels *cuda, *plain;
static const rs_memory *memory;
static size_t K = 4096, n; // numbers of a row; of an array
static float *pattern, *x, *y;
static uint16_t *half;

static void settled(const char *what)
{
    const char *fault;
    const size_t refused = memory->settle(&fault);
    CHECKF(fault == NULL && refused == 0, "%s: %s, %zu rows refused", what, fault, refused);
}

// The pattern from number i on; all the array there.
static void here(size_t i, size_t count, float *out)
{
    for (size_t j = 0; j < count; j++)
        out[j] = pattern[(i + j) % PERIOD];
}

static void there(float *to)
{
    memory->put(to, pattern, PERIOD * sizeof *to);
    for (size_t have = PERIOD; have < n; have *= 2)
        memory->move(to + have, to, (n - have < have ? n - have : have) * sizeof *to);
}

// Calls look(i) for places that are LOOK numbers long: the ends, and around numbers and bytes 2^31 and 2^32.
typedef void look_fn(size_t i);
static void places(look_fn *look)
{
    static const size_t ends[] = {(size_t)1 << 29, (size_t)1 << 30, (size_t)1 << 31, (size_t)1 << 32};
    look(0);
    look(n - LOOK);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends[i] + LOOK <= n)
            look(ends[i] - LOOK / 2);
}

static float a[LOOK], b[LOOK], got[LOOK];

static void same(const char *what, size_t i, const float *from, const float *want)
{
    memory->get(got, from + i, sizeof got);
    CHECKF(memcmp(got, want, sizeof got) == 0, "%s: other numbers from %zu on", what, i);
}

static void look_add(size_t i)
{
    here(i, LOOK, a);
    for (size_t j = 0; j < LOOK; j++)
        a[j] += a[j];
    same("add", i, y, a);
}

static void look_gate(size_t i)
{
    double worst = 0;
    here(i, LOOK, a);
    plain->silu_gate(LOOK, a, a, b);
    memory->get(got, y + i, sizeof got);
    for (size_t j = 0; j < LOOK; j++)
        worst = worse(worst, fabs((double)got[j] - (double)b[j]) / (fabs((double)b[j]) + 1e-30));
    CHECKF(worst <= 6e-7, "silu_gate: off by %g from %zu on", worst, i);
}

static void look_halves(size_t i)
{
    uint16_t h[LOOK], of[LOOK];
    here(i, LOOK, a);
    plain->f32_to_bf16(LOOK, a, of);
    memory->get(h, half + i, sizeof h);
    CHECKF(memcmp(h, of, sizeof h) == 0, "to bf16: other numbers from %zu on", i);
    plain->bf16_to_f32(LOOK, of, b);
    same("from bf16", i, y, b);
}

static void flat(void)
{
    there(y);
    cuda->add(n, x, y);
    settled("add");
    places(look_add);
    cuda->silu_gate(n, x, x, y);
    settled("silu_gate");
    places(look_gate);
    cuda->f32_to_bf16(n, x, half);
    memory->zero(y, n * sizeof *y);
    cuda->bf16_to_f32(n, half, y);
    settled("conversions");
    places(look_halves);
}

// ---- rows of K numbers

static const rs_quantizer q4 = {.bits = 4, .clip = 1}, q8 = {.bits = 8, .clip = 1};
static rs_hadamard *H;

// Row r of y is what it should be; codes, where not NULL, too.
static void look_rows(const char *what, size_t first, size_t count, bool rotated, const rs_int_rows *rows)
{
    float *row = take(2 * K, sizeof *row);
    uint8_t *codes = take(2 * K, 1);
    for (size_t r = first; r < first + count; r++) {
        float scale, scale_there;
        int32_t zero, zero_there;
        here(r * K, K, row);
        if (rotated)
            plain->hadamard(H, 1, row, K, false);
        if (rows != NULL) {
            const rs_int_rows want = {.bits = rows->bits, .m = 1, .k = K, .ld = K, .codes = codes, .scale = &scale, .zero = &zero};
            (void)rs_int_quantise(rs_int_reference(), &q8, row, K, &want);
            memory->get(codes + K, rows->codes + r * K, K);
            memory->get(&scale_there, rows->scale + r, sizeof scale);
            memory->get(&zero_there, rows->zero + r, sizeof zero);
            CHECKF(memcmp(codes, codes + K, K) == 0 && scale == scale_there && zero == zero_there, "%s: row %zu has other codes", what, r);
            continue;
        }
        if (!rotated)
            (void)!plain->fake_quant(&q4, 1, K, row, K);
        memory->get(row + K, y + r * K, K * sizeof *row);
        CHECKF(memcmp(row, row + K, K * sizeof *row) == 0, "%s: row %zu differs", what, r);
    }
    free(row), free(codes);
}

static void ends_of_rows(const char *what, bool rotated, const rs_int_rows *rows)
{
    const size_t B = n / K;
    settled(what);
    look_rows(what, 0, 2, rotated, rows);
    look_rows(what, B / 2, 2, rotated, rows);
    look_rows(what, B - 2, 2, rotated, rows);
}

static void by_rows(void)
{
    const size_t B = n / K;
    there(y);
    (void)cuda->fake_quant(&q4, B, K, y, K);
    ends_of_rows("fake_quant", false, NULL);
    there(y);
    cuda->hadamard(H, B, y, K, false);
    ends_of_rows("hadamard", true, NULL);
}

// ---- products with so many codes: of activations, of weights; and with so many numbers

static void integers(void)
{
    const size_t m = n / K, many = LOOK;
    uint8_t *codes = memory->alloc(n);
    float *scale = memory->alloc(m * sizeof *scale), *results = memory->alloc(m * 8 * sizeof *results);
    int32_t *zero = memory->alloc(m * sizeof *zero);
    if (codes == NULL || scale == NULL || results == NULL || zero == NULL) {
        SKIP("no memory for so many codes");
    } else {
        const rs_int_rows rows = {.bits = 8, .m = m, .k = K, .ld = K, .codes = codes, .scale = scale, .zero = zero};
        (void)rs_int_quantise(rs_int_cuda(), &q8, x, K, &rows);
        ends_of_rows("codes", false, &rows);
        // eight outputs of weights that are rows of codes, too, read as signed; scales those of rows, sums made here
        uint8_t *few = take(8 * K + many * K, 1), *last = few + 8 * K;
        float *scales = take(m, sizeof *scales), *want = take(many * 8, sizeof *want), *have = take(many * 8, sizeof *have);
        int32_t *zeros = take(m, sizeof *zeros), *sums = take(m, sizeof *sums);
        memory->get(few, codes, 8 * K);
        memory->get(last, codes + (m - many) * K, many * K);
        memory->get(scales, scale, m * sizeof *scales);
        memory->get(zeros, zero, m * sizeof *zeros);
        memset(sums, 0, m * sizeof *sums);
        int32_t *sums_there = memory->alloc(m * sizeof *sums);
        memory->zero(sums_there, m * sizeof *sums);
        const rs_int_weights w = {.bits = 8, .n = 8, .k = K, .codes = few, .scales = scales, .sums = sums}, dw = {.bits = 8, .n = 8, .k = K, .codes = codes, .scales = scale, .sums = sums_there};
        const rs_int_rows end = {.bits = 8, .m = many, .k = K, .ld = K, .codes = last, .scale = scales + m - many, .zero = zeros + m - many};
        void *work = take(rs_int_gemm_work(rs_int_cpu(), &w, 8, many), 1);
        rs_int_gemm(rs_int_cpu(), 1, &(rs_int_product){.w = &w, .y = want, .ldy = 8}, &end, work);
        for (size_t v = 0; v < 3; v++) { // many rows
            const rs_int_kernels *by = v < 2 ? rs_int_cuda_at(v) : rs_int_cuda();
            rs_int_gemm(by, 1, &(rs_int_product){.w = &dw, .y = results, .ldy = 8}, &rows, NULL);
            memory->get(have, results + (m - many) * 8, many * 8 * sizeof *have);
            CHECKF(memcmp(want, have, many * 8 * sizeof *have) == 0, "%s: %zu rows: the last differ", rs_int_name(by), m);
        }
        free(work);
        // many outputs, one row
        const rs_int_weights lines = {.bits = 8, .n = many, .k = K, .codes = last, .scales = scales + m - many, .sums = sums}, dlines = {.bits = 8, .n = m, .k = K, .codes = codes, .scales = scale, .sums = sums_there};
        const rs_int_rows one = {.bits = 8, .m = 1, .k = K, .ld = K, .codes = few, .scale = scales, .zero = zeros}, done = {.bits = 8, .m = 1, .k = K, .ld = K, .codes = codes, .scale = scale, .zero = zero};
        work = take(rs_int_gemm_work(rs_int_cpu(), &lines, 8, 1), 1);
        rs_int_gemm(rs_int_cpu(), 1, &(rs_int_product){.w = &lines, .y = want, .ldy = many}, &one, work);
        for (size_t v = 0; v < 3; v++) {
            const rs_int_kernels *by = v < 2 ? rs_int_cuda_at(v) : rs_int_cuda();
            rs_int_gemm(by, 1, &(rs_int_product){.w = &dlines, .y = results, .ldy = m}, &done, NULL);
            memory->get(have, results + m - many, many * sizeof *have);
            CHECKF(memcmp(want, have, many * sizeof *have) == 0, "%s: %zu outputs: the last differ", rs_int_name(by), m);
        }
        settled("integer products");
        memory->release(sums_there);
        free(work), free(few), free(scales), free(want), free(have), free(zeros), free(sums);
    }
    memory->release(codes), memory->release(scale), memory->release(results), memory->release(zero);
}

// y[2, n / K] from the first two rows and all rows: the last results against sums in fp64.
static void dense(void)
{
    const size_t m = n / K;
    float *row = take(3 * K, sizeof *row), *results = take(2 * LOOK, sizeof *results);
    here(0, 2 * K, row);
    cuda->f32_to_bf16(n, x, half);
    for (int kind = 0; kind < 4; kind++) { // own tiles and cuBLAS, f32 and bf16
        const bool bf16 = kind % 2 != 0;
        rs_blas_use(kind >= 2);
        if (bf16)
            cuda->gemm_half(true, 2, m, K, x, K, half, K, 0, y, m);
        else
            cuda->gemm_nt(2, m, K, x, K, x, K, 0, y, m);
        settled("dense products");
        memory->get(results, y + m - LOOK, LOOK * sizeof *results);
        memory->get(results + LOOK, y + 2 * m - LOOK, LOOK * sizeof *results);
        double worst = 0;
        for (size_t j = 0; j < LOOK; j += 31) {
            here((m - LOOK + j) * K, K, row + 2 * K);
            for (size_t i = 0; i < 2; i++) {
                double sum = 0, size = 0;
                for (size_t l = 0; l < K; l++) {
                    uint16_t h;
                    float v = row[2 * K + l];
                    if (bf16) {
                        plain->f32_to_bf16(1, &v, &h);
                        plain->bf16_to_f32(1, &h, &v);
                    }
                    sum += (double)row[i * K + l] * (double)v;
                    size += fabs((double)row[i * K + l] * (double)v);
                }
                worst = worse(worst, fabs((double)results[i * LOOK + j] - sum) / size);
            }
        }
        CHECKF(worst <= 2e-6, "%s, %s: off by %g", bf16 ? "gemm_half" : "gemm_nt", kind >= 2 ? rs_blas_name() : "own tiles", worst);
    }
    rs_blas_use(true);
    free(row), free(results);
}

// All arrays of `count` numbers; false: no memory.
static bool open_arrays(size_t count)
{
    n = count;
    x = memory->alloc(n * sizeof *x), y = memory->alloc(n * sizeof *y), half = memory->alloc(n * sizeof *half);
    if (x != NULL && y != NULL && half != NULL)
        return true;
    memory->release(x), memory->release(y), memory->release(half);
    return false;
}

int main(void)
{
    cuda = rs_kernels_cuda(), plain = rs_kernels_reference();
    if (cuda == NULL) {
        printf("SKIP numbers beyond 2^31: %s\n", rs_kernels_cuda_reason());
        check_skipped++;
        return check_report();
    }
    memory = cuda->memory;
    if (rs_trial_emulated())
        K = 128;
    if (rs_trial_emulated() ? !open_arrays(K * (LOOK + 40)) : !open_arrays(((size_t)1 << 32) + 1024 * K) && !open_arrays(((size_t)1 << 31) + 1024 * K)) {
        SKIP("no memory for 2^31 numbers");
        return check_report();
    }
    pattern = noise(PERIOD);
    H = rs_hadamard_new(K);
    if (H == NULL)
        return 1;
    there(x);
    flat();
    by_rows();
    integers();
    dense();
    memory->release(x), memory->release(y), memory->release(half);
    rs_hadamard_free(H);
    free(pattern);
    return check_report();
}
