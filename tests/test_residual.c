// SPDX-License-Identifier: Apache-2.0
// The exact chain leaves the network as it is at every rank, the paper's form only at full rank; sets are cut to the same chain; what is refused.
#include "transforms/residual.h"

#include <math.h>

#include "tests/check.h"
#include "tests/tiny.h"
#include "transforms/dense.h"
#include "transforms/rotation.h"

enum { S = 12 };

static rs_lowrank_loss last_loss[64];
static size_t n_last;

static rs_status residual(const char *in, const char *rotations, const char *out, rs_residual_options o, rs_error *e)
{
    rs_mapped *m = NULL;
    rs_stage s = {0};
    rs_residual *r = NULL;
    char *argv[] = {(char[]){"rs-residual"}, NULL};
    if (rotations != NULL) RS_TRY(rs_mapped_open(&m, rotations, e));
    o.rotations = m;
    rs_status status = rs_stage_open(&s, "rs-residual", in, e);
    if (status == RS_OK) status = rs_residual_open(&r, &s, &o, e);
    rs_in *other = m == NULL ? NULL : rs_mapped_in(m);
    if (status == RS_OK) status = rs_stage_begin(&s, out, &other, m != NULL, rs_residual_head(r), 1, argv, NULL, e);
    if (status == RS_OK) status = rs_residual_run(r, NULL, NULL, e);
    if (status == RS_OK) {
        uint64_t d;
        const rs_lowrank_loss *l = rs_residual_losses(r, &n_last, &d);
        for (size_t j = 0; j < n_last && j < 64; j++) last_loss[j] = l[j];
    }
    rs_residual_close(r);
    if (status == RS_OK) status = rs_stage_finish(&s, e);
    rs_stage_close(&s, e);
    rs_mapped_close(m);
    return status;
}

static char model[128], rot[128], fused[128], out[128], cut[128], refused[128];

static double difference(const tiny_spec *s, const char *a, const char *b)
{
    int32_t ids[S];
    tiny_ids(s, S, ids);
    float *x = tiny_logits(a, S, ids), *y = tiny_logits(b, S, ids);
    double worst = x != NULL && y != NULL ? tiny_difference(S * s->V, x, y) : INFINITY;
    free(x);
    free(y);
    return worst;
}

static bool prepare(const tiny_spec *s, tiny_set kind)
{
    rs_error e = {0};
    bool ok = tiny_model(model, s) && tiny_rotations(rot, s, kind, 0.5, 6, 3, model) && tiny_fuse(model, rot, fused, (rs_fuse_options){.rotate = true, .online = true}, &e) == RS_OK;
    return CHECKF(ok, "%s", e.text);
}

static void every_rank(const tiny_spec *s)
{
    const uint64_t ranks[] = {0, 2, 8, 32, s->d};
    if (!prepare(s, TINY_DENSE)) return;
    for (size_t k = 0; k < sizeof ranks / sizeof ranks[0]; k++)
        for (int paper = 0; paper < 2; paper++) {
            rs_error e = {0};
            rs_residual_options o = {.rule = {.rank = ranks[k]}, .paper = paper != 0};
            if (!CHECKF(residual(fused, rot, out, o, &e) == RS_OK, "rank %d paper %d: %s", (int)ranks[k], paper, e.text)) continue;
            double x = difference(s, model, out);
            bool same = !paper || ranks[k] == s->d;
            CHECKF(same ? x <= 1e-5 : x > 1e-3, "rank %d paper %d: logits differ by %.3g", (int)ranks[k], paper, x);
            CHECK(n_last == 2 * s->L);
            rs_mapped *m;
            if (!CHECK(rs_mapped_open(&m, out, &e) == RS_OK)) continue;
            const rs_plan *p = &rs_mapped_head(m)->plan;
            CHECK(p->resid == (ranks[k] == 0 ? RS_RESID_NONE : RS_RESID_LOWRANK) && p->rank == ranks[k]);
            CHECK(rs_plan_rank(p, 2 * s->L - 1) == (paper ? ranks[k] : 0) && rs_plan_rank(p, 0) == ranks[k]);
            const rs_tensor *t = rs_mapped_find(m, "model.layers.1.mlp.down_proj.weight"), *h = rs_mapped_find(m, "lm_head.weight");
            CHECK(t != NULL && rs_tensor_has_xf(t, "rebase.4") == !paper && h != NULL && (s->L != 3 || rs_tensor_has_xf(h, "rebase.6") == !paper));
            rs_mapped_close(m);
        }
    // By energy: ranks differ, the network does not.
    rs_error e = {0};
    CHECKF(residual(fused, rot, out, (rs_residual_options){.rule = {.energy = 0.6}}, &e) == RS_OK, "%s", e.text);
    for (size_t j = 0; j + 1 < n_last; j++) CHECKF(last_loss[j].kept >= 0.6 && last_loss[j].rank % 2 == 0, "junction %d keeps %g", (int)j, last_loss[j].kept);
    double x = difference(s, model, out);
    CHECKF(x <= 1e-5, "by energy: logits differ by %.3g", x);
}

