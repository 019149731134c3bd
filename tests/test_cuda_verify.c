// SPDX-License-Identifier: Apache-2.0
// The proof of a device's kernels, on the emulated one: a good device passes with every count as it must be; tables and variants that are wrong on purpose in one sum, code, value or second run
// are found and named; a device without memory, or that fails in mid-run, ends the proof with one line.
#include "inspect/kernels_check.h"
#include "kernels/cpu/int_ops.h"
#include "tests/cuda/emulate.h"
#include "tests/cuda/failing.h"
#include "tests/stages.h"

enum { TOKENS = 5, MADE_UP = 6, REPEAT = 2 };
static char model[128], fused[128], chain[128], packed[128];
static rs_kernels table;
static rs_int_kernels variant;
static rs_memory memory;

static rs_status check(const rs_int_kernels *by, rs_kernels_result *r, rs_error *e)
{
    const rs_int_kernels *const reference = rs_int_reference();
    rs_mapped *m = NULL;
    rs_kernels_options o = {.variants = &reference, .n_variants = 1, .device = &table, .device_variants = &by, .n_device_variants = 1, .repeat = REPEAT};
    *e = (rs_error){0};
    rs_status st = rs_mapped_open(&m, packed, e);
    if (st == RS_OK) st = rs_kernels_check(m, NULL, TOKENS, &o, r, e);
    rs_mapped_close(m);
    return st;
}

static void restore(size_t which)
{
    table = *rs_kernels_cuda();
    variant = *rs_int_cuda_at(which);
    memory = *table.memory;
    table.memory = variant.memory = &memory;
}

static void good(const tiny_spec *s)
{
    for (size_t v = 0; rs_int_cuda_at(v) != NULL; v++) {
        rs_kernels_result r;
        rs_error e;
        restore(v);
        if (!CHECKF(check(&variant, &r, &e) == RS_OK && r.failures == 0, "%s: %s %s", variant.name, e.text, r.first)) continue;
        CHECKF(r.on_device.difference.n == TOKENS * s->V && r.on_device.kl <= r.kl_bound && r.on_device.kl > 0, "logits of the device: KL %g, %g are allowed", r.on_device.kl, r.kl_bound);
        CHECK(r.device && r.n_variants == 2 && strcmp(r.variant[1], variant.name) == 0);
        for (size_t j = 0; j < RS_KERNELS_ROLES; j++) {
            const uint64_t nq = s->n_q * s->h, nkv = s->n_kv * s->h, n[] = {nq, nkv, nkv, s->d, s->f, s->f, s->d}, k[] = {s->d, s->d, s->d, nq, s->d, s->d, s->f}, rows = TOKENS + MADE_UP;
            CHECKF(r.role[j].sums == s->L * 2 * (rows + 2) * n[j] && r.role[j].codes == s->L * 2 * rows * k[j], "%s: counts of %s", variant.name, rs_kernels_role_name(j));
        }
        static const bool exact[RS_KERNELS_OPERATIONS] = {[2] = true, [3] = true, [4] = true, [6] = true, [RS_KERNELS_FUSED] = true};
        for (size_t j = 0; j < RS_KERNELS_OPERATIONS; j++)
            CHECKF(r.operation[j].runs > 0 && r.operation[j].share <= (exact[j] ? 0 : 1), "%s: %d runs, %g", rs_kernels_operation_name(j), (int)r.operation[j].runs, r.operation[j].share);
    }
}

// ---- wrong on purpose: the memory of the emulated device is that of the process

static int turn; // of calls

static void wrong_product(const rs_int_weights *w, const rs_int_rows *a, int32_t *sums, float *y, size_t ldy, bool add)
{
    rs_int_cuda_at(1)->product(w, a, sums, y, ldy, add);
    if (sums != NULL) sums[w->n - 1]++;
}

static void wrong_result(const rs_int_weights *w, const rs_int_rows *a, int32_t *sums, float *y, size_t ldy, bool add)
{
    rs_int_cuda_at(1)->product(w, a, sums, y, ldy, add);
    if (sums == NULL && add) y[1] = nextafterf(y[1], 1e30f);
}

