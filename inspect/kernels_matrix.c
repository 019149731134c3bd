// SPDX-License-Identifier: Apache-2.0
// One packed matrix by every variant of the integer kernels: codes, sums and results, of made-up and of real inputs, many rows at once and one alone.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/kernels_carry.h"
#include "inspect/kernels_inside.h"
#include "kernels/packed.h"
#include "kernels/threads.h"
#include "transforms/random.h"

enum { MADE_UP = 6 }; // rows: most, most and least, least; three of noise
static const char *const role_names[RS_KERNELS_ROLES] = {"q", "k", "v", "o", "gate", "up", "down"};

const char *rs_kernels_role_name(size_t role)
{
    return role_names[role];
}

typedef struct matrix {
    rs_kernels_state *s;
    rs_kernels_role *role;
    const char *name;
    const rs_int_weights *w;
    const rs_quantizer *q;
    size_t m, k, G, span;
    float *x, *fake;           // [m, k]
    rs_int_rows a, other;      // codes of the reference, and of another variant
    int32_t *want, *sums;      // [m, G, n]: by the definition, by a variant
    double *exact, *bound;     // [m, n]
    float *y, *z, *added;      // [m, n]: of the reference, of another variant, the same added to ones
    bool failed;               // no memory for a row
    uint64_t stored_wrong, at; // sums in the file that are not those of the codes; an output that has one
} matrix;

static void fill(matrix *p, const float *x)
{
    for (size_t r = 0; r < MADE_UP; r++)
        for (size_t j = 0; j < p->k; j++) {
            const double noise = 2 * rs_random_uniform(1, r, j) - 1;
            p->x[r * p->k + j] = r == 0 ? 1 : r == 1 ? (j % 2 == 0 ? 1 : -1) : r == 2 ? -1 : (float)(noise * (j % 61 == 0 ? 7 : 1));
        }
    memcpy(p->x + MADE_UP * p->k, x, p->s->S * p->k * sizeof *x);
}

// Sums, results in fp64 and bounds of output o, from codes that are unpacked here.
static void define(void *context, size_t o)
{
    matrix *p = context;
    const rs_int_weights *w = p->w;
    int8_t *codes = malloc(p->k);
    if (codes == NULL) {
        __atomic_store_n(&p->failed, true, __ATOMIC_RELAXED);
        return;
    }
    rs_packed_unpack((int)w->bits, p->k, w->codes + o * rs_packed_row_bytes((int)w->bits, p->k), codes);
    for (size_t i = 0; i < p->m; i++) p->exact[i * w->n + o] = p->bound[i * w->n + o] = 0;
    for (size_t g = 0; g < p->G; g++) {
        const int8_t *c = codes + g * p->span;
        float scale;
        int32_t of_codes = 0;
        if (w->scales != NULL) scale = w->scales[o * p->G + g];
        else rs_kernels_reference()->f16_to_f32(1, &w->scales_16[o * p->G + g], &scale);
        for (size_t j = 0; j < p->span; j++) of_codes += c[j];
        if (of_codes != w->sums[o * p->G + g]) {
            __atomic_fetch_add(&p->stored_wrong, 1, __ATOMIC_RELAXED);
            __atomic_store_n(&p->at, o, __ATOMIC_RELAXED);
        }
        for (size_t i = 0; i < p->m; i++) {
            const uint8_t *a = p->a.codes + i * p->k + g * p->span;
            int32_t sum = 0; // fits: rs_int_gemm_work is not 0
            for (size_t j = 0; j < p->span; j++) sum += a[j] * c[j];
            p->want[(i * p->G + g) * w->n + o] = sum;
            const double term = ((double)sum - (double)p->a.zero[i] * of_codes) * (double)scale;
            p->exact[i * w->n + o] += term;
            p->bound[i * w->n + o] += fabs(term);
        }
    }
    const double n = (double)p->G + 2, gamma = n * 0x1p-24 / (1 - n * 0x1p-24);
    for (size_t i = 0; i < p->m; i++) {
        p->exact[i * w->n + o] *= (double)p->a.scale[i];
        p->bound[i * w->n + o] = gamma * p->bound[i * w->n + o] * (double)p->a.scale[i] + 0x1p-149;
    }
    free(codes);
}

static const char *kind(size_t row)
{
    return row < MADE_UP ? "made-up row" : "token";
}
static size_t number(size_t row)
{
    return row < MADE_UP ? row : row - MADE_UP;
}

