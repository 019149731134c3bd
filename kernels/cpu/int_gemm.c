// SPDX-License-Identifier: Apache-2.0
// Integer products: the plain triple loop, and the blocking around the inner loops of a variant (int_tiles.c).
//
// A piece of the result is at most STRIP rows by some panels. For each panel and span, CHUNK quads at a time: 4-bit codes are unpacked once into a panel of bytes that stays
// in the first-level cache, and all rows of the strip go over it. Where 8-bit activations times 8-bit weights would leave the 16-bit sums of AVX2 too soon, each row of activations is
// taken as two of 4 bits, c_a = low + 16 high, and their sums are joined: that costs as many multiplications as products in 16 bits would.
#include <stdint.h>
#include <string.h>

#include "kernels/cpu/int_ops.h"
#include "kernels/cpu/pieces.h"
#include "kernels/threads.h"

enum { STRIP = 96, CHUNK = 256, PANELS = 8, RUN = 1 << 17, LEAST = 8 };

struct job {
    const rs_int_weights *w;
    const rs_int_rows *a;
    struct rs_int_layout l;
    size_t parts, rows, row_bytes, burst; // parts of an activation; rows with parts counted, and bytes of an arranged one
    size_t strips, panels;                // pieces: strips of rows, panels of a piece
    uint8_t *arranged;
    float *y;
    size_t ldy;
    int32_t *sums;
};

// ---- plain

static int32_t plain_sum(const rs_int_weights *w, const uint8_t *a, size_t o, size_t first, size_t n)
{
    uint32_t sum = 0;
    for (size_t j = first; j < first + n; j++)
        sum += (uint32_t)(a[j] * rs_int_weights_code(w, o, j));
    return (int32_t)sum;
}

static void plain_output(void *context, size_t o)
{
    const struct job *p = context;
    const rs_int_weights *w = p->w;
    const struct rs_int_layout *l = &p->l;
    const size_t L = w->by->lanes, lane = o % (2 * L);
    for (size_t r = 0; r < p->a->m; r++) {
        float acc = 0;
        for (size_t g = 0; g < l->spans; g++) {
            const uint8_t *tail = (const uint8_t *)w->packed + o / (2 * L) * l->panel_bytes + g * l->span_bytes + l->quads * l->quad_bytes;
            const int32_t sum = plain_sum(w, p->a->codes + r * p->a->ld, o, g * l->span, l->span);
            float scale;
            int32_t of_codes;
            memcpy(&scale, tail + lane * sizeof scale, sizeof scale);
            memcpy(&of_codes, tail + (2 * L + lane) * sizeof of_codes, sizeof of_codes);
            if (p->sums != NULL)
                p->sums[(r * l->spans + g) * w->n + o] = sum;
            else
                acc += (float)(sum - p->a->zero[r] * of_codes) * scale;
        }
        if (p->sums == NULL)
            p->y[r * p->ldy + o] = acc * p->a->scale[r];
    }
}

// ---- activations as the inner loops want them

// Rows of block i.
static size_t block_rows(const struct job *p, size_t i)
{
    return rs_pieces_min(p->w->by->rows, p->rows - i * p->w->by->rows);
}

static void arrange_block(void *context, size_t i)
{
    const struct job *p = context;
    const struct rs_int_layout *l = &p->l;
    const size_t most = p->w->by->rows, rows = block_rows(p, i);
    for (size_t r = 0; r < rows; r++) {
        const size_t row = i * most + r, half = row % p->parts;
        const uint8_t *from = p->a->codes + row / p->parts * p->a->ld;
        const uint32_t mask = p->parts == 1 ? 0xffffffff : 0x0f0f0f0f;
        uint8_t *to = p->arranged + i * most * p->row_bytes + 4 * r;
        for (size_t g = 0; g < l->spans; g++, from += l->span)
            for (size_t q = 0; q < l->quads; q++, to += 4 * rows) {
                uint32_t c = 0;
                if (4 * q + 4 <= l->span)
                    memcpy(&c, from + 4 * q, 4);
                else
                    memcpy(&c, from + 4 * q, l->span - 4 * q);
                c = c >> 4 * half & mask;
                memcpy(to, &c, 4);
            }
    }
}

// ---- blocked

// sums[rows][2 L] of the rows from first on with one span of a panel.
static void span_sums(const struct job *p, size_t first, size_t rows, size_t g, const uint8_t *codes, int8_t *panel, int32_t *sums)
{
    const rs_int_kernels *by = p->w->by;
    const size_t width = 2 * by->lanes;
    memset(sums, 0, rows * width * sizeof *sums);
    for (size_t q = 0; q < p->l.quads; q += CHUNK, codes += CHUNK * p->l.quad_bytes) {
        const size_t quads = rs_pieces_min(CHUNK, p->l.quads - q), done = g * p->l.quads + q;
        if (p->rows == 1 && p->l.nibbles) {
            by->one(quads, p->burst, p->arranged + 4 * done, codes, sums);
            continue;
        }
        if (p->l.nibbles)
            by->unpack(quads, codes, panel);
        for (size_t r = 0; r < rows; r += by->rows) {
            const size_t n = block_rows(p, (first + r) / by->rows);
            by->tile(n, quads, p->burst, p->arranged + (first + r) * p->row_bytes + 4 * n * done, p->l.nibbles ? panel : (const int8_t *)codes, sums + r * width);
        }
    }
    for (size_t r = 0; p->parts == 2 && r < rows / 2; r++)
        for (size_t j = 0; j < width; j++)
            sums[r * width + j] = (int32_t)((uint32_t)sums[2 * r * width + j] + 16 * (uint32_t)sums[(2 * r + 1) * width + j]);
}

