// SPDX-License-Identifier: Apache-2.0
// Folding in pieces of rows: fp64 strips through the chain of factors, the last product in fp64 or as an f32 product over a whole block.
#include "transforms/fold.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/threads.h"

#define PIECE 384              // rows of a piece at most (more where heads ask for it)
#define PART 128               // rows of a part of it, where it can be cut evenly
#define STRIP 32               // rows of an fp64 strip
#define BLOCK (4u << 20)       // bytes of one output block, about: small enough to be in the cache still when it is hashed

struct piece_work {
    const rs_fold *f;
    const rs_kernels *k;
    rs_dtype dtype;
    const uint8_t *w;
    size_t rows, cols, strip, step;
    size_t first;              // row that out starts with
    float *out;                // rows of f32
    double *out64;             // rows of fp64 instead (side 1)
    atomic_bool no_memory, not_finite;
};

static rs_status no_memory(rs_error *e, uint64_t rows, uint64_t cols)
{
    return rs_fail(e, RS_E_NOMEM, "no memory to multiply a matrix of %llu x %llu", (unsigned long long)rows, (unsigned long long)cols);
}

static rs_status bad_value(rs_error *e) { return rs_fail(e, RS_E_VALUE, "a value is not finite"); }

rs_status rs_fold_load(const rs_kernels *k, rs_dtype dtype, const void *x, uint64_t n, float *y, rs_error *e)
{
    switch (dtype) {
    case RS_F32: memcpy(y, x, n * sizeof *y); return RS_OK;
    case RS_F16: k->f16_to_f32(n, x, y); return RS_OK;
    case RS_BF16: k->bf16_to_f32(n, x, y); return RS_OK;
    default: return rs_fail(e, RS_E_INTERNAL, "no conversion from %s", rs_dtype_name(dtype));
    }
}

// One strip of n rows from row on, as fp64 through everything that comes before (and, on side 0, with) the basis.
static void strip64(const struct piece_work *p, size_t row, size_t n, const float *w, double *x, double *scratch)
{
    const rs_fold *f = p->f;
    size_t cols = p->cols;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < cols; j++) {
            x[i * cols + j] = f->gamma == NULL ? (double)w[i * cols + j] : (double)w[i * cols + j] * (double)f->gamma[j];
            if (f->divide != NULL) x[i * cols + j] /= (double)f->divide[row + i];
        }
    if (rs_rotor_on(&f->head) && f->head_side == 0) rs_rotor_rows(&f->head, n * (cols / f->head.n), x, scratch);
    for (size_t i = 0; rs_rotor_on(&f->head) && f->head_side == 1 && i < n; i += f->head.n) rs_rotor_columns(&f->head, cols, x + i * cols, cols, scratch);
    if (rs_rotor_on(&f->r4)) rs_rotor_rows(&f->r4, n, x, scratch);
    if (rs_rotor_on(&f->basis) && f->basis_side == 0 && f->basis_f32 == NULL) rs_rotor_rows(&f->basis, n, x, scratch);
}

// True when one of n values is NaN or infinite.
static bool not_finite(size_t n, const float *x)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, &x[i], sizeof u);
        bad |= (u & 0x7f800000u) == 0x7f800000u;
    }
    return bad != 0;
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

// Rows of piece i through everything before the last product (with it, where it is fp64 and by rows): into out (f32) or out64.
static void fold_piece(void *context, size_t i)
{
    struct piece_work *p = context;
    const rs_fold *f = p->f;
    size_t begin = p->first + i * p->step, cols = p->cols, end = begin + p->step;
    if (end > p->rows) end = p->rows;
    bool basis64 = rs_rotor_on(&f->basis) && f->basis_f32 == NULL && f->basis_side == 0;
    // Without fp64: plain copies, and r4 where the basis is an f32 product as well.
    bool simple = f->divide == NULL && !rs_rotor_on(&f->head) && (!rs_rotor_on(&f->r4) || f->basis_f32 != NULL) && !basis64 && p->out64 == NULL;
    size_t scratch = 0;
    if (rs_rotor_on(&f->head)) scratch = rs_rotor_scratch(&f->head, f->head_side == 0 ? p->strip * (cols / f->head.n) : cols);
    if (rs_rotor_on(&f->r4)) scratch = larger(scratch, rs_rotor_scratch(&f->r4, p->strip));
    if (basis64) scratch = larger(scratch, rs_rotor_scratch(&f->basis, p->strip));
    float *in = simple ? NULL : malloc(p->strip * cols * sizeof *in);
    double *x = simple ? NULL : malloc((p->strip * cols + scratch) * sizeof *x);
    if (!simple && (in == NULL || x == NULL)) atomic_store(&p->no_memory, true);
    else
        for (size_t r = begin; r < end; r += p->strip) {
            size_t m = end - r < p->strip ? end - r : p->strip;
            float *y = p->out == NULL ? NULL : p->out + (r - p->first) * cols, *w = simple ? y : in;
            (void)!rs_fold_load(p->k, p->dtype, p->w + r * cols * rs_dtype_size(p->dtype), m * cols, w, NULL);
            if (not_finite(m * cols, w)) atomic_store(&p->not_finite, true);
            if (simple) {
                // One product of two f32, rounded once: the same as the fp64 chain would give.
                for (size_t a = 0; f->gamma != NULL && a < m; a++)
                    for (size_t j = 0; j < cols; j++) y[a * cols + j] *= f->gamma[j];
                if (rs_rotor_on(&f->r4)) p->k->hadamard(f->r4.H, m, y, cols, false);
                continue;
            }
            double *to = p->out64 != NULL ? p->out64 + r * cols : x;
            strip64(p, r, m, w, to, x + p->strip * cols);
            for (size_t j = 0; y != NULL && j < m * cols; j++) y[j] = (float)to[j];
        }
    free(in);
    free(x);
}

