// SPDX-License-Identifier: Apache-2.0
// A network on a device. Two places hold the layer that computes and the one that is sent beside it, so that the device needs room for two layers, whatever the number of layers; where layers are kept there
// are as many more as fit. Work is queued and not waited for, until the next layer has been sent or somebody asks.
#include <stdlib.h>
#include <string.h>

#include "transforms/network_inside.h"

enum { SHARE = 8192, PARTS = 4, JUNCTION = 3 }; // rows of the LM head that are decoded at a time

// The arrays of one layer: of each tensor numbers or codes, 16-bit floats that become numbers, scales, sums of codes; of each junction q, m, t.
struct place {
    struct rs_network_layer slot;
    rs_network_array tensor[RS_NETWORK_TENSORS][PARTS], junction[2][JUNCTION];
    uint64_t layer; // L: none
};

struct rs_network_device {
    const rs_memory *memory;
    struct place two[2], *kept; // kept: [L] or NULL
    int turn;                   // the place that the next layer takes
    bool full;                  // no more layers are kept
    bool queued;                // work waits for a settle: of layers from `since` on
    uint64_t since;
    rs_network_array norm, cos, sin, head, head_codes, head_scales, y, target, nll;
    size_t rope_rows;
    bool streams_head;          // the head does not fit
};

// ---- memory

static void drop_array(rs_network *n, rs_network_array *a)
{
    n->device->memory->release(a->p);
    *a = (rs_network_array){0};
}

static void drop_place(rs_network *n, struct place *p)
{
    for (int w = 0; w < RS_NETWORK_TENSORS; w++)
        for (int i = 0; i < PARTS; i++) drop_array(n, &p->tensor[w][i]);
    for (int j = 0; j < 2; j++)
        for (int i = 0; i < JUNCTION; i++) drop_array(n, &p->junction[j][i]);
    p->layer = n->c.L;
}

// Gives up a layer that is kept; false: there is none but the loaded one.
static bool evict(rs_network *n)
{
    struct rs_network_device *d = n->device;
    for (uint64_t i = d->kept != NULL ? n->c.L : 0; i-- > 0;)
        if (d->kept[i].layer == i && &d->kept[i].slot != n->at) {
            drop_place(n, &d->kept[i]);
            d->full = true;
            return true;
        }
    return false;
}

static void *take(rs_network *n, size_t bytes)
{
    void *p = n->device->memory->alloc(bytes);
    while (p == NULL && evict(n)) p = n->device->memory->alloc(bytes);
    return p;
}

rs_status rs_network_room(rs_network *n, rs_network_array *a, size_t bytes, const char *what, rs_error *e)
{
    if (a->bytes >= bytes && a->p != NULL) return RS_OK;
    drop_array(n, a);
    a->p = take(n, bytes);
    a->bytes = bytes;
    return a->p != NULL ? RS_OK : rs_fail(e, RS_E_NOMEM, "%s: no %zu bytes are left on the device", what, bytes);
}

static rs_status put(rs_network *n, rs_network_array *a, const void *from, size_t bytes, const char *what, rs_error *e)
{
    RS_TRY(rs_network_room(n, a, bytes, what, e));
    n->device->memory->put(a->p, from, bytes);
    return RS_OK;
}

rs_status rs_network_device_open(rs_network *n, rs_error *e)
{
    struct rs_network_device *d = n->device = calloc(1, sizeof *d);
    if (d == NULL) return rs_fail(e, RS_E_NOMEM, "network");
    d->memory = n->k->memory;
    d->two[0].layer = d->two[1].layer = n->c.L;
    return put(n, &d->norm, n->norm_gamma, (size_t)n->c.d * sizeof(float), "final norm", e);
}

void rs_network_device_close(rs_network *n)
{
    struct rs_network_device *d = n->device;
    if (d == NULL) return;
    for (int i = 0; i < 2; i++) drop_place(n, &d->two[i]);
    for (uint64_t i = 0; d->kept != NULL && i < n->c.L; i++) drop_place(n, &d->kept[i]);
    rs_network_array *const all[] = {&d->norm, &d->cos, &d->sin, &d->head, &d->head_codes, &d->head_scales, &d->y, &d->target, &d->nll};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) drop_array(n, all[i]);
    free(d->kept);
    free(d);
    n->device = NULL;
}

// ---- what is in the queue

void rs_network_queued(rs_network *n)
{
    struct rs_network_device *d = n->device;
    if (d == NULL) return;
    if (!d->queued) d->since = n->loaded;
    d->queued = true;
}

