// SPDX-License-Identifier: Apache-2.0
// Second moments against sums over the tapped stream, with and without RMS norm and skipped tokens; quantisers are off while they are taken.
#include "transforms/moments.h"

#include <math.h>

#include "tests/stages.h"

enum { CTX = 5, WINDOWS = 3, COUNT = CTX * WINDOWS + 2 };
static char model[128], rot[128], fused[128], packed[128];

struct sums {
    size_t d, skip;
    float eps;
    bool raw;
    double *before, *ffn;
};

static void add(const struct sums *s, size_t rows, const float *x, double *sum)
{
    for (size_t t = s->skip; t < rows; t++) {
        double square = 0;
        for (size_t i = 0; i < s->d; i++) square += (double)x[t * s->d + i] * x[t * s->d + i];
        double scale = s->raw ? 1 : 1 / (square / (double)s->d + s->eps);
        for (size_t i = 0; i < s->d; i++)
            for (size_t j = 0; j < s->d; j++) sum[i * s->d + j] += scale * x[t * s->d + i] * x[t * s->d + j] / (double)(WINDOWS * (CTX - s->skip));
    }
}

static void tap(void *context, rs_tap t, size_t rows, size_t cols, const float *x, size_t ld)
{
    struct sums *s = context;
    (void)cols, (void)ld;
    if (t == RS_TAP_STREAM_ATTN) add(s, rows, x, s->before);
    if (t == RS_TAP_STREAM_FFN) add(s, rows, x, s->ffn);
}

static void against_sums(const tiny_spec *s, const char *path, bool raw, size_t skip)
{
    int32_t ids[COUNT];
    rs_mapped *m = NULL;
    rs_network *n = NULL;
    rs_moments *got = NULL;
    rs_error e = {0};
    size_t d = s->d, bases = 2 * s->L + 1;
    double *want = calloc(bases * d * d, sizeof *want);
    float *x = malloc(CTX * d * sizeof *x);
    tiny_ids(s, COUNT, ids);
    if (!CHECKF(stages_network(path, rs_kernels_reference(), &m, &n, &e) == RS_OK, "%s", e.text)) return;
    rs_moments_options o = {.samples = 100, .ctx = CTX, .skip = skip, .raw = raw};
    if (!CHECKF(rs_moments_new(&got, n, ids, COUNT, &o, &e) == RS_OK, "%s", e.text)) return;
    CHECK(rs_moments_windows(got) == WINDOWS && rs_moments_layers(got) == s->L && rs_moments_width(got) == d);
    for (size_t w = 0; w < WINDOWS; w++) {
        CHECK(rs_network_embed(n, CTX, ids + w * CTX, x, &e) == RS_OK);
        for (uint64_t i = 0; i < s->L; i++) {
            const rs_decoder_layer *layer;
            struct sums sums = {d, skip, (float)rs_network_config(n)->norm_eps, raw, want + 2 * i * d * d, want + (2 * i + 1) * d * d};
            CHECK(rs_network_load(n, i, &layer, &e) == RS_OK && rs_network_forward(n, CTX, x, tap, &sums, &e) == RS_OK);
            if (i + 1 == s->L) add(&sums, CTX, x, want + 2 * s->L * d * d);
        }
    }
    for (uint64_t j = bases; j-- > 0;) {
        const double *C;
        double worst = 0, most = 0;
        if (!CHECK(rs_moments_at(got, j, &C, &e) == RS_OK)) break;
        for (size_t i = 0; i < d * d; i++) {
            worst = fmax(worst, fabs(C[i] - want[j * d * d + i]));
            most = fmax(most, fabs(want[j * d * d + i]));
        }
        CHECKF(worst <= 1e-5 * most, "basis %d, raw %d, skip %d: off by %.3g of %.3g", (int)j, raw, (int)skip, worst, most);
        bool symmetric = true;
        for (size_t i = 0; i < d * d; i++) symmetric = symmetric && C[i] == C[i % d * d + i / d];
        CHECK(symmetric);
    }
    const double *C;
    CHECK(rs_moments_at(got, bases, &C, &e) == RS_E_INTERNAL);
    rs_moments_free(got);
    free(want);
    free(x);
    rs_network_close(n);
    rs_mapped_close(m);
}

