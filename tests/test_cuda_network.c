// SPDX-License-Identifier: Apache-2.0
// A network on the emulated device against the same on the processor: f32, 16-bit and packed weights, biases, junctions of both kinds, a head that is tied, f16 or of 8-bit codes; perplexity, the distance of
// two networks, token after token. Layers that are kept or not, and whatever memory there is: the same bits, or E_NOMEM; nothing is left behind. Rows that are refused and a device that is lost are told.
#include "inspect/eval.h"
#include "inspect/generate.h"
#include "tests/cuda/emulate.h"
#include "tests/cuda/failing.h"
#include "tests/stages.h"
#include "transforms/device.h"

enum { WINDOWS = 2, CTX = 7, IDS = WINDOWS * CTX, STEP = 4 };
static char model[128], rotations[128], fused[128], cut[128], packed[128];
static int32_t ids[IDS];

struct kind {
    const char *name;
    rs_dtype dtype, rest;
    bool biases, tied, dense; // dense: junctions as they are; else of rank 8
    int w, a, kv, head;       // bits, 16: not packed; head 0: as `rest`
    size_t group;
    uint64_t seed;            // of the model: one with which no code lies so near a boundary that rounding moves it
};

static bool make(const struct kind *k)
{
    tiny_spec s = tiny_default();
    rs_pack_options o = stages_pack_default();
    rs_error e = {0};
    s.dtype = k->dtype;
    s.biases = k->biases;
    s.tied = k->tied;
    s.seed = k->seed;
    o.scheme.w_bits = k->w;
    o.scheme.rest = k->rest;
    o.scheme.head_bits = k->head;
    o.scheme.group = k->group;
    o.a.bits = (unsigned)k->a;
    o.kv.bits = (unsigned)k->kv;
    tiny_ids(&s, IDS, ids);
    if (!CHECK(tiny_model(model, &s) && tiny_rotations(rotations, &s, TINY_DENSE, 0.2, 0, 3, model))) return false;
    if (k->w == 16) return true;
    return CHECKF(tiny_fuse(model, rotations, fused, (rs_fuse_options){.rotate = true, .online = true}, &e) == RS_OK && (k->dense || stages_residual(fused, rotations, cut, 8, &e) == RS_OK) &&
                      stages_pack(k->dense ? fused : cut, packed, &o, &e) == RS_OK,
                  "%s: %s", k->name, e.text);
}

static const char *file(const struct kind *k) { return k->w == 16 ? model : packed; }

static rs_status evaluate(const struct kind *kind, const rs_kernels *k, bool integer, bool against, uint64_t mem, rs_eval_result *r, rs_error *e)
{
    const rs_eval_options o = {.ctx = CTX, .mem = mem};
    rs_mapped *m = NULL, *ref_m = NULL;
    rs_network *n = NULL, *ref = NULL;
    memset(e, 0, sizeof *e);
    rs_status s = stages_network(file(kind), k, &m, &n, e);
    if (s == RS_OK && against) s = stages_network(model, k, &ref_m, &ref, e);
    if (s == RS_OK) rs_network_sums(n);
    if (s == RS_OK && integer) rs_network_integer(n, rs_device_products(k));
    if (s == RS_OK) s = rs_eval_perplexity(n, ref, ids, IDS, &o, r, e);
    rs_network_close(n);
    rs_network_close(ref);
    rs_mapped_close(m);
    rs_mapped_close(ref_m);
    return s;
}

// f16: of a cache of f16, which rounds 2^13 times more coarsely than f32, so that other sums move some of its numbers.
static bool near(double a, double b, bool f16) { return fabs(a - b) <= (f16 ? 5e-5 : 2e-6) * fmax(1, fabs(b)); }

