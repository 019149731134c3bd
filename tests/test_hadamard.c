// SPDX-License-Identifier: Apache-2.0
// Hadamard matrices: H H^T = n I in integers, the signs that FORMAT.md fixes, the choice of base, and fast application against the dense matrix.
#include "kernels/hadamard.h"

#include <math.h>
#include <xxhash.h>

#include "kernels/cpu/ops.h"
#include "kernels/threads.h"
#include "tests/check.h"

static void is_hadamard(const rs_hadamard *H)
{
    const size_t k = H->k;
    for (size_t a = 0; a < k; a++)
        for (size_t b = 0; b <= a; b++) {
            int sum = 0;
            for (size_t i = 0; i < k; i++)
                sum += H->signs[a * k + i] * H->signs[b * k + i];
            if (sum != (a == b ? (int)k : 0)) {
                CHECKF(false, "base %zu: rows %zu and %zu have product %d", k, a, b, sum);
                return;
            }
        }
    CHECKF(H->k * H->pow2 == H->block && H->n % H->block == 0 && H->scale == 1 / sqrt((double)H->block), "form of %zu", H->n);
}

// The size, and the block, base and build that must be chosen for it.
static const struct choice {
    size_t n, block, k;
    rs_hadamard_build build;
} choices[] = {
    {1, 1, 1, RS_HADAMARD_SYLVESTER},         {2, 2, 1, RS_HADAMARD_SYLVESTER},          {3, 1, 1, RS_HADAMARD_SYLVESTER},          {4, 4, 1, RS_HADAMARD_SYLVESTER},
    {6, 2, 1, RS_HADAMARD_SYLVESTER},         {12, 12, 12, RS_HADAMARD_PALEY1},          {20, 20, 20, RS_HADAMARD_PALEY1},          {28, 28, 28, RS_HADAMARD_PALEY1},
    {32, 32, 1, RS_HADAMARD_SYLVESTER},       {36, 36, 36, RS_HADAMARD_PALEY2},          {52, 52, 52, RS_HADAMARD_PALEY2},          {64, 64, 1, RS_HADAMARD_SYLVESTER},
    {192, 192, 12, RS_HADAMARD_PALEY1},       {448, 448, 28, RS_HADAMARD_PALEY1},        {576, 576, 36, RS_HADAMARD_PALEY2},        {896, 896, 28, RS_HADAMARD_PALEY1},
    {1536, 1536, 12, RS_HADAMARD_PALEY1},     {2880, 2880, 180, RS_HADAMARD_PALEY1},     {3072, 3072, 12, RS_HADAMARD_PALEY1},      {4864, 4864, 76, RS_HADAMARD_PALEY2},
    {5120, 5120, 20, RS_HADAMARD_PALEY1},     {8960, 8960, 140, RS_HADAMARD_PALEY1},     {9728, 9728, 76, RS_HADAMARD_PALEY2},      {10944, 10944, 684, RS_HADAMARD_PALEY1},
    {11008, 11008, 344, RS_HADAMARD_PALEY1},  {13696, 128, 1, RS_HADAMARD_SYLVESTER},    {13824, 13824, 108, RS_HADAMARD_PALEY1},   {14336, 14336, 28, RS_HADAMARD_PALEY1},
    {17408, 17408, 68, RS_HADAMARD_PALEY1},   {18944, 18944, 148, RS_HADAMARD_PALEY2},    {25600, 25600, 100, RS_HADAMARD_PALEY2},   {27648, 27648, 108, RS_HADAMARD_PALEY1},
    {28672, 28672, 28, RS_HADAMARD_PALEY1},   {29568, 29568, 924, RS_HADAMARD_PALEY2},   {1 << 24, 1 << 24, 1, RS_HADAMARD_SYLVESTER},
};

static void sizes(void)
{
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        const struct choice *c = &choices[i];
        rs_hadamard *H = rs_hadamard_new(c->n);
        if (CHECKF(H != NULL && H->n == c->n && H->block == c->block && H->k == c->k && H->build == c->build, "%zu: block %zu, base %zu", c->n, H ? H->block : 0, H ? H->k : 0))
            is_hadamard(H);
        rs_hadamard_free(H);
    }
    CHECK(rs_hadamard_new(0) == NULL && rs_hadamard_new((1 << 24) + 1) == NULL);
    rs_hadamard_free(NULL);
}

