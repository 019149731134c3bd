// SPDX-License-Identifier: Apache-2.0
// The low-rank change of basis x + ((x q) m) q^T (method.md 3): two thin products and a small one. One row reads q twice, the second time from a cache; of many, blocks stay there.
#include <string.h>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/pieces.h"
#include "kernels/cpu/vec.h"
#include "kernels/threads.h"

void rs_lowrank_plain(size_t S, size_t d, size_t r, float *x, const float *q, const float *m, float *work)
{
    rs_gemm_nn_plain(S, r, d, x, d, q, r, 0, work, r);
    rs_gemm_nn_plain(S, r, r, work, r, m, r, 0, work + S * r, r);
    rs_gemm_nt_plain(S, d, r, work + S * r, r, q, r, 1, x, d);
}

void rs_lowrank_blas(size_t S, size_t d, size_t r, float *x, const float *q, const float *m, float *work)
{
    rs_gemm_nn_blas(S, r, d, x, d, q, r, 0, work, r);
    rs_gemm_nn_blas(S, r, r, work, r, m, r, 0, work + S * r, r);
    rs_gemm_nt_blas(S, d, r, work + S * r, r, q, r, 1, x, d);
}

#if defined(__x86_64__)

enum { MOST = 128, PIECES = 64, SMALL = 1 << 16 }; // rank, pieces; numbers of q that one thread takes alone

struct row {
    size_t d, r, rows; // rows of q in a piece
    float *x;
    const float *q, *z;
    float (*y)[MOST];
};

// y[piece] = x q over the rows of the piece; r is a multiple of 8.
static RS_AVX2 void into(void *context, size_t piece)
{
    const struct row *p = context;
    const size_t begin = piece * p->rows, end = rs_pieces_min(p->d, begin + p->rows);
    for (size_t j = 0; j < p->r; j += 32) {
        v8 s[4];
        const size_t n = rs_pieces_min(32, p->r - j) / 8;
        s[0] = s[1] = s[2] = s[3] = v8_set(0);
        if (n == 4)
            for (size_t k = begin; k < end; k++) {
                const v8 x = v8_set(p->x[k]);
                for (size_t i = 0; i < 4; i++)
                    s[i] = v8_fma(x, v8_load(p->q + k * p->r + j + 8 * i), s[i]);
            }
        else
            for (size_t k = begin; k < end; k++)
                for (size_t i = 0; i < n; i++)
                    s[i] = v8_fma(v8_set(p->x[k]), v8_load(p->q + k * p->r + j + 8 * i), s[i]);
        for (size_t i = 0; i < n; i++)
            v8_store(p->y[piece] + j + 8 * i, s[i]);
    }
}

