// SPDX-License-Identifier: Apache-2.0
// Proof of the integer kernels: good files pass with every count as it must be; variants that are wrong on purpose in one sum, code, result or row are found and named with the tensor, and so
// are stored sums that lie; codes are explained by a rounding boundary or not; logits beyond both yardsticks fail.
#include "inspect/kernels_check.h"

#include "inspect/kernels_inside.h"
#include "kernels/cpu/int_ops.h"
#include "tests/stages.h"

enum { TOKENS = 11, MADE_UP = 6 };
static char model[128], fused[128], packed[128], changed[128];

static rs_status check(const char *path, const rs_int_kernels *const *variants, size_t n, size_t S, rs_kernels_result *r, rs_error *e)
{
    rs_mapped *m = NULL;
    rs_kernels_options o = {.variants = variants, .n_variants = n};
    *e = (rs_error){0};
    rs_status st = rs_mapped_open(&m, path, e);
    if (st == RS_OK) st = rs_kernels_check(m, NULL, S, &o, r, e);
    rs_mapped_close(m);
    return st;
}

static bool pack(int w, unsigned a, unsigned kv, uint64_t group, bool f16)
{
    rs_pack_options o = stages_pack_default();
    rs_error e = {0};
    o.scheme.w_bits = w;
    o.scheme.group = group;
    o.scheme.scale_dtype = f16 ? RS_F16 : RS_F32;
    o.a.bits = a;
    o.kv.bits = kv;
    return CHECKF(stages_pack(fused, packed, &o, &e) == RS_OK, "%s", e.text);
}

// ---- good files

static void good(const tiny_spec *s)
{
    static const struct {
        int w;
        unsigned a, kv;
        uint64_t group;
        bool f16;
    } row[] = {{4, 4, 4, 0, false}, {8, 8, 16, 0, true}, {4, 4, 3, 16, true}, {3, 4, 4, 8, false}, {5, 6, 8, 0, false}, {2, 2, 2, 0, false}, {8, 8, 8, 16, false}};
    size_t variants = 0;
    while (rs_int_at(variants) != NULL) variants++;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char label[64];
        rs_kernels_result r;
        rs_error e;
        snprintf(label, sizeof label, "W%dA%uKV%u, groups of %d", row[i].w, row[i].a, row[i].kv, (int)row[i].group);
        if (!pack(row[i].w, row[i].a, row[i].kv, row[i].group, row[i].f16) || !CHECKF(check(packed, NULL, 0, TOKENS, &r, &e) == RS_OK, "%s: %s", label, e.text)) continue;
        CHECKF(r.failures == 0 && r.first[0] == 0, "%s: %s", label, r.first);
        CHECK(r.n_variants == variants && strcmp(r.variant[0], "reference") == 0 && r.tokens == TOKENS);
        for (size_t j = 0; j < RS_KERNELS_ROLES; j++) {
            const rs_kernels_role *x = &r.role[j];
            const uint64_t nq = s->n_q * s->h, nkv = s->n_kv * s->h, n[] = {nq, nkv, nkv, s->d, s->f, s->f, s->d}, k[] = {s->d, s->d, s->d, nq, s->d, s->d, s->f}, rows = TOKENS + MADE_UP;
            const uint64_t G = row[i].group != 0 ? k[j] / row[i].group : 1;
            CHECKF(x->matrices == s->L && x->others == 0 && x->sums == s->L * variants * (rows + 2) * G * n[j] && x->codes == s->L * variants * rows * k[j], "%s: counts of %s", label, rs_kernels_role_name(j));
            CHECKF(x->share > 0 && x->share <= 1, "%s: %s reaches %g of the bound", label, rs_kernels_role_name(j), x->share);
            CHECKF(j < 3 ? x->inputs == 0 : x->inputs > 0 && x->inputs <= s->L * TOKENS * k[j] && x->moved * 100 < x->inputs, "%s: %d of %d codes of %s", label, (int)x->moved, (int)x->inputs, rs_kernels_role_name(j));
        }
        CHECKF(r.cached == 2 * s->L * TOKENS * s->n_kv * s->h * (2 * variants - 1), "%s: %d numbers of the cache", label, (int)r.cached);
        for (size_t j = 0; j < RS_KERNELS_STAGES; j++) CHECKF(r.stage[j] > 0 && r.stage[j] <= 1, "%s: %s: %g", label, rs_kernels_stage_name(j), r.stage[j]);
        CHECKF(r.integer.kl <= r.kl_bound && r.kl_bound > 0 && r.plain.difference.n == TOKENS * s->V && rs_measure_relative(&r.integer.difference) <= r.logits_bound, "%s: logits", label);
        if (row[i].group == 0 && row[i].kv < 16) CHECKF(r.unequal == 0, "%s: %d logits are not those of sums of codes", label, (int)r.unequal);
    }
}