rs_status rs_network_device_settle(rs_network *n, rs_error *e)
{
    struct rs_network_device *d = n->device;
    const char *fault;
    const size_t bad = d->memory->settle(&fault);
    const bool queued = d->queued;
    d->queued = false;
    if (fault != NULL) return rs_fail(e, RS_E_INTERNAL, "the device failed: %s", fault);
    if (bad == 0 || !queued) return RS_OK;
    if (n->loaded < n->c.L && d->since < n->loaded) return rs_fail(e, RS_E_VALUE, "layers %llu to %llu: %zu rows of activations hold NaN or infinity", (unsigned long long)d->since, (unsigned long long)n->loaded, bad);
    return rs_fail(e, RS_E_VALUE, "layer %llu: %zu rows of activations hold NaN or infinity", (unsigned long long)d->since, bad);
}

// ---- layers

// An array of the process into one of the layer; *to is where it lies there, NULL of NULL.
static rs_status send(rs_network *n, rs_network_array *a, const void *from, size_t bytes, const void **to, rs_error *e)
{
    *to = NULL;
    if (from == NULL) return RS_OK;
    RS_TRY(rs_network_room(n, a, bytes, "a layer", e));
    n->device->memory->send(a->p, from, bytes);
    *to = a->p;
    return RS_OK;
}

static rs_status send_codes(rs_network *n, rs_network_array a[PARTS], rs_int_weights *w, rs_error *e)
{
    const size_t G = w->group != 0 ? w->k / w->group : 1;
    const void *codes, *scales, *scales_16, *sums;
    RS_TRY(send(n, &a[0], w->codes, w->n * ((w->k * w->bits + 7) / 8), &codes, e));
    RS_TRY(send(n, &a[2], w->scales, w->n * G * sizeof(float), &scales, e));
    RS_TRY(send(n, &a[2], w->scales_16, w->n * G * sizeof(uint16_t), &scales_16, e));
    RS_TRY(send(n, &a[3], w->sums, w->n * G * sizeof(int32_t), &sums, e));
    w->codes = codes;
    w->scales = w->scales != NULL ? a[2].p : NULL;
    w->scales_16 = scales_16;
    w->sums = sums;
    return RS_OK;
}

static rs_status send_tensor(rs_network *n, struct place *p, int w, rs_error *e)
{
    rs_decoder_layer *l = &p->slot.layer;
    const rs_tensor *t = n->in_use[w];
    const int m = rs_network_matrix(w);
    uint64_t rows, cols;
    const void *there;
    if (t == NULL) return RS_OK;
    if (m >= 0 && *rs_network_codes(l, m) != NULL) return send_codes(n, p->tensor[w], &p->slot.codes[m], e);
    rs_weights_shape(t, &rows, &cols);
    const size_t count = (size_t)(rows * cols);
    if (!rs_network_narrow(n, t)) {
        RS_TRY(send(n, &p->tensor[w][0], *rs_network_numbers(l, w), count * sizeof(float), &there, e));
        *rs_network_numbers(l, w) = there;
        return RS_OK;
    }
    RS_TRY(rs_network_room(n, &p->tensor[w][0], count * sizeof(float), "a layer", e));
    *rs_network_numbers(l, w) = p->tensor[w][0].p;
    return send(n, &p->tensor[w][1], rs_mapped_payload(n->m, t), count * sizeof(uint16_t), &there, e);
}

// 16-bit floats that have arrived become numbers.
static void widen(rs_network *n, struct place *p)
{
    for (int w = 0; w < RS_NETWORK_TENSORS; w++) {
        const rs_tensor *t = n->in_use[w];
        uint64_t rows, cols;
        if (t == NULL || !rs_network_narrow(n, t)) continue;
        rs_weights_shape(t, &rows, &cols);
        (t->dtype == RS_F16 ? n->k->f16_to_f32 : n->k->bf16_to_f32)((size_t)(rows * cols), p->tensor[w][1].p, p->tensor[w][0].p);
    }
}

static rs_status send_junction(rs_network *n, rs_network_array a[JUNCTION], rs_junction *j, rs_error *e)
{
    const size_t d = n->shape.d;
    const void *q, *m, *t;
    RS_TRY(send(n, &a[0], j->q, d * j->r * sizeof(float), &q, e));
    RS_TRY(send(n, &a[1], j->m, j->r * j->r * sizeof(float), &m, e));
    RS_TRY(send(n, &a[2], j->t, d * d * sizeof(float), &t, e));
    j->q = q;
    j->m = m;
    j->t = t;
    return RS_OK;
}

static rs_status send_layer(rs_network *n, struct place *p, uint64_t i, rs_error *e)
{
    bool unused;
    p->layer = n->c.L;
    RS_TRY(rs_network_fill(n, i, &p->slot, &unused, e));
    for (int w = 0; w < RS_NETWORK_TENSORS; w++) RS_TRY(send_tensor(n, p, w, e));
    RS_TRY(send_junction(n, p->junction[0], &p->slot.layer.attn, e));
    RS_TRY(send_junction(n, p->junction[1], &p->slot.layer.ffn, e));
    rs_network_release(n);
    return RS_OK;
}

