// SPDX-License-Identifier: Apache-2.0
// Builds Hadamard matrices (conventions: formats/FORMAT.md, section 8) and applies them in fp64.
#include "kernels/hadamard.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/threads.h"

enum { MAX_N = 1 << 24, MAX_K = 4096, MAX_E = 8, LANES = 16, LARGE_K = 64 };

// GF(p^e); element t has digits c_0 c_1 .. base p, the coefficients of a polynomial; low[i] is the coefficient of X^i of the monic modulus.
struct field {
    unsigned p, e, q, low[MAX_E];
};

static void digits(const struct field *F, unsigned t, unsigned *c)
{
    for (unsigned i = 0; i < F->e; i++, t /= F->p)
        c[i] = t % F->p;
}

// True if the monic polynomial with coefficients g[0..dg-1] divides the modulus.
static bool divides(const struct field *F, const unsigned *g, unsigned dg)
{
    unsigned rest[MAX_E + 1];
    memcpy(rest, F->low, F->e * sizeof *rest);
    rest[F->e] = 1;
    for (unsigned top = F->e; top >= dg; top--) {
        unsigned c = rest[top];
        for (unsigned i = 0; i < dg; i++)
            rest[top - dg + i] = (rest[top - dg + i] + (F->p - c) * g[i]) % F->p;
        rest[top] = 0;
    }
    for (unsigned i = 0; i < dg; i++)
        if (rest[i] != 0)
            return false;
    return true;
}

static bool irreducible(const struct field *F)
{
    for (unsigned dg = 1, count = F->p; 2 * dg <= F->e; dg++, count *= F->p)
        for (unsigned t = 0; t < count; t++) {
            unsigned g[MAX_E] = {0};
            digits(F, t, g);
            if (divides(F, g, dg))
                return false;
        }
    return true;
}

// Finds p and e with q = p^e and the irreducible modulus of smallest number; false if q is no odd prime power.
static bool field_of(struct field *F, size_t q)
{
    memset(F, 0, sizeof *F);
    if (q < 3 || q % 2 == 0)
        return false;
    unsigned p = 3, rest = (unsigned)q;
    while (p * p <= q && q % p != 0)
        p += 2;
    F->p = q % p == 0 ? p : (unsigned)q;
    for (; rest % F->p == 0; rest /= F->p)
        F->e++;
    F->q = (unsigned)q;
    if (rest != 1)
        return false;
    for (unsigned t = 0; t < F->q; t++) {
        digits(F, t, F->low);
        if (irreducible(F))
            return true;
    }
    return false;
}

static unsigned square(const struct field *F, unsigned t)
{
    unsigned c[MAX_E], s[2 * MAX_E] = {0}, out = 0;
    digits(F, t, c);
    for (unsigned i = 0; i < F->e; i++)
        for (unsigned j = 0; j < F->e; j++)
            s[i + j] = (s[i + j] + c[i] * c[j]) % F->p;
    for (unsigned top = 2 * F->e - 2; top >= F->e; top--)
        for (unsigned i = 0; i < F->e; i++)
            s[top - F->e + i] = (s[top - F->e + i] + (F->p - F->low[i]) * s[top]) % F->p;
    for (unsigned i = F->e; i-- > 0;)
        out = out * F->p + s[i];
    return out;
}

// chi[t]: the quadratic character of each element.
static void characters(const struct field *F, int8_t *chi)
{
    memset(chi, -1, F->q);
    for (unsigned t = 0; t < F->q; t++)
        chi[square(F, t)] = 1;
    chi[0] = 0;
}

static unsigned difference(const struct field *F, unsigned a, unsigned b)
{
    unsigned out = 0, place = 1;
    for (unsigned i = 0; i < F->e; i++, place *= F->p, a /= F->p, b /= F->p)
        out += place * ((a % F->p + F->p - b % F->p) % F->p);
    return out;
}

static void paley1(const struct field *F, const int8_t *chi, int8_t *out)
{
    const size_t k = F->q + 1;
    for (unsigned a = 0; a < k; a++)
        for (unsigned b = 0; b < k; b++)
            out[a * k + b] = a == b || a == 0 ? 1 : b == 0 ? -1 : chi[difference(F, a - 1, b - 1)];
}

