// SPDX-License-Identifier: Apache-2.0
// Packed weights of the integer products: sizes, and packing from the dense rows of a file (the layout is drawn in int_ops.h).
#include <string.h>

#include "kernels/cpu/int_ops.h"
#include "kernels/cpu/pieces.h"
#include "kernels/packed.h"
#include "kernels/threads.h"

enum { MOST = 1 << 24 }; // columns of a span (FORMAT.md 12), so that sums of codes fit

bool rs_int_layout(const rs_int_weights *w, struct rs_int_layout *l)
{
    const size_t L = w->by->lanes;
    size_t bytes;
    if (w->bits < 2 || w->bits > 8 || w->n == 0 || w->k == 0 || (w->group != 0 && w->k % w->group != 0))
        return false;
    l->nibbles = w->bits <= 4;
    l->span = w->group != 0 ? w->group : w->k;
    if (l->span > MOST)
        return false;
    l->spans = w->k / l->span;
    l->quads = rs_pieces_count(l->span, 4);
    l->panels = rs_pieces_count(w->n, 2 * L);
    l->quad_bytes = l->nibbles ? 4 * L : 8 * L;
    return !__builtin_mul_overflow(l->quads, l->quad_bytes, &l->span_bytes) && !__builtin_add_overflow(l->span_bytes, 16 * L, &l->span_bytes) &&
           !__builtin_mul_overflow(l->spans, l->span_bytes, &l->panel_bytes) && !__builtin_mul_overflow(l->panels, l->panel_bytes, &bytes);
}

size_t rs_int_weights_bytes(const rs_int_weights *w)
{
    struct rs_int_layout l;
    return rs_int_layout(w, &l) ? l.panels * l.panel_bytes : 0;
}

struct packing {
    const rs_int_weights *w;
    const uint8_t *rows;
    const float *scales;
    struct rs_int_layout l;
};

enum { BLOCK = 512 }; // columns unpacked at a time; a multiple of 8, so that each block starts on a byte

static void pack_output(const struct packing *p, size_t o, uint8_t *panel)
{
    const rs_int_weights *w = p->w;
    const struct rs_int_layout *l = &p->l;
    const size_t L = w->by->lanes, lane = o % (2 * L), at = (l->nibbles ? lane % L : lane) * 4, tail = l->quads * l->quad_bytes;
    const uint8_t *row = p->rows + o * rs_packed_row_bytes((int)w->bits, w->k);
    int8_t codes[BLOCK];
    uint8_t *span = panel;
    int32_t sum = 0;
    for (size_t j = 0, g = 0, t = 0; j < w->k; j += BLOCK) {
        const size_t n = rs_pieces_min(BLOCK, w->k - j);
        rs_packed_unpack((int)w->bits, n, row + j / 8 * w->bits, codes);
        for (size_t i = 0; i < n; i++) {
            uint8_t *byte = span + t / 4 * l->quad_bytes + at + t % 4;
            *byte = !l->nibbles ? (uint8_t)codes[i] : lane < L ? (uint8_t)((*byte & 0xf0) | (codes[i] + 8)) : (uint8_t)((*byte & 0x0f) | (codes[i] + 8) << 4);
            sum += codes[i];
            if (++t == l->span) {
                memcpy(span + tail + lane * sizeof(float), &p->scales[o * l->spans + g], sizeof(float));
                memcpy(span + tail + (2 * L + lane) * sizeof sum, &sum, sizeof sum);
                span += l->span_bytes;
                sum = 0;
                t = 0;
                g++;
            }
        }
    }
}

static void pack_panel(void *context, size_t i)
{
    const struct packing *p = context;
    const size_t width = 2 * p->w->by->lanes, end = rs_pieces_min(p->w->n, (i + 1) * width), codes = p->l.quads * p->l.quad_bytes;
    uint8_t *panel = (uint8_t *)p->w->packed + i * p->l.panel_bytes;
    for (size_t g = 0; g < p->l.spans; g++) {
        memset(panel + g * p->l.span_bytes, p->l.nibbles ? 0x88 : 0, codes);
        memset(panel + g * p->l.span_bytes + codes, 0, p->l.span_bytes - codes);
    }
    for (size_t o = i * width; o < end; o++)
        pack_output(p, o, panel);
}

void rs_int_weights_pack(const rs_int_weights *w, const uint8_t *rows, const float *scales)
{
    struct packing p = {.w = w, .rows = rows, .scales = scales};
    if (rs_int_layout(w, &p.l))
        rs_threads_for(p.l.panels, pack_panel, &p);
}

int rs_int_weights_code(const rs_int_weights *w, size_t o, size_t j)
{
    struct rs_int_layout l;
    if (!rs_int_layout(w, &l))
        return 0;
    const size_t L = w->by->lanes, lane = o % (2 * L), g = j / l.span, t = j % l.span;
    const uint8_t *quad = (const uint8_t *)w->packed + o / (2 * L) * l.panel_bytes + g * l.span_bytes + t / 4 * l.quad_bytes;
    if (!l.nibbles)
        return (int8_t)quad[4 * lane + t % 4];
    return (quad[4 * (lane % L) + t % 4] >> (lane < L ? 0 : 4) & 15) - 8;
}