// Layer i into its own place; *place NULL: it is not to be kept, or there is no room for it.
static rs_status send_kept(rs_network *n, uint64_t i, struct place **place, rs_error *e)
{
    struct rs_network_device *d = n->device;
    rs_error why = {0};
    *place = NULL;
    if (d->kept == NULL || d->full) return RS_OK;
    const rs_status s = send_layer(n, &d->kept[i], i, &why);
    if (s == RS_OK) {
        *place = &d->kept[i];
        return RS_OK;
    }
    drop_place(n, &d->kept[i]);
    d->full = true;
    return s == RS_E_NOMEM ? RS_OK : rs_fail(e, s, "%s", why.text);
}

static rs_status send_next(rs_network *n, uint64_t i, struct place **place, rs_error *e)
{
    struct rs_network_device *d = n->device;
    RS_TRY(send_kept(n, i, place, e));
    if (*place == NULL) {
        *place = &d->two[d->turn];
        d->turn = 1 - d->turn;
        RS_TRY(send_layer(n, *place, i, e));
    }
    return rs_network_device_settle(n, e); // of the layer before, beside whose work that was
}

rs_status rs_network_device_load(rs_network *n, uint64_t i, rs_error *e)
{
    struct rs_network_device *d = n->device;
    struct place *p = d->kept != NULL && d->kept[i].layer == i ? &d->kept[i] : NULL;
    if (p == NULL) {
        const rs_status s = send_next(n, i, &p, e);
        if (s != RS_OK) {
            n->loaded = n->c.L;
            return s;
        }
        d->memory->meet();
        widen(n, p);
        p->layer = i;
    }
    n->at = &p->slot;
    n->loaded = i;
    return RS_OK;
}

rs_status rs_network_layer_bytes(const rs_network *n, uint64_t *bytes, rs_error *e)
{
    *bytes = 0;
    for (uint64_t i = 0; i < n->c.L; i++) {
        uint64_t layer = 0, rows, cols;
        for (int w = 0; w < RS_NETWORK_TENSORS; w++) {
            const rs_tensor *t;
            RS_TRY(rs_network_find_layer(n, i, w, &t, e));
            if (t == NULL) continue;
            rs_weights_shape(t, &rows, &cols);
            layer += rows * cols * (sizeof(float) + (rs_network_narrow(n, t) ? sizeof(uint16_t) : 0));
        }
        *bytes = layer > *bytes ? layer : *bytes;
    }
    return RS_OK;
}

rs_status rs_network_device_keep(rs_network *n, rs_error *e)
{
    struct rs_network_device *d = n->device;
    if (d->kept == NULL) {
        d->kept = calloc((size_t)n->c.L, sizeof *d->kept);
        for (uint64_t i = 0; d->kept != NULL && i < n->c.L; i++) d->kept[i].layer = n->c.L;
    }
    return d->kept != NULL ? RS_OK : rs_fail(e, RS_E_NOMEM, "%llu layers", (unsigned long long)n->c.L);
}

// ---- what stands around them

const float *rs_network_device_norm(const rs_network *n)
{
    return n->device->norm.p;
}

rs_status rs_network_device_rope(rs_network *n, size_t S, const float **cos, const float **sin, rs_error *e)
{
    struct rs_network_device *d = n->device;
    const size_t bytes = S * (n->shape.h / 2) * sizeof(float);
    if (S > d->rope_rows) {
        d->rope_rows = 0;
        RS_TRY(put(n, &d->cos, *cos, bytes, "RoPE tables", e));
        RS_TRY(put(n, &d->sin, *sin, bytes, "RoPE tables", e));
        d->rope_rows = S;
    }
    *cos = d->cos.p;
    *sin = d->sin.p;
    return RS_OK;
}

// Bytes of a row of the LM head: 16-bit floats stay what they are, all else is f32.
static size_t head_row(const rs_network *n)
{
    return n->shape.d * (rs_network_narrow(n, n->head) ? sizeof(uint16_t) : sizeof(float));
}

// Rows of the head, from first on, into an array of the device.
static rs_status put_head(rs_network *n, uint64_t first, uint64_t count, void *to, float *buffer, rs_error *e)
{
    const uint8_t *payload = rs_mapped_payload(n->m, n->head);
    const bool direct = rs_network_narrow(n, n->head) || rs_network_head_direct(n) != NULL;
    if (!direct) RS_TRY(rs_network_head_rows(n, first, count, buffer, e));
    n->device->memory->put(to, direct ? (const void *)(payload + first * head_row(n)) : buffer, (size_t)count * head_row(n));
    return RS_OK;
}

