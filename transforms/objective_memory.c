// SPDX-License-Identifier: Apache-2.0
// What an objective holds: how many layers keep their activations, and all arrays, in the process or on a device.
#include <stdlib.h>

#include "transforms/objective_inside.h"

enum { ROWS = RS_OBJECTIVE_ROWS, HEAD_BLOCK = 8192, SPARE = 16 }; // rows of the LM head decoded at a time; a part of what is free on a device stays free

// Of `layers` layers and `heads` matrices of the vocabulary.
static uint64_t weight_bytes(const rs_config *c, uint64_t layers, uint64_t heads)
{
    const uint64_t nq = c->n_q * c->h, nkv = c->n_kv * c->h, layer = c->d * (2 * nq + 2 * nkv + 3 * c->f);
    return (layers * layer + heads * c->V * c->d) * sizeof(float);
}

static rs_status too_little(rs_status s, const char *whose, uint64_t is, uint64_t least, const rs_objective_memory *m, uint64_t activations, rs_error *e)
{
    return rs_fail(e, s, "%s: %llu MiB are not enough, %llu MiB are the least: weights %llu, rotations and their %s %llu, activations %llu", whose, (unsigned long long)(is >> 20), (unsigned long long)(least >> 20) + 1,
                   (unsigned long long)(m->weights >> 20), m->layers == 1 ? "state" : "slopes", (unsigned long long)(m->params >> 20), (unsigned long long)(activations >> 20));
}

// Bytes of one layer there, and what may be used of what is free.
static rs_status ask_device(const rs_objective *o, uint64_t *layer, uint64_t *room, rs_error *e)
{
    const uint64_t left = o->memory->room();
    *room = left - left / SPARE;
    return rs_network_layer_bytes(o->n, layer, e);
}

// What one layer needs, beside the stream at its input: kept values and scratch.
static rs_status plan_memory(rs_objective *o, rs_error *e)
{
    const rs_config *c = rs_network_config(o->n);
    const bool device = o->k->memory != NULL;
    const uint64_t S = o->o.S, d = c->d, stream = S * d * sizeof(float), kept = o->kept_size * sizeof(float), folded = rs_objective_rounds(o) ? rs_decoder_folded_size(&o->shape) * sizeof(float) : 0,
                   scratch = rs_decoder_learn_scratch(&o->shape, S) * sizeof(float) + folded;
    const uint64_t logits = ROWS * (c->V + d) * sizeof(float) * (o->o.kl > 0 ? 2 : 1), fixed = (c->L + 2) * stream + scratch + logits + (o->o.kl > 0 ? stream : 0);
    rs_objective_memory *m = &o->needs;
    uint64_t layer = 0, room = UINT64_MAX;
    if (device) RS_TRY(ask_device(o, &layer, &room, e));
    // The head, a layer, and the pages of the embedding that a sequence touches: they are given back when they have been used. On a device the head and two layers.
    const uint64_t rows = S * (64 << 10), embedding = weight_bytes(c, 0, 1);
    m->weights = device ? weight_bytes(c, 0, 1) + 2 * layer : weight_bytes(c, 1, 1) + (c->tied ? 0 : rows < embedding ? rows : embedding);
    m->params = device ? o->o.mirrors : o->o.params;
    m->layers = device ? 2 : 1;
    const uint64_t least = m->weights + m->params + fixed + kept;
    uint64_t allowed = o->o.mem != 0 ? o->o.mem : device ? room : (weight_bytes(c, c->L, c->tied ? 1 : 2) + m->params + kept + scratch) / 2 * 3;
    if (o->o.mem != 0 && o->o.mem < least) return too_little(RS_USAGE, "--mem", o->o.mem, least, m, fixed + kept, e);
    if (room < least) return too_little(RS_E_NOMEM, "what is free on the device", room, least, m, fixed + kept, e);
    if (allowed > room) allowed = room;
    m->kept = allowed > least ? 1 + (allowed - least) / kept : 1;
    if (m->kept > c->L) m->kept = c->L;
    const uint64_t more = c->L > 2 ? (c->L - 2) * layer : 0;
    if (device && allowed - least >= more + (m->kept - 1) * kept) {
        m->layers = c->L;
        m->weights += more;
    }
    m->activations = fixed + m->kept * kept;
    m->total = m->weights + m->params + m->activations;
    return RS_OK;
}