static void perplexity(const struct kind *kind, bool integer)
{
    const rs_kernels *cuda = rs_kernels_cuda();
    const size_t before = rs_trial_taken();
    const bool f16 = integer && kind->kv == 16;
    rs_eval_result here, there, small;
    rs_error e;
    if (!CHECKF(evaluate(kind, rs_kernels_reference(), integer, true, 0, &here, &e) == RS_OK && evaluate(kind, cuda, integer, true, 0, &there, &e) == RS_OK && evaluate(kind, cuda, integer, false, 1, &small, &e) == RS_OK,
                "%s: %s", kind->name, e.text))
        return;
    CHECKF(near(there.nll, here.nll, f16) && near(there.ref_nll, here.ref_nll, false) && near(there.kl, here.kl, f16) && near(there.kl_max, here.kl_max, f16) && there.top1 == here.top1, "%s: nll %.9g here, %.9g there; reference %.9g, %.9g; KL %.9g, %.9g",
           kind->name, here.nll, there.nll, here.ref_nll, there.ref_nll, here.kl, there.kl);
    CHECKF(there.nll == small.nll, "%s: not the same bits in smaller batches", kind->name);
    CHECKF(rs_trial_taken() == before, "%s: %zu bytes are left", kind->name, rs_trial_taken() - before);
}

// Logits behind each step of STEP tokens.
static rs_status feed(const struct kind *kind, const rs_kernels *k, float *out, size_t V, rs_error *e)
{
    rs_mapped *m = NULL;
    rs_network *n = NULL;
    rs_generator *g = NULL;
    memset(e, 0, sizeof *e);
    rs_status s = stages_network(file(kind), k, &m, &n, e);
    if (s == RS_OK) s = rs_generator_open(&g, n, rs_device_products(k), IDS, e);
    for (size_t at = 0; s == RS_OK && at + STEP <= IDS; at += STEP) {
        const float *logits;
        s = rs_generator_feed(g, ids + at, at / STEP % 2 == 0 ? STEP : 1, &logits, e);
        if (s == RS_OK) memcpy(out + at / STEP * V, logits, V * sizeof *out);
    }
    rs_generator_close(g);
    rs_network_close(n);
    rs_mapped_close(m);
    return s;
}

static void tokens(const struct kind *kind)
{
    const rs_kernels *cuda = rs_kernels_cuda();
    const size_t V = tiny_default().V, count = IDS / STEP * V, before = rs_trial_taken();
    float *here = calloc(count, sizeof *here), *there = calloc(count, sizeof *there), *again = calloc(count, sizeof *again);
    rs_error e;
    size_t enough = 0, kept = 0;
    if (!CHECK(here != NULL && there != NULL && again != NULL)) return;
    if (CHECKF(feed(kind, rs_kernels_reference(), here, V, &e) == RS_OK && feed(kind, cuda, there, V, &e) == RS_OK, "%s: %s", kind->name, e.text))
        CHECKF(tiny_difference(count, here, there) <= 2e-5, "%s: logits are off by %g", kind->name, tiny_difference(count, here, there));
    // Less memory: fewer layers are kept, then the head comes in shares, then there is none.
    for (size_t room = 8192; rs_trial_emulated() && room < 1 << 20; room += room / 2) {
        rs_trial_memory(room);
        const rs_status s = feed(kind, cuda, again, V, &e);
        rs_trial_memory(SIZE_MAX);
        CHECKF((s == RS_OK && tiny_difference(count, there, again) <= 2e-6) || (s == RS_E_NOMEM && strstr(e.text, "on the device") != NULL), "%s, %zu bytes: %s %s", kind->name, room, rs_status_name(s), e.text);
        CHECKF(rs_trial_taken() == before, "%s, %zu bytes: %zu are left", kind->name, room, rs_trial_taken() - before);
        enough += s == RS_OK;
        kept += s == RS_OK && memcmp(there, again, count * sizeof *there) == 0;
        if (s == RS_OK && room > 1 << 18) break;
    }
    if (rs_trial_emulated()) CHECKF(enough >= 3 && kept >= 2, "%s: %zu runs in less memory, %zu with the same bits", kind->name, enough, kept);
    free(here), free(there), free(again);
}

// The device's table, whose memory fails when it is told to.
static rs_memory broken;
static void failing(const struct kind *kind)
{
    const size_t before = rs_trial_taken();
    rs_kernels k = *rs_kernels_cuda();
    rs_eval_result r;
    rs_error e;
    broken = *k.memory;
    broken.settle = failing_settle;
    k.memory = &broken;
    for (size_t calls = 0; calls < 5; calls++) {
        left = calls;
        CHECKF(evaluate(kind, &k, false, false, 0, &r, &e) == RS_E_INTERNAL && strstr(e.text, "the device failed: rs_k_test: unspecified launch failure") != NULL, "after %zu calls: %s", calls, e.text);
    }
    CHECK(rs_trial_taken() == before);
}