// The frame of junction j, written by the step behind: angles whose cosines sum to the trace of T, and what the cut kept.
static void said(const rs_mapped *m, uint64_t j, uint64_t d, const double *T)
{
    const uint8_t *payload;
    const rs_stat_head *h = rs_mapped_stat(m, j, &payload);
    const float *theta = (const float *)(const void *)payload;
    char name[40];
    double trace = 0, sum = 0;
    snprintf(name, sizeof name, "junction.%d", (int)j);
    if (!CHECKF(strcmp(h->name, name) == 0 && strcmp(h->of, "angles") == 0 && h->step == 0 && h->n_parts == 1 && h->parts[0].shape[0] == d, "%s of %s for %s", h->of, h->name, name)) return;
    for (uint64_t i = 0; i < d; i++) {
        trace += T[i * d + i];
        sum += cos((double)theta[i]);
    }
    CHECKF(fabs(sum - trace) < 1e-5, "%s: cosines sum to %.9g, the trace is %.9g", name, sum, trace);
    CHECK(rs_map_uint(h->values, "rank", 0) == 8 && rs_map_f64(h->values, "kept", 0) == last_loss[j].kept && rs_map_f64(h->values, "error", 0) == last_loss[j].error);
}

// The set itself, cut: the same junctions, a chain whose fused network is the original; paper: the error said is the error there.
static void sets(const tiny_spec *s)
{
    if (!prepare(s, TINY_DENSE)) return;
    rs_error e = {0};
    uint64_t d = s->d;
    for (int paper = 0; paper < 2; paper++) {
        if (!CHECKF(residual(rot, NULL, cut, (rs_residual_options){.rule = {.rank = 8}, .paper = paper != 0}, &e) == RS_OK, "%s", e.text)) return;
        CHECKF(tiny_fuse(model, cut, out, (rs_fuse_options){.rotate = true, .online = true}, &e) == RS_OK, "%s", e.text);
        double x = difference(s, model, out);
        CHECKF(x <= 1e-5, "fused with the cut set, paper %d: logits differ by %.3g", paper, x);
        rs_mapped *dense, *chain;
        rs_rotation *a, *b;
        if (!CHECK(rs_mapped_open(&dense, rot, &e) == RS_OK && rs_mapped_open(&chain, cut, &e) == RS_OK && rs_rotation_from_file(&a, dense, &e) == RS_OK && rs_rotation_from_file(&b, chain, &e) == RS_OK))
            return;
        CHECK(!rs_rotation_is_chain(a) && rs_rotation_is_chain(b) && memcmp(rs_mapped_head(dense)->base, rs_mapped_head(chain)->base, 16) == 0);
        double *R = malloc(d * d * sizeof *R), *T = malloc(d * d * sizeof *T), *at = malloc(d * d * sizeof *at);
        const double *p;
        CHECK(rs_mapped_stats(chain) == 2 * s->L);
        for (uint64_t j = 0; j + 1 < 2 * s->L; j++) {
            const float *q, *m;
            uint64_t rank;
            // T_j - T^_j, T_j from where the walk stands: the chain's own basis, or the learned one.
            CHECK(rs_rotation_basis(paper ? a : b, j, &p, &e) == RS_OK);
            memcpy(at, p, d * d * sizeof *at);
            CHECK(rs_rotation_basis(a, j + 1, &p, &e) == RS_OK);
            rs_dense_tn(d, d, d, at, d, p, d, 0, T, d);
            CHECK(rs_rotation_junction(b, j, &rank, &q, &m, &e) == RS_OK && rank == 8);
            said(chain, j, d, T);
            memset(R, 0, d * d * sizeof *R);
            for (uint64_t i = 0; i < d; i++) R[i * d + i] = 1;
            CHECK(rs_lowrank_step(d, rank, q, m, R, &e) == RS_OK);
            double sum = 0;
            for (uint64_t i = 0; i < d * d; i++) sum += (T[i] - R[i]) * (T[i] - R[i]);
            CHECKF(fabs(sqrt(sum) - last_loss[j].error) < 1e-5, "junction %d, paper %d: error %.9g, said %.9g", (int)j, paper, sqrt(sum), last_loss[j].error);
        }
        free(R);
        free(T);
        free(at);
        rs_rotation_free(a);
        rs_rotation_free(b);
        rs_mapped_close(dense);
        rs_mapped_close(chain);
    }
    CHECK(residual(rot, NULL, cut, (rs_residual_options){.rule = {.rank = 0}}, &e) == RS_OK);
    rs_mapped *m;
    rs_rotation *r;
    if (!CHECK(rs_mapped_open(&m, cut, &e) == RS_OK && rs_rotation_from_file(&r, m, &e) == RS_OK)) return;
    CHECK(rs_rotation_is_global(r));
    rs_rotation_free(r);
    rs_mapped_close(m);
}