static void paley2(const struct field *F, const int8_t *chi, int8_t *out)
{
    const size_t m = F->q + 1, k = 2 * m;
    for (unsigned a = 0; a < m; a++)
        for (unsigned b = 0; b < m; b++) {
            const int8_t c = a == 0 || b == 0 ? 1 : chi[difference(F, a - 1, b - 1)];
            const int8_t block[4] = {a == b ? 1 : c, a == b ? -1 : c, a == b ? -1 : c, (int8_t)(a == b ? -1 : -c)};
            memcpy(out + 2 * a * k + 2 * b, block, 2);
            memcpy(out + (2 * a + 1) * k + 2 * b, block + 2, 2);
        }
}

// q of the field that build needs for order k; 0 if the congruence fails.
static size_t order_of_field(size_t k, rs_hadamard_build build)
{
    if (build == RS_HADAMARD_PALEY1)
        return k % 4 == 0 ? k - 1 : 0;
    return k % 8 == 4 ? k / 2 - 1 : 0;
}

// Smallest base for a block; false if no construction reaches it.
static bool find_base(size_t block, size_t *k, rs_hadamard_build *build)
{
    struct field F;
    size_t odd = block;
    while (odd % 2 == 0)
        odd /= 2;
    *k = 1;
    *build = RS_HADAMARD_SYLVESTER;
    if (odd == 1)
        return true;
    for (*k = odd * 4; block % *k == 0 && *k <= MAX_K; *k *= 2) {
        *build = RS_HADAMARD_PALEY1;
        if (field_of(&F, order_of_field(*k, *build)))
            return true;
        *build = RS_HADAMARD_PALEY2;
        if (field_of(&F, order_of_field(*k, *build)))
            return true;
    }
    return false;
}

rs_hadamard *rs_hadamard_new(size_t n)
{
    if (n == 0 || n > MAX_N)
        return NULL;
    for (size_t parts = 1;; parts++) {
        size_t k;
        rs_hadamard_build build;
        if (n % parts == 0 && find_base(n / parts, &k, &build))
            return rs_hadamard_new_form(n, n / parts, k, build);
    }
}

rs_hadamard *rs_hadamard_new_form(size_t n, size_t block, size_t k, rs_hadamard_build build)
{
    struct field F = {0};
    if (n == 0 || n > MAX_N || block == 0 || n % block != 0 || k == 0 || k > MAX_K || block % k != 0)
        return NULL;
    const size_t pow2 = block / k;
    if ((pow2 & (pow2 - 1)) != 0)
        return NULL;
    if (build == RS_HADAMARD_SYLVESTER ? k != 1 : (build != RS_HADAMARD_PALEY1 && build != RS_HADAMARD_PALEY2) || !field_of(&F, order_of_field(k, build)))
        return NULL;
    rs_hadamard *H = malloc(sizeof *H);
    int8_t *signs = malloc(k * k), *chi = malloc(F.q + 1);
    float *columns = malloc(k * k * sizeof *columns);
    if (H == NULL || signs == NULL || chi == NULL || columns == NULL) {
        free(H);
        free(signs);
        free(chi);
        free(columns);
        return NULL;
    }
    signs[0] = 1;
    if (build != RS_HADAMARD_SYLVESTER) {
        characters(&F, chi);
        (build == RS_HADAMARD_PALEY1 ? paley1 : paley2)(&F, chi, signs);
    }
    free(chi);
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < k; j++)
            columns[j * k + i] = signs[i * k + j];
    *H = (rs_hadamard){.n = n, .block = block, .k = k, .pow2 = pow2, .build = build, .signs = signs, .columns = columns, .scale = 1 / sqrt((double)block)};
    return H;
}

void rs_hadamard_free(rs_hadamard *H)
{
    if (H == NULL)
        return;
    free((void *)(uintptr_t)H->signs);
    free((void *)(uintptr_t)H->columns);
    free(H);
}

void rs_hadamard_dense(const rs_hadamard *H, double *out)
{
    for (size_t i = 0; i < H->block; i++)
        for (size_t j = 0; j < H->block; j++) {
            const int sign = H->signs[i / H->pow2 * H->k + j / H->pow2] * (__builtin_parityll(i % H->pow2 & j % H->pow2) ? -1 : 1);
            out[i * H->block + j] = sign * H->scale;
        }
}

#define INLINE static inline __attribute__((always_inline))

