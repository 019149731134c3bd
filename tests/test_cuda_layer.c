// SPDX-License-Identifier: Apache-2.0
// One decoder layer for learning, forward and backward, with all arrays in the memory of the emulated device, against the plain C table: rotations or none, biases, grouped queries, online Hadamards, quantisers of
// every kind, rounded weights; twice the same bits; and a row that a quantiser refuses is counted.
#include "kernels/decoder_grad.h"
#include "tests/check.h"
#include "tests/cuda/emulate.h"
#include "tests/tiny.h"
#include "tests/uniform.h"

enum { D = 24, F = 40, NQ = 4, NKV = 2, H = 12, S = 7 };
enum { BIAS = 1, NORM = 2, ONLINE = 4, BASES = 8, HEAD = 16 };

static const rs_kernels *cuda;
static void *kept[128];
static size_t n_kept;

static void *there(const void *from, size_t bytes)
{
    void *p = cuda->memory->alloc(bytes);
    if (p == NULL) exit(1);
    if (from != NULL) cuda->memory->put(p, from, bytes);
    return p;
}

static void *here(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    if (p == NULL) exit(1);
    return p;
}

// Random numbers here and there, until the end of a case.
static const float *pair(size_t n, float size, const float **device)
{
    float *p = here(n * sizeof *p);
    for (size_t i = 0; i < n; i++) p[i] = size * uniform();
    *device = kept[n_kept++] = there(p, n * sizeof *p);
    kept[n_kept++] = p;
    return p;
}

static const float *rotation(size_t n, uint64_t which, const float **device)
{
    double *wide = here(n * n * sizeof *wide);
    float *p = here(n * n * sizeof *p);
    tiny_rotation(n, which, wide);
    for (size_t i = 0; i < n * n; i++) p[i] = (float)wide[i];
    free(wide);
    *device = kept[n_kept++] = there(p, n * n * sizeof *p);
    kept[n_kept++] = p;
    return p;
}

static void drop(void)
{
    while (n_kept > 0) {
        free(kept[--n_kept]);
        cuda->memory->release(kept[--n_kept]);
    }
}

// What comes out: the stream, the derivative by its input, and slopes of the bases attn, ffn, next and of the head rotation.
enum { SLOPES = 3 * D * D + H * H, OUT = 2 * S * D + SLOPES };

// Forward and backward with this table; all arrays lie in its memory, and `out` [OUT] holds x and dx at first.
static size_t both(rs_decoder_learn l, const rs_kernels *k, const float *x, float *out)
{
    const rs_memory *m = rs_memory_of(k);
    float *kept_values = m->alloc(rs_decoder_learn_kept(l.shape, S) * sizeof(float)), *scratch = m->alloc(rs_decoder_learn_scratch(l.shape, S) * sizeof(float)), *at = m->alloc(rs_decoder_folded_size(l.shape) * sizeof(float));
    float *slopes = out + 2 * S * D;
    rs_decoder_folded folded;
    size_t bad = 0;
    if (kept_values == NULL || scratch == NULL || at == NULL) exit(1);
    l.k = k;
    m->zero(slopes, SLOPES * sizeof *slopes);
    if (l.bits.w.bits < 16) {
        bad += rs_decoder_fold(&folded, k, l.shape, l.layer, &l.bases, &l.bits.w, at);
        l.folded = &folded;
    }
    bad += rs_decoder_learn_forward(&l, out, kept_values, scratch);
    rs_decoder_learn_backward(&l, x, kept_values, out + S * D, (rs_decoder_slopes){slopes, slopes + D * D, slopes + 3 * D * D, slopes + 2 * D * D}, scratch);
    m->release(kept_values), m->release(scratch), m->release(at);
    return bad;
}

// |got - want| / |want| over n values.
static double distance(size_t n, const float *got, const float *want)
{
    double off = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        off += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        size += (double)want[i] * want[i];
    }
    return off == 0 ? 0 : sqrt(off / size);
}