// The fused model's moments on S tokens, three windows of four of which the first is left out.
static rs_moments *moments_of(const tiny_spec *s, const char *path, bool raw, rs_error *e)
{
    int32_t ids[S];
    rs_mapped *m = NULL;
    rs_network *n = NULL;
    rs_moments *got = NULL;
    rs_moments_options o = {.samples = 16, .ctx = 4, .skip = 1, .raw = raw};
    tiny_ids(s, S, ids);
    bool ok = rs_mapped_open(&m, path, e) == RS_OK && rs_network_open(&n, m, rs_kernels_reference(), e) == RS_OK && rs_moments_new(&got, n, ids, S, &o, e) == RS_OK;
    CHECKF(ok && rs_moments_windows(got) == 3, "%s", e->text);
    rs_network_close(n);
    rs_mapped_close(m);
    return got;
}

struct stream {
    size_t d;
    uint64_t layer;
    float *x; // [2L, S, d], windows one after the other
    size_t at;
};

static void keep_stream(void *context, rs_tap t, size_t rows, size_t cols, const float *x, size_t ld)
{
    struct stream *k = context;
    if (t != RS_TAP_STREAM_ATTN && t != RS_TAP_STREAM_FFN) return;
    for (size_t r = 0; r < rows; r++) memcpy(k->x + ((2 * k->layer + (t == RS_TAP_STREAM_FFN)) * S + k->at + r) * k->d, x + r * ld, cols * sizeof *x);
}

