// SPDX-License-Identifier: Apache-2.0
// Integer products: the plain triple loop, and the blocking around the inner loops of a variant (int_tiles.c).
//
// A piece of a result is a strip of rows by some outputs. For OUTPUTS of them at a time and each span, CHUNK columns are unpacked once into bytes, and all rows of the strip go over
// them. Where 8-bit activations times 8-bit weights would leave the 16-bit sums of AVX2 too soon, each row of activations is taken as two of 4 bits, c_a = low + 16 high, and their sums are
// joined: that costs as many multiplications as products in 16 bits would.
#include <stdint.h>
#include <string.h>

#include "kernels/cpu/int_ops.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/pieces.h"
#include "kernels/packed.h"
#include "kernels/threads.h"

enum { BLOCK = RS_INT_BLOCK, OUTPUTS = RS_INT_OUTPUTS };
enum { MOST = 1 << 24, CHUNK = 2048, STRIP = 96, STEP = 12, CACHE = 192 << 10, OUTPUTS_OF_PIECE = 64, RUN = 1 << 16, LEAST = 8, PRODUCTS = 8 };

// Sizes of one product.
struct shape {
    size_t spans, span, blocks, row; // of columns; blocks of a span; bytes of a row of weights
    size_t parts, rows, burst;       // parts of an activation; rows with parts counted
    size_t strip, strips, outputs, pieces;
    bool aligned;                    // every span starts on a byte
    bool whole;                      // one row goes over the weights as they lie: one span of whole blocks, whole groups of outputs, 4 or 8 bits, an activation in one part
};

struct job {
    const rs_int_kernels *by;
    const rs_int_rows *a;
    size_t count;
    const rs_int_product *product;
    struct shape shape[PRODUCTS];
    uint8_t *arranged;
    int32_t *sums; // instead of a result, of one product
};

// How many vectors may be added in 16 bits: each adds two products to every sum.
static size_t burst_of(unsigned a_bits, unsigned w_bits)
{
    return 32767u / (2 * ((1u << a_bits) - 1) << (w_bits - 1));
}

// False where rs_int_gemm_work is 0; *bytes: what it is otherwise.
static bool measure(const rs_int_kernels *by, const rs_int_weights *w, unsigned a_bits, size_t m, struct shape *s, size_t *bytes)
{
    *s = (struct shape){.parts = 1, .burst = SIZE_MAX};
    if (w->bits < 2 || w->bits > 8 || a_bits < 2 || a_bits > 8 || w->n == 0 || w->k == 0 || (w->group != 0 && w->k % w->group != 0) || w->n > SIZE_MAX / 8 / w->k)
        return false;
    s->span = w->group != 0 ? w->group : w->k;
    if (s->span > MOST || (uint64_t)s->span * (((1u << a_bits) - 1) << (w->bits - 1)) > INT32_MAX)
        return false;
    s->spans = w->k / s->span;
    s->blocks = rs_pieces_count(s->span, BLOCK);
    s->row = rs_packed_row_bytes((int)w->bits, w->k);
    s->aligned = s->spans == 1 || s->span * w->bits % 8 == 0;
    if (by->pairs) {
        s->parts = burst_of(a_bits, w->bits) < LEAST ? 2 : 1;
        s->burst = burst_of(s->parts == 2 ? 4 : a_bits, w->bits);
    }
    s->whole = s->spans == 1 && s->span % BLOCK == 0 && w->n % OUTPUTS == 0 && (w->bits == 4 || w->bits == 8) && s->parts == 1;
    size_t row;
    if (__builtin_mul_overflow(s->spans, s->blocks * BLOCK, &row) || __builtin_mul_overflow(m, s->parts, &s->rows) || __builtin_mul_overflow(s->rows, row, bytes))
        return false;
    s->strip = CACHE / row / STEP * STEP;
    s->strip = s->strip < STEP ? STEP : s->strip > STRIP ? STRIP : s->strip;
    s->strips = rs_pieces_count(s->rows, s->strip);
    s->outputs = s->rows > STEP ? OUTPUTS_OF_PIECE : (RUN / rs_pieces_min(RUN, OUTPUTS * s->row)) * OUTPUTS; // few rows: pieces of as many bytes of weights
    s->pieces = s->strips * rs_pieces_count(w->n, s->outputs);
    *bytes += *bytes == 0;
    if (by->product != NULL)
        *bytes = 1;
    return true;
}