static void fickle_product(const rs_int_weights *w, const rs_int_rows *a, int32_t *sums, float *y, size_t ldy, bool add)
{
    rs_int_cuda_at(1)->product(w, a, sums, y, ldy, add);
    if (sums == NULL && !add && turn++ % 2 == 1) y[0] = nextafterf(y[0], 1e30f);
}

static size_t wrong_quantise(const rs_quantizer *q, size_t B, size_t n, const float *x, size_t ldx, uint8_t *codes, size_t ld, float *scale, int32_t *zero)
{
    const size_t bad = rs_int_cuda_at(1)->quantise(q, B, n, x, ldx, codes, ld, scale, zero);
    codes[n - 1] ^= 1;
    return bad;
}

static bool wrong_fused(const rs_quantizer *q, const rs_int_stream *s, const rs_int_rows *rows)
{
    const bool made = rs_int_cuda_at(1)->norm_quantise(q, s, rows);
    rows->codes[rows->ld + 2] ^= 1;
    return made;
}

static bool wrong_change(const rs_quantizer *q, const rs_int_stream *s, const rs_int_rows *rows)
{
    const bool made = rs_int_cuda_at(1)->norm_quantise(q, s, rows);
    if (turn++ > 0) s->x[3] = nextafterf(s->x[3], 1e30f);
    return made;
}

static void wrong_norm(size_t B, size_t d, const float *x, const float *gamma, float eps, float *y)
{
    rs_kernels_cuda()->rmsnorm(B, d, x, gamma, eps, y);
    y[B * d - 1] *= 1 + 0x1p-20f;
}

static void wrong_rope(size_t B, size_t heads, size_t h, float *x, size_t ld, const float *cos, const float *sin)
{
    rs_kernels_cuda()->rope(B, heads, h, x, ld, cos, sin);
    x[1] = nextafterf(x[1], 1e30f);
}

static void wrong_gate(size_t n, const float *gate, const float *up, float *y)
{
    rs_kernels_cuda()->silu_gate(n, gate, up, y);
    y[n / 2] = NAN;
}

static void wrong_attention(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, float *out)
{
    rs_kernels_cuda()->attention(S, n_q, n_kv, h, q, k, v, out);
    out[S * n_q * h - 1] += 0.01f;
}

static void wrong_append(const rs_kv_cache *c, bool values, size_t S, const float *x)
{
    rs_int_cuda_at(1)->append(c, values, S, x);
    if (values && c->count == 0) c->memory[(c->n_kv + 1) * c->capacity * ((c->h * c->q.bits + 7) / 8)] ^= 16;
}

static void wrong_cached(const rs_kv_cache *c, size_t S, size_t n_q, const float *q, float *out)
{
    rs_kernels_cuda()->attention_cached(c, S, n_q, q, out);
    for (size_t i = 0; i < S * n_q * c->h; i += 3) out[i] = -out[i];
}

static void fickle_cached(const rs_kv_cache *c, size_t S, size_t n_q, const float *q, float *out)
{
    rs_kernels_cuda()->attention_cached(c, S, n_q, q, out);
    if (turn++ % 2 == 1) out[0] += 1;
}

static size_t wrong_fake(const rs_quantizer *q, size_t B, size_t n, float *x, size_t ld)
{
    const size_t bad = rs_kernels_cuda()->fake_quant(q, B, n, x, ld);
    x[n - 1] = -x[n - 1] + 1;
    return bad;
}

static void fickle_add(size_t n, const float *x, float *y)
{
    rs_kernels_cuda()->add(n, x, y);
    if (turn++ % 2 == 1) y[n - 1]++;
}

static void found(const char *what, const char *where, const char *fault)
{
    rs_kernels_result r;
    rs_error e;
    turn = 0;
    if (CHECKF(check(&variant, &r, &e) == RS_OK, "%s: %s", what, e.text))
        CHECKF(r.failures > 0 && strstr(r.first, where) != NULL && strstr(r.first, fault) != NULL, "%s: %d failures, expected %s and %s: %s", what, (int)r.failures, where, fault, r.first);
    restore(1);
}