// The whole head, to stay there; or room for a share of it.
static rs_status open_head(rs_network *n, float *buffer, rs_error *e)
{
    struct rs_network_device *d = n->device;
    const size_t V = (size_t)n->c.V;
    rs_error no_room = {0};
    if (rs_network_room(n, &d->head, V * head_row(n), "LM head", &no_room) != RS_OK) {
        d->streams_head = true;
        return rs_network_room(n, &d->head, (V < SHARE ? V : (size_t)SHARE) * head_row(n), "LM head", e);
    }
    for (size_t v = 0; v < V; v += SHARE) {
        const rs_status s = put_head(n, v, V - v < SHARE ? V - v : SHARE, (uint8_t *)d->head.p + v * head_row(n), buffer, e);
        if (s == RS_OK) continue;
        drop_array(n, &d->head);
        return s;
    }
    return RS_OK;
}

// Logits of `count` rows of the head that are in its array, y [rows, d].
static void multiply_head(const rs_network *n, size_t rows, size_t count, const float *y, float *logits)
{
    const size_t dim = n->shape.d, V = (size_t)n->c.V;
    const void *head = n->device->head.p;
    const bool bf16 = n->head->dtype == RS_BF16;
    if (!rs_network_narrow(n, n->head)) n->k->gemm_nt(rows, count, dim, y, dim, head, dim, 0, logits, V);
    else if (rows > 1) n->k->gemm_half(bf16, rows, count, dim, y, dim, head, dim, 0, logits, V);
    else n->k->gemv_half(bf16, count, dim, y, head, dim, logits);
}

static rs_status multiply(rs_network *n, size_t rows, const float *y, float *logits, rs_error *e)
{
    struct rs_network_device *d = n->device;
    const size_t V = (size_t)n->c.V;
    float *buffer = malloc(SHARE * n->shape.d * sizeof *buffer); // where the head has to be decoded
    rs_status s = buffer != NULL ? RS_OK : rs_fail(e, RS_E_NOMEM, "LM head");
    if (s == RS_OK && d->head.p == NULL) s = open_head(n, buffer, e);
    if (s == RS_OK && !d->streams_head) multiply_head(n, rows, V, y, logits);
    for (size_t v = 0; s == RS_OK && d->streams_head && v < V; v += SHARE) {
        const size_t count = V - v < SHARE ? V - v : SHARE;
        s = put_head(n, v, count, d->head.p, buffer, e); // behind the product that reads what was there
        if (s == RS_OK) multiply_head(n, rows, count, y, logits + v);
    }
    free(buffer);
    return s;
}

// Of one row, by a head of 8-bit codes; false: it is none, or does not fit.
static bool multiply_codes(rs_network *n, const float *y, float *logits)
{
    struct rs_network_device *d = n->device;
    const size_t V = (size_t)n->c.V, dim = n->shape.d;
    rs_int_weights codes;
    rs_error no_room = {0};
    if (!rs_weights_codes(n->head, rs_mapped_payload(n->m, n->head), &codes) || codes.bits != 8 || codes.group != 0 || codes.scales == NULL) return false;
    if (d->head_codes.p == NULL && (put(n, &d->head_scales, codes.scales, V * sizeof(float), "LM head", &no_room) != RS_OK || put(n, &d->head_codes, codes.codes, V * dim, "LM head", &no_room) != RS_OK)) return false;
    n->k->gemv_int8(V, dim, y, d->head_codes.p, d->head_scales.p, logits);
    return true;
}

rs_status rs_network_device_logits(rs_network *n, size_t rows, const float *x, float *logits, rs_error *e)
{
    struct rs_network_device *d = n->device;
    const size_t dim = n->shape.d;
    RS_TRY(rs_network_room(n, &d->y, rows * dim * sizeof(float), "LM head", e));
    n->k->rmsnorm(rows, dim, x, d->norm.p, n->shape.eps, d->y.p);
    if (rows != 1 || !multiply_codes(n, d->y.p, logits)) RS_TRY(multiply(n, rows, d->y.p, logits, e));
    return rs_network_device_settle(n, e);
}

rs_status rs_network_device_losses(rs_network *n, size_t rows, const float *logits, const int32_t *target, double *nll, rs_error *e)
{
    struct rs_network_device *d = n->device;
    const size_t V = (size_t)n->c.V;
    RS_TRY(put(n, &d->target, target, rows * sizeof *target, "losses", e));
    RS_TRY(rs_network_room(n, &d->nll, rows * sizeof *nll, "losses", e));
    n->k->cross_entropy(rows, V, logits, V, d->target.p, d->nll.p, NULL);
    d->memory->get(nll, d->nll.p, rows * sizeof *nll);
    return rs_network_device_settle(n, e);
}