// x [2L, S, d]: the raw stream at each junction of the network at path.
static bool streams(const tiny_spec *s, const char *path, float *x, rs_error *e)
{
    int32_t ids[S];
    rs_mapped *m = NULL;
    rs_network *n = NULL;
    float *hidden = malloc(S * s->d * sizeof *hidden);
    tiny_ids(s, S, ids);
    bool ok = rs_mapped_open(&m, path, e) == RS_OK && rs_network_open(&n, m, NULL, e) == RS_OK && rs_network_embed(n, S, ids, hidden, e) == RS_OK;
    for (uint64_t i = 0; i < s->L && ok; i++) {
        const rs_decoder_layer *layer;
        ok = rs_network_load(n, i, &layer, e) == RS_OK;
        for (size_t w = 0; w < S && ok; w += 4) {
            struct stream k = {s->d, i, x, w};
            ok = rs_network_forward(n, 4, hidden + w * s->d, keep_stream, &k, e) == RS_OK;
        }
    }
    free(hidden);
    rs_network_close(n);
    rs_mapped_close(m);
    return ok;
}

static rs_junction junction_of(const rs_mapped *m, uint64_t j)
{
    char name[32];
    snprintf(name, sizeof name, "resid.%d", (int)j);
    const rs_tensor *t = rs_mapped_find(m, name);
    if (t == NULL) return (rs_junction){0};
    const uint8_t *p = rs_mapped_payload(m, t);
    if (t->enc == RS_ENC_RAW) return (rs_junction){.t = (const float *)(const void *)p};
    const rs_part *q = rs_tensor_part(t, "q"), *mm = rs_tensor_part(t, "m");
    return (rs_junction){.r = q->shape[1], .q = (const float *)(const void *)(p + q->off), .m = (const float *)(const void *)(p + mm->off)};
}

// y += sign x T for one row x.
static void through(const rs_junction *j, size_t d, const float *x, double sign, double *y)
{
    for (size_t i = 0; i < d; i++) y[i] += j->t == NULL ? sign * x[i] : 0;
    for (size_t a = 0; a < d && j->t != NULL; a++)
        for (size_t i = 0; i < d; i++) y[i] += sign * (double)x[a] * j->t[a * d + i];
    for (size_t a = 0; a < j->r; a++)
        for (size_t b = 0; b < j->r; b++) {
            double p = 0;
            for (size_t i = 0; i < d; i++) p += (double)x[i] * j->q[i * j->r + a];
            for (size_t i = 0; i < d; i++) y[i] += sign * p * j->m[a * j->r + b] * j->q[i * j->r + b];
        }
}

// Paper mode: what is said to be lost is what the junctions of the output lose of the stream of the input.
static void said_and_measured(const tiny_spec *s, const float *x)
{
    rs_error e = {0};
    rs_mapped *dense = NULL, *low = NULL;
    if (!CHECK(rs_mapped_open(&dense, fused, &e) == RS_OK && rs_mapped_open(&low, out, &e) == RS_OK)) return;
    for (uint64_t j = 0; j < 2 * s->L; j++) {
        rs_junction T = junction_of(dense, j), hat = junction_of(low, j);
        double lost = 0, energy = 0;
        for (size_t t = 0; t < S; t++) {
            double y[64] = {0}, z[64] = {0};
            const float *row = x + (j * S + t) * s->d;
            if (t % 4 == 0) continue; // as moments_of leaves it out
            through(&T, s->d, row, 1, y);
            through(&hat, s->d, row, -1, y);
            through(&T, s->d, row, 1, z);
            for (size_t i = 0; i < s->d; i++) {
                lost += y[i] * y[i] / (S - 3);
                energy += (z[i] - row[i]) * (z[i] - row[i]) / (S - 3);
            }
        }
        CHECKF(fabs(lost - last_loss[j].lost) < 0.05 * lost + 1e-5 * energy && fabs(energy - last_loss[j].energy) < 1e-3 * energy, "junction %d: lost %.6g of %.6g, said %.6g of %.6g", (int)j, lost,
               energy, last_loss[j].lost, last_loss[j].energy);
    }
    rs_mapped_close(dense);
    rs_mapped_close(low);
}