static rs_status no_memory(rs_error *e, const char *what) { return rs_fail(e, RS_E_NOMEM, "no memory for %s", what); }

static float *floats(const rs_objective *o, uint64_t n) { return o->memory->alloc(n * sizeof(float)); }

// Rows of the head from `first` on to their place.
static rs_status put_head(rs_objective *o, const float *direct, size_t first, size_t rows, float *block, rs_error *e)
{
    const size_t d = o->shape.d;
    float *to = o->head_copy + first * d;
    if (o->k->memory == NULL) return rs_network_head_rows(o->n, first, rows, to, e);
    if (direct == NULL) RS_TRY(rs_network_head_rows(o->n, first, rows, block, e));
    o->memory->put(to, direct != NULL ? direct + first * d : block, rows * d * sizeof(float));
    return RS_OK;
}

static rs_status load_head(rs_objective *o, rs_error *e)
{
    const float *direct = rs_network_head_direct(o->n);
    const bool device = o->k->memory != NULL;
    const size_t d = o->shape.d;
    o->head = direct;
    if (direct != NULL && !device) return RS_OK;
    o->head = o->head_copy = floats(o, o->V * d);
    float *block = device && direct == NULL ? malloc(HEAD_BLOCK * d * sizeof *block) : NULL;
    rs_status s = o->head == NULL || (device && direct == NULL && block == NULL) ? no_memory(e, "the LM head") : RS_OK;
    for (size_t v = 0; s == RS_OK && v < o->V; v += HEAD_BLOCK) s = put_head(o, direct, v, o->V - v < HEAD_BLOCK ? o->V - v : HEAD_BLOCK, block, e);
    free(block);
    return s;
}

rs_status rs_objective_allocate(rs_objective *o, rs_error *e)
{
    const bool teacher = o->o.kl > 0, rounds = rs_objective_rounds(o), device = o->k->memory != NULL;
    RS_TRY(plan_memory(o, e));
    RS_TRY(rs_mirrors_new(&o->mirrors, o->k, e));
    const size_t S = o->o.S, d = o->shape.d;
    o->x = floats(o, (o->L + 1) * S * d);
    o->kept = floats(o, o->needs.kept * o->kept_size);
    o->scratch = floats(o, rs_decoder_learn_scratch(&o->shape, S));
    o->dx = floats(o, S * d);
    o->y = floats(o, 2 * ROWS * d);
    o->logits = floats(o, ROWS * o->V);
    o->losses = o->memory->alloc(2 * S * sizeof *o->losses);
    if (rounds) o->folded = floats(o, rs_decoder_folded_size(&o->shape));
    if (teacher) {
        o->ref_logits = floats(o, ROWS * o->V);
        o->ref = floats(o, S * d);
    }
    if (device) o->ids = o->memory->alloc(S * sizeof *o->ids);
    if (o->x == NULL || o->kept == NULL || o->scratch == NULL || o->dx == NULL || o->y == NULL || o->logits == NULL || o->losses == NULL || (rounds && o->folded == NULL) || (teacher && (o->ref == NULL || o->ref_logits == NULL)) ||
        (device && o->ids == NULL))
        return no_memory(e, "activations");
    if (device && o->needs.layers == o->L) RS_TRY(rs_network_keep(o->n, e));
    return load_head(o, e);
}

void rs_objective_release(rs_objective *o)
{
    void *const all[] = {o->head_copy, o->x, o->kept, o->scratch, o->folded, o->dx, o->y, o->logits, o->ref_logits, o->ref, o->losses, o->ids};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) o->memory->release(all[i]);
    rs_mirrors_free(o->mirrors);
}