// Every order up to 400 that a build reaches; the count of them, known from the list of prime powers.
static void every_base(void)
{
    size_t reached[2] = {0};
    for (size_t k = 1; k <= 400; k++)
        for (int build = RS_HADAMARD_PALEY1; build <= RS_HADAMARD_PALEY2; build++) {
            rs_hadamard *H = rs_hadamard_new_form(k, k, k, (rs_hadamard_build)build);
            if (H != NULL) {
                is_hadamard(H);
                reached[build - RS_HADAMARD_PALEY1]++;
            }
            rs_hadamard_free(H);
        }
    size_t wanted[2] = {0};
    for (size_t q = 3; q < 400; q += 2) {
        size_t p = 3, rest = q;
        while (q % p != 0)
            p += 2;
        while (rest % p == 0)
            rest /= p;
        if (rest == 1) {
            wanted[0] += q % 4 == 3;
            wanted[1] += q % 4 == 1 && 2 * (q + 1) <= 400;
        }
    }
    CHECKF(reached[0] == wanted[0] && reached[1] == wanted[1], "reached %zu and %zu orders, not %zu and %zu", reached[0], reached[1], wanted[0], wanted[1]);
}

static const struct {
    rs_hadamard_build build;
    size_t k;
    uint64_t sum;
} fixed[] = {
    {RS_HADAMARD_SYLVESTER, 1, 0xe12ef9d2eb86ceeb}, {RS_HADAMARD_PALEY1, 4, 0x5da474903061c0cf},   {RS_HADAMARD_PALEY1, 12, 0x821c2a95d11fc6ce},  {RS_HADAMARD_PALEY1, 20, 0xcfcb8549e212a904},
    {RS_HADAMARD_PALEY1, 28, 0xff831b7c3f6ff2c0},   {RS_HADAMARD_PALEY1, 68, 0x435d8f64dc558d2b},  {RS_HADAMARD_PALEY1, 108, 0xd1df1a1fd4b698e1}, {RS_HADAMARD_PALEY1, 140, 0xbe1578cffee09f85},
    {RS_HADAMARD_PALEY2, 12, 0xb29f2286face1932},   {RS_HADAMARD_PALEY2, 20, 0xc642b22d20ae5fcf},  {RS_HADAMARD_PALEY2, 28, 0xaefcbdb50b072130},  {RS_HADAMARD_PALEY2, 36, 0xe0a652e97cfe8ca8},
    {RS_HADAMARD_PALEY2, 52, 0xe8c944f8ae32e502},   {RS_HADAMARD_PALEY2, 100, 0xd45b0fb28daef35e}, {RS_HADAMARD_PALEY2, 148, 0x1493d26db62d9f40}, {RS_HADAMARD_PALEY2, 164, 0x0a94f78267902a67},
};

static void signs(void)
{
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        const size_t k = fixed[i].k;
        rs_hadamard *H = rs_hadamard_new_form(k, k, k, fixed[i].build);
        CHECKF(H != NULL && XXH3_64bits(H->signs, k * k) == fixed[i].sum, "signs of base %zu", k);
        rs_hadamard_free(H);
    }
}