// Quantised activations leave the moments as they are without; the network quantises again afterwards.
static void in_full_precision(const tiny_spec *s)
{
    rs_error e = {0};
    rs_pack_options o = stages_pack_default();
    int32_t ids[COUNT];
    rs_mapped *m[2] = {0};
    rs_network *n[2] = {0};
    rs_moments *got[2] = {0};
    tiny_ids(s, COUNT, ids);
    o.scheme.w_bits = 16;
    o.a.bits = o.kv.bits = 4;
    if (!CHECKF(stages_pack(fused, packed, &o, &e) == RS_OK, "%s", e.text)) return;
    for (int k = 0; k < 2; k++) {
        rs_moments_options mo = {.samples = 2, .ctx = CTX};
        bool ok = stages_network(k ? packed : fused, NULL, &m[k], &n[k], &e) == RS_OK && rs_moments_new(&got[k], n[k], ids, COUNT, &mo, &e) == RS_OK;
        if (!CHECKF(ok, "%s", e.text)) return;
    }
    for (uint64_t j = 0; j <= 2 * s->L; j++) {
        const double *a, *b;
        if (!CHECK(rs_moments_at(got[0], j, &a, &e) == RS_OK && rs_moments_at(got[1], j, &b, &e) == RS_OK)) return;
        CHECKF(memcmp(a, b, s->d * s->d * sizeof *a) == 0, "basis %d differs", (int)j);
    }
    CHECK(rs_moments_windows(got[0]) == 2);
    float *x = stages_logits(n[0], CTX, ids, &e), *y = stages_logits(n[1], CTX, ids, &e);
    CHECK(x != NULL && y != NULL && tiny_difference(CTX * s->V, x, y) > 1e-3);
    free(x);
    free(y);
    for (int k = 0; k < 2; k++) {
        rs_moments_free(got[k]);
        rs_network_close(n[k]);
        rs_mapped_close(m[k]);
    }
}

static void refusals(const tiny_spec *s)
{
    rs_error e = {0};
    int32_t ids[COUNT];
    rs_mapped *m = NULL;
    rs_network *n = NULL;
    rs_moments *got = NULL;
    tiny_ids(s, COUNT, ids);
    if (!CHECK(stages_network(fused, NULL, &m, &n, &e) == RS_OK)) return;
    CHECK(rs_moments_new(&got, n, ids, COUNT, &(rs_moments_options){.samples = 1, .ctx = COUNT + 1}, &e) == RS_USAGE && got == NULL);
    e = (rs_error){0};
    CHECK(rs_moments_new(&got, n, ids, COUNT, &(rs_moments_options){.samples = 1, .ctx = 4, .skip = 4}, &e) == RS_USAGE);
    e = (rs_error){0};
    ids[3] = (int32_t)s->V;
    CHECK(rs_moments_new(&got, n, ids, COUNT, &(rs_moments_options){.samples = 1, .ctx = 4}, &e) == RS_E_VALUE);
    rs_network_close(n);
    rs_mapped_close(m);
}

int main(void)
{
    tiny_spec s = tiny_default();
    rs_error e = {0};
    rs_threads_set(2);
    tiny_path(model, sizeof model, "model.rsq");
    tiny_path(rot, sizeof rot, "rot.rsq");
    tiny_path(fused, sizeof fused, "fused.rsq");
    tiny_path(packed, sizeof packed, "packed.rsq");
    bool ok = tiny_model(model, &s) && tiny_rotations(rot, &s, TINY_DENSE, 0.4, 0, 3, model) && tiny_fuse(model, rot, fused, (rs_fuse_options){.rotate = true, .online = true}, &e) == RS_OK;
    if (!CHECKF(ok, "%s", e.text)) return check_report();
    against_sums(&s, model, false, 0);
    against_sums(&s, fused, false, 2);
    against_sums(&s, fused, true, 1);
    in_full_precision(&s);
    refusals(&s);
    return check_report();
}