size_t rs_int_gemm_work(const rs_int_kernels *by, const rs_int_weights *w, unsigned a_bits, size_t m)
{
    struct shape s;
    size_t bytes;
    return measure(by, w, a_bits, m, &s, &bytes) ? bytes : 0;
}

static float scale_of(const rs_int_weights *w, size_t i)
{
    float s;
    if (w->scales != NULL)
        return w->scales[i];
    rs_convert_f16_to_f32_plain(1, &w->scales_16[i], &s);
    return s;
}

int rs_int_weights_code(const rs_int_weights *w, size_t o, size_t j)
{
    const uint8_t *row = w->codes + o * rs_packed_row_bytes((int)w->bits, w->k);
    const size_t bit = j * w->bits;
    const unsigned pair = row[bit / 8] | (bit % 8 + w->bits > 8 ? (unsigned)row[bit / 8 + 1] << 8 : 0), half = 1u << (w->bits - 1);
    return (int)((pair >> bit % 8 & (2 * half - 1)) ^ half) - (int)half;
}

// ---- plain

static void plain_output(void *context, size_t o)
{
    const struct job *p = context;
    const rs_int_weights *w = p->product->w;
    const struct shape *s = p->shape;
    for (size_t r = 0; r < p->a->m; r++) {
        float acc = 0, *y = p->product->y + r * p->product->ldy + o;
        for (size_t g = 0; g < s->spans; g++) {
            uint32_t sum = 0;
            for (size_t j = g * s->span; j < (g + 1) * s->span; j++)
                sum += (uint32_t)(p->a->codes[r * p->a->ld + j] * rs_int_weights_code(w, o, j));
            if (p->sums != NULL)
                p->sums[(r * s->spans + g) * w->n + o] = (int32_t)sum;
            else
                acc += (float)((int32_t)sum - p->a->zero[r] * w->sums[o * s->spans + g]) * scale_of(w, o * s->spans + g);
        }
        if (p->sums == NULL)
            *y = p->product->add ? *y + acc * p->a->scale[r] : acc * p->a->scale[r];
    }
}

// ---- activations as the inner loops want them

static void arrange_row(void *context, size_t i)
{
    const struct job *p = context;
    const struct shape *s = p->shape;
    const size_t whole = s->span / BLOCK, rest = s->span % BLOCK, half = i % s->parts;
    const uint8_t *from = p->a->codes + i / s->parts * p->a->ld;
    uint8_t *to = p->arranged + i * s->spans * s->blocks * BLOCK, last[BLOCK] = {0};
    for (size_t g = 0; g < s->spans; g++, from += s->span, to += s->blocks * BLOCK) {
        memcpy(last, from + whole * BLOCK, rest);
        if (p->product->w->bits == 4) {
            p->by->split(whole, from, to);
            if (rest > 0)
                p->by->split(1, last, to + whole * BLOCK);
            continue;
        }
        memcpy(to, from, whole * BLOCK);
        if (rest > 0)
            memcpy(to + whole * BLOCK, last, BLOCK);
        for (size_t j = 0; s->parts == 2 && j < s->blocks * BLOCK; j++)
            to[j] = to[j] >> 4 * half & 15;
    }
}

// ---- blocked

// Columns first .. first+count-1 of output o, of the span g, as bytes; out holds whole blocks.
static void unpack(const struct job *p, const rs_int_weights *w, const struct shape *s, size_t o, size_t g, size_t first, size_t count, int8_t *out)
{
    const size_t whole = count / BLOCK, rest = count % BLOCK, start = g * s->span + first;
    if (!s->aligned) {
        memset(out, 0, rs_pieces_count(count, BLOCK) * BLOCK);
        for (size_t j = 0; j < count; j++)
            out[w->bits == 4 ? j / BLOCK * BLOCK + j % 2 * (BLOCK / 2) + j % BLOCK / 2 : j] = (int8_t)rs_int_weights_code(w, o, start + j);
        return;
    }
    const uint8_t *codes = w->codes + o * s->row + start * w->bits / 8;
    p->by->unpack(w->bits, whole, codes, out);
    if (rest > 0) {
        uint8_t last[BLOCK] = {0};
        memcpy(last, codes + whole * 8 * w->bits, rs_packed_row_bytes((int)w->bits, rest));
        p->by->unpack(w->bits, 1, last, out + whole * BLOCK);
    }
}

