// SPDX-License-Identifier: Apache-2.0
// The walk through a model that proves its integer kernels, one layer at a time.
#include "inspect/kernels_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/kernels_inside.h"
#include "transforms/random.h"

enum { SIMULATED, INTEGER, PLAIN, SUMS, NUDGED, DEVICE, NETWORKS };
static const rs_role roles[RS_KERNELS_ROLES] = {RS_ROLE_Q, RS_ROLE_K, RS_ROLE_V, RS_ROLE_O, RS_ROLE_GATE, RS_ROLE_UP, RS_ROLE_DOWN};

void rs_kernels_fail(rs_kernels_state *s, const char *fmt, ...)
{
    va_list ap;
    if (s->r->failures++ > 0) return;
    va_start(ap, fmt);
    vsnprintf(s->r->first, sizeof s->r->first, fmt, ap);
    va_end(ap);
}

double rs_kernels_total(const rs_mapped *m)
{
    return (double)rs_mapped_head(m)->layers * RS_KERNELS_ROLES;
}

// The networks (nudged is the simulated one once more; device NULL where there is none), their hidden states, here, two runs of a layer.
typedef struct walk {
    rs_kernels_state s;
    rs_network *n[NETWORKS];
    float *x[NETWORKS];
    rs_kernels_run sim, run;
} walk;

static rs_status allocate(walk *w, rs_error *e)
{
    const rs_decoder_shape *h = rs_network_shape(w->n[SIMULATED]);
    const size_t columns[RS_KERNELS_PLACES] = {h->d, h->n_q * h->h, h->n_kv * h->h, h->n_kv * h->h, h->n_q * h->h, h->d, h->f, h->d};
    bool ok = true;
    for (int j = 0; j < NETWORKS; j++) ok = (w->x[j] = malloc(w->s.S * h->d * sizeof(float))) != NULL && ok;
    for (int j = 0; j < 2; j++) {
        rs_kernels_run *r = j == 0 ? &w->sim : &w->run;
        ok = (r->x = malloc(w->s.S * h->d * sizeof(float))) != NULL && ok;
        for (int p = 0; p < RS_KERNELS_PLACES; p++) {
            r->columns[p] = columns[p];
            ok = (r->place[p] = malloc(w->s.S * columns[p] * sizeof(float))) != NULL && ok;
        }
    }
    return ok ? RS_OK : rs_fail(e, RS_E_NOMEM, "activations of %zu tokens", w->s.S);
}

static void drop(walk *w)
{
    for (int j = 0; j < NETWORKS; j++) free(w->x[j]);
    for (int j = 0; j < 2; j++) {
        rs_kernels_run *r = j == 0 ? &w->sim : &w->run;
        free(r->x);
        for (int p = 0; p < RS_KERNELS_PLACES; p++) free(r->place[p]);
    }
    for (int j = 0; j < NUDGED; j++) rs_network_close(w->n[j]);
    rs_network_close(w->n[DEVICE]);
}

static rs_status matrices(walk *w, const rs_decoder_layer *l, rs_error *e)
{
    const struct {
        const rs_int_weights *w;
        const rs_quantizer *q;
        int place;
    } all[RS_KERNELS_ROLES] = {{l->cq, &l->in_q, RS_KERNELS_QKV},         {l->ck, &l->in_k, RS_KERNELS_QKV},       {l->cv, &l->in_v, RS_KERNELS_QKV},   {l->co, &l->in_o, RS_KERNELS_O},
                               {l->cgate, &l->in_gate, RS_KERNELS_GATE_UP}, {l->cup, &l->in_up, RS_KERNELS_GATE_UP}, {l->cdown, &l->in_down, RS_KERNELS_DOWN}};
    for (size_t i = 0; i < RS_KERNELS_ROLES; i++) {
        if (all[i].w == NULL) w->s.r->role[i].others++;
        else RS_TRY(rs_kernels_matrix(&w->s, i, rs_network_tensor(w->n[INTEGER], roles[i])->name, all[i].w, all[i].q, w->sim.place[all[i].place], e));
        if (w->s.o->progress != NULL) w->s.o->progress(w->s.o->context, (double)(w->s.layer * RS_KERNELS_ROLES + i + 1));
    }
    return RS_OK;
}

// A cache of f16 rounds K and V more coarsely than products round.
static void nudge(walk *w)
{
    const size_t n = w->s.S * rs_network_shape(w->n[SIMULATED])->d;
    w->s.r->nudge = rs_network_head(w->n[SIMULATED])->plan.kv.bits == 16 ? 0x1p-10 : 0x1p-16;
    for (size_t i = 0; i < n; i++) w->x[NUDGED][i] *= (float)(1 + (2 * rs_random_uniform(2, w->s.layer, i) - 1) * w->s.r->nudge);
}