static void piece(void *context, size_t i)
{
    const struct job *p = context;
    const rs_int_kernels *by = p->w->by;
    const size_t width = 2 * by->lanes, first = i % p->strips * STRIP, rows = rs_pieces_min(STRIP, p->rows - first);
    const size_t m = rows / p->parts, row = first / p->parts, begin = i / p->strips * p->panels, end = rs_pieces_min(p->l.panels, begin + p->panels);
    _Alignas(64) int8_t panel[CHUNK * 8 * RS_INT_LANES];
    _Alignas(64) int32_t sums[STRIP * 2 * RS_INT_LANES];
    _Alignas(64) float acc[STRIP * 2 * RS_INT_LANES];
    for (size_t b = begin; b < end; b++) {
        const uint8_t *at = (const uint8_t *)p->w->packed + b * p->l.panel_bytes;
        const size_t n = rs_pieces_min(width, p->w->n - b * width);
        memset(acc, 0, m * width * sizeof *acc);
        for (size_t g = 0; g < p->l.spans; g++, at += p->l.span_bytes) {
            const uint8_t *tail = at + p->l.quads * p->l.quad_bytes;
            span_sums(p, first, rows, g, at, panel, sums);
            for (size_t r = 0; r < m; r++)
                if (p->sums != NULL)
                    memcpy(p->sums + ((row + r) * p->l.spans + g) * p->w->n + b * width, sums + r * width, n * sizeof *sums);
                else
                    by->scale(sums + r * width, p->a->zero[row + r], (const int32_t *)(const void *)(tail + width * sizeof(float)), (const float *)(const void *)tail, acc + r * width);
        }
        for (size_t r = 0; p->sums == NULL && r < m; r++)
            for (size_t j = 0; j < n; j++)
                p->y[(row + r) * p->ldy + b * width + j] = acc[r * width + j] * p->a->scale[row + r];
    }
}

// How many quads may be added in 16 bits: a quad adds two products to each sum.
static size_t burst_of(unsigned a_bits, unsigned w_bits)
{
    return 32767u / (2 * ((1u << a_bits) - 1) << (w_bits - 1));
}

// Everything but the arrays. False where rs_int_gemm_work is 0.
static bool plan(const rs_int_weights *w, unsigned a_bits, size_t m, struct job *p, size_t *bytes)
{
    const rs_int_kernels *by = w->by;
    *p = (struct job){.w = w, .parts = 1, .burst = SIZE_MAX};
    if (a_bits < 2 || a_bits > 8 || !rs_int_layout(w, &p->l) || (uint64_t)p->l.span * (((1u << a_bits) - 1) << (w->bits - 1)) > INT32_MAX)
        return false;
    if (by->pairs) {
        p->parts = burst_of(a_bits, w->bits) < LEAST ? 2 : 1;
        p->burst = burst_of(p->parts == 2 ? 4 : a_bits, w->bits);
    }
    if (__builtin_mul_overflow(p->l.spans * p->l.quads, (size_t)4, &p->row_bytes) || __builtin_mul_overflow(m, p->parts, &p->rows) || __builtin_mul_overflow(p->rows, p->row_bytes, bytes))
        return false;
    p->strips = rs_pieces_count(p->rows, STRIP);
    p->panels = p->rows > STRIP / 4 ? PANELS : RUN / rs_pieces_min(RUN, p->l.panel_bytes); // few rows: pieces of as many bytes of weights
    *bytes += *bytes == 0;
    return true;
}

size_t rs_int_gemm_work(const rs_int_weights *w, unsigned a_bits, size_t m)
{
    struct job p;
    size_t bytes;
    return plan(w, a_bits, m, &p, &bytes) ? bytes : 0;
}

static void run(const rs_int_weights *w, const rs_int_rows *a, float *y, size_t ldy, int32_t *sums, void *work)
{
    struct job p;
    size_t bytes;
    if (!plan(w, a->bits, a->m, &p, &bytes))
        return;
    p.a = a;
    p.arranged = work;
    p.y = y;
    p.ldy = ldy;
    p.sums = sums;
    if (w->by->tile == NULL) {
        rs_threads_for(w->n, plain_output, &p);
        return;
    }
    rs_threads_for(rs_pieces_count(p.rows, w->by->rows), arrange_block, &p);
    rs_threads_for(p.strips * rs_pieces_count(p.l.panels, p.panels), piece, &p);
}

void rs_int_gemm(const rs_int_weights *w, const rs_int_rows *a, float *y, size_t ldy, void *work)
{
    run(w, a, y, ldy, NULL, work);
}

void rs_int_gemm_sums(const rs_int_weights *w, const rs_int_rows *a, int32_t *sums, void *work)
{
    run(w, a, NULL, 0, sums, work);
}

size_t rs_int_quantise(const rs_int_kernels *by, float clip, const float *x, size_t ldx, const rs_int_rows *rows)
{
    const rs_quantizer q = {.bits = rows->bits, .clip = clip};
    return by->quantise(&q, rows->m, rows->k, x, ldx, rows->codes, rows->ld, rows->scale, rows->zero);
}