static void one(const char *what, unsigned with, rs_quantizer a, rs_quantizer kv, rs_quantizer w, bool broken)
{
    static const struct {
        size_t at, bias, n, k;
    } all[] = {{offsetof(rs_decoder_layer, wq), offsetof(rs_decoder_layer, bq), NQ * H, D},  {offsetof(rs_decoder_layer, wk), offsetof(rs_decoder_layer, bk), NKV * H, D},
               {offsetof(rs_decoder_layer, wv), offsetof(rs_decoder_layer, bv), NKV * H, D}, {offsetof(rs_decoder_layer, wo), offsetof(rs_decoder_layer, bo), D, NQ * H},
               {offsetof(rs_decoder_layer, wgate), offsetof(rs_decoder_layer, bgate), F, D}, {offsetof(rs_decoder_layer, wup), offsetof(rs_decoder_layer, bup), F, D},
               {offsetof(rs_decoder_layer, wdown), offsetof(rs_decoder_layer, bdown), D, F}};
    rs_decoder_layer plain = {0}, layer = {0};
    rs_hadamard *r3 = rs_hadamard_new(H), *r4 = rs_hadamard_new(F);
    const rs_decoder_shape shape = {.d = D, .f = F, .h = H, .n_q = NQ, .n_kv = NKV, .eps = 1e-5f, .r3 = with & ONLINE ? r3 : NULL, .r4 = with & ONLINE ? r4 : NULL};
    rs_decoder_learn l = {.shape = &shape, .layer = &plain, .bits = {a, kv, w}, .S = S}, on = {.shape = &shape, .layer = &layer, .bits = {a, kv, w}, .S = S};
    seed = 5;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        *(const float **)(void *)((char *)&plain + all[i].at) = pair(all[i].n * all[i].k, 0.4f, (const float **)(void *)((char *)&layer + all[i].at));
        if (with & BIAS) *(const float **)(void *)((char *)&plain + all[i].bias) = pair(all[i].n, 0.2f, (const float **)(void *)((char *)&layer + all[i].bias));
    }
    if (with & NORM) plain.norm_attn = pair(D, 2, &layer.norm_attn), plain.norm_ffn = pair(D, 2, &layer.norm_ffn);
    if (with & BASES) l.bases.attn = rotation(D, 1, &on.bases.attn), l.bases.ffn = rotation(D, 2, &on.bases.ffn), l.bases.next = rotation(D, 3, &on.bases.next);
    if (with & HEAD) l.bases.head = rotation(H, 4, &on.bases.head);
    l.cos = pair(S * H / 2, 1, &on.cos);
    l.sin = pair(S * H / 2, 1, &on.sin);
    float *want = here(OUT * sizeof *want), *got = here(2 * OUT * sizeof *got), *x = here(S * D * sizeof *x);
    for (size_t i = 0; i < OUT; i++) want[i] = uniform();
    if (broken) want[2 * D + 3] = NAN;
    memcpy(x, want, S * D * sizeof *x);
    float *on_x = there(x, S * D * sizeof *x), *first = there(want, OUT * sizeof *want), *second = there(want, OUT * sizeof *want);
    const size_t bad = both(l, rs_kernels_reference(), x, want);
    const char *fault[2];
    CHECK(both(on, cuda, on_x, first) == 0);
    const size_t counted = cuda->memory->settle(&fault[0]);
    CHECK(both(on, cuda, on_x, second) == 0);
    const size_t again = cuda->memory->settle(&fault[1]);
    CHECKF(fault[0] == NULL && fault[1] == NULL && (bad > 0) == broken && (broken ? counted >= bad && again == counted : counted + again == 0), "%s: %zu and %zu rows refused there, %zu here", what, counted, again, bad);
    cuda->memory->get(got, first, OUT * sizeof *got);
    cuda->memory->get(got + OUT, second, OUT * sizeof *got);
    CHECKF(memcmp(got, got + OUT, OUT * sizeof *got) == 0, "%s: other bits in a second run", what);
    const struct {
        const char *name;
        size_t at, n;
    } parts[] = {{"x", 0, S * D}, {"dx", S * D, S * D}, {"basis of attention", 2 * S * D, D * D}, {"basis of the FFN", 2 * S * D + D * D, D * D}, {"basis behind", 2 * S * D + 2 * D * D, D * D}, {"head", OUT - H * H, H * H}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts && !broken; i++) {
        const double off = distance(parts[i].n, got + parts[i].at, want + parts[i].at);
        CHECKF(off <= 1e-5, "%s: %s is off by %g", what, parts[i].name, off);
    }
    cuda->memory->release(on_x), cuda->memory->release(first), cuda->memory->release(second);
    free(want), free(got), free(x);
    rs_hadamard_free(r3), rs_hadamard_free(r4);
    drop();
}

int main(void)
{
    const rs_quantizer none = {.bits = 16, .clip = 1}, four = {.bits = 4, .clip = 1}, sym = {.bits = 4, .sym = true, .clip = 0.85f}, open = {.bits = 5, .clip = 1, .range = RS_RANGE_FREE},
                       half = {.bits = 4, .sym = true, .clip = 0.9f, .range = RS_RANGE_HALF}, groups = {.bits = 4, .clip = 1, .group = 6};
    cuda = rs_kernels_cuda();
    if (!CHECK(cuda != NULL)) return check_report();
    for (int order = 0; order < 3; order++) {
        rs_trial_order(order);
        one("as it is", 0, none, none, none, false);
        one("biases and norms", BIAS | NORM, none, none, none, false);
        one("rotations that nothing needs", BASES | HEAD | ONLINE, none, none, none, false);
        one("inputs", BIAS | NORM | ONLINE | BASES, four, none, none, false);
        one("inputs and values", BIAS | NORM | ONLINE | BASES | HEAD, four, four, none, false);
        one("symmetric", NORM | ONLINE | BASES | HEAD, sym, sym, none, false);
        one("free and half", BASES | HEAD | ONLINE, open, half, none, false);
        one("values in groups", BASES | HEAD | NORM, half, groups, none, false);
        one("without bases", NORM | BIAS, four, four, none, false);
        one("weights", BIAS | NORM | ONLINE | BASES | HEAD, four, four, sym, false);
        one("weights alone", NORM | BASES | HEAD, none, none, sym, false);
        one("weights without bases", NORM | BIAS | ONLINE, four, none, sym, false);
        one("a NaN", NORM | ONLINE | BASES | HEAD, four, four, none, true);
        one("a NaN before weights", NORM | ONLINE | BASES | HEAD, four, four, sym, true);
    }
    return check_report();
}