// Codes of the reference are what fake_quant stands for.
static void check_reference_codes(matrix *p, size_t bad)
{
    memcpy(p->fake, p->x, p->m * p->k * sizeof *p->x);
    if (rs_kernels_reference()->fake_quant(p->q, p->m, p->k, p->fake, p->k) != bad) rs_kernels_fail(p->s, "%s: reference: refuses other rows than fake_quant", p->name);
    for (size_t i = 0; i < p->m * p->k; i++) {
        const float value = p->a.scale[i / p->k] * (float)(p->a.codes[i] - p->a.zero[i / p->k]);
        if (memcmp(&value, &p->fake[i], sizeof value) == 0) continue;
        rs_kernels_fail(p->s, "%s: reference: %s %zu, column %zu: code %d is %.9g, fake_quant gives %.9g", p->name, kind(i / p->k), number(i / p->k), i % p->k, p->a.codes[i], (double)value,
                        (double)p->fake[i]);
        return;
    }
}

static void check_codes(matrix *p, rs_carrier *c, size_t bad)
{
    const rs_int_kernels *by = c->by;
    if (rs_carrier_quantise(c, p->q, p->x, &p->other) != bad) rs_kernels_fail(p->s, "%s: %s: refuses other rows than the reference", p->name, rs_int_name(by));
    for (size_t i = 0; i < p->m; i++) {
        const uint8_t *a = p->a.codes + i * p->k, *b = p->other.codes + i * p->k;
        size_t j = 0;
        if (memcmp(&p->a.scale[i], &p->other.scale[i], sizeof(float)) != 0 || p->a.zero[i] != p->other.zero[i]) {
            rs_kernels_fail(p->s, "%s: %s: %s %zu: scale %.9g, zero point %d; the reference has %.9g, %d", p->name, rs_int_name(by), kind(i), number(i), (double)p->other.scale[i], p->other.zero[i],
                            (double)p->a.scale[i], p->a.zero[i]);
            return;
        }
        while (j < p->k && a[j] == b[j]) j++;
        if (j == p->k) continue;
        rs_kernels_fail(p->s, "%s: %s: %s %zu, column %zu: code %d, the reference has %d", p->name, rs_int_name(by), kind(i), number(i), j, b[j], a[j]);
        return;
    }
}

// Sums of the rows first .. first+m-1, taken together.
static void check_sums(matrix *p, rs_carrier *c, size_t first, size_t m)
{
    const rs_int_kernels *by = c->by;
    const rs_int_weights *w = p->w;
    const size_t count = m * p->G * w->n;
    const int32_t *want = p->want + first * p->G * w->n;
    const rs_int_rows rows = {.bits = p->a.bits, .m = m, .k = p->k, .ld = p->k, .codes = p->a.codes + first * p->k, .scale = p->a.scale + first, .zero = p->a.zero + first};
    memset(p->sums, 0xa5, count * sizeof *p->sums);
    rs_carrier_sums(c, &rows, p->sums);
    p->role->sums += count;
    for (size_t i = 0; i < count; i++)
        if (p->sums[i] != want[i]) {
            const size_t row = first + i / w->n / p->G;
            rs_kernels_fail(p->s, "%s: %s: %s %zu%s, output %zu, span %zu: sum %d, the codes give %d", p->name, rs_int_name(by), kind(row), number(row), m == 1 ? " alone" : "", i % w->n, i / w->n % p->G,
                            p->sums[i], want[i]);
            return;
        }
}

// y of the reference against fp64.
static void check_bound(matrix *p, rs_carrier *c)
{
    const size_t n = p->w->n;
    rs_carrier_product(c, &p->a, p->y, false);
    for (size_t i = 0; i < p->m * n; i++) {
        const double share = fabs((double)p->y[i] - p->exact[i]) / p->bound[i];
        if (share <= 1) {
            p->role->share = share > p->role->share ? share : p->role->share;
            continue;
        }
        p->role->share = INFINITY;
        rs_kernels_fail(p->s, "%s: reference: %s %zu, output %zu: %.9g, fp64 gives %.17g, the bound is %.3g", p->name, kind(i / n), number(i / n), i % n, (double)p->y[i], p->exact[i], p->bound[i]);
        return;
    }
}

// y of another variant against the reference's, stored and added.
static void check_result(matrix *p, rs_carrier *c, size_t first, size_t m)
{
    const rs_int_kernels *by = c->by;
    const size_t n = p->w->n;
    const rs_int_rows rows = {.bits = p->a.bits, .m = m, .k = p->k, .ld = p->k, .codes = p->a.codes + first * p->k, .scale = p->a.scale + first, .zero = p->a.zero + first};
    for (size_t i = 0; i < m * n; i++) p->added[i] = 1;
    rs_carrier_product(c, &rows, p->z, false);
    rs_carrier_product(c, &rows, p->added, true);
    for (size_t i = 0; i < m * n; i++) {
        const float want = p->y[first * n + i], more = 1 + want;
        const bool stored = memcmp(&p->z[i], &want, sizeof want) != 0;
        if (!stored && memcmp(&p->added[i], &more, sizeof more) == 0) continue;
        rs_kernels_fail(p->s, "%s: %s: %s %zu%s, output %zu: %s %.9g, the reference has %.9g", p->name, rs_int_name(by), kind(first + i / n), number(first + i / n), m == 1 ? " alone" : "", i % n,
                        stored ? "result" : "result added to 1", (double)(stored ? p->z[i] : p->added[i]), (double)(stored ? want : more));
        return;
    }
}