static void wrong(void)
{
    restore(1);
    variant.product = wrong_product;
    found("a sum", "model.layers.0.self_attn.q_proj.weight: cuda-mma", ": sum ");
    variant.product = wrong_result;
    found("a result by one ulp", "model.layers.0.self_attn.q_proj.weight: cuda-mma", ": result added to 1 ");
    variant.product = fickle_product;
    found("a second run", "model.layers.0.self_attn.q_proj.weight: cuda-mma", "are others when they are computed again");
    variant.quantise = wrong_quantise;
    found("a code", "model.layers.0.self_attn.q_proj.weight: cuda-mma", ": code ");
    table.rmsnorm = wrong_norm;
    found("a norm", "layer 0, rmsnorm of attention on cuda", "the reference has");
    variant.norm_quantise = wrong_fused;
    found("a code of the fused pass", "layer 0, fused of attention on cuda: token 1, column 2:", "the code is another");
    variant.norm_quantise = wrong_change;
    found("a stream by one ulp, the second time", "layer 0, fused of attention on cuda: token 0, column 3:", "the stream is another");
    table.rope = wrong_rope;
    found("a rotation by one ulp", "layer 0, rope of q on cuda: token 0, column 1:", "the reference has");
    table.silu_gate = wrong_gate;
    found("a NaN", "layer 0, silu_gate of", "nan, the reference has");
    table.attention = wrong_attention;
    found("attention", "layer 0, attention of q, k and v on cuda: token 4, column 31:", "the reference has");
    table.attention_cached = wrong_cached;
    found("attention in the network", "logits: the device", "the bound");
    table.attention_cached = fickle_cached;
    found("a second run of a layer", "layer 0: run 2 of the device", "other bits");
    variant.append = wrong_append;
    found("a byte of the cache", "layer 0, cache of k and v: cuda-mma", "packs other bytes");
    table.fake_quant = wrong_fake;
    found("a value", "layer 0, fake_quant of input of q k v", "the reference has");
    table.add = fickle_add;
    found("a second sum", "layer 0, add of the stream on cuda", "run 2 gives other bits");
}

// ---- a device that fails

static void failing(void)
{
    rs_kernels_result r;
    rs_error e;
    for (size_t calls = 0; calls < 60; calls += 7) {
        restore(1);
        memory.settle = failing_settle;
        left = calls;
        CHECKF(check(&variant, &r, &e) == RS_E_INTERNAL && strstr(e.text, "the device failed: rs_k_test: unspecified launch failure") != NULL, "after %zu calls: %s", calls, e.text);
    }
    for (size_t room = 0; room < 2000; room += 500) {
        restore(1);
        rs_trial_memory(room);
        CHECKF(check(&variant, &r, &e) == RS_E_NOMEM && strstr(e.text, "on the device") != NULL, "%zu bytes: %s", room, e.text);
        rs_trial_memory(SIZE_MAX);
    }
}

int main(void)
{
    static char rotations[128];
    tiny_spec s = tiny_default();
    rs_pack_options o = stages_pack_default();
    rs_error e = {0};
    s.f = 80;
    s.L = 2;
    tiny_path(model, sizeof model, "model.rsq");
    tiny_path(rotations, sizeof rotations, "rotations.rsq");
    tiny_path(fused, sizeof fused, "fused.rsq");
    tiny_path(chain, sizeof chain, "chain.rsq");
    tiny_path(packed, sizeof packed, "packed.rsq");
    rs_threads_set(1);
    o.scheme.w_bits = 4;
    o.a.bits = o.kv.bits = 4;
    if (CHECK(tiny_model(model, &s) && tiny_rotations(rotations, &s, TINY_DENSE, 0.3, 0, 5, model)) &&
        CHECKF(tiny_fuse(model, rotations, fused, (rs_fuse_options){.rotate = true, .online = true}, &e) == RS_OK && stages_residual(fused, rotations, chain, 8, &e) == RS_OK && stages_pack(chain, packed, &o, &e) == RS_OK,
               "%s", e.text)) {
        good(&s);
        wrong();
        failing();
    }
    return check_report();
}