// sums[rows][4] of the rows from first on with one span of outputs o .. o+n-1.
static void span_sums(const struct job *p, const rs_int_weights *w, const struct shape *s, size_t first, size_t rows, size_t o, size_t n, size_t g, int8_t *bytes, int32_t *sums)
{
    const size_t lda = s->spans * s->blocks * BLOCK;
    const uint8_t *a = p->arranged + first * lda + g * s->blocks * BLOCK;
    size_t c = 0;
    memset(sums, 0, rows * OUTPUTS * sizeof *sums);
    if (rows == 1 && n == OUTPUTS && s->aligned && (w->bits == 4 || w->bits == 8)) {
        p->by->one(w->bits, s->span / BLOCK, s->burst, a, w->codes + o * s->row + g * s->span * w->bits / 8, s->row, sums);
        c = s->span / BLOCK * BLOCK;
    }
    for (size_t count; c < s->span; c += count) {
        count = rs_pieces_min(CHUNK, s->span - c);
        const size_t blocks = rs_pieces_count(count, BLOCK);
        for (size_t i = 0; i < OUTPUTS; i++)
            if (i < n)
                unpack(p, w, s, o + i, g, c, count, bytes + i * CHUNK);
            else
                memset(bytes + i * CHUNK, 0, blocks * BLOCK);
        p->by->tile(rows, blocks, s->burst, a + c, lda, bytes, CHUNK, sums);
    }
    for (size_t r = 0; s->parts == 2 && r < rows / 2; r++)
        for (size_t j = 0; j < OUTPUTS; j++)
            sums[r * OUTPUTS + j] = (int32_t)((uint32_t)sums[2 * r * OUTPUTS + j] + 16 * (uint32_t)sums[(2 * r + 1) * OUTPUTS + j]);
}

static void store(const rs_int_product *to, size_t m, size_t n, const float *acc, const float *scale, float *y)
{
    for (size_t r = 0; r < m; r++, y += to->ldy)
        for (size_t j = 0; j < n; j++)
            y[j] = to->add ? y[j] + acc[r * OUTPUTS + j] * scale[r] : acc[r * OUTPUTS + j] * scale[r];
}

// One row by outputs begin .. end-1 of weights that are multiplied as they lie, one span of whole blocks: the steps of `piece`, each for MANY outputs.
static void row_piece(const struct job *p, const rs_int_product *to, const struct shape *s, size_t begin, size_t end)
{
    enum { MANY = 64 };
    const rs_int_weights *w = to->w;
    const float scale = p->a->scale[0];
    const int32_t zero = p->a->zero[0];
    for (size_t n; begin < end; begin += n) {
        int32_t sums[MANY] = {0};
        float converted[MANY];
        n = rs_pieces_min(MANY, end - begin);
        for (size_t j = 0; j < n; j += OUTPUTS)
            p->by->one(w->bits, s->blocks, s->burst, p->arranged, w->codes + (begin + j) * s->row, s->row, sums + j);
        if (w->scales == NULL)
            p->by->halves(n, w->scales_16 + begin, converted);
        const float *scales = w->scales != NULL ? w->scales + begin : converted;
        float *y = to->y + begin;
        for (size_t j = 0; j < n; j++) {
            const float acc = 0 + (float)(sums[j] - zero * w->sums[begin + j]) * scales[j];
            y[j] = to->add ? y[j] + acc * scale : acc * scale;
        }
    }
}