// The rows of piece i of an f32 matrix that is multiplied as it lies.
static void check_piece(void *context, size_t i)
{
    struct piece_work *p = context;
    size_t begin = p->first + i * p->step, end = begin + p->step < p->rows ? begin + p->step : p->rows;
    if (not_finite((end - begin) * p->cols, (const float *)(const void *)p->w + begin * p->cols)) atomic_store(&p->not_finite, true);
}

struct column_work {
    const rs_rotor *basis;
    size_t cols, step;
    double *x;
    atomic_bool no_memory;
};

static void column_piece(void *context, size_t i)
{
    struct column_work *p = context;
    size_t c = i * p->step, n = p->cols - c < p->step ? p->cols - c : p->step;
    double *scratch = malloc(rs_rotor_scratch(p->basis, n) * sizeof *scratch);
    if (scratch == NULL) atomic_store(&p->no_memory, true);
    else rs_rotor_columns(p->basis, n, p->x + c, p->cols, scratch);
    free(scratch);
}

// Pieces of nearly equal size, an even number of them, each of whole strips: two processors share them evenly. Where they can be cut into equal parts, those
// are the pieces: the products below cut there anyway, and a thread that was held up keeps the others waiting for one part only.
static size_t piece_rows(size_t rows, size_t strip)
{
    size_t pieces = 2 * ((rows + 2 * PIECE - 1) / (2 * PIECE)), step = (rows + pieces - 1) / pieces;
    step = (step + strip - 1) / strip * strip;
    for (size_t parts = (step + PART - 1) / PART; parts > 1; parts--)
        if (step % (parts * strip) == 0) return step / parts;
    return step;
}

// R^T W: all rows are needed before the first comes out.
static rs_status fold_rows(const rs_fold *f, struct piece_work *p, rs_relay *relay, rs_error *e)
{
    size_t rows = p->rows, cols = p->cols, pieces = (rows + p->step - 1) / p->step;
    size_t block_rows = larger(PIECE, BLOCK / (cols * sizeof(float) + 1));
    void *all = malloc(rows * cols * (f->basis_f32 != NULL ? sizeof(float) : sizeof(double)));
    rs_status status = all == NULL ? no_memory(e, rows, cols) : RS_OK;
    if (status == RS_OK) {
        if (f->basis_f32 != NULL) p->out = all;
        else p->out64 = all;
        rs_threads_for(pieces, fold_piece, p);
        struct column_work c = {.basis = &f->basis, .cols = cols, .step = 192, .x = p->out64};
        if (f->basis_f32 == NULL && !atomic_load(&p->no_memory)) rs_threads_for((cols + c.step - 1) / c.step, column_piece, &c);
        if (atomic_load(&p->no_memory) || atomic_load(&c.no_memory)) status = no_memory(e, rows, cols);
        else if (atomic_load(&p->not_finite)) status = bad_value(e);
    }
    for (size_t r = 0; status == RS_OK && r < rows; r += block_rows) {
        size_t n = rows - r < block_rows ? rows - r : block_rows;
        void *block;
        status = rs_relay_block(relay, n * cols * sizeof(float), &block, e);
        if (status != RS_OK) break;
        float *y = block;
        if (f->basis_f32 != NULL) p->k->gemm_tn(n, cols, rows, f->basis_f32 + r, rows, all, cols, 0, y, cols);
        else
            for (size_t j = 0; j < n * cols; j++) y[j] = (float)p->out64[r * cols + j];
        status = rs_relay_post(relay, n * cols * sizeof(float), e);
    }
    free(all);
    return status;
}