static double sum_lost(uint64_t *rank)
{
    double lost = 0;
    *rank = 0;
    for (size_t j = 0; j < n_last; j++) {
        lost += last_loss[j].lost;
        *rank += last_loss[j].rank;
        CHECKF(last_loss[j].rank % 2 == 0, "junction %d has rank %d", (int)j, (int)last_loss[j].rank);
    }
    return lost;
}

// By activations and with a budget: the network stays the same, the budget is met, and less is lost the more freedom there is.
static void by_activations(const tiny_spec *s)
{
    const uint64_t ranks[] = {0, 2, 8, s->d};
    if (!prepare(s, TINY_DENSE)) return;
    float *x = malloc(2 * s->L * S * s->d * sizeof *x);
    rs_error e = {0};
    CHECKF(streams(s, fused, x, &e), "%s", e.text);
    for (int paper = 0; paper < 2; paper++) {
        rs_moments *m = moments_of(s, fused, paper != 0, &e);
        double uniform = 0, before = INFINITY;
        for (size_t k = 0; k < sizeof ranks / sizeof ranks[0] && m != NULL; k++)
            for (int budget = 0; budget < 3; budget++) { // none, with moments, without
                rs_residual_options o = {.rule = {.rank = ranks[k]}, .budgeted = budget > 0, .budget = ranks[k], .paper = paper != 0, .moments = budget < 2 ? m : NULL};
                if (!CHECKF(residual(fused, rot, out, o, &e) == RS_OK, "rank %d paper %d budget %d: %s", (int)ranks[k], paper, budget, e.text)) continue;
                double difference_is = difference(s, model, out);
                bool same = !paper || ranks[k] == s->d;
                CHECKF(same ? difference_is <= 1e-5 : difference_is > 1e-4, "rank %d paper %d budget %d: logits differ by %.3g", (int)ranks[k], paper, budget, difference_is);
                uint64_t rank;
                double lost = sum_lost(&rank);
                CHECKF(rank == ranks[k] * (2 * s->L - !paper), "rank %d paper %d budget %d: %d in all", (int)ranks[k], paper, budget, (int)rank);
                if (budget == 0) {
                    CHECKF(lost < before, "rank %d paper %d: lost %g, at the rank below %g", (int)ranks[k], paper, lost, before);
                    before = uniform = lost;
                }
                if (budget == 1 && paper) CHECKF(lost <= uniform * 1.01, "rank %d: a budget loses %g, equal ranks %g", (int)ranks[k], lost, uniform);
                if (budget < 2 && paper) said_and_measured(s, x);
            }
        rs_moments_free(m);
    }
    free(x);
}

// A budget over a set of rotations gives the ranks that it gives over the model.
static void budget_of_set(const tiny_spec *s)
{
    rs_error e = {0};
    uint64_t rank[64], total;
    rs_mapped *m;
    if (!prepare(s, TINY_DENSE) || !CHECK(rs_mapped_open(&m, rot, &e) == RS_OK)) return;
    rs_residual_options o = {.budgeted = true, .budget = 6};
    CHECKF(residual(fused, rot, out, o, &e) == RS_OK, "%s", e.text);
    for (size_t j = 0; j < n_last; j++) rank[j] = last_loss[j].rank;
    o.input = m;
    CHECKF(residual(rot, NULL, cut, o, &e) == RS_OK, "%s", e.text);
    for (size_t j = 0; j < n_last; j++) CHECKF(rank[j] == last_loss[j].rank, "junction %d: rank %d in the set, %d in the model", (int)j, (int)last_loss[j].rank, (int)rank[j]);
    (void)sum_lost(&total);
    CHECK(total == 6 * (2 * s->L - 1));
    CHECKF(tiny_fuse(model, cut, out, (rs_fuse_options){.rotate = true, .online = true}, &e) == RS_OK && difference(s, model, out) <= 1e-5, "%s", e.text);
    o.budget = s->d + 2;
    CHECK(residual(rot, NULL, refused, o, &e) == RS_USAGE);
    e = (rs_error){0};
    CHECK(residual(fused, rot, refused, o, &e) == RS_USAGE);
    e = (rs_error){0};
    rs_moments *moments = moments_of(s, fused, false, &e);
    CHECK(residual(rot, NULL, refused, (rs_residual_options){.rule = {.rank = 2}, .moments = moments}, &e) == RS_USAGE);
    rs_moments_free(moments);
    rs_mapped_close(m);
}