// A stream that is not finite in front of layer `from`: what settles next tells which layers met it.
static void refused(const struct kind *kind, uint64_t from, bool keep, const char *want)
{
    rs_mapped *m = NULL;
    rs_network *n = NULL;
    rs_error e = {0};
    const rs_decoder_layer *layer;
    float *x = NULL;
    if (CHECKF(stages_network(file(kind), rs_kernels_cuda(), &m, &n, &e) == RS_OK, "%s", e.text)) {
        const uint64_t L = rs_network_config(n)->L;
        const float bad = NAN;
        rs_status s = rs_network_alloc(n, CTX * rs_network_shape(n)->d * sizeof *x, (void **)&x, &e);
        if (s == RS_OK) s = rs_network_embed(n, CTX, ids, x, &e);
        if (s == RS_OK && keep) s = rs_network_keep(n, &e);
        for (uint64_t i = 0; keep && s == RS_OK && i < L; i++) s = rs_network_load(n, i, &layer, &e);
        for (uint64_t i = 0; s == RS_OK && i < L; i++) {
            s = rs_network_load(n, i, &layer, &e);
            if (i == from) rs_kernels_cuda()->memory->put(x + 5, &bad, sizeof bad);
            if (s == RS_OK) s = rs_network_forward(n, CTX, x, NULL, NULL, &e);
        }
        if (s == RS_OK) s = rs_network_settle(n, &e);
        CHECKF(s == RS_E_VALUE && strncmp(e.text, want, strlen(want)) == 0, "expected: %s; said: %s", want, e.text);
        e = (rs_error){0};
        CHECK(rs_network_settle(n, &e) == RS_OK); // told once
        rs_memory_of(rs_network_kernels(n))->release(x);
    }
    rs_network_close(n);
    rs_mapped_close(m);
}

// --short: one of the models.
int main(int argc, char **argv)
{
    const bool brief = argc > 1 && strcmp(argv[1], "--short") == 0;
    static const struct kind kinds[] = {
        {"f32", RS_F32, RS_F32, true, true, false, 16, 16, 16, 0, 0, 1},
        {"f16 and bf16", RS_F16, RS_F16, true, false, false, 16, 16, 16, 0, 0, 1},
        {"bf16", RS_BF16, RS_BF16, false, false, false, 16, 16, 16, 0, 0, 1},
        {"4 bits, dense junctions", RS_F32, RS_F32, true, true, true, 4, 4, 4, 0, 0, 1},
        {"4 bits, low-rank junctions, 8-bit head", RS_BF16, RS_F16, true, false, false, 4, 8, 8, 8, 0, 1},
        {"3 bits in groups", RS_F32, RS_BF16, false, false, false, 3, 8, 16, 0, 8, 2},
    };
    if (!CHECK(rs_kernels_cuda() != NULL && rs_kernels_cuda_device() != NULL)) return check_report(); // what the kernels keep is there from now on
    tiny_path(model, sizeof model, "model.rsq");
    tiny_path(rotations, sizeof rotations, "rotations.rsq");
    tiny_path(fused, sizeof fused, "fused.rsq");
    tiny_path(cut, sizeof cut, "cut.rsq");
    tiny_path(packed, sizeof packed, "packed.rsq");
    rs_threads_set(1);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if ((brief && i != 4) || !make(&kinds[i])) continue;
        perplexity(&kinds[i], false);
        if (kinds[i].kv < 16 || kinds[i].w < 16) perplexity(&kinds[i], true);
        tokens(&kinds[i]);
        if (kinds[i].w != 4) continue;
        failing(&kinds[i]);
        refused(&kinds[i], 0, false, "layer 0: ");
        refused(&kinds[i], 2, false, "layer 2: ");
        refused(&kinds[i], 1, true, "layers 0 to 2: ");
    }
    return check_report();
}
