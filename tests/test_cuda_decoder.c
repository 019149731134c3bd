// SPDX-License-Identifier: Apache-2.0
// One decoder layer driven on the emulated device by decoder.c, all arrays in its memory, against the plain C table: junctions of every kind, biases, online rotations, grouped queries, inputs quantised
// in several ways; and a row that a quantiser refuses is counted.
#include "kernels/decoder.h"
#include "tests/check.h"
#include "tests/uniform.h"

enum { D = 24, F = 40, NQ = 4, NKV = 2, H = 12, S = 7, RANK = 4 };

static const rs_kernels *cuda;
static void *kept[64];
static size_t n_kept;

static float *noise(size_t n, float size)
{
    float *p = malloc(n * sizeof *p);
    if (p == NULL) exit(1);
    for (size_t i = 0; i < n; i++) p[i] = size * uniform();
    return p;
}

// Random numbers here and there; both are kept until the end of a case.
static const float *pair(size_t n, float size, const float **there)
{
    float *p = noise(n, size), *q = cuda->memory->alloc(n * sizeof *q);
    if (q == NULL) exit(1);
    cuda->memory->put(q, p, n * sizeof *q);
    kept[n_kept++] = p;
    kept[n_kept++] = q;
    *there = q;
    return p;
}

static void drop(void)
{
    while (n_kept > 0) {
        cuda->memory->release(kept[--n_kept]);
        free(kept[--n_kept]);
    }
}

enum junctions { NONE, LOW_RANK, DENSE };

static void junction(rs_junction *here, rs_junction *there, enum junctions kind)
{
    if (kind == LOW_RANK) {
        here->r = there->r = RANK;
        here->q = pair(D * RANK, 0.3f, &there->q);
        here->m = pair(RANK * RANK, 0.5f, &there->m);
    } else if (kind == DENSE)
        here->t = pair(D * D, 0.3f, &there->t);
}

static void one(const char *what, enum junctions kind, bool biases, bool online, const rs_quantizer in[3], rs_quantizer kv, double most, size_t refused)
{
    const struct {
        size_t at, bias, n, k;
    } all[] = {{offsetof(rs_decoder_layer, wq), offsetof(rs_decoder_layer, bq), NQ * H, D},      {offsetof(rs_decoder_layer, wk), offsetof(rs_decoder_layer, bk), NKV * H, D},
               {offsetof(rs_decoder_layer, wv), offsetof(rs_decoder_layer, bv), NKV * H, D},     {offsetof(rs_decoder_layer, wo), offsetof(rs_decoder_layer, bo), D, NQ * H},
               {offsetof(rs_decoder_layer, wgate), offsetof(rs_decoder_layer, bgate), F, D},     {offsetof(rs_decoder_layer, wup), offsetof(rs_decoder_layer, bup), F, D},
               {offsetof(rs_decoder_layer, wdown), offsetof(rs_decoder_layer, bdown), D, F}};
    rs_decoder_layer here = {.in_q = in[0], .in_k = in[1], .in_v = in[0], .in_o = in[0], .in_gate = in[1], .in_up = in[2], .in_down = in[2], .kv = kv, .v_range = kv.range}, there = here;
    rs_hadamard *r3 = rs_hadamard_new(H), *r4 = rs_hadamard_new(F);
    const rs_decoder_shape shape = {.d = D, .f = F, .h = H, .n_q = NQ, .n_kv = NKV, .eps = 1e-5f, .r3 = online ? r3 : NULL, .r4 = online ? r4 : NULL};
    const float *cos, *sin, *dcos, *dsin;
    seed = 3;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        *(const float **)(void *)((char *)&here + all[i].at) = pair(all[i].n * all[i].k, 0.4f, (const float **)(void *)((char *)&there + all[i].at));
        if (biases) *(const float **)(void *)((char *)&here + all[i].bias) = pair(all[i].n, 0.2f, (const float **)(void *)((char *)&there + all[i].bias));
    }
    here.norm_attn = pair(D, 1, &there.norm_attn);
    here.norm_ffn = pair(D, 1, &there.norm_ffn);
    junction(&here.attn, &there.attn, kind);
    junction(&here.ffn, &there.ffn, kind);
    cos = pair(S * H / 2, 1, &dcos);
    sin = pair(S * H / 2, 1, &dsin);
    float *x = noise(S * D, 2), *got = malloc(S * D * sizeof *got), *dx = cuda->memory->alloc(S * D * sizeof *dx);
    if (refused > 0) x[2 * D + 3] = NAN;
    cuda->memory->put(dx, x, S * D * sizeof *x);
    void *scratch = aligned_alloc(64, (rs_decoder_scratch(&shape, &here, S) + 63) / 64 * 64), *dscratch = cuda->memory->alloc(rs_decoder_scratch(&shape, &there, S));
    if (r3 == NULL || r4 == NULL || got == NULL || dx == NULL || scratch == NULL || dscratch == NULL) exit(1);
    const size_t bad = rs_decoder_forward(rs_kernels_reference(), &shape, &here, S, cos, sin, x, scratch, NULL, NULL);
    CHECK(rs_decoder_forward(cuda, &shape, &there, S, dcos, dsin, dx, dscratch, NULL, NULL) == 0);
    const char *fault;
    const size_t counted = cuda->memory->settle(&fault);
    CHECKF(fault == NULL && counted == bad && (bad > 0) == (refused > 0), "%s: %zu rows refused there, %zu here", what, counted, bad);
    cuda->memory->get(got, dx, S * D * sizeof *got);
    double far = 0, size = 0;
    for (size_t i = 0; i < S * D; i++) {
        if (refused > 0 && !isfinite(x[i])) continue;
        far = isfinite(got[i]) ? fmax(far, fabs((double)got[i] - (double)x[i])) : (double)INFINITY;
        size = fmax(size, fabs((double)x[i]));
    }
    CHECKF(size > 0 && far <= most * size, "%s: off by %g of %g", what, far, size);
    cuda->memory->release(dx), cuda->memory->release(dscratch);
    free(x), free(got), free(scratch);
    rs_hadamard_free(r3), rs_hadamard_free(r4);
    drop();
}

int main(void)
{
    const rs_quantizer none = {.bits = 16, .clip = 1}, eight = {.bits = 8, .clip = 1}, groups = {.bits = 8, .sym = true, .clip = 1, .group = 8}, seven = {.bits = 7, .clip = 0.9f};
    const double most = 1e-6; // only rounding differs, and with these numbers no code lies so near a boundary that it does
    cuda = rs_kernels_cuda();
    if (!CHECK(cuda != NULL)) return check_report();
    one("as it is", NONE, false, false, (const rs_quantizer[]){none, none, none}, none, most, 0);
    one("low rank", LOW_RANK, true, true, (const rs_quantizer[]){none, none, none}, none, most, 0);
    one("dense", DENSE, true, false, (const rs_quantizer[]){none, none, none}, none, most, 0);
    one("one quantiser", LOW_RANK, false, true, (const rs_quantizer[]){eight, eight, eight}, eight, most, 0);
    one("several quantisers", DENSE, true, true, (const rs_quantizer[]){eight, groups, seven}, eight, most, 0);
    one("a NaN", NONE, false, false, (const rs_quantizer[]){eight, groups, seven}, eight, most, 1);
    return check_report();
}