static rs_status check_variant(matrix *p, rs_carrier *c, size_t bad, rs_error *e)
{
    check_codes(p, c, bad);
    p->role->codes += p->m * p->k;
    check_sums(p, c, 0, p->m);
    check_sums(p, c, MADE_UP - 1, 1);
    check_sums(p, c, p->m - 1, 1);
    if (c->by == rs_int_reference()) check_bound(p, c);
    else {
        check_result(p, c, 0, p->m);
        check_result(p, c, p->m - 1, 1);
    }
    if (c->differ > 0) rs_kernels_fail(p->s, "%s: %s: %llu results are others when they are computed again", p->name, rs_int_name(c->by), (unsigned long long)c->differ);
    return rs_carrier_fault(c, e);
}

static rs_status variant(matrix *p, const rs_int_kernels *by, size_t bad, rs_error *e)
{
    rs_carrier c;
    rs_status s = rs_carrier_open(&c, by, p->w, p->q->bits, p->m, rs_kernels_repeat(p->s), e);
    if (s == RS_OK) s = check_variant(p, &c, bad, e);
    rs_carrier_close(&c);
    return s == RS_OK ? RS_OK : rs_error_prefix(e, s, "%s", p->name);
}

static rs_status run(matrix *p, rs_error *e)
{
    const size_t bad = rs_int_quantise(rs_int_reference(), p->q, p->x, p->k, &p->a);
    check_reference_codes(p, bad);
    rs_threads_for(p->w->n, define, p);
    if (p->failed) return rs_fail(e, RS_E_NOMEM, "%s: row of codes", p->name);
    if (p->stored_wrong > 0)
        rs_kernels_fail(p->s, "%s: row %llu: the stored sum of codes is not that of the codes (%llu such spans; rs-verify --values names the first)", p->name, (unsigned long long)p->at,
                        (unsigned long long)p->stored_wrong);
    RS_TRY(variant(p, rs_int_reference(), bad, e));
    for (size_t v = 0; v < p->s->n_variants; v++)
        if (p->s->variants[v] != rs_int_reference()) RS_TRY(variant(p, p->s->variants[v], bad, e));
    for (size_t v = 0; v < p->s->o->n_device_variants; v++) RS_TRY(variant(p, p->s->o->device_variants[v], bad, e));
    return RS_OK;
}

rs_status rs_kernels_matrix(rs_kernels_state *s, size_t role, const char *name, const rs_int_weights *w, const rs_quantizer *q, const float *x, rs_error *e)
{
    const size_t m = MADE_UP + s->S, k = w->k, G = w->group != 0 ? k / w->group : 1;
    matrix p = {.s = s, .role = &s->r->role[role], .name = name, .w = w, .q = q, .m = m, .k = k, .G = G, .span = k / G, .x = malloc(m * k * sizeof(float)), .fake = malloc(m * k * sizeof(float)),
                .want = malloc(m * G * w->n * sizeof(int32_t)), .sums = malloc(m * G * w->n * sizeof(int32_t)), .exact = malloc(m * w->n * sizeof(double)), .bound = malloc(m * w->n * sizeof(double)),
                .y = malloc(m * w->n * sizeof(float)), .z = malloc(m * w->n * sizeof(float)), .added = malloc(m * w->n * sizeof(float))};
    for (int i = 0; i < 2; i++)
        *(i == 0 ? &p.a : &p.other) = (rs_int_rows){.bits = q->bits, .m = m, .k = k, .ld = k, .codes = malloc(m * k), .scale = malloc(m * sizeof(float)), .zero = malloc(m * sizeof(int32_t))};
    void *all[] = {p.x, p.fake, p.want, p.sums, p.exact, p.bound, p.y, p.z, p.added, p.a.codes, p.a.scale, p.a.zero, p.other.codes, p.other.scale, p.other.zero};
    rs_status status = RS_OK;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] == NULL) status = rs_fail(e, RS_E_NOMEM, "%s: %zu rows of codes and sums", name, m);
    if (status == RS_OK) {
        p.role->matrices++;
        fill(&p, x);
        status = run(&p, e);
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    return status;
}