static rs_status layer(walk *w, rs_error *e)
{
    const size_t bytes = w->s.S * rs_network_shape(w->n[SIMULATED])->d * sizeof(float);
    const rs_decoder_layer *simulated, *integer, *unused;
    RS_TRY(rs_network_load(w->n[SIMULATED], w->s.layer, &simulated, e));
    RS_TRY(rs_network_load(w->n[INTEGER], w->s.layer, &integer, e));
    memcpy(w->sim.x, w->x[SIMULATED], bytes);
    RS_TRY(rs_network_forward(w->n[SIMULATED], w->s.S, w->sim.x, rs_kernels_tap, &w->sim, e));
    RS_TRY(matrices(w, integer, e));
    RS_TRY(rs_kernels_device(&w->s, w->n[SIMULATED], simulated, &w->sim, w->x[SIMULATED], e));
    RS_TRY(rs_kernels_cache(&w->s, w->n[INTEGER], w->sim.place[RS_KERNELS_K], w->sim.place[RS_KERNELS_V], e));
    RS_TRY(rs_kernels_stages(&w->s, w->n[SIMULATED], simulated, integer, &w->sim, &w->run, w->x[SIMULATED], e));
    memcpy(w->x[SIMULATED], w->sim.x, bytes);
    nudge(w);
    RS_TRY(rs_network_forward(w->n[SIMULATED], w->s.S, w->x[NUDGED], NULL, NULL, e));
    RS_TRY(rs_network_forward(w->n[INTEGER], w->s.S, w->x[INTEGER], NULL, NULL, e));
    if (w->s.o->device != NULL) RS_TRY(rs_kernels_device_layer(&w->s, w->n[DEVICE], w->x[DEVICE], e));
    for (int j = PLAIN; j <= SUMS; j++) {
        RS_TRY(rs_network_load(w->n[j], w->s.layer, &unused, e));
        RS_TRY(rs_network_forward(w->n[j], w->s.S, w->x[j], NULL, NULL, e));
    }
    return RS_OK;
}

static rs_status embed(walk *w, const int32_t *ids, rs_error *e)
{
    const uint64_t V = rs_network_config(w->n[SIMULATED])->V;
    for (size_t i = 0; i < w->s.S; i++) {
        const int32_t id = ids != NULL ? ids[i] : (int32_t)rs_random_below(1, 0, i, V);
        for (int j = 0; j < NETWORKS; j++) RS_TRY(rs_network_embed(w->n[SIMULATED], 1, &id, w->x[j] + i * rs_network_shape(w->n[SIMULATED])->d, e));
    }
    return RS_OK;
}

// Whether any matrix is packed and its input quantised per token.
static bool any(const rs_mapped *m)
{
    for (size_t i = 0; i < rs_mapped_count(m); i++) {
        const rs_tensor *t = rs_mapped_tensor(m, i);
        const rs_act a = rs_plan_act(&rs_mapped_head(m)->plan, t->layer, t->role);
        for (size_t j = 0; j < RS_KERNELS_ROLES; j++)
            if (t->role == roles[j] && rs_enc_bits(t->enc) != 0 && a.bits < 16 && (a.group == 0 || a.group == t->shape[1])) return true;
    }
    return false;
}

static rs_status run(walk *w, const int32_t *ids, rs_error *e)
{
    RS_TRY(embed(w, ids, e));
    for (w->s.layer = 0; w->s.layer < rs_network_config(w->n[SIMULATED])->L; w->s.layer++) RS_TRY(layer(w, e));
    return rs_kernels_logits_compare(&w->s, w->n, w->x, e);
}

rs_status rs_kernels_check(const rs_mapped *m, const int32_t *ids, size_t S, const rs_kernels_options *o, rs_kernels_result *r, rs_error *e)
{
    const rs_int_kernels *here[8];
    size_t n_here = 0;
    while (n_here < sizeof here / sizeof *here && rs_int_at(n_here) != NULL) {
        here[n_here] = rs_int_at(n_here);
        n_here++;
    }
    memset(r, 0, sizeof *r);
    r->tokens = S;
    if (S == 0) return rs_fail(e, RS_USAGE, "the text has no token");
    if (rs_mapped_head(m)->kind == RS_KIND_WEIGHTS && !any(m)) return rs_fail(e, RS_USAGE, "nothing to multiply as integers: no matrix is packed with its input quantised per token (rs-pack --w-bits 4 --a-bits 4)");
    const bool given = o->variants != NULL;
    const rs_int_kernels *const *variants = given ? o->variants : here;
    r->n_variants = given ? o->n_variants : n_here;
    if (r->n_variants + o->n_device_variants > sizeof here / sizeof *here) return rs_fail(e, RS_USAGE, "%zu variants", r->n_variants + o->n_device_variants);
    walk w = {.s = {.o = o, .r = r, .variants = variants, .n_variants = r->n_variants, .S = S}};
    for (size_t i = 0; i < w.s.n_variants; i++) r->variant[i] = rs_int_name(variants[i]);
    for (size_t i = 0; i < o->n_device_variants; i++) r->variant[r->n_variants++] = rs_int_name(o->device_variants[i]);
    r->device = o->device != NULL;
    rs_status s = rs_network_open(&w.n[SIMULATED], m, NULL, e);
    if (s == RS_OK) s = rs_network_open(&w.n[INTEGER], m, NULL, e);
    if (s == RS_OK) s = rs_network_open(&w.n[PLAIN], m, rs_kernels_reference(), e);
    if (s == RS_OK) s = rs_network_open(&w.n[SUMS], m, NULL, e);
    if (s == RS_OK && o->device != NULL) s = rs_network_open(&w.n[DEVICE], m, o->device, e);
    if (s == RS_OK) {
        if (o->device != NULL) rs_network_integer(w.n[DEVICE], o->device_variants[o->n_device_variants - 1]);
        rs_network_integer(w.n[INTEGER], w.s.variants[w.s.n_variants - 1]);
        rs_network_sums(w.n[SUMS]);
        w.n[NUDGED] = w.n[SIMULATED];
        s = allocate(&w, e);
    }
    if (s == RS_OK) s = run(&w, ids, e);
    drop(&w);
    return s;
}