// The sums of eight vectors, as one.
static RS_AVX2 v8 sums_of(const v8 s[8])
{
    const v8 a = _mm256_hadd_ps(_mm256_hadd_ps(s[0], s[1]), _mm256_hadd_ps(s[2], s[3])), b = _mm256_hadd_ps(_mm256_hadd_ps(s[4], s[5]), _mm256_hadd_ps(s[6], s[7]));
    return v8_add(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
}

// x += z q^T over the rows of the piece, a multiple of 8 of them.
static RS_AVX2 void back(void *context, size_t piece)
{
    const struct row *p = context;
    const size_t begin = piece * p->rows, end = rs_pieces_min(p->d, begin + p->rows);
    for (size_t k = begin; k < end; k += 8) {
        v8 s[8];
        for (size_t i = 0; i < 8; i++)
            s[i] = v8_set(0);
        for (size_t j = 0; j < p->r; j += 8) {
            const v8 z = v8_load(p->z + j);
            for (size_t i = 0; i < 8; i++)
                s[i] = v8_fma(z, v8_load(p->q + (k + i) * p->r + j), s[i]);
        }
        v8_store(p->x + k, v8_add(v8_load(p->x + k), sums_of(s)));
    }
}

// ---- many rows: blocks that stay in the second-level cache, six rows by 16 columns at a time

enum { TILE = 6, WIDE = 16, BLOCK = 24 };

// c [rows, 16] (+)= a [rows, n] b [n, 16]
static inline __attribute__((always_inline)) RS_AVX2 void tile(const size_t rows, size_t n, const float *a, size_t lda, const float *b, size_t ldb, bool add, float *c, size_t ldc)
{
    v8 s[TILE][2];
    for (size_t i = 0; i < rows; i++)
        s[i][0] = s[i][1] = v8_set(0);
    for (size_t k = 0; k < n; k++) {
        const v8 low = v8_load(b + k * ldb), high = v8_load(b + k * ldb + 8);
        for (size_t i = 0; i < rows; i++) {
            const v8 x = v8_set(a[i * lda + k]);
            s[i][0] = v8_fma(x, low, s[i][0]);
            s[i][1] = v8_fma(x, high, s[i][1]);
        }
    }
    for (size_t i = 0; i < rows; i++, c += ldc) {
        v8_store(c, add ? v8_add(v8_load(c), s[i][0]) : s[i][0]);
        v8_store(c + 8, add ? v8_add(v8_load(c + 8), s[i][1]) : s[i][1]);
    }
}

static RS_AVX2 void tiles(size_t rows, size_t n, const float *a, size_t lda, const float *b, size_t ldb, bool add, float *c, size_t ldc)
{
    for (; rows >= TILE; rows -= TILE, a += TILE * lda, c += TILE * ldc)
        tile(TILE, n, a, lda, b, ldb, add, c, ldc);
    switch (rows) {
    case 5: tile(5, n, a, lda, b, ldb, add, c, ldc); break;
    case 4: tile(4, n, a, lda, b, ldb, add, c, ldc); break;
    case 3: tile(3, n, a, lda, b, ldb, add, c, ldc); break;
    case 2: tile(2, n, a, lda, b, ldb, add, c, ldc); break;
    case 1: tile(1, n, a, lda, b, ldb, add, c, ldc); break;
    }
}

struct many {
    size_t S, d, r;
    float *x, *work; // work [S, 2 r]
    const float *q, *m;
};

static RS_AVX2 void rows_block(void *context, size_t block)
{
    const struct many *p = context;
    const size_t first = block * BLOCK, rows = rs_pieces_min(BLOCK, p->S - first), d = p->d, r = p->r;
    float *x = p->x + first * d, *y = p->work + first * 2 * r, *z = y + r, t[MOST * WIDE];
    for (size_t j = 0; j < r; j += WIDE)
        tiles(rows, d, x, d, p->q + j, r, false, y + j, 2 * r);
    for (size_t j = 0; j < r; j += WIDE)
        tiles(rows, r, y, 2 * r, p->m + j, r, false, z + j, 2 * r);
    for (size_t k = 0; k < d; k += WIDE) { // q^T by 16 columns
        for (size_t i = 0; i < WIDE; i++)
            for (size_t j = 0; j < r; j++)
                t[j * WIDE + i] = p->q[(k + i) * r + j];
        tiles(rows, r, z, 2 * r, t, WIDE, true, x + k, d);
    }
}

void rs_lowrank_avx2(size_t S, size_t d, size_t r, float *x, const float *q, const float *m, float *work)
{
    if (r > MOST || r % WIDE != 0 || d % WIDE != 0) {
        rs_lowrank_blas(S, d, r, x, q, m, work);
        return;
    }
    if (S > 1) {
        rs_threads_for(rs_pieces_count(S, BLOCK), rows_block, &(struct many){S, d, r, x, work, q, m});
        return;
    }
    float y[PIECES][MOST], *z = work + r;
    struct row p = {.d = d, .r = r, .rows = d * r <= SMALL ? d : (rs_pieces_count(d, PIECES) + 127) / 128 * 128, .x = x, .q = q, .z = z, .y = y};
    const size_t pieces = rs_pieces_count(d, p.rows);
    rs_threads_for(pieces, into, &p);
    for (size_t i = 1; i < pieces; i++)
        for (size_t j = 0; j < r; j++)
            y[0][j] += y[i][j];
    memset(z, 0, r * sizeof *z);
    for (size_t i = 0; i < r; i++)
        for (size_t j = 0; j < r; j++)
            z[j] += y[0][i] * m[i * r + j];
    rs_threads_for(pieces, back, &p);
}

#endif