// ---- wrong on purpose

static const rs_int_kernels *right;
static size_t only_blocks, only_rows; // 0: any

static void wrong_tile(size_t rows, size_t blocks, size_t burst, const uint8_t *a, size_t lda, const int8_t *w, size_t ldw, int32_t *sums)
{
    right->tile(rows, blocks, burst, a, lda, w, ldw, sums);
    if ((only_blocks == 0 || blocks == only_blocks) && (only_rows == 0 || rows == only_rows)) sums[4 * (rows - 1) + 2]++;
}

static void wrong_one(unsigned bits, size_t blocks, size_t burst, const uint8_t *a, const uint8_t *w, size_t ldw, int32_t *sums)
{
    right->one(bits, blocks, burst, a, w, ldw, sums);
    sums[1]--;
}

static void wrong_scale(size_t m, const int32_t *sums, const int32_t *zero, const int32_t *of_codes, const float *scales, float *acc)
{
    right->scale(m, sums, zero, of_codes, scales, acc);
    acc[3] = nextafterf(acc[3], 1e30f);
}

static size_t only_columns;
static size_t wrong_quantise(const rs_quantizer *q, size_t B, size_t n, const float *x, size_t ldx, uint8_t *codes, size_t ld, float *scale, int32_t *zero)
{
    const size_t bad = right->quantise(q, B, n, x, ldx, codes, ld, scale, zero);
    if (only_columns == 0 || n == only_columns) codes[(B - 1) * ld + n - 1] ^= 1;
    return bad;
}

static void found(const char *what, const rs_int_kernels *by, const char *tensor, const char *fault)
{
    const rs_int_kernels *const variants[] = {rs_int_reference(), right, by};
    rs_kernels_result r;
    rs_error e;
    if (!CHECKF(check(packed, variants, 3, TOKENS, &r, &e) == RS_OK, "%s: %s", what, e.text)) return;
    CHECKF(r.failures > 0 && strstr(r.first, tensor) != NULL && strstr(r.first, fault) != NULL, "%s: %d failures, expected %s and %s: %s", what, (int)r.failures, tensor, fault, r.first);
}

static void wrong(void)
{
    right = rs_int_at(1);
    if (right == NULL) {
        SKIP("this processor has no fast integer kernels");
        return;
    }
    rs_int_kernels by = *right;
    by.name = "wrong";
    if (!pack(4, 4, 4, 0, false)) return;
    rs_kernels_result r;
    rs_error e;
    CHECK(check(packed, (const rs_int_kernels *const[]){right}, 1, TOKENS, &r, &e) == RS_OK && r.failures == 0 && r.n_variants == 1);
    by.tile = wrong_tile;
    found("a sum of every tile", &by, "model.layers.0.self_attn.q_proj.weight: wrong", ": sum ");
    only_blocks = 2; // only down has more than 64 columns
    found("a sum of longer rows", &by, "model.layers.0.mlp.down_proj.weight: wrong", ": sum ");
    only_blocks = 0;
    only_rows = TOKENS; // which no matrix alone is tried with
    found("a sum of the running model", &by, "layer 0, k v", "with integer products");
    only_rows = 0;
    by = *right;
    by.name = "wrong";
    by.one = wrong_one;
    found("a sum of one row", &by, "model.layers.0.self_attn.q_proj.weight: wrong", " alone, output");
    by = *right;
    by.name = "wrong";
    by.scale = wrong_scale;
    found("a result by one ulp", &by, "model.layers.0.self_attn.q_proj.weight: wrong", ": result ");
    by = *right;
    by.name = "wrong";
    by.quantise = wrong_quantise;
    found("a code", &by, "model.layers.0.self_attn.q_proj.weight: wrong", ": code ");
    only_columns = 8; // a head
    found("a code of K", &by, "layer 0, cache of k", "wrong");
    only_columns = 0;
}