static void forms(void)
{
    rs_hadamard *H = rs_hadamard_new_form(96, 48, 12, RS_HADAMARD_PALEY2);
    CHECK(H != NULL && H->pow2 == 4 && H->scale == 1 / sqrt(48.0));
    rs_hadamard_free(H);
    static const struct {
        size_t n, block, k;
        int build;
    } bad[] = {{0, 1, 1, RS_HADAMARD_SYLVESTER}, {8, 0, 1, RS_HADAMARD_SYLVESTER},  {8, 8, 0, RS_HADAMARD_SYLVESTER},  {8, 3, 1, RS_HADAMARD_SYLVESTER},   {12, 12, 1, RS_HADAMARD_SYLVESTER}, {4, 4, 4, RS_HADAMARD_SYLVESTER},
               {2, 2, 2, RS_HADAMARD_PALEY1},    {16, 16, 16, RS_HADAMARD_PALEY1},  {1, 1, 1, RS_HADAMARD_PALEY1},     {92, 92, 92, RS_HADAMARD_PALEY1},   {4, 4, 4, RS_HADAMARD_PALEY2},      {36, 36, 36, RS_HADAMARD_PALEY1},
               {24, 24, 24, RS_HADAMARD_PALEY2}, {36, 36, 12, RS_HADAMARD_PALEY1},  {24, 16, 12, RS_HADAMARD_PALEY1},  {12, 12, 12, 7},                    {4100, 4100, 4100, RS_HADAMARD_PALEY1}, {1 << 25, 1 << 24, 1, RS_HADAMARD_SYLVESTER}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECKF(rs_hadamard_new_form(bad[i].n, bad[i].block, bad[i].k, (rs_hadamard_build)bad[i].build) == NULL, "form %zu must be refused", i);
}

static double noise(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (double)*state / 4294967296.0 - 0.5;
}

// apply_f64 and every f32 table against x times the dense matrix, both ways; the transpose undoes.
static void application(size_t n, size_t block, size_t k, rs_hadamard_build build)
{
    rs_hadamard *H = block != 0 ? rs_hadamard_new_form(n, block, k, build) : rs_hadamard_new(n);
    if (!CHECKF(H != NULL, "size %zu", n))
        return;
    enum { ROWS = 3, PAD = 5 };
    const size_t ld = n + PAD, b = H->block;
    double *dense = malloc(b * b * sizeof *dense), *x = malloc(ROWS * ld * sizeof *x), *y = malloc(ROWS * ld * sizeof *y);
    float *f = malloc(ROWS * ld * sizeof *f);
    if (dense == NULL || x == NULL || y == NULL || f == NULL)
        exit(1);
    rs_hadamard_dense(H, dense);
    uint32_t state = (uint32_t)n;
    for (size_t i = 0; i < ROWS * ld; i++)
        x[i] = (float)noise(&state);
    for (int transpose = 0; transpose < 2; transpose++) {
        memcpy(y, x, ROWS * ld * sizeof *y);
        rs_hadamard_apply_f64(H, ROWS, y, ld, transpose);
        double worst = 0;
        for (size_t r = 0; r < ROWS; r++)
            for (size_t j = 0; j < n; j++) {
                double sum = 0;
                for (size_t i = 0; i < b; i++)
                    sum += x[r * ld + j / b * b + i] * dense[transpose ? j % b * b + i : i * b + j % b];
                worst = fmax(worst, fabs(sum - y[r * ld + j]));
            }
        CHECKF(worst < 1e-14 * sqrt((double)b), "size %zu%s: differs from the dense product by %g", n, transpose ? " transposed" : "", worst);
        for (size_t t = 0; rs_table_at(t) != NULL; t++) {
            for (size_t i = 0; i < ROWS * ld; i++)
                f[i] = (float)x[i];
            rs_table_at(t)->hadamard(H, ROWS, f, ld, transpose);
            double far = 0;
            bool kept = true;
            for (size_t r = 0; r < ROWS; r++)
                for (size_t j = 0; j < ld; j++)
                    if (j < n)
                        far = fmax(far, fabs((double)f[r * ld + j] - y[r * ld + j]));
                    else
                        kept = kept && f[r * ld + j] == (float)x[r * ld + j];
            CHECKF(far < 1e-6 && kept, "size %zu%s: %s is off by %g", n, transpose ? " transposed" : "", rs_table_at(t)->name, far);
        }
        rs_hadamard_apply_f64(H, ROWS, y, ld, !transpose);
        worst = 0;
        for (size_t i = 0; i < ROWS * ld; i++)
            worst = fmax(worst, fabs(x[i] - y[i]));
        CHECKF(worst < 1e-13, "size %zu: there and back differs by %g", n, worst);
    }
    free(dense);
    free(x);
    free(y);
    free(f);
    rs_hadamard_free(H);
}

int main(void)
{
    sizes();
    every_base();
    signs();
    forms();
    for (int threads = 1; threads <= 3; threads += 2) {
        rs_threads_set(threads);
        static const size_t n[] = {1, 2, 3, 4, 8, 12, 20, 24, 28, 64, 80, 96, 128, 192, 344, 448, 576, 608, 856, 1024, 1536, 1848};
        for (size_t i = 0; i < sizeof n / sizeof *n; i++)
            application(n[i], 0, 0, RS_HADAMARD_SYLVESTER);
        application(64, 16, 4, RS_HADAMARD_PALEY1);
        application(144, 72, 36, RS_HADAMARD_PALEY2);
        application(48, 8, 1, RS_HADAMARD_SYLVESTER);
    }
    return check_report();
}