static void refusals(const tiny_spec *s)
{
    rs_error e = {0};
    rs_residual_options o = {.rule = {.rank = 8}};
    if (!prepare(s, TINY_DENSE)) return;
    CHECK(residual(fused, NULL, refused, o, &e) == RS_USAGE); // which rotations?
    e = (rs_error){0};
    CHECK(residual(fused, rot, refused, (rs_residual_options){.rule = {.rank = s->d + 2}}, &e) == RS_USAGE);
    e = (rs_error){0};
    CHECK(residual(rot, rot, refused, o, &e) == RS_USAGE);
    e = (rs_error){0};
    CHECK(residual(fused, model, refused, o, &e) == RS_USAGE);
    e = (rs_error){0};
    tiny_rotations(cut, s, TINY_DENSE, 0.5, 0, 4, model);
    CHECK(residual(fused, cut, refused, o, &e) == RS_E_PROV); // not the set it was fused with
    e = (rs_error){0};
    tiny_spec other = *s;
    other.L--;
    tiny_rotations(cut, &other, TINY_DENSE, 0.5, 0, 3, NULL);
    CHECK(residual(fused, cut, refused, o, &e) == RS_E_TENSOR);
    e = (rs_error){0};
    CHECK(residual(fused, rot, out, o, &e) == RS_OK);
    CHECK(residual(out, rot, refused, o, &e) == RS_USAGE); // cut already
    e = (rs_error){0};
    rs_mapped *m;
    CHECK(rs_mapped_open(&m, refused, &e) == RS_E_READ);
}

// Without junctions only the provenance grows.
static void pass_through(const tiny_spec *s)
{
    rs_error e = {0};
    if (!prepare(s, TINY_GLOBAL)) return;
    CHECKF(residual(fused, rot, out, (rs_residual_options){.rule = {.rank = 8}}, &e) == RS_OK, "%s", e.text);
    uint8_t digest[16], a[16], b[16];
    uint64_t size;
    size_t n;
    rs_mapped *x, *y;
    if (!CHECK(rs_mapped_open(&x, fused, &e) == RS_OK && rs_mapped_open(&y, out, &e) == RS_OK)) return;
    rs_mapped_digest(x, digest, a, &size);
    rs_mapped_digest(y, digest, b, &size);
    CHECK(memcmp(a, b, 16) == 0);
    CHECK(rs_mapped_prov(y, &n) != NULL && n == 3 && rs_mapped_head(y)->plan.resid == RS_RESID_NONE);
    rs_mapped_close(x);
    rs_mapped_close(y);
}

int main(void)
{
    tiny_path(model, sizeof model, "model.rsq");
    tiny_path(rot, sizeof rot, "rot.rsq");
    tiny_path(fused, sizeof fused, "fused.rsq");
    tiny_path(out, sizeof out, "out.rsq");
    tiny_path(cut, sizeof cut, "cut.rsq");
    tiny_path(refused, sizeof refused, "refused.rsq");
    tiny_spec s = tiny_default();
    s.d = 48, s.h = 12;
    every_rank(&s);
    s.tied = false, s.biases = true, s.dtype = RS_BF16, s.L = 2;
    every_rank(&s);
    s = tiny_default();
    sets(&s);
    by_activations(&s);
    budget_of_set(&s);
    refusals(&s);
    pass_through(&s);
    return check_report();
}