static bool stored_sum(void *context, rs_tensor *t, uint8_t *payload)
{
    if (strcmp(t->name, context) == 0) payload[rs_tensor_part(t, "sums")->off + 4 * 5] ^= 1;
    return true;
}

static void lies(void)
{
    char up[] = "model.layers.1.mlp.up_proj.weight";
    rs_kernels_result r;
    rs_error e = {0};
    if (!pack(4, 4, 4, 0, false) || !CHECKF(stages_edit(packed, changed, stored_sum, up, &e) == RS_OK, "%s", e.text)) return;
    if (CHECKF(check(changed, NULL, 0, TOKENS, &r, &e) == RS_OK, "%s", e.text))
        CHECKF(r.failures > 0 && strncmp(r.first, up, strlen(up)) == 0 && strstr(r.first, "row 5: the stored sum") != NULL, "%s", r.first);
}

// ---- codes and boundaries

// One token of 4 values, codes of 4 bits with step 1 and zero point 0: the first is 15; the second is given in both networks.
static bool explains(float sim, float x, double allowed, uint64_t *moved)
{
    const float a[4] = {15, sim, 3, 0}, b[4] = {15, x, 3, 0};
    rs_kernels_result r = {0};
    const rs_kernels_options o = {0};
    rs_kernels_state s = {.o = &o, .r = &r, .S = 1};
    const rs_kernels_pair p = {.what = "o", .n = 4, .sim = a, .x = b, .allowed = &allowed};
    uint64_t inputs = 0;
    rs_error e = {0};
    *moved = 0;
    CHECK(rs_kernels_codes(&s, &p, (rs_quantizer){.bits = 4, .clip = 1}, 4, &inputs, moved, &e) == RS_OK);
    CHECK(inputs == (allowed < 7.5 ? 4 : 0) && (r.failures == 0) == (r.first[0] == 0));
    return r.failures == 0;
}

static void boundaries(void)
{
    uint64_t moved;
    CHECK(explains(4.4f, 4.4f, 1e-6, &moved) && moved == 0);
    CHECK(explains(4.4f, 4.49f, 1e-6, &moved) && moved == 0);
    CHECK(explains(4.4999995f, 4.5000005f, 1e-6, &moved) && moved == 1);
    CHECK(explains(4.5000005f, 4.4999995f, 1e-6, &moved) && moved == 1);
    CHECK(!explains(4.49f, 4.5000005f, 1e-6, &moved) && moved == 1);
    CHECK(!explains(4.4999995f, 5.6f, 1e-6, &moved)); // two steps
    CHECK(explains(4.4999995f, 5.6f, 0.6, &moved) && moved == 1);
    CHECK(explains(4.4f, 14, 7.5, &moved) && moved == 0); // all of it is noise
    // the zero point: 7.4999 and 7.5001 steps of 1 below 0
    const float a[2] = {-7.4999f, 7.5001f}, b[2] = {-7.5001f, 7.4999f}, c[2] = {-8.4f, 6.6f};
    for (int far = 0; far < 2; far++) {
        rs_kernels_result r = {0};
        const rs_kernels_options o = {0};
        rs_kernels_state s = {.o = &o, .r = &r, .S = 1};
        const double allowed = 1e-3;
        const rs_kernels_pair p = {.what = "k", .n = 2, .sim = far ? c : a, .x = far ? a : b, .allowed = &allowed};
        uint64_t inputs = 0;
        rs_error e = {0};
        moved = 0;
        CHECK(rs_kernels_codes(&s, &p, (rs_quantizer){.bits = 4, .clip = 1}, 2, &inputs, &moved, &e) == RS_OK);
        CHECKF(moved == 1 && inputs == 2 && (r.failures > 0) == far, "zero point, %d: %d moved, %s", far, (int)moved, r.first);
    }
}