// Two steps at a time where there are two: the same sums, half the loads.
INLINE void sylvester(size_t n, double *x)
{
    size_t half = 1;
    for (; 4 * half <= n; half *= 4)
        for (size_t i = 0; i < n; i += 4 * half)
            for (size_t j = i; j < i + half; j++) {
                const double a = x[j] + x[j + half], b = x[j] - x[j + half], c = x[j + 2 * half] + x[j + 3 * half], d = x[j + 2 * half] - x[j + 3 * half];
                x[j] = a + c;
                x[j + half] = b + d;
                x[j + 2 * half] = a - c;
                x[j + 3 * half] = b - d;
            }
    if (half < n)
        for (size_t j = 0; j < half; j++) {
            const double a = x[j], b = x[j + half];
            x[j] = a + b;
            x[j + half] = a - b;
        }
}

// x [k, pow2]: every column times the base (wide: as fp64 for dgemm, k x k, by output; NULL: add and subtract), LANES columns at a time, and times scale.
INLINE void base(const rs_hadamard *H, const double *wide, double *x, bool transpose)
{
    const size_t k = H->k, step = transpose ? 1 : k, start = transpose ? k : 1;
    double in[MAX_K][LANES];
    for (size_t c = 0; c < H->pow2; c += LANES) {
        const size_t width = H->pow2 - c < LANES ? H->pow2 - c : LANES;
        memset(in, 0, k * sizeof *in);
        for (size_t i = 0; i < k; i++)
            memcpy(in[i], x + i * H->pow2 + c, width * sizeof(double));
        if (wide != NULL) {
            cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)k, (int)width, (int)k, H->scale, wide, (int)k, in[0], LANES, 0, x + c, (int)H->pow2);
            continue;
        }
        for (size_t j = 0; j < k; j++) {
            const int8_t *sign = H->signs + j * start;
            double sum[LANES] = {0};
            for (size_t i = 0; i < k; i++)
                for (size_t l = 0; l < LANES; l++)
                    sum[l] += sign[i * step] * in[i][l];
            for (size_t l = 0; l < width; l++)
                x[j * H->pow2 + c + l] = sum[l] * H->scale;
        }
    }
}

INLINE void row_body(const rs_hadamard *H, const double *wide, double *x, bool transpose)
{
    for (double *end = x + H->n; x < end; x += H->block) {
        for (size_t i = 0; i < H->k; i++)
            sylvester(H->pow2, x + i * H->pow2);
        base(H, wide, x, transpose);
    }
}

// One body compiled for wider vectors too. No sums change their order, so that all give the same bits.
typedef void row_function(const rs_hadamard *H, const double *wide, double *x, bool transpose);
static void row_plain(const rs_hadamard *H, const double *wide, double *x, bool transpose)
{
    row_body(H, wide, x, transpose);
}
#if defined(__x86_64__)
__attribute__((target("avx2"))) static void row_avx2(const rs_hadamard *H, const double *wide, double *x, bool transpose)
{
    row_body(H, wide, x, transpose);
}
__attribute__((target("avx512f,avx512dq,avx512vl"))) static void row_avx512(const rs_hadamard *H, const double *wide, double *x, bool transpose)
{
    row_body(H, wide, x, transpose);
}
#endif

static row_function *widest(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return row_avx512;
    if (__builtin_cpu_supports("avx2"))
        return row_avx2;
#endif
    return row_plain;
}

struct apply {
    const rs_hadamard *H;
    row_function *row;
    const double *wide;
    double *x;
    size_t ld;
    bool transpose;
};

static void apply_row(void *context, size_t i)
{
    const struct apply *a = context;
    a->row(a->H, a->wide, a->x + i * a->ld, a->transpose);
}

void rs_hadamard_apply_f64(const rs_hadamard *H, size_t rows, double *x, size_t ld, bool transpose)
{
    struct apply a = {.H = H, .row = widest(), .x = x, .ld = ld, .transpose = transpose};
    const size_t k = H->k;
    double *wide = k >= LARGE_K && rows > 1 ? malloc(k * k * sizeof *wide) : NULL; // without memory the slow way serves
    for (size_t i = 0; wide != NULL && i < k; i++)
        for (size_t j = 0; j < k; j++)
            wide[transpose ? i * k + j : j * k + i] = H->signs[i * k + j];
    a.wide = wide;
    rs_threads_for(rows, apply_row, &a);
    free(wide);
}
