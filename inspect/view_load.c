// SPDX-License-Identifier: Apache-2.0
// Parts of a statistics frame, taken apart into arrays.
#include "inspect/view_load.h"

#include <stdlib.h>
#include <string.h>

#include "formats/endian.h"

static uint64_t count(const rs_part *p)
{
    return p->n_dims == 2 ? p->shape[0] * p->shape[1] : p->shape[0]; // the census has seen that it fits
}

// Little-endian 32-bit numbers at the part; NULL without memory.
static void *words(const rs_part *p, const uint8_t *payload)
{
    const uint64_t n = count(p);
    uint32_t *out = malloc((size_t)n * sizeof *out + 1);
    for (uint64_t i = 0; out != NULL && i < n; i++) out[i] = rs_get_u32(payload + p->off + 4 * i);
    return out;
}

static const rs_part *part(const rs_stat_head *h, const char *key, rs_dtype dtype)
{
    for (int i = 0; i < h->n_parts; i++)
        if (strcmp(h->parts[i].key, key) == 0 && h->parts[i].dtype == dtype && h->parts[i].n_dims >= 1 && h->parts[i].n_dims <= 2) return &h->parts[i];
    return NULL;
}

static rs_status take(rs_view_channels *ch, const rs_stat_head *h, const uint8_t *payload, rs_error *e)
{
    const struct {
        const char *key;
        rs_dtype dtype;
        void **to;
    } list[] = {{"absmax", RS_F32, (void **)&ch->absmax}, {"rms", RS_F32, (void **)&ch->rms}, {"kurt", RS_F32, (void **)&ch->kurt},
                {"sig", RS_F32, (void **)&ch->sig},       {"err", RS_F32, (void **)&ch->err}, {"clip", RS_U32, (void **)&ch->clip}};
    uint64_t rows = 0, groups = 0;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        const rs_part *p = part(h, list[i].key, list[i].dtype);
        if (p == NULL) continue;
        const uint64_t r = p->n_dims == 2 ? p->shape[0] : 1, g = p->n_dims == 2 ? p->shape[1] : p->shape[0];
        if (i < 3) {
            if (ch->n != 0 && ch->n != count(p)) return rs_fail(e, RS_E_TENSOR, "%s: its parts have different lengths", h->name);
            ch->n = count(p);
        } else {
            if (groups != 0 && (r != rows || g != groups)) return rs_fail(e, RS_E_TENSOR, "%s: its parts have different shapes", h->name);
            rows = r;
            groups = g;
        }
        *list[i].to = words(p, payload);
        if (*list[i].to == NULL) return rs_fail(e, RS_E_NOMEM, "%s: statistics", h->name);
    }
    ch->rows = rows;
    ch->groups = groups;
    const rs_part *hist = part(h, "hist", RS_U64);
    ch->has_hist = hist != NULL && count(hist) == 64;
    for (int i = 0; ch->has_hist && i < 64; i++) ch->hist[i] = rs_get_u64(payload + hist->off + 8 * (uint64_t)i);
    return RS_OK;
}

rs_status rs_view_channels_read(rs_view_channels *ch, rs_outline *o, size_t frame, rs_error *e)
{
    rs_stat_head head;
    uint8_t *payload = NULL;
    *ch = (rs_view_channels){0};
    const rs_outline_stat *s = rs_outline_stat_at(o, frame);
    if (s == NULL) return rs_fail(e, RS_E_INTERNAL, "no statistics frame %zu", frame);
    if (s->payload_len > RS_VIEW_MAX_PARTS) return rs_fail(e, RS_E_LIMIT, "%s: %llu bytes of statistics are too many to show", s->name, (unsigned long long)s->payload_len);
    rs_status st = rs_outline_stat_read(o, frame, &head, &payload, e);
    if (st == RS_OK) st = take(ch, &head, payload, e);
    free(payload);
    return st;
}

void rs_view_channels_free(rs_view_channels *ch)
{
    free(ch->absmax);
    free(ch->rms);
    free(ch->kurt);
    free(ch->sig);
    free(ch->err);
    free(ch->clip);
    *ch = (rs_view_channels){0};
}