static void piece(void *context, size_t i)
{
    const struct job *p = context;
    size_t which = 0;
    for (; i >= p->shape[which].pieces; which++)
        i -= p->shape[which].pieces;
    const struct shape *s = &p->shape[which];
    const rs_int_product *to = &p->product[which];
    const rs_int_weights *w = to->w;
    const size_t first = i % s->strips * s->strip, rows = rs_pieces_min(s->strip, s->rows - first), m = rows / s->parts, row = first / s->parts;
    const size_t begin = i / s->strips * s->outputs, end = rs_pieces_min(w->n, begin + s->outputs);
    if (p->a->m == 1 && s->whole && p->sums == NULL) {
        row_piece(p, to, s, begin, end);
        return;
    }
    _Alignas(64) int8_t bytes[OUTPUTS * CHUNK];
    _Alignas(64) int32_t sums[STRIP * OUTPUTS];
    _Alignas(64) float acc[STRIP * OUTPUTS];
    for (size_t o = begin; o < end; o += OUTPUTS) {
        const size_t n = rs_pieces_min(OUTPUTS, end - o);
        memset(acc, 0, m * OUTPUTS * sizeof *acc);
        for (size_t g = 0; g < s->spans; g++) {
            int32_t of_codes[OUTPUTS] = {0};
            float scales[OUTPUTS] = {0};
            span_sums(p, w, s, first, rows, o, n, g, bytes, sums);
            for (size_t j = 0; j < n; j++) {
                of_codes[j] = w->sums[(o + j) * s->spans + g];
                scales[j] = scale_of(w, (o + j) * s->spans + g);
            }
            if (p->sums == NULL)
                p->by->scale(m, sums, p->a->zero + row, of_codes, scales, acc);
            for (size_t r = 0; p->sums != NULL && r < m; r++)
                memcpy(p->sums + ((row + r) * s->spans + g) * w->n + o, sums + r * OUTPUTS, n * sizeof *sums);
        }
        if (p->sums == NULL)
            store(to, m, n, acc, p->a->scale + row, to->y + row * to->ldy + o);
    }
}

// Whether two products want the same arrangement of activations.
static bool alike(const rs_int_weights *v, const struct shape *s, const rs_int_weights *w, const struct shape *t)
{
    return (v->bits == 4) == (w->bits == 4) && s->span == t->span && s->parts == t->parts;
}

// As many of the products as share an arrangement with the first; returns how many.
static size_t run(const rs_int_kernels *by, size_t count, const rs_int_product *products, const rs_int_rows *a, int32_t *sums, void *work)
{
    struct job p = {.by = by, .a = a, .product = products, .arranged = work, .sums = sums};
    size_t pieces = 0, bytes;
    while (p.count < count && p.count < PRODUCTS) {
        const rs_int_weights *w = products[p.count].w;
        if (!measure(by, w, a->bits, a->m, &p.shape[p.count], &bytes) || (p.count > 0 && !alike(products->w, p.shape, w, &p.shape[p.count])))
            break;
        pieces += p.shape[p.count++].pieces;
    }
    if (p.count == 0)
        return 1;
    if (by->product != NULL) {
        by->product(products->w, a, sums, products->y, products->ldy, products->add);
        return 1;
    }
    if (by->tile == NULL) {
        rs_threads_for(products->w->n, plain_output, &p);
        return 1;
    }
    rs_threads_for(p.shape[0].rows, arrange_row, &p);
    rs_threads_for(pieces, piece, &p);
    return p.count;
}

void rs_int_gemm(const rs_int_kernels *by, size_t count, const rs_int_product *products, const rs_int_rows *a, void *work)
{
    for (size_t i = 0; i < count;)
        i += run(by, count - i, products + i, a, NULL, work);
}

void rs_int_gemm_sums(const rs_int_kernels *by, const rs_int_weights *w, const rs_int_rows *a, int32_t *sums, void *work)
{
    run(by, 1, &(rs_int_product){.w = w}, a, sums, work);
}

size_t rs_int_quantise(const rs_int_kernels *by, const rs_quantizer *q, const float *x, size_t ldx, const rs_int_rows *rows)
{
    return by->quantise(q, rows->m, rows->k, x, ldx, rows->codes, rows->ld, rows->scale, rows->zero);
}

bool rs_int_norm_quantise(const rs_int_kernels *by, const rs_quantizer *q, const rs_int_stream *s, const rs_int_rows *rows)
{
    return by->norm_quantise != NULL && by->norm_quantise(q, s, rows);
}