rs_status rs_fold_matrix(const rs_fold *f, const rs_kernels *k, rs_dtype dtype, const void *w, uint64_t rows, uint64_t cols, rs_relay *relay, rs_error *e)
{
    if (rows == 0 || cols == 0) return RS_OK;
    bool dense64 = rs_rotor_on(&f->basis) && f->basis.H == NULL && f->basis_f32 == NULL && f->basis_side == 0;
    size_t strip = dense64 ? 2 * STRIP : STRIP;
    if (rs_rotor_on(&f->head) && f->head_side == 1) strip = (strip + f->head.n - 1) / f->head.n * f->head.n;
    struct piece_work p = {.f = f, .k = k, .dtype = dtype, .w = w, .rows = rows, .cols = cols, .strip = strip, .step = piece_rows(rows, strip)};
    if (rs_rotor_on(&f->basis) && f->basis_side == 1) return fold_rows(f, &p, relay, e);
    // Blocks of several pieces, so that every thread has the same work in each; but where an f32 product is cut anew in each of them, they do not depend on the number of threads.
    bool product = f->basis_f32 != NULL;
    size_t share = product ? 1 : 2 * (size_t)rs_threads_get(), per_block = (BLOCK / (p.step * cols * sizeof(float)) + share) / share * share, most = per_block * p.step < rows ? per_block * p.step : rows;
    bool in_place = product && dtype == RS_F32 && f->gamma == NULL && f->divide == NULL && !rs_rotor_on(&f->head) && !rs_rotor_on(&f->r4);
    float *before = product && !in_place ? malloc(most * cols * sizeof *before) : NULL; // the product is taken of this
    rs_status status = product && !in_place && before == NULL ? no_memory(e, rows, cols) : RS_OK;
    for (size_t first = 0; status == RS_OK && first < rows; first += per_block * p.step) {
        size_t n = rows - first < most ? rows - first : most;
        void *block;
        status = rs_relay_block(relay, n * cols * sizeof(float), &block, e);
        if (status != RS_OK) break;
        p.first = first;
        p.out = product ? before : block;
        rs_threads_for((n + p.step - 1) / p.step, in_place ? check_piece : fold_piece, &p);
        if (atomic_load(&p.no_memory)) status = no_memory(e, rows, cols);
        else if (atomic_load(&p.not_finite)) status = bad_value(e);
        else {
            if (product) k->gemm_nn(n, cols, cols, in_place ? (const float *)w + first * cols : before, cols, f->basis_f32, cols, 0, block, cols);
            status = rs_relay_post(relay, n * cols * sizeof(float), e);
        }
    }
    free(before);
    return status;
}

rs_status rs_fold_vector(const rs_fold *f, const rs_kernels *k, rs_dtype dtype, const void *b, uint64_t n, rs_relay *relay, rs_error *e)
{
    void *block;
    RS_TRY(rs_relay_block(relay, n * sizeof(float), &block, e));
    float *y = block;
    RS_TRY(rs_fold_load(k, dtype, b, n, y, e));
    if (not_finite(n, y)) return bad_value(e);
    // b^T R is one row: entries are multiplied like the columns of a matrix of one row. Heads lie side by side in it.
    size_t scratch = larger(rs_rotor_on(&f->basis) ? rs_rotor_scratch(&f->basis, 1) : 0, rs_rotor_on(&f->head) ? rs_rotor_scratch(&f->head, n / f->head.n) : 0);
    double *x = malloc((n + scratch + 1) * sizeof *x);
    if (x == NULL) return no_memory(e, 1, n);
    for (size_t j = 0; j < n; j++) x[j] = f->divide == NULL ? (double)y[j] : (double)y[j] / (double)f->divide[j];
    if (rs_rotor_on(&f->head)) rs_rotor_rows(&f->head, n / f->head.n, x, x + n);
    if (f->basis_f32 != NULL) {
        double *sum = x + n;
        memset(sum, 0, n * sizeof *sum);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) sum[j] += x[i] * (double)f->basis_f32[i * n + j];
        memcpy(x, sum, n * sizeof *x);
    } else if (rs_rotor_on(&f->basis)) rs_rotor_rows(&f->basis, 1, x, x + n);
    for (size_t j = 0; j < n; j++) y[j] = (float)x[j];
    free(x);
    return rs_relay_post(relay, n * sizeof(float), e);
}