// ---- logits

static void logits(const tiny_spec *s)
{
    rs_mapped *m = NULL;
    rs_network *n = NULL;
    rs_error e = {0};
    if (!pack(4, 4, 4, 0, false) || !CHECKF(stages_network(packed, NULL, &m, &n, &e) == RS_OK, "%s", e.text)) return;
    float *x[6] = {NULL}; // simulated, integer, plain, sums, nudged; no device
    for (int j = 0; j < 5; j++) {
        x[j] = malloc(TOKENS * s->d * sizeof(float));
        for (size_t i = 0; i < TOKENS * s->d; i++) x[j][i] = (float)(i * 7 % 13) - 6 + (j == 4 ? 1e-3f * (float)(i % 3) : 0);
    }
    for (int far = 0; far < 2; far++) {
        rs_kernels_result r = {0};
        const rs_kernels_options o = {0};
        rs_kernels_state st = {.o = &o, .r = &r, .S = TOKENS};
        if (far)
            for (size_t i = 0; i < TOKENS * s->d; i++) x[1][i] += 0.1f * (float)(i % 5);
        CHECKF(rs_kernels_logits_compare(&st, (rs_network *const[]){n, n, n, n, n, NULL}, x, &e) == RS_OK, "%s", e.text);
        CHECKF(far ? r.unequal > 0 && r.failures > 0 && strncmp(r.first, "logits", 6) == 0 : r.failures == 0 && r.unequal == 0 && r.integer.kl == 0 && r.integer.top1 == 1 && r.nudged.kl > 0 && r.kl_bound == 4 * r.nudged.kl, "KL %g, %g, bound %g: %s", r.integer.kl, r.nudged.kl, r.kl_bound, r.first);
    }
    for (int j = 0; j < 5; j++) free(x[j]);
    rs_network_close(n);
    rs_mapped_close(m);
}

// ---- refusals

static void refuses(const char *path, size_t S, rs_status status, const char *text)
{
    rs_kernels_result r;
    rs_error e;
    rs_status st = check(path, NULL, 0, S, &r, &e);
    CHECKF(st == status && strstr(e.text, text) != NULL, "%s, expected %s: %s", rs_status_name(st), rs_status_name(status), e.text);
}

static void refusals(const tiny_spec *s)
{
    refuses(model, TOKENS, RS_USAGE, "no matrix is packed");
    if (pack(4, 16, 4, 0, false)) refuses(packed, TOKENS, RS_USAGE, "no matrix is packed");
    if (pack(4, 4, 4, 0, false)) refuses(packed, 0, RS_USAGE, "no token");
    if (CHECK(tiny_rotations(changed, s, TINY_GLOBAL, 0, 0, 1, NULL))) refuses(changed, TOKENS, RS_USAGE, "rotations");
}

int main(void)
{
    tiny_spec s = tiny_default();
    rs_error e = {0};
    s.f = 80;
    s.h = 8;
    tiny_path(model, sizeof model, "model.rsq");
    tiny_path(fused, sizeof fused, "fused.rsq");
    tiny_path(packed, sizeof packed, "packed.rsq");
    tiny_path(changed, sizeof changed, "changed.rsq");
    rs_threads_set(2);
    if (CHECK(tiny_model(model, &s)) && CHECKF(tiny_fuse(model, NULL, fused, (rs_fuse_options){.rotate = true, .online = true, .seed = 2}, &e) == RS_OK, "%s", e.text)) {
        good(&s);
        wrong();
        lies();
        boundaries();
        logits(&s);
        refusals(&s);
    }
    return check_report();
}
